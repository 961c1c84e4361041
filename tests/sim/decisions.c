#include "tests/sim/decisions.h"

#include "base/list.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { RANGE_MAX = 1000000 }; /* numbers that one range of a text may name */

static const char *const action_texts[] = {
#define SIM_ACTION_TEXT(name, text) text,
    SIM_ACTIONS(SIM_ACTION_TEXT)
#undef SIM_ACTION_TEXT
};

static const char *const names[] = {
#define SIM_DECISION_NAME(name, text) #name,
    SIM_FAULTS(SIM_DECISION_NAME) SIM_ACTIONS(SIM_DECISION_NAME)
#undef SIM_DECISION_NAME
};

const char *decision_text(uint32_t kind)
{
    return kind < SIM_FAULT_COUNT ? knobs_fault_text((enum sim_fault)kind)
                                  : action_texts[kind - SIM_FAULT_COUNT];
}

const char *decision_name(uint32_t kind)
{
    return names[kind];
}

static int compare(const void *left, const void *right)
{
    const struct decision *a = left;
    const struct decision *b = right;
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    return a->number < b->number ? -1 : a->number > b->number;
}

static bool listed(const struct decision_list *list, struct decision decision)
{
    return list->count > 0 &&
           bsearch(&decision, list->items, list->count, sizeof decision, compare) != NULL;
}

bool decisions_grant(struct decisions *decisions, uint32_t kind, uint64_t at_us,
                     uint64_t *ret_number)
{
    struct decision decision = {.kind = kind, .number = ++decisions->drawn[kind], .at_us = at_us};
    *ret_number = decision.number;
    if (decisions->only && !listed(decisions->only, decision))
        return false;
    decision_list_add(&decisions->granted, decision);
    return true;
}

void decisions_deinit(struct decisions *decisions)
{
    decision_list_deinit(&decisions->granted);
}

void decision_list_add(struct decision_list *list, struct decision decision)
{
    LIST_RESERVE(list);
    list->items[list->count++] = decision;
}

void decision_list_sort(struct decision_list *list)
{
    if (list->count > 1)
        qsort(list->items, list->count, sizeof *list->items, compare);
}

void decision_list_deinit(struct decision_list *list)
{
    free(list->items);
    *list = (struct decision_list){0};
}

/* --- Text ------------------------------------------------------------------------------------- */

static bool parse_number(const char **at, uint64_t *ret)
{
    if (**at < '0' || **at > '9')
        return false;
    char *end;
    errno = 0;
    *ret = strtoull(*at, &end, 10);
    *at = end;
    return !errno && *ret > 0;
}

bool decision_list_parse(struct decision_list *list, const char *text)
{
    if (strcmp(text, "none") == 0)
        return true;
    size_t length = strcspn(text, ":");
    uint32_t kind = 0;
    while (kind < SIM_DECISION_KINDS &&
           (strlen(names[kind]) != length || strncasecmp(names[kind], text, length) != 0))
        kind++;
    if (kind == SIM_DECISION_KINDS || text[length] != ':')
        return false;
    const char *at = text + length;
    do {
        uint64_t first, last;
        at++;
        if (!parse_number(&at, &first))
            return false;
        last = first;
        if (*at == '-' && (at++, !parse_number(&at, &last)))
            return false;
        if (last < first || last - first >= RANGE_MAX)
            return false;
        for (uint64_t number = first; number <= last; number++)
            decision_list_add(list, (struct decision){.kind = kind, .number = number});
    } while (*at == ',');
    return *at == '\0';
}

void decision_list_print(const struct decision_list *list, FILE *out)
{
    if (list->count == 0)
        fprintf(out, " --grant none");
    for (uint32_t i = 0; i < list->count;) {
        const struct decision *first = &list->items[i];
        uint32_t end = i + 1;
        while (end < list->count && list->items[end].kind == first->kind &&
               list->items[end].number == first->number + (end - i))
            end++;
        if (i > 0 && first[-1].kind == first->kind) {
            fputc(',', out);
        } else {
            fprintf(out, " --grant ");
            for (const char *c = names[first->kind]; *c; c++)
                fputc(*c >= 'A' && *c <= 'Z' ? *c - 'A' + 'a' : *c, out);
            fputc(':', out);
        }
        fprintf(out, "%" PRIu64, first->number);
        if (end - i > 1)
            fprintf(out, "-%" PRIu64, first->number + (end - i) - 1);
        i = end;
    }
}

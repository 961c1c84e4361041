#include "tests/sim/shrink.h"

#include "base/fatal.h"
#include "tests/sim/attempt.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    EVENTS_MAX = 20000000,  /* some 20 seconds of one core */
    RUN_COST = 2000,        /* events that a run of none would count for */
    ENDLESS_COST = 4000000, /* likewise one without an end: minutes */
    STEPS_PART = 64,        /* the number of steps is found to this part of it */
    TOLD_LINES = 60         /* of what happens */
};

struct shrink {
    const struct shrink_options *options;
    struct attempt *attempt;
    struct shrink_result *best;
    uint64_t limit; /* steps that a run may take: fewer decisions may take longer */
    uint64_t events_left;
};

/* Runs once. True: the violation is there again, and this run is the best now. */
static bool shrink_try(struct shrink *shrink, const struct decision_list *candidate, uint64_t steps)
{
    struct shrink_result *best = shrink->best;
    if (shrink->events_left == 0) {
        best->done = false;
        return false;
    }
    struct decision_list only = {0};
    for (uint32_t i = 0; i < candidate->count; i++)
        decision_list_add(&only, candidate->items[i]);
    decision_list_sort(&only);
    const struct attempt_result *result =
        attempt_run(shrink->attempt, &(struct attempt_options){.seed = shrink->options->seed,
                                                               .steps = steps,
                                                               .only = &only,
                                                               .watch = shrink->options->watch});
    decision_list_deinit(&only);
    best->runs++;
    best->events += result->events;
    uint64_t cost = result->events + (result->endless ? ENDLESS_COST : RUN_COST);
    shrink->events_left -= cost < shrink->events_left ? cost : shrink->events_left;
    if (!result->failed || strcmp(result->what, best->what) != 0)
        return false;
    best->granted.count = 0;
    for (uint32_t i = 0; i < result->count; i++)
        decision_list_add(&best->granted, result->granted[i]);
    shrink->limit = result->calm ? steps : shrink->options->steps;
    best->steps = result->calm ? steps : result->events;
    (void)snprintf(best->text, sizeof best->text, "%s", result->text);
    return true;
}

/* Tries without `count` decisions from `first` on. */
static bool without_range(struct shrink *shrink, uint32_t first, uint32_t count)
{
    const struct decision_list *granted = &shrink->best->granted;
    struct decision_list candidate = {0};
    for (uint32_t i = 0; i < granted->count; i++) {
        if (i < first || i >= first + count)
            decision_list_add(&candidate, granted->items[i]);
    }
    bool shorter = shrink_try(shrink, &candidate, shrink->limit);
    decision_list_deinit(&candidate);
    return shorter;
}

static bool without_kinds(struct shrink *shrink)
{
    bool shorter = false;
    for (uint32_t kind = 0; kind < SIM_DECISION_KINDS; kind++) {
        const struct decision_list *granted = &shrink->best->granted;
        struct decision_list candidate = {0};
        for (uint32_t i = 0; i < granted->count; i++) {
            if (granted->items[i].kind != kind)
                decision_list_add(&candidate, granted->items[i]);
        }
        if (candidate.count < granted->count)
            shorter |= shrink_try(shrink, &candidate, shrink->limit);
        decision_list_deinit(&candidate);
    }
    return shorter;
}

/* Half of them, quarters, ... single ones. */
static bool without_parts(struct shrink *shrink)
{
    bool shorter = false;
    for (uint32_t size = (shrink->best->granted.count + 1) / 2; size > 0; size /= 2) {
        for (uint32_t at = 0; at < shrink->best->granted.count && shrink->best->done;) {
            if (without_range(shrink, at, size))
                shorter = true; /* what came behind it stands here now */
            else
                at += size;
        }
    }
    return shorter;
}

/* A violation after everything was healed does not say how long the part before has to be; one in
 * that part does, and the limit is still far away. */
static bool with_fewer_steps(struct shrink *shrink)
{
    bool shorter = false;
    struct shrink_result *best = shrink->best;
    for (uint64_t less = best->steps / 2; less > 0 && less >= best->steps / STEPS_PART;) {
        if (shrink->limit == best->steps && less < best->steps &&
            shrink_try(shrink, &best->granted, best->steps - less))
            shorter = true;
        else
            less /= 2;
    }
    return shorter;
}

/* The run as it is: what it violates and what it grants. False: nothing is violated. */
static bool shrink_begin(struct shrink *shrink)
{
    const struct shrink_options *options = shrink->options;
    struct shrink_result *best = shrink->best;
    const struct attempt_result *result =
        attempt_run(shrink->attempt, &(struct attempt_options){.seed = options->seed,
                                                               .steps = options->steps,
                                                               .only = options->only,
                                                               .watch = options->watch});
    if (!result->failed)
        return false;
    *best = (struct shrink_result){
        .steps = options->steps, .runs = 1, .events = result->events, .done = true};
    (void)snprintf(best->what, sizeof best->what, "%s", result->what);
    (void)snprintf(best->text, sizeof best->text, "%s", result->text);
    for (uint32_t i = 0; i < result->count; i++)
        decision_list_add(&best->granted, result->granted[i]);
    best->granted_before = result->count;
    if (!result->calm && result->events > 0)
        best->steps = result->events;
    return true;
}

bool shrink_run(const struct shrink_options *options, struct shrink_result *ret)
{
    struct shrink shrink = {.options = options,
                            .attempt = attempt_create(),
                            .best = ret,
                            .limit = options->steps,
                            .events_left = options->events_max ? options->events_max : EVENTS_MAX};
    *ret = (struct shrink_result){0};
    bool failed = shrink_begin(&shrink);
    if (failed && ret->granted.count > 0)
        (void)without_range(&shrink, 0, ret->granted.count);
    bool shorter = failed;
    while (shorter && ret->done) {
        shorter = without_kinds(&shrink);
        shorter |= without_parts(&shrink);
        shorter |= with_fewer_steps(&shrink);
    }
    attempt_destroy(shrink.attempt);
    return failed;
}

void shrink_deinit(struct shrink_result *result)
{
    decision_list_deinit(&result->granted);
}

/* --- Telling ---------------------------------------------------------------------------------- */

static void sorted_copy(const struct decision_list *list, struct decision_list *ret)
{
    *ret = (struct decision_list){0};
    for (uint32_t i = 0; i < list->count; i++)
        decision_list_add(ret, list->items[i]);
    decision_list_sort(ret);
}

/* The last lines of what a run told. */
static void print_told(FILE *told, FILE *out)
{
    char line[512];
    uint64_t lines = 0;
    rewind(told);
    while (fgets(line, sizeof line, told))
        lines++;
    rewind(told);
    if (lines > TOLD_LINES)
        fprintf(out, "  (%" PRIu64 " lines before these are left out)\n", lines - TOLD_LINES);
    for (uint64_t i = 0; fgets(line, sizeof line, told); i++) {
        if (i + TOLD_LINES >= lines)
            fputs(line, out);
    }
}

void shrink_print(const struct shrink_options *options, const struct shrink_result *result,
                  FILE *out)
{
    fprintf(out,
            "shrunk from %" PRIu32 " decisions and %" PRIu64 " steps to %" PRIu32 " and %" PRIu64
            ", in %" PRIu64 " runs%s: \"%s\"\n",
            result->granted_before, options->steps, result->granted.count, result->steps,
            result->runs, result->done ? "" : " (stopped by the bound)", result->what);
    if (result->text[0])
        fprintf(out, "  %s\n", result->text);
    fprintf(out, "what remained:\n");
    for (uint32_t i = 0; i < result->granted.count; i++) {
        const struct decision *decision = &result->granted.items[i];
        fprintf(out, "%12" PRIu64 " us  %s (%s %" PRIu64 ")\n", decision->at_us,
                decision_text(decision->kind), decision_name(decision->kind), decision->number);
    }
    FILE *told = tmpfile();
    ASSERT(told);
    struct decision_list only;
    sorted_copy(&result->granted, &only);
    struct attempt *attempt = attempt_create();
    (void)attempt_run(attempt, &(struct attempt_options){.seed = options->seed,
                                                         .steps = result->steps,
                                                         .only = &only,
                                                         .watch = options->watch,
                                                         .told = told});
    attempt_destroy(attempt);
    decision_list_deinit(&only);
    fprintf(out, "what happens:\n");
    print_told(told, out);
    (void)fclose(told);
    fprintf(out, "replay: ");
    shrink_print_replay(options, result, out);
    fprintf(out, " --brief\n");
}

void shrink_print_replay(const struct shrink_options *options, const struct shrink_result *result,
                         FILE *out)
{
    struct decision_list only;
    sorted_copy(&result->granted, &only);
    fprintf(out, "conclave-sim --seed %" PRIu64 " --steps %" PRIu64, options->seed, result->steps);
    decision_list_print(&only, out);
    decision_list_deinit(&only);
}

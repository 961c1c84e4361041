/* cli/cmd_inspect_log.c - inspect wal, entry, diff: what stands in logs. */
#include "cli/inspect.h"
#include "cli/output.h"
#include "cli/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* --- wal -------------------------------------------------------------------------------------- */

struct listing {
    struct inspect *inspect;
    uint64_t limit, entries;
    bool headed; /* the heads of the columns were printed */
};

static const char *const kind_names[] = {
    [CONCLAVE_INSPECT_SEGMENT] = "segment", [CONCLAVE_INSPECT_SKIPPED] = "skipped",
    [CONCLAVE_INSPECT_ENTRY] = "entry",     [CONCLAVE_INSPECT_ANEW] = "anew",
    [CONCLAVE_INSPECT_MEND] = "mend",       [CONCLAVE_INSPECT_DAMAGE] = "damage",
    [CONCLAVE_INSPECT_TORN] = "torn",       [CONCLAVE_INSPECT_PREPARED] = "prepared",
    [CONCLAVE_INSPECT_GONE] = "gone",
};

static void print_item_json(const struct conclave_inspect_item *item)
{
    char name[32];
    json_t *line = json_pack("{s:s, s:s, s:o, s:o, s:o, s:o}", "what", kind_names[item->kind],
                             "file", inspect_segment(item->segment, name), "offset",
                             output_uint(item->offset), "end", output_uint(item->end), "index",
                             output_uint(item->index), "term", output_uint(item->term));
    if (line && item->kind == CONCLAVE_INSPECT_ENTRY) {
        json_object_set_new(line, "kind", json_string(item->entry));
        json_object_set_new(line, "bytes", output_uint(item->payload_bytes));
        json_object_set_new(line, "replaced", json_boolean(item->replaced));
    }
    if (line && *item->text)
        json_object_set_new(line, "text", inspect_text(item->text));
    output_line(line);
}

static void print_entry_line(struct listing *listing, const struct conclave_inspect_item *item)
{
    if (!listing->headed)
        printf("%10s %6s  %-13s %8s  %s\n", "INDEX", "TERM", "KIND", "BYTES", "WHAT");
    listing->headed = true;
    printf("%10" PRIu64 " %6" PRIu64 "  %-13s %8zu  %s%s\n", item->index, item->term, item->entry,
           item->payload_bytes, item->text, item->replaced ? "  (REPLACED later)" : "");
}

static void print_damage(const struct conclave_inspect_item *item)
{
    char name[32];
    inspect_segment(item->segment, name);
    if (item->end)
        printf("DAMAGED  %s, offset %" PRIu64 " to %" PRIu64 ", behind entry %" PRIu64 ": %s\n",
               name, item->offset, item->end, item->index, item->text);
    else
        printf("DAMAGED  %s: %s\n", name, item->text);
}

static void print_item(struct listing *listing, const struct conclave_inspect_item *item)
{
    char name[32];
    inspect_segment(item->segment, name);
    switch (item->kind) {
    case CONCLAVE_INSPECT_ENTRY:
        print_entry_line(listing, item);
        break;
    case CONCLAVE_INSPECT_SEGMENT:
        printf("-- %s, %" PRIu64 " bytes, behind entry %" PRIu64 " of term %" PRIu64 "\n", name,
               item->file_bytes, item->index, item->term);
        break;
    case CONCLAVE_INSPECT_SKIPPED:
        printf("-- %s is no part of the log any more: it begins anew further on\n", name);
        break;
    case CONCLAVE_INSPECT_ANEW:
        printf("-- the log begins anew behind entry %" PRIu64 " of term %" PRIu64 "\n", item->index,
               item->term);
        break;
    case CONCLAVE_INSPECT_MEND:
        printf("-- a repair put this in the place of what was damaged, up to entry %" PRIu64 "\n",
               item->index);
        break;
    case CONCLAVE_INSPECT_DAMAGE:
        print_damage(item);
        break;
    case CONCLAVE_INSPECT_TORN:
        printf("-- %s, offset %" PRIu64 " to %" PRIu64
               ": of a write that was not finished; the next start cuts it\n",
               name, item->offset, item->end);
        break;
    case CONCLAVE_INSPECT_PREPARED:
        printf("-- %s, %" PRIu64 " bytes, holds nothing yet\n", name, item->file_bytes);
        break;
    case CONCLAVE_INSPECT_GONE:
        printf("-- %s was removed while the log was read\n", name);
        break;
    }
}

static bool list(void *arg, const struct conclave_inspect_item *item)
{
    struct listing *listing = arg;
    const bool entry = item->kind == CONCLAVE_INSPECT_ENTRY;
    if (entry && listing->limit && listing->entries == listing->limit)
        return false;
    listing->entries += entry ? 1 : 0;
    if (listing->inspect->json)
        print_item_json(item);
    else
        print_item(listing, item);
    return !output_failed();
}

/* An index, or how many; 0: not given. */
static bool number_of(const struct args *args, const char *name, uint64_t *ret)
{
    const char *text = args_value(args, name);
    *ret = 0;
    return !text || (text_uint_parse(text, UINT64_MAX, ret) && *ret > 0);
}

int inspect_wal(struct inspect *inspect)
{
    struct listing listing = {.inspect = inspect};
    struct conclave_inspect_options options = {.size = sizeof options};
    struct conclave_inspect_log log;
    struct conclave_error error = {0};
    if (!number_of(inspect->args, "from", &options.from) ||
        !number_of(inspect->args, "to", &options.to) ||
        !number_of(inspect->args, "limit", &listing.limit))
        return output_error(inspect->json, CONCLAVE_INVALID, NULL, NULL,
                            "--from, --to and --limit take a number above 0");
    const int code =
        conclave_inspect_log(inspect->inspection, &options, list, &listing, &log, &error);
    if (code)
        return inspect_error(inspect, code, &error);
    if (log.damaged == 0)
        return 0;
    output_flush();
    return output_error(inspect->json, CONCLAVE_CORRUPT, NULL, NULL,
                        "the log is damaged at %" PRIu64 " place%s", log.damaged,
                        log.damaged == 1 ? "" : "s");
}

/* --- entry ------------------------------------------------------------------------------------ */

struct search {
    struct inspect *inspect;
    bool found;
};

static void print_payload(const uint8_t *bytes, size_t count)
{
    for (size_t at = 0; at < count; at += 16) {
        printf("  %08zx ", at);
        for (size_t i = at; i < at + 16; i++)
            if (i < count)
                printf(" %02x", bytes[i]);
            else
                printf("   ");
        printf("  ");
        for (size_t i = at; i < at + 16 && i < count; i++)
            putchar(bytes[i] >= 0x20 && bytes[i] < 0x7f ? bytes[i] : '.');
        putchar('\n');
    }
}

static void print_whole(const struct conclave_inspect_item *item, bool json)
{
    char name[32];
    inspect_segment(item->segment, name);
    if (json) {
        output_line(
            json_pack("{s:o, s:o, s:s, s:s, s:o, s:o, s:o, s:o}", "index", output_uint(item->index),
                      "term", output_uint(item->term), "kind", item->entry, "file", name, "offset",
                      output_uint(item->offset), "bytes", output_uint(item->payload_bytes), "text",
                      inspect_text(item->text), "payload",
                      output_bytes(item->payload_bytes ? item->payload : "", item->payload_bytes)));
        return;
    }
    printf("index    %" PRIu64 "\nterm     %" PRIu64 "\nkind     %s\nplace    %s, offset %" PRIu64
           "\nbytes    %zu\nwhat     %s\n",
           item->index, item->term, item->entry, name, item->offset, item->payload_bytes,
           item->text);
    print_payload(item->payload, item->payload_bytes);
}

static bool look(void *arg, const struct conclave_inspect_item *item)
{
    struct search *search = arg;
    if (item->kind != CONCLAVE_INSPECT_ENTRY || item->replaced)
        return true;
    search->found = true;
    print_whole(item, search->inspect->json);
    return false;
}

int inspect_entry(struct inspect *inspect, uint64_t index)
{
    enum { VALUE_BYTES = 1 << 20 }; /* all of it */
    struct search search = {.inspect = inspect};
    const struct conclave_inspect_options options = {
        .size = sizeof options, .from = index, .to = index, .value_bytes = VALUE_BYTES};
    struct conclave_inspect_log log;
    struct conclave_error error = {0};
    const int code =
        conclave_inspect_log(inspect->inspection, &options, look, &search, &log, &error);
    if (code)
        return inspect_error(inspect, code, &error);
    if (search.found)
        return 0;
    if (log.damaged)
        return output_error(inspect->json, CONCLAVE_CORRUPT, NULL,
                            "'conclave inspect integrity' lists the damaged places",
                            "entry %" PRIu64 " is not there; the log is damaged at %" PRIu64
                            " place%s",
                            index, log.damaged, log.damaged == 1 ? "" : "s");
    return output_error(inspect->json, CONCLAVE_NOT_FOUND, NULL, NULL,
                        log.first ? "there is no entry %" PRIu64 ": the log holds %" PRIu64
                                    " to %" PRIu64
                                  : "there is no entry %" PRIu64 ": the log holds none",
                        index, log.first, log.last);
}

/* --- diff ------------------------------------------------------------------------------------- */

static json_t *side_json(const struct inspect *inspect,
                         const struct conclave_inspect_difference *difference,
                         const struct conclave_inspect_side *side)
{
    json_t *value =
        json_pack("{s:s, s:s, s:o, s:o, s:o}", "dir", inspect->dir, "name", inspect->identity.name,
                  "first", side->first ? output_uint(side->first) : json_null(), "last",
                  output_uint(side->last), "damaged", output_uint(side->damaged));
    if (value && difference->index)
        json_object_set_new(
            value, "entry",
            json_pack("{s:o, s:s, s:o, s:o}", "term", output_uint(side->term), "kind", side->entry,
                      "bytes", output_uint(side->payload_bytes), "text", inspect_text(side->text)));
    return value;
}

static void print_side(const struct inspect *inspect,
                       const struct conclave_inspect_difference *difference,
                       const struct conclave_inspect_side *side)
{
    if (difference->index)
        printf("  %s: term %" PRIu64 ", %s, %zu bytes: %s\n", inspect->dir, side->term, side->entry,
               side->payload_bytes, side->text);
}

static void print_range(const struct inspect *inspect, const struct conclave_inspect_side *side,
                        uint64_t same_to)
{
    const uint64_t beyond = side->last <= same_to ? 0
                            : same_to             ? side->last - same_to
                                                  : side->last - side->first + 1;
    if (side->first == 0) {
        printf("%s (%s) holds no entries\n", inspect->dir, inspect->identity.name);
    } else {
        printf("%s (%s) holds %" PRIu64 " to %" PRIu64, inspect->dir, inspect->identity.name,
               side->first, side->last);
        if (beyond)
            printf(", %" PRIu64 " of them behind that", beyond);
        printf("\n");
    }
    if (side->damaged)
        printf("%s is DAMAGED at %" PRIu64 " place%s\n", inspect->dir, side->damaged,
               side->damaged == 1 ? "" : "s");
}

static void print_difference(const struct inspect *left, const struct inspect *right,
                             const struct conclave_inspect_difference *difference)
{
    if (difference->same_to)
        printf("the same from entry %" PRIu64 " to %" PRIu64 " (%" PRIu64 " compared)\n",
               difference->same_from, difference->same_to, difference->compared);
    else if (!difference->index)
        printf("no entry is in both of them\n");
    if (difference->index)
        printf("entry %" PRIu64 " DIFFERS:\n", difference->index);
    print_side(left, difference, &difference->left);
    print_side(right, difference, &difference->right);
    print_range(left, &difference->left, difference->same_to);
    print_range(right, &difference->right, difference->same_to);
}

int inspect_diff(struct inspect *left, struct inspect *right)
{
    struct conclave_inspect_difference difference;
    struct conclave_error error = {0};
    const int code =
        conclave_inspect_compare(left->inspection, right->inspection, &difference, &error);
    if (code)
        return inspect_error(left, code, &error);
    if (left->json)
        output_line(json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "same_from",
                              difference.same_to ? output_uint(difference.same_from) : json_null(),
                              "same_to",
                              difference.same_to ? output_uint(difference.same_to) : json_null(),
                              "compared", output_uint(difference.compared), "differs",
                              difference.index ? output_uint(difference.index) : json_null(),
                              "left", side_json(left, &difference, &difference.left), "right",
                              side_json(right, &difference, &difference.right)));
    else
        print_difference(left, right, &difference);
    if (difference.left.damaged || difference.right.damaged) {
        output_flush();
        return output_error(left->json, CONCLAVE_CORRUPT, NULL,
                            "'conclave inspect integrity' lists the damaged places",
                            "a log is damaged: only what could be read was compared");
    }
    return difference.index ? conclave_code_exit(CONCLAVE_COMPARE_FAILED) : 0;
}

/* cli/cmd_inspect_check.c - inspect snapshot and integrity: reading all of it. */
#include "cli/inspect.h"
#include "cli/output.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* --- snapshot --------------------------------------------------------------------------------- */

struct shelf {
    struct inspect *inspect;
    json_t *list;
    size_t count, damaged;
};

static const char *const state_names[] = {
    [CONCLAVE_INSPECT_WHOLE] = "whole",     [CONCLAVE_INSPECT_BAD] = "damaged",
    [CONCLAVE_INSPECT_ASIDE] = "set aside", [CONCLAVE_INSPECT_PARTIAL] = "partial",
    [CONCLAVE_INSPECT_UNREAD] = "unread",
};

static json_t *tables_json(const struct conclave_inspect_snapshot *found)
{
    json_t *tables = json_object();
    for (size_t i = 0; i < CONCLAVE_INSPECT_TABLES_MAX && found->tables[i].name; i++)
        json_object_set_new(tables, found->tables[i].name,
                            json_pack("{s:o, s:o}", "records",
                                      output_uint(found->tables[i].records), "bytes",
                                      output_uint(found->tables[i].bytes)));
    return tables;
}

static json_t *snapshot_json(const struct conclave_inspect_snapshot *found)
{
    json_t *value = json_pack("{s:s, s:o, s:s}", "file", found->file, "bytes",
                              output_uint(found->file_bytes), "state", state_names[found->state]);
    if (!value || found->state == CONCLAVE_INSPECT_PARTIAL ||
        found->state == CONCLAVE_INSPECT_ASIDE)
        return value;
    json_object_set_new(value, "index", output_uint(found->index));
    json_object_set_new(value, "term", output_uint(found->term));
    if (found->state == CONCLAVE_INSPECT_BAD)
        json_object_set_new(value, "text", inspect_text(found->text));
    if (found->state != CONCLAVE_INSPECT_WHOLE)
        return value;
    json_object_set_new(value, "configuration", output_uint(found->configuration_index));
    json_object_set_new(value, "members", output_uint(found->members));
    json_object_set_new(value, "state_bytes", output_uint(found->state_bytes));
    json_object_set_new(value, "sessions", output_uint(found->sessions));
    if (found->key_value) {
        json_object_set_new(value, "revision", output_uint(found->revision));
        json_object_set_new(value, "keys", output_uint(found->keys));
        json_object_set_new(value, "leases", output_uint(found->leases));
        json_object_set_new(value, "topics", output_uint(found->topics));
        json_object_set_new(value, "tables", tables_json(found));
    }
    return value;
}

static void print_whole(const struct conclave_inspect_snapshot *found)
{
    char size[32];
    printf("  up to entry %" PRIu64 " of term %" PRIu64 "; every checksum is right\n", found->index,
           found->term);
    printf("  members      %zu, by entry %" PRIu64 "\n", found->members,
           found->configuration_index);
    printf("  state        %s, unpacked\n", inspect_size(found->state_bytes, size));
    printf("  sessions     %" PRIu64 "\n", found->sessions);
    if (!found->key_value) {
        printf("  of a state machine of its own\n");
        return;
    }
    printf("  revision     %" PRIu64 "; %" PRIu64 " keys, %" PRIu64 " leases, %" PRIu64 " topics\n",
           found->revision, found->keys, found->leases, found->topics);
    for (size_t i = 0; i < CONCLAVE_INSPECT_TABLES_MAX && found->tables[i].name; i++)
        printf("  %-12s %" PRIu64 " records, %s\n", found->tables[i].name, found->tables[i].records,
               inspect_size(found->tables[i].bytes, size));
}

static void print_snapshot(const struct conclave_inspect_snapshot *found)
{
    char size[32];
    printf("snapshots/%s, %s\n", found->file, inspect_size(found->file_bytes, size));
    switch (found->state) {
    case CONCLAVE_INSPECT_WHOLE:
        print_whole(found);
        break;
    case CONCLAVE_INSPECT_BAD:
        printf("  DAMAGED: %s\n", found->text);
        break;
    case CONCLAVE_INSPECT_ASIDE:
        printf("  found damaged by the node, and set aside: it may be deleted\n");
        break;
    case CONCLAVE_INSPECT_PARTIAL:
        printf("  not whole yet: counts for nothing\n");
        break;
    case CONCLAVE_INSPECT_UNREAD:
        break;
    }
}

static void take_snapshot(void *arg, const struct conclave_inspect_snapshot *found)
{
    struct shelf *shelf = arg;
    shelf->count++;
    shelf->damaged += found->state == CONCLAVE_INSPECT_BAD ? 1 : 0;
    if (shelf->inspect->json)
        json_array_append_new(shelf->list, snapshot_json(found));
    else
        print_snapshot(found);
}

int inspect_snapshots(struct inspect *inspect)
{
    struct shelf shelf = {.inspect = inspect, .list = json_array()};
    struct conclave_error error = {0};
    const int code =
        conclave_inspect_snapshots(inspect->inspection, true, take_snapshot, &shelf, &error);
    if (code) {
        json_decref(shelf.list);
        return inspect_error(inspect, code, &error);
    }
    if (inspect->json)
        output_line(json_pack("{s:O}", "snapshots", shelf.list));
    else if (shelf.count == 0)
        printf("no snapshot was taken yet\n");
    json_decref(shelf.list);
    if (shelf.damaged == 0)
        return 0;
    output_flush();
    return output_error(inspect->json, CONCLAVE_CORRUPT, NULL,
                        "the node sets it aside when it comes upon it, and uses the other one",
                        "%zu snapshot%s damaged", shelf.damaged,
                        shelf.damaged == 1 ? " is" : "s are");
}

/* --- integrity -------------------------------------------------------------------------------- */

struct check {
    struct inspect *inspect;
    json_t *damage;           /* a list */
    uint64_t snapshot_newest; /* index of the newest whole one; 0: none */
};

/* The whole of a file, or the text says where. */
#define SOMEWHERE UINT64_MAX

static void damaged(struct check *check, const char *file, uint64_t offset, const char *text)
{
    if (!check->inspect->json && offset == SOMEWHERE)
        printf("DAMAGED    %s: %s\n", file, text);
    else if (!check->inspect->json)
        printf("DAMAGED    %s, offset %" PRIu64 ": %s\n", file, offset, text);
    json_array_append_new(check->damage,
                          json_pack("{s:s, s:o, s:o}", "file", file, "offset",
                                    offset == SOMEWHERE ? json_null() : output_uint(offset), "text",
                                    inspect_text(text)));
}

__attribute__((format(printf, 3, 4))) static void fine(const struct check *check, const char *what,
                                                       const char *format, ...)
{
    if (check->inspect->json)
        return;
    va_list list;
    va_start(list, format);
    printf("%-10s ", what);
    vprintf(format, list);
    printf("\n");
    va_end(list);
}

static void check_vote(struct check *check)
{
    struct conclave_inspect_vote vote;
    struct conclave_error error = {0};
    if (conclave_inspect_vote(check->inspect->inspection, &vote, &error))
        damaged(check, "vote", SOMEWHERE, error.message);
    else if (vote.damaged_slots)
        damaged(check, "vote", vote.damaged_at,
                "one of its two copies; the other one counts, and the next start mends it");
    else
        fine(check, "vote", "whole, term %" PRIu64, vote.term);
}

static void check_joined(struct check *check)
{
    struct conclave_error error = {0};
    const int code = conclave_inspect_joined(check->inspect->inspection, &error);
    if (code == CONCLAVE_OK)
        fine(check, "joined", "whole");
    else if (code != CONCLAVE_NOT_FOUND)
        damaged(check, "joined", SOMEWHERE, error.message);
}

static void check_snapshot(void *arg, const struct conclave_inspect_snapshot *found)
{
    struct check *check = arg;
    char name[96];
    snprintf(name, sizeof name, "snapshots/%s", found->file);
    if (found->state == CONCLAVE_INSPECT_BAD) {
        damaged(check, name, SOMEWHERE, found->text);
    } else if (found->state == CONCLAVE_INSPECT_WHOLE) {
        if (found->index > check->snapshot_newest)
            check->snapshot_newest = found->index;
        fine(check, "snapshot", "%s whole, up to entry %" PRIu64, name, found->index);
    } else {
        fine(check, "snapshot", "%s does not count: it is %s", name, state_names[found->state]);
    }
}

static bool check_item(void *arg, const struct conclave_inspect_item *item)
{
    struct check *check = arg;
    char name[32], text[640];
    if (item->kind != CONCLAVE_INSPECT_DAMAGE)
        return true;
    snprintf(text, sizeof text, "%s (%" PRIu64 " bytes, behind entry %" PRIu64 ")", item->text,
             item->end - item->offset, item->index);
    damaged(check, inspect_segment(item->segment, name), item->offset, text);
    return true;
}

static void check_log(struct check *check)
{
    const struct conclave_inspect_options options = {.size = sizeof options,
                                                     .without_entries = true};
    struct conclave_inspect_log log;
    struct conclave_error error = {0};
    char text[160];
    if (conclave_inspect_log(check->inspect->inspection, &options, check_item, check, &log,
                             &error)) {
        damaged(check, "wal", SOMEWHERE, error.message);
        return;
    }
    if (log.mending)
        fine(check, "log", "a repair did not end: the next start goes on with it");
    if (log.torn_bytes)
        fine(check, "log",
             "%" PRIu64 " bytes of a write that was not finished: the next start cuts them",
             log.torn_bytes);
    if (log.last < check->snapshot_newest)
        fine(check, "log", "ends before the newest snapshot: the next start goes on behind that");
    if (log.damaged == 0 && log.behind > check->snapshot_newest) {
        snprintf(text, sizeof text,
                 "the log begins behind entry %" PRIu64 ", and no whole snapshot reaches it",
                 log.behind);
        damaged(check, "wal", SOMEWHERE, text);
    } else if (log.damaged == 0) {
        fine(check, "log", "whole, %" PRIu64 " entries, up to %" PRIu64, log.entries, log.last);
    }
}

int inspect_integrity(struct inspect *inspect)
{
    struct check check = {.inspect = inspect, .damage = json_array()};
    struct conclave_error error = {0};
    fine(&check, "identity", "whole, %s of cluster %s", inspect->identity.name,
         inspect->identity.cluster);
    check_vote(&check);
    check_joined(&check);
    if (conclave_inspect_snapshots(inspect->inspection, true, check_snapshot, &check, &error))
        damaged(&check, "snapshots", SOMEWHERE, error.message);
    check_log(&check);
    const size_t places = json_array_size(check.damage);
    if (inspect->json)
        output_line(
            json_pack("{s:b, s:o, s:O}", "ok", places == 0, "pid",
                      inspect->identity.pid ? json_integer(inspect->identity.pid) : json_null(),
                      "damaged", check.damage));
    else if (places == 0)
        printf("OK\n");
    json_decref(check.damage);
    if (places == 0)
        return 0;
    output_flush();
    return output_error(inspect->json, CONCLAVE_CORRUPT, NULL, NULL, "%s is damaged at %zu place%s",
                        inspect->dir, places, places == 1 ? "" : "s");
}

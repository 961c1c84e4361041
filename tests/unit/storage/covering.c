#include "covering.h"

#include "storage/identity.h"

#include <criterion/criterion.h>
#include <string.h>

void covering_begin(struct covering *covering, const struct step *steps)
{
    struct story story;
    struct memory_disk *disk = memory_disk_create();
    *covering = (struct covering){0};
    cr_assert_eq(story_play(&story, memory_disk_io(disk), steps), CONCLAVE_OK);
    covering->disk = memory_disk_clone(disk);
    cr_assert_eq(log_read(memory_disk_io(disk), &covering->log, NULL), CONCLAVE_OK);
    memory_disk_destroy(disk);
}

void covering_end(struct covering *covering)
{
    raft_runs_clear(&covering->log.entries);
    memory_disk_destroy(covering->disk);
}

struct raft_id covering_id(const struct covering *covering, uint64_t index)
{
    if (index == covering->log.base.index)
        return covering->log.base;
    const struct raft_entry *entry = raft_runs_find(&covering->log.entries, index);
    cr_assert_not_null(entry);
    return entry->id;
}

/* What is found after the repair is part of what there was, without a gap, and no less than what
 * stands behind the snapshot. */
void covering_judge(struct covering *covering, const struct io *io, struct raft_id snapshot,
                    const char *what)
{
    struct conclave_error error = {0};
    struct wal_recovery found = {0};
    cr_assert_eq(log_read(io, &found, &error), CONCLAVE_OK, "%s: %s", what, error.message);
    cr_assert_leq(found.base.index, snapshot.index, "%s", what);
    cr_assert(raft_id_equal(found.base, covering_id(covering, found.base.index)),
              "%s: begins behind %d.%d", what, (int)found.base.index, (int)found.base.term);
    uint64_t last = raft_runs_last(&covering->log.entries).index;
    cr_assert_eq(found.entries.entry_count, last - found.base.index, "%s", what);
    struct raft_runs_iter iter = {0};
    for (const struct raft_entry *entry; (entry = raft_runs_next(&found.entries, &iter)) != NULL;) {
        const struct raft_entry *right = raft_runs_find(&covering->log.entries, entry->id.index);
        cr_assert(raft_entry_equal(entry, right), "%s", what);
    }
    raft_runs_clear(&found.entries);
    covering->covered++;
}

struct wal_repair *covering_repair(struct memory_disk *disk)
{
    struct conclave_error error = {0};
    struct wal_repair *repair = NULL;
    cr_assert_eq(wal_repair_open(memory_disk_io(disk), STORY_DIR, &story_identity, &repair, &error),
                 CONCLAVE_OK, "%s", error.message);
    return repair;
}

/* The disk is judged with a snapshot up to `index`, and goes. */
void covering_finish(struct covering *covering, struct memory_disk *disk, struct wal_repair *repair,
                     uint64_t index, const char *what)
{
    wal_repair_close(repair);
    covering_judge(covering, memory_disk_io(disk), covering_id(covering, index), what);
    memory_disk_destroy(disk);
    covering_end(covering);
}

/* Damages the records with these numbers. */
void covering_lose(struct covering *covering, struct memory_disk *disk, size_t from, size_t to)
{
    struct placed places[64];
    cr_assert_lt(to, image_layout(covering->disk, places, 64));
    for (size_t i = from; i <= to; i++)
        memory_disk_rot(disk, places[i].path, places[i].offset + 4, "\xff\xfe\xfd\xfc", 4);
}

/* The number of the record with this entry. */
size_t covering_place(const struct covering *covering, uint64_t term, uint64_t index)
{
    struct placed places[64];
    const size_t count = image_layout(covering->disk, places, 64);
    for (size_t i = 0; i < count; i++) {
        size_t bytes = 0;
        struct raft_id id;
        const uint8_t *record =
            memory_disk_bytes(covering->disk, places[i].path, &bytes) + places[i].offset;
        memcpy(&id.term, record + 32, sizeof id.term);
        memcpy(&id.index, record + 40, sizeof id.index);
        if (!places[i].is_batch && id.term == term && id.index == index)
            return i;
    }
    cr_assert(false, "there is no such record");
    return 0;
}

/* Of a peer that has the whole log. */
void covering_ask(const struct covering *covering, struct wal_repair *repair)
{
    const struct wal_supplier log = {.log = &covering->log.entries, .base = covering->log.base};
    struct wal_want want;
    for (int asks = 0; wal_repair_want(repair, &want); asks++) {
        struct raft_runs entries = {0};
        struct raft_id prev = {0};
        cr_assert_lt(asks, 20, "it never ends");
        cr_assert_eq(wal_supply_from(&log, &want, 1, &prev, &entries), WAL_SUPPLY_HERE);
        cr_assert_eq(wal_repair_take(repair, prev, &entries, NULL), CONCLAVE_OK);
        raft_runs_clear(&entries);
    }
}

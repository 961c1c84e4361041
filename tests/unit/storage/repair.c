/* Damage that was attested is put back with what another node has: byte by byte where one record
 * was hit, by a mend where it was several. Never a cut, never a wrong entry. */
#include "healing.h"

#include "storage/identity.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

Test(repair, every_flipped_byte_comes_back)
{
    struct peer peer;
    size_t outcomes[4] = {0};
    peer_make(&peer, story_long);
    const char *path;
    for (size_t file = 0; (path = memory_disk_file(peer.disk, file)) != NULL; file++) {
        size_t bytes = 0;
        const uint8_t *data = memory_disk_bytes(peer.disk, path, &bytes);
        for (size_t at = 0; strstr(path, ".wal") != NULL && at < bytes; at += SPARSELY(5)) {
            char what[192];
            uint8_t value = data[at] ^ (uint8_t)(1u << (at % 8));
            (void)snprintf(what, sizeof(what), "%s at %zu", path, at);
            struct memory_disk *damaged = memory_disk_clone(peer.disk);
            memory_disk_rot(damaged, path, at, &value, 1);
            enum outcome outcome = heal(&peer, damaged, what);
            cr_assert_neq(outcome, OUTCOME_REFUSED, "%s", what);
            outcomes[outcome]++;
            memory_disk_destroy(damaged);
        }
    }
    cr_assert_gt(outcomes[OUTCOME_SAME_BYTES], 4000 / SPARSELY(5));
    cr_assert_gt(outcomes[OUTCOME_MENDED],
                 100 / SPARSELY(5)); /* entries that were replaced later */
    peer_free(&peer);
}

/* A stretch of zeros over several records, as a lost block leaves it. */
static void zero_stretches(const struct peer *peer, size_t length, size_t outcomes[4])
{
    static const uint8_t zeros[STORY_SEGMENT_BYTES + STORY_LARGE_BYTES];
    const char *path;
    for (size_t file = 0; (path = memory_disk_file(peer->disk, file)) != NULL; file++) {
        size_t bytes = 0;
        if (strstr(path, ".wal") == NULL)
            continue;
        (void)memory_disk_bytes(peer->disk, path, &bytes);
        for (size_t at = 0; at + length <= bytes; at += 8 * SPARSELY(3)) {
            char what[192];
            (void)snprintf(what, sizeof(what), "%s: zeros from %zu to %zu", path, at, at + length);
            struct memory_disk *damaged = memory_disk_clone(peer->disk);
            memory_disk_rot(damaged, path, at, zeros, length);
            outcomes[heal(peer, damaged, what)]++;
            memory_disk_destroy(damaged);
        }
    }
}

Test(repair, several_records_in_a_row_become_a_mend)
{
    struct peer peer;
    peer_make(&peer, story_long);
    static const size_t lengths[] = {64, 152, 512};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        size_t outcomes[4] = {0};
        zero_stretches(&peer, lengths[i], outcomes);
        cr_assert_gt(outcomes[OUTCOME_MENDED], 300 / SPARSELY(3), "%zu", lengths[i]);
        cr_assert_leq(outcomes[OUTCOME_REFUSED], outcomes[OUTCOME_MENDED] / 5, "%zu of %zu: %zu",
                      outcomes[OUTCOME_REFUSED], outcomes[OUTCOME_MENDED], lengths[i]);
    }
    peer_free(&peer);
}

/* Two places at once, in all pairs of a coarse grid. */
Test(repair, two_holes_are_mended_together)
{
    struct peer peer;
    struct placed places[512];
    peer_make(&peer, story_long);
    size_t count = image_layout(peer.disk, places, 512), mended = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = i + 1; j < count; j += 3) {
            struct memory_disk *damaged = memory_disk_clone(peer.disk);
            memory_disk_rot(damaged, places[i].path, places[i].offset + 3, "x", 1);
            memory_disk_rot(damaged, places[j].path, places[j].offset + 9, "y", 1);
            char what[192];
            (void)snprintf(what, sizeof(what), "%s at %zu, %s at %zu", places[i].path,
                           places[i].offset, places[j].path, places[j].offset);
            mended += heal(&peer, damaged, what) != OUTCOME_REFUSED ? 1 : 0;
            memory_disk_destroy(damaged);
        }
    }
    cr_assert_gt(mended, 900);
    peer_free(&peer);
}

/* An effective entry of the story that is not empty, in the middle of a batch. */
static const struct placed *find_entry(const struct peer *peer, struct placed *places, size_t count)
{
    for (size_t i = count / 2; i + 1 < count; i++) {
        size_t bytes = 0;
        const uint8_t *at =
            memory_disk_bytes(peer->disk, places[i].path, &bytes) + places[i].offset;
        if (!places[i].is_batch && !places[i + 1].is_batch && places[i].bytes > WAL_RECORD_BYTES &&
            places[i].offset + places[i].bytes == places[i + 1].offset && at[40] > 12)
            return &places[i];
    }
    cr_assert_fail("there is none");
    return NULL;
}

Test(repair, other_bytes_are_not_taken)
{
    struct peer peer;
    struct placed places[512];
    struct conclave_error error = {0};
    struct wal_want want;
    peer_make(&peer, story_long);
    const struct placed *place = find_entry(&peer, places, image_layout(peer.disk, places, 512));
    struct memory_disk *damaged = memory_disk_clone(peer.disk);
    memory_disk_rot(damaged, place->path, place->offset + 2, "x", 1);
    struct memory_disk *before = memory_disk_clone(damaged);
    struct wal_repair *repair = NULL;
    cr_assert_eq(
        wal_repair_open(memory_disk_io(damaged), STORY_DIR, &story_identity, &repair, &error),
        CONCLAVE_OK, "%s", error.message);
    cr_assert(wal_repair_want(repair, &want));
    cr_assert_eq(want.last, want.prev.index + 1);
    cr_assert_eq(wal_repair_missing(repair), 1);
    cr_assert_eq(want.offset, place->offset);

    struct raft_runs wrong = {0};
    struct raft_batch *batch = raft_batch_create(1);
    const struct raft_entry *right = raft_runs_find(&peer.log.entries, want.last);
    struct raft_entry entry = *right;
    entry.buf = buf_copy(right->payload.data, right->payload.bytes);
    entry.buf->data[0] ^= 1;
    entry.payload.data = entry.buf->data;
    raft_batch_add(batch, entry);
    raft_runs_append(&wrong, batch, 0, 1);
    raft_batch_unref(batch);
    struct wal_want after;
    cr_assert_eq(wal_repair_take(repair, want.prev, &wrong, &error), CONCLAVE_INVALID);
    cr_assert(wal_repair_want(repair, &after));
    cr_assert_eq(memcmp(&want, &after, sizeof want), 0, "it asks for the same again");
    cr_assert(memory_disk_equal(before, damaged));
    raft_runs_clear(&wrong);
    wal_repair_close(repair);
    memory_disk_destroy(before);
    memory_disk_destroy(damaged);
    peer_free(&peer);
}

Test(repair, who_lacks_the_anchor_gives_nothing)
{
    struct raft_runs log = {0}, given = {0};
    struct raft_id prev;
    runs_fill(&log, 2, 5, 6); /* 5 to 10, of term 2 */
    const struct raft_id base = {.term = 1, .index = 4};
    const struct wal_supplier supplier = {.log = &log, .base = base};
    struct wal_want want = {
        .prev = {.term = 2, .index = 6}, .last = 8, .anchor = {.term = 2, .index = 9}};
    cr_assert_eq(wal_supply_from(&supplier, &want, 1 << 20, &prev, &given), WAL_SUPPLY_HERE);
    cr_assert_eq(given.entry_count, 2);
    cr_assert_eq(raft_runs_first(&given).index, 7);
    raft_runs_clear(&given);
    want.anchor.term = 3;
    cr_assert_eq(wal_supply_from(&supplier, &want, 1, &prev, &given), WAL_SUPPLY_ABSENT);
    want.anchor = (struct raft_id){.term = 3, .index = 11};
    cr_assert_eq(wal_supply_from(&supplier, &want, 1, &prev, &given), WAL_SUPPLY_ABSENT);
    want = (struct wal_want){
        .prev = {.term = 1, .index = 3}, .last = 8, .anchor = {.term = 2, .index = 9}};
    cr_assert_eq(wal_supply_from(&supplier, &want, 1, &prev, &given), WAL_SUPPLY_COMPACTED);
    want.prev = base;
    cr_assert_eq(wal_supply_from(&supplier, &want, 0, &prev, &given), WAL_SUPPLY_HERE);
    cr_assert_eq(given.entry_count, 1, "one at least");
    cr_assert(raft_id_equal(prev, base));
    raft_runs_clear(&given);
    raft_runs_clear(&log);
}

/* Up to 7 an entry may have been replaced in a hole of this log: 5 to 7 are of term 2, and the
 * anchor of term 3 may stand behind others. What is of the anchor's own term is of its leader's
 * log. */
Test(repair, what_may_have_been_replaced_is_not_given)
{
    struct raft_runs log = {0}, given = {0};
    struct raft_id prev;
    runs_fill(&log, 2, 5, 3); /* 5 to 7, of term 2 */
    runs_fill(&log, 3, 8, 3); /* 8 to 10, of term 3 */
    struct wal_supplier supplier = {.log = &log, .base = {.term = 1, .index = 4}, .doubtful = 7};
    struct wal_want want = {.prev = supplier.base, .last = 7, .anchor = {.term = 3, .index = 9}};
    cr_assert_eq(wal_supply_from(&supplier, &want, 1 << 20, &prev, &given), WAL_SUPPLY_LATER);
    want.prev = (struct raft_id){.term = 2, .index = 7};
    want.last = 8;
    cr_assert_eq(wal_supply_from(&supplier, &want, 1 << 20, &prev, &given), WAL_SUPPLY_HERE);
    cr_assert_eq(given.entry_count, 1);
    cr_assert_eq(prev.index, 7);
    cr_assert_eq(prev.term, 0, "not even its id");
    raft_runs_clear(&given);
    want.last = 7;
    cr_assert_eq(wal_supply_from(&supplier, &want, 1 << 20, &prev, &given), WAL_SUPPLY_LATER);
    want = (struct wal_want){.prev = supplier.base, .last = 6, .anchor = {.term = 2, .index = 7}};
    cr_assert_eq(wal_supply_from(&supplier, &want, 1 << 20, &prev, &given), WAL_SUPPLY_HERE);
    cr_assert_eq(given.entry_count, 2);
    raft_runs_clear(&given);
    supplier.doubtful = 0;
    want.anchor = (struct raft_id){.term = 3, .index = 9};
    cr_assert_eq(wal_supply_from(&supplier, &want, 1 << 20, &prev, &given), WAL_SUPPLY_HERE);
    raft_runs_clear(&given);
    raft_runs_clear(&log);
}

/* What a snapshot here holds need not come back: the log then begins behind it. */
Test(repair, what_a_snapshot_holds_is_not_wanted)
{
    struct peer peer;
    struct placed places[512];
    struct conclave_error error = {0};
    struct wal_recovery recovery = {0};
    struct wal_want want;
    peer_make(&peer, story_long);
    const struct placed *place = find_entry(&peer, places, image_layout(peer.disk, places, 512));
    memory_disk_rot(peer.disk, place->path, place->offset + 2, "x", 1);
    const struct io *io = memory_disk_io(peer.disk);
    struct wal_repair *repair = NULL;
    cr_assert_eq(wal_repair_open(io, STORY_DIR, &story_identity, &repair, &error), CONCLAVE_OK);
    cr_assert(wal_repair_want(repair, &want));
    uint64_t lost = want.last;
    wal_repair_cover(repair, (struct raft_id){.term = 1, .index = lost - 1});
    cr_assert(wal_repair_want(repair, &want), "it does not reach that far");
    wal_repair_cover(repair, (struct raft_id){.term = want.anchor.term, .index = lost});
    cr_assert_not(wal_repair_want(repair, &want));
    cr_assert_eq(wal_repair_write(repair, &error), CONCLAVE_OK, "%s", error.message);
    wal_repair_close(repair);
    cr_assert_eq(log_read(io, &recovery, &error), CONCLAVE_OK, "%s", error.message);
    cr_assert_eq(recovery.base.index, lost);
    cr_assert_eq(recovery.base.term, raft_runs_find(&peer.log.entries, lost)->id.term);
    cr_assert_eq(raft_runs_last(&recovery.entries).index, raft_runs_last(&peer.log.entries).index);
    raft_runs_clear(&recovery.entries);
    peer_free(&peer);
}

/* Whatever fails or loses its power in the middle: the next start mends the rest. */
static void interrupt(const struct peer *peer, bool power, size_t *ret_failed)
{
    struct placed places[512];
    size_t count = image_layout(peer->disk, places, 512);
    for (uint64_t at = 1;; at++) {
        struct memory_disk *damaged = memory_disk_clone(peer->disk);
        struct conclave_error error = {0};
        for (size_t i = 3; i < count; i += count / 4)
            memory_disk_rot(damaged, places[i].path, places[i].offset + 5, "x", 1);
        if (power)
            memory_disk_power_off_at(damaged, at);
        else
            memory_disk_fail_at(damaged, at, CONCLAVE_IO);
        int code = repair_all(damaged, peer, &error);
        if (power)
            memory_disk_crash(damaged, at);
        memory_disk_fail_at(damaged, 0, CONCLAVE_OK);
        cr_assert_eq(memory_disk_handles(damaged), 0);
        *ret_failed += code != CONCLAVE_OK ? 1 : 0;
        cr_assert_neq(heal(peer, damaged, "again"), OUTCOME_REFUSED, "operation %llu",
                      (unsigned long long)at);
        bool done = at > memory_disk_operations(damaged);
        memory_disk_destroy(damaged);
        if (done)
            return;
    }
}

Test(repair, every_operation_may_fail)
{
    struct peer peer;
    size_t failed = 0;
    peer_make(&peer, story_long);
    interrupt(&peer, false, &failed);
    cr_assert_gt(failed, 20);
    failed = 0;
    interrupt(&peer, true, &failed);
    cr_assert_gt(failed, 20);
    peer_free(&peer);
}

/* What a killed process wrote and never synced, or a sync failed to, looks whole to the next start.
 * If that counted it, a loss of power would take what the node counts as durable. */
Test(repair, what_was_not_synced_is_written_again)
{
    struct peer peer;
    struct placed places[512];
    peer_make(&peer, story_long);
    size_t count = image_layout(peer.disk, places, 512), cached = 0;
    for (uint64_t at = 1;; at++) {
        struct memory_disk *damaged = memory_disk_clone(peer.disk);
        struct conclave_error error = {0};
        struct wal_recovery recovery = {0};
        for (size_t i = 3; i < count; i += count / 4)
            memory_disk_rot(damaged, places[i].path, places[i].offset + 5, "x", 1);
        memory_disk_fail_at(damaged, at, CONCLAVE_IO);
        int code = repair_all(damaged, &peer, &error);
        memory_disk_fail_at(damaged, 0, CONCLAVE_OK);
        bool done = at > memory_disk_operations(damaged);
        if (log_read(memory_disk_io(damaged), &recovery, &error) == CONCLAVE_OK) {
            cached += code != CONCLAVE_OK ? 1 : 0;
            raft_runs_clear(&recovery.entries);
            memory_disk_crash_hard(damaged);
            cr_assert_eq(log_read(memory_disk_io(damaged), &recovery, &error), CONCLAVE_OK,
                         "operation %llu: %s", (unsigned long long)at, error.message);
            raft_runs_clear(&recovery.entries);
        }
        memory_disk_destroy(damaged);
        if (done)
            break;
    }
    cr_assert_gt(cached, 0);
    peer_free(&peer);
}

/* Damage next to a mend, and to the mend: looked at as any other, and nothing is changed by that.
 */
Test(repair, damage_around_a_mend_is_only_looked_at)
{
    struct peer peer;
    struct placed places[512];
    size_t opened = 0, mends = 0;
    peer_make(&peer, story_long);
    size_t count = image_layout(peer.disk, places, 512);
    for (size_t i = 1; i + 4 < count; i += 3) {
        struct memory_disk *mended = memory_disk_clone(peer.disk);
        for (size_t j = i; j < i + 3; j++)
            memory_disk_rot(mended, places[j].path, places[j].offset + 4, "x", 1);
        mends += heal(&peer, mended, "three records") == OUTCOME_MENDED ? 1 : 0;
        for (size_t j = i - 1; j < i + 4; j++) {
            struct memory_disk *damaged = memory_disk_clone(mended);
            struct wal_repair *repair = NULL;
            struct conclave_error error = {0};
            memory_disk_rot(damaged, places[j].path, places[j].offset + 5, "y", 1);
            struct memory_disk *before = memory_disk_clone(damaged);
            int code = wal_repair_open(memory_disk_io(damaged), STORY_DIR, &story_identity, &repair,
                                       &error);
            cr_assert(code == CONCLAVE_OK || code == CONCLAVE_CORRUPT, "%s", error.message);
            opened += code == CONCLAVE_OK ? 1 : 0;
            wal_repair_close(repair);
            cr_assert(memory_disk_equal(before, damaged));
            cr_assert_eq(memory_disk_handles(damaged), 0);
            memory_disk_destroy(before);
            memory_disk_destroy(damaged);
        }
        memory_disk_destroy(mended);
    }
    cr_assert_gt(mends, 20);
    cr_assert_gt(opened, 50);
    peer_free(&peer);
}

/* A peer that is damaged right behind what is missing here has that, but lacks the nearest anchor:
 * another one, farther behind, is as good. */
Test(repair, anchors_take_turns)
{
    struct peer peer;
    struct placed places[512];
    struct conclave_error error = {0};
    struct wal_want nearest, want;
    peer_make(&peer, story_long);
    const struct placed *place = find_entry(&peer, places, image_layout(peer.disk, places, 512));
    memory_disk_rot(peer.disk, place->path, place->offset + 2, "x", 1);
    struct wal_repair *repair = NULL;
    cr_assert_eq(
        wal_repair_open(memory_disk_io(peer.disk), STORY_DIR, &story_identity, &repair, &error),
        CONCLAVE_OK);
    cr_assert(wal_repair_want(repair, &nearest));
    uint64_t last = raft_runs_last(&peer.log.entries).index;
    uint64_t before = nearest.anchor.index;
    cr_assert_lt(before + 1, last);
    int turns = 0, proofs = 0;
    for (bool again = false; !again; turns++) {
        wal_repair_turn(repair);
        again = wal_repair_is_nearest(repair);
        cr_assert(wal_repair_want(repair, &want));
        cr_assert_eq(want.last, nearest.last);
        cr_assert(want.anchor.index == 0 || want.prev.index == nearest.prev.index);
        cr_assert_eq(wal_repair_is_tried(repair), again);
        if (want.anchor.index == 0) { /* of any log */
            proofs++;
            continue;
        }
        const struct raft_entry *anchor = raft_runs_find(&peer.log.entries, want.anchor.index);
        cr_assert(raft_id_equal(anchor->id, want.anchor), "it is an entry of this log");
        cr_assert(again ? want.anchor.index == nearest.anchor.index : want.anchor.index > before);
        before = want.anchor.index;
    }
    cr_assert_gt(turns, 2);
    cr_assert_eq(proofs, 1);
    wal_repair_close(repair);
    peer_free(&peer);
}

/* Two nodes lack one entry each, one right behind the other, and there is no third that has them:
 * the first gets its own by the nearest anchor, whose id the second knows. */
Test(repair, neighbours_in_damage_help_each_other)
{
    struct peer peer;
    struct placed places[512];
    struct conclave_error error = {0};
    struct wal_recovery recovery = {0};
    struct wal_want want;
    peer_make(&peer, story_long);
    const struct placed *place = find_entry(&peer, places, image_layout(peer.disk, places, 512));
    struct memory_disk *first = memory_disk_clone(peer.disk);
    struct memory_disk *second = memory_disk_clone(peer.disk);
    memory_disk_rot(first, place[0].path, place[0].offset + 2, "x", 1);
    memory_disk_rot(second, place[1].path, place[1].offset + 2, "x", 1);
    struct wal_repair *asks = NULL, *gives = NULL;
    cr_assert_eq(wal_repair_open(memory_disk_io(first), STORY_DIR, &story_identity, &asks, &error),
                 CONCLAVE_OK);
    cr_assert_eq(
        wal_repair_open(memory_disk_io(second), STORY_DIR, &story_identity, &gives, &error),
        CONCLAVE_OK);
    const struct wal_supplier log = wal_repair_log(gives);
    int turns = 0;
    for (; wal_repair_want(asks, &want); turns++) {
        struct raft_id prev;
        struct raft_runs given = {0};
        cr_assert_lt(turns, 100, "it never ends");
        if (wal_supply_from(&log, &want, 64, &prev, &given) == WAL_SUPPLY_HERE)
            cr_assert_eq(wal_repair_take(asks, prev, &given, &error), CONCLAVE_OK);
        else
            wal_repair_turn(asks);
        raft_runs_clear(&given);
    }
    cr_assert_eq(turns, 1);
    cr_assert_eq(wal_repair_write(asks, &error), CONCLAVE_OK, "%s", error.message);
    wal_repair_close(asks);
    wal_repair_close(gives);
    cr_assert_eq(log_read(memory_disk_io(first), &recovery, &error), CONCLAVE_OK);
    cr_assert(story_matches(&peer.story, peer.story.staged_count, &recovery.entries));
    raft_runs_clear(&recovery.entries);
    memory_disk_destroy(first);
    memory_disk_destroy(second);
    peer_free(&peer);
}

/* The story, and its operation so long before the end failed: what it wrote is read, and is lost
 * with the power. Then a byte changed. */
static struct memory_disk *unsynced(uint64_t failing, const char *path, size_t at)
{
    struct story story;
    struct memory_disk *disk = memory_disk_create();
    memory_disk_fail_at(disk, failing, CONCLAVE_IO);
    (void)story_play(&story, memory_disk_io(disk), story_long);
    if (path) {
        size_t bytes = 0;
        const uint8_t value = memory_disk_bytes(disk, path, &bytes)[at] ^ 1;
        memory_disk_rot(disk, path, at, &value, 1);
    }
    return disk;
}

static int read_and_destroy(struct memory_disk *disk, bool power_failure)
{
    struct wal_recovery recovery = {0};
    if (power_failure)
        memory_disk_crash_hard(disk);
    int code = log_read(memory_disk_io(disk), &recovery, NULL);
    raft_runs_clear(&recovery.entries);
    memory_disk_destroy(disk);
    return code;
}

/* A process that was killed, or whose sync failed, leaves a batch that may never have reached the
 * disk. It alone may show that what stands before it is damage and no torn batch. */
Test(repair, what_shows_the_damage_outlives_the_power_once_it_was_looked_at)
{
    struct memory_disk *disk = unsynced(0, NULL, 0);
    uint64_t operations = memory_disk_operations(disk);
    memory_disk_destroy(disk);
    size_t windows = 0;
    for (uint64_t failing = operations - 5; failing <= operations; failing++) {
        struct placed places[STORY_ENTRIES_MAX];
        disk = unsynced(failing, NULL, 0);
        size_t count = image_layout(disk, places, STORY_ENTRIES_MAX);
        memory_disk_destroy(disk);
        const struct placed *last = &places[count - 1];
        for (size_t at = 0; at < last->offset; at += 7 * SPARSELY(3)) {
            struct wal_repair *repair = NULL;
            if (read_and_destroy(unsynced(failing, last->path, at), false) != CONCLAVE_CORRUPT)
                continue;
            disk = unsynced(failing, last->path, at);
            int code =
                wal_repair_open(memory_disk_io(disk), STORY_DIR, &story_identity, &repair, NULL);
            cr_assert_eq(code, CONCLAVE_OK);
            wal_repair_close(repair);
            cr_assert_eq(read_and_destroy(disk, true), CONCLAVE_CORRUPT,
                         "operation %llu failed, byte %zu", (unsigned long long)failing, at);
            windows += read_and_destroy(unsynced(failing, last->path, at), true) == CONCLAVE_OK;
        }
    }
    cr_assert_gt(windows, 0, "no loss of power would have hidden it");
}

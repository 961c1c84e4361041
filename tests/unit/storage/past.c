/* What a running node reads from its segments for another one: of the log that it has now, whatever
 * was replaced since, or nothing. */
#include "healing.h"

#include "storage/wal_past.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct wal_past past_of(struct memory_disk *disk, struct raft_id known)
{
    return (struct wal_past){
        .io = memory_disk_io(disk), .dir = STORY_DIR, .identity = &story_identity, .known = known};
}

static struct raft_id id_at(const struct peer *peer, uint64_t index)
{
    return index == 0 ? (struct raft_id){0} : raft_runs_find(&peer->log.entries, index)->id;
}

/* How many of the wanted entries came. */
static uint64_t ask(const struct peer *peer, const struct wal_past *past,
                    const struct wal_want *want)
{
    struct raft_id prev = {0};
    struct raft_runs entries = {0};
    struct conclave_error error = {0};
    enum wal_supply supply = WAL_SUPPLY_LATER;
    int code = wal_past_supply(past, want, 1 << 20, &supply, &prev, &entries, &error);
    cr_assert_eq(code, CONCLAVE_OK, "%s", error.message);
    cr_assert_eq(supply, WAL_SUPPLY_HERE, "%d behind %d, of %d", (int)want->last,
                 (int)want->prev.index, (int)past->known.index);
    cr_assert(raft_id_equal(prev, id_at(peer, want->prev.index)));
    struct raft_runs_iter iter = {0};
    for (const struct raft_entry *entry; (entry = raft_runs_next(&entries, &iter)) != NULL;) {
        const struct slice right = payload_of(entry->id);
        cr_assert(raft_id_equal(entry->id, id_at(peer, entry->id.index)));
        cr_assert_eq(entry->payload.bytes, right.bytes);
        cr_assert(right.bytes == 0 || memcmp(entry->payload.data, right.data, right.bytes) == 0);
    }
    uint64_t count = entries.entry_count;
    raft_runs_clear(&entries);
    return count;
}

Test(past, every_part_of_the_log_is_given_as_it_is_now)
{
    struct peer peer;
    peer_make(&peer, story_long);
    const uint64_t last = raft_runs_last(&peer.log.entries).index;
    for (uint64_t known = 1; known <= last; known++) {
        struct wal_past past = past_of(peer.disk, id_at(&peer, known));
        for (uint64_t from = 0; from < known; from += 2) {
            for (uint64_t to = from + 1; to <= known; to += 1 + (known - from) / 4) {
                struct wal_want want = {.prev.index = from, .last = to, .anchor = id_at(&peer, to)};
                cr_assert_eq(ask(&peer, &past, &want), to - from);
                want.anchor = (struct raft_id){.term = 99, .index = last + 1}; /* in memory */
                cr_assert_eq(ask(&peer, &past, &want), to - from);
                want.anchor = (struct raft_id){0}; /* whatever it is */
                cr_assert_eq(ask(&peer, &past, &want), to - from);
            }
        }
    }
    peer_free(&peer);
}

/* One entry in each batch, an attestation, and others in the place of the last three. */
static void make_replaced(struct peer *peer, uint64_t before)
{
    struct step steps[128];
    size_t count = 0;
    for (uint64_t index = 2; index <= before; index++) {
        steps[count++] = (struct step){.kind = STEP_APPEND, .term = 1, .index = index, .count = 1};
        steps[count++] = (struct step){.kind = STEP_SYNC};
    }
    steps[count++] = (struct step){.kind = STEP_ATTEST};
    steps[count++] = (struct step){.kind = STEP_APPEND, .term = 2, .index = before - 2, .count = 8};
    steps[count++] = (struct step){.kind = STEP_SYNC};
    steps[count] = (struct step){.kind = STEP_END};
    peer_make(peer, steps);
}

/* Loses both batch records with which a segment begins, and mends them: false if none does. */
static bool mend_front(struct peer *peer)
{
    struct placed places[256];
    struct conclave_error error = {0};
    const size_t count = image_layout(peer->disk, places, 256);
    for (size_t i = 0; i + 1 < count; i++) {
        if (places[i].offset != WAL_HEADER_BYTES || !places[i + 1].is_batch ||
            strcmp(places[i].path, places[i + 1].path) != 0)
            continue;
        for (size_t k = i; k < i + 2; k++)
            memory_disk_rot(peer->disk, places[k].path, places[k].offset + 4, "\x5a\xa5", 2);
        cr_assert_eq(repair_all(peer->disk, peer, &error), CONCLAVE_OK, "%s", error.message);
        return true;
    }
    return false;
}

/* A mend at the front of a segment, and what replaces entries of the one before: what they follow
 * that segment does not say, though the log before it ended where they are asked for. */
Test(past, what_replaced_the_end_of_a_segment_behind_a_mend_is_read_from_farther_back)
{
    size_t mended = 0;
    for (uint64_t before = 4; before < 36; before++) {
        struct peer peer;
        make_replaced(&peer, before);
        const uint64_t last = raft_runs_last(&peer.log.entries).index;
        const struct wal_past past = past_of(peer.disk, id_at(&peer, last));
        mended += mend_front(&peer) ? 1 : 0;
        for (uint64_t from = 0; from < last; from++) {
            const struct wal_want want = {.prev.index = from, .last = last, .anchor = past.known};
            cr_assert_eq(ask(&peer, &past, &want), last - from);
        }
        peer_free(&peer);
    }
    cr_assert_gt(mended, 3);
}

/* What is asked of an anchor that was replaced here comes from another log. */
Test(past, an_anchor_that_is_not_in_the_log_gives_nothing)
{
    struct peer peer;
    peer_make(&peer, story_long);
    const uint64_t last = raft_runs_last(&peer.log.entries).index;
    struct wal_past past = past_of(peer.disk, id_at(&peer, last));
    size_t replaced = 0;
    for (size_t i = 0; i < peer.story.staged_count; i++) {
        struct raft_id prev, anchor = peer.story.staged[i];
        struct raft_runs entries = {0};
        enum wal_supply supply = WAL_SUPPLY_HERE;
        if (raft_id_equal(anchor, id_at(&peer, anchor.index)))
            continue;
        const struct wal_want want = {.last = anchor.index, .anchor = anchor};
        cr_assert_eq(wal_past_supply(&past, &want, 1 << 20, &supply, &prev, &entries, NULL),
                     CONCLAVE_OK);
        uint64_t shared = 0; /* up to there the leader of its term made what stayed */
        for (uint64_t index = 1; index < anchor.index; index++)
            shared = id_at(&peer, index).term == anchor.term ? index : shared;
        cr_assert_eq(supply, shared > 0 ? WAL_SUPPLY_HERE : WAL_SUPPLY_ABSENT);
        cr_assert_eq(raft_runs_last(&entries).index, shared);
        raft_runs_clear(&entries);
        replaced++;
    }
    cr_assert_gt(replaced, 5);
    peer_free(&peer);
}

/* A flipped byte anywhere: what was asked for comes as it is, or nothing does. */
Test(past, damage_gives_nothing_or_what_is_right)
{
    struct peer peer;
    struct placed places[512];
    peer_make(&peer, story_long);
    const uint64_t last = raft_runs_last(&peer.log.entries).index;
    size_t count = image_layout(peer.disk, places, 512), given = 0, refused = 0;
    for (size_t i = 0; i < count; i++) {
        struct memory_disk *disk = memory_disk_clone(peer.disk);
        memory_disk_rot(disk, places[i].path, places[i].offset + 3, "x", 1);
        struct wal_past past = past_of(disk, id_at(&peer, last));
        for (uint64_t index = 1; index <= last; index += 3) {
            struct raft_id prev = {0};
            struct raft_runs entries = {0};
            enum wal_supply supply = WAL_SUPPLY_LATER;
            const struct wal_want want = {
                .prev.index = index - 1, .last = index, .anchor = past.known};
            int code = wal_past_supply(&past, &want, 1 << 20, &supply, &prev, &entries, NULL);
            if (code == CONCLAVE_OK) {
                cr_assert_eq(supply, WAL_SUPPLY_HERE);
                cr_assert(raft_id_equal(raft_runs_last(&entries), id_at(&peer, index)));
            }
            given += code == CONCLAVE_OK;
            refused += code == CONCLAVE_NOT_FOUND || code == CONCLAVE_CORRUPT;
            cr_assert_eq(given + refused > 0, true);
            raft_runs_clear(&entries);
        }
        cr_assert_eq(memory_disk_handles(disk), 0);
        memory_disk_destroy(disk);
    }
    cr_assert_gt(given, 100, "%zu", given);
    cr_assert_gt(refused, 100, "%zu", refused);
    peer_free(&peer);
}

/* Asks for entries 2 to `to`; what comes is right. */
static int read_second(const struct peer *peer, const struct wal_past *past, uint64_t to,
                       struct conclave_error *error)
{
    struct raft_id prev = {0};
    struct raft_runs entries = {0};
    enum wal_supply supply = WAL_SUPPLY_LATER;
    const struct wal_want want = {.prev.index = 1, .last = to, .anchor = past->known};
    int code = wal_past_supply(past, &want, 1 << 20, &supply, &prev, &entries, error);
    struct raft_runs_iter iter = {0};
    for (const struct raft_entry *entry; (entry = raft_runs_next(&entries, &iter)) != NULL;)
        cr_assert(raft_id_equal(entry->id, id_at(peer, entry->id.index)));
    if (code != CONCLAVE_OK)
        cr_assert_eq(entries.entry_count, 0);
    else if (supply == WAL_SUPPLY_HERE)
        cr_assert_eq(entries.entry_count, to - 1);
    else
        code = CONCLAVE_NOT_FOUND;
    raft_runs_clear(&entries);
    return code;
}

Test(past, a_disk_that_fails_while_it_is_read_gives_nothing_and_is_told)
{
    struct peer peer;
    peer_make(&peer, story_long);
    const uint64_t last = raft_runs_last(&peer.log.entries).index;
    uint64_t at = 1;
    for (bool met = true; met; at++) {
        struct memory_disk *disk = memory_disk_clone(peer.disk);
        struct wal_past past = past_of(disk, id_at(&peer, last));
        struct conclave_error error = {0};
        memory_disk_fail_at(disk, at, CONCLAVE_IO);
        int code = read_second(&peer, &past, last, at % 2 == 0 ? &error : NULL);
        met = memory_disk_operations(disk) >= at;
        cr_assert_eq(code, met ? CONCLAVE_IO : CONCLAVE_OK, "operation %d", (int)at);
        cr_assert(!met || at % 2 != 0 || error.message[0] != '\0', "operation %d", (int)at);
        cr_assert_eq(memory_disk_handles(disk), 0);
        memory_disk_destroy(disk);
    }
    cr_assert_gt(at, 20);
    peer_free(&peer);
}

/* A header that is whole, and not the one that belongs there. */
static void forge_header(struct memory_disk *disk, const char *path, int flaw)
{
    size_t bytes = 0;
    uint8_t block[WAL_HEADER_BYTES];
    struct wal_header header;
    struct storage_identity identity = story_identity;
    const uint8_t *data = memory_disk_bytes(disk, path, &bytes);
    cr_assert_eq(wal_header_decode(data, bytes, &identity, &header), CONCLAVE_OK);
    header.sequence += flaw == 0;
    header.previous ^= flaw == 1;
    header.previous_end += flaw == 2 ? 8 : 0;
    identity.node_id ^= flaw == 3;
    wal_header_encode(block, &identity, &header);
    block[20] ^= flaw == 4; /* not even whole */
    memory_disk_rot(disk, path, 0, block, sizeof block);
}

Test(past, a_header_that_does_not_go_on_from_the_segment_before_ends_the_reading)
{
    static const int codes[] = {CONCLAVE_CORRUPT, CONCLAVE_CORRUPT, CONCLAVE_CORRUPT,
                                CONCLAVE_IDENTITY, CONCLAVE_CORRUPT};
    struct peer peer;
    struct placed places[512];
    size_t seen[5] = {0};
    peer_make(&peer, story_long);
    const uint64_t last = raft_runs_last(&peer.log.entries).index;
    size_t count = image_layout(peer.disk, places, 512);
    for (size_t i = 1; i < count; i++) {
        if (strcmp(places[i].path, places[i - 1].path) == 0)
            continue; /* only the first record behind each header */
        for (int flaw = 0; flaw < 5; flaw++) {
            struct memory_disk *disk = memory_disk_clone(peer.disk);
            struct wal_past past = past_of(disk, id_at(&peer, last));
            forge_header(disk, places[i].path, flaw);
            int code = read_second(&peer, &past, last, NULL);
            cr_assert(code == codes[flaw] || code == CONCLAVE_OK, "%s, flaw %d: %s", places[i].path,
                      flaw, conclave_code_name(code));
            seen[flaw] += code == codes[flaw];
            memory_disk_destroy(disk);
        }
    }
    for (int flaw = 0; flaw < 5; flaw++)
        cr_assert_gt(seen[flaw], 3, "flaw %d", flaw);
    peer_free(&peer);
}

/* Records that are whole: behind another one than the one before them, or of an entry that cannot
 * follow. */
Test(past, a_record_that_does_not_follow_ends_the_reading)
{
    struct peer peer;
    struct placed places[512];
    size_t ended[2] = {0};
    peer_make(&peer, story_long);
    const uint64_t last = raft_runs_last(&peer.log.entries).index;
    size_t count = image_layout(peer.disk, places, 512);
    for (size_t i = 0; i < count; i++) {
        for (int flaw = 0; flaw < 2; flaw++) {
            struct memory_disk *disk = memory_disk_clone(peer.disk);
            struct wal_past past = past_of(disk, id_at(&peer, last));
            size_t bytes = 0;
            uint8_t forged[4096];
            struct wal_header header;
            struct wal_record record;
            const uint8_t *data = memory_disk_bytes(disk, places[i].path, &bytes);
            cr_assert_eq(wal_header_decode(data, bytes, &story_identity, &header), CONCLAVE_OK);
            const uint64_t key = wal_key(&story_identity, header.sequence);
            cr_assert(wal_record_decode(data, bytes, places[i].offset, key, &record));
            record.previous ^= flaw == 0;
            record.id.index += flaw == 1 ? 1000 : 0;
            cr_assert_leq(places[i].bytes, sizeof forged);
            (void)wal_record_encode(forged, key, &record);
            memory_disk_rot(disk, places[i].path, places[i].offset, forged, places[i].bytes);
            int code = read_second(&peer, &past, last, NULL);
            cr_assert(code == CONCLAVE_OK || code == CONCLAVE_NOT_FOUND ||
                      code == CONCLAVE_CORRUPT);
            ended[flaw] += code != CONCLAVE_OK;
            memory_disk_destroy(disk);
        }
    }
    cr_assert_gt(ended[0], 50);
    cr_assert_gt(ended[1], 50);
    peer_free(&peer);
}

/* A mend may not know what it stands for: it shows nothing about what was before it. */
Test(past, a_mended_log_gives_what_is_right)
{
    struct peer peer;
    struct placed places[512];
    size_t given = 0, mends = 0;
    peer_make(&peer, story_long);
    const uint64_t last = raft_runs_last(&peer.log.entries).index;
    size_t count = image_layout(peer.disk, places, 512);
    for (size_t i = 2; i + 3 < count; i += 2) {
        struct memory_disk *disk = memory_disk_clone(peer.disk);
        for (size_t j = i; j < i + 3; j++)
            memory_disk_rot(disk, places[j].path, places[j].offset + 4, "x", 1);
        mends += heal(&peer, disk, "three records") == OUTCOME_MENDED;
        for (uint64_t known = 3; known <= last; known += 4) {
            struct wal_past past = past_of(disk, id_at(&peer, known));
            int code = read_second(&peer, &past, known, NULL);
            cr_assert(code == CONCLAVE_OK || code == CONCLAVE_NOT_FOUND);
            given += code == CONCLAVE_OK;
        }
        memory_disk_destroy(disk);
    }
    cr_assert_gt(mends, 20);
    cr_assert_gt(given, 100);
    peer_free(&peer);
}

/* No more than the log is known to hold is given, and not what memory still has. */
Test(past, nothing_behind_what_is_known_is_given)
{
    struct peer peer;
    struct raft_id prev = {0};
    struct raft_runs entries = {0};
    struct conclave_error error = {0};
    enum wal_supply supply = WAL_SUPPLY_LATER;
    peer_make(&peer, story_long);
    const struct wal_past past = past_of(peer.disk, id_at(&peer, 10));
    struct wal_want want = {.prev.index = 5, .last = 30};
    cr_assert_eq(wal_past_supply(&past, &want, 1 << 20, &supply, &prev, &entries, &error),
                 CONCLAVE_OK);
    cr_assert_eq(supply, WAL_SUPPLY_HERE);
    cr_assert_eq(entries.entry_count, 5);
    cr_assert(raft_id_equal(raft_runs_last(&entries), past.known));
    raft_runs_clear(&entries);
    want.prev.index = 11;
    cr_assert_eq(wal_past_supply(&past, &want, 1 << 20, &supply, &prev, &entries, &error),
                 CONCLAVE_INVALID);
    cr_assert_eq(entries.entry_count, 0);
    want = (struct wal_want){.prev.index = 8, .last = 5};
    cr_assert_eq(wal_past_supply(&past, &want, 1 << 20, &supply, &prev, &entries, &error),
                 CONCLAVE_INVALID, "the end before the beginning");
    peer_free(&peer);
}

static struct wal *log_of(struct memory_disk *disk, uint64_t segment_bytes, uint64_t count)
{
    const struct io *io = memory_disk_io(disk);
    const struct wal_options options = {.segment_bytes = segment_bytes};
    struct wal *wal = NULL;
    struct wal_recovery recovery = {0};
    struct raft_runs runs = {0};
    struct conclave_error error = {0};
    cr_assert_eq(io->make_dir(io->ctx, STORY_DIR, NULL), CONCLAVE_OK);
    runs_fill(&runs, 1, 1, 1);
    cr_assert_eq(wal_create(io, STORY_DIR, &story_identity, &options, &runs, &error), CONCLAVE_OK);
    raft_runs_clear(&runs);
    cr_assert_eq(wal_open(io, STORY_DIR, &story_identity, &options, &wal, &recovery, &error),
                 CONCLAVE_OK, "%s", error.message);
    raft_runs_clear(&recovery.entries);
    for (uint64_t index = 2; index <= count; index++) {
        runs_fill(&runs, 1, index, 1);
        wal_append(wal, &runs);
        cr_assert_eq(wal_sync(wal, &error), CONCLAVE_OK, "%s", error.message);
        raft_runs_clear(&runs);
    }
    return wal;
}

static int first_wanted(struct memory_disk *disk, uint64_t known, enum wal_supply *ret)
{
    struct raft_id prev = {0};
    struct raft_runs entries = {0};
    struct wal_past past = past_of(disk, (struct raft_id){.term = 1, .index = known});
    const struct wal_want want = {.prev.index = 1, .last = 2, .anchor = past.known};
    int code = wal_past_supply(&past, &want, 1 << 20, ret, &prev, &entries, NULL);
    raft_runs_clear(&entries);
    return code;
}

Test(past, what_was_let_go_of_on_disk_too_is_not_found)
{
    struct memory_disk *disk = memory_disk_create();
    struct wal *wal = log_of(disk, STORY_SEGMENT_BYTES, 60);
    enum wal_supply supply = WAL_SUPPLY_LATER;
    cr_assert_eq(first_wanted(disk, 60, &supply), CONCLAVE_OK, "while it is being written");
    cr_assert_eq(supply, WAL_SUPPLY_HERE);
    cr_assert_eq(wal_remove(wal, wal_release(wal, 50), NULL), CONCLAVE_OK);
    cr_assert_eq(first_wanted(disk, 60, &supply), CONCLAVE_NOT_FOUND);
    wal_close(wal);
    memory_disk_destroy(disk);
}

/* The node has become a snapshot, and its log is still to begin anew behind it. */
Test(past, a_segment_that_was_prepared_is_the_end_and_no_damage)
{
    struct memory_disk *disk = memory_disk_create();
    struct wal *wal = log_of(disk, STORY_SEGMENT_BYTES, 60);
    enum wal_supply supply = WAL_SUPPLY_LATER;
    cr_assert_eq(first_wanted(disk, 70, &supply), CONCLAVE_NOT_FOUND);
    cr_assert_eq(wal_prepare_segment(wal, NULL), CONCLAVE_OK);
    cr_assert_eq(first_wanted(disk, 70, &supply), CONCLAVE_NOT_FOUND);
    wal_close(wal);
    memory_disk_destroy(disk);
}

/* The log began anew, and what was before is still on its way to be removed. */
Test(past, what_stands_before_a_new_beginning_is_not_found)
{
    struct memory_disk *disk = memory_disk_create();
    struct wal *wal = log_of(disk, STORY_SEGMENT_BYTES, 60);
    struct raft_runs runs = {0}, entries = {0};
    struct raft_id prev = {0};
    enum wal_supply supply = WAL_SUPPLY_LATER;
    wal_begin_anew(wal, (struct raft_id){.term = 3, .index = 100});
    runs_fill(&runs, 3, 101, 5);
    wal_append(wal, &runs);
    raft_runs_clear(&runs);
    cr_assert_eq(wal_sync(wal, NULL), CONCLAVE_OK);
    const struct wal_past past = past_of(disk, (struct raft_id){.term = 3, .index = 105});
    for (uint64_t from = 0; from < 105; from++) {
        const struct wal_want want = {.prev.index = from, .last = 105, .anchor = past.known};
        cr_assert_eq(wal_past_supply(&past, &want, 1 << 20, &supply, &prev, &entries, NULL),
                     from < 100 ? CONCLAVE_NOT_FOUND : CONCLAVE_OK, "%d", (int)from);
        raft_runs_clear(&entries);
    }
    wal_close(wal);
    memory_disk_destroy(disk);
}

Test(past, a_log_that_takes_too_much_reading_is_not_read)
{
    struct memory_disk *disk = memory_disk_create();
    struct wal *wal = log_of(disk, (uint64_t)WAL_PAST_BYTES_MAX + (1 << 20), 3);
    enum wal_supply supply = WAL_SUPPLY_LATER;
    cr_assert_eq(first_wanted(disk, 3, &supply), CONCLAVE_NOT_FOUND);
    wal_close(wal);
    memory_disk_destroy(disk);
}

/* A file that a crash left empty is no segment that was prepared: those are there as a whole. */
Test(past, a_segment_without_a_header_is_damage)
{
    struct memory_disk *disk = memory_disk_create();
    const struct io *io = memory_disk_io(disk);
    struct wal *wal = log_of(disk, STORY_SEGMENT_BYTES, 60);
    struct io_file *file = NULL;
    enum wal_supply supply = WAL_SUPPLY_LATER;
    const char *path, *last = NULL;
    for (size_t i = 0; (path = memory_disk_file(disk, i)) != NULL; i++)
        if (strstr(path, ".wal") && (!last || strcmp(path, last) > 0))
            last = path;
    cr_assert_not_null(last);
    char next[64];
    const unsigned long long sequence = strtoull(strrchr(last, '/') + 1, NULL, 16);
    (void)snprintf(next, sizeof next, "%s/wal/%016llx.wal", STORY_DIR, sequence + 1);
    cr_assert_eq(io->open(io->ctx, next, IO_OPEN_CREATE, &file, NULL), CONCLAVE_OK);
    io->close(io->ctx, file);
    cr_assert_eq(first_wanted(disk, 70, &supply), CONCLAVE_CORRUPT);
    cr_assert_eq(first_wanted(disk, 60, &supply), CONCLAVE_OK, "what stands before it is given");
    wal_close(wal);
    memory_disk_destroy(disk);
}

/* A node asks whether its own last entry is the log's: nothing comes behind it, and it is told what
 * stands there, also at the very end of a segment. */
Test(past, an_entry_is_named_to_those_who_want_nothing_behind_it)
{
    struct peer peer;
    peer_make(&peer, story_long);
    const struct raft_id last = raft_runs_last(&peer.log.entries);
    for (uint64_t index = 1; index <= last.index; index++) {
        const struct wal_past past = past_of(peer.disk, id_at(&peer, index));
        struct raft_id prev = {0};
        struct raft_runs entries = {0};
        struct conclave_error error = {0};
        enum wal_supply supply = WAL_SUPPLY_LATER;
        const struct wal_want want = {.prev.index = index, .last = index};
        const int code = wal_past_supply(&past, &want, 1 << 20, &supply, &prev, &entries, &error);
        cr_assert_eq(code, CONCLAVE_OK, "%d: %s", (int)index, error.message);
        cr_assert_eq(supply, WAL_SUPPLY_HERE, "%d", (int)index);
        cr_assert(raft_id_equal(prev, id_at(&peer, index)), "%d", (int)index);
        cr_assert_eq(entries.entry_count, 0, "%d", (int)index);
        raft_runs_clear(&entries);
    }
    peer_free(&peer);
}

/* Entries read back from a log that goes on, by their ids. */
#include "healing.h"

#include "storage/wal_reader.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct wal_reader *reader_of(struct memory_disk *disk)
{
    return wal_reader_create(memory_disk_io(disk), STORY_DIR, &story_identity);
}

static struct raft_id id_at(const struct peer *peer, uint64_t index)
{
    return raft_runs_find(&peer->log.entries, index)->id;
}

static uint64_t term_end(const struct peer *peer, uint64_t index)
{
    const uint64_t last = raft_runs_last(&peer->log.entries).index;
    uint64_t end = index;
    while (end < last && id_at(peer, end + 1).term == id_at(peer, index).term)
        end++;
    return end;
}

/* Reads from `index` to `last`, which are of one term. Returns how many came; all are right. */
static uint64_t fetch_to(const struct peer *peer, struct wal_reader *reader, uint64_t index,
                         uint64_t last, uint32_t entries_max, uint64_t bytes_max)
{
    const struct raft_fetch fetch = {.number = 1,
                                     .first = id_at(peer, index),
                                     .last = last,
                                     .entries_max = entries_max,
                                     .bytes_max = bytes_max};
    struct raft_runs entries = {0};
    struct conclave_error error = {0};
    int code = wal_reader_read(reader, &fetch, &entries, &error);
    cr_assert_eq(code, CONCLAVE_OK, "%s", error.message);
    struct raft_runs_iter iter = {0};
    for (const struct raft_entry *entry; (entry = raft_runs_next(&entries, &iter)) != NULL; index++)
        cr_assert(raft_entry_equal(entry, raft_runs_find(&peer->log.entries, index)), "%lu",
                  (unsigned long)index);
    const uint64_t count = entries.entry_count;
    cr_assert_leq(raft_runs_last(&entries).index, fetch.last);
    cr_assert(count == 1 || entries.payload_bytes <= bytes_max);
    raft_runs_clear(&entries);
    return count;
}

/* Up to the end of its term. */
static uint64_t fetch(const struct peer *peer, struct wal_reader *reader, uint64_t index,
                      uint32_t entries_max, uint64_t bytes_max)
{
    return fetch_to(peer, reader, index, term_end(peer, index), entries_max, bytes_max);
}

static int fetch_fails(struct wal_reader *reader, struct raft_id first, uint64_t last)
{
    const struct raft_fetch fetch = {
        .first = first, .last = last, .entries_max = 100, .bytes_max = 1 << 20};
    struct raft_runs entries = {0};
    struct conclave_error error = {0};
    const int code = wal_reader_read(reader, &fetch, &entries, &error);
    cr_assert_eq(entries.entry_count, 0);
    cr_assert(code == CONCLAVE_OK || error.message[0]);
    return code;
}

/* Whatever was replaced before, in this segment or another: what was written last with an id. */
Test(reader, every_part_of_the_log_is_found)
{
    struct peer peer;
    peer_make(&peer, story_long);
    const uint64_t last = raft_runs_last(&peer.log.entries).index;
    for (uint64_t index = 1; index <= last; index++) {
        const uint64_t wanted = term_end(&peer, index) - index + 1;
        struct wal_reader *reader = reader_of(peer.disk);
        cr_assert_eq(fetch(&peer, reader, index, 1000, UINT64_MAX), wanted);
        cr_assert_eq(fetch(&peer, reader, index, 1, UINT64_MAX), 1);
        cr_assert_eq(fetch(&peer, reader, index, 1000, 0), 1, "one in any case");
        wal_reader_destroy(reader);
    }
    peer_free(&peer);
}

/* Several peers at a time, each from where it ended. */
Test(reader, reads_on_where_it_ended)
{
    struct peer peer;
    peer_make(&peer, story_long);
    const uint64_t last = raft_runs_last(&peer.log.entries).index;
    struct wal_reader *reader = reader_of(peer.disk);
    uint64_t next[6] = {1, 2, 9, 1, 20, 30};
    for (bool more = true; more;) {
        more = false;
        for (uint32_t i = 0; i < 6; i++) {
            if (next[i] > last)
                continue;
            next[i] += fetch(&peer, reader, next[i], 1 + i % 3, i < 4 ? UINT64_MAX : 100);
            more = true;
        }
    }
    wal_reader_destroy(reader);
    peer_free(&peer);
}

Test(reader, what_is_appended_meanwhile_is_found_and_what_is_not_there_is_not)
{
    struct peer peer;
    struct conclave_error error;
    struct raft_runs more = {0}, none = {0};
    uint64_t last;
    peer_make(&peer, story_short);
    struct wal_reader *reader = reader_of(peer.disk);
    struct wal *wal = story_log_open(peer.disk, &last);
    const uint64_t term = wal_last(wal).term;
    cr_assert_eq(fetch_fails(reader, (struct raft_id){term, last + 1}, last + 1), CONCLAVE_CORRUPT);
    while (fetch(&peer, reader, last, 1, UINT64_MAX) == 0) {
    }
    runs_fill(&more, term, last + 1, 60);
    wal_append(wal, &more);
    cr_assert_eq(wal_sync(wal, &error), CONCLAVE_OK);
    const struct raft_fetch fetch = {
        .first = {term, last + 1}, .last = last + 60, .entries_max = 100, .bytes_max = UINT64_MAX};
    cr_assert_eq(wal_reader_read(reader, &fetch, &none, &error), CONCLAVE_OK);
    cr_assert_eq(none.entry_count, 60);
    raft_runs_clear(&none);
    cr_assert_eq(fetch_fails(reader, (struct raft_id){term + 1, last}, last), CONCLAVE_CORRUPT);
    raft_runs_clear(&more);
    wal_close(wal);
    wal_reader_destroy(reader);
    peer_free(&peer);
}

/* Each record in turn: what is before it is given, it is not, and what is behind it is again. */
Test(reader, what_is_damaged_is_not_given_and_all_else_is)
{
    struct placed places[256];
    struct peer peer;
    peer_make(&peer, story_short);
    const uint64_t last = raft_runs_last(&peer.log.entries).index;
    const size_t count = image_layout(peer.disk, places, 256);
    uint64_t index = 0, failed = 0;
    for (size_t i = 0; i < count; i++) {
        if (places[i].is_batch)
            continue;
        struct memory_disk *damaged = memory_disk_clone(peer.disk);
        memory_disk_rot(damaged, places[i].path, places[i].offset + 33, "\x5a", 1);
        struct wal_reader *reader = reader_of(damaged);
        for (index = 1; index <= last; index++) {
            const struct raft_fetch fetch = {.first = id_at(&peer, index),
                                             .last = index,
                                             .entries_max = 1,
                                             .bytes_max = UINT64_MAX};
            struct raft_runs entries = {0};
            struct conclave_error error = {0};
            const int code = wal_reader_read(reader, &fetch, &entries, &error);
            cr_assert(code == CONCLAVE_OK || code == CONCLAVE_CORRUPT);
            failed += code != CONCLAVE_OK;
            cr_assert_eq(entries.entry_count, code == CONCLAVE_OK);
            if (code == CONCLAVE_OK)
                cr_assert(raft_entry_equal(raft_runs_find(&entries, index),
                                           raft_runs_find(&peer.log.entries, index)));
            raft_runs_clear(&entries);
        }
        wal_reader_destroy(reader);
        memory_disk_destroy(damaged);
    }
    cr_assert_gt(failed, 0);
    peer_free(&peer);
}

/* Many entries in the place of one hole. */
Test(reader, what_a_mend_holds_is_found)
{
    struct placed places[256];
    struct peer peer;
    uint32_t mended = 0;
    peer_make(&peer, story_long);
    const uint64_t last = raft_runs_last(&peer.log.entries).index;
    const size_t count = image_layout(peer.disk, places, 256);
    for (size_t i = 1; i + 4 < count; i += 5) {
        struct peer other = {.disk = memory_disk_clone(peer.disk)};
        struct conclave_error error = {0};
        for (size_t k = i; k < i + 3; k++)
            memory_disk_rot(other.disk, places[k].path, places[k].offset + 4, "\x5a\xa5", 2);
        if (repair_all(other.disk, &peer, &error) == CONCLAVE_OK &&
            log_read(memory_disk_io(other.disk), &other.log, &error) == CONCLAVE_OK &&
            other.log.base.index == 0) {
            struct wal_reader *reader = reader_of(other.disk);
            for (uint64_t index = 1; index <= last; index++)
                cr_assert_geq(fetch(&peer, reader, index, 2, UINT64_MAX), 1);
            for (uint64_t index = 1; index <= last; index++) /* one may end within a mend */
                cr_assert_eq(fetch_to(&peer, reader, index, index, 100, UINT64_MAX), 1);
            wal_reader_destroy(reader);
            mended++;
        }
        peer_free(&other);
    }
    cr_assert_gt(mended, 3);
    peer_free(&peer);
}

Test(reader, disk_that_cannot_be_read_is_told)
{
    struct peer peer;
    peer_make(&peer, story_short);
    struct wal_reader *reader = reader_of(peer.disk);
    for (uint64_t at = 1; at < 8; at++) {
        memory_disk_fail_at(peer.disk, memory_disk_operations(peer.disk) + at, CONCLAVE_IO);
        struct raft_runs entries = {0};
        struct conclave_error error = {0};
        const struct raft_fetch fetch = {
            .first = id_at(&peer, 2), .last = 2, .entries_max = 1, .bytes_max = UINT64_MAX};
        const int code = wal_reader_read(reader, &fetch, &entries, &error);
        cr_assert(code == CONCLAVE_OK || code == CONCLAVE_IO || code == CONCLAVE_CORRUPT);
        cr_assert_eq(entries.entry_count, code == CONCLAVE_OK);
        raft_runs_clear(&entries);
        memory_disk_fail_at(peer.disk, 0, CONCLAVE_OK);
    }
    wal_reader_destroy(reader);
    peer_free(&peer);
}

/* --- What is larger than what is read at once, and what is not as it was ------------------------
 */

enum { LARGE_ENTRIES = 12, LARGE_BYTES = 100000, LARGEST_BYTES = 400000 };

static void make_large(struct peer *peer)
{
    static const struct wal_options options = {.segment_bytes = 4 << 20};
    struct memory_disk *disk = memory_disk_create();
    const struct io *io = memory_disk_io(disk);
    struct wal *wal = log_begin(disk, &options, 1);
    struct raft_runs runs = {0};
    for (uint64_t index = 2; index <= LARGE_ENTRIES; index++) {
        const size_t bytes = index % 4 == 0 ? LARGEST_BYTES : LARGE_BYTES;
        struct raft_batch *batch = raft_batch_create(1);
        struct buf *buf = buf_create(bytes);
        for (size_t i = 0; i < bytes; i++)
            buf->data[i] = (uint8_t)(index + i / 997);
        raft_batch_add(batch, (struct raft_entry){.id = {.term = 1, .index = index},
                                                  .kind = RAFT_ENTRY_COMMAND,
                                                  .buf = buf,
                                                  .payload = {buf->data, bytes}});
        raft_runs_append(&runs, batch, 0, 1);
        raft_batch_unref(batch);
        wal_append(wal, &runs);
        cr_assert_eq(wal_sync(wal, NULL), CONCLAVE_OK);
        raft_runs_clear(&runs);
    }
    cr_assert_eq(wal_attest(wal, NULL), CONCLAVE_OK);
    wal_close(wal);
    *peer = (struct peer){.disk = disk};
    cr_assert_eq(wal_open(io, STORY_DIR, &story_identity, &options, &wal, &peer->log, NULL), 0);
    wal_close(wal);
    cr_assert_eq(peer->log.entries.entry_count, LARGE_ENTRIES);
}

/* Several of what is read at once, and entries that are larger than that. */
Test(reader, entries_of_any_size_come_as_they_are)
{
    struct peer peer;
    make_large(&peer);
    struct wal_reader *reader = reader_of(peer.disk);
    cr_assert_eq(fetch(&peer, reader, 1, 100, UINT64_MAX), LARGE_ENTRIES);
    cr_assert_eq(fetch(&peer, reader, 3, 100, 3 * LARGE_BYTES), 1);
    cr_assert_eq(fetch(&peer, reader, 4, 100, 3 * LARGE_BYTES), 1, "one at least");
    cr_assert_eq(fetch(&peer, reader, 5, 100, 3 * LARGE_BYTES), 3);
    wal_reader_destroy(reader);
    peer_free(&peer);
}

/* What came before is not thrown away: it is asked for from there on. */
Test(reader, what_was_read_before_the_disk_failed_is_given)
{
    struct peer peer;
    make_large(&peer);
    uint64_t some = 0;
    for (uint64_t at = 1; at < 16; at++) {
        struct wal_reader *reader = reader_of(peer.disk);
        memory_disk_fail_at(peer.disk, memory_disk_operations(peer.disk) + at, CONCLAVE_IO);
        struct raft_runs entries = {0};
        struct conclave_error error = {0};
        const struct raft_fetch fetch = {.first = id_at(&peer, 1),
                                         .last = LARGE_ENTRIES,
                                         .entries_max = 100,
                                         .bytes_max = UINT64_MAX};
        const int code = wal_reader_read(reader, &fetch, &entries, &error);
        cr_assert_eq(entries.entry_count > 0, code == CONCLAVE_OK);
        some += entries.entry_count > 0 && entries.entry_count < LARGE_ENTRIES;
        raft_runs_clear(&entries);
        memory_disk_fail_at(peer.disk, 0, CONCLAVE_OK);
        wal_reader_destroy(reader);
    }
    cr_assert_gt(some, 0);
    peer_free(&peer);
}

static struct {
    struct io io; /* the disk's functions, but for two */
    const struct io *disk;
    size_t largest; /* of what was read at once */
} watched;

static int list_one_more(void *ctx, const char *path, void (*entry)(void *arg, const char *name),
                         void *arg, struct conclave_error *error)
{
    int code = watched.disk->list_dir(ctx, path, entry, arg, error);
    if (code == CONCLAVE_OK)
        entry(arg, "00000000000fffff.wal");
    return code;
}

static int read_noted(void *ctx, struct io_file *file, uint64_t offset, void *data, size_t bytes,
                      size_t *ret_bytes, struct conclave_error *error)
{
    if (bytes > watched.largest)
        watched.largest = bytes;
    return watched.disk->read(ctx, file, offset, data, bytes, ret_bytes, error);
}

static struct wal_reader *watched_reader_of(struct memory_disk *disk)
{
    watched.disk = memory_disk_io(disk);
    watched.io = *watched.disk;
    watched.io.list_dir = list_one_more;
    watched.io.read = read_noted;
    watched.largest = 0;
    return wal_reader_create(&watched.io, STORY_DIR, &story_identity);
}

Test(reader, segment_that_went_or_cannot_be_read_hides_nothing_before_it)
{
    struct placed places[256];
    struct peer peer;
    peer_make(&peer, story_long);
    const size_t count = image_layout(peer.disk, places, 256);
    for (uint64_t index = 1; index <= 5; index++) { /* no reader begins where another one ended */
        struct wal_reader *reader = watched_reader_of(peer.disk);
        cr_assert_eq(fetch(&peer, reader, index, 1, UINT64_MAX), 1);
        wal_reader_destroy(reader);
    }
    memory_disk_break(peer.disk, places[count - 1].path, 0, 1);
    for (uint64_t index = 1; index <= 5; index++) {
        struct wal_reader *reader = reader_of(peer.disk);
        cr_assert_eq(fetch(&peer, reader, index, 1, UINT64_MAX), 1);
        wal_reader_destroy(reader);
    }
    peer_free(&peer);
}

Test(reader, damaged_size_is_not_believed)
{
    struct placed places[256];
    struct peer peer;
    peer_make(&peer, story_short);
    const size_t count = image_layout(peer.disk, places, 256);
    const uint64_t last = raft_runs_last(&peer.log.entries).index;
    for (size_t i = 0; i < count; i++) {
        struct memory_disk *damaged = memory_disk_clone(peer.disk);
        memory_disk_rot(damaged, places[i].path, places[i].offset + 16, "\xff\xff\xff\xff", 4);
        struct wal_reader *reader = watched_reader_of(damaged);
        const struct raft_fetch fetch = {
            .first = id_at(&peer, last), .last = last, .entries_max = 1, .bytes_max = UINT64_MAX};
        struct raft_runs entries = {0};
        struct conclave_error error = {0};
        const int code = wal_reader_read(reader, &fetch, &entries, &error);
        cr_assert(code == CONCLAVE_OK || code == CONCLAVE_CORRUPT);
        raft_runs_clear(&entries);
        cr_assert_leq(watched.largest, (size_t)WAL_SEGMENT_BYTES_MAX);
        wal_reader_destroy(reader);
        memory_disk_destroy(damaged);
    }
    peer_free(&peer);
}

/* The very bytes of a hole, found from its entries and its last checksum: whatever batches they
 * came in, and never other ones; and what would take too long is given up. */
#include "base/prng.h"
#include "storage/wal_prove.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { HOLE_BYTES_MAX = 2 << 20, KEY = 77 };

/* What stood in a hole, while it is written down. */
struct stood {
    struct wal_hole hole;
    uint8_t *bytes;
    struct raft_batch *batch;
    struct raft_runs entries;
    uint64_t chain;
    uint32_t in_batch;
};

static struct buf *payloads;

static void stood_begin(struct stood *stood, uint64_t offset, struct raft_id before)
{
    *stood = (struct stood){.hole = {.key = KEY,
                                     .offset = offset,
                                     .end = offset,
                                     .chain = 12345,
                                     .before = before,
                                     .batch_before = offset > 600 ? 560 : 0},
                            .bytes = calloc(1, HOLE_BYTES_MAX),
                            .batch = raft_batch_create(512),
                            .chain = 12345,
                            .in_batch = offset > 600 ? 560 : 0};
    cr_assert_not_null(stood->bytes);
    payloads = buf_create(1 << 20);
    memset(payloads->data, 'p', payloads->bytes);
}

static void put(struct stood *stood, struct wal_record record)
{
    struct wal_hole *hole = &stood->hole;
    size_t at = (size_t)(hole->end - hole->offset);
    cr_assert_leq(at + wal_record_bytes(record.payload.bytes), HOLE_BYTES_MAX);
    record.previous = stood->chain;
    record.offset = (uint32_t)hole->end;
    record.batch = stood->in_batch;
    stood->chain = wal_record_encode(stood->bytes + at, KEY, &record);
    hole->end += wal_record_bytes(record.payload.bytes);
}

/* `zero`: as the first batch record of a segment is written. */
static void put_batch(struct stood *stood, bool zero)
{
    struct raft_id last = stood->batch->count > 0
                              ? stood->batch->entries[stood->batch->count - 1].id
                              : stood->hole.before;
    stood->in_batch = zero ? 0 : (uint32_t)stood->hole.end;
    put(stood, (struct wal_record){.kind = WAL_BATCH, .id = last});
}

static void put_entry(struct stood *stood, struct raft_id id, size_t payload_bytes)
{
    struct raft_entry entry = {
        .id = id,
        .kind = payload_bytes > 0 ? RAFT_ENTRY_COMMAND : RAFT_ENTRY_NOOP,
        .buf = payload_bytes > 0 ? buf_ref(payloads) : NULL,
        .payload = {payload_bytes > 0 ? payloads->data : NULL, payload_bytes}};
    raft_batch_add(stood->batch, entry);
    put(stood, (struct wal_record){.kind = WAL_ENTRY,
                                   .entry_kind = (uint8_t)entry.kind,
                                   .id = id,
                                   .payload = entry.payload});
}

/* `named`: by a batch record that stands behind it. */
static void stood_end(struct stood *stood, bool named)
{
    struct wal_hole *hole = &stood->hole;
    raft_runs_append(&stood->entries, stood->batch, 0, stood->batch->count);
    hole->stands_for = stood->chain;
    hole->batch_behind = stood->in_batch;
    hole->named = named;
    hole->behind = raft_runs_last(&stood->entries);
}

static void stood_free(struct stood *stood)
{
    raft_runs_clear(&stood->entries);
    raft_batch_unref(stood->batch);
    free(stood->bytes);
    buf_unref(payloads);
}

static bool is_found(const struct stood *stood)
{
    uint64_t first = 0;
    uint8_t *bytes = wal_prove(&stood->hole, &stood->entries, &first);
    bool found = bytes != NULL;
    if (found) {
        cr_assert_eq(first, raft_runs_first(&stood->entries).index);
        cr_assert_eq(memcmp(bytes, stood->bytes, stood->hole.end - stood->hole.offset), 0);
    }
    free(bytes);
    return found;
}

/* --- Found ------------------------------------------------------------------------------------ */

/* Some entries in some batches, at the beginning of a segment or not, some of them in the place of
 * entries before the hole. */
static void stood_any(struct stood *stood, struct prng *prng)
{
    static const size_t sizes[] = {0, 0, 5, 8, 100};
    bool begins = prng_below(prng, 3) == 0;
    uint64_t before = prng_between(prng, 4, 9), term = 7;
    uint64_t index = before + 1 - prng_below(prng, 3), count = prng_between(prng, 1, 7);
    size_t batches = 0;
    stood_begin(stood, begins ? WAL_HEADER_BYTES : 1000, (struct raft_id){6, before});
    if (begins)
        put_batch(stood, prng_below(prng, 2) == 0);
    for (; count > 0; count--) {
        for (; batches < 5 && prng_below(prng, 3) == 0; batches++)
            put_batch(stood, false);
        term += prng_below(prng, 2);
        put_entry(stood, (struct raft_id){term, index++}, sizes[prng_below(prng, 5)]);
    }
    if (prng_below(prng, 4) == 0)
        put_batch(stood, false);
    stood_end(stood, prng_below(prng, 2) == 0);
    if (stood->hole.behind.index < before) /* what stands behind it goes on from there */
        stood->hole.named = true;
}

Test(prove, any_batches_are_found_by_their_last_checksum)
{
    struct prng prng;
    prng_init(&prng, 3);
    size_t counts[2] = {0};
    for (int i = 0; i < 2000; i++) {
        struct stood stood;
        stood_any(&stood, &prng);
        const struct wal_hole *hole = &stood.hole;
        uint64_t from = wal_prove_from(hole, false), farther = wal_prove_from(hole, true);
        cr_assert(wal_prove_fits(hole) && farther <= from && from < hole->behind.index);
        cr_assert_lt(farther, raft_runs_first(&stood.entries).index);
        cr_assert(is_found(&stood), "life %d", i);
        counts[hole->named]++;
        stood.hole.stands_for ^= 1;
        cr_assert_not(is_found(&stood), "life %d: another checksum", i);
        stood.hole.stands_for ^= 1;
        stood.hole.chain ^= 1;
        cr_assert_not(is_found(&stood), "life %d: behind something else", i);
        stood.hole.chain ^= 1;
        stood.hole.batch_behind += 8;
        cr_assert(!is_found(&stood) || hole->named, "life %d: in another batch", i);
        stood_free(&stood);
    }
    cr_assert(counts[0] > 500 && counts[1] > 500);
}

/* Asked for are as few entries as can have stood there, or as many as there is room for. */
Test(prove, as_many_are_asked_for_as_there_is_room)
{
    struct wal_hole hole = {.offset = 1000, .before = {2, 40}, .behind = {3, 42}, .named = true};
    hole.end = hole.offset + (uint64_t)5 * WAL_RECORD_BYTES;
    cr_assert_eq(wal_prove_from(&hole, false), 40);
    cr_assert_eq(wal_prove_from(&hole, true), 37);
    hole.end = hole.offset + (uint64_t)100 * WAL_RECORD_BYTES;
    cr_assert_eq(wal_prove_from(&hole, true), 40 - 16, "that may be more than there ever were");
    hole.before.index = 4;
    hole.behind.index = 5;
    cr_assert_eq(wal_prove_from(&hole, true), 0);
    hole.behind.index = 3;
    cr_assert_eq(wal_prove_from(&hole, false), 2, "one that came in the place of others");
}

/* --- Not tried -------------------------------------------------------------------------------- */

Test(prove, what_cannot_have_held_the_entries_is_not_tried)
{
    uint8_t known = 0;
    const struct wal_hole fits = {.offset = 1000,
                                  .end = 1000 + (uint64_t)256 * WAL_RECORD_BYTES,
                                  .before = {1, 10},
                                  .behind = {1, 266}};
    struct wal_hole hole = fits;
    cr_assert(wal_prove_fits(&hole));
    hole.bytes = &known;
    cr_assert_not(wal_prove_fits(&hole), "it is known");
    hole = fits;
    hole.end--;
    cr_assert_not(wal_prove_fits(&hole), "too small for them");
    hole = fits;
    hole.end += 4096;
    hole.behind.index++;
    cr_assert_not(wal_prove_fits(&hole), "too many");
    hole.before.index++;
    cr_assert(wal_prove_fits(&hole));
    hole.behind.index = 0;
    cr_assert_not(wal_prove_fits(&hole), "there were none");
}

Test(prove, entries_that_do_not_fill_it_are_not_taken)
{
    struct stood stood;
    stood_begin(&stood, 1000, (struct raft_id){1, 10});
    put_entry(&stood, (struct raft_id){1, 11}, 8);
    put_batch(&stood, false);
    put_entry(&stood, (struct raft_id){1, 12}, 16);
    stood_end(&stood, true);
    cr_assert(is_found(&stood));
    stood.hole.end += 8;
    cr_assert_not(is_found(&stood), "a record is no eighth of it");
    stood.hole.end -= 16;
    cr_assert_not(is_found(&stood));
    stood.hole.end = stood.hole.offset + (uint64_t)2 * WAL_RECORD_BYTES;
    cr_assert_not(is_found(&stood), "they need more");
    stood.hole.end = stood.hole.offset + (uint64_t)3 * WAL_RECORD_BYTES + 24;
    stood.hole.behind.index++;
    cr_assert_not(is_found(&stood), "one is missing");
    stood.hole.behind.index--;
    cr_assert(is_found(&stood));
    stood_free(&stood);
}

/* More records than are searched: entries with batches, and entries before the ones that are sure.
 */
Test(prove, no_more_records_are_searched_than_it_can_keep)
{
    struct stood stood;
    stood_begin(&stood, 1000, (struct raft_id){1, 10});
    for (uint64_t index = 11; index < 211; index++)
        put_entry(&stood, (struct raft_id){1, index}, 0);
    for (int i = 0; i < 56; i++)
        put_batch(&stood, false);
    stood_end(&stood, true);
    cr_assert(is_found(&stood), "the largest one");
    stood_free(&stood);
    stood_begin(&stood, 1000, (struct raft_id){1, 10});
    for (uint64_t index = 11; index < 211; index++)
        put_entry(&stood, (struct raft_id){1, index}, 0);
    for (int i = 0; i < 57; i++)
        put_batch(&stood, false);
    stood_end(&stood, true);
    cr_assert_not(is_found(&stood));
    stood_free(&stood);
    stood_begin(&stood, 1000, (struct raft_id){1, 400});
    for (uint64_t index = 11; index < 311; index++)
        put_entry(&stood, (struct raft_id){2, index}, 0);
    stood_end(&stood, true);
    cr_assert(wal_prove_fits(&stood.hole), "one would be enough");
    cr_assert_not(is_found(&stood));
    stood_free(&stood);
}

/* So many ways to put them that nobody waits for the end: it is given up, not gone on with. */
static void give_up(uint64_t offset, uint64_t entries, uint64_t batches, size_t payload_bytes)
{
    struct stood stood;
    stood_begin(&stood, offset, (struct raft_id){1, 10});
    for (; batches > 0; batches--)
        put_batch(&stood, false);
    for (uint64_t index = 11; index < 11 + entries; index++)
        put_entry(&stood, (struct raft_id){1, index}, payload_bytes);
    stood_end(&stood, true);
    stood.hole.stands_for ^= 1;
    cr_assert(wal_prove_fits(&stood.hole));
    cr_assert_not(is_found(&stood));
    stood_free(&stood);
}

Test(prove, what_takes_too_long_is_given_up)
{
    give_up(1000, 20, 20, 0);
    give_up(WAL_HEADER_BYTES, 20, 20, 0);
    give_up(1000, 5, 30, 200 << 10);
}

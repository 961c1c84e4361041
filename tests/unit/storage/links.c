/* The sums of a log by index: those behind one that is set anew are gone, and what was let go of at
 * the front is not known any more. And the records that carry them, as docs/disk-format.md has it.
 */
#include "storage/bytes.h"
#include "storage/wal_format.h"
#include "storage/wal_links.h"
#include "tests/unit/storage/fixture.h"

#include <criterion/criterion.h>
#include <xxhash.h>

Test(links, are_found_where_they_were_put)
{
    struct wal_links links = {0};
    cr_assert_eq(wal_links_find(&links, 0), 0);
    wal_links_begin(&links, 7, 70);
    for (uint64_t index = 8; index < 500; index++)
        wal_links_put(&links, index, 10 * index);
    for (uint64_t index = 0; index < 510; index++)
        cr_assert_eq(wal_links_find(&links, index), index >= 7 && index < 500 ? 10 * index : 0);
    wal_links_put(&links, 100, 5);
    cr_assert_eq(wal_links_find(&links, 99), 990);
    cr_assert_eq(wal_links_find(&links, 100), 5);
    cr_assert_eq(wal_links_find(&links, 101), 0, "it is of a log that is gone");
    wal_links_put(&links, 103, 6);
    cr_assert_eq(wal_links_find(&links, 102), 0, "of those between nothing is known");
    wal_links_learn(&links, 102, 4);
    cr_assert_eq(wal_links_find(&links, 102), 4);
    cr_assert_eq(wal_links_find(&links, 103), 6, "what is learned forgets nothing");
    wal_links_learn(&links, 104, 4);
    cr_assert_eq(wal_links_find(&links, 104), 0);
    wal_links_put(&links, 3, 9);
    cr_assert_eq(wal_links_find(&links, 3), 9, "before the first one");
    cr_assert_eq(wal_links_find(&links, 7), 0);
    wal_links_deinit(&links);
}

/* As a log that is written and compacted for long: the memory that it takes stays what it needs. */
Test(links, what_is_let_go_of_takes_no_memory)
{
    struct wal_links links = {0}, moved = {0};
    wal_links_begin(&links, 0, 1);
    for (uint64_t index = 1; index < 100000; index++) {
        wal_links_put(&links, index, index + 1);
        if (index % 64 == 0)
            wal_links_drop_front(&links, index - 32);
    }
    cr_assert_leq(links.block_count, 2, "%zu", links.block_count);
    cr_assert_leq(links.block_capacity, 4, "%zu", links.block_capacity);
    cr_assert_eq(wal_links_find(&links, 99999), 100000);
    cr_assert_eq(wal_links_find(&links, 99000), 0);
    wal_links_drop_front(&links, 200000);
    cr_assert_eq(wal_links_find(&links, 99999), 100000, "what comes next follows it");
    wal_links_move(&moved, &links);
    cr_assert_eq(links.blocks, NULL);
    wal_links_put(&moved, 100000, 3);
    cr_assert_eq(wal_links_find(&moved, 100000), 3);
    wal_links_deinit(&moved);
}

Test(links, letting_go_of_what_is_before_them_or_of_none_changes_nothing)
{
    struct wal_links links = {0};
    wal_links_drop_front(&links, 5); /* there are none */
    wal_links_begin(&links, 7, 70);
    for (uint64_t index = 8; index < 20; index++)
        wal_links_put(&links, index, 10 * index);
    wal_links_drop_front(&links, 7);
    wal_links_drop_front(&links, 3);
    for (uint64_t index = 7; index < 20; index++)
        cr_assert_eq(wal_links_find(&links, index), 10 * index);
    cr_assert_eq(wal_links_find(&links, 3), 0);
    wal_links_deinit(&links);
}

Test(links, only_those_within_are_learned)
{
    struct wal_links links = {0};
    wal_links_begin(&links, 7, 70);
    wal_links_put(&links, 8, 80);
    wal_links_learn(&links, 7, 71);
    wal_links_learn(&links, UINT64_C(1) << 40, 1); /* far behind */
    wal_links_learn(&links, 6, 1);
    cr_assert_eq(wal_links_find(&links, 7), 71, "the first one");
    cr_assert_eq(wal_links_find(&links, 8), 80);
    cr_assert_eq(wal_links_find(&links, 6), 0);
    wal_links_deinit(&links);
}

Test(links, there_is_room_for_one_far_behind)
{
    struct wal_links links = {0};
    wal_links_begin(&links, 7, 70);
    wal_links_put(&links, 5007, 1);
    cr_assert_eq(wal_links_find(&links, 5006), 0);
    cr_assert_eq(wal_links_find(&links, 5007), 1);
    cr_assert_eq(wal_links_find(&links, 7), 70);
    wal_links_deinit(&links);
}

/* --- Records ---------------------------------------------------------------------------------- */

Test(links, of_an_entry_says_all_of_it)
{
    uint8_t numbers[48];
    put_u64(numbers, 11);
    put_u64(numbers + 8, 3);
    put_u64(numbers + 16, 9);
    put_u64(numbers + 24, RAFT_ENTRY_COMMAND);
    put_u64(numbers + 32, 7);
    put_u64(numbers + 40, XXH3_64bits("payload", 7));
    cr_assert_eq(wal_link(11, (struct raft_id){3, 9}, RAFT_ENTRY_COMMAND,
                          (struct slice){(const uint8_t *)"payload", 7}),
                 XXH3_64bits(numbers, sizeof numbers));
}

Test(links, of_an_entry_without_payload_has_no_hash_of_one)
{
    uint8_t numbers[48];
    put_u64(numbers, 11);
    put_u64(numbers + 8, 3);
    put_u64(numbers + 16, 9);
    put_u64(numbers + 24, RAFT_ENTRY_NOOP);
    put_u64(numbers + 32, 0);
    put_u64(numbers + 40, 0);
    cr_assert_eq(wal_link(11, (struct raft_id){3, 9}, RAFT_ENTRY_NOOP, (struct slice){0}),
                 XXH3_64bits(numbers, sizeof numbers));
}

Test(links, behind_a_mend_stands_what_it_says_if_it_says_so)
{
    uint8_t to[2 * WAL_RECORD_BYTES], payload[8];
    put_u64(payload, 77);
    struct wal_record mend = {.kind = WAL_MEND, .payload = {.data = payload, .bytes = 8}};
    cr_assert_eq(wal_record_encode(to, 1, &mend), 77);
    mend.payload.bytes = 7;
    cr_assert_eq(wal_record_encode(to, 1, &mend), WAL_LINK_UNKNOWN);
}

Test(links, behind_a_beginning_stands_what_a_log_begins_with_and_a_batch_changes_none)
{
    uint8_t to[2 * WAL_RECORD_BYTES];
    struct wal_record record = {.kind = WAL_ANEW, .previous = 8, .id = {5, 9}}, read = {0};
    cr_assert_eq(wal_record_encode(to, 1, &record), wal_link_begin(record.id));
    cr_assert(wal_record_decode(to, sizeof to, 0, 1, &read));
    cr_assert_eq(read.link, wal_link_begin(record.id));
    record.kind = WAL_BATCH;
    cr_assert_eq(wal_record_encode(to, 1, &record), 8);
    cr_assert(wal_record_decode(to, sizeof to, 0, 1, &read));
    cr_assert_eq(read.link, 8);
}

Test(links, a_mend_whose_entries_have_no_index_has_none)
{
    uint8_t bytes[16] = {0};
    put_u64(bytes, 3);
    struct wal_mend mend = {.index = 0, .left = {.data = bytes, .bytes = sizeof bytes}};
    struct wal_record record;
    cr_assert_eq(wal_mend_next(&mend, &record), -1);
}

Test(links, header_is_the_same_whatever_stood_there)
{
    static uint8_t clean[WAL_HEADER_BYTES], dirty[WAL_HEADER_BYTES];
    const struct wal_header header = {.sequence = 2, .previous = 3, .previous_end = 4, {5, 6}};
    memset(dirty, 0xa5, sizeof dirty);
    wal_header_encode(clean, &story_identity, &header);
    wal_header_encode(dirty, &story_identity, &header);
    cr_assert_arr_eq(clean, dirty, sizeof clean);
}

/* What one claims, and what is left of it. */
static int mend_entry(size_t left, uint32_t payload_bytes, uint8_t kind)
{
    static uint8_t bytes[64];
    memset(bytes, 0, sizeof bytes);
    put_u64(bytes, 3);
    put_u32(bytes + 8, payload_bytes);
    bytes[12] = kind;
    struct wal_mend mend = {.index = 5, .left = {.data = bytes, .bytes = left}};
    struct wal_record record = {0};
    int got = wal_mend_next(&mend, &record);
    cr_assert(got != 1 || (record.payload.bytes == payload_bytes && record.id.index == 5));
    cr_assert(got != 1 || mend.left.bytes + wal_mend_entry_bytes(payload_bytes) == left);
    return got;
}

Test(links, entries_of_a_mend_lie_in_it_and_are_of_a_kind_that_is_known)
{
    cr_assert_eq(mend_entry(15, 0, RAFT_ENTRY_NOOP), 0, "no room for one: they end");
    cr_assert_eq(mend_entry(16, 0, RAFT_ENTRY_NOOP), 1);
    cr_assert_eq(mend_entry(24, 8, RAFT_ENTRY_SESSION), 1);
    cr_assert_eq(mend_entry(24, 9, RAFT_ENTRY_SESSION), -1, "its payload ends behind the mend");
    cr_assert_eq(mend_entry(24, UINT32_MAX, RAFT_ENTRY_NOOP), -1);
    cr_assert_eq(mend_entry(24, 8, RAFT_ENTRY_SESSION + 1), -1);
}

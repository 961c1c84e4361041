/* Frames between nodes that are not of the schema, and those that a later revision may send. */
#include "../../fuzz/samples.h"

#include "base/pack.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* The fields of a frame, each a packed value, that a test changes before it packs them. */
enum { FIELDS_MAX = 20, VERSION = 0, GROUP, CLUSTER, FROM, TO, INCARNATION, TYPE, RAFT_TYPE, TERM };

struct fields {
    uint32_t count;
    uint64_t values[FIELDS_MAX];
};

/* Stands before raft_batch_create (the linker's --wrap) and keeps the largest capacity. */
struct raft_batch *__real_raft_batch_create(uint32_t capacity);
struct raft_batch *__wrap_raft_batch_create(uint32_t capacity);

static uint32_t largest_capacity;

struct raft_batch *__wrap_raft_batch_create(uint32_t capacity)
{
    if (capacity > largest_capacity)
        largest_capacity = capacity;
    return __real_raft_batch_create(capacity);
}

static struct fields append_fields(void)
{
    /* ..., type append request, term 9, prev {3, 100}, commit, round; entries follow */
    return (struct fields){13, {1, 0, 77, 1, 2, 55, 1, 5, 9, 3, 100, 90, 4}};
}

static int decode(const struct pack *pack)
{
    struct buf *frame = buf_copy(pack->buf->data, pack->bytes);
    struct peer_frame decoded;
    int code = peer_decode(frame, &decoded);
    if (!code)
        raft_message_destroy(decoded.raft);
    cr_assert_eq(atomic_load(&frame->refs), 1);
    buf_unref(frame);
    return code;
}

/* Packs the integers of `fields`, then raw bytes that hold `more` values, and decodes. */
static int decode_fields(const struct fields *fields, const void *raw, size_t bytes, uint32_t more)
{
    struct pack pack;
    pack_init(&pack, 256 + bytes);
    pack_array(&pack, fields->count + more);
    for (uint32_t i = 0; i < fields->count; i++)
        pack_uint(&pack, fields->values[i]);
    pack_raw(&pack, raw, bytes);
    int code = decode(&pack);
    pack_deinit(&pack);
    return code;
}
#define DECODE(fields, raw, more) decode_fields(fields, raw, sizeof(raw) - 1, more)

static int decode_with(int field, uint64_t value)
{
    struct fields fields = append_fields();
    fields.values[field] = value;
    return DECODE(&fields, "\x90", 1);
}

Test(peer_refuses, nothing_that_is_right)
{
    struct fields fields = append_fields();
    cr_assert_eq(DECODE(&fields, "\x90", 1), CONCLAVE_OK);
    cr_assert_eq(DECODE(&fields, "\x91\x93\x09\x01\xc4\x01x", 1), CONCLAVE_OK);
}

Test(peer_refuses, other_versions_whatever_follows)
{
    cr_assert_eq(decode_with(VERSION, 0), CONCLAVE_VERSION);
    cr_assert_eq(decode_with(VERSION, 2), CONCLAVE_VERSION);
    cr_assert_eq(decode_with(VERSION, UINT64_MAX), CONCLAVE_VERSION);
    struct fields fields = {1, {2}};
    cr_assert_eq(DECODE(&fields, "\xa5other", 1), CONCLAVE_VERSION);
}

Test(peer_refuses, ids_that_no_node_has)
{
    cr_assert_eq(decode_with(FROM, 0), CONCLAVE_MALFORMED);
    cr_assert_eq(decode_with(TO, 0), CONCLAVE_MALFORMED);
    cr_assert_eq(decode_with(FROM, UINT64_C(1) << 53), CONCLAVE_MALFORMED);
    cr_assert_eq(decode_with(TO, UINT64_C(1) << 53), CONCLAVE_MALFORMED);
    cr_assert_eq(decode_with(FROM, (UINT64_C(1) << 53) - 1), CONCLAVE_OK);
}

Test(peer_refuses, unknown_types)
{
    cr_assert_eq(decode_with(TYPE, 0), CONCLAVE_MALFORMED);
    cr_assert_eq(decode_with(TYPE, 3), CONCLAVE_MALFORMED);
    cr_assert_eq(decode_with(RAFT_TYPE, 0), CONCLAVE_MALFORMED);
    cr_assert_eq(decode_with(RAFT_TYPE, 7), CONCLAVE_MALFORMED);
    cr_assert_eq(decode_with(RAFT_TYPE, (UINT64_C(1) << 32) + 5), CONCLAVE_MALFORMED);
    cr_assert_eq(decode_with(TYPE, (UINT64_C(1) << 32) + 1), CONCLAVE_MALFORMED);
}

Test(peer_refuses, groups_beyond_their_range)
{
    cr_assert_eq(decode_with(GROUP, UINT32_MAX), CONCLAVE_OK);
    cr_assert_eq(decode_with(GROUP, (uint64_t)UINT32_MAX + 1), CONCLAVE_MALFORMED);
}

Test(peer_refuses, ids_of_entries_with_half_a_zero)
{
    cr_assert_eq(decode_with(9, 0), CONCLAVE_MALFORMED);
    cr_assert_eq(decode_with(10, 0), CONCLAVE_MALFORMED);
    struct fields vote = {11, {1, 0, 77, 1, 2, 55, 1, 1, 9, 0, 5}};
    cr_assert_eq(DECODE(&vote, "", 0), CONCLAVE_MALFORMED);
    vote.values[10] = 0;
    cr_assert_eq(DECODE(&vote, "", 0), CONCLAVE_OK);
}

Test(peer_refuses, terms_above_the_leaders)
{
    struct fields fields = append_fields();
    cr_assert_eq(DECODE(&fields, "\x91\x93\x0a\x01\xc4\x01x", 1), CONCLAVE_MALFORMED);
    cr_assert_eq(decode_with(9, 10), CONCLAVE_MALFORMED);
    cr_assert_eq(decode_with(9, 9), CONCLAVE_OK);
}

Test(peer_refuses, entries_whose_terms_decrease)
{
    struct fields fields = append_fields();
    cr_assert_eq(DECODE(&fields, "\x92\x93\x04\x00\xc4\x00\x93\x05\x00\xc4\x00", 1), CONCLAVE_OK);
    cr_assert_eq(DECODE(&fields, "\x92\x93\x05\x00\xc4\x00\x93\x04\x00\xc4\x00", 1),
                 CONCLAVE_MALFORMED);
    cr_assert_eq(DECODE(&fields, "\x91\x93\x02\x00\xc4\x00", 1), CONCLAVE_MALFORMED);
    fields.values[9] = fields.values[10] = 0;
    cr_assert_eq(DECODE(&fields, "\x91\x93\x00\x00\xc4\x00", 1), CONCLAVE_MALFORMED);
}

Test(peer_refuses, entries_of_unknown_kind_or_form)
{
    struct fields fields = append_fields();
    cr_assert_eq(DECODE(&fields, "\x91\x93\x09\x04\xc4\x01x", 1), CONCLAVE_MALFORMED);
    cr_assert_eq(DECODE(&fields, "\x91\x93\x09\x00\xc4\x01x", 1), CONCLAVE_MALFORMED);
    cr_assert_eq(DECODE(&fields, "\x91\x92\x09\x01\xc4\x01x", 1), CONCLAVE_MALFORMED);
    cr_assert_eq(DECODE(&fields, "\x91\x93\x09\x01\x05", 1), CONCLAVE_MALFORMED);
    cr_assert_eq(DECODE(&fields, "\x91\x09\x01\xc4\x01x", 1), CONCLAVE_MALFORMED);
    cr_assert_eq(DECODE(&fields, "\x05", 1), CONCLAVE_MALFORMED);
}

Test(peer_refuses, indexes_that_overflow)
{
    struct fields fields = append_fields();
    fields.values[10] = UINT64_MAX - 1;
    cr_assert_eq(DECODE(&fields, "\x91\x93\x09\x01\xc4\x01x", 1), CONCLAVE_OK);
    fields.values[10] = UINT64_MAX;
    cr_assert_eq(DECODE(&fields, "\x91\x93\x09\x01\xc4\x01x", 1), CONCLAVE_MALFORMED);
}

Test(peer_refuses, results_out_of_range)
{
    struct fields fields = {19, {1, 0, 77, 1, 2, 55, 1, 6, 9, 1, 5, 0, 0, 0, 5, 3, 100, 12, 0}};
    for (uint64_t result = 0; result < 6; result++) {
        fields.values[9] = result;
        cr_assert_eq(DECODE(&fields, "", 0),
                     result >= 1 && result <= 3 ? CONCLAVE_OK : CONCLAVE_MALFORMED);
    }
    fields.values[9] = (UINT64_C(1) << 32) + 1;
    cr_assert_eq(DECODE(&fields, "", 0), CONCLAVE_MALFORMED);
}

Test(peer_refuses, votes_that_are_no_booleans)
{
    struct fields fields = {9, {1, 0, 77, 1, 2, 55, 1, 4, 9}};
    cr_assert_eq(DECODE(&fields, "\xc3\x09\x07", 3), CONCLAVE_OK);
    cr_assert_eq(DECODE(&fields, "\x01\x09\x07", 3), CONCLAVE_MALFORMED);
    cr_assert_eq(DECODE(&fields, "\xc3\x09", 2), CONCLAVE_MALFORMED, "for whom?");
}

Test(peer_refuses, names_and_endpoints_that_do_not_belong_in_a_log)
{
    struct fields fields = {7, {1, 0, 77, 1, 2, 55, 2}};
    cr_assert_eq(DECODE(&fields, "\xa2n1\xa0\xa0", 3), CONCLAVE_OK);
    cr_assert_eq(DECODE(&fields, "\xa0\xa0\xa0", 3), CONCLAVE_MALFORMED);
    cr_assert_eq(DECODE(&fields, "\xa2n \xa0\xa0", 3), CONCLAVE_MALFORMED);
    cr_assert_eq(DECODE(&fields, "\xa2n\n\xa0\xa0", 3), CONCLAVE_MALFORMED);
    cr_assert_eq(DECODE(&fields, "\xa2n\xff\xa0\xa0", 3), CONCLAVE_MALFORMED);
    cr_assert_eq(DECODE(&fields, "\xa2n\0\xa0\xa0", 3), CONCLAVE_MALFORMED);
    cr_assert_eq(DECODE(&fields, "\xa2n1\xa2 x\xa0", 3), CONCLAVE_MALFORMED);
    cr_assert_eq(DECODE(&fields, "\xd9\x21nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn\xa0\xa0", 3),
                 CONCLAVE_MALFORMED);
    cr_assert_eq(DECODE(&fields, "\xa2n1\xa0\xa2 x", 3), CONCLAVE_MALFORMED);
}

Test(peer_refuses, refusals_without_a_known_reason)
{
    struct fields fields = {8, {1, 0, 77, 1, 2, 55, 3, 1}};
    for (uint64_t reason = 0; reason < 5; reason++) {
        fields.values[7] = reason;
        cr_assert_eq(DECODE(&fields, "", 0),
                     reason >= 1 && reason <= 2 ? CONCLAVE_OK : CONCLAVE_MALFORMED);
    }
}

Test(peer_refuses, frames_over_the_limit)
{
    struct buf *frame = buf_create(PEER_FRAME_BYTES_MAX + 1);
    memset(frame->data, 0, frame->bytes);
    struct peer_frame decoded;
    cr_assert_eq(peer_decode(frame, &decoded), CONCLAVE_TOO_LARGE);
    buf_unref(frame);
}

Test(peer_refuses, claims_that_the_bytes_cannot_hold)
{
    static const struct {
        const char *data;
        size_t bytes;
    } claims[] = {{"\xdd\xff\xff\xff\xff", 5},
                  {"\xdc\xff\xff", 3},
                  {"\xdf\xff\xff\xff\xff", 5},
                  {"\x9f", 1},
                  {"", 0},
                  {"\x90", 1},
                  {"\xc0", 1},
                  {"\x91\xc0", 2}};
    for (size_t i = 0; i < sizeof claims / sizeof claims[0]; i++) {
        struct buf *frame = buf_copy(claims[i].data, claims[i].bytes);
        struct peer_frame decoded;
        cr_assert_eq(peer_decode(frame, &decoded), CONCLAVE_MALFORMED, "claim %zu", i);
        buf_unref(frame);
    }
    /* Entries: as many as there are bytes, but not as there could be entries. */
    struct fields fields = append_fields();
    cr_assert_eq(DECODE(&fields, "\xdd\xff\xff\xff\xff", 1), CONCLAVE_MALFORMED);
    cr_assert_eq(DECODE(&fields, "\x92\x93\x09\x00\xa0\xc0\xc0\xc0", 1), CONCLAVE_MALFORMED);
    cr_assert_eq(DECODE(&fields, "\x91\x93\x09\x01\xc6\xff\xff\xff\xff", 1), CONCLAVE_MALFORMED);
}

Test(peer_refuses, to_make_room_for_entries_that_cannot_be_there)
{
    enum { BYTES = 4000 };
    uint8_t entries[3 + BYTES] = {0xdc};
    memset(entries + 3, 0xc0, BYTES);
    struct fields fields = append_fields();
    entries[1] = (BYTES / 4 + 1) >> 8;
    entries[2] = (BYTES / 4 + 1) & 0xff;
    cr_assert_eq(decode_fields(&fields, entries, sizeof entries, 1), CONCLAVE_MALFORMED);
    cr_assert_eq(largest_capacity, 0);
    entries[2]--;
    cr_assert_eq(decode_fields(&fields, entries, sizeof entries, 1), CONCLAVE_MALFORMED);
    cr_assert_eq(largest_capacity, BYTES / 4);
}

/* --- What a later revision may send ----------------------------------------------------------- */

Test(peer, skips_fields_that_it_does_not_know)
{
    struct fields fields = append_fields();
    cr_assert_eq(DECODE(&fields, "\x90\xc0\x81\xa1x\x91\x01", 3), CONCLAVE_OK);
    cr_assert_eq(DECODE(&fields, "\x91\x95\x09\x01\xc4\x01x\xc0\x80", 1), CONCLAVE_OK);
    cr_assert_eq(DECODE(&fields, "\x90\xc1", 2), CONCLAVE_MALFORMED);
    cr_assert_eq(DECODE(&fields, "\x90\x01", 1), CONCLAVE_MALFORMED);
}

Test(peer, skips_deeply_nested_fields_without_recursion)
{
    enum { DEPTH = 1 << 20 };
    struct fields fields = append_fields();
    uint8_t *nested = malloc(DEPTH + 2);
    nested[0] = 0x90;
    memset(nested + 1, 0x91, DEPTH);
    nested[DEPTH + 1] = 0xc0;
    cr_assert_eq(decode_fields(&fields, nested, DEPTH + 2, 2), CONCLAVE_OK);
    nested[DEPTH + 1] = 0x91;
    cr_assert_eq(decode_fields(&fields, nested, DEPTH + 2, 2), CONCLAVE_MALFORMED);
    free(nested);
}

Test(peer, takes_text_for_a_payload)
{
    struct fields fields = append_fields();
    cr_assert_eq(DECODE(&fields, "\x91\x93\x09\x01\xa1x", 1), CONCLAVE_OK);
    cr_assert_eq(DECODE(&fields, "\x91\x93\x09\x00\xa0", 1), CONCLAVE_OK);
}

#include "check.h"

#include <criterion/criterion.h>

static const uint64_t NUMBERS[] = {0,     1,     127,        128,        255,        256,
                                   65535, 65536, UINT32_MAX, 4294967296, 1ull << 53, UINT64_MAX};
enum { NUMBER_COUNT = sizeof NUMBERS / sizeof *NUMBERS };

Test(answers, outcome_survives_the_wire)
{
    for (size_t i = 0; i < NUMBER_COUNT; i++) {
        struct pack pack;
        pack_init(&pack, 0);
        kv_outcome_pack(&pack, &(struct kv_outcome){.revision = NUMBERS[i], .value = i});
        struct kv_outcome outcome;
        cr_assert_eq(kv_outcome_decode(pack.buf->data, pack.bytes, &outcome), CONCLAVE_OK);
        cr_assert_eq(outcome.revision, NUMBERS[i]);
        cr_assert_eq(outcome.value, i);
        pack_deinit(&pack);
    }
}

Test(answers, not_found_has_the_revision)
{
    struct pack pack;
    pack_init(&pack, 0);
    kv_not_found_pack(&pack, 300);
    struct kv_outcome outcome = {.value = 9};
    cr_assert_eq(kv_outcome_decode(pack.buf->data, pack.bytes, &outcome), CONCLAVE_OK);
    cr_assert_eq(outcome.revision, 300);
    cr_assert_eq(outcome.value, 0);
    pack_deinit(&pack);
}

Test(answers, item_size_is_told_to_the_byte)
{
    static uint8_t zeros[70000];
    const size_t sizes[] = {0, 1, 255, 256, 65535, 65536, 70000};
    for (size_t i = 0; i < NUMBER_COUNT; i++)
        for (size_t j = 0; j < sizeof sizes / sizeof *sizes; j++)
            for (int left_out = 0; left_out < 2; left_out++) {
                struct kv_item item = {.key = {zeros, sizes[j] < 480 ? sizes[j] : 480},
                                       .value = {zeros, sizes[j]},
                                       .value_left_out = left_out,
                                       .create_revision = NUMBERS[i],
                                       .mod_revision = NUMBERS[(i + 5) % NUMBER_COUNT],
                                       .version = NUMBERS[(i + 7) % NUMBER_COUNT]};
                struct pack pack;
                pack_init(&pack, 0);
                kv_item_pack(&pack, &item);
                cr_assert_eq(pack.bytes, kv_item_bytes(&item));
                pack_deinit(&pack);
            }
}

Test(answers, get_survives_the_wire)
{
    struct kv_item item = {text("key"), text("value"), false, 1, 200, 70000, 0};
    struct pack pack;
    pack_init(&pack, 0);
    kv_get_answer_pack(&pack, 5000, &item);
    uint64_t revision;
    struct kv_item ret;
    cr_assert_eq(kv_get_answer_decode(pack.buf->data, pack.bytes, &revision, &ret), CONCLAVE_OK);
    cr_assert_eq(revision, 5000);
    cr_assert(same(ret.key, item.key) && same(ret.value, item.value));
    cr_assert_not(ret.value_left_out);
    cr_assert_eq(ret.create_revision, 1);
    cr_assert_eq(ret.mod_revision, 200);
    cr_assert_eq(ret.version, 70000);
    pack_deinit(&pack);
}

Test(answers, range_survives_the_wire)
{
    struct pack items, pack;
    pack_init(&items, 0);
    kv_item_pack(&items, &(struct kv_item){text("a"), text("1"), false, 1, 2, 3, 0});
    kv_item_pack(&items, &(struct kv_item){.key = text("b"), .value_left_out = true});
    pack_init(&pack, 0);
    kv_range_answer_pack(
        &pack,
        &(struct kv_range_answer){.revision = 9, .count = 2, .item_count = 2, .next = text("b2")},
        (struct slice){items.buf->data, items.bytes});
    pack_deinit(&items);

    struct kv_range_answer answer;
    struct kv_item item;
    cr_assert_eq(kv_range_answer_begin(pack.buf->data, pack.bytes, &answer), CONCLAVE_OK);
    cr_assert_eq(answer.revision, 9);
    cr_assert_eq(answer.count, 2);
    cr_assert(same(answer.next, text("b2")));
    cr_assert_eq(kv_range_answer_next(&answer, &item), 1);
    cr_assert(same(item.key, text("a")) && same(item.value, text("1")));
    cr_assert_eq(kv_range_answer_next(&answer, &item), 1);
    cr_assert(same(item.key, text("b")) && item.value_left_out);
    cr_assert_eq(kv_range_answer_next(&answer, &item), 0);
    pack_deinit(&pack);
}

Test(answers, bad_item_ends_the_range)
{
    /* [1, [["k", nil, 1, 2]], 1, nil]: the version is missing */
    struct kv_range_answer answer;
    struct kv_item item;
    cr_assert_eq(kv_range_answer_begin(BYTES("\x94\x01\x91\x94\xa1k\xc0\x01\x02\x01\xc0"), &answer),
                 CONCLAVE_OK);
    cr_assert_eq(kv_range_answer_next(&answer, &item), -1);
    cr_assert_eq(kv_range_answer_next(&answer, &item), -1);
}

Test(answers, of_another_form_are_malformed)
{
    struct kv_range_answer answer;
    struct kv_outcome outcome;
    uint64_t revision;
    struct kv_item item;
    cr_assert_eq(kv_range_answer_begin(BYTES("\x94\x01\x05\x01\xc0"), &answer), CONCLAVE_MALFORMED);
    cr_assert_eq(kv_range_answer_begin(BYTES("\x92\x01\x90"), &answer), CONCLAVE_MALFORMED);
    cr_assert_eq(kv_outcome_decode(BYTES("\x90"), &outcome), CONCLAVE_MALFORMED);
    cr_assert_eq(kv_outcome_decode(NULL, 0, &outcome), CONCLAVE_MALFORMED);
    cr_assert_eq(kv_get_answer_decode(BYTES("\x91\x01"), &revision, &item), CONCLAVE_MALFORMED);
    cr_assert_eq(kv_get_answer_decode(BYTES("\x92\x01\x91\xa1k"), &revision, &item),
                 CONCLAVE_MALFORMED);
}

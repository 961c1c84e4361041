#include "rig.h"

#include "base/prng.h"

#include <criterion/criterion.h>
#include <stdio.h>

static void put(struct rig *rig, struct slice key)
{
    cr_assert_eq(rig_command(rig, &(struct kv_command){.opcode = KV_PUT, .key = key, .value = key}),
                 CONCLAVE_OK);
}

static struct kv_range_answer ask(struct rig *rig, const struct kv_query *query)
{
    struct kv_range_answer answer;
    cr_assert_eq(rig_query(rig, query), CONCLAVE_OK);
    cr_assert_eq(kv_range_answer_begin(rig->sink.body->data, rig->sink.body->bytes, &answer), 0);
    return answer;
}

static bool same(struct slice a, struct slice b)
{
    return a.bytes == b.bytes && (a.bytes == 0 || memcmp(a.data, b.data, a.bytes) == 0);
}

Test(ranges, are_in_the_order_of_bytes)
{
    struct rig *rig = rig_create();
    const struct slice keys[] = {
        BYTES("\0"),      BYTES("\0\0"),  BYTES("\0\xff"), BYTES("a"),       BYTES("a\0"),
        BYTES("a\0\xff"), BYTES("a\x01"), BYTES("a\xff"),  BYTES("a\xff\0"), BYTES("b"),
        BYTES("\x80"),    BYTES("\xff"),  BYTES("\xff\0"), BYTES("\xff\xff")};
    enum { KEYS = sizeof keys / sizeof *keys };
    for (size_t i = 0; i < KEYS; i++)
        put(rig, keys[(i * 5 + 3) % KEYS]);
    for (size_t from = 0; from <= KEYS; from++)
        for (size_t to = 0; to <= KEYS; to++) {
            struct kv_query query = {.opcode = KV_RANGE,
                                     .bounds = {from ? keys[from - 1] : (struct slice){0},
                                                to < KEYS ? keys[to] : (struct slice){0},
                                                to == KEYS}};
            struct kv_range_answer answer = ask(rig, &query);
            size_t first = from ? from - 1 : 0;
            cr_assert_eq(answer.count, to > first ? to - first : 0);
            cr_assert_eq(answer.next.bytes, 0);
            struct kv_item item;
            for (size_t i = first; i < to; i++) {
                cr_assert_eq(kv_range_answer_next(&answer, &item), 1);
                cr_assert(same(item.key, keys[i]) && same(item.value, keys[i]));
            }
            cr_assert_eq(kv_range_answer_next(&answer, &item), 0);
        }
    rig_destroy(rig);
}

Test(ranges, of_an_empty_store_are_empty)
{
    struct rig *rig = rig_create();
    for (int what = KV_RANGE_ITEMS; what <= KV_RANGE_COUNT; what++) {
        struct kv_query query = {
            .opcode = KV_RANGE, .bounds.no_end = true, .what = (enum kv_range_what)what};
        struct kv_range_answer answer = ask(rig, &query);
        cr_assert_eq(answer.count, 0);
        cr_assert_eq(answer.item_count, 0);
        cr_assert_eq(answer.next.bytes, 0);
    }
    rig_destroy(rig);
}

/* Reads all pages of a query; the keys of `rig` are "000" on, all of them are to come, in order. */
static size_t pages_of(struct rig *rig, struct kv_query query, size_t keys)
{
    uint8_t from[KV_BOUND_BYTES_MAX];
    size_t seen = 0, pages = 0;
    for (;;) {
        struct kv_range_answer answer = ask(rig, &query);
        struct kv_item item;
        pages++;
        cr_assert_gt(answer.count, 0);
        while (query.what != KV_RANGE_COUNT && kv_range_answer_next(&answer, &item) == 1) {
            char key[24];
            snprintf(key, sizeof key, "%03zu", seen++);
            cr_assert(same(item.key, text(key)));
            cr_assert_eq(item.value_left_out, query.what == KV_RANGE_KEYS);
        }
        if (query.what == KV_RANGE_COUNT)
            seen += answer.count;
        if (answer.next.bytes == 0)
            break;
        memcpy(from, answer.next.data, answer.next.bytes);
        query.bounds.from = (struct slice){from, answer.next.bytes};
    }
    cr_assert_eq(seen, keys);
    return pages;
}

Test(ranges, page_through_every_key_once)
{
    struct rig *rig = rig_create();
    enum { KEYS = 100 };
    for (int i = 0; i < KEYS; i++) {
        char key[24];
        snprintf(key, sizeof key, "%03d", i);
        put(rig, text(key));
    }
    for (uint64_t limit = 1; limit <= KEYS + 1; limit++) {
        struct kv_query query = {
            .opcode = KV_RANGE, .bounds.no_end = true, .limit = limit, .what = limit % 3};
        cr_assert_eq(pages_of(rig, query, KEYS), (KEYS + limit - 1) / limit);
    }
    for (uint64_t bytes = 1; bytes < 2000; bytes += 7) {
        struct kv_query query = {.opcode = KV_RANGE, .bounds.no_end = true, .bytes = bytes};
        cr_assert_geq(pages_of(rig, query, KEYS), 1);
    }
    rig_destroy(rig);
}

Test(ranges, keep_to_the_bytes_asked_for)
{
    struct rig *rig = rig_create();
    for (int i = 0; i < 100; i++) {
        char key[24];
        snprintf(key, sizeof key, "%03d", i);
        put(rig, text(key));
    }
    enum { ITEM_BYTES = 1 + 5 + 5 + 1 + 1 + 1 }; /* all revisions are below 128 */
    for (uint64_t bytes = 1; bytes < 300; bytes++) {
        struct kv_query query = {.opcode = KV_RANGE, .bounds.no_end = true, .bytes = bytes};
        struct kv_range_answer answer = ask(rig, &query);
        cr_assert_eq(answer.count, bytes < ITEM_BYTES ? 1 : bytes / ITEM_BYTES);
    }
    rig_destroy(rig);
}

Test(ranges, answer_256_kib_unless_asked)
{
    struct rig *rig = rig_create();
    static char value[10001];
    memset(value, 'v', sizeof value - 1);
    for (int i = 0; i < 150; i++) {
        char key[24];
        snprintf(key, sizeof key, "%03d", i);
        rig_put(rig, key, value);
    }
    struct kv_query query = {.opcode = KV_RANGE, .bounds.no_end = true};
    struct kv_range_answer answer = ask(rig, &query);
    cr_assert_eq(answer.count, 26);
    query.bytes = UINT64_MAX;
    answer = ask(rig, &query);
    cr_assert_eq(answer.count, 104);
    cr_assert_leq(rig->sink.body->bytes, (size_t)CONCLAVE_COMMAND_BYTES_MAX);
    query.what = KV_RANGE_KEYS;
    answer = ask(rig, &query);
    cr_assert_eq(answer.count, 150, "values that are left out take no room");
    rig_destroy(rig);
}

Test(ranges, continue_although_the_last_key_is_gone)
{
    struct rig *rig = rig_create();
    rig_put(rig, "a", "");
    rig_put(rig, "b", "");
    rig_put(rig, "c", "");
    struct kv_query query = {.opcode = KV_RANGE, .bounds.no_end = true, .limit = 2};
    struct kv_range_answer answer = ask(rig, &query);
    uint8_t from[KV_BOUND_BYTES_MAX];
    memcpy(from, answer.next.data, answer.next.bytes);
    query.bounds.from = (struct slice){from, answer.next.bytes};
    rig_delete(rig, "b");
    put(rig, BYTES("b\0")); /* the first key that comes after it */
    rig_put(rig, "b+", "put in between");
    answer = ask(rig, &query);
    struct kv_item item;
    cr_assert_eq(answer.count, 2);
    cr_assert_eq(kv_range_answer_next(&answer, &item), 1);
    cr_assert(same(item.key, BYTES("b\0")));
    cr_assert_eq(kv_range_answer_next(&answer, &item), 1);
    cr_assert(same(item.key, text("b+")));
    rig_destroy(rig);
}

Test(ranges, random_queries_have_random_answers)
{
    struct rig *rig = rig_create();
    rig_put(rig, "a", "1");
    struct prng prng;
    prng_init(&prng, 5);
    for (int i = 0; i < 100000; i++) {
        uint8_t bytes[24] = {(uint8_t)(0x91 + prng_below(&prng, 6)),
                             (uint8_t)(64 + prng_below(&prng, 6))};
        for (size_t j = 2; j < sizeof bytes; j++)
            bytes[j] =
                (uint8_t)(prng_below(&prng, 2) ? 0xa0 + prng_below(&prng, 4) : prng_next(&prng));
        size_t size = prng_below(&prng, sizeof bytes + 1);
        rig->ops->query(rig->kv, bytes, size, &rig->sink);
        cr_assert(rig->sink.code == CONCLAVE_OK || rig->sink.code == CONCLAVE_NOT_FOUND ||
                  rig->sink.code == CONCLAVE_MALFORMED || rig->sink.code == CONCLAVE_INVALID ||
                  rig->sink.code == CONCLAVE_TOO_LARGE || rig->sink.code == CONCLAVE_STALE ||
                  rig->sink.code == CONCLAVE_LEASE_EXPIRED);
    }
    rig_destroy(rig);
}

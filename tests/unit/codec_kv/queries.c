#include "check.h"

#include <criterion/criterion.h>

static int through_the_wire(const struct kv_query *query, struct kv_query *ret)
{
    struct pack pack;
    pack_init(&pack, 0);
    kv_query_pack(&pack, query);
    int code = kv_query_decode(pack.buf->data, pack.bytes, ret);
    if (!code) {
        cr_assert(same(ret->key, query->key));
        cr_assert(same(ret->bounds.from, query->bounds.from));
        cr_assert(ret->bounds.no_end || same(ret->bounds.to, query->bounds.to));
    }
    pack_deinit(&pack);
    return code;
}

Test(queries, survive_the_wire)
{
    struct kv_query query = {.opcode = KV_RANGE,
                             .bounds = {text("a"), text("b"), false},
                             .limit = 17,
                             .bytes = 4711,
                             .what = KV_RANGE_KEYS};
    struct kv_query ret;
    cr_assert_eq(through_the_wire(&query, &ret), CONCLAVE_OK);
    cr_assert_eq(ret.opcode, KV_RANGE);
    cr_assert_eq(ret.limit, 17);
    cr_assert_eq(ret.bytes, 4711);
    cr_assert_eq(ret.what, KV_RANGE_KEYS);
    cr_assert_not(ret.bounds.no_end);
    query = (struct kv_query){.opcode = KV_GET, .key = text("k")};
    cr_assert_eq(through_the_wire(&query, &ret), CONCLAVE_OK);
    cr_assert_eq(ret.opcode, KV_GET);
}

Test(queries, have_defaults)
{
    struct kv_query query;
    cr_assert_eq(kv_query_decode(BYTES("\x93\x41\xc0\xc0"), &query), CONCLAVE_OK);
    cr_assert(query.bounds.no_end);
    cr_assert_eq(query.bounds.from.bytes, 0);
    cr_assert_eq(query.limit, 0);
    cr_assert_eq(query.bytes, KV_RANGE_BYTES_DEFAULT);
    cr_assert_eq(query.what, KV_RANGE_ITEMS);
    cr_assert_eq(kv_query_decode(BYTES("\x96\x41\xc0\xc0\xc0\xc0\x02"), &query), CONCLAVE_OK);
    cr_assert_eq(query.bytes, KV_RANGE_BYTES_DEFAULT);
    cr_assert_eq(query.what, KV_RANGE_COUNT);
}

Test(queries, keep_to_the_limits)
{
    static uint8_t zeros[CONCLAVE_KEY_BYTES_MAX + 2];
    struct kv_query ret;
    struct kv_query get = {.opcode = KV_GET, .key = {zeros, 0}};
    cr_assert_eq(through_the_wire(&get, &ret), CONCLAVE_INVALID);
    get.key.bytes = CONCLAVE_KEY_BYTES_MAX;
    cr_assert_eq(through_the_wire(&get, &ret), CONCLAVE_OK);
    get.key.bytes++;
    cr_assert_eq(through_the_wire(&get, &ret), CONCLAVE_TOO_LARGE);

    struct kv_query range = {.opcode = KV_RANGE, .bounds = {.no_end = true}, .bytes = UINT64_MAX};
    cr_assert_eq(through_the_wire(&range, &ret), CONCLAVE_OK);
    cr_assert_eq(ret.bytes, KV_RANGE_BYTES_MAX);
    range.bounds.from = (struct slice){zeros, KV_BOUND_BYTES_MAX};
    cr_assert_eq(through_the_wire(&range, &ret), CONCLAVE_OK);
    range.bounds.from.bytes++;
    cr_assert_eq(through_the_wire(&range, &ret), CONCLAVE_TOO_LARGE);
    range.bounds = (struct kv_bounds){.to = {zeros, KV_BOUND_BYTES_MAX + 1}};
    cr_assert_eq(through_the_wire(&range, &ret), CONCLAVE_TOO_LARGE);
    cr_assert_eq(kv_query_decode(BYTES("\x96\x41\xc0\xc0\0\0\x03"), &ret), CONCLAVE_INVALID);
}

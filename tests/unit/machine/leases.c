/* Leases: what they hold, when they end, and what stays of them. */
#include "rig.h"

#include "codec/kv_lease.h"
#include "machine/tables.h"

#include <criterion/criterion.h>

static uint64_t grant(struct rig *rig, uint64_t ttl_ms)
{
    struct kv_lease_answer answer;
    cr_assert_eq(rig_apply(rig, &(struct kv_command){.opcode = KV_LEASE_GRANT, .ttl_ms = ttl_ms}),
                 CONCLAVE_OK);
    cr_assert_eq(kv_lease_answer_decode(rig->sink.body->data, rig->sink.body->bytes, &answer), 0);
    cr_assert_eq(answer.ttl_ms, ttl_ms);
    return answer.lease;
}

static int lease_do(struct rig *rig, enum kv_opcode opcode, uint64_t lease)
{
    return rig_apply(rig, &(struct kv_command){.opcode = opcode, .lease = lease});
}

static int put_lease(struct rig *rig, const char *key, uint64_t lease)
{
    return rig_command(rig,
                       &(struct kv_command){
                           .opcode = KV_PUT, .key = text(key), .value = text("v"), .lease = lease});
}

static int put_ttl(struct rig *rig, const char *key, uint64_t ttl_ms)
{
    return rig_command(
        rig, &(struct kv_command){
                 .opcode = KV_PUT, .key = text(key), .value = text("v"), .ttl_ms = ttl_ms});
}

static int get(struct rig *rig, const char *key)
{
    struct kv_item item;
    return rig_get(rig, key, &item);
}

static uint64_t due(struct rig *rig)
{
    uint64_t ms;
    cr_assert_eq(kv_due(rig->kv, &ms), CONCLAVE_OK);
    return ms;
}

static struct kv_usage usage(struct rig *rig)
{
    struct kv_usage ret;
    cr_assert_eq(rig_query(rig, &(struct kv_query){.opcode = KV_USAGE}), CONCLAVE_OK);
    cr_assert_eq(kv_usage_decode(rig->sink.body->data, rig->sink.body->bytes, &ret), CONCLAVE_OK);
    return ret;
}

Test(leases, end_with_all_that_they_hold_as_one_revision)
{
    struct rig *rig = rig_create();
    uint64_t lease = grant(rig, 1000);
    cr_assert_eq(put_lease(rig, "a", lease), CONCLAVE_OK);
    cr_assert_eq(put_lease(rig, "b", lease), CONCLAVE_OK);
    rig_put(rig, "c", "v");
    cr_assert_eq(due(rig), 1000);
    rig_pass(rig, 999);
    cr_assert_eq(get(rig, "a"), CONCLAVE_OK);
    cr_assert_eq(due(rig), 1);
    rig_pass(rig, 1);
    rig_expect(rig, "4 c=v(3,3,1)");
    cr_assert_eq(due(rig), UINT64_MAX);
    cr_assert_eq(usage(rig).leases, 0);
    cr_assert_eq(usage(rig).bytes, 1 + 32 + 1);
    cr_assert_eq(put_lease(rig, "a", lease), CONCLAVE_LEASE_EXPIRED);
    cr_assert_neq(grant(rig, 1000), lease, "a number is never used again");
    rig_destroy(rig);
}

Test(leases, are_never_early_by_time_that_was_not_written_yet)
{
    struct rig *rig = rig_create();
    rig->clock.lag_ms = 100;
    cr_assert_eq(put_ttl(rig, "a", 1000), CONCLAVE_OK);
    rig_pass(rig, 1099); /* of which 100 may have passed before the put */
    cr_assert_eq(get(rig, "a"), CONCLAVE_OK);
    rig_pass(rig, 1);
    cr_assert_eq(get(rig, "a"), CONCLAVE_NOT_FOUND);
    rig_destroy(rig);
}

Test(leases, that_are_renewed_begin_anew)
{
    struct rig *rig = rig_create();
    uint64_t lease = grant(rig, 1000);
    put_lease(rig, "a", lease);
    for (int i = 0; i < 5; i++) {
        rig_pass(rig, 900);
        cr_assert_eq(lease_do(rig, KV_LEASE_RENEW, lease), CONCLAVE_OK);
    }
    cr_assert_eq(get(rig, "a"), CONCLAVE_OK);
    rig_pass(rig, 1000);
    cr_assert_eq(get(rig, "a"), CONCLAVE_NOT_FOUND);
    cr_assert_eq(lease_do(rig, KV_LEASE_RENEW, lease), CONCLAVE_LEASE_EXPIRED);
    cr_assert_eq(lease_do(rig, KV_LEASE_REVOKE, lease), CONCLAVE_LEASE_EXPIRED);
    rig_destroy(rig);
}

Test(leases, that_are_revoked_take_their_keys_along)
{
    struct rig *rig = rig_create();
    uint64_t lease = grant(rig, 1000);
    put_lease(rig, "a", lease);
    put_lease(rig, "b", lease);
    uint64_t revision = kv_revision(rig->kv);
    cr_assert_eq(rig_command(rig, &(struct kv_command){.opcode = KV_LEASE_REVOKE, .lease = lease}),
                 CONCLAVE_OK);
    cr_assert_eq(rig->outcome.value, 2);
    cr_assert_eq(rig->outcome.revision, revision + 1);
    rig_expect(rig, "3");
    cr_assert_eq(due(rig), UINT64_MAX);
    rig_destroy(rig);
}

Test(leases, hold_a_key_until_it_is_put_without_them)
{
    struct rig *rig = rig_create();
    uint64_t first = grant(rig, 1000), second = grant(rig, 2000);
    put_lease(rig, "a", first);
    put_lease(rig, "a", first);
    put_lease(rig, "b", first);
    put_lease(rig, "b", second);
    put_lease(rig, "c", first);
    rig_put(rig, "c", "v");
    put_lease(rig, "d", first);
    rig_delete(rig, "d");
    rig_put(rig, "d", "w");
    rig_pass(rig, 1000);
    cr_assert_eq(get(rig, "a"), CONCLAVE_NOT_FOUND);
    cr_assert_eq(get(rig, "b"), CONCLAVE_OK);
    cr_assert_eq(get(rig, "c"), CONCLAVE_OK);
    cr_assert_eq(get(rig, "d"), CONCLAVE_OK);
    rig_pass(rig, 1000);
    cr_assert_eq(get(rig, "b"), CONCLAVE_NOT_FOUND);
    rig_destroy(rig);
}

Test(leases, of_one_key_go_with_it_and_are_in_no_list)
{
    struct rig *rig = rig_create();
    struct kv_leases_answer answer;
    struct kv_item item;
    for (int i = 0; i < 20; i++)
        cr_assert_eq(put_ttl(rig, "a", 1000), CONCLAVE_OK);
    cr_assert_eq(usage(rig).leases, 1);
    cr_assert_eq(rig_get(rig, "a", &item), CONCLAVE_OK);
    uint64_t own = item.lease;
    cr_assert_gt(own, 0);
    cr_assert_eq(put_lease(rig, "b", own), CONCLAVE_LEASE_EXPIRED, "it is that key's alone");
    cr_assert_eq(rig_query(rig, &(struct kv_query){.opcode = KV_LEASES}), CONCLAVE_OK);
    cr_assert_eq(kv_leases_answer_begin(rig->sink.body->data, rig->sink.body->bytes, &answer), 0);
    cr_assert_eq(answer.count, 0);
    rig_delete(rig, "a");
    cr_assert_eq(usage(rig).leases, 0);
    cr_assert_eq(due(rig), UINT64_MAX);
    put_ttl(rig, "a", 1000);
    rig_put(rig, "a", "stays");
    rig_pass(rig, 5000);
    cr_assert_eq(get(rig, "a"), CONCLAVE_OK);
    rig_destroy(rig);
}

Test(leases, are_listed_with_the_time_that_is_left_and_what_they_hold)
{
    struct rig *rig = rig_create();
    struct kv_leases_answer answer;
    struct kv_lease_keys_answer keys;
    struct kv_lease_info info;
    uint64_t space;
    struct slice key;
    uint64_t first = grant(rig, 1000), second = grant(rig, 2000);
    put_lease(rig, "x", second);
    put_lease(rig, "y", second);
    rig_pass(rig, 400);
    rig_query(rig, &(struct kv_query){.opcode = KV_LEASES, .limit = 1});
    cr_assert_eq(kv_leases_answer_begin(rig->sink.body->data, rig->sink.body->bytes, &answer), 0);
    cr_assert_eq(kv_leases_answer_next(&answer, &info), 1);
    cr_assert(info.lease == first && info.left_ms == 600 && info.keys == 0);
    cr_assert_eq(answer.next, first);
    rig_query(rig, &(struct kv_query){.opcode = KV_LEASES, .lease = first});
    cr_assert_eq(kv_leases_answer_begin(rig->sink.body->data, rig->sink.body->bytes, &answer), 0);
    cr_assert_eq(kv_leases_answer_next(&answer, &info), 1);
    cr_assert(info.lease == second && info.ttl_ms == 2000 && info.keys == 2);
    cr_assert_eq(answer.next, 0);

    rig_query(rig, &(struct kv_query){.opcode = KV_LEASE_KEYS, .lease = second, .limit = 1});
    cr_assert_eq(kv_lease_keys_answer_begin(rig->sink.body->data, rig->sink.body->bytes, &keys), 0);
    cr_assert_eq(kv_lease_keys_answer_next(&keys, &space, &key), 1);
    cr_assert(space == 0 && tables_compare(key, text("x")) == 0);
    uint8_t place[KV_LEASE_PLACE_BYTES_MAX];
    struct slice next = {place, keys.next.bytes};
    cr_assert_gt(next.bytes, 0);
    memcpy(place, keys.next.data, next.bytes);
    rig_query(rig, &(struct kv_query){.opcode = KV_LEASE_KEYS, .lease = second, .key = next});
    cr_assert_eq(kv_lease_keys_answer_begin(rig->sink.body->data, rig->sink.body->bytes, &keys), 0);
    cr_assert_eq(kv_lease_keys_answer_next(&keys, &space, &key), 1);
    cr_assert(tables_compare(key, text("y")) == 0 && keys.next.bytes == 0);
    cr_assert_eq(rig_query(rig, &(struct kv_query){.opcode = KV_LEASE_KEYS, .lease = 77}),
                 CONCLAVE_LEASE_EXPIRED);
    rig_destroy(rig);
}

Test(leases, end_in_the_order_of_their_deadlines_each_as_a_revision)
{
    struct rig *rig = rig_create();
    put_ttl(rig, "late", 300);
    put_ttl(rig, "early", 100);
    rig_pass(rig, 1000);
    cr_assert_eq(kv_revision(rig->kv), 4);
    uint64_t told;
    struct kv_item item;
    cr_assert_eq(
        rig_query(rig, &(struct kv_query){.opcode = KV_GET, .key = text("late"), .revision = 3}),
        CONCLAVE_OK);
    cr_assert_eq(kv_get_answer_decode(rig->sink.body->data, rig->sink.body->bytes, &told, &item),
                 0);
    cr_assert_eq(
        rig_query(rig, &(struct kv_query){.opcode = KV_GET, .key = text("early"), .revision = 3}),
        CONCLAVE_NOT_FOUND);
    rig_destroy(rig);
}

Test(leases, outlive_the_process)
{
    struct rig *rig = rig_create();
    uint64_t lease = grant(rig, 1000);
    put_lease(rig, "a", lease);
    rig_close(rig);
    rig_open(rig);
    cr_assert_eq(lease_do(rig, KV_LEASE_RENEW, lease), CONCLAVE_OK);
    rig_pass(rig, 1000);
    cr_assert_eq(get(rig, "a"), CONCLAVE_NOT_FOUND);
    rig_destroy(rig);
}

Test(leases, without_time_or_with_two_of_them_are_refused)
{
    struct rig *rig = rig_create();
    cr_assert_eq(lease_do(rig, KV_LEASE_GRANT, 0), CONCLAVE_INVALID);
    cr_assert_eq(
        rig_apply(rig, &(struct kv_command){.opcode = KV_LEASE_GRANT, .ttl_ms = KV_TTL_MS_MAX + 1}),
        CONCLAVE_TOO_LARGE);
    cr_assert_eq(lease_do(rig, KV_LEASE_RENEW, 0), CONCLAVE_INVALID);
    cr_assert_eq(
        rig_apply(
            rig, &(struct kv_command){.opcode = KV_PUT, .key = text("a"), .lease = 1, .ttl_ms = 1}),
        CONCLAVE_INVALID);
    rig_destroy(rig);
}

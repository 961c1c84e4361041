/* The quota: that topics count, what it refuses and what it does not, and when its alarm is on. */
#include "rig.h"

#include "codec/group.h"
#include "codec/kv_lease.h"
#include "codec/topic.h"
#include "machine/tables.h"

#include <criterion/criterion.h>

enum {
    TOPIC_OWN = 128 + 1, /* of a name of one byte */
    MESSAGE = 24 + 5,    /* without its data */
    LARGE = 3000         /* data of one that shares its block with no other */
};

static struct kv_usage usage(struct rig *rig)
{
    struct kv_usage ret;
    cr_assert_eq(rig_query(rig, &(struct kv_query){.opcode = KV_USAGE}), CONCLAVE_OK);
    cr_assert_eq(kv_usage_decode(rig->sink.body->data, rig->sink.body->bytes, &ret), CONCLAVE_OK);
    return ret;
}

static uint64_t used(struct rig *rig)
{
    return usage(rig).bytes + usage(rig).topic_bytes;
}

/* So many bytes more than are used. */
static void quota(struct rig *rig, uint64_t room)
{
    struct kv_command settings = {.opcode = KV_SETTINGS};
    settings.settings.given[KV_SETTING_QUOTA] = true;
    settings.settings.values[KV_SETTING_QUOTA] = used(rig) + room;
    cr_assert_eq(rig_command(rig, &settings), CONCLAVE_OK);
}

static int run(struct rig *rig, struct pack *pack)
{
    int code = rig_command_bytes(rig, pack->buf->data, pack->bytes);
    pack_deinit(pack);
    return code;
}

static int topic_create(struct rig *rig, const char *name)
{
    struct pack pack;
    pack_init(&pack, 0);
    topic_create_pack(&pack, text(name), &(struct topic_settings){.dedup_ms = 100000});
    return run(rig, &pack);
}

static int topic_do(struct rig *rig, const char *name, uint64_t trim)
{
    struct pack pack;
    pack_init(&pack, 0);
    if (trim)
        topic_trim_pack(&pack, text(name), trim);
    else
        topic_delete_pack(&pack, text(name));
    return run(rig, &pack);
}

/* So many messages of so many bytes; `ids`: of one byte each, from 'a' on. */
static int publish(struct rig *rig, const char *name, uint32_t count, size_t bytes, bool ids)
{
    static const uint8_t data[40000];
    struct topic_publish publish = {.name = text(name), .count = count, .have_ids = ids};
    struct pack pack;
    pack_init(&pack, 0);
    topic_publish_begin(&pack, &publish);
    for (uint32_t i = 0; i < count; i++)
        topic_publish_data(&pack, (struct slice){data, bytes});
    topic_publish_ids(&pack, &publish);
    for (uint32_t i = 0; ids && i < count; i++)
        topic_publish_id(&pack, (struct slice){&(uint8_t){(uint8_t)('a' + i)}, 1});
    return run(rig, &pack);
}

Test(quota_of_topics, counts_topics_and_what_they_hold)
{
    struct rig *rig = rig_create();
    cr_assert_eq(topic_create(rig, "t"), CONCLAVE_OK);
    cr_assert_eq(usage(rig).topics, 1);
    cr_assert_eq(usage(rig).topic_bytes, TOPIC_OWN);
    cr_assert_eq(publish(rig, "t", 2, LARGE, false), CONCLAVE_OK);
    cr_assert_eq(usage(rig).topic_bytes, TOPIC_OWN + 24 + 2 * (5 + LARGE));
    cr_assert_eq(publish(rig, "t", 1, LARGE, true), CONCLAVE_OK);
    cr_assert_eq(topic_do(rig, "t", 3), CONCLAVE_OK);
    cr_assert_eq(usage(rig).topic_bytes, TOPIC_OWN + MESSAGE + LARGE + 1);
    cr_assert_eq(topic_do(rig, "t", 0), CONCLAVE_OK);
    cr_assert_eq(usage(rig).topics, 0);
    cr_assert_eq(usage(rig).topic_bytes, 0, "at once, whatever has to be erased");
    rig_destroy(rig);
}

Test(quota_of_topics, refuses_what_grows_and_takes_what_shrinks)
{
    struct rig *rig = rig_create();
    rig_put(rig, "k", "v");
    cr_assert_eq(topic_create(rig, "t"), CONCLAVE_OK);
    cr_assert_eq(publish(rig, "t", 1, LARGE, false), CONCLAVE_OK);
    quota(rig, MESSAGE + LARGE);
    uint64_t revision = kv_revision(rig->kv);
    cr_assert_eq(publish(rig, "t", 1, LARGE + 1, false), CONCLAVE_QUOTA);
    cr_assert_eq(kv_revision(rig->kv), revision, "nothing changed");
    cr_assert_eq(publish(rig, "t", 1, LARGE, false), CONCLAVE_OK);
    cr_assert_eq(publish(rig, "t", 1, 0, false), CONCLAVE_QUOTA);
    cr_assert_eq(topic_create(rig, "u"), CONCLAVE_QUOTA);
    cr_assert_eq(rig_put(rig, "k", "v2"), CONCLAVE_QUOTA, "they share it");
    cr_assert_eq(rig_put(rig, "k", ""), CONCLAVE_OK);
    cr_assert_eq(topic_do(rig, "t", 2), CONCLAVE_OK);
    cr_assert_eq(publish(rig, "t", 1, LARGE, false), CONCLAVE_OK);
    cr_assert_eq(topic_do(rig, "t", 0), CONCLAVE_OK);
    cr_assert_eq(rig_put(rig, "k", "v2"), CONCLAVE_OK);
    rig_destroy(rig);
}

Test(quota_of_topics, takes_what_was_published_before)
{
    struct rig *rig = rig_create();
    cr_assert_eq(topic_create(rig, "t"), CONCLAVE_OK);
    cr_assert_eq(publish(rig, "t", 2, 10, true), CONCLAVE_OK);
    quota(rig, 0);
    cr_assert_eq(publish(rig, "t", 2, 10, true), CONCLAVE_OK, "all are duplicates");
    cr_assert_eq(publish(rig, "t", 3, 10, true), CONCLAVE_QUOTA);
    quota(rig, 24 + 5 + 1 + 10);
    cr_assert_eq(publish(rig, "t", 3, 10, true), CONCLAVE_OK, "one of them is new");
    rig_destroy(rig);
}

/* It is found before anything is written, and so has to be the same. */
Test(quota_of_topics, knows_to_the_byte_what_a_publish_takes)
{
    static const struct {
        uint32_t count;
        size_t bytes;
    } shapes[] = {{1, 0}, {1, 40000}, {3, 40000}, {100, 1000}, {33, 1019}, {66, 1019}, {4000, 3}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct rig *rig = rig_create();
        cr_assert_eq(topic_create(rig, "t"), CONCLAVE_OK);
        uint64_t before = used(rig);
        cr_assert_eq(publish(rig, "t", shapes[i].count, shapes[i].bytes, false), CONCLAVE_OK);
        uint64_t taken = used(rig) - before;
        rig_pass(rig, 1); /* what comes in the same moment shares a block */
        quota(rig, taken - 1);
        cr_assert_eq(publish(rig, "t", shapes[i].count, shapes[i].bytes, false), CONCLAVE_QUOTA);
        cr_assert_eq(usage(rig).refused, taken, "shape %zu", i);
        quota(rig, taken);
        cr_assert_eq(publish(rig, "t", shapes[i].count, shapes[i].bytes, false), CONCLAVE_OK);
        rig_destroy(rig);
    }
}

Test(quota_of_topics, knows_what_shares_a_block)
{
    struct rig *rig = rig_create();
    cr_assert_eq(topic_create(rig, "t"), CONCLAVE_OK);
    cr_assert_eq(publish(rig, "t", 1, 10, false), CONCLAVE_OK);
    quota(rig, 2 * (5 + 10));
    cr_assert_eq(publish(rig, "t", 3, 10, false), CONCLAVE_QUOTA);
    cr_assert_eq(usage(rig).refused, 3 * (5 + 10));
    cr_assert_eq(publish(rig, "t", 2, 10, false), CONCLAVE_OK);
    cr_assert_eq(usage(rig).topic_bytes, TOPIC_OWN + 24 + 3 * (5 + 10));
    rig_destroy(rig);
}

Test(quota_alarm, is_on_while_what_was_refused_still_would_be)
{
    struct rig *rig = rig_create();
    rig_put(rig, "a", "1234567890");
    quota(rig, 5);
    cr_assert_not(kv_quota_is_used_up(rig->kv), "nothing was refused");
    cr_assert_eq(rig_put(rig, "b", "1"), CONCLAVE_QUOTA);
    cr_assert(kv_quota_is_used_up(rig->kv));
    cr_assert_eq(usage(rig).refused, 1 + 32 + 1);
    cr_assert_eq(rig_put(rig, "a", "123456789012345"), CONCLAVE_OK, "this has room");
    cr_assert(kv_quota_is_used_up(rig->kv));
    rig_close(rig);
    rig_open(rig);
    cr_assert(kv_quota_is_used_up(rig->kv));
    rig_delete(rig, "a");
    cr_assert_not(kv_quota_is_used_up(rig->kv));
    rig_put(rig, "a", "1234567890");
    cr_assert_not(kv_quota_is_used_up(rig->kv), "that it was on once is forgotten");
    cr_assert_eq(rig_put(rig, "b", "1"), CONCLAVE_QUOTA);
    quota(rig, 100);
    cr_assert_not(kv_quota_is_used_up(rig->kv));
    rig_destroy(rig);
}

Test(quota_alarm, goes_with_a_lease_that_ends)
{
    struct rig *rig = rig_create();
    struct kv_command put = {.opcode = KV_PUT, .key = text("a"), .ttl_ms = 1000};
    cr_assert_eq(rig_command(rig, &put), CONCLAVE_OK);
    cr_assert_eq(used(rig), 1 + 32 + 96);
    quota(rig, 1 + 32 + 95);
    put.key = text("b");
    cr_assert_eq(rig_command(rig, &put), CONCLAVE_QUOTA, "its lease counts");
    cr_assert_eq(usage(rig).refused, 1 + 32 + 96);
    rig_pass(rig, 1000);
    cr_assert_not(kv_quota_is_used_up(rig->kv));
    cr_assert_eq(rig_command(rig, &put), CONCLAVE_OK);
    rig_destroy(rig);
}

Test(quota_of_keys, counts_a_lease_that_comes_with_the_key_and_one_that_goes_with_it)
{
    struct rig *rig = rig_create();
    struct kv_command put = {.opcode = KV_PUT, .key = text("a")};
    cr_assert_eq(rig_command(rig, &(struct kv_command){.opcode = KV_LEASE_GRANT, .ttl_ms = 1000}),
                 CONCLAVE_OK);
    put.lease = 1;
    cr_assert_eq(rig_command(rig, &put), CONCLAVE_OK);
    put.lease = 0;
    put.ttl_ms = 1000;
    quota(rig, 95);
    cr_assert_eq(rig_command(rig, &put), CONCLAVE_QUOTA, "the other lease stays");
    quota(rig, 96);
    cr_assert_eq(rig_command(rig, &put), CONCLAVE_OK);
    cr_assert_eq(usage(rig).bytes, 1 + 32 + 2 * 96);
    cr_assert_eq(rig_command(rig, &put), CONCLAVE_OK, "one comes, one goes");
    put.ttl_ms = 0;
    put.value = text("a value that is shorter than what its lease took");
    cr_assert_eq(rig_command(rig, &put), CONCLAVE_OK, "all in all it shrinks");
    cr_assert_lt(usage(rig).bytes, 1 + 32 + 2 * 96);
    rig_destroy(rig);
}

Test(quota_of_groups, knows_of_topics_and_sets_the_alarm)
{
    struct rig *rig = rig_create();
    struct pack pack;
    topic_create(rig, "t");
    for (int all = 0; all < 2; all++) {
        quota(rig, 384 + (uint64_t)all);
        pack_init(&pack, 0);
        group_command_pack(
            &pack,
            &(struct group_command){.opcode = GROUP_CREATE, .topic = text("t"), .group = text("g")},
            0);
        cr_assert_eq(run(rig, &pack), all ? CONCLAVE_OK : CONCLAVE_QUOTA);
        cr_assert_eq(usage(rig).refused, all ? 0 : 384 + 1);
    }
    cr_assert_eq(usage(rig).bytes, 384 + 1);
    rig_destroy(rig);
}

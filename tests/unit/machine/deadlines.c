/* What ends as time passes, a bounded part at once: leases, messages that are too old, and what
 * deleted topics have left. */
#include "rig.h"

#include "codec/kv_lease.h"
#include "codec/topic.h"
#include "machine/kv_expire.h"
#include "machine/tables.h"

#include <criterion/criterion.h>
#include <stdio.h>

enum { DATA = 3000, BLOCK = 24 + 5 + DATA };

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

static void topic_create(struct rig *rig, const char *name, struct topic_settings settings)
{
    struct pack pack;
    pack_init(&pack, 0);
    topic_create_pack(&pack, text(name), &settings);
    cr_assert_eq(rig_command_bytes(rig, pack.buf->data, pack.bytes), CONCLAVE_OK);
    pack_deinit(&pack);
}

static void topic_do(struct rig *rig, const char *name, uint64_t trim)
{
    struct pack pack;
    pack_init(&pack, 0);
    if (trim)
        topic_trim_pack(&pack, text(name), trim);
    else
        topic_delete_pack(&pack, text(name));
    cr_assert_eq(rig_command_bytes(rig, pack.buf->data, pack.bytes), CONCLAVE_OK);
    pack_deinit(&pack);
}

/* So many messages, each too large to share a block. */
static void publish(struct rig *rig, const char *name, unsigned count)
{
    static const uint8_t data[DATA];
    struct topic_publish publish = {.name = text(name), .count = 1};
    for (unsigned i = 0; i < count; i++) {
        struct pack pack;
        pack_init(&pack, 0);
        topic_publish_begin(&pack, &publish);
        topic_publish_data(&pack, (struct slice){data, sizeof data});
        topic_publish_ids(&pack, &publish);
        cr_assert_eq(rig_command_bytes(rig, pack.buf->data, pack.bytes), CONCLAVE_OK);
        pack_deinit(&pack);
    }
}

static struct topic_info info(struct rig *rig, const char *name)
{
    struct topic_info ret;
    uint64_t revision, clock_ms;
    struct pack pack;
    pack_init(&pack, 0);
    topic_query_pack(&pack, &(struct topic_query){.opcode = TOPIC_INFO, .name = text(name)});
    reply_sink_clear(&rig->sink);
    rig->ops->query(rig->kv, pack.buf->data, pack.bytes, &rig->sink);
    pack_deinit(&pack);
    cr_assert_eq(topic_info_answer_decode(rig->sink.body->data, rig->sink.body->bytes, &revision,
                                          &clock_ms, &ret),
                 CONCLAVE_OK);
    return ret;
}

/* --- Leases ------------------------------------------------------------------------------------
 */

static void leases_with_keys(struct rig *rig, unsigned leases, unsigned keys)
{
    for (unsigned i = 0; i < leases; i++) {
        rig_apply(rig, &(struct kv_command){.opcode = KV_LEASE_GRANT, .ttl_ms = 1000});
        for (unsigned k = 0; k < keys; k++) {
            char key[32];
            snprintf(key, sizeof key, "%u/%u", i, k);
            cr_assert_eq(
                rig_command(
                    rig, &(struct kv_command){.opcode = KV_PUT, .key = text(key), .lease = i + 1}),
                CONCLAVE_OK);
        }
    }
}

Test(deadlines, end_leases_in_bounded_parts_each_of_them_as_a_whole)
{
    struct rig *rig = rig_create();
    leases_with_keys(rig, 5, 2);
    rig->clock.expire_work = 4; /* a lease and its keys are 3: the second one is finished */
    uint64_t revision = kv_revision(rig->kv);
    static const unsigned left[] = {3, 1, 0};
    rig_pass(rig, 1000);
    for (size_t i = 0; i < sizeof left / sizeof *left; i++) {
        cr_assert_eq(usage(rig).leases, left[i]);
        cr_assert_eq(usage(rig).keys, 2 * left[i]);
        cr_assert_eq(kv_revision(rig->kv), revision + 5 - left[i], "each is a revision");
        cr_assert_eq(due(rig), left[i] ? 0 : UINT64_MAX, "the rest is due at once");
        rig_pass(rig, 1);
    }
    rig_destroy(rig);
}

Test(deadlines, that_have_come_and_wait_are_no_end_yet)
{
    struct rig *rig = rig_create();
    leases_with_keys(rig, 3, 0);
    rig->clock.expire_work = 1;
    rig_pass(rig, 1000);
    cr_assert_eq(usage(rig).leases, 2);
    cr_assert_eq(rig_apply(rig, &(struct kv_command){.opcode = KV_LEASE_RENEW, .lease = 2}),
                 CONCLAVE_OK);
    rig_pass(rig, 1);
    rig_pass(rig, 1);
    cr_assert_eq(usage(rig).leases, 1, "it begins anew");
    cr_assert_eq(due(rig), 998);
    rig_destroy(rig);
}

Test(deadlines, end_no_more_at_once_than_takes_a_moment)
{
    struct rig *rig = rig_create();
    leases_with_keys(rig, 60, 30);
    rig_pass(rig, 1000);
    uint64_t ended = 60 - usage(rig).leases;
    cr_assert_geq(ended * 31, KV_EXPIRE_WORK);
    cr_assert_lt((ended - 1) * 31, KV_EXPIRE_WORK);
    rig_pass(rig, 1);
    cr_assert_eq(usage(rig).leases, 0);
    rig_destroy(rig);
}

/* --- Topics ------------------------------------------------------------------------------------
 */

Test(deadlines, erase_messages_that_are_too_old_though_nobody_publishes)
{
    struct rig *rig = rig_create();
    rig->clock.now_ms = 5;
    topic_create(rig, "t", (struct topic_settings){.age_ms = 1000});
    cr_assert_eq(due(rig), UINT64_MAX, "it is empty");
    publish(rig, "t", 3);
    rig_pass(rig, 400);
    publish(rig, "t", 2);
    cr_assert_eq(due(rig), 600);
    rig_pass(rig, 599);
    cr_assert_eq(info(rig, "t").bytes, 5 * BLOCK);
    rig_pass(rig, 1);
    cr_assert_eq(info(rig, "t").bytes, 2 * BLOCK);
    cr_assert_eq(info(rig, "t").first, 4);
    cr_assert_eq(due(rig), 400);
    rig_pass(rig, 400);
    cr_assert_eq(info(rig, "t").bytes, 0);
    cr_assert_eq(due(rig), UINT64_MAX);
    publish(rig, "t", 1);
    cr_assert_eq(info(rig, "t").first, 6);
    cr_assert_eq(due(rig), 1000);
    rig_destroy(rig);
}

Test(deadlines, erase_messages_in_bounded_parts)
{
    struct rig *rig = rig_create();
    topic_create(rig, "t", (struct topic_settings){.age_ms = 1000});
    publish(rig, "t", 10);
    rig->clock.expire_work = 5; /* the deadline itself is 1 */
    for (unsigned left = 10; left > 0; left -= left < 4 ? left : 4) {
        cr_assert_eq(info(rig, "t").bytes, left * BLOCK);
        rig_pass(rig, left == 10 ? 1000 : 1);
        cr_assert_eq(due(rig), left > 4 ? 0 : UINT64_MAX);
        cr_assert_eq(info(rig, "t").first, 11, "what is too old is not shown");
    }
    rig_destroy(rig);
}

Test(deadlines, of_topics_outlive_the_process_and_go_with_the_topic)
{
    struct rig *rig = rig_create();
    topic_create(rig, "t", (struct topic_settings){.age_ms = 1000});
    publish(rig, "t", 1);
    rig_close(rig);
    rig_open(rig);
    cr_assert_eq(due(rig), 1000);
    topic_do(rig, "t", 0);
    topic_create(rig, "t", (struct topic_settings){.age_ms = 3000});
    publish(rig, "t", 1);
    rig_pass(rig, 1);
    cr_assert_eq(due(rig), 2999, "that of the one before is gone");
    rig_pass(rig, 2998);
    cr_assert_gt(info(rig, "t").bytes, 0);
    rig_pass(rig, 1);
    cr_assert_eq(info(rig, "t").bytes, 0);
    rig_destroy(rig);
}

Test(deadlines, come_early_for_a_block_that_went_before_and_are_set_anew)
{
    struct rig *rig = rig_create();
    topic_create(rig, "t", (struct topic_settings){.count_max = 1, .age_ms = 1000});
    publish(rig, "t", 1);
    rig_pass(rig, 700);
    publish(rig, "t", 1);
    cr_assert_eq(due(rig), 300);
    rig_pass(rig, 300);
    cr_assert_eq(info(rig, "t").first, 2);
    cr_assert_eq(due(rig), 700);
    rig_pass(rig, 700);
    cr_assert_eq(info(rig, "t").bytes, 0);
    rig_destroy(rig);
}

Test(deadlines, erase_what_a_deleted_topic_has_left)
{
    struct rig *rig = rig_create();
    topic_create(rig, "t", (struct topic_settings){0});
    publish(rig, "t", 20);
    rig->clock.expire_work = 8;
    topic_do(rig, "t", 0);
    cr_assert_eq(due(rig), 0);
    unsigned parts = 0;
    for (; due(rig) == 0; parts++)
        rig_pass(rig, 1);
    cr_assert_eq(parts, 3, "20 blocks and that it was there");
    cr_assert_eq(due(rig), UINT64_MAX);
    rig_destroy(rig);
}

Test(deadlines, are_gone_when_later_commands_have_erased_the_rest)
{
    struct rig *rig = rig_create();
    topic_create(rig, "t", (struct topic_settings){0});
    publish(rig, "t", 20);
    topic_do(rig, "t", 0);
    topic_create(rig, "u", (struct topic_settings){0}); /* erases up to 64 keys */
    cr_assert_eq(due(rig), UINT64_MAX);
    rig_destroy(rig);
}

Test(deadlines, go_on_with_a_trim_that_was_too_much_at_once)
{
    enum { MESSAGES = 300 };
    struct rig *rig = rig_create();
    rig->clock.now_ms = 1;
    topic_create(rig, "t", (struct topic_settings){0});
    publish(rig, "t", MESSAGES);
    topic_do(rig, "t", 10);
    cr_assert_eq(rig->outcome.value, 10);
    cr_assert_eq(info(rig, "t").first, 10);
    topic_do(rig, "t", 3); /* which went */
    cr_assert_eq(rig->outcome.value, 10);
    cr_assert_eq(due(rig), UINT64_MAX);
    topic_do(rig, "t", 1000);
    cr_assert_eq(info(rig, "t").first, MESSAGES + 1);
    cr_assert_gt(info(rig, "t").bytes, 0);
    cr_assert_eq(due(rig), 0);
    rig_pass(rig, 1);
    cr_assert_eq(info(rig, "t").bytes, 0);
    cr_assert_eq(due(rig), UINT64_MAX);
    publish(rig, "t", 1);
    cr_assert_eq(info(rig, "t").first, MESSAGES + 1);
    rig_destroy(rig);
}

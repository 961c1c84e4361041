/* What can be asked of work groups: lists, what is in hand, payloads; and the feed by which members
 * wait. */
#include "group_rig.h"

#include "codec/kv_lease.h"
#include "machine/feed.h"

#include <criterion/criterion.h>
#include <stdio.h>

static struct rig *rig;
static uint64_t ann, ben;

static void setup(void)
{
    rig = group_rig_create();
    ann = group_rig_grant(rig, 3600000);
    ben = group_rig_grant(rig, 3600000);
    group_rig_publish(rig, 6);
    cr_assert_eq(group_rig_make(rig, NULL, CONCLAVE_FROM_FIRST, 0), CONCLAVE_OK);
}

static void teardown(void)
{
    group_rig_destroy(rig);
}

TestSuite(groups_queries, .init = setup, .fini = teardown);

static const char *pending(uint64_t lease, uint64_t sequence, uint64_t limit)
{
    static char out[1024];
    struct group_pending_answer answer;
    struct conclave_group_pending item;
    struct pack pack;
    size_t used = 0;
    int more;
    pack_init(&pack, 0);
    group_query_pack(&pack,
                     &(struct group_query){.opcode = GROUP_PENDING,
                                           .topic = text("t"),
                                           .group = text("g"),
                                           .lease = lease,
                                           .sequence = sequence,
                                           .limit = limit},
                     0);
    cr_assert_eq(group_rig_bytes(rig, &pack, true), CONCLAVE_OK);
    cr_assert_eq(group_pending_answer_begin(rig->sink.body->data, rig->sink.body->bytes, &answer),
                 0);
    out[0] = '\0';
    while ((more = group_pending_answer_next(&answer, &item)) == 1)
        used += (size_t)snprintf(out + used, sizeof out - used, "%s:%lu*%lu/%lu ",
                                 item.lease == ann   ? "ann"
                                 : item.lease == ben ? "ben"
                                                     : "nobody",
                                 (unsigned long)item.sequence, (unsigned long)item.deliveries,
                                 (unsigned long)item.left_ms);
    cr_assert_eq(more, 0);
    if (answer.more)
        snprintf(out + used, sizeof out - used, "more from %s:%lu",
                 answer.lease == ann ? "ann" : "ben", (unsigned long)answer.sequence);
    return out;
}

Test(groups_queries, list_what_is_in_hand_page_by_page)
{
    group_rig_fetch(rig, ann, 2);
    rig_pass(rig, 1000);
    group_rig_fetch(rig, ben, 2);
    group_rig_settle(rig, GROUP_NACK, ann, 2, 1, 5000);
    cr_assert_str_eq(pending(0, 0, 0), "nobody:2*1/5000 ann:1*1/29000 ben:3*1/30000 "
                                       "ben:4*1/30000 ");
    cr_assert_str_eq(pending(0, 0, 2), "nobody:2*1/5000 ann:1*1/29000 more from ben:3");
    cr_assert_str_eq(pending(ben, 4, 2), "ben:4*1/30000 ");
}

/* It is a part of what the lease ends, and no key. */
Test(groups_queries, leave_a_membership_out_of_the_keys_of_a_lease)
{
    struct kv_lease_keys_answer keys;
    cr_assert_str_eq(group_rig_fetch(rig, ann, 1), "1*1");
    for (uint64_t limit = 0; limit < 2; limit++) {
        cr_assert_eq(
            rig_query(rig,
                      &(struct kv_query){.opcode = KV_LEASE_KEYS, .lease = ann, .limit = limit}),
            CONCLAVE_OK);
        cr_assert_eq(kv_lease_keys_answer_begin(rig->sink.body->data, rig->sink.body->bytes, &keys),
                     0);
        cr_assert_eq(keys.info.keys, 0);
        cr_assert_eq(keys.count, 0);
        cr_assert_eq(keys.next.bytes, 0);
    }
}

static void make_more(void)
{
    static const char *const names[] = {"a", "ga", "z"};
    for (size_t i = 0; i < 3; i++) {
        struct pack pack;
        pack_init(&pack, 0);
        group_command_pack(&pack,
                           &(struct group_command){
                               .opcode = GROUP_CREATE, .topic = text("t"), .group = text(names[i])},
                           0);
        cr_assert_eq(group_rig_bytes(rig, &pack, false), CONCLAVE_OK);
    }
}

static const char *list(const char *from, uint64_t limit)
{
    static char out[256];
    struct list_answer answer;
    struct group_info info;
    struct pack pack;
    size_t used = 0;
    int more;
    pack_init(&pack, 0);
    group_query_pack(
        &pack,
        &(struct group_query){
            .opcode = GROUP_LIST, .topic = text("t"), .group = text(from), .limit = limit},
        0);
    cr_assert_eq(group_rig_bytes(rig, &pack, true), CONCLAVE_OK);
    cr_assert_eq(list_answer_begin(rig->sink.body->data, rig->sink.body->bytes, &answer), 0);
    out[0] = '\0';
    while ((more = group_list_answer_next(&answer, &info)) == 1)
        used += (size_t)snprintf(out + used, sizeof out - used, "%.*s ", (int)info.name.bytes,
                                 info.name.data);
    cr_assert_eq(more, 0);
    snprintf(out + used, sizeof out - used, "then %.*s", (int)answer.next.bytes, answer.next.data);
    return out;
}

Test(groups_queries, list_the_groups_of_a_topic)
{
    make_more();
    cr_assert_str_eq(list("", 0), "a g ga z then ");
    cr_assert_str_eq(list("", 2), "a g then ga");
    cr_assert_str_eq(list("ga", 1), "ga then z");
    cr_assert_str_eq(list("zz", 1), "then ");
}

/* The messages of two ranges, with room for so many bytes. */
static const char *messages(struct conclave_group_range a, struct conclave_group_range b,
                            uint64_t bytes)
{
    static char out[1024];
    struct group_messages_answer answer;
    struct topic_item item;
    struct group_query query = {.opcode = GROUP_MESSAGES, .topic = text("t"), .bytes = bytes};
    struct pack pack;
    int more;
    pack_init(&pack, 0);
    group_query_pack(&pack, &query, 2);
    group_range_pack(&pack, &a);
    group_range_pack(&pack, &b);
    group_query_end(&pack, &query);
    cr_assert_eq(group_rig_bytes(rig, &pack, true), CONCLAVE_OK);
    cr_assert_eq(group_messages_answer_begin(rig->sink.body->data, rig->sink.body->bytes, &answer),
                 0);
    int used = snprintf(out, sizeof out, "%lu:", (unsigned long)answer.covered);
    while ((more = group_messages_answer_next(&answer, &item)) == 1)
        used += snprintf(out + used, sizeof out - (size_t)used, " %lu=%.*s",
                         (unsigned long)item.sequence, (int)item.message.data.bytes,
                         item.message.data.data);
    cr_assert_eq(more, 0);
    return out;
}

Test(groups_queries, answer_the_payloads_of_any_messages)
{
    const struct conclave_group_range two = {2, 2}, five = {5, 1}, late = {6, 3};
    cr_assert_str_eq(messages(two, five, 0), "3: 2=2 3=3 5=5");
    cr_assert_str_eq(messages(five, two, 0), "3: 5=5 2=2 3=3");
    cr_assert_str_eq(messages(two, five, 1), "1: 2=2", "the first one in any case");
    cr_assert_str_eq(messages(late, two, 0), "5: 6=6 2=2 3=3", "7 and 8 did not come yet");
}

/* --- Waiting -----------------------------------------------------------------------------------
 */

static unsigned touches;

static void count_touch(void *arg, uint8_t space, struct slice name, uint64_t from, uint64_t end)
{
    (void)arg;
    cr_assert_eq(space, 0);
    cr_assert_eq(name.bytes, 1);
    cr_assert_eq(name.data[0], 't');
    cr_assert_lt(from, end);
    touches++;
}

/* How often the feed names the topic since the last call. */
static unsigned touched(struct feed *feed)
{
    touches = 0;
    cr_assert_eq(feed->ops->changes(feed->arg, count_touch, NULL), CONCLAVE_OK);
    return touches;
}

Test(groups_queries, tell_who_waits_that_there_is_something)
{
    struct feed feed = kv_group_feed(rig->kv);
    struct group_info info = group_rig_info(rig);
    struct feed_interest interest;
    uint64_t oldest, next;
    bool state = true;
    struct pack spec, items;
    pack_init(&spec, 0);
    group_spec_pack(&spec, &(struct group_spec){text("t"), info.id});
    struct slice bytes = {spec.buf->data, spec.bytes};
    feed.ops->skip(feed.arg);
    cr_assert_eq(feed.ops->check(feed.arg, bytes, &interest, &state), CONCLAVE_OK);
    cr_assert_not(state);
    cr_assert(feed_interest_is_single(&interest));
    cr_assert_str_eq(group_rig_fetch(rig, ann, 10), "1-6*1");
    uint64_t wake = group_rig_wake(rig);
    cr_assert_eq(feed.ops->bounds(feed.arg, &interest, &oldest, &next), CONCLAVE_OK);
    cr_assert_eq(next, wake, "who waits from there is told nothing");
    cr_assert_eq(touched(&feed), 0);
    group_rig_settle(rig, GROUP_NACK, ann, 1, 1, 0);
    cr_assert_eq(touched(&feed), 1);
    group_rig_publish(rig, 1);
    cr_assert_eq(touched(&feed), 1);
    cr_assert_eq(feed.ops->bounds(feed.arg, &interest, &oldest, &next), CONCLAVE_OK);
    cr_assert_eq(next, wake + 2);
    pack_init(&items, 0);
    struct feed_read read = {.interest = &interest,
                             .position = wake,
                             .end = next,
                             .bytes = 1000,
                             .looks = 10,
                             .items = &items};
    cr_assert_eq(feed.ops->read(feed.arg, &read), CONCLAVE_OK);
    cr_assert_eq(read.count, 1, "one event, however many messages");
    cr_assert_eq(read.position, next);
    interest.token = info.id + 1;
    cr_assert_eq(feed.ops->bounds(feed.arg, &interest, &oldest, &next), CONCLAVE_NOT_FOUND);
    pack_deinit(&items);
    pack_deinit(&spec);
}

/* What a subscriber to a topic is told wrongly is found; and what a read tells. */
#include "base/list.h"
#include "codec/stream.h"
#include "tests/sim/subscriber.h"
#include "tests/sim/world.h"

#include <criterion/criterion.h>
#include <string.h>

static struct reference reference;
static struct subscriber subscriber;
static uint64_t number;

static struct slice text(const char *data)
{
    return (struct slice){(const uint8_t *)data, strlen(data)};
}

static const char *const published[] = {"a", "b", "c", "d"};

/* The topic t has four messages, of the revisions 11 to 14; the first two may be gone. */
static void setup(void)
{
    const struct session_limits limits = {0};
    reference_init(&reference, &limits);
    LIST_RESERVE(&reference.topics);
    struct reference_topic *topic = &reference.topics.items[reference.topics.count++];
    *topic = (struct reference_topic){.id = 10, .first = 1, .end = 5};
    for (uint64_t i = 1; i <= 4; i++) {
        LIST_RESERVE(&topic->messages);
        topic->messages.items[topic->messages.count++] =
            (struct reference_message){.sequence = i,
                                       .revision = 10 + i,
                                       .value = reference_value_hash(text(published[i - 1]))};
        LIST_RESERVE(&topic->blocks);
        topic->blocks.items[topic->blocks.count++] =
            (struct reference_block){.first = i, .end = i + 1};
    }
    subscriber_init(&subscriber, &reference, 0);
    cr_assert(subscriber_choose(&subscriber, 1));
    buf_unref(subscriber_subscribe(&subscriber));
    number = 0;
}

static void teardown(void)
{
    reference_deinit(&reference);
}

TestSuite(subscribers, .init = setup, .fini = teardown);

static bool frame(struct stream_frame frame)
{
    struct pack pack;
    frame.number = ++number;
    pack_init(&pack, 0);
    stream_frame_pack(&pack, &frame);
    bool goes_on = subscriber_take(&subscriber, (struct slice){pack.buf->data, pack.bytes});
    pack_deinit(&pack);
    return goes_on;
}

static void begun(uint64_t position)
{
    cr_assert(frame((struct stream_frame){.type = STREAM_BEGUN, .position = position}));
}

static void message(uint64_t sequence, uint64_t revision, const char *data)
{
    struct pack items;
    pack_init(&items, 0);
    topic_item_pack(&items, &(struct topic_item){.sequence = sequence,
                                                 .revision = revision,
                                                 .message = {.data = text(data)}});
    cr_assert(frame((struct stream_frame){.type = STREAM_EVENTS,
                                          .position = sequence + 1,
                                          .count = 1,
                                          .items = {items.buf->data, items.bytes}}));
    pack_deinit(&items);
}

static void gap(uint64_t oldest)
{
    cr_assert(frame((struct stream_frame){
        .type = STREAM_RESYNC, .position = subscriber.position, .oldest = oldest}));
}

static void is_wrong(const char *what)
{
    cr_assert(subscriber.wrong, "nothing was found");
    cr_assert_str_eq(subscriber.wrong, what);
}

Test(subscribers, are_told_every_message)
{
    begun(1);
    for (uint64_t i = 1; i <= 4; i++)
        message(i, 10 + i, published[i - 1]);
    cr_assert_null(subscriber.wrong);
    cr_assert(subscriber_rests(&subscriber));
}

Test(subscribers, told_another_message_find_it)
{
    begun(1);
    message(1, 11, "b");
    is_wrong("a message was another one");
}

Test(subscribers, told_another_revision_find_it)
{
    begun(1);
    message(1, 12, "a");
    is_wrong("a message is of another revision");
}

Test(subscribers, told_a_message_twice_find_it)
{
    begun(1);
    message(1, 11, "a");
    message(1, 11, "a");
    is_wrong("a message comes again");
}

Test(subscribers, not_told_a_message_find_it)
{
    begun(1);
    message(2, 12, "b");
    is_wrong("a message was left out");
}

Test(subscribers, told_what_was_not_published_find_it)
{
    begun(1);
    for (uint64_t i = 1; i <= 4; i++)
        message(i, 10 + i, published[i - 1]);
    message(5, 15, "e");
    is_wrong("a message was never published");
}

Test(subscribers, begun_elsewhere_find_it)
{
    begun(2);
    is_wrong("it begins elsewhere");
}

Test(subscribers, that_go_on_elsewhere_are_told_the_rest)
{
    begun(1);
    message(1, 11, "a");
    buf_unref(subscriber_subscribe(&subscriber));
    number = 0;
    begun(2);
    message(2, 12, "b");
    cr_assert_null(subscriber.wrong);
}

Test(subscribers, are_told_of_what_is_not_kept)
{
    reference.topics.items[0].first = 3;
    begun(1);
    gap(3);
    message(3, 13, "c");
    cr_assert_null(subscriber.wrong);
    cr_assert_eq(subscriber.gaps, 1);
}

Test(subscribers, told_of_a_gap_too_wide_find_it)
{
    reference.topics.items[0].first = 3;
    begun(1);
    gap(4);
    is_wrong("a gap is told, and its messages are kept");
}

Test(subscribers, told_that_all_was_told_find_it)
{
    begun(1);
    cr_assert(frame((struct stream_frame){.type = STREAM_PROGRESS, .position = 5}));
    is_wrong("a mark says that something was told that was not");
}

Test(subscribers, told_an_old_mark_find_it)
{
    begun(1);
    subscriber_ask(&subscriber);
    cr_assert(frame((struct stream_frame){.type = STREAM_PROGRESS, .position = 1, .ask = 1}));
    is_wrong("a mark is older than what it was asked for");
}

Test(subscribers, whose_topic_is_deleted_begin_anew)
{
    reference.topics.items[0].deleted = 20;
    subscriber_ended(&subscriber, CONCLAVE_NOT_FOUND);
    cr_assert_null(subscriber.wrong);
    cr_assert_not(subscriber_choose(&subscriber, 1));
    cr_assert(subscriber_rests(&subscriber));
}

Test(subscribers, unknown_to_a_node_ask_again)
{
    begun(1);
    subscriber_ended(&subscriber, CONCLAVE_NOT_FOUND);
    cr_assert_null(subscriber.wrong);
    cr_assert_eq(subscriber.position, 1);
}

Test(subscribers, whose_topic_is_said_to_be_gone_find_it)
{
    subscriber_ended(&subscriber, CONCLAVE_NOT_FOUND);
    is_wrong("a topic that is there was not found");
}

Test(subscribers, that_lost_a_frame_know_it)
{
    begun(1);
    number++;
    cr_assert_not(frame((struct stream_frame){.type = STREAM_PROGRESS, .position = 1}));
}

/* --- Reads ------------------------------------------------------------------------------------ */

/* The first seed that knows earlier states, when it has run for a while. */
static struct world *remembering_world(void)
{
    for (uint64_t seed = 1;; seed++) {
        struct world *world = world_create(seed, false);
        if (world->reference.remembers) {
            cr_assert(world_run(world, 3000).ok);
            return world;
        }
        world_destroy(world);
    }
}

/* A read of the first key, as it was answered with what there is; changed by `spoil`. */
static void read_is_found(void (*spoil)(struct op *op))
{
    struct world *ran = remembering_world();
    struct reference_key *key = &ran->reference.keys[0];
    uint64_t index = reference_applied(&ran->reference);
    struct op op = {.kind = OP_GET,
                    .index = index,
                    .revision = ran->reference.revision,
                    .items = {{.value = key->number,
                               .create_revision = key->create_revision,
                               .mod_revision = key->mod_revision,
                               .version = key->version,
                               .lease = key->lease}}};
    check_read_content(ran, ops_add(&ran->ops, op));
    cr_assert_not(ran->check.failed, "%s", ran->check.text);
    spoil(&op);
    check_read_content(ran, ops_add(&ran->ops, op));
    cr_assert(ran->check.failed);
    cr_assert_str_eq(ran->check.invariant, "reads are those of the rules");
    world_destroy(ran);
}

static void spoil_version(struct op *op)
{
    op->items[0].version++;
}

static void spoil_revision(struct op *op)
{
    op->revision--;
}

static void spoil_kept(struct op *op)
{
    op->revision_at = 1;
    op->code = CONCLAVE_COMPACTED;
}

static void spoil_place(struct op *op)
{
    op->kind = OP_PLACE;
    op->token = 1;
}

static void spoil_queue(struct op *op)
{
    op->kind = OP_QUEUE;
    op->content = 1;
}

Test(reads, with_another_version_are_found)
{
    read_is_found(spoil_version);
}

Test(reads, of_another_revision_are_found)
{
    read_is_found(spoil_revision);
}

Test(reads, refused_though_they_are_kept_are_found)
{
    read_is_found(spoil_kept);
}

Test(reads, of_a_place_that_is_gone_are_found)
{
    read_is_found(spoil_place);
}

Test(reads, of_another_queue_are_found)
{
    read_is_found(spoil_queue);
}

/* The first seed that has everything, when it has run for a while. */
static struct world *rich_world(void)
{
    for (uint64_t seed = 1;; seed++) {
        struct world *world = world_create(seed, false);
        if (world->knobs.topics_rich && world->knobs.worker_count > 0) {
            cr_assert(world_run(world, 3000).ok);
            return world;
        }
        world_destroy(world);
    }
}

static void asked_is_found(struct world *ran, struct op op, bool good)
{
    check_read_content(ran, ops_add(&ran->ops, op));
    cr_assert_eq(ran->check.failed, !good, "question %d: %s", (int)op.question, ran->check.text);
    ran->check.failed = false;
}

Test(reads, that_answer_a_question_otherwise_are_found)
{
    struct world *ran = rich_world();
    for (int question = 0; question < ASK_COUNT; question++) {
        struct op op = {.kind = OP_ASK,
                        .question = (enum op_question)question,
                        .lease = 1,
                        .limit = 1,
                        .range_count = 1,
                        .ranges = {{1, 2}},
                        .index = reference_applied(&ran->reference),
                        .revision = ran->reference.revision};
        const struct reference_reply told = reference_answer(&ran->reference, &op);
        op.code = told.code;
        op.content = told.body;
        asked_is_found(ran, op, true);
        op.content++;
        asked_is_found(ran, op, false);
        op.content--;
        op.code = CONCLAVE_INTERNAL;
        asked_is_found(ran, op, false);
    }
    world_destroy(ran);
}

/* The timer and whoever arms it: an alarm that was set goes off, and the one after it is set. */
#include "actors/node.h"
#include "actors/raft_actor.h"
#include "base/clock.h"
#include "base/fatal.h"
#include "wires.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A node of which one actor runs at a time, in the test's own thread or in its own; the inboxes of
 * the others show what it sends them. */
static struct node *node;

static void setup(void)
{
    node = mem_zalloc(sizeof *node);
    node->identity.node_id = 1;
    (void)snprintf(node->identity.name, sizeof node->identity.name, "n1");
    node->peer_identity = (struct peer_identity){.cluster_id = 7, .node_id = 1, .incarnation = 3};
    (void)snprintf(node->listen, sizeof node->listen, "inproc://n1");
    node->options.election_timeout_ms = 60000; /* nothing is due while a test runs */
    node->options.heartbeat_ms = 1000;
    wires_open(node, "timer-test");
}

static void teardown(void)
{
    peers_destroy(node->peers);
    wires_close(node);
    free(node);
}

TestSuite(timer, .init = setup, .fini = teardown, .timeout = 600);

static struct actor *actor_of(enum actor_id id, const struct actor_ops *ops)
{
    struct actor *actor = &node->actors[id];
    actor->ops = ops;
    return actor;
}

/* Into the actor's own inbox. */
static void give(struct actor *actor, enum actor_id id, struct envelope *envelope)
{
    mailbox_send(&actor->to[id], &envelope);
}

/* --- The raft actor ---------------------------------------------------------------------------
 */

static struct buf *three_voters(void)
{
    struct raft_configuration *configuration = mem_zalloc(sizeof *configuration);
    configuration->member_count = 3;
    for (uint32_t i = 0; i < 3; i++) {
        struct raft_member *member = &configuration->members[i];
        member->id = i + 1;
        member->flags = RAFT_MEMBER_VOTER;
        (void)snprintf(member->name, sizeof member->name, "n%u", i + 1);
        (void)snprintf(member->peer, sizeof member->peer, "inproc://n%u", i + 1);
    }
    struct buf *payload = raft_configuration_encode(configuration);
    free(configuration);
    return payload;
}

static struct envelope *start_of_three_voters(void)
{
    struct buf *payload = three_voters();
    struct raft_batch *batch = raft_batch_create(1);
    raft_batch_add(batch, (struct raft_entry){.id = {.term = 1, .index = 1},
                                              .kind = RAFT_ENTRY_CONFIG,
                                              .buf = payload,
                                              .payload = {payload->data, payload->bytes}});
    struct envelope *start = envelope_create(ENVELOPE_START);
    start->start.hard_state.term = 1;
    start->start.life = 1;
    raft_runs_append(&start->start.entries, batch, 0, 1);
    raft_batch_unref(batch);
    return start;
}

/* Hands over one or the other and lets the actor work until it has nothing left to do. */
static void raft_takes(struct actor *actor, struct envelope *envelope, struct raft_message *message)
{
    if (envelope)
        give(actor, ACTOR_RAFT, envelope);
    if (message)
        raft_actor_add(actor->state, RAFT_EVENT_RECEIVE)->receive = message;
    give(actor, ACTOR_RAFT, envelope_create(ENVELOPE_STOP));
    struct conclave_error error;
    cr_assert_eq(actor->ops->run(actor, &error), CONCLAVE_OK);
}

/* The ARM that was sent to the timer, which gets nothing else but the STOP behind it. False: none.
 */
static bool armed(uint64_t *ret_deadline_us, uint64_t *ret_epoch)
{
    uint32_t count = 0;
    for (struct envelope *e; (e = inbox_receive(&node->actors[ACTOR_TIMER].inbox));) {
        cr_assert(e->type == ENVELOPE_ARM || e->type == ENVELOPE_STOP);
        if (e->type == ENVELOPE_ARM) {
            *ret_deadline_us = e->arm.deadline_us;
            *ret_epoch = e->arm.epoch;
            count++;
        }
        envelope_destroy(e);
    }
    cr_assert_leq(count, 1);
    return count == 1;
}

static struct envelope *fired(uint64_t epoch)
{
    struct envelope *envelope = envelope_create(ENVELOPE_FIRED);
    envelope->fired.epoch = epoch;
    return envelope;
}

static struct actor *raft_started(uint64_t *ret_deadline_us, uint64_t *ret_epoch)
{
    struct actor *actor = actor_of(ACTOR_RAFT, &raft_actor_ops);
    cr_assert_eq(actor->ops->start(actor, NULL), CONCLAVE_OK);
    raft_takes(actor, start_of_three_voters(), NULL);
    cr_assert(armed(ret_deadline_us, ret_epoch));
    return actor;
}

Test(timer, is_armed_by_a_node_that_starts)
{
    uint64_t deadline_us, epoch;
    struct actor *actor = raft_started(&deadline_us, &epoch);
    cr_assert_gt(deadline_us, clock_now_us());
    actor->ops->stop(actor);
}

Test(timer, that_went_off_too_early_is_armed_again)
{
    uint64_t deadline_us, epoch, deadline_again_us, epoch_again;
    struct actor *actor = raft_started(&deadline_us, &epoch);
    raft_takes(actor, fired(epoch), NULL);
    cr_assert(armed(&deadline_again_us, &epoch_again), "nothing would ever wake it again");
    cr_assert_eq(deadline_again_us, deadline_us);
    cr_assert_gt(epoch_again, epoch);
    /* And again, for good. */
    raft_takes(actor, fired(epoch_again), NULL);
    cr_assert(armed(&deadline_us, &epoch));
    actor->ops->stop(actor);
}

Test(timer, of_an_older_epoch_leaves_the_newer_one_armed)
{
    uint64_t deadline_us, epoch;
    struct actor *actor = raft_started(&deadline_us, &epoch);
    raft_takes(actor, fired(epoch - 1), NULL);
    cr_assert_not(armed(&deadline_us, &epoch), "it is armed already");
    actor->ops->stop(actor);
}

/* --- The timer actor --------------------------------------------------------------------------
 */

static void arm(struct actor *timer, uint64_t deadline_us, uint64_t epoch)
{
    struct envelope *envelope = envelope_create(ENVELOPE_ARM);
    envelope->arm.deadline_us = deadline_us;
    envelope->arm.epoch = epoch;
    give(timer, ACTOR_TIMER, envelope);
}

/* The epoch of the next alarm, which has to come. */
static uint64_t next_alarm(void)
{
    struct inbox *inbox = &node->actors[ACTOR_RAFT].inbox;
    struct envelope *envelope;
    while (!(envelope = inbox_receive(inbox)))
        inbox_wait(inbox, -1);
    cr_assert_eq(envelope->type, ENVELOPE_FIRED);
    uint64_t epoch = envelope->fired.epoch;
    envelope_destroy(envelope);
    return epoch;
}

/* The test's thread writes into the timer's inbox through an outbox of its own. */
static struct outbox outbox;

static void send_arm(uint64_t deadline_us, uint64_t epoch)
{
    struct envelope *envelope = envelope_create(ENVELOPE_ARM);
    envelope->arm.deadline_us = deadline_us;
    envelope->arm.epoch = epoch;
    mailbox_send(&outbox, &envelope);
}

Test(timer, goes_off_once_for_the_newest_deadline)
{
    struct actor *timer = actor_of(ACTOR_TIMER, &timer_actor_ops);
    uint64_t now_us = clock_now_us();
    /* All there before it looks: the newest replaces what came before, earlier or later. */
    arm(timer, now_us, 1);
    arm(timer, UINT64_MAX, 2);
    arm(timer, now_us, 3);
    cr_assert_eq(actor_start(timer, NULL), CONCLAVE_OK);
    cr_assert_eq(next_alarm(), 3);
    wires_to(node, ACTOR_TIMER, &outbox);
    send_arm(clock_now_us() + 1000, 4);
    cr_assert_eq(next_alarm(), 4);
    struct envelope *stop = envelope_create(ENVELOPE_STOP);
    mailbox_send(&outbox, &stop);
    actor_join(timer);
    cr_assert_null(inbox_receive(&node->actors[ACTOR_RAFT].inbox));
    outbox_close(&outbox);
}

/* --- What other threads say of snapshots --------------------------------------------------------
 */

TestSuite(raft_actor, .init = setup, .fini = teardown, .timeout = 600);

/* All that the log has is committed, says its leader. */
static struct raft_message *commit_of_leader(void)
{
    struct raft_message *message = raft_message_create(RAFT_APPEND_REQUEST, 2, 1, 1);
    message->append_request.prev = (struct raft_id){1, 1};
    message->append_request.commit = 1;
    return message;
}

Test(raft_actor, knows_what_is_applied_before_it_hears_of_a_snapshot_of_it)
{
    uint64_t deadline_us, epoch;
    struct actor *actor = raft_started(&deadline_us, &epoch);
    const struct raft_actor *self = actor->state;
    struct envelope *taken = envelope_create(ENVELOPE_SNAPSHOT_TAKEN);
    taken->snapshot_id = (struct raft_id){1, 1};
    raft_takes(actor, NULL, commit_of_leader());
    cr_assert_eq(raft_applied(self->raft), 0);
    atomic_store(&node->progress.applied, 1); /* applied, but the wake-up is yet to come */
    raft_takes(actor, taken, NULL);
    cr_assert_eq(raft_applied(self->raft), 1);
    raft_takes(actor, envelope_create(ENVELOPE_APPLIED), NULL);
    cr_assert_eq(raft_applied(self->raft), 1);
    actor->ops->stop(actor);
}

/* What of these the snapshot helper was sent, with a STOP at most besides; the caller's, or NULL.
 */
static struct envelope *helper_is_sent(enum envelope_type type)
{
    struct envelope *sent = NULL;
    for (struct envelope *e; (e = inbox_receive(&node->actors[ACTOR_SNAPSHOT].inbox));) {
        cr_assert(e->type == ENVELOPE_STOP || (e->type == type && !sent));
        if (e->type == type)
            sent = e;
        else
            envelope_destroy(e);
    }
    return sent;
}

Test(raft_actor, takes_no_other_snapshot_before_its_machine_has_become_the_last)
{
    uint64_t deadline_us, epoch;
    struct actor *actor = raft_started(&deadline_us, &epoch);
    const struct raft_actor *self = actor->state;
    struct envelope *received = envelope_create(ENVELOPE_SNAPSHOT_RECEIVED);
    received->snapshot = (struct raft_snapshot){
        .last = {1, 5}, .configuration_index = 1, .configuration = three_voters()};
    raft_takes(actor, received, NULL);
    cr_assert(raft_is_installing(self->raft));
    cr_assert_null(helper_is_sent(ENVELOPE_SNAPSHOT_SETTLED));
    atomic_store(&node->progress.applied, 5);
    raft_takes(actor, envelope_create(ENVELOPE_APPLIED), NULL);
    struct envelope *settled = helper_is_sent(ENVELOPE_SNAPSHOT_SETTLED);
    cr_assert_not_null(settled);
    envelope_destroy(settled);
    actor->ops->stop(actor);
}

Test(raft_actor, ends_the_stream_to_who_needs_no_snapshot_any_more)
{
    uint64_t deadline_us, epoch;
    struct actor *actor = raft_started(&deadline_us, &epoch);
    struct raft_actor *self = actor->state;
    self->streams[self->stream_count++] = 2; /* while it led */
    raft_takes(actor, NULL, commit_of_leader());
    struct envelope *stream = helper_is_sent(ENVELOPE_STREAM);
    cr_assert_not_null(stream, "it would be sent on for nothing");
    cr_assert_eq(stream->stream.peer, 2);
    cr_assert_not(stream->stream.wanted);
    cr_assert_eq(self->stream_count, 0);
    envelope_destroy(stream);
    actor->ops->stop(actor);
}

/* --- What goes to the other nodes ---------------------------------------------------------------
 */

static struct peers *second_node(void)
{
    struct conclave_error error = {0};
    struct peers *second;
    cr_assert_eq(peers_create(node->context, "inproc://n2", 1, &second, &error), CONCLAVE_OK, "%s",
                 error.message);
    return second;
}

/* Whether something came that raft's core said; what is said at greeting is passed over. */
static bool hears_the_core(struct peers *peers)
{
    bool heard = false;
    struct source *sources[PEERS_SOURCES_MAX];
    sources_wait(sources, peers_sources(peers, sources), 0);
    for (struct buf *bytes; (bytes = peers_receive(peers));) {
        struct peer_frame frame;
        cr_assert_eq(peer_decode(bytes, &frame), CONCLAVE_OK);
        heard = heard || frame.type == PEER_FRAME_RAFT;
        if (frame.type == PEER_FRAME_RAFT)
            raft_message_destroy(frame.raft);
        buf_unref(bytes);
    }
    return heard;
}

/* The PERSIST that was sent to the log-writer, which gets nothing else but a STOP. */
static struct envelope *persist_of(void)
{
    struct envelope *persist = NULL;
    for (struct envelope *e; (e = inbox_receive(&node->actors[ACTOR_LOG_WRITER].inbox));) {
        cr_assert(e->type == ENVELOPE_STOP || (e->type == ENVELOPE_PERSIST && !persist));
        if (e->type == ENVELOPE_PERSIST)
            persist = e;
        else
            envelope_destroy(e);
    }
    return persist;
}

Test(raft_actor, leaves_an_answer_to_the_log_writer_and_learns_what_is_durable)
{
    struct peers *second = second_node();
    uint64_t deadline_us, epoch;
    struct actor *actor = raft_started(&deadline_us, &epoch);
    const struct raft_actor *self = actor->state;
    cr_assert_null(persist_of());
    cr_assert_not(raft_awaits_disk(self->raft));
    struct raft_message *message = raft_message_create(RAFT_APPEND_REQUEST, 2, 1, 2);
    message->append_request.prev = (struct raft_id){1, 1};
    raft_takes(actor, NULL, message);
    struct envelope *persist = persist_of();
    cr_assert(persist && persist->persist.hard_state_changed);
    cr_assert_eq(persist->persist.send_after.count, 1);
    cr_assert_not(hears_the_core(second), "the new term is not durable");
    cr_assert(raft_awaits_disk(self->raft), "it could not campaign");

    durable_store(&node->durable, persist->persist.seq, persist->persist.last);
    envelope_destroy(persist);
    raft_takes(actor, NULL, NULL);
    cr_assert_not(raft_awaits_disk(self->raft));
    actor->ops->stop(actor);
    peers_destroy(second);
}

Test(raft_actor, closes_its_sockets_when_it_ends_whatever_the_others_still_do)
{
    struct peers *second = second_node();
    uint64_t deadline_us, epoch;
    struct actor *actor = raft_started(&deadline_us, &epoch);
    cr_assert(peers_send(node->peers, 2, buf_copy("x", 1)));
    actor->ops->stop(actor);
    cr_assert_not(peers_send(node->peers, 2, buf_copy("x", 1)));
    peers_destroy(second);
}

Test(raft_actor, tells_how_far_its_disk_is_though_the_core_has_not_heard)
{
    uint64_t deadline_us, epoch;
    struct actor *actor = raft_started(&deadline_us, &epoch);
    const struct raft_actor *self = actor->state;
    struct raft_message *message = raft_message_create(RAFT_APPEND_REQUEST, 2, 1, 1);
    message->append_request.prev = (struct raft_id){1, 1};
    struct raft_batch *batch = raft_batch_create(1);
    raft_batch_add(batch, (struct raft_entry){.id = {.term = 1, .index = 2}});
    raft_runs_append(&message->append_request.entries, batch, 0, 1);
    raft_batch_unref(batch);
    raft_takes(actor, NULL, message);
    struct envelope *persist = persist_of();
    cr_assert(persist);
    durable_store(&node->durable, persist->persist.seq, persist->persist.last);
    envelope_destroy(persist);
    struct envelope *asks = envelope_create(ENVELOPE_STATUS);
    asks->status.status = mem_zalloc(sizeof *asks->status.status);
    raft_takes(actor, asks, NULL);
    cr_assert_eq(raft_last(self->raft).index, 2);
    struct envelope *told = NULL;
    for (struct envelope *e; (e = inbox_receive(&node->actors[ACTOR_NETWORK].inbox));) {
        if (e->type == ENVELOPE_STATUS)
            told = e;
        else
            envelope_destroy(e);
    }
    cr_assert(told);
    cr_assert_eq(told->status.status->durable_index, 2);
    envelope_destroy(told);
    actor->ops->stop(actor);
}

Test(raft_actor, does_not_say_what_its_log_lacks_before_it_has_it)
{
    struct peers *second = second_node();
    struct actor *actor = actor_of(ACTOR_RAFT, &raft_actor_ops);
    cr_assert_eq(actor->ops->start(actor, NULL), CONCLAVE_OK);
    struct raft_actor *self = actor->state;
    struct envelope *ask = envelope_create(ENVELOPE_REPAIR_ASK);
    ask->repair.from = 2;
    ask->repair.frame.last = 1;
    self->started = true; /* START is queued, and the core has not seen it */
    raft_actor_give(actor, ask);
    cr_assert_null(inbox_receive(&actor->inbox));
    self->started = false;
    raft_takes(actor, start_of_three_voters(), NULL);
    raft_actor_give(actor, ask);
    struct envelope *answer = inbox_receive(&actor->inbox);
    cr_assert(answer && answer->type == ENVELOPE_SEND);
    envelope_destroy(answer);
    envelope_destroy(ask);
    actor->ops->stop(actor);
    peers_destroy(second);
}

#include "tests/sim/world.h"

#include <string.h>

/* The copy that a real network would make; origins, which are local to a node, do not cross. */
static struct raft_message *message_copy(const struct raft_message *message)
{
    struct raft_message *copy =
        raft_message_create(message->type, message->from, message->to, message->term);
    *copy = *message;
    if (message->type != RAFT_APPEND_REQUEST)
        return copy;
    const struct raft_runs *entries = &message->append_request.entries;
    copy->append_request.entries = (struct raft_runs){0};
    if (entries->entry_count == 0)
        return copy;
    struct raft_batch *batch = raft_batch_create((uint32_t)entries->entry_count);
    struct raft_runs_iter it = {0};
    for (const struct raft_entry *e; (e = raft_runs_next(entries, &it));) {
        struct raft_entry entry = *e;
        entry.origin = (struct raft_origin){0};
        entry.buf = e->payload.bytes ? buf_copy(e->payload.data, e->payload.bytes) : NULL;
        entry.payload.data = entry.buf ? entry.buf->data : NULL;
        raft_batch_add(batch, entry);
    }
    raft_runs_append(&copy->append_request.entries, batch, 0, batch->count);
    raft_batch_unref(batch);
    return copy;
}

/* --- Frames ----------------------------------------------------------------------------------- */

static struct peer_identity identity_of(const struct node *node)
{
    return (struct peer_identity){.cluster_id = node->identity.cluster_id,
                                  .node_id = node->identity.node_id,
                                  .incarnation = node->identity.incarnation};
}

/* An event that will deliver the message: as a frame, or as it is. Takes it over. */
static struct sim_event network_pack(struct world *world, uint32_t from, uint32_t to,
                                     struct raft_message *message)
{
    struct sim_event event = {.kind = SIM_DELIVER, .node = to, .ptr = message, .b = from};
    if (world->knobs.real_wire) {
        struct peer_identity identity = identity_of(&world->nodes[from]);
        event.a = 1;
        event.ptr = peer_encode_raft(&identity, message);
        raft_message_destroy(message);
    }
    return event;
}

static struct sim_event network_repeat(const struct sim_event *event)
{
    struct sim_event again = *event;
    again.ptr = event->a ? (void *)buf_ref(event->ptr) : (void *)message_copy(event->ptr);
    return again;
}

void network_forget(const struct sim_event *event)
{
    if (event->a)
        buf_unref(event->ptr);
    else
        raft_message_destroy(event->ptr);
}

/* What is not a whole frame must be refused as a whole. */
static void network_cut(struct world *world, const struct buf *frame)
{
    uint64_t bytes = world_draw(world, 0, frame->bytes - 1);
    struct buf *cut = buf_create(bytes);
    if (bytes > 0)
        memcpy(cut->data, frame->data, bytes);
    struct peer_frame decoded;
    if (peer_decode(cut, &decoded) == CONCLAVE_OK) {
        raft_message_destroy(decoded.raft);
        check_fail(&world->check, "a part of a frame is refused", "%lu bytes of %lu were taken",
                   (unsigned long)bytes, (unsigned long)frame->bytes);
    }
    buf_unref(cut);
}

/* The message in a frame: who sent it, and every byte of it, are as they were. */
static struct raft_message *network_unpack(struct world *world, const struct sim_event *event)
{
    struct buf *frame = event->ptr;
    struct peer_frame decoded;
    struct peer_identity from = identity_of(&world->nodes[event->b]);
    int code = peer_decode(frame, &decoded);
    if (code != CONCLAVE_OK || decoded.type != PEER_FRAME_RAFT) {
        check_fail(&world->check, "frames arrive as they were sent", "n%u refuses a frame: %s",
                   event->node + 1, conclave_code_name(code));
        return NULL;
    }
    struct buf *again = peer_encode_raft(&from, decoded.raft);
    if (decoded.from.cluster_id != from.cluster_id || decoded.from.node_id != from.node_id ||
        decoded.from.incarnation != from.incarnation ||
        decoded.to != world->nodes[event->node].id || again->bytes != frame->bytes ||
        memcmp(again->data, frame->data, frame->bytes) != 0)
        check_fail(&world->check, "frames arrive as they were sent",
                   "n%u reads another message than was sent", event->node + 1);
    buf_unref(again);
    report_mark(&world->report, SIM_MARK_REAL_WIRE);
    return decoded.raft;
}

/* --- Sending ---------------------------------------------------------------------------------- */

static void network_queue(struct world *world, struct sim_event event)
{
    const struct knobs *knobs = &world->knobs;
    uint64_t delay = world_draw(world, knobs->network_us_min, knobs->network_us_max);
    if (world_fault(world, SIM_FAULT_DELAY))
        delay += world_draw(world, 0, knobs->spike_us_max);
    const struct hold *hold = &world->held[event.b][event.node];
    uint64_t at_us = world->now_us + delay;
    if (at_us >= hold->from_us && at_us < hold->until_us)
        delay = hold->until_us - world->now_us + delay / 4;
    world_push(world, delay, event);
}

static void network_drop(struct world *world, uint32_t from, struct raft_message *message)
{
    report_message(&world->report, RECORD_DROP, world->now_us, from, message);
    raft_message_destroy(message);
}

void network_send(struct world *world, struct node *node, struct raft_message *message)
{
    uint32_t from = world_index(world, node);
    check_send(&world->check, from, message);
    uint32_t to = check_find(&world->check, message->to);
    if (world->check.failed) {
        raft_message_destroy(message);
        return;
    }
    to = world->nodes[to].heir;
    struct raft_message *copy = message_copy(message);
    raft_message_destroy(message);
    report_message(&world->report, RECORD_SEND, world->now_us, from, copy);
    if (world->cut[from][to]) {
        /* A socket that reconnects may flush what it queued while the link was down. */
        if (world_fault(world, SIM_FAULT_STALE_QUEUE)) {
            uint64_t delay = world_draw(world, 1, world->knobs.fault_length_us_max);
            world_push(world, delay, network_pack(world, from, to, copy));
        } else {
            network_drop(world, from, copy);
        }
        return;
    }
    if (world_fault(world, SIM_FAULT_LOSS)) {
        network_drop(world, from, copy);
        return;
    }
    struct sim_event event = network_pack(world, from, to, copy);
    if (world_fault(world, SIM_FAULT_DUPLICATE))
        network_queue(world, network_repeat(&event));
    network_queue(world, event);
}

void network_deliver(struct world *world, const struct sim_event *event)
{
    struct node *node = &world->nodes[event->node];
    if (!node->up) {
        report_mark(&world->report, SIM_MARK_DEAD_LETTER);
        network_forget(event);
        return;
    }
    struct raft_message *message = event->ptr;
    if (event->a) {
        bool cut = world_fault(world, SIM_FAULT_CUT_FRAME);
        if (cut)
            network_cut(world, event->ptr);
        message = cut ? NULL : network_unpack(world, event);
        buf_unref(event->ptr);
        if (!message)
            return;
    }
    if (!links_listen(world, node, (uint32_t)event->b)) {
        network_drop(world, event->node, message);
        return;
    }
    report_message(&world->report, RECORD_RECEIVE, world->now_us, event->node, message);
    if (message->type == RAFT_READ_REQUEST)
        check_read_request(&world->check, event->node, message);
    if (message->type == RAFT_PREVOTE_REQUEST || message->type == RAFT_VOTE_REQUEST)
        check_vote_request(&world->check, event->node, message);
    if (message->type == RAFT_PREVOTE_RESPONSE && !message->vote_response.granted)
        report_mark(&world->report, SIM_MARK_PREVOTE_REJECTED);
    if (message->type == RAFT_VOTE_RESPONSE && !message->vote_response.granted)
        report_mark(&world->report, SIM_MARK_VOTE_REJECTED);
    if (message->type == RAFT_APPEND_RESPONSE) {
        if (message->append_response.result == RAFT_APPEND_REJECTED)
            report_mark(&world->report, SIM_MARK_APPEND_REJECTED);
        else if (message->append_response.result == RAFT_APPEND_STALE)
            report_mark(&world->report, SIM_MARK_APPEND_STALE);
    }
    node_give(world, node, (struct raft_event){.type = RAFT_EVENT_RECEIVE, .receive = message});
}

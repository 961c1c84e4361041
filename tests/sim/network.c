#include "tests/sim/world.h"

/* The copy that a real network would make: payloads are immutable bytes and stay shared, but the
 * sender's batches do not, and origins, which are local to a node, do not cross. */
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
        if (entry.buf)
            buf_ref(entry.buf);
        raft_batch_add(batch, entry);
    }
    raft_runs_append(&copy->append_request.entries, batch, 0, batch->count);
    raft_batch_unref(batch);
    return copy;
}

static void network_queue(struct world *world, uint32_t to, struct raft_message *message)
{
    const struct knobs *knobs = &world->knobs;
    uint64_t delay = world_draw(world, knobs->network_us_min, knobs->network_us_max);
    if (world_fault(world, SIM_FAULT_DELAY))
        delay += world_draw(world, 0, knobs->spike_us_max);
    world_push(world, delay, (struct sim_event){.kind = SIM_DELIVER, .node = to, .ptr = message});
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
    struct raft_message *copy = message_copy(message);
    raft_message_destroy(message);
    report_message(&world->report, RECORD_SEND, world->now_us, from, copy);
    if (world->cut[from][to]) {
        /* A socket that reconnects may flush what it queued while the link was down. */
        if (world_fault(world, SIM_FAULT_STALE_QUEUE)) {
            uint64_t delay = world_draw(world, 1, world->knobs.fault_length_us_max);
            world_push(world, delay,
                       (struct sim_event){.kind = SIM_DELIVER, .node = to, .ptr = copy});
        } else {
            network_drop(world, from, copy);
        }
        return;
    }
    if (world_fault(world, SIM_FAULT_LOSS)) {
        network_drop(world, from, copy);
        return;
    }
    if (world_fault(world, SIM_FAULT_DUPLICATE))
        network_queue(world, to, message_copy(copy));
    network_queue(world, to, copy);
}

void network_deliver(struct world *world, const struct sim_event *event)
{
    struct raft_message *message = event->ptr;
    struct node *node = &world->nodes[event->node];
    if (!node->up) {
        report_mark(&world->report, SIM_MARK_DEAD_LETTER);
        raft_message_destroy(message);
        return;
    }
    report_message(&world->report, RECORD_RECEIVE, world->now_us, event->node, message);
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

/* What a core asks to be read back from its log, as actors/log_reader.c does it. */
#include "tests/sim/world.h"

#include "base/list.h"

#include <string.h>

void fetches_begin(struct world *world, struct node *node)
{
    for (uint32_t i = 0; i < node->output.fetches.count; i++) {
        const struct raft_fetch *fetch = &node->output.fetches.items[i];
        LIST_RESERVE(&node->fetches);
        node->fetches.items[node->fetches.count++] = *fetch;
        world_push(world, world_draw(world, world->knobs.disk_us_min, world->knobs.disk_us_max),
                   (struct sim_event){.kind = SIM_FETCHED,
                                      .node = world_index(world, node),
                                      .incarnation = node->incarnation,
                                      .a = fetch->number});
    }
    if (node->output.snapshot_wanted) {
        report_mark(&world->report, SIM_MARK_LOG_SNAPSHOT);
        node->snapshots.wanted = !node->snapshots.taking;
        snapshots_take(world, node);
    }
}

static struct raft_fetch remove_fetch(struct node *node, uint64_t number)
{
    uint32_t at = 0;
    while (node->fetches.items[at].number != number)
        at++;
    const struct raft_fetch fetch = node->fetches.items[at];
    node->fetches.count--;
    memmove(node->fetches.items + at, node->fetches.items + at + 1,
            (node->fetches.count - at) * sizeof fetch);
    return fetch;
}

/* The peer goes on from elsewhere, if it goes on. */
static void overtaken_mark(struct world *world, const struct node *node,
                           const struct raft_fetch *fetch)
{
    for (uint32_t i = 0; i < world->node_count; i++) {
        struct raft_peer_view peer;
        if (raft_peer_view(node->raft, world->ids[i], &peer) && peer.next == fetch->first.index)
            return;
    }
    report_mark(&world->report, SIM_MARK_FETCH_OVERTAKEN);
}

void fetches_event(struct world *world, struct node *node, uint64_t number)
{
    const struct raft_fetch fetch = remove_fetch(node, number);
    const bool gone = fetch.first.index <= raft_base(node->raft).index;
    struct raft_event event = {.type = RAFT_EVENT_FETCHED, .fetched = {.fetch = number}};
    struct conclave_error error;
    if (storage_is_doomed(disk_storage(node->disk)))
        return; /* it dies, and the core does not hear of it */
    int code = CONCLAVE_IO;
    if (!world_fault(world, SIM_FAULT_UNREAD))
        code = disk_fetch(node->disk, &fetch, &event.fetched.entries, &error);
    if (code == CONCLAVE_OK)
        report_mark(&world->report, SIM_MARK_FETCHED);
    else if (code != CONCLAVE_IO && !gone)
        check_fail(&world->check, "a log that is written can be read", "n%u: %s",
                   world_index(world, node) + 1, error.message);
    overtaken_mark(world, node, &fetch);
    node_give(world, node, event);
}

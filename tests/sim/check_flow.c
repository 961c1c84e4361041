/* What a leader believes of its peers and sends to them. */
#include "tests/sim/check.h"

#include "base/fatal.h"
#include "base/list.h"

#include <inttypes.h>
#include <string.h>

/* --- Belief ----------------------------------------------------------------------------------- */

/* What the peer has acknowledged is on its way no longer. */
static void flow_settle(struct check_flow *flow, uint64_t match)
{
    uint32_t settled = 0;
    while (settled < flow->appends.count && flow->appends.items[settled].last <= match)
        flow->bytes -= flow->appends.items[settled++].bytes;
    if (settled == 0)
        return;
    flow->appends.count -= settled;
    memmove(flow->appends.items, flow->appends.items + settled,
            flow->appends.count * sizeof *flow->appends.items);
}

/* A leader that kept entries from a peer, as it may, has not let go of them meanwhile.
 * `begun_anew`: it has heard that the peer lacks others. */
static void check_kept_stay(struct check *check, uint32_t node, uint32_t peer,
                            const struct raft_peer_view *view, bool begun_anew)
{
    const struct check_node *at = &check->nodes[node];
    const struct check_flow *flow = &at->flows[peer];
    if (view->needs_snapshot && !begun_anew && flow->pipelining && flow->kept_until_us > 0 &&
        !check_begins_unreadable(at) &&
        check_bytes_behind(at, at->base_before) <= check->options.pinned_bytes_max)
        check_fail(check, "what is kept stays in the log",
                   "n%u kept entries from %" PRIu64
                   " on from n%u, and its log begins behind %" PRIu64,
                   node + 1, view->next, peer + 1, at->view.base.index);
}

void check_peer_view(struct check *check, uint32_t node, uint32_t peer,
                     const struct raft_peer_view *view, bool rejected, uint64_t now_us)
{
    struct check_node *at = &check->nodes[node];
    const struct check_node *other = &check->nodes[peer];
    struct check_flow *flow = &at->flows[peer];
    bool restarted = view->life != at->peers[peer].life && at->peers[peer].life != 0;
    if (view->match >= view->next || (view->match < at->peers[peer].match && !restarted))
        check_fail(check, "match only grows and is below next",
                   "n%u sees n%u at match %" PRIu64 " (before %" PRIu64 "), next %" PRIu64,
                   node + 1, peer + 1, view->match, at->peers[peer].match, view->next);
    if (view->next > at->memory.count + 1)
        check_fail(check, "next is inside the log", "n%u sees n%u at next %" PRIu64, node + 1,
                   peer + 1, view->next);
    check_kept_stay(check, node, peer, view, rejected || restarted);
    check_peer_snapshot(check, node, peer, view, now_us);
    at->peers[peer] = *view;
    flow->pipelining = view->replicating;
    bool begun_anew = rejected || restarted || !view->replicating;
    flow_settle(flow, begun_anew ? UINT64_MAX : view->match);
    if (view->match == 0 || other->durable.term > at->view.hard_state.term ||
        other->view.hard_state.term > at->view.hard_state.term)
        return; /* it may have followed a newer leader since */
    if (other->rotten_life != 0 && view->life <= other->rotten_life)
        return; /* the leader has not heard that it was restarted */
    const struct check_entry *own = check_log_at(&at->memory, view->match);
    if (!check_holds(check, peer, view->match, own))
        check_fail(check, "match is durable at the peer",
                   "n%u sees n%u at match %" PRIu64 ", whose disk holds %" PRIu64
                   " entries or other ones",
                   node + 1, peer + 1, view->match, check_stored_last(check, peer));
}

void check_uncommitted(struct check *check, uint32_t node)
{
    const struct check_node *at = &check->nodes[node];
    if (at->view.role != RAFT_LEADER)
        return;
    uint64_t from = at->view.commit > at->led_from ? at->view.commit : at->led_from;
    const struct check_entry *last = check_log_at(&at->memory, at->memory.count);
    const struct check_entry *before = check_log_at(&at->memory, from);
    uint64_t bytes = last->proposed_through - (before ? before->proposed_through : 0);
    if (bytes > check->options.uncommitted_bytes_max && bytes > check->proposal_bytes_max)
        check_fail(check, "what is uncommitted is bounded",
                   "n%u leads with %" PRIu64 " bytes not committed, the limit is %" PRIu64,
                   node + 1, bytes, check->options.uncommitted_bytes_max);
}

/* --- Sending ---------------------------------------------------------------------------------- */

static void check_append_limits(struct check *check, uint32_t node, uint32_t peer,
                                const struct raft_append_request *request)
{
    const struct raft_options *options = &check->options;
    struct check_flow *flow = &check->nodes[node].flows[peer];
    uint64_t count = request->entries.entry_count;
    uint64_t bytes = request->entries.payload_bytes;
    if (count > options->append_entries_max || (bytes > options->append_bytes_max && count > 1))
        check_fail(check, "appends are bounded",
                   "n%u sends %" PRIu64 " entries of %" PRIu64 " bytes in one message", node + 1,
                   count, bytes);
    if (count == 0 || !flow->pipelining)
        return;
    if (flow->appends.count >= options->inflight_messages_max ||
        (flow->appends.count > 0 && flow->bytes >= options->inflight_bytes_max))
        check_fail(check, "appends on their way are bounded",
                   "n%u has %u appends of %" PRIu64 " bytes on their way to n%u and sends one more",
                   node + 1, flow->appends.count, flow->bytes, peer + 1);
    LIST_RESERVE(&flow->appends);
    flow->appends.items[flow->appends.count++] =
        (struct check_append){.last = request->prev.index + count, .bytes = bytes};
    flow->bytes += bytes;
}

/* The entries are those of the sender's log, right after prev. */
static void check_append_entries(struct check *check, uint32_t node,
                                 const struct raft_append_request *request)
{
    const struct check_node *at = &check->nodes[node];
    uint64_t index = request->prev.index;
    const struct check_entry *prev = check_log_at(&at->memory, index);
    if ((index > 0 && (!prev || prev->term != request->prev.term)) ||
        (index == 0 && request->prev.term != 0))
        check_fail(check, "an append continues its prev",
                   "n%u sends prev %" PRIu64 ":%" PRIu64 ", which is not in its log", node + 1,
                   request->prev.term, index);
    struct raft_runs_iter it = {0};
    for (const struct raft_entry *e; (e = raft_runs_next(&request->entries, &it));) {
        const struct check_entry *own = check_log_at(&at->memory, ++index);
        if (e->id.index != index || !own || own->term != e->id.term)
            check_fail(check, "an append continues its prev",
                       "n%u sends entry %" PRIu64 ":%" PRIu64 " at place %" PRIu64, node + 1,
                       e->id.term, e->id.index, index);
    }
}

void check_append_request(struct check *check, uint32_t node, const struct raft_message *message)
{
    struct check_node *at = &check->nodes[node];
    const struct raft_append_request *request = &message->append_request;
    uint64_t leader;
    if (!map_get(&check->leaders, message->term, 0, &leader) ||
        leader != (((uint64_t)node << 32) | at->incarnation)) {
        check_fail(check, "only a leader appends", "n%u sends an append of term %" PRIu64, node + 1,
                   message->term);
        return;
    }
    if (request->commit > at->view.commit)
        check_fail(check, "a leader tells what it committed",
                   "n%u sends commit %" PRIu64 ", has %" PRIu64, node + 1, request->commit,
                   at->view.commit);
    if (request->round > at->round_sent && at->led_term == message->term)
        at->round_sent = request->round;
    const struct raft_peer_view *peer = &at->peers[check_find(check, message->to)];
    /* A leader that was removed leads no more at the end of its last step. */
    bool leading = at->view.role == RAFT_LEADER && at->view.hard_state.term == message->term;
    if (leading && request->entries.entry_count == 0 && request->commit > peer->match)
        check_fail(check, "an empty append commits no more than the peer holds",
                   "n%u sends commit %" PRIu64 ", the peer's match is %" PRIu64, node + 1,
                   request->commit, peer->match);
    if (at->view.hard_state.term != message->term)
        return; /* stepped down in the same step: its log may have changed since */
    check_append_entries(check, node, request);
    if (leading)
        check_append_limits(check, node, check_find(check, message->to), request);
}

/* What comes next for the peer is on disk alone, and is being read, or cannot be. */
static bool is_read_back(const struct check_node *at, const struct raft_peer_view *peer)
{
    return peer->next <= at->view.memory_base && (peer->fetching || peer->next <= at->unreadable);
}

/* The peers that could get more and do not. */
static uint32_t kept_from(struct check *check, uint32_t node)
{
    const struct raft_options *options = &check->options;
    struct check_node *at = &check->nodes[node];
    uint32_t members = check_config_at(check, &at->memory, at->memory.count)->members, kept = 0;
    for (uint32_t i = 0; i < check->node_count; i++) {
        struct check_flow *flow = &at->flows[i];
        bool keeps = members >> i & 1 && flow->pipelining &&
                     at->peers[i].next <= at->memory.count &&
                     flow->appends.count < options->inflight_messages_max &&
                     flow->bytes < options->inflight_bytes_max && !is_read_back(at, &at->peers[i]);
        kept |= (uint32_t)keeps << i;
        if (!keeps)
            flow->kept_until_us = 0;
        else if (flow->kept_until_us == 0)
            flow->kept_until_us = at->view.now_us + options->append_delay_us;
    }
    return kept;
}

/* The others make a majority, and have all that there is room for. */
static bool no_majority_needs(const struct check *check, uint32_t node, uint32_t kept)
{
    const struct check_node *at = &check->nodes[node];
    const struct check_config *config = check_config_at(check, &at->memory, at->memory.count);
    uint32_t sent = UINT32_C(1) << node;
    for (uint32_t i = 0; i < check->node_count; i++)
        sent |= (uint32_t)(at->flows[i].pipelining && !(kept >> i & 1)) << i;
    return !(kept & config->learners) && check_majority(config, sent);
}

void check_sent(struct check *check, uint32_t node)
{
    const struct check_node *at = &check->nodes[node];
    if (at->view.role != RAFT_LEADER)
        return;
    uint32_t kept = kept_from(check, node);
    bool may_wait = kept != 0 && no_majority_needs(check, node, kept);
    for (uint32_t i = 0; i < check->node_count; i++) {
        const struct check_flow *flow = &at->flows[i];
        if (!(kept >> i & 1) || (may_wait && at->view.now_us < flow->kept_until_us))
            continue;
        check_fail(check, "what there is room for is sent",
                   "n%u keeps its entries from %" PRIu64 " on from n%u, with %u appends of %" PRIu64
                   " bytes on their way",
                   node + 1, at->peers[i].next, i + 1, flow->appends.count, flow->bytes);
    }
}

/* Who stands for election: by whose leave, and not too soon. A cluster is only slower, or
 * disturbed, when much of this is wrong. */
#include "tests/sim/check.h"

#include <inttypes.h>

#define EVENT(type) (UINT32_C(1) << (type))

static uint32_t bit_of(const struct check *check, raft_node_id id)
{
    return UINT32_C(1) << check_find(check, id);
}

static bool sends(const struct raft_messages *messages, enum raft_message_type type)
{
    for (uint32_t i = 0; i < messages->count; i++)
        if (messages->items[i]->type == type)
            return true;
    return false;
}

/* True if the step begins a campaign that nobody called for. */
static bool campaigns(const struct check_node *at, const struct raft_output *output)
{
    const struct raft_messages *requests = &output->persist.send_after;
    if (at->view.role != RAFT_CANDIDATE || at->view.hard_state.term == at->old.hard_state.term)
        return false;
    for (uint32_t i = 0; i < requests->count; i++)
        if (requests->items[i]->type == RAFT_VOTE_REQUEST &&
            requests->items[i]->vote_request.transfer)
            return false;
    return true;
}

/* Dissertation, 9.6. What was given when it asked before says nothing of what a majority thinks. */
static void judge_prevotes(struct check *check, uint32_t node, const struct raft_output *output)
{
    struct check_node *at = &check->nodes[node];
    const struct check_config *config = check_config_at(check, &at->memory, at->memory.count);
    for (uint32_t i = 0; i < at->heard.count; i++)
        if (at->heard.items[i].type == RAFT_PREVOTE_RESPONSE && at->heard.items[i].granted)
            at->stand.granted |= bit_of(check, at->heard.items[i].from);
    if (campaigns(at, output) && !check_majority(config, at->stand.granted | UINT32_C(1) << node))
        check_fail(check, "who campaigns has the pre-votes of a majority",
                   "n%u campaigns in term %" PRIu64 " by the pre-votes of the nodes of mask %#x",
                   node + 1, at->view.hard_state.term, at->stand.granted);
    if (sends(&output->send_now, RAFT_PREVOTE_REQUEST))
        at->stand.granted = 0;
}

/* Who led, or stood back, gives the others an election timeout; unless it hears of a leader. */
static void judge_rest(struct check *check, uint32_t node)
{
    struct check_node *at = &check->nodes[node];
    struct check_stand *stand = &at->stand;
    bool called = at->contact.called_term == at->old.hard_state.term &&
                  at->view.now_us < at->contact.called_until_us;
    if (at->old.role == RAFT_FOLLOWER && at->view.role != RAFT_FOLLOWER && !called &&
        at->view.now_us < stand->rests_until_us)
        check_fail(check, "who led or stood back waits before it stands",
                   "n%u stands at %" PRIu64 " us of its clock, and was to wait until %" PRIu64,
                   node + 1, at->view.now_us, stand->rests_until_us);
    if (at->old.role == RAFT_LEADER && at->view.role == RAFT_FOLLOWER)
        stand->rests_until_us = at->view.now_us + check->options.election_timeout_us;
    for (uint32_t i = 0; i < at->heard.count; i++)
        if (at->heard.items[i].type == RAFT_APPEND_REQUEST)
            stand->rests_until_us = 0; /* its leader may be lost soon */
}

/* The one that a pre-vote is given to while the giver stands itself; NULL: there is none. */
static const struct check_heard *stands_beside(const struct check_node *at,
                                               const struct raft_output *output)
{
    const struct check_heard *heard = at->heard.items;
    const uint32_t beside = EVENT(RAFT_EVENT_RECEIVE) | EVENT(RAFT_EVENT_TIMEOUT);
    const struct raft_messages *lists[] = {&output->send_now, &output->persist.send_after};
    if (at->heard.count != 1 || (at->contact.events & ~beside) ||
        heard->type != RAFT_PREVOTE_REQUEST || at->old.role != RAFT_PRECANDIDATE)
        return NULL;
    for (uint32_t list = 0; list < 2; list++)
        for (uint32_t i = 0; i < lists[list]->count; i++)
            if (lists[list]->items[i]->type == RAFT_PREVOTE_RESPONSE &&
                lists[list]->items[i]->vote_response.granted)
                return heard;
    return NULL;
}

/* Two that stand at once would both lose, so one of them gives way: the one with the lower id. */
static void judge_standing_back(struct check *check, uint32_t node,
                                const struct raft_output *output)
{
    struct check_node *at = &check->nodes[node];
    const struct check_heard *other = stands_beside(at, output);
    if (!other)
        return;
    bool back = at->view.role == RAFT_FOLLOWER;
    if (back != (other->from > at->id))
        check_fail(check, "of two that stand the lower one stands back",
                   "n%u gives its pre-vote to n%u, and %s", node + 1,
                   check_find(check, other->from) + 1, back ? "stands back" : "goes on");
    if (back)
        at->stand.rests_until_us = at->view.now_us + check->options.election_timeout_us;
}

/* A node whose disk hangs does not stand: it could not lead. */
static void judge_disk(struct check *check, uint32_t node, const struct raft_output *output)
{
    struct check_node *at = &check->nodes[node];
    const struct raft_options *options = &check->options;
    uint64_t oldest = at->contact.told_seq + 1, now_us = at->view.now_us;
    const struct check_write *write = &at->stand.writes[oldest % CHECK_WRITES];
    uint64_t stall_us =
        options->disk_stall_us ? options->disk_stall_us : 2 * options->election_timeout_us;
    if (at->old.role != RAFT_PRECANDIDATE && at->view.role == RAFT_PRECANDIDATE &&
        write->seq == oldest && now_us - write->since_us >= stall_us)
        check_fail(check, "whose disk hangs does not stand",
                   "n%u stands at %" PRIu64
                   " us of its clock, and waits for its disk since %" PRIu64,
                   node + 1, now_us, write->since_us);
    uint64_t seq = output->persist.seq;
    if (seq > 0)
        at->stand.writes[seq % CHECK_WRITES] = (struct check_write){seq, now_us};
}

/* Nobody waits for who is gone to take over. */
static void judge_hands_to(struct check *check, uint32_t node, const struct raft_output *output)
{
    struct check_node *at = &check->nodes[node];
    uint32_t before = at->stand.hands_to;
    bool ended = false;
    for (uint32_t i = 0; i < output->trace.count; i++) {
        const struct raft_trace *trace = &output->trace.items[i];
        if (trace->type == RAFT_TRACE_TRANSFER) {
            at->stand.hands_to = check_find(check, trace->a) + 1;
        } else if (trace->type == RAFT_TRACE_TRANSFER_ENDED || trace->type == RAFT_TRACE_ROLE) {
            at->stand.hands_to = 0;
            ended = true;
        }
    }
    if (before > 0 && !ended && (at->stand.gone >> (before - 1) & 1))
        check_fail(check, "nobody waits for who is gone to take over",
                   "n%u is told that n%u is gone, and goes on handing over to it", node + 1,
                   before);
}

void check_stand(struct check *check, uint32_t node, const struct raft_output *output)
{
    judge_prevotes(check, node, output);
    judge_rest(check, node);
    judge_standing_back(check, node, output);
    judge_disk(check, node, output);
    judge_hands_to(check, node, output);
}

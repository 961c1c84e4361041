/* What passes between the core and the world: disk, network, state machine, clients. */
#include "tests/sim/check.h"

#include "base/fatal.h"

#include <inttypes.h>
#include <string.h>

/* --- Disk ------------------------------------------------------------------------------------- */

void check_durable(struct check *check, uint32_t node, const struct raft_persist *persist)
{
    struct check_node *at = &check->nodes[node];
    if (persist->hard_state_changed) {
        struct raft_hard_state old = at->durable;
        struct raft_hard_state now = persist->hard_state;
        if (now.term < old.term || (now.term == old.term && old.vote && now.vote != old.vote))
            check_fail(check, "one vote per term",
                       "n%u writes term %" PRIu64 " (or another vote) over term %" PRIu64, node + 1,
                       now.term, old.term);
        at->durable = now;
    }
    if (persist->anew.index > 0)
        check_log_anew(check, &at->disk, persist->anew.index);
    struct raft_runs_iter it = {0};
    for (const struct raft_entry *e; (e = raft_runs_next(&persist->entries, &it));) {
        if (e->id.term > at->durable.term)
            check_fail(check, "a term is durable before its entries",
                       "n%u writes entry %" PRIu64 ":%" PRIu64 " in durable term %" PRIu64,
                       node + 1, e->id.term, e->id.index, at->durable.term);
        if (e->id.index > at->disk.count + 1)
            check_fail(check, "logs have no gaps", "n%u writes entry %" PRIu64 " on disk", node + 1,
                       e->id.index);
        if (check->failed)
            return;
        check_log_put(check, &at->disk, e);
    }
}

/* --- Network ---------------------------------------------------------------------------------- */

/* A vote leaves: for itself with a request, for another with a response. It is durable, and the
 * only one of this node in this term, over all its lives (Rules 1 and 3). */
static void check_vote(struct check *check, uint32_t node, uint64_t term, raft_node_id candidate)
{
    const struct check_node *at = &check->nodes[node];
    char a[8], b[8];
    raft_node_id first = map_put_once(&check->votes, node, term, candidate);
    if (first != candidate)
        check_fail(check, "one vote per term",
                   "n%u votes for %s in term %" PRIu64 ", in which it voted for %s", node + 1,
                   check_name(check, candidate, a), term, check_name(check, first, b));
    if (at->durable.term < term || (at->durable.term == term && at->durable.vote != candidate))
        check_fail(check, "a vote is durable before it leaves",
                   "n%u votes for %s in term %" PRIu64 ", its disk says term %" PRIu64 " and %s",
                   node + 1, check_name(check, candidate, a), term, at->durable.term,
                   check_name(check, at->durable.vote, b));
    /* Its requests wait for the disk: the log may have been cut by then, by who won the term. */
    if (candidate == at->id && at->campaign_term != term && !check_may_lead(check, node))
        check_fail(check, "only voters campaign", "n%u asks for votes", node + 1);
}

/* An acknowledgement covers only what is durable, and only what is equal to the leader's log
 * (Rule 4, Rule 11). */
static void check_append_accepted(struct check *check, uint32_t node,
                                  const struct raft_message *message)
{
    uint64_t match = message->append_response.match;
    if (match > check_stored_last(check, node)) {
        check_fail(check, "acknowledged is durable",
                   "n%u acknowledges up to %" PRIu64 ", its disk holds %" PRIu64, node + 1, match,
                   check_stored_last(check, node));
        return;
    }
    uint32_t to = check_find(check, message->to);
    const struct check_node *leader = to < check->node_count ? &check->nodes[to] : NULL;
    if (!leader || match == 0 || leader->view.role != RAFT_LEADER ||
        leader->view.hard_state.term != message->term)
        return;
    if (!check_holds(check, node, match, check_log_at(&leader->memory, match)))
        check_fail(check, "acknowledged is equal to the leader's log",
                   "n%u acknowledges up to %" PRIu64 " to n%u, whose log differs there", node + 1,
                   match, to + 1);
}

/* Whoever answers an append, and does not call it stale, followed that leader then. */
static void check_round_answered(struct check *check, uint32_t node,
                                 const struct raft_message *message)
{
    uint32_t to = check_find(check, message->to);
    struct check_node *leader = &check->nodes[to];
    uint64_t round = message->append_response.round;
    if (leader->led_term != message->term || message->append_response.result == RAFT_APPEND_STALE)
        return;
    if (round > leader->round_sent)
        check_fail(check, "a round is answered that was asked",
                   "n%u answers round %" PRIu64 " of n%u, whose last one is %" PRIu64, node + 1,
                   round, to + 1, leader->round_sent);
    if (round >= leader->round_answered[node])
        leader->round_answered[node] = round + 1;
}

/* Since a read came, when its node had sent this round as the leader of this term, a majority has
 * answered that it follows. A leader that began later needs an answer of its term, to any round. */
static void check_round(struct check *check, uint32_t node, uint64_t term, uint64_t round,
                        uint64_t read)
{
    const struct check_node *at = &check->nodes[node];
    uint64_t needed = term == at->led_term ? round + 1 : 0;
    uint32_t followers = UINT32_C(1) << node;
    for (uint32_t i = 0; i < check->node_count; i++) {
        if (at->round_answered[i] > needed)
            followers |= UINT32_C(1) << i;
    }
    if (!check_commit_majority(check, node, followers))
        check_fail(check, "reads are confirmed by a majority",
                   "n%u confirms read %" PRIu64 " by the answers of the nodes of mask %#x",
                   node + 1, read, followers);
}

void check_read_confirmed(struct check *check, uint64_t number, uint32_t node)
{
    const struct op *op = &check->ops->items[number];
    check_round(check, node, op->round_term, op->round, number);
}

void check_read_followed(struct check *check, uint64_t number, uint32_t node)
{
    const struct check_node *at = &check->nodes[node];
    const struct op *op = &check->ops->items[number];
    if (at->old.role == RAFT_FOLLOWER && at->view.role == RAFT_FOLLOWER &&
        at->read_answered <= op->asked)
        check_fail(check, "a follower asks for a read after it came",
                   "n%u confirms read %" PRIu64 " by the answer to request %" PRIu64
                   "; request %" PRIu64 " had left before",
                   node + 1, number, at->read_answered, op->asked);
}

/* Rule 40: an answer that is late may be one to an earlier life, and would confirm the read that
 * has the same number now. */
static void check_read_asked(struct check *check, uint32_t node, uint64_t number)
{
    struct check_node *at = &check->nodes[node];
    if (number <= at->read_before)
        check_fail(check, "numbers of reads never come again",
                   "n%u asks by number %" PRIu64 ", an earlier life did by %" PRIu64, node + 1,
                   number, at->read_before);
    if (number > at->read_asked)
        at->read_asked = number;
}

enum { ASKED_ROUND_BITS = 40 };

void check_read_request(struct check *check, uint32_t node, const struct raft_message *message)
{
    const struct check_node *at = &check->nodes[node];
    uint64_t ends = (uint64_t)node << 32 | check_find(check, message->from);
    map_put_once(&check->asked, ends, message->read_index.number,
                 at->led_term << ASKED_ROUND_BITS | at->round_sent);
}

/* A leader tells a follower the index for its reads. */
static void check_read_response(struct check *check, uint32_t node,
                                const struct raft_message *message)
{
    const struct check_node *at = &check->nodes[node];
    uint64_t ends = (uint64_t)node << 32 | check_find(check, message->to);
    uint64_t asked;
    if (at->view.role != RAFT_LEADER || at->led_term != message->term)
        return; /* it leads no more at the end of this step */
    if (!map_get(&check->asked, ends, message->read_index.number, &asked)) {
        check_fail(check, "an answer is somebody's", "n%u answers read request %" PRIu64, node + 1,
                   message->read_index.number);
        return;
    }
    check_round(check, node, asked >> ASKED_ROUND_BITS,
                asked & ((UINT64_C(1) << ASKED_ROUND_BITS) - 1), message->read_index.number);
}

/* Whatever is answered in a term is answered by a node that will not forget it (Rule 2): neither
 * votes nor appends, nor that there is a newer term, come from one that a crash takes back. */
static void check_answer_term(struct check *check, uint32_t node,
                              const struct raft_message *message)
{
    uint64_t durable = check->nodes[node].durable.term;
    bool answers = message->type == RAFT_APPEND_RESPONSE || message->type == RAFT_VOTE_RESPONSE ||
                   message->type == RAFT_PREVOTE_RESPONSE;
    if (answers && message->term > durable)
        check_fail(check, "a term is durable before it is answered in",
                   "n%u answers in term %" PRIu64 ", its disk says term %" PRIu64, node + 1,
                   message->term, durable);
}

void check_send(struct check *check, uint32_t node, const struct raft_message *message)
{
    struct check_node *at = &check->nodes[node];
    if (message->from != at->id || message->to == at->id ||
        check_find(check, message->to) == check->node_count) {
        check_fail(check, "messages name their ends", "n%u sends a message to nobody or itself",
                   node + 1);
        return;
    }
    switch (message->type) {
    case RAFT_VOTE_REQUEST:
        check_vote(check, node, message->term, at->id);
        break;
    case RAFT_VOTE_RESPONSE:
        if (message->vote_response.granted) {
            check_vote(check, node, message->vote_response.campaign_term, message->to);
            check_granted(check, node, message);
        }
        break;
    case RAFT_APPEND_REQUEST:
        check_append_request(check, node, message);
        break;
    case RAFT_APPEND_RESPONSE:
        check_round_answered(check, node, message);
        if (message->append_response.result == RAFT_APPEND_ACCEPTED)
            check_append_accepted(check, node, message);
        break;
    case RAFT_PREVOTE_RESPONSE:
        if (message->vote_response.granted)
            check_granted(check, node, message);
        break;
    case RAFT_PREVOTE_REQUEST:
    case RAFT_TIMEOUT_NOW:
        break;
    case RAFT_READ_REQUEST:
        check_read_asked(check, node, message->read_index.number);
        break;
    case RAFT_READ_RESPONSE:
        check_read_response(check, node, message);
        break;
    }
    check_answer_term(check, node, message);
}

/* --- State machine ---------------------------------------------------------------------------- */

void check_apply(struct check *check, uint32_t node, const struct raft_runs *apply)
{
    struct check_node *at = &check->nodes[node];
    if (apply->entry_count == 0)
        return;
    /* Handed over before and not reported as applied. */
    uint64_t outstanding = check_log_bytes(&at->memory, at->apply_handed) -
                           check_log_bytes(&at->memory, at->view.applied);
    struct raft_runs_iter it = {0};
    for (const struct raft_entry *e; (e = raft_runs_next(apply, &it));) {
        uint64_t index = e->id.index;
        const struct check_entry *own = check_log_at(&at->memory, index);
        if (at->installing > at->view.applied)
            check_fail(check, "nothing is applied while a snapshot is installed",
                       "n%u applies %" PRIu64 " and is to become the snapshot at %" PRIu64
                       ", applied is %" PRIu64,
                       node + 1, index, at->installing, at->view.applied);
        else if (index != at->apply_handed + 1)
            check_fail(check, "applied in order", "n%u applies %" PRIu64 " after %" PRIu64,
                       node + 1, index, at->apply_handed);
        else if (index > at->view.commit || !own || own->term != e->id.term)
            check_fail(check, "only committed entries are applied",
                       "n%u applies %" PRIu64 ":%" PRIu64 ", commit is %" PRIu64, node + 1,
                       e->id.term, index, at->view.commit);
        else if (!check_holds(check, node, index, own))
            check_fail(check, "only durable entries are applied",
                       "n%u applies %" PRIu64 ", its disk holds %" PRIu64, node + 1, index,
                       at->disk.count);
        at->apply_handed = index;
    }
    uint64_t bytes = outstanding + apply->payload_bytes;
    if (apply->payload_bytes > 0 && bytes > check->options.apply_bytes_max &&
        (outstanding > 0 || apply->entry_count > 1))
        check_fail(check, "applying is bounded",
                   "n%u hands out %" PRIu64 " bytes, the limit is %" PRIu64, node + 1, bytes,
                   check->options.apply_bytes_max);
}

void check_applied(struct check *check, uint32_t node, uint64_t index, uint64_t answer_hash)
{
    struct check_node *at = &check->nodes[node];
    if (index >= check->answers_capacity) {
        uint64_t capacity = (index + 1) * 2;
        check->answers = mem_realloc(check->answers, capacity * sizeof *check->answers);
        memset(check->answers + check->answers_capacity, 0,
               (capacity - check->answers_capacity) * sizeof *check->answers);
        check->answers_capacity = capacity;
    }
    if (check->answers[index] == 0)
        check->answers[index] = answer_hash + 1;
    if (check->answers[index] != answer_hash + 1)
        check_fail(check, "equal answers at equal index",
                   "n%u's state machine answers entry %" PRIu64 " as no other did", node + 1,
                   index);
    if (index != at->machine_index + 1)
        check_fail(check, "applied in order",
                   "n%u's state machine goes from %" PRIu64 " to %" PRIu64, node + 1,
                   at->machine_index, index);
    at->machine_index = index;
}

void check_store(struct check *check, uint32_t node, uint64_t index, uint64_t hash)
{
    if (map_put_once(&check->stores, index, 0, hash) != hash)
        check_fail(check, "equal state at equal index",
                   "n%u's state differs from another's after entry %" PRIu64, node + 1, index);
}

/* --- Clients ---------------------------------------------------------------------------------- */

void check_answer(struct check *check, uint64_t number, uint32_t node, uint32_t incarnation,
                  enum op_state state)
{
    if (number == 0 || number > check->ops->count) {
        check_fail(check, "an answer is somebody's", "n%u answers operation %" PRIu64, node + 1,
                   number);
        return;
    }
    const struct op *op = &check->ops->items[number];
    if (op->state != OP_TAKEN)
        check_fail(check, "an operation is answered once",
                   "n%u answers operation %" PRIu64 " again or unasked", node + 1, number);
    else if (op->node != node || op->incarnation != incarnation)
        check_fail(check, "an answer comes from where it was asked",
                   "n%u answers operation %" PRIu64 ", which n%u took", node + 1, number,
                   op->node + 1);
    else if (state == OP_REFUSED && op->committed)
        check_fail(check, "refused is not applied",
                   "n%u refuses operation %" PRIu64 ", committed at %" PRIu64, node + 1, number,
                   op->committed);
    else if (state == OP_REFUSED && op->logged) /* Rule 44: another node may have it yet */
        check_fail(check, "what was in a log is not surely refused",
                   "n%u refuses operation %" PRIu64 ", which it had in its log", node + 1, number);
    else if ((state == OP_OK || state == OP_DENIED) && !op_is_read(op) && !op->committed)
        check_fail(check, "acknowledged is committed",
                   "n%u acknowledges operation %" PRIu64 ", which is not committed", node + 1,
                   number);
}

void check_read_arrives(struct check *check, uint64_t number, uint32_t node)
{
    struct op *op = &check->ops->items[number];
    op->round = check->nodes[node].round_sent;
    op->round_term = check->nodes[node].led_term;
}

void check_repeat(struct check *check, uint64_t number)
{
    const struct op *op = &check->ops->items[number];
    struct op *first = &check->ops->items[op->first];
    if (first->reply == 0)
        first->reply = op->reply;
    if (first->reply != op->reply)
        check_fail(check, "a repeat gets the same answer",
                   "operation %" PRIu64 " repeats %" PRIu64
                   " and gets another answer than was given before",
                   number, op->first);
}

void check_read(struct check *check, uint64_t number, uint64_t index)
{
    const struct op *op = &check->ops->items[number];
    if (index < op->floor)
        check_fail(check, "reads are not stale",
                   "read %" PRIu64 " at n%u saw %" PRIu64 " entries; %" PRIu64
                   " were committed when it began",
                   number, op->node + 1, index, op->floor);
    if (index > check->oracle.count)
        check_fail(check, "reads see committed entries",
                   "read %" PRIu64 " at n%u saw %" PRIu64 " entries of %" PRIu64 " committed",
                   number, op->node + 1, index, check->oracle.count);
}

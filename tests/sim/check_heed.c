/* What comes of what is heard: what a leader believes of its peers follows from their answers
 * alone, it hears and tells in time, and a follower takes from an append what is in it. Much of it
 * only makes a cluster slower when it is wrong. */
#include "tests/sim/check.h"

#include <inttypes.h>

#define EVENT(type) (UINT32_C(1) << (type))

/* As in raft/replication.c: who could commit more hears of it after this part of a heartbeat. */
enum { COMMIT_NOTICES = 50 };

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t most(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static bool has_led_before(const struct check_node *at)
{
    return at->old.role == RAFT_LEADER && at->view.role == RAFT_LEADER &&
           at->old.hard_state.term == at->view.hard_state.term;
}

/* True if the step heard of nothing but this one message, and no time has run out. */
static bool heard_one(const struct check_node *at)
{
    return at->heard.count == 1 && at->contact.events == EVENT(RAFT_EVENT_RECEIVE) &&
           at->contact.asked_us > at->view.now_us;
}

static bool was_removed(const struct check *check, const struct check_node *at, raft_node_id id)
{
    const struct check_config *committed = check_config_at(check, &at->memory, at->old.commit);
    return committed->removed >> check_find(check, id) & 1;
}

/* --- What a leader believes of a peer --------------------------------------------------------- */

/* Rule 18, the leader's half: the last of its own entries that the peer may have. */
static uint64_t place_by_hint(const struct check_node *at, struct raft_id hint)
{
    uint64_t index = least(hint.index, at->memory.count);
    while (index > 0 && at->memory.entries[index - 1].term > hint.term)
        index--;
    return index;
}

static void believe_rejected(const struct check_node *at, struct raft_peer_view *belief,
                             const struct raft_append_response *answer)
{
    /* Rule 14: a probe is answered by its own rejection; what was acknowledged is not missing. */
    if (belief->needs_snapshot || answer->rejected <= belief->match ||
        answer->rejected >= belief->next ||
        (!belief->replicating && answer->rejected != belief->next - 1))
        return;
    uint64_t place = place_by_hint(at, answer->conflict);
    belief->next = most(least(place + 1, answer->rejected), belief->match + 1);
    belief->replicating = false;
}

static void believe_accepted(const struct check_node *at, struct raft_peer_view *belief,
                             const struct raft_append_response *answer)
{
    if (belief->needs_snapshot && answer->match < at->view.base.index)
        return; /* Rule 37: it does not reach the log yet */
    belief->match = most(belief->match, answer->match);
    if (!belief->replicating)
        belief->next = belief->match + 1;
    belief->next = most(belief->next, belief->match + 1);
    belief->replicating = true;
    belief->needs_snapshot = false;
}

/* False: the peer was another one to the leader before this step, or within it. */
static bool is_of_one_life(const struct check *check, const struct check_node *at, uint32_t peer,
                           uint64_t life)
{
    const uint64_t known = at->peers[peer].life;
    if (known != 0)
        return known == life;
    for (uint32_t i = 0; i < at->heard.count; i++) {
        const struct check_heard *heard = &at->heard.items[i];
        if (heard->type == RAFT_APPEND_RESPONSE && check_find(check, heard->from) == peer &&
            heard->term == at->view.hard_state.term && heard->answer.life != life)
            return false;
    }
    return true;
}

void check_belief(struct check *check, uint32_t node, uint32_t peer,
                  const struct raft_peer_view *view)
{
    const struct check_node *at = &check->nodes[node];
    struct raft_peer_view belief = at->peers[peer];
    if (!has_led_before(at) || at->old.config_index != at->view.config_index ||
        at->old.base.index != at->view.base.index || !is_of_one_life(check, at, peer, view->life))
        return; /* it may be a new peer to it */
    for (uint32_t i = 0; i < at->heard.count; i++) {
        const struct check_heard *heard = &at->heard.items[i];
        if (heard->type != RAFT_APPEND_RESPONSE || check_find(check, heard->from) != peer ||
            heard->term != at->view.hard_state.term || heard->answer.life != view->life)
            continue;
        if (heard->answer.result == RAFT_APPEND_ACCEPTED)
            believe_accepted(at, &belief, &heard->answer);
        else if (heard->answer.result == RAFT_APPEND_REJECTED)
            believe_rejected(at, &belief, &heard->answer);
    }
    if (!belief.needs_snapshot && belief.next <= at->view.base.index) {
        belief.needs_snapshot = true;
        belief.replicating = false;
    }
    bool next = view->needs_snapshot || view->next == belief.next ||
                (belief.replicating && view->next > belief.next); /* it sent some */
    if (view->match != belief.match || view->replicating != belief.replicating ||
        view->needs_snapshot != belief.needs_snapshot || !next)
        check_fail(check, "a leader believes what it is answered, and no more",
                   "n%u sees n%u at match %" PRIu64 ", next %" PRIu64 "%s%s; by the answers that is"
                   " match %" PRIu64 ", next %" PRIu64 "%s%s",
                   node + 1, peer + 1, view->match, view->next,
                   view->replicating ? ", replicating" : "",
                   view->needs_snapshot ? ", in need of a snapshot" : "", belief.match, belief.next,
                   belief.replicating ? ", replicating" : "",
                   belief.needs_snapshot ? ", in need of a snapshot" : "");
}

/* --- What a leader does in its office --------------------------------------------------------- */

/* Rule 41: by its own clock, from when it first sent the round that is answered. UINT64_MAX: that
 * is not known. */
static uint64_t may_until(const struct check_node *at, const struct check_heard *heard,
                          uint64_t promise_us, uint64_t drift)
{
    const struct check_office *office = &at->office;
    for (uint64_t i = 1; i <= least(office->begun_count, CHECK_ROUNDS); i++) {
        const struct check_begun *begun = &office->begun[(office->begun_count - i) % CHECK_ROUNDS];
        if (begun->round == heard->round)
            return begun->us + promise_us * (100 - drift) / (100 + drift);
    }
    return UINT64_MAX;
}

static void note_answer(const struct check *check, struct check_node *at,
                        const struct check_heard *heard)
{
    const struct raft_options *options = &check->options;
    uint32_t peer = check_find(check, heard->from);
    struct check_sent *sent = &at->office.peers[peer];
    uint64_t promise_us = least(heard->answer.promise_us, options->election_timeout_us);
    if (heard->term != at->office.term || heard->answer.life < at->peers[peer].life)
        return;
    sent->answer_us = at->view.now_us;
    if (promise_us == 0 || heard->answer.result == RAFT_APPEND_STALE)
        return;
    sent->promise_us = at->view.now_us;
    uint64_t drift = options->clock_drift_percent;
    sent->may_until_us = most(sent->may_until_us, may_until(at, heard, promise_us, drift));
    /* The newest round of a lease was begun at most a heartbeat before any that was sent. */
    uint64_t surely_us = at->office.round_us + promise_us * (100 - drift) / (100 + drift);
    if (heard->round == at->office.round && surely_us > options->heartbeat_us)
        sent->surely_until_us = most(sent->surely_until_us, surely_us - options->heartbeat_us);
}

static void note_office(const struct check *check, struct check_node *at,
                        const struct raft_output *output)
{
    struct check_office *office = &at->office;
    if (at->view.role != RAFT_LEADER) {
        if (!at->view.retired)
            office->term = 0;
    } else if (office->term != at->view.hard_state.term) {
        *office = (struct check_office){.term = at->view.hard_state.term};
    }
    if (office->config_index != at->view.config_index || at->view.commit < office->config_index)
        office->settled_us = 0;
    else if (office->settled_us == 0)
        office->settled_us = at->view.now_us;
    office->config_index = at->view.config_index;
    for (uint32_t i = 0; i < at->heard.count; i++)
        if (at->heard.items[i].type == RAFT_APPEND_RESPONSE)
            note_answer(check, at, &at->heard.items[i]);
    for (uint32_t i = 0; i < output->trace.count; i++)
        office->handed_over |= output->trace.items[i].type == RAFT_TRACE_TRANSFER;
    for (uint32_t i = 0; i < output->send_now.count; i++) {
        const struct raft_message *message = output->send_now.items[i];
        if (message->type != RAFT_APPEND_REQUEST || message->term != office->term)
            continue;
        struct check_sent *sent = &office->peers[check_find(check, message->to)];
        sent->append_us = at->view.now_us;
        sent->commit = message->append_request.commit;
        if (message->append_request.round > office->round) {
            office->round = message->append_request.round;
            office->round_us = at->view.now_us;
            office->begun[office->begun_count++ % CHECK_ROUNDS] =
                (struct check_begun){office->round, office->round_us};
        }
    }
}

/* A leader commits what a majority holds, and its disk with it, as soon as it hears of it. */
static void judge_commit(struct check *check, uint32_t node)
{
    const struct check_node *at = &check->nodes[node];
    const struct check_config *config = check_config_at(check, &at->memory, at->memory.count);
    const struct check_entry *next = check_log_at(&at->memory, at->view.commit + 1);
    uint64_t index = at->view.commit + 1;
    while (next && next->term != at->view.hard_state.term)
        next = check_log_at(&at->memory, ++index);
    if (!next)
        return;
    uint32_t holders = at->view.durable.index >= index ? UINT32_C(1) << node : 0;
    for (uint32_t i = 0; i < check->node_count; i++)
        if (i != node && at->peers[i].match >= index && at->office.peers[i].answer_us > 0)
            holders |= UINT32_C(1) << i;
    if (check_majority(config, holders))
        check_fail(check, "what a majority holds is committed",
                   "n%u has committed %" PRIu64 "; the nodes of mask %#x hold %" PRIu64, node + 1,
                   at->view.commit, holders, index);
}

/* All members hear of a leader with each heartbeat, and soon of what they could commit. */
static void judge_heartbeats(struct check *check, uint32_t node, uint64_t deadline_us)
{
    const struct check_node *at = &check->nodes[node];
    uint32_t members = check_config_at(check, &at->memory, at->memory.count)->members;
    for (uint32_t i = 0; i < check->node_count; i++) {
        const struct check_sent *sent = &at->office.peers[i];
        if (i == node || !(members >> i & 1))
            continue;
        uint64_t due_us = sent->append_us + check->options.heartbeat_us;
        if (least(at->view.commit, at->peers[i].match) > sent->commit)
            due_us = sent->append_us + most(check->options.heartbeat_us / COMMIT_NOTICES, 1);
        if (at->view.now_us >= due_us || deadline_us > due_us)
            check_fail(check, "a leader is heard of in time",
                       "n%u told n%u of commit %" PRIu64 " at %" PRIu64
                       " us of its clock, which is at %" PRIu64 ", and asks for %" PRIu64,
                       node + 1, i + 1, sent->commit, sent->append_us, at->view.now_us,
                       deadline_us);
    }
}

/* Who is no member any more hears of that, and then no more. */
static void judge_leaving(struct check *check, uint32_t node, const struct raft_output *output)
{
    const struct check_node *at = &check->nodes[node];
    uint32_t members = check_config_at(check, &at->memory, at->memory.count)->members;
    uint64_t settled_us = at->office.settled_us;
    if (settled_us == 0 || at->view.now_us - settled_us < 2 * check->options.election_timeout_us)
        return;
    for (uint32_t i = 0; i < output->send_now.count; i++) {
        uint32_t peer = check_find(check, output->send_now.items[i]->to);
        if (output->send_now.items[i]->type == RAFT_APPEND_REQUEST && !(members >> peer & 1))
            check_fail(check, "who is no member is not sent to for ever",
                       "n%u sends an append to n%u, and the configuration without it is committed"
                       " since %" PRIu64 " us",
                       node + 1, peer + 1, at->view.now_us - settled_us);
    }
}

/* Rules 30 and 41: a lease is a majority's promise, and such a promise is a lease. */
static void judge_lease(struct check *check, uint32_t node, const struct check_own *own)
{
    const struct check_node *at = &check->nodes[node];
    const struct check_config *config = check_config_at(check, &at->memory, at->memory.count);
    const struct check_entry *committed = check_log_at(&at->memory, at->view.commit);
    uint64_t now_us = at->view.now_us, timeout_us = check->options.election_timeout_us;
    uint32_t may = UINT32_C(1) << node, surely = may, until = may;
    for (uint32_t i = 0; i < check->node_count; i++) {
        const struct check_sent *sent = &at->office.peers[i];
        if (sent->promise_us > 0 && now_us - sent->promise_us < timeout_us)
            may |= UINT32_C(1) << i;
        if (sent->surely_until_us > now_us)
            surely |= UINT32_C(1) << i;
        if (sent->may_until_us >= at->view.lease_own_us)
            until |= UINT32_C(1) << i;
    }
    if (at->view.lease_us > 0 && !check_majority(config, may))
        check_fail(check, "a lease is the promise of a majority",
                   "n%u has a lease by the promises of the nodes of mask %#x", node + 1, may);
    if (at->view.lease_us > 0 && !check_majority(config, until))
        check_fail(check, "a lease begins when what was answered was sent",
                   "n%u has a lease until %" PRIu64
                   " us of its clock, so long are the promises of the nodes of mask %#x alone",
                   node + 1, at->view.lease_own_us, until);
    bool serves = committed && committed->term == at->view.hard_state.term;
    if (at->view.lease_us == 0 && own->promise_us > 0 && serves && !at->office.handed_over &&
        check_majority(config, surely))
        check_fail(check, "the promise of a majority is a lease",
                   "n%u has no lease, and the promises of the nodes of mask %#x", node + 1, surely);
}

/* Rule 31: the others need not miss a leader that was removed. */
static void judge_farewell(struct check *check, uint32_t node, const struct raft_output *output)
{
    const struct check_node *at = &check->nodes[node];
    uint32_t voters = check_config_at(check, &at->memory, at->memory.count)->voters;
    for (uint32_t i = 0; i < output->send_now.count; i++)
        if (output->send_now.items[i]->type == RAFT_TIMEOUT_NOW)
            return;
    for (uint32_t i = 0; i < check->node_count; i++) {
        uint64_t answer_us = at->office.peers[i].answer_us;
        if ((voters >> i & 1) && answer_us > 0 &&
            at->view.now_us - answer_us < check->options.election_timeout_us)
            check_fail(check, "a leader that was removed calls another",
                       "n%u leaves, and calls nobody, though n%u answers", node + 1, i + 1);
    }
}

/* --- What a follower makes of an append ------------------------------------------------------- */

/* Rule 11: no more than it was told and can know to be the leader's. */
static void judge_followed_commit(struct check *check, uint32_t node)
{
    const struct check_node *at = &check->nodes[node];
    uint64_t may = at->old.commit;
    if (at->old.role != RAFT_FOLLOWER || at->view.role != RAFT_FOLLOWER ||
        (at->contact.events & EVENT(RAFT_EVENT_SNAPSHOT_RECEIVED)))
        return;
    for (uint32_t i = 0; i < at->heard.count; i++) {
        const struct check_heard *heard = &at->heard.items[i];
        if (heard->type == RAFT_APPEND_REQUEST && heard->term >= at->old.hard_state.term)
            may = most(may, least(heard->commit, heard->end));
    }
    if (at->view.commit > may)
        check_fail(check, "a follower commits what it was told and holds",
                   "n%u commits %" PRIu64 ", could %" PRIu64, node + 1, at->view.commit, may);
}

/* Whoever hears the leader of its term follows it, takes what fits and commits what it may. */
static void judge_append(struct check *check, uint32_t node, const struct check_own *own)
{
    const struct check_node *at = &check->nodes[node];
    const struct check_heard *heard = at->heard.items;
    if (!heard_one(at) || heard->type != RAFT_APPEND_REQUEST ||
        heard->term < at->old.hard_state.term || heard->term != at->view.hard_state.term ||
        was_removed(check, at, heard->from))
        return;
    if (at->view.role != RAFT_FOLLOWER || own->leader != heard->from)
        check_fail(check, "who hears the leader of its term follows it",
                   "n%u hears n%u lead term %" PRIu64 ", and does not follow", node + 1,
                   check_find(check, heard->from) + 1, heard->term);
    const struct check_entry *prev = check_log_at(&at->memory, heard->prev.index);
    bool fits = heard->prev.index <= at->old.commit || (prev && prev->term == heard->prev.term);
    if (fits &&
        (at->memory.count < heard->end || at->view.commit < least(heard->commit, heard->end)))
        check_fail(check, "a follower takes what fits, and commits it",
                   "n%u was given entries up to %" PRIu64 " and commit %" PRIu64
                   ", and has %" PRIu64 " and %" PRIu64,
                   node + 1, heard->end, heard->commit, at->memory.count, at->view.commit);
}

/* Rule 32. But for its answers, which say how far it can be told of its removal. */
static void judge_removed(struct check *check, uint32_t node, const struct raft_output *output)
{
    const struct check_node *at = &check->nodes[node];
    const struct check_heard *heard = at->heard.items;
    if (!heard_one(at) || heard->type == RAFT_APPEND_RESPONSE ||
        !was_removed(check, at, heard->from))
        return;
    struct raft_hard_state old = at->old.hard_state, now = at->view.hard_state;
    bool answered = false;
    const struct raft_messages *sent[] = {&output->send_now, &output->persist.send_after};
    for (uint32_t i = 0; i < 2; i++)
        for (uint32_t k = 0; k < sent[i]->count; k++)
            answered |= sent[i]->items[k]->to == heard->from;
    if (answered || old.term != now.term || old.vote != now.vote || at->old.role != at->view.role ||
        at->old.commit != at->view.commit || !at->same_log)
        check_fail(check, "who was removed is not heard", "n%u hears n%u, which was removed, %s",
                   node + 1, check_find(check, heard->from) + 1,
                   answered ? "and answers" : "and heeds it");
}

/* --- All -------------------------------------------------------------------------------------- */

void check_heed(struct check *check, uint32_t node, const struct check_own *own,
                const struct raft_output *output)
{
    struct check_node *at = &check->nodes[node];
    if (at->contact.events & EVENT(RAFT_EVENT_START)) {
        at->office = (struct check_office){0};
        return;
    }
    note_office(check, at, output);
    if (at->view.retired)
        judge_farewell(check, node, output);
    if (at->view.role == RAFT_LEADER) {
        judge_commit(check, node);
        judge_heartbeats(check, node, output->deadline_us);
        judge_leaving(check, node, output);
        judge_lease(check, node, own);
    }
    judge_followed_commit(check, node);
    judge_append(check, node, own);
    judge_removed(check, node, output);
}

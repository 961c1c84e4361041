/* Who holds to a leader, whom votes are refused and why, and how long a leader leads that is not
 * heard. Much of it only keeps a cluster without a leader, or with one that helps nobody. */
#include "tests/sim/check.h"

#include <inttypes.h>

#define EVENT(type) (UINT32_C(1) << (type))

/* What may come beside a message without a say in how it is answered. */
enum { BESIDE = EVENT(RAFT_EVENT_RECEIVE) | EVENT(RAFT_EVENT_TIMEOUT) | EVENT(RAFT_EVENT_APPLIED) };

/* What asks for an index after it came is asked for it. */
static void note_read(struct check *check, uint32_t node, uint64_t number)
{
    if (number > 0 && number <= check->ops->count)
        check->ops->items[number].asked = check->nodes[node].read_asked;
}

static void note_gone(struct check *check, uint32_t node, raft_node_id id)
{
    uint32_t peer = check_find(check, id);
    if (peer < check->node_count)
        check->nodes[node].stand.gone |= UINT32_C(1) << peer;
}

void check_events(struct check *check, uint32_t node, raft_node_id leader, uint64_t asked_us,
                  const struct raft_event *events, uint32_t count)
{
    struct check_contact *contact = &check->nodes[node].contact;
    contact->leader = leader;
    contact->asked_us = asked_us;
    contact->events = 0;
    contact->lost_leader = false;
    check->nodes[node].stand.gone = 0;
    for (uint32_t i = 0; i < count; i++) {
        contact->events |= EVENT(events[i].type);
        if (events[i].type == RAFT_EVENT_PEER_DOWN && events[i].peer_down == leader)
            contact->lost_leader = true;
        if (events[i].type == RAFT_EVENT_PERSISTED)
            contact->told_seq = events[i].persisted.seq;
        if (events[i].type == RAFT_EVENT_PEER_DOWN)
            note_gone(check, node, events[i].peer_down);
        if (events[i].type == RAFT_EVENT_READ || events[i].type == RAFT_EVENT_READ_LEASE)
            note_read(check, node, events[i].read);
        if (events[i].type == RAFT_EVENT_RECEIVE)
            check_heard(check, node, events[i].receive);
    }
    /* Another may have become its leader before it was told that. */
    contact->lost_leader |= (contact->events & EVENT(RAFT_EVENT_PEER_DOWN)) &&
                            (contact->events & EVENT(RAFT_EVENT_RECEIVE));
}

/* True if the step heard this one message and nothing else of weight. */
static bool heard_alone(const struct check_node *at)
{
    return at->heard.count == 1 && !(at->contact.events & ~(uint32_t)BESIDE);
}

static bool is_removed(const struct check *check, const struct check_node *at, uint64_t commit,
                       raft_node_id id)
{
    return check_config_at(check, &at->memory, commit)->removed >> check_find(check, id) & 1;
}

/* --- Votes ------------------------------------------------------------------------------------ */

/* Rule 21: whether the node keeps its vote back. False: that is not known. */
static bool holds_back(const struct check_node *at, const struct check_heard *heard, bool *ret)
{
    const struct check_contact *contact = &at->contact;
    uint64_t now_us = at->view.now_us;
    *ret = false;
    if (heard->type == RAFT_VOTE_REQUEST && heard->transfer)
        return true;
    *ret = at->old.role == RAFT_LEADER;
    if (*ret || (contact->leader != 0 && contact->leader == heard->from))
        return true;
    *ret = now_us < contact->holds_until_us || now_us < contact->promised_until_us;
    return *ret || now_us >= contact->may_hold_until_us;
}

/* How a request for a vote has to be answered, by what the node was before the step. */
static bool is_granted(const struct check_node *at, const struct check_heard *heard, bool back)
{
    struct raft_id own = at->old.last;
    struct raft_hard_state hard = at->old.hard_state;
    bool later = heard->term > hard.term;
    bool fits =
        heard->last.term != own.term ? heard->last.term > own.term : heard->last.index >= own.index;
    bool unvoted = hard.vote == 0 || hard.vote == heard->from;
    bool open = heard->type == RAFT_PREVOTE_REQUEST
                    ? later
                    : later || (heard->term == hard.term && unvoted);
    return open && fits && !back;
}

static const struct raft_message *answer_in(const struct raft_messages *messages,
                                            const struct check_heard *heard)
{
    enum raft_message_type type =
        heard->type == RAFT_PREVOTE_REQUEST ? RAFT_PREVOTE_RESPONSE : RAFT_VOTE_RESPONSE;
    for (uint32_t i = 0; i < messages->count; i++)
        if (messages->items[i]->type == type && messages->items[i]->to == heard->from)
            return messages->items[i];
    return NULL;
}

static void judge_vote(struct check *check, uint32_t node, const struct raft_output *output)
{
    const struct check_node *at = &check->nodes[node];
    const struct check_heard *heard = at->heard.items;
    bool back;
    if (!heard_alone(at) ||
        (heard->type != RAFT_VOTE_REQUEST && heard->type != RAFT_PREVOTE_REQUEST) ||
        is_removed(check, at, at->old.commit, heard->from))
        return;
    const struct raft_message *answer = answer_in(&output->send_now, heard);
    if (!answer)
        answer = answer_in(&output->persist.send_after, heard);
    const char *what = heard->type == RAFT_VOTE_REQUEST ? "vote" : "pre-vote";
    if (!answer)
        check_fail(check, "who is asked for a vote answers",
                   "n%u says nothing to n%u, which asks for its %s in term %" PRIu64, node + 1,
                   check_find(check, heard->from) + 1, what, heard->term);
    else if (holds_back(at, heard, &back) &&
             answer->vote_response.granted != is_granted(at, heard, back))
        check_fail(check, "a vote goes to whom it may, and to nobody else",
                   "n%u, of term %" PRIu64 " with a log up to %" PRIu64 ":%" PRIu64
                   ", %s n%u its %s in term %" PRIu64 "; it %s to a leader",
                   node + 1, at->old.hard_state.term, at->old.last.term, at->old.last.index,
                   answer->vote_response.granted ? "gives" : "refuses",
                   check_find(check, heard->from) + 1, what, heard->term,
                   back ? "holds" : "does not hold");
    else if (holds_back(at, heard, &back) && back && heard->type == RAFT_VOTE_REQUEST &&
             at->view.hard_state.term != at->old.hard_state.term &&
             at->view.hard_state.vote != at->id)
        check_fail(check, "who holds to a leader stays in its term",
                   "n%u goes to term %" PRIu64 " though it keeps its vote back from n%u", node + 1,
                   at->view.hard_state.term, check_find(check, heard->from) + 1);
}

/* --- What is known of others ------------------------------------------------------------------ */

static uint64_t later_of(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* An append of the term at hand was surely taken in, one of an earlier one perhaps. */
static void note_append(const struct check *check, struct check_node *at,
                        const struct check_own *own, const struct check_heard *heard)
{
    struct check_contact *contact = &at->contact;
    uint64_t until_us = at->view.now_us + check->options.election_timeout_us;
    if (heard->term < at->old.hard_state.term)
        return;
    contact->may_hold_until_us = later_of(contact->may_hold_until_us, until_us);
    if (heard->term != at->view.hard_state.term || heard->from != own->leader ||
        is_removed(check, at, at->view.commit, heard->from)) /* Rule 32: it may be heard no more */
        return;
    contact->holds_until_us = until_us;
    if (own->promise_us > 0)
        contact->promised_until_us = later_of(contact->promised_until_us, until_us);
}

static void note_heard(const struct check *check, struct check_node *at,
                       const struct check_own *own)
{
    struct check_contact *contact = &at->contact;
    for (uint32_t i = 0; i < at->heard.count; i++) {
        const struct check_heard *heard = &at->heard.items[i];
        bool of_term =
            heard->term == at->old.hard_state.term || heard->term == at->view.hard_state.term;
        if (heard->type == RAFT_APPEND_REQUEST) {
            note_append(check, at, own, heard);
        } else if (heard->type == RAFT_APPEND_RESPONSE && of_term) {
            contact->answered_us[check_find(check, heard->from)] = at->view.now_us;
        } else if (heard->type == RAFT_TIMEOUT_NOW && of_term &&
                   (heard->incarnation == 0 || heard->incarnation == own->incarnation)) {
            contact->called_term = heard->term;
            contact->called_until_us = at->view.now_us + check->options.election_timeout_us;
        }
    }
    if (contact->lost_leader)
        contact->holds_until_us = 0;
}

/* Rule 42: but for who is alone, and who holds nothing but the beginning of a new cluster. */
static void note_start(const struct check *check, uint32_t node, struct check_contact *contact)
{
    const struct check_node *at = &check->nodes[node];
    const struct check_entry *first = check_log_at(&at->memory, 1);
    uint64_t until_us = at->view.now_us + check->options.election_timeout_us;
    bool alone =
        check_majority(check_config_at(check, &at->memory, at->memory.count), UINT32_C(1) << node);
    bool fresh = at->view.hard_state.vote == 0 && at->memory.count == 1 &&
                 at->view.hard_state.term == first->term;
    *contact = (struct check_contact){.may_hold_until_us = until_us};
    if (!alone && !fresh)
        contact->promised_until_us = until_us;
}

/* --- Leading ---------------------------------------------------------------------------------- */

/* Dissertation, 6.2. One that was put into effect in this very step counts from the next one on. */
static void judge_quorum(struct check *check, uint32_t node)
{
    const struct check_node *at = &check->nodes[node];
    uint64_t now_us = at->view.now_us, timeout_us = check->options.election_timeout_us;
    uint32_t heard = UINT32_C(1) << node;
    if (at->old.role != RAFT_LEADER || at->old.hard_state.term != at->view.hard_state.term ||
        at->old.config_index != at->view.config_index)
        return;
    for (uint32_t i = 0; i < check->node_count; i++) {
        if (now_us - later_of(at->contact.answered_us[i], at->contact.leads_since_us) < timeout_us)
            heard |= UINT32_C(1) << i;
    }
    if (!check_majority(check_config_at(check, &at->memory, at->memory.count), heard))
        check_fail(check, "a leader that no majority answers leads no more",
                   "n%u leads term %" PRIu64 " at %" PRIu64
                   " us of its clock, and has heard of the nodes of mask %#x alone",
                   node + 1, at->view.hard_state.term, now_us, heard);
}

/* Who hands over appends nothing (Rule 25), and nobody is refused for that once it is over. */
static void judge_hand_over(struct check *check, uint32_t node, const struct raft_output *output)
{
    struct check_node *at = &check->nodes[node];
    struct check_contact *contact = &at->contact;
    bool some_time = contact->hands_over, all_time = contact->hands_over;
    for (uint32_t i = 0; i < output->trace.count; i++) {
        enum raft_trace_type type = output->trace.items[i].type;
        bool ends = type == RAFT_TRACE_TRANSFER_ENDED || type == RAFT_TRACE_ROLE;
        if (type != RAFT_TRACE_TRANSFER && !ends)
            continue;
        contact->hands_over = !ends;
        some_time |= !ends;
        all_time &= !ends;
    }
    if (all_time && at->view.last.index > at->old.last.index)
        check_fail(check, "who hands over appends nothing",
                   "n%u hands over, and its log grows from %" PRIu64 " to %" PRIu64, node + 1,
                   at->old.last.index, at->view.last.index);
    for (uint32_t i = 0; i < output->refused.count && !some_time; i++)
        if (output->refused.items[i].code == CONCLAVE_HANDOVER)
            check_fail(check, "who hands over says so, and nobody else",
                       "n%u refuses for a hand over that is none", node + 1);
}

/* A proposal is refused as busy while others are uncommitted, and not by who has none. A change of
 * the members says why. */
static void judge_busy(struct check *check, uint32_t node, const struct raft_output *output)
{
    const struct check_node *at = &check->nodes[node];
    if (at->old.commit != at->old.last.index || at->view.last.index != at->old.last.index)
        return;
    for (uint32_t i = 0; i < output->refused.count; i++)
        if (output->refused.items[i].code == CONCLAVE_BUSY && !output->refused.items[i].why)
            check_fail(check, "busy is who has something uncommitted",
                       "n%u refuses a proposal as busy, and all that it has is committed",
                       node + 1);
}

/* --- Terms and timers ------------------------------------------------------------------------- */

/* Rule 19 among others: a term is the own campaign's, or somebody is in it already. */
static void judge_term(struct check *check, uint32_t node)
{
    const struct check_node *at = &check->nodes[node];
    struct raft_hard_state hard = at->view.hard_state;
    if (hard.term == at->old.hard_state.term || hard.vote == at->id ||
        (at->contact.events & EVENT(RAFT_EVENT_SNAPSHOT_RECEIVED)))
        return;
    for (uint32_t i = 0; i < at->heard.count; i++)
        if (at->heard.items[i].type != RAFT_PREVOTE_REQUEST && at->heard.items[i].term == hard.term)
            return;
    check_fail(check, "a term is one that somebody is in",
               "n%u goes from term %" PRIu64 " to %" PRIu64 ", of which it has not heard", node + 1,
               at->old.hard_state.term, hard.term);
}

/* Paper, section 5.1. Whom a vote is kept back from is another matter: judge_vote. */
static void judge_newer(struct check *check, uint32_t node)
{
    const struct check_node *at = &check->nodes[node];
    const struct check_heard *heard = at->heard.items;
    if (!heard_alone(at) || at->view.hard_state.term >= heard->term ||
        (heard->type != RAFT_APPEND_RESPONSE && is_removed(check, at, at->old.commit, heard->from)))
        return;
    if (heard->type == RAFT_APPEND_REQUEST || heard->type == RAFT_APPEND_RESPONSE ||
        heard->type == RAFT_VOTE_RESPONSE || heard->type == RAFT_PREVOTE_RESPONSE)
        check_fail(check, "a newer term is taken over",
                   "n%u hears n%u speak in term %" PRIu64 ", and stays in term %" PRIu64, node + 1,
                   check_find(check, heard->from) + 1, heard->term, at->view.hard_state.term);
}

/* Rule 22: only a leader or a vote puts an election off. */
static void judge_calm(struct check *check, uint32_t node, const struct raft_output *output)
{
    const struct check_node *at = &check->nodes[node];
    const struct check_contact *contact = &at->contact;
    const uint32_t calm = EVENT(RAFT_EVENT_RECEIVE) | EVENT(RAFT_EVENT_PEER_DOWN);
    if (contact->events == 0 || (contact->events & ~calm) || at->old.role != RAFT_FOLLOWER ||
        at->view.role != RAFT_FOLLOWER || contact->asked_us <= at->view.now_us ||
        output->deadline_us <= contact->asked_us)
        return;
    for (uint32_t i = 0; i < at->heard.count; i++) {
        const struct check_heard *heard = &at->heard.items[i];
        bool stale = heard->type == RAFT_APPEND_REQUEST && heard->term < at->old.hard_state.term;
        if (heard->type != RAFT_PREVOTE_REQUEST && !stale)
            return;
    }
    check_fail(check, "only a leader or a vote puts an election off",
               "n%u was to be woken at %" PRIu64 " us of its clock, and asks for %" PRIu64,
               node + 1, contact->asked_us, output->deadline_us);
}

/* Rule 27. */
static void judge_timeout(struct check *check, uint32_t node, const struct raft_output *output)
{
    struct check_node *at = &check->nodes[node];
    struct check_contact *contact = &at->contact;
    uint64_t drawn_us = output->deadline_us - at->view.now_us;
    if (at->view.role != RAFT_CANDIDATE || at->old.hard_state.term == at->view.hard_state.term ||
        drawn_us < check->options.election_timeout_us)
        return;
    if (drawn_us == contact->drawn_us[0] && drawn_us == contact->drawn_us[1])
        check_fail(check, "election timeouts are drawn anew",
                   "n%u waits %" PRIu64 " us for its votes three times in a row", node + 1,
                   drawn_us);
    contact->drawn_us[1] = contact->drawn_us[0];
    contact->drawn_us[0] = drawn_us;
}

/* --- Calls to campaign ------------------------------------------------------------------------ */

/* Who campaigns over a leader was called by it, not long ago, and can lead. */
static void judge_campaign(struct check *check, uint32_t node, const struct raft_output *output)
{
    const struct check_node *at = &check->nodes[node];
    const struct check_contact *contact = &at->contact;
    uint64_t term = at->view.hard_state.term;
    bool over = false;
    for (uint32_t i = 0; i < output->persist.send_after.count; i++)
        over |= output->persist.send_after.items[i]->type == RAFT_VOTE_REQUEST &&
                output->persist.send_after.items[i]->term == term &&
                output->persist.send_after.items[i]->vote_request.transfer;
    if (!over)
        return;
    if (contact->called_term + 1 != term || at->view.now_us >= contact->called_until_us)
        check_fail(check, "who campaigns over a leader was called",
                   "n%u campaigns in term %" PRIu64 ", and was last called in term %" PRIu64,
                   node + 1, term, contact->called_term);
    if (!check_is_voter(check, node, node))
        check_fail(check, "who campaigns over a leader can lead", "n%u campaigns, and has no vote",
                   node + 1);
}

/* Rule 41: what a voter promised holds for itself, too, unless its leader called it. Rule 3: and no
 * campaign follows another whose term is not on the disk. */
static void judge_standing(struct check *check, uint32_t node)
{
    const struct check_node *at = &check->nodes[node];
    const struct check_contact *contact = &at->contact;
    bool called = contact->called_term == at->old.hard_state.term &&
                  at->view.now_us < contact->called_until_us;
    bool stands = at->view.role == RAFT_PRECANDIDATE || at->view.role == RAFT_CANDIDATE;
    if (at->old.role == RAFT_FOLLOWER && stands && !called &&
        at->view.now_us < contact->promised_until_us)
        check_fail(check, "who has promised does not stand",
                   "n%u stands at %" PRIu64 " us of its clock, and has promised until %" PRIu64,
                   node + 1, at->view.now_us, contact->promised_until_us);
    struct raft_hard_state hard = at->view.hard_state;
    if (at->old.role != RAFT_PRECANDIDATE && at->view.role == RAFT_PRECANDIDATE &&
        (at->durable.term != hard.term || at->durable.vote != hard.vote))
        check_fail(check, "who stands has its term on the disk",
                   "n%u stands in term %" PRIu64 ", its disk has %" PRIu64, node + 1, hard.term,
                   at->durable.term);
}

/* True if the node, which was so, has heard of all that its disk has done, and nothing but members
 * that it has to apply (Rule 24) can hold it back from a campaign. */
static bool is_ready(const struct check *check, uint32_t node, const struct check_view *view)
{
    const struct check_node *at = &check->nodes[node];
    struct raft_hard_state hard = view->hard_state;
    bool durable = at->durable.term == hard.term && at->durable.vote == hard.vote &&
                   view->durable.index == view->last.index;
    /* While it waits to hear of its disk it may take that for stalled. */
    return view->role != RAFT_LEADER && check_is_voter(check, node, node) &&
           at->contact.told_seq >= at->seq && at->installing <= view->applied && durable;
}

static bool has_applied_members(const struct check_node *at, const struct check_view *view)
{
    const struct check_entry *committed = check_log_at(&at->memory, view->commit);
    return committed && committed->config_at <= view->applied;
}

/* Whoever is called campaigns, if nothing holds it back, and else as soon as it can. */
static void judge_called(struct check *check, uint32_t node, const struct check_own *own)
{
    struct check_node *at = &check->nodes[node];
    struct check_contact *contact = &at->contact;
    const struct check_heard *heard = at->heard.items;
    uint64_t term = at->old.hard_state.term;
    if (contact->waits_term == at->view.hard_state.term && at->view.role == RAFT_FOLLOWER &&
        at->view.now_us < contact->waits_until_us && is_ready(check, node, &at->view) &&
        has_applied_members(at, &at->view))
        check_fail(check, "who is called campaigns",
                   "n%u was called in term %" PRIu64 ", has applied the members since, and does"
                   " nothing",
                   node + 1, contact->waits_term);
    if (!heard_alone(at) || heard->type != RAFT_TIMEOUT_NOW || heard->term != term ||
        (heard->incarnation != 0 && heard->incarnation != own->incarnation) ||
        is_removed(check, at, at->old.commit, heard->from) || !is_ready(check, node, &at->old) ||
        at->view.hard_state.term != term)
        return;
    if (has_applied_members(at, &at->old))
        check_fail(check, "who is called campaigns",
                   "n%u is called in term %" PRIu64 ", and does nothing", node + 1, term);
    contact->waits_term = term;
    contact->waits_until_us = at->view.now_us + check->options.election_timeout_us;
}

/* Whom a leader calls: it can be elected, and was heard of when it was chosen. */
static void judge_calls(struct check *check, uint32_t node, const struct raft_output *output)
{
    const struct check_node *at = &check->nodes[node];
    uint64_t patience_us = 2 * check->options.election_timeout_us;
    for (uint32_t i = 0; i < output->send_now.count; i++) {
        const struct raft_message *message = output->send_now.items[i];
        if (message->type != RAFT_TIMEOUT_NOW)
            continue;
        uint32_t peer = check_find(check, message->to);
        uint64_t answered_us = at->contact.answered_us[peer];
        if (at->old.config_index == at->view.config_index && !check_is_voter(check, node, peer))
            check_fail(check, "a voter is called to lead", "n%u calls n%u, which has no vote",
                       node + 1, peer + 1);
        else if (answered_us == 0 || at->view.now_us - answered_us > patience_us)
            check_fail(check, "who answers is called to lead",
                       "n%u calls n%u, last heard of at %" PRIu64 " us of its clock", node + 1,
                       peer + 1, answered_us);
    }
}

/* --- All -------------------------------------------------------------------------------------- */

void check_lead(struct check *check, uint32_t node, const struct check_own *own,
                const struct raft_output *output)
{
    struct check_node *at = &check->nodes[node];
    if (at->contact.events & EVENT(RAFT_EVENT_START)) {
        note_start(check, node, &at->contact);
        return;
    }
    judge_vote(check, node, output);
    judge_term(check, node);
    judge_newer(check, node);
    judge_calm(check, node, output);
    judge_timeout(check, node, output);
    judge_called(check, node, own);
    note_heard(check, at, own);
    if (at->view.role == RAFT_LEADER &&
        (at->old.role != RAFT_LEADER || at->old.hard_state.term != at->view.hard_state.term))
        at->contact.leads_since_us = at->view.now_us;
    if (at->view.role == RAFT_LEADER)
        judge_quorum(check, node);
    judge_standing(check, node);
    judge_campaign(check, node, output);
    judge_calls(check, node, output);
    judge_hand_over(check, node, output);
    judge_busy(check, node, output);
}

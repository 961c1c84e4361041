/* What messages say of who sends them: it is so, and an answer is about what was asked. Much of it
 * only makes a cluster slower when it is wrong, and is seen by nothing else. */
#include "tests/sim/check.h"

#include "base/list.h"

#include <inttypes.h>

void check_heard(struct check *check, uint32_t node, const struct raft_message *message)
{
    struct check_node *at = &check->nodes[node];
    struct check_heard heard = {
        .type = message->type, .from = message->from, .term = message->term};
    if (message->type == RAFT_APPEND_REQUEST) {
        heard.prev = message->append_request.prev;
        heard.end = heard.prev.index + message->append_request.entries.entry_count;
        heard.commit = message->append_request.commit;
        heard.round = message->append_request.round;
    } else if (message->type == RAFT_APPEND_RESPONSE) {
        heard.round = message->append_response.round;
        heard.answer = message->append_response;
    } else if (message->type == RAFT_VOTE_REQUEST || message->type == RAFT_PREVOTE_REQUEST) {
        heard.incarnation = message->vote_request.incarnation;
        heard.last = message->vote_request.last;
        heard.transfer = message->vote_request.transfer;
    } else if (message->type == RAFT_VOTE_RESPONSE || message->type == RAFT_PREVOTE_RESPONSE) {
        heard.granted = message->vote_response.granted;
    } else if (message->type == RAFT_READ_RESPONSE) {
        if (message->read_index.number > at->read_answered)
            at->read_answered = message->read_index.number;
    } else if (message->type == RAFT_TIMEOUT_NOW) {
        heard.incarnation = message->timeout_now.incarnation;
    }
    LIST_RESERVE(&at->heard);
    at->heard.items[at->heard.count++] = heard;
}

void check_said(struct check *check, uint32_t node)
{
    check->nodes[node].heard.count = 0;
}

/* --- Votes ------------------------------------------------------------------------------------ */

static void says_vote_request(struct check *check, uint32_t node, const struct check_own *own,
                              const struct raft_message *message)
{
    const struct check_node *at = &check->nodes[node];
    struct raft_id last = message->vote_request.last;
    if (message->vote_request.incarnation != own->incarnation)
        check_fail(check, "a campaign says whose it is", "n%u campaigns for another directory",
                   node + 1);
    if ((at->view.role == RAFT_PRECANDIDATE || at->view.role == RAFT_CANDIDATE) &&
        !check_is_voter(check, node, check_find(check, message->to)))
        check_fail(check, "voters are asked for votes", "n%u asks n%u, which has none", node + 1,
                   check_find(check, message->to) + 1);
    if (at->same_log && !raft_id_equal(last, at->view.last))
        check_fail(check, "a campaign says where the log ends",
                   "n%u campaigns with %" PRIu64 ":%" PRIu64 ", its log ends at %" PRIu64
                   ":%" PRIu64,
                   node + 1, last.term, last.index, at->view.last.term, at->view.last.index);
}

static void says_vote_response(struct check *check, uint32_t node,
                               const struct raft_message *message)
{
    const struct check_node *at = &check->nodes[node];
    const struct raft_vote_response *response = &message->vote_response;
    enum raft_message_type asked =
        message->type == RAFT_VOTE_RESPONSE ? RAFT_VOTE_REQUEST : RAFT_PREVOTE_REQUEST;
    bool open = message->type == RAFT_VOTE_RESPONSE ? response->campaign_term == message->term
                                                    : response->campaign_term > message->term;
    if (response->granted && !open)
        check_fail(check, "votes are for the term at hand, pre-votes for a later one",
                   "n%u, in term %" PRIu64 ", gives one for term %" PRIu64, node + 1, message->term,
                   response->campaign_term);
    for (uint32_t i = 0; i < at->heard.count; i++) {
        const struct check_heard *heard = &at->heard.items[i];
        if (heard->type == asked && heard->from == message->to &&
            heard->term == response->campaign_term && heard->incarnation == response->incarnation)
            return;
    }
    check_fail(check, "an answer is about what was asked",
               "n%u answers a campaign for term %" PRIu64 " that it has not heard of", node + 1,
               response->campaign_term);
}

/* --- Appends ---------------------------------------------------------------------------------- */

/* Rule 18: the hint is the last entry at or before prev that the leader can have. */
static void says_hint(struct check *check, uint32_t node, struct raft_id prev, struct raft_id hint)
{
    const struct check_node *at = &check->nodes[node];
    const struct check_entry *own = check_log_at(&at->memory, hint.index);
    const struct check_entry *next = check_log_at(&at->memory, hint.index + 1);
    if (hint.index > prev.index || hint.term > prev.term || hint.term != (own ? own->term : 0))
        check_fail(check, "a hint is an entry that may be the leader's",
                   "n%u lacks %" PRIu64 ":%" PRIu64 " and hints at %" PRIu64 ":%" PRIu64, node + 1,
                   prev.term, prev.index, hint.term, hint.index);
    if (hint.index < prev.index && next && next->term <= prev.term &&
        hint.index + 1 >= at->view.base.index)
        check_fail(check, "a hint skips nothing that may be the leader's",
                   "n%u lacks %" PRIu64 ":%" PRIu64 " and hints at %" PRIu64
                   ", its next entry is of term %" PRIu64,
                   node + 1, prev.term, prev.index, hint.index, next->term);
}

/* Which request it is that the answer is about; NULL: none of this step. */
static const struct check_heard *asked_by_append(const struct check_node *at,
                                                 const struct raft_message *message)
{
    const struct raft_append_response *response = &message->append_response;
    bool stale = response->result == RAFT_APPEND_STALE;
    for (uint32_t i = 0; i < at->heard.count; i++) {
        const struct check_heard *heard = &at->heard.items[i];
        if (heard->type != RAFT_APPEND_REQUEST || heard->from != message->to ||
            heard->round != response->round)
            continue;
        if (stale ? heard->term < message->term
                  : heard->term == message->term && heard->prev.index == response->rejected)
            return heard;
    }
    return NULL;
}

/* True if the step heard an append that the log agrees with, or a snapshot that it became. */
static bool has_taken(const struct check_node *at, const struct raft_message *message)
{
    for (uint32_t i = 0; i < at->heard.count; i++) {
        const struct check_heard *heard = &at->heard.items[i];
        const struct check_entry *prev = check_log_at(&at->memory, heard->prev.index);
        if (heard->type == RAFT_APPEND_REQUEST && heard->from == message->to &&
            heard->term == message->term &&
            (heard->prev.index <= at->view.commit || (prev && prev->term == heard->prev.term)))
            return true;
    }
    return at->contact.events >> RAFT_EVENT_SNAPSHOT_RECEIVED & 1;
}

static void says_append_response(struct check *check, uint32_t node, const struct check_own *own,
                                 const struct raft_message *message)
{
    const struct check_node *at = &check->nodes[node];
    const struct raft_append_response *response = &message->append_response;
    bool accepted = response->result == RAFT_APPEND_ACCEPTED;
    if (response->life != own->life || response->priority != own->priority ||
        response->promise_us != (response->result == RAFT_APPEND_STALE ? 0 : own->promise_us))
        check_fail(check, "an answer says whose it is",
                   "n%u, in its life %" PRIu64 " and with priority %u, answers for life %" PRIu64
                   " and priority %u, and promises %" PRIu64 " us",
                   node + 1, own->life, own->priority, response->life, response->priority,
                   response->promise_us);
    if ((accepted || at->same_log) && response->last_index != at->memory.count)
        check_fail(check, "an answer says where the log ends",
                   "n%u says %" PRIu64 ", its log ends at %" PRIu64, node + 1, response->last_index,
                   at->memory.count);
    if (accepted && !has_taken(at, message))
        check_fail(check, "an answer is about what was asked",
                   "n%u acknowledges up to %" PRIu64 ", and has taken no append", node + 1,
                   response->match);
    if (accepted)
        return;
    const struct check_heard *heard = asked_by_append(at, message);
    if (!heard)
        check_fail(check, "an answer is about what was asked",
                   "n%u refuses an append behind %" PRIu64 ", round %" PRIu64
                   ", that it has not heard of",
                   node + 1, response->rejected, response->round);
    else if (response->result == RAFT_APPEND_REJECTED && at->same_log)
        says_hint(check, node, heard->prev, response->conflict);
}

/* A leader sends what it has, as much as one message takes. */
static void says_append_request(struct check *check, uint32_t node,
                                const struct raft_message *message)
{
    const struct check_node *at = &check->nodes[node];
    const struct raft_append_request *request = &message->append_request;
    if (at->view.role != RAFT_LEADER || at->view.hard_state.term != message->term)
        return;
    uint64_t match = at->peers[check_find(check, message->to)].match;
    uint64_t commit = at->view.commit;
    uint64_t count = request->entries.entry_count;
    if (count == 0 && match < commit)
        commit = match;
    if (request->commit != commit)
        check_fail(check, "a leader tells what it committed",
                   "n%u sends commit %" PRIu64 ", could %" PRIu64, node + 1, request->commit,
                   commit);
    uint64_t last = request->prev.index + count;
    const struct check_entry *next = check_log_at(&at->memory, last + 1);
    if (count == 0 || !next || count >= check->options.append_entries_max ||
        request->prev.index < at->old.memory_base) /* read back: of one term, in one go */
        return;
    uint64_t bytes = next->bytes_through - check_log_bytes(&at->memory, request->prev.index);
    if (bytes <= check->options.append_bytes_max)
        check_fail(check, "an append takes what it can",
                   "n%u sends entries up to %" PRIu64 ", one more would make %" PRIu64 " bytes",
                   node + 1, last, bytes);
}

/* An append without entries goes to whom no other one goes in the same step. */
static void says_needlessly(struct check *check, uint32_t node,
                            const struct raft_messages *messages, uint32_t position)
{
    const struct raft_message *empty = messages->items[position];
    if (empty->append_request.entries.entry_count > 0)
        return;
    for (uint32_t i = 0; i < position; i++) {
        const struct raft_message *before = messages->items[i];
        if (before->type == RAFT_APPEND_REQUEST && before->to == empty->to)
            check_fail(check, "no append goes out for nothing",
                       "n%u sends an append without entries to n%u right after another", node + 1,
                       check_find(check, empty->to) + 1);
    }
}

/* --- All -------------------------------------------------------------------------------------- */

static void says_term(struct check *check, uint32_t node, const struct raft_message *message)
{
    const struct check_node *at = &check->nodes[node];
    uint64_t term = at->view.hard_state.term + (message->type == RAFT_PREVOTE_REQUEST);
    if (at->old.hard_state.term == at->view.hard_state.term && message->term != term)
        check_fail(check, "a message says its term",
                   "n%u is in term %" PRIu64 " and sends a message of term %" PRIu64, node + 1,
                   at->view.hard_state.term, message->term);
}

static void says_timeout_now(struct check *check, uint32_t node, const struct raft_message *message)
{
    const struct check_node *at = &check->nodes[node];
    uint32_t peer = check_find(check, message->to);
    uint64_t match = at->peers[peer].match;
    const struct check_config *config = check_config_at(check, &at->memory, at->memory.count);
    if (at->view.role == RAFT_LEADER && at->old.config_index == at->view.config_index &&
        (config->known >> peer & 1) != (message->timeout_now.incarnation != 0))
        check_fail(check, "a call says whom it means",
                   "n%u calls n%u, and %s its directory by number", node + 1, peer + 1,
                   config->known >> peer & 1 ? "does not name" : "names");
    if (at->view.role == RAFT_LEADER && match != at->memory.count)
        check_fail(check, "whoever is to lead holds everything",
                   "n%u calls n%u, which holds %" PRIu64 " of %" PRIu64 " entries", node + 1,
                   check_find(check, message->to) + 1, match, at->memory.count);
}

void check_says(struct check *check, uint32_t node, const struct check_own *own,
                const struct raft_messages *messages)
{
    for (uint32_t i = 0; i < messages->count && !check->failed; i++) {
        const struct raft_message *message = messages->items[i];
        if (check_find(check, message->to) == check->node_count)
            return; /* check_send says so */
        says_term(check, node, message);
        switch (message->type) {
        case RAFT_PREVOTE_REQUEST:
        case RAFT_VOTE_REQUEST:
            says_vote_request(check, node, own, message);
            break;
        case RAFT_PREVOTE_RESPONSE:
        case RAFT_VOTE_RESPONSE:
            says_vote_response(check, node, message);
            break;
        case RAFT_APPEND_REQUEST:
            says_append_request(check, node, message);
            says_needlessly(check, node, messages, i);
            break;
        case RAFT_APPEND_RESPONSE:
            says_append_response(check, node, own, message);
            break;
        case RAFT_TIMEOUT_NOW:
            says_timeout_now(check, node, message);
            break;
        case RAFT_READ_REQUEST:
            if (message->to != own->leader)
                check_fail(check, "a leader is asked for reads", "n%u asks n%u", node + 1,
                           check_find(check, message->to) + 1);
            break;
        case RAFT_READ_RESPONSE:
            break;
        }
    }
}

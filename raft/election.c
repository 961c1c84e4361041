/* Roles, votes and the timers behind them (paper, section 5.2; dissertation, 9.6 for PreVote and
 * 6.2, 6.4 for what a leader does without its majority).
 *
 *                    raft_tick: silence for [T, 2T]        count_prevotes: majority
 *                    raft_on_peer_down, asked by a worse log: soon
 *      FOLLOWER ----------------------------> PRECANDIDATE ------------------------> CANDIDATE
 *        ^  ^                                   |  ^  |                                |   |
 *        |  |     raft_become_follower:         |  |  +- raft_tick: asks again         |   |
 *        |  +-----------------------------------+  |                                   |   |
 *        |        a leader, a newer term           +----- raft_tick: no majority ------+   |
 *        |                                                in [T, 2T]                       |
 *        |        raft_become_follower: a newer term,                raft_count_votes:     |
 *      LEADER     raft_tick: no majority heard of for T              majority              |
 *        ^---> FOLLOWER                                                                    |
 *        +---------------------------------------------------------------------------------+
 */
#include "raft/internal.h"

#include "base/fatal.h"

static void role_set(struct raft *raft, enum raft_role role)
{
    if (raft->role == role)
        return;
    if (raft->role == RAFT_FOLLOWER)
        raft_reads_fail(raft, CONCLAVE_NO_LEADER);
    raft->role = role;
    raft->transfer = (struct raft_transfer){0}; /* Rule 25: with every change of role */
    raft_trace(raft, RAFT_TRACE_ROLE, role, raft->hard.term);
}

static void leader_set(struct raft *raft, raft_node_id leader)
{
    if (raft->leader == leader)
        return;
    raft->leader = leader;
    raft_trace(raft, RAFT_TRACE_LEADER, leader, raft->hard.term);
}

/* A node of low priority lets the others try first, for so long. */
static uint64_t standing_back_us(const struct raft *raft)
{
    return raft->options.election_timeout_us * (RAFT_PRIORITY_MAX - raft_own_priority(raft)) /
           RAFT_PRIORITY_MAX;
}

void raft_draw_timeout(struct raft *raft)
{
    /* Rule 27: drawn again for each election, or nodes that collided once collide for ever. */
    uint64_t timeout = raft->options.election_timeout_us;
    raft->election_timeout_us =
        prng_between(&raft->prng, timeout, 2 * timeout) + standing_back_us(raft);
    raft->election_deadline_us = raft->now_us + raft->election_timeout_us;
}

/* A disk slower than elections never catches up with new terms, and a leader whose disk hangs would
 * have to give leadership up again. Rule 24: a node whose state machine is still behind the
 * snapshot that its log begins with has nothing to lead with. */
static bool is_able_to_lead(const struct raft *raft)
{
    return raft_hard_is_durable(raft) && !raft_disk_stalled(raft) && raft->installing_index == 0;
}

/* Long before its timeout. The short random wait lets one of several be the first to ask. */
static void stand_soon(struct raft *raft, uint64_t from_us)
{
    uint64_t soon = from_us + prng_below(&raft->prng, raft->options.election_timeout_us / 8 + 1);
    raft->election_deadline_us = raft_min(raft->election_deadline_us, soon);
}

void raft_heard_leader(struct raft *raft)
{
    raft->sticky_until_us = raft->now_us + raft->options.election_timeout_us;
    raft->election_deadline_us = raft->now_us + raft->election_timeout_us;
    /* Rule 41: the answer will say so. */
    raft->promised_until_us = raft_max(raft->promised_until_us, raft->now_us + raft_promise(raft));
}

/* The one place where the term moves. What was known of the log of the old term's leader says
 * nothing about the next one's. */
static void term_set(struct raft *raft, uint64_t term, raft_node_id vote)
{
    ASSERT(term > raft->hard.term);
    raft->hard = (struct raft_hard_state){.term = term, .vote = vote};
    raft->hard_dirty = true;
    raft->verified = 0;
    raft->ack_pending = false;
    raft->ack_round = 0;
    raft->ack_round_sent = 0;
}

void raft_become_follower(struct raft *raft, uint64_t term, raft_node_id leader)
{
    ASSERT(term >= raft->hard.term);
    bool led = raft->role == RAFT_LEADER;
    if (term > raft->hard.term)
        term_set(raft, term, 0);
    role_set(raft, RAFT_FOLLOWER);
    leader_set(raft, leader);
    if (led) {
        raft_draw_timeout(raft);
        raft->yields_until_us = raft->now_us + raft->options.election_timeout_us;
        raft_ledger_clear(&raft->uncommitted);
        raft_reads_fail(raft, raft_refusal_code(raft));
        raft_change_fail(raft);
        raft_fetch_forget(raft);
    }
}

/* --- Campaigning ------------------------------------------------------------------------------ */

static void votes_clear(struct raft *raft)
{
    for (uint32_t i = 0; i < raft->peer_count; i++)
        raft->peers[i].granted = false;
}

static void votes_ask(struct raft *raft, enum raft_message_type type, uint64_t term, bool transfer,
                      struct raft_messages *to)
{
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        raft_node_id id = raft->peers[i].id;
        if (!raft_configuration_is_voter(raft_members(raft), id))
            continue;
        struct raft_message *message = raft_message_create(type, raft->options.id, id, term);
        message->vote_request.last = raft->log.last;
        message->vote_request.transfer = transfer;
        message->vote_request.incarnation = raft->options.incarnation;
        raft_messages_add(to, message);
    }
}

static bool has_granted(const void *arg, raft_node_id id)
{
    const struct raft *raft = arg;
    if (id == raft->options.id)
        /* Rule 3: the own vote counts once {term, self} is durable. */
        return raft->role == RAFT_PRECANDIDATE || raft_hard_is_durable(raft);
    const struct raft_progress *peer = raft_peer(raft, id);
    return peer && peer->granted;
}

static void campaign(struct raft *raft, bool transfer)
{
    term_set(raft, raft->hard.term + 1, raft->options.id);
    role_set(raft, RAFT_CANDIDATE);
    raft_draw_timeout(raft);
    votes_clear(raft);
    /* Rule 3: the requests leave when {term, self} is durable. Else: crash, restart in the term
     * before, win this term again, and write another entry with the same id. */
    votes_ask(raft, RAFT_VOTE_REQUEST, raft->hard.term, transfer,
              &raft->output->persist.send_after);
}

void raft_campaign_now(struct raft *raft)
{
    leader_set(raft, 0);
    campaign(raft, true);
}

static void count_prevotes(struct raft *raft)
{
    /* Rule 24 again: a snapshot that came since this node asked may have told it that a change in
     * its log is committed. It asks once more when that is applied. */
    if (raft->role == RAFT_PRECANDIDATE && !raft_configuration_unapplied(raft) &&
        raft_configuration_quorum(raft_members(raft), has_granted, raft))
        campaign(raft, false);
}

static void precampaign(struct raft *raft)
{
    /* Rule 19: neither term nor vote change, and nothing becomes durable. */
    role_set(raft, RAFT_PRECANDIDATE);
    leader_set(raft, 0);
    votes_clear(raft);
    /* A pre-vote that fails is no election: most often others still hold to a leader that they
     * heard of a moment later than this node. Asking again soon costs them nothing (Rule 22), and
     * waiting for another [T, 2T] would double the time without a leader. */
    uint64_t timeout = raft->options.election_timeout_us;
    raft->election_deadline_us =
        raft->now_us + prng_between(&raft->prng, timeout / 4 + 1, timeout / 2 + 1);
    votes_ask(raft, RAFT_PREVOTE_REQUEST, raft->hard.term + 1, false, &raft->output->send_now);
    count_prevotes(raft);
}

/* Two nodes that ask for pre-votes at the same time would grant them to each other, campaign in the
 * same term, vote for themselves and both lose. So one of them stands back: the one with the lower
 * id, if the other's log is good enough for its vote. A pre-candidate has changed nothing, so it
 * may stop being one at any time. */
static void prevote_yield(struct raft *raft, raft_node_id to)
{
    if (raft->role != RAFT_PRECANDIDATE || to < raft->options.id)
        return;
    role_set(raft, RAFT_FOLLOWER);
    raft_draw_timeout(raft);
}

void raft_on_peer_down(struct raft *raft, raft_node_id peer)
{
    if (raft->role == RAFT_LEADER && peer != 0 && raft->transfer.target == peer)
        raft->transfer.deadline_us = raft->now_us; /* it takes nothing over any more */
    if (raft->role != RAFT_FOLLOWER || peer == 0 || raft->leader != peer)
        return;
    /* This node no longer holds to that leader (Rule 21), so it may help to elect another one. If
     * the leader lives, its next heartbeat or the others' stickiness ends the matter: a pre-vote
     * changes nothing.
     *
     * Rule 41: what it has promised it keeps. Leases cost the quick election: the connection may
     * have gone while the leader serves reads on this node's promise. */
    raft->sticky_until_us = raft->now_us;
    stand_soon(raft, raft_max(raft->now_us, raft->promised_until_us));
}

void raft_count_votes(struct raft *raft)
{
    if (raft->role != RAFT_CANDIDATE ||
        !raft_configuration_quorum(raft_members(raft), has_granted, raft))
        return;
    ASSERT(raft->hard.vote == raft->options.id);
    role_set(raft, RAFT_LEADER);
    leader_set(raft, raft->options.id);
    raft_lead(raft);
}

/* --- Voting ----------------------------------------------------------------------------------- */

/* Rule 21 (dissertation, 4.2.3): a node that has a live leader helps nobody to depose it, or a node
 * that was cut off, or one that was removed, would disturb a working cluster. */
static bool is_sticky(const struct raft *raft, raft_node_id candidate)
{
    if (raft->role == RAFT_LEADER)
        return true; /* until it has missed its majority for so long: raft_tick */
    /* A leader that asks for votes leads no longer, whatever it was heard to say before. */
    if (raft->leader != 0 && raft->leader == candidate)
        return false;
    return raft->now_us < raft_max(raft->sticky_until_us, raft->promised_until_us);
}

/* Paper, section 5.4.1: the term of the last entry decides, and then the length. */
static bool is_up_to_date(const struct raft *raft, struct raft_id last)
{
    if (last.term != raft->log.last.term)
        return last.term > raft->log.last.term;
    return last.index >= raft->log.last.index;
}

/* Rule 23: whoever is asked answers, voter or not: the asker's configuration may be newer. */
void raft_on_vote_request(struct raft *raft, const struct raft_message *message)
{
    bool pre = message->type == RAFT_PREVOTE_REQUEST;
    /* Rule 21: the leader itself wants this election. A pre-vote never is one of these. */
    bool asked_for = !pre && message->vote_request.transfer;
    bool sticky = !asked_for && is_sticky(raft, message->from);
    if (!pre && !sticky && message->term > raft->hard.term)
        raft_become_follower(raft, message->term, 0);
    /* Rule 20: what is too old gets an answer with the newer term, pre-votes too. */
    bool current = pre ? message->term > raft->hard.term : message->term == raft->hard.term;
    bool vote_free = pre || raft->hard.vote == 0 || raft->hard.vote == message->from;
    bool good = is_up_to_date(raft, message->vote_request.last);
    bool granted = current && !sticky && vote_free && good;

    /* Rules 19 and 22: granting a pre-vote leaves the term, the vote and the timer as they are. */
    if (granted && !pre) {
        raft_become_follower(raft, raft->hard.term, raft->leader);
        raft->election_deadline_us = raft->now_us + raft->election_timeout_us;
        if (raft->hard.vote != message->from) {
            raft->hard.vote = message->from;
            raft->hard_dirty = true;
        }
    }
    if (granted && pre)
        prevote_yield(raft, message->from);
    /* Both have lost the leader, and of the two only this node can be elected: most often it has
     * what the other one was to get a little later (prompt.c). But whom it helped lately may be. */
    if (granted)
        raft->yields_until_us = raft->now_us + raft->options.election_timeout_us;
    if (pre && current && !sticky && !good && raft->role == RAFT_FOLLOWER &&
        raft->now_us >= raft->yields_until_us && is_able_to_lead(raft) &&
        !raft_configuration_unapplied(raft))
        stand_soon(raft, /* Rule 41, if it is its leader that asks */
                   raft_max(raft->now_us, raft->promised_until_us) + standing_back_us(raft));
    struct raft_message *response =
        raft_message_create(pre ? RAFT_PREVOTE_RESPONSE : RAFT_VOTE_RESPONSE, raft->options.id,
                            message->from, raft->hard.term);
    response->vote_response =
        (struct raft_vote_response){.granted = granted,
                                    .campaign_term = message->term,
                                    .incarnation = message->vote_request.incarnation};
    raft_reply(raft, response); /* Rule 1: a vote leaves when it is durable */
}

void raft_on_vote_response(struct raft *raft, const struct raft_message *message)
{
    if (message->term > raft->hard.term) {
        raft_become_follower(raft, message->term, 0);
        return;
    }
    struct raft_progress *peer = raft_peer(raft, message->from);
    if (!peer || !message->vote_response.granted)
        return;
    /* What a late message gives to another data directory under this id was given to a log that is
     * lost: a blank disk must not lead with it. */
    if (message->vote_response.incarnation != raft->options.incarnation)
        return;
    uint64_t campaign_term = message->vote_response.campaign_term;
    /* Rule 19: a pre-vote is never counted as a vote, nor the other way round. */
    if (message->type == RAFT_PREVOTE_RESPONSE) {
        if (raft->role != RAFT_PRECANDIDATE || campaign_term != raft->hard.term + 1)
            return;
        peer->granted = true;
        count_prevotes(raft);
    } else {
        if (raft->role != RAFT_CANDIDATE || campaign_term != raft->hard.term)
            return;
        peer->granted = true;
        raft_count_votes(raft);
    }
}

/* Rule 24: a node whose state machine is behind a committed configuration may act on members that
 * are no more, or hand out what is older than its own membership. The first configuration is how
 * every log begins: nothing is behind it. */
bool raft_configuration_unapplied(const struct raft *raft)
{
    const struct raft_membership *committed = &raft->memberships[0];
    return committed->index > 1 && committed->index <= raft->commit &&
           committed->index > raft->applied;
}

/* --- Timers ----------------------------------------------------------------------------------- */

void raft_tick(struct raft *raft)
{
    if (raft->role == RAFT_LEADER) {
        /* CheckQuorum (dissertation, 6.2): a leader that is cut off must not keep clients waiting,
         * nor hold back the votes of those who still hear it. */
        uint64_t contact = raft_quorum_contact(raft);
        if (contact != UINT64_MAX && raft->now_us - contact >= raft->options.election_timeout_us) {
            raft_trace(raft, RAFT_TRACE_QUORUM_LOST, raft->hard.term, 0);
            raft_become_follower(raft, raft->hard.term, 0);
        }
        raft_membership_tend(raft);
        return;
    }
    raft_follow_call(raft);
    if (raft->now_us < raft->election_deadline_us || !raft_membership_may_lead(raft))
        return;
    if (raft_configuration_unapplied(raft)) {
        raft->election_deadline_us = raft->now_us + raft->options.election_timeout_us / 8 + 1;
        return;
    }
    if (is_able_to_lead(raft))
        precampaign(raft);
    else
        raft_draw_timeout(raft);
}

uint64_t raft_deadline(const struct raft *raft)
{
    if (raft->role != RAFT_LEADER) {
        uint64_t election =
            raft_membership_may_lead(raft) ? raft->election_deadline_us : UINT64_MAX;
        election = raft_min(election, raft_reads_deadline(raft));
        return raft_min(election, raft_transfer_deadline(raft));
    }
    uint64_t deadline = UINT64_MAX;
    for (uint32_t i = 0; i < raft->peer_count; i++)
        deadline = raft_min(deadline, raft_append_due_us(raft, &raft->peers[i]));
    deadline = raft_min(deadline, raft_prompt_deadline(raft));
    uint64_t contact = raft_quorum_contact(raft);
    if (contact != UINT64_MAX)
        deadline = raft_min(deadline, contact + raft->options.election_timeout_us);
    deadline = raft_min(deadline, raft_lease_deadline(raft));
    deadline = raft_min(deadline, raft_round_deadline(raft));
    return raft_min(deadline, raft_transfer_deadline(raft));
}

/* The leader's side of AppendEntries (paper, sections 5.3 and 5.4; dissertation, 10.2 for the
 * pipeline and the disk write beside it). */
#include "raft/internal.h"

#include "base/fatal.h"

/* A follower that could commit more than it was told hears of it after this part of a heartbeat, if
 * no entries take it along before: whoever is served there does not wait for the heartbeat. */
enum { COMMIT_NOTICES = 50 };

void raft_lead(struct raft *raft)
{
    raft->leader_since_us = raft->now_us;
    raft_lease_reset(raft);
    raft->term_start = raft->log.last.index + 1;
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        struct raft_progress *peer = &raft->peers[i];
        raft_progress_reset(peer, raft->term_start);
        peer->catch_up_index = raft->term_start;
        peer->catch_up_us = raft->now_us;
        peer->catch_up_fast = false;
        peer->better_since_us = 0;
    }
    raft_ledger_clear(&raft->uncommitted);
    /* Paper, section 8: with it everything of earlier terms becomes committed. */
    struct raft_batch *batch = raft_batch_create(1);
    raft_batch_add(batch, (struct raft_entry){
                              .id = {.term = raft->hard.term, .index = raft->term_start},
                              .kind = RAFT_ENTRY_NOOP,
                          });
    raft_log_append(&raft->log, batch, 0, 1);
    raft_batch_unref(batch);
}

static void batch_refuse(struct raft *raft, const struct raft_batch *batch, int code)
{
    for (uint32_t i = 0; i < batch->count; i++)
        RAFT_LIST_ADD(&raft->output->refused,
                      (struct raft_refusal){.origin = batch->entries[i].origin, .code = code});
}

/* Gives the entries their ids and puts them into the log, or answers why not. */
static int batch_take(struct raft *raft, struct raft_batch *batch)
{
    if (raft->role != RAFT_LEADER)
        return raft_refusal_code(raft);
    /* Rule 25: or the target would never hold the whole log. */
    if (raft->transfer.target != 0)
        return CONCLAVE_HANDOVER;
    uint64_t bytes = batch->payload_bytes;
    if (raft->uncommitted.bytes > 0 &&
        raft->uncommitted.bytes + bytes > raft->options.uncommitted_bytes_max)
        return CONCLAVE_BUSY;
    uint64_t index = raft->log.last.index;
    for (uint32_t i = 0; i < batch->count; i++) {
        ASSERT(batch->entries[i].kind == RAFT_ENTRY_COMMAND ||
               batch->entries[i].kind == RAFT_ENTRY_SESSION);
        batch->entries[i].id = (struct raft_id){.term = raft->hard.term, .index = ++index};
    }
    raft_log_append(&raft->log, batch, 0, batch->count);
    raft_ledger_add(&raft->uncommitted, index, bytes);
    return CONCLAVE_OK;
}

void raft_on_propose(struct raft *raft, struct raft_batch *batch)
{
    int code = batch->count > 0 ? batch_take(raft, batch) : CONCLAVE_OK;
    if (code != CONCLAVE_OK)
        batch_refuse(raft, batch, code);
    raft_batch_unref(batch);
}

/* --- Sending ------------------------------------------------------------------------------------
 */

static void append_send(struct raft *raft, struct raft_progress *peer, bool with_entries)
{
    struct raft_message *message =
        raft_message_create(RAFT_APPEND_REQUEST, raft->options.id, peer->id, raft->hard.term);
    struct raft_append_request *request = &message->append_request;
    struct raft_runs *entries = &request->entries;
    /* Whoever gets a snapshot is asked whether it has reached the log: Rule 37. */
    request->prev =
        peer->state == RAFT_SNAPSHOT ? raft->log.base : raft_log_id_at(&raft->log, peer->next - 1);
    request->round = raft->round;
    /* Rule 12: an empty append vouches for nothing beyond what the peer is known to hold. */
    request->commit = raft_min(raft->commit, peer->match);
    if (with_entries) {
        raft_fetch_take(raft, peer, entries);
        request->commit = raft->commit;
        ASSERT(raft_runs_first(entries).index == request->prev.index + 1); /* Rule 16 */
    }
    if (with_entries || peer->state == RAFT_PROBE)
        raft_progress_sent(peer, raft_runs_last(entries).index, entries->payload_bytes);
    if (with_entries)
        raft_prompt_sent(raft, peer, raft_runs_last(entries).index);
    peer->sent_us = raft->now_us;
    peer->commit_told = request->commit;
    peer->round_sent = raft->round;
    raft_messages_add(&raft->output->send_now, message);
}

static uint64_t contact_of(const void *arg, raft_node_id id)
{
    const struct raft *raft = arg;
    if (id == raft->options.id)
        return UINT64_MAX;
    const struct raft_progress *peer = raft_peer(raft, id);
    /* A new leader gives everyone one T to answer. */
    return raft_max(raft->leader_since_us, peer ? peer->contact_us : 0);
}

uint64_t raft_quorum_contact(const struct raft *raft)
{
    return raft_configuration_committed(raft_members(raft), contact_of, raft);
}

bool raft_commit_is_news(const struct raft *raft, const struct raft_progress *peer)
{
    return raft_min(raft->commit, peer->match) > peer->commit_told;
}

uint64_t raft_append_due_us(const struct raft *raft, const struct raft_progress *peer)
{
    uint64_t heartbeat_us = raft->options.heartbeat_us;
    if (raft_commit_is_news(raft, peer))
        heartbeat_us = raft_max(heartbeat_us / COMMIT_NOTICES, 1);
    return peer->sent_us + heartbeat_us;
}

bool raft_append_is_due(const struct raft *raft, const struct raft_progress *peer)
{
    return raft->now_us >= raft_append_due_us(raft, peer) || raft_round_asks(raft, peer);
}

static void peer_send(struct raft *raft, struct raft_progress *peer)
{
    const struct raft_options *options = &raft->options;
    bool due = raft_append_is_due(raft, peer);
    bool sent = false;
    if (peer->state == RAFT_SNAPSHOT) {
        /* The host sends the snapshot, beside all this. */
    } else if (peer->state == RAFT_PROBE) {
        /* Entries go with the first probe after an answer; what is repeated at each heartbeat is
         * empty: a peer that is down must not find megabytes in its socket when it comes back. */
        if (!peer->probe_sent) {
            append_send(raft, peer,
                        peer->next <= raft->log.last.index && raft_fetch_has(raft, peer));
            sent = true;
        }
    } else if (due || !raft_append_waits(raft, peer)) {
        while (peer->next <= raft->log.last.index &&
               peer->inflight.count < options->inflight_messages_max &&
               peer->inflight.bytes < options->inflight_bytes_max) {
            if (!raft_fetch_has(raft, peer)) {
                raft_fetch_begin(raft, peer);
                break;
            }
            append_send(raft, peer, true);
            sent = true;
        }
    }
    /* Rule 17: a full window lets an empty append through. Its prev is the last entry sent, so that
     * it is rejected if anything before it was lost, and the peer is probed again. */
    if (!sent && due)
        append_send(raft, peer, false);
}

void raft_send_appends(struct raft *raft)
{
    if (raft->role != RAFT_LEADER)
        return;
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        struct raft_progress *peer = &raft->peers[i];
        if (peer->state != RAFT_SNAPSHOT && peer->next <= raft->log.base.index)
            raft_progress_snapshot(peer, raft->snapshot_index);
    }
    raft_prompt_choose(raft);
    for (uint32_t i = 0; i < raft->peer_count; i++)
        peer_send(raft, &raft->peers[i]);
}

/* --- Answers ------------------------------------------------------------------------------------
 */

/* False: the peer gave the answer before its last start that this node has heard of. A start may
 * have cut off the last batch of the log, which the peer had acknowledged (docs/disk-format.md, The
 * window). So a new life is a peer of which nothing is known: it is probed, and what was counted
 * for it and is not committed is counted again when it has it again. What is committed stays so. */
static bool is_of_this_life(struct raft *raft, struct raft_progress *peer, uint64_t life)
{
    if (life > peer->life) {
        bool known = peer->life != 0;
        peer->life = life;
        if (known) {
            raft_progress_reset(peer, raft->log.last.index + 1);
            peer->round_acked = 0;
            peer->catch_up_index = raft->log.last.index; /* Rule 34: it may be behind again */
            peer->catch_up_us = raft->now_us;
            peer->catch_up_fast = false;
            raft_trace(raft, RAFT_TRACE_RESTARTED, peer->id, life);
        }
    }
    return life == peer->life;
}

void raft_on_append_response(struct raft *raft, const struct raft_message *message)
{
    const struct raft_append_response *response = &message->append_response;
    if (message->term > raft->hard.term) {
        raft_become_follower(raft, message->term, 0);
        return;
    }
    /* Rule 15: an answer counts in the term in which it was given, for a peer that is one, and in
     * the life of the peer that gave it. A peer that was removed never comes back under its id
     * (Rule 32), so there is no answer of an earlier membership. */
    struct raft_progress *peer = raft_peer(raft, message->from);
    if (message->term < raft->hard.term || raft->role != RAFT_LEADER || !peer ||
        !is_of_this_life(raft, peer, response->life))
        return;
    peer->contact_us = raft->now_us;
    peer->priority = response->priority;
    if (response->result != RAFT_APPEND_ACCEPTED && response->result != RAFT_APPEND_REJECTED)
        return; /* STALE: about a request of an earlier term */
    /* Rule 40: it followed this leader when it answered, whether or not the logs agree. */
    if (response->round <= raft->round) {
        peer->round_acked = raft_max(peer->round_acked, response->round);
        raft_lease_promised(raft, peer, response->round, response->promise_us);
    }

    if (response->result == RAFT_APPEND_ACCEPTED) {
        /* Rule 37: an ack that reaches the log ends the snapshot state, whichever way the peer came
         * by it; one that does not reach it says nothing new. */
        bool reaches = peer->state != RAFT_SNAPSHOT || response->match >= raft->log.base.index;
        if (response->match <= raft->log.last.index && reaches)
            raft_progress_accept(peer, response->match);
        raft_prompt_answered(raft, peer);
        if (peer->state != RAFT_SNAPSHOT && peer->match >= raft->snapshot_index)
            peer->snapshot_index = 0; /* Rule 36: it has caught up */
        raft_change_round(raft, peer);
        return;
    }
    /* Rule 18, the leader's half: whole terms that the follower cannot have are skipped too. */
    uint64_t hint = raft_log_find_at_most(&raft->log, response->conflict);
    if (raft_progress_reject(peer, response->rejected, hint))
        raft_trace(raft, RAFT_TRACE_REJECTED, peer->id, response->rejected);
}

/* --- Committing ---------------------------------------------------------------------------------
 */

void raft_commit_to(struct raft *raft, uint64_t index)
{
    if (index <= raft->commit)
        return;
    ASSERT(index <= raft->log.last.index);
    raft->commit = index;
    raft_membership_commit(raft, index);
}

struct matches {
    const struct raft *raft;
    uint64_t own;
};

static uint64_t match_of(const void *arg, raft_node_id id)
{
    const struct matches *matches = arg;
    if (id == matches->raft->options.id)
        return matches->own;
    const struct raft_progress *peer = raft_peer(matches->raft, id);
    return peer ? peer->match : 0;
}

uint64_t raft_majority_holds(const struct raft *raft, uint64_t own)
{
    const struct matches matches = {.raft = raft, .own = own};
    return raft_configuration_committed(raft_members(raft), match_of, &matches);
}

void raft_advance_commit(struct raft *raft)
{
    if (raft->role != RAFT_LEADER)
        return;
    /* Rule 4 holds for the leader's own disk too. */
    uint64_t index = raft_majority_holds(raft, raft->log.durable);
    /* Rule 13 (paper, section 5.4.2 and figure 8): an entry of an earlier term on a majority can
     * still be replaced; it is committed only with one of this term after it. */
    if (index <= raft->commit || raft_log_term_at(&raft->log, index) != raft->hard.term)
        return;
    raft_commit_to(raft, index);
    raft_ledger_settle(&raft->uncommitted, index);
}

/* What snapshots mean for the log: its front goes when a snapshot holds it, and a follower that
 * lacks what its leader no longer has begins anew behind one (paper, section 7). */
#include "raft/internal.h"

#include "base/fatal.h"

#include <stdlib.h>

int raft_snapshot_read(const struct raft_snapshot *snapshot,
                       struct raft_configuration **ret_configuration)
{
    struct raft_id last = snapshot->last;
    if (last.index == 0 || last.term == 0 || last.index > RAFT_NUMBER_MAX ||
        last.term > RAFT_NUMBER_MAX || snapshot->configuration == NULL ||
        snapshot->configuration_index == 0 || snapshot->configuration_index > last.index)
        return CONCLAVE_MALFORMED;
    struct raft_configuration *configuration = mem_alloc(sizeof *configuration);
    struct slice payload = {.data = snapshot->configuration->data,
                            .bytes = snapshot->configuration->bytes};
    int code = raft_configuration_decode(payload, configuration);
    if (code != CONCLAVE_OK) {
        free(configuration);
        return code;
    }
    *ret_configuration = configuration;
    return CONCLAVE_OK;
}

/* --- Taken here ------------------------------------------------------------------------------- */

/* Rule 39: some entries stay, so that a follower that is a little behind needs no snapshot. */
static uint64_t trailing_begin(const struct raft *raft, uint64_t index)
{
    uint64_t base = raft->log.base.index;
    if (index <= base)
        return index;
    uint64_t entries = raft_min(raft->options.trailing_entries, index - base);
    return raft_log_reach(&raft->log, index, index - entries, raft->options.trailing_bytes);
}

/* Rule 36: what follows a snapshot that is on its way to a peer stays, or the peer would need
 * another one when it has it; and what a peer lacks that has it, until it has caught up with the
 * newest, or each snapshot that is taken meanwhile would make it begin again. Returns where that
 * begins, UINT64_MAX: it needs nothing. */
static uint64_t pinned_by_snapshot(const struct raft_progress *peer)
{
    if (peer->snapshot_index == 0)
        return UINT64_MAX;
    return peer->state == RAFT_SNAPSHOT ? peer->snapshot_index : peer->match;
}

/* What peers are yet to get stays. Not for one that does not answer, nor without bound. */
static uint64_t pinned_begin(const struct raft *raft, uint64_t index)
{
    if (raft->role != RAFT_LEADER || raft_log_payload(&raft->log) > raft->options.pinned_bytes_max)
        return index;
    uint64_t begin = index, silence = 10 * raft->options.election_timeout_us;
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        const struct raft_progress *peer = &raft->peers[i];
        if (raft->now_us - raft_max(peer->contact_us, raft->leader_since_us) >= silence)
            continue;
        begin = raft_min(begin, pinned_by_snapshot(peer));
        if (raft_prompt_owes(peer, index))
            begin = raft_min(begin, peer->next - 1);
    }
    return begin;
}

void raft_snapshot_cut(struct raft *raft)
{
    if (raft->snapshot_index > raft->applied)
        return; /* the state machine has not got there: it may need the log */
    uint64_t index = pinned_begin(raft, trailing_begin(raft, raft->snapshot_index));
    if (raft->unreadable <= raft->snapshot_index) /* of no use to anybody */
        index = raft_max(index, raft->unreadable);
    if (index > raft->log.base.index)
        raft_log_compact(&raft->log, index);
}

void raft_on_snapshot_taken(struct raft *raft, struct raft_id last)
{
    /* Rule 35: the host reports it when it is durable. What was applied here is in the log. */
    ASSERT(last.index <= raft->applied);
    if (last.index <= raft->snapshot_index)
        return; /* one that was installed meanwhile is newer */
    raft->snapshot_index = last.index;
    raft_snapshot_cut(raft);
}

/* --- Received --------------------------------------------------------------------------------- */

/* Answers those who wait for entries that are about to go without being applied. Rule 44: their
 * entries may well have been committed. */
static void refuse_waiting(struct raft *raft)
{
    for (uint64_t i = raft_max(raft->applying, raft->log.base.index) + 1; i <= raft->log.last.index;
         i++) {
        struct raft_origin origin = raft_runs_find(&raft->log.runs, i)->origin;
        if (origin.client != 0 || origin.request != 0)
            RAFT_LIST_ADD(&raft->output->refused,
                          (struct raft_refusal){.origin = origin, .code = CONCLAVE_UNKNOWN});
    }
}

void raft_begin_anew(struct raft *raft, const struct raft_snapshot *snapshot,
                     struct raft_configuration *configuration)
{
    raft_log_restart(&raft->log, snapshot->last);
    raft->output->persist.anew = snapshot->last;
    raft->anew_pending = true;
    /* Rule 33: what the snapshot says, even if a configuration that goes with the log was newer. */
    raft_membership_restart(raft, snapshot->configuration_index, configuration);
    raft->snapshot_index = snapshot->last.index;
}

void raft_on_snapshot_received(struct raft *raft, const struct raft_snapshot *snapshot)
{
    struct raft_configuration *configuration = NULL;
    struct raft_id last = snapshot->last;
    if (raft_snapshot_read(snapshot, &configuration) != CONCLAVE_OK)
        return;
    /* Whoever made it had committed all that is in it, so it is good whatever became of its sender
     * since; and what is committed here is in the log or was applied. */
    if (last.index <= raft->commit) {
        free(configuration);
        return;
    }
    /* Rule 35: a log that agrees is kept, and then nothing need be installed at all: its entries
     * are committed up to there. */
    if (raft_log_term_at(&raft->log, last.index) == last.term) {
        free(configuration);
        raft_commit_to(raft, last.index);
        raft_ledger_settle(&raft->uncommitted, last.index);
        return;
    }
    /* A leader or candidate whose log lacks what is committed is one of the past. */
    if (last.term > raft->hard.term || raft->role != RAFT_FOLLOWER)
        raft_become_follower(raft, raft_max(last.term, raft->hard.term), 0);
    refuse_waiting(raft);
    raft_begin_anew(raft, snapshot, configuration);
    raft->commit = last.index;
    raft->applying = last.index;
    /* Rule 36: nothing is applied until the state machine says that it holds the snapshot. */
    raft->installing_index = last.index;
    raft->output->install = last;
    /* The file is durable, and with it this node starts behind it, whatever its log says. */
    raft->verified = last.index;
    raft->ack_pending = raft->leader != 0;
    raft_trace(raft, RAFT_TRACE_INSTALL, last.index, last.term);
}

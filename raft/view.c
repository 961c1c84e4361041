#include "raft/internal.h"

enum raft_role raft_role(const struct raft *raft)
{
    return raft->role;
}

raft_node_id raft_leader(const struct raft *raft)
{
    return raft->leader;
}

uint64_t raft_commit(const struct raft *raft)
{
    return raft->commit;
}

uint64_t raft_applied(const struct raft *raft)
{
    return raft->applied;
}

struct raft_hard_state raft_hard_state(const struct raft *raft)
{
    return raft->hard;
}

struct raft_id raft_last(const struct raft *raft)
{
    return raft->log.last;
}

struct raft_id raft_durable(const struct raft *raft)
{
    return raft_log_id_at(&raft->log, raft->log.durable);
}

bool raft_awaits_disk(const struct raft *raft)
{
    if (raft->persisted_seq == raft->persist_seq)
        return false;
    if (!raft_hard_is_durable(raft) || raft->installing_index > 0 ||
        raft->commit > raft->log.durable)
        return true;
    if (raft->role == RAFT_FOLLOWER)
        return false; /* what it answers goes out without it */
    return raft->role != RAFT_LEADER ||
           raft_majority_holds(raft, raft->log.last.index) > raft->commit;
}

bool raft_is_installing(const struct raft *raft)
{
    return raft->installing_index > 0;
}

bool raft_is_serving(const struct raft *raft)
{
    return raft->role == RAFT_LEADER && raft->commit >= raft->term_start;
}

raft_node_id raft_transfer_target(const struct raft *raft)
{
    return raft->transfer.target;
}

const struct raft_configuration *raft_configuration(const struct raft *raft, uint64_t *ret_index)
{
    if (ret_index)
        *ret_index = raft->memberships[raft->membership_count - 1].index;
    return raft_members(raft);
}

struct raft_id raft_base(const struct raft *raft)
{
    return raft->log.base;
}

const struct raft_runs *raft_entries(const struct raft *raft)
{
    return &raft->log.runs;
}

struct raft_id raft_memory_base(const struct raft *raft)
{
    return raft_log_id_at(&raft->log, raft->log.shed);
}

uint64_t raft_term_at(const struct raft *raft, uint64_t index)
{
    return raft_log_term_at(&raft->log, index);
}

bool raft_peer_view(const struct raft *raft, raft_node_id peer, struct raft_peer_view *ret)
{
    const struct raft_progress *progress = raft_peer(raft, peer);
    if (raft->role != RAFT_LEADER || !progress)
        return false;
    *ret = (struct raft_peer_view){
        .match = progress->match,
        .next = progress->next,
        .contact_us = progress->contact_us,
        .replicating = progress->state == RAFT_REPLICATE,
        .needs_snapshot = progress->state == RAFT_SNAPSHOT,
        .fetching = progress->fetch != 0,
        .life = progress->life,
    };
    return true;
}

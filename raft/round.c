/* Whom a leader asks whether it still leads (Rule 40), when no entries go out that ask anyway.
 *
 * A majority's answers are enough, so only so many peers are asked at first: those that answered
 * the newest rounds. The others are spared a message and a wake-up for each round. When a round
 * takes longer than usual everybody is asked, and whoever answers is asked first from then on. */
#include "raft/internal.h"

#include "base/fatal.h"

/* So many times a heartbeat the others may be asked. */
enum { PATIENCE_PARTS = 20 };

static bool asked_first(const void *arg, raft_node_id id)
{
    const struct raft *raft = arg;
    if (id == raft->options.id)
        return true;
    const struct raft_progress *peer = raft_peer(raft, id);
    return peer && peer->round_first;
}

static bool is_quicker(const struct raft_progress *peer, const struct raft_progress *other)
{
    if (peer->round_acked != other->round_acked)
        return peer->round_acked > other->round_acked;
    return peer->contact_us > other->contact_us;
}

/* NULL: there is none left. */
static struct raft_progress *quickest_left(struct raft *raft)
{
    struct raft_progress *quickest = NULL;
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        struct raft_progress *peer = &raft->peers[i];
        if (!peer->round_first && raft_configuration_is_voter(raft_members(raft), peer->id) &&
            (!quickest || is_quicker(peer, quickest)))
            quickest = peer;
    }
    return quickest;
}

void raft_round_begin(struct raft *raft)
{
    raft->round++;
    for (uint32_t i = 0; i < raft->peer_count; i++)
        raft->peers[i].round_first = false;
    /* Rule 30: of both sets in the joint phase. */
    while (!raft_configuration_quorum(raft_members(raft), asked_first, raft)) {
        struct raft_progress *peer = quickest_left(raft);
        ASSERT(peer); /* all together have it */
        peer->round_first = true;
    }
}

/* From then on it is late; UINT64_MAX: no read waits for one. */
static uint64_t late_us(const struct raft *raft)
{
    if (raft->read_count == 0 || raft->reads[raft->read_head].round == 0)
        return UINT64_MAX;
    uint64_t patience_us = raft->options.heartbeat_us / PATIENCE_PARTS;
    return raft->reads[raft->read_head].begun_us + patience_us;
}

bool raft_round_asks(const struct raft *raft, const struct raft_progress *peer)
{
    if (peer->round_sent >= raft->round)
        return false;
    /* Each promise makes the lease safer, and one round a heartbeat is no trouble. Who is to be
     * told of a commit soon is told now: it may be who asks. */
    return peer->round_first || peer->round_sent < raft_lease_newest_round(raft) ||
           raft_commit_is_news(raft, peer) || raft->now_us >= late_us(raft);
}

uint64_t raft_round_deadline(const struct raft *raft)
{
    for (uint32_t i = 0; i < raft->peer_count; i++)
        if (raft->peers[i].round_sent < raft->round)
            return late_us(raft);
    return UINT64_MAX;
}

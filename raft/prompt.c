/* To whom entries go at once, and who gets them a little later, with what came meanwhile.
 *
 * What is committed is on a majority, so the quickest peers that make one are enough, and each
 * append costs both sides several wake-ups and the peer a write to its disk, whatever its size: the
 * others get fewer and larger ones. They are late by a delay that is short beside a heartbeat. A
 * prompt peer that is late itself is replaced in the same step, and what was held goes out then. */
#include "raft/internal.h"

#include "base/fatal.h"

enum {
    HELD_ENTRIES = 512,    /* with so many the costs of an append are no more what counts, */
    HELD_BYTES = 256 << 10 /* nor with so much that waits for its majority */
};

/* --- How quick a peer is -----------------------------------------------------------------------
 */

/* The weight of what was seen last, in all that was seen: one part of so many. */
enum { SEEN_PARTS = 8 };

void raft_prompt_sent(const struct raft *raft, struct raft_progress *peer, uint64_t last)
{
    peer->held_until_us = 0;
    if (peer->timed_index > 0)
        return; /* one at a time */
    peer->timed_index = last;
    peer->timed_us = raft->now_us;
}

void raft_prompt_answered(const struct raft *raft, struct raft_progress *peer)
{
    if (peer->timed_index == 0 || peer->match < peer->timed_index)
        return;
    uint64_t took_us = raft->now_us - peer->timed_us;
    uint64_t kept_us = peer->answer_us > 0 ? peer->answer_us : took_us;
    peer->answer_us = raft_max((kept_us * (SEEN_PARTS - 1) + took_us) / SEEN_PARTS, 1);
    peer->timed_index = 0;
}

/* From then on a peer that has not answered is late; UINT64_MAX: it is not asked. */
static uint64_t late_us(const struct raft *raft, const struct raft_progress *peer)
{
    uint64_t patience_us = raft_max(raft->options.append_delay_us, 2 * peer->answer_us);
    return peer->timed_index > 0 ? peer->timed_us + patience_us : UINT64_MAX;
}

/* Who is late comes last. Who is prompt stays so unless another one takes half as long: each change
 * costs an append, and what is held goes out soon anyway, so little is lost by the slower one. */
static bool is_quicker(const struct raft *raft, const struct raft_progress *peer,
                       const struct raft_progress *other)
{
    bool late = raft->now_us >= late_us(raft, peer),
         other_late = raft->now_us >= late_us(raft, other);
    uint64_t us = peer->prompt ? peer->answer_us / 2 : peer->answer_us;
    uint64_t other_us = other->prompt ? other->answer_us / 2 : other->answer_us;
    return late != other_late ? other_late : us < other_us;
}

/* --- Who is prompt -----------------------------------------------------------------------------
 */

static bool is_chosen(const void *arg, raft_node_id id)
{
    const struct raft *raft = arg;
    const struct raft_progress *peer = raft_peer(raft, id);
    return id == raft->options.id || (peer && peer->chosen);
}

static bool is_known(const struct raft *raft, const struct raft_progress *peer)
{
    return peer->state == RAFT_REPLICATE && peer->answer_us > 0 &&
           raft_configuration_is_voter(raft_members(raft), peer->id);
}

/* NULL: there is none left. */
static struct raft_progress *quickest_left(struct raft *raft)
{
    struct raft_progress *quickest = NULL;
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        struct raft_progress *peer = &raft->peers[i];
        if (!peer->chosen && is_known(raft, peer) &&
            (!quickest || is_quicker(raft, peer, quickest)))
            quickest = peer;
    }
    return quickest;
}

void raft_prompt_choose(struct raft *raft)
{
    if (raft->options.append_delay_us == 0)
        return;
    for (uint32_t i = 0; i < raft->peer_count; i++)
        raft->peers[i].chosen = false;
    /* Rule 30: of both sets in the joint phase. */
    while (!raft_configuration_quorum(raft_members(raft), is_chosen, raft)) {
        struct raft_progress *peer = quickest_left(raft);
        if (!peer)
            break; /* of too few is it known how quick they are; nobody else waits */
        peer->chosen = true;
    }
    for (uint32_t i = 0; i < raft->peer_count; i++)
        raft->peers[i].prompt = raft->peers[i].chosen;
}

/* --- Who has to wait ---------------------------------------------------------------------------
 */

/* Rule 25: who is to take over needs the whole log, and a better node is to be seen to hold what is
 * committed. */
static bool may_wait(const struct raft *raft, const struct raft_progress *peer)
{
    return raft->options.append_delay_us > 0 && !peer->prompt && is_known(raft, peer) &&
           raft->transfer.target == 0 && peer->priority <= raft_own_priority(raft);
}

bool raft_append_waits(struct raft *raft, struct raft_progress *peer)
{
    if (peer->next > raft->log.last.index || !may_wait(raft, peer) ||
        raft->log.last.index - peer->next >= HELD_ENTRIES - 1 ||
        raft->uncommitted.bytes >= HELD_BYTES) {
        peer->held_until_us = 0;
        return false;
    }
    if (peer->held_until_us == 0)
        peer->held_until_us = raft->now_us + raft->options.append_delay_us;
    return raft->now_us < peer->held_until_us;
}

bool raft_prompt_owes(const struct raft_progress *peer, uint64_t last)
{
    return peer->state == RAFT_REPLICATE && peer->held_until_us > 0 && peer->next <= last;
}

void raft_prompt_wanted(const struct raft *raft, struct raft_progress *peer)
{
    if (peer && peer->held_until_us > raft->now_us)
        peer->held_until_us = raft->now_us;
}

uint64_t raft_prompt_deadline(const struct raft *raft)
{
    uint64_t held_us = UINT64_MAX, prompt_us = UINT64_MAX;
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        const struct raft_progress *peer = &raft->peers[i];
        uint64_t late = late_us(raft, peer);
        /* What was to go and did not waits for room on the way, or for the disk. */
        if (peer->held_until_us > raft->now_us)
            held_us = raft_min(held_us, peer->held_until_us);
        if (peer->prompt && late > raft->now_us)
            prompt_us = raft_min(prompt_us, late);
    }
    return held_us == UINT64_MAX ? UINT64_MAX : raft_min(held_us, prompt_us);
}

#include "raft/internal.h"

#include "base/fatal.h"

#include <stdlib.h>
#include <string.h>

const struct raft_configuration *raft_members(const struct raft *raft)
{
    ASSERT(raft->membership_count > 0);
    /* The analyser loses sight of the list when one is pushed, and takes the newest for a freed
     * one. */
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
    return raft->memberships[raft->membership_count - 1].configuration;
}

const struct raft_membership *raft_membership_newest(const struct raft *raft)
{
    ASSERT(raft->membership_count > 0);
    return &raft->memberships[raft->membership_count - 1];
}

bool raft_membership_may_lead(const struct raft *raft)
{
    /* Dissertation, 4.2.2: until the configuration without it is committed, a node may be the only
     * one that can lead, because only its log holds that configuration. It does not count its own
     * vote where it has none. */
    for (uint32_t i = 0; i < raft->membership_count; i++) {
        if (raft_configuration_is_voter(raft->memberships[i].configuration, raft->options.id))
            return true;
    }
    return false;
}

struct raft_progress *raft_peer(const struct raft *raft, raft_node_id id)
{
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        if (raft->peers[i].id == id)
            return &raft->peers[i];
    }
    return NULL;
}

static void peer_begin(const struct raft *raft, struct raft_progress *peer, raft_node_id id)
{
    peer->id = id;
    raft_progress_reset(peer, raft->log.last.index + 1);
    peer->catch_up_index = raft->log.last.index;
    peer->catch_up_us = raft->now_us;
}

/* True if a voter of the configuration before is gone without a joint phase. That is the doing of a
 * recovery (actors/recover.c): what such a node holds may have been committed without this one, and
 * it must not be told that by what is another log now. */
static bool was_lost(const struct raft *raft, raft_node_id id)
{
    if (raft->membership_count < 2)
        return false;
    const struct raft_membership *before = &raft->memberships[raft->membership_count - 2];
    const struct raft_member *member = raft_configuration_find(before->configuration, id);
    return member && (member->flags & RAFT_MEMBER_VOTER);
}

/* Makes the list of peers fit the configuration in effect. What is known of a peer that stays is
 * kept; a peer that comes is unknown. One that goes stays for a while, unless it was lost: else it
 * would never hear that it was removed. */
static void peers_update(struct raft *raft)
{
    const struct raft_configuration *members = raft_members(raft);
    struct raft_progress *peers =
        mem_zalloc(((size_t)members->member_count + raft->peer_count) * sizeof *peers);
    uint32_t count = 0;
    for (uint32_t i = 0; i < members->member_count; i++) {
        raft_node_id id = members->members[i].id;
        if (id == raft->options.id)
            continue;
        struct raft_progress *known = raft_peer(raft, id);
        if (known) {
            raft_progress_move(&peers[count], known);
            peers[count].leaving = false;
        } else {
            peer_begin(raft, &peers[count], id);
        }
        count++;
    }
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        struct raft_progress *known = &raft->peers[i];
        if (raft_configuration_find(members, known->id) || was_lost(raft, known->id))
            continue;
        if (!known->leaving)
            known->leave_us = 0;
        known->leaving = true;
        raft_progress_move(&peers[count++], known);
    }
    for (uint32_t i = 0; i < raft->peer_count; i++)
        raft_progress_deinit(&raft->peers[i]);
    free(raft->peers);
    raft->peers = peers;
    raft->peer_count = count;
    raft_trace(raft, RAFT_TRACE_CONFIG, raft->memberships[raft->membership_count - 1].index, 0);
}

void raft_membership_push(struct raft *raft, uint64_t index,
                          struct raft_configuration *configuration)
{
    ASSERT(raft->membership_count == 0 ||
           raft->memberships[raft->membership_count - 1].index < index);
    if (raft->membership_count == raft->membership_capacity) {
        raft->membership_capacity =
            raft->membership_capacity > 0 ? raft->membership_capacity * 2 : 4;
        raft->memberships = mem_realloc(raft->memberships, (size_t)raft->membership_capacity *
                                                               sizeof *raft->memberships);
    }
    raft->memberships[raft->membership_count++] =
        (struct raft_membership){.index = index, .configuration = configuration};
    /* Rule 29: in effect from here on, committed or not (paper, section 6). */
    peers_update(raft);
}

void raft_membership_truncate(struct raft *raft, uint64_t index)
{
    uint32_t before = raft->membership_count;
    while (raft->membership_count > 0 &&
           raft->memberships[raft->membership_count - 1].index >= index)
        free(raft->memberships[--raft->membership_count].configuration);
    /* The oldest one is committed and so is never truncated (Rule 9). */
    ASSERT(raft->membership_count > 0);
    if (raft->membership_count < before)
        peers_update(raft); /* Rule 29: back to the one before */
}

void raft_membership_restart(struct raft *raft, uint64_t index,
                             struct raft_configuration *configuration)
{
    for (uint32_t i = 0; i < raft->membership_count; i++)
        free(raft->memberships[i].configuration);
    raft->membership_count = 0;
    raft_membership_push(raft, index, configuration);
}

void raft_membership_tend(struct raft *raft)
{
    bool committed = raft_membership_newest(raft)->index <= raft->commit;
    uint32_t count = 0;
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        struct raft_progress *peer = &raft->peers[i];
        if (peer->leaving && peer->leave_us == 0 && committed)
            peer->leave_us = raft->now_us + raft->options.election_timeout_us;
        if (peer->leaving && peer->leave_us > 0 && raft->now_us >= peer->leave_us)
            raft_progress_deinit(peer);
        else
            raft->peers[count++] = *peer;
    }
    raft->peer_count = count;
}

/* The newest configuration is committed: who is not in it is not needed any more. */
static void newest_committed(struct raft *raft)
{
    const struct raft_membership *newest = raft_membership_newest(raft);
    /* Not merely absent: a node that has just joined reads what was before its time. */
    if (raft_configuration_was_removed(newest->configuration, raft->options.id))
        raft_trace(raft, RAFT_TRACE_REMOVED, newest->index, 0);
}

void raft_membership_commit(struct raft *raft, uint64_t index)
{
    uint32_t forget = 0;
    while (forget + 1 < raft->membership_count && raft->memberships[forget + 1].index <= index) {
        free(raft->memberships[forget].configuration);
        raft->memberships[forget++].configuration = NULL;
    }
    if (forget == 0)
        return;
    raft->membership_count -= forget;
    memmove(raft->memberships, raft->memberships + forget,
            raft->membership_count * sizeof *raft->memberships);
    if (raft->membership_count == 1)
        newest_committed(raft);
}

void raft_membership_deinit(struct raft *raft)
{
    for (uint32_t i = 0; i < raft->membership_count; i++)
        free(raft->memberships[i].configuration);
    free(raft->memberships);
    for (uint32_t i = 0; i < raft->peer_count; i++)
        raft_progress_deinit(&raft->peers[i]);
    free(raft->peers);
}

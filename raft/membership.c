#include "raft/internal.h"

#include "base/fatal.h"

#include <stdlib.h>

const struct raft_configuration *raft_members(const struct raft *raft)
{
    ASSERT(raft->membership_count > 0);
    return raft->memberships[raft->membership_count - 1].configuration;
}

struct raft_progress *raft_peer(const struct raft *raft, raft_node_id id)
{
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        if (raft->peers[i].id == id)
            return &raft->peers[i];
    }
    return NULL;
}

/* Makes the list of peers fit the configuration in effect. What is known of a peer that stays is
 * kept; a peer that comes is unknown, even if it was a member before. */
static void peers_update(struct raft *raft)
{
    const struct raft_configuration *members = raft_members(raft);
    struct raft_progress *peers =
        mem_zalloc((size_t)members->member_count * sizeof(struct raft_progress));
    uint32_t count = 0;
    for (uint32_t i = 0; i < members->member_count; i++) {
        raft_node_id id = members->members[i].id;
        if (id == raft->options.id)
            continue;
        struct raft_progress *known = raft_peer(raft, id);
        if (known) {
            peers[count] = *known;
            known->inflight = (struct raft_ledger){0}; /* moved */
        } else {
            peers[count].id = id;
            raft_progress_reset(&peers[count], raft->log.last.index + 1);
        }
        count++;
    }
    for (uint32_t i = 0; i < raft->peer_count; i++)
        raft_ledger_deinit(&raft->peers[i].inflight);
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

void raft_membership_commit(struct raft *raft, uint64_t index)
{
    uint32_t forget = 0;
    while (forget + 1 < raft->membership_count && raft->memberships[forget + 1].index <= index)
        free(raft->memberships[forget++].configuration);
    if (forget == 0)
        return;
    raft->membership_count -= forget;
    for (uint32_t i = 0; i < raft->membership_count; i++)
        raft->memberships[i] = raft->memberships[i + forget];
}

void raft_membership_deinit(struct raft *raft)
{
    for (uint32_t i = 0; i < raft->membership_count; i++)
        free(raft->memberships[i].configuration);
    free(raft->memberships);
    for (uint32_t i = 0; i < raft->peer_count; i++)
        raft_ledger_deinit(&raft->peers[i].inflight);
    free(raft->peers);
}

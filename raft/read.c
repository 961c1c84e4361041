/* Linearizable reads by ReadIndex (dissertation, 6.4): the leader notes its commit index, makes
 * sure by a round of appends that it still led afterwards, and the read is answered once everything
 * up to that index is applied. All reads of one step share a round. */
#include "raft/internal.h"

#include "base/fatal.h"

#include <stdlib.h>

static void read_done(struct raft *raft, uint64_t read, int code, uint64_t index)
{
    RAFT_LIST_ADD(&raft->output->reads,
                  (struct raft_read_result){.read = read, .code = code, .index = index});
}

static void reads_grow(struct raft *raft)
{
    uint32_t capacity = raft->read_capacity;
    if (raft->read_count * 2 >= capacity)
        capacity = capacity > 0 ? capacity * 2 : 16;
    struct raft_pending_read *reads = mem_alloc((size_t)capacity * sizeof *reads);
    for (uint32_t i = 0; i < raft->read_count; i++)
        reads[i] = raft->reads[raft->read_head + i];
    free(raft->reads);
    raft->reads = reads;
    raft->read_head = 0;
    raft->read_capacity = capacity;
}

void raft_on_read(struct raft *raft, uint64_t read)
{
    if (raft->role != RAFT_LEADER) {
        read_done(raft, read, raft_refusal_code(raft), 0);
        return;
    }
    if (raft->read_count >= raft->options.reads_max) {
        read_done(raft, read, CONCLAVE_BUSY, 0);
        return;
    }
    if (raft->read_head + raft->read_count == raft->read_capacity)
        reads_grow(raft);
    raft->reads[raft->read_head + raft->read_count++] = (struct raft_pending_read){.read = read};
}

void raft_reads_start(struct raft *raft)
{
    /* Rule 40: before an own-term commit a leader does not know what is committed. */
    if (!raft_is_serving(raft))
        return;
    uint32_t end = raft->read_head + raft->read_count;
    uint32_t first = end;
    while (first > raft->read_head && raft->reads[first - 1].round == 0)
        first--;
    if (first == end)
        return;
    /* Rule 40: the index is taken before the round, and the round begins after the reads came. Its
     * number is the core's own, so no answer to an earlier round can confirm it. */
    raft->round++;
    for (uint32_t i = first; i < end; i++) {
        raft->reads[i].index = raft->commit;
        raft->reads[i].round = raft->round;
    }
}

static uint64_t round_of(const void *arg, raft_node_id id)
{
    const struct raft *raft = arg;
    if (id == raft->options.id)
        return UINT64_MAX;
    const struct raft_progress *peer = raft_peer(raft, id);
    return peer ? peer->round_acked : 0;
}

void raft_reads_confirm(struct raft *raft)
{
    if (raft->role != RAFT_LEADER || raft->read_count == 0)
        return;
    uint64_t confirmed = raft_configuration_committed(raft_members(raft), round_of, raft);
    while (raft->read_count > 0) {
        const struct raft_pending_read *oldest = &raft->reads[raft->read_head];
        if (oldest->round == 0 || oldest->round > confirmed)
            return;
        read_done(raft, oldest->read, CONCLAVE_OK, oldest->index);
        raft->read_head++;
        raft->read_count--;
    }
    raft->read_head = 0;
}

void raft_reads_fail(struct raft *raft, int code)
{
    ASSERT(code != CONCLAVE_OK);
    for (uint32_t i = 0; i < raft->read_count; i++)
        read_done(raft, raft->reads[raft->read_head + i].read, code, 0);
    raft->read_head = 0;
    raft->read_count = 0;
}

/* What the disks hold between two lives of a node, and snapshots. */
#include "cluster.h"

#include "base/fatal.h"

#include <stdlib.h>

void cluster_disk_append(struct raft_runs *log, struct raft_id id, enum raft_entry_kind kind,
                         struct buf *buf)
{
    struct raft_batch *batch = raft_batch_create(1);
    struct raft_entry entry = {.id = id, .kind = kind, .buf = buf};
    if (buf)
        entry.payload = (struct slice){.data = buf->data, .bytes = buf->bytes};
    raft_batch_add(batch, entry);
    raft_runs_append(log, batch, 0, 1);
    raft_batch_unref(batch);
}

void cluster_set_disk(struct cluster *cluster, raft_node_id id, struct raft_hard_state hard,
                      const uint64_t *terms, size_t count)
{
    struct test_node *node = &cluster->nodes[id];
    ASSERT(!node->raft);
    raft_runs_clear(&node->disk_log);
    cluster_disk_append(&node->disk_log, id_of(1, 1), RAFT_ENTRY_CONFIG,
                        raft_configuration_encode(&cluster->configuration));
    for (size_t i = 0; i < count; i++)
        cluster_disk_append(&node->disk_log, id_of(terms[i], i + 2), RAFT_ENTRY_COMMAND, NULL);
    node->disk_hard = hard;
}

void cluster_recover(struct cluster *cluster, raft_node_id id)
{
    struct test_node *node = &cluster->nodes[id];
    ASSERT(!node->raft && node->disk_log.count > 0 && node->disk_base.index == 0);
    struct raft_id last = raft_runs_last(&node->disk_log);
    struct raft_configuration *alone = mem_zalloc(sizeof *alone);
    for (uint32_t i = 0; i < cluster->configuration.member_count; i++) {
        const struct raft_member *member = &cluster->configuration.members[i];
        if (member->id == id)
            alone->members[alone->member_count++] = *member;
        else
            alone->removed[alone->removed_count++] = member->id;
    }
    uint64_t term = node->disk_hard.term > last.term ? node->disk_hard.term : last.term;
    node->disk_hard = (struct raft_hard_state){.term = term + 1, .vote = id};
    cluster_disk_append(&node->disk_log, id_of(term + 1, last.index + 1), RAFT_ENTRY_CONFIG,
                        raft_configuration_encode(alone));
    free(alone);
}

void cluster_fetch(struct cluster *cluster, raft_node_id id, bool fails)
{
    struct test_node *node = &cluster->nodes[id];
    ASSERT(node->fetches.count > 0);
    const struct raft_fetch fetch = node->fetches.items[0];
    node->fetches.count--;
    for (uint32_t i = 0; i < node->fetches.count; i++)
        node->fetches.items[i] = node->fetches.items[i + 1];
    uint64_t count = fetch.last - fetch.first.index + 1;
    struct raft_event event = {.type = RAFT_EVENT_FETCHED, .fetched = {.fetch = fetch.number}};
    if (count > fetch.entries_max)
        count = fetch.entries_max;
    if (!fails) {
        raft_runs_slice(&node->disk_log, fetch.first.index, count, fetch.bytes_max,
                        &event.fetched.entries);
        ASSERT(raft_id_equal(raft_runs_first(&event.fetched.entries), fetch.first));
    }
    cluster_step(cluster, id, &event, 1);
}

void cluster_snapshot(struct cluster *cluster, raft_node_id id, uint64_t index, uint64_t cut)
{
    struct test_node *node = &cluster->nodes[id];
    struct raft_id last = {.term = raft_term_at(node->raft, index), .index = index};
    struct raft_snapshot *snapshot = &node->disk_snapshot;
    struct raft_runs_iter iter = {0};
    for (const struct raft_entry *entry; (entry = raft_runs_next(&node->disk_log, &iter));) {
        if (entry->kind != RAFT_ENTRY_CONFIG || entry->id.index > index)
            continue;
        buf_unref(snapshot->configuration);
        snapshot->configuration = buf_copy(entry->payload.data, entry->payload.bytes);
        snapshot->configuration_index = entry->id.index;
    }
    ASSERT(snapshot->configuration); /* of the snapshot before, if the log holds none */
    snapshot->last = last;
    if (cut > node->disk_base.index) {
        node->disk_base = (struct raft_id){raft_term_at(node->raft, cut), cut};
        raft_runs_drop_front(&node->disk_log, cut);
    }
    struct raft_event event = {.type = RAFT_EVENT_SNAPSHOT_TAKEN, .snapshot_taken = last};
    cluster_step(cluster, id, &event, 1);
}

void cluster_transfer(struct cluster *cluster, raft_node_id from, raft_node_id to)
{
    struct test_node *node = &cluster->nodes[to];
    struct raft_event event = {.type = RAFT_EVENT_SNAPSHOT_RECEIVED,
                               .snapshot_received = cluster->nodes[from].disk_snapshot};
    (void)buf_ref(event.snapshot_received.configuration);
    (void)buf_ref(event.snapshot_received.configuration);
    buf_unref(node->disk_snapshot.configuration);
    node->disk_snapshot = event.snapshot_received;
    cluster_step(cluster, to, &event, 1);
}

/* Clusters that run by themselves: until nothing is left to do, by the clock, to a leader. */
#include "cluster.h"

#include "base/fatal.h"

static bool settle_once(struct cluster *cluster)
{
    if (cluster->wire.count > 0) {
        const struct raft_message *first = cluster->wire.items[0];
        struct raft_message *message = cluster_take(cluster, first->to, first->type);
        bool plays = message->to <= CLUSTER_NODES_MAX && cluster->nodes[message->to].raft;
        bool lost = message->type == RAFT_APPEND_REQUEST && cluster->appends_lost[message->from];
        if (plays && !lost && !cluster->cut[message->from][message->to])
            cluster_receive(cluster, message);
        else
            raft_message_destroy(message);
        return true;
    }
    for (uint32_t i = 1; i <= cluster->voters; i++) {
        struct test_node *node = &cluster->nodes[i];
        if (node->raft && node->persist_count > 0 && !node->hold_persists) {
            cluster_persist(cluster, i);
            return true;
        }
        if (node->raft && node->fetches.count > 0 && !node->hold_fetches) {
            cluster_fetch(cluster, i, false);
            return true;
        }
    }
    return false;
}

void cluster_settle(struct cluster *cluster)
{
    for (int i = 0; settle_once(cluster); i++)
        ASSERT(i < 100000);
}

/* When the node's deadline comes; UINT64_MAX: not while its clock stands still, or ever. */
static uint64_t due_us(const struct cluster *cluster, raft_node_id id)
{
    const struct test_node *node = &cluster->nodes[id];
    bool never = !node->raft || node->clock_stands || node->deadline_us == UINT64_MAX;
    return never ? UINT64_MAX : node->deadline_us + node->behind_us;
}

/* The node alive whose deadline comes first; 0 if there is none. */
static raft_node_id due_next(const struct cluster *cluster)
{
    raft_node_id next = 0;
    for (uint32_t i = 1; i <= cluster->voters; i++) {
        if (due_us(cluster, i) < UINT64_MAX &&
            (next == 0 || due_us(cluster, i) < due_us(cluster, next)))
            next = i;
    }
    return next;
}

void cluster_run(struct cluster *cluster, uint64_t us)
{
    uint64_t end = cluster->now_us + us;
    cluster_settle(cluster);
    for (int i = 0;; i++) {
        ASSERT(i < 100000); /* a deadline that stays in the past */
        raft_node_id next = due_next(cluster);
        if (next == 0 || due_us(cluster, next) > end)
            break;
        if (due_us(cluster, next) > cluster->now_us)
            cluster->now_us = due_us(cluster, next);
        cluster_timeout(cluster, next);
        cluster_settle(cluster);
    }
    cluster->now_us = end;
}

void cluster_elect(struct cluster *cluster, raft_node_id id)
{
    cluster_drop_all(cluster);
    for (int i = 0; raft_role(cluster->nodes[id].raft) != RAFT_LEADER; i++) {
        ASSERT(i < 200);
        raft_node_id next = due_next(cluster);
        if (due_us(cluster, next) > cluster->now_us)
            cluster->now_us = due_us(cluster, next);
        cluster_timeout(cluster, next);
        if (next == id)
            cluster_settle(cluster);
        else
            cluster_drop_all(cluster);
    }
}

uint64_t cluster_lead_alone(struct cluster *cluster)
{
    struct raft *raft = cluster->nodes[1].raft;
    do {
        cluster_advance(cluster, 2 * T_US + 2);
        cluster_timeout(cluster, 1);
    } while (raft_role(raft) != RAFT_PRECANDIDATE); /* it may have led before */
    uint64_t term = raft_hard_state(raft).term + 1;
    for (uint32_t i = 2; i <= cluster->voters; i++)
        cluster_receive(cluster, vote_response(RAFT_PREVOTE_RESPONSE, i, 1, term - 1, term, true));
    cluster_persist_all(cluster, 1);
    for (uint32_t i = 2; i <= cluster->voters; i++)
        cluster_receive(cluster, vote_response(RAFT_VOTE_RESPONSE, i, 1, term, term, true));
    cluster_persist_all(cluster, 1);
    ASSERT(raft_role(raft) == RAFT_LEADER);
    cluster_drop_all(cluster);
    return term;
}

/* The calm phase: a majority is healed, and has to go on; then everything is, and the cluster has
 * to come to rest. */
#include "tests/sim/world.h"

#include <inttypes.h>

/* A leader that a majority of the voters follows; NULL: there is none. */
static const struct node *calm_leader(const struct world *world)
{
    for (uint32_t i = 0; i < world->node_count; i++) {
        const struct node *node = &world->nodes[i];
        if (!node->up || node->blank || (world->away >> i & 1) ||
            raft_role(node->raft) != RAFT_LEADER)
            continue;
        uint32_t followers = 0;
        for (uint32_t j = 0; j < world->node_count; j++) {
            if (world->nodes[j].up && raft_leader(world->nodes[j].raft) == node->id)
                followers |= UINT32_C(1) << j;
        }
        const struct check_log *log = &world->check.nodes[i].memory;
        if (check_majority(check_config_at(&world->check, log, log->count), followers))
            return node;
    }
    return NULL;
}

/* Nothing is left to be done about the members: no joint phase, no learner that is to become a
 * voter and could, no data directory that is not written down. */
static bool calm_members_rest(const struct world *world)
{
    const struct node *leader = calm_leader(world);
    if (!leader || operator_pending(world) > 0)
        return false;
    uint64_t index;
    const struct raft_configuration *members = raft_configuration(leader->raft, &index);
    uint32_t living = members_living(world);
    uint32_t voters = check_count(members_committed(world)->voters);
    if (members->joint || index > raft_commit(leader->raft))
        return false;
    for (uint32_t i = 0; i < members->member_count; i++) {
        const struct raft_member *member = &members->members[i];
        if (!(living >> check_find(&world->check, member->id) & 1))
            continue;
        if (member->incarnation == 0 ||
            ((member->flags & RAFT_MEMBER_PROMOTE) && voters < CONCLAVE_VOTERS_MAX))
            return false;
    }
    return true;
}

static bool calm_equal_states(const struct world *world)
{
    const struct node *first = NULL;
    uint32_t living = members_living(world);
    for (uint32_t i = 0; i < world->node_count; i++) {
        const struct node *node = &world->nodes[i];
        if (!(living >> i & 1))
            continue;
        if (!first)
            first = node;
        if (machine_applied(node->machine) != world->check.oracle.count ||
            machine_hash(node->machine) != machine_hash(first->machine))
            return false;
    }
    return true;
}

struct calm {
    uint64_t since_us; /* of the last progress */
    uint64_t begin_us;
    uint64_t progress;    /* entries applied and operations ended, over all nodes */
    uint64_t write, read; /* the probe under way or done; 0: none */
    uint64_t again_us;    /* no other one before that */
    uint32_t extra;       /* probes that are done only to touch what may have been altered */
    bool leader_found;
    uint64_t unfit_us; /* the last time that a node was found that may not stand yet */
};

static bool op_ended(const struct world *world, uint64_t number)
{
    const struct op *op = &world->ops.items[number];
    bool removed = members_committed(world)->removed >> op->node & 1; /* it may never hear */
    return op->state != OP_SENT && (op->state != OP_TAKEN || removed);
}

static bool calm_all_applied(const struct world *world, uint64_t index)
{
    uint32_t living = members_living(world);
    for (uint32_t i = 0; i < world->node_count; i++)
        if ((living >> i & 1) && machine_applied(world->nodes[i].machine) < index)
            return false;
    return true;
}

/* Asks the leader for a write and a read until it does both. True when done. A leader that was
 * altered says nothing that counts, so it is asked again and again: only once everybody has what it
 * was asked before, else those who know who is right may never be less far behind. One that is busy
 * is left to others for a while: where there is room for hardly one command, whoever asks all the
 * time may take it from all whose commands are larger. */
static bool calm_probe(struct world *world, struct calm *calm)
{
    if (world->now_us < calm->again_us)
        return false;
    if (calm->write) {
        if (!op_ended(world, calm->write) || !op_ended(world, calm->read))
            return false;
        if (world->ops.items[calm->write].state == OP_OK &&
            world->ops.items[calm->write].code == CONCLAVE_OK &&
            world->ops.items[calm->read].state == OP_OK)
            return true;
        const bool busy = world->ops.items[calm->write].code == CONCLAVE_BUSY;
        calm->write = 0;
        if (busy) {
            calm->again_us = world->now_us + world->knobs.raft.election_timeout_us / 4;
            return false;
        }
    }
    if (audit_pending(world) && !calm_all_applied(world, world->check.oracle.count))
        return false;
    for (uint32_t i = 0; i < world->node_count; i++) {
        if (world->nodes[i].up && &world->nodes[i] == calm_leader(world) &&
            raft_is_serving(world->nodes[i].raft)) {
            clients_probe(world, i, &calm->write, &calm->read);
            break;
        }
    }
    return false;
}

/* A machine whose stored value was altered is found when a command has met that there and
 * elsewhere; the probe's writes meet all keys in the end. One that was mended is heard to agree
 * with its next mark. Each write waits until everybody has the one before: those who know who is
 * right may be far behind, on their way to a snapshot. True while there is one. */
static bool calm_altered(struct world *world, struct calm *calm)
{
    enum { EXTRA_MAX = 100 };
    if (!audit_pending(world))
        return false;
    if (!calm_all_applied(world, world->ops.items[calm->write].index))
        return true;
    if (++calm->extra > EXTRA_MAX)
        check_fail(&world->check, "who differs is found and stops",
                   "a machine that was altered serves on, or is mended and said to differ, after "
                   "%u writes",
                   calm->extra);
    calm->write = 0;
    return true;
}

static uint64_t calm_progress(const struct world *world)
{
    uint64_t progress = 0;
    for (uint32_t i = 0; i < world->node_count; i++)
        progress += (world->nodes[i].exists ? machine_applied(world->nodes[i].machine) : 0) +
                    world->check.nodes[i].disk.count;
    progress += world->watches.frames;
    return progress + world->bytes_received + world->ops.count - clients_pending(world) -
           operator_pending(world);
}

/* Those who queue and those who work ask all the time, which looks like progress: they have to get
 * in, and done. A few of them wait for one another, and for leases that nobody ends. */
static void calm_queues(struct world *world, const struct calm *calm)
{
    const struct knobs *knobs = &world->knobs;
    uint64_t patience_us =
        200 * knobs->raft.election_timeout_us + 40000 * knobs->lock_ttl_ms_max + WATCH_PATIENCE_US;
    if (!lockers_rest(world) && world->now_us > calm->begin_us + patience_us)
        check_fail(&world->check, "who queues gets in", "healed at %" PRIu64 " us, and one waits",
                   calm->begin_us);
    patience_us = (200 + 4 * workers_messages(world)) * knobs->raft.election_timeout_us +
                  40000 * knobs->worker_ttl_ms_max + WATCH_PATIENCE_US;
    if (!workers_rest(world) && world->now_us > calm->begin_us + patience_us)
        check_fail(&world->check, "a group gets done", "healed at %" PRIu64 " us, and one is not",
                   calm->begin_us);
}

/* It repairs its log, or its state machine is behind committed members: it does not stand before
 * that (Rule 24). */
static bool calm_is_unfit(const struct world *world, uint32_t index)
{
    const struct node *node = &world->nodes[index];
    if (node->repairing || !node->up)
        return node->repairing;
    const struct check_log *log = &world->check.nodes[index].memory;
    const struct check_entry *entry = check_log_at(log, raft_commit(node->raft));
    return entry && entry->config_at > machine_applied(node->machine);
}

/* Ten election timeouts of at most 2T each on a clock that may be slow by a fifth, without any
 * progress: the cluster does not come to rest. */
static void calm_patience(struct world *world, struct calm *calm)
{
    uint64_t patience = world->knobs.raft.election_timeout_us * 25;
    uint64_t progress = calm_progress(world);
    for (uint32_t i = 0; i < world->node_count; i++)
        if (calm_is_unfit(world, i)) /* which takes its time, and may be most of them */
            calm->unfit_us = world->now_us;
    if (!calm->leader_found) {
        uint64_t since_us = calm->unfit_us > calm->begin_us ? calm->unfit_us : calm->begin_us;
        calm->leader_found = calm_leader(world) != NULL;
        if (!calm->leader_found && world->now_us > since_us + patience)
            check_fail(&world->check, "a leader in ten election timeouts",
                       "everything was healed at %" PRIu64 " us", calm->begin_us);
    }
    if (!watches_rest(world)) /* one whose node died says so to itself when it heard nothing long */
        patience += WATCH_PATIENCE_US;
    calm_queues(world, calm);
    if (progress != calm->progress) {
        calm->progress = progress;
        calm->since_us = world->now_us;
    } else if (world->now_us > calm->since_us + patience) {
        check_fail(
            &world->check, "everything resolves",
            "healed at %" PRIu64 " us, no progress since %" PRIu64 ": %" PRIu64
            " operations pending, %" PRIu64 " changes, %" PRIu32
            " leases, states %s, members %s, watchers %s, a write and a read at the leader %s",
            calm->begin_us, calm->since_us, clients_pending(world), operator_pending(world),
            world->reference.leases.count, calm_equal_states(world) ? "equal" : "not equal",
            calm_members_rest(world) ? "settled" : "not settled",
            watches_rest(world) ? "told" : "not told", calm->write ? "under way" : "not possible");
    } else if (world->now_us > calm->begin_us + patience * (100 + world->check.oracle.count)) {
        check_fail(&world->check, "everything resolves", "healed at %" PRIu64 " us, no rest yet",
                   calm->begin_us);
    }
}

/* Nodes that were removed, run, and do not know it. */
static uint32_t calm_unaware(const struct world *world)
{
    uint32_t unaware = 0;
    uint32_t removed = members_committed(world)->removed;
    for (uint32_t i = 0; i < world->node_count; i++) {
        const struct check_log *log = &world->check.nodes[i].memory;
        const struct check_config *own = check_config_at(&world->check, log, log->count);
        if ((removed >> i & 1) && world->nodes[i].up && (own->members >> i & 1))
            unaware |= UINT32_C(1) << i;
    }
    return unaware;
}

/* A cluster at rest stays at rest, whatever removed nodes and blank disks try. */
static void calm_stays(struct world *world)
{
    uint32_t unaware = calm_unaware(world);
    bool blank = false;
    for (uint32_t i = 0; i < world->node_count; i++)
        blank |= world->nodes[i].blank && world->nodes[i].up;
    if ((unaware == 0 && !blank) || world->knobs.priorities) /* those move leaders by themselves */
        return;
    uint64_t timeout_us = world->knobs.raft.election_timeout_us;
    uint64_t begin_us = world->now_us;
    const struct node *leader = NULL;
    uint64_t term = 0;
    while (world->now_us < begin_us + 5 * timeout_us && world_next(world)) {
        if (world->now_us < begin_us + 2 * timeout_us) /* a transfer may still be under way */
            continue;
        const struct node *now = calm_leader(world);
        if (!leader) {
            leader = now;
            term = now ? raft_hard_state(now->raft).term : 0;
        } else if (now != leader || raft_hard_state(now->raft).term != term) {
            check_fail(&world->check, "removed nodes disturb nobody",
                       "n%u led term %" PRIu64 " at rest, and leads no more; removed and unaware "
                       "are the nodes of mask %#x",
                       world_index(world, leader) + 1, term, unaware);
        }
    }
    for (; unaware; unaware &= unaware - 1)
        report_mark(&world->report, SIM_MARK_REMOVED_UNAWARE);
}

/* Nodes without which the others have to get on: any, as long as every configuration that may be in
 * force keeps its majorities. Whose machine was altered stops when that is found, and is none to
 * rely on; nor is who repairs its log, which may take longer than an election. */
static uint32_t calm_away(struct world *world)
{
    uint32_t away = 0, members = members_committed(world)->members;
    uint32_t lost = members_lost(world) | (members & ~members_living(world));
    for (uint32_t i = 0; i < world->node_count; i++)
        lost |= (uint32_t)world->nodes[i].repairing << i;
    if (world->knobs.on[SIM_FAULT_ALTER] || operator_pending(world) > 0 ||
        world_draw(world, 0, 1) == 0)
        return 0;
    uint32_t first = (uint32_t)world_draw(world, 0, world->node_count - 1);
    for (uint32_t i = 0; i < world->node_count; i++) {
        uint32_t index = (first + i) % world->node_count;
        uint32_t one = UINT32_C(1) << index;
        if (!world->nodes[index].blank && world_draw(world, 0, 2) > 0 &&
            members_survive(world, lost | away | one) && world_grant(world, SIM_ACTION_STAY_AWAY))
            away |= one;
    }
    return away;
}

/* A majority is enough for a leader, a write and a read. */
static void calm_majority(struct world *world, uint32_t away)
{
    struct calm calm = {.begin_us = world->now_us, .since_us = world->now_us};
    faults_end(world, away);
    for (uint64_t i = 1; world_next(world); i++) {
        if (i % 32)
            continue;
        calm_patience(world, &calm);
        if (calm_probe(world, &calm)) {
            report_mark(&world->report, SIM_MARK_MINORITY_AWAY);
            return;
        }
    }
}

void world_calm(struct world *world)
{
    struct knobs *knobs = &world->knobs;
    uint64_t quick = knobs->raft.election_timeout_us / 40;
    uint64_t *delays[] = {&knobs->network_us_max, &knobs->disk_us_max,     &knobs->machine_us_max,
                          &knobs->wake_us_max,    &knobs->snapshot_us_max, &knobs->hub_us_max};
    for (size_t i = 0; i < sizeof delays / sizeof *delays; i++) {
        if (*delays[i] > quick)
            *delays[i] = quick;
    }
    knobs->wake_events_max = UINT32_MAX; /* a node that had fallen behind can catch up */
    uint32_t away = calm_away(world);
    if (away)
        calm_majority(world, away);
    if (world->check.failed)
        return;
    faults_end(world, 0);
    struct calm calm = {.begin_us = world->now_us, .since_us = world->now_us};
    for (uint64_t i = 1; world_next(world); i++) {
        if (i % 32)
            continue;
        calm_patience(world, &calm);
        if (!calm_probe(world, &calm) || clients_pending(world) > 0)
            continue;
        if (calm_altered(world, &calm))
            continue;
        if (world->reference.settings[KV_SETTING_QUOTA]) { /* one that was on its way came later */
            calm.write = 0;
            continue;
        }
        if (calm_equal_states(world) && calm_members_rest(world) && watches_rest(world) &&
            lockers_rest(world) && workers_rest(world) && scatter_rest(world) &&
            world->reference.leases.count == 0) { /* what is due ends */
            calm_stays(world);
            return;
        }
    }
}

#include "tests/sim/world.h"

#include "base/fatal.h"
#include "base/list.h"
#include "tests/sim/history.h"
#include "tests/sim/map.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* --- Making a world --------------------------------------------------------------------------- */

static void world_make_members(struct world *world)
{
    struct raft_configuration *configuration = mem_zalloc(sizeof *configuration);
    configuration->member_count = world->node_count;
    for (uint32_t i = 0; i < world->node_count; i++) {
        struct raft_member *member = &configuration->members[i];
        /* The low bits make ids unique; the order of ids is not that of the nodes. */
        world->ids[i] = (prng_next(&world->prng) >> 16 << 4) + i + 1;
        member->id = world->ids[i];
        member->flags =
            i < world->knobs.voter_count ? (uint32_t)RAFT_MEMBER_VOTER : RAFT_MEMBER_LEARNER;
        snprintf(member->name, sizeof member->name, "n%" PRIu32, i + 1);
        snprintf(member->peer, sizeof member->peer, "sim://n%" PRIu32, i + 1);
    }
    world->configuration = configuration;
    world->configuration_payload = raft_configuration_encode(configuration);
}

struct world *world_create(uint64_t seed, bool trace)
{
    return world_create_granting(seed, trace, NULL);
}

struct world *world_create_granting(uint64_t seed, bool trace, const struct decision_list *only)
{
    struct world *world = mem_zalloc(sizeof *world);
    world->seed = seed;
    world->decisions.only = only;
    prng_init(&world->prng, seed);
    knobs_draw(&world->knobs, &world->prng);
    world->node_count = world->knobs.voter_count + world->knobs.learner_count;
    ASSERT(world->node_count <= SIM_NODES_MAX);
    world->cluster_id = prng_next(&world->prng) >> 11;
    world_make_members(world);
    world->report.trace = trace;
    world->report.ids = world->ids;
    world->report.node_count = world->node_count;
    check_init(&world->check, &world->knobs.raft, world->ids, world->node_count, &world->ops);
    world->check.proposal_bytes_max =
        (uint64_t)(world->knobs.burst_max + 1) * (COMMAND_BYTES_MAX + world->knobs.pad_max);
    reference_init(&world->reference, &world->knobs.sessions);
    struct buf *payload = world->configuration_payload;
    check_bootstrap(&world->check,
                    &(struct raft_entry){.id = {.term = 1, .index = 1},
                                         .kind = RAFT_ENTRY_CONFIG,
                                         .payload = {payload->data, payload->bytes}});
    members_start(world);
    return world;
}

void world_destroy(struct world *world)
{
    struct sim_event event;
    while (queue_pop(&world->queue, &event)) {
        if (event.kind == SIM_DELIVER)
            network_forget(&event);
        else if (event.kind == SIM_BULK || event.kind >= SIM_MARKS)
            buf_unref(event.ptr);
    }
    queue_deinit(&world->queue);
    for (uint32_t i = 0; i < world->node_count; i++)
        node_deinit(&world->nodes[i]);
    for (uint32_t i = 0; i < SIM_CLIENTS_MAX; i++)
        free(world->clients[i].commands.items);
    watches_deinit(world);
    check_deinit(&world->check);
    reference_deinit(&world->reference);
    free(world->commits.items);
    decisions_deinit(&world->decisions);
    ops_deinit(&world->ops);
    free(world->changes.items);
    buf_unref(world->configuration_payload);
    free(world->configuration);
    free(world);
}

void world_remove_files(const struct world *world)
{
    for (uint32_t i = 0; i < world->node_count; i++) {
        if (world->nodes[i].machine)
            machine_remove_files(world->nodes[i].machine);
    }
}

/* --- What the modules share --------------------------------------------------------------------
 */

void world_push(struct world *world, uint64_t delay_us, struct sim_event event)
{
    event.at_us = world->now_us + delay_us;
    queue_push(&world->queue, event);
}

uint64_t world_draw(struct world *world, uint64_t low, uint64_t high)
{
    return prng_between(&world->prng, low, high);
}

bool world_grant(struct world *world, uint32_t kind)
{
    uint64_t number;
    if (!decisions_grant(&world->decisions, kind, world->now_us, &number))
        return false;
    world->report.decisions[kind]++;
    report_event(
        &world->report,
        (struct record){.at_us = world->now_us, .kind = RECORD_DECISION, .v = {kind, number}});
    return true;
}

bool world_fault(struct world *world, enum sim_fault fault)
{
    return !world->calm && knobs_chance(&world->prng, world->knobs.chance[fault]) &&
           world_grant(world, fault);
}

uint32_t world_leader(struct world *world)
{
    uint32_t leaders[SIM_NODES_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < world->node_count; i++) {
        if (world->nodes[i].up && raft_role(world->nodes[i].raft) == RAFT_LEADER)
            leaders[count++] = i;
    }
    return count > 0 ? leaders[world_draw(world, 0, count - 1)]
                     : (uint32_t)world_draw(world, 0, world->node_count - 1);
}

/* --- Running ---------------------------------------------------------------------------------- */

/* Every event has a generator of its own, made of the seed, the kind of event, whom it concerns and
 * how many of these there were. So what one event draws does not depend on how much another drew: a
 * run without one of its faults stays near the run that had it, which is what shrinking lives on.
 */
static void world_reseed(struct world *world, const struct sim_event *event)
{
    uint64_t who = event->kind == SIM_CLIENT ? event->a : event->node;
    ASSERT((uint32_t)event->kind < SIM_STREAM_KINDS && who < SIM_STREAM_NODES);
    uint64_t number = ++world->drawn[event->kind][who];
    uint64_t stream = hash_mix(hash_mix(world->seed, (uint64_t)event->kind << 32 | who), number);
    prng_init(&world->prng, stream);
}

static void world_dispatch(struct world *world, const struct sim_event *event)
{
    world->now_us = event->at_us;
    world->tick++;
    world->events += event->kind < SIM_HUB; /* those of watches come on top */
    world_reseed(world, event);
    switch (event->kind) {
    case SIM_DELIVER:
        network_deliver(world, event);
        break;
    case SIM_WAKE:
    case SIM_TIMER:
    case SIM_SYNCED:
    case SIM_PERSISTED:
    case SIM_MACHINE:
    case SIM_APPLIED:
    case SIM_SNAPSHOT:
    case SIM_STREAM:
        node_event(world, &world->nodes[event->node], event);
        break;
    case SIM_BULK:
        streams_deliver(world, event);
        break;
    case SIM_REQUEST:
    case SIM_CLIENT:
    case SIM_STRAY:
        clients_event(world, event);
        break;
    case SIM_FAULT:
    case SIM_CRASH:
    case SIM_RESTART:
    case SIM_HEAL:
        faults_event(world, event);
        break;
    case SIM_OPERATOR:
    case SIM_CHANGE:
        operator_event(world, event);
        break;
    case SIM_REPAIR:
        repair_event(world, event);
        break;
    case SIM_AUDIT:
    case SIM_MARKS:
        audit_event(world, event);
        break;
    case SIM_HUB:
    case SIM_WATCHER:
    case SIM_ASKED:
    case SIM_TOLD:
        watches_event(world, event);
        break;
    case SIM_CLOCK:
        clock_event(world, event);
        break;
    case SIM_JOIN:
    case SIM_STOP:
        members_event(world, event);
        break;
    }
}

static void world_note_commit(struct world *world)
{
    uint64_t count = world->check.oracle.count;
    if (world->commits.count && world->commits.items[world->commits.count - 1].count == count)
        return;
    LIST_RESERVE(&world->commits);
    world->commits.items[world->commits.count++] =
        (struct commit){.at_us = world->now_us, .tick = world->tick, .count = count};
}

/* False when the run is over: a violation, or nothing left to happen. */
static bool world_next(struct world *world)
{
    struct sim_event event;
    if (world->check.failed || !queue_pop(&world->queue, &event))
        return false;
    world_dispatch(world, &event);
    world_note_commit(world);
    if (world->watch)
        world->watch(world);
    return !world->check.failed;
}

/* A leader that a majority of the voters follows; NULL: there is none. */
static const struct node *calm_leader(const struct world *world)
{
    for (uint32_t i = 0; i < world->node_count; i++) {
        const struct node *node = &world->nodes[i];
        if (!node->up || node->blank || raft_role(node->raft) != RAFT_LEADER)
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
    uint32_t extra;       /* probes that are done only to touch what may have been altered */
    bool leader_found;
};

static bool op_ended(const struct world *world, uint64_t number)
{
    const struct op *op = &world->ops.items[number];
    bool removed = members_committed(world)->removed >> op->node & 1; /* it may never hear */
    return op->state != OP_SENT && (op->state != OP_TAKEN || removed);
}

/* Asks the leader for a write and a read until it does both. True when done. */
static bool calm_probe(struct world *world, struct calm *calm)
{
    if (calm->write) {
        if (!op_ended(world, calm->write) || !op_ended(world, calm->read))
            return false;
        if (world->ops.items[calm->write].state == OP_OK &&
            world->ops.items[calm->read].state == OP_OK)
            return true;
        calm->write = 0;
    }
    for (uint32_t i = 0; i < world->node_count; i++) {
        if (world->nodes[i].up && &world->nodes[i] == calm_leader(world) &&
            raft_is_serving(world->nodes[i].raft)) {
            clients_probe(world, i, &calm->write, &calm->read);
            break;
        }
    }
    return false;
}

/* A machine whose stored value was altered is found when a command has met that; the probe's writes
 * meet all keys in the end. True while there is one. */
static bool calm_altered(struct world *world, struct calm *calm)
{
    enum { EXTRA_MAX = 100 };
    if (!audit_pending(world))
        return false;
    if (++calm->extra > EXTRA_MAX)
        check_fail(&world->check, "who differs is found and stops",
                   "an altered machine serves on after %u writes", calm->extra);
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

/* Ten election timeouts of at most 2T each on a clock that may be slow by a fifth, without any
 * progress: the cluster does not come to rest. */
static void calm_patience(struct world *world, struct calm *calm)
{
    uint64_t patience = world->knobs.raft.election_timeout_us * 25;
    uint64_t progress = calm_progress(world);
    if (!calm->leader_found) {
        calm->leader_found = calm_leader(world) != NULL;
        if (!calm->leader_found && world->now_us > calm->begin_us + patience)
            check_fail(&world->check, "a leader in ten election timeouts",
                       "everything was healed at %" PRIu64 " us", calm->begin_us);
    }
    if (!watches_rest(world)) /* one whose node died says so to itself when it heard nothing long */
        patience += WATCH_PATIENCE_US;
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

static void world_calm(struct world *world)
{
    struct knobs *knobs = &world->knobs;
    uint64_t quick = knobs->raft.election_timeout_us / 40;
    uint64_t *delays[] = {&knobs->network_us_max, &knobs->disk_us_max, &knobs->machine_us_max,
                          &knobs->wake_us_max, &knobs->snapshot_us_max};
    for (size_t i = 0; i < sizeof delays / sizeof *delays; i++) {
        if (*delays[i] > quick)
            *delays[i] = quick;
    }
    knobs->wake_events_max = UINT32_MAX; /* a node that had fallen behind can catch up */
    faults_end(world);
    struct calm calm = {.begin_us = world->now_us, .since_us = world->now_us};
    for (uint64_t i = 1; world_next(world); i++) {
        if (i % 32)
            continue;
        calm_patience(world, &calm);
        if (!calm_probe(world, &calm) || clients_pending(world) > 0)
            continue;
        if (calm_altered(world, &calm))
            continue;
        if (calm_equal_states(world) && calm_members_rest(world) && watches_rest(world) &&
            world->reference.leases.count == 0) { /* what is due ends */
            calm_stays(world);
            return;
        }
    }
}

uint64_t world_fastest(const struct world *world)
{
    uint64_t rate = 1;
    for (uint32_t i = 0; i < world->node_count; i++) {
        if (world->nodes[i].clock_rate > rate)
            rate = world->nodes[i].clock_rate;
    }
    return rate;
}

static void world_check_history(struct world *world)
{
    char text[256];
    enum history_verdict verdict = HISTORY_UNDECIDED;
    if (!world->check.failed)
        verdict = history_check(&world->ops, world_fastest(world), text, sizeof text);
    if (verdict == HISTORY_VIOLATED)
        check_fail(&world->check, "linearizability", "%s", text);
    for (uint64_t i = 1; i <= world->ops.count; i++) {
        const struct op *op = &world->ops.items[i];
        if (op->committed && op->state != OP_OK && op->state != OP_DENIED)
            report_mark(&world->report, SIM_MARK_LOST_COMMITTED);
    }
    uint64_t *marks = world->report.marks;
    marks[verdict == HISTORY_UNDECIDED ? SIM_MARK_HISTORY_UNDECIDED : SIM_MARK_HISTORY_SEARCHED]++;
    marks[SIM_MARK_COMMIT_OLD_TERM] += world->check.oracle_old_terms;
    marks[SIM_MARK_SESSION_LIMIT] += world->reference.ended_by_limit;
    marks[SIM_MARK_SESSION_TIME] += world->reference.ended_by_time;
    marks[SIM_MARK_SESSION_SWEPT] += world->reference.swept;
}

struct world_result world_run(struct world *world, uint64_t steps)
{
    clients_start(world);
    faults_start(world);
    operator_start(world);
    watches_start(world);
    for (uint32_t i = 0; i < world->node_count; i++)
        world_push(world, world_draw(world, 0, world->knobs.raft.election_timeout_us),
                   (struct sim_event){.kind = SIM_RESTART, .node = i});
    while (world->events < steps && world_next(world))
        continue;
    if (!world->check.failed)
        world_calm(world);
    for (uint32_t i = 0; i < world->node_count && !world->check.failed; i++) {
        if (world->nodes[i].up && machine_applied(world->nodes[i].machine) > 0)
            check_machine_snapshot(world, &world->nodes[i]);
    }
    world_check_history(world);
    return (struct world_result){.ok = !world->check.failed,
                                 .hash = world->report.hash,
                                 .events = world->events,
                                 .steps = world->steps};
}

/* --- Telling ---------------------------------------------------------------------------------- */

void world_print_knobs(const struct world *world, FILE *out)
{
    const struct knobs *knobs = &world->knobs;
    const struct raft_options *raft = &knobs->raft;
    fprintf(out,
            "%" PRIu32 " voters, %" PRIu32 " learners, election timeout %" PRIu64
            " us, heartbeat %" PRIu64 " us\n",
            knobs->voter_count, knobs->learner_count, raft->election_timeout_us,
            raft->heartbeat_us);
    fprintf(out,
            "append %" PRIu32 " entries %" PRIu64 " bytes, in flight %" PRIu32 " messages %" PRIu64
            " bytes, uncommitted %" PRIu64 ", apply %" PRIu64 ", reads %" PRIu32 "\n",
            raft->append_entries_max, raft->append_bytes_max, raft->inflight_messages_max,
            raft->inflight_bytes_max, raft->uncommitted_bytes_max, raft->apply_bytes_max,
            raft->reads_max);
    fprintf(out,
            "delays at most: network %" PRIu64 ", disk %" PRIu64 ", state machine %" PRIu64
            ", spikes %" PRIu64 " us; %" PRIu32 " clients, bursts of %" PRIu32 "\nfaults: ",
            knobs->network_us_max, knobs->disk_us_max, knobs->machine_us_max, knobs->spike_us_max,
            knobs->client_count, knobs->burst_max);
    if (knobs->real_wire)
        fprintf(out, "[real wire]");
    if (knobs->real_disk)
        fprintf(out, "[real disk, segments %" PRIu64 " bytes]", knobs->storage.segment_bytes);
    if (knobs->real_machine)
        fprintf(out, "[real machine]");
    if (knobs->twin_machine)
        fprintf(out, "[machine in memory and in files]");
    if (knobs->changes.on)
        fprintf(out, "[members change, %" PRIu32 " to %" PRIu32 " voters]",
                knobs->changes.voters_min, knobs->changes.voters_max);
    const char *separator = "";
    for (int i = 0; i < SIM_FAULT_COUNT; i++) {
        if (!knobs->on[i])
            continue;
        fprintf(out, "%s%s", separator, knobs_fault_text((enum sim_fault)i));
        separator = ", ";
    }
    fputc('\n', out);
}

void world_print_failure(const struct world *world, FILE *out)
{
    fprintf(out, "seed %" PRIu64 " violates \"%s\" at %" PRIu64 " us, event %" PRIu64 ":\n  %s\n",
            world->seed, world->check.invariant, world->now_us, world->events, world->check.text);
    world_print_knobs(world, out);
    fprintf(out, "the last events:\n");
    report_print_last(&world->report, out);
}

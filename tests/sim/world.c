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
        (world->knobs.burst_max + 1) * knobs_command_bytes(&world->knobs);
    reference_init(&world->reference, &world->knobs.sessions);
    if (world->knobs.rich)
        reference_remember(&world->reference);
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
    lockers_deinit(world);
    hands_deinit(&world->hands);
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
    case SIM_FIRED:
    case SIM_SYNCED:
    case SIM_PERSISTED:
    case SIM_MACHINE:
    case SIM_APPLIED:
    case SIM_FETCHED:
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
    case SIM_ASKED:
        hubs_event(world, event);
        break;
    case SIM_WATCHER:
    case SIM_TOLD:
        watches_event(world, event);
        break;
    case SIM_CLOCK:
        clock_event(world, event);
        break;
    case SIM_LOCKER:
        lockers_event(world, event);
        break;
    case SIM_WORKER:
        workers_event(world, event);
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

bool world_next(struct world *world)
{
    struct sim_event event;
    if (world->check.failed || !queue_pop(&world->queue, &event))
        return false;
    world_dispatch(world, &event);
    check_moment(&world->check, world->now_us);
    world_note_commit(world);
    if (world->watch)
        world->watch(world);
    return !world->check.failed;
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

static void world_marks(struct world *world)
{
    for (uint64_t i = 1; i <= world->ops.count; i++) {
        const struct op *op = &world->ops.items[i];
        if (op->committed && op->state != OP_OK && op->state != OP_DENIED)
            report_mark(&world->report, SIM_MARK_LOST_COMMITTED);
    }
    const struct reference_counts *counts = &world->reference.counts;
    uint64_t *marks = world->report.marks;
    marks[SIM_MARK_COMMIT_OLD_TERM] += world->check.oracle_old_terms;
    marks[SIM_MARK_SESSION_LIMIT] += counts->ended_by_limit;
    marks[SIM_MARK_SESSION_TIME] += counts->ended_by_time;
    marks[SIM_MARK_SESSION_SWEPT] += counts->swept;
    marks[SIM_MARK_TXN_PUBLISHED] += counts->published_with_keys;
    marks[SIM_MARK_TOPIC_TRIMMED] += counts->trimmed;
    marks[SIM_MARK_DUPLICATE_LATER] += counts->duplicates_later;
    marks[SIM_MARK_LOCK_HANDED] += counts->handed_on;
    marks[SIM_MARK_OVER_QUOTA] += counts->over_quota;
    marks[SIM_MARK_HANDED_AGAIN] += counts->handed_again;
    marks[SIM_MARK_HANDED_LATER] += counts->handed_again_later;
    marks[SIM_MARK_HANDED_FULL] += counts->full;
    marks[SIM_MARK_LETTER] += counts->letters;
    marks[SIM_MARK_LETTER_HOMELESS] += counts->letters_homeless;
    marks[SIM_MARK_MEMBER_ENDED] += counts->members_ended;
    marks[SIM_MARK_GROUP_DROPPED] += counts->dropped;
}

static void world_check_history(struct world *world)
{
    char text[256];
    enum history_verdict verdict = HISTORY_UNDECIDED;
    if (world->knobs.rich) { /* what clients saw was compared with the rules, one by one */
        world_marks(world);
        return;
    }
    if (!world->check.failed)
        verdict = history_check(&world->ops, world_fastest(world), text, sizeof text);
    if (verdict == HISTORY_VIOLATED)
        check_fail(&world->check, "linearizability", "%s", text);
    world_marks(world);
    report_mark(&world->report, verdict == HISTORY_UNDECIDED ? SIM_MARK_HISTORY_UNDECIDED
                                                             : SIM_MARK_HISTORY_SEARCHED);
}

struct world_result world_run(struct world *world, uint64_t steps)
{
    clients_start(world);
    faults_start(world);
    operator_start(world);
    watches_start(world);
    lockers_start(world);
    workers_start(world);
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
    if (knobs->txn_chance)
        fprintf(out, "[transactions]");
    if (knobs->topics_rich)
        fprintf(out, "[topics with retention]");
    if (knobs->locker_count)
        fprintf(out, "[%" PRIu32 " clients queue]", knobs->locker_count);
    if (knobs->worker_count)
        fprintf(out, "[%" PRIu32 " members of work groups]", knobs->worker_count);
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

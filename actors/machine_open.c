/* How the state machine comes to its state: it is opened, and becomes a snapshot if the log does
 * not reach it. */
#include "actors/machine_actor.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fatal.h"
#include "base/list.h"
#include "machine/kv.h"

#include <stdlib.h>

static void stash_add(struct machine_stash *stash, struct envelope *envelope)
{
    LIST_RESERVE(stash);
    stash->items[stash->count++] = envelope;
}

void machine_actor_clear_stash(struct machine_stash *stash)
{
    while (stash->next < stash->count)
        envelope_destroy(stash->items[stash->next++]);
    free(stash->items);
    *stash = (struct machine_stash){0};
}

static int open_store(struct actor *actor, struct machine *machine, uint64_t *ret_applied,
                      struct conclave_error *error)
{
    const struct node *node = actor->node;
    struct conclave_machine_env env = {
        .dir = node->machine_dir,
        .cluster_id = node->identity.cluster_id,
        .node_id = node->identity.node_id,
    };
    clock_boot_id(env.boot_id);
    int code = session_layer_open(machine->sessions, &env, ret_applied, error);
    machine->opened = code == CONCLAVE_OK;
    return code;
}

/* No valid state holds more: with one that does, snapshot and log are of another one. */
static uint64_t log_last(const struct node_recovered *recovered)
{
    uint64_t last = recovered->entries.entry_count ? raft_runs_last(&recovered->entries).index
                                                   : recovered->base.index;
    return last > recovered->snapshot.last.index ? last : recovered->snapshot.last.index;
}

static void log_opened(const struct actor *actor, uint64_t applied)
{
    log_event(&actor->node->logger, CONCLAVE_LOG_INFO, actor->ops->name, "machine_opened",
              "applied=%llu", (unsigned long long)applied);
}

/* Without room for its store, or for the snapshot that it is to become, the machine counts as one
 * that holds what snapshots and log say it must, and what raft sends waits until it does. */
static int machine_open(struct actor *actor, struct conclave_error *error)
{
    struct node *node = actor->node;
    struct machine *machine = mem_zalloc(sizeof *machine);
    machine->ops = node->options.machine;
    machine->arg = node->options.machine_arg;
    machine->sessions = session_layer_create(machine->ops, machine->arg);
    uint64_t applied = 0;
    int code = open_store(actor, machine, &applied, error);
    if (!code || code == CONCLAVE_NO_SPACE)
        code = machine_snapshot_start(actor, &machine->snapshot,
                                      machine->opened ? machine->sessions : NULL, &applied, error);
    if (code) {
        if (machine->opened && machine->ops->close)
            machine->ops->close(machine->arg);
        machine_snapshot_deinit(&machine->snapshot);
        session_layer_destroy(machine->sessions);
        free(machine);
        return code;
    }
    machine->due_ms = UINT64_MAX;
    node->recovered.applied_index = applied;
    machine->log_last = log_last(&node->recovered);
    actor->state = machine;
    machine_actor_is_to_become(actor, machine->snapshot.unrestored);
    machine->install_waits = !machine->opened || machine->install.index > 0;
    if (machine->install_waits)
        applied = 0;
    machine_apply_init(&machine->apply, machine->sessions, applied);
    machine_apply_tell_room(actor, &machine->apply, machine->install_waits);
    if (machine->opened)
        log_opened(actor, applied);
    machine_streams_start(node, &machine->streams);
    if (node->feed[0])
        machine_broadcast_init(&machine->broadcast, machine->streams.hub, kv_topic_feed(node->kv));
    machine_actor_store_progress(actor);
    return CONCLAVE_OK;
}

int machine_actor_start(struct actor *actor, struct conclave_error *error)
{
    struct node *node = actor->node;
    if (node->repairing)
        return CONCLAVE_OK;
    int code = machine_open(actor, error);
    if (!code || !node->recovered.snapshot_lacking)
        return code;
    /* Other nodes have snapshots. The threads that start behind this one see it, and the log-writer
     * is told. */
    log_event(&node->logger, CONCLAVE_LOG_ERROR, actor->ops->name, "damaged", "reason=\"%s\"",
              error->message);
    *error = (struct conclave_error){0};
    node->repairing = true;
    return CONCLAVE_OK;
}

/* OK, or STOPPING: the node ends before. */
static int await_repair(struct actor *actor, struct machine_stash *early)
{
    for (;;) {
        inbox_wait(&actor->inbox, -1);
        for (struct envelope *envelope; (envelope = inbox_receive(&actor->inbox));) {
            enum envelope_type type = envelope->type;
            if (type == ENVELOPE_INTERESTS) {
                stash_add(early, envelope);
                continue;
            }
            envelope_destroy(envelope);
            if (type == ENVELOPE_STOP || type == ENVELOPE_QUIT)
                return CONCLAVE_STOPPING;
            if (type == ENVELOPE_REPAIRED)
                return CONCLAVE_OK;
            /* Another node may want a snapshot that turns out to be damaged here, too. */
            ASSERT(type == ENVELOPE_SNAPSHOT_WANTED);
        }
    }
}

int machine_actor_open_late(struct actor *actor, struct conclave_error *error)
{
    struct machine_stash early = {0}; /* what subscribers of the feed want */
    int code = await_repair(actor, &early);
    if (!code)
        code = machine_open(actor, error);
    if (code) {
        machine_actor_clear_stash(&early);
        return code;
    }
    ((struct machine *)actor->state)->stash = early;
    struct envelope *start = node_start_envelope(actor->node);
    actor_send(actor, ACTOR_RAFT, &start);
    return CONCLAVE_OK;
}

/* Waits until the helper has ended the snapshot that it has; what else comes is taken later. */
static void await_snapshot(struct actor *actor)
{
    struct machine *machine = actor->state;
    while (machine->snapshot.taken) {
        inbox_wait(&actor->inbox, -1);
        for (struct envelope *envelope; (envelope = inbox_receive(&actor->inbox));) {
            if (envelope->type == ENVELOPE_SNAPSHOT_DONE) {
                machine_snapshot_done(actor->node, &machine->snapshot, envelope->snapshot_done.code,
                                      envelope->snapshot_done.state_bytes);
                envelope_destroy(envelope);
                continue;
            }
            stash_add(&machine->stash, envelope);
        }
    }
}

/* A start found no room for the store. It may hold more than what raft began with, since nobody
 * could look, and then there is no snapshot to become: raft's log holds all of it, is told of no
 * newer snapshot than its end, and what it sends once more is passed over. */
static int open_again(struct actor *actor, struct conclave_error *error)
{
    struct machine *machine = actor->state;
    uint64_t held = 0;
    int code = open_store(actor, machine, &held, error);
    if (code)
        return code;
    if (held > machine->log_last)
        return error_set(error, CONCLAVE_CORRUPT,
                         "the state machine holds entry %llu and the log ended at %llu",
                         (unsigned long long)held, (unsigned long long)machine->log_last);
    log_opened(actor, held);
    machine->apply.held = held;
    if (machine->install.index <= held) {
        machine_actor_is_to_become(actor, (struct raft_id){0});
        machine->apply.applied = actor->node->recovered.applied_index;
    }
    return CONCLAVE_OK;
}

int machine_actor_install(struct actor *actor, struct conclave_error *error)
{
    struct machine *machine = actor->state;
    uint64_t began_us = clock_now_us();
    if ((!machine->install.index && machine->opened) || machine_apply_waits(&machine->apply) ||
        (machine->install_waits && began_us < machine->install_due_us))
        return CONCLAVE_OK;
    await_snapshot(actor); /* one of the state that goes */
    int code = machine->opened ? CONCLAVE_OK : open_again(actor, error);
    if (!code && machine->install.index)
        code = machine_snapshot_install(actor, &machine->snapshot, machine->sessions,
                                        machine->install, error);
    machine->install_waits = code == CONCLAVE_NO_SPACE;
    uint64_t ended_us = clock_now_us(); /* reading a large one takes a while */
    machine->install_due_us =
        ended_us + 4 * (ended_us - began_us) + (uint64_t)MACHINE_RETRY_MS * 1000;
    if (code && code != CONCLAVE_NO_SPACE)
        return code;
    machine_apply_tell_room(actor, &machine->apply, machine->install_waits);
    if (machine->install_waits)
        return CONCLAVE_OK;
    if (machine->install.index) {
        ASSERT(machine->install.index > machine->apply.applied);
        machine->apply.applied = machine->install.index;
        machine_actor_is_to_become(actor, (struct raft_id){0});
    }
    machine_streams_applied(&machine->streams);
    machine_actor_note_progress(actor);
    return CONCLAVE_OK;
}

void machine_actor_end_snapshot(struct actor *actor)
{
    struct machine *machine = actor->state;
    if (!machine->snapshot.taken)
        return;
    struct envelope *cancel = envelope_create(ENVELOPE_SNAPSHOT_CANCEL);
    actor_send(actor, ACTOR_SNAPSHOT, &cancel);
    await_snapshot(actor);
}

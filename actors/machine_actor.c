/* The state-machine actor: applies what is committed, answers the clients that wait for it, and
 * answers queries once everything that linearizability asks for has been applied. The only thread
 * that calls the machine. */
#include "actors/machine_apply.h"
#include "actors/machine_broadcast.h"
#include "actors/machine_queries.h"
#include "actors/machine_snapshot.h"
#include "actors/machine_streams.h"
#include "actors/node.h"
#include "base/clock.h"
#include "base/fatal.h"
#include "base/list.h"
#include "machine/kv.h"
#include "machine/reply.h"
#include "machine/session_layer.h"

#include <stdlib.h>
#include <string.h>

enum {
    ROOM_MS = 50,   /* how often it is asked for its room at most */
    APPLIED_MS = 5, /* how often raft is woken to look how far it is at most */
    TRICKLE_MS = 20 /* how often a part of its store is written to disk at most */
};

/* Taken from the inbox while something else was waited for; come first. */
struct stash {
    struct envelope **items;
    uint32_t next, count, capacity;
};

struct machine {
    const struct conclave_machine_ops *ops;
    void *arg;
    struct session_layer *sessions; /* in front of the machine */
    struct machine_apply apply;
    struct machine_snapshot snapshot;
    struct raft_id install; /* what it is to become after the backlog; index 0: nothing */
    bool install_waits;     /* it found no room: the old state is gone, and the new one not there */
    uint64_t install_due_us; /* when to try again */

    struct stash stash;

    uint64_t due_ms;       /* as the network knows it */
    uint64_t due_clock_ms; /* cluster time as of when it was told */
    struct {
        bool lacking, asked; /* there was little the last time; something was applied since */
        uint64_t next_us;    /* when to look again at the earliest */
    } room;
    bool untold;      /* raft was not woken since the last apply */
    uint64_t told_us; /* when it was the last time */

    uint64_t trickle_us; /* when the last part of the store was */
    struct machine_queries queries;
    struct machine_streams streams;
    struct machine_broadcast broadcast;
    struct reply_list replies; /* gathered, sent once a wake-up */
};

/* What is committed cannot be applied for want of room. */
static bool lacks_room(const struct machine *machine)
{
    return machine->install_waits || machine_apply_waits(&machine->apply);
}

/* What status shows. */
static uint64_t revision(const struct actor *actor)
{
    const struct machine *machine = actor->state;
    return machine->ops->revision ? machine->ops->revision(machine->arg) : machine->apply.applied;
}

static void store_progress(struct actor *actor)
{
    const struct machine *machine = actor->state;
    struct node_progress *progress = &actor->node->progress;
    atomic_store(&progress->revision, revision(actor));
    atomic_store(&progress->quota, session_layer_quota(machine->sessions));
    atomic_store(&progress->since_snapshot, machine->snapshot.bytes);
    atomic_store(&progress->applied, machine->apply.applied);
}

static int machine_open(struct actor *actor, struct conclave_error *error)
{
    struct node *node = actor->node;
    struct machine *machine = mem_zalloc(sizeof *machine);
    machine->ops = node->options.machine;
    machine->arg = node->options.machine_arg;
    struct conclave_machine_env env = {
        .dir = node->machine_dir,
        .cluster_id = node->identity.cluster_id,
        .node_id = node->identity.node_id,
    };
    clock_boot_id(env.boot_id);
    machine->sessions = session_layer_create(machine->ops, machine->arg);
    uint64_t applied = 0;
    int code = session_layer_open(machine->sessions, &env, &applied, error);
    if (!code) {
        code =
            machine_snapshot_start(actor, &machine->snapshot, machine->sessions, &applied, error);
        if (code && machine->ops->close)
            machine->ops->close(machine->arg);
    }
    if (code) {
        machine_snapshot_deinit(&machine->snapshot);
        session_layer_destroy(machine->sessions);
        free(machine);
        return code;
    }
    machine->due_ms = UINT64_MAX;
    node->recovered.applied_index = applied;
    machine->install = machine->snapshot.unrestored;
    machine->install_waits = machine->install.index > 0; /* and says so when it is tried again */
    if (machine->install_waits)
        applied = 0;
    machine_apply_init(&machine->apply, machine->sessions, applied);
    log_event(&node->logger, CONCLAVE_LOG_INFO, actor->ops->name, "machine_opened", "applied=%llu",
              (unsigned long long)applied);
    actor->state = machine;
    machine_streams_start(node, &machine->streams);
    if (node->feed[0])
        machine_broadcast_init(&machine->broadcast, machine->streams.hub, kv_topic_feed(node->kv));
    store_progress(actor);
    return CONCLAVE_OK;
}

/* When cluster time has to be in the log the next time, for who leads. What is due and did not end
 * with the time that passed last, since that was enough for one apply, is told each time. */
static int tell_due(struct actor *actor, struct conclave_error *error)
{
    struct machine *machine = actor->state;
    uint64_t due_ms;
    int code = session_layer_due(machine->sessions, &due_ms);
    if (code)
        return error_set(error, code, "the state machine's deadlines cannot be read: %s",
                         conclave_code_text(code));
    uint64_t clock_ms = session_table_clock_ms(session_layer_table(machine->sessions));
    if (due_ms == machine->due_ms && (due_ms > 0 || clock_ms == machine->due_clock_ms))
        return CONCLAVE_OK;
    machine->due_ms = due_ms;
    machine->due_clock_ms = clock_ms;
    struct envelope *due = envelope_create(ENVELOPE_DUE);
    due->due_ms = due_ms;
    actor_send(actor, ACTOR_NETWORK, &due);
    return CONCLAVE_OK;
}

static void tell_lacking(struct actor *actor, bool lacking)
{
    struct machine *machine = actor->state;
    static const enum actor_id told[] = {ACTOR_RAFT, ACTOR_NETWORK};
    if (lacking == machine->room.lacking)
        return;
    machine->room.lacking = lacking;
    log_event(&actor->node->logger, lacking ? CONCLAVE_LOG_ERROR : CONCLAVE_LOG_INFO,
              actor->ops->name, lacking ? "little_room" : "enough_room", "reason=\"%s\"",
              lacking ? "the state machine's disk is nearly full: nothing but reads and deletes is "
                        "taken; delete something, or free some space"
                      : "everything is taken again");
    for (size_t i = 0; i < sizeof told / sizeof *told; i++) {
        struct envelope *space = envelope_create(ENVELOPE_SPACE);
        space->space.full = lacking;
        space->space.of = SPACE_STORE;
        actor_send(actor, told[i], &space);
    }
}

/* While something is applied, and as long as there is little, looks now and then whether the
 * machine has room left for those who delete. */
static int check_room(struct actor *actor, struct conclave_error *error)
{
    struct machine *machine = actor->state;
    uint64_t now_us = clock_now_us();
    if (!(machine->room.asked || machine->room.lacking) || now_us < machine->room.next_us ||
        lacks_room(machine))
        return CONCLAVE_OK;
    int code = session_layer_reserve(machine->sessions, machine->room.lacking);
    if (code && code != CONCLAVE_NO_SPACE)
        return error_set(error, code, "the state machine's room cannot be read: %s",
                         conclave_code_text(code));
    machine->room.asked = false;
    machine->room.next_us = now_us + (uint64_t)ROOM_MS * 1000;
    tell_lacking(actor, code == CONCLAVE_NO_SPACE);
    return CONCLAVE_OK;
}

/* How far it is; asked once in a while. */
static void tell_mark(struct actor *actor)
{
    const struct machine *machine = actor->state;
    struct audit_mark mark;
    if (lacks_room(machine) || !session_layer_mark(machine->sessions, &mark))
        return;
    struct envelope *audit = envelope_create(ENVELOPE_AUDIT);
    audit->audit.count = 1;
    audit->audit.marks = mem_alloc(sizeof mark);
    *audit->audit.marks = mark;
    actor_send(actor, ACTOR_RAFT, &audit);
}

static int machine_start(struct actor *actor, struct conclave_error *error)
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

static void stash_add(struct stash *stash, struct envelope *envelope)
{
    LIST_RESERVE(stash);
    stash->items[stash->count++] = envelope;
}

static void stash_clear(struct stash *stash)
{
    while (stash->next < stash->count)
        envelope_destroy(stash->items[stash->next++]);
    free(stash->items);
    *stash = (struct stash){0};
}

/* OK, or STOPPING: the node ends before. */
static int await_repair(struct actor *actor, struct stash *early)
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

/* A damaged log or snapshot: waits until it is whole, opens the machine, and lets raft begin.
 * STOPPING: the node ends before. */
static int open_late(struct actor *actor, struct conclave_error *error)
{
    struct stash early = {0}; /* what subscribers of the feed want */
    int code = await_repair(actor, &early);
    if (!code)
        code = machine_open(actor, error);
    if (code) {
        stash_clear(&early);
        return code;
    }
    ((struct machine *)actor->state)->stash = early;
    struct envelope *start = node_start_envelope(actor->node);
    actor_send(actor, ACTOR_RAFT, &start);
    return CONCLAVE_OK;
}

static void note_progress(struct actor *actor)
{
    store_progress(actor);
    ((struct machine *)actor->state)->untold = true;
}

/* Wakes raft for it, at once or a little later. */
static void tell_applied(struct actor *actor)
{
    struct machine *machine = actor->state;
    if (!machine->untold)
        return;
    uint64_t now_us = clock_now_us();
    if (now_us < machine->told_us + (uint64_t)APPLIED_MS * 1000)
        return;
    machine->told_us = now_us;
    machine->untold = false;
    struct envelope *applied = envelope_create(ENVELOPE_APPLIED);
    actor_send(actor, ACTOR_RAFT, &applied);
}

/* Only of the built-in machine is it known where its store is. */
static void tell_changed(struct actor *actor)
{
    struct machine *machine = actor->state;
    uint64_t now_us = clock_now_us();
    if (!actor->node->kv || now_us < machine->trickle_us + (uint64_t)TRICKLE_MS * 1000)
        return;
    machine->trickle_us = now_us;
    struct envelope *trickle = envelope_create(ENVELOPE_TRICKLE);
    trickle->used_bytes = kv_used_bytes(actor->node->kv);
    actor_send(actor, ACTOR_SEGMENTS, &trickle);
}

static void flush_replies(struct actor *actor)
{
    struct machine *machine = actor->state;
    if (!machine->replies.count)
        return;
    struct envelope *reply = envelope_create(ENVELOPE_REPLY);
    reply->reply = machine->replies;
    reply->reply.traced = trace_is_applied(&actor->node->trace);
    machine->replies = (struct reply_list){0};
    actor_send(actor, ACTOR_NETWORK, &reply);
}

static int apply_backlog(struct actor *actor, struct conclave_error *error)
{
    struct machine *machine = actor->state;
    struct machine_apply *apply = &machine->apply;
    uint64_t before = apply->applied;
    int code = CONCLAVE_OK;
    while (!code && !machine->install_waits && machine_apply_ready(apply)) {
        code = machine_apply_step(actor, apply, &machine->snapshot, &machine->replies, error);
        trace_reached(&actor->node->trace, apply->applied, TRACE_APPLIED);
        flush_replies(actor);
    }
    if (code || apply->applied == before)
        return code;
    machine->room.asked = true;
    machine_streams_applied(&machine->streams);
    note_progress(actor);
    tell_changed(actor);
    return CONCLAVE_OK;
}

static struct envelope *next_envelope(struct actor *actor)
{
    struct machine *machine = actor->state;
    if (machine->stash.next < machine->stash.count)
        return machine->stash.items[machine->stash.next++];
    machine->stash.next = machine->stash.count = 0;
    return inbox_receive(&actor->inbox);
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

/* Becomes the snapshot that raft has put in the place of the log's front. If there is no room for
 * that it is tried again, from the beginning, until there is: the node goes on without a state,
 * takes entries and votes, and answers nobody from the machine. */
static int install(struct actor *actor, struct conclave_error *error)
{
    struct machine *machine = actor->state;
    uint64_t began_us = clock_now_us();
    if (!machine->install.index || machine_apply_waits(&machine->apply) ||
        (machine->install_waits && began_us < machine->install_due_us))
        return CONCLAVE_OK;
    await_snapshot(actor); /* one of the state that goes */
    int code = machine_snapshot_install(actor, &machine->snapshot, machine->sessions,
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
    ASSERT(machine->install.index > machine->apply.applied);
    machine->apply.applied = machine->install.index;
    machine->install = (struct raft_id){0};
    machine_streams_applied(&machine->streams);
    note_progress(actor);
    return CONCLAVE_OK;
}

/* Nothing of the machine may be in use when it closes. */
static void end_snapshot(struct actor *actor)
{
    struct machine *machine = actor->state;
    if (!machine->snapshot.taken)
        return;
    struct envelope *cancel = envelope_create(ENVELOPE_SNAPSHOT_CANCEL);
    actor_send(actor, ACTOR_SNAPSHOT, &cancel);
    await_snapshot(actor);
}

/* Takes what is queued, up to what must wait for the backlog to be applied; if that waits itself,
 * nothing more to apply comes behind an installation. Returns STOP or QUIT if one of them came,
 * else 0. */
static int drain(struct actor *actor)
{
    struct machine *machine = actor->state;
    int ended = 0;
    for (struct envelope *envelope; !ended && (!machine->install.index || lacks_room(machine)) &&
                                    (envelope = next_envelope(actor));) {
        switch (envelope->type) {
        case ENVELOPE_INSTALL:
            machine->install = envelope->snapshot_id;
            break;
        case ENVELOPE_SNAPSHOT_WANTED:
            machine_snapshot_want(&machine->snapshot);
            break;
        case ENVELOPE_SNAPSHOT_DONE:
            machine_snapshot_done(actor->node, &machine->snapshot, envelope->snapshot_done.code,
                                  envelope->snapshot_done.state_bytes);
            break;
        case ENVELOPE_APPLY:
            machine_apply_add(&machine->apply, envelope);
            break;
        case ENVELOPE_AUDIT:
            tell_mark(actor);
            break;
        case ENVELOPE_SUBSCRIPTIONS:
            machine_streams_take(&machine->streams, envelope);
            break;
        case ENVELOPE_INTERESTS:
            machine_broadcast_hear(&machine->broadcast, &envelope->interests);
            break;
        case ENVELOPE_QUERY:
            machine_queries_add(&machine->queries, envelope);
            envelope = NULL;
            break;
        case ENVELOPE_QUIT:
        case ENVELOPE_STOP:
            ended = (int)envelope->type;
            break;
        default:
            ASSERT(!"an envelope that is not for the state machine");
        }
        envelope_destroy(envelope);
    }
    return ended;
}

/* The shorter of two waits; -1: for ever. */
static long sooner(long first, long second)
{
    return first < 0 || (second >= 0 && second < first) ? second : first;
}

static long told_wait_ms(const struct machine *machine)
{
    return machine->untold ? APPLIED_MS : -1;
}

static long room_wait_ms(const struct machine *machine)
{
    return machine->room.asked || machine->room.lacking ? ROOM_MS : -1;
}

static long wait_ms(const struct machine *machine)
{
    if (machine->install_waits) /* nothing else can be done meanwhile */
        return sooner(MACHINE_RETRY_MS, told_wait_ms(machine));
    return sooner(sooner(sooner(machine_apply_wait_ms(&machine->apply), room_wait_ms(machine)),
                         told_wait_ms(machine)),
                  sooner(machine_queries_wait_ms(&machine->queries),
                         machine_streams_wait_ms(&machine->streams)));
}

/* What can be done with the state as it is: answers, news, a snapshot. */
static void serve(struct actor *actor, bool ended)
{
    struct machine *machine = actor->state;
    bool whole = !machine->install_waits;
    if (!ended && !lacks_room(machine))
        machine_snapshot_take(actor, &machine->snapshot, machine->sessions);
    if (whole)
        machine_queries_answer(actor, &machine->queries, machine->apply.applied, &machine->replies);
    if (lacks_room(machine))
        machine_queries_refuse(actor, &machine->queries, whole, &machine->replies);
    flush_replies(actor);
    if (!whole)
        return;
    machine_broadcast_step(actor, &machine->broadcast);
    if (!ended)
        machine_streams_step(actor, &machine->streams, machine->queries.fresh_us);
}

static int sync_machine(const struct machine *machine, struct conclave_error *error)
{
    int code = machine->ops->sync && !machine->install_waits ? machine->ops->sync(machine->arg)
                                                             : CONCLAVE_OK;
    return code ? error_set(error, code, "the state machine failed to sync: %s",
                            conclave_code_text(code))
                : CONCLAVE_OK;
}

static int machine_run(struct actor *actor, struct conclave_error *error)
{
    if (!actor->state) {
        int code = open_late(actor, error);
        if (code)
            return code == CONCLAVE_STOPPING ? CONCLAVE_OK : code;
    }
    struct machine *machine = actor->state;
    for (;;) {
        if (machine->stash.next == machine->stash.count)
            inbox_wait(&actor->inbox, wait_ms(machine));
        int ended = drain(actor);
        int code = CONCLAVE_OK;
        if (ended != ENVELOPE_QUIT)
            code = apply_backlog(actor, error);
        if (!code && ended != ENVELOPE_QUIT)
            code = install(actor, error);
        if (!code && ended != ENVELOPE_QUIT) /* what came behind it, while it waited */
            code = apply_backlog(actor, error);
        if (!code)
            tell_applied(actor);
        if (!code && !ended && !machine->install_waits)
            code = tell_due(actor, error);
        if (!code && !ended)
            code = check_room(actor, error);
        if (code || ended)
            end_snapshot(actor);
        if (code || ended == ENVELOPE_QUIT)
            return code;
        serve(actor, ended != 0);
        if (ended == ENVELOPE_STOP) {
            machine_streams_end(actor, &machine->streams);
            return sync_machine(machine, error);
        }
    }
}

static void machine_stop(struct actor *actor)
{
    struct machine *machine = actor->state;
    if (!machine)
        return;
    machine_queries_deinit(&machine->queries);
    machine_broadcast_deinit(&machine->broadcast);
    machine_streams_deinit(&machine->streams);
    stash_clear(&machine->stash);
    machine_snapshot_deinit(&machine->snapshot);
    reply_list_clear(&machine->replies);
    if (machine->ops->close)
        machine->ops->close(machine->arg);
    session_layer_destroy(machine->sessions);
    machine_apply_deinit(&machine->apply);
    free(machine);
}

const struct actor_ops machine_actor_ops = {
    .name = "machine", .start = machine_start, .run = machine_run, .stop = machine_stop};

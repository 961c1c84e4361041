/* The state-machine actor: applies what is committed, answers the clients that wait for it, and
 * answers queries once everything that linearizability asks for has been applied. The only thread
 * that calls the machine. */
#include "actors/machine_queries.h"
#include "actors/machine_snapshot.h"
#include "actors/machine_streams.h"
#include "actors/node.h"
#include "base/clock.h"
#include "base/fatal.h"
#include "base/list.h"
#include "machine/reply.h"
#include "machine/session_layer.h"

#include <stdlib.h>
#include <string.h>

/* Commands in one apply call: bounds the call's memory and how long a query waits behind it. */
enum { APPLY_COMMANDS_MAX = SESSION_INPUTS_MAX };

struct machine {
    const struct conclave_machine_ops *ops;
    void *arg;
    struct session_layer *sessions; /* in front of the machine */
    uint64_t applied;
    struct machine_snapshot snapshot;
    struct raft_id install; /* what it is to become after the backlog; index 0: nothing */

    struct { /* taken from the inbox while waiting for the end of a snapshot; come first */
        struct envelope **items;
        uint32_t next, count, capacity;
    } stash;

    struct { /* entries taken from the inbox and not yet applied, in order */
        struct raft_runs *items;
        uint32_t count, capacity;
    } backlog;

    uint64_t due_ms; /* as the network knows it */
    struct machine_queries queries;
    struct machine_streams streams;
    struct reply_list replies; /* gathered, sent once a wake-up */

    /* Scratch of one apply call; all have room for APPLY_COMMANDS_MAX. */
    struct session_input *inputs;
    struct raft_origin *origins;
    struct conclave_reply_sink *sinks;
    struct conclave_reply_sink **sink_pointers;
};

/* What status shows. */
static uint64_t revision(const struct actor *actor)
{
    const struct machine *machine = actor->state;
    return machine->ops->revision ? machine->ops->revision(machine->arg) : machine->applied;
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
    int code = session_layer_open(machine->sessions, &env, &machine->applied, error);
    if (!code) {
        code = machine_snapshot_start(actor, &machine->snapshot, machine->sessions,
                                      &machine->applied, error);
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
    machine->inputs = mem_alloc(APPLY_COMMANDS_MAX * sizeof *machine->inputs);
    machine->origins = mem_alloc(APPLY_COMMANDS_MAX * sizeof *machine->origins);
    machine->sinks = mem_zalloc(APPLY_COMMANDS_MAX * sizeof *machine->sinks);
    machine->sink_pointers = mem_alloc(APPLY_COMMANDS_MAX * sizeof(struct conclave_reply_sink *));
    for (uint32_t i = 0; i < APPLY_COMMANDS_MAX; i++)
        machine->sink_pointers[i] = &machine->sinks[i];
    node->recovered.applied_index = machine->applied;
    log_event(&node->logger, CONCLAVE_LOG_INFO, actor->ops->name, "machine_opened", "applied=%llu",
              (unsigned long long)machine->applied);
    actor->state = machine;
    machine_streams_start(node, &machine->streams);
    node->recovered.revision = revision(actor);
    return CONCLAVE_OK;
}

/* For the other nodes to compare with theirs. */
static void tell_marks(struct actor *actor, const struct audit_mark *marks, uint32_t count)
{
    if (count == 0)
        return;
    struct envelope *audit = envelope_create(ENVELOPE_AUDIT);
    audit->audit.count = count;
    audit->audit.marks = mem_alloc(count * sizeof *marks);
    memcpy(audit->audit.marks, marks, count * sizeof *marks);
    actor_send(actor, ACTOR_NETWORK, &audit);
}

/* When cluster time has to be in the log the next time, for who leads. */
static int tell_due(struct actor *actor, struct conclave_error *error)
{
    struct machine *machine = actor->state;
    uint64_t due_ms;
    int code = session_layer_due(machine->sessions, &due_ms);
    if (code)
        return error_set(error, code, "the state machine's deadlines cannot be read: %s",
                         conclave_code_text(code));
    if (due_ms == machine->due_ms)
        return CONCLAVE_OK;
    machine->due_ms = due_ms;
    struct envelope *due = envelope_create(ENVELOPE_DUE);
    due->due_ms = due_ms;
    actor_send(actor, ACTOR_NETWORK, &due);
    return CONCLAVE_OK;
}

/* How far it is; asked once in a while. */
static void tell_mark(struct actor *actor)
{
    const struct machine *machine = actor->state;
    struct audit_mark mark;
    if (session_layer_mark(machine->sessions, &mark))
        tell_marks(actor, &mark, 1);
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

/* A damaged log or snapshot: waits until it is whole, opens the machine, and lets raft begin.
 * STOPPING: the node ends before. */
static int open_late(struct actor *actor, struct conclave_error *error)
{
    bool repaired = false;
    while (!repaired) {
        inbox_wait(&actor->inbox, -1);
        for (struct envelope *envelope; !repaired && (envelope = inbox_receive(&actor->inbox));) {
            enum envelope_type type = envelope->type;
            envelope_destroy(envelope);
            if (type == ENVELOPE_STOP || type == ENVELOPE_QUIT)
                return CONCLAVE_STOPPING;
            /* Another node may want a snapshot that turns out to be damaged here, too. */
            ASSERT(type == ENVELOPE_REPAIRED || type == ENVELOPE_SNAPSHOT_WANTED);
            repaired = type == ENVELOPE_REPAIRED;
        }
    }
    int code = machine_open(actor, error);
    if (code)
        return code;
    struct envelope *start = node_start_envelope(actor->node);
    actor_send(actor, ACTOR_RAFT, &start);
    return CONCLAVE_OK;
}

/* One call of the machine; its answers go to `replies` for those who wait on this node. */
static int apply_commands(struct actor *actor, size_t count, uint64_t last_index,
                          struct conclave_error *error)
{
    struct machine *machine = actor->state;
    ASSERT(last_index > machine->applied); /* Rule 7: in order, each once */
    int code = session_layer_apply(machine->sessions, machine->inputs, count, last_index,
                                   machine->sink_pointers);
    if (code)
        return error_set(error, code,
                         "the state machine failed to apply up to index %llu: %s; the node stops "
                         "because its state is not known any more",
                         (unsigned long long)last_index, conclave_code_text(code));
    machine->applied = last_index;
    struct audit_mark marks[AUDIT_MARKS_MAX];
    tell_marks(actor, marks, session_layer_marks(machine->sessions, marks, AUDIT_MARKS_MAX));
    for (size_t i = 0; i < count; i++) {
        struct conclave_reply_sink *sink = &machine->sinks[i];
        if (!machine->origins[i].client)
            buf_unref(sink->body);
        else if (sink->refused)
            reply_add(&machine->replies, machine->origins[i], sink->code, sink->body);
        else
            reply_add_answer(&machine->replies, machine->origins[i], sink->code, sink->body);
        *sink = (struct conclave_reply_sink){0};
    }
    return CONCLAVE_OK;
}

static int apply_runs(struct actor *actor, const struct raft_runs *entries,
                      struct conclave_error *error)
{
    struct machine *machine = actor->state;
    struct raft_runs_iter iter = {0};
    size_t count = 0;
    uint64_t last_index = 0;
    for (const struct raft_entry *entry; (entry = raft_runs_next(entries, &iter));) {
        last_index = entry->id.index;
        machine_snapshot_note(&machine->snapshot, entry);
        if (entry->kind == RAFT_ENTRY_COMMAND || entry->kind == RAFT_ENTRY_SESSION) {
            machine->origins[count] = entry->origin;
            machine->inputs[count++] =
                (struct session_input){.command = {.index = entry->id.index,
                                                   .term = entry->id.term,
                                                   .data = entry->payload.data,
                                                   .bytes = entry->payload.bytes},
                                       .in_session = entry->kind == RAFT_ENTRY_SESSION};
        }
        if (entry->kind == RAFT_ENTRY_NOOP || entry->kind == RAFT_ENTRY_CONFIG) {
            machine->origins[count] = (struct raft_origin){0};
            machine->inputs[count++] =
                (struct session_input){.command = {.index = entry->id.index,
                                                   .term = entry->id.term,
                                                   .data = entry->payload.data,
                                                   .bytes = entry->payload.bytes},
                                       .audit_only = true};
        }
        /* A change of the members: nothing to apply, but its client waits for it. */
        if (entry->kind == RAFT_ENTRY_CONFIG && entry->origin.client)
            reply_add(&machine->replies, entry->origin, CONCLAVE_OK, NULL);
        if (count == APPLY_COMMANDS_MAX) {
            int code = apply_commands(actor, count, last_index, error);
            if (code)
                return code;
            count = 0;
            last_index = 0;
        }
    }
    return last_index ? apply_commands(actor, count, last_index, error) : CONCLAVE_OK;
}

/* Applies all that was taken from the inbox as if it had come in one piece. */
static int apply_backlog(struct actor *actor, struct conclave_error *error)
{
    struct machine *machine = actor->state;
    if (!machine->backlog.count)
        return CONCLAVE_OK;
    struct raft_runs all = {0};
    raft_runs_move(&all, &machine->backlog.items[0]);
    for (uint32_t i = 1; i < machine->backlog.count; i++) {
        raft_runs_append_all(&all, &machine->backlog.items[i]);
        raft_runs_clear(&machine->backlog.items[i]);
    }
    machine->backlog.count = 0;
    int code = apply_runs(actor, &all, error);
    raft_runs_clear(&all);
    if (code)
        return code;
    trace_reached(&actor->node->trace, machine->applied, TRACE_APPLIED);
    machine_streams_applied(&machine->streams);
    struct envelope *applied = envelope_create(ENVELOPE_APPLIED);
    applied->applied.index = machine->applied;
    applied->applied.revision = revision(actor);
    actor_send(actor, ACTOR_RAFT, &applied);
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
                machine_snapshot_done(actor->node, &machine->snapshot,
                                      envelope->snapshot_done_code);
                envelope_destroy(envelope);
                continue;
            }
            LIST_RESERVE(&machine->stash);
            machine->stash.items[machine->stash.count++] = envelope;
        }
    }
}

/* Becomes the snapshot that raft has put in the place of the log's front. */
static int install(struct actor *actor, struct conclave_error *error)
{
    struct machine *machine = actor->state;
    if (!machine->install.index)
        return CONCLAVE_OK;
    await_snapshot(actor); /* one of the state that goes */
    int code = machine_snapshot_install(actor, &machine->snapshot, machine->sessions,
                                        machine->install, error);
    if (code)
        return code;
    ASSERT(machine->install.index > machine->applied);
    machine->applied = machine->install.index;
    machine->install = (struct raft_id){0};
    machine_streams_applied(&machine->streams);
    struct envelope *applied = envelope_create(ENVELOPE_APPLIED);
    applied->applied.index = machine->applied;
    applied->applied.revision = revision(actor);
    actor_send(actor, ACTOR_RAFT, &applied);
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

/* Takes what is queued, up to what must wait for the backlog to be applied. Returns STOP or QUIT if
 * one of them came, else 0. */
static int drain(struct actor *actor)
{
    struct machine *machine = actor->state;
    int ended = 0;
    for (struct envelope *envelope;
         !ended && !machine->install.index && (envelope = next_envelope(actor));) {
        switch (envelope->type) {
        case ENVELOPE_INSTALL:
            machine->install = envelope->snapshot_id;
            break;
        case ENVELOPE_SNAPSHOT_WANTED:
            machine_snapshot_want(&machine->snapshot);
            break;
        case ENVELOPE_SNAPSHOT_DONE:
            machine_snapshot_done(actor->node, &machine->snapshot, envelope->snapshot_done_code);
            break;
        case ENVELOPE_APPLY:
            LIST_RESERVE(&machine->backlog);
            machine->backlog.items[machine->backlog.count++] = envelope->apply.entries;
            envelope->apply.entries = (struct raft_runs){0};
            break;
        case ENVELOPE_AUDIT:
            tell_mark(actor);
            break;
        case ENVELOPE_SUBSCRIPTIONS:
            machine_streams_take(&machine->streams, envelope);
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

static long wait_ms(const struct machine *machine)
{
    long queries = machine_queries_wait_ms(&machine->queries);
    long streams = machine_streams_wait_ms(&machine->streams);
    return queries < 0 || (streams >= 0 && streams < queries) ? streams : queries;
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
        if (!code && !ended)
            code = tell_due(actor, error);
        if (code || ended)
            end_snapshot(actor);
        if (code || ended == ENVELOPE_QUIT)
            return code;
        if (!ended)
            machine_snapshot_take(actor, &machine->snapshot, machine->sessions);
        machine_queries_answer(actor, &machine->queries, machine->applied, &machine->replies);
        flush_replies(actor);
        if (!ended)
            machine_streams_step(actor, &machine->streams, machine->queries.fresh_us);
        if (ended == ENVELOPE_STOP) {
            machine_streams_end(actor, &machine->streams);
            code = machine->ops->sync ? machine->ops->sync(machine->arg) : CONCLAVE_OK;
            return code ? error_set(error, code, "the state machine failed to sync: %s",
                                    conclave_code_text(code))
                        : CONCLAVE_OK;
        }
    }
}

static void machine_stop(struct actor *actor)
{
    struct machine *machine = actor->state;
    if (!machine)
        return;
    for (uint32_t i = 0; i < machine->backlog.count; i++)
        raft_runs_clear(&machine->backlog.items[i]);
    free(machine->backlog.items);
    machine_queries_deinit(&machine->queries);
    machine_streams_deinit(&machine->streams);
    while (machine->stash.next < machine->stash.count)
        envelope_destroy(machine->stash.items[machine->stash.next++]);
    free(machine->stash.items);
    machine_snapshot_deinit(&machine->snapshot);
    reply_list_clear(&machine->replies);
    if (machine->ops->close)
        machine->ops->close(machine->arg);
    session_layer_destroy(machine->sessions);
    for (uint32_t i = 0; i < APPLY_COMMANDS_MAX; i++)
        reply_sink_clear(&machine->sinks[i]);
    free(machine->inputs);
    free(machine->origins);
    free(machine->sinks);
    free(machine->sink_pointers);
    free(machine);
}

const struct actor_ops machine_actor_ops = {
    .name = "machine", .start = machine_start, .run = machine_run, .stop = machine_stop};

/* The state-machine actor: applies what is committed, answers the clients that wait for it, and
 * answers queries once everything that linearizability asks for has been applied. The only thread
 * that calls the machine. */
#include "actors/machine_actor.h"

#include "base/error.h"
#include "base/fatal.h"

#include <stdlib.h>

static int apply_backlog(struct actor *actor, struct conclave_error *error)
{
    struct machine *machine = actor->state;
    struct machine_apply *apply = &machine->apply;
    uint64_t before = apply->applied, bytes = machine->snapshot.bytes;
    int code = CONCLAVE_OK;
    while (!code && !machine->install_waits && machine_apply_ready(apply)) {
        code = machine_apply_step(actor, apply, &machine->snapshot, &machine->replies, error);
        trace_reached(&actor->node->trace, apply->applied, TRACE_APPLIED);
        machine_actor_flush_replies(actor);
    }
    if (code || apply->applied == before)
        return code;
    machine->room.asked = true;
    machine->room.bytes += machine->snapshot.bytes - bytes;
    machine_streams_applied(&machine->streams);
    machine_actor_note_progress(actor);
    machine_actor_tell_changed(actor);
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

/* Takes what is queued, up to what must wait for the backlog to be applied; if that waits itself,
 * nothing more to apply comes behind an installation. Returns STOP or QUIT if one of them came,
 * else 0. */
static int drain(struct actor *actor)
{
    struct machine *machine = actor->state;
    int ended = 0;
    for (struct envelope *envelope;
         !ended && (!machine->install.index || machine_actor_lacks_room(machine)) &&
         (envelope = next_envelope(actor));) {
        switch (envelope->type) {
        case ENVELOPE_INSTALL:
            machine_actor_is_to_become(actor, envelope->snapshot_id);
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
            machine_actor_tell_mark(actor);
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

static long wait_ms(const struct machine *machine)
{
    if (machine->install_waits) /* nothing else can be done meanwhile */
        return sooner(MACHINE_RETRY_MS, machine_actor_told_wait_ms(machine));
    return sooner(
        sooner(sooner(machine_apply_wait_ms(&machine->apply), machine_actor_room_wait_ms(machine)),
               machine_actor_told_wait_ms(machine)),
        sooner(machine_queries_wait_ms(&machine->queries),
               machine_streams_wait_ms(&machine->streams)));
}

/* What can be done with the state as it is: answers, news, a snapshot. */
static void serve(struct actor *actor, bool ended)
{
    struct machine *machine = actor->state;
    bool whole = !machine->install_waits;
    if (!ended && !machine_actor_lacks_room(machine) && !machine_apply_is_ahead(&machine->apply))
        machine_snapshot_take(actor, &machine->snapshot, machine->sessions);
    if (whole)
        machine_queries_answer(actor, &machine->queries, machine->apply.applied, &machine->replies);
    if (machine_actor_lacks_room(machine))
        machine_queries_refuse(actor, &machine->queries, whole, &machine->replies);
    machine_actor_flush_replies(actor);
    if (!whole)
        return;
    machine_broadcast_step(actor, &machine->broadcast);
    if (ended)
        return;
    machine_streams_step(actor, &machine->streams, machine->queries.fresh_us);
    machine_streams_tell(actor, &machine->streams,
                         machine_broadcast_is_wanted(&machine->broadcast));
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
        int code = machine_actor_open_late(actor, error);
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
            code = machine_actor_install(actor, error);
        if (!code && ended != ENVELOPE_QUIT) /* what came behind it, while it waited */
            code = apply_backlog(actor, error);
        if (!code)
            machine_actor_tell_applied(actor);
        if (!code && !ended && !machine->install_waits)
            code = machine_actor_tell_due(actor, error);
        if (!code && !ended)
            code = machine_actor_check_room(actor, error);
        if (code || ended)
            machine_actor_end_snapshot(actor);
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
    machine_actor_clear_stash(&machine->stash);
    machine_snapshot_deinit(&machine->snapshot);
    reply_list_clear(&machine->replies);
    if (machine->opened && machine->ops->close)
        machine->ops->close(machine->arg);
    session_layer_destroy(machine->sessions);
    machine_apply_deinit(&machine->apply);
    free(machine);
}

const struct actor_ops machine_actor_ops = {
    .name = "machine", .start = machine_actor_start, .run = machine_run, .stop = machine_stop};

/* What the state-machine actor tells the others by itself: how far it is, what room there is, when
 * something is due. */
#include "actors/machine_actor.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fatal.h"
#include "machine/kv.h"

#include <stdlib.h>
#include <string.h>

enum {
    ROOM_MS = 50, /* how often it is asked for its room at most, unless so much is applied */
    ROOM_BYTES = 1 << 20,
    APPLIED_MS = 5, /* how often raft is woken to look how far it is at most */
    TRICKLE_MS = 20 /* how often a part of its store is written to disk at most */
};

/* What status shows. */
static uint64_t revision(const struct actor *actor)
{
    const struct machine *machine = actor->state;
    if (!machine->opened)
        return 0;
    return machine->ops->revision ? machine->ops->revision(machine->arg) : machine->apply.applied;
}

void machine_actor_store_progress(struct actor *actor)
{
    const struct machine *machine = actor->state;
    struct node_progress *progress = &actor->node->progress;
    atomic_store(&progress->revision, revision(actor));
    atomic_store(&progress->quota, session_layer_quota(machine->sessions));
    atomic_store(&progress->since_snapshot, machine->snapshot.bytes);
    atomic_store(&progress->applied, machine->apply.applied);
}

void machine_actor_is_to_become(struct actor *actor, struct raft_id snapshot)
{
    ((struct machine *)actor->state)->install = snapshot;
    atomic_store(&actor->node->progress.becoming, snapshot.index);
}

void machine_actor_note_progress(struct actor *actor)
{
    machine_actor_store_progress(actor);
    ((struct machine *)actor->state)->untold = true;
}

int machine_actor_tell_due(struct actor *actor, struct conclave_error *error)
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

int machine_actor_check_room(struct actor *actor, struct conclave_error *error)
{
    struct machine *machine = actor->state;
    uint64_t now_us = clock_now_us();
    bool early = now_us < machine->room.next_us && machine->room.bytes < ROOM_BYTES;
    if (!(machine->room.asked || machine->room.lacking) || early ||
        machine_actor_lacks_room(machine))
        return CONCLAVE_OK;
    int code = session_layer_reserve(machine->sessions, machine->room.lacking);
    if (code && code != CONCLAVE_NO_SPACE)
        return error_set(error, code, "the state machine's room cannot be read: %s",
                         conclave_code_text(code));
    machine->room.asked = false;
    machine->room.bytes = 0;
    machine->room.next_us = now_us + (uint64_t)ROOM_MS * 1000;
    tell_lacking(actor, code == CONCLAVE_NO_SPACE);
    return CONCLAVE_OK;
}

void machine_actor_tell_mark(struct actor *actor)
{
    const struct machine *machine = actor->state;
    struct audit_mark mark;
    if (machine_actor_lacks_room(machine) || !session_layer_mark(machine->sessions, &mark))
        return;
    struct envelope *audit = envelope_create(ENVELOPE_AUDIT);
    audit->audit.count = 1;
    audit->audit.marks = mem_alloc(sizeof mark);
    *audit->audit.marks = mark;
    actor_send(actor, ACTOR_RAFT, &audit);
}

void machine_actor_tell_applied(struct actor *actor)
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

void machine_actor_tell_changed(struct actor *actor)
{
    struct machine *machine = actor->state;
    uint64_t now_us = clock_now_us();
    if (!actor->node->kv || now_us < machine->trickle_us + (uint64_t)TRICKLE_MS * 1000)
        return;
    machine->trickle_us = now_us;
    struct envelope *trickle = envelope_create(ENVELOPE_TRICKLE);
    kv_next_part(actor->node->kv, &trickle->part);
    actor_send(actor, ACTOR_STORE_WRITER, &trickle);
}

void machine_actor_flush_replies(struct actor *actor)
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

long machine_actor_told_wait_ms(const struct machine *machine)
{
    return machine->untold ? APPLIED_MS : -1;
}

long machine_actor_room_wait_ms(const struct machine *machine)
{
    return machine->room.asked || machine->room.lacking ? ROOM_MS : -1;
}

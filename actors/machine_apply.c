#include "actors/machine_apply.h"

#include "base/clock.h"
#include "base/fatal.h"
#include "base/list.h"
#include "machine/reply.h"

#include <stdlib.h>
#include <string.h>

enum {
    /* Commands in one apply call: bounds the call's memory, and how long the first of many answers
     * and a query wait. While the clients that are answered ask for more, the rest is applied; a
     * thousand that were answered at once would have every other thread wait, again and again. */
    APPLY_COMMANDS_MAX = SESSION_INPUTS_MAX / 8
};

void machine_apply_init(struct machine_apply *apply, struct session_layer *sessions,
                        uint64_t applied)
{
    *apply = (struct machine_apply){.sessions = sessions, .applied = applied};
    apply->inputs = mem_alloc(APPLY_COMMANDS_MAX * sizeof *apply->inputs);
    apply->origins = mem_alloc(APPLY_COMMANDS_MAX * sizeof *apply->origins);
    apply->sinks = mem_zalloc(APPLY_COMMANDS_MAX * sizeof *apply->sinks);
    apply->sink_pointers = mem_alloc(APPLY_COMMANDS_MAX * sizeof(struct conclave_reply_sink *));
    for (uint32_t i = 0; i < APPLY_COMMANDS_MAX; i++)
        apply->sink_pointers[i] = &apply->sinks[i];
}

void machine_apply_deinit(struct machine_apply *apply)
{
    for (uint32_t i = 0; i < apply->backlog.count; i++)
        raft_runs_clear(&apply->backlog.items[i]);
    free(apply->backlog.items);
    raft_runs_clear(&apply->taken);
    for (uint32_t i = 0; i < APPLY_COMMANDS_MAX; i++)
        reply_sink_clear(&apply->sinks[i]);
    free(apply->inputs);
    free(apply->origins);
    free(apply->sinks);
    free(apply->sink_pointers);
}

void machine_apply_add(struct machine_apply *apply, struct envelope *envelope)
{
    LIST_RESERVE(&apply->backlog);
    apply->backlog.items[apply->backlog.count++] = envelope->apply.entries;
    envelope->apply.entries = (struct raft_runs){0};
}

bool machine_apply_waits(const struct machine_apply *apply)
{
    return apply->waits;
}

long machine_apply_wait_ms(const struct machine_apply *apply)
{
    return apply->waits ? MACHINE_RETRY_MS : -1;
}

/* --- Gathering -------------------------------------------------------------------------------- */

static void gather_input(struct machine_apply *apply, const struct raft_entry *entry)
{
    bool audit_only = entry->kind == RAFT_ENTRY_NOOP || entry->kind == RAFT_ENTRY_CONFIG;
    apply->origins[apply->count] = audit_only ? (struct raft_origin){0} : entry->origin;
    apply->inputs[apply->count++] =
        (struct session_input){.command = {.index = entry->id.index,
                                           .term = entry->id.term,
                                           .data = entry->payload.data,
                                           .bytes = entry->payload.bytes},
                               .in_session = entry->kind == RAFT_ENTRY_SESSION,
                               .audit_only = audit_only};
}

/* The next call. */
static void gather(struct machine_apply *apply, struct machine_snapshot *snapshot,
                   struct reply_list *replies)
{
    apply->count = 0;
    apply->last_index = 0;
    while (apply->count < APPLY_COMMANDS_MAX) {
        const struct raft_entry *entry = raft_runs_next(&apply->taken, &apply->next);
        if (!entry)
            return;
        if (entry->id.index <= apply->applied) { /* it waited, and a snapshot that came behind it
                                                    was installed first. Rule 44: what became of it
                                                    here is in there */
            if (entry->origin.client)
                reply_add(replies, entry->origin, CONCLAVE_UNKNOWN, NULL);
            continue;
        }
        apply->last_index = entry->id.index;
        machine_snapshot_note(snapshot, entry);
        if (entry->id.index > apply->held) /* Rule 7 */
            gather_input(apply, entry);
        /* A change of the members: nothing to apply, but its client waits for it. */
        if (entry->kind == RAFT_ENTRY_CONFIG && entry->origin.client)
            reply_add(replies, entry->origin, CONCLAVE_OK, NULL);
    }
}

/* Takes the whole backlog. */
static void take(struct machine_apply *apply)
{
    ASSERT(apply->taken.entry_count == 0);
    apply->next = (struct raft_runs_iter){0};
    for (uint32_t i = 0; i < apply->backlog.count; i++) {
        if (i == 0)
            raft_runs_move(&apply->taken, &apply->backlog.items[0]);
        else
            raft_runs_append_all(&apply->taken, &apply->backlog.items[i]);
        raft_runs_clear(&apply->backlog.items[i]);
    }
    apply->backlog.count = 0;
}

/* --- Calling ---------------------------------------------------------------------------------- */

/* For the other nodes to compare with theirs. */
static void tell_marks(struct actor *actor, struct machine_apply *apply)
{
    struct audit_mark marks[AUDIT_MARKS_MAX];
    uint32_t count = session_layer_marks(apply->sessions, marks, AUDIT_MARKS_MAX);
    if (count == 0)
        return;
    struct envelope *audit = envelope_create(ENVELOPE_AUDIT);
    audit->audit.count = count;
    audit->audit.marks = mem_alloc(count * sizeof *marks);
    memcpy(audit->audit.marks, marks, count * sizeof *marks);
    actor_send(actor, ACTOR_RAFT, &audit);
}

/* The answers of the call at hand, for those who wait on this node. */
static void answer(struct machine_apply *apply, struct reply_list *replies)
{
    for (size_t i = 0; i < apply->count; i++) {
        struct conclave_reply_sink *sink = &apply->sinks[i];
        if (!apply->origins[i].client)
            buf_unref(sink->body);
        else if (sink->refused)
            reply_add(replies, apply->origins[i], sink->code, sink->body);
        else
            reply_add_answer(replies, apply->origins[i], sink->code, sink->body);
        *sink = (struct conclave_reply_sink){0};
    }
}

void machine_apply_tell_room(struct actor *actor, struct machine_apply *apply, bool waits)
{
    if (waits == apply->told)
        return;
    apply->told = waits;
    log_event(&actor->node->logger, waits ? CONCLAVE_LOG_ERROR : CONCLAVE_LOG_INFO,
              actor->ops->name, waits ? "no_room" : "has_room", "applied=%llu reason=\"%s\"",
              (unsigned long long)apply->applied,
              waits ? "the state machine's disk is full; it waits, and commands are refused; free "
                      "some space"
                    : "what waited has been applied");
    static const enum actor_id told[] = {ACTOR_RAFT, ACTOR_NETWORK};
    for (size_t i = 0; i < sizeof told / sizeof *told; i++) {
        struct envelope *space = envelope_create(ENVELOPE_SPACE);
        space->space.full = waits;
        space->space.of = SPACE_MACHINE;
        actor_send(actor, told[i], &space);
    }
}

/* One call of the machine, or what is left of one that found no room. */
static int call(struct actor *actor, struct machine_apply *apply, struct conclave_error *error)
{
    ASSERT(apply->last_index > apply->applied); /* Rule 7: in order, each once */
    int code = CONCLAVE_OK;
    if (apply->waits)
        code = session_layer_go_on(apply->sessions);
    else if (apply->last_index > apply->held)
        code = session_layer_apply(apply->sessions, apply->inputs, apply->count, apply->last_index,
                                   apply->sink_pointers);
    if (code == CONCLAVE_NO_SPACE) {
        apply->tried_us = clock_now_us();
        apply->waits = true;
        machine_apply_tell_room(actor, apply, true);
        return CONCLAVE_OK;
    }
    if (code)
        return error_set(error, code,
                         "the state machine failed to apply up to index %llu: %s; the node stops "
                         "because its state is not known any more",
                         (unsigned long long)apply->last_index, conclave_code_text(code));
    apply->applied = apply->last_index;
    apply->waits = false;
    machine_apply_tell_room(actor, apply, false);
    tell_marks(actor, apply);
    return CONCLAVE_OK;
}

bool machine_apply_ready(const struct machine_apply *apply)
{
    if (apply->waits)
        return clock_now_us() - apply->tried_us >= (uint64_t)MACHINE_RETRY_MS * 1000;
    return apply->taken.entry_count > 0 || apply->backlog.count > 0;
}

int machine_apply_step(struct actor *actor, struct machine_apply *apply,
                       struct machine_snapshot *snapshot, struct reply_list *replies,
                       struct conclave_error *error)
{
    while (machine_apply_ready(apply)) {
        if (!apply->waits && apply->taken.entry_count == 0)
            take(apply);
        if (!apply->waits)
            gather(apply, snapshot, replies);
        if (apply->last_index) {
            int code = call(actor, apply, error);
            if (!code && !apply->waits)
                answer(apply, replies);
            return code;
        }
        raft_runs_clear(&apply->taken);
    }
    return CONCLAVE_OK;
}

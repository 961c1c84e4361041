/* actors/machine_apply.h - applying what is committed, for the state-machine actor.
 *
 *     raft -APPLY-> backlog ──all of it──> taken ──up to APPLY_COMMANDS_MAX at once──> the machine
 *                                                        ▲            │ NO_SPACE
 *                                                        └── later ───┘
 *
 * A machine whose disk is full waits: what it could not apply is tried again once in a while, and
 * what follows waits behind it. Meanwhile the node votes, answers what needs no more than what was
 * applied, and takes no commands as a leader. The state machine's thread. */
#ifndef ACTORS_MACHINE_APPLY_H
#define ACTORS_MACHINE_APPLY_H

#include "actors/machine_snapshot.h"
#include "machine/session_layer.h"

struct machine_apply {
    struct session_layer *sessions; /* in front of the machine; the actor's */
    uint64_t applied; /* up to here all that raft sent has been, or need not be any more */
    uint64_t held;    /* the machine holds it up to here from a former life; most often no more than
                         `applied` */

    struct { /* entries taken from the inbox and not yet begun, in order */
        struct raft_runs *items;
        uint32_t count, capacity;
    } backlog;
    struct raft_runs taken; /* begun: up to where `next` stands they were noted */
    struct raft_runs_iter next;

    size_t count;        /* commands of the call at hand */
    uint64_t last_index; /* up to where it goes; 0: there is none */
    bool waits;          /* it found no room */
    uint64_t tried_us;   /* when */
    bool told;           /* the others that there is none */

    /* Scratch of one call; all have room for APPLY_COMMANDS_MAX. */
    struct session_input *inputs;
    struct raft_origin *origins;
    struct conclave_reply_sink *sinks;
    struct conclave_reply_sink **sink_pointers;
};

void machine_apply_init(struct machine_apply *apply, struct session_layer *sessions,
                        uint64_t applied);
void machine_apply_deinit(struct machine_apply *apply);

/* Takes the entries of an APPLY over. */
void machine_apply_add(struct machine_apply *apply, struct envelope *envelope);

/* Something was added that is not applied yet, or it is time to look for room again. */
bool machine_apply_ready(const struct machine_apply *apply);

/* Applies the next part of what was added, wherever the pieces ended in which it came; answers go
 * to `replies`. OK too if it waits for room: machine_apply_waits. Another code: the machine's, and
 * the node stops. */
MUST_USE int machine_apply_step(struct actor *actor, struct machine_apply *apply,
                                struct machine_snapshot *snapshot, struct reply_list *replies,
                                struct conclave_error *error);

/* It holds entries that are yet to come once more, and are passed over then. Until that is over no
 * snapshot may be taken: it would not be known which configuration belongs to it. */
static inline bool machine_apply_is_ahead(const struct machine_apply *apply)
{
    return apply->applied < apply->held;
}

/* A call found no room: part of it may be applied, sessions and machine are between two states, and
 * neither may be asked for a snapshot. */
bool machine_apply_waits(const struct machine_apply *apply);

/* Raft and the network treat this node as one whose disk is full, or no more: also of an
 * installation that waits. */
void machine_apply_tell_room(struct actor *actor, struct machine_apply *apply, bool waits);

/* How often a machine without room is asked again. */
enum { MACHINE_RETRY_MS = 500 };

/* How long to wait for the inbox at most before it is run again; -1: for ever. */
long machine_apply_wait_ms(const struct machine_apply *apply);

#endif

/* actors/machine_actor.h - the state-machine actor, shared by the files that make it up:
 * machine_actor.c (the loop), machine_open.c (how it comes to its state), machine_tell.c (what it
 * tells the others by itself). What they have of their own to do is behind headers of their own.
 * The state machine's thread. */
#ifndef ACTORS_MACHINE_ACTOR_H
#define ACTORS_MACHINE_ACTOR_H

#include "actors/machine_apply.h"
#include "actors/machine_broadcast.h"
#include "actors/machine_queries.h"
#include "actors/machine_snapshot.h"
#include "actors/machine_streams.h"
#include "actors/node.h"
#include "machine/session_layer.h"

/* Taken from the inbox while something else was waited for; come first. */
struct machine_stash {
    struct envelope **items;
    uint32_t next, count, capacity;
};

struct machine {
    const struct conclave_machine_ops *ops;
    void *arg;
    struct session_layer *sessions; /* in front of the machine */
    struct machine_apply apply;
    struct machine_snapshot snapshot;
    bool opened;             /* if not, its store found no room at the start */
    uint64_t log_last;       /* where the log ended then: the machine holds no more */
    struct raft_id install;  /* what it is to become after the backlog; index 0: nothing */
    bool install_waits;      /* it found no room, or is not open: there is no state */
    uint64_t install_due_us; /* when to try again */

    struct machine_stash stash;

    uint64_t due_ms;       /* as the network knows it */
    uint64_t due_clock_ms; /* cluster time as of when it was told */
    struct {
        bool lacking, asked; /* there was little the last time; something was applied since */
        uint64_t next_us;    /* when to look again, unless much is applied before */
        uint64_t bytes;      /* of log, applied since it was looked at */
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
static inline bool machine_actor_lacks_room(const struct machine *machine)
{
    return machine->install_waits || machine_apply_waits(&machine->apply);
}

/* --- machine_open.c --------------------------------------------------------------------------- */

/* Opens the machine, or leaves that for machine_actor_open_late: a damaged log or snapshot is
 * repaired first. */
MUST_USE int machine_actor_start(struct actor *actor, struct conclave_error *error);

/* Waits until the log is whole, opens the machine, and lets raft begin. STOPPING: the node ends
 * before. */
MUST_USE int machine_actor_open_late(struct actor *actor, struct conclave_error *error);

/* Becomes the snapshot that raft has put in the place of the log's front; opens the machine before,
 * if a start found no room for that. If there is none it is tried again, from the beginning, until
 * there is: the node goes on without a state, takes entries and votes, and answers nobody from the
 * machine. */
MUST_USE int machine_actor_install(struct actor *actor, struct conclave_error *error);

/* Nothing of the machine may be in use when it closes. */
void machine_actor_end_snapshot(struct actor *actor);

void machine_actor_clear_stash(struct machine_stash *stash);

/* --- machine_tell.c --------------------------------------------------------------------------- */

/* How far it is, for raft and for whoever asks for the status. */
void machine_actor_store_progress(struct actor *actor);

/* Which snapshot it is yet to become (index 0: none), and that this one must stay until then. */
void machine_actor_is_to_become(struct actor *actor, struct raft_id snapshot);

/* The same, and raft is to be woken for it: */
void machine_actor_note_progress(struct actor *actor);

/* at once or a little later. */
void machine_actor_tell_applied(struct actor *actor);

/* When cluster time has to be in the log the next time, for who leads. What is due and did not end
 * with the time that passed last, since that was enough for one apply, is told each time. */
MUST_USE int machine_actor_tell_due(struct actor *actor, struct conclave_error *error);

/* While something is applied, and as long as there is little, looks now and then whether the
 * machine has room left for those who delete. */
MUST_USE int machine_actor_check_room(struct actor *actor, struct conclave_error *error);

/* What the audit's chain is now; asked once in a while. */
void machine_actor_tell_mark(struct actor *actor);

/* How much of the store there is to be written to disk. Only of the built-in machine is it known
 * where its store is. */
void machine_actor_tell_changed(struct actor *actor);

void machine_actor_flush_replies(struct actor *actor);

/* How long to wait for the inbox at most before raft is woken; before the room is looked at. -1:
 * for ever. */
long machine_actor_told_wait_ms(const struct machine *machine);
long machine_actor_room_wait_ms(const struct machine *machine);

#endif

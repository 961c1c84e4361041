/* actors/machine_snapshot.h - the state-machine actor's side of snapshots: when one is taken, and
 * how the machine becomes one. State-machine thread only. */
#ifndef ACTORS_MACHINE_SNAPSHOT_H
#define ACTORS_MACHINE_SNAPSHOT_H

#include "actors/node.h"
#include "machine/session_layer.h"

struct machine_snapshot {
    struct session_snapshot *taken; /* the helper writes it; NULL: none is under way */
    uint64_t state_bytes;           /* that one would hold now, or that the last one held; 0: not
                                       known */
    uint64_t bytes;                 /* applied since the last one */
    uint64_t entries;               /* likewise */
    uint64_t wait_bytes;            /* one failed: how much more before the next try */
    uint64_t wait_entries;
    bool wanted;                  /* at once: a peer needs one, and the newest is damaged */
    struct raft_id applied;       /* term 0: not known yet */
    uint64_t configuration_index; /* in effect at `applied` */
    struct buf *configuration;    /* NULL: not known yet */
    struct snapshot_meta ahead;   /* of the newest snapshot, if that is ahead of `applied` */
    struct raft_id unrestored;    /* a start found no room to become this one; index 0: none */
};

/* Makes machine and sessions hold what the log does not: restores the newest valid snapshot if it
 * has to, setting damaged ones aside. *applied_index is what they hold, before and after. If there
 * is no room for it, OK too: it is in `unrestored`, to be installed later, and *applied_index is
 * what they will hold then. `sessions` NULL: there was not even room to open them. */
MUST_USE int machine_snapshot_start(struct actor *actor, struct machine_snapshot *snapshot,
                                    struct session_layer *sessions, uint64_t *applied_index,
                                    struct conclave_error *error);
void machine_snapshot_deinit(struct machine_snapshot *snapshot);

/* An entry was applied, or is about to be in the same call of the machine. */
void machine_snapshot_note(struct machine_snapshot *snapshot, const struct raft_entry *entry);

/* One is wanted at once. The one under way is as good, and if it fails, the helper asks again. */
static inline void machine_snapshot_want(struct machine_snapshot *snapshot)
{
    snapshot->wanted = !snapshot->taken;
}

/* Begins a snapshot if it is time to. Between two calls of the machine. */
void machine_snapshot_take(struct actor *actor, struct machine_snapshot *snapshot,
                           struct session_layer *sessions);

/* The helper is done with the one under way, which ends here and not there: LMDB tells its writer
 * by a plain store that nobody reads any more, and only the envelope orders that behind the reads.
 * `state_bytes` are what it holds, if it was written. */
void machine_snapshot_done(const struct node *node, struct machine_snapshot *snapshot, int code,
                           uint64_t state_bytes);

/* How many bytes lie between two snapshots: four times as many as one of them holds, so that a
 * large state is not written again and again for a small log, but not less than `least` and no more
 * than four times that, since a start applies the log between again. */
uint64_t machine_snapshot_distance(uint64_t least, uint64_t state_bytes);

/* The machine becomes a snapshot that was received. None of its own is running. */
MUST_USE int machine_snapshot_install(struct actor *actor, struct machine_snapshot *snapshot,
                                      struct session_layer *sessions, struct raft_id id,
                                      struct conclave_error *error);

#endif

/* tests/sim/snapshots.h - the snapshot helper of one simulated node: takes snapshots of its state
 * machine behind the core, receives and sends them, and says at a start what there is.
 *
 *     snapshots.c   taking, becoming durable, restoring
 *     streams.c     on their way between nodes: the decisions are those of
 *                   actors/snapshot_flow.h, frames those of codec/peer.h
 *
 * Owned by the world's thread. */
#ifndef TESTS_SIM_SNAPSHOTS_H
#define TESTS_SIM_SNAPSHOTS_H

#include "actors/snapshot_flow.h"
#include "tests/sim/check_pieces.h"
#include "tests/sim/disk.h"
#include "tests/sim/queue.h"
#include "tests/sim/shelf.h"

struct world;
struct node;

struct snapshots {
    struct shelf *shelf;
    struct raft_id newest;  /* durable, as this life knows */
    struct raft_id damaged; /* it, found unreadable when it was to be sent */
    uint64_t asked_us;      /* when another one was asked for */

    /* What the state machine holds: as actors/machine_snapshot.h notes it. */
    struct raft_id applied;
    uint64_t configuration_index;
    struct buf *configuration;
    struct snapshot_meta ahead; /* of the newest, if that is ahead of `applied` */
    uint64_t entries;           /* applied since the last one */

    bool wanted; /* one at once: the newest was damaged */
    bool taking;
    struct snapshot_meta taken;
    struct buf *state;

    struct flow_sender sender;
    struct shelf_source sources[FLOW_STREAMS_MAX]; /* by the sender's slots */
    struct flow_part receiving;
    uint64_t stream_at_us; /* earliest SIM_STREAM queued; UINT64_MAX: none */
    bool sending;          /* the sender wants to be asked */
    uint64_t part_from;    /* who sends it: node << 32 | incarnation */
    bool installing;       /* the last one received went to the core, and is not settled yet */
    bool handed;           /* and a step of the core has seen it */
    struct check_pieces pieces;
};

/* --- snapshots.c ------------------------------------------------------------------------------ */

/* Nothing yet. */
void snapshots_init(struct world *world, struct node *node);
void snapshots_deinit(struct node *node);

/* What a start begins with: the newest snapshot, which the state machine becomes if it has to. The
 * start's snapshot is the caller's. False: not now; it is tried again, or a violation. */
bool snapshots_start(struct world *world, struct node *node, const struct disk_found *found,
                     struct raft_snapshot *ret);

/* An entry was applied. */
void snapshots_note(struct node *node, const struct raft_entry *entry);

/* Begins one if it is time to. */
void snapshots_take(struct world *world, struct node *node);

/* SIM_SNAPSHOT: the one under way is written. */
void snapshots_taken(struct world *world, struct node *node);

/* The state machine becomes this snapshot, which is whole here. False: it waits for room, or a
 * check failed. */
bool snapshots_become(struct world *world, struct node *node, struct raft_id id);

/* The state machine becomes a snapshot that was received. False: it waits for room, or a check
 * failed. */
bool snapshots_install(struct world *world, struct node *node, struct raft_id id);

/* One became durable: what is not kept goes, and the log's front with it. False: the node died. */
bool snapshots_durable(struct world *world, struct node *node, struct raft_id id);

/* What makes one durable that has come whole: its sync, its name, and the sync of that. */
enum { SNAPSHOTS_CHANGES = 3 };

/* Something is about to be written: one of so many operations may fail, or only one of its first
 * `changes` (0: any), or the node be doomed to die of one. */
bool snapshots_doom(struct world *world, struct node *node, uint64_t operations, uint64_t changes);

/* The node dies. Before the disk does. */
void snapshots_crash(struct world *world, struct node *node);

/* A byte of the newest one changes, if the node can do without; true: it does. */
bool snapshots_rot(struct world *world, struct node *node);

/* --- streams.c -------------------------------------------------------------------------------- */

/* After a step: who is to get a snapshot, and who no more. */
void streams_update(struct world *world, struct node *node);

/* SIM_STREAM, SIM_BULK. */
void streams_event(struct world *world, struct node *node);
void streams_deliver(struct world *world, const struct sim_event *event);

void streams_crash(struct world *world, struct node *node);

#endif

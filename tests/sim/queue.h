/* tests/sim/queue.h - the scheduler's queue: what happens next in virtual time.
 *
 * Events of one time leave in the order in which they were put in, so whoever needs FIFO gets it
 * by never scheduling before its last one. One thread. */
#ifndef TESTS_SIM_QUEUE_H
#define TESTS_SIM_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

enum sim_event_kind {
    SIM_DELIVER = 1, /* ptr: what arrives, owned: a struct raft_message; if a: its frame, a buf;
                        b: the sender */
    SIM_WAKE,        /* the node drains its inbox */
    SIM_TIMER,       /* the node's deadline, or an earlier one that was moved */
    SIM_FIRED,       /* the node hears that its timer went off: a = epoch */
    SIM_SYNCED,      /* the disk has made the batch under way durable */
    SIM_PERSISTED,   /* the node is told: a = seq, b = term, c = index */
    SIM_MACHINE,     /* the state machine has applied the batch under way */
    SIM_APPLIED,     /* the node is told: a = index */
    SIM_FETCHED,     /* what number a asked for is read back from the log */
    SIM_SNAPSHOT,    /* the snapshot under way is written */
    SIM_STREAM,      /* snapshots on their way go on */
    SIM_BULK,     /* ptr: a frame with a piece of a snapshot or an answer, a buf; b: the sender */
    SIM_REQUEST,  /* operations of a client arrive: a = first, b = count */
    SIM_CLIENT,   /* client a may start its next operations */
    SIM_STRAY,    /* an operation of nobody waiting arrives at a leader that has been replaced */
    SIM_FAULT,    /* the next fault is due */
    SIM_CRASH,    /* the node crashes, with a write under way */
    SIM_RESTART,  /* the node starts again */
    SIM_HEAL,     /* the partition of number a ends */
    SIM_OPERATOR, /* the operator asks for the next change of the members */
    SIM_CHANGE,   /* its request number a arrives */
    SIM_JOIN,     /* a node that was added gets its directory and starts */
    SIM_STOP,     /* a node that was removed is switched off */
    SIM_REPAIR,   /* a node whose log is damaged asks the others */
    SIM_AUDIT,    /* a node tells the others once more what it applied; if a: one that was found to
                     differ starts again */
    SIM_MARKS,    /* ptr: a frame with such marks, a buf; b: the sender */
    SIM_HUB,      /* the node's subscriptions have their turn */
    SIM_WATCHER,  /* the watcher of this number (in `node`) does something */
    SIM_ASKED,    /* what watcher a says arrives: b = its operation, c = its id; ptr: a buf */
    SIM_TOLD,     /* a frame arrives at the watcher (in `node`): a = its id, ptr: a buf, or NULL */
    SIM_CLOCK,    /* the node, if it leads, may write cluster time into its log */
    SIM_LOCKER,   /* the client of this number (in `node`) that queues does something */
    SIM_WORKER    /* the member of a work group of this number (in `node`) does something */
};

struct sim_event {
    uint64_t at_us;
    uint64_t order; /* set by queue_push */
    enum sim_event_kind kind;
    uint32_t node;
    uint32_t incarnation; /* SIM_WAKE .. SIM_STREAM: of another life of the node: dropped */
    uint64_t a, b, c;
    void *ptr;
};

/* All zero is empty. */
struct queue {
    struct sim_event *heap;
    uint64_t count, capacity, pushed;
};

void queue_push(struct queue *queue, struct sim_event event);

/* Takes out the earliest event; false if there is none. */
bool queue_pop(struct queue *queue, struct sim_event *ret_event);

/* Frees the queue; what `ptr` points to in the events left is the caller's (pop them first). */
void queue_deinit(struct queue *queue);

#endif

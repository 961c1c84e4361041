/* actors/trace.h - where the time of a write goes: stamps on one batch of proposals at a time.
 *
 * The network marks a batch of some, and every actor that it passes on its way stamps it:
 *
 *     network ──────> raft ──> log-writer ──> raft ───────> state machine ──> network
 *     RECEIVED        QUEUED   DURABLE        COMMITTED     APPLIED           REPLIED
 *
 * A batch is known by its address, which cannot be used again since the trace holds a reference,
 * and by the index of its last entry. Without a trace that runs an actor pays for one load of an
 * atomic. Stamps of a batch that was given up may meet the next one: what is out of order is
 * dropped. Owned by struct node; TRACE_RECEIVED and TRACE_REPLIED are the network's, each other
 * stamp has one thread. */
#ifndef ACTORS_TRACE_H
#define ACTORS_TRACE_H

#include "conclave.h"
#include "raft/entries.h"

#include <stdatomic.h>

enum trace_stamp {
    TRACE_RECEIVED,
    TRACE_QUEUED,
    TRACE_DURABLE,
    TRACE_COMMITTED,
    TRACE_APPLIED,
    TRACE_STAMPS
};

struct trace {
    _Atomic(const struct raft_batch *) batch; /* the one that is followed; NULL: none */
    _Atomic uint64_t index;                   /* of its last entry; 0: raft has not seen it */
    _Atomic uint64_t at_ns[TRACE_STAMPS];     /* 0: not there yet */
    struct raft_batch *held;                  /* the network's: the same, one reference */
};

/* Network: follows this batch, unless another one is followed or was begun a moment ago. */
void trace_begin(struct trace *trace, struct raft_batch *batch);

/* Stamps if the runs have a part of the batch; QUEUED learns the index of its last entry in them.
 */
void trace_runs(struct trace *trace, const struct raft_runs *runs, enum trace_stamp stamp);

/* Stamps if everything up to `index` reaches the end of the batch. */
void trace_reached(struct trace *trace, uint64_t index, enum trace_stamp stamp);

/* Whether it has been applied: the next replies are its. */
bool trace_is_applied(const struct trace *trace);

/* Network: the replies were sent. True with the times, if they are whole. */
bool trace_end(struct trace *trace, struct conclave_trace *ret);

/* The network is done: nothing is followed any more. */
void trace_drop(struct trace *trace);

#endif

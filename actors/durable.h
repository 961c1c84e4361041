/* actors/durable.h - how far the log is on disk, as the log-writer says it to raft.
 *
 * Raft looks whenever it is awake for another reason, and that is nearly always soon enough: the
 * leader hears of its followers, a follower gets its next entries. It is woken for it (PERSISTED)
 * only if it has said that something waits for this disk alone. A wake-up costs more than all that
 * is done in it (ARCHITECTURE.md). */
#ifndef ACTORS_DURABLE_H
#define ACTORS_DURABLE_H

#include "raft/message.h"

#include <stdatomic.h>

/* Zeroed: nothing was written. The log-writer fills the slot that is not current and makes it so:
 * raft never reads what is being written, unless it was overtaken by two, which it sees. */
struct durable {
    atomic_uint stores; /* so far: slots[stores % 2] is current */
    struct {
        _Atomic(uint64_t) seq;         /* a persist that is on disk, and with it all before */
        _Atomic(uint64_t) term, index; /* of its last entry */
    } slots[2];
    _Atomic(bool) wanted; /* raft asks to be woken for the next */
};

/* The log-writer: the persist of this seq, later than all before, is on disk. True if raft is to be
 * woken for it. */
bool durable_store(struct durable *durable, uint64_t seq, struct raft_id last);

/* Raft: true if a later persist than *seq is on disk; then *seq and *ret_last are that one's. */
bool durable_look(struct durable *durable, uint64_t *seq, struct raft_id *ret_last);

/* Raft: asks to be woken for a later persist than `seq`. False if it is there already. */
bool durable_want(struct durable *durable, uint64_t seq);

/* Raft: is awake, and need not be woken. */
void durable_forgo(struct durable *durable);

#endif

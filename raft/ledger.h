/* raft/ledger.h - what is on its way: bytes up to an index, in order, and their sum.
 *
 * Used for the window of appends to a peer, for what the state machine has not confirmed yet and
 * for proposals that are not committed. Owned by one thread. All zero is empty. */
#ifndef RAFT_LEDGER_H
#define RAFT_LEDGER_H

#include <stdint.h>

struct raft_ledger {
    struct raft_ledger_item {
        uint64_t index; /* the last log index that the bytes belong to */
        uint64_t bytes;
    } * items;
    uint32_t head, count, capacity; /* a ring; capacity is 0 or a power of two */
    uint64_t bytes;                 /* of all items */
};

/* Adds an item; index must not be below the last one's (asserted). */
void raft_ledger_add(struct raft_ledger *ledger, uint64_t index, uint64_t bytes);

/* Removes every item at or below index. */
void raft_ledger_settle(struct raft_ledger *ledger, uint64_t index);

/* Removes every item, keeps the memory. */
void raft_ledger_clear(struct raft_ledger *ledger);

void raft_ledger_deinit(struct raft_ledger *ledger);

#endif

/* actors/reads_ahead.h - answers to reads that were executed before they were confirmed.
 *
 *     state machine ──answers──┐
 *                              ├──> both are here: the answers go out
 *     raft ────────decision────┘
 *
 * Either may come first. While raft asks the other nodes whether this one still leads, the state
 * machine executes what was asked: so a read takes the longer of the two and not both. Nobody sees
 * an answer before the decision (Rule 40). If the read is refused, raft has told the clients so
 * itself, and the answers, which may be late, are thrown away.
 *
 * Bounded by what is: an operation is pending meanwhile (actors/pending.h), and the bytes of its
 * answer are its client's (actors/reply_room.h). Network's thread. */
#ifndef ACTORS_READS_AHEAD_H
#define ACTORS_READS_AHEAD_H

#include "actors/envelope.h"
#include "base/numbered.h"

/* `read` of the decision is its number. */
struct read_ahead {
    struct read_decision decision; /* `count` counts down what has not come; 0: not decided */
    struct reply_list held;
};

/* Zeroed, it is empty. */
struct reads_ahead {
    struct numbered reads; /* of struct read_ahead */
};

enum reads_ahead_fate {
    READS_AHEAD_OUT,  /* it may go out: its read is confirmed, or it is of none of these */
    READS_AHEAD_KEPT, /* taken over, until the decision */
    READS_AHEAD_VOID  /* freed: its read was refused */
};

MUST_USE enum reads_ahead_fate reads_ahead_take(struct reads_ahead *reads, struct reply *reply);

/* What may go out with it is moved to the end of *list. */
void reads_ahead_decide(struct reads_ahead *reads, const struct read_decision *decision,
                        struct reply_list *list);

/* Reads that are not decided, or of which answers have not come. */
uint32_t reads_ahead_count(const struct reads_ahead *reads);

void reads_ahead_deinit(struct reads_ahead *reads);

#endif

/* actors/reads_ahead.h - answers to reads that were executed before they were confirmed.
 *
 *     state machine ──answers──┐
 *                              ├──> both are here: the answers go out, or a refusal in their place
 *     raft ────────decision────┘
 *
 * Either may come first. While raft asks the other nodes whether this one still leads, the state
 * machine executes what was asked: so a read takes the longer of the two and not both. Nobody sees
 * an answer before the decision (Rule 40).
 *
 * Bounded by what is: an operation is pending meanwhile (actors/pending.h), and the bytes of its
 * answer are its client's (actors/reply_room.h). Network's thread. */
#ifndef ACTORS_READS_AHEAD_H
#define ACTORS_READS_AHEAD_H

#include "actors/envelope.h"

struct read_ahead {
    struct read_decision decision; /* `count` counts down what has not come; 0: not decided */
    struct reply_list held;
};

/* Zeroed, it is empty. */
struct reads_ahead {
    struct read_ahead *items; /* in order of the reads */
    uint32_t count, capacity;
};

/* True: it is kept, and taken over. False: it may go out as it is now. Of one that is none of these
 * reads nothing is asked. */
bool reads_ahead_keep(struct reads_ahead *reads, struct reply *reply);

/* What may go out with it is moved to the end of *list. */
void reads_ahead_decide(struct reads_ahead *reads, const struct read_decision *decision,
                        struct reply_list *list);

void reads_ahead_deinit(struct reads_ahead *reads);

#endif

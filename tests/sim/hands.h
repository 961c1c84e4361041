/* tests/sim/hands.h - what members of work groups were told, and what they may not be told.
 *
 * All this is seen from their side alone. While the ack time of a message lasts that a member has
 * fetched or extended, and its lease, by the true time and the fastest clock and as long as it has
 * not given it back, nobody else may be told that he has it, nor the member that it has not. How
 * often a message was delivered rises from one to the next; it is acknowledged once, and does not
 * come again after that. What a member that died had in hand stays there until its time is over.
 * Indexes are those at which commands were applied. One thread. */
#ifndef TESTS_SIM_HANDS_H
#define TESTS_SIM_HANDS_H

#include "raft/raft.h"

#include <stdbool.h>
#include <stdint.h>

struct world;

/* A lease. */
struct hands_member {
    uint64_t lease, ttl_ms;
    uint64_t sent_us; /* the last command that began its time, and was answered */
    bool let_go;      /* its end was asked for */
};

/* A message of a group, by the group's id, as it was handed out once. */
struct hand {
    uint64_t group, sequence, deliveries;
    uint64_t index;
    uint32_t member;
    uint64_t ack_ms, sent_us; /* until then; as of the command that said so */
    uint64_t let_go_by;       /* the ack or nack that was sent: its first attempt; 0: none was */
};

/* It was acknowledged. */
struct hands_ack {
    uint64_t group, sequence, index;
};

struct hands {
    RAFT_LIST(struct hands_member, members);
    RAFT_LIST(struct hand, all);
    RAFT_LIST(struct hands_ack, acks);
};

void hands_deinit(struct hands *hands);

/* A lease was granted; its number here. */
uint32_t hands_join(struct hands *hands, struct hands_member member);

/* A fetch was answered: the member has the message. */
void hands_take(struct world *world, struct hand hand);

/* The member's newest hand with the message; NULL: it never had it. */
struct hand *hands_find(struct hands *hands, uint32_t member, uint64_t group, uint64_t sequence);

/* An ack was answered with success for this message, or a fetch that does not want acks. */
void hands_acked(struct world *world, struct hands_ack ack);

/* The member is told that it does not have what it had in this hand, by the answer to a command of
 * this first attempt; that its lease is over. */
void hands_lost(struct world *world, const struct hand *hand, uint64_t first);
void hands_ended(struct world *world, uint32_t member);

#endif

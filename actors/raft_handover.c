/* A clean stop: before raft ends, leadership goes to somebody else, if anybody can take it, and
 * what this node has taken is answered. */
#include "actors/raft_actor.h"
#include "base/clock.h"

/* Begins or carries on what comes before STOP; looked at after each step. */
void raft_actor_hand_over(struct actor *actor)
{
    struct raft_actor *self = actor->state;
    uint64_t now_us = clock_now_us();
    bool leads = raft_role(self->raft) == RAFT_LEADER;
    if (self->handover == HANDOVER_WANTED) {
        self->handover = leads ? HANDOVER_RUNNING : HANDOVER_DONE;
        self->handover_deadline_us =
            now_us + (uint64_t)actor->node->options.election_timeout_ms * 1000;
        if (leads)
            raft_actor_add(self, RAFT_EVENT_TRANSFER); /* to anybody; its origin is nobody */
    } else if (leads) {
        self->handover_last = raft_last(self->raft).index;
    } else if (raft_leader(self->raft) && raft_applied(self->raft) >= self->handover_last) {
        self->handover = HANDOVER_DONE; /* whoever waited for an answer has got it */
    }
    if (now_us >= self->handover_deadline_us)
        self->handover = HANDOVER_DONE;
    if (self->handover == HANDOVER_DONE) {
        struct envelope *drain = envelope_create(ENVELOPE_DRAIN);
        actor_send(actor, ACTOR_NETWORK, &drain);
    }
}

bool raft_actor_hands_over(const struct raft_actor *self)
{
    return self->handover == HANDOVER_WANTED || self->handover == HANDOVER_RUNNING;
}

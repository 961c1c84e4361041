/* The timer actor: owns one deadline, and nothing else. It sleeps until the deadline or the next
 * ARM, so an idle node makes no ticks. */
#include "actors/actor.h"
#include "base/clock.h"

struct deadline {
    uint64_t at_us; /* UINT64_MAX: none */
    uint64_t epoch;
};

static long wait_ms(const struct deadline *deadline, uint64_t now_us)
{
    if (deadline->at_us == UINT64_MAX)
        return -1;
    if (deadline->at_us <= now_us)
        return 0;
    uint64_t ms = (deadline->at_us - now_us + 999) / 1000; /* never early */
    return ms > 60000 ? 60000 : (long)ms;
}

static void fire(struct actor *actor, struct deadline *deadline)
{
    struct envelope *fired = envelope_create(ENVELOPE_FIRED);
    fired->fired.epoch = deadline->epoch;
    deadline->at_us = UINT64_MAX;
    actor_send(actor, ACTOR_RAFT, &fired);
}

static int timer_run(struct actor *actor, struct conclave_error *error)
{
    (void)error;
    struct deadline deadline = {.at_us = UINT64_MAX};
    for (;;) {
        inbox_wait(&actor->inbox, wait_ms(&deadline, clock_now_us()));
        for (struct envelope *envelope; (envelope = inbox_receive(&actor->inbox));) {
            enum envelope_type type = envelope->type;
            if (type == ENVELOPE_ARM) { /* the newest ARM replaces what was armed */
                deadline.at_us = envelope->arm.deadline_us;
                deadline.epoch = envelope->arm.epoch;
            }
            envelope_destroy(envelope);
            if (type == ENVELOPE_STOP || type == ENVELOPE_QUIT)
                return CONCLAVE_OK;
        }
        if (deadline.at_us <= clock_now_us())
            fire(actor, &deadline);
    }
}

const struct actor_ops timer_actor_ops = {.name = "timer", .run = timer_run};

#include "tests/sim/lockers.h"

#include "base/list.h"
#include "tests/sim/world.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
    STALLS_CHANCE = 40,     /* of each step of one who holds */
    DIES_CHANCE = 8,        /* of each step, in thousandths */
    OTHER_SLOTS_CHANCE = 60 /* of each enqueueing: another number than all others */
};

static struct locker *locker_of(struct world *world, uint32_t client)
{
    return client >= LOCKER_FIRST && client < LOCKER_FIRST + world->knobs.locker_count
               ? &world->lockers.all[client - LOCKER_FIRST]
               : NULL;
}

static uint32_t number_of(const struct world *world, const struct locker *locker)
{
    return (uint32_t)(locker - world->lockers.all);
}

/* --- Leases ----------------------------------------------------------------------------------- */

/* By its own clock. */
static bool believes(const struct world *world, const struct locker *locker)
{
    const struct locker_claim *claim = &locker->claim;
    double passed_us = (double)(world->now_us - claim->sent_us) * (double)locker->clock_rate / 1e6;
    return claim->lease && passed_us < (double)claim->ttl_ms * 1e3;
}

static bool wants_renewal(const struct world *world, const struct locker *locker)
{
    const struct locker_claim *claim = &locker->claim;
    double passed_us = (double)(world->now_us - claim->sent_us) * (double)locker->clock_rate / 1e6;
    return passed_us > (double)claim->ttl_ms * 1e3 / 3;
}

/* The lease lasts, whoever measures it: nobody can have ended it by its time yet. */
static bool lasts(const struct world *world, const struct locker_claim *claim)
{
    double us = (double)claim->ttl_ms * 1e3 * (1e6 / (double)world_fastest(world));
    return claim->lease && !claim->let_go &&
           (double)world->now_us + 2 < (double)claim->sent_us + us;
}

/* --- What they may be told -------------------------------------------------------------------- */

static bool is_ahead(const struct world *world, const struct locker_claim *claim,
                     const struct locker_claim *other)
{
    return other->token && other->queue == claim->queue && other->token < claim->token &&
           lasts(world, other);
}

/* Nobody is let in while those hold who were before him. */
static void check_ahead(struct world *world, const struct locker *locker)
{
    const struct locker_claim *claim = &locker->claim;
    uint64_t ahead = 0, which = 0;
    for (uint32_t i = 0; claim->slots > 0 && i < world->knobs.locker_count; i++) {
        const struct locker *other = &world->lockers.all[i];
        if (other == locker)
            continue;
        const struct locker_claim *both[] = {&other->claim, &other->ghost};
        for (int k = 0; k < 2; k++) {
            if (!is_ahead(world, claim, both[k]))
                continue;
            ahead++;
            which = both[k]->token;
        }
    }
    if (is_ahead(world, claim, &locker->ghost))
        ahead++;
    if (claim->slots > 0 && ahead >= claim->slots)
        check_fail(&world->check, "a lock is held by those who came first",
                   "client %u is let in with token %" PRIu64 " of queue %u, %" PRIu64 " of %" PRIu64
                   " slots are taken, one with token %" PRIu64,
                   number_of(world, locker) + 1, claim->token, claim->queue, ahead, claim->slots,
                   which);
}

/* With one slot, who holds as of a later index came later. */
static void check_order(struct world *world, const struct locker *locker, uint64_t index)
{
    const struct locker_claim *claim = &locker->claim;
    struct lockers *lockers = &world->lockers;
    for (uint32_t i = 0; claim->slots == 1 && i < lockers->grants.count; i++) {
        const struct locker_grant *grant = &lockers->grants.items[i];
        if (grant->queue == claim->queue && grant->slots == 1 &&
            ((grant->token > claim->token && grant->index <= index) ||
             (grant->token < claim->token && grant->index >= index)))
            check_fail(&world->check, "tokens rise in the order of grants",
                       "token %" PRIu64 " holds queue %u at %" PRIu64 ", token %" PRIu64
                       " at %" PRIu64,
                       claim->token, claim->queue, index, grant->token, grant->index);
    }
    LIST_RESERVE(&lockers->grants);
    lockers->grants.items[lockers->grants.count++] =
        (struct locker_grant){claim->queue, claim->slots, claim->token, index};
}

void lockers_granted(struct world *world, struct locker *locker, uint64_t index)
{
    check_ahead(world, locker);
    check_order(world, locker, index);
    locker->state = LOCKER_HOLDING;
    locker->held = true;
    locker->hold_until_us =
        world->now_us + world_draw(world, 0, world->knobs.lock_ttl_ms_max * 2000);
    report_mark(&world->report, SIM_MARK_LOCK_HELD);
}

static void enqueued(struct world *world, struct locker *locker, const struct op *op)
{
    struct lockers *lockers = &world->lockers;
    locker->claim.token = op->value;
    if (op->value <= locker->floor)
        check_fail(&world->check, "a new place in a queue has a new token",
                   "client %u gets token %" PRIu64 ", and %" PRIu64 " was known when it asked",
                   number_of(world, locker) + 1, op->value, locker->floor);
    if (op->value > lockers->highest)
        lockers->highest = op->value;
    if (op->awaited == 0) {
        lockers_granted(world, locker, asker_applied(world, op));
        return;
    }
    report_mark(&world->report, SIM_MARK_LOCK_WAITED);
    locker->state = LOCKER_WAITING;
}

/* What the lock protects looks at tokens alone. */
static void use(struct world *world, struct locker *locker)
{
    const struct locker_claim *claim = &locker->claim;
    uint64_t *used = &world->lockers.used[claim->queue];
    if (claim->slots != 1)
        return;
    if (claim->token >= *used) {
        *used = claim->token;
        return;
    }
    report_mark(&world->report, SIM_MARK_LOCK_FENCED);
    if (lasts(world, claim))
        check_fail(&world->check, "nobody is displaced while his lease lasts",
                   "client %u holds with token %" PRIu64 ", and token %" PRIu64 " was used",
                   number_of(world, locker) + 1, claim->token, *used);
}

/* --- Asking ----------------------------------------------------------------------------------- */

/* It begins again, with nothing. */
static void forget(struct locker *locker)
{
    locker->state = LOCKER_IDLE;
    locker->claim = (struct locker_claim){0};
    locker->held = false;
    asker_forget(&locker->asker);
}

static void send(struct world *world, struct locker *locker, struct op op)
{
    asker_send(world, &locker->asker, op);
}

static void begin(struct world *world, struct locker *locker)
{
    const struct knobs *knobs = &world->knobs;
    uint64_t slots[SIM_QUEUES] = {1, knobs->lock_slots, 0}; /* election, lock, presence */
    struct locker_claim *claim = &locker->claim;
    forget(locker);
    claim->queue = (uint32_t)(world_draw(world, 0, 7) * SIM_QUEUES / 8);
    claim->slots = slots[claim->queue];
    if (knobs_chance(&world->prng, OTHER_SLOTS_CHANCE))
        claim->slots = world_draw(world, 0, 3);
    claim->ttl_ms = world_draw(world, knobs->lock_ttl_ms_max / 4 + 1, knobs->lock_ttl_ms_max);
    if (locker->asker.in_session && locker->asker.session == 0) {
        locker->state = LOCKER_OPENING;
        send(world, locker, (struct op){.kind = OP_OPEN});
        return;
    }
    locker->state = LOCKER_GRANTING;
    send(world, locker, (struct op){.kind = OP_GRANT, .ttl_ms = claim->ttl_ms});
}

static void enqueue(struct world *world, struct locker *locker)
{
    const struct locker_claim *claim = &locker->claim;
    send(world, locker,
         (struct op){.kind = OP_ENQUEUE,
                     .cell = claim->queue,
                     .pad = (uint32_t)world_draw(world, 0, world->knobs.part_pad_max),
                     .lease = claim->lease,
                     .slots = claim->slots});
}

/* A revoke, or the place alone: then the lease ends by itself. */
static void release(struct world *world, struct locker *locker)
{
    struct locker_claim *claim = &locker->claim;
    bool leaves = !world->calm && claim->token && world_draw(world, 0, 3) == 0;
    locker->state = LOCKER_RELEASING;
    claim->let_go = true;
    send(world, locker,
         leaves ? (struct op){.kind = OP_LEAVE, .cell = claim->queue, .token = claim->token}
                : (struct op){.kind = OP_REVOKE, .lease = claim->lease});
}

static void renew(struct world *world, struct locker *locker)
{
    send(world, locker, (struct op){.kind = OP_RENEW, .lease = locker->claim.lease});
}

/* By its own clock, or because it was told so. */
static void lost(struct world *world, struct locker *locker, bool told)
{
    report_mark(&world->report, SIM_MARK_LOCK_LOST);
    if (told && lasts(world, &locker->claim))
        check_fail(&world->check, "nobody is displaced while his lease lasts",
                   "client %u with token %" PRIu64 " of queue %u is told that it is gone",
                   number_of(world, locker) + 1, locker->claim.token, locker->claim.queue);
    locker->ghost = locker->claim; /* it may be there still */
    forget(locker);
}

static void hold(struct world *world, struct locker *locker)
{
    use(world, locker);
    if (world->check.failed)
        return;
    if (world->calm || world->now_us >= locker->hold_until_us)
        release(world, locker);
    else if (wants_renewal(world, locker) && world_draw(world, 0, 5) > 0)
        renew(world, locker);
    else if (world_draw(world, 0, 3) == 0)
        send(world, locker,
             (struct op){.kind = OP_PROCLAIM,
                         .cell = locker->claim.queue,
                         .pad = (uint32_t)world_draw(world, 0, world->knobs.part_pad_max),
                         .token = locker->claim.token});
}

/* What comes next, while nothing is under way. */
static void next(struct world *world, struct locker *locker)
{
    bool holds = locker->state == LOCKER_WAITING || locker->state == LOCKER_HOLDING;
    if (holds && !believes(world, locker)) {
        lost(world, locker, false);
        return;
    }
    switch (locker->state) {
    case LOCKER_IDLE:
    case LOCKER_OPENING:
        if (!world->calm || !locker->served)
            begin(world, locker);
        return;
    case LOCKER_GRANTING:
        send(world, locker, (struct op){.kind = OP_GRANT, .ttl_ms = locker->claim.ttl_ms});
        return;
    case LOCKER_ENQUEUEING:
        enqueue(world, locker);
        return;
    case LOCKER_WAITING:
        if (wants_renewal(world, locker))
            renew(world, locker);
        else
            send(world, locker,
                 (struct op){
                     .kind = OP_PLACE, .cell = locker->claim.queue, .token = locker->claim.token});
        return;
    case LOCKER_HOLDING:
        hold(world, locker);
        return;
    case LOCKER_RELEASING:
        release(world, locker);
    }
}

static void dies(struct world *world, struct locker *locker)
{
    report_mark(&world->report, SIM_MARK_LOCK_DIED);
    locker->ghost = locker->claim;
    forget(locker);
    locker->asker.session = 0;
}

void lockers_event(struct world *world, const struct sim_event *event)
{
    struct locker *locker = &world->lockers.all[event->node];
    const struct knobs *knobs = &world->knobs;
    uint64_t timeout_us = knobs->raft.election_timeout_us;
    uint64_t next_us = world_draw(world, 1, timeout_us / 2);
    bool stalls = !world->calm && locker->state == LOCKER_HOLDING &&
                  knobs_chance(&world->prng, STALLS_CHANCE);
    if (stalls)
        next_us += world_draw(world, 0, 3000 * locker->claim.ttl_ms);
    world_push(world, next_us, (struct sim_event){.kind = SIM_LOCKER, .node = event->node});
    if (locker->stalls && locker->state == LOCKER_HOLDING)
        use(world, locker); /* it knows of nothing, and goes on with what it was about to do */
    locker->stalls = stalls;
    if (world->check.failed)
        return;
    if (world->calm && world_draw(world, 0, 3) > 0)
        locker->asker.node = world_leader(world);
    bool asks = world->calm || world->now_us >= world->quiet_until_us;
    if (!asks || (!world->calm && !world_grant(world, SIM_ACTION_LOCK)))
        return;
    if (!world->calm && locker->state != LOCKER_IDLE && knobs_chance(&world->prng, DIES_CHANCE)) {
        dies(world, locker);
        return;
    }
    if (asker_is_free(world, &locker->asker))
        next(world, locker);
}

/* --- Answers ---------------------------------------------------------------------------------- */

static void let_go(struct world *world, struct locker *locker)
{
    locker->served |= world->calm && locker->held;
    forget(locker);
}

static void place_answered(struct world *world, struct locker *locker, const struct op *op)
{
    if (op->code == CONCLAVE_NOT_FOUND || op->code == CONCLAVE_LEASE_EXPIRED)
        lost(world, locker, true);
    else if (op->code == CONCLAVE_COMPARE_FAILED) /* others are there with other slots */
        release(world, locker);
    else if (op->kind == OP_ENQUEUE)
        enqueued(world, locker, op);
    else if (op->awaited == 0 && locker->state == LOCKER_WAITING && believes(world, locker))
        lockers_granted(world, locker, op->index);
}

static void done(struct world *world, struct locker *locker, const struct op *op)
{
    struct locker_claim *claim = &locker->claim;
    uint64_t sent_us = world->ops.items[op->first].invoked_us;
    if (op->code == CONCLAVE_QUOTA)
        return; /* once more */
    switch (op->kind) {
    case OP_OPEN:
        locker->state = LOCKER_GRANTING;
        return;
    case OP_GRANT:
        claim->lease = op->value;
        claim->sent_us = sent_us;
        locker->floor = world->lockers.highest;
        locker->state = LOCKER_ENQUEUEING;
        return;
    case OP_RENEW:
        if (op->code == CONCLAVE_OK)
            claim->sent_us = sent_us;
        else
            lost(world, locker, true);
        return;
    case OP_ENQUEUE:
    case OP_PLACE:
        place_answered(world, locker, op);
        return;
    case OP_PROCLAIM:
        if (op->code == CONCLAVE_NOT_FOUND)
            lost(world, locker, true);
        return;
    default:
        let_go(world, locker);
    }
}

void lockers_answered(struct world *world, const struct op *op)
{
    struct locker *locker = locker_of(world, op->client);
    struct op answer;
    if (locker && asker_answered(world, &locker->asker, op, &answer))
        done(world, locker, &answer);
}

/* --- Life ------------------------------------------------------------------------------------- */

void lockers_start(struct world *world)
{
    const struct knobs *knobs = &world->knobs;
    for (uint32_t i = 0; i < knobs->locker_count; i++) {
        struct locker *locker = &world->lockers.all[i];
        locker->clock_rate =
            knobs->on[SIM_FAULT_CLOCK] ? world_draw(world, 800000, 1200000) : 1000000;
        locker->asker.client = LOCKER_FIRST + i;
        locker->asker.in_session = knobs_chance(&world->prng, knobs->session_chance);
        world_push(world, world_draw(world, 0, knobs->raft.election_timeout_us),
                   (struct sim_event){.kind = SIM_LOCKER, .node = i});
    }
}

void lockers_deinit(struct world *world)
{
    free(world->lockers.grants.items);
}

bool lockers_rest(const struct world *world)
{
    for (uint32_t i = 0; i < world->knobs.locker_count; i++)
        if (!world->lockers.all[i].served || world->lockers.all[i].state != LOCKER_IDLE)
            return false;
    return true;
}

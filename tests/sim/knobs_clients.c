/* What is drawn of the clients and of what the machine keeps for them. */
#include "tests/sim/knobs_internal.h"
#include "tests/sim/ops.h"

/* What an entry says of cluster time has whole ones. */
static void at_least_a_millisecond(uint64_t *us)
{
    if (*us < 1000)
        *us = 1000;
}

/* Limits that runs of this length reach, and those that nobody does. */
void knobs_draw_sessions(struct knobs *knobs, struct prng *prng)
{
    uint64_t timeout_ms = knobs->raft.election_timeout_us / 1000;
    struct session_limits *limits = &knobs->sessions;
    knobs->session_chance = PICK(prng, 500, 1000, 1000);
    knobs->retry_chance = PICK(prng, 300, 800, 950);
    knobs->stale_chance = PICK(prng, 0, 100, 500);
    knobs->idle_chance = PICK(prng, 0, 20, 100);
    limits->sessions = (uint32_t)PICK(prng, 2, 4, 8, SESSIONS_MAX);
    limits->window = (uint32_t)PICK(prng, 8, 16, SESSION_WINDOW);
    limits->sweep_commands = (uint32_t)PICK(prng, 2, 8, SESSION_SWEEP_COMMANDS);
    limits->lifetime_ms = timeout_ms * PICK(prng, 1, 4, 20, 1000);
    limits->clock_step_max_ms = limits->lifetime_ms / 2;
    limits->slots = PICK(prng, 16, 64, SESSION_SLOTS_MAX);
    limits->body_bytes = PICK(prng, 4, SESSION_BODY_BYTES_MAX, SESSION_BODY_BYTES_MAX);
    limits->bodies_bytes = PICK(prng, 400, 1500, SESSION_BODIES_BYTES_MAX);
    knobs->clock_step_us = limits->lifetime_ms * 1000 / PICK(prng, 2, 10, 60);
    at_least_a_millisecond(&knobs->clock_step_us);
}

/* Leases that end within the run. Cluster time that is not written makes them longer, so it is
 * written often. */
static void draw_leases(struct knobs *knobs, struct prng *prng)
{
    uint64_t timeout_us = knobs->raft.election_timeout_us;
    struct session_limits *limits = &knobs->sessions;
    knobs->ttl_chance = PICK(prng, 150, 400, 800);
    knobs->ttl_ms_max = timeout_us / 1000 * PICK(prng, 1, 1, 3, 8);
    uint64_t step_us = timeout_us / PICK(prng, 1, 4, 20);
    if (knobs->clock_step_us > step_us)
        knobs->clock_step_us = step_us;
    at_least_a_millisecond(&knobs->clock_step_us);
    limits->clock_lag_ms = (knobs->clock_step_us + 999) / 1000;
    limits->expire_work = (uint32_t)PICK(prng, 0, 1, 3);
}

static void draw_ttl(struct knobs *knobs, const struct prng *prng)
{
    struct prng own = *prng;
    prng_init(&own, prng_next(&own) ^ 0x77);
    if (prng_below(&own, 2) == 0 && !knobs->on[SIM_FAULT_ALTER])
        draw_leases(knobs, &own); /* a key that was altered may end before it is met */
}

static void draw_topic(struct knobs *knobs, const struct prng *prng)
{
    struct prng own = *prng;
    prng_init(&own, prng_next(&own) ^ 0x3333);
    if (!knobs->on[SIM_FAULT_ALTER]) /* found by what meets the altered key */
        knobs->topic_chance = PICK(&own, 0, 0, 200, 600);
}

/* What a topic keeps: by each limit, several, or none. */
static void draw_settings(const struct knobs *knobs, struct prng *prng, struct topic_settings *ret)
{
    uint64_t timeout_ms = knobs->raft.election_timeout_us / 1000;
    *ret = (struct topic_settings){
        .count_max = PICK(prng, 0, 0, 1, 5, 30),
        .bytes_max = PICK(prng, 0, 0, 60, 400),
        .age_ms = PICK(prng, 0, 0, timeout_ms, 5 * timeout_ms),
        .dedup_ms = PICK(prng, 0, timeout_ms, 4 * timeout_ms, UINT32_MAX, UINT32_MAX),
        .dedup_count = PICK(prng, 1, SIM_TOPIC_WINDOW, 20)};
    if (ret->dedup_ms == 0)
        ret->dedup_count = 0;
}

/* Transactions, queues, topics with everything. What a client can see of them is compared with the
 * rules, at the index where it was answered; the other half of the seeds search histories. */
static void draw_rich(struct knobs *knobs, const struct prng *prng)
{
    struct prng own = *prng;
    prng_init(&own, prng_next(&own) ^ 0x5151);
    for (int i = 0; i < SIM_TOPICS; i++)
        knobs->topics[i] = (struct topic_settings){.dedup_ms = UINT32_MAX, /* far behind */
                                                   .dedup_count = SIM_TOPIC_WINDOW};
    if (knobs->on[SIM_FAULT_ALTER] || prng_below(&own, 2) > 0)
        return;
    uint64_t timeout_ms = knobs->raft.election_timeout_us / 1000;
    knobs->rich = true;
    knobs->part_pad_max = (uint32_t)PICK(&own, 0, 8, 40);
    if (prng_below(&own, 3) > 0)
        knobs->txn_chance = PICK(&own, 150, 400, 800);
    if (knobs->txn_chance)
        knobs->past_chance = PICK(&own, 0, 300);
    if (knobs->txn_chance)
        knobs->history_changes = (uint32_t)PICK(&own, 0, 0, 1, 4, 20);
    if (prng_below(&own, 3) > 0) {
        knobs->topics_rich = true;
        knobs->topic_chance = PICK(&own, 200, 500);
        for (int i = 0; i < SIM_TOPICS; i++)
            draw_settings(knobs, &own, &knobs->topics[i]);
    }
    if (prng_below(&own, 3) > 0 || (!knobs->txn_chance && !knobs->topics_rich)) {
        if (!knobs->ttl_chance)
            draw_leases(knobs, &own);
        knobs->locker_count = (uint32_t)prng_between(&own, 2, SIM_LOCKERS_MAX);
        knobs->lock_ttl_ms_max = timeout_ms * PICK(&own, 2, 4, 12);
        knobs->lock_slots = PICK(&own, 1, 2, 3);
    }
}

/* What the history keeps beside a number of changes; of a generator of its own. */
static void draw_history(struct knobs *knobs, const struct prng *prng)
{
    struct prng own = *prng;
    prng_init(&own, prng_next(&own) ^ 0x4157);
    if (!knobs->rich || !knobs->txn_chance)
        return;
    knobs->history_bytes = PICK(&own, 0, 0, 0, 100, 1000);
    knobs->history_age_ms = knobs->raft.election_timeout_us / 1000 * PICK(&own, 0, 0, 0, 1, 5);
}

/* A quota near to what there is, changed again and again; of a generator of its own. */
static void draw_quota(struct knobs *knobs, const struct prng *prng)
{
    struct prng own = *prng;
    prng_init(&own, prng_next(&own) ^ 0x4104);
    if (knobs->rich && prng_below(&own, 2) == 0)
        knobs->quota_chance = PICK(&own, 50, 150, 300);
}

/* Work groups, one on each topic if there are two, or both on the one: small, so that members wait
 * for one another, and with ack times that end within the run. */
static void draw_groups(struct knobs *knobs, const struct prng *prng)
{
    struct prng own = *prng;
    prng_init(&own, prng_next(&own) ^ 0x6666);
    if (!knobs->rich || !knobs->topic_chance || prng_below(&own, 3) == 0)
        return;
    uint64_t timeout_ms = knobs->raft.election_timeout_us / 1000;
    if (!knobs->ttl_chance)
        draw_leases(knobs, &own);
    knobs->worker_count = (uint32_t)prng_between(&own, 2, SIM_WORKERS_MAX);
    knobs->worker_ttl_ms_max = timeout_ms * PICK(&own, 3, 10, 40);
    bool less = prng_below(&own, 4) > 0; /* goes wrong: so more gets done */
    for (int i = 0; i < SIM_FAULT_COUNT; i++)
        knobs->on[i] &= !less || prng_below(&own, 4) == 0;
    for (uint32_t i = 0; i < SIM_GROUPS; i++) {
        struct group_knobs *group = &knobs->groups[i];
        group->topic = knobs->topics_rich ? i % SIM_TOPICS : 0;
        group->ack_ms = 1 + timeout_ms * PICK(&own, 1, 4, 8, 24) / 4;
        group->deliveries_max = PICK(&own, 0, 1, 2, 5);
        group->dead = group->deliveries_max ? (group->topic + 1) % SIM_TOPICS : SIM_TOPICS;
        group->held_max = PICK(&own, 1, 3, 10);
        group->pending_max = PICK(&own, 2, 8, 60);
        group->start = (enum conclave_from)PICK(&own, CONCLAVE_FROM_FIRST, CONCLAVE_FROM_FIRST,
                                                CONCLAVE_FROM_NEW, CONCLAVE_FROM_LAST,
                                                CONCLAVE_FROM_SEQUENCE, CONCLAVE_FROM_TIME);
        group->position = PICK(&own, 1, 3, 20);
        if (group->start == CONCLAVE_FROM_TIME)
            group->position *= 10 * timeout_ms;
    }
    knobs->homeless = knobs->groups[0].deliveries_max > 0 && prng_below(&own, 2) == 0;
    if (knobs->homeless) {
        knobs->groups[0].deliveries_max = 1;
        knobs->groups[0].ack_ms = 1 + timeout_ms / 4;
    }
}

void knobs_draw_clients(struct knobs *knobs, const struct prng *prng)
{
    draw_ttl(knobs, prng);
    draw_topic(knobs, prng);
    draw_rich(knobs, prng);
    draw_history(knobs, prng);
    draw_quota(knobs, prng);
    draw_groups(knobs, prng);
}

#include "tests/sim/knobs_internal.h"
#include "tests/sim/ops.h"

#include <string.h>

static const char *const fault_texts[] = {
#define SIM_FAULT_TEXT(name, text) text,
    SIM_FAULTS(SIM_FAULT_TEXT)
#undef SIM_FAULT_TEXT
};

const char *knobs_fault_text(enum sim_fault fault)
{
    return fault_texts[fault];
}

uint64_t knobs_pick(struct prng *prng, const uint64_t *values, uint64_t count)
{
    return values[prng_below(prng, count)];
}

bool knobs_chance(struct prng *prng, uint64_t chance)
{
    return chance > 0 && prng_below(prng, 1000) < chance;
}

/* Limits from "one at a time" to "never reached". */
static void draw_raft(struct knobs *knobs, struct prng *prng)
{
    struct raft_options *raft = &knobs->raft;
    raft_options_init(raft);
    raft->election_timeout_us = prng_between(prng, 40, 400) * 1000;
    raft->heartbeat_us = raft->election_timeout_us / prng_between(prng, 3, 10);
    raft->append_entries_max = (uint32_t)PICK(prng, 1, 2, 3, 8, 64, 1024);
    raft->append_bytes_max = PICK(prng, 1, 64, 256, 4096, 1 << 20);
    raft->inflight_messages_max = (uint32_t)PICK(prng, 1, 2, 4, 16, 128);
    raft->inflight_bytes_max = PICK(prng, 1, 128, 1024, 1 << 20);
    raft->uncommitted_bytes_max = PICK(prng, 64, 1024, 4096, 1 << 20);
    raft->apply_bytes_max = PICK(prng, 1, 64, 512, 1 << 20);
    raft->reads_max = (uint32_t)PICK(prng, 1, 3, 64, 1024);
}

static void draw_timing(struct knobs *knobs, struct prng *prng)
{
    uint64_t timeout_us = knobs->raft.election_timeout_us;
    knobs->network_us_min = prng_between(prng, 50, 500);
    knobs->network_us_max = knobs->network_us_min + prng_between(prng, 1, timeout_us / 12);
    knobs->disk_us_min = prng_between(prng, 20, 500);
    knobs->disk_us_max =
        knobs->disk_us_min + prng_between(prng, 1, timeout_us / PICK(prng, 1, 12, 12, 12));
    knobs->machine_us_min = prng_between(prng, 5, 200);
    knobs->machine_us_max = knobs->machine_us_min + prng_between(prng, 1, timeout_us / 12);
    knobs->wake_us_max = PICK(prng, 0, 10, 200, 2000);
    knobs->wake_events_max = (uint32_t)PICK(prng, 1, 3, 1000);
    knobs->spike_us_max = prng_between(prng, timeout_us / 4, timeout_us * 5);
    knobs->fault_us_max = prng_between(prng, timeout_us / 2, timeout_us * 8);
    knobs->fault_length_us_max = prng_between(prng, timeout_us / 4, timeout_us * 8);
    knobs->priorities = prng_below(prng, 4) == 0;
    knobs->clocks = (enum sim_clocks)prng_below(prng, SIM_CLOCKS_COUNT);
    knobs->leader_chance = PICK(prng, 0, 300, 700, 1000);
    knobs->reset_chance = PICK(prng, 0, 300, 1000);
}

static void draw_load(struct knobs *knobs, struct prng *prng)
{
    knobs->client_count = (uint32_t)prng_between(prng, 1, SIM_CLIENTS_MAX);
    knobs->burst_max = (uint32_t)PICK(prng, 1, 1, 4, 16);
    knobs->pad_max = (uint32_t)PICK(prng, 0, 0, 32, SIM_PAD_MAX);
    knobs->think_us_max =
        prng_between(prng, 1, knobs->raft.election_timeout_us * PICK(prng, 1, 1, 4));
    knobs->read_chance = PICK(prng, 0, 200, 500, 800);
    knobs->raft.leases = prng_below(prng, 2) == 0;
    knobs->leases_mixed = prng_below(prng, 3) == 0;
    knobs->lease_chance = knobs->raft.leases ? PICK(prng, 300, 1000) : 0;
    knobs->leader_guess_chance = PICK(prng, 300, 800, 950);
}

/* The real wire and disk are slower than the models: half of the seeds run on each of them, and
 * very few on LMDB. */
static void draw_real(struct knobs *knobs, struct prng *prng)
{
    knobs->real_wire = prng_below(prng, 2) == 0;
    knobs->real_disk = prng_below(prng, 2) == 0;
    knobs->real_machine = prng_below(prng, 50) == 0;
    knobs->twin_machine = prng_below(prng, 100) == 0;
    knobs->storage.segment_bytes = PICK(prng, 1024, 1024, 2048, 8192, 65536);
    struct prng own = *prng;
    knobs->storage.spares_max = (uint32_t)PICK(&own, 0, 1, 2, 8);
    knobs->storage.attest_chance = PICK(prng, 0, 50, 500);
    knobs->storage.prepare_chance = PICK(prng, 0, 300, 1000);
    knobs->storage.kill_chance = PICK(prng, 0, 500, 1000);
    if (knobs->real_machine || knobs->twin_machine) { /* else nearly every crash would empty it */
        knobs->reset_chance = PICK(prng, 0, 100, 300);
        knobs->storage.kill_chance = PICK(prng, 700, 1000);
    }
    knobs->sync_chance = PICK(prng, 0, 20, 300);
    knobs->chance[SIM_FAULT_FULL_STORE] = PICK(prng, 5, 100);
    knobs->chance[SIM_FAULT_CUT_FRAME] = PICK(prng, 5, 50);
    knobs->chance[SIM_FAULT_BAD_SYNC] = PICK(prng, 2, 10, 50);
    knobs->chance[SIM_FAULT_DAMAGED_VOTE] = PICK(prng, 100, 1000);
    knobs->chance[SIM_FAULT_BAD_START] = PICK(prng, 100, 500);
}

static void draw_changes(struct knobs *knobs, struct prng *prng)
{
    struct change_knobs *changes = &knobs->changes;
    changes->on = prng_below(prng, 5) < 3;
    changes->gap_us_max = knobs->raft.election_timeout_us * PICK(prng, 1, 3, 10);
    for (int i = 0; i < SIM_CHANGE_KINDS; i++)
        changes->weights[i] = (uint32_t)PICK(prng, 0, 1, 1, 4);
    changes->weights[0] += 1; /* else there is soon nothing to ask for */
    changes->voters_min = (uint32_t)PICK(prng, 1, 1, 2, 3);
    changes->voters_max = (uint32_t)prng_between(prng, changes->voters_min, SIM_VOTERS_MAX);
    changes->stray_chance = PICK(prng, 0, 100, 500);
    changes->pair_chance = PICK(prng, 0, 100, 500);
    changes->leader_chance = PICK(prng, 0, 300, 1000);
    changes->promote_chance = PICK(prng, 0, 500, 1000);
    changes->late_chance = PICK(prng, 0, 0, 500);
    changes->lost_chance = PICK(prng, 0, 100, 300);
}

/* From a snapshot every three entries to none, kept entries from none to all, pieces from a few
 * bytes to the whole. */
static void draw_snapshots(struct knobs *knobs, struct prng *prng)
{
    struct raft_options *raft = &knobs->raft;
    uint64_t timeout_us = raft->election_timeout_us;
    knobs->snapshot_entries = PICK(prng, 0, 3, 3, 5, 10, 30, 100);
    knobs->snapshot_us_max =
        knobs->disk_us_min + prng_between(prng, 1, timeout_us * PICK(prng, 1, 1, 8) / 4);
    raft->trailing_entries = PICK(prng, 0, 0, 1, 5, 50);
    raft->trailing_bytes = PICK(prng, UINT64_MAX, UINT64_MAX, 1000);
    raft->pinned_bytes_max = PICK(prng, 0, 500, 5000, 1 << 30);
    struct flow_limits *flow = &knobs->flow;
    flow->chunk_bytes = PICK(prng, 40, 150, 600, SIM_CHUNK_BYTES_MAX);
    flow->window_bytes = flow->chunk_bytes * PICK(prng, 1, 2, 8);
    flow->rate_bytes_per_ms = PICK(prng, 100, 1000, 1 << 20);
    flow->rate_slack_us = PICK(prng, 0, 5000);
    flow->first_retry_us = timeout_us / 2;
    flow->retry_us = timeout_us;
    struct prng own = *prng;
    flow->again_us = PICK(&own, timeout_us / 8, 2 * timeout_us);
    flow->idle_part_us = 2 * timeout_us;
    knobs->last_piece_chance = PICK(&own, 0, 200, 1000);
}

/* A stored value changes behind a machine's back. The operator leaves enough members: the majority
 * that tells who is right has to be one. Of a generator of its own, since few runs have it. */
static void draw_alter(struct knobs *knobs, const struct prng *prng)
{
    struct prng own = *prng;
    knobs->on[SIM_FAULT_ALTER] = prng_below(&own, 6) == 0 && knobs->voter_count >= 3;
    knobs->sessions.audit_entries = (uint32_t)PICK(&own, 1, 4, 16);
    if (!knobs->on[SIM_FAULT_ALTER])
        return;
    knobs->real_machine = knobs->twin_machine = false;
    knobs->on[SIM_FAULT_WIPE] = knobs->on[SIM_FAULT_ROT_SNAPSHOT] = false;
    /* Between two changes there is time, and there are enough to tell who is right. */
    knobs->changes.gap_us_max = 10 * knobs->raft.election_timeout_us;
    knobs->changes.weights[0] += 4;
    if (knobs->changes.voters_min < 3)
        knobs->changes.voters_min = 3;
    if (knobs->changes.voters_max < 5)
        knobs->changes.voters_max = 5;
}

/* Of a generator of its own, as few runs have it. What is damaged so has to come back, so snapshots
 * that others may have it in alone do not rot. */
static void draw_scatter(struct knobs *knobs, const struct prng *prng)
{
    struct prng own = *prng;
    prng_init(&own, prng_next(&own) ^ 0x5ca7);
    knobs->on[SIM_FAULT_SCATTER] =
        knobs->real_disk && !knobs->lease_edge && prng_below(&own, 4) == 0 &&
        (knobs->snapshot_entries == 0 || !knobs->on[SIM_FAULT_ROT_SNAPSHOT]);
    if (!knobs->on[SIM_FAULT_SCATTER])
        return;
    /* Leaders that are cut off: what they appended alone is replaced, and rots with the rest. */
    knobs->on[SIM_FAULT_PARTITION] = knobs->on[SIM_FAULT_ONE_WAY] = true;
    knobs->leader_chance = 700;
}

/* How much of the log stays in memory: all of it, some, or nothing that may go. */
static void draw_memory(struct knobs *knobs, const struct prng *prng)
{
    struct prng own = *prng;
    prng_init(&own, prng_next(&own) ^ 0x3e30);
    knobs->raft.memory_bytes = PICK(&own, UINT64_MAX, 0, 0, 100, 500, 3000);
    knobs->on[SIM_FAULT_UNREAD] = knobs->raft.memory_bytes < UINT64_MAX &&
                                  !knobs->on[SIM_FAULT_SCATTER] && !knobs->lease_edge &&
                                  prng_below(&own, 4) == 0;
    knobs->chance[SIM_FAULT_UNREAD] = PICK(&own, 10, 100, 1000);
}

/* Clocks as far apart as they may be, a leader on the slow one that is cut off at the worst time,
 * and nothing else: a lease that is a little too long shows only then. */
static void draw_lease_edge(struct knobs *knobs, const struct prng *prng)
{
    struct prng own = *prng;
    prng_init(&own, prng_next(&own) ^ 0xedce);
    if (!knobs->raft.leases || knobs->voter_count < 3 || knobs->on[SIM_FAULT_ALTER] ||
        prng_below(&own, 8) > 0)
        return;
    knobs->lease_edge = true;
    for (int i = 0; i < SIM_FAULT_COUNT; i++)
        knobs->on[i] = false;
    knobs->on[SIM_FAULT_CLOCK] = knobs->on[SIM_FAULT_HOLD] = knobs->on[SIM_FAULT_TRANSFER] = true;
    knobs->on[SIM_FAULT_PEER_DOWN] = knobs->leases_mixed;
    knobs->clocks = SIM_CLOCKS_ONE_SLOW;
    knobs->changes.on = knobs->priorities = false;
    knobs->fault_us_max = 4 * knobs->raft.election_timeout_us;
}

/* Nodes fall behind and become a snapshot under those who wait there for a work group. */
static void draw_left_behind(struct knobs *knobs)
{
    knobs->on[SIM_FAULT_PARTITION] = knobs->on[SIM_FAULT_ONE_WAY] = true;
    knobs->snapshot_entries = 3;
    knobs->raft.trailing_entries = 0;
    knobs->fault_length_us_max = 6 * knobs->raft.election_timeout_us;
    knobs->leave_chance = 0;
}

/* Those who watch: some stay where they are for long, and see what becomes of the node; some are
 * told a few events at a time. Of a generator of its own. */
static void draw_watches(struct knobs *knobs, const struct prng *prng)
{
    struct prng own = *prng;
    prng_init(&own, prng_next(&own) ^ 0x3a7c);
    knobs->leave_chance = PICK(&own, 0, 1, 5, 30, 30);
    knobs->forget_chance = PICK(&own, 0, 100, 500);
    knobs->feed_looks = UINT32_MAX;
    knobs->feed_bytes = SIZE_MAX;
    if (knobs->worker_count && knobs->snapshot_entries && !knobs->lease_edge &&
        prng_below(&own, 3) == 0) {
        draw_left_behind(knobs);
        return;
    }
    if (prng_below(&own, 4) > 0)
        return; /* narrow ones cost the simulator time */
    knobs->feed_looks = (uint32_t)PICK(&own, 1, 2, 3);
    knobs->feed_bytes = PICK(&own, 1, 100, SIZE_MAX);
    knobs->hub_us_max = knobs->raft.election_timeout_us / PICK(&own, 2, 8, 64);
    knobs->leave_chance = PICK(&own, 5, 30);
    knobs->forget_chance = 500; /* and is told what there is, piece by piece */
}

/* How late a node may hear of its own disk, and a follower apply. */
static void draw_leisure(struct knobs *knobs, const struct prng *prng)
{
    struct prng own = *prng;
    prng_init(&own, prng_next(&own) ^ 0x7777);
    uint64_t timeout_us = knobs->raft.election_timeout_us;
    knobs->lazy_disk = prng_below(&own, 2) == 0;
    knobs->raft.apply_delay_us = PICK(&own, 0, 0, 1, timeout_us / 100, timeout_us / 4);
    knobs->watched_chance = PICK(&own, 0, 300, 700);
    knobs->ahead_chance = PICK(&own, 0, 500, 1000);
    uint64_t heartbeat_us = knobs->raft.heartbeat_us;
    knobs->raft.append_delay_us = PICK(&own, 0, 0, 1, heartbeat_us / 50, heartbeat_us);
}

uint64_t knobs_command_bytes(const struct knobs *knobs)
{
    uint64_t bytes = COMMAND_BYTES_MAX + knobs->pad_max;
    if (knobs->rich) /* compares may be with any value */
        bytes += COMMAND_PARTS_MAX * (COMMAND_PART_BYTES + knobs->part_pad_max) +
                 SIM_COMPARES_MAX * knobs->pad_max;
    return bytes;
}

void knobs_draw(struct knobs *knobs, struct prng *prng)
{
    memset(knobs, 0, sizeof *knobs);
    knobs->voter_count = (uint32_t)PICK(prng, 1, 2, 3, 3, 3, 3, 4, 5, 5, 5, 6, 7);
    knobs->learner_count = (uint32_t)PICK(prng, 0, 0, 0, 0, 1, 2);
    draw_raft(knobs, prng);
    draw_timing(knobs, prng);
    draw_load(knobs, prng);
    knobs_draw_sessions(knobs, prng);
    for (int i = 0; i < SIM_FAULT_ALTER; i++)
        knobs->on[i] = prng_below(prng, 2) == 0;
    knobs->on[SIM_FAULT_HOLD] |= knobs->raft.leases;
    knobs->chance[SIM_FAULT_LOSS] = PICK(prng, 5, 30, 100, 300);
    knobs->chance[SIM_FAULT_DUPLICATE] = PICK(prng, 5, 50, 300);
    knobs->chance[SIM_FAULT_DELAY] = PICK(prng, 5, 30, 100, 300);
    knobs->chance[SIM_FAULT_STALE_QUEUE] = PICK(prng, 50, 500, 1000);
    knobs->chance[SIM_FAULT_SLOW_DISK] = PICK(prng, 5, 50, 300);
    knobs->chance[SIM_FAULT_SLOW_MACHINE] = PICK(prng, 5, 50, 300);
    knobs->chance[SIM_FAULT_EARLY_TIMER] = PICK(prng, 5, 50, 300);
    draw_real(knobs, prng);
    draw_changes(knobs, prng);
    draw_snapshots(knobs, prng);
    knobs->chance[SIM_FAULT_ROT_SNAPSHOT] = PICK(prng, 50, 300, 1000);
    /* When a snapshot is needed in a damaged one's place; when one begins to come. */
    knobs->chance[SIM_FAULT_DISK_FULL] = 700;
    knobs->chance[SIM_FAULT_ALTER] = 300;
    draw_alter(knobs, prng);
    draw_lease_edge(knobs, prng);
    draw_scatter(knobs, prng);
    draw_memory(knobs, prng);
    knobs_draw_clients(knobs, prng);
    draw_watches(knobs, prng);
    draw_leisure(knobs, prng);
    if (knobs->topics_rich) /* their deadlines count too, which the reference knows nothing of */
        knobs->sessions.expire_work = 0;
    for (int i = 0; i < SIM_FAULT_COUNT; i++) {
        if (!knobs->on[i])
            knobs->chance[i] = 0;
    }
}

/* What the state-machine actor knows of its own state after a start, so that it can take a snapshot
 * of it at once. */
#include "actors/machine_snapshot.h"

#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

static struct node *node;
static struct actor actor;
static struct machine_snapshot snapshot;

/* The log holds entries of term 2 from `first` to `last`, none of them a configuration; the newest
 * snapshot ends at 10. */
static void start(uint64_t first, uint64_t last, uint64_t applied)
{
    struct conclave_error error = {0};
    node = calloc(1, sizeof *node);
    actor = (struct actor){.node = node};
    snapshot = (struct machine_snapshot){0};
    struct node_recovered *recovered = &node->recovered;
    recovered->base = (struct raft_id){.term = 2, .index = first - 1};
    recovered->snapshot = (struct snapshot_meta){.last = {.term = 2, .index = 10},
                                                 .configuration_index = 3,
                                                 .configuration = buf_copy("members", 7)};
    if (last >= first) {
        struct raft_batch *batch = raft_batch_create((uint32_t)(last - first + 1));
        for (uint64_t i = first; i <= last; i++)
            raft_batch_add(
                batch, (struct raft_entry){.id = {.term = 2, .index = i}, .kind = RAFT_ENTRY_NOOP});
        raft_runs_append(&recovered->entries, batch, 0, batch->count);
        raft_batch_unref(batch);
    }
    cr_assert_eq(machine_snapshot_start(&actor, &snapshot, NULL, &applied, &error), CONCLAVE_OK);
}

static void apply(uint64_t index, enum raft_entry_kind kind)
{
    static const char payload[] = "newer";
    struct raft_entry entry = {.id = {.term = 2, .index = index}, .kind = kind};
    if (kind == RAFT_ENTRY_CONFIG)
        entry.payload = (struct slice){(const uint8_t *)payload, 5};
    machine_snapshot_note(&snapshot, &entry);
}

static void assert_configuration(uint64_t index, const char *text)
{
    cr_assert(snapshot.configuration);
    cr_assert_eq(snapshot.configuration_index, index);
    cr_assert_eq(snapshot.configuration->bytes, strlen(text));
    cr_assert_arr_eq(snapshot.configuration->data, text, strlen(text));
}

static void end(void)
{
    machine_snapshot_deinit(&snapshot);
    raft_runs_clear(&node->recovered.entries);
    snapshot_meta_clear(&node->recovered.snapshot);
    free(node);
}

Test(machine_snapshot, what_the_newest_one_holds_is_known_though_the_log_is_empty, .fini = end)
{
    start(11, 10, 10);
    cr_assert_eq(snapshot.applied.index, 10);
    cr_assert_eq(snapshot.applied.term, 2);
    cr_assert_eq(snapshot.entries, 0);
    assert_configuration(3, "members");
}

Test(machine_snapshot, machine_ahead_of_the_newest_one_is_known_by_the_log, .fini = end)
{
    start(8, 14, 12);
    cr_assert_eq(snapshot.applied.index, 12);
    cr_assert_eq(snapshot.entries, 2);
    assert_configuration(3, "members");
}

/* What is in between stands nowhere: the machine may hold it, but no peer could be given it, and
 * the machine could not be made again. */
Test(machine_snapshot, log_that_begins_behind_the_newest_one_is_no_start, .fini = end)
{
    struct conclave_error error = {0};
    uint64_t applied = 14;
    start(11, 14, 14);
    cr_assert_not(node->recovered.snapshot_lacking);
    machine_snapshot_deinit(&snapshot);
    snapshot = (struct machine_snapshot){0};
    node->recovered.base.index = 11;
    cr_assert_eq(machine_snapshot_start(&actor, &snapshot, NULL, &applied, &error),
                 CONCLAVE_CORRUPT);
    cr_assert_not_null(strstr(error.message, "behind entry 11"), "%s", error.message);
    cr_assert(node->recovered.snapshot_lacking, "another node's is asked for");
}

/* A store that lost its last writes: the log leads it back to where the snapshot ends. */
Test(machine_snapshot, configuration_is_known_again_when_the_newest_one_is_reached, .fini = end)
{
    start(6, 14, 7);
    cr_assert_null(snapshot.configuration, "that of 7 is nowhere");
    apply(8, RAFT_ENTRY_NOOP);
    apply(9, RAFT_ENTRY_NOOP);
    cr_assert_null(snapshot.configuration);
    apply(10, RAFT_ENTRY_NOOP);
    assert_configuration(3, "members");
    apply(11, RAFT_ENTRY_CONFIG);
    assert_configuration(11, "newer");
    apply(12, RAFT_ENTRY_NOOP);
    assert_configuration(11, "newer");
}

/* The work of snapshots stays a part of that of the log, and the log in memory stays bounded. */
Test(machine_snapshot, distance_follows_the_state_between_one_and_four_times_the_option)
{
    enum { MIB = 1 << 20 };
    cr_assert_eq(machine_snapshot_distance(64 * MIB, 0), 64 * MIB);
    cr_assert_eq(machine_snapshot_distance(64 * MIB, 16 * MIB), 64 * MIB);
    cr_assert_eq(machine_snapshot_distance(64 * MIB, 40 * MIB), 160 * MIB);
    cr_assert_eq(machine_snapshot_distance(64 * MIB, 64 * MIB), 256 * MIB);
    cr_assert_eq(machine_snapshot_distance(64 * MIB, 65 * MIB), 256 * MIB);
    cr_assert_eq(machine_snapshot_distance(64 * MIB, 1024L * MIB), 256 * MIB);
    cr_assert_eq(machine_snapshot_distance(UINT64_MAX, UINT64_MAX), UINT64_MAX);
}

Test(machine_snapshot, distance_is_that_of_the_last_one_that_was_written, .fini = end)
{
    start(11, 10, 10);
    node->options.snapshot_bytes = 1000;
    node->options.snapshot_entries = 1000;
    machine_snapshot_done(node, &snapshot, CONCLAVE_OK, 500);
    cr_assert_eq(snapshot.state_bytes, 500);
    snapshot.bytes = 7; /* applied while the next one is tried, which fails for now */
    machine_snapshot_done(node, &snapshot, CONCLAVE_BUSY, 0);
    cr_assert_eq(snapshot.state_bytes, 500);
    cr_assert_eq(snapshot.bytes, 2007, "due again at once");
    cr_assert_eq(snapshot.wait_bytes, 0);
    machine_snapshot_done(node, &snapshot, CONCLAVE_IO, 0);
    cr_assert_eq(snapshot.bytes, 4007);
    cr_assert_eq(snapshot.wait_bytes, 2007 + 126, "an eighth of the option more, from here");
}

Test(machine_snapshot, one_under_way_is_as_good_as_one_that_is_wanted, .fini = end)
{
    start(11, 10, 10);
    machine_snapshot_want(&snapshot);
    cr_assert(snapshot.wanted);
    snapshot.taken = (struct session_snapshot *)&snapshot;
    machine_snapshot_want(&snapshot);
    cr_assert_not(snapshot.wanted);
    snapshot.taken = NULL;
}

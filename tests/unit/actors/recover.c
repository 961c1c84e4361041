/* One node goes on alone: on a disk in memory, which loses power at every instant. */
#include "actors/recover.h"

#include "../../disk/memory_io.h"
#include "actors/bootstrap.h"
#include "codec/kv.h"
#include "storage/snapshot.h"
#include "storage/vote.h"
#include "storage/wal.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct conclave_member members[] = {
    {.name = "n1", .peer = "tcp://127.0.0.1:7401"},
    {.name = "n2", .peer = "tcp://127.0.0.1:7402"},
    {.name = "n3", .peer = "tcp://127.0.0.1:7403"},
};

static struct memory_disk *disk;
static const struct io *io;
static struct storage_identity identity;

static void setup(void)
{
    disk = memory_disk_create();
    io = memory_disk_io(disk);
    cr_assert_eq(bootstrap_directory(io, "d", "n2", NULL, members, 3, NULL), CONCLAVE_OK);
    cr_assert_eq(identity_read(io, "d", &identity, NULL), CONCLAVE_OK);
}

static void teardown(void)
{
    memory_disk_destroy(disk);
}

TestSuite(recover, .init = setup, .fini = teardown, .timeout = 1200);

/* What a start would find. */
struct state {
    struct raft_hard_state hard;
    struct raft_id base, last;
    struct raft_configuration configuration; /* the newest in the log */
    uint64_t commands;
};

static void read_state(const struct io *from, struct state *ret)
{
    struct vote_file *vote;
    struct wal *wal;
    struct wal_recovery found = {0};
    struct conclave_error error = {0};
    memset(ret, 0, sizeof *ret);
    cr_assert_eq(vote_open(from, "d", &identity, &vote, &ret->hard, &error), 0, "%s",
                 error.message);
    cr_assert_eq(wal_open(from, "d", &identity, &(struct wal_options){0}, &wal, &found, &error), 0,
                 "%s", error.message);
    struct raft_runs_iter iter = {0};
    ret->base = ret->last = found.base;
    for (const struct raft_entry *entry; (entry = raft_runs_next(&found.entries, &iter));) {
        ret->last = entry->id;
        ret->commands += entry->kind == RAFT_ENTRY_COMMAND;
        if (entry->kind == RAFT_ENTRY_CONFIG)
            cr_assert_eq(raft_configuration_decode(entry->payload, &ret->configuration), 0);
    }
    raft_runs_clear(&found.entries);
    wal_close(wal);
    vote_close(vote);
}

/* Adds commands to the log, in this term. */
static void add_commands(uint64_t term, uint64_t first, uint32_t count)
{
    struct vote_file *vote;
    struct wal *wal;
    struct wal_recovery found = {0};
    struct raft_hard_state hard;
    cr_assert_eq(vote_open(io, "d", &identity, &vote, &hard, NULL), 0);
    cr_assert_eq(vote_write(vote, (struct raft_hard_state){.term = term}, NULL), 0);
    vote_close(vote);
    cr_assert_eq(wal_open(io, "d", &identity, &(struct wal_options){0}, &wal, &found, NULL), 0);
    struct raft_batch *batch = raft_batch_create(count);
    for (uint32_t i = 0; i < count; i++) {
        struct buf *payload = buf_copy("x", 1);
        raft_batch_add(batch, (struct raft_entry){.id = {term, first + i},
                                                  .buf = payload,
                                                  .payload = {payload->data, 1},
                                                  .kind = RAFT_ENTRY_COMMAND});
    }
    struct raft_runs entries = {0};
    raft_runs_append(&entries, batch, 0, count);
    raft_batch_unref(batch);
    wal_append(wal, &entries);
    cr_assert_eq(wal_sync(wal, NULL), 0);
    raft_runs_clear(&entries);
    raft_runs_clear(&found.entries);
    wal_close(wal);
}

static int recover(const struct io *on, struct conclave_recovery *ret, struct conclave_error *error)
{
    const struct conclave_recover_options options = {.size = sizeof options, .revisions = 1000};
    return recover_directory(on, "d", &options, ret, error);
}

static void expect_alone(const struct state *state)
{
    const struct raft_configuration *configuration = &state->configuration;
    cr_assert_eq(configuration->member_count, 1);
    cr_assert_not(configuration->joint);
    cr_assert_eq(configuration->members[0].id, identity.node_id);
    cr_assert_eq(configuration->members[0].flags, RAFT_MEMBER_VOTER);
    cr_assert_eq(configuration->removed_count, 2, "nobody who was lost is ever believed again");
}

Test(recover, makes_the_node_the_only_voter_behind_all_that_its_log_holds)
{
    static struct conclave_recovery done;
    static struct state state;
    struct conclave_error error = {0};
    add_commands(7, 2, 5);
    cr_assert_eq(recover(io, &done, &error), CONCLAVE_OK, "%s", error.message);
    cr_assert_str_eq(done.name, "n2");
    cr_assert_eq(done.last_index, 6);
    cr_assert_eq(done.last_term, 7);
    cr_assert_eq(done.term, 8);
    cr_assert_eq(done.removed_count, 2);
    cr_assert_not(done.was_learner);
    read_state(io, &state);
    expect_alone(&state);
    cr_assert_eq(state.hard.term, 8);
    cr_assert_eq(state.hard.vote, identity.node_id, "nobody else gets its vote in that term");
    cr_assert(raft_id_equal(state.last, (struct raft_id){8, 8}));
    cr_assert_eq(state.commands, 6, "five, and the one that leaves revisions out");
    cr_assert_eq(memory_disk_handles(disk), 0);
}

static bool refuse(void *arg, const struct conclave_recovery *plan)
{
    *(size_t *)arg = plan->removed_count;
    return false;
}

Test(recover, changes_nothing_that_is_not_confirmed)
{
    static struct conclave_recovery done;
    static struct state before, after;
    size_t shown = 0;
    const struct conclave_recover_options options = {
        .size = sizeof options, .confirm = refuse, .confirm_arg = &shown};
    read_state(io, &before);
    cr_assert_eq(recover_directory(io, "d", &options, &done, NULL), CONCLAVE_INVALID);
    cr_assert_eq(shown, 2, "the plan was shown");
    read_state(io, &after);
    cr_assert(raft_id_equal(before.last, after.last));
    cr_assert_eq(before.hard.term, after.hard.term);
    cr_assert_eq(after.configuration.member_count, 3);
}

Test(recover, power_loss_at_any_instant_leaves_the_old_members_or_the_new_one)
{
    static struct conclave_recovery done;
    static struct state state;
    add_commands(7, 2, 5);
    unsigned old = 0, new = 0;
    for (uint64_t at = 1;; at++) {
        struct memory_disk *copy = memory_disk_clone(disk);
        const struct io *on = memory_disk_io(copy);
        memory_disk_power_off_at(copy, at);
        int code = recover(on, &done, NULL);
        memory_disk_crash(copy, at);
        read_state(on, &state);
        cr_assert_geq(state.last.index, 6, "what the log held is still there");
        if (state.configuration.member_count == 1) {
            expect_alone(&state);
            cr_assert_eq(state.hard.term, 8);
            new ++;
        } else {
            cr_assert_eq(state.configuration.member_count, 3);
            cr_assert_neq(code, CONCLAVE_OK, "it said that it was done");
            old++;
        }
        if (state.configuration.member_count == 3) { /* once more, now with power */
            cr_assert_eq(recover(on, &done, NULL), CONCLAVE_OK);
            read_state(on, &state);
            expect_alone(&state);
        }
        memory_disk_destroy(copy);
        if (!code)
            break;
    }
    cr_assert(old > 5 && new > 1, "both were seen: %u, %u", old, new);
}

/* A snapshot that was received while the log had not yet begun anew behind it. */
static void add_snapshot(struct raft_id last)
{
    static struct state state;
    read_state(io, &state);
    struct conclave_error error = {0};
    struct snapshot_meta meta = {.last = last,
                                 .configuration_index = 1,
                                 .configuration = raft_configuration_encode(&state.configuration)};
    struct snapshot_list list = {0};
    cr_assert_eq(snapshot_list_read(io, "d", &list, &error), 0); /* makes the directory */
    snapshot_list_clear(&list);
    struct snapshot_writer *writer;
    cr_assert_eq(snapshot_writer_create(io, "d", &identity, &meta, &writer, &error), 0, "%s",
                 error.message);
    cr_assert_eq(snapshot_writer_add(writer, "state", 5, &error), 0);
    cr_assert_eq(snapshot_writer_finish(writer, &error), 0);
    snapshot_meta_clear(&meta);
}

static void snapshot_path(struct raft_id id, char *path, size_t size)
{
    snprintf(path, size, "d/snapshots/%016llx-%016llx.snap", (unsigned long long)id.index,
             (unsigned long long)id.term);
}

Test(recover, goes_on_behind_a_snapshot_that_the_log_does_not_reach)
{
    static struct conclave_recovery done;
    static struct state state;
    struct conclave_error error = {0};
    add_commands(7, 2, 5);
    add_snapshot((struct raft_id){9, 100});
    cr_assert_eq(recover(io, &done, &error), CONCLAVE_OK, "%s", error.message);
    cr_assert_eq(done.last_index, 100);
    cr_assert_eq(done.snapshot_index, 100);
    cr_assert_eq(done.term, 10);
    read_state(io, &state);
    expect_alone(&state);
    cr_assert(raft_id_equal(state.base, (struct raft_id){9, 100}), "the log begins anew");
    cr_assert(raft_id_equal(state.last, (struct raft_id){10, 102}));
}

Test(recover, goes_on_behind_the_log_if_the_newer_snapshot_is_damaged)
{
    static struct conclave_recovery done;
    static struct state state;
    char path[128];
    add_commands(7, 2, 5);
    add_snapshot((struct raft_id){9, 100});
    snapshot_path((struct raft_id){9, 100}, path, sizeof path);
    size_t bytes;
    cr_assert(memory_disk_bytes(disk, path, &bytes));
    memory_disk_rot(disk, path, bytes - 20, "rotten", 6);
    cr_assert_eq(recover(io, &done, NULL), CONCLAVE_OK);
    cr_assert_eq(done.last_index, 6);
    cr_assert_null(memory_disk_bytes(disk, path, &bytes), "it is set aside");
    read_state(io, &state);
    expect_alone(&state);
}

Test(recover, a_removed_node_is_refused)
{
    static struct conclave_recovery done;
    struct conclave_error error = {0};
    cr_assert_eq(recover(io, &done, NULL), CONCLAVE_OK); /* n2 alone: n1 and n3 are removed */
    static struct state state;
    read_state(io, &state);
    /* The same directory as of somebody who reads there that he was removed. */
    state.configuration.members[0].id = 12345;
    struct buf *payload = raft_configuration_encode(&state.configuration);
    struct wal *wal;
    struct wal_recovery found = {0};
    cr_assert_eq(wal_open(io, "d", &identity, &(struct wal_options){0}, &wal, &found, NULL), 0);
    struct raft_batch *batch = raft_batch_create(1);
    raft_batch_add(batch, (struct raft_entry){.id = {state.last.term, state.last.index + 1},
                                              .buf = payload,
                                              .payload = {payload->data, payload->bytes},
                                              .kind = RAFT_ENTRY_CONFIG});
    struct raft_runs entries = {0};
    raft_runs_append(&entries, batch, 0, 1);
    raft_batch_unref(batch);
    wal_append(wal, &entries);
    cr_assert_eq(wal_sync(wal, NULL), 0);
    raft_runs_clear(&entries);
    raft_runs_clear(&found.entries);
    wal_close(wal);
    cr_assert_eq(recover(io, &done, &error), CONCLAVE_INVALID);
    cr_assert(strstr(error.message, "no member"), "%s", error.message);
}

Test(recover, refuses_options_of_another_version)
{
    static struct conclave_recovery done;
    struct conclave_recover_options options = {.size = sizeof options};
    cr_assert_eq(conclave_recover(NULL, &options, &done, NULL), CONCLAVE_INVALID);
    cr_assert_eq(conclave_recover("/nowhere", NULL, &done, NULL), CONCLAVE_INVALID);
    options.revisions = CONCLAVE_RECOVER_REVISIONS_MAX + 1;
    cr_assert_eq(conclave_recover("/nowhere", &options, &done, NULL), CONCLAVE_INVALID);
    options = (struct conclave_recover_options){.size = sizeof options - 8};
    cr_assert_eq(conclave_recover("/nowhere", &options, &done, NULL), CONCLAVE_INVALID);
}

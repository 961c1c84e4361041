/* A whole directory, looked at as it is and with bytes of every file changed: nothing is written,
 * nothing is missed, nothing stops. */
#include "fixture.h"

#include "inspect/inspect.h"
#include "raft/configuration.h"
#include "storage/identity.h"
#include "storage/joined.h"
#include "storage/snapshot.h"

#include "base/fatal.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- A directory ------------------------------------------------------------------------------ */

static struct raft_configuration *members(void)
{
    struct raft_configuration *configuration = mem_zalloc(sizeof *configuration);
    configuration->member_count = 2;
    for (uint32_t i = 0; i < 2; i++) {
        configuration->members[i].id = i + 1;
        configuration->members[i].flags = i == 0 ? RAFT_MEMBER_VOTER : RAFT_MEMBER_LEARNER;
        (void)snprintf(configuration->members[i].name, CONCLAVE_NAME_BYTES_MAX, "n%u", i + 1);
        (void)snprintf(configuration->members[i].peer, CONCLAVE_ENDPOINT_BYTES_MAX, "tcp://h:%u",
                       i + 1);
    }
    return configuration;
}

/* An empty table of sessions, and a machine's own bytes. */
static const uint8_t state[] = "CNCLSTA\1"
                               "\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0"
                               "\x91"
                               "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                               "another machine's own bytes";

static void write_snapshot(const struct io *io, uint64_t index)
{
    struct raft_configuration *configuration = members();
    struct conclave_error error;
    struct snapshot_writer *writer = NULL;
    struct snapshot_meta meta = {.last = {.term = 2, .index = index},
                                 .configuration_index = 1,
                                 .configuration = raft_configuration_encode(configuration)};
    cr_assert_eq(snapshot_writer_create(io, STORY_DIR, &story_identity, &meta, &writer, &error),
                 CONCLAVE_OK);
    cr_assert_eq(snapshot_writer_add(writer, state, sizeof state - 1, &error), CONCLAVE_OK);
    cr_assert_eq(snapshot_writer_finish(writer, &error), CONCLAVE_OK);
    snapshot_meta_clear(&meta);
    free(configuration);
}

static struct memory_disk *make(void)
{
    static struct story story;
    struct memory_disk *disk = memory_disk_create();
    const struct io *io = memory_disk_io(disk);
    struct raft_configuration *configuration = members();
    struct snapshot_list list;
    struct conclave_error error;
    story = (struct story){0};
    cr_assert_eq(story_play(&story, io, story_long), CONCLAVE_OK);
    cr_assert_eq(snapshot_list_read(io, STORY_DIR, &list, &error), CONCLAVE_OK);
    snapshot_list_clear(&list);
    write_snapshot(io, 10);
    write_snapshot(io, 20);
    cr_assert_eq(joined_write(io, STORY_DIR, &story_identity, configuration, &error), CONCLAVE_OK);
    free(configuration);
    return disk;
}

/* --- Looking at it ---------------------------------------------------------------------------- */

struct seen {
    size_t entries, damaged, snapshots, snapshots_bad;
    int identity, vote, joined, members;
    struct conclave_inspect_vote vote_view;
    struct conclave_inspect_log log;
};

static bool see_item(void *arg, const struct conclave_inspect_item *item)
{
    struct seen *seen = arg;
    seen->entries += item->kind == CONCLAVE_INSPECT_ENTRY ? 1 : 0;
    seen->damaged += item->kind == CONCLAVE_INSPECT_DAMAGE ? 1 : 0;
    cr_assert(item->kind != CONCLAVE_INSPECT_DAMAGE || *item->text);
    return true;
}

static void see_snapshot(void *arg, const struct conclave_inspect_snapshot *found)
{
    struct seen *seen = arg;
    seen->snapshots++;
    seen->snapshots_bad += found->state == CONCLAVE_INSPECT_BAD ? 1 : 0;
    if (found->state == CONCLAVE_INSPECT_WHOLE) {
        cr_assert_eq(found->members, 2);
        cr_assert_eq(found->sessions, 0);
        cr_assert_eq(found->state_bytes, sizeof state - 1);
        cr_assert_not(found->key_value);
    }
}

/* Looks at everything; nothing may have been changed. */
static struct seen see(struct memory_disk *disk)
{
    const struct io *io = memory_disk_io(disk);
    const uint64_t changes = memory_disk_changes(disk);
    const struct conclave_inspect_options options = {.size = sizeof options};
    struct conclave_inspection *inspection = NULL;
    struct conclave_inspect_difference difference;
    struct conclave_inspect_members found;
    struct conclave_error error;
    struct seen seen = {.identity = inspect_open(io, STORY_DIR, &inspection, &error)};
    if (seen.identity == CONCLAVE_OK) {
        seen.vote = conclave_inspect_vote(inspection, &seen.vote_view, &error);
        seen.joined = conclave_inspect_joined(inspection, &error);
        seen.members = conclave_inspect_members(inspection, &found, &error);
        cr_assert_eq(conclave_inspect_log(inspection, &options, see_item, &seen, &seen.log, &error),
                     CONCLAVE_OK);
        cr_assert_eq(conclave_inspect_snapshots(inspection, true, see_snapshot, &seen, &error),
                     CONCLAVE_OK);
        cr_assert_eq(conclave_inspect_compare(inspection, inspection, &difference, &error),
                     CONCLAVE_OK);
        cr_assert_eq(difference.index, 0, "it is the same as itself");
        cr_assert_eq(seen.damaged, seen.log.damaged);
    }
    conclave_inspect_close(inspection);
    cr_assert_eq(memory_disk_changes(disk), changes, "it was only looked at");
    cr_assert_eq(memory_disk_handles(disk), 0);
    return seen;
}

static bool is_whole(const struct seen *seen)
{
    return seen->identity == CONCLAVE_OK && seen->vote == CONCLAVE_OK &&
           seen->vote_view.damaged_slots == 0 && seen->joined == CONCLAVE_OK &&
           seen->damaged == 0 && seen->snapshots_bad == 0;
}

Test(directory, is_whole_when_nothing_happened_to_it)
{
    struct memory_disk *disk = make();
    const struct seen seen = see(disk);
    cr_assert(is_whole(&seen));
    cr_assert_eq(seen.snapshots, 2);
    cr_assert_eq(seen.members, CONCLAVE_OK);
    cr_assert_eq(seen.entries, seen.log.entries + seen.log.replaced);
    cr_assert_gt(seen.log.replaced, 0);
    memory_disk_destroy(disk);
}

/* Of what a file means every byte is covered by a checksum. Of the vote two sectors are. */
static bool counts(const char *path, size_t at)
{
    return strstr(path, "/vote") ? at % 4096 < 512 : strstr(path, "/lock") == NULL;
}

Test(directory, tells_every_flipped_byte_of_what_is_no_log)
{
    struct memory_disk *disk = make();
    const char *path;
    size_t tried = 0;
    for (size_t file = 0; (path = memory_disk_file(disk, file)) != NULL; file++) {
        size_t bytes = 0;
        const uint8_t *data = memory_disk_bytes(disk, path, &bytes);
        for (size_t at = 0; at < bytes; at += (size_t)13 * SPARSELY(5)) {
            if (strstr(path, "/wal/") || !counts(path, at))
                continue;
            struct memory_disk *copy = memory_disk_clone(disk);
            const uint8_t value = data[at] ^ (uint8_t)(1u << at % 8);
            memory_disk_rot(copy, path, at, &value, 1);
            const struct seen seen = see(copy);
            cr_assert_not(is_whole(&seen), "%s at %zu was not seen", path, at);
            memory_disk_destroy(copy);
            tried++;
        }
    }
    cr_assert_gt(tried, 150 / SPARSELY(5));
    memory_disk_destroy(disk);
}

/* Any garbage anywhere, several places at once. */
Test(directory, takes_whatever_stands_in_the_files)
{
    struct memory_disk *disk = make();
    uint64_t random = 7;
    for (int round = 0; round < 200 / SPARSELY(5); round++) {
        struct memory_disk *copy = memory_disk_clone(disk);
        const char *path;
        for (size_t file = 0; (path = memory_disk_file(disk, file)) != NULL; file++) {
            size_t bytes = 0;
            (void)memory_disk_bytes(disk, path, &bytes);
            random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
            uint8_t garbage[16];
            memset(garbage, (int)(random >> 40), sizeof garbage);
            if (random >> 62 == 0 && bytes > sizeof garbage && !strstr(path, "/identity"))
                memory_disk_rot(copy, path, (size_t)(random >> 8) % (bytes - sizeof garbage),
                                garbage, sizeof garbage);
        }
        (void)see(copy);
        memory_disk_destroy(copy);
    }
    memory_disk_destroy(disk);
}

/* --- Two of them ------------------------------------------------------------------------------ */

static struct conclave_inspection *look_at(struct memory_disk *disk)
{
    struct conclave_inspection *inspection = NULL;
    struct conclave_error error;
    cr_assert_eq(inspect_open(memory_disk_io(disk), STORY_DIR, &inspection, &error), CONCLAVE_OK);
    return inspection;
}

static void append(struct memory_disk *disk, uint64_t term, uint64_t index, uint64_t count)
{
    struct wal_recovery found = {0};
    struct conclave_error error;
    struct wal *wal = NULL;
    struct raft_runs runs = {0};
    cr_assert_eq(wal_open(memory_disk_io(disk), STORY_DIR, &story_identity, &story_options, &wal,
                          &found, &error),
                 CONCLAVE_OK);
    runs_fill(&runs, term, index, count);
    wal_append(wal, &runs);
    cr_assert_eq(wal_sync(wal, &error), CONCLAVE_OK);
    raft_runs_clear(&runs);
    raft_runs_clear(&found.entries);
    wal_close(wal);
}

Test(directory, differs_from_another_where_the_first_entry_does)
{
    struct memory_disk *left_disk = make();
    struct memory_disk *right_disk = memory_disk_clone(left_disk);
    uint64_t last = see(left_disk).log.last, term = see(left_disk).log.last_term;
    append(left_disk, term, last + 1, 3);
    append(right_disk, term, last + 1, 1);
    append(right_disk, term + 1, last + 2, 5);
    struct conclave_inspection *left = look_at(left_disk), *right = look_at(right_disk);
    struct conclave_inspect_difference difference;
    struct conclave_error error;
    cr_assert_eq(conclave_inspect_compare(left, right, &difference, &error), CONCLAVE_OK);
    cr_assert_eq(difference.index, last + 2);
    cr_assert_eq(difference.same_to, last + 1);
    cr_assert_eq(difference.left.term, term);
    cr_assert_eq(difference.right.term, term + 1);
    cr_assert_eq(difference.left.last, last + 3);
    cr_assert_eq(difference.right.last, last + 6);
    conclave_inspect_close(left);
    conclave_inspect_close(right);
    memory_disk_destroy(left_disk);
    memory_disk_destroy(right_disk);
}

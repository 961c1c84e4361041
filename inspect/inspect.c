/* The handle, and what a directory says of itself. */
#include "inspect/inspect.h"

#include "base/fatal.h"
#include "raft/configuration.h"
#include "storage/block.h"
#include "storage/joined.h"
#include "storage/snapshot.h"
#include "storage/vote.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *copy(const char *text)
{
    const size_t bytes = strlen(text) + 1;
    return memcpy(mem_alloc(bytes), text, bytes);
}

static long lock_holder(const char *dir)
{
    char *path = path_join(dir, "lock");
    const long pid = io_posix_lock_holder(path);
    free(path);
    return pid;
}

int inspect_open(const struct io *io, const char *data_dir, struct conclave_inspection **ret,
                 struct conclave_error *error)
{
    struct storage_identity identity;
    const int code = identity_read(io, data_dir, &identity, error);
    if (code != CONCLAVE_OK)
        return code;
    struct conclave_inspection *inspection = mem_zalloc(sizeof *inspection);
    inspection->io = io;
    inspection->dir = copy(data_dir);
    inspection->wal_dir = path_join(data_dir, "wal");
    inspection->identity = identity;
    *ret = inspection;
    return CONCLAVE_OK;
}

int conclave_inspect_open(const char *data_dir, struct conclave_inspection **ret,
                          struct conclave_error *error)
{
    if (data_dir == NULL || ret == NULL)
        return error_set(error, CONCLAVE_INVALID, "a data directory is needed");
    const int code = inspect_open(io_posix_read_only(), data_dir, ret, error);
    if (code == CONCLAVE_OK)
        (*ret)->live = lock_holder(data_dir) != 0;
    return code;
}

void conclave_inspect_close(struct conclave_inspection *inspection)
{
    if (inspection == NULL)
        return;
    free(inspection->wal_dir);
    free(inspection->dir);
    free(inspection);
}

void conclave_inspect_identity(const struct conclave_inspection *inspection,
                               struct conclave_inspect_identity *ret)
{
    const struct storage_identity *identity = &inspection->identity;
    *ret = (struct conclave_inspect_identity){.id = identity->node_id,
                                              .incarnation = identity->incarnation,
                                              .format_version =
                                                  BLOCK_VERSION, /* there is no other one yet */
                                              .pid = lock_holder(inspection->dir)};
    (void)snprintf(ret->cluster, sizeof ret->cluster, "%016" PRIx64, identity->cluster_id);
    (void)snprintf(ret->name, sizeof ret->name, "%s", identity->name);
}

int conclave_inspect_vote(const struct conclave_inspection *inspection,
                          struct conclave_inspect_vote *ret, struct conclave_error *error)
{
    struct vote_view view;
    const int code =
        vote_look(inspection->io, inspection->dir, &inspection->identity, &view, error);
    if (code == CONCLAVE_OK)
        *ret = (struct conclave_inspect_vote){.term = view.state.term,
                                              .voted_for = view.state.vote,
                                              .writes = view.sequence,
                                              .damaged_slots = view.damaged_slots,
                                              .damaged_at = view.damaged_at};
    return code;
}

int conclave_inspect_joined(const struct conclave_inspection *inspection,
                            struct conclave_error *error)
{
    struct raft_configuration *members = mem_zalloc(sizeof *members);
    const int code =
        joined_read(inspection->io, inspection->dir, &inspection->identity, members, error);
    free(members);
    return code == CONCLAVE_NOT_FOUND ? error_set(error, code, "there is no such file") : code;
}

/* --- Entries ---------------------------------------------------------------------------------- */

int inspect_entries_open(const struct conclave_inspection *inspection, struct inspect_entries *ret,
                         struct conclave_error *error)
{
    struct inspect_entries entries = {0};
    struct wal_walk_step step;
    int code = wal_walk_open(inspection->io, inspection->wal_dir, &inspection->identity,
                             inspection->live, &entries.walk, error);
    if (code != CONCLAVE_OK)
        return code;
    do {
        wal_walk_next(entries.walk, &step);
        wal_cuts_note(&entries.cuts, &step);
    } while (step.what != WAL_WALK_END);
    wal_cuts_settle(&entries.cuts);
    wal_walk_close(entries.walk);
    code = wal_walk_open(inspection->io, inspection->wal_dir, &inspection->identity,
                         inspection->live, &entries.walk, error);
    if (code != CONCLAVE_OK)
        wal_cuts_deinit(&entries.cuts);
    else
        *ret = entries;
    return code;
}

bool inspect_entries_next(struct inspect_entries *entries, struct wal_record *ret)
{
    struct wal_walk_step step;
    for (;;) {
        wal_walk_next(entries->walk, &step);
        if (step.what == WAL_WALK_END)
            return false;
        entries->damaged += step.what == WAL_WALK_DAMAGE ? 1 : 0;
        if (step.what != WAL_WALK_ENTRY || wal_cuts_replaced(&entries->cuts, &step))
            continue;
        *ret = step.record;
        return true;
    }
}

void inspect_entries_close(struct inspect_entries *entries)
{
    wal_walk_close(entries->walk);
    wal_cuts_deinit(&entries->cuts);
    *entries = (struct inspect_entries){0};
}

/* --- Members ---------------------------------------------------------------------------------- */

/* The newest configuration so far. */
struct newest {
    struct raft_configuration members; /* none: nothing was found */
    const char *source;
    uint64_t index;
};

static void take(struct newest *newest, struct slice payload, const char *source, uint64_t index)
{
    if (raft_configuration_decode(payload, &newest->members) != CONCLAVE_OK)
        return; /* damage is told elsewhere; what was known before stays */
    newest->source = source;
    newest->index = index;
}

static int look_in_log(const struct conclave_inspection *inspection, struct newest *newest,
                       struct conclave_error *error)
{
    struct inspect_entries entries;
    struct wal_record entry;
    const int code = inspect_entries_open(inspection, &entries, error);
    if (code != CONCLAVE_OK)
        return code == CONCLAVE_CORRUPT ? CONCLAVE_OK : code;
    while (inspect_entries_next(&entries, &entry))
        if (entry.entry_kind == RAFT_ENTRY_CONFIG)
            take(newest, entry.payload, "log", entry.id.index);
    inspect_entries_close(&entries);
    return CONCLAVE_OK;
}

static int look_in_snapshots(const struct conclave_inspection *inspection, struct newest *newest,
                             struct conclave_error *error)
{
    struct snapshot_list list;
    const int code = snapshot_list_look(inspection->io, inspection->dir, &list, error);
    if (code != CONCLAVE_OK)
        return code;
    for (size_t i = 0; i < list.count && newest->source == NULL; i++) {
        struct snapshot_reader *reader = NULL;
        struct snapshot_meta meta;
        struct conclave_error damaged;
        if (snapshot_reader_open(inspection->io, inspection->dir, &inspection->identity,
                                 list.items[i], &reader, &meta, &damaged) != CONCLAVE_OK)
            continue;
        take(newest, (struct slice){meta.configuration->data, meta.configuration->bytes},
             "snapshot", meta.configuration_index);
        snapshot_meta_clear(&meta);
        snapshot_reader_close(reader);
    }
    snapshot_list_clear(&list);
    return CONCLAVE_OK;
}

static void tell_members(const struct newest *newest, struct conclave_inspect_members *ret)
{
    *ret = (struct conclave_inspect_members){.source = newest->source,
                                             .index = newest->index,
                                             .joint = newest->members.joint,
                                             .removed = newest->members.removed_count,
                                             .count = newest->members.member_count};
    for (size_t i = 0; i < ret->count; i++) {
        const struct raft_member *from = &newest->members.members[i];
        struct conclave_inspect_member *to = &ret->members[i];
        const uint32_t votes =
            RAFT_MEMBER_VOTER | (newest->members.joint ? RAFT_MEMBER_VOTER_OLD : 0);
        to->id = from->id;
        memcpy(to->name, from->name, sizeof to->name);
        memcpy(to->peer, from->peer, sizeof to->peer);
        memcpy(to->client, from->client, sizeof to->client);
        to->voter = (from->flags & votes) != 0;
        to->leaving = to->voter && (from->flags & RAFT_MEMBER_VOTER) == 0;
    }
}

int conclave_inspect_members(const struct conclave_inspection *inspection,
                             struct conclave_inspect_members *ret, struct conclave_error *error)
{
    struct newest *newest = mem_zalloc(sizeof *newest);
    struct conclave_error unread;
    int code = look_in_log(inspection, newest, error);
    if (code == CONCLAVE_OK && newest->source == NULL)
        code = look_in_snapshots(inspection, newest, error);
    if (code == CONCLAVE_OK && newest->source == NULL &&
        joined_read(inspection->io, inspection->dir, &inspection->identity, &newest->members,
                    &unread) == CONCLAVE_OK)
        newest->source = "joined";
    if (code == CONCLAVE_OK && newest->source == NULL)
        code =
            error_set(error, CONCLAVE_NOT_FOUND,
                      "nothing that can be read in %s says who the members are", inspection->dir);
    if (code == CONCLAVE_OK)
        tell_members(newest, ret);
    free(newest);
    return code;
}

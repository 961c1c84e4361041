/* Going on alone after a majority was lost for good: the node becomes the only voter of a new
 * configuration, behind everything that its log holds, in a term above all that it knows of.
 *
 * What is in the log is kept, committed or not: nobody is left who could say which. All other
 * members become tombstones (Rule 32), so that none of them is ever listened to again: they may
 * hold entries that this node does not, under the same indexes.
 *
 * Term and vote are written first (Rule 2), then the new entry in one batch. A crash before the
 * batch is durable leaves the old members and a higher term, which changes nothing; after it, the
 * new ones. */
#include "actors/recover.h"

#include "actors/bootstrap.h"
#include "base/fatal.h"
#include "codec/kv.h"
#include "storage/snapshot.h"
#include "storage/vote.h"
#include "storage/wal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct recover {
    const struct io *io;
    const char *dir;
    struct storage_identity identity;
    struct vote_file *vote;
    struct raft_hard_state hard;
    struct wal *wal;
    struct wal_recovery found;
    struct snapshot_meta snapshot; /* the newest that is valid; index 0: none */
    struct raft_configuration members, after;
    bool anew; /* the log begins behind the snapshot: Rule 35 */
    struct raft_id last;
};

/* --- What is there ---------------------------------------------------------------------------- */

/* The newest snapshot that is whole. A newer one that is not is set aside, or the next start would
 * take the log to begin behind it. */
static int find_snapshot(struct recover *self, struct conclave_error *error)
{
    struct snapshot_list list = {0};
    int code = snapshot_list_read(self->io, self->dir, &list, error);
    for (size_t i = 0; i < list.count && !code; i++) {
        struct snapshot_reader *reader = NULL;
        code = snapshot_verify(self->io, self->dir, &self->identity, list.items[i], error);
        if (!code)
            code = snapshot_reader_open(self->io, self->dir, &self->identity, list.items[i],
                                        &reader, &self->snapshot, error);
        snapshot_reader_close(reader);
        if (code != CONCLAVE_CORRUPT)
            break;
        code = snapshot_set_aside(self->io, self->dir, list.items[i], error);
    }
    snapshot_list_clear(&list);
    return code;
}

/* True if the log goes on where the snapshot ends. */
static bool log_holds(const struct wal_recovery *found, struct raft_id id)
{
    if (raft_id_equal(found->base, id))
        return true;
    if (found->entries.entry_count == 0 || id.index < raft_runs_first(&found->entries).index ||
        id.index > raft_runs_last(&found->entries).index)
        return false;
    return raft_runs_find(&found->entries, id.index)->id.term == id.term;
}

/* Where the history ends, and the newest configuration in it. */
static int find_end(struct recover *self, struct conclave_error *error)
{
    const struct wal_recovery *found = &self->found;
    const struct snapshot_meta *snapshot = &self->snapshot;
    if (snapshot->last.index < found->base.index)
        return error_set(error, CONCLAVE_CORRUPT,
                         "the log begins behind entry %llu and no valid snapshot reaches it: this "
                         "directory does not hold the whole state",
                         (unsigned long long)found->base.index);
    self->anew = snapshot->last.index > 0 && !log_holds(found, snapshot->last);
    self->last = snapshot->last;
    if (!self->anew && found->entries.entry_count > 0)
        self->last = raft_runs_last(&found->entries);
    if (self->last.index == 0)
        return error_set(error, CONCLAVE_INVALID,
                         "%s joined a cluster and has not received anything of it yet: recover "
                         "another node",
                         self->identity.name);
    int code = CONCLAVE_OK;
    if (snapshot->configuration)
        code = raft_configuration_decode(
            (struct slice){snapshot->configuration->data, snapshot->configuration->bytes},
            &self->members);
    struct raft_runs_iter iter = {0};
    const struct raft_entry *entry;
    while (!code && !self->anew && (entry = raft_runs_next(&found->entries, &iter)))
        if (entry->kind == RAFT_ENTRY_CONFIG && entry->id.index > snapshot->configuration_index)
            code = raft_configuration_decode(entry->payload, &self->members);
    if (code || self->members.member_count == 0)
        return error_set(error, CONCLAVE_CORRUPT, "the log holds no readable configuration");
    return CONCLAVE_OK;
}

static int open_all(struct recover *self, struct conclave_error *error)
{
    const struct wal_options options = {0};
    int code = vote_open(self->io, self->dir, &self->identity, &self->vote, &self->hard, error);
    if (!code)
        code = wal_open(self->io, self->dir, &self->identity, &options, &self->wal, &self->found,
                        error);
    if (!code)
        code = find_snapshot(self, error);
    return code ? code : find_end(self, error);
}

/* --- What is to be ---------------------------------------------------------------------------- */

static void add_removed(struct raft_configuration *after, raft_node_id id)
{
    if (after->removed_count == RAFT_REMOVED_MAX) { /* the oldest is forgotten */
        memmove(after->removed, after->removed + 1, (RAFT_REMOVED_MAX - 1) * sizeof id);
        after->removed_count--;
    }
    after->removed[after->removed_count++] = id;
}

/* This node alone; everybody else, learners too, is removed. */
static int plan(struct recover *self, struct conclave_recovery *ret, struct conclave_error *error)
{
    const struct raft_configuration *members = &self->members;
    const struct raft_member *own = raft_configuration_find(members, self->identity.node_id);
    if (!own)
        return error_set(error, CONCLAVE_INVALID,
                         "%s is no member of its cluster any more: recover a node that is one",
                         self->identity.name);
    memset(ret, 0, sizeof *ret);
    snprintf(ret->cluster, sizeof ret->cluster, "%016llx",
             (unsigned long long)self->identity.cluster_id);
    snprintf(ret->name, sizeof ret->name, "%s", self->identity.name);
    ret->id = own->id;
    ret->was_learner = !raft_configuration_is_voter(members, own->id);
    ret->last_index = self->last.index;
    ret->last_term = self->last.term;
    ret->snapshot_index = self->snapshot.last.index;
    ret->term = (self->hard.term > self->last.term ? self->hard.term : self->last.term) + 1;

    struct raft_configuration *after = &self->after;
    after->removed_count = members->removed_count;
    memcpy(after->removed, members->removed, sizeof after->removed);
    for (uint32_t i = 0; i < members->member_count; i++) {
        const struct raft_member *member = &members->members[i];
        if (member->id == own->id)
            continue;
        struct conclave_recovery_member *removed = &ret->removed[ret->removed_count++];
        snprintf(removed->name, sizeof removed->name, "%s", member->name);
        snprintf(removed->peer, sizeof removed->peer, "%s", member->peer);
        removed->id = member->id;
        removed->voter = raft_configuration_is_voter(members, member->id);
        add_removed(after, member->id);
    }
    after->member_count = 1;
    after->members[0] = *own;
    after->members[0].flags = RAFT_MEMBER_VOTER;
    after->members[0].incarnation = self->identity.incarnation;
    return CONCLAVE_OK;
}

static void add_entry(struct raft_batch *batch, struct raft_id id, enum raft_entry_kind kind,
                      struct buf *payload)
{
    raft_batch_add(batch, (struct raft_entry){.id = id,
                                              .buf = payload,
                                              .payload = {payload->data, payload->bytes},
                                              .kind = kind});
}

static int carry_out(struct recover *self, const struct conclave_recovery *recovery,
                     uint64_t revisions, struct conclave_error *error)
{
    int code = vote_write(
        self->vote,
        (struct raft_hard_state){.term = recovery->term, .vote = self->identity.node_id}, error);
    if (code)
        return code;
    struct raft_batch *batch = raft_batch_create(2);
    struct raft_id id = {recovery->term, self->last.index + 1};
    add_entry(batch, id, RAFT_ENTRY_CONFIG, raft_configuration_encode(&self->after));
    if (revisions > 0) {
        struct pack pack;
        pack_init(&pack, 0);
        kv_command_pack(&pack, &(struct kv_command){.opcode = KV_ADVANCE, .revisions = revisions});
        id.index++;
        add_entry(batch, id, RAFT_ENTRY_COMMAND, pack_take(&pack));
    }
    struct raft_runs entries = {0};
    raft_runs_append(&entries, batch, 0, revisions > 0 ? 2 : 1);
    raft_batch_unref(batch);
    if (self->anew)
        wal_begin_anew(self->wal, self->last);
    wal_append(self->wal, &entries);
    code = wal_sync(self->wal, error);
    raft_runs_clear(&entries);
    return code ? code : wal_attest(self->wal, error);
}

static int run(struct recover *self, const struct conclave_recover_options *options,
               struct conclave_recovery *ret, struct conclave_error *error)
{
    struct conclave_recovery *recovery = mem_zalloc(sizeof *recovery);
    int code = open_all(self, error);
    if (!code)
        code = plan(self, recovery, error);
    if (!code && options->confirm && !options->confirm(options->confirm_arg, recovery))
        code = error_set(error, CONCLAVE_INVALID, "not confirmed: nothing was changed");
    if (!code)
        code = carry_out(self, recovery, options->revisions, error);
    if (!code)
        *ret = *recovery;
    free(recovery);
    return code;
}

int recover_directory(const struct io *io, const char *data_dir,
                      const struct conclave_recover_options *options, struct conclave_recovery *ret,
                      struct conclave_error *error)
{
    struct recover *self = mem_zalloc(sizeof *self);
    struct io_file *lock = NULL;
    self->io = io;
    self->dir = data_dir;
    int code = identity_read(io, data_dir, &self->identity, error);
    if (!code)
        code = dir_lock(io, data_dir, &lock, error);
    if (!code)
        code = run(self, options, ret, error);
    raft_runs_clear(&self->found.entries);
    snapshot_meta_clear(&self->snapshot);
    wal_close(self->wal);
    vote_close(self->vote);
    dir_unlock(io, lock);
    free(self);
    return code;
}

int conclave_recover(const char *data_dir, const struct conclave_recover_options *options,
                     struct conclave_recovery *ret_recovery, struct conclave_error *error)
{
    if (!data_dir || !options || options->size != sizeof *options || !ret_recovery)
        return error_set(error, CONCLAVE_INVALID,
                         "a data directory and options of this version are needed");
    if (options->revisions > CONCLAVE_RECOVER_REVISIONS_MAX)
        return error_set(error, CONCLAVE_INVALID, "at most %llu revisions can be left out",
                         (unsigned long long)CONCLAVE_RECOVER_REVISIONS_MAX);
    return recover_directory(io_posix(), data_dir, options, ret_recovery, error);
}

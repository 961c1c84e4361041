/* Making the data directory of one node of a new cluster.
 *
 * Ids are derived from the members and the token, so that every node makes the same first log entry
 * without having talked to the others: the configuration, at index 1 of term 1, committed by
 * definition. The identity is written last: a directory without one was never in use. */
#include "actors/bootstrap.h"

#include "base/fatal.h"
#include "base/prng.h"
#include "raft/configuration.h"
#include "storage/joined.h"
#include "storage/vote.h"
#include "storage/wal.h"
#include "transport/endpoint.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* A log begins with little, and how large its segments are to be is not known yet: the node makes
 * the next one ready at its start. */
enum { FIRST_SEGMENT_BYTES = 1 << 20 };

static const char DEFAULT_TOKEN[] = "conclave";
static const uint64_t ID_MASK = (UINT64_C(1) << 53) - 1; /* what every client language can hold */

static int check_name(const char *name, struct conclave_error *error)
{
    size_t bytes = strlen(name);
    bool good = bytes > 0 && bytes <= CONCLAVE_NAME_BYTES_MAX;
    for (size_t i = 0; good && i < bytes; i++)
        good = isalnum((unsigned char)name[i]) || strchr("._-", name[i]);
    if (good)
        return CONCLAVE_OK;
    return error_set(error, CONCLAVE_INVALID,
                     "\"%.40s\" cannot be a node's name: use 1 to %d of A-Z a-z 0-9 . _ -", name,
                     CONCLAVE_NAME_BYTES_MAX);
}

uint64_t bootstrap_draw_id(void)
{
    uint64_t id;
    do {
        id = prng_entropy() & ID_MASK;
    } while (!id);
    return id;
}

static int compare_members(const void *a, const void *b)
{
    const struct raft_member *x = a, *y = b;
    return strcmp(x->name, y->name);
}

int bootstrap_take_member(const struct conclave_member *from, struct raft_member *to,
                          struct conclave_error *error)
{
    if (!from->name || !from->peer)
        return error_set(error, CONCLAVE_INVALID, "a member needs a name and a peer endpoint");
    int code = check_name(from->name, error);
    if (!code)
        code = endpoint_check(from->peer, error);
    if (!code && from->client)
        code = endpoint_check(from->client, error);
    if (code)
        return code;
    memset(to, 0, sizeof *to);
    to->flags = RAFT_MEMBER_VOTER;
    snprintf(to->name, sizeof to->name, "%s", from->name);
    snprintf(to->peer, sizeof to->peer, "%s", from->peer);
    if (from->client)
        snprintf(to->client, sizeof to->client, "%s", from->client);
    else
        endpoint_client_default(from->peer, to->client, sizeof to->client);
    return CONCLAVE_OK;
}

static int check_distinct(const struct raft_configuration *configuration,
                          struct conclave_error *error)
{
    for (uint32_t i = 0; i < configuration->member_count; i++) {
        const struct raft_member *a = &configuration->members[i];
        for (uint32_t k = i + 1; k < configuration->member_count; k++) {
            const struct raft_member *b = &configuration->members[k];
            if (strcmp(a->name, b->name) == 0)
                return error_set(error, CONCLAVE_INVALID, "two members are named %s", a->name);
            if (strcmp(a->peer, b->peer) == 0)
                return error_set(error, CONCLAVE_INVALID, "%s and %s have the same address %s",
                                 a->name, b->name, a->peer);
            if (a->id == b->id)
                return error_set(error, CONCLAVE_INVALID,
                                 "the ids of %s and %s collide: rename one of them", a->name,
                                 b->name);
        }
    }
    return CONCLAVE_OK;
}

/* The cluster's id is a hash of the token and of every member's name and peer endpoint, in order of
 * the names; a node's id is a hash of the cluster's id and its name. */
static uint64_t derive_ids(struct raft_configuration *configuration, const char *token)
{
    XXH3_state_t *state = XXH3_createState();
    ASSERT(state);
    XXH3_64bits_reset(state);
    XXH3_64bits_update(state, token, strlen(token) + 1);
    for (uint32_t i = 0; i < configuration->member_count; i++) {
        const struct raft_member *member = &configuration->members[i];
        XXH3_64bits_update(state, member->name, strlen(member->name) + 1);
        XXH3_64bits_update(state, member->peer, strlen(member->peer) + 1);
    }
    uint64_t cluster_id = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    for (uint32_t i = 0; i < configuration->member_count; i++) {
        struct raft_member *member = &configuration->members[i];
        member->id = XXH3_64bits_withSeed(member->name, strlen(member->name), cluster_id) & ID_MASK;
        if (!member->id)
            member->id = 1;
    }
    return cluster_id ? cluster_id : 1;
}

static int make_configuration(const char *token, const struct conclave_member *members,
                              size_t member_count, struct raft_configuration *ret,
                              uint64_t *ret_cluster_id, struct conclave_error *error)
{
    if (member_count < 1 || member_count > CONCLAVE_VOTERS_MAX)
        return error_set(error, CONCLAVE_INVALID, "a cluster has 1 to %d voting members, not %zu",
                         CONCLAVE_VOTERS_MAX, member_count);
    memset(ret, 0, sizeof *ret);
    for (size_t i = 0; i < member_count; i++) {
        int code = bootstrap_take_member(&members[i], &ret->members[i], error);
        if (code)
            return code;
    }
    ret->member_count = (uint32_t)member_count;
    qsort(ret->members, member_count, sizeof *ret->members, compare_members);
    *ret_cluster_id = derive_ids(ret, token ? token : DEFAULT_TOKEN);
    return check_distinct(ret, error);
}

static void note_entry(void *arg, const char *name)
{
    (void)name;
    ++*(unsigned *)arg;
}

/* Makes one directory and its name durable: what is later acknowledged inside it must not vanish
 * with it. `parent` is the directory that holds it. */
static int make_durable_dir(const struct io *io, const char *path, const char *parent,
                            struct conclave_error *error)
{
    int code = io->make_dir(io->ctx, path, error);
    return code ? code : io->sync_dir(io->ctx, parent, error);
}

int bootstrap_check_dir(const struct io *io, const char *dir, struct conclave_error *error)
{
    struct storage_identity identity;
    if (identity_read(io, dir, &identity, NULL) != CONCLAVE_OK)
        return CONCLAVE_OK;
    return error_set(error, CONCLAVE_EXISTS,
                     "%s already holds node %s; start it with serve, or choose another directory",
                     dir, identity.name);
}

int bootstrap_make_dir(const struct io *io, const char *dir, struct conclave_error *error)
{
    char path[4096], parent[4096];
    size_t bytes = strlen(dir);
    while (bytes > 1 && dir[bytes - 1] == '/')
        bytes--;
    if (bytes == 0 || bytes >= sizeof path)
        return error_set(error, CONCLAVE_INVALID, "the data directory's path is empty or too long");
    memcpy(path, dir, bytes);
    path[bytes] = 0;
    snprintf(parent, sizeof parent, "%s", path[0] == '/' ? "/" : ".");
    int code = CONCLAVE_OK;
    for (char *slash = path; (slash = strchr(slash + 1, '/'));) {
        *slash = 0;
        code = make_durable_dir(io, path, parent, error);
        if (code && code != CONCLAVE_EXISTS)
            return code;
        snprintf(parent, sizeof parent, "%s", path);
        *slash = '/';
    }
    code = make_durable_dir(io, path, parent, error);
    if (code != CONCLAVE_EXISTS)
        return code;
    code = bootstrap_check_dir(io, dir, error);
    if (code)
        return code;
    unsigned entries = 0;
    code = io->list_dir(io->ctx, dir, note_entry, &entries, error);
    if (!code && entries)
        code = error_set(error, CONCLAVE_EXISTS,
                         "%s is not empty and holds no node: choose another directory, or empty it",
                         dir);
    return code;
}

int bootstrap_write_dir(const struct io *io, const char *dir,
                        const struct storage_identity *identity, const struct raft_runs *entries,
                        struct conclave_error *error)
{
    char machine_dir[4096 + 16];
    snprintf(machine_dir, sizeof machine_dir, "%s/machine", dir);
    const struct wal_options options = {.segment_bytes = FIRST_SEGMENT_BYTES};
    int code = wal_create(io, dir, identity, &options, entries, error);
    if (!code)
        code = vote_create(io, dir, identity, (struct raft_hard_state){.term = 1}, error);
    if (!code)
        code = make_durable_dir(io, machine_dir, dir, error);
    if (!code)
        code = identity_write(io, dir, identity, error);
    return code;
}

static int write_dir(const struct io *io, const char *dir, const struct storage_identity *identity,
                     const struct raft_configuration *configuration, struct conclave_error *error)
{
    struct buf *payload = raft_configuration_encode(configuration);
    struct raft_batch *batch = raft_batch_create(1);
    raft_batch_add(batch, (struct raft_entry){.id = {.term = 1, .index = 1},
                                              .buf = payload,
                                              .payload = {payload->data, payload->bytes},
                                              .kind = RAFT_ENTRY_CONFIG});
    struct raft_runs entries = {0};
    raft_runs_append(&entries, batch, 0, 1);
    raft_batch_unref(batch);
    /* For the case that the log's first entry, which says the same, is damaged one day. */
    int code = joined_write(io, dir, identity, configuration, error);
    if (!code)
        code = bootstrap_write_dir(io, dir, identity, &entries, error);
    raft_runs_clear(&entries);
    return code;
}

int bootstrap_directory(const struct io *io, const char *data_dir, const char *name,
                        const char *token, const struct conclave_member *members,
                        size_t member_count, struct conclave_error *error)
{
    struct raft_configuration *configuration = mem_alloc(sizeof *configuration);
    struct storage_identity identity = {0};
    int code = make_configuration(token, members, member_count, configuration, &identity.cluster_id,
                                  error);
    for (uint32_t i = 0; !code && i < configuration->member_count; i++)
        if (strcmp(configuration->members[i].name, name) == 0)
            identity.node_id = configuration->members[i].id;
    if (!code && !identity.node_id)
        code = error_set(error, CONCLAVE_INVALID, "no member is named \"%.40s\"", name);
    if (!code) {
        snprintf(identity.name, sizeof identity.name, "%s", name);
        identity.incarnation = bootstrap_draw_id();
        code = bootstrap_make_dir(io, data_dir, error);
    }
    if (!code)
        code = write_dir(io, data_dir, &identity, configuration, error);
    free(configuration);
    return code;
}

int conclave_bootstrap(const char *data_dir, const char *name, const char *token,
                       const struct conclave_member *members, size_t member_count,
                       struct conclave_error *error)
{
    if (!data_dir || !name || !members)
        return error_set(error, CONCLAVE_INVALID,
                         "a data directory, a name and members are needed");
    return bootstrap_directory(io_posix(), data_dir, name, token, members, member_count, error);
}

int conclave_directory_info(const char *data_dir, struct conclave_directory *ret_directory,
                            struct conclave_error *error)
{
    struct storage_identity identity;
    int code = identity_read(io_posix(), data_dir, &identity, error);
    if (code)
        return code;
    memset(ret_directory, 0, sizeof *ret_directory);
    snprintf(ret_directory->cluster, sizeof ret_directory->cluster, "%016llx",
             (unsigned long long)identity.cluster_id);
    snprintf(ret_directory->name, sizeof ret_directory->name, "%s", identity.name);
    ret_directory->id = identity.node_id;
    return CONCLAVE_OK;
}

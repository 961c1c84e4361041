/* Joining a cluster that runs: the leader is asked to add this node as a learner, and the node's
 * directory is made with an empty log.
 *
 * First the cluster learns of the node, with the incarnation of a directory that is not there yet,
 * then the directory is made. Killed in between, a learner is left behind that was never heard of;
 * it counts nowhere and can be removed. The other order could leave a directory that looks good and
 * belongs to nobody. */
#include "actors/bootstrap.h"
#include "base/fatal.h"
#include "storage/joined.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JOIN_TIMEOUT_MS = 10000 };

struct join {
    const struct conclave_join_options *options;
    struct conclave_client *client;
    struct conclave_status status;
    struct raft_member self;
    struct raft_configuration members;
    struct storage_identity identity;
};

static uint32_t timeout_of(const struct join *join)
{
    return join->options->timeout_ms ? join->options->timeout_ms : JOIN_TIMEOUT_MS;
}

/* Who the members are, and whether this node was added already and waits for its directory. */
static int look_around(struct join *join, struct conclave_error *error)
{
    struct conclave_status *status = &join->status;
    int code = conclave_client_status(join->client, timeout_of(join), status);
    if (code)
        return error_set(error, code, "no node answers at %.200s", join->options->seeds);
    join->identity.cluster_id = strtoull(status->cluster, NULL, 16);
    join->self.id = bootstrap_draw_id();
    for (size_t i = 0; i < status->node_count; i++) {
        const struct conclave_node_status *node = &status->nodes[i];
        if (strcmp(node->name, join->self.name) != 0)
            continue;
        if (node->voter || node->incarnation)
            return error_set(error, CONCLAVE_EXISTS,
                             "cluster %s has a member %s already: remove it first if its data is "
                             "lost (conclave member remove %s), or take another name",
                             status->cluster, node->name, node->name);
        join->self.id = node->id;
        snprintf(join->self.peer, sizeof join->self.peer, "%s", node->peer);
        snprintf(join->self.client, sizeof join->self.client, "%s", node->client);
        return CONCLAVE_OK;
    }
    return CONCLAVE_OK;
}

static int ask_in(struct join *join, struct conclave_error *error)
{
    const struct conclave_member_change change = {
        .kind = CONCLAVE_MEMBER_ADD,
        .name = join->self.name,
        .peer = join->self.peer,
        .client = join->self.client,
        .id = join->self.id,
        .incarnation = join->identity.incarnation,
        .learner = join->options->learner,
    };
    return conclave_client_change_member(join->client, &change, timeout_of(join), error);
}

static void list_members(struct join *join)
{
    struct raft_configuration *members = &join->members;
    for (size_t i = 0; i < join->status.node_count && i + 1 < CONCLAVE_MEMBERS_MAX; i++) {
        const struct conclave_node_status *node = &join->status.nodes[i];
        if (node->id == join->self.id || !node->peer[0])
            continue;
        struct raft_member *member = &members->members[members->member_count++];
        member->id = node->id;
        member->incarnation = node->incarnation;
        member->flags = node->voter ? RAFT_MEMBER_VOTER : RAFT_MEMBER_LEARNER;
        snprintf(member->name, sizeof member->name, "%s", node->name);
        snprintf(member->peer, sizeof member->peer, "%s", node->peer);
        snprintf(member->client, sizeof member->client, "%s", node->client);
    }
    join->self.flags = RAFT_MEMBER_LEARNER;
    join->self.incarnation = join->identity.incarnation;
    members->members[members->member_count++] = join->self;
}

static int join_run(struct join *join, const struct io *io, const char *dir,
                    struct conclave_error *error)
{
    const struct raft_runs nothing = {0};
    struct conclave_client_options options;
    conclave_client_options_init(&options);
    options.endpoints = join->options->seeds;
    options.timeout_ms = timeout_of(join);
    /* Before the others are asked, who would say that the member is there already: remove it. */
    int code = bootstrap_check_dir(io, dir, error);
    if (!code)
        code = conclave_client_create(&options, &join->client, error);
    if (!code)
        code = look_around(join, error);
    if (!code)
        code = bootstrap_make_dir(io, dir, error);
    join->identity.node_id = join->self.id;
    join->identity.incarnation = bootstrap_draw_id();
    snprintf(join->identity.name, sizeof join->identity.name, "%s", join->self.name);
    if (!code)
        code = ask_in(join, error);
    if (code)
        return code;
    list_members(join);
    code = joined_write(io, dir, &join->identity, &join->members, error);
    return code ? code : bootstrap_write_dir(io, dir, &join->identity, &nothing, error);
}

int conclave_join(const char *data_dir, const struct conclave_member *self,
                  const struct conclave_join_options *options, struct conclave_error *error)
{
    if (!data_dir || !self || !options || options->size != sizeof *options || !options->seeds)
        return error_set(
            error, CONCLAVE_INVALID,
            "a data directory, a member and the endpoint of a running node are needed");
    struct join *join = mem_zalloc(sizeof *join);
    join->options = options;
    int code = bootstrap_take_member(self, &join->self, error);
    if (!code)
        code = join_run(join, io_posix(), data_dir, error);
    conclave_client_destroy(join->client);
    free(join);
    return code;
}

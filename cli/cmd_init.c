/* cli/cmd_init.c - init and join: making the data directory of a node. */
#include "cli/commands.h"
#include "cli/connect.h"
#include "cli/member.h"
#include "cli/output.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LISTEN_DEFAULT "tcp://127.0.0.1:7401"
#define DATA_FLAG                                                                       \
    {                                                                                   \
        "data", 'd', "DIR", NULL, true, "the node's data directory; must not exist yet" \
    }
#define NAME_FLAG                                                          \
    {                                                                      \
        "name", 0, "NAME", NULL, true, "which of the members this node is" \
    }
#define MEMBERS_FLAG                                                                    \
    {                                                                                   \
        "members", 0, "LIST", NULL, true, "NAME=PEER[+CLIENT],... of the whole cluster" \
    }
#define CLUSTER_FLAG                                                                    \
    {                                                                                   \
        "cluster", 0, "TOKEN", NULL, true, "tells clusters with the same members apart" \
    }

const struct args_flag cmd_init_flags[] = {
    DATA_FLAG,
    NAME_FLAG,
    MEMBERS_FLAG,
    {"listen", 0, "ENDPOINT", NULL, true,
     "of a cluster of one: its address for peers (" LISTEN_DEFAULT ")"},
    CLUSTER_FLAG,
    {0}};

const struct args_flag cmd_join_flags[] = {DATA_FLAG, NAME_FLAG, MEMBERS_FLAG, CLUSTER_FLAG, {0}};

/* Returns the value of a flag that must be there; NULL after having said that it is missing. */
static const char *need(const struct args *args, const char *name, const char *metavar)
{
    const char *value = args_value(args, name);
    if (!value)
        output_error(args_on(args, "json"), CONCLAVE_INVALID, NULL, NULL, "'%s' needs --%s %s",
                     args->command->name, name, metavar);
    return value;
}

static int report(const struct args *args, const char *dir, const struct conclave_directory *info)
{
    if (args_on(args, "json"))
        return output_line(json_pack("{s:s, s:s, s:o, s:o}", "cluster", info->cluster, "name",
                                     info->name, "id", output_uint(info->id), "data",
                                     output_bytes(dir, strlen(dir))));
    printf("%s of cluster %s is in %s; start it with: conclave serve --data %s\n", info->name,
           info->cluster, dir, dir);
    return 0;
}

/* Makes the directory. Prints a failure. */
static int make(const struct args *args, const struct member *members, size_t count,
                struct conclave_directory *ret_info)
{
    struct conclave_member view[CONCLAVE_VOTERS_MAX];
    member_list_view(members, count, view);
    const char *dir = args_value(args, "data");
    struct conclave_error error;
    int code = conclave_bootstrap(dir, args_value(args, "name"), args_value(args, "cluster"), view,
                                  count, &error);
    if (code == CONCLAVE_OK)
        code = conclave_directory_info(dir, ret_info, &error);
    if (code == CONCLAVE_OK)
        return 0;
    if (code == CONCLAVE_NOT_FOUND) /* of a path, which is wrong usage, not of a key */
        code = CONCLAVE_INVALID;
    return output_error(args_on(args, "json"), code, NULL, NULL, "%s", error.message);
}

static int make_from_members(const struct args *args, const char *list)
{
    struct member members[CONCLAVE_VOTERS_MAX];
    struct conclave_error error;
    size_t count;
    if (member_list_parse(list, members, &count, &error) != CONCLAVE_OK)
        return output_error(args_on(args, "json"), CONCLAVE_INVALID, NULL, NULL, "--members: %s",
                            error.message);
    struct conclave_directory info = {0};
    int exit_code = make(args, members, count, &info);
    return exit_code ? exit_code : report(args, args_value(args, "data"), &info);
}

int cmd_init_run(const struct args *args)
{
    const char *list = args_value(args, "members"), *listen = args_value(args, "listen");
    const char *dir = need(args, "data", "DIR");
    const char *name = dir ? need(args, "name", "NAME") : NULL;
    if (!name)
        return conclave_code_exit(CONCLAVE_INVALID);
    if (list && listen)
        return output_error(args_on(args, "json"), CONCLAVE_INVALID, NULL, NULL,
                            "--listen is for a cluster of one; with --members the address stands "
                            "in the member's entry");
    if (list)
        return make_from_members(args, list);
    char one[CONCLAVE_NAME_BYTES_MAX + 2 * CONCLAVE_ENDPOINT_BYTES_MAX + 8];
    int n = snprintf(one, sizeof one, "%s=%s", name, listen ? listen : LISTEN_DEFAULT);
    if (n < 0 || (size_t)n >= sizeof one)
        return output_error(args_on(args, "json"), CONCLAVE_INVALID, NULL, NULL,
                            "the name or the endpoint is too long");
    return make_from_members(args, one);
}

static int remove_entry(const char *path, const struct stat *unused, int type, struct FTW *ftw)
{
    (void)unused;
    (void)type;
    return ftw->level > 0 ? remove(path) : 0;
}

/* Takes back a directory that this process has just made. */
static void take_back(const char *dir, bool existed)
{
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): the one thread */
    if (nftw(dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS) == 0 && !existed)
        rmdir(dir);
}

/* The members as the seed names them, and this node among them. Prints what speaks against it. */
static int members_of_seed(const struct args *args, const struct conclave_status *status,
                           struct member *ret, size_t *ret_count)
{
    bool json = args_on(args, "json");
    const char *name = args_value(args, "name");
    const struct conclave_node_status *self = NULL;
    char names[512] = "";
    size_t count = status->node_count;
    if (count > CONCLAVE_VOTERS_MAX)
        count = CONCLAVE_VOTERS_MAX;
    for (size_t i = 0; i < count; i++) {
        const struct conclave_node_status *node = &status->nodes[i];
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", node->name);
        snprintf(ret[i].name, sizeof ret[i].name, "%s", node->name);
        snprintf(ret[i].peer, sizeof ret[i].peer, "%s", node->peer);
        snprintf(ret[i].client, sizeof ret[i].client, "%s", node->client);
        if (strcmp(node->name, name) == 0)
            self = node;
    }
    if (!self)
        return output_error(json, CONCLAVE_INVALID, NULL,
                            "membership is fixed when a cluster is made: name every node in "
                            "--members of 'conclave init'",
                            "cluster %s has the members %s and no %s", status->cluster, names,
                            name);
    if (self->answered)
        return output_error(json, CONCLAVE_IN_USE, *status->leader ? status->leader : NULL,
                            "a node may have one data directory only; stop that one for good first",
                            "%s of cluster %s is running at %s already", name, status->cluster,
                            self->client);
    *ret_count = count;
    return 0;
}

static int join_seed(const struct args *args, const char *seed, struct conclave_status *status)
{
    bool json = args_on(args, "json");
    struct conclave_client *client = NULL;
    uint32_t timeout_ms;
    int exit_code = connect_timeout(args, &timeout_ms);
    if (exit_code == 0)
        exit_code = connect_open(args, seed, &client);
    if (exit_code != 0)
        return exit_code;
    int code = conclave_client_status(client, timeout_ms, status);
    conclave_client_destroy(client);
    if (code != CONCLAVE_OK)
        return output_error(json, code, NULL,
                            "name the client endpoint of a running node of the cluster",
                            "the seed %s does not answer: %s", seed, conclave_code_text(code));

    struct member members[CONCLAVE_VOTERS_MAX];
    struct conclave_directory info = {0};
    size_t count = 0;
    const char *dir = args_value(args, "data");
    bool existed = access(dir, F_OK) == 0;
    exit_code = members_of_seed(args, status, members, &count);
    if (exit_code == 0)
        exit_code = make(args, members, count, &info);
    if (exit_code != 0)
        return exit_code;
    if (strcmp(info.cluster, status->cluster) == 0)
        return report(args, dir, &info);
    take_back(dir, existed);
    return output_error(
        json, CONCLAVE_IDENTITY, NULL,
        "give the --cluster TOKEN, or the --members, that the cluster was made with",
        "these members%s make cluster %s, but the seed belongs to %s; nothing "
        "was kept",
        args_value(args, "cluster") ? " with this token" : "", info.cluster, status->cluster);
}

int cmd_join_run(const struct args *args)
{
    bool json = args_on(args, "json");
    const char *list = args_value(args, "members");
    const char *seed = args->operand_count > 0 ? args->operands[0] : NULL;
    const char *dir = need(args, "data", "DIR");
    const char *name = dir ? need(args, "name", "NAME") : NULL;
    if (!name)
        return conclave_code_exit(CONCLAVE_INVALID);
    if (list)
        return make_from_members(args, list);
    if (!seed)
        return output_error(json, CONCLAVE_INVALID, NULL,
                            "conclave join --data D --name n2 tcp://127.0.0.1:7501",
                            "'join' needs the client endpoint of a running node, or --members");
    struct conclave_status *status = calloc(1, sizeof *status);
    if (!status)
        return output_error(json, CONCLAVE_NO_MEMORY, NULL, NULL, "out of memory");
    int exit_code = join_seed(args, seed, status);
    free(status);
    return exit_code;
}

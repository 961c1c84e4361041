/* cli/cmd_init.c - init and join: making the data directory of a node. */
#include "cli/commands.h"
#include "cli/connect.h"
#include "cli/member.h"
#include "cli/output.h"

#include <stdio.h>
#include <string.h>

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

const struct args_flag cmd_join_flags[] = {
    DATA_FLAG,
    {"name", 0, "NAME", NULL, true, "this node's name in the cluster"},
    {"listen", 0, "ENDPOINT", NULL, true, "where the other nodes reach this one"},
    {"listen-client", 0, "ENDPOINT", NULL, true,
     "where clients reach it (100 ports above --listen)"},
    {"learner", 0, NULL, NULL, false, "receive the log and never vote, unless promoted by hand"},
    MEMBERS_FLAG,
    CLUSTER_FLAG,
    {0}};

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

/* Adds this node to the running cluster behind the seeds. */
static int join_seed(const struct args *args, const char *seeds)
{
    bool json = args_on(args, "json");
    const char *dir = args_value(args, "data"), *listen = args_value(args, "listen");
    const struct conclave_member self = {.name = args_value(args, "name"),
                                         .peer = listen,
                                         .client = args_value(args, "listen-client")};
    struct conclave_join_options options = {
        .size = sizeof options, .seeds = seeds, .learner = args_on(args, "learner")};
    int exit_code = connect_timeout(args, &options.timeout_ms);
    if (exit_code)
        return exit_code;
    if (!listen)
        return output_error(json, CONCLAVE_INVALID, NULL,
                            "conclave join --data n4 --name n4 --listen tcp://10.0.0.4:7401 "
                            "tcp://10.0.0.1:7501",
                            "'join' needs --listen ENDPOINT: where the other nodes reach this one");
    struct conclave_directory info = {0};
    struct conclave_error error;
    int code = conclave_join(dir, &self, &options, &error);
    if (code == CONCLAVE_OK)
        code = conclave_directory_info(dir, &info, &error);
    if (code == CONCLAVE_OK)
        return report(args, dir, &info);
    const char *hint = NULL;
    if (code == CONCLAVE_UNREACHABLE)
        hint = "name the client endpoint of a running node of the cluster";
    else if (code == CONCLAVE_UNKNOWN)
        hint = "'conclave member ls' shows whether it was added; remove it before another try";
    return output_error(json, code, NULL, hint, "%s", error.message);
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
                            "conclave join --data n4 --name n4 --listen tcp://10.0.0.4:7401 "
                            "tcp://10.0.0.1:7501",
                            "'join' needs the client endpoint of a running node, or --members");
    return join_seed(args, seed);
}

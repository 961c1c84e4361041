/* cli/cmd_member.c - member: who belongs to the cluster, and changes of that. */
#include "cli/commands.h"
#include "cli/connect.h"
#include "cli/member.h"
#include "cli/output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct args_flag cmd_member_flags[] = {
    {"learner", 0, NULL, NULL, false, "add: it never votes, unless promoted by hand"}, {0}};

/* --- ls --------------------------------------------------------------------------------------- */

static const char *kind_of(const struct conclave_node_status *node)
{
    return node->voter ? "voter" : "learner";
}

/* One that was removed and still runs answers for itself, and nobody names its address. */
static bool is_member(const struct conclave_node_status *node)
{
    return *node->peer != '\0';
}

static json_t *member_json(const struct conclave_node_status *node, const char *leader)
{
    return json_pack("{s:s, s:o, s:s, s:b, s:s, s:s, s:b, s:b}", "name", node->name, "id",
                     output_uint(node->id), "kind", kind_of(node), "leader",
                     strcmp(node->name, leader) == 0, "peer", node->peer, "client", node->client,
                     "joined", node->incarnation != 0, "healthy", node->healthy);
}

static int print_members(const struct args *args, const struct conclave_status *status)
{
    if (args_on(args, "json")) {
        json_t *members = json_array();
        for (size_t i = 0; i < status->node_count; i++)
            if (is_member(&status->nodes[i]))
                json_array_append_new(members, member_json(&status->nodes[i], status->leader));
        return output_line(json_pack("{s:s, s:o}", "cluster", status->cluster, "members", members));
    }
    printf("%-16s  %-8s  %-6s  %-16s  %-28s  %s\n", "NAME", "KIND", "LEADER", "ID", "PEER",
           "CLIENT");
    for (size_t i = 0; i < status->node_count; i++) {
        const struct conclave_node_status *node = &status->nodes[i];
        if (!is_member(node))
            continue;
        printf("%-16s  %-8s  %-6s  %-16llu  %-28s  %s\n", node->name, kind_of(node),
               strcmp(node->name, status->leader) == 0 ? "yes" : "", (unsigned long long)node->id,
               node->peer, node->client);
    }
    return 0;
}

static int member_ls(const struct args *args, struct conclave_client *client)
{
    struct conclave_status *status = calloc(1, sizeof *status);
    if (!status)
        return output_error(args_on(args, "json"), CONCLAVE_NO_MEMORY, NULL, NULL, "out of memory");
    uint32_t timeout_ms;
    int exit_code = connect_timeout(args, &timeout_ms);
    if (exit_code == 0) {
        int code = conclave_client_status(client, timeout_ms, status);
        exit_code = code == CONCLAVE_OK ? print_members(args, status)
                                        : connect_read_error(args, client, code);
    }
    free(status);
    return exit_code;
}

/* --- Changes ---------------------------------------------------------------------------------- */

static const char *hint_for(int code)
{
    switch (code) {
    case CONCLAVE_BUSY:
        return "'conclave status' shows who runs and how far each has come; "
               "--timeout makes it wait longer";
    case CONCLAVE_UNKNOWN:
        return "'conclave member ls' shows whether the change was made";
    case CONCLAVE_NOT_FOUND:
        return "'conclave member ls' shows the members";
    default:
        return NULL;
    }
}

static int change(const struct args *args, struct conclave_client *client,
                  const struct conclave_member_change *what, const char *done)
{
    bool json = args_on(args, "json");
    struct conclave_error error;
    int code = conclave_client_change_member(client, what, 0, &error);
    if (code == CONCLAVE_UNREACHABLE || code == CONCLAVE_NO_LEADER || code == CONCLAVE_TIMEOUT)
        return connect_error(args, client, code);
    if (code != CONCLAVE_OK)
        return output_error(json, code, NULL, hint_for(code), "%s%s%s: %s", what->name,
                            what->replacement ? " by " : "",
                            what->replacement ? what->replacement : "", error.message);
    if (json)
        return output_line(json_pack("{s:s, s:s}", "member", what->name, "result", done));
    printf("%s is %s\n", what->name, done);
    return 0;
}

static int member_add(const struct args *args, struct conclave_client *client)
{
    bool json = args_on(args, "json");
    struct member parsed[CONCLAVE_VOTERS_MAX];
    struct conclave_member view[CONCLAVE_VOTERS_MAX];
    struct conclave_error error;
    size_t count;
    int code = member_list_parse(args->operands[1], parsed, &count, &error);
    if (code != CONCLAVE_OK || count != 1)
        return output_error(json, CONCLAVE_INVALID, NULL, NULL, "%s",
                            code ? error.message : "one member at a time");
    member_list_view(parsed, count, view);
    const struct conclave_member_change what = {.kind = CONCLAVE_MEMBER_ADD,
                                                .name = view[0].name,
                                                .peer = view[0].peer,
                                                .client = view[0].client,
                                                .learner = args_on(args, "learner")};
    return change(args, client, &what, "a learner now; make its directory with 'conclave join'");
}

static int member_replace(const struct args *args, struct conclave_client *client)
{
    const struct conclave_member_change what = {.kind = CONCLAVE_MEMBER_REPLACE,
                                                .name = args->operands[1],
                                                .replacement = args->operands[2]};
    return change(args, client, &what, "replaced");
}

static int member_promote(const struct args *args, struct conclave_client *client)
{
    const struct conclave_member_change what = {.kind = CONCLAVE_MEMBER_PROMOTE,
                                                .name = args->operands[1]};
    return change(args, client, &what, "a voter now");
}

static int member_remove(const struct args *args, struct conclave_client *client)
{
    const struct conclave_member_change what = {.kind = CONCLAVE_MEMBER_REMOVE,
                                                .name = args->operands[1]};
    return change(args, client, &what, "removed");
}

static const struct action {
    const char *name;
    size_t operands; /* its own name included */
    int (*run)(const struct args *args, struct conclave_client *client);
} actions[] = {
    {"ls", 1, member_ls},         {"add", 2, member_add},         {"promote", 2, member_promote},
    {"remove", 2, member_remove}, {"replace", 3, member_replace},
};

int cmd_member_run(const struct args *args)
{
    const struct action *action = NULL;
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++)
        if (strcmp(args->operands[0], actions[i].name) == 0)
            action = &actions[i];
    if (!action || args->operand_count != action->operands)
        return output_error(args_on(args, "json"), CONCLAVE_INVALID, NULL,
                            "conclave member ls | add NAME=PEER[+CLIENT] | promote NAME | remove "
                            "NAME | replace OLD NEW",
                            action ? "'member %s' has another number of arguments"
                                   : "'member' knows no '%s'",
                            args->operands[0]);
    struct conclave_client *client = NULL;
    int exit_code = connect_open(args, NULL, &client);
    if (exit_code == 0)
        exit_code = action->run(args, client);
    conclave_client_destroy(client);
    return exit_code;
}

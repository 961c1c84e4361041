/* cli/cmd_leader.c - leader: who leads, and making another node lead. */
#include "cli/commands.h"
#include "cli/connect.h"
#include "cli/output.h"

#include <stdlib.h>
#include <string.h>

const struct args_flag cmd_leader_flags[] = {{0}};

/* The node of that name; NULL if there is none. */
static const struct conclave_node_status *find(const struct conclave_status *status,
                                               const char *name)
{
    for (size_t i = 0; i < status->node_count; i++) {
        if (strcmp(status->nodes[i].name, name) == 0)
            return &status->nodes[i];
    }
    return NULL;
}

static int print_leader(bool json, const char *name, const struct conclave_node_status *node)
{
    if (json)
        return output_line(json_pack(
            "{s:s, s:o, s:o}", "leader", name, "term", node ? output_uint(node->term) : json_null(),
            "client", node && *node->client ? json_string(node->client) : json_null()));
    printf("%s\n", name);
    return 0;
}

static int show(const struct args *args, struct conclave_client *client,
                struct conclave_status *status)
{
    bool json = args_on(args, "json");
    uint32_t timeout_ms;
    int exit_code = connect_timeout(args, &timeout_ms);
    if (exit_code != 0)
        return exit_code;
    int code = conclave_client_status(client, timeout_ms, status);
    if (code == CONCLAVE_OK && !*status->leader)
        code = CONCLAVE_NO_LEADER;
    if (code != CONCLAVE_OK)
        return connect_read_error(args, client, code);
    return print_leader(json, status->leader, find(status, status->leader));
}

/* Why no other node leads, in the words of the one that leads. */
static int transfer_failed(const struct args *args, struct conclave_client *client,
                           const struct conclave_op *op, const char *name)
{
    if ((op->code != CONCLAVE_INVALID && op->code != CONCLAVE_TIMEOUT) || op->reply_bytes == 0)
        return connect_error(args, client, op->code);
    return output_error(args_on(args, "json"), op->code, NULL, "'conclave status' shows the nodes",
                        "%s%sthe lead was not handed over: %.*s", name, *name ? ": " : "",
                        (int)op->reply_bytes, (const char *)op->reply);
}

static int transfer(const struct args *args, struct conclave_client *client,
                    struct conclave_status *status)
{
    bool json = args_on(args, "json");
    const char *name = args->operand_count > 1 ? args->operands[1] : "";
    struct conclave_op op = {.kind = CONCLAVE_OP_TRANSFER, .data = name, .bytes = strlen(name)};
    int exit_code;
    if (conclave_client_call(client, &op) != CONCLAVE_OK) {
        exit_code = transfer_failed(args, client, &op, name);
    } else if (json) {
        exit_code = show(args, client, status);
    } else {
        printf("%.*s\n", (int)op.reply_bytes, (const char *)op.reply);
        exit_code = 0;
    }
    conclave_op_release(&op);
    return exit_code;
}

int cmd_leader_run(const struct args *args)
{
    bool json = args_on(args, "json");
    bool transfers = args->operand_count > 0;
    if (transfers && strcmp(args->operands[0], "transfer") != 0)
        return output_error(json, CONCLAVE_INVALID, NULL, "conclave leader [transfer [NODE]]",
                            "'leader' does not know '%.64s'", args->operands[0]);
    struct conclave_client *client = NULL;
    struct conclave_status *status = calloc(1, sizeof *status);
    if (!status)
        return output_error(json, CONCLAVE_NO_MEMORY, NULL, NULL, "out of memory");
    int exit_code = connect_open(args, NULL, &client);
    if (exit_code == 0)
        exit_code = transfers ? transfer(args, client, status) : show(args, client, status);
    conclave_client_destroy(client);
    free(status);
    return exit_code;
}

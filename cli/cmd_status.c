/* cli/cmd_status.c - status and health. */
#include "cli/commands.h"
#include "cli/connect.h"
#include "cli/output.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_FLAG                                                             \
    {                                                                            \
        "timeout", 't', "DURATION", "2s", true, "how long to wait for the nodes" \
    }

const struct args_flag cmd_status_flags[] = {TIMEOUT_FLAG, {0}};

const struct args_flag cmd_health_flags[] = {
    {"ready", 0, NULL, NULL, false, "every node named in --endpoints must be healthy too"},
    TIMEOUT_FLAG,
    {0}};

static json_t *text_or_null(const char *text)
{
    return *text ? json_string(text) : json_null();
}

static json_t *node_json(const struct conclave_node_status *node)
{
    return json_pack(
        "{s:s, s:o, s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:o, s:b}", "name",
        node->name, "id", output_uint(node->id), "role", *node->role ? node->role : "unknown",
        "voter", node->voter, "term", output_uint(node->term), "commit", output_uint(node->commit),
        "applied", output_uint(node->applied), "pid",
        node->pid > 0 ? json_integer(node->pid) : json_null(), "client", text_or_null(node->client),
        "peer", text_or_null(node->peer), "repair", text_or_null(node->repair), "healthy",
        node->healthy, "audited", output_uint(node->audited), "deviating",
        text_or_null(node->deviating), "feed", text_or_null(node->feed), "disk_full",
        node->disk_full);
}

/* What somebody should do something about, though everything serves. */
static json_t *alarms_json(const struct conclave_status *status)
{
    json_t *alarms = json_array();
    if (status->quota_full)
        json_array_append_new(alarms, json_pack("{s:s}", "alarm", "quota"));
    for (size_t i = 0; i < status->node_count; i++)
        if (status->nodes[i].disk_full)
            json_array_append_new(
                alarms, json_pack("{s:s, s:s}", "alarm", "disk", "node", status->nodes[i].name));
    return alarms;
}

static void print_alarms(const struct conclave_status *status, const char *before)
{
    if (status->quota_full)
        printf("%sthe quota is used up: what needs more room is refused; delete something, or "
               "raise it "
               "('conclave store')\n",
               before);
    for (size_t i = 0; i < status->node_count; i++)
        if (status->nodes[i].disk_full)
            printf(
                "%sthe disk of %s is nearly full: as the leader it takes reads and deletes only\n",
                before, status->nodes[i].name);
}

static int print_json(const struct conclave_status *status)
{
    json_t *nodes = json_array();
    for (size_t i = 0; i < status->node_count; i++)
        json_array_append_new(nodes, node_json(&status->nodes[i]));
    return output_line(json_pack("{s:s, s:o, s:o, s:o, s:o}", "cluster", status->cluster, "leader",
                                 text_or_null(status->leader), "revision",
                                 output_uint(status->revision), "alarms", alarms_json(status),
                                 "nodes", nodes));
}

static const char *health_word(const struct conclave_node_status *node)
{
    if (node->healthy)
        return "healthy";
    if (strcmp(node->role, "refused") == 0 || strcmp(node->role, "removed") == 0)
        return node->role; /* by the others, who may well have a leader */
    return node->answered ? "no leader" : "no answer";
}

/* A number that is known only from a node that answered. */
static const char *number(const struct conclave_node_status *node, uint64_t value, char text[24])
{
    if (!node->answered)
        return "-";
    snprintf(text, 24, "%" PRIu64, value);
    return text;
}

static void print_table(const struct conclave_status *status)
{
    printf("cluster %s   leader %s   revision %" PRIu64 "\n\n", status->cluster,
           *status->leader ? status->leader : "none", status->revision);
    int name = 4, client = 6, peer = 4;
    for (size_t i = 0; i < status->node_count; i++) {
        const struct conclave_node_status *node = &status->nodes[i];
        name = (int)strlen(node->name) > name ? (int)strlen(node->name) : name;
        client = (int)strlen(node->client) > client ? (int)strlen(node->client) : client;
        peer = (int)strlen(node->peer) > peer ? (int)strlen(node->peer) : peer;
    }
    printf("%-*s  %-12s  %-9s  %6s  %10s  %10s  %8s  %-*s  %s\n", name, "NAME", "ROLE", "HEALTH",
           "TERM", "COMMIT", "APPLIED", "PID", client, "CLIENT", "PEER");
    for (size_t i = 0; i < status->node_count; i++) {
        const struct conclave_node_status *node = &status->nodes[i];
        char term[24], commit[24], applied[24], pid[24];
        printf("%-*s  %-12s  %-9s  %6s  %10s  %10s  %8s  %-*s  %s\n", name, node->name,
               *node->role ? node->role : "unknown", health_word(node),
               number(node, node->term, term), number(node, node->commit, commit),
               number(node, node->applied, applied), number(node, (uint64_t)node->pid, pid), client,
               node->client, node->peer);
    }
    const char *before = "\nfeed of ";
    for (size_t i = 0; i < status->node_count; i++) {
        const struct conclave_node_status *node = &status->nodes[i];
        if (!*node->feed)
            continue;
        printf("%s%s at %s", before, node->name, node->feed);
        before = ", ";
    }
    if (*before == ',')
        printf("\n");
    for (size_t i = 0; i < status->node_count; i++) {
        const struct conclave_node_status *node = &status->nodes[i];
        if (*node->deviating)
            printf("\n%s found that %s applied something else than the majority\n", node->name,
                   node->deviating);
    }
    for (size_t i = 0; i < status->node_count; i++)
        if (*status->nodes[i].repair)
            printf("\n%s is being repaired: %s\n", status->nodes[i].name, status->nodes[i].repair);
    print_alarms(status, "\n");
}

static int by_name(const void *a, const void *b)
{
    const struct conclave_node_status *left = a, *right = b;
    return strverscmp(left->name, right->name); /* n2 before n10 */
}

/* Asks the cluster. On failure prints it and returns its exit code. */
static int ask(const struct args *args, const char *endpoints, struct conclave_status *status)
{
    struct conclave_client *client = NULL;
    uint32_t timeout_ms;
    int exit_code = connect_timeout(args, &timeout_ms);
    if (exit_code == 0)
        exit_code = connect_open(args, endpoints, &client);
    if (exit_code == 0) {
        int code = conclave_client_status(client, timeout_ms, status);
        if (code != CONCLAVE_OK)
            exit_code = connect_read_error(args, client, code);
        else
            qsort(status->nodes, status->node_count, sizeof status->nodes[0], by_name);
    }
    conclave_client_destroy(client);
    return exit_code;
}

int cmd_status_run(const struct args *args)
{
    bool json = args_on(args, "json");
    struct conclave_status *status = calloc(1, sizeof *status);
    if (!status)
        return output_error(json, CONCLAVE_NO_MEMORY, NULL, NULL, "out of memory");
    int exit_code = ask(args, NULL, status);
    if (exit_code == 0 && json)
        exit_code = print_json(status);
    else if (exit_code == 0)
        print_table(status);
    free(status);
    return exit_code;
}

static const struct conclave_node_status *find_client(const struct conclave_status *status,
                                                      const char *endpoint)
{
    for (size_t i = 0; i < status->node_count; i++)
        if (strcmp(status->nodes[i].client, endpoint) == 0)
            return &status->nodes[i];
    return NULL;
}

/* Whether the node behind one endpoint answers and knows a leader, when the members do not name the
 * endpoint in these letters (localhost, another interface). */
static bool endpoint_is_healthy(const struct args *args, const char *endpoint)
{
    struct conclave_client_options options;
    struct conclave_client *client = NULL;
    struct conclave_error error;
    struct conclave_status *status = calloc(1, sizeof *status);
    bool healthy = false;
    conclave_client_options_init(&options);
    options.endpoints = endpoint;
    uint32_t timeout_ms;
    if (status && connect_timeout(args, &timeout_ms) == 0 &&
        conclave_client_create(&options, &client, &error) == CONCLAVE_OK)
        healthy = conclave_client_status(client, timeout_ms, status) == CONCLAVE_OK &&
                  *status->leader != '\0';
    conclave_client_destroy(client);
    free(status);
    return healthy;
}

/* For --ready: the first node or endpoint that is not healthy, as text; NULL: all are. Without
 * endpoints given by the user every member counts. */
static const char *first_unready(const struct args *args, const struct conclave_status *status,
                                 char *buffer, size_t size)
{
    if (args_source(args, "endpoints") == ARGS_DEFAULT) {
        for (size_t i = 0; i < status->node_count; i++)
            if (!status->nodes[i].healthy)
                return status->nodes[i].name;
        return NULL;
    }
    const char *at = args_value(args, "endpoints");
    while (*at) {
        size_t length = strcspn(at, ",");
        snprintf(buffer, size, "%.*s", (int)length, at);
        const struct conclave_node_status *node = find_client(status, buffer);
        if (node ? !node->healthy : !endpoint_is_healthy(args, buffer))
            return buffer;
        at += length + (at[length] == ',');
    }
    return NULL;
}

/* Says what is wrong, or that nothing is. */
static int judge(const struct args *args, const struct conclave_status *status)
{
    bool json = args_on(args, "json");
    struct connect_health health = connect_health(status);
    char buffer[CONCLAVE_ENDPOINT_BYTES_MAX + 1];
    const char *unready =
        args_on(args, "ready") ? first_unready(args, status, buffer, sizeof buffer) : NULL;
    if (!*status->leader)
        return output_error(json, CONCLAVE_NO_LEADER, NULL, "'conclave status' shows the nodes",
                            "no leader; %zu of %zu nodes answer", health.answered, health.nodes);
    if (!health.majority)
        return output_error(json, CONCLAVE_NO_LEADER, status->leader,
                            "'conclave status' shows the nodes",
                            "only %zu of %zu nodes are healthy", health.healthy, health.nodes);
    if (unready)
        return output_error(json, CONCLAVE_NO_LEADER, status->leader,
                            "'conclave status' shows the nodes", "%s is not healthy", unready);
    if (json)
        return output_line(json_pack("{s:b, s:s, s:o, s:o, s:o}", "healthy", 1, "leader",
                                     status->leader, "nodes", output_uint(health.nodes),
                                     "nodes_healthy", output_uint(health.healthy), "alarms",
                                     alarms_json(status)));
    printf("healthy: %s leads, %zu of %zu nodes are healthy\n", status->leader, health.healthy,
           health.nodes);
    print_alarms(status, "alarm: ");
    return 0;
}

int cmd_health_run(const struct args *args)
{
    struct conclave_status *status = calloc(1, sizeof *status);
    if (!status)
        return output_error(args_on(args, "json"), CONCLAVE_NO_MEMORY, NULL, NULL, "out of memory");
    int exit_code = ask(args, NULL, status);
    if (exit_code == 0)
        exit_code = judge(args, status);
    free(status);
    return exit_code;
}

/* cli/up.c - up: a whole cluster on this machine, each node a process of its own. */
#include "cli/commands.h"
#include "cli/connect.h"
#include "cli/layout.h"
#include "cli/output.h"
#include "cli/signals.h"
#include "cli/supervise.h"
#include "cli/text.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    UP_ASK_MS = 150,        /* how long one look at the nodes may hold up their log lines */
    UP_WAIT_ALL_LOOKS = 15, /* looks to wait for the last nodes when a majority serves */
    UP_COMPLAIN_LOOKS = 50, /* looks without a leader after which to say so */
    UP_ARGUMENTS_MAX = 24
};

const struct args_flag cmd_up_flags[] = {
    {"nodes", 'n', "N", "3", false, "number of nodes, 1 to 9"},
    {"dir", 0, "DIR", "conclave-data", false, "holds a data directory for each node"},
    {"peer-port", 0, "PORT", "7401", false, "the first node's port for the others"},
    {"client-port", 0, "PORT", "7501", false, "the first node's port for clients"},
    {"feed-port", 0, "PORT", "7601", false,
     "the first node's port for plain ZeroMQ SUB sockets; 0: none"},
    {"no-restart", 0, NULL, NULL, false, "leave a node down that was killed"},
    SERVE_TUNING_FLAGS,
    {"log-format", 0, "FORMAT", "logfmt", true,
     "logfmt (behind the node's name) or json (lines as they are)"},
    {0}};

struct up {
    const struct args *args;
    struct layout layout;
    struct supervisor *supervisor;
    struct conclave_client *client;
    struct conclave_status status;
    char endpoints[CONCLAVE_VOTERS_MAX * 32];
    char *argv[CONCLAVE_VOTERS_MAX][UP_ARGUMENTS_MAX];
    char *strings[CONCLAVE_VOTERS_MAX * UP_ARGUMENTS_MAX]; /* owned */
    size_t string_count;
    unsigned looks, looks_served;
};

static int number_flag(const struct args *args, const char *name, uint64_t min, uint64_t max,
                       unsigned *ret)
{
    uint64_t value;
    const char *text = args_value(args, name);
    if (!text_uint_parse(text, max, &value) || value < min)
        return output_error(args_on(args, "json"), CONCLAVE_INVALID, NULL, NULL,
                            "--%s: '%.40s' is not a number from %llu to %llu", name, text,
                            (unsigned long long)min, (unsigned long long)max);
    *ret = (unsigned)value;
    return 0;
}

static int check_ports(const struct layout *layout, bool json)
{
    const struct {
        const char *what;
        unsigned port;
    } ports[] = {{"peers", layout->peer_port},
                 {"clients", layout->client_port},
                 {"the feed", layout->feed_port}};
    for (size_t i = 0; i < 3; i++)
        for (size_t k = 0; k < i; k++)
            if (ports[i].port && ports[k].port < ports[i].port + layout->nodes &&
                ports[i].port < ports[k].port + layout->nodes)
                return output_error(json, CONCLAVE_INVALID, NULL, NULL,
                                    "ports %u… for %s and %u… for %s overlap with %u nodes",
                                    ports[k].port, ports[k].what, ports[i].port, ports[i].what,
                                    layout->nodes);
    return 0;
}

static int read_layout(const struct args *args, struct layout *layout)
{
    bool json = args_on(args, "json");
    layout->dir = args_value(args, "dir");
    int exit_code = number_flag(args, "nodes", 1, CONCLAVE_VOTERS_MAX, &layout->nodes);
    if (exit_code == 0)
        exit_code = number_flag(args, "peer-port", 1, 65535 - layout->nodes, &layout->peer_port);
    if (exit_code == 0)
        exit_code =
            number_flag(args, "client-port", 1, 65535 - layout->nodes, &layout->client_port);
    if (exit_code == 0)
        exit_code = number_flag(args, "feed-port", 0, 65535 - layout->nodes, &layout->feed_port);
    if (exit_code == 0)
        exit_code = check_ports(layout, json);
    if (exit_code != 0)
        return exit_code;
    const char *format = args_value(args, "log-format");
    if (strcmp(format, "logfmt") != 0 && strcmp(format, "json") != 0)
        return output_error(json, CONCLAVE_INVALID, NULL, NULL,
                            "--log-format: '%.40s' is neither logfmt nor json", format);
    return 0;
}

/* --- Starting --------------------------------------------------------------------------------- */

static char *keep(struct up *up, const char *name, const char *value)
{
    char *text;
    int n = value ? asprintf(&text, "--%s=%s", name, value) : asprintf(&text, "%s", name);
    if (n < 0) {
        fputs("conclave: out of memory\n", stderr);
        abort();
    }
    up->strings[up->string_count++] = text;
    return text;
}

static void fill_child(struct up *up, unsigned index)
{
    struct supervise_child *child = &up->supervisor->children[index];
    char **argv = up->argv[index];
    char path[PATH_MAX];
    size_t count = 0;
    layout_node_dir(&up->layout, index, path, sizeof path);
    snprintf(child->name, sizeof child->name, "n%u", index + 1);
    child->argv = argv;
    argv[count++] = keep(up, "conclave", NULL);
    argv[count++] = keep(up, "serve", NULL);
    argv[count++] = keep(up, "data", path);
    argv[count++] = keep(up, "log-format", args_value(up->args, "log-format"));
    if (up->supervisor->json)
        argv[count++] = keep(up, "--json", NULL);
    if (up->layout.feed_port) {
        char feed[32];
        snprintf(feed, sizeof feed, "tcp://127.0.0.1:%u", up->layout.feed_port + index);
        argv[count++] = keep(up, "feed", feed);
    }
    for (const char *const *name = serve_tuning; *name; name++)
        if (args_source(up->args, *name) == ARGS_GIVEN)
            argv[count++] = keep(up, *name, args_value(up->args, *name));
    argv[count] = NULL;
}

static void fill_supervisor(struct up *up)
{
    struct supervisor *supervisor = up->supervisor;
    supervisor->count = up->layout.nodes;
    supervisor->json = strcmp(args_value(up->args, "log-format"), "json") == 0;
    supervisor->prefix = !supervisor->json;
    supervisor->colour = supervisor->prefix && output_colour(STDERR_FILENO);
    supervisor->restart = !args_on(up->args, "no-restart");
    for (unsigned i = 0; i < up->layout.nodes; i++) {
        size_t used = strlen(up->endpoints);
        fill_child(up, i);
        snprintf(up->endpoints + used, sizeof up->endpoints - used, "%stcp://127.0.0.1:%u",
                 i ? "," : "", up->layout.client_port + i);
    }
}

/* --- Ready ------------------------------------------------------------------------------------ */

static void print_ready_json(const struct up *up)
{
    json_t *nodes = json_array();
    for (size_t i = 0; i < up->status.node_count; i++) {
        const struct conclave_node_status *node = &up->status.nodes[i];
        json_array_append_new(nodes,
                              json_pack("{s:s, s:s, s:s, s:s?, s:o, s:b}", "name", node->name,
                                        "client", node->client, "peer", node->peer, "feed",
                                        *node->feed ? node->feed : NULL, "pid",
                                        json_integer(node->pid), "healthy", node->healthy));
    }
    output_line(json_pack("{s:s, s:s, s:s, s:o, s:o}", "cluster", up->status.cluster, "leader",
                          up->status.leader, "endpoints", up->endpoints, "data",
                          output_bytes(up->layout.dir, strlen(up->layout.dir)), "nodes", nodes));
}

static void print_ready(const struct up *up)
{
    struct connect_health health = connect_health(&up->status);
    const char *program = program_invocation_name;
    printf("\n%zu of %zu nodes serve, %s leads. Data is in %s.\n\n", health.healthy, health.nodes,
           up->status.leader, up->layout.dir);
    if (strcmp(up->endpoints, CONNECT_ENDPOINTS_DEFAULT) == 0)
        printf("  endpoints: %s (where the commands look by themselves)\n", up->endpoints);
    else
        printf("  endpoints: %s\n", up->endpoints);
    if (up->layout.feed_port)
        printf("  feed: tcp://127.0.0.1:%u and %u more, for plain ZeroMQ SUB sockets\n",
               up->layout.feed_port, up->layout.nodes - 1);
    printf("\nTry, in another terminal:\n\n");
    if (strcmp(up->endpoints, CONNECT_ENDPOINTS_DEFAULT) != 0)
        printf("  export CONCLAVE_ENDPOINTS=%s\n", up->endpoints);
    printf("  %s put greeting hello\n  %s get greeting\n  %s status\n\nCtrl-C stops all nodes.\n\n",
           program, program, program);
}

/* Looks once whether the cluster serves. True when it was said that it does. */
static bool look(void *arg)
{
    struct up *up = arg;
    struct supervisor *supervisor = up->supervisor;
    up->looks++;
    int code = conclave_client_status(up->client, UP_ASK_MS, &up->status);
    struct connect_health health = {0};
    if (code == CONCLAVE_OK)
        health = connect_health(&up->status);
    if (code != CONCLAVE_OK || !*up->status.leader || !health.majority) {
        if (up->looks == UP_COMPLAIN_LOOKS)
            supervise_say(supervisor, CONCLAVE_LOG_WARN, "no_leader_yet",
                          "hint=\"see what the nodes say above\"");
        return false;
    }
    size_t ended = 0;
    for (size_t i = 0; i < supervisor->count; i++)
        ended += supervisor->children[i].state == SUPERVISE_ENDED;
    /* The last node may need some moments more; those that have ended are not waited for. */
    if (health.healthy + ended < supervisor->count && up->looks_served++ < UP_WAIT_ALL_LOOKS)
        return false;
    if (args_on(up->args, "json"))
        print_ready_json(up);
    else
        print_ready(up);
    output_flush();
    conclave_client_destroy(up->client);
    up->client = NULL;
    return true;
}

static int run(struct up *up)
{
    bool json = args_on(up->args, "json");
    fill_supervisor(up);
    int exit_code = connect_open(up->args, up->endpoints, &up->client);
    if (exit_code != 0)
        return exit_code;
    up->supervisor->signal_fd = signals_open(true);
    if (up->supervisor->signal_fd < 0)
        return output_error(json, CONCLAVE_INVALID, NULL, NULL, "cannot watch signals: %s",
                            strerrordesc_np(errno));
    exit_code = supervise_run(up->supervisor, look, up);
    close(up->supervisor->signal_fd);
    return exit_code;
}

int cmd_up_run(const struct args *args)
{
    struct up *up = calloc(1, sizeof *up);
    struct supervisor *supervisor = calloc(1, sizeof *supervisor);
    int exit_code;
    if (!up || !supervisor) {
        exit_code =
            output_error(args_on(args, "json"), CONCLAVE_NO_MEMORY, NULL, NULL, "out of memory");
        goto out;
    }
    up->args = args;
    up->supervisor = supervisor;
    exit_code = read_layout(args, &up->layout);
    if (exit_code == 0) {
        struct conclave_error error;
        int code = layout_make(&up->layout, &error);
        char *path = code == CONCLAVE_OK ? realpath(up->layout.dir, NULL) : NULL;
        if (path)
            up->layout.dir = path;
        exit_code = code == CONCLAVE_OK ? run(up)
                                        : output_error(args_on(args, "json"), code, NULL, NULL,
                                                       "%s", error.message);
        free(path);
    }
    conclave_client_destroy(up->client);
    for (size_t i = 0; i < up->string_count; i++)
        free(up->strings[i]);
out:
    free(supervisor);
    free(up);
    return exit_code;
}

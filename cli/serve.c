/* cli/serve.c - serve: one node in this process, until it is told to stop or dies. */
#include "cli/commands.h"
#include "cli/heap.h"
#include "cli/logsink.h"
#include "cli/output.h"
#include "cli/signals.h"
#include "conclave.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    SERVE_FILES_MIN = 256, /* sockets of peers and clients, log segments, the store */
    SERVE_LOOK_MS = 1000   /* how long the node may take to say where it listens */
};

const char *const serve_tuning[] = {"election-timeout", "heartbeat",        "segment-size",
                                    "snapshot-bytes",   "snapshot-entries", "log-memory",
                                    "leases",           "disk-reserve",     "inflight-max",
                                    "keep-awake",       "log-level",        NULL};

const struct args_flag cmd_serve_flags[] = {
    {"data", 'd', "DIR", NULL, true, "the node's data directory, made by init or join"},
    {"listen", 0, "ENDPOINT", NULL, true, "bind here for peers (its own member's address)"},
    {"listen-client", 0, "ENDPOINT", NULL, true, "bind here for clients (the same)"},
    {"feed", 0, "ENDPOINT", NULL, true,
     "bind here for plain ZeroMQ SUB sockets, which get the messages of topics (nowhere)"},
    SERVE_TUNING_FLAGS,
    {"priority", 0, "N", NULL, true,
     "0 to 100: a node of lower priority leads while none of higher can (100)"},
    {"log-format", 0, "FORMAT", NULL, true, "logfmt or json (logfmt on a terminal, else json)"},
    {"expose-plaintext", 0, NULL, NULL, true,
     "allow addresses beyond this machine, without encryption"},
    {"trace-file", 0, "FILE", NULL, false,
     "add a line for some writes: ns of arrival, queue, wal, replicate, apply, reply"},
    {0}};

/* The node that runs in this process. */
struct server {
    struct conclave_options options;
    struct conclave_node *node;
    struct conclave_directory info;
    struct logsink *log;
    int signal_fd, fatal_fd;
    int trace_fd; /* -1: none */
    _Atomic int fatal_code;
    char fatal_message[512]; /* written before fatal_fd is, read after */
};

static void on_fatal(void *arg, int code, const char *message)
{
    struct server *server = arg;
    snprintf(server->fatal_message, sizeof server->fatal_message, "%s", message);
    atomic_store(&server->fatal_code, code);
    uint64_t one = 1;
    while (write(server->fatal_fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

/* A line is written at once, so that it is there whatever becomes of the process. */
static void on_trace(void *arg, const struct conclave_trace *trace)
{
    const struct server *server = arg;
    char line[160];
    int length =
        snprintf(line, sizeof line, "%llu %llu %llu %llu %llu %llu\n",
                 (unsigned long long)trace->at_ns, (unsigned long long)trace->queue_ns,
                 (unsigned long long)trace->wal_ns, (unsigned long long)trace->replicate_ns,
                 (unsigned long long)trace->apply_ns, (unsigned long long)trace->reply_ns);
    /* A line that a full disk does not take is missed by nobody but who reads them. */
    if (length > 0 && write(server->trace_fd, line, (size_t)length) < 0)
        return;
}

static int raise_file_limit(bool json)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    if (limit.rlim_cur != limit.rlim_max) {
        struct rlimit wanted = {limit.rlim_max, limit.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &wanted) == 0)
            limit = wanted;
    }
    if (limit.rlim_cur >= SERVE_FILES_MIN)
        return 0;
    return output_error(json, CONCLAVE_INVALID, NULL, "raise it: ulimit -n 65536",
                        "this process may open %llu files, a node needs at least %d",
                        (unsigned long long)limit.rlim_cur, SERVE_FILES_MIN);
}

static int log_style(const struct args *args, enum logfmt_style *ret)
{
    const char *text = args_value(args, "log-format");
    if (!text)
        *ret = isatty(STDERR_FILENO) ? LOGFMT_TEXT : LOGFMT_JSON;
    else if (strcmp(text, "logfmt") == 0)
        *ret = LOGFMT_TEXT;
    else if (strcmp(text, "json") == 0)
        *ret = LOGFMT_JSON;
    else
        return output_error(args_on(args, "json"), CONCLAVE_INVALID, NULL, NULL,
                            "--log-format: '%.40s' is neither logfmt nor json", text);
    return 0;
}

/* A failure of the node: a directory that is none is wrong usage, not a missing key. */
static int node_error(bool json, int code, const char *message)
{
    if (code == CONCLAVE_NOT_FOUND)
        code = CONCLAVE_INVALID;
    const char *hint =
        code == CONCLAVE_IO ? "look at the disk: free space, permissions, dmesg" : NULL;
    return output_error(json, code, NULL, hint, "%s", message);
}

/* Returns an exit code or 0. */
static int take_option(const struct args *args, const char *name, struct conclave_options *options)
{
    struct conclave_error error;
    const char *value = args_value(args, name);
    int code = value ? conclave_options_set(options, name, value, &error) : CONCLAVE_OK;
    if (code == CONCLAVE_OK)
        return 0;
    return output_error(args_on(args, "json"), code, NULL, NULL, "--%s", error.message);
}

static int read_options(const struct args *args, struct server *server)
{
    bool json = args_on(args, "json");
    struct conclave_options *options = &server->options;
    struct conclave_error error;
    conclave_options_init(options);
    options->keep_awake = true; /* of a machine that is there for nodes */
    options->data_dir = args_value(args, "data");
    options->listen = args_value(args, "listen");
    options->listen_client = args_value(args, "listen-client");
    options->feed = args_value(args, "feed");
    options->expose_plaintext = args_on(args, "expose-plaintext");
    options->on_fatal = on_fatal;
    options->on_fatal_arg = server;
    if (!options->data_dir)
        return output_error(json, CONCLAVE_INVALID, NULL,
                            "make one with 'conclave init', or run 'conclave up'",
                            "'serve' needs --data DIR");
    const char *trace = args_value(args, "trace-file");
    if (trace) {
        server->trace_fd = open(trace, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (server->trace_fd < 0)
            return output_error(json, CONCLAVE_INVALID, NULL, NULL, "--trace-file %s: %s", trace,
                                strerrordesc_np(errno));
        options->trace = on_trace;
        options->trace_arg = server;
    }
    int code = take_option(args, "priority", options);
    for (const char *const *name = serve_tuning; code == 0 && *name; name++)
        code = take_option(args, *name, options);
    if (code != 0)
        return code;
    code = conclave_directory_info(options->data_dir, &server->info, &error);
    return code == CONCLAVE_OK ? 0 : node_error(json, code, error.message);
}

/* What a node is, right after its start, by what it says of itself. Whether the others listen to it
 * nobody knows yet: a directory without a log may be a new cluster's, or stand in for one that was
 * lost, and is refused then. */
static const char *state_of(const struct conclave_node_status *node, bool alone)
{
    if (strcmp(node->role, "removed") == 0 || strcmp(node->role, "repair") == 0)
        return node->role;
    return node->last_index <= 1 && !alone ? "new" : "ready";
}

static void print_line(const struct server *server, const char *state, const char *client_endpoint,
                       const char *peer)
{
    const struct conclave_directory *info = &server->info;
    const char *feed = server->options.feed;
    if (strcmp(state, "removed") == 0) {
        printf("%s was removed from cluster %s and takes part no more: stop it (pid %d) and delete "
               "its data directory\n",
               info->name, info->cluster, (int)getpid());
        return;
    }
    const char *text = "is ready";
    if (strcmp(state, "repair") == 0)
        text = "is being repaired and takes no part until then";
    else if (strcmp(state, "new") == 0)
        text = "has a new directory and takes part once the others accept it";
    printf("%s of cluster %s %s: clients at %s, peers at %s%s%s, pid %d\n", info->name,
           info->cluster, text, client_endpoint, peer, feed ? ", feed at " : "", feed ? feed : "",
           (int)getpid());
}

/* Says what the node is and where it listens, which it knows best itself. */
static void print_ready(const struct args *args, const struct server *server,
                        struct conclave_status *status)
{
    const char *client_endpoint = "", *peer = "", *state = "ready";
    struct conclave_client_options options;
    struct conclave_client *client;
    struct conclave_error error;
    conclave_client_options_init(&options);
    options.endpoints = conclave_node_endpoint(server->node);
    options.zmq_context = conclave_node_context(server->node);
    if (conclave_client_create(&options, &client, &error) == CONCLAVE_OK) {
        if (conclave_client_status(client, SERVE_LOOK_MS, status) == CONCLAVE_OK) {
            for (size_t i = 0; i < status->node_count; i++) {
                const struct conclave_node_status *node = &status->nodes[i];
                /* Of two of this name one was removed, or is of an old directory. */
                if (node->id == server->info.id) {
                    client_endpoint = node->client;
                    peer = node->peer;
                    state = state_of(node, status->node_count == 1);
                }
            }
        }
        conclave_client_destroy(client);
    }
    if (server->options.listen)
        peer = server->options.listen;
    if (server->options.listen_client)
        client_endpoint = server->options.listen_client;
    if (args_on(args, "json"))
        output_line(json_pack(
            "{s:s, s:s, s:s?, s:s?, s:s?, s:i, s:b, s:s}", "node", server->info.name, "cluster",
            server->info.cluster, "client", *client_endpoint ? client_endpoint : NULL, "peer",
            *peer ? peer : NULL, "feed", server->options.feed, "pid", (int)getpid(), "removed",
            strcmp(state, "removed") == 0, "state", state));
    else
        print_line(server, state, client_endpoint, peer);
    output_flush();
}

/* Waits for a signal or the node's own end. */
static void wait_for_end(struct server *server)
{
    struct pollfd fds[] = {{server->signal_fd, POLLIN, 0}, {server->fatal_fd, POLLIN, 0}};
    for (;;) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return;
        if (fds[1].revents || (fds[0].revents && signals_read(server->signal_fd)))
            return;
    }
}

/* Runs the node until its end. Returns a code, with the sentence in *error. */
static int run_node(const struct args *args, struct server *server, struct conclave_error *error)
{
    heap_serves(HEAP_NODE_BYTES);
    int code = conclave_node_create(&server->options, &server->node, error);
    if (code == CONCLAVE_OK)
        code = conclave_node_start(server->node, error);
    if (code != CONCLAVE_OK)
        return code;
    struct conclave_status *status = calloc(1, sizeof *status);
    if (status)
        print_ready(args, server, status);
    free(status);
    wait_for_end(server);
    signals_exit_at_once();
    code = conclave_node_stop(server->node, error);
    int fatal = atomic_load(&server->fatal_code);
    if (fatal == CONCLAVE_OK)
        return code;
    snprintf(error->message, sizeof error->message, "%s", server->fatal_message);
    return fatal;
}

int cmd_serve_run(const struct args *args)
{
    bool json = args_on(args, "json");
    struct server server = {.signal_fd = -1, .fatal_fd = -1, .trace_fd = -1};
    enum logfmt_style style = LOGFMT_TEXT;
    int exit_code = raise_file_limit(json);
    if (exit_code == 0)
        exit_code = log_style(args, &style);
    if (exit_code == 0)
        exit_code = read_options(args, &server);
    if (exit_code != 0)
        return exit_code;

    server.signal_fd = signals_open(false);
    server.fatal_fd = eventfd(0, EFD_CLOEXEC);
    server.log = calloc(1, sizeof *server.log);
    if (server.signal_fd < 0 || server.fatal_fd < 0 || !server.log) {
        exit_code = output_error(json, CONCLAVE_INVALID, NULL, NULL, "cannot start: %s",
                                 strerrordesc_np(errno));
        goto out;
    }
    int failed = logsink_open(server.log, style, server.info.name);
    if (failed) {
        exit_code = output_error(json, CONCLAVE_INVALID, NULL, NULL, "cannot start a thread: %s",
                                 strerrordesc_np(failed));
        goto out;
    }
    server.options.log = logsink_log;
    server.options.log_arg = server.log;
    struct conclave_error error = {0};
    int code = run_node(args, &server, &error);
    conclave_node_destroy(server.node);
    if (!logsink_close(server.log))
        server.log = NULL; /* its thread still hangs on standard error: left to the exit */
    /* Last, so that the reason is the last line that anybody sees. */
    if (code != CONCLAVE_OK)
        exit_code = node_error(json, code, error.message);
out:
    free(server.log);
    if (server.fatal_fd >= 0)
        close(server.fatal_fd);
    if (server.trace_fd >= 0)
        close(server.trace_fd);
    if (server.signal_fd >= 0)
        close(server.signal_fd);
    return exit_code;
}

/* The targets self and tcp: conclave, measured by the generators of this program. */
#include "bench/lockers.h"
#include "bench/process.h"
#include "bench/proposers.h"
#include "bench/target.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { STATUS_MS = 500 };

static int status_of(const char *endpoints, struct conclave_status *status)
{
    struct conclave_client_options options;
    struct conclave_client *client;
    struct conclave_error error;
    conclave_client_options_init(&options);
    options.endpoints = endpoints;
    int code = conclave_client_create(&options, &client, &error);
    if (code != CONCLAVE_OK)
        return code;
    code = conclave_client_status(client, STATUS_MS, status);
    conclave_client_destroy(client);
    return code;
}

static void node_endpoint(const struct target *target, unsigned node, char *text, size_t size)
{
    snprintf(text, size, "tcp://127.0.0.1:%u", target->nodes[node].client_port);
}

static int look(struct target *target, struct conclave_error *error)
{
    (void)error;
    snprintf(target->version, sizeof target->version, "conclave %s", conclave_version());
    return CONCLAVE_OK;
}

static int look_tcp(struct target *target, struct conclave_error *error)
{
    struct conclave_client_options options;
    struct conclave_client *client;
    conclave_client_options_init(&options);
    options.endpoints = target->name;
    int length = snprintf(target->endpoints, sizeof target->endpoints, "%s", target->name);
    if (length < 0 || (size_t)length >= sizeof target->endpoints) {
        snprintf(error->message, sizeof error->message, "--target: too long");
        return error->code = CONCLAVE_INVALID;
    }
    /* Only whether they are endpoints: who is not reachable now may be soon. */
    int code = conclave_client_create(&options, &client, error);
    if (code == CONCLAVE_OK)
        conclave_client_destroy(client);
    return code == CONCLAVE_OK ? look(target, error) : code;
}

static int prepare(struct target *target, struct conclave_error *error)
{
    struct conclave_member members[BENCH_NODES_MAX];
    char peers[BENCH_NODES_MAX][40], clients[BENCH_NODES_MAX][40];
    size_t used = 0;
    for (unsigned i = 0; i < target->count; i++) {
        snprintf(peers[i], sizeof peers[i], "tcp://127.0.0.1:%u", target->nodes[i].peer_port);
        node_endpoint(target, i, clients[i], sizeof clients[i]);
        members[i] = (struct conclave_member){target->nodes[i].name, peers[i], clients[i]};
        used += (size_t)snprintf(target->endpoints + used, sizeof target->endpoints - used, "%s%s",
                                 i ? "," : "", clients[i]);
    }
    int code = CONCLAVE_OK;
    for (unsigned i = 0; i < target->count && code == CONCLAVE_OK; i++)
        code = conclave_bootstrap(target->nodes[i].dir, target->nodes[i].name, "bench", members,
                                  target->count, error);
    return code;
}

static void command(const struct target *target, unsigned node, struct words *words)
{
    words_add(words, "/proc/self/exe");
    words_add(words, "serve");
    words_add(words, "--data=%s", target->nodes[node].dir);
    words_add(words, "--log-format=logfmt");
    words_add(words, "--log-level=warn");
    words_add(words, "--trace-file=%s.trace", target->nodes[node].dir);
    if (!target->options->keep_awake)
        words_add(words, "--keep-awake=false");
    if (target->options->read_level == BENCH_READ_LEASE)
        words_add(words, "--leases=true");
}

static bool serves(struct target *target)
{
    struct conclave_status status;
    if (status_of(target->endpoints, &status) != CONCLAVE_OK || !*status.leader)
        return false;
    size_t healthy = 0;
    for (size_t i = 0; i < status.node_count; i++)
        healthy += status.nodes[i].healthy;
    return healthy >= target->count;
}

static unsigned leader(struct target *target)
{
    struct conclave_status status;
    uint64_t term = 0;
    unsigned found = TARGET_NODE_NONE;
    if (status_of(target->endpoints, &status) != CONCLAVE_OK)
        return found;
    for (size_t i = 0; i < status.node_count; i++) {
        const struct conclave_node_status *node = &status.nodes[i];
        if (!node->answered || strcmp(node->role, "leader") != 0 || node->term < term)
            continue;
        for (unsigned j = 0; j < target->count; j++)
            if (strcmp(target->nodes[j].name, node->name) == 0)
                found = j;
        term = node->term;
    }
    return found;
}

static bool progress(struct target *target, unsigned node, uint64_t *ret_committed,
                     uint64_t *ret_applied)
{
    struct conclave_status status;
    bool answered = false;
    *ret_committed = 0;
    if (status_of(target->endpoints, &status) != CONCLAVE_OK)
        return false;
    for (size_t i = 0; i < status.node_count; i++) {
        const struct conclave_node_status *that = &status.nodes[i];
        if (that->answered && that->commit > *ret_committed)
            *ret_committed = that->commit;
        if (that->answered && strcmp(that->name, target->nodes[node].name) == 0) {
            *ret_applied = that->applied;
            answered = true;
        }
    }
    return answered;
}

static void fill(struct target *target, const struct load *load, const struct measure_watch *watch,
                 struct measure *measure)
{
    load_fill(load, target->endpoints, watch, measure);
}

static void run(struct target *target, const struct load *load, const struct measure_watch *watch,
                struct measure *measure)
{
    load_run(load, target->endpoints, watch, measure);
}

/* What the nodes stamped since the measurement began, told on another clock. */
static void read_stages(struct target *target, struct measure *measure)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    uint64_t since_ns = measure_now_ns() - measure->start_ns;
    uint64_t from_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec - since_ns;
    for (unsigned i = 0; i < target->count; i++) {
        char path[PATH_MAX + 8];
        snprintf(path, sizeof path, "%s.trace", target->nodes[i].dir);
        if (!stages_read(&measure->stages, path, from_ns))
            measure_fail(measure, CONCLAVE_MALFORMED, "%s: not a line of a trace", path);
    }
}

static void run_self(struct target *target, const struct load *load,
                     const struct measure_watch *watch, struct measure *measure)
{
    if (load->workload == BENCH_PROPOSE) {
        proposers_run(load, watch, measure);
        return;
    }
    load_run(load, target->endpoints, watch, measure);
    if (measure->start_ns > 0)
        read_stages(target, measure);
}

static const char *refuses_self(const struct load *load)
{
    const char *why = proposers_refuse(load, true);
    return why ? why : lockers_refuse(load);
}

static const char *refuses_tcp(const struct load *load)
{
    const char *why = proposers_refuse(load, false);
    return why ? why : lockers_refuse(load);
}

#define FSYNC_WHY "an acknowledgement means fdatasync on a majority"
#define READS "linear: a majority confirms the leader; lease: its lease does; stale: any node"

const struct target_ops target_self = {
    .name = "self",
    .starts = true,
    .fsync = "yes",
    .fsync_why = FSYNC_WHY,
    .reads = READS,
    .look = look,
    .prepare = prepare,
    .command = command,
    .serves = serves,
    .leader = leader,
    .progress = progress,
    .fill = fill,
    .run = run_self,
    .refuses = refuses_self,
};

const struct target_ops target_tcp = {
    .name = "tcp",
    .fsync = "yes",
    .fsync_why = FSYNC_WHY,
    .reads = READS,
    .look = look_tcp,
    .fill = fill,
    .run = run,
    .refuses = refuses_tcp,
};

#include "bench/embedded.h"

#include "bench/process.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- The state machine: lives in memory ----------------------------------------------------------
 */

struct counting {
    struct embedded_count state;       /* the state-machine thread's */
    _Atomic uint64_t commands, digest; /* the same, for other threads to look at */
};

uint64_t embedded_digest(uint64_t number)
{
    /* The end of Austin Appleby's MurmurHash3: every bit of the number changes half of the digest.
     */
    number ^= number >> 33;
    number *= UINT64_C(0xff51afd7ed558ccd);
    number ^= number >> 33;
    number *= UINT64_C(0xc4ceb9fe1a85ec53);
    return number ^ number >> 33;
}

static void publish(struct counting *counting)
{
    atomic_store_explicit(&counting->digest, counting->state.digest, memory_order_relaxed);
    atomic_store_explicit(&counting->commands, counting->state.commands, memory_order_release);
}

static int counting_open(void *machine, const struct conclave_machine_env *env,
                         uint64_t *ret_applied_index, struct conclave_error *error)
{
    struct counting *counting = machine;
    (void)env;
    (void)error;
    counting->state = (struct embedded_count){0};
    publish(counting);
    *ret_applied_index = 0;
    return CONCLAVE_OK;
}

static int counting_apply(void *machine, const struct conclave_command *commands, size_t count,
                          uint64_t last_index, struct conclave_reply_sink *const *replies)
{
    struct counting *counting = machine;
    (void)last_index;
    for (size_t i = 0; i < count; i++) {
        uint64_t number;
        if (commands[i].bytes < sizeof number) {
            conclave_reply_set(replies[i], CONCLAVE_INVALID, NULL, 0);
            continue;
        }
        memcpy(&number, commands[i].data, sizeof number);
        counting->state.commands++;
        counting->state.digest += embedded_digest(number);
    }
    publish(counting);
    return CONCLAVE_OK;
}

static void counting_query(void *machine, const void *data, size_t bytes,
                           struct conclave_reply_sink *reply)
{
    const struct counting *counting = machine;
    (void)data;
    (void)bytes;
    conclave_reply_set(reply, CONCLAVE_OK, &counting->state, sizeof counting->state);
}

static int counting_snapshot_begin(void *machine, void **ret_snapshot)
{
    const struct counting *counting = machine;
    struct embedded_count *fixed = malloc(sizeof *fixed);
    if (!fixed)
        return CONCLAVE_NO_MEMORY;
    *fixed = counting->state;
    *ret_snapshot = fixed;
    return CONCLAVE_OK;
}

static int counting_snapshot_write(void *machine, void *snapshot,
                                   struct conclave_snapshot_sink *sink)
{
    (void)machine;
    return conclave_snapshot_add(sink, snapshot, sizeof(struct embedded_count));
}

static void counting_snapshot_end(void *machine, void *snapshot)
{
    (void)machine;
    free(snapshot);
}

static int counting_restore(void *machine, uint64_t index, struct conclave_snapshot_source *source)
{
    struct counting *counting = machine;
    uint8_t bytes[sizeof counting->state + 1]; /* asked for one more, so that the end is seen */
    size_t got = 0;
    (void)index;
    int code = conclave_snapshot_read(source, bytes, sizeof bytes, &got);
    if (code)
        return code;
    if (got != sizeof counting->state)
        return CONCLAVE_CORRUPT;
    memcpy(&counting->state, bytes, sizeof counting->state);
    publish(counting);
    return CONCLAVE_OK;
}

static const struct conclave_machine_ops counting_ops = {
    .size = sizeof(struct conclave_machine_ops),
    .open = counting_open,
    .apply = counting_apply,
    .query = counting_query,
    .snapshot_begin = counting_snapshot_begin,
    .snapshot_write = counting_snapshot_write,
    .snapshot_end = counting_snapshot_end,
    .restore = counting_restore,
};

/* --- The nodes -----------------------------------------------------------------------------------
 */

struct embedded {
    char dir[PATH_MAX]; /* "": none was made */
    unsigned count;
    bool keep_awake;
    struct conclave_node *nodes[BENCH_NODES_MAX];
    struct counting machines[BENCH_NODES_MAX];
};

/* What the members are called, and where they listen. */
struct names {
    struct conclave_member members[BENCH_NODES_MAX];
    char name[BENCH_NODES_MAX][16], peer[BENCH_NODES_MAX][40], client[BENCH_NODES_MAX][40];
};

/* Peers over TCP, as on machines of their own. */
static int make_names(unsigned count, struct names *names, struct conclave_error *error)
{
    unsigned ports[2 * BENCH_NODES_MAX];
    const unsigned *port = ports;
    if (!process_ports(ports, (size_t)count * 2)) {
        snprintf(error->message, sizeof error->message, "no free ports on 127.0.0.1");
        return error->code = CONCLAVE_IO;
    }
    for (unsigned i = 0; i < count; i++) {
        snprintf(names->name[i], sizeof names->name[i], "n%u", i + 1);
        snprintf(names->peer[i], sizeof names->peer[i], "tcp://127.0.0.1:%u", *port++);
        snprintf(names->client[i], sizeof names->client[i], "tcp://127.0.0.1:%u", *port++);
        names->members[i] =
            (struct conclave_member){names->name[i], names->peer[i], names->client[i]};
    }
    return CONCLAVE_OK;
}

static int start_node(struct embedded *embedded, const struct names *names, unsigned node,
                      struct conclave_error *error)
{
    struct conclave_options options;
    char data[PATH_MAX + 32];
    snprintf(data, sizeof data, "%s/%s", embedded->dir, names->name[node]);
    int code = conclave_bootstrap(data, names->name[node], "bench", names->members, embedded->count,
                                  error);
    if (code != CONCLAVE_OK)
        return code;
    conclave_options_init(&options);
    options.data_dir = data;
    options.machine = &counting_ops;
    options.machine_arg = &embedded->machines[node];
    options.keep_awake = embedded->keep_awake;
    code = conclave_node_create(&options, &embedded->nodes[node], error);
    return code == CONCLAVE_OK ? conclave_node_start(embedded->nodes[node], error) : code;
}

int embedded_start(const struct bench_options *bench, struct embedded **ret,
                   struct conclave_error *error)
{
    struct names names;
    const char *parent = bench->dir ? bench->dir : "/var/tmp";
    const unsigned count = bench->nodes;
    struct embedded *embedded = calloc(1, sizeof *embedded);
    if (!embedded) {
        snprintf(error->message, sizeof error->message, "out of memory");
        return error->code = CONCLAVE_NO_MEMORY;
    }
    embedded->count = count;
    embedded->keep_awake = bench->keep_awake;
    int code = process_directory(parent, embedded->dir, sizeof embedded->dir, error);
    if (code == CONCLAVE_OK)
        code = make_names(count, &names, error);
    else
        embedded->dir[0] = '\0';
    for (unsigned i = 0; i < count && code == CONCLAVE_OK; i++)
        code = start_node(embedded, &names, i, error);
    for (unsigned i = 0; i < count && code == CONCLAVE_OK; i++) {
        code = conclave_node_wait_ready(embedded->nodes[i], bench->timeout_ms);
        if (code != CONCLAVE_OK)
            snprintf(error->message, sizeof error->message, "node %u of this program: %s", i + 1,
                     conclave_code_text(code));
    }
    if (code != CONCLAVE_OK) {
        embedded_stop(embedded);
        return error->code = code;
    }
    *ret = embedded;
    return CONCLAVE_OK;
}

void embedded_stop(struct embedded *embedded)
{
    if (!embedded)
        return;
    for (unsigned i = 0; i < embedded->count; i++)
        conclave_node_destroy(embedded->nodes[i]);
    if (*embedded->dir)
        process_remove(embedded->dir);
    free(embedded);
}

struct conclave_node *embedded_node(struct embedded *embedded, unsigned node)
{
    return embedded->nodes[node];
}

struct embedded_count embedded_applied(struct embedded *embedded, unsigned node)
{
    const struct counting *counting = &embedded->machines[node];
    struct embedded_count count;
    count.commands = atomic_load_explicit(&counting->commands, memory_order_acquire);
    count.digest = atomic_load_explicit(&counting->digest, memory_order_relaxed);
    return count;
}

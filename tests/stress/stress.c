/* stress.c - three nodes in one process, clients that write and read, nodes that are stopped and
 * started under them; at last proposers of this program, while the nodes end. A plain program, so
 * that it runs under ThreadSanitizer; what it checks is what clients are promised: an acknowledged
 * write is readable, everywhere, afterwards, and every proposal has one outcome.
 *
 *     stress [OPERATIONS [RESTARTS]]
 */
#include <conclave.h>
#include <conclave_kv.h>

#include <ftw.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NODES = 3, WRITERS = 3, READY_MS = 60000, OP_MS = 60000, TRIES_MAX = 1000 };

static char dir[] = "/tmp/conclave-stress-XXXXXX";
static char names[NODES][8], peers[NODES][128], endpoints[NODES][128], all_endpoints[512];
static struct conclave_member members[NODES];
static struct conclave_node *nodes[NODES];
static long operations = 2000, restarts = 6;
static atomic_long written[WRITERS]; /* keys 0 .. written - 1 of a writer are acknowledged */
static atomic_int writers_left = WRITERS;
static atomic_long checks, unknowns;

#define CHECK(condition, ...)                                  \
    do {                                                       \
        if (!(condition)) {                                    \
            fprintf(stderr, "stress: " __VA_ARGS__);           \
            fprintf(stderr, " (%s:%d)\n", __FILE__, __LINE__); \
            abort();                                           \
        }                                                      \
    } while (0)

static void print_log(void *arg, enum conclave_log_level level, const char *actor,
                      const char *event, const char *fields)
{
    fprintf(stderr, "%s %d %s %s %s\n", (const char *)arg, (int)level, actor, event, fields);
}

static void on_fatal(void *arg, int code, const char *message)
{
    fprintf(stderr, "stress: node %s died: %s: %s\n", (const char *)arg, conclave_code_name(code),
            message);
    abort();
}

static void start_node(int i)
{
    struct conclave_options options;
    struct conclave_error error;
    char data[300];
    snprintf(data, sizeof data, "%s/%s", dir, names[i]);
    conclave_options_init(&options);
    options.data_dir = data;
    options.election_timeout_ms = 1000; /* sanitizers and valgrind are slow */
    options.heartbeat_ms = 200;
    options.segment_bytes = UINT64_C(64) * 1024; /* many segment changes */
    options.snapshot_entries = 500;              /* and snapshots, and logs that are cut */
    options.on_fatal = on_fatal;
    options.on_fatal_arg = names[i];
    options.log = getenv("STRESS_LOG") ? print_log : NULL;
    options.log_arg = names[i];
    int code = conclave_node_create(&options, &nodes[i], &error);
    CHECK(!code, "create: %s", error.message);
    code = conclave_node_start(nodes[i], &error);
    CHECK(!code, "start: %s", error.message);
}

static void stop_node(int i)
{
    struct conclave_error error;
    int code = conclave_node_stop(nodes[i], &error);
    CHECK(!code, "stop: %s", error.message);
    conclave_node_destroy(nodes[i]);
}

static struct conclave_client *connect_to(const char *where)
{
    struct conclave_client_options options;
    struct conclave_client *client;
    struct conclave_error error;
    conclave_client_options_init(&options);
    options.endpoints = where;
    options.timeout_ms = OP_MS;
    int code = conclave_client_create(&options, &client, &error);
    CHECK(!code, "client: %s", error.message);
    return client;
}

static size_t make_key(char *text, size_t size, int writer, long n)
{
    return (size_t)snprintf(text, size, "w%d/%08ld", writer, n);
}

static void *write_keys(void *arg)
{
    int writer = *(int *)arg;
    struct conclave_client *client = connect_to(all_endpoints);
    for (long n = 0; n < operations; n++) {
        char key[32];
        size_t bytes = make_key(key, sizeof key, writer, n);
        int code = CONCLAVE_UNKNOWN;
        /* Repeating a put of one key with one value is safe whatever became of the first. */
        for (int tries = 0; code && tries < TRIES_MAX; tries++) {
            code = conclave_kv_put(client, key, bytes, key, bytes, CONCLAVE_KV_ANY, 0, NULL);
            if (code)
                atomic_fetch_add(&unknowns, 1);
        }
        CHECK(!code, "put %s: %s", key, conclave_code_name(code));
        atomic_store(&written[writer], n + 1);
    }
    conclave_client_destroy(client);
    atomic_fetch_sub(&writers_left, 1);
    return NULL;
}

static void check_key(struct conclave_client *client, int writer, long n)
{
    char key[32];
    size_t bytes = make_key(key, sizeof key, writer, n);
    struct conclave_kv_found found;
    int code = conclave_kv_get(client, key, bytes, 0, &found);
    CHECK(!code, "get %s: %s: an acknowledged write is missing", key, conclave_code_name(code));
    CHECK(found.item.value_bytes == bytes && memcmp(found.item.value, key, bytes) == 0,
          "get %s: another value", key);
    conclave_kv_found_release(&found);
    atomic_fetch_add(&checks, 1);
}

static void *read_keys(void *arg)
{
    (void)arg;
    struct conclave_client *client = connect_to(all_endpoints);
    unsigned turn = 0;
    while (atomic_load(&writers_left) > 0) {
        int writer = (int)(turn++ % WRITERS);
        long count = atomic_load(&written[writer]);
        if (count > 0)
            check_key(client, writer, turn % 2 ? count - 1 : (long)(turn * 7919u) % count);
    }
    conclave_client_destroy(client);
    return NULL;
}

static void make_cluster(void)
{
    CHECK(mkdtemp(dir), "no temporary directory");
    for (int i = 0; i < NODES; i++) {
        snprintf(names[i], sizeof names[i], "n%d", i + 1);
        snprintf(peers[i], sizeof peers[i], "ipc://%s/n%d.peer", dir, i + 1);
        snprintf(endpoints[i], sizeof endpoints[i], "ipc://%s/n%d.client", dir, i + 1);
        size_t used = strlen(all_endpoints);
        snprintf(all_endpoints + used, sizeof all_endpoints - used, "%s%s", i ? "," : "",
                 endpoints[i]);
        members[i] =
            (struct conclave_member){.name = names[i], .peer = peers[i], .client = endpoints[i]};
    }
    for (int i = 0; i < NODES; i++) {
        char data[300];
        struct conclave_error error;
        snprintf(data, sizeof data, "%s/%s", dir, names[i]);
        int code = conclave_bootstrap(data, names[i], NULL, members, NODES, &error);
        CHECK(!code, "bootstrap: %s", error.message);
        start_node(i);
    }
}

/* --- Proposers ---------------------------------------------------------------------------------
 */

enum { PROPOSERS = 2 * NODES, UNDER_WAY = 32, APPLIED_MIN = 500 };

static atomic_long applied;

static void check_outcome(const struct conclave_outcome *outcome)
{
    bool expected = outcome->applied ? outcome->code == CONCLAVE_OK
                                     : outcome->code == CONCLAVE_NOT_LEADER ||
                                           outcome->code == CONCLAVE_NO_LEADER ||
                                           outcome->code == CONCLAVE_HANDOVER ||
                                           outcome->code == CONCLAVE_STOPPING ||
                                           outcome->code == CONCLAVE_UNKNOWN;
    CHECK(expected, "proposal: %s", conclave_code_name(outcome->code));
    if (outcome->applied)
        atomic_fetch_add(&applied, 1);
}

/* Until its node has ended, and all that it had under way. */
static void *propose_keys(void *arg)
{
    struct conclave_proposer *proposer = arg;
    struct conclave_outcome outcomes[UNDER_WAY];
    size_t proposed = 0, ended = 0, bytes;
    uint8_t put[256];
    CHECK(!conclave_kv_encode_put(put, sizeof put, "p", 1, "p", 1, CONCLAVE_KV_ANY, &bytes),
          "encode");
    for (bool closed = false; !closed || ended < proposed;) {
        while (!closed && proposed - ended < UNDER_WAY) {
            int code = conclave_propose(proposer, put, bytes, NULL);
            CHECK(!code || code == CONCLAVE_STOPPING, "propose: %s", conclave_code_name(code));
            closed = code == CONCLAVE_STOPPING;
            proposed += !code;
        }
        size_t count = conclave_proposer_poll(proposer, READY_MS, outcomes, UNDER_WAY);
        for (size_t i = 0; i < count; i++)
            check_outcome(&outcomes[i]);
        ended += count;
    }
    CHECK(conclave_proposer_poll(proposer, 0, outcomes, UNDER_WAY) == 0, "a second outcome");
    return NULL;
}

static void propose_while_nodes_end(void)
{
    struct conclave_proposer *proposers[PROPOSERS];
    pthread_t threads[PROPOSERS];
    struct conclave_error error;
    for (int i = 0; i < PROPOSERS; i++) {
        int code = conclave_proposer_create(nodes[i % NODES], &proposers[i], &error);
        CHECK(!code, "proposer: %s", error.message);
        CHECK(!pthread_create(&threads[i], NULL, propose_keys, proposers[i]), "no thread");
    }
    while (atomic_load(&applied) < APPLIED_MIN)
        sched_yield();
    for (int i = 0; i < NODES; i++)
        CHECK(!conclave_node_stop(nodes[i], &error), "stop: %s", error.message);
    for (int i = 0; i < PROPOSERS; i++) {
        pthread_join(threads[i], NULL);
        conclave_proposer_destroy(proposers[i]);
    }
    for (int i = 0; i < NODES; i++)
        conclave_node_destroy(nodes[i]);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st;
    (void)type;
    (void)where;
    return remove(path);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        operations = strtol(argv[1], NULL, 10);
    if (argc > 2)
        restarts = strtol(argv[2], NULL, 10);
    make_cluster();
    for (int i = 0; i < NODES; i++)
        CHECK(!conclave_node_wait_ready(nodes[i], READY_MS), "n%d does not get ready", i + 1);

    pthread_t writers[WRITERS], reader;
    int ids[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        ids[i] = i;
        CHECK(!pthread_create(&writers[i], NULL, write_keys, &ids[i]), "no thread");
    }
    CHECK(!pthread_create(&reader, NULL, read_keys, NULL), "no thread");
    for (long r = 0; r < restarts && atomic_load(&writers_left) > 0; r++) {
        int i = (int)(r % NODES);
        stop_node(i);
        start_node(i);
        CHECK(!conclave_node_wait_ready(nodes[i], READY_MS), "n%d does not come back", i + 1);
    }
    for (int i = 0; i < WRITERS; i++)
        pthread_join(writers[i], NULL);
    pthread_join(reader, NULL);

    /* Linearizable reads asked of each node in turn. */
    for (int i = 0; i < NODES; i++) {
        struct conclave_client *client = connect_to(endpoints[i]);
        for (int writer = 0; writer < WRITERS; writer++)
            for (long n = 0; n < operations; n += 97)
                check_key(client, writer, n);
        conclave_client_destroy(client);
    }
    propose_while_nodes_end();
    printf("%ld keys written, %ld reads checked, %ld writes repeated, %ld restarts, %ld proposals "
           "applied\n",
           operations * WRITERS, atomic_load(&checks), atomic_load(&unknowns), restarts,
           atomic_load(&applied));
    CHECK(!nftw(dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS), "cannot remove %s", dir);
    return 0;
}

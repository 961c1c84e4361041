/* counter.c - three nodes in one process with a state machine of their own: a counter.
 *
 * A command is an eight-byte number to add; its answer, and the answer to the empty query, is the
 * counter's value. Build and run:
 *
 *     cc counter.c -o counter $(pkg-config --cflags --libs conclave) && ./counter
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <conclave.h>

#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NODES = 3, ADDITIONS = 1000 };

/* --- The state machine: lives in memory, so `open` answers 0 and the log is replayed. -----------
 */

struct counter {
    uint64_t value;
};

static int counter_open(void *machine, const struct conclave_machine_env *env,
                        uint64_t *ret_applied_index, struct conclave_error *error)
{
    (void)env;
    (void)error;
    ((struct counter *)machine)->value = 0;
    *ret_applied_index = 0;
    return CONCLAVE_OK;
}

static int counter_apply(void *machine, const struct conclave_command *commands, size_t count,
                         uint64_t last_index, struct conclave_reply_sink *const *replies)
{
    struct counter *counter = machine;
    (void)last_index;
    for (size_t i = 0; i < count; i++) {
        uint64_t add;
        if (commands[i].bytes != sizeof add) { /* the same answer on every node */
            conclave_reply_set(replies[i], CONCLAVE_INVALID, NULL, 0);
            continue;
        }
        memcpy(&add, commands[i].data, sizeof add);
        counter->value += add;
        conclave_reply_set(replies[i], CONCLAVE_OK, &counter->value, sizeof counter->value);
    }
    return CONCLAVE_OK;
}

static void counter_query(void *machine, const void *data, size_t bytes,
                          struct conclave_reply_sink *reply)
{
    const struct counter *counter = machine;
    (void)data;
    (void)bytes;
    conclave_reply_set(reply, CONCLAVE_OK, &counter->value, sizeof counter->value);
}

static const struct conclave_machine_ops counter_ops = {
    .size = sizeof(struct conclave_machine_ops),
    .open = counter_open,
    .apply = counter_apply,
    .query = counter_query,
};

/* --- The program -------------------------------------------------------------------------------
 */

static void check(int code, const struct conclave_error *error)
{
    if (code == CONCLAVE_OK)
        return;
    fprintf(stderr, "counter: %s: %s\n", conclave_code_name(code),
            error ? error->message : conclave_code_text(code));
    exit(conclave_code_exit(code));
}

/* The nodes talk to each other over Unix sockets in the directory; no ports are taken. */
static struct conclave_node *start_node(const char *dir, int number, struct counter *counter,
                                        const struct conclave_member *members)
{
    struct conclave_error error;
    struct conclave_options options;
    struct conclave_node *node;
    char data[512];
    snprintf(data, sizeof data, "%s/%s", dir, members[number].name);
    check(conclave_bootstrap(data, members[number].name, "counter", members, NODES, &error),
          &error);
    conclave_options_init(&options);
    options.data_dir = data;
    options.machine = &counter_ops;
    options.machine_arg = counter;
    check(conclave_node_create(&options, &node, &error), &error);
    check(conclave_node_start(node, &error), &error);
    return node;
}

static uint64_t call(struct conclave_client *client, enum conclave_op_kind kind, const void *data,
                     size_t bytes)
{
    struct conclave_op op = {.kind = kind, .data = data, .bytes = bytes};
    uint64_t value;
    check(conclave_client_call(client, &op), NULL);
    if (op.reply_bytes != sizeof value)
        check(CONCLAVE_MALFORMED, NULL);
    memcpy(&value, op.reply, sizeof value);
    conclave_op_release(&op);
    return value;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st;
    (void)type;
    (void)where;
    return remove(path);
}

int main(void)
{
    char dir[] = "/tmp/conclave-counter-XXXXXX";
    if (!mkdtemp(dir)) {
        perror(dir);
        return 1;
    }
    struct counter counters[NODES];
    struct conclave_node *nodes[NODES];
    struct conclave_member members[NODES];
    char names[NODES][8], peers[NODES][128], clients[NODES][128];
    for (int i = 0; i < NODES; i++) {
        snprintf(names[i], sizeof names[i], "n%d", i + 1);
        snprintf(peers[i], sizeof peers[i], "ipc://%s/n%d.peer", dir, i + 1);
        snprintf(clients[i], sizeof clients[i], "ipc://%s/n%d.client", dir, i + 1);
        members[i] =
            (struct conclave_member){.name = names[i], .peer = peers[i], .client = clients[i]};
    }
    for (int i = 0; i < NODES; i++)
        nodes[i] = start_node(dir, i, &counters[i], members);
    for (int i = 0; i < NODES; i++)
        check(conclave_node_wait_ready(nodes[i], 10000), NULL);

    /* Any node will do: the client finds the leader. */
    struct conclave_error error;
    struct conclave_client_options options;
    struct conclave_client *client;
    conclave_client_options_init(&options);
    options.endpoints = conclave_node_endpoint(nodes[0]);
    options.zmq_context = conclave_node_context(nodes[0]);
    check(conclave_client_create(&options, &client, &error), &error);

    uint64_t expected = 0;
    for (uint64_t add = 1; add <= ADDITIONS; add++) {
        expected += add;
        if (call(client, CONCLAVE_OP_PROPOSE, &add, sizeof add) != expected) {
            fprintf(stderr, "counter: a wrong answer\n");
            return 1;
        }
    }
    uint64_t value = call(client, CONCLAVE_OP_READ, NULL, 0);
    printf("%d additions on three nodes: %" PRIu64 "\n", ADDITIONS, value);

    conclave_client_destroy(client);
    for (int i = 0; i < NODES; i++)
        conclave_node_destroy(nodes[i]);
    for (int i = 0; i < NODES; i++)
        if (counters[i].value != expected)
            fprintf(stderr, "n%d had applied up to %" PRIu64 " when it was stopped\n", i + 1,
                    counters[i].value);
    nftw(dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    return value == expected ? 0 : 1;
}

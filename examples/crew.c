/* crew.c - many things at once from one thread: operations that are submitted, a descriptor to wait
 * on, and a thousand watches that share a connection.
 *
 * A crew of workers shares a lease. Each puts its name under it, all of them at the same time, and
 * each has a watch of its own; then the lease is revoked, and every watch tells that its worker is
 * gone. Build and run:
 *
 *     cc crew.c -o crew $(pkg-config --cflags --libs conclave) && ./crew
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <conclave.h>
#include <conclave_kv.h>
#include <conclave_lease.h>
#include <conclave_txn.h>
#include <conclave_watch.h>

#include <ftw.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WORKERS = 1000, TTL_MS = 60000, BUFFER = 512 };

/* What a worker is: a key, an operation of its own, a watch. */
struct worker {
    char key[16];
    struct conclave_op op;
    uint8_t buffer[BUFFER];
    struct conclave_watch *watch;
    bool came, went;
};

static struct worker workers[WORKERS];

static void check(int code, const struct conclave_error *error)
{
    if (code == CONCLAVE_OK)
        return;
    fprintf(stderr, "crew: %s: %s\n", conclave_code_name(code),
            error ? error->message : conclave_code_text(code));
    exit(conclave_code_exit(code));
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st;
    (void)type;
    (void)where;
    return remove(path);
}

/* --- Operations: submitted, waited for by the descriptor, taken from the done list --------------
 */

static void submit(struct conclave_client *client, struct conclave_op *op,
                   enum conclave_op_kind kind, const void *data, size_t bytes)
{
    op->kind = kind;
    op->data = data;
    op->bytes = bytes;
    check(conclave_client_submit(client, op), NULL);
}

/* The loop of a program that has other descriptors too. */
static void run_until_done(struct conclave_client *client, size_t count)
{
    struct pollfd waits = {.fd = conclave_client_fd(client), .events = POLLIN};
    while (count > 0) {
        struct conclave_op *done;
        size_t n = conclave_client_poll(client, 0, &done);
        for (; done; done = done->next)
            check(done->code, NULL);
        count -= n;
        if (n == 0)
            (void)poll(&waits, 1, 100);
    }
}

static uint64_t grant_lease(struct conclave_client *client)
{
    struct conclave_op op = {0};
    uint8_t buffer[BUFFER];
    uint64_t lease = 0;
    size_t bytes;
    check(conclave_lease_encode_grant(buffer, sizeof buffer, TTL_MS, &bytes), NULL);
    submit(client, &op, CONCLAVE_OP_PROPOSE, buffer, bytes);
    run_until_done(client, 1);
    check(conclave_lease_decode(&op, &lease, NULL), NULL);
    conclave_op_release(&op);
    return lease;
}

/* Every worker signs on: a transaction each, all under way together. */
static void sign_on(struct conclave_client *client, uint64_t lease)
{
    for (int i = 0; i < WORKERS; i++) {
        struct worker *worker = &workers[i];
        struct conclave_txn *txn = conclave_txn_create();
        size_t bytes;
        conclave_txn_compare(txn, CONCLAVE_TXN_VERSION, CONCLAVE_TXN_EQUAL, worker->key,
                             strlen(worker->key), 0);
        conclave_txn_put(txn, CONCLAVE_TXN_THEN, worker->key, strlen(worker->key), "here", 4, lease,
                         0);
        check(conclave_txn_encode(txn, worker->buffer, sizeof worker->buffer, &bytes), NULL);
        conclave_txn_destroy(txn);
        submit(client, &worker->op, CONCLAVE_OP_PROPOSE, worker->buffer, bytes);
    }
    run_until_done(client, WORKERS);
    for (int i = 0; i < WORKERS; i++)
        conclave_op_release(&workers[i].op);
}

/* --- Watches -----------------------------------------------------------------------------------
 */

static void watch_all(struct conclave_client *client)
{
    struct conclave_watch_options options;
    struct conclave_error error;
    conclave_watch_options_init(&options);
    options.client = client;
    options.revision = 1;
    for (int i = 0; i < WORKERS; i++) {
        options.user = &workers[i];
        options.key = workers[i].key;
        options.key_bytes = strlen(workers[i].key);
        check(conclave_watch_create(&options, &workers[i].watch, &error), &error);
    }
}

/* Takes what the watches tell until every worker has gone. */
static void see_them_go(struct conclave_client *client)
{
    for (int gone = 0; gone < WORKERS;) {
        struct conclave_watch_event event;
        void *user;
        int code = conclave_client_ready(client, 10000, &user);
        check(code, NULL);
        struct worker *worker = user;
        while ((code = conclave_watch_next(worker->watch, 0, &event)) == CONCLAVE_OK) {
            worker->came = worker->came || event.kind == CONCLAVE_WATCH_PUT;
            if (event.kind == CONCLAVE_WATCH_DELETE && worker->came && !worker->went) {
                worker->went = true;
                gone++;
            }
        }
        if (code != CONCLAVE_TIMEOUT)
            check(code, NULL);
    }
}

int main(void)
{
    char dir[] = "/tmp/conclave-crew-XXXXXX", data[64], peer[64];
    struct conclave_member member = {.name = "n1", .peer = peer};
    struct conclave_options options;
    struct conclave_client_options client_options;
    struct conclave_error error = {0};
    struct conclave_node *node;
    struct conclave_client *client;
    if (!mkdtemp(dir)) {
        perror(dir);
        return 1;
    }
    snprintf(data, sizeof data, "%s/n1", dir);
    snprintf(peer, sizeof peer, "ipc://%s/n1.peer", dir);
    check(conclave_bootstrap(data, "n1", NULL, &member, 1, &error), &error);
    conclave_options_init(&options);
    options.data_dir = data;
    check(conclave_node_create(&options, &node, &error), &error);
    check(conclave_node_start(node, &error), &error);
    conclave_client_options_init(&client_options);
    client_options.endpoints = conclave_node_endpoint(node);
    client_options.zmq_context = conclave_node_context(node);
    check(conclave_client_create(&client_options, &client, &error), &error);

    for (int i = 0; i < WORKERS; i++)
        snprintf(workers[i].key, sizeof workers[i].key, "crew/%d", i);
    uint64_t lease = grant_lease(client), deleted = 0;
    watch_all(client);
    sign_on(client, lease);
    check(conclave_lease_revoke(client, lease, 0, &deleted), NULL);
    see_them_go(client);
    printf("%" PRIu64 " workers came and went, each seen by its own watch\n", deleted);

    for (int i = 0; i < WORKERS; i++)
        conclave_watch_destroy(workers[i].watch);
    conclave_client_destroy(client);
    conclave_node_destroy(node);
    nftw(dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    return deleted == WORKERS ? 0 : 1;
}

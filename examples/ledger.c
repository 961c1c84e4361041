/* ledger.c - a state machine with snapshots: accounts in memory, on three nodes in one process.
 *
 * A command moves an amount from one account to another. The whole state is a table in memory, so
 * fixing it for a snapshot is a copy. One node sleeps while the others go on and cut their logs;
 * what it missed it gets as a snapshot when it is back, although its memory is empty. Build and
 * run:
 *
 *     cc ledger.c -o ledger $(pkg-config --cflags --libs conclave) && ./ledger
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

enum { NODES = 3, ACCOUNTS = 1000, OPENING = 100, TRANSFERS = 3000, SNAPSHOT_ENTRIES = 500 };

/* --- The state machine -------------------------------------------------------------------------
 */

struct ledger {
    int64_t accounts[ACCOUNTS];
    unsigned restored; /* how often it became a snapshot */
};

struct transfer {
    uint32_t from, to;
    int64_t amount;
};

static int ledger_open(void *machine, const struct conclave_machine_env *env,
                       uint64_t *ret_applied_index, struct conclave_error *error)
{
    struct ledger *ledger = machine;
    (void)env;
    (void)error;
    for (int i = 0; i < ACCOUNTS; i++)
        ledger->accounts[i] = OPENING;
    *ret_applied_index =
        0; /* nothing survives a restart: the node gives us a snapshot or the log */
    return CONCLAVE_OK;
}

static int transfer_apply(struct ledger *ledger, const struct conclave_command *command)
{
    struct transfer transfer;
    if (command->bytes != sizeof transfer)
        return CONCLAVE_INVALID;
    memcpy(&transfer, command->data, sizeof transfer);
    if (transfer.from >= ACCOUNTS || transfer.to >= ACCOUNTS || transfer.amount < 0)
        return CONCLAVE_INVALID;
    if (ledger->accounts[transfer.from] < transfer.amount)
        return CONCLAVE_COMPARE_FAILED;
    ledger->accounts[transfer.from] -= transfer.amount;
    ledger->accounts[transfer.to] += transfer.amount;
    return CONCLAVE_OK;
}

static int ledger_apply(void *machine, const struct conclave_command *commands, size_t count,
                        uint64_t last_index, struct conclave_reply_sink *const *replies)
{
    (void)last_index;
    for (size_t i = 0; i < count; i++)
        conclave_reply_set(replies[i], transfer_apply(machine, &commands[i]), NULL, 0);
    return CONCLAVE_OK;
}

/* All accounts. */
static void ledger_query(void *machine, const void *data, size_t bytes,
                         struct conclave_reply_sink *reply)
{
    const struct ledger *ledger = machine;
    (void)data;
    (void)bytes;
    conclave_reply_set(reply, CONCLAVE_OK, ledger->accounts, sizeof ledger->accounts);
}

/* The copy is the machine's own; the node hands it back to write and end. */
static int ledger_snapshot_begin(void *machine, void **ret_snapshot)
{
    const struct ledger *ledger = machine;
    int64_t *copy = malloc(sizeof ledger->accounts);
    if (!copy)
        return CONCLAVE_NO_MEMORY; /* the node tries again later */
    memcpy(copy, ledger->accounts, sizeof ledger->accounts);
    *ret_snapshot = copy;
    return CONCLAVE_OK;
}

/* On another thread, while transfers go on: touches the copy only. */
static int ledger_snapshot_write(void *machine, void *snapshot, struct conclave_snapshot_sink *sink)
{
    (void)machine;
    return conclave_snapshot_add(sink, snapshot, sizeof(int64_t[ACCOUNTS]));
}

static void ledger_snapshot_end(void *machine, void *snapshot)
{
    (void)machine;
    free(snapshot);
}

static int ledger_restore(void *machine, uint64_t index, struct conclave_snapshot_source *source)
{
    struct ledger *ledger = machine;
    int64_t accounts[ACCOUNTS + 1]; /* asked for one more, so that the end is seen */
    size_t got = 0;
    (void)index;
    int code = conclave_snapshot_read(source, accounts, sizeof accounts, &got);
    if (code)
        return code;
    if (got != sizeof ledger->accounts)
        return CONCLAVE_CORRUPT;
    memcpy(ledger->accounts, accounts, sizeof ledger->accounts);
    ledger->restored++;
    return CONCLAVE_OK;
}

static const struct conclave_machine_ops ledger_ops = {
    .size = sizeof(struct conclave_machine_ops),
    .open = ledger_open,
    .apply = ledger_apply,
    .query = ledger_query,
    .snapshot_begin = ledger_snapshot_begin,
    .snapshot_write = ledger_snapshot_write,
    .snapshot_end = ledger_snapshot_end,
    .restore = ledger_restore,
};

/* --- The program -------------------------------------------------------------------------------
 */

static void check(int code, const struct conclave_error *error)
{
    if (code == CONCLAVE_OK)
        return;
    fprintf(stderr, "ledger: %s: %s\n", conclave_code_name(code),
            error ? error->message : conclave_code_text(code));
    exit(conclave_code_exit(code));
}

static char dir[] = "/tmp/conclave-ledger-XXXXXX";
static char data[NODES][128], peers[NODES][128], clients[NODES][128];
static const char *const names[NODES] = {"n1", "n2", "n3"};
static struct ledger ledgers[NODES];
static struct conclave_node *nodes[NODES];

static void name_nodes(void)
{
    struct conclave_member members[NODES];
    struct conclave_error error;
    for (int i = 0; i < NODES; i++) {
        snprintf(data[i], sizeof data[i], "%s/%s", dir, names[i]);
        snprintf(peers[i], sizeof peers[i], "ipc://%s/%s.peer", dir, names[i]);
        snprintf(clients[i], sizeof clients[i], "ipc://%s/%s.client", dir, names[i]);
        members[i] = (struct conclave_member){names[i], peers[i], clients[i]};
    }
    for (int i = 0; i < NODES; i++)
        check(conclave_bootstrap(data[i], names[i], "ledger", members, NODES, &error), &error);
}

static void start(int i)
{
    struct conclave_error error;
    struct conclave_options options;
    conclave_options_init(&options);
    options.data_dir = data[i];
    options.machine = &ledger_ops;
    options.machine_arg = &ledgers[i];
    options.snapshot_entries = SNAPSHOT_ENTRIES;
    check(conclave_node_create(&options, &nodes[i], &error), &error);
    check(conclave_node_start(nodes[i], &error), &error);
}

static void transfers(struct conclave_client *client, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct transfer transfer = {i % ACCOUNTS, (i * 7 + 1) % ACCOUNTS, i % 3};
        struct conclave_op op = {
            .kind = CONCLAVE_OP_PROPOSE, .data = &transfer, .bytes = sizeof transfer};
        int code = conclave_client_call(client, &op);
        if (code != CONCLAVE_COMPARE_FAILED) /* the account is empty */
            check(code, NULL);
        conclave_op_release(&op);
    }
}

static void lead_with(struct conclave_client *client, const char *name)
{
    int code;
    do {
        struct conclave_op op = {.kind = CONCLAVE_OP_TRANSFER, .data = name, .bytes = strlen(name)};
        code = conclave_client_call(client, &op);
        conclave_op_release(&op);
    } while (code == CONCLAVE_TIMEOUT); /* it is still catching up */
    check(code, NULL);
}

static int64_t total(struct conclave_client *client)
{
    struct conclave_op op = {.kind = CONCLAVE_OP_READ};
    int64_t accounts[ACCOUNTS], sum = 0;
    check(conclave_client_call(client, &op), NULL);
    if (op.reply_bytes != sizeof accounts)
        check(CONCLAVE_MALFORMED, NULL);
    memcpy(accounts, op.reply, sizeof accounts);
    conclave_op_release(&op);
    for (int i = 0; i < ACCOUNTS; i++)
        sum += accounts[i];
    return sum;
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
    if (!mkdtemp(dir)) {
        perror(dir);
        return 1;
    }
    name_nodes();
    for (int i = 0; i < NODES; i++)
        start(i);

    char endpoints[NODES * sizeof clients[0]];
    struct conclave_error error;
    struct conclave_client_options options;
    struct conclave_client *client;
    snprintf(endpoints, sizeof endpoints, "%s,%s,%s", clients[0], clients[1], clients[2]);
    conclave_client_options_init(&options);
    options.endpoints = endpoints;
    options.timeout_ms = 20000;
    check(conclave_client_create(&options, &client, &error), &error);

    transfers(client, 10);
    lead_with(client, "n1");
    conclave_node_destroy(nodes[2]);
    transfers(client, TRANSFERS); /* the other two cut their logs meanwhile */
    start(2);
    lead_with(client, "n3"); /* now it has everything, or it could not lead */
    transfers(client, 10);
    int64_t sum = total(client);
    printf("%d transfers; n3 came back by %u snapshot%s; the total is %" PRId64 "\n",
           TRANSFERS + 20, ledgers[2].restored, ledgers[2].restored == 1 ? "" : "s", sum);

    conclave_client_destroy(client);
    for (int i = 0; i < NODES; i++)
        conclave_node_destroy(nodes[i]);
    nftw(dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    return sum == (int64_t)ACCOUNTS * OPENING && ledgers[2].restored > 0 ? 0 : 1;
}

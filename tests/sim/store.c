#include "tests/sim/store.h"

#include "base/fatal.h"
#include "codec/kv.h"
#include "machine/kv.h"
#include "machine/reply.h"
#include "tests/sim/knobs.h"
#include "tests/sim/map.h"
#include "tests/sim/ops.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STORE_PATH_BYTES = 64, GARBAGE_BYTES = 65536 };

struct store {
    struct kv *kv;
    struct conclave_machine_env env;
    uint8_t boots;
    char dir[STORE_PATH_BYTES];
    struct conclave_reply_sink answer; /* to the last query */
};

struct store *store_create(uint64_t cluster_id, raft_node_id node_id)
{
    struct store *store = mem_zalloc(sizeof *store);
    (void)snprintf(store->dir, sizeof store->dir, "/dev/shm/conclave-sim-XXXXXX");
    if (!mkdtemp(store->dir)) {
        (void)snprintf(store->dir, sizeof store->dir, "/tmp/conclave-sim-XXXXXX");
        ASSERT(mkdtemp(store->dir) != NULL);
    }
    store->boots = 1;
    store->env = (struct conclave_machine_env){
        .dir = store->dir, .boot_id = {1}, .cluster_id = cluster_id, .node_id = node_id};
    return store;
}

static void store_close(struct store *store)
{
    reply_sink_clear(&store->answer);
    kv_destroy(store->kv);
    store->kv = NULL;
}

void store_remove(struct store *store)
{
    static const char *const files[] = {"owner", "owner.new", "data.mdb", "lock.mdb"};
    int dir = open(store->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        (void)unlinkat(dir, files[i], 0);
    (void)close(dir);
    (void)rmdir(store->dir);
}

void store_destroy(struct store *store)
{
    if (!store)
        return;
    store_close(store);
    store_remove(store);
    free(store);
}

int store_open(struct store *store, uint64_t *ret_applied, struct conclave_error *error)
{
    store->kv = kv_create();
    return kv_machine_ops()->open(store->kv, &store->env, ret_applied, error);
}

/* What a loss of power may leave: pages that were never written. */
static void spoil(const struct store *store)
{
    static const uint8_t garbage[GARBAGE_BYTES] = {0xa5};
    char path[STORE_PATH_BYTES + 16];
    (void)snprintf(path, sizeof path, "%s/data.mdb", store->dir);
    int file = open(path, O_WRONLY | O_CLOEXEC);
    if (file < 0)
        return; /* never opened */
    ASSERT(pwrite(file, garbage, sizeof garbage, 0) == (ssize_t)sizeof garbage);
    (void)close(file);
}

void store_crash(struct store *store, bool power)
{
    store_close(store);
    if (!power)
        return;
    store->env.boot_id[0] = ++store->boots;
    store->env.boot_id[1] = 1; /* never all zero, which means unknown */
    spoil(store);
}

/* --- Commands --------------------------------------------------------------------------------- */

static struct slice key_of(uint32_t cell, char key[8])
{
    int bytes = snprintf(key, 8, "r%u", (unsigned)(cell % SIM_REGISTERS));
    return (struct slice){(const uint8_t *)key, (size_t)bytes};
}

int store_apply(struct store *store, const struct raft_runs *entries)
{
    struct conclave_command *commands = mem_alloc((entries->entry_count + 1) * sizeof *commands);
    size_t *starts = mem_alloc((entries->entry_count + 1) * sizeof *starts);
    size_t count = 0;
    struct pack pack;
    pack_init(&pack, 0);
    struct raft_runs_iter it = {0};
    for (const struct raft_entry *e; (e = raft_runs_next(entries, &it));) {
        uint64_t number;
        uint32_t cell;
        char key[8];
        if (e->kind != RAFT_ENTRY_COMMAND || !command_decode(e->payload, &number, &cell))
            continue;
        starts[count] = pack.bytes;
        kv_command_pack(
            &pack,
            &(struct kv_command){.opcode = KV_PUT, .key = key_of(cell, key), .value = e->payload});
        commands[count] = (struct conclave_command){.index = e->id.index, .term = e->id.term};
        commands[count].bytes = pack.bytes - starts[count];
        count++;
    }
    for (size_t i = 0; i < count; i++) /* the bytes move while they grow */
        commands[i].data = pack.buf->data + starts[i];
    int code =
        kv_machine_ops()->apply(store->kv, commands, count, raft_runs_last(entries).index, NULL);
    pack_deinit(&pack);
    free(starts);
    free(commands);
    return code;
}

/* --- Queries ---------------------------------------------------------------------------------- */

static int ask(struct store *store, const struct kv_query *query)
{
    struct pack pack;
    pack_init(&pack, 0);
    kv_query_pack(&pack, query);
    reply_sink_clear(&store->answer);
    kv_machine_ops()->query(store->kv, pack.buf->data, pack.bytes, &store->answer);
    pack_deinit(&pack);
    return store->answer.code;
}

uint64_t store_register(struct store *store, uint32_t cell)
{
    char key[8];
    struct kv_query query = {.opcode = KV_GET, .key = key_of(cell, key)};
    int code = ask(store, &query);
    if (code == CONCLAVE_NOT_FOUND)
        return 0;
    struct kv_item item;
    uint64_t revision, number;
    uint32_t written;
    if (code != CONCLAVE_OK ||
        kv_get_answer_decode(store->answer.body->data, store->answer.body->bytes, &revision,
                             &item) != CONCLAVE_OK ||
        !command_decode(item.value, &number, &written))
        return UINT64_MAX;
    return number;
}

uint64_t store_hash(struct store *store)
{
    struct kv_query query = {.opcode = KV_RANGE, .bounds = {.no_end = true}};
    struct kv_range_answer answer;
    if (ask(store, &query) != CONCLAVE_OK ||
        kv_range_answer_begin(store->answer.body->data, store->answer.body->bytes, &answer) !=
            CONCLAVE_OK)
        return 0;
    uint64_t hash = hash_mix(answer.revision, answer.count);
    struct kv_item item;
    while (kv_range_answer_next(&answer, &item) == 1) {
        for (size_t i = 0; i < item.key.bytes; i++)
            hash = hash_mix(hash, item.key.data[i]);
        for (size_t i = 0; i < item.value.bytes; i++)
            hash = hash_mix(hash, item.value.data[i]);
        hash = hash_mix(hash, item.create_revision);
        hash = hash_mix(hash_mix(hash, item.mod_revision), item.version);
    }
    return hash | 1;
}

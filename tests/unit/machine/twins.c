/* The key-value machine with sessions in front, in files and in memory: the same answers, the same
 * state, the same bytes in snapshots, over kills, growth and restores. And what is stored of the
 * sessions is what there is. */
#include "codec/kv_txn.h"
#include "codec/session.h"
#include "codec/topic.h"
#include "machine/session_internal.h"
#include "machine/session_layer.h"
#include "machine/tables_lmdb.h"
#include "machine/tables_memory.h"
#include "rig.h"
#include "twins_groups.h"

#include "base/fatal.h"
#include "base/prng.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { FILES, MEMORY, BOTH };
enum { BATCH_MAX = 200, SESSIONS = 6, STEPS = 250 };

struct twin {
    struct tables *tables;
    struct kv *kv;
    struct session_layer *layer;
    struct conclave_reply_sink sinks[BATCH_MAX];
};

/* What a client of the test knows of its session. */
struct client {
    uint64_t id, next, acknowledged;
};

static struct {
    struct twin twins[BOTH];
    struct conclave_machine_env env;
    char dir[64];
    struct prng prng;
    uint64_t index;
    struct client clients[SESSIONS];
    struct session_input inputs[BATCH_MAX];
    struct buf *bytes[BATCH_MAX];
    size_t count;
    uint64_t waits;           /* applies that found no room at first */
    struct buf *state;        /* of the session table, after the last batch */
    struct group_record seen; /* sums of what the groups had counted after the last batch */
} w;

static uint64_t below(uint64_t bound)
{
    return prng_below(&w.prng, bound);
}

/* --- The twins ---------------------------------------------------------------------------------
 */

static void same_bufs(const struct buf *a, const struct buf *b)
{
    cr_assert_eq(!a, !b);
    if (!a)
        return;
    cr_assert_eq(a->bytes, b->bytes);
    cr_assert_eq(memcmp(a->data, b->data, a->bytes), 0);
}

/* Both have the same sessions; remembers them. */
static void same_sessions(void)
{
    struct buf *states[BOTH];
    for (int i = 0; i < BOTH; i++)
        states[i] = session_table_encode(session_layer_table(w.twins[i].layer));
    same_bufs(states[FILES], states[MEMORY]);
    buf_unref(states[MEMORY]);
    buf_unref(w.state);
    w.state = states[FILES];
}

static void twin_open(struct twin *twin)
{
    /* Small ones, so that the test gets to them. */
    static const struct session_limits limits = {.sessions = 5,
                                                 .window = 256,
                                                 .sweep_commands = 64,
                                                 .lifetime_ms = 60000,
                                                 .clock_step_max_ms = 30000,
                                                 .slots = 600,
                                                 .body_bytes = 64 << 10,
                                                 .bodies_bytes = 3000,
                                                 .expire_work = 3};
    struct conclave_error error = {0};
    uint64_t applied = 0;
    twin->kv = kv_create_in(twin->tables);
    twin->layer = session_layer_create(kv_machine_ops(), twin->kv);
    session_table_set_limits(session_layer_table(twin->layer), &limits);
    cr_assert_eq(session_layer_open(twin->layer, &w.env, &applied, &error), CONCLAVE_OK, "%s",
                 error.message);
    cr_assert_eq(applied, w.index);
}

static void twin_close(struct twin *twin)
{
    session_layer_destroy(twin->layer);
    kv_destroy(twin->kv);
}

static void setup(uint64_t seed)
{
    memset(&w, 0, sizeof w);
    strcpy(w.dir, "/tmp/conclave-twins-XXXXXX");
    cr_assert(mkdtemp(w.dir));
    w.env =
        (struct conclave_machine_env){.dir = w.dir, .boot_id = {1}, .cluster_id = 7, .node_id = 1};
    prng_init(&w.prng, seed);
    w.twins[FILES].tables = tables_lmdb_create();
    w.twins[MEMORY].tables = tables_memory_create();
    for (int i = 0; i < BOTH; i++)
        twin_open(&w.twins[i]);
}

static void teardown(void)
{
    for (int i = 0; i < BOTH; i++) {
        twin_close(&w.twins[i]);
        tables_destroy(w.twins[i].tables);
    }
    buf_unref(w.state);
    static const char *const files[] = {"owner", "data.mdb", "lock.mdb"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", w.dir, files[i]);
        unlink(path);
    }
    cr_assert_eq(rmdir(w.dir), 0);
}

/* --- A log -------------------------------------------------------------------------------------
 */

static void log_bytes(struct pack *pack, bool in_session)
{
    w.bytes[w.count] = pack_take(pack);
    w.inputs[w.count] = (struct session_input){
        .command = {++w.index, 1, w.bytes[w.count]->data, w.bytes[w.count]->bytes},
        .in_session = in_session};
    w.count++;
}

static void log_request(const struct session_request *request)
{
    struct pack pack;
    pack_init(&pack, 0);
    session_request_pack(&pack, request);
    log_bytes(&pack, true);
}

/* Topics of all kinds of retention, ids that come again, and now and then one that is deleted. */
static void draw_topic_command(struct pack *pack)
{
    static uint8_t data[3000];
    uint8_t name = (uint8_t)('t' + below(4));
    uint64_t expect = below(40);
    struct topic_settings settings = {.count_max = name == 'u' ? 7 : 0,
                                      .bytes_max = name == 'v' ? 2000 : 0,
                                      .age_ms = name == 'w' ? 30000 : 0,
                                      .dedup_ms = 20000,
                                      .dedup_count = 20};
    struct topic_publish publish = {.name = {&name, 1},
                                    .count = 1 + (uint32_t)below(5),
                                    .expect = below(10) ? NULL : &expect,
                                    .have_ids = below(2)};
    uint64_t what = below(62);
    if (what > 59) {
        topic_trim_pack(pack, publish.name, below(200));
        return;
    }
    if (what == 0)
        topic_delete_pack(pack, publish.name);
    if (what > 0 && what < 8)
        topic_create_pack(pack, publish.name, &settings);
    if (what < 8)
        return;
    topic_publish_begin(pack, &publish);
    for (uint32_t i = 0; i < publish.count; i++)
        topic_publish_data(pack, (struct slice){data, below(12) ? below(100) : below(3000)});
    topic_publish_ids(pack, &publish);
    for (uint32_t i = 0; publish.have_ids && i < publish.count; i++) {
        uint8_t id[2] = {'i', (uint8_t)below(60)};
        topic_publish_id(pack, (struct slice){id, below(5) ? sizeof id : 0});
    }
}

/* If the first key is there (and a topic has, or has not, some messages), it goes, with its
 * neighbours; else both are put. */
static void draw_transaction(struct pack *pack)
{
    uint8_t topic = (uint8_t)('t' + below(5));
    const struct kv_compare of_topic = {.what = below(2) ? KV_COMPARE_SEQUENCE : KV_COMPARE_TOPIC,
                                        .how = below(2) ? KV_COMPARE_GREATER : KV_COMPARE_LESS,
                                        .key = {&topic, 1},
                                        .number = below(2) * below(100)};
    uint8_t key = (uint8_t)('a' + below(24)), end = (uint8_t)(key + 2);
    struct pack compares, then, otherwise;
    pack_init(&compares, 0);
    pack_init(&then, 0);
    pack_init(&otherwise, 0);
    kv_compare_pack(&compares, &(struct kv_compare){.what = KV_COMPARE_VERSION,
                                                    .how = KV_COMPARE_GREATER,
                                                    .key = {&key, 1}});
    uint32_t compare_count = 1 + (uint32_t)below(2);
    if (compare_count > 1)
        kv_compare_pack(&compares, &of_topic);
    kv_query_pack(&then, &(struct kv_query){.opcode = KV_GET, .key = {&key, 1}});
    kv_command_pack(&then, &(struct kv_command){.opcode = KV_DELETE_RANGE,
                                                .bounds = {{&key, 1}, {&end, 1}, false}});
    kv_command_pack(&otherwise,
                    &(struct kv_command){.opcode = KV_PUT, .key = {&key, 1}, .ttl_ms = 5000});
    kv_command_pack(&otherwise, &(struct kv_command){.opcode = KV_PUT, .key = {&end, 1}});
    const struct kv_command command = {
        .opcode = KV_TXN,
        .txn = {.compares = {compare_count, {compares.buf->data, compares.bytes}},
                .then = {2, {then.buf->data, then.bytes}},
                .otherwise = {2, {otherwise.buf->data, otherwise.bytes}}}};
    kv_command_pack(pack, &command);
    pack_deinit(&compares);
    pack_deinit(&then);
    pack_deinit(&otherwise);
}

static void draw_command(struct pack *pack)
{
    if (below(3) == 0) {
        draw_topic_command(pack);
        return;
    }
    if (below(4) == 0) {
        twins_draw_group(&w.prng, w.twins[MEMORY].tables, pack);
        return;
    }
    static uint8_t value[3000];
    uint8_t key = (uint8_t)('a' + below(26)), end = (uint8_t)(key + below(3));
    struct kv_command command = {.opcode = KV_PUT, .key = {&key, 1}, .value = {value, below(300)}};
    uint64_t what = below(20);
    if (what == 0)
        command.value.bytes = below(sizeof value);
    if (what == 1)
        command = (struct kv_command){.opcode = KV_DELETE, .key = {&key, 1}};
    if (what == 2)
        command =
            (struct kv_command){.opcode = KV_DELETE_RANGE, .bounds = {{&key, 1}, {&end, 1}, false}};
    if (what == 3)
        command.condition = (struct kv_condition){true, below(w.index)};
    if (what == 4)
        command.ttl_ms = 1 + below(60000);
    if (what == 5)
        command.lease = 1 + below(w.index);
    if (what == 6)
        command = (struct kv_command){.opcode = KV_LEASE_GRANT, .ttl_ms = 1 + below(60000)};
    if (what == 7)
        command = (struct kv_command){.opcode = below(2) ? KV_LEASE_RENEW : KV_LEASE_REVOKE,
                                      .lease = 1 + below(w.index)};
    if (what == 8 && below(10) == 0) {
        command = (struct kv_command){.opcode = KV_SETTINGS};
        command.settings.given[KV_SETTING_CHANGES] = true;
        command.settings.values[KV_SETTING_CHANGES] = below(400);
        command.settings.given[KV_SETTING_QUOTA] = true;
        command.settings.values[KV_SETTING_QUOTA] = below(2) * 20000;
    }
    if (what == 9)
        draw_transaction(pack);
    else
        kv_command_pack(pack, &command);
}

/* The next numbers of a session, or some of them again, or far ahead. */
static void draw_session_command(struct client *client)
{
    struct pack pack;
    bool greedy = client == &w.clients[0]; /* keeps many answers: they are swept */
    uint64_t what = greedy ? 10 + below(20) : below(30);
    if (what == 0)
        client->next += below(200);
    if (what == 1 || client->next - client->acknowledged > 240)
        client->acknowledged = client->next - 1;
    if (what < 10 && client->acknowledged + 1 < client->next)
        client->acknowledged += below(client->next - client->acknowledged);
    uint64_t sequence = client->next;
    if (what > 25 && client->next > client->acknowledged + 1)
        sequence = client->acknowledged + 1 + below(client->next - client->acknowledged - 1);
    else
        client->next++;
    pack_init(&pack, 0);
    draw_command(&pack);
    log_request(&(struct session_request){.opcode = SESSION_COMMAND,
                                          .session = client->id,
                                          .sequence = sequence,
                                          .acknowledged = client->acknowledged,
                                          .command = {pack.buf->data, pack.bytes}});
    pack_deinit(&pack);
}

static void draw_input(void)
{
    struct client *client = &w.clients[below(SESSIONS)];
    uint64_t what = below(60);
    if (!client->id || what == 0) {
        log_request(&(struct session_request){.opcode = SESSION_OPEN});
        *client = (struct client){.id = w.index, .next = 1};
    } else if (what == 1) {
        log_request(&(struct session_request){.opcode = SESSION_CLOSE, .session = client->id});
        if (below(2))
            client->id = 0; /* else it goes on, and is told that it expired */
    } else if (what == 2) {
        log_request(&(struct session_request){.opcode = SESSION_CLOCK, .elapsed_ms = below(20000)});
    } else if (what == 3) {
        uint64_t acknowledged = below(2) ? client->next - 1 : client->next + below(1u << 30);
        log_request(&(struct session_request){
            .opcode = SESSION_KEEP_ALIVE, .session = client->id, .acknowledged = acknowledged});
        client->acknowledged =
            acknowledged > client->acknowledged ? acknowledged : client->acknowledged;
        if (client->next <= client->acknowledged)
            client->next = client->acknowledged + 1;
    } else if (what < 10) {
        struct pack pack;
        pack_init(&pack, 0);
        draw_command(&pack);
        log_bytes(&pack, false);
    } else {
        draw_session_command(client);
    }
}

/* Applies what was drawn: the same answers from both, which leave the same sessions. */
static void apply(void)
{
    for (int i = 0; i < BOTH; i++) {
        struct conclave_reply_sink *replies[BATCH_MAX];
        for (size_t k = 0; k < w.count; k++)
            replies[k] = &w.twins[i].sinks[k];
        if (i == MEMORY && below(8) == 0)
            tables_memory_fill(w.twins[i].tables, true, (uint32_t)below(3));
        int code = session_layer_apply(w.twins[i].layer, w.inputs, w.count, w.index, replies);
        while (code == CONCLAVE_NO_SPACE && i == MEMORY) {
            w.waits++;
            code = session_layer_go_on(w.twins[i].layer);
        }
        cr_assert_eq(code, CONCLAVE_OK);
        if (i == MEMORY) /* some batches change nothing */
            tables_memory_fill(w.twins[i].tables, false, 0);
    }
    for (size_t k = 0; k < w.count; k++) {
        struct conclave_reply_sink *a = &w.twins[FILES].sinks[k], *b = &w.twins[MEMORY].sinks[k];
        cr_assert_eq(a->code, b->code);
        same_bufs(a->body, b->body);
        reply_sink_clear(a);
        reply_sink_clear(b);
        buf_unref(w.bytes[k]);
    }
    w.count = 0;
    same_sessions();
    const struct session_table *table = session_layer_table(w.twins[FILES].layer);
    for (size_t i = 0; i < SESSIONS; i++) /* who was told that it expired opens another one */
        if (!session_table_find(table, w.clients[i].id) && below(4) > 0)
            w.clients[i].id = 0;
    cr_assert_eq(kv_revision(w.twins[FILES].kv), kv_revision(w.twins[MEMORY].kv));
}

/* The process is killed; whoever comes next finds every session as it was. */
static void reopen(void)
{
    struct buf *before = buf_ref(w.state);
    for (int i = 0; i < BOTH; i++) {
        twin_close(&w.twins[i]);
        twin_open(&w.twins[i]);
    }
    same_sessions();
    same_bufs(before, w.state);
    buf_unref(before);
}

/* --- Snapshots ---------------------------------------------------------------------------------
 */

static int stream_add(void *arg, const void *data, size_t bytes)
{
    pack_raw(arg, data, bytes);
    return CONCLAVE_OK;
}

static int stream_read(void *arg, void *data, size_t bytes, size_t *ret_bytes)
{
    struct slice *left = arg;
    *ret_bytes = bytes < left->bytes ? bytes : left->bytes;
    memcpy(data, left->data, *ret_bytes);
    left->data += *ret_bytes;
    left->bytes -= *ret_bytes;
    return CONCLAVE_OK;
}

static struct buf *snapshot_of(struct twin *twin)
{
    struct pack pack;
    struct session_snapshot *snapshot = NULL;
    pack_init(&pack, 0);
    cr_assert_eq(session_layer_begin_snapshot(twin->layer, &snapshot), CONCLAVE_OK);
    cr_assert_eq(session_snapshot_write(snapshot, stream_add, &pack), CONCLAVE_OK);
    session_snapshot_end(snapshot);
    return pack_take(&pack);
}

/* Both write the same bytes, and each becomes what the other wrote. */
static void exchange(void)
{
    struct buf *snapshots[BOTH];
    for (int i = 0; i < BOTH; i++)
        snapshots[i] = snapshot_of(&w.twins[i]);
    same_bufs(snapshots[FILES], snapshots[MEMORY]);
    w.index++; /* as if it held one entry more: what is restored must be newer */
    for (int i = 0; i < BOTH; i++) {
        struct slice left = {snapshots[i]->data, snapshots[i]->bytes};
        cr_assert_eq(session_layer_restore(w.twins[!i].layer, w.index, stream_read, &left),
                     CONCLAVE_OK);
        cr_assert_eq(left.bytes, 0);
    }
    same_sessions();
    reopen();
    for (int i = 0; i < BOTH; i++)
        buf_unref(snapshots[i]);
}

/* --- What is stored ----------------------------------------------------------------------------
 */

/* Every stored part belongs to a session that there is, and has numbers that are still wanted. */
static void nothing_is_left_behind(struct twin *twin)
{
    const struct session_table *table = session_layer_table(twin->layer);
    struct tables_tx *tx;
    struct tables_cursor cursor;
    struct slice key = {0};
    cr_assert_eq(tables_read(twin->tables, &tx), CONCLAVE_OK);
    cr_assert_eq(tables_cursor_open(tx, TABLE_SESSIONS, &cursor), CONCLAVE_OK);
    int rc = tables_cursor_move(&cursor, TABLES_FROM, &key, NULL);
    for (; !rc; rc = tables_cursor_move(&cursor, TABLES_NEXT, &key, NULL)) {
        uint64_t name[2] = {0};
        memcpy(name, key.data, key.bytes);
        uint64_t id = be64toh(name[0]), part = be64toh(name[1]);
        const struct session *session = session_table_find(table, id);
        cr_assert(id == 0 || session, "session %lu is no more", (unsigned long)id);
        cr_assert(part == 0 || part * SESSION_PART_NUMBERS > session->acknowledged + 1,
                  "part %lu of acknowledged numbers", (unsigned long)part);
    }
    cr_assert_eq(rc, CONCLAVE_NOT_FOUND);
    tables_cursor_close(&cursor);
}

Test(twins, are_the_same_over_kills_growth_full_disks_and_restores, .timeout = 1200)
{
    uint64_t waits = 0;
    struct group_record seen = {0};
    for (uint64_t seed = 1; seed <= 5; seed++) {
        setup(seed);
        for (int step = 0; step < STEPS; step++) {
            for (uint64_t left = 1 + below(below(3) ? 10 : BATCH_MAX - 1); left > 0; left--)
                draw_input();
            apply();
            if (below(6) == 0)
                reopen();
            if (below(20) == 0)
                exchange();
            for (int i = 0; i < BOTH; i++) {
                nothing_is_left_behind(&w.twins[i]);
                twins_groups_add_up(w.twins[i].tables, &w.seen);
            }
            seen.acked += w.seen.acked;
            seen.dead_letters += w.seen.dead_letters;
            seen.lost += w.seen.lost;
            seen.redelivered += w.seen.redelivered;
        }
        waits += w.waits;
        teardown();
    }
    cr_assert_gt(waits, 50, "a full disk was waited for");
    cr_assert(seen.acked && seen.dead_letters && seen.lost && seen.redelivered,
              "groups came to everything that can happen to a message");
}

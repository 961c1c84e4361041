/* Snapshots of a host program's own state machine: three nodes in one process, and one alone. */
#include "base/clock.h"
#include "codec/client.h"
#include "codec/session.h"
#include "conclave.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

enum {
    NODES = 3,
    READY_MS = 30000,
    PAUSE_MS = 20,
    ENTRIES = 200,
    ROUND = 250,
    ROUNDS_MAX = 400,
    COMMAND_BYTES = 20000,
    SNAPSHOTS_TO_CUT = 7 /* 1,400 long commands: more than the first segment, of 16 MiB, holds */
};

/* --- A machine that adds, in memory ------------------------------------------------------------
 */

struct adder {
    uint64_t sum;
    atomic_uint restored, tried, open, opened;
    atomic_int open_code, begin_code, write_code, restore_code;
};

static int adder_open(void *machine, const struct conclave_machine_env *env, uint64_t *ret_applied,
                      struct conclave_error *error)
{
    struct adder *adder = machine;
    (void)env;
    (void)error;
    atomic_fetch_add(&adder->opened, 1);
    if (atomic_load(&adder->open_code))
        return atomic_load(&adder->open_code);
    adder->sum = 0;
    *ret_applied = 0;
    return CONCLAVE_OK;
}

static int adder_apply(void *machine, const struct conclave_command *commands, size_t count,
                       uint64_t last_index, struct conclave_reply_sink *const *replies)
{
    struct adder *adder = machine;
    (void)last_index;
    for (size_t i = 0; i < count; i++) {
        adder->sum += commands[i].bytes ? *(const uint8_t *)commands[i].data : 0;
        conclave_reply_set(replies[i], CONCLAVE_OK, &adder->sum, sizeof adder->sum);
    }
    return CONCLAVE_OK;
}

static void adder_query(void *machine, const void *data, size_t bytes,
                        struct conclave_reply_sink *reply)
{
    const struct adder *adder = machine;
    (void)data;
    (void)bytes;
    conclave_reply_set(reply, CONCLAVE_OK, &adder->sum, sizeof adder->sum);
}

static uint64_t adder_revision(void *machine)
{
    return ((struct adder *)machine)->sum;
}

static int adder_begin(void *machine, void **ret_snapshot)
{
    struct adder *adder = machine;
    int code = atomic_load(&adder->begin_code);
    if (code)
        return code;
    uint64_t *fixed = malloc(sizeof *fixed);
    *fixed = adder->sum;
    *ret_snapshot = fixed;
    cr_assert_eq(atomic_fetch_add(&adder->open, 1), 0, "one at a time");
    return CONCLAVE_OK;
}

static int adder_write(void *machine, void *snapshot, struct conclave_snapshot_sink *sink)
{
    struct adder *adder = machine;
    int code = atomic_load(&adder->write_code);
    return code ? code : conclave_snapshot_add(sink, snapshot, sizeof(uint64_t));
}

static void adder_end(void *machine, void *snapshot)
{
    struct adder *adder = machine;
    atomic_fetch_sub(&adder->open, 1);
    free(snapshot);
}

static int adder_restore(void *machine, uint64_t index, struct conclave_snapshot_source *source)
{
    struct adder *adder = machine;
    uint64_t state[2];
    size_t got = 0;
    (void)index;
    int code = atomic_load(&adder->restore_code);
    atomic_fetch_add(&adder->tried, 1);
    if (!code)
        code = conclave_snapshot_read(source, state, sizeof state, &got);
    if (!code && got != sizeof state[0])
        code = CONCLAVE_CORRUPT;
    if (code)
        return code;
    adder->sum = state[0];
    atomic_fetch_add(&adder->restored, 1);
    return CONCLAVE_OK;
}

static const struct conclave_machine_ops adder_ops = {.size = sizeof adder_ops,
                                                      .open = adder_open,
                                                      .apply = adder_apply,
                                                      .query = adder_query,
                                                      .revision = adder_revision,
                                                      .snapshot_begin = adder_begin,
                                                      .snapshot_write = adder_write,
                                                      .snapshot_end = adder_end,
                                                      .restore = adder_restore};

/* --- Nodes -------------------------------------------------------------------------------------
 */

struct host {
    struct adder adder;
    struct conclave_node *node;
    unsigned taken, not_taken; /* under the mutex: snapshots, as its log says */
    unsigned fatal;
};

static struct {
    char dir[40];
    char data[NODES][64], peers[NODES][80], clients[NODES][80];
    struct host hosts[NODES];
    size_t count, command_bytes;
    uint64_t session; /* of the client below that repeats itself; 0: none */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct conclave_client *client;
} w;

static void hear(void *arg, enum conclave_log_level level, const char *actor, const char *event,
                 const char *fields)
{
    struct host *host = arg;
    (void)level;
    (void)actor;
    (void)fields;
    pthread_mutex_lock(&w.mutex);
    host->taken += strcmp(event, "taken") == 0;
    host->fatal += strcmp(event, "fatal") == 0;
    host->not_taken += strcmp(event, "not_taken") == 0 || strcmp(event, "no_snapshot") == 0;
    pthread_cond_broadcast(&w.changed);
    pthread_mutex_unlock(&w.mutex);
}

static unsigned count_of(const unsigned *count)
{
    pthread_mutex_lock(&w.mutex);
    unsigned now = *count;
    pthread_mutex_unlock(&w.mutex);
    return now;
}

static const char *const names[NODES] = {"n1", "n2", "n3"};

static void cluster_create(size_t count)
{
    struct conclave_member members[NODES];
    memset(&w, 0, sizeof w);
    cr_assert_eq(pthread_mutex_init(&w.mutex, NULL), 0);
    cr_assert_eq(pthread_cond_init(&w.changed, NULL), 0);
    strcpy(w.dir, "/tmp/conclave-embedded-XXXXXX");
    cr_assert(mkdtemp(w.dir));
    w.count = count;
    w.command_bytes = 1;
    for (size_t i = 0; i < count; i++) {
        snprintf(w.data[i], sizeof w.data[i], "%s/%s", w.dir, names[i]);
        snprintf(w.peers[i], sizeof w.peers[i], "ipc://%s/%s.peer", w.dir, names[i]);
        snprintf(w.clients[i], sizeof w.clients[i], "ipc://%s/%s.client", w.dir, names[i]);
        members[i] = (struct conclave_member){names[i], w.peers[i], w.clients[i]};
    }
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(conclave_bootstrap(w.data[i], names[i], NULL, members, count, NULL), 0);
}

static int node_start(size_t i, struct conclave_error *error)
{
    struct host *host = &w.hosts[i];
    struct conclave_options options;
    conclave_options_init(&options);
    options.data_dir = w.data[i];
    options.machine = &adder_ops;
    options.machine_arg = &host->adder;
    options.snapshot_entries = ENTRIES;
    options.segment_bytes = UINT64_C(64) << 10;
    options.log = hear;
    options.log_arg = host;
    options.log_level = CONCLAVE_LOG_DEBUG;
    cr_assert_eq(conclave_node_create(&options, &host->node, error), CONCLAVE_OK);
    return conclave_node_start(host->node, error);
}

static void node_start_well(size_t i)
{
    struct conclave_error error = {0};
    cr_assert_eq(node_start(i, &error), CONCLAVE_OK, "%s", error.message);
}

static void node_stop(size_t i)
{
    struct conclave_error error = {0};
    cr_assert_eq(conclave_node_stop(w.hosts[i].node, &error), CONCLAVE_OK, "%s", error.message);
    conclave_node_destroy(w.hosts[i].node);
    w.hosts[i].node = NULL;
    cr_assert_eq(atomic_load(&w.hosts[i].adder.open), 0, "every snapshot was ended");
}

static void client_open(void)
{
    struct conclave_client_options options;
    char endpoints[3 * sizeof w.clients[0]] = "";
    for (size_t i = 0; i < w.count; i++) {
        strcat(endpoints, i ? "," : "");
        strcat(endpoints, w.clients[i]);
    }
    conclave_client_options_init(&options);
    options.endpoints = endpoints;
    options.timeout_ms = READY_MS;
    cr_assert_eq(conclave_client_create(&options, &w.client, NULL), 0);
}

static void cluster_destroy(void)
{
    char command[64];
    conclave_client_destroy(w.client);
    for (size_t i = 0; i < w.count; i++)
        if (w.hosts[i].node)
            node_stop(i);
    snprintf(command, sizeof command, "rm -rf '%s'", w.dir);
    cr_assert_eq(system(command), 0);
}

/* Adds one, so many times. */
static void add_ones(unsigned count)
{
    static const uint8_t one[COMMAND_BYTES] = {1};
    struct conclave_op *ops = calloc(count, sizeof *ops), *done;
    for (unsigned i = 0; i < count; i++) {
        ops[i] = (struct conclave_op){
            .kind = CONCLAVE_OP_PROPOSE, .data = one, .bytes = w.command_bytes};
        cr_assert_eq(conclave_client_submit(w.client, &ops[i]), CONCLAVE_OK);
    }
    for (size_t left = count; left > 0;) {
        left -= conclave_client_poll(w.client, READY_MS, &done);
        for (; done; done = done->next)
            cr_assert_eq(done->code, CONCLAVE_OK, "%s", conclave_code_text(done->code));
    }
    for (unsigned i = 0; i < count; i++)
        conclave_op_release(&ops[i]);
    free(ops);
}

static uint64_t read_sum(void)
{
    struct conclave_op op = {.kind = CONCLAVE_OP_READ};
    uint64_t sum;
    cr_assert_eq(conclave_client_call(w.client, &op), CONCLAVE_OK);
    cr_assert_eq(op.reply_bytes, sizeof sum);
    memcpy(&sum, op.reply, sizeof sum);
    conclave_op_release(&op);
    return sum;
}

/* A node that has just started may be refused for as long as the leader has not heard of it; on a
 * busy machine that is not known after any number of questions. */
static void lead_with(size_t node)
{
    const char *name = names[node];
    int code = CONCLAVE_TIMEOUT;
    cr_assert_eq(conclave_node_wait_ready(w.hosts[node].node, READY_MS), CONCLAVE_OK);
    for (int i = 0; i < READY_MS / PAUSE_MS && code; i++) {
        struct conclave_op op = {.kind = CONCLAVE_OP_TRANSFER, .data = name, .bytes = strlen(name)};
        code = conclave_client_call(w.client, &op);
        conclave_op_release(&op);
        if (code)
            usleep(PAUSE_MS * 1000);
    }
    cr_assert_eq(code, CONCLAVE_OK, "%s does not lead: %s", name, conclave_code_text(code));
}

/* --- A client that repeats itself, byte by byte -------------------------------------------------
 */

/* One session request, sent to one node; the answer's code, and the first number of its body. */
static int ask(size_t node, const struct session_request *request, uint64_t *ret_number)
{
    void *context = zmq_ctx_new(), *socket = zmq_socket(context, ZMQ_REQ);
    int wait_ms = READY_MS, linger = 0;
    cr_assert_eq(zmq_setsockopt(socket, ZMQ_RCVTIMEO, &wait_ms, sizeof wait_ms), 0);
    cr_assert_eq(zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger), 0);
    cr_assert_eq(zmq_connect(socket, w.clients[node]), 0);

    struct pack body, frame;
    pack_init(&body, 0);
    pack_init(&frame, 0);
    session_request_pack(&body, request);
    client_request_pack(&frame, 1);
    client_op_pack(&frame, &(struct client_op){.id = 1,
                                               .type = CLIENT_OP_SESSION,
                                               .body = {body.buf->data, body.bytes}});
    cr_assert_eq(zmq_send(socket, frame.buf->data, frame.bytes, 0), (int)frame.bytes);
    static uint8_t answer[4096];
    int bytes = zmq_recv(socket, answer, sizeof answer, 0);
    cr_assert(bytes > 0 && (size_t)bytes <= sizeof answer, "no answer");
    struct client_reader reader;
    struct client_reply reply;
    cr_assert_eq(client_reply_begin(&reader, answer, (size_t)bytes), CONCLAVE_OK);
    cr_assert_eq(client_reply_next(&reader, &reply), 1);
    struct session_opened opened;
    if (request->opcode == SESSION_OPEN && reply.code == CONCLAVE_OK) {
        cr_assert_eq(session_opened_decode(reply.body.data, reply.body.bytes, &opened), 0);
        *ret_number = opened.session;
    } else if (request->opcode == SESSION_COMMAND && reply.code == CONCLAVE_OK) {
        cr_assert_eq(reply.body.bytes, sizeof *ret_number);
        memcpy(ret_number, reply.body.data, sizeof *ret_number);
    }
    pack_deinit(&body);
    pack_deinit(&frame);
    zmq_close(socket);
    zmq_ctx_term(context);
    return reply.code;
}

/* The same of a node that leads, or is made to again where machines are slow: a request of a
 * session may be repeated. Returns the first number of the answer. */
static uint64_t ask_leader(size_t node, const struct session_request *request)
{
    uint64_t number = 0;
    int code = ask(node, request, &number);
    for (int i = 0; i < 20 && (code == CONCLAVE_NOT_LEADER || code == CONCLAVE_NO_LEADER ||
                               code == CONCLAVE_HANDOVER || code == CONCLAVE_UNKNOWN);
         i++) {
        lead_with(node);
        code = ask(node, request, &number);
    }
    cr_assert_eq(code, CONCLAVE_OK, "%s", conclave_code_text(code));
    return number;
}

static void open_session(size_t node)
{
    w.session = ask_leader(node, &(struct session_request){.opcode = SESSION_OPEN});
}

/* Whoever leads. A slow machine may take longer to write than a session lives without a word. */
static void keep_session(void)
{
    const struct session_request keep = {.opcode = SESSION_KEEP_ALIVE, .session = w.session};
    int code = CONCLAVE_NO_LEADER;
    uint64_t none;
    for (size_t i = 0; w.session != 0 && code != CONCLAVE_OK && i < w.count; i++)
        if (w.hosts[i].node)
            code = ask(i, &keep, &none);
    cr_assert(w.session == 0 || code == CONCLAVE_OK || code == CONCLAVE_NOT_LEADER ||
                  code == CONCLAVE_NO_LEADER || code == CONCLAVE_UNKNOWN,
              "%s", conclave_code_text(code));
}

static uint64_t add(size_t node, uint64_t sequence, uint8_t what)
{
    return ask_leader(node, &(struct session_request){.opcode = SESSION_COMMAND,
                                                      .session = w.session,
                                                      .sequence = sequence,
                                                      .command = {&what, 1}});
}

/* --- Tests -------------------------------------------------------------------------------------
 */

TestSuite(embedded, .timeout = 1200);

/* Writes until these nodes have taken `wanted` more snapshots each. Returns how much was added. */
static uint64_t add_until_taken(size_t nodes, unsigned wanted)
{
    unsigned before[NODES];
    for (size_t i = 0; i < nodes; i++)
        before[i] = count_of(&w.hosts[i].taken);
    uint64_t added = 0;
    for (size_t i = 0; i < nodes;) {
        if (count_of(&w.hosts[i].taken) - before[i] >= wanted) {
            i++;
            continue;
        }
        cr_assert_lt(added, ROUNDS_MAX * ROUND, "the log is not cut");
        add_ones(ROUND);
        keep_session();
        added += ROUND;
    }
    return added;
}

Test(embedded, machine_is_given_to_a_node_that_lacks_what_was_cut_with_its_sessions)
{
    cluster_create(3);
    for (size_t i = 0; i < 3; i++)
        node_start_well(i);
    client_open();
    lead_with(0);
    uint64_t sum = 5;
    open_session(0);
    cr_assert_eq(add(0, 1, 5), sum);
    node_stop(2);
    sum += add_until_taken(2, 3);
    node_start_well(2);
    lead_with(2); /* only a node that holds everything can */
    cr_assert_geq(atomic_load(&w.hosts[2].adder.restored), 1, "not from the log: it was cut");
    cr_assert_eq(add(2, 1, 5), 5, "a repeat is answered as before");
    cr_assert_eq(read_sum(), sum, "and not applied again");
    cr_assert_eq(add(2, 2, 7), sum + 7);
    cluster_destroy();
}

Test(embedded, machine_in_memory_begins_with_its_snapshot_and_its_sessions)
{
    cluster_create(1);
    node_start_well(0);
    client_open();
    cr_assert_eq(conclave_node_wait_ready(w.hosts[0].node, READY_MS), CONCLAVE_OK);
    uint64_t sum = 9;
    open_session(0);
    cr_assert_eq(add(0, 1, 9), sum);
    w.command_bytes = COMMAND_BYTES;
    sum += add_until_taken(1, SNAPSHOTS_TO_CUT);
    node_stop(0);
    node_start_well(0);
    cr_assert_eq(conclave_node_wait_ready(w.hosts[0].node, READY_MS), CONCLAVE_OK);
    cr_assert_eq(atomic_load(&w.hosts[0].adder.restored), 1);
    cr_assert_eq(read_sum(), sum);
    cr_assert_eq(add(0, 1, 9), 9);
    cr_assert_eq(add(0, 2, 1), sum + 1);
    cluster_destroy();
}

Test(embedded, machine_that_cannot_take_a_snapshot_now_is_asked_again)
{
    static const int codes[] = {CONCLAVE_BUSY, CONCLAVE_NO_SPACE, CONCLAVE_INTERNAL};
    cluster_create(1);
    node_start_well(0);
    client_open();
    struct host *host = &w.hosts[0];
    uint64_t sum = 0;
    for (size_t i = 0; i < 6; i++) {
        atomic_store(i % 2 ? &host->adder.begin_code : &host->adder.write_code, codes[i / 2]);
        unsigned failed = count_of(&host->not_taken), taken = count_of(&host->taken);
        for (int round = 0; count_of(&host->not_taken) < failed + 2; round++) {
            cr_assert_lt(round, ROUNDS_MAX, "it is not asked again");
            add_ones(ROUND);
            sum += ROUND;
        }
        cr_assert_leq(count_of(&host->taken), taken + 1, "one was under way");
        atomic_store(i % 2 ? &host->adder.begin_code : &host->adder.write_code, 0);
        sum += add_until_taken(1, 1);
    }
    cr_assert_eq(read_sum(), sum, "nothing of it shows");
    cluster_destroy();
}

/* What it holds is not what was applied: nobody gets that, and nobody is answered with it. */
Test(embedded, machine_that_finds_itself_altered_stops_its_node_before_others_get_it)
{
    cluster_create(1);
    node_start_well(0);
    client_open();
    struct host *host = &w.hosts[0];
    atomic_store(&host->adder.write_code, CONCLAVE_CORRUPT);
    static const uint8_t one = 1;
    static struct conclave_op ops[2 * ENTRIES];
    for (size_t i = 0; i < 2 * ENTRIES; i++) {
        ops[i] = (struct conclave_op){.kind = CONCLAVE_OP_PROPOSE, .data = &one, .bytes = 1};
        cr_assert_eq(conclave_client_submit(w.client, &ops[i]), CONCLAVE_OK);
    }
    while (count_of(&host->fatal) == 0) { /* some are answered before that */
        struct conclave_op *done;
        (void)conclave_client_poll(w.client, PAUSE_MS, &done);
    }
    cr_assert_eq(count_of(&host->taken), 0);
    conclave_client_destroy(w.client);
    w.client = NULL;
    for (size_t i = 0; i < 2 * ENTRIES; i++)
        conclave_op_release(&ops[i]);
    struct conclave_error error = {0};
    cr_assert_eq(conclave_node_stop(host->node, &error), CONCLAVE_CORRUPT);
    cr_assert(strstr(error.message, "altered"), "%s", error.message);
    conclave_node_destroy(host->node);
    host->node = NULL;
    cr_assert_eq(atomic_load(&host->adder.open), 0, "every snapshot was ended");
    cluster_destroy();
}

Test(embedded, machine_that_cannot_become_its_snapshot_fails_the_start_with_its_code)
{
    cluster_create(1);
    node_start_well(0);
    client_open();
    w.command_bytes = COMMAND_BYTES;
    uint64_t sum = add_until_taken(1, SNAPSHOTS_TO_CUT);
    node_stop(0);
    struct conclave_error error = {0};
    atomic_store(&w.hosts[0].adder.restore_code, CONCLAVE_INTERNAL);
    cr_assert_eq(node_start(0, &error), CONCLAVE_INTERNAL);
    cr_assert(strstr(error.message, "snapshot"), "%s", error.message);
    conclave_node_destroy(w.hosts[0].node);
    atomic_store(&w.hosts[0].adder.restore_code, 0);
    node_start_well(0);
    cr_assert_eq(read_sum(), sum);
    cluster_destroy();
}

/* As with a snapshot that comes from another node: it is tried again until there is room, also in
 * the next start; what the log holds behind it is applied then, and not before. */
Test(embedded, machine_without_room_for_its_snapshot_at_the_start_waits_for_it)
{
    cluster_create(1);
    node_start_well(0);
    client_open();
    w.command_bytes = COMMAND_BYTES;
    uint64_t sum = add_until_taken(1, SNAPSHOTS_TO_CUT);
    add_ones(3);
    sum += 3;
    for (int start = 0; start < 2; start++) {
        node_stop(0);
        atomic_store(&w.hosts[0].adder.restore_code, CONCLAVE_NO_SPACE);
        unsigned tried = atomic_load(&w.hosts[0].adder.tried);
        node_start_well(0);
        while (atomic_load(&w.hosts[0].adder.tried) < tried + 2) /* the start, and once more */
            clock_pause_us(1000);
        cr_assert_eq(atomic_load(&w.hosts[0].adder.restored), 0);
        if (start == 0)
            continue; /* it ends while it waits */
        atomic_store(&w.hosts[0].adder.restore_code, 0);
        cr_assert_eq(conclave_node_wait_ready(w.hosts[0].node, READY_MS), CONCLAVE_OK);
    }
    cr_assert_eq(read_sum(), sum);
    add_ones(1);
    cr_assert_eq(read_sum(), sum + 1);
    cluster_destroy();
}

/* The same when there is not even room to open its store. */
Test(embedded, machine_without_room_for_its_store_at_the_start_waits_for_it)
{
    cluster_create(1);
    node_start_well(0);
    client_open();
    add_ones(5);
    uint64_t sum = 5;
    struct adder *adder = &w.hosts[0].adder;
    for (int start = 0; start < 4; start++) {
        node_stop(0);
        if (start == 2) { /* now with a snapshot, and a log that begins behind it */
            node_start_well(0);
            w.command_bytes = COMMAND_BYTES;
            sum += add_until_taken(1, SNAPSHOTS_TO_CUT);
            node_stop(0);
        }
        atomic_store(&adder->open_code, CONCLAVE_NO_SPACE);
        unsigned opened = atomic_load(&adder->opened), restored = atomic_load(&adder->restored);
        node_start_well(0);
        while (atomic_load(&adder->opened) < opened + 2) /* the start, and once more */
            clock_pause_us(1000);
        cr_assert_eq(atomic_load(&adder->restored), restored);
        if (start % 2 == 0)
            continue; /* it ends while it waits */
        cr_assert_eq(conclave_node_wait_ready(w.hosts[0].node, 0), CONCLAVE_TIMEOUT);
        atomic_store(&adder->open_code, 0);
        cr_assert_eq(conclave_node_wait_ready(w.hosts[0].node, READY_MS), CONCLAVE_OK);
        cr_assert_eq(atomic_load(&adder->restored), restored + (start == 3 ? 1 : 0));
        cr_assert_eq(read_sum(), sum);
        add_ones(1);
        cr_assert_eq(read_sum(), ++sum);
    }
    cluster_destroy();
}

Test(embedded, machine_with_some_of_the_functions_for_snapshots_is_refused)
{
    struct conclave_options options;
    struct conclave_node *node = NULL;
    conclave_options_init(&options);
    options.data_dir = "/tmp/conclave-embedded-none";
    for (int missing = 0; missing < 4; missing++) {
        struct conclave_machine_ops ops = adder_ops;
        struct conclave_error error = {0};
        ops.snapshot_begin = missing == 0 ? NULL : ops.snapshot_begin;
        ops.snapshot_write = missing == 1 ? NULL : ops.snapshot_write;
        ops.snapshot_end = missing == 2 ? NULL : ops.snapshot_end;
        ops.restore = missing == 3 ? NULL : ops.restore;
        options.machine = &ops;
        cr_assert_eq(conclave_node_create(&options, &node, &error), CONCLAVE_INVALID);
        cr_assert(strstr(error.message, "snapshots"), "%s", error.message);
    }
}

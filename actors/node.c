/* The life of a node: what conclave.h promises about create, start, wait, stop and destroy. */
#include "actors/node.h"

#include "base/clock.h"
#include "base/fatal.h"
#include "machine/kv.h"
#include "transport/context.h"
#include "transport/endpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct actor_ops *const ACTORS[ACTOR_COUNT] = {
    [ACTOR_TIMER] = &timer_actor_ops,        [ACTOR_NETWORK] = &network_actor_ops,
    [ACTOR_RAFT] = &raft_actor_ops,          [ACTOR_LOG_WRITER] = &log_writer_ops,
    [ACTOR_SEGMENTS] = &segment_helper_ops,  [ACTOR_MACHINE] = &machine_actor_ops,
    [ACTOR_SNAPSHOT] = &snapshot_helper_ops, [ACTOR_FEED] = &feed_actor_ops,
    [ACTOR_LOG_READER] = &log_reader_ops,    [ACTOR_STORE_WRITER] = &store_writer_ops,
};

/* --- Create ----------------------------------------------------------------------------------- */

static int check_options(const struct conclave_options *options, struct conclave_error *error)
{
    if (options->size != sizeof *options)
        return error_set(error, CONCLAVE_INVALID,
                         "options were not made by conclave_options_init of this version");
    if (!options->data_dir || !*options->data_dir || strlen(options->data_dir) > 4000)
        return error_set(error, CONCLAVE_INVALID, "a node needs a data directory");
    if (options->heartbeat_ms < 1 || options->election_timeout_ms < 10 ||
        options->election_timeout_ms > 60000)
        return error_set(error, CONCLAVE_INVALID,
                         "the election timeout must be 10 ms to 60 s, the heartbeat at least 1 ms");
    if (options->heartbeat_ms > options->election_timeout_ms / 3)
        return error_set(
            error, CONCLAVE_INVALID,
            "a heartbeat of %u ms is too slow for an election timeout of %u ms: at most "
            "a third of it",
            options->heartbeat_ms, options->election_timeout_ms);
    if (options->priority > RAFT_PRIORITY_MAX)
        return error_set(error, CONCLAVE_INVALID, "the priority must be 0 to 100");
    if (options->segment_bytes < UINT64_C(64) * 1024 || options->segment_bytes > UINT64_C(1) << 30)
        return error_set(error, CONCLAVE_INVALID, "segments must be 64 KiB to 1 GiB");
    if (options->snapshot_bytes == 0 || options->snapshot_entries == 0)
        return error_set(error, CONCLAVE_INVALID,
                         "snapshot-bytes and snapshot-entries must be above 0");
    if (options->inflight_bytes_max < UINT64_C(2) * CONCLAVE_COMMAND_BYTES_MAX)
        return error_set(error, CONCLAVE_INVALID, "inflight-max must be at least 2 MiB");
    const char *const endpoints[] = {options->listen, options->listen_client, options->feed};
    for (size_t i = 0; i < sizeof endpoints / sizeof *endpoints; i++) {
        int code = endpoints[i] ? endpoint_check(endpoints[i], error) : CONCLAVE_OK;
        if (code)
            return code;
    }
    const struct conclave_machine_ops *machine = options->machine;
    if (machine && options->feed)
        return error_set(error, CONCLAVE_INVALID,
                         "a feed tells of the topics of the built-in state machine: a node with "
                         "another one has none");
    if (machine &&
        (machine->size != sizeof *machine || !machine->open || !machine->apply || !machine->query))
        return error_set(error, CONCLAVE_INVALID,
                         "the state machine lacks open, apply or query, or is of another version");
    int snapshots = machine ? !!machine->snapshot_begin + !!machine->snapshot_write +
                                  !!machine->snapshot_end + !!machine->restore
                            : 0;
    if (snapshots % 4 != 0)
        return error_set(error, CONCLAVE_INVALID,
                         "the state machine has some of the functions for snapshots and lacks "
                         "others: it must have all four or none");
    return CONCLAVE_OK;
}

static char *copy_text(const char *text)
{
    if (!text)
        return NULL;
    size_t bytes = strlen(text) + 1;
    char *copy = mem_alloc(bytes);
    memcpy(copy, text, bytes);
    return copy;
}

/* New ones for each start: ZeroMQ gives an inproc address free some time after its socket closed.
 */
static void name_addresses(struct node *node)
{
    snprintf(node->address, sizeof node->address, "inproc://conclave-%ld-%p-%u", (long)getpid(),
             (void *)node, node->starts++);
    snprintf(node->endpoint, sizeof node->endpoint, "%s-c", node->address);
}

int conclave_node_create(const struct conclave_options *options, struct conclave_node **ret_node,
                         struct conclave_error *error)
{
    int code = check_options(options, error);
    if (code)
        return code;
    struct conclave_node *handle = mem_zalloc(sizeof *handle);
    struct node *node = &handle->node;
    node->options = *options;
    node->io = io_posix();
    node->options.data_dir = copy_text(options->data_dir);
    node->options.listen = copy_text(options->listen);
    node->options.listen_client = copy_text(options->listen_client);
    node->options.feed = copy_text(options->feed);
    node->logger = (struct logger){
        .write = options->log, .arg = options->log_arg, .level = options->log_level};
    if (!options->machine) {
        node->kv = kv_create();
        node->options.machine = kv_machine_ops();
        node->options.machine_arg = node->kv;
    }
    node->context = options->zmq_context;
    if (!node->context) {
        node->context = context_create();
        node->context_is_own = true;
    }
    name_addresses(node);
    snprintf(node->machine_dir, sizeof node->machine_dir, "%s/machine", node->options.data_dir);
    *ret_node = handle;
    return CONCLAVE_OK;
}

/* --- Start ------------------------------------------------------------------------------------ */

static void open_wires(struct node *node)
{
    char address[96];
    snprintf(address, sizeof address, "%s-%d", node->address, ACTOR_COUNT);
    inbox_open(&node->inbox, node->context, address);
    for (int id = 0; id < ACTOR_COUNT; id++) {
        struct actor *actor = &node->actors[id];
        *actor = (struct actor){.ops = ACTORS[id], .node = node};
        actor_open_inbox(actor, (enum actor_id)id);
    }
    for (int id = 0; id < ACTOR_COUNT; id++) {
        actor_open_outboxes(&node->actors[id]);
        snprintf(address, sizeof address, "%s-%d", node->address, id);
        outbox_open(&node->to[id], node->context, address);
    }
    node->wired = true;
}

static void close_wires(struct node *node)
{
    if (!node->wired)
        return;
    for (int id = 0; id < ACTOR_COUNT; id++) {
        actor_close(&node->actors[id]);
        outbox_close(&node->to[id]);
    }
    inbox_close(&node->inbox);
    node->wired = false;
}

static void send_to(struct node *node, enum actor_id id, enum envelope_type type)
{
    struct envelope *envelope = envelope_create(type);
    mailbox_send(&node->to[id], &envelope);
}

/* Waits until one more actor is ready; an error of any of them ends the start. */
static int await_ready(struct node *node, struct conclave_error *error)
{
    for (;;) {
        inbox_wait(&node->inbox, -1);
        for (struct envelope *envelope; (envelope = inbox_receive(&node->inbox));) {
            bool ready = envelope->type == ENVELOPE_READY;
            int code = CONCLAVE_OK;
            if (ready && envelope->ready.error) {
                code = envelope->ready.error->code;
                if (error)
                    *error = *envelope->ready.error;
            }
            envelope_destroy(envelope);
            if (ready)
                return code;
        }
    }
}

static int start_actor(struct node *node, enum actor_id id, struct conclave_error *error)
{
    int code = actor_start(&node->actors[id], error);
    return code ? code : await_ready(node, error);
}

/* What the recovered configuration says about this node, unless the options say otherwise. */
static int choose_endpoints(struct node *node, struct conclave_error *error)
{
    const struct raft_member *self = &node->recovered.self;
    if (!self->id)
        return error_set(error, CONCLAVE_IDENTITY, "node %s is not a member of its own cluster",
                         node->identity.name);
    snprintf(node->peer, sizeof node->peer, "%s", self->peer);
    const char *listen = node->options.listen ? node->options.listen : self->peer;
    const char *client = node->options.listen_client ? node->options.listen_client : self->client;
    snprintf(node->listen, sizeof node->listen, "%s", listen);
    snprintf(node->listen_client, sizeof node->listen_client, "%s", client);
    snprintf(node->feed, sizeof node->feed, "%s", node->options.feed ? node->options.feed : "");
    const char *const endpoints[] = {listen, client, node->feed};
    for (size_t i = 0; i < sizeof endpoints / sizeof *endpoints; i++)
        if (!node->options.expose_plaintext && !endpoint_is_local(endpoints[i]))
            return error_set(
                error, CONCLAVE_INVALID,
                "%s can be reached from other machines and nothing on it is encrypted: "
                "listen on 127.0.0.1, or say --expose-plaintext in a trusted network",
                endpoints[i]);
    return CONCLAVE_OK;
}

static int start_actors(struct node *node, struct conclave_error *error)
{
    int code = start_actor(node, ACTOR_LOG_WRITER, error);
    if (!code)
        code = choose_endpoints(node, error);
    static const enum actor_id rest[] = {ACTOR_SEGMENTS, ACTOR_STORE_WRITER, ACTOR_LOG_READER,
                                         ACTOR_MACHINE,  ACTOR_SNAPSHOT,     ACTOR_NETWORK,
                                         ACTOR_RAFT,     ACTOR_TIMER};
    for (size_t i = 0; !code && i < sizeof rest / sizeof *rest; i++)
        code = start_actor(node, rest[i], error);
    if (!code && node->feed[0])
        code = start_actor(node, ACTOR_FEED, error);
    return code;
}

struct envelope *node_start_envelope(struct node *node)
{
    struct envelope *start = envelope_create(ENVELOPE_START);
    start->start.hard_state = node->recovered.hard_state;
    start->start.life = node->recovered.life;
    start->start.base = node->recovered.base;
    raft_runs_move(&start->start.entries, &node->recovered.entries);
    struct snapshot_meta *snapshot = &node->recovered.snapshot;
    start->start.snapshot =
        (struct raft_snapshot){.last = snapshot->last,
                               .configuration_index = snapshot->configuration_index,
                               .configuration = snapshot->configuration};
    *snapshot = (struct snapshot_meta){0}; /* moved */
    start->start.applied_index = node->recovered.applied_index;
    return start;
}

/* All threads have started. With a damaged log raft begins later: log_writer.c, machine_open.c. */
static void begin(struct node *node)
{
    if (node->repairing) {
        send_to(node, ACTOR_LOG_WRITER, ENVELOPE_REPAIR);
        return;
    }
    struct envelope *start = node_start_envelope(node);
    mailbox_send(&node->to[ACTOR_RAFT], &start);
}

/* Joins what runs, in the order in which it may end, and gives everything back. */
static void finish(struct node *node)
{
    static const enum actor_id order[] = {ACTOR_RAFT, ACTOR_TIMER, ACTOR_LOG_WRITER, ACTOR_MACHINE};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        actor_join(&node->actors[order[i]]);
    send_to(node, ACTOR_FEED, ENVELOPE_STOP); /* behind what the machine applied last */
    actor_join(&node->actors[ACTOR_FEED]);
    send_to(node, ACTOR_SNAPSHOT, ENVELOPE_STOP); /* behind the machine: it ends its snapshots */
    actor_join(&node->actors[ACTOR_SNAPSHOT]);
    send_to(node, ACTOR_LOG_READER, ENVELOPE_STOP);
    actor_join(&node->actors[ACTOR_LOG_READER]);
    send_to(node, ACTOR_STORE_WRITER, ENVELOPE_STOP);
    actor_join(&node->actors[ACTOR_STORE_WRITER]);
    send_to(node, ACTOR_SEGMENTS, ENVELOPE_STOP);
    actor_join(&node->actors[ACTOR_SEGMENTS]);
    send_to(node, ACTOR_NETWORK, ENVELOPE_STOP); /* last: it delivers the others' replies */
    actor_join(&node->actors[ACTOR_NETWORK]);
    peers_destroy(node->peers); /* the log-writer has sent its last, too */
    node->peers = NULL;
    close_wires(node);
    wal_close(node->wal);
    node->wal = NULL;
    raft_runs_clear(&node->recovered.entries);
    free(node->recovered.boot);
    node->recovered.boot = NULL;
    snapshot_meta_clear(&node->recovered.snapshot);
    dir_unlock(node->io, node->lock);
    node->lock = NULL;
    node->running = false;
}

int conclave_node_start(struct conclave_node *handle, struct conclave_error *error)
{
    struct node *node = &handle->node;
    if (node->running)
        return error_set(error, CONCLAVE_INVALID, "the node has been started already");
    const struct io *io = node->io;
    int code = identity_read(io, node->options.data_dir, &node->identity, error);
    if (code)
        return code;
    code = dir_lock(io, node->options.data_dir, &node->lock, error);
    if (code)
        return code;
    code = io->make_dir(io->ctx, node->machine_dir, error);
    if (code && code != CONCLAVE_EXISTS) {
        dir_unlock(io, node->lock);
        node->lock = NULL;
        return code;
    }
    node->peer_identity = (struct peer_identity){.cluster_id = node->identity.cluster_id,
                                                 .node_id = node->identity.node_id,
                                                 .incarnation = node->identity.incarnation};
    node->started_us = clock_now_us();
    name_addresses(node);
    node->serving = false;
    atomic_store(&node->fatal, false);
    node->durable = (struct durable){0};
    open_wires(node);
    code = start_actors(node, error);
    if (code) {
        for (int id = 0; id < ACTOR_COUNT; id++)
            send_to(node, (enum actor_id)id, ENVELOPE_QUIT);
        finish(node);
        return code;
    }
    node->running = true;
    begin(node);
    log_event(&node->logger, CONCLAVE_LOG_INFO, "node", "started",
              "name=%s cluster=%016llx peers=%s clients=%s feed=%s", node->identity.name,
              (unsigned long long)node->identity.cluster_id, node->listen,
              node->listen_client[0] ? node->listen_client : "none",
              node->feed[0] ? node->feed : "none");
    return CONCLAVE_OK;
}

int conclave_node_wait_ready(struct conclave_node *handle, uint32_t timeout_ms)
{
    struct node *node = &handle->node;
    if (!node->running)
        return CONCLAVE_STOPPING;
    uint64_t deadline_us = clock_now_us() + (uint64_t)timeout_ms * 1000;
    for (;;) {
        for (struct envelope *envelope; (envelope = inbox_receive(&node->inbox));) {
            if (envelope->type == ENVELOPE_SERVING)
                node->serving = true;
            envelope_destroy(envelope);
        }
        if (atomic_load(&node->fatal))
            return CONCLAVE_STOPPING; /* a thread died: its READY woke this one */
        if (node->serving)
            return CONCLAVE_OK;
        uint64_t now_us = clock_now_us();
        if (now_us >= deadline_us)
            return CONCLAVE_TIMEOUT;
        inbox_wait(&node->inbox, (long)((deadline_us - now_us + 999) / 1000));
    }
}

/* --- Stop ------------------------------------------------------------------------------------- */

void node_fatal(struct node *node, struct actor *actor, const struct conclave_error *error)
{
    bool expected = false;
    if (!atomic_compare_exchange_strong(&node->fatal, &expected, true))
        return; /* another thread died first */
    node->failure = *error;
    for (int id = 0; id < ACTOR_COUNT; id++) {
        struct envelope *quit = envelope_create(ENVELOPE_QUIT);
        actor_send(actor, (enum actor_id)id, &quit);
    }
    log_event(&node->logger, CONCLAVE_LOG_ERROR, actor->ops->name, "fatal", "code=%s reason=\"%s\"",
              conclave_code_name(error->code), error->message);
    struct envelope *died = envelope_create(ENVELOPE_READY);
    died->ready.actor = actor->ops->name;
    died->ready.error = mem_alloc(sizeof *error);
    *died->ready.error = *error;
    mailbox_send(&actor->to_node, &died);
    if (node->options.on_fatal)
        node->options.on_fatal(node->options.on_fatal_arg, error->code, error->message);
}

int conclave_node_stop(struct conclave_node *handle, struct conclave_error *error)
{
    struct node *node = &handle->node;
    if (node->running) {
        send_to(node, ACTOR_RAFT, ENVELOPE_HANDOVER); /* the rest follows: envelope.h */
        finish(node);
        log_event(&node->logger, CONCLAVE_LOG_INFO, "node", "stopped", "name=%s",
                  node->identity.name);
    }
    if (!atomic_load(&node->fatal))
        return CONCLAVE_OK;
    if (error)
        *error = node->failure;
    return node->failure.code;
}

void conclave_node_destroy(struct conclave_node *handle)
{
    if (!handle)
        return;
    struct node *node = &handle->node;
    (void)conclave_node_stop(handle, NULL);
    if (node->context_is_own)
        context_destroy(node->context);
    kv_destroy(node->kv);
    free((void *)(uintptr_t)node->options.data_dir);
    free((void *)(uintptr_t)node->options.listen);
    free((void *)(uintptr_t)node->options.listen_client);
    free((void *)(uintptr_t)node->options.feed);
    free(handle);
}

const char *conclave_node_endpoint(const struct conclave_node *node)
{
    return node->node.endpoint;
}

void *conclave_node_context(const struct conclave_node *node)
{
    return node->node.context;
}

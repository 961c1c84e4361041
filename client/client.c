#include "client/client.h"

#include "base/clock.h"
#include "base/fatal.h"
#include "client/socket.h"
#include "client/stream.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <zmq.h>

enum { TIMEOUT_DEFAULT_MS = 5000, WAIT_MAX_MS = 1000 };

void conclave_client_options_init(struct conclave_client_options *options)
{
    *options = (struct conclave_client_options){
        .size = sizeof *options,
        .timeout_ms = TIMEOUT_DEFAULT_MS,
        .sessions = true,
    };
}

/* --- Life ------------------------------------------------------------------------------------ */

struct connecting {
    struct conclave_client *client;
    struct conclave_error *error;
};

static int connect_one(void *arg, const char *endpoint)
{
    struct connecting *connecting = arg;
    uint32_t connection;
    return connection_obtain(connecting->client, endpoint, &connection, connecting->error);
}

static int context_open(struct conclave_client *client, void *given, struct conclave_error *error)
{
    client->context = given;
    if (given)
        return CONCLAVE_OK;
    client->context = client_context_open();
    if (!client->context)
        return error_set(error, CONCLAVE_NO_MEMORY, "cannot make a ZeroMQ context");
    client->owns_context = true;
    return CONCLAVE_OK;
}

int conclave_client_create(const struct conclave_client_options *options,
                           struct conclave_client **ret_client, struct conclave_error *error)
{
    if (!options || !ret_client || options->size != sizeof *options || !options->endpoints)
        return error_set(error, CONCLAVE_INVALID,
                         "client options: use conclave_client_options_init, set endpoints");
    struct conclave_client *client = mem_zalloc(sizeof *client);
    client->timeout_ms = options->timeout_ms ? options->timeout_ms : TIMEOUT_DEFAULT_MS;
    client->target = CLIENT_CONNECTION_NONE;
    client->queue_head = client->queue_tail = TABLE_NONE;
    client->held_head = client->held_tail = TABLE_NONE;
    client->session.enabled = options->sessions;
    client->done_tail = &client->done_head;
    client->replies = reply_pool_create();
    table_init(&client->table, clock_now_ns());
    prng_init(&client->prng, prng_entropy());
    client->epoll = epoll_create1(EPOLL_CLOEXEC);
    int code = CONCLAVE_OK;
    if (client->epoll < 0)
        code = error_set_errno(error, CONCLAVE_NO_MEMORY, errno, "cannot make an epoll descriptor");
    if (code == CONCLAVE_OK)
        code = context_open(client, options->zmq_context, error);
    if (code == CONCLAVE_OK)
        code = client_endpoints_each(options->endpoints, connect_one,
                                     &(struct connecting){client, error}, error);
    if (code != CONCLAVE_OK) {
        conclave_client_destroy(client);
        return code;
    }
    *ret_client = client;
    return CONCLAVE_OK;
}

void conclave_client_destroy(struct conclave_client *client)
{
    if (!client)
        return;
    session_close(client);
    operations_drop(client);
    for (struct conclave_op *op = client->done_head; op; op = op->next)
        op->state = CLIENT_OP_IDLE;
    stream_link_destroy(client->streams);
    connections_close(client);
    if (client->owns_context)
        client_context_close(client->context);
    if (client->epoll >= 0)
        close(client->epoll);
    reply_pool_close(client->replies);
    table_deinit(&client->table);
    free(client);
}

int conclave_client_fd(const struct conclave_client *client)
{
    return client->epoll;
}

const char *conclave_client_describe(struct conclave_client *client)
{
    size_t at = 0;
    client->text[0] = '\0';
    for (uint32_t i = 0; i < client->connection_count; i++) {
        const struct client_connection *connection = &client->connections[i];
        const char *state = connection->heard_ns == 0          ? "no answer"
                            : connection->silent_since_ns != 0 ? "no answer now"
                            : connection->term > 0             ? "leader"
                                                               : "answered";
        int wrote = snprintf(client->text + at, sizeof client->text - at, "%s%s (%s)",
                             i ? ", " : "", connection->endpoint, state);
        if (wrote < 0 || (size_t)wrote >= sizeof client->text - at)
            break;
        at += (size_t)wrote;
    }
    return client->text;
}

/* --- One turn of the loop -------------------------------------------------------------------- */

static void control_answered(struct conclave_client *client, uint32_t connection,
                             const struct client_reply *reply, uint64_t now_ns)
{
    uint32_t control = table_id_index(reply->id) - TABLE_CONTROL_FIRST;
    if (control / 2 != connection)
        return;
    if (control % 2 == CLIENT_CONTROL_STATUS) {
        status_answered(client, connection, reply);
        return;
    }
    struct client_redirect redirect;
    if (client_redirect_decode(reply->body, &redirect) == CONCLAVE_OK)
        leader_learn(client, connection, &redirect, now_ns);
}

static void frame_received(struct conclave_client *client, uint32_t connection,
                           struct reply_frame *frame, uint64_t now_ns)
{
    struct client_reader reader;
    if (client_reply_begin(&reader, zmq_msg_data(&frame->msg), zmq_msg_size(&frame->msg)) !=
        CONCLAVE_OK)
        return; /* not an answer: as if nothing had come */
    connection_heard(client, connection, now_ns);
    struct client_reply reply;
    while (client_reply_next(&reader, &reply) == 1) {
        if (table_id_index(reply.id) < TABLE_CONTROL_FIRST)
            operation_answered(client, connection, &reply, frame, now_ns);
        else
            control_answered(client, connection, &reply, now_ns);
    }
    if (client->connections[connection].outstanding == 0)
        client->connections[connection].silent_since_ns = 0;
}

/* Takes in what has come; no more of one connection than lets the timers run in time. */
static bool frames_receive(struct conclave_client *client)
{
    enum { FRAMES_PER_STEP = 1000 };
    bool received = false;
    for (uint32_t i = 0; i < client->connection_count; i++) {
        for (int n = 0; n < FRAMES_PER_STEP; n++) {
            struct reply_frame *frame = connection_receive(client, i);
            if (!frame)
                break;
            received = true;
            frame_received(client, i, frame, clock_now_ns());
            reply_frame_unref(frame);
        }
    }
    return received;
}

bool client_step(struct conclave_client *client)
{
    operations_send(client, clock_now_ns());
    connections_look(client);
    /* What has come in goes before what the clock says: after a stall of this thread the answers
     * are there, and only the timers look late. */
    bool received = frames_receive(client);
    uint64_t now_ns = clock_now_ns();
    if (client->streams && stream_link_step(client->streams, now_ns))
        received = true;
    operations_expire(client, now_ns);
    leader_watch(client, now_ns);
    if (client->leader_new) {
        client->leader_new = false;
        operations_wake(client);
    }
    operations_send(client, now_ns);
    /* Sending takes in news without a word, and the file descriptors say nothing of it then. */
    return frames_receive(client) || received;
}

uint64_t client_due_ns(const struct conclave_client *client)
{
    uint64_t due_ns = table_next_due_ns(&client->table), leader_ns = leader_next_ns(client);
    uint64_t streams_ns = client->streams ? stream_link_due_ns(client->streams) : UINT64_MAX;
    if (leader_ns < due_ns)
        due_ns = leader_ns;
    return streams_ns < due_ns ? streams_ns : due_ns;
}

/* What is queued now could not be sent: wake when it can. */
static bool connection_wants(const struct conclave_client *client, uint32_t connection)
{
    return (client->queue_head != TABLE_NONE && leader_may_be_target(client, connection)) ||
           status_wants_to_send(client, connection);
}

static bool wants_to_send(const struct conclave_client *client)
{
    for (uint32_t i = 0; i < client->connection_count; i++)
        if (client->connections[i].source.socket && connection_wants(client, i))
            return true;
    return false;
}

/* Waits for whatever the client waits for. libzmq asks each socket several times meanwhile. */
static void wait_for_any(struct conclave_client *client, long wait_ms)
{
    zmq_pollitem_t items[CLIENT_CONNECTIONS_MAX + STREAM_LINK_ITEMS];
    int count = 0;
    for (uint32_t i = 0; i < client->connection_count; i++) {
        struct source *source = &client->connections[i].source;
        if (!source->socket)
            continue;
        items[count++] = (zmq_pollitem_t){
            .socket = source->socket,
            .events = (short)(ZMQ_POLLIN | (connection_wants(client, i) ? ZMQ_POLLOUT : 0)),
        };
        source_touch(source);
    }
    if (client->streams)
        count += stream_link_items(client->streams, items + count);
    zmq_poll(items, count, wait_ms);
}

void client_wait(struct conclave_client *client, uint64_t until_ns)
{
    uint64_t now_ns = clock_now_ns(), due_ns = client_due_ns(client);
    if (due_ns < until_ns)
        until_ns = due_ns;
    uint64_t wait_ns = until_ns > now_ns ? until_ns - now_ns : 0;
    uint64_t wait_ms = (wait_ns + CLIENT_MS_NS - 1) / CLIENT_MS_NS;
    if (wait_ms > WAIT_MAX_MS)
        wait_ms = WAIT_MAX_MS;

    struct source *sources[CLIENT_CONNECTIONS_MAX];
    if (client->streams || wants_to_send(client))
        wait_for_any(client, (long)wait_ms);
    else
        sources_wait(sources, connections_sources(client, sources), (long)wait_ms);
}

/* --- Streams --------------------------------------------------------------------------------- */

struct stream_link *client_streams(struct conclave_client *client)
{
    if (client->streams)
        return client->streams;
    client->streams = stream_link_create(client->context, client->epoll);
    for (uint32_t i = 0; i < client->connection_count; i++)
        stream_link_learn(client->streams, client->connections[i].endpoint);
    return client->streams;
}

int conclave_client_ready(struct conclave_client *client, uint32_t timeout_ms, void **ret_user)
{
    uint64_t until_ns = clock_now_ns() + timeout_ms * CLIENT_MS_NS;
    for (;;) {
        bool received = client_step(client);
        struct client_stream *stream = client->streams ? stream_link_ready(client->streams) : NULL;
        if (stream) {
            *ret_user = client_stream_user(stream);
            return CONCLAVE_OK;
        }
        if (received)
            continue;
        if (timeout_ms == 0 || clock_now_ns() >= until_ns)
            return CONCLAVE_TIMEOUT;
        client_wait(client, until_ns);
    }
}

/* --- Operations ------------------------------------------------------------------------------ */

static int operation_submit(struct conclave_client *client, struct conclave_op *op,
                            enum client_op_state state)
{
    if (op->state != CLIENT_OP_IDLE || op->kind < CONCLAVE_OP_PROPOSE ||
        op->kind > CONCLAVE_OP_READ_LEASE || (op->bytes > 0 && !op->data))
        return CONCLAVE_INVALID;
    if (op->bytes > CONCLAVE_COMMAND_BYTES_MAX)
        return CONCLAVE_TOO_LARGE;
    uint32_t own = client->session.op.state == CLIENT_OP_OWN;
    if (client->table.count - own >= CONCLAVE_CLIENT_OPS_MAX)
        return CONCLAVE_BUSY;
    uint64_t now_ns = clock_now_ns();
    uint64_t timeout_ms = op->timeout_ms ? op->timeout_ms : client->timeout_ms;
    uint32_t index = table_add(&client->table, op, now_ns + timeout_ms * CLIENT_MS_NS);
    ASSERT(index != TABLE_NONE);
    conclave_op_release(op);
    op->code = CONCLAVE_OK;
    op->latency_ns = 0;
    op->submitted_ns = now_ns;
    op->state = state;
    operation_queue(client, index);
    return CONCLAVE_OK;
}

int client_start(struct conclave_client *client, struct conclave_op *op)
{
    return operation_submit(client, op, CLIENT_OP_CALLED);
}

bool client_is_under_way(const struct conclave_op *op)
{
    return op->state == CLIENT_OP_CALLED;
}

int conclave_client_submit(struct conclave_client *client, struct conclave_op *op)
{
    return operation_submit(client, op, CLIENT_OP_SUBMITTED);
}

static size_t done_take(struct conclave_client *client, struct conclave_op **ret_done)
{
    size_t count = client->done_count;
    *ret_done = client->done_head;
    for (struct conclave_op *op = client->done_head; op; op = op->next)
        op->state = CLIENT_OP_IDLE;
    client->done_head = NULL;
    client->done_tail = &client->done_head;
    client->done_count = 0;
    return count;
}

size_t conclave_client_poll(struct conclave_client *client, uint32_t timeout_ms,
                            struct conclave_op **ret_done)
{
    uint64_t until_ns = 0;
    for (;;) {
        bool received = client_step(client);
        if (client->done_head)
            break;
        if (until_ns == 0)
            until_ns = clock_now_ns() + timeout_ms * CLIENT_MS_NS;
        if (received)
            continue;
        if (timeout_ms == 0 || clock_now_ns() >= until_ns)
            break;
        client_wait(client, until_ns);
    }
    return done_take(client, ret_done);
}

int conclave_client_call(struct conclave_client *client, struct conclave_op *op)
{
    int code = operation_submit(client, op, CLIENT_OP_CALLED);
    if (code != CONCLAVE_OK) {
        op->code = code;
        return code;
    }
    while (op->state == CLIENT_OP_CALLED) {
        if (!client_step(client) && op->state == CLIENT_OP_CALLED)
            client_wait(client, UINT64_MAX);
    }
    return op->code;
}

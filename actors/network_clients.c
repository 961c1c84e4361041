/* Requests of clients.
 *
 * A request is taken in (pending), answered BUSY, or answered at once; it is never left unread,
 * since a socket that is not read stops answering heartbeats and kills healthy connections. What
 * one wake-up took in goes to raft as one batch of proposals and one batch of queries. */
#include "actors/network.h"

#include "base/clock.h"
#include "base/fatal.h"
#include "base/list.h"
#include "codec/kv.h"
#include "codec/session.h"
#include "codec/session_clock.h"
#include "machine/kv.h"
#include "machine/session_table.h"

#include <stdlib.h>
#include <string.h>

enum {
    /* What one wake-up takes in before heartbeats and the other actors get their turn. */
    RECEIVE_FRAMES_MAX = 1024,
    RECEIVE_OPS_MAX = 16384,
    RECEIVE_BYTES_MAX = 4 << 20,
    COMPACT_FRAME_BYTES_MIN = 4096,
    CLOCK_STEP_US =
        SESSION_CLOCK_LAG_MS * 1000, /* cluster time goes into the log at most so often */
    CLOCK_WAIT_US = SESSION_CLOCK_STEP_MAX_MS / 2 * 1000 /* and at least, while something waits for
                                                            it: more at once is not believed */
};

int network_clients_start(struct actor *actor, struct conclave_error *error)
{
    struct network *network = actor->state;
    const struct node *node = actor->node;
    struct client_side *side = &network->clients;
    side->meter = meter_create(NULL);
    side->pending = pending_create(node->options.inflight_bytes_max);
    int code =
        clients_create(node->context, node->endpoint, 0, side->meter, &side->ports[0], error);
    if (!code && node->listen_client[0])
        code = clients_create(node->context, node->listen_client, 1, side->meter, &side->ports[1],
                              error);
    return code;
}

void network_clients_stop(struct network *network)
{
    struct client_side *side = &network->clients;
    for (int i = 0; i < CLIENT_PORTS; i++) {
        clients_destroy(side->ports[i]);
        free(side->frame_of[i].items);
    }
    pending_destroy(side->pending);
    meter_unref(side->meter);
    for (uint32_t i = 0; i < side->replies.count; i++)
        buf_unref(side->replies.items[i].body);
    for (uint32_t i = 0; i < side->proposals.count; i++)
        buf_unref(side->proposals.items[i].buf);
    for (uint32_t i = 0; i < side->kept.count; i++)
        buf_unref(side->kept.items[i].frame);
    free(side->kept.items);
    free(side->replies.items);
    free(side->frames.items);
    free(side->proposals.items);
    query_list_clear(&side->queries);
    stream_requests_clear(&side->stream_requests);
}
/* --- Taken in --------------------------------------------------------------------------------- */

/* True if a request of a session may go into the log; else it is answered. What the machine would
 * answer MALFORMED is not worth an entry, and cluster time is the leader's alone. */
static bool session_acceptable(struct client_side *side, client_handle client,
                               const struct client_op *op)
{
    struct session_request request;
    int code = session_request_decode(op->body.data, op->body.bytes, &request);
    if (!code && request.opcode == SESSION_CLOCK)
        code = CONCLAVE_INVALID;
    if (code)
        network_answer(side, client, op->id, code, conclave_code_text(code));
    return !code;
}

/* True if the command may be taken while the disk is nearly full. */
static bool gives_space_back(const struct client_side *side, const struct client_op *op)
{
    struct slice command = op->body;
    if (op->type == CLIENT_OP_SESSION) {
        struct session_request request;
        if (session_request_decode(op->body.data, op->body.bytes, &request) != CONCLAVE_OK ||
            request.opcode != SESSION_COMMAND)
            return true; /* small, and without it a session would end */
        command = request.command;
    }
    return side->machine->frees && side->machine->frees(command.data, command.bytes);
}

/* Whether cluster time has to be in the log before it. */
static bool is_timed(const struct client_side *side, const struct client_op *op)
{
    if (op->type == CLIENT_OP_SESSION)
        return true;
    return side->machine == kv_machine_ops() && kv_command_is_timed(op->body.data, op->body.bytes);
}

/* Takes a proposal or query in; its body points into `frame`. */
static void take_work(struct client_side *side, client_handle client, const struct client_op *op,
                      struct buf *frame)
{
    struct raft_origin origin;
    bool in_session = op->type == CLIENT_OP_SESSION;
    size_t bytes_max = CONCLAVE_COMMAND_BYTES_MAX + (in_session ? SESSION_OVERHEAD_BYTES : 0);
    if (op->body.bytes > bytes_max) {
        network_answer(side, client, op->id, CONCLAVE_TOO_LARGE,
                       "the command is larger than 1 MiB");
        return;
    }
    if (in_session && !session_acceptable(side, client, op))
        return;
    if (side->draining) {
        network_answer(side, client, op->id, CONCLAVE_STOPPING,
                       conclave_code_text(CONCLAVE_STOPPING));
        return;
    }
    bool changes = op->type == CLIENT_OP_PROPOSE || in_session;
    if (changes && side->disk_full && side->leads && !gives_space_back(side, op)) {
        network_answer(
            side, client, op->id, CONCLAVE_NO_SPACE,
            "this node's disk is nearly full: it takes nothing but reads and deletes until there "
            "is room; not applied");
        return;
    }
    if (changes && side->machine_full && side->leads) {
        network_answer(side, client, op->id, CONCLAVE_NO_SPACE,
                       "the disk of this node's state machine is full: it takes nothing but reads "
                       "until there is room; not applied");
        return;
    }
    if (!pending_enter(side->pending, client, op->id, op->body.bytes, &origin)) {
        network_answer(side, client, op->id, CONCLAVE_BUSY, conclave_code_text(CONCLAVE_BUSY));
        return;
    }
    if (op->type == CLIENT_OP_READ || op->type == CLIENT_OP_READ_LEASE ||
        op->type == CLIENT_OP_READ_STALE) {
        struct meter *meter = clients_meter(side->ports[client_handle_tag(client)], client);
        ASSERT(meter); /* it has just asked */
        query_add(&side->queries, (struct query){.origin = origin,
                                                 .buf = buf_ref(frame),
                                                 .body = op->body,
                                                 .meter = meter_ref(meter),
                                                 .lease = op->type == CLIENT_OP_READ_LEASE,
                                                 .stale = op->type == CLIENT_OP_READ_STALE,
                                                 .max_age_ms = op->max_age_ms});
        return;
    }
    LIST_RESERVE(&side->proposals);
    side->timed |= is_timed(side, op);
    side->proposals.items[side->proposals.count++] =
        (struct raft_entry){.origin = origin,
                            .buf = buf_ref(frame),
                            .payload = op->body,
                            .kind = in_session ? RAFT_ENTRY_SESSION : RAFT_ENTRY_COMMAND};
}

static void take_op(struct actor *actor, client_handle client, const struct client_op *op,
                    struct buf *frame)
{
    struct network *network = actor->state;
    if (!network->members) { /* raft has not been started yet */
        network_answer(&network->clients, client, op->id, CONCLAVE_BUSY, "the node is starting");
        return;
    }
    if (network->repairing) {
        network_ask_in_repair(actor, client, op);
        return;
    }
    switch (op->type) {
    case CLIENT_OP_PROPOSE:
    case CLIENT_OP_READ:
    case CLIENT_OP_SESSION:
    case CLIENT_OP_READ_STALE:
    case CLIENT_OP_READ_LEASE:
        take_work(&network->clients, client, op, frame);
        break;
    case CLIENT_OP_SUBSCRIBE:
    case CLIENT_OP_CREDIT:
    case CLIENT_OP_UNSUBSCRIBE:
        network_ask_stream(&network->clients, client, op, frame);
        break;
    case CLIENT_OP_MEMBER:
        network_ask_change(actor, client, op);
        break;
    case CLIENT_OP_STATUS:
        network_ask_status(actor, client, op->id);
        break;
    case CLIENT_OP_TRANSFER:
        network_ask_transfer(actor, client, op);
        break;
    case CLIENT_OP_LEADER:
        network_stage_reply(
            &network->clients, client,
            (struct staged_reply){.request = op->id, .code = CONCLAVE_OK, .redirect = true});
        break;
    default:
        network_answer(&network->clients, client, op->id, CONCLAVE_INVALID,
                       "unknown operation type; this node speaks protocol version 1");
    }
}

/* A frame that cannot be read is answered under request id 0, which no client uses. */
static void refuse_frame(struct client_side *side, client_handle client, int code)
{
    network_answer(side, client, 0, code, conclave_code_text(code));
}

/* Moves bytes that lie in *buf behind the `used` ones of `own`. */
static void move_bytes(struct buf *own, size_t *used, struct buf **buf, struct slice *bytes)
{
    if (bytes->bytes)
        memcpy(own->data + *used, bytes->data, bytes->bytes);
    buf_unref(*buf);
    *buf = buf_ref(own);
    bytes->data = own->data + *used;
    *used += bytes->bytes;
}

/* A payload stays where it arrived, unless it would keep much more than itself in memory for as
 * long as the log is: small commands in a large frame of other things move to a buffer of their
 * own. */
static void compact_proposals(struct client_side *side, uint32_t first, const struct buf *frame)
{
    uint64_t payload_bytes = 0;
    for (uint32_t i = first; i < side->proposals.count; i++)
        payload_bytes += side->proposals.items[i].payload.bytes;
    if (first == side->proposals.count || payload_bytes * 2 >= frame->bytes)
        return;
    struct buf *own = buf_create(payload_bytes);
    size_t used = 0;
    for (uint32_t i = first; i < side->proposals.count; i++) {
        struct raft_entry *entry = &side->proposals.items[i];
        move_bytes(own, &used, &entry->buf, &entry->payload);
    }
    buf_unref(own);
}

/* The same for queries, which may have to wait for room for their answers; most frames are small
 * enough to be kept as they are. */
static void compact_queries(struct client_side *side, uint32_t first, const struct buf *frame)
{
    uint64_t body_bytes = 0;
    for (uint32_t i = first; i < side->queries.count; i++)
        body_bytes += side->queries.items[i].body.bytes;
    if (first == side->queries.count || frame->bytes <= COMPACT_FRAME_BYTES_MIN ||
        body_bytes * 2 >= frame->bytes)
        return;
    struct buf *own = buf_create(body_bytes);
    size_t used = 0;
    for (uint32_t i = first; i < side->queries.count; i++) {
        struct query *query = &side->queries.items[i];
        move_bytes(own, &used, &query->buf, &query->body);
    }
    buf_unref(own);
}

/* Returns how many operations were in it. */
static uint32_t take_request(struct actor *actor, client_handle client, struct buf *frame)
{
    struct network *network = actor->state;
    struct client_reader reader;
    uint32_t taken = 0;
    uint32_t first = network->clients.proposals.count;
    uint32_t first_query = network->clients.queries.count;
    int code = client_request_begin(&reader, frame->data, frame->bytes);
    if (code) {
        refuse_frame(&network->clients, client, code);
        return taken;
    }
    struct client_op op;
    int got;
    while ((got = client_request_next(&reader, &op)) == 1) {
        take_op(actor, client, &op, frame);
        taken++;
    }
    if (got < 0)
        refuse_frame(&network->clients, client, CONCLAVE_MALFORMED);
    compact_proposals(&network->clients, first, frame);
    compact_queries(&network->clients, first_query, frame);
    return taken;
}

/* The time goes before the commands that it is measured for. */
static void add_clock(const struct network *network, struct client_side *side,
                      struct raft_batch *batch)
{
    struct raft_entry entry;
    if (side->timed && network->leads &&
        session_clock_entry(&side->clock_us, clock_now_us(), CLOCK_STEP_US, &entry))
        raft_batch_add(batch, entry);
}

uint64_t network_tick_us(const struct network *network)
{
    const struct client_side *side = &network->clients;
    if (!network->leads || side->draining || side->due_ms == UINT64_MAX)
        return UINT64_MAX;
    uint64_t wait_us = CLOCK_WAIT_US;
    if (side->due_ms < CLOCK_WAIT_US / 1000)
        wait_us = side->due_ms * 1000;
    return side->clock_us + (wait_us > CLOCK_STEP_US ? wait_us : CLOCK_STEP_US);
}

void network_tick(struct actor *actor, uint64_t now_us)
{
    struct network *network = actor->state;
    struct raft_entry entry;
    if (now_us < network_tick_us(network) ||
        !session_clock_entry(&network->clients.clock_us, now_us, CLOCK_STEP_US, &entry))
        return;
    struct envelope *proposed = envelope_create(ENVELOPE_PROPOSED);
    proposed->proposed = raft_batch_create(1);
    raft_batch_add(proposed->proposed, entry);
    actor_send(actor, ACTOR_RAFT, &proposed);
}

static void hand_on(struct actor *actor)
{
    struct network *network = actor->state;
    struct client_side *side = &network->clients;
    if (side->proposals.count) {
        struct raft_batch *batch = raft_batch_create(1 + side->proposals.count);
        add_clock(network, side, batch);
        side->timed = false;
        for (uint32_t i = 0; i < side->proposals.count; i++)
            raft_batch_add(batch, side->proposals.items[i]);
        side->proposals.count = 0;
        if (network->leads && actor->node->options.trace)
            trace_begin(&actor->node->trace, batch);
        struct envelope *proposed = envelope_create(ENVELOPE_PROPOSED);
        proposed->proposed = batch;
        actor_send(actor, ACTOR_RAFT, &proposed);
    }
    if (side->queries.count) {
        struct envelope *read = envelope_create(ENVELOPE_READ);
        read->read = side->queries;
        side->queries = (struct query_list){0};
        actor_send(actor, ACTOR_RAFT, &read);
    }
    network_hand_streams_on(actor);
}

static void receive_from(struct actor *actor, struct clients *port)
{
    client_handle client;
    struct buf *frame;
    uint32_t ops = 0;
    size_t bytes = 0;
    for (int i = 0; i < RECEIVE_FRAMES_MAX && ops < RECEIVE_OPS_MAX && bytes < RECEIVE_BYTES_MAX &&
                    (frame = clients_receive(port, &client));
         i++) {
        bytes += frame->bytes;
        ops += take_request(actor, client, frame);
        buf_unref(frame);
    }
}

void network_receive_clients(struct actor *actor)
{
    struct network *network = actor->state;
    for (int port = 0; port < CLIENT_PORTS; port++)
        if (network->clients.ports[port])
            receive_from(actor, network->clients.ports[port]);
    hand_on(actor);
}

/* Requests of clients.
 *
 * A request is taken in (pending), answered BUSY, or answered at once; it is never left unread,
 * since a socket that is not read stops answering heartbeats and kills healthy connections. What
 * one wake-up took in goes to raft as one batch of proposals and one batch of queries. */
#include "actors/network.h"

#include "base/fatal.h"
#include "base/list.h"

#include <stdlib.h>
#include <string.h>

enum {
    /* What one wake-up takes in before heartbeats and the other actors get their turn. */
    RECEIVE_FRAMES_MAX = 1024,
    RECEIVE_OPS_MAX = 16384,
    RECEIVE_BYTES_MAX = 4 << 20,
    COMPACT_FRAME_BYTES_MIN = 4096
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

/* --- Frames ----------------------------------------------------------------------------------*/

/* A frame that cannot be read is answered under request id 0, which no client uses. */
static void refuse_frame(struct client_side *side, client_handle client, int code)
{
    network_answer(side, client, 0, code, conclave_code_text(code));
}

/* Moves bytes behind the `used` ones of `own`. */
static void move_bytes(struct buf *own, size_t *used, struct slice *bytes)
{
    if (bytes->bytes)
        memcpy(own->data + *used, bytes->data, bytes->bytes);
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
    for (uint32_t i = first; i < side->proposals.count; i++)
        move_bytes(own, &used, &side->proposals.items[i].payload);
    buf_unref(side->proposals.items[first].buf); /* it held the frame for all */
    side->proposals.items[first].buf = own;
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
        move_bytes(own, &used, &query->body);
        buf_unref(query->buf);
        query->buf = buf_ref(own);
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
    network->clients.frame_first = first;
    uint32_t first_query = network->clients.queries.count;
    int code = client_request_begin(&reader, frame->data, frame->bytes);
    if (code) {
        refuse_frame(&network->clients, client, code);
        return taken;
    }
    struct client_op op;
    int got;
    while ((got = client_request_next(&reader, &op)) == 1) {
        network_take_op(actor, client, &op, frame);
        taken++;
    }
    if (got < 0)
        refuse_frame(&network->clients, client, CONCLAVE_MALFORMED);
    compact_proposals(&network->clients, first, frame);
    compact_queries(&network->clients, first_query, frame);
    return taken;
}

static void hand_on(struct actor *actor)
{
    struct network *network = actor->state;
    struct client_side *side = &network->clients;
    if (side->proposals.count) {
        struct raft_batch *batch = raft_batch_create(1 + side->proposals.count);
        network_add_clock(network, side, batch);
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

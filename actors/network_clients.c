/* Requests of clients, and their replies.
 *
 * A request is taken in (pending), answered BUSY, or answered at once; it is never left unread,
 * since a socket that is not read stops answering heartbeats and kills healthy connections. What
 * one wake-up took in goes to raft as one batch of proposals and one batch of queries; replies of
 * one wake-up to one client go out in one frame. */
#include "actors/network.h"

#include "actors/bootstrap.h"
#include "actors/reply_room.h"
#include "base/clock.h"
#include "base/fatal.h"
#include "base/list.h"
#include "codec/member.h"
#include "codec/session.h"
#include "transport/endpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    /* What one wake-up takes in before heartbeats and the other actors get their turn. */
    RECEIVE_FRAMES_MAX = 1024,
    RECEIVE_OPS_MAX = 16384,
    RECEIVE_BYTES_MAX = 4 << 20,
    COMPACT_FRAME_BYTES_MIN = 4096,
    STATUS_MAX = 256,                /* STATUS requests on their way round: 23 KiB each */
    KEPT_FRAMES_MAX = 16384,         /* of replies that their clients do not read */
    KEPT_US_MAX = 5000000,           /* how long they are kept */
    REPLY_FRAME_BYTES_MAX = 1 << 20, /* replies are split into frames of about this size */
    CLOCK_STEP_US = 1000000          /* cluster time goes into the log at most so often */
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
}

/* --- Replies ---------------------------------------------------------------------------------- */

/* The frame that takes `bytes` more for this client: the open one, or a new one. */
static struct open_frame *frame_for(struct client_side *side, client_handle client, size_t bytes)
{
    unsigned tag = client_handle_tag(client);
    uint32_t slot = (uint32_t)(client & 0xffffffff);
    ASSERT(tag < CLIENT_PORTS);
    if (slot >= side->frame_of[tag].capacity) {
        uint32_t capacity = side->frame_of[tag].capacity ? side->frame_of[tag].capacity : 64;
        while (capacity <= slot)
            capacity *= 2;
        side->frame_of[tag].items =
            mem_realloc(side->frame_of[tag].items, capacity * sizeof(uint32_t));
        memset(side->frame_of[tag].items + side->frame_of[tag].capacity, 0,
               (capacity - side->frame_of[tag].capacity) * sizeof(uint32_t));
        side->frame_of[tag].capacity = capacity;
    }
    uint32_t *open = &side->frame_of[tag].items[slot];
    if (*open) {
        struct open_frame *frame = &side->frames.items[*open - 1];
        if (frame->client == client && frame->reply_count < CLIENT_OPS_PER_FRAME_MAX &&
            frame->bytes + bytes <= REPLY_FRAME_BYTES_MAX)
            return frame;
    }
    LIST_RESERVE(&side->frames);
    struct open_frame *frame = &side->frames.items[side->frames.count++];
    *frame = (struct open_frame){.client = client};
    *open = side->frames.count;
    return frame;
}

/* Takes over the body. */
static void stage_reply(struct client_side *side, client_handle client, struct staged_reply reply)
{
    enum { REPLY_OVERHEAD_BYTES = 32 };
    size_t bytes = REPLY_OVERHEAD_BYTES + (reply.body ? reply.body->bytes : 0) +
                   (reply.text ? strlen(reply.text) : 0) +
                   (reply.redirect ? sizeof(struct client_redirect) : 0);
    struct open_frame *frame = frame_for(side, client, bytes);
    LIST_RESERVE(&side->replies);
    uint32_t index = side->replies.count++;
    reply.next = 0;
    side->replies.items[index] = reply;
    if (frame->reply_count++)
        side->replies.items[frame->last].next = index + 1;
    else
        frame->first = index;
    frame->last = index;
    frame->bytes += bytes;
}

static bool code_redirects(int code)
{
    return code == CONCLAVE_NOT_LEADER || code == CONCLAVE_NO_LEADER;
}

/* Codes that the node itself gives carry a sentence, not an answer of the machine. */
static const char *code_explains(int code)
{
    switch (code) {
    case CONCLAVE_BUSY:
    case CONCLAVE_STOPPING:
    case CONCLAVE_UNKNOWN:
    case CONCLAVE_HANDOVER:
    case CONCLAVE_SESSION_EXPIRED:
    case CONCLAVE_FORGOTTEN:
    case CONCLAVE_STALE:
        return conclave_code_text(code);
    default:
        return NULL;
    }
}

static const char *reply_text(const struct reply *reply)
{
    if (reply->body)
        return NULL;
    return reply->text ? reply->text : code_explains(reply->code);
}

void network_take_replies(struct actor *actor, struct reply_list *list)
{
    struct network *network = actor->state;
    for (uint32_t i = 0; i < list->count; i++) {
        struct reply *reply = &list->items[i];
        client_handle client;
        uint64_t request;
        if (!pending_leave(network->clients.pending, reply->origin, &client, &request)) {
            buf_unref(reply->body); /* answered before */
            continue;
        }
        /* A machine may use any code, BUSY too: its answers always have the form of answers, or a
         * client would take them for the node's refusal and send a command again that was applied.
         */
        bool refusal = !reply->answer;
        stage_reply(&network->clients, client,
                    (struct staged_reply){.request = request,
                                          .code = reply->code,
                                          .body = reply->body,
                                          .text = refusal ? reply_text(reply) : NULL,
                                          .redirect = refusal && code_redirects(reply->code),
                                          .aged = reply->aged,
                                          .age_ms = reply->age_ms});
    }
    list->count = 0; /* the references moved */
}

void network_take_status(struct actor *actor, const struct raft_origin *origin,
                         struct client_status *status)
{
    struct network *network = actor->state;
    client_handle client;
    uint64_t request;
    network->clients.status_count--;
    network_audit_status(network, status);
    if (pending_leave(network->clients.pending, *origin, &client, &request))
        stage_reply(&network->clients, client,
                    (struct staged_reply){.request = request,
                                          .code = CONCLAVE_OK,
                                          .body = client_status_encode(status)});
}

static void leader_redirect(const struct network *network, struct client_redirect *ret)
{
    memset(ret, 0, sizeof *ret);
    ret->term = network->leader_term;
    const struct raft_member *leader =
        network->members ? raft_configuration_find(network->members, network->leader) : NULL;
    if (!leader)
        return;
    memcpy(ret->leader, leader->name, sizeof ret->leader);
    memcpy(ret->endpoint, leader->client, sizeof ret->endpoint);
}

static void pack_reply(const struct network *network, struct pack *pack,
                       const struct staged_reply *reply)
{
    if (reply->redirect) {
        struct client_redirect redirect;
        leader_redirect(network, &redirect);
        client_reply_pack_redirect(pack, reply->request, reply->code, &redirect);
    } else if (reply->aged) {
        client_reply_pack_aged(pack, reply->request, reply->code,
                               reply->body ? reply->body->data : NULL,
                               reply->body ? reply->body->bytes : 0, reply->age_ms);
    } else if (reply->text) {
        client_reply_pack_text(pack, reply->request, reply->code, reply->text);
    } else {
        client_reply_pack_bin(pack, reply->request, reply->code,
                              reply->body ? reply->body->data : NULL,
                              reply->body ? reply->body->bytes : 0);
    }
}

/* Sends, or keeps the frame for a client that does not read fast enough. What the node holds for a
 * client is bounded in bytes and what it keeps in time; beyond that its answers are lost to that
 * client, whose operations then time out. */
static void send_frame(struct client_side *side, client_handle client, struct buf *frame,
                       uint64_t now_us)
{
    struct clients *port = side->ports[client_handle_tag(client)];
    const struct meter *meter = clients_meter(port, client);
    if (!meter || !reply_room_for_frame(meter, frame->bytes)) {
        buf_unref(frame);
        return;
    }
    if (clients_send(port, client, &frame) != CLIENTS_FULL)
        return;
    if (side->kept.count == KEPT_FRAMES_MAX) {
        buf_unref(frame);
        return;
    }
    LIST_RESERVE(&side->kept);
    side->kept.items[side->kept.count++] =
        (struct kept_frame){.client = client, .frame = frame, .since_us = now_us};
}

void network_retry_replies(struct actor *actor, uint64_t now_us)
{
    struct network *network = actor->state;
    struct client_side *side = &network->clients;
    uint32_t left = 0;
    for (uint32_t i = 0; i < side->kept.count; i++) {
        struct kept_frame kept = side->kept.items[i];
        struct clients *port = side->ports[client_handle_tag(kept.client)];
        if (clients_send(port, kept.client, &kept.frame) == CLIENTS_FULL &&
            now_us - kept.since_us < KEPT_US_MAX) {
            side->kept.items[left++] = kept;
            continue;
        }
        buf_unref(kept.frame); /* NULL if sent */
    }
    side->kept.count = left;
}

void network_flush_replies(struct actor *actor, uint64_t now_us)
{
    struct network *network = actor->state;
    struct client_side *side = &network->clients;
    for (uint32_t i = 0; i < side->frames.count; i++) {
        const struct open_frame *frame = &side->frames.items[i];
        struct pack pack;
        pack_init(&pack, frame->bytes + 64);
        client_reply_pack_begin(&pack, frame->reply_count);
        uint32_t index = frame->first;
        for (uint32_t k = 0; k < frame->reply_count; k++) {
            struct staged_reply *reply = &side->replies.items[index];
            pack_reply(network, &pack, reply);
            buf_unref(reply->body);
            index = reply->next - 1;
        }
        side->frame_of[client_handle_tag(frame->client)].items[frame->client & 0xffffffff] = 0;
        send_frame(side, frame->client, pack_take(&pack), now_us);
    }
    side->frames.count = 0;
    side->replies.count = 0;
}

void network_abandon_clients(struct actor *actor)
{
    struct network *network = actor->state;
    struct reply_list all = {0};
    struct raft_origin origin;
    for (uint32_t cursor = 0; pending_next(network->clients.pending, &cursor, &origin);)
        reply_add(&all, origin, CONCLAVE_UNKNOWN, NULL);
    network_take_replies(actor, &all);
    reply_list_clear(&all);
    network_flush_replies(actor, clock_now_us());
}

/* --- Requests --------------------------------------------------------------------------------- */

static void answer(struct client_side *side, client_handle client, uint64_t request, int code,
                   const char *text)
{
    stage_reply(side, client,
                (struct staged_reply){.request = request, .code = code, .text = text});
}

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
        answer(side, client, op->id, code, conclave_code_text(code));
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

/* Takes a proposal or query in; its body points into `frame`. */
static void take_work(struct client_side *side, client_handle client, const struct client_op *op,
                      struct buf *frame)
{
    struct raft_origin origin;
    bool in_session = op->type == CLIENT_OP_SESSION;
    size_t bytes_max = CONCLAVE_COMMAND_BYTES_MAX + (in_session ? SESSION_OVERHEAD_BYTES : 0);
    if (op->body.bytes > bytes_max) {
        answer(side, client, op->id, CONCLAVE_TOO_LARGE, "the command is larger than 1 MiB");
        return;
    }
    if (in_session && !session_acceptable(side, client, op))
        return;
    if (side->draining) {
        answer(side, client, op->id, CONCLAVE_STOPPING, conclave_code_text(CONCLAVE_STOPPING));
        return;
    }
    bool changes = op->type == CLIENT_OP_PROPOSE || in_session;
    if (changes && side->disk_full && side->leads && !gives_space_back(side, op)) {
        answer(
            side, client, op->id, CONCLAVE_NO_SPACE,
            "this node's disk is nearly full: it takes nothing but reads and deletes until there "
            "is room; not applied");
        return;
    }
    if (!pending_enter(side->pending, client, op->id, op->body.bytes, &origin)) {
        answer(side, client, op->id, CONCLAVE_BUSY, conclave_code_text(CONCLAVE_BUSY));
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
    side->in_session |= in_session;
    side->proposals.items[side->proposals.count++] =
        (struct raft_entry){.origin = origin,
                            .buf = buf_ref(frame),
                            .payload = op->body,
                            .kind = in_session ? RAFT_ENTRY_SESSION : RAFT_ENTRY_COMMAND};
}

/* Raft and then the state machine fill the status in; it comes back as network_take_status. */
static void take_status(struct actor *actor, client_handle client, uint64_t request)
{
    struct network *network = actor->state;
    struct raft_origin origin;
    if (network->clients.draining || network->clients.status_count >= STATUS_MAX ||
        !pending_enter_free(network->clients.pending, client, request, &origin)) {
        int code = network->clients.draining ? CONCLAVE_STOPPING : CONCLAVE_BUSY;
        answer(&network->clients, client, request, code, conclave_code_text(code));
        return;
    }
    network->clients.status_count++;
    struct envelope *status = envelope_create(ENVELOPE_STATUS);
    status->status.origin = origin;
    status->status.status = mem_zalloc(sizeof *status->status.status);
    actor_send(actor, ACTOR_RAFT, &status);
}

/* Raft answers when there is another leader, or when there will be none. */
static void take_transfer(struct actor *actor, client_handle client, const struct client_op *op)
{
    struct network *network = actor->state;
    struct raft_origin origin;
    if (op->body.bytes > CONCLAVE_NAME_BYTES_MAX) {
        answer(&network->clients, client, op->id, CONCLAVE_INVALID,
               "the name is longer than the name of any node");
        return;
    }
    if (network->clients.draining ||
        !pending_enter(network->clients.pending, client, op->id, op->body.bytes, &origin)) {
        int code = network->clients.draining ? CONCLAVE_STOPPING : CONCLAVE_BUSY;
        answer(&network->clients, client, op->id, code, conclave_code_text(code));
        return;
    }
    struct envelope *transfer = envelope_create(ENVELOPE_TRANSFER);
    transfer->transfer.origin = origin;
    if (op->body.bytes > 0)
        memcpy(transfer->transfer.name, op->body.data, op->body.bytes);
    actor_send(actor, ACTOR_RAFT, &transfer);
}

/* What is wrong with the change by itself, as a sentence; NULL: nothing. */
static const char *change_fault(const struct client_member_change *change)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    if (!change->name[0] || change->name[strspn(change->name, letters)])
        return "a node's name has 1 to 32 of A-Z a-z 0-9 . _ -";
    if (change->kind != CLIENT_MEMBER_ADD)
        return NULL;
    if (endpoint_check(change->peer, NULL) ||
        (change->client[0] && endpoint_check(change->client, NULL)))
        return "an endpoint is written tcp://HOST:PORT";
    return NULL;
}

static struct raft_change *change_make(const struct client_member_change *asked,
                                       struct raft_origin origin)
{
    static const enum raft_change_type types[] = {
        [CLIENT_MEMBER_ADD] = RAFT_CHANGE_ADD,
        [CLIENT_MEMBER_PROMOTE] = RAFT_CHANGE_PROMOTE,
        [CLIENT_MEMBER_REMOVE] = RAFT_CHANGE_REMOVE,
        [CLIENT_MEMBER_REPLACE] = RAFT_CHANGE_REPLACE,
    };
    struct raft_change *change = mem_zalloc(sizeof *change);
    change->type = types[asked->kind];
    change->origin = origin;
    change->member.id = asked->id ? asked->id : bootstrap_draw_id();
    change->member.incarnation = asked->incarnation;
    change->member.flags =
        asked->learner ? RAFT_MEMBER_LEARNER : RAFT_MEMBER_LEARNER | RAFT_MEMBER_PROMOTE;
    snprintf(change->member.name, sizeof change->member.name, "%s", asked->name);
    snprintf(change->member.peer, sizeof change->member.peer, "%s", asked->peer);
    if (asked->kind == CLIENT_MEMBER_ADD && !asked->client[0])
        endpoint_client_default(asked->peer, change->member.client, sizeof change->member.client);
    else
        snprintf(change->member.client, sizeof change->member.client, "%s", asked->client);
    snprintf(change->replacement, sizeof change->replacement, "%s", asked->replacement);
    return change;
}

static void take_change(struct actor *actor, client_handle client, const struct client_op *op)
{
    struct network *network = actor->state;
    struct client_side *side = &network->clients;
    struct client_member_change asked;
    struct raft_origin origin;
    int code = client_member_decode(op->body, &asked);
    const char *fault = code ? "this change cannot be read" : change_fault(&asked);
    if (fault) {
        answer(side, client, op->id, CONCLAVE_INVALID, fault);
        return;
    }
    if (side->draining ||
        !pending_enter(side->pending, client, op->id, sizeof(struct raft_change), &origin)) {
        code = side->draining ? CONCLAVE_STOPPING : CONCLAVE_BUSY;
        answer(side, client, op->id, code, conclave_code_text(code));
        return;
    }
    struct envelope *envelope = envelope_create(ENVELOPE_CHANGE);
    envelope->change = change_make(&asked, origin);
    actor_send(actor, ACTOR_RAFT, &envelope);
}

/* Of a node without a core. */
static void status_of_repair(struct actor *actor, client_handle client, uint64_t request)
{
    struct network *network = actor->state;
    const struct node *node = actor->node;
    struct client_status *status = mem_zalloc(sizeof *status); /* 23 KiB: not for every stack */
    status->cluster_id = node->identity.cluster_id;
    memcpy(status->name, node->identity.name, sizeof status->name);
    status->id = node->identity.node_id;
    snprintf(status->role, sizeof status->role, "repair");
    snprintf(status->repair, sizeof status->repair, "%s", network->repair);
    status->pid = (uint64_t)getpid();
    status->uptime_ms = (clock_now_us() - node->started_us) / 1000;
    snprintf(status->version, sizeof status->version, "%s", conclave_version());
    client_status_members(status, network->members);
    stage_reply(&network->clients, client,
                (struct staged_reply){
                    .request = request, .code = CONCLAVE_OK, .body = client_status_encode(status)});
    free(status);
}

static void take_op_in_repair(struct actor *actor, client_handle client, const struct client_op *op)
{
    struct network *network = actor->state;
    if (op->type == CLIENT_OP_STATUS)
        status_of_repair(actor, client, op->id);
    else if (op->type == CLIENT_OP_LEADER)
        stage_reply(
            &network->clients, client,
            (struct staged_reply){.request = op->id, .code = CONCLAVE_OK, .redirect = true});
    else
        answer(&network->clients, client, op->id, CONCLAVE_BUSY,
               "the log of this node is being repaired");
}

static void take_op(struct actor *actor, client_handle client, const struct client_op *op,
                    struct buf *frame)
{
    struct network *network = actor->state;
    if (!network->members) { /* raft has not been started yet */
        answer(&network->clients, client, op->id, CONCLAVE_BUSY, "the node is starting");
        return;
    }
    if (network->repairing) {
        take_op_in_repair(actor, client, op);
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
    case CLIENT_OP_MEMBER:
        take_change(actor, client, op);
        break;
    case CLIENT_OP_STATUS:
        take_status(actor, client, op->id);
        break;
    case CLIENT_OP_TRANSFER:
        take_transfer(actor, client, op);
        break;
    case CLIENT_OP_LEADER:
        stage_reply(
            &network->clients, client,
            (struct staged_reply){.request = op->id, .code = CONCLAVE_OK, .redirect = true});
        break;
    default:
        answer(&network->clients, client, op->id, CONCLAVE_INVALID,
               "unknown operation type; this node speaks protocol version 1");
    }
}

/* A frame that cannot be read is answered under request id 0, which no client uses. */
static void refuse_frame(struct client_side *side, client_handle client, int code)
{
    answer(side, client, 0, code, conclave_code_text(code));
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
        if (entry->payload.bytes)
            memcpy(own->data + used, entry->payload.data, entry->payload.bytes);
        buf_unref(entry->buf);
        entry->buf = buf_ref(own);
        entry->payload.data = own->data + used;
        used += entry->payload.bytes;
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
        if (query->body.bytes)
            memcpy(own->data + used, query->body.data, query->body.bytes);
        buf_unref(query->buf);
        query->buf = buf_ref(own);
        query->body.data = own->data + used;
        used += query->body.bytes;
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

/* The leader writes how much time passed before it takes commands of sessions, so that every node
 * ends the same sessions before the same command. Without commands no time is written: an idle
 * cluster stays idle. */
static void add_clock(const struct network *network, struct client_side *side,
                      struct raft_batch *batch)
{
    uint64_t now_us = clock_now_us();
    if (!side->in_session || !network->leads || now_us - side->clock_us < CLOCK_STEP_US)
        return;
    struct session_request clock = {.opcode = SESSION_CLOCK,
                                    .elapsed_ms = (now_us - side->clock_us) / 1000};
    side->clock_us += clock.elapsed_ms * 1000;
    struct pack pack;
    pack_init(&pack, 0);
    session_request_pack(&pack, &clock);
    struct buf *buf = pack_take(&pack);
    raft_batch_add(batch, (struct raft_entry){.buf = buf,
                                              .payload = {buf->data, buf->bytes},
                                              .kind = RAFT_ENTRY_SESSION});
}

static void hand_on(struct actor *actor)
{
    struct network *network = actor->state;
    struct client_side *side = &network->clients;
    if (side->proposals.count) {
        struct raft_batch *batch = raft_batch_create(1 + side->proposals.count);
        add_clock(network, side, batch);
        side->in_session = false;
        for (uint32_t i = 0; i < side->proposals.count; i++)
            raft_batch_add(batch, side->proposals.items[i]);
        side->proposals.count = 0;
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

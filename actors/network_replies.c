/* Replies to clients. They are staged, and at the end of a wake-up those to one client go out in
 * one frame. What a client does not read is kept in bounded memory, for a bounded time. */
#include "actors/network.h"

#include "actors/reply_room.h"
#include "base/clock.h"
#include "base/fatal.h"
#include "base/list.h"

#include <stdlib.h>
#include <string.h>

enum {
    KEPT_FRAMES_MAX = 16384,        /* of replies that their clients do not read */
    KEPT_US_MAX = 5000000,          /* how long they are kept */
    REPLY_FRAME_BYTES_MAX = 1 << 20 /* replies are split into frames of about this size */
};

/* --- Staged ----------------------------------------------------------------------------------- */

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

void network_stage_reply(struct client_side *side, client_handle client, struct staged_reply reply)
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
    frame->streams |= reply.stream;
}

void network_answer(struct client_side *side, client_handle client, uint64_t request, int code,
                    const char *text)
{
    network_stage_reply(side, client,
                        (struct staged_reply){.request = request, .code = code, .text = text});
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
    if (network_take_proposed(network, list))
        return;
    for (uint32_t i = 0; i < list->count; i++) {
        struct reply *reply = &list->items[i];
        client_handle client;
        uint64_t request;
        if (network_is_of_proposer(reply->origin)) {
            network_stage_proposed(network, reply);
            continue;
        }
        if (reads_ahead_take(&network->reads, reply) != READS_AHEAD_OUT)
            continue;
        if (!pending_leave(network->clients.pending, reply->origin, &client, &request)) {
            buf_unref(reply->body); /* answered before */
            continue;
        }
        /* A machine may use any code, BUSY too: its answers always have the form of answers, or a
         * client would take them for the node's refusal and send a command again that was applied.
         */
        bool refusal = !reply->answer;
        network_stage_reply(
            &network->clients, client,
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

void network_take_decisions(struct actor *actor, const struct read_decisions *decisions)
{
    struct network *network = actor->state;
    struct reply_list decided = {0};
    for (uint32_t i = 0; i < decisions->count; i++)
        reads_ahead_decide(&network->reads, &decisions->items[i], &decided);
    network_take_replies(actor, &decided);
    reply_list_clear(&decided);
}

void network_take_status(struct actor *actor, const struct raft_origin *origin,
                         struct client_status *status)
{
    struct network *network = actor->state;
    client_handle client;
    uint64_t request;
    network->clients.status_count--;
    if (pending_leave(network->clients.pending, *origin, &client, &request))
        network_stage_reply(&network->clients, client,
                            (struct staged_reply){.request = request,
                                                  .code = CONCLAVE_OK,
                                                  .body = client_status_encode(status)});
}
/* --- Sent ------------------------------------------------------------------------------------- */

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
static void send_frame(struct client_side *side, const struct open_frame *open, struct buf *frame,
                       uint64_t now_us)
{
    client_handle client = open->client;
    struct clients *port = side->ports[client_handle_tag(client)];
    const struct meter *meter = clients_meter(port, client);
    if (!meter && open->streams)
        network_stream_gone(side, client);
    if (!meter || !reply_room_for_frame(meter, frame->bytes)) {
        buf_unref(frame);
        return;
    }
    enum clients_outcome outcome = clients_send(port, client, &frame);
    if (outcome == CLIENTS_GONE && open->streams)
        network_stream_gone(side, client);
    if (outcome != CLIENTS_FULL)
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
        send_frame(side, frame, pack_take(&pack), now_us);
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

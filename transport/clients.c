#include "transport/clients.h"

#include "base/fatal.h"
#include "transport/context.h"
#include "transport/endpoint.h"
#include "transport/frame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* utlist and uthash come from macros that hide integer conversions. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#define uthash_malloc(bytes) mem_alloc(bytes)
#define uthash_fatal(text) fatal_assert(text, __FILE__, __LINE__)
#include <uthash.h>
#include <utlist.h>
#include <zmq.h>

enum { ROUTING_ID_BYTES_MAX = 255 };

struct known_client {
    uint8_t routing_id[ROUTING_ID_BYTES_MAX];
    uint8_t routing_id_bytes;
    bool delimited; /* speaks REQ: an empty part before the payload */
    uint32_t slot;
    uint32_t generation;
    struct meter *meter;
    UT_hash_handle hh;
    struct known_client *prev, *next; /* by last word, longest silent first */
};

struct clients {
    struct source router;
    unsigned tag;
    struct meter *meter;                /* of all */
    struct known_client *by_routing_id; /* uthash */
    struct known_client *by_silence;    /* utlist, doubly linked */
    struct known_client **slots;
    uint32_t slot_count, slot_capacity;
};

int clients_create(void *context, const char *listen, unsigned tag, struct meter *meter,
                   struct clients **ret_clients, struct conclave_error *error)
{
    ASSERT(tag < 16);
    struct clients *clients = mem_zalloc(sizeof *clients);
    clients->tag = tag;
    clients->meter = meter_ref(meter);
    clients->router.socket = zmq_socket(context, ZMQ_ROUTER);
    if (!clients->router.socket) {
        meter_unref(clients->meter);
        free(clients);
        return error_set(error, CONCLAVE_INTERNAL, "cannot make a socket: %s",
                         zmq_strerror(zmq_errno()));
    }
    socket_set_int(clients->router.socket, ZMQ_ROUTER_MANDATORY, 1);
    socket_set_int(clients->router.socket, ZMQ_ROUTER_HANDOVER, 1);
    socket_set_int(clients->router.socket, ZMQ_RCVHWM, CLIENTS_RECEIVE_HWM);
    socket_set_int(clients->router.socket, ZMQ_SNDHWM, CLIENTS_SEND_HWM);
    socket_set_int64(clients->router.socket, ZMQ_MAXMSGSIZE, CLIENTS_FRAME_BYTES_MAX);
    socket_set_receiving(clients->router.socket);
    socket_set_int(clients->router.socket, ZMQ_HANDSHAKE_IVL, 5000);
    socket_set_int(clients->router.socket, ZMQ_BACKLOG, 1024);
    socket_set_int(clients->router.socket, ZMQ_LINGER, 500); /* last replies of a clean stop */
    int code = endpoint_bind(clients->router.socket, listen, "clients (--listen-client)", error);
    if (code) {
        clients_destroy(clients);
        return code;
    }
    *ret_clients = clients;
    return CONCLAVE_OK;
}

void clients_destroy(struct clients *clients)
{
    if (!clients)
        return;
    HASH_CLEAR(hh, clients->by_routing_id);
    for (uint32_t i = 0; i < clients->slot_count; i++) {
        meter_unref(clients->slots[i]->meter);
        free(clients->slots[i]);
    }
    free(clients->slots);
    meter_unref(clients->meter);
    zmq_close(clients->router.socket);
    free(clients);
}

struct source *clients_source(struct clients *clients)
{
    return &clients->router;
}

/* A record for a new client: a fresh slot, or that of the client silent longest. */
static struct known_client *take_record(struct clients *clients)
{
    struct known_client *known;
    if (clients->slot_count < CLIENTS_KNOWN_MAX) {
        if (clients->slot_count == clients->slot_capacity) {
            clients->slot_capacity = clients->slot_capacity ? clients->slot_capacity * 2 : 64;
            clients->slots =
                mem_realloc(clients->slots, clients->slot_capacity * sizeof *clients->slots);
        }
        known = mem_zalloc(sizeof *known);
        known->slot = clients->slot_count;
        clients->slots[clients->slot_count++] = known;
    } else {
        known = clients->by_silence;
        HASH_DEL(clients->by_routing_id, known);
        DL_DELETE(clients->by_silence, known);
        meter_unref(known->meter); /* what is still on its way is counted by the old one */
    }
    known->meter = meter_create(clients->meter);
    known->generation++;
    return known;
}

static struct known_client *know_client(struct clients *clients, const struct buf *routing_id,
                                        bool delimited)
{
    struct known_client *known = NULL;
    HASH_FIND(hh, clients->by_routing_id, routing_id->data, routing_id->bytes, known);
    if (known) {
        if (known->next) { /* not already the last to have spoken */
            DL_DELETE(clients->by_silence, known);
            DL_APPEND(clients->by_silence, known);
        }
    } else {
        known = take_record(clients);
        memcpy(known->routing_id, routing_id->data, routing_id->bytes);
        known->routing_id_bytes = (uint8_t)routing_id->bytes;
        HASH_ADD(hh, clients->by_routing_id, routing_id, known->routing_id_bytes, known);
        DL_APPEND(clients->by_silence, known);
    }
    known->delimited = delimited;
    return known;
}
#pragma GCC diagnostic pop

/* Handle: generation in the low 28 bits of the upper half, tag above it, slot + 1 below. */
static client_handle make_handle(const struct clients *clients, const struct known_client *known)
{
    return (uint64_t)clients->tag << 60 | (uint64_t)(known->generation & 0xfffffff) << 32 |
           (known->slot + 1);
}

unsigned client_handle_tag(client_handle client)
{
    return (unsigned)(client >> 60);
}

struct buf *clients_receive(struct clients *clients, client_handle *ret_client)
{
    while (!clients->router.quiet) {
        bool more;
        struct buf *routing_id = frame_receive_from(&clients->router, &more);
        if (!routing_id)
            return NULL;
        struct buf *frame = NULL;
        unsigned parts = 0;
        bool delimited = false;
        while (more) {
            if (parts == 1)
                delimited = frame->bytes == 0;
            buf_unref(frame);
            frame = frame_receive_from(&clients->router, &more);
            if (!frame)
                break;
            parts++;
        }
        bool good = frame && (parts == 1 || (parts == 2 && delimited)) && routing_id->bytes > 0 &&
                    routing_id->bytes <= ROUTING_ID_BYTES_MAX;
        if (good)
            *ret_client = make_handle(clients, know_client(clients, routing_id, delimited));
        buf_unref(routing_id);
        if (good)
            return frame;
        buf_unref(frame);
    }
    return NULL;
}

/* NULL: forgotten. */
static struct known_client *find_client(const struct clients *clients, client_handle client)
{
    uint64_t slot = (client & 0xffffffff) - 1;
    struct known_client *known = slot < clients->slot_count ? clients->slots[slot] : NULL;
    return known && make_handle(clients, known) == client ? known : NULL;
}

struct meter *clients_meter(const struct clients *clients, client_handle client)
{
    const struct known_client *known = find_client(clients, client);
    return known ? known->meter : NULL;
}

enum clients_outcome clients_send(struct clients *clients, client_handle client, struct buf **frame)
{
    struct known_client *known = find_client(clients, client);
    bool gone = !known;
    if (!gone && (*frame)->bytes > FRAME_COPY_BYTES_MAX && !(*frame)->meter)
        buf_charge(*frame, known->meter);
    source_touch(&clients->router);
    if (!gone && !frame_send_bytes(clients->router.socket, known->routing_id,
                                   known->routing_id_bytes, true)) {
        if (zmq_errno() == EAGAIN) {
            if (!(*frame)->meter)
                buf_charge(*frame, known->meter);
            return CLIENTS_FULL;
        }
        gone = true;
    }
    if (gone) {
        buf_unref(*frame);
        *frame = NULL;
        return CLIENTS_GONE;
    }
    /* Behind the routing id the pipe is chosen: the other parts go with it, or nowhere. */
    bool sent = (!known->delimited || frame_send_bytes(clients->router.socket, "", 0, true)) &&
                frame_send(clients->router.socket, buf_ref(*frame), false);
    buf_unref(*frame);
    *frame = NULL;
    return sent ? CLIENTS_SENT : CLIENTS_GONE;
}

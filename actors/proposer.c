/* The host's side of a proposer: takes commands, sends them as batches, hands out what became of
 * them. Works in the calls of its user's thread alone. */
#include "actors/proposer.h"

#include "actors/node.h"
#include "actors/pending.h"
#include "base/clock.h"
#include "base/fatal.h"
#include "conclave_propose.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

enum {
    /* What is taken goes to the node at the latest when it is so much: a message to the peers has
     * room for it, and the node can begin. */
    GATHER_OPS_MAX = 2048,
    GATHER_BYTES_MAX = 256 << 10
};

/* A proposal that has no outcome yet. */
struct seat {
    void *user;
    uint32_t generation; /* odd: it is taken */
    uint32_t bytes;
    uint32_t next_free; /* seat + 1; 0: none */
};

/* Taken and not sent. */
struct gathered {
    uint32_t seat;
    uint32_t bytes; /* behind those before it */
};

struct conclave_proposer {
    struct proposer_link *link;
    uint64_t bytes_max;
    bool closed; /* the node has ended */

    struct seat *seats;
    uint32_t seat_count, seat_capacity;
    uint32_t first_free; /* seat + 1; 0: none */
    uint32_t outstanding;
    uint64_t bytes; /* of those that are outstanding */

    struct gathered gathered[GATHER_OPS_MAX];
    uint32_t gathered_count;
    uint8_t *data; /* of the gathered */
    size_t data_bytes, data_capacity;

    struct envelope *outcomes; /* a REPLY that is being handed out; NULL: none */
    uint32_t next;             /* of its replies */
};

/* --- Links ------------------------------------------------------------------------------------ */

static struct proposer_link *link_open(struct node *node)
{
    char address[96];
    struct proposer_link *link = mem_zalloc(sizeof *link);
    atomic_init(&link->refs, 2);
    link->live = &node->proposers;
    link->number = node->proposers_made++;
    snprintf(address, sizeof address, "%s-p%u", node->address, link->number);
    inbox_open(&link->to_node.in, node->context, address);
    outbox_open(&link->to_node.out, node->context, address);
    snprintf(address, sizeof address, "%s-o%u", node->address, link->number);
    inbox_open(&link->to_host.in, node->context, address);
    outbox_open(&link->to_host.out, node->context, address);
    atomic_fetch_add(link->live, 1);
    return link;
}

void proposer_link_unref(struct proposer_link *link)
{
    if (atomic_fetch_sub_explicit(&link->refs, 1, memory_order_acq_rel) > 1)
        return;
    inbox_close(&link->to_node.in);
    inbox_close(&link->to_host.in);
    outbox_close(&link->to_node.out);
    outbox_close(&link->to_host.out);
    atomic_fetch_sub(link->live, 1);
    free(link);
}

void proposer_link_end(struct proposer_link *link)
{
    struct envelope *stop = envelope_create(ENVELOPE_STOP);
    mailbox_send(&link->to_host.out, &stop);
    proposer_link_unref(link);
}

int conclave_proposer_create(struct conclave_node *handle, struct conclave_proposer **ret_proposer,
                             struct conclave_error *error)
{
    struct node *node = &handle->node;
    if (!node->running || atomic_load(&node->fatal))
        return error_set(error, CONCLAVE_STOPPING, "the node does not run");
    if (atomic_load(&node->proposers) >= CONCLAVE_PROPOSERS_MAX)
        return error_set(error, CONCLAVE_BUSY, "the node has %d proposers already",
                         CONCLAVE_PROPOSERS_MAX);
    struct conclave_proposer *proposer = mem_zalloc(sizeof *proposer);
    proposer->link = link_open(node);
    proposer->bytes_max = node->options.inflight_bytes_max;
    struct envelope *hello = envelope_create(ENVELOPE_PROPOSER);
    hello->proposer = proposer->link;
    mailbox_send(&node->to[ACTOR_NETWORK], &hello);
    *ret_proposer = proposer;
    return CONCLAVE_OK;
}

void conclave_proposer_destroy(struct conclave_proposer *proposer)
{
    if (!proposer)
        return;
    struct envelope *stop = envelope_create(ENVELOPE_STOP);
    mailbox_send(&proposer->link->to_node.out, &stop);
    proposer_link_unref(proposer->link);
    envelope_destroy(proposer->outcomes);
    free(proposer->seats);
    free(proposer->data);
    free(proposer);
}

/* --- Taking ----------------------------------------------------------------------------------- */

static uint32_t seat_take(struct conclave_proposer *proposer, uint32_t bytes, void *user)
{
    uint32_t index;
    if (proposer->first_free) {
        index = proposer->first_free - 1;
        proposer->first_free = proposer->seats[index].next_free;
    } else {
        if (proposer->seat_count == proposer->seat_capacity) {
            proposer->seat_capacity = proposer->seat_capacity ? proposer->seat_capacity * 2 : 256;
            proposer->seats =
                mem_realloc(proposer->seats, proposer->seat_capacity * sizeof *proposer->seats);
        }
        index = proposer->seat_count++;
        proposer->seats[index].generation = 0;
    }
    struct seat *seat = &proposer->seats[index];
    seat->user = user;
    seat->generation++;
    seat->bytes = bytes;
    proposer->outstanding++;
    proposer->bytes += (uint64_t)bytes + PENDING_OVERHEAD_BYTES;
    return index;
}

static void seat_free(struct conclave_proposer *proposer, uint32_t index)
{
    struct seat *seat = &proposer->seats[index];
    proposer->outstanding--;
    proposer->bytes -= (uint64_t)seat->bytes + PENDING_OVERHEAD_BYTES;
    seat->generation++;
    seat->next_free = proposer->first_free;
    proposer->first_free = index + 1;
}

static struct raft_origin seat_origin(const struct conclave_proposer *proposer, uint32_t index)
{
    return (struct raft_origin){.client = (uint64_t)proposer->link->number << 32 | PROPOSER_ORIGIN,
                                .request =
                                    (uint64_t)proposer->seats[index].generation << 32 | index};
}

static void data_reserve(struct conclave_proposer *proposer, size_t bytes)
{
    if (proposer->data_capacity - proposer->data_bytes >= bytes)
        return;
    size_t capacity = proposer->data_capacity ? proposer->data_capacity : 4096;
    while (capacity - proposer->data_bytes < bytes)
        capacity *= 2;
    proposer->data = mem_realloc(proposer->data, capacity);
    proposer->data_capacity = capacity;
}

int conclave_propose(struct conclave_proposer *proposer, const void *data, size_t bytes, void *user)
{
    if (bytes > 0 && !data)
        return CONCLAVE_INVALID;
    if (bytes > CONCLAVE_COMMAND_BYTES_MAX)
        return CONCLAVE_TOO_LARGE;
    if (proposer->closed)
        return CONCLAVE_STOPPING;
    if (proposer->outstanding >= CONCLAVE_PROPOSER_OPS_MAX ||
        proposer->bytes + bytes + PENDING_OVERHEAD_BYTES > proposer->bytes_max)
        return CONCLAVE_BUSY;
    if (proposer->gathered_count == GATHER_OPS_MAX ||
        (proposer->gathered_count > 0 && proposer->data_bytes + bytes > GATHER_BYTES_MAX))
        conclave_proposer_flush(proposer);
    data_reserve(proposer, bytes);
    if (bytes > 0)
        memcpy(proposer->data + proposer->data_bytes, data, bytes);
    proposer->data_bytes += bytes;
    proposer->gathered[proposer->gathered_count++] = (struct gathered){
        .seat = seat_take(proposer, (uint32_t)bytes, user), .bytes = (uint32_t)bytes};
    return CONCLAVE_OK;
}

void conclave_proposer_flush(struct conclave_proposer *proposer)
{
    uint32_t count = proposer->gathered_count;
    if (count == 0)
        return;
    /* One buffer of the very size: it stays as long as the log needs it. */
    struct buf *buf = buf_copy(proposer->data, proposer->data_bytes);
    struct raft_batch *batch = raft_batch_create(count);
    size_t at = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct gathered *item = &proposer->gathered[i];
        struct raft_entry entry = {.origin = seat_origin(proposer, item->seat),
                                   .buf = i == 0 ? buf : NULL, /* for all */
                                   .payload = {buf->data + at, item->bytes},
                                   .kind = RAFT_ENTRY_COMMAND};
        raft_batch_add(batch, entry);
        at += item->bytes;
    }
    proposer->gathered_count = 0;
    proposer->data_bytes = 0;
    struct envelope *proposed = envelope_create(ENVELOPE_PROPOSED);
    proposed->proposed = batch;
    mailbox_send(&proposer->link->to_node.out, &proposed);
}

/* --- Outcomes --------------------------------------------------------------------------------- */

/* The node has ended: what it did not even read was not applied, of the rest nobody knows. */
static void take_end(struct conclave_proposer *proposer)
{
    struct envelope *last = envelope_create(ENVELOPE_REPLY);
    struct inbox *unread = &proposer->link->to_node.in;
    bool *told = mem_zalloc(proposer->seat_count + 1);
    proposer->closed = true;
    for (struct envelope *envelope; (envelope = inbox_receive(unread));) {
        const struct raft_batch *batch =
            envelope->type == ENVELOPE_PROPOSED ? envelope->proposed : NULL;
        for (uint32_t i = 0; batch && i < batch->count; i++) {
            struct raft_origin origin = batch->entries[i].origin;
            told[(uint32_t)origin.request] = true;
            reply_add(&last->reply, origin, CONCLAVE_STOPPING, NULL);
        }
        envelope_destroy(envelope);
    }
    for (uint32_t i = 0; i < proposer->seat_count; i++)
        if (proposer->seats[i].generation % 2 == 1 && !told[i])
            reply_add(&last->reply, seat_origin(proposer, i), CONCLAVE_UNKNOWN, NULL);
    free(told);
    proposer->outcomes = last;
    proposer->next = 0;
}

/* The next outcomes, if there are some already. */
static bool take_outcomes(struct conclave_proposer *proposer)
{
    struct envelope *envelope = inbox_receive(&proposer->link->to_host.in);
    if (!envelope)
        return false;
    if (envelope->type == ENVELOPE_STOP) {
        envelope_destroy(envelope);
        take_end(proposer);
        return true;
    }
    ASSERT(envelope->type == ENVELOPE_REPLY);
    proposer->outcomes = envelope;
    proposer->next = 0;
    return true;
}

/* One reply for its proposal. False: it had one before. */
static bool outcome_fill(struct conclave_proposer *proposer, const struct reply *reply,
                         struct conclave_outcome *ret)
{
    uint32_t index = (uint32_t)reply->origin.request;
    ASSERT(index < proposer->seat_count);
    const struct seat *seat = &proposer->seats[index];
    if (seat->generation != reply->origin.request >> 32)
        return false;
    *ret = (struct conclave_outcome){
        .user = seat->user, .code = reply->code, .applied = reply->answer};
    if (reply->body) {
        ret->reply = reply->body->data;
        ret->reply_bytes = reply->body->bytes;
    } else if (reply->text) {
        ret->reply = reply->text;
        ret->reply_bytes = strlen(reply->text);
    }
    seat_free(proposer, index);
    return true;
}

static size_t hand_out(struct conclave_proposer *proposer, struct conclave_outcome *ret,
                       size_t limit)
{
    const struct reply_list *replies = &proposer->outcomes->reply;
    size_t count = 0;
    while (count < limit && proposer->next < replies->count)
        count += outcome_fill(proposer, &replies->items[proposer->next++], &ret[count]);
    return count;
}

size_t conclave_proposer_poll(struct conclave_proposer *proposer, uint32_t timeout_ms,
                              struct conclave_outcome *ret_outcomes, size_t limit)
{
    uint64_t until_us = 0;
    conclave_proposer_flush(proposer);
    while (proposer->outstanding > 0 && limit > 0) {
        /* Those that were handed out last are done with. */
        if (proposer->outcomes && proposer->next == proposer->outcomes->reply.count) {
            envelope_destroy(proposer->outcomes);
            proposer->outcomes = NULL;
        }
        if (proposer->outcomes || take_outcomes(proposer)) {
            size_t count = hand_out(proposer, ret_outcomes, limit);
            if (count > 0)
                return count;
            continue;
        }
        uint64_t now_us = clock_now_us();
        if (until_us == 0)
            until_us = now_us + (uint64_t)timeout_ms * 1000;
        if (now_us >= until_us)
            return 0;
        inbox_wait(&proposer->link->to_host.in, (long)((until_us - now_us + 999) / 1000));
    }
    return 0;
}

int conclave_proposer_fd(const struct conclave_proposer *proposer)
{
    int fd = -1;
    size_t bytes = sizeof fd;
    int failed = zmq_getsockopt(proposer->link->to_host.in.source.socket, ZMQ_FD, &fd, &bytes);
    ASSERT(!failed);
    return fd;
}

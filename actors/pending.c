#include "actors/pending.h"

#include "base/fatal.h"

#include <stdlib.h>

struct slot {
    client_handle client; /* 0: free */
    uint64_t request;
    uint64_t bytes;
    uint32_t generation;
    uint32_t next_free; /* slot + 1; 0: none */
};

struct pending {
    struct slot *slots;
    uint32_t slot_count, slot_capacity;
    uint32_t first_free; /* slot + 1; 0: none */
    uint32_t count;
    uint64_t bytes, bytes_max;
};

struct pending *pending_create(uint64_t bytes_max)
{
    struct pending *pending = mem_zalloc(sizeof *pending);
    pending->bytes_max = bytes_max;
    return pending;
}

void pending_destroy(struct pending *pending)
{
    if (!pending)
        return;
    free(pending->slots);
    free(pending);
}

static bool enter(struct pending *pending, client_handle client, uint64_t request, uint64_t charge,
                  struct raft_origin *ret_origin)
{
    ASSERT(client != 0);
    if (pending->count >= PENDING_OPS_MAX)
        return false;
    uint32_t index;
    if (pending->first_free) {
        index = pending->first_free - 1;
        pending->first_free = pending->slots[index].next_free;
    } else {
        if (pending->slot_count == pending->slot_capacity) {
            pending->slot_capacity = pending->slot_capacity ? pending->slot_capacity * 2 : 256;
            pending->slots =
                mem_realloc(pending->slots, pending->slot_capacity * sizeof *pending->slots);
        }
        index = pending->slot_count++;
        pending->slots[index] = (struct slot){0};
    }
    struct slot *slot = &pending->slots[index];
    slot->client = client;
    slot->request = request;
    slot->bytes = charge;
    slot->generation++;
    pending->count++;
    pending->bytes += charge;
    *ret_origin = (struct raft_origin){.client = (uint64_t)slot->generation << 32 | (index + 1),
                                       .request = request};
    return true;
}

bool pending_enter(struct pending *pending, client_handle client, uint64_t request, size_t bytes,
                   struct raft_origin *ret_origin)
{
    uint64_t charge = bytes + PENDING_OVERHEAD_BYTES;
    return pending->bytes + charge <= pending->bytes_max &&
           enter(pending, client, request, charge, ret_origin);
}

bool pending_enter_free(struct pending *pending, client_handle client, uint64_t request,
                        struct raft_origin *ret_origin)
{
    return enter(pending, client, request, 0, ret_origin);
}

bool pending_leave(struct pending *pending, struct raft_origin origin, client_handle *ret_client,
                   uint64_t *ret_request)
{
    uint64_t index = (origin.client & 0xffffffff) - 1;
    if (index >= pending->slot_count)
        return false;
    struct slot *slot = &pending->slots[index];
    if (slot->client == 0 || slot->generation != origin.client >> 32)
        return false;
    ASSERT(slot->request == origin.request);
    ASSERT(pending->count > 0 && pending->bytes >= slot->bytes);
    *ret_client = slot->client;
    *ret_request = slot->request;
    pending->count--;
    pending->bytes -= slot->bytes;
    slot->client = 0;
    slot->next_free = pending->first_free;
    pending->first_free = (uint32_t)index + 1;
    return true;
}

uint32_t pending_count(const struct pending *pending)
{
    return pending->count;
}

bool pending_next(const struct pending *pending, uint32_t *cursor, struct raft_origin *ret_origin)
{
    while (*cursor < pending->slot_count) {
        uint32_t index = (*cursor)++;
        const struct slot *slot = &pending->slots[index];
        if (slot->client) {
            *ret_origin = (struct raft_origin){
                .client = (uint64_t)slot->generation << 32 | (index + 1), .request = slot->request};
            return true;
        }
    }
    return false;
}

/* Client sessions, in the rules written down once more. */
#include "base/fatal.h"
#include "base/list.h"
#include "codec/session.h"
#include "tests/sim/reference_internal.h"

#include <stdlib.h>
#include <string.h>

static uint32_t session_find(const struct reference *reference, uint64_t id)
{
    uint32_t at = 0;
    while (at < reference->sessions.count && reference->sessions.items[at].id != id)
        at++;
    return at;
}

static void session_remove(struct reference *reference, uint32_t at)
{
    struct reference_session *items = reference->sessions.items;
    reference->slots -= items[at].capacity;
    free(items[at].slots.items);
    reference->sessions.count--;
    memmove(items + at, items + at + 1, (reference->sessions.count - at) * sizeof *items);
}

/* Forgets what the client needs no more. */
static void acknowledge(struct reference *reference, struct reference_session *session,
                        uint64_t acknowledged)
{
    if (acknowledged <= session->acknowledged)
        return;
    session->acknowledged = acknowledged;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < session->slots.count; i++) {
        if (session->slots.items[i].sequence > acknowledged)
            session->slots.items[kept++] = session->slots.items[i];
    }
    session->slots.count = kept;
    if (acknowledged >= session->highest && session->capacity > SESSION_SLOTS_MIN) {
        reference->slots -= session->capacity;
        session->capacity = 0;
    }
}

/* The session is used, and becomes the last one. */
static struct reference_session *session_use(struct reference *reference, uint32_t at,
                                             uint64_t index, uint64_t acknowledged)
{
    struct reference_session *items = reference->sessions.items;
    struct reference_session session = items[at];
    uint32_t last = reference->sessions.count - 1;
    memmove(items + at, items + at + 1, (last - at) * sizeof *items);
    session.used_index = index;
    session.used_ms = reference->clock_ms;
    acknowledge(reference, &session, acknowledged);
    items[last] = session;
    return &items[last];
}

/* A ring of so many places, a power of two, holds the numbers above the acknowledged one. */
static bool session_reserve(struct reference *reference, struct reference_session *session,
                            uint64_t span)
{
    uint32_t capacity = session->capacity ? session->capacity : SESSION_SLOTS_MIN;
    while (capacity < span)
        capacity *= 2;
    uint64_t slots = reference->slots - session->capacity + capacity;
    if (capacity != session->capacity && capacity > SESSION_SLOTS_MIN &&
        slots > reference->limits.slots)
        return false;
    reference->slots = slots;
    session->capacity = capacity;
    return true;
}

static uint64_t session_bytes(const struct reference_session *session)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < session->slots.count; i++) {
        const struct reference_slot *slot = &session->slots.items[i];
        if (!slot->forgotten && slot->reply.bytes)
            bytes += slot->reply.bytes + SESSION_BODY_OVERHEAD_BYTES;
    }
    return bytes;
}

/* Forgets all answers of the session that holds most of them, until the rest fits. */
static void sweep(struct reference *reference)
{
    for (;;) {
        struct reference_session *most = NULL;
        uint64_t all = 0, largest = 0;
        for (uint32_t i = 0; i < reference->sessions.count; i++) {
            uint64_t bytes = session_bytes(&reference->sessions.items[i]);
            all += bytes;
            if (!most || bytes > largest) {
                most = &reference->sessions.items[i];
                largest = bytes;
            }
        }
        if (all <= reference->limits.bodies_bytes)
            return;
        for (uint32_t i = 0; i < most->slots.count; i++) {
            reference->counts.swept += !most->slots.items[i].forgotten;
            most->slots.items[i].forgotten = true;
        }
    }
}

static void slot_add(struct reference_session *session, struct reference_slot slot)
{
    uint32_t at = session->slots.count;
    LIST_RESERVE(&session->slots);
    for (; at > 0 && session->slots.items[at - 1].sequence > slot.sequence; at--)
        session->slots.items[at] = session->slots.items[at - 1];
    session->slots.items[at] = slot;
    session->slots.count++;
    if (slot.sequence > session->highest)
        session->highest = slot.sequence;
}

static struct reference_reply refused(int code)
{
    return (struct reference_reply){.refused = true, .code = code};
}

static struct reference_reply numbered(struct reference *reference, uint64_t index,
                                       const struct session_request *request,
                                       struct reference_entry *entry)
{
    uint32_t at = session_find(reference, request->session);
    entry->verdict = REFERENCE_EXPIRED;
    if (at == reference->sessions.count)
        return refused(CONCLAVE_SESSION_EXPIRED);
    struct reference_session *session = session_use(reference, at, index, request->acknowledged);
    entry->verdict = REFERENCE_ACKNOWLEDGED;
    if (request->sequence <= session->acknowledged)
        return refused(CONCLAVE_FORGOTTEN);
    uint64_t span = request->sequence - session->acknowledged;
    entry->verdict = REFERENCE_NO_ROOM;
    if (span > reference->limits.window || !session_reserve(reference, session, span))
        return (struct reference_reply){.code = CONCLAVE_BUSY};
    for (uint32_t i = 0; i < session->slots.count; i++) {
        const struct reference_slot *slot = &session->slots.items[i];
        if (slot->sequence != request->sequence)
            continue;
        entry->verdict = slot->forgotten ? REFERENCE_FORGOTTEN : REFERENCE_REPEATED;
        entry->original = slot->index;
        return slot->forgotten ? refused(CONCLAVE_FORGOTTEN) : slot->reply;
    }
    entry->verdict = REFERENCE_APPLIED;
    struct reference_slot slot = {.sequence = request->sequence,
                                  .index = index,
                                  .reply = reference_command_apply(reference, request->command)};
    slot.forgotten = slot.reply.bytes > reference->limits.body_bytes;
    slot_add(session, slot);
    if (++reference->commands % reference->limits.sweep_commands == 0)
        sweep(reference);
    return slot.reply;
}

static struct reference_reply session_open(struct reference *reference, uint64_t index)
{
    if (reference->sessions.count == reference->limits.sessions) {
        session_remove(reference, 0);
        reference->counts.ended_by_limit++;
    }
    LIST_RESERVE(&reference->sessions);
    reference->sessions.items[reference->sessions.count++] = (struct reference_session){
        .id = index, .used_ms = reference->clock_ms, .used_index = index};
    struct pack pack;
    pack_init(&pack, 0);
    session_opened_pack(&pack,
                        &(struct session_opened){.session = index,
                                                 .lifetime_ms = reference->limits.lifetime_ms,
                                                 .window = reference->limits.window});
    return reference_reply_take(CONCLAVE_OK, &pack);
}

static void pass_time(struct reference *reference, uint64_t elapsed_ms)
{
    if (elapsed_ms > reference->limits.clock_step_max_ms)
        elapsed_ms = reference->limits.clock_step_max_ms;
    reference->clock_ms += elapsed_ms;
    for (uint32_t i = 0; i < reference->sessions.count;) {
        uint64_t idle_ms = reference->clock_ms - reference->sessions.items[i].used_ms;
        if (idle_ms < reference->limits.lifetime_ms) {
            i++;
            continue;
        }
        session_remove(reference, i);
        reference->counts.ended_by_time++;
    }
    reference_expire(reference);
}

struct reference_reply reference_session_apply(struct reference *reference, uint64_t index,
                                               struct slice payload, struct reference_entry *entry)
{
    struct session_request request;
    ASSERT(session_request_decode(payload.data, payload.bytes, &request) == CONCLAVE_OK);
    uint32_t at = session_find(reference, request.session);
    switch (request.opcode) {
    case SESSION_COMMAND:
        return numbered(reference, index, &request, entry);
    case SESSION_OPEN:
        return session_open(reference, index);
    case SESSION_KEEP_ALIVE:
        if (at == reference->sessions.count) {
            entry->verdict = REFERENCE_EXPIRED;
            return refused(CONCLAVE_SESSION_EXPIRED);
        }
        session_use(reference, at, index, request.acknowledged);
        break;
    case SESSION_CLOSE:
        if (at < reference->sessions.count)
            session_remove(reference, at);
        break;
    case SESSION_CLOCK:
        pass_time(reference, request.elapsed_ms);
        break;
    }
    return (struct reference_reply){0};
}

#include "tests/sim/reference.h"

#include "base/fatal.h"
#include "base/list.h"
#include "codec/kv_lease.h"
#include "codec/kv_txn.h"
#include "codec/session.h"
#include "codec/topic.h"
#include "tests/sim/map.h"
#include "tests/sim/ops.h"

#include <stdlib.h>
#include <string.h>

/* --- Hashes ----------------------------------------------------------------------------------- */

static uint64_t hash_bytes(uint64_t hash, const void *data, size_t bytes)
{
    const uint8_t *from = data;
    hash = hash_mix(hash, bytes);
    size_t at = 0;
    for (; at + sizeof(uint64_t) <= bytes; at += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, from + at, sizeof word);
        hash = hash_mix(hash, word);
    }
    for (; at < bytes; at++)
        hash = hash_mix(hash, from[at]);
    return hash;
}

void fold_number(struct reference_fold *fold, uint64_t number)
{
    fold->hash = hash_mix(fold->hash, number);
}

void fold_key(struct reference_fold *fold, uint32_t cell, const struct reference_key *key)
{
    fold_number(fold, cell);
    fold_number(fold, key->value);
    fold_number(fold, key->create_revision);
    fold_number(fold, key->mod_revision);
    fold_number(fold, key->version);
    fold_number(fold, key->lease);
}

void fold_session(struct reference_fold *fold, const struct reference_session *session)
{
    fold_number(fold, session->id);
    fold_number(fold, session->acknowledged);
    fold_number(fold, session->highest);
    fold_number(fold, session->used_ms);
    fold_number(fold, session->used_index);
    fold_number(fold, session->capacity);
}

void fold_slot(struct reference_fold *fold, uint64_t sequence, bool forgotten, int code,
               const void *body, size_t bytes)
{
    fold_number(fold, sequence);
    fold_number(fold, forgotten ? UINT64_MAX : (uint64_t)code);
    fold->hash = hash_bytes(fold->hash, body, bytes);
}

uint64_t reference_value_hash(struct slice value)
{
    return hash_bytes(1, value.data, value.bytes) | 1;
}

uint64_t reference_reply_hash(bool refused, int code, const void *body, size_t bytes)
{
    return hash_bytes(hash_mix(hash_mix(1, refused), (uint64_t)code), body, bytes) | 1;
}

static uint64_t keys_hash(const struct reference *reference)
{
    struct reference_fold fold = {1};
    fold_number(&fold, reference->revision);
    for (uint32_t i = 0; i < SIM_KEYS; i++) {
        if (reference->keys[i].version)
            fold_key(&fold, i, &reference->keys[i]);
    }
    reference_leases_fold(&fold, reference);
    reference_topic_fold(&fold, reference);
    return fold.hash;
}

static uint64_t sessions_hash(const struct reference *reference)
{
    struct reference_fold fold = {1};
    fold_number(&fold, reference->clock_ms);
    fold_number(&fold, reference->commands);
    for (uint32_t i = 0; i < reference->sessions.count; i++) {
        const struct reference_session *session = &reference->sessions.items[i];
        fold_session(&fold, session);
        for (uint32_t k = 0; k < session->slots.count; k++) {
            const struct reference_slot *slot = &session->slots.items[k];
            fold_slot(&fold, slot->sequence, slot->forgotten, slot->reply.code, slot->reply.body,
                      slot->forgotten ? 0 : slot->reply.bytes);
        }
    }
    return fold.hash;
}

/* --- Life ------------------------------------------------------------------------------------- */

static void entry_add(struct reference *reference, struct reference_entry entry)
{
    entry.keys = keys_hash(reference);
    entry.sessions = sessions_hash(reference);
    LIST_RESERVE(&reference->entries);
    reference->entries.items[reference->entries.count++] = entry;
}

void reference_init(struct reference *reference, const struct session_limits *limits)
{
    *reference = (struct reference){.limits = *limits};
    entry_add(reference, (struct reference_entry){0});
}

void reference_deinit(struct reference *reference)
{
    for (uint32_t i = 0; i < reference->sessions.count; i++)
        free(reference->sessions.items[i].slots.items);
    free(reference->sessions.items);
    free(reference->leases.items);
    free(reference->ends.items);
    free(reference->messages.items);
    free(reference->entries.items);
    *reference = (struct reference){0};
}

uint64_t reference_applied(const struct reference *reference)
{
    return reference->entries.count - 1;
}

const struct reference_entry *reference_at(const struct reference *reference, uint64_t index)
{
    ASSERT(index < reference->entries.count);
    return &reference->entries.items[index];
}

/* --- Keys ------------------------------------------------------------------------------------- */

struct reference_reply reference_outcome(int code, uint64_t revision, uint64_t value)
{
    struct reference_reply reply = {.code = code};
    struct pack pack;
    pack_init(&pack, 0);
    kv_outcome_pack(&pack, &(struct kv_outcome){.revision = revision, .value = value});
    ASSERT(pack.bytes <= sizeof reply.body);
    memcpy(reply.body, pack.buf->data, pack.bytes);
    reply.bytes = (uint32_t)pack.bytes;
    pack_deinit(&pack);
    return reply;
}

static struct reference_reply delete_range(struct reference *reference,
                                           const struct kv_command *command)
{
    uint64_t deleted = 0;
    for (uint32_t i = key_decode(command->bounds.from); i < key_decode(command->bounds.to); i++) {
        deleted += reference->keys[i].version > 0;
        reference_erase(reference, i, reference->revision + 1);
    }
    reference->revision += deleted > 0; /* one change, however many keys */
    return reference_outcome(CONCLAVE_OK, reference->revision, deleted);
}

static void put(struct reference *reference, struct reference_key *key, struct slice value)
{
    key->value = reference_value_hash(value);
    key->mod_revision = ++reference->revision;
    key->create_revision = key->version ? key->create_revision : key->mod_revision;
    key->version++;
}

/* One compare of a modify revision, and one put if it holds: what the clients send. */
static struct reference_reply transaction(struct reference *reference, const struct kv_txn *txn)
{
    struct kv_txn_reader compares, steps;
    struct kv_compare compare;
    struct kv_step step;
    struct reference_reply reply = {.code = CONCLAVE_OK};
    struct pack pack, answers;
    kv_txn_begin(&compares, &txn->compares);
    kv_txn_begin(&steps, &txn->then);
    ASSERT(kv_txn_next_compare(&compares, &compare) == 1 && txn->compares.count == 1);
    ASSERT(kv_txn_next_step(&steps, &step) == 1 && txn->then.count == 1);
    struct reference_key *key = &reference->keys[key_decode(compare.key)];
    uint64_t before = key->mod_revision;
    bool held = before == compare.number;
    pack_init(&answers, 0);
    if (held) {
        put(reference, key, step.command.value);
        reference_key_lease(reference, key, 0);
        pack_array(&answers, 2);
        pack_uint(&answers, CONCLAVE_OK);
        kv_outcome_pack(&answers,
                        &(struct kv_outcome){.revision = reference->revision, .value = before});
    }
    pack_init(&pack, 0);
    kv_txn_answer_pack(
        &pack,
        &(struct kv_txn_answer){.revision = reference->revision, .held = held, .count = held},
        (struct slice){answers.buf->data, answers.bytes});
    ASSERT(pack.bytes <= sizeof reply.body);
    memcpy(reply.body, pack.buf->data, pack.bytes);
    reply.bytes = (uint32_t)pack.bytes;
    pack_deinit(&pack);
    pack_deinit(&answers);
    return reply;
}

static struct reference_reply lease_outcome(const struct reference *reference,
                                            const struct reference_lease *lease)
{
    struct reference_reply reply = {.code = CONCLAVE_OK};
    struct pack pack;
    pack_init(&pack, 0);
    kv_lease_answer_pack(&pack, &(struct kv_lease_answer){.revision = reference->revision,
                                                          .lease = lease->id,
                                                          .ttl_ms = lease->ttl_ms});
    ASSERT(pack.bytes <= sizeof reply.body);
    memcpy(reply.body, pack.buf->data, pack.bytes);
    reply.bytes = (uint32_t)pack.bytes;
    pack_deinit(&pack);
    return reply;
}

static struct reference_reply lease_expired(const struct reference *reference)
{
    struct reference_reply reply = {.code = CONCLAVE_LEASE_EXPIRED};
    struct pack pack;
    pack_init(&pack, 0);
    kv_not_found_pack(&pack, reference->revision);
    memcpy(reply.body, pack.buf->data, pack.bytes);
    reply.bytes = (uint32_t)pack.bytes;
    pack_deinit(&pack);
    return reply;
}

static struct reference_reply lease_apply(struct reference *reference,
                                          const struct kv_command *command)
{
    if (command->opcode == KV_LEASE_GRANT)
        return lease_outcome(reference, reference_grant(reference, command->ttl_ms, false));
    struct reference_lease *lease = reference_lease(reference, command->lease);
    if (!lease)
        return lease_expired(reference);
    if (command->opcode == KV_LEASE_REVOKE) {
        uint64_t deleted = reference_lease_end(reference, command->lease);
        return reference_outcome(CONCLAVE_OK, reference->revision, deleted);
    }
    reference_lease_begin(reference, lease);
    return lease_outcome(reference, lease);
}

static struct reference_reply command_apply(struct reference *reference, struct slice bytes)
{
    if (topic_is_command(topic_opcode_peek(bytes.data, bytes.bytes)))
        return reference_topic_apply(reference, bytes);
    struct kv_command command;
    ASSERT(kv_command_decode(bytes.data, bytes.bytes, &command) == CONCLAVE_OK);
    if (command.opcode == KV_DELETE_RANGE)
        return delete_range(reference, &command);
    if (command.opcode == KV_TXN)
        return transaction(reference, &command.txn);
    if (command.opcode >= KV_LEASE_GRANT && command.opcode <= KV_LEASE_REVOKE)
        return lease_apply(reference, &command);
    uint32_t cell = key_decode(command.key);
    struct reference_key *key = &reference->keys[cell];
    uint64_t before = key->mod_revision;
    bool existed = key->version > 0;
    if (command.condition.given && command.condition.revision != before)
        return reference_outcome(CONCLAVE_COMPARE_FAILED, reference->revision, before);
    if (command.opcode == KV_DELETE) {
        reference->revision += existed;
        reference_erase(reference, cell, reference->revision);
        return reference_outcome(CONCLAVE_OK, reference->revision, existed);
    }
    const struct reference_lease *lease = reference_lease(reference, command.lease);
    if (command.lease && (!lease || lease->of_key))
        return lease_expired(reference);
    put(reference, key, command.value);
    uint64_t id = command.lease;
    if (command.ttl_ms)
        id = reference_grant(reference, command.ttl_ms, true)->id;
    reference_key_lease(reference, key, id);
    return reference_outcome(CONCLAVE_OK, reference->revision, before);
}

/* --- Sessions --------------------------------------------------------------------------------- */

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
            reference->swept += !most->slots.items[i].forgotten;
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
                                  .reply = command_apply(reference, request->command)};
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
        reference->ended_by_limit++;
    }
    LIST_RESERVE(&reference->sessions);
    reference->sessions.items[reference->sessions.count++] = (struct reference_session){
        .id = index, .used_ms = reference->clock_ms, .used_index = index};
    struct reference_reply reply = {0};
    struct pack pack;
    pack_init(&pack, 0);
    session_opened_pack(&pack,
                        &(struct session_opened){.session = index,
                                                 .lifetime_ms = reference->limits.lifetime_ms,
                                                 .window = reference->limits.window});
    ASSERT(pack.bytes <= sizeof reply.body);
    memcpy(reply.body, pack.buf->data, pack.bytes);
    reply.bytes = (uint32_t)pack.bytes;
    pack_deinit(&pack);
    return reply;
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
        reference->ended_by_time++;
    }
    reference_expire(reference);
}

static struct reference_reply session_apply(struct reference *reference, uint64_t index,
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

void reference_apply(struct reference *reference, const struct raft_entry *entry)
{
    reference_apply_from(reference, entry, 0);
}

void reference_apply_from(struct reference *reference, const struct raft_entry *entry,
                          uint64_t proposed_us)
{
    reference->at = (struct reference_at){.from_us = proposed_us, .term = entry->id.term};
    reference->ends.count = 0;
    ASSERT(entry->id.index == reference->entries.count);
    struct reference_entry told = {.verdict = REFERENCE_NOTHING};
    struct reference_reply reply = {0};
    if (entry->kind == RAFT_ENTRY_COMMAND)
        reply = command_apply(reference, entry->payload);
    else if (entry->kind == RAFT_ENTRY_SESSION)
        reply = session_apply(reference, entry->id.index, entry->payload, &told);
    if (entry->kind == RAFT_ENTRY_COMMAND || entry->kind == RAFT_ENTRY_SESSION)
        told.reply = reference_reply_hash(reply.refused, reply.code, reply.body, reply.bytes);
    entry_add(reference, told);
}

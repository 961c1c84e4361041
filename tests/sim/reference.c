#include "tests/sim/reference_internal.h"

#include "base/fatal.h"
#include "base/list.h"
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
               uint64_t body)
{
    fold_number(fold, sequence);
    fold_number(fold, forgotten ? UINT64_MAX : (uint64_t)code);
    fold_number(fold, forgotten ? 0 : body);
}

uint64_t reference_value_hash(struct slice value)
{
    return hash_bytes(1, value.data, value.bytes) | 1;
}

uint64_t reference_origin_hash(struct slice origin)
{
    return origin.bytes ? reference_value_hash(origin) : 0;
}

uint64_t reference_body_hash(const void *body, size_t bytes)
{
    return hash_bytes(1, body, bytes);
}

static uint64_t reply_hash(const struct reference_reply *reply)
{
    return hash_mix(hash_mix(hash_mix(1, reply->refused), (uint64_t)reply->code), reply->body) | 1;
}

uint64_t reference_reply_hash(bool refused, int code, const void *body, size_t bytes)
{
    return reply_hash(&(struct reference_reply){
        .refused = refused, .code = code, .body = reference_body_hash(body, bytes)});
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
    reference_queues_fold(&fold, reference);
    reference_topics_fold(&fold, reference);
    const struct kv_usage usage = reference_usage(reference);
    fold_usage(&fold, &usage);
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
            fold_slot(&fold, slot->sequence, slot->forgotten, slot->reply.code, slot->reply.body);
        }
    }
    return fold.hash;
}

/* --- Answers ---------------------------------------------------------------------------------- */

struct reference_reply reference_reply_take(int code, struct pack *pack)
{
    struct reference_reply reply = {.code = code,
                                    .bytes = pack->bytes,
                                    .body = reference_body_hash(pack->buf->data, pack->bytes)};
    pack_deinit(pack);
    return reply;
}

struct reference_reply reference_outcome(int code, uint64_t revision, uint64_t value)
{
    struct pack pack;
    pack_init(&pack, 0);
    kv_outcome_pack(&pack, &(struct kv_outcome){.revision = revision, .value = value});
    return reference_reply_take(code, &pack);
}

struct reference_reply reference_revision_alone(int code, uint64_t revision)
{
    struct pack pack;
    pack_init(&pack, 0);
    kv_not_found_pack(&pack, revision);
    return reference_reply_take(code, &pack);
}

/* --- Life ------------------------------------------------------------------------------------- */

static void entry_add(struct reference *reference, struct reference_entry entry)
{
    entry.revision = reference->revision;
    entry.keys = keys_hash(reference);
    entry.sessions = sessions_hash(reference);
    LIST_RESERVE(&reference->entries);
    reference->entries.items[reference->entries.count++] = entry;
    if (reference->remembers)
        reference_past_note(reference);
}

void reference_init(struct reference *reference, const struct session_limits *limits)
{
    *reference = (struct reference){.limits = *limits};
    reference_usage_init(reference);
    entry_add(reference, (struct reference_entry){0});
}

void reference_remember(struct reference *reference)
{
    ASSERT(reference->entries.count == 1);
    reference->remembers = true;
    reference_past_note(reference);
}

void reference_deinit(struct reference *reference)
{
    for (uint32_t i = 0; i < reference->sessions.count; i++)
        free(reference->sessions.items[i].slots.items);
    for (uint32_t i = 0; i < reference->topics.count; i++) {
        free(reference->topics.items[i].messages.items);
        free(reference->topics.items[i].blocks.items);
    }
    for (uint32_t i = 0; i < reference->groups.count; i++) {
        free(reference->groups.items[i].handed.items);
        free(reference->groups.items[i].members.items);
    }
    reference_past_deinit(reference);
    free(reference->sessions.items);
    free(reference->changes.items);
    free(reference->places.items);
    free(reference->leases.items);
    free(reference->ends.items);
    free(reference->topics.items);
    free(reference->groups.items);
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

void reference_apply(struct reference *reference, const struct raft_entry *entry)
{
    reference_apply_from(reference, entry, 0);
}

void reference_apply_from(struct reference *reference, const struct raft_entry *entry,
                          uint64_t proposed_us)
{
    reference->at = (struct reference_at){
        .from_us = proposed_us, .term = entry->id.term, .index = entry->id.index};
    reference->ends.count = 0;
    ASSERT(entry->id.index == reference->entries.count);
    struct reference_entry told = {.verdict = REFERENCE_NOTHING};
    struct reference_reply reply = {0};
    bool command = entry->kind == RAFT_ENTRY_COMMAND, session = entry->kind == RAFT_ENTRY_SESSION;
    if (command)
        reply = reference_command_apply(reference, entry->payload);
    else if (session)
        reply = reference_session_apply(reference, entry->id.index, entry->payload, &told);
    if (command || session) {
        if (reply.bytes == 0)
            reply.body = reference_body_hash(NULL, 0);
        told.reply = reply_hash(&reply);
    }
    entry_add(reference, told);
}

#include "storage/wal_format.h"

#include "base/fatal.h"
#include "storage/block.h"
#include "storage/bytes.h"

#include <inttypes.h>
#include <stdio.h>
#define XXH_INLINE_ALL /* most of it is short: a call would cost as much as the hash */
#include <xxhash.h>

static const char wal_magic[] = "CNCLVWAL";

void wal_name_format(uint64_t sequence, char *name)
{
    (void)snprintf(name, WAL_NAME_BYTES, "%016" PRIx64 ".wal", sequence);
}

bool wal_name_parse(const char *name, uint64_t *ret_sequence)
{
    uint64_t sequence = 0;
    if (strlen(name) != WAL_NAME_BYTES - 1 || strcmp(name + 16, ".wal") != 0)
        return false;
    for (int i = 0; i < 16; i++) {
        char c = name[i];
        uint64_t digit;
        if (c >= '0' && c <= '9')
            digit = (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            digit = (uint64_t)(c - 'a') + 10;
        else
            return false;
        sequence = sequence << 4 | digit;
    }
    if (sequence == 0)
        return false;
    *ret_sequence = sequence;
    return true;
}

uint64_t wal_key(const struct storage_identity *identity, uint64_t sequence)
{
    uint8_t bytes[32];
    put_u64(bytes, identity->cluster_id);
    put_u64(bytes + 8, identity->node_id);
    put_u64(bytes + 16, identity->incarnation);
    put_u64(bytes + 24, sequence);
    return XXH3_64bits(bytes, sizeof(bytes));
}

void wal_header_encode(uint8_t *to, const struct storage_identity *identity,
                       const struct wal_header *header)
{
    memset(to, 0, WAL_HEADER_BYTES);
    put_u64(to + 48, header->sequence);
    put_u64(to + 56, header->previous);
    put_u64(to + 64, header->previous_end);
    put_u64(to + 72, header->last.term);
    put_u64(to + 80, header->last.index);
    (void)block_seal(to, WAL_HEADER_BYTES, wal_magic, identity);
}

int wal_header_decode(const uint8_t *from, size_t available,
                      const struct storage_identity *identity, struct wal_header *ret)
{
    int code = block_check(from, available, WAL_HEADER_BYTES, wal_magic, identity);
    if (code == CONCLAVE_OK)
        *ret = (struct wal_header){
            .sequence = get_u64(from + 48),
            .previous = get_u64(from + 56),
            .previous_end = get_u64(from + 64),
            .last = {.term = get_u64(from + 72), .index = get_u64(from + 80)},
        };
    return code;
}

size_t wal_record_bytes(size_t payload_bytes)
{
    return WAL_RECORD_BYTES + ((payload_bytes + 7) & ~(size_t)7);
}

/* --- Links ------------------------------------------------------------------------------------ */

static uint64_t link_of(uint64_t before, struct raft_id id, uint8_t entry_kind,
                        size_t payload_bytes, uint64_t payload_hash)
{
    uint8_t bytes[48];
    put_u64(bytes, before);
    put_u64(bytes + 8, id.term);
    put_u64(bytes + 16, id.index);
    put_u64(bytes + 24, entry_kind);
    put_u64(bytes + 32, payload_bytes);
    put_u64(bytes + 40, payload_hash);
    uint64_t link = XXH3_64bits(bytes, sizeof bytes);
    return link != WAL_LINK_UNKNOWN ? link : 1;
}

static uint64_t hash_of(struct slice payload)
{
    return payload.bytes > 0 ? XXH3_64bits(payload.data, payload.bytes) : 0;
}

uint64_t wal_link(uint64_t before, struct raft_id id, uint8_t entry_kind, struct slice payload)
{
    return link_of(before, id, entry_kind, payload.bytes, hash_of(payload));
}

uint64_t wal_link_begin(struct raft_id base)
{
    return link_of(0, base, UINT8_MAX, 0, 0);
}

/* The link of the log's last entry behind this record. */
static uint64_t link_behind(const struct wal_record *record, uint64_t payload_hash)
{
    switch (record->kind) {
    case WAL_ENTRY:
        return link_of(record->previous, record->id, record->entry_kind, record->payload.bytes,
                       payload_hash);
    case WAL_ANEW:
        return wal_link_begin(record->id);
    case WAL_MEND:
        return record->payload.bytes >= 8 ? get_u64(record->payload.data) : WAL_LINK_UNKNOWN;
    case WAL_BATCH:
        break;
    }
    return record->previous;
}

/* --- Records ---------------------------------------------------------------------------------- */

/* The numbers between a record's checksum and its payload, as they stand there, and behind them the
 * hash of the payload: it is hashed once, for the checksum and for the link. */
enum { RECORD_WORDS = WAL_RECORD_BYTES / 8 };

static uint64_t checksum_of(const uint64_t words[RECORD_WORDS], uint64_t key)
{
    return XXH3_64bits_withSeed(words, RECORD_WORDS * sizeof words[0], key);
}

uint64_t wal_record_encode(uint8_t *to, uint64_t key, const struct wal_record *record)
{
    size_t bytes = wal_record_bytes(record->payload.bytes);
    ASSERT(record->payload.bytes <= WAL_PAYLOAD_BYTES_MAX);
    const uint64_t hash = hash_of(record->payload);
    const uint64_t second = (uint64_t)record->payload.bytes | (uint64_t)record->offset << 32;
    const uint64_t third =
        (uint64_t)record->batch | (uint64_t)record->kind << 32 | (uint64_t)record->entry_kind << 40;
    const uint64_t words[RECORD_WORDS] = {
        htole64(record->previous), htole64(second),           htole64(third),
        htole64(record->id.term),  htole64(record->id.index), htole64(hash)};
    put_u64(to, checksum_of(words, key));
    /* Not copied from there: what is stored word by word is not there yet for a wider load. */
    put_u64(to + 8, record->previous);
    put_u64(to + 16, second);
    put_u64(to + 24, third);
    put_u64(to + 32, record->id.term);
    put_u64(to + 40, record->id.index);
    if (record->payload.bytes > 0) {
        put_u64(to + bytes - 8, 0); /* the padding, before the payload covers the rest */
        memcpy(to + WAL_RECORD_BYTES, record->payload.data, record->payload.bytes);
    }
    return link_behind(record, hash);
}

bool wal_record_decode(const uint8_t *segment, size_t segment_bytes, size_t offset, uint64_t key,
                       struct wal_record *ret)
{
    return offset <= segment_bytes &&
           wal_record_decode_at(segment + offset, segment_bytes - offset, offset, key, ret);
}

size_t wal_record_claims(const uint8_t *at)
{
    return wal_record_bytes(get_u32(at + 16));
}

bool wal_record_decode_at(const uint8_t *at, size_t available, size_t offset, uint64_t key,
                          struct wal_record *ret)
{
    if (available < WAL_RECORD_BYTES)
        return false;
    /* The offset first: it rejects nearly everything that is no record, without hashing. */
    if (get_u32(at + 20) != offset || at[28] < WAL_BATCH || at[28] > WAL_MEND)
        return false;
    size_t payload_bytes = get_u32(at + 16);
    if (payload_bytes > WAL_PAYLOAD_BYTES_MAX || wal_record_bytes(payload_bytes) > available)
        return false;
    *ret = (struct wal_record){
        .previous = get_u64(at + 8),
        .offset = (uint32_t)offset,
        .batch = get_u32(at + 24),
        .kind = (enum wal_kind)at[28],
        .entry_kind = at[29],
        .id = {.term = get_u64(at + 32), .index = get_u64(at + 40)},
        .payload = {.data = at + WAL_RECORD_BYTES, .bytes = payload_bytes},
    };
    const uint64_t hash = hash_of(ret->payload);
    uint64_t words[RECORD_WORDS] = {[RECORD_WORDS - 1] = htole64(hash)};
    memcpy(words, at + 8, WAL_RECORD_BYTES - 8);
    size_t padded = wal_record_bytes(payload_bytes) - WAL_RECORD_BYTES;
    if (checksum_of(words, key) != get_u64(at) ||
        !bytes_zero(at + WAL_RECORD_BYTES + payload_bytes, padded - payload_bytes))
        return false;
    ret->link = link_behind(ret, hash);
    return true;
}

/* --- Mends ------------------------------------------------------------------------------------ */

enum { MEND_ENTRY_BYTES = 16 };

size_t wal_mend_entry_bytes(size_t payload_bytes)
{
    return MEND_ENTRY_BYTES + ((payload_bytes + 7) & ~(size_t)7);
}

bool wal_mend_begin(const struct wal_record *record, struct wal_mend *ret)
{
    const struct slice payload = record->payload;
    if (payload.bytes < 8)
        return false;
    *ret = (struct wal_mend){.stands_for = get_u64(payload.data)};
    if (payload.bytes >= WAL_MEND_ENTRIES_AT) {
        ret->index = get_u64(payload.data + 8);
        ret->left = (struct slice){.data = payload.data + WAL_MEND_ENTRIES_AT,
                                   .bytes = payload.bytes - WAL_MEND_ENTRIES_AT};
    }
    return true;
}

int wal_mend_next(struct wal_mend *mend, struct wal_record *ret)
{
    const uint8_t *at = mend->left.data;
    if (mend->left.bytes < MEND_ENTRY_BYTES || get_u64(at) == 0)
        return 0;
    size_t bytes = get_u32(at + 8);
    if (bytes > WAL_PAYLOAD_BYTES_MAX || wal_mend_entry_bytes(bytes) > mend->left.bytes ||
        mend->index == 0 || at[12] > RAFT_ENTRY_SESSION)
        return -1;
    *ret = (struct wal_record){.kind = WAL_ENTRY,
                               .entry_kind = at[12],
                               .id = {.term = get_u64(at), .index = mend->index++},
                               .payload = {.data = at + MEND_ENTRY_BYTES, .bytes = bytes}};
    mend->left.data += wal_mend_entry_bytes(bytes);
    mend->left.bytes -= wal_mend_entry_bytes(bytes);
    return 1;
}

void wal_mend_put(uint8_t *to, const struct raft_entry *entry)
{
    memset(to, 0, wal_mend_entry_bytes(entry->payload.bytes));
    put_u64(to, entry->id.term);
    put_u32(to + 8, (uint32_t)entry->payload.bytes);
    to[12] = (uint8_t)entry->kind;
    if (entry->payload.bytes > 0)
        memcpy(to + MEND_ENTRY_BYTES, entry->payload.data, entry->payload.bytes);
}

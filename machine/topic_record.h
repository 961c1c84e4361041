/* machine/topic_record.h - what the tables keep of topics. Numbers in keys are 8 bytes big-endian,
 * in values little-endian. Any thread.
 *
 *     topics      't' name                  struct topic_record: settings and state
 *                 'i' topic id              struct topic_id_record: where this message id was seen
 *                 'o' topic sequence        time (8), end (8), then the ids that the publish which
 *                                           began there brought: length (1), bytes
 *                 'x' topic                 its deadline (8): deleted, and its rest is still to be
 *                                           erased
 *     messages    topic sequence            a block: struct topic_block, then count times
 *                                           data bytes and step (4), id bytes (1), id, data; with
 *                                           the top bit of the first: before data, origin bytes (2)
 *                                           and an origin (codec/topic.h)
 *
 * `topic` is the id of a topic, the revision that created it: a name that is used again is another
 * topic. `sequence` in a key is that of the first message of the block. A block holds messages of
 * one publish, at most TOPIC_BLOCK_BYTES or a single one; or of several that came in the same
 * moment of cluster time, at most TOPIC_JOIN_BYTES: then the step of a message says by how much its
 * revision is above that of the one before it. What is joined follows from the log alone, wherever
 * the batches of a node end. */
#ifndef MACHINE_TOPIC_RECORD_H
#define MACHINE_TOPIC_RECORD_H

#include "base/fatal.h"
#include "codec/topic.h"
#include "machine/tables.h"

#include <endian.h>

enum {
    TOPIC_BLOCK_BYTES = (32 << 10) - 16, /* eight pages of LMDB with their header */
    TOPIC_JOIN_BYTES = 2014,             /* half a page, with what LMDB keeps beside it */
    TOPIC_JOIN_SHARE = 16, /* nor more than such a part of what the topic may hold: whole blocks go
                              when it holds too much */
    TOPIC_ENTRY_BYTES = 5, /* before id and data */
    TOPIC_DATA_BITS = 20,
    TOPIC_STEP_BITS = 11, /* behind them */
    TOPIC_STEP_MAX = (1 << TOPIC_STEP_BITS) - 1,
    TOPIC_ENTRY_ORIGIN_BYTES = 2,
    TOPIC_KEY_BYTES_MAX = 1 + 8 + CONCLAVE_TOPIC_BYTES_MAX,

    TOPIC_TAG_NAME = 't',
    TOPIC_TAG_ID = 'i',
    TOPIC_TAG_ORDER = 'o',
    TOPIC_TAG_DEAD = 'x'
};

/* In the order of the fields. */
struct topic_record {
    uint64_t id;
    uint64_t count_max, bytes_max, age_ms, dedup_ms, dedup_count;
    uint64_t first; /* the oldest message that counts */
    uint64_t end;   /* the sequence of the next one, 1 at first */
    uint64_t bytes; /* of all blocks */
    /* The oldest block, so that it is read only to be erased. head_end 0: there is none. */
    uint64_t head_end, head_bytes, head_ms;
    uint64_t order_end; /* as head_end: the oldest entry 'o' ends here */
    uint64_t order_ms;
    /* The newest block, while more may be joined to it: where it begins (0: to none), its bytes,
     * its time, the revision of its last message. */
    uint64_t tail_begin, tail_bytes, tail_ms, tail_revision;
    uint64_t due_ms; /* its deadline's: nothing is too old before (topic_retention.c); 0: none */
};
enum { TOPIC_RECORD_BYTES = sizeof(struct topic_record) };

struct topic_block {
    uint64_t revision, time_ms, count;
};

struct topic_id_record {
    uint64_t sequence, time_ms;
};

#define TOPIC_ENTRY_ORIGIN (UINT32_C(1) << 31)
_Static_assert(TOPIC_DATA_BITS + TOPIC_STEP_BITS == 31, "the top bit is free");
_Static_assert(CONCLAVE_VALUE_BYTES_MAX < 1 << TOPIC_DATA_BITS, "steps have the other bits");

/* All of these are rows of uint64_t: swapped where the machine is not little-endian. */
static inline void topic_numbers_write(void *stored, const void *numbers, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += sizeof(uint64_t)) {
        uint64_t number;
        memcpy(&number, (const uint8_t *)numbers + at, sizeof number);
        number = htole64(number);
        memcpy((uint8_t *)stored + at, &number, sizeof number);
    }
}

/* OK, or CORRUPT if there is less. */
MUST_USE static inline int topic_numbers_read(struct slice stored, void *numbers, size_t bytes)
{
    if (stored.bytes < bytes)
        return CONCLAVE_CORRUPT;
    for (size_t at = 0; at < bytes; at += sizeof(uint64_t)) {
        uint64_t number;
        memcpy(&number, stored.data + at, sizeof number);
        number = le64toh(number);
        memcpy((uint8_t *)numbers + at, &number, sizeof number);
    }
    return CONCLAVE_OK;
}

/* A key being put together. */
struct topic_key {
    uint8_t bytes[TOPIC_KEY_BYTES_MAX];
    size_t used;
};

static inline void topic_key_add(struct topic_key *key, const void *data, size_t bytes)
{
    ASSERT(bytes <= sizeof key->bytes - key->used);
    if (bytes)
        memcpy(key->bytes + key->used, data, bytes);
    key->used += bytes;
}

static inline void topic_key_add_number(struct topic_key *key, uint64_t number)
{
    uint64_t big = htobe64(number);
    topic_key_add(key, &big, sizeof big);
}

static inline struct slice topic_key_slice(const struct topic_key *key)
{
    return (struct slice){key->bytes, key->used};
}

static inline struct topic_key topic_key_tagged(uint8_t tag)
{
    struct topic_key key; /* 264 bytes that need not be cleared */
    key.bytes[0] = tag;
    key.used = 1;
    return key;
}

static inline struct topic_key topic_name_key(struct slice name)
{
    struct topic_key key = topic_key_tagged(TOPIC_TAG_NAME);
    topic_key_add(&key, name.data, name.bytes);
    return key;
}

static inline struct topic_key topic_block_key(uint64_t topic, uint64_t sequence)
{
    struct topic_key key;
    key.used = 0;
    topic_key_add_number(&key, topic);
    topic_key_add_number(&key, sequence);
    return key;
}

static inline uint64_t topic_number_at(const uint8_t *at)
{
    uint64_t number;
    memcpy(&number, at, sizeof number);
    return be64toh(number);
}

/* Whether it is a block's key of this topic; *ret_sequence then. */
static inline bool topic_block_is(struct slice key, uint64_t topic, uint64_t *ret_sequence)
{
    if (key.bytes != 16 || topic_number_at(key.data) != topic)
        return false;
    *ret_sequence = topic_number_at(key.data + 8);
    return true;
}

/* Of a message that has one: takes it from the front of what is behind its id. CORRUPT: it does not
 * fit. */
MUST_USE static inline int topic_origin_read(struct slice *rest, struct slice *ret)
{
    uint16_t bytes;
    if (rest->bytes < sizeof bytes)
        return CONCLAVE_CORRUPT;
    memcpy(&bytes, rest->data, sizeof bytes);
    bytes = le16toh(bytes);
    if (rest->bytes - sizeof bytes < bytes)
        return CONCLAVE_CORRUPT;
    *ret = (struct slice){rest->data + sizeof bytes, bytes};
    rest->data += sizeof bytes + bytes;
    rest->bytes -= sizeof bytes + bytes;
    return CONCLAVE_OK;
}

/* Reads the message at *at inside a block and moves behind it. CORRUPT: there is none. */
MUST_USE static inline int topic_entry_read(struct slice block, size_t *at,
                                            struct topic_message *ret, uint32_t *ret_step)
{
    if (block.bytes - *at < TOPIC_ENTRY_BYTES)
        return CONCLAVE_CORRUPT;
    uint32_t data_bytes;
    memcpy(&data_bytes, block.data + *at, sizeof data_bytes);
    data_bytes = le32toh(data_bytes);
    *ret_step = data_bytes >> TOPIC_DATA_BITS & TOPIC_STEP_MAX;
    bool has_origin = data_bytes & TOPIC_ENTRY_ORIGIN;
    data_bytes &= (1u << TOPIC_DATA_BITS) - 1;
    size_t id_bytes = block.data[*at + 4], left = block.bytes - *at - TOPIC_ENTRY_BYTES;
    if (left < id_bytes)
        return CONCLAVE_CORRUPT;
    const uint8_t *id = block.data + *at + TOPIC_ENTRY_BYTES;
    struct topic_message message = {.data = {id + id_bytes, left - id_bytes}, .id = {id, id_bytes}};
    if (has_origin && topic_origin_read(&message.data, &message.origin))
        return CONCLAVE_CORRUPT;
    if (message.data.bytes < data_bytes)
        return CONCLAVE_CORRUPT;
    message.data.bytes = data_bytes;
    *ret = message;
    *at = (size_t)(message.data.data - block.data) + data_bytes;
    return CONCLAVE_OK;
}

#endif

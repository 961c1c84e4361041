/* codec/coord.h - the wire form of queues: what locks, elections and presence are made of.
 *
 *     command  enqueue   [16, name, lease, value?, slots?]
 *              leave     [17, name, token]
 *              proclaim  [18, name, token, value]
 *     query    place     [70, name, token]
 *              queue     [71, name, after?, limit?]
 *     answer   enqueue, place   [revision, token, awaited]
 *              leave            [revision, left]
 *              proclaim         [revision, token]
 *              COMPARE_FAILED   [revision, number]
 *              NOT_FOUND, LEASE_EXPIRED  [revision]
 *              queue            [revision, slots, [entry, ...], next]
 *     entry                     [token, lease, value, revision]
 *
 * The rules are those of codec/kv.h, whose row of opcodes this is. Decoding allocates nothing; the
 * slices point into the bytes read. Any thread; pure functions. */
#ifndef CODEC_COORD_H
#define CODEC_COORD_H

#include "base/cursor.h"
#include "base/error.h"
#include "base/pack.h"
#include "conclave_lock.h"

enum coord_opcode {
    COORD_ENQUEUE = 16,
    COORD_LEAVE = 17,
    COORD_PROCLAIM = 18,
    COORD_PLACE = 70,
    COORD_QUEUE = 71
};

enum {
    COORD_QUEUE_LIMIT_MAX = 100, /* entries of one answer */
    /* Beside its value: array 1, two numbers of 9, a header of 3, a number of 9. */
    COORD_ENTRY_FRAME_BYTES = 1 + 9 + 9 + 3 + 9
};

/* --- What is stored ---------------------------------------------------------------------------
 *
 * An entry is a key of space 1, `name 00 token` (8 bytes, big-endian), whose value is the number of
 * slots (2, big-endian) and the caller's own: whoever watches a queue finds it so. */

enum {
    COORD_SPACE = 1,
    COORD_TOKEN_BYTES = 8,
    COORD_KEY_BYTES_MAX = CONCLAVE_QUEUE_NAME_BYTES_MAX + 1 + COORD_TOKEN_BYTES,
    COORD_SLOTS_BYTES = 2
};

/* The key of an entry into key[], which has room for COORD_KEY_BYTES_MAX. */
struct slice coord_key(struct slice name, uint64_t token, uint8_t *key);

/* Whether it is a key of this queue; *ret_token then. No name has a zero byte. */
bool coord_key_is_of(struct slice key, struct slice name, uint64_t *ret_token);

/* The caller's own value of what is stored; CORRUPT: it is too short. */
MUST_USE int coord_stored_read(struct slice stored, uint64_t *ret_slots, struct slice *ret_value);

bool coord_is_command(uint64_t opcode);
bool coord_is_query(uint64_t opcode);

/* --- Commands and queries --------------------------------------------------------------------- */

struct coord_request {
    enum coord_opcode opcode;
    struct slice name;
    struct slice value; /* ENQUEUE, PROCLAIM */
    uint64_t lease;     /* ENQUEUE */
    uint64_t slots;     /* ENQUEUE: how many hold at a time; 0: all */
    uint64_t token;     /* of an entry; QUEUE: those behind it */
    uint64_t limit;     /* QUEUE; 0: COORD_QUEUE_LIMIT_MAX */
};

/* Both. Errors: MALFORMED, INVALID (empty name, zero bytes in it, no lease), TOO_LARGE (name,
 * value, slots). */
MUST_USE int coord_command_decode(const void *data, size_t bytes, struct coord_request *ret);
MUST_USE int coord_query_decode(const void *data, size_t bytes, struct coord_request *ret);
void coord_request_pack(struct pack *pack, const struct coord_request *request);

/* --- Answers ---------------------------------------------------------------------------------- */

/* `awaited`: the entry that has to go before this one can hold; 0: it holds. */
struct coord_place {
    uint64_t revision, token, awaited;
};
void coord_place_pack(struct pack *pack, const struct coord_place *place);
/* Errors: MALFORMED. */
MUST_USE int coord_place_decode(const void *data, size_t bytes, struct coord_place *ret);

struct coord_entry {
    uint64_t token, lease;
    struct slice value;
    uint64_t revision; /* of its last change */
};

/* Packed from entries that are packed one after the other; read with begin, then next. */
struct coord_queue {
    uint64_t revision, slots;
    uint64_t next; /* `token` of the query that goes on; 0: nothing is left */
    uint32_t count;
    struct cursor entries;
};
void coord_entry_pack(struct pack *pack, const struct coord_entry *entry);
void coord_queue_pack(struct pack *pack, const struct coord_queue *queue, struct slice entries);
/* Errors: MALFORMED. */
MUST_USE int coord_queue_begin(const void *data, size_t bytes, struct coord_queue *ret);
/* 1 and *ret, 0 at the end, -1 if the rest is malformed. */
MUST_USE int coord_queue_next(struct coord_queue *queue, struct coord_entry *ret);

#endif

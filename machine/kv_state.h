/* machine/kv_state.h - the numbers of the key-value machine that every command may change. They are
 * kept in the note of the tables, beside the applied index, and at the head of a snapshot: 8 bytes
 * each, little-endian, in this order. All of them follow from the log alone. Any thread. */
#ifndef MACHINE_KV_STATE_H
#define MACHINE_KV_STATE_H

#include "machine/tables.h"

#include <endian.h>
#include <stdint.h>
#include <string.h>

enum {
    /* What a new store begins with (machine/kv_history.h). */
    KV_HISTORY_CHANGES = 100000,
    KV_HISTORY_BYTES = 64 << 20
};

struct kv_state {
    uint64_t revision;        /* of the last change */
    uint64_t compacted;       /* the history of revisions up to here is not whole any more */
    uint64_t history_changes; /* kept */
    uint64_t history_bytes;
    uint64_t keys, bytes;        /* keys of all spaces, with what belongs to them, and leases */
    uint64_t leases, last_lease; /* how many there are, and the number of the one granted last */

    /* Settings. */
    uint64_t changes_max, bytes_max, age_ms_max; /* of the history; age 0: any */
    uint64_t quota;                              /* of bytes; 0: none */

    uint64_t topics, topic_bytes; /* how many there are; they and their messages */
    uint64_t refused;             /* bytes that the quota had no room for; 0: machine/kv_quota.h */
};

enum { KV_STATE_WORDS = sizeof(struct kv_state) / sizeof(uint64_t) };
_Static_assert(sizeof(struct kv_state) <= TABLES_NOTE_BYTES_MAX, "fits into the note");

static inline struct kv_state kv_state_new(void)
{
    return (struct kv_state){.changes_max = KV_HISTORY_CHANGES, .bytes_max = KV_HISTORY_BYTES};
}

static inline struct tables_state kv_state_pack(uint64_t applied_index,
                                                const struct kv_state *state)
{
    struct tables_state packed = {.applied_index = applied_index, .note_bytes = sizeof *state};
    uint64_t words[KV_STATE_WORDS];
    memcpy(words, state, sizeof words);
    for (size_t i = 0; i < KV_STATE_WORDS; i++)
        words[i] = htole64(words[i]);
    memcpy(packed.note, words, sizeof words);
    return packed;
}

/* OK, or CORRUPT if there is another note; none at all is a new store's. */
MUST_USE static inline int kv_state_unpack(struct slice note, struct kv_state *ret)
{
    union {
        uint64_t words[KV_STATE_WORDS];
        struct kv_state state;
    } read = {.state = kv_state_new()};
    if (note.bytes != 0 && note.bytes != sizeof read)
        return CONCLAVE_CORRUPT;
    for (size_t i = 0; i < note.bytes / sizeof read.words[0]; i++) {
        memcpy(&read.words[i], note.data + i * sizeof read.words[0], sizeof read.words[0]);
        read.words[i] = le64toh(read.words[i]);
    }
    *ret = read.state;
    return CONCLAVE_OK;
}

#endif

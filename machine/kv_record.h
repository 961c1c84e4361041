/* machine/kv_record.h - what the tables keep under a key: 24 bytes, then the value; and in their
 * note, beside the applied index: the revision, 8 bytes. Any thread. */
#ifndef MACHINE_KV_RECORD_H
#define MACHINE_KV_RECORD_H

#include "machine/tables.h"

#include <endian.h>
#include <stdint.h>
#include <string.h>

enum { KV_RECORD_HEADER_BYTES = 24 };

struct kv_record {
    uint64_t create_revision, mod_revision, version; /* little-endian, in this order */
};
_Static_assert(sizeof(struct kv_record) == KV_RECORD_HEADER_BYTES, "no padding");

static inline void kv_record_write(void *stored, const struct kv_record *record)
{
    struct kv_record disk = {htole64(record->create_revision), htole64(record->mod_revision),
                             htole64(record->version)};
    memcpy(stored, &disk, sizeof disk);
}

/* OK, or CORRUPT if what is stored is too short. */
MUST_USE static inline int kv_record_read(struct slice stored, struct kv_record *ret)
{
    if (stored.bytes < KV_RECORD_HEADER_BYTES)
        return CONCLAVE_CORRUPT;
    struct kv_record disk;
    memcpy(&disk, stored.data, sizeof disk);
    *ret = (struct kv_record){le64toh(disk.create_revision), le64toh(disk.mod_revision),
                              le64toh(disk.version)};
    return CONCLAVE_OK;
}

static inline struct tables_state kv_state(uint64_t applied_index, uint64_t revision)
{
    struct tables_state state = {.applied_index = applied_index, .note_bytes = sizeof revision};
    uint64_t disk = htole64(revision);
    memcpy(state.note, &disk, sizeof disk);
    return state;
}

/* OK, or CORRUPT if there is another note. */
MUST_USE static inline int kv_state_revision(const struct tables_state *state, uint64_t *ret)
{
    uint64_t disk = 0; /* nothing was ever committed */
    if (state->note_bytes != 0 && state->note_bytes != sizeof disk)
        return CONCLAVE_CORRUPT;
    memcpy(&disk, state->note, state->note_bytes);
    *ret = le64toh(disk);
    return CONCLAVE_OK;
}

#endif

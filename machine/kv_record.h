/* machine/kv_record.h - what the tables keep under a key: 32 bytes, then the value. Any thread. */
#ifndef MACHINE_KV_RECORD_H
#define MACHINE_KV_RECORD_H

#include "machine/tables.h"

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { KV_RECORD_HEADER_BYTES = 32 };

struct kv_record {
    uint64_t create_revision, mod_revision, version; /* little-endian, in this order */
    uint64_t lease;                                  /* that it ends with; 0: none */
};
_Static_assert(sizeof(struct kv_record) == KV_RECORD_HEADER_BYTES, "no padding");

/* Number by number: what was just put together in memory and is copied from there in one go waits
 * for it. */
static inline void kv_record_write(void *stored, const struct kv_record *record)
{
    uint8_t *at = stored;
    const uint64_t create = htole64(record->create_revision), mod = htole64(record->mod_revision);
    const uint64_t version = htole64(record->version), lease = htole64(record->lease);
    memcpy(at + offsetof(struct kv_record, create_revision), &create, sizeof create);
    memcpy(at + offsetof(struct kv_record, mod_revision), &mod, sizeof mod);
    memcpy(at + offsetof(struct kv_record, version), &version, sizeof version);
    memcpy(at + offsetof(struct kv_record, lease), &lease, sizeof lease);
}

/* OK, or CORRUPT if what is stored is too short. */
MUST_USE static inline int kv_record_read(struct slice stored, struct kv_record *ret)
{
    if (stored.bytes < KV_RECORD_HEADER_BYTES)
        return CONCLAVE_CORRUPT;
    struct kv_record disk;
    memcpy(&disk, stored.data, sizeof disk);
    *ret = (struct kv_record){le64toh(disk.create_revision), le64toh(disk.mod_revision),
                              le64toh(disk.version), le64toh(disk.lease)};
    return CONCLAVE_OK;
}

/* What is behind the header, which has been read. */
static inline struct slice kv_record_value(struct slice stored)
{
    return (struct slice){stored.data + KV_RECORD_HEADER_BYTES,
                          stored.bytes - KV_RECORD_HEADER_BYTES};
}

#endif

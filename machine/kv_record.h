/* machine/kv_record.h - what the store keeps under a key: 24 bytes, then the value. Any thread. */
#ifndef MACHINE_KV_RECORD_H
#define MACHINE_KV_RECORD_H

#include <endian.h>
#include <lmdb.h>
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

/* 0, or MDB_CORRUPTED if what is stored is too short. */
static inline int kv_record_read(const MDB_val *stored, struct kv_record *ret)
{
    if (stored->mv_size < KV_RECORD_HEADER_BYTES)
        return MDB_CORRUPTED;
    struct kv_record disk;
    memcpy(&disk, stored->mv_data, sizeof disk);
    *ret = (struct kv_record){le64toh(disk.create_revision), le64toh(disk.mod_revision),
                              le64toh(disk.version)};
    return 0;
}

#endif

/* machine/kv_snapshot.h - the key-value machine's state as a stream of bytes, and back.
 *
 *     "CNCLKVS" and format 1 (8), revision (8), then records, then a record of database 0:
 *         database (4): 1 the keys, 2 the client sessions; key bytes (4), value bytes (4), key,
 * value
 *
 * All little-endian; records in the order of their keys. A snapshot is a view of the tables: it
 * is fixed by the state-machine thread in a moment and read by the helper thread while commands go
 * on being applied. LMDB cannot make its map larger while it is read, so growing ends the snapshot;
 * the next one then has more room to begin with. */
#ifndef MACHINE_KV_SNAPSHOT_H
#define MACHINE_KV_SNAPSHOT_H

#include "machine/kv.h"
#include "machine/tables.h"

/* State-machine thread. Code. */
MUST_USE int kv_snapshot_begin(struct tables *tables, uint64_t revision, struct kv_snapshot **ret);

/* Replaces everything by what read delivers, as applied up to `index`. A process killed meanwhile
 * leaves a store that the next open discards. State-machine thread. Code. */
MUST_USE int kv_snapshot_restore(struct tables *tables, uint64_t index, kv_snapshot_source source,
                                 void *arg);

#endif

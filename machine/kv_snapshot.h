/* machine/kv_snapshot.h - the key-value machine's state as a stream of bytes, and back.
 *
 *     "CNCLKVS" and format 3 (8), bytes of the state (4), 0 (4), the state (machine/kv_state.h),
 *     then records, then the end: 0 (4), the digest (8); 0: it is not known, as in older ones
 *         table (4): 1 more than its number in machine/tables.h; key bytes (4), value bytes (4),
 * key, value
 *
 * Who writes it sums up what he has copied out of the tables, and gives the snapshot up where that
 * is not the digest they were committed with (machine/tables_digest.h): whatever memory or disk
 * made of them goes to nobody. Who becomes it sums up what he has put, and compares as well.
 *
 * All little-endian; records in the order of their tables, then of their keys. Sessions are not
 * among them (machine/session_snapshot.h). A snapshot is a view of the tables: it is fixed by the
 * state-machine thread in a moment and read by the helper thread while commands go on being
 * applied. LMDB cannot make its map larger while it is read, so growing ends the snapshot; the next
 * one then has more room to begin with. */
#ifndef MACHINE_KV_SNAPSHOT_H
#define MACHINE_KV_SNAPSHOT_H

#include "machine/kv_state.h"
#include "machine/snapshot_stream.h"

struct kv_snapshot;

/* State-machine thread. Code; one at a time. */
MUST_USE int kv_snapshot_begin(struct tables *tables, const struct kv_state *state,
                               struct kv_snapshot **ret);

/* Helper thread. BUSY: it was given up because the tables had to grow. CORRUPT: what they hold is
 * not what was put into them. Other codes: of the tables, or the sink's. */
MUST_USE int kv_snapshot_write(struct kv_snapshot *snapshot, struct conclave_snapshot_sink *sink);

/* State-machine thread, when nobody writes it any more. */
void kv_snapshot_end(struct kv_snapshot *snapshot);

/* Replaces everything by what the source delivers, as applied up to `index`. A process killed
 * meanwhile leaves tables that the next open discards. `finish` adds to the last transaction, and
 * may be called again for it. State-machine thread. Code. */
MUST_USE int kv_snapshot_restore(struct tables *tables, uint64_t index,
                                 struct conclave_snapshot_source *source,
                                 int (*finish)(void *arg, struct tables_tx *tx), void *arg);

#endif

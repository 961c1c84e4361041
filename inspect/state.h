/* inspect/state.h - what a snapshot holds, as far as its format tells. Owned by one thread. */
#ifndef INSPECT_STATE_H
#define INSPECT_STATE_H

#include "conclave_inspect.h"
#include "storage/snapshot.h"

/* Reads all of the state and counts what is in it. CORRUPT: it, or the file, is damaged; VERSION:
 * a newer program wrote it. */
MUST_USE int state_read(struct snapshot_reader *reader, struct conclave_inspect_snapshot *found,
                        struct conclave_error *error);

#endif

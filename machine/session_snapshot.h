/* machine/session_snapshot.h - the state of a cluster as a stream of bytes, of any machine: what
 * the session layer keeps, and behind it the machine's own bytes.
 *
 *     "CNCLSTA" and format 1 (8), then sections:
 *         kind (4): 1 the session table, 0 the end; zero (4); bytes of the payload (8); payload
 *     then, to the end of the stream, what the machine wrote
 *
 * All little-endian. A format that needs more adds kinds; a reader that finds one it does not know
 * says VERSION. */
#ifndef MACHINE_SESSION_SNAPSHOT_H
#define MACHINE_SESSION_SNAPSHOT_H

#include "machine/session_table.h"
#include "machine/snapshot_stream.h"

struct session_snapshot;

/* Fixes the state of table and machine as it is now. The machine's thread. Codes: the machine's;
 * nothing was begun then. */
MUST_USE int session_snapshot_begin(const struct conclave_machine_ops *ops, void *machine,
                                    const struct session_table *table,
                                    struct session_snapshot **ret_snapshot);

/* Hands the state to `add` while the machine goes on. The helper's thread. Codes: the machine's
 * (BUSY: given up, try again), or what `add` returned. */
MUST_USE int session_snapshot_write(struct session_snapshot *snapshot, snapshot_add add, void *arg);

/* When nobody writes it any more; before the machine closes. The machine's thread. */
void session_snapshot_end(struct session_snapshot *snapshot);

/* Replaces the table by the one in the stream and leaves the source where the machine's bytes
 * begin. Codes: CORRUPT, VERSION, or the source's; the table may be empty then. */
MUST_USE int session_snapshot_read_table(struct conclave_snapshot_source *source,
                                         struct session_table *table);

#endif

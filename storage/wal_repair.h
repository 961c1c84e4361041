/* storage/wal_repair.h - putting back what damage took out of a log (storage/wal_format.h says why
 * that is sound).
 *
 *     wal_open: CORRUPT or IO ──▶ wal_repair_open ──▶ wal_repair_want ──▶ ask a peer
 *                                     │ beyond repair       ▲    │ nothing     │
 *                                     ▼                     │    ▼             ▼
 *                                  CORRUPT                  │  wal_repair_write  wal_repair_take
 *                                                           └──────────────────────┘
 *     then wal_open again, which judges the whole log as ever
 *
 * Until wal_repair_write nothing is written. Owned by one thread, with the log closed. */
#ifndef STORAGE_WAL_REPAIR_H
#define STORAGE_WAL_REPAIR_H

#include "storage/wal.h"
#include "storage/wal_supply.h"

struct wal_repair;

enum { WAL_HOLES_MAX = 1024 };

/* Looks behind the damage. OK: all of it can be mended with what peers have, or there is none.
 * CORRUPT: it cannot, and why. */
MUST_USE int wal_repair_open(const struct io *io, const char *dir,
                             const struct storage_identity *identity,
                             struct wal_repair **ret_repair, struct conclave_error *error);
void wal_repair_close(struct wal_repair *repair); /* NULL is allowed */

/* How many others can be asked; one if nobody says. */
void wal_repair_ask(struct wal_repair *repair, uint32_t peers);

/* False: nothing is missing (any more). */
bool wal_repair_want(const struct wal_repair *repair, struct wal_want *ret);

/* Whoever was asked does not hold the anchor, or lacks it for now: the next want has another one,
 * farther behind the damage. A peer that is damaged right behind this log's damage has what is
 * missing, and not the nearest anchor. Then come, without any anchor, stretches of the log between
 * entries whose links are known, which tell what is right: two logs may have all that the other
 * lacks and no entry in common. Of these each of the others is asked by itself (want.giver) for all
 * that it has, and a turn goes to the next. In the end it is the nearest anchor again. */
void wal_repair_turn(struct wal_repair *repair);

/* The present want has the nearest anchor: a log that does not hold it ends before, or is another
 * one. */
bool wal_repair_is_nearest(const struct wal_repair *repair);

/* All that can be asked for, by anchors and by links, was asked for since something came last. */
bool wal_repair_is_tried(const struct wal_repair *repair);

/* How many entries are missing, and in how many places something is damaged. */
uint64_t wal_repair_missing(const struct wal_repair *repair);
uint64_t wal_repair_holes(const struct wal_repair *repair);

/* What a peer that holds the anchor of the present want has: its id at the want's prev.index, or of
 * term 0 if it does not know, and entries right behind that, as many as it likes to send at once.
 * CORRUPT: that cannot be, the peer's log and this one have nothing in common. INVALID: what came
 * is not what was written, by the links of this log; it is as if nothing had come. What does not
 * fit the want is ignored. */
MUST_USE int wal_repair_take(struct wal_repair *repair, struct raft_id prev,
                             const struct raft_runs *entries, struct conclave_error *error);

/* The entries up to `snapshot` need not come back: it is durable here, and whole. */
void wal_repair_cover(struct wal_repair *repair, struct raft_id snapshot);

/* Writes over the holes, syncs, and reads back. Nothing may be wanted. CORRUPT: what the peers gave
 * does not make a log that would open, and nothing was written. NO_SPACE: it may be called again
 * when there is room. After any other failure the log is damaged as before in the holes that are
 * left. */
MUST_USE int wal_repair_write(struct wal_repair *repair, struct conclave_error *error);

/* What was written could not stand where it stood: all of the log was written anew, in a segment
 * behind the damaged ones, which go with the next start. */
bool wal_repair_is_anew(const struct wal_repair *repair);

/* --- What others can be given ----------------------------------------------------------------- */

/* What of the damaged log is there: with entries of the kind WAL_ABSENT. */
struct wal_supplier wal_repair_log(const struct wal_repair *repair);

#endif

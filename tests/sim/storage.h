/* tests/sim/storage.h - the real storage of one simulated node (vote file, write-ahead log,
 * identity) on a disk in memory, used as the log-writer's thread uses it.
 *
 * Here a batch is written in one moment. That it takes time, and that the node may die in the
 * middle of it, is told by storage_crash: it begins the batch and loses the power, or the process,
 * at a drawn operation of it. One thread. */
#ifndef TESTS_SIM_STORAGE_H
#define TESTS_SIM_STORAGE_H

#include "storage/identity.h"
#include "storage/wal_repair.h"
#include "tests/sim/knobs.h"

struct storage;

/* Makes a node's directory: {1, 0} and the entry 1:1 with the configuration; NULL: no entry. */
struct storage *storage_create(const struct storage_identity *identity,
                               const struct storage_knobs *knobs, struct buf *configuration,
                               struct prng *prng);
void storage_destroy(struct storage *storage);

/* Writes the persists as one batch: newest hard state, all entries, sync. `fails`: one of its
 * operations does. Any failure is final: the node has to stop; but for NO_SPACE if it waits for
 * room then: it is to be called again with the same persists. */
MUST_USE int storage_write(struct storage *storage, const struct raft_persist *persists,
                           uint32_t count, bool fails, struct conclave_error *error);

/* The batch that storage_write had last found no room. */
bool storage_waits(const struct storage *storage);

/* The node dies while these persists are being written (count 0: none). Returns true if the power
 * was lost, false if only the process was killed. */
bool storage_crash(struct storage *storage, const struct raft_persist *persists, uint32_t count);

/* Entries up to `index` need not be kept: segments are let go of, and removed now or later. A
 * failure is final. */
MUST_USE int storage_cut(struct storage *storage, uint64_t index, struct conclave_error *error);

/* For what else is in the node's directory (tests/sim/shelf.h). */
const struct io *storage_io(const struct storage *storage);
const char *storage_dir(void);

/* The power goes at the `operations`-th operation from now, and comes back with storage_crash. */
void storage_doom(struct storage *storage, uint64_t operations);

/* The `operations`-th operation from now fails; 0: none does. */
void storage_fail(struct storage *storage, uint64_t operations);

/* The same of those alone that change something. */
void storage_fail_change(struct storage *storage, uint64_t changes);

/* The disk takes only a little more. Ends with the next crash. */
void storage_fill(struct storage *storage);
void storage_fill_up(struct storage *storage); /* or none at all */
void storage_empty(struct storage *storage);

struct storage_found {
    struct raft_hard_state hard_state;
    struct raft_id base;
    struct raft_runs entries; /* the caller's */
    uint64_t life;            /* the number of the start */
    uint64_t cut_bytes;
};

/* A start. `interrupted`: the power goes or an operation fails in the middle of it, unless it is
 * done before. After a failure nothing is open. */
MUST_USE int storage_open(struct storage *storage, bool interrupted, struct storage_found *ret,
                          struct conclave_error *error);

/* Behind a start: all that stands behind the log's records, in whichever segment, is zero. A start
 * takes what is not for the rest of something that had been durable, or for what was being written.
 * False: *ret_sequence is the segment in which it is not; 0: the log cannot be read. */
bool storage_is_zero_behind(struct storage *storage, uint64_t *ret_sequence);

/* Changes a byte that the log knows to have been durable, or the block around it, which becomes
 * what another one is, or lets it be unreadable; the node is down. False: there is none. From then
 * on storage_open must answer CORRUPT, or IO (storage_is_unreadable), and change nothing.
 * *ret_wants: what a repair will want; anchor.index 0: nothing, or there can be none. */
bool storage_damage(struct storage *storage, struct wal_want *ret_wants);

/* What rots: of the log as it is in the end, the first `entries_max` entries that `wanted` is true
 * of; beside them, each with a chance in a thousand, records of batches and entries that were
 * replaced. */
struct storage_rot {
    bool (*wanted)(void *arg, struct raft_id id);
    void *arg;
    uint32_t entries_max;
    uint64_t batch_chance, replaced_chance;
};

struct storage_rotten {
    uint32_t entries, batches, replaced;
};

/* The same as storage_damage at many records. Returns at how many; all 0: nothing was done. */
struct storage_rotten storage_damage_records(struct storage *storage, const struct storage_rot *rot,
                                             struct wal_want *ret_wants);

/* The byte is as it was. Right behind storage_damage. */
void storage_undamage(struct storage *storage);

/* Begins the repair of a damaged log, which was refused. CORRUPT: it is damaged beyond repair. */
MUST_USE int storage_repair_begin(struct storage *storage, struct conclave_error *error);
struct wal_repair *storage_repair(struct storage *storage);

/* What a running node's log holds on disk alone, behind which `known` stands: as wal_past_supply.
 * NOT_FOUND also if the power is about to go: reading must not be what it goes by. */
MUST_USE int storage_past(const struct storage *storage, struct raft_id known,
                          const struct wal_want *want, uint64_t bytes_max, enum wal_supply *ret,
                          struct raft_id *ret_prev, struct raft_runs *ret_entries,
                          struct conclave_error *error);

/* As wal_reader_read. Not while the power is about to go. */
MUST_USE int storage_fetch(struct storage *storage, const struct raft_fetch *fetch,
                           struct raft_runs *ret, struct conclave_error *error);

/* True if the power is about to go; `storage` may be NULL. */
bool storage_is_doomed(const struct storage *storage);

/* Writes what was missing, and ends the repair; unless it finds no room (NO_SPACE): then it is to
 * be called again. `interrupted`: the power goes or an operation fails in the middle of it, unless
 * it is done before. `anew`: all of the log in a segment of its own, if that can be. */
MUST_USE int storage_repair_write(struct storage *storage, bool interrupted, bool anew,
                                  struct conclave_error *error);

/* The last repair wrote the log anew, as a whole. */
bool storage_is_anew(const struct storage *storage);

/* Puts zeros where the last segment's last batch was, for tests of what finds that; the node is
 * down. */
void storage_zero_last_batch(struct storage *storage);

/* Changes a byte in one of the two slots of the vote, the node being down: it loses nothing. False:
 * one is damaged already, and was not mended by a start, or the other one would not do. */
bool storage_damage_vote(struct storage *storage);

/* The damage is a block that cannot be read. */
bool storage_is_unreadable(const struct storage *storage);

/* Such a block is left behind by a repair that wrote the log anew: whoever finds that new log
 * damaged reads it. */
bool storage_left_unreadable(const struct storage *storage);

/* The damage is a block that has become what another one is. */
bool storage_is_misdirected(const struct storage *storage);

/* True if every file of the log is as it was right after storage_damage. */
bool storage_untouched(const struct storage *storage);

#endif

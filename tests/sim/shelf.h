/* tests/sim/shelf.h - the snapshots of one simulated node: whole ones, and one being received.
 *
 * On a disk in memory these are the files of storage/snapshot.h. Without one it is a model, and
 * quick: what is whole is durable, and a crash keeps of a part any beginning. Everything here
 * happens in one moment; that a node may die in the middle is the disk's doing. One thread. */
#ifndef TESTS_SIM_SHELF_H
#define TESTS_SIM_SHELF_H

#include "base/prng.h"
#include "storage/snapshot.h"

struct shelf;

/* An empty one. `io`: of the node's disk, where its directory `dir` is; NULL: a model. */
struct shelf *shelf_create(const struct io *io, const char *dir,
                           const struct storage_identity *identity);
void shelf_destroy(struct shelf *shelf);

/* Makes a snapshot durable. */
MUST_USE int shelf_write(struct shelf *shelf, const struct snapshot_meta *meta, struct slice state,
                         struct conclave_error *error);

/* Removes all but the newest two and those from `needed` on (0: none). *ret_oldest: the index of
 * the oldest one that is left. */
MUST_USE int shelf_prune(struct shelf *shelf, uint64_t needed, uint64_t *ret_oldest,
                         struct conclave_error *error);

/* The newest one that can be read, `whole`: to its end; those before it are set aside and counted.
 * ret->last.index 0: there is none. */
MUST_USE int shelf_find(struct shelf *shelf, bool whole, struct snapshot_meta *ret,
                        uint32_t *ret_aside, struct conclave_error *error);

/* Reads this one to its end. */
MUST_USE int shelf_verify(struct shelf *shelf, struct raft_id id, struct conclave_error *error);

/* It counts for nothing any more. */
MUST_USE int shelf_set_aside(struct shelf *shelf, struct raft_id id, struct conclave_error *error);

/* The state in a snapshot: one reference. */
MUST_USE int shelf_read(struct shelf *shelf, struct raft_id id, struct snapshot_meta *ret_meta,
                        struct buf **ret_state, struct conclave_error *error);

/* True if the disk holds the bytes of this one, which is whole. */
bool shelf_is_synced(const struct shelf *shelf, struct raft_id id);

/* The newest, and the second newest, which is used if the newest is not. index 0: there is none.
 * Changes nothing. */
void shelf_newest(struct shelf *shelf, struct raft_id ret[2]);

/* Changes a byte of the newest one behind everyone's back, or lets it be unreadable. */
void shelf_rot(struct shelf *shelf, struct prng *prng);

/* --- Transfer --------------------------------------------------------------------------------- */

struct shelf_source {
    uint64_t name, bytes;
    struct buf *file;              /* the model's */
    struct snapshot_source source; /* the real one */
};

MUST_USE int shelf_source_open(struct shelf *shelf, struct raft_id id, struct shelf_source *ret,
                               struct conclave_error *error);

/* *ret_bytes below `bytes`: the file ends. */
MUST_USE int shelf_source_read(const struct shelf_source *source, uint64_t offset, uint8_t *to,
                               size_t bytes, size_t *ret_bytes, struct conclave_error *error);
void shelf_source_close(struct shelf_source *source);

/* As snapshot_part_open and so on; there is one part. */
MUST_USE int shelf_part_open(struct shelf *shelf, uint64_t name, uint64_t bytes,
                             uint64_t *ret_offset, struct conclave_error *error);
MUST_USE int shelf_part_add(struct shelf *shelf, struct slice data, struct conclave_error *error);
MUST_USE int shelf_part_finish(struct shelf *shelf, struct snapshot_meta *ret_meta,
                               struct conclave_error *error);
void shelf_part_close(struct shelf *shelf);

/* The node dies. The files themselves are the disk's. */
void shelf_crash(struct shelf *shelf, struct prng *prng);

#endif

/* storage/snapshot.h - snapshot files: the state machine's whole state up to one index.
 *
 *     DIR/snapshots/INDEX-TERM.snap   one snapshot, 16 hexadecimal digits each; never changed
 *     DIR/snapshots/INDEX-TERM.bad    one that was found damaged, set aside
 *     DIR/snapshots/new.tmp           being written by this node; counts for nothing
 *     DIR/snapshots/FILE.part         being received from another node; counts for nothing
 *
 * A file is a header block of 512 bytes and chunks back to back. All numbers are little-endian.
 *
 *     header                                     chunk
 *     0   48  frame, magic CNCLSNAP; the node    0   8  checksum: XXH3-64 of the rest of the chunk,
 *             is the one that made the file             seeded with the header's checksum
 *     48  8   term of the last entry in it       8   8  offset of this chunk in the file
 *     56  8   index of it                        16  4  payload bytes, at most 128 KiB
 *     64  8   index of the configuration         20  1  kind: 1 configuration, 2 data, 3 end
 *     72      zero up to 512                     21  3  zero
 *                                                24     payload
 *
 * First the configuration in effect at that index (raft/configuration.h), then data chunks whose
 * payloads together are one zstd frame, then the end chunk, with which the file ends: its payload
 * is the XXH3-64 of all bytes before it (8) and the number of bytes that the frame holds (8).
 *
 *     A snapshot is VALID if and only if its header is whole and of this cluster, it has exactly
 *     these chunks in this order, each whole and where its offset says, and the end chunk's hash is
 *     that of the file.
 *
 * A valid file has the same bytes on every node that got it from another: a transfer can go on
 * where it stopped, and its end verifies the whole. The header's checksum names the file.
 *
 * A name ending in .snap is given only to a file that was synced, and is then made durable: a crash
 * leaves the whole file under it, or none (Rule 35). Owned by one thread; several may read. */
#ifndef STORAGE_SNAPSHOT_H
#define STORAGE_SNAPSHOT_H

#include "raft/entries.h"
#include "storage/identity.h"

enum {
    SNAPSHOT_CHUNK_BYTES = 128 << 10, /* of payload: memory of a reader and of a writer */
    SNAPSHOTS_KEPT = 2                /* the newest, and one in case that it rots */
};

struct snapshot_meta {
    struct raft_id last;
    uint64_t configuration_index;
    struct buf *configuration; /* encoded; one reference */
};

/* Drops the reference; the meta is then all zero. */
void snapshot_meta_clear(struct snapshot_meta *meta);

/* --- Writing ---------------------------------------------------------------------------------- */

struct snapshot_writer;

/* Begins DIR/snapshots/new.tmp. */
MUST_USE int snapshot_writer_create(const struct io *io, const char *dir,
                                    const struct storage_identity *identity,
                                    const struct snapshot_meta *meta,
                                    struct snapshot_writer **ret_writer,
                                    struct conclave_error *error);

/* Adds bytes of the state. After a failure only abort. */
MUST_USE int snapshot_writer_add(struct snapshot_writer *writer, const void *data, size_t bytes,
                                 struct conclave_error *error);

/* Makes the snapshot durable under its name; the writer is freed either way. */
MUST_USE int snapshot_writer_finish(struct snapshot_writer *writer, struct conclave_error *error);

/* Removes what was written and frees. NULL is allowed. */
void snapshot_writer_abort(struct snapshot_writer *writer);

/* --- Reading ---------------------------------------------------------------------------------- */

struct snapshot_reader;

/* Opens the snapshot with this id. *ret_meta may be NULL. Errors: NOT_FOUND, CORRUPT, which is also
 * said of one with a block that the disk fails to read, VERSION, IDENTITY (another cluster's), IO.
 */
MUST_USE int snapshot_reader_open(const struct io *io, const char *dir,
                                  const struct storage_identity *identity, struct raft_id id,
                                  struct snapshot_reader **ret_reader,
                                  struct snapshot_meta *ret_meta, struct conclave_error *error);

/* The next bytes of the state, `bytes` of them unless it ends before. Everything up to the end
 * chunk is checked by the call that answers fewer. */
MUST_USE int snapshot_reader_read(struct snapshot_reader *reader, void *data, size_t bytes,
                                  size_t *ret_bytes, struct conclave_error *error);

void snapshot_reader_close(struct snapshot_reader *reader); /* NULL is allowed */

/* Reads the whole file and checks everything but the zstd frame. */
MUST_USE int snapshot_verify(const struct io *io, const char *dir,
                             const struct storage_identity *identity, struct raft_id id,
                             struct conclave_error *error);

/* --- The directory ---------------------------------------------------------------------------- */

struct snapshot_list {
    struct raft_id *items; /* newest first */
    size_t count, capacity;
};

/* Makes DIR/snapshots if it is missing, removes an unfinished new.tmp and lists what is there, not
 * opened yet. */
MUST_USE int snapshot_list_read(const struct io *io, const char *dir, struct snapshot_list *ret,
                                struct conclave_error *error);
void snapshot_list_clear(struct snapshot_list *list);

/* Lists what is there and changes nothing; none if there is no DIR/snapshots. */
MUST_USE int snapshot_list_look(const struct io *io, const char *dir, struct snapshot_list *ret,
                                struct conclave_error *error);

/* Removes all but the newest SNAPSHOTS_KEPT and those from `needed` on, which the state machine is
 * yet to become (0: none). Returns the index of the oldest that is kept: the log must reach back to
 * it, so that it can still be of use. 0: there is none. */
MUST_USE int snapshot_prune(const struct io *io, const char *dir, uint64_t needed,
                            uint64_t *ret_oldest_index, struct conclave_error *error);

/* Renames a damaged snapshot to INDEX-TERM.bad, durably. */
MUST_USE int snapshot_set_aside(const struct io *io, const char *dir, struct raft_id id,
                                struct conclave_error *error);

/* --- Transfer --------------------------------------------------------------------------------- */

/* A snapshot to be sent: the open handle keeps its bytes, whatever happens to its name (Rule 36).
 */
struct snapshot_source {
    const struct io *io;
    struct io_file *file;
    uint64_t name;  /* of the file: its header's checksum */
    uint64_t bytes; /* of the file */
};

MUST_USE int snapshot_source_open(const struct io *io, const char *dir, struct raft_id id,
                                  struct snapshot_source *ret, struct conclave_error *error);
void snapshot_source_close(struct snapshot_source *source);

/* A snapshot being received. */
struct snapshot_part;

/* Goes on with the part of that name if there is one that is not whole, else begins it in a new
 * file; other parts are removed. */
MUST_USE int snapshot_part_open(const struct io *io, const char *dir, uint64_t name, uint64_t bytes,
                                struct snapshot_part **ret_part, struct conclave_error *error);

/* How much of it is here: the offset of the chunk to come. */
uint64_t snapshot_part_offset(const struct snapshot_part *part);

/* Adds bytes at that offset. */
MUST_USE int snapshot_part_add(struct snapshot_part *part, const void *data, size_t bytes,
                               struct conclave_error *error);

/* All of it is here: verifies it and makes it durable as the snapshot that it says to be. CORRUPT:
 * it is not valid and was removed. The part is freed either way. */
MUST_USE int snapshot_part_finish(struct snapshot_part *part,
                                  const struct storage_identity *identity,
                                  struct snapshot_meta *ret_meta, struct conclave_error *error);

/* Leaves what is there for a later snapshot_part_open, and frees. NULL is allowed. */
void snapshot_part_close(struct snapshot_part *part);

#endif

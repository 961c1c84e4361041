/* storage/identity.h - what a data directory is: whose, of which cluster, locked by whom.
 *
 *     DIR/identity     one record: format version, cluster id, node id, incarnation, name, checksum
 *     DIR/joined       storage/joined.h, of a node that joined a running cluster
 *     DIR/lock         flock'ed while a process uses the directory; holds its pid as text
 *     DIR/wal/         storage/wal.h
 *     DIR/vote         storage/vote.h
 *     DIR/machine/     the state machine's own
 *
 * The identity is written last and atomically (temporary file, fsync, rename, fsync of the
 * directory): a directory without one was never in use. Owned by one thread. */
#ifndef STORAGE_IDENTITY_H
#define STORAGE_IDENTITY_H

#include "storage/io.h"

struct storage_identity {
    uint64_t cluster_id;
    uint64_t node_id;
    uint64_t incarnation; /* random, drawn when the directory was made */
    char name[CONCLAVE_NAME_BYTES_MAX + 1];
};

/* Writes the identity. EXISTS if there is one. */
MUST_USE int identity_write(const struct io *io, const char *dir,
                            const struct storage_identity *identity, struct conclave_error *error);

/* Reads and checks it. NOT_FOUND: the directory is not a node's (says to run init). CORRUPT. */
MUST_USE int identity_read(const struct io *io, const char *dir, struct storage_identity *ret,
                           struct conclave_error *error);

/* Locks the directory for this process until dir_unlock. IN_USE: another process has it. */
MUST_USE int dir_lock(const struct io *io, const char *dir, struct io_file **ret_lock,
                      struct conclave_error *error);
void dir_unlock(const struct io *io, struct io_file *lock);

#endif

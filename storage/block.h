/* storage/block.h - the frame that the identity, the vote slots and the segment headers share.
 *
 *     0   8  checksum: XXH3-64 of bytes 8 .. size of the block
 *     8   8  magic: which kind of block
 *     16  4  format version
 *     20  4  size of the block in bytes, checksum and frame included
 *     24  8  cluster id
 *     32  8  node id
 *     40  8  incarnation
 *     48     the rest, of the kind's own
 *
 * The first 24 bytes mean the same in every future version, so that a program can tell a newer
 * format from damage. Pure; any thread. */
#ifndef STORAGE_BLOCK_H
#define STORAGE_BLOCK_H

#include "storage/identity.h"

enum {
    BLOCK_VERSION = 1,      /* of all three kinds */
    BLOCK_FRAME_BYTES = 48, /* before the kind's own fields */
    BLOCK_BYTES_MAX = 4096  /* of those with fields at fixed places */
};

/* Fills the frame of a block whose other bytes are already there; returns its checksum. magic is 8
 * characters. */
uint64_t block_seal(uint8_t *block, size_t bytes, const char *magic,
                    const struct storage_identity *identity);

/* Checks a block of which `available` bytes could be read. Returns OK; CORRUPT: not a whole block
 * of this kind; VERSION: whole, but of a newer format; IDENTITY: whole, but another's. `identity`
 * NULL: not compared. Sets no sentence: the caller knows what and where it is. */
MUST_USE int block_check(const uint8_t *block, size_t available, size_t bytes, const char *magic,
                         const struct storage_identity *identity);

/* Writes the block as DIR/NAME: under a temporary name, synced, renamed and made findable, so that
 * after a crash there is no such file or a whole one. Replaces one that is there. */
MUST_USE int block_publish(const struct io *io, const char *dir, const char *name, uint8_t *block,
                           size_t bytes, struct conclave_error *error);

/* "DIR/NAME", to be freed. */
char *path_join(const char *dir, const char *name);

#endif

/* storage/io.h - every file operation that storage makes, behind one table, so that a test or the
 * simulator can replace the disk: count operations, fail the n-th, lose what was not synced.
 *
 * Functions return CONCLAVE_OK or a code with a sentence: IO, NO_SPACE, NOT_FOUND, EXISTS, IN_USE,
 * DENIED. They restart on EINTR and finish short reads and writes. A handle belongs to one thread
 * at a time. */
#ifndef STORAGE_IO_H
#define STORAGE_IO_H

#include "base/error.h"

#include <stdatomic.h>
#include <sys/uio.h>

struct io_file; /* made by open, freed by close */

enum io_open_flags {
    IO_OPEN_CREATE = 1,    /* make it; EXISTS if it is there */
    IO_OPEN_READ_ONLY = 2, /* never written: inspection */
    /* Never read through this handle, and what is written goes past the page cache where the file
     * system can: nothing is copied, and no page is left for the kernel to write back at a bad
     * moment. Offsets, sizes and addresses of what is written are multiples of IO_BLOCK_BYTES. */
    IO_OPEN_DIRECT = 4
};

enum { IO_BLOCK_BYTES = 4096 };

struct io {
    void *ctx;
    int (*open)(void *ctx, const char *path, unsigned flags, struct io_file **ret_file,
                struct conclave_error *error);
    void (*close)(void *ctx, struct io_file *file);
    int (*size)(void *ctx, struct io_file *file, uint64_t *ret_bytes, struct conclave_error *error);
    /* Reads up to `bytes`; fewer only at the end of the file. */
    int (*read)(void *ctx, struct io_file *file, uint64_t offset, void *data, size_t bytes,
                size_t *ret_bytes, struct conclave_error *error);
    /* Writes everything or fails. */
    int (*writev)(void *ctx, struct io_file *file, uint64_t offset, const struct iovec *parts,
                  int part_count, struct conclave_error *error);
    int (*datasync)(void *ctx, struct io_file *file, struct conclave_error *error);
    int (*sync)(void *ctx, struct io_file *file, struct conclave_error *error);
    /* Makes the file `bytes` long, with blocks allocated and zeros written, so that behind the next
     * sync writes inside it change no metadata. NO_SPACE leaves the file as it was or shorter.
     * Leaves most of the disk's time to others until *pressing is set; NULL: it is pressing. */
    int (*allocate)(void *ctx, struct io_file *file, uint64_t bytes, const atomic_bool *pressing,
                    struct conclave_error *error);
    /* Takes the lock of the whole file until close, without waiting; IN_USE names the holder. */
    int (*lock)(void *ctx, struct io_file *file, struct conclave_error *error);

    int (*rename)(void *ctx, const char *from, const char *to, struct conclave_error *error);
    int (*unlink)(void *ctx, const char *path, struct conclave_error *error);
    int (*make_dir)(void *ctx, const char *path, struct conclave_error *error); /* EXISTS if so */
    int (*sync_dir)(void *ctx, const char *path, struct conclave_error *error);
    /* Calls entry() for every name in the directory except "." and "..", in any order. */
    int (*list_dir)(void *ctx, const char *path, void (*entry)(void *arg, const char *name),
                    void *arg, struct conclave_error *error);
};

/* What a sync said, for those whose caller tries again when there is room: a sync that failed is
 * never tried again, whatever it failed for (Rule 6). */
static inline int io_sync_told(int code)
{
    return code == CONCLAVE_NO_SPACE ? CONCLAVE_IO : code;
}

/* How many bytes an ordinary user can still allocate in the file system of this path. IO. */
MUST_USE int io_posix_free_bytes(const char *path, uint64_t *ret_bytes,
                                 struct conclave_error *error);

/* The operating system's files. Static; any thread. */
const struct io *io_posix(void);

/* The same, to look at: whatever would change anything answers DENIED. */
const struct io *io_posix_read_only(void);

/* Who has locked this file: the process, as far as it can be seen from here, else 0. Takes no lock
 * itself, which somebody who starts at this moment would find. */
long io_posix_lock_holder(const char *path);

#endif

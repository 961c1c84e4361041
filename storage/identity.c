#include "storage/identity.h"

#include "base/fatal.h"
#include "storage/block.h"
#include "storage/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    IDENTITY_BYTES = 128,
    IDENTITY_NAME_AT = 48, /* NUL-padded to 40 bytes */
    IDENTITY_NAME_BYTES = 40
};

static const char identity_magic[] = "CNCLV_ID";

_Static_assert((int)CONCLAVE_NAME_BYTES_MAX < (int)IDENTITY_NAME_BYTES,
               "the name and a NUL must fit");

int identity_write(const struct io *io, const char *dir, const struct storage_identity *identity,
                   struct conclave_error *error)
{
    size_t name_bytes = strnlen(identity->name, sizeof(identity->name));
    ASSERT(name_bytes > 0 && name_bytes <= CONCLAVE_NAME_BYTES_MAX);
    char *path = path_join(dir, "identity");
    struct io_file *old = NULL;
    int code = io->open(io->ctx, path, IO_OPEN_READ_ONLY, &old, error);
    if (code == CONCLAVE_OK) {
        io->close(io->ctx, old);
        code = error_set(error, CONCLAVE_EXISTS, "%s already holds a node", dir);
    } else if (code == CONCLAVE_NOT_FOUND) {
        uint8_t block[IDENTITY_BYTES] = {0};
        memcpy(block + IDENTITY_NAME_AT, identity->name, name_bytes);
        (void)block_seal(block, sizeof(block), identity_magic, identity);
        code = block_publish(io, dir, "identity", block, IDENTITY_BYTES, error);
    }
    free(path);
    return code;
}

static bool name_valid(const uint8_t *name)
{
    size_t bytes = strnlen((const char *)name, IDENTITY_NAME_BYTES);
    return bytes > 0 && bytes <= CONCLAVE_NAME_BYTES_MAX &&
           bytes_zero(name + bytes, IDENTITY_NAME_BYTES - bytes);
}

static int identity_check(const char *path, const uint8_t *block, size_t bytes,
                          struct conclave_error *error)
{
    int code = block_check(block, bytes, IDENTITY_BYTES, identity_magic, NULL);
    if (code == CONCLAVE_VERSION)
        return error_set(error, code,
                         "%s is of format %u; this program reads up to %d: use a newer one", path,
                         get_u32(block + 16), BLOCK_VERSION);
    if (code != CONCLAVE_OK || !name_valid(block + IDENTITY_NAME_AT))
        return error_set(
            error, CONCLAVE_CORRUPT,
            "%s is damaged; put back a copy of this very file, or remove the node from "
            "the cluster and add it again with an empty directory",
            path);
    return CONCLAVE_OK;
}

int identity_read(const struct io *io, const char *dir, struct storage_identity *ret,
                  struct conclave_error *error)
{
    char *path = path_join(dir, "identity");
    struct io_file *file = NULL;
    uint8_t block[BLOCK_BYTES_MAX];
    size_t bytes = 0;
    int code = io->open(io->ctx, path, IO_OPEN_READ_ONLY, &file, error);
    if (code == CONCLAVE_NOT_FOUND)
        code = error_set(error, code, "%s is not a node's directory; make one with: conclave init",
                         dir);
    if (code != CONCLAVE_OK)
        goto free_path;
    code = io->read(io->ctx, file, 0, block, sizeof(block), &bytes, error);
    io->close(io->ctx, file);
    if (code == CONCLAVE_OK)
        code = identity_check(path, block, bytes, error);
    if (code == CONCLAVE_OK) {
        *ret = (struct storage_identity){.cluster_id = get_u64(block + 24),
                                         .node_id = get_u64(block + 32),
                                         .incarnation = get_u64(block + 40)};
        memcpy(ret->name, block + IDENTITY_NAME_AT, CONCLAVE_NAME_BYTES_MAX);
    }
free_path:
    free(path);
    return code;
}

int dir_lock(const struct io *io, const char *dir, struct io_file **ret_lock,
             struct conclave_error *error)
{
    char *path = path_join(dir, "lock");
    struct io_file *file = NULL;
    int code = io->open(io->ctx, path, 0, &file, error);
    if (code == CONCLAVE_NOT_FOUND) {
        code = io->open(io->ctx, path, IO_OPEN_CREATE, &file, error);
        if (code == CONCLAVE_EXISTS) /* another process made it in between */
            code = io->open(io->ctx, path, 0, &file, error);
    }
    free(path);
    if (code != CONCLAVE_OK)
        return code;
    code = io->lock(io->ctx, file, error);
    if (code == CONCLAVE_OK) {
        /* Always as long: a shorter pid leaves nothing of a longer one. Only for people. */
        char pid[24];
        (void)snprintf(pid, sizeof(pid), "%-20ld\n", (long)getpid());
        struct iovec part = {.iov_base = pid, .iov_len = 21};
        code = io->writev(io->ctx, file, 0, &part, 1, error);
    }
    if (code != CONCLAVE_OK) {
        io->close(io->ctx, file);
        return code;
    }
    *ret_lock = file;
    return CONCLAVE_OK;
}

void dir_unlock(const struct io *io, struct io_file *lock)
{
    if (lock != NULL)
        io->close(io->ctx, lock);
}

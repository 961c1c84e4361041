#include "storage/block.h"

#include "base/fatal.h"
#include "storage/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

uint64_t block_seal(uint8_t *block, size_t bytes, const char *magic,
                    const struct storage_identity *identity)
{
    ASSERT(bytes >= BLOCK_FRAME_BYTES && bytes <= UINT32_MAX);
    memcpy(block + 8, magic, 8);
    put_u32(block + 16, BLOCK_VERSION);
    put_u32(block + 20, (uint32_t)bytes);
    put_u64(block + 24, identity->cluster_id);
    put_u64(block + 32, identity->node_id);
    put_u64(block + 40, identity->incarnation);
    uint64_t checksum = XXH3_64bits(block + 8, bytes - 8);
    put_u64(block, checksum);
    return checksum;
}

int block_check(const uint8_t *block, size_t available, size_t bytes, const char *magic,
                const struct storage_identity *identity)
{
    if (available < BLOCK_FRAME_BYTES || memcmp(block + 8, magic, 8) != 0)
        return CONCLAVE_CORRUPT;
    uint32_t claimed = get_u32(block + 20);
    if (claimed < BLOCK_FRAME_BYTES || claimed > available)
        return CONCLAVE_CORRUPT;
    if (XXH3_64bits(block + 8, claimed - 8) != get_u64(block))
        return CONCLAVE_CORRUPT;
    if (get_u32(block + 16) > BLOCK_VERSION)
        return CONCLAVE_VERSION;
    if (get_u32(block + 16) != BLOCK_VERSION || claimed != bytes)
        return CONCLAVE_CORRUPT;
    if (identity != NULL &&
        (get_u64(block + 24) != identity->cluster_id || get_u64(block + 32) != identity->node_id ||
         get_u64(block + 40) != identity->incarnation))
        return CONCLAVE_IDENTITY;
    return CONCLAVE_OK;
}

char *path_join(const char *dir, const char *name)
{
    size_t bytes = strlen(dir) + 1 + strlen(name) + 1;
    char *path = mem_alloc(bytes);
    (void)snprintf(path, bytes, "%s/%s", dir, name);
    return path;
}

static int write_new(const struct io *io, const char *path, uint8_t *block, size_t bytes,
                     struct conclave_error *error)
{
    struct io_file *file = NULL;
    int code = io->open(io->ctx, path, IO_OPEN_CREATE, &file, error);
    if (code == CONCLAVE_EXISTS) { /* left by a crash */
        code = io->unlink(io->ctx, path, error);
        if (code == CONCLAVE_OK)
            code = io->open(io->ctx, path, IO_OPEN_CREATE, &file, error);
    }
    if (code != CONCLAVE_OK)
        return code;
    struct iovec part = {.iov_base = block, .iov_len = bytes};
    code = io->writev(io->ctx, file, 0, &part, 1, error);
    if (code == CONCLAVE_OK)
        code = io->sync(io->ctx, file, error);
    io->close(io->ctx, file);
    return code;
}

int block_publish(const struct io *io, const char *dir, const char *name, uint8_t *block,
                  size_t bytes, struct conclave_error *error)
{
    char *path = path_join(dir, name);
    size_t size = strlen(path) + sizeof ".tmp";
    char *temporary = mem_alloc(size);
    (void)snprintf(temporary, size, "%s.tmp", path);
    int code = write_new(io, temporary, block, bytes, error);
    if (code == CONCLAVE_OK)
        code = io->rename(io->ctx, temporary, path, error);
    if (code == CONCLAVE_OK)
        code = io->sync_dir(io->ctx, dir, error);
    free(temporary);
    free(path);
    return code;
}

#include "storage/block.h"

#include "base/fatal.h"
#include "storage/bytes.h"

#include <stdio.h>
#include <xxhash.h>

uint64_t block_seal(uint8_t *block, size_t bytes, const char *magic,
                    const struct storage_identity *identity)
{
    ASSERT(bytes >= BLOCK_FRAME_BYTES && bytes <= BLOCK_BYTES_MAX);
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
    if (claimed < BLOCK_FRAME_BYTES || claimed > available || claimed > BLOCK_BYTES_MAX)
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

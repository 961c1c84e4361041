#include "storage/snapshot_format.h"

#include "base/fatal.h"
#include "storage/block.h"
#include "storage/bytes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

static const char snapshot_magic[] = "CNCLSNAP";

char *snapshot_dir_path(const char *dir)
{
    return path_join(dir, "snapshots");
}

char *snapshot_file_path(const char *dir, struct raft_id id, const char *suffix)
{
    char name[SNAPSHOT_NAME_BYTES];
    (void)snprintf(name, sizeof name, "%016" PRIx64 "-%016" PRIx64 "%s", id.index, id.term, suffix);
    char *snapshots = snapshot_dir_path(dir);
    char *path = path_join(snapshots, name);
    free(snapshots);
    return path;
}

/* 16 hexadecimal digits as printed here. */
static bool parse_number(const char *text, uint64_t *ret)
{
    uint64_t value = 0;
    for (int i = 0; i < 16; i++) {
        char c = text[i];
        if (c >= '0' && c <= '9')
            value = value << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value << 4 | (uint64_t)(c - 'a' + 10);
        else
            return false;
    }
    *ret = value;
    return true;
}

bool snapshot_name_parse(const char *name, struct raft_id *ret)
{
    struct raft_id id;
    if (strlen(name) != 38 || name[16] != '-' || strcmp(name + 33, ".snap") != 0 ||
        !parse_number(name, &id.index) || !parse_number(name + 17, &id.term))
        return false;
    *ret = id;
    return true;
}

uint64_t snapshot_header_encode(uint8_t *to, const struct storage_identity *identity,
                                const struct snapshot_meta *meta)
{
    memset(to, 0, SNAPSHOT_HEADER_BYTES);
    put_u64(to + 48, meta->last.term);
    put_u64(to + 56, meta->last.index);
    put_u64(to + 64, meta->configuration_index);
    return block_seal(to, SNAPSHOT_HEADER_BYTES, snapshot_magic, identity);
}

int snapshot_header_decode(const uint8_t *from, size_t available,
                           const struct storage_identity *identity, struct snapshot_meta *ret)
{
    int code = block_check(from, available, SNAPSHOT_HEADER_BYTES, snapshot_magic, NULL);
    if (code != CONCLAVE_OK)
        return code;
    if (get_u64(from + 24) != identity->cluster_id)
        return CONCLAVE_IDENTITY;
    struct snapshot_meta meta = {.last = {.term = get_u64(from + 48), .index = get_u64(from + 56)},
                                 .configuration_index = get_u64(from + 64)};
    if (meta.last.term == 0 || meta.last.index == 0 || meta.configuration_index == 0 ||
        meta.configuration_index > meta.last.index)
        return CONCLAVE_CORRUPT;
    *ret = meta;
    return CONCLAVE_OK;
}

void snapshot_chunk_seal(uint8_t *chunk, uint64_t seed, uint64_t offset, enum snapshot_kind kind,
                         size_t payload_bytes)
{
    ASSERT(payload_bytes <= SNAPSHOT_CHUNK_BYTES);
    put_u64(chunk + 8, offset);
    put_u32(chunk + 16, (uint32_t)payload_bytes);
    put_u32(chunk + 20, (uint32_t)kind);
    size_t bytes = SNAPSHOT_FRAME_BYTES + payload_bytes;
    put_u64(chunk, XXH3_64bits_withSeed(chunk + 8, bytes - 8, seed));
}

bool snapshot_chunk_frame(const uint8_t *frame, uint64_t offset, enum snapshot_kind *ret_kind,
                          size_t *ret_bytes)
{
    uint32_t kind = get_u32(frame + 20), bytes = get_u32(frame + 16);
    if (get_u64(frame + 8) != offset || bytes > SNAPSHOT_CHUNK_BYTES ||
        kind < SNAPSHOT_CONFIGURATION || kind > SNAPSHOT_END)
        return false;
    *ret_kind = (enum snapshot_kind)kind;
    *ret_bytes = bytes;
    return true;
}

bool snapshot_chunk_whole(const uint8_t *chunk, uint64_t seed, size_t payload_bytes)
{
    size_t bytes = SNAPSHOT_FRAME_BYTES + payload_bytes;
    return XXH3_64bits_withSeed(chunk + 8, bytes - 8, seed) == get_u64(chunk);
}

void snapshot_meta_clear(struct snapshot_meta *meta)
{
    buf_unref(meta->configuration);
    *meta = (struct snapshot_meta){0};
}

#include "storage/joined.h"

#include "base/buf.h"
#include "base/fatal.h"
#include "storage/block.h"

#include <stdlib.h>
#include <string.h>

enum { JOINED_BYTES_MAX = 64 << 10 }; /* 41 members of at most 600 bytes, and removed ids */

static const char joined_magic[] = "CNCLV_JN";

int joined_write(const struct io *io, const char *dir, const struct storage_identity *identity,
                 const struct raft_configuration *members, struct conclave_error *error)
{
    struct buf *payload = raft_configuration_encode(members);
    size_t bytes = BLOCK_FRAME_BYTES + payload->bytes;
    uint8_t *block = mem_zalloc(bytes);
    memcpy(block + BLOCK_FRAME_BYTES, payload->data, payload->bytes);
    buf_unref(payload);
    (void)block_seal(block, bytes, joined_magic, identity);
    int code = block_publish(io, dir, "joined", block, bytes, error);
    free(block);
    return code;
}

static int joined_check(const char *path, const uint8_t *block, size_t bytes,
                        const struct storage_identity *identity, struct raft_configuration *ret,
                        struct conclave_error *error)
{
    int code = bytes > BLOCK_FRAME_BYTES ? block_check(block, bytes, bytes, joined_magic, identity)
                                         : CONCLAVE_CORRUPT;
    if (code == CONCLAVE_OK &&
        raft_configuration_decode(
            (struct slice){block + BLOCK_FRAME_BYTES, bytes - BLOCK_FRAME_BYTES}, ret))
        code = CONCLAVE_CORRUPT;
    if (code == CONCLAVE_OK)
        return code;
    return error_set(error, code, "%s is damaged or not of this node: %s", path,
                     conclave_code_text(code));
}

int joined_read(const struct io *io, const char *dir, const struct storage_identity *identity,
                struct raft_configuration *ret, struct conclave_error *error)
{
    char *path = path_join(dir, "joined");
    uint8_t *block = mem_alloc(JOINED_BYTES_MAX);
    struct io_file *file = NULL;
    size_t bytes = 0;
    int code = io->open(io->ctx, path, IO_OPEN_READ_ONLY, &file, error);
    if (code == CONCLAVE_OK) {
        code = io->read(io->ctx, file, 0, block, JOINED_BYTES_MAX, &bytes, error);
        io->close(io->ctx, file);
        if (code == CONCLAVE_OK)
            code = joined_check(path, block, bytes, identity, ret, error);
    }
    free(block);
    free(path);
    return code;
}

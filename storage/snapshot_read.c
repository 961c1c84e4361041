/* Reading and verifying one snapshot file. */
#include "storage/snapshot_format.h"

#include "base/fatal.h"
#include "storage/bytes.h"

#include <stdlib.h>
#include <xxhash.h>
#include <zstd.h>

/* The writer's level needs far less; a file that claims more is not one of ours. Bounds memory. */
enum { WINDOW_LOG_MAX = 23 };

struct snapshot_reader {
    const struct io *io;
    struct io_file *file;
    char *path;
    uint64_t file_bytes;
    uint64_t seed;
    uint64_t offset; /* of the next chunk */
    uint64_t plain_bytes;
    bool ended;          /* the end chunk was read and agrees */
    bool frame_complete; /* the zstd frame is */
    XXH3_state_t *whole;
    ZSTD_DCtx *zstd;
    ZSTD_inBuffer in; /* the payload in chunk[] */
    uint8_t chunk[SNAPSHOT_FRAME_BYTES + SNAPSHOT_CHUNK_BYTES];
};

static int damaged(const struct snapshot_reader *reader, const char *what,
                   struct conclave_error *error)
{
    return error_set(error, CONCLAVE_CORRUPT, "the snapshot %s is damaged at offset %llu: %s",
                     reader->path, (unsigned long long)reader->offset, what);
}

static int read_bytes(struct snapshot_reader *reader, uint64_t offset, uint8_t *to, size_t bytes,
                      struct conclave_error *error)
{
    size_t got = 0;
    int code = reader->io->read(reader->io->ctx, reader->file, offset, to, bytes, &got, error);
    if (code == CONCLAVE_IO) /* it is of no more use than a damaged one, and there may be another */
        code = damaged(reader, "the disk fails to read it", error);
    if (code == CONCLAVE_OK && got < bytes)
        code = damaged(reader, "it ends too early", error);
    return code;
}

/* Reads the next chunk into chunk[] and checks it. */
static int read_chunk(struct snapshot_reader *reader, enum snapshot_kind *ret_kind,
                      struct conclave_error *error)
{
    size_t bytes = 0;
    int code = read_bytes(reader, reader->offset, reader->chunk, SNAPSHOT_FRAME_BYTES, error);
    if (code != CONCLAVE_OK)
        return code;
    if (!snapshot_chunk_frame(reader->chunk, reader->offset, ret_kind, &bytes))
        return damaged(reader, "a chunk was to begin here", error);
    code = read_bytes(reader, reader->offset + SNAPSHOT_FRAME_BYTES,
                      reader->chunk + SNAPSHOT_FRAME_BYTES, bytes, error);
    if (code != CONCLAVE_OK)
        return code;
    if (!snapshot_chunk_whole(reader->chunk, reader->seed, bytes))
        return damaged(reader, "the chunk's checksum does not fit", error);
    if (*ret_kind != SNAPSHOT_END) /* the end chunk has the hash of all before it */
        (void)XXH3_64bits_update(reader->whole, reader->chunk, SNAPSHOT_FRAME_BYTES + bytes);
    reader->offset += SNAPSHOT_FRAME_BYTES + bytes;
    reader->in =
        (ZSTD_inBuffer){.src = reader->chunk + SNAPSHOT_FRAME_BYTES, .size = bytes, .pos = 0};
    return CONCLAVE_OK;
}

static int check_end(struct snapshot_reader *reader, struct conclave_error *error)
{
    const uint8_t *end = reader->chunk + SNAPSHOT_FRAME_BYTES;
    if (reader->in.size != SNAPSHOT_END_BYTES || reader->offset != reader->file_bytes)
        return damaged(reader, "the end chunk does not end it", error);
    if (get_u64(end) != XXH3_64bits_digest(reader->whole))
        return damaged(reader, "the hash of the whole file does not fit", error);
    reader->ended = true;
    return CONCLAVE_OK;
}

static int open_start(struct snapshot_reader *reader, const struct storage_identity *identity,
                      struct snapshot_meta *ret, struct conclave_error *error)
{
    uint8_t header[SNAPSHOT_HEADER_BYTES];
    int code = reader->io->size(reader->io->ctx, reader->file, &reader->file_bytes, error);
    if (code == CONCLAVE_OK)
        code = read_bytes(reader, 0, header, sizeof header, error);
    if (code != CONCLAVE_OK)
        return code;
    code = snapshot_header_decode(header, sizeof header, identity, ret);
    if (code == CONCLAVE_VERSION)
        return error_set(error, code, "the snapshot %s is of a newer format", reader->path);
    if (code == CONCLAVE_IDENTITY)
        return error_set(error, code, "the snapshot %s belongs to another cluster", reader->path);
    if (code != CONCLAVE_OK)
        return damaged(reader, "the header is not valid", error);
    reader->seed = get_u64(header);
    reader->offset = sizeof header;
    (void)XXH3_64bits_update(reader->whole, header, sizeof header);
    enum snapshot_kind kind;
    code = read_chunk(reader, &kind, error);
    if (code == CONCLAVE_OK && kind != SNAPSHOT_CONFIGURATION)
        code = damaged(reader, "the configuration is missing", error);
    if (code == CONCLAVE_OK)
        ret->configuration = buf_copy(reader->in.src, reader->in.size);
    reader->in = (ZSTD_inBuffer){0};
    return code;
}

int snapshot_open_path(const struct io *io, const char *path,
                       const struct storage_identity *identity, struct snapshot_reader **ret_reader,
                       struct snapshot_meta *ret_meta, struct conclave_error *error)
{
    struct io_file *file = NULL;
    int code = io->open(io->ctx, path, IO_OPEN_READ_ONLY, &file, error);
    if (code != CONCLAVE_OK)
        return code;
    struct snapshot_reader *reader = mem_zalloc(sizeof *reader);
    reader->io = io;
    reader->file = file;
    size_t bytes = strlen(path) + 1;
    reader->path = mem_alloc(bytes);
    memcpy(reader->path, path, bytes);
    reader->whole = XXH3_createState();
    reader->zstd = ZSTD_createDCtx();
    ASSERT(reader->whole != NULL && reader->zstd != NULL);
    (void)XXH3_64bits_reset(reader->whole);
    (void)ZSTD_DCtx_setParameter(reader->zstd, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
    struct snapshot_meta meta = {0};
    code = open_start(reader, identity, &meta, error);
    if (code != CONCLAVE_OK) {
        snapshot_meta_clear(&meta);
        snapshot_reader_close(reader);
        return code;
    }
    *ret_meta = meta;
    *ret_reader = reader;
    return CONCLAVE_OK;
}

int snapshot_reader_open(const struct io *io, const char *dir,
                         const struct storage_identity *identity, struct raft_id id,
                         struct snapshot_reader **ret_reader, struct snapshot_meta *ret_meta,
                         struct conclave_error *error)
{
    char *path = snapshot_file_path(dir, id, ".snap");
    struct snapshot_reader *reader = NULL;
    struct snapshot_meta meta = {0};
    int code = snapshot_open_path(io, path, identity, &reader, &meta, error);
    if (code == CONCLAVE_OK && !raft_id_equal(meta.last, id))
        code = error_set(error, CONCLAVE_CORRUPT, "the snapshot %s is another one by its header",
                         path);
    free(path);
    if (code == CONCLAVE_OK && ret_meta != NULL)
        *ret_meta = meta;
    else
        snapshot_meta_clear(&meta);
    if (code == CONCLAVE_OK)
        *ret_reader = reader;
    else
        snapshot_reader_close(reader);
    return code;
}

void snapshot_reader_close(struct snapshot_reader *reader)
{
    if (reader == NULL)
        return;
    reader->io->close(reader->io->ctx, reader->file);
    (void)XXH3_freeState(reader->whole);
    (void)ZSTD_freeDCtx(reader->zstd);
    free(reader->path);
    free(reader);
}

/* The next data chunk, or the end of the file. */
static int next_chunk(struct snapshot_reader *reader, struct conclave_error *error)
{
    enum snapshot_kind kind;
    int code = read_chunk(reader, &kind, error);
    if (code != CONCLAVE_OK)
        return code;
    if (kind == SNAPSHOT_DATA)
        return CONCLAVE_OK;
    if (kind != SNAPSHOT_END)
        return damaged(reader, "a second configuration", error);
    return check_end(reader, error);
}

int snapshot_reader_read(struct snapshot_reader *reader, void *data, size_t bytes,
                         size_t *ret_bytes, struct conclave_error *error)
{
    ZSTD_outBuffer out = {.dst = data, .size = bytes};
    while (out.pos < out.size && !reader->ended) {
        if (reader->in.pos == reader->in.size) {
            int code = next_chunk(reader, error);
            if (code != CONCLAVE_OK)
                return code;
            if (reader->ended)
                break;
        }
        size_t left = ZSTD_decompressStream(reader->zstd, &out, &reader->in);
        if (ZSTD_isError(left))
            return damaged(reader, ZSTD_getErrorName(left), error);
        reader->frame_complete = left == 0;
    }
    reader->plain_bytes += out.pos;
    if (reader->ended) {
        const uint8_t *end = reader->chunk + SNAPSHOT_FRAME_BYTES;
        if (!reader->frame_complete || get_u64(end + 8) != reader->plain_bytes)
            return damaged(reader, "it holds less than it says", error);
    }
    *ret_bytes = out.pos;
    return CONCLAVE_OK;
}

int snapshot_reader_check(struct snapshot_reader *reader, struct conclave_error *error)
{
    while (!reader->ended) {
        int code = next_chunk(reader, error);
        if (code != CONCLAVE_OK)
            return code;
    }
    return CONCLAVE_OK;
}

int snapshot_verify(const struct io *io, const char *dir, const struct storage_identity *identity,
                    struct raft_id id, struct conclave_error *error)
{
    struct snapshot_reader *reader = NULL;
    int code = snapshot_reader_open(io, dir, identity, id, &reader, NULL, error);
    if (code == CONCLAVE_OK)
        code = snapshot_reader_check(reader, error);
    snapshot_reader_close(reader);
    return code;
}

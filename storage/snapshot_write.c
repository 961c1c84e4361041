/* Writing one snapshot file. */
#include "storage/snapshot_format.h"

#include "base/fatal.h"
#include "storage/block.h"
#include "storage/bytes.h"

#include <stdlib.h>
#include <xxhash.h>
#include <zstd.h>

enum {
    COMPRESSION_LEVEL = 1, /* some 400 MB/s a core: a snapshot is written once and read rarely */
    SYNC_EVERY_BYTES = 8 << 20 /* one long sync at the end would hold up those of the log */
};

struct snapshot_writer {
    const struct io *io;
    char *snapshots; /* DIR/snapshots */
    char *temporary, *path;
    struct io_file *file;
    uint64_t seed;
    uint64_t offset; /* where the next chunk goes */
    uint64_t synced; /* up to here */
    uint64_t plain_bytes;
    XXH3_state_t *whole;
    ZSTD_CCtx *zstd;
    size_t used; /* payload bytes in chunk[] */
    uint8_t chunk[SNAPSHOT_FRAME_BYTES + SNAPSHOT_CHUNK_BYTES];
};

static int write_bytes(struct snapshot_writer *writer, const void *data, size_t bytes,
                       struct conclave_error *error)
{
    struct iovec part = {.iov_base = (void *)(uintptr_t)data, .iov_len = bytes};
    int code = writer->io->writev(writer->io->ctx, writer->file, writer->offset, &part, 1, error);
    if (code != CONCLAVE_OK)
        return code;
    (void)XXH3_64bits_update(writer->whole, data, bytes);
    writer->offset += bytes;
    if (writer->offset - writer->synced < SYNC_EVERY_BYTES)
        return CONCLAVE_OK;
    writer->synced = writer->offset;
    return writer->io->datasync(writer->io->ctx, writer->file, error);
}

/* Writes chunk[] with its `used` bytes of payload. */
static int write_chunk(struct snapshot_writer *writer, enum snapshot_kind kind,
                       struct conclave_error *error)
{
    snapshot_chunk_seal(writer->chunk, writer->seed, writer->offset, kind, writer->used);
    size_t bytes = SNAPSHOT_FRAME_BYTES + writer->used;
    writer->used = 0;
    return write_bytes(writer, writer->chunk, bytes, error);
}

static int write_start(struct snapshot_writer *writer, const struct storage_identity *identity,
                       const struct snapshot_meta *meta, struct conclave_error *error)
{
    uint8_t header[SNAPSHOT_HEADER_BYTES];
    writer->seed = snapshot_header_encode(header, identity, meta);
    int code = write_bytes(writer, header, sizeof header, error);
    if (code != CONCLAVE_OK)
        return code;
    ASSERT(meta->configuration->bytes <= SNAPSHOT_CHUNK_BYTES);
    memcpy(writer->chunk + SNAPSHOT_FRAME_BYTES, meta->configuration->data,
           meta->configuration->bytes);
    writer->used = meta->configuration->bytes;
    return write_chunk(writer, SNAPSHOT_CONFIGURATION, error);
}

static void writer_free(struct snapshot_writer *writer)
{
    if (writer->file != NULL)
        writer->io->close(writer->io->ctx, writer->file);
    (void)XXH3_freeState(writer->whole);
    (void)ZSTD_freeCCtx(writer->zstd);
    free(writer->snapshots);
    free(writer->temporary);
    free(writer->path);
    free(writer);
}

void snapshot_writer_abort(struct snapshot_writer *writer)
{
    if (writer == NULL)
        return;
    (void)writer->io->unlink(writer->io->ctx, writer->temporary, NULL); /* counts for nothing */
    writer_free(writer);
}

int snapshot_writer_create(const struct io *io, const char *dir,
                           const struct storage_identity *identity,
                           const struct snapshot_meta *meta, struct snapshot_writer **ret_writer,
                           struct conclave_error *error)
{
    ASSERT(meta->last.index > 0 && meta->configuration_index <= meta->last.index);
    struct snapshot_writer *writer = mem_zalloc(sizeof *writer);
    writer->io = io;
    writer->snapshots = snapshot_dir_path(dir);
    writer->temporary = path_join(writer->snapshots, "new.tmp");
    writer->path = snapshot_file_path(dir, meta->last, ".snap");
    writer->whole = XXH3_createState();
    writer->zstd = ZSTD_createCCtx();
    ASSERT(writer->whole != NULL && writer->zstd != NULL);
    (void)XXH3_64bits_reset(writer->whole);
    (void)ZSTD_CCtx_setParameter(writer->zstd, ZSTD_c_compressionLevel, COMPRESSION_LEVEL);

    int code = io->open(io->ctx, writer->temporary, IO_OPEN_CREATE, &writer->file, error);
    if (code == CONCLAVE_EXISTS) { /* left by a crash */
        code = io->unlink(io->ctx, writer->temporary, error);
        if (code == CONCLAVE_OK)
            code = io->open(io->ctx, writer->temporary, IO_OPEN_CREATE, &writer->file, error);
    }
    if (code != CONCLAVE_OK) {
        writer_free(writer);
        return code;
    }
    code = write_start(writer, identity, meta, error);
    if (code != CONCLAVE_OK) {
        snapshot_writer_abort(writer);
        return code;
    }
    *ret_writer = writer;
    return CONCLAVE_OK;
}

/* Compresses into chunks; `end` finishes the frame. */
static int compress(struct snapshot_writer *writer, ZSTD_inBuffer *in, bool end,
                    struct conclave_error *error)
{
    for (;;) {
        ZSTD_outBuffer out = {.dst = writer->chunk + SNAPSHOT_FRAME_BYTES,
                              .size = SNAPSHOT_CHUNK_BYTES,
                              .pos = writer->used};
        size_t left =
            ZSTD_compressStream2(writer->zstd, &out, in, end ? ZSTD_e_end : ZSTD_e_continue);
        ASSERT(!ZSTD_isError(left)); /* for want of memory alone: its parameters were taken */
        writer->used = out.pos;
        bool done = end ? left == 0 : in->pos == in->size;
        /* A frame has an end, so the last chunk has something; before that it is full. */
        if (writer->used == SNAPSHOT_CHUNK_BYTES || end) {
            int code = write_chunk(writer, SNAPSHOT_DATA, error);
            if (code != CONCLAVE_OK)
                return code;
        }
        if (done)
            return CONCLAVE_OK;
    }
}

int snapshot_writer_add(struct snapshot_writer *writer, const void *data, size_t bytes,
                        struct conclave_error *error)
{
    ZSTD_inBuffer in = {.src = data, .size = bytes};
    writer->plain_bytes += bytes;
    return compress(writer, &in, false, error);
}

int snapshot_writer_finish(struct snapshot_writer *writer, struct conclave_error *error)
{
    const struct io *io = writer->io;
    ZSTD_inBuffer in = {0};
    int code = compress(writer, &in, true, error);
    if (code == CONCLAVE_OK) {
        uint8_t *end = writer->chunk + SNAPSHOT_FRAME_BYTES;
        put_u64(end, XXH3_64bits_digest(writer->whole));
        put_u64(end + 8, writer->plain_bytes);
        writer->used = SNAPSHOT_END_BYTES;
        code = write_chunk(writer, SNAPSHOT_END, error);
    }
    /* Rule 35: the bytes, then the name, then the directory; the log is cut after that. */
    if (code == CONCLAVE_OK)
        code = io->sync(io->ctx, writer->file, error);
    if (code == CONCLAVE_OK)
        code = io->rename(io->ctx, writer->temporary, writer->path, error);
    if (code == CONCLAVE_OK)
        code = io->sync_dir(io->ctx, writer->snapshots, error);
    if (code == CONCLAVE_OK)
        writer_free(writer);
    else
        snapshot_writer_abort(writer);
    return code;
}

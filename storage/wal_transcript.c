#include "storage/wal_transcript.h"

#include "base/fatal.h"
#include "storage/block.h"
#include "storage/wal_internal.h"

#include <stdlib.h>
#include <string.h>

/* The header, the batch, the record that says that the log begins anew, the entries, and an
 * attestation: what is in it is durable before it has its name. */
static uint64_t count_bytes(const struct raft_runs *entries)
{
    uint64_t bytes = WAL_HEADER_BYTES + (uint64_t)3 * WAL_RECORD_BYTES;
    struct raft_runs_iter iter = {0};
    for (const struct raft_entry *entry; (entry = raft_runs_next(entries, &iter)) != NULL;)
        bytes += wal_record_bytes(entry->payload.bytes);
    return (bytes + IO_BLOCK_BYTES - 1) / IO_BLOCK_BYTES * IO_BLOCK_BYTES;
}

/* Writes the record and goes on behind it. */
static uint64_t put(uint8_t *segment, uint64_t *offset, uint64_t key, struct wal_record record)
{
    record.offset = (uint32_t)*offset;
    *offset += wal_record_bytes(record.payload.bytes);
    return wal_record_encode(segment + record.offset, key, &record);
}

static void encode(const struct wal_transcript *transcript, uint64_t sequence, uint8_t *segment)
{
    const struct wal_scan *seen = transcript->seen;
    const uint64_t key = wal_key(transcript->identity, sequence);
    const uint64_t before = wal_links_find(&seen->links, seen->last.index);
    const struct wal_header header = {
        .sequence = sequence, .previous = before, .previous_end = seen->end, .last = seen->last};
    uint64_t offset = WAL_HEADER_BYTES;
    struct raft_id last = transcript->base;
    wal_header_encode(segment, transcript->identity, &header);
    (void)put(segment, &offset, key,
              (struct wal_record){.previous = before, .kind = WAL_BATCH, .id = seen->last});
    uint64_t link =
        put(segment, &offset, key,
            (struct wal_record){.previous = before, .kind = WAL_ANEW, .id = transcript->base});
    struct raft_runs_iter iter = {0};
    for (const struct raft_entry *entry;
         (entry = raft_runs_next(transcript->entries, &iter)) != NULL; last = entry->id)
        link = put(segment, &offset, key,
                   (struct wal_record){.previous = link,
                                       .kind = WAL_ENTRY,
                                       .entry_kind = (uint8_t)entry->kind,
                                       .id = entry->id,
                                       .payload = entry->payload});
    (void)put(segment, &offset, key,
              (struct wal_record){
                  .previous = link, .batch = (uint32_t)offset, .kind = WAL_BATCH, .id = last});
}

/* next.tmp, with these bytes, durable and read back. */
static int make(const struct wal_transcript *transcript, const char *path, uint8_t *segment,
                uint64_t bytes, struct conclave_error *error)
{
    const struct io *io = transcript->io;
    struct io_file *file = NULL;
    size_t got = 0;
    int code = io->unlink(io->ctx, path, error); /* left by a crash or a full disk */
    if (code == CONCLAVE_OK || code == CONCLAVE_NOT_FOUND)
        code = io->open(io->ctx, path, IO_OPEN_CREATE, &file, error);
    if (code != CONCLAVE_OK)
        return code;
    struct iovec part = {.iov_base = segment, .iov_len = (size_t)bytes};
    uint8_t *back = mem_alloc((size_t)bytes);
    code = io->allocate(io->ctx, file, bytes, NULL, error);
    if (code == CONCLAVE_OK)
        code = io->writev(io->ctx, file, 0, &part, 1, error);
    if (code == CONCLAVE_OK)
        code = io->sync(io->ctx, file, error);
    if (code == CONCLAVE_OK)
        code = io->read(io->ctx, file, 0, back, (size_t)bytes, &got, error);
    if (code == CONCLAVE_OK && (got != bytes || memcmp(back, segment, (size_t)bytes) != 0))
        code = error_set(error, CONCLAVE_IO, "%s does not hold what was written to it", path);
    free(back);
    io->close(io->ctx, file);
    if (code != CONCLAVE_OK) /* gives the space back; the first error counts */
        (void)io->unlink(io->ctx, path, NULL);
    return code;
}

int wal_transcript_write(const struct wal_transcript *transcript, struct conclave_error *error)
{
    const struct io *io = transcript->io;
    const struct wal_scan *seen = transcript->seen;
    const uint64_t sequence = seen->segments[seen->active].sequence + 1;
    const uint64_t bytes = count_bytes(transcript->entries);
    if (bytes > WAL_SEGMENT_BYTES_MAX)
        return error_set(error, CONCLAVE_CORRUPT,
                         "the log is damaged beyond repair: what is missing does not fit where it "
                         "was, and all of it is larger than a segment can be. Nothing was changed. "
                         "Remove this node from the cluster and add it again with an empty "
                         "directory (in %s)",
                         transcript->dir);
    char *temporary = path_join(transcript->dir, WAL_TEMPORARY_NAME);
    char *path = wal_segment_path(transcript->dir, sequence);
    uint8_t *segment = mem_zalloc((size_t)bytes);
    encode(transcript, sequence, segment);
    int code = make(transcript, temporary, segment, bytes, error);
    if (code == CONCLAVE_OK) /* from here on it counts */
        code = io->rename(io->ctx, temporary, path, error);
    if (code == CONCLAVE_OK)
        code = io->sync_dir(io->ctx, transcript->dir, error);
    free(segment);
    free(path);
    free(temporary);
    return code;
}

#include "storage/wal_transcript.h"

#include "base/fatal.h"
#include "storage/block.h"
#include "storage/wal_internal.h"

#include <stdlib.h>
#include <string.h>

/* So many entries are a batch: each attests all before it, as if they had been written one after
 * the other. In one batch all would be cut for a torn write where the attestation at the end rots
 * too. */
enum { BATCH_ENTRIES = 16 };

/* The header, a batch with the record that says that the log begins anew, batches of entries, and
 * an attestation: what is in it is durable before it has its name. */
static uint64_t count_bytes(const struct raft_runs *entries)
{
    const uint64_t batches = (entries->entry_count + BATCH_ENTRIES - 1) / BATCH_ENTRIES;
    uint64_t bytes = WAL_HEADER_BYTES + (3 + batches) * WAL_RECORD_BYTES;
    struct raft_runs_iter iter = {0};
    for (const struct raft_entry *entry; (entry = raft_runs_next(entries, &iter)) != NULL;)
        bytes += wal_record_bytes(entry->payload.bytes);
    return (bytes + IO_BLOCK_BYTES - 1) / IO_BLOCK_BYTES * IO_BLOCK_BYTES;
}

/* Where the next record goes, and what it follows. */
struct pen {
    uint8_t *segment;
    uint64_t key, offset, batch, link;
    struct raft_id last;
};

static void put(struct pen *pen, struct wal_record record)
{
    record.offset = (uint32_t)pen->offset;
    record.batch = (uint32_t)pen->batch;
    record.previous = pen->link;
    pen->offset += wal_record_bytes(record.payload.bytes);
    pen->link = wal_record_encode(pen->segment + record.offset, pen->key, &record);
    pen->last = record.id;
}

static void put_batch(struct pen *pen)
{
    pen->batch = pen->offset > WAL_HEADER_BYTES ? pen->offset : 0;
    put(pen, (struct wal_record){.kind = WAL_BATCH, .id = pen->last});
}

/* As wal_begin_anew(), and all at once. */
static void encode(const struct wal_transcript *transcript, uint64_t sequence, uint8_t *segment)
{
    struct pen pen = {.segment = segment,
                      .key = wal_key(transcript->identity, sequence),
                      .offset = WAL_HEADER_BYTES,
                      .link = wal_link_begin(transcript->base),
                      .last = transcript->base};
    const struct wal_header header = {.sequence = sequence,
                                      .previous = pen.link,
                                      .previous_end = transcript->seen->end,
                                      .last = pen.last};
    wal_header_encode(segment, transcript->identity, &header);
    put_batch(&pen);
    put(&pen, (struct wal_record){.kind = WAL_ANEW, .id = transcript->base});
    struct raft_runs_iter iter = {0};
    const struct raft_entry *entry;
    for (uint64_t i = 0; (entry = raft_runs_next(transcript->entries, &iter)) != NULL; i++) {
        if (i % BATCH_ENTRIES == 0)
            put_batch(&pen);
        put(&pen, (struct wal_record){.kind = WAL_ENTRY,
                                      .entry_kind = (uint8_t)entry->kind,
                                      .id = entry->id,
                                      .payload = entry->payload});
    }
    put_batch(&pen);
}

/* The log that a start would find is the one that was to be written, and no later one could take
 * its end for a torn write. */
static bool is_whole(const struct wal_transcript *transcript, const struct wal_scan *found)
{
    struct raft_runs_iter wanted = {0}, there = {0};
    const struct raft_entry *entry;
    bool same = raft_id_equal(found->base, transcript->base) && found->attested &&
                found->entries.entry_count == transcript->entries->entry_count;
    while (same && (entry = raft_runs_next(transcript->entries, &wanted)) != NULL)
        same = raft_entry_equal(entry, raft_runs_next(&found->entries, &there));
    return same;
}

/* The very scan of a start judges what was read back, before it has the name that lets all segments
 * before it go. */
static int rehearse(const struct wal_transcript *transcript, uint64_t sequence, uint8_t *segment,
                    uint64_t bytes, struct conclave_error *error)
{
    struct wal_scan found;
    struct conclave_error why = {0};
    int code = wal_scan_image(transcript->dir, transcript->identity, sequence, segment,
                              (size_t)bytes, &found, &why);
    if (code == CONCLAVE_OK && !is_whole(transcript, &found))
        code = error_set(&why, CONCLAVE_CORRUPT, "it would hold something else");
    wal_scan_deinit(&found);
    if (code != CONCLAVE_OK)
        error_set(
            error, code,
            "the log is damaged, and what it would be if it were written anew would not open: "
            "%s. Nothing was changed (in %s)",
            why.message, transcript->dir);
    return code;
}

/* next.tmp, with these bytes, durable, read back and rehearsed. */
static int make(const struct wal_transcript *transcript, uint64_t sequence, const char *path,
                uint8_t *segment, uint64_t bytes, struct conclave_error *error)
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
        code = io_sync_told(io->sync(io->ctx, file, error));
    if (code == CONCLAVE_OK)
        code = io->read(io->ctx, file, 0, back, (size_t)bytes, &got, error);
    if (code == CONCLAVE_OK && (got != bytes || memcmp(back, segment, (size_t)bytes) != 0))
        code = error_set(error, CONCLAVE_IO, "%s does not hold what was written to it", path);
    if (code == CONCLAVE_OK)
        code = rehearse(transcript, sequence, back, bytes, error);
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
    int code = make(transcript, sequence, temporary, segment, bytes, error);
    if (code == CONCLAVE_OK) /* from here on it counts */
        code = io->rename(io->ctx, temporary, path, error);
    if (code == CONCLAVE_OK)
        code = io_sync_told(io->sync_dir(io->ctx, transcript->dir, error));
    free(segment);
    free(path);
    free(temporary);
    return code;
}

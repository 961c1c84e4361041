/* Starting on an existing log: scan, and only if the scan is content, make the disk agree with it.
 */
#include "storage/wal.h"

#include "base/fatal.h"
#include "base/list.h"
#include "storage/block.h"
#include "storage/wal_internal.h"
#include "storage/wal_mend.h"
#include "storage/wal_scan.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* Reads bytes of a segment again, to be freed. IO: they are not those with this sum any more. */
static int read_same(const struct wal *wal, uint64_t sequence, uint64_t from, size_t bytes,
                     uint64_t sum, uint8_t **ret_data, struct conclave_error *error)
{
    const struct io *io = wal->io;
    char *path = wal_segment_path(wal->dir, sequence);
    struct io_file *file = NULL;
    size_t got = 0;
    int code = io->open(io->ctx, path, IO_OPEN_READ_ONLY, &file, error);
    free(path);
    if (code != CONCLAVE_OK)
        return code;
    uint8_t *data = mem_alloc(bytes);
    code = io->read(io->ctx, file, from, data, bytes, &got, error);
    io->close(io->ctx, file);
    if (code == CONCLAVE_OK && got != bytes)
        code = error_set(error, CONCLAVE_IO, "the log became shorter while it was read");
    else if (code == CONCLAVE_OK && XXH3_64bits(data, bytes) != sum)
        code = error_set(error, CONCLAVE_IO,
                         "segment %016" PRIx64 ".wal brings other bytes when it is read again",
                         sequence);
    if (code == CONCLAVE_OK)
        *ret_data = data;
    else
        free(data);
    return code;
}

/* Opens a segment and makes it zero where it is dirty. Synced before anything new is written: else
 * a crash could leave a new record and behind it an old one of the tail that was cut. */
static int open_clean(const struct io *io, const char *wal_dir,
                      const struct wal_scan_segment *segment, struct io_file **ret_file,
                      struct conclave_error *error)
{
    char *path = wal_segment_path(wal_dir, segment->sequence);
    struct io_file *file = NULL;
    int code = io->open(io->ctx, path, 0, &file, error);
    free(path);
    if (code != CONCLAVE_OK)
        return code;
    if (segment->dirty_end > segment->dirty_start) {
        code = wal_write_zeros(io, file, segment->dirty_start, segment->dirty_end, error);
        if (code == CONCLAVE_OK)
            code = io->datasync(io->ctx, file, error);
    }
    if (code != CONCLAVE_OK) {
        io->close(io->ctx, file);
        return code;
    }
    *ret_file = file;
    return CONCLAVE_OK;
}

/* Opens a segment for the log to go on in. Its last block may be a part of one. */
static int open_direct(const struct wal *wal, const struct wal_scan_segment *segment,
                       struct io_file **ret_file, struct conclave_error *error)
{
    char *path = wal_segment_path(wal->dir, segment->sequence);
    unsigned flags = segment->bytes % IO_BLOCK_BYTES == 0 ? IO_OPEN_DIRECT : 0;
    int code = wal->io->open(wal->io->ctx, path, flags, ret_file, error);
    free(path);
    return code;
}

/* The segments behind the end are prepared ones, or a torn first batch: all become zero. The first
 * is the next to be used, if it has the size; the others will be made anew under their names. Only
 * the first can hold a torn batch, since none is written before the one in front of it is synced,
 * and of what a spare holds nothing counts without a header: so they may be cleaned in any order.
 */
static int adopt(struct wal *wal, const struct wal_scan *scan, struct conclave_error *error)
{
    for (size_t i = scan->active + 1; i < scan->segment_count; i++) {
        const struct wal_scan_segment *segment = &scan->segments[i];
        struct io_file *file = NULL;
        int code = open_clean(wal->io, wal->dir, segment, &file, error);
        if (code != CONCLAVE_OK)
            return code;
        wal->io->close(wal->io->ctx, file);
        if (i == scan->active + 1 && segment->bytes == wal->segment_bytes) {
            code = open_direct(wal, segment, &wal->ahead.file, error);
            if (code != CONCLAVE_OK)
                return code;
            atomic_store(&wal->ahead.state, WAL_AHEAD_READY);
        }
    }
    return CONCLAVE_OK;
}

/* Writes a segment as it was judged, and syncs it. */
static int write_segment(const struct wal *wal, const struct wal_scan_segment *segment,
                         size_t bytes, struct conclave_error *error)
{
    const struct io *io = wal->io;
    struct io_file *file = NULL;
    uint8_t *data = NULL;
    int code = read_same(wal, segment->sequence, 0, bytes, segment->read_sum, &data, error);
    if (code != CONCLAVE_OK)
        return code;
    char *path = wal_segment_path(wal->dir, segment->sequence);
    code = io->open(io->ctx, path, 0, &file, error);
    free(path);
    if (code == CONCLAVE_OK) {
        const struct iovec part = {.iov_base = data, .iov_len = bytes};
        code = io->writev(io->ctx, file, 0, &part, 1, error);
        if (code == CONCLAVE_OK)
            code = io->datasync(io->ctx, file, error);
        io->close(io->ctx, file);
    }
    free(data);
    return code;
}

/* After a repair: what was read may never have reached the disk (a killed process, a failed sync),
 * so all of the log is written again. What is written is what is there: this can tear nothing. */
static int write_again(const struct wal *wal, const struct wal_scan *scan,
                       struct conclave_error *error)
{
    int code = CONCLAVE_OK;
    for (size_t i = 0; i <= scan->active && code == CONCLAVE_OK; i++) {
        const struct wal_scan_segment *segment = &scan->segments[i];
        code = write_segment(wal, segment, (size_t)(i == scan->active ? scan->end : segment->bytes),
                             error);
    }
    return code;
}

static int end_mending(const struct wal *wal, const struct wal_scan *scan,
                       struct conclave_error *error)
{
    const struct io *io = wal->io;
    char *path = path_join(wal->dir, WAL_MENDING_NAME);
    int code = write_again(wal, scan, error);
    if (code == CONCLAVE_OK)
        code = io->unlink(io->ctx, path, error);
    if (code == CONCLAVE_OK)
        code = io->sync_dir(io->ctx, wal->dir, error);
    free(path);
    return code;
}

/* The last batch was read, perhaps from memory that the disk never saw. What follows counts it as
 * durable and is chained to it, an empty one too, so make it so. What is written is what is there:
 * this can tear nothing. */
static int settle_active(struct wal *wal, const struct wal_scan *scan, struct conclave_error *error)
{
    const struct io *io = wal->io;
    const struct wal_scan_segment *active = &scan->segments[scan->active];
    struct io_file *file = NULL;
    uint8_t *data = NULL;
    const uint64_t block = scan->end / IO_BLOCK_BYTES * IO_BLOCK_BYTES;
    int code =
        read_same(wal, active->sequence, scan->read_from, (size_t)(scan->read_to - scan->read_from),
                  scan->read_sum, &data, error); /* before anything is cut */
    if (code == CONCLAVE_OK)
        code = open_clean(io, wal->dir, active, &file, error);
    if (code != CONCLAVE_OK)
        goto free_data;
    memcpy(wal->tail, data + (block - scan->read_from), (size_t)(scan->end - block));
    const struct iovec part = {.iov_base = data + (scan->batch - scan->read_from),
                               .iov_len = (size_t)(scan->end - scan->batch)};
    code = io->writev(io->ctx, file, scan->batch, &part, 1, error);
    if (code == CONCLAVE_OK)
        code = io->datasync(io->ctx, file, error);
    io->close(io->ctx, file);
    if (code == CONCLAVE_OK)
        code = open_direct(wal, active, &wal->file, error);
free_data:
    free(data);
    return code;
}

/* What is before the segment in which the log begins anew can go: that one is durable by now. */
static int remove_skipped(struct wal *wal, const struct wal_scan *scan,
                          struct conclave_error *error)
{
    const struct wal_range range = {.first = scan->skipped, .end = scan->segments[0].sequence};
    const bool keep = false; /* a repair may have left blocks in them that cannot be read */
    return wal_remove_files(wal, range, keep, error);
}

/* Brings the disk to what the scan found, durable and attested; `mended`: behind a repair. */
static int settle(struct wal *wal, const char *dir, struct wal_scan *scan, bool mended,
                  struct conclave_error *error)
{
    const struct wal_scan_segment *active = &scan->segments[scan->active];
    /* A process killed between a rename and the sync behind it leaves names that are only in
     * memory: of a prepared segment, of the identity. */
    int code = wal->io->sync_dir(wal->io->ctx, wal->dir, error);
    if (code == CONCLAVE_OK)
        code = wal->io->sync_dir(wal->io->ctx, dir, error);
    if (code == CONCLAVE_OK && mended)
        code = end_mending(wal, scan, error);
    if (code == CONCLAVE_OK)
        code = wal_spares_sweep(wal, error);
    if (code == CONCLAVE_OK)
        code = adopt(wal, scan, error);
    if (code == CONCLAVE_OK)
        code = settle_active(wal, scan, error);
    if (code != CONCLAVE_OK)
        return code;
    wal->file_sequence = active->sequence;
    wal->file_bytes = active->bytes;
    wal->file_end = active->bytes; /* all behind the log's end is zero */
    wal->at = (struct wal_position){.sequence = active->sequence,
                                    .offset = scan->end,
                                    .capacity = active->bytes,
                                    .key = wal_key(&wal->identity, active->sequence)};
    wal_links_move(&wal->links, &scan->links);
    wal->last = scan->last;
    wal->attested = scan->attested;
    for (size_t i = 0; i <= scan->active; i++) {
        LIST_RESERVE(&wal->segments);
        wal->segments.items[wal->segments.count++] = scan->segments[i].known;
    }
    code = wal_attest(wal, error);
    return code == CONCLAVE_OK ? remove_skipped(wal, scan, error) : code;
}

int wal_open(const struct io *io, const char *dir, const struct storage_identity *identity,
             const struct wal_options *options, struct wal **ret_wal,
             struct wal_recovery *ret_recovery, struct conclave_error *error)
{
    char *wal_dir = path_join(dir, "wal");
    struct wal_scan scan;
    struct wal *wal = NULL;
    bool mended;
    int code = wal_mend_begun(io, wal_dir, &mended, error);
    if (code != CONCLAVE_OK)
        goto free_dir;
    code = wal_scan_run(io, wal_dir, identity, mended, &scan, error);
    if (code != CONCLAVE_OK)
        goto free_scan;
    uint64_t sequence = scan.segments[scan.active].sequence;
    wal = wal_new(io, wal_dir, identity, options, sequence + 1);
    code = settle(wal, dir, &scan, mended, error);
    if (code != CONCLAVE_OK) {
        wal_close(wal);
        goto free_scan;
    }
    struct wal_recovery recovery = {
        .base = scan.base,
        .attested_index = scan.attested_index,
        .segment_count = scan.active + 1,
    };
    for (size_t i = scan.active; i < scan.segment_count; i++)
        recovery.cut_bytes += scan.segments[i].torn_bytes;
    raft_runs_move(&recovery.entries, &scan.entries);
    *ret_wal = wal;
    *ret_recovery = recovery;
free_scan:
    wal_scan_deinit(&scan);
free_dir:
    free(wal_dir);
    return code;
}

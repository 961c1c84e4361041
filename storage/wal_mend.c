#include "storage/wal_mend.h"

#include "base/fatal.h"
#include "storage/block.h"
#include "storage/wal_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* --- Before ----------------------------------------------------------------------------------- */

static int refuse(const struct wal_mending *mending, const struct wal_hole *hole, const char *why,
                  struct conclave_error *error)
{
    return error_set(error, CONCLAVE_CORRUPT,
                     "the log is damaged beyond repair: with what the other nodes have in segment "
                     "%016" PRIx64 ".wal, offset %" PRIu64
                     ": %s. Nothing was changed. Remove this node from the cluster and add it "
                     "again with an empty directory (in %s)",
                     hole->sequence, hole->offset, why, mending->dir);
}

int wal_mend_rehearse(const struct wal_mending *mending, struct conclave_error *error)
{
    const struct wal_scan *seen = &mending->survey->scan;
    struct conclave_error why = {0};
    struct wal_scan scan;
    if (mending->survey->holes.count == 0)
        return CONCLAVE_OK;
    const struct wal_hole *first = &mending->survey->holes.items[0];
    int code = wal_scan_rehearse(mending->io, mending->dir, mending->identity, mending->patches,
                                 mending->survey->holes.count, &scan, &why);
    if (code == CONCLAVE_CORRUPT)
        code = refuse(mending, first, why.message, error);
    else if (code != CONCLAVE_OK && error)
        *error = why;
    else if (code == CONCLAVE_OK && (scan.active != seen->active || scan.end != seen->end ||
                                     !raft_id_equal(scan.last, seen->last)))
        code = refuse(mending, first, "it would end somewhere else", error);
    else if (code == CONCLAVE_OK && scan.base.index > seen->base.index &&
             scan.base.index > mending->covered.index)
        code = refuse(mending, first, "entries would still be missing", error);
    else if (code == CONCLAVE_OK && scan.base.index == mending->covered.index &&
             scan.base.term != WAL_TERM_UNKNOWN && scan.base.term != mending->covered.term)
        /* It stands behind what was replaced there, in what is lost. */
        code = refuse(mending, first, "it would begin behind another entry than the snapshot's",
                      error);
    wal_scan_deinit(&scan);
    return code;
}

/* --- Writing ---------------------------------------------------------------------------------- */

/* The next start writes everything once more, whatever happens to this process or to a sync. */
static int mark_mending(const struct wal_mending *mending, struct conclave_error *error)
{
    const struct io *io = mending->io;
    char *path = path_join(mending->dir, WAL_MENDING_NAME);
    struct io_file *file = NULL;
    int code = io->open(io->ctx, path, IO_OPEN_CREATE, &file, error);
    if (code == CONCLAVE_OK)
        io->close(io->ctx, file);
    if (code == CONCLAVE_OK || code == CONCLAVE_EXISTS)
        code = io_sync_told(io->sync_dir(io->ctx, mending->dir, error));
    free(path);
    return code;
}

/* Did the disk fail to read the block when the log was judged? */
static bool was_unread(const struct wal_survey *survey, size_t number, uint64_t block)
{
    for (size_t i = 0; i < survey->unread.count; i++)
        if (survey->unread.items[i].number == number && survey->unread.items[i].offset == block)
            return true;
    return false;
}

/* Widens what is written to the whole of those blocks in it that the disk fails to read: what
 * stands beside the hole in them was zeros to the judge, or is in another hole. IO: it was read
 * then, and may be records that nobody asked for. */
static int take_blocks(const struct wal_mending *mending, size_t number,
                       const struct wal_loaded *segment, uint64_t *from, uint64_t *to,
                       struct conclave_error *error)
{
    const struct wal_hole *hole = &mending->survey->holes.items[number];
    for (size_t i = 0; i < segment->unread.count; i++) {
        const uint64_t block = segment->unread.items[i];
        const uint64_t whole = block + WAL_SCANNER_BLOCK_BYTES;
        const uint64_t end = whole < segment->bytes ? whole : segment->bytes;
        bool beside = block < hole->offset || end > hole->end;
        if (end <= hole->offset || block >= hole->end || !beside)
            continue;
        if (!was_unread(mending->survey, hole->number, block))
            return error_set(error, CONCLAVE_IO,
                             "segment %016" PRIx64 ".wal, offset %" PRIu64
                             ": what was read beside a damaged place cannot be read any more",
                             hole->sequence, block);
        *from = block < *from ? block : *from;
        *to = end > *to ? end : *to;
    }
    return CONCLAVE_OK;
}

/* Writes over the hole, in whole blocks where the disk fails to read, and reads it back. */
static int write_hole(const struct wal_mending *mending, size_t number,
                      const struct wal_loaded *segment, struct conclave_error *error)
{
    const struct io *io = mending->io;
    const struct wal_patch *patch = &mending->patches[number];
    uint64_t from = patch->offset, to = patch->end;
    size_t got = 0;
    int code = take_blocks(mending, number, segment, &from, &to, error);
    if (code != CONCLAVE_OK)
        return code;
    char *path = wal_segment_path(mending->dir, patch->sequence);
    struct io_file *file = NULL;
    code = io->open(io->ctx, path, 0, &file, error);
    free(path);
    if (code != CONCLAVE_OK)
        return code;
    uint8_t *back = mem_alloc((size_t)(to - from));
    struct iovec part = {.iov_base = segment->data + from, .iov_len = (size_t)(to - from)};
    code = io->writev(io->ctx, file, from, &part, 1, error);
    if (code == CONCLAVE_OK)
        code = io_sync_told(io->datasync(io->ctx, file, error));
    if (code == CONCLAVE_OK)
        code = io->read(io->ctx, file, from, back, part.iov_len, &got, error);
    if (code == CONCLAVE_OK &&
        (got != part.iov_len || memcmp(back, segment->data + from, part.iov_len) != 0))
        code = error_set(error, CONCLAVE_IO,
                         "segment %016" PRIx64 ".wal does not hold what was written to it",
                         patch->sequence);
    free(back);
    io->close(io->ctx, file);
    return code;
}

static int mend(const struct wal_mending *mending, size_t number, struct conclave_error *error)
{
    const struct wal_patch *patch = &mending->patches[number];
    struct wal_scan scan = mending->survey->scan; /* loading notes the file's size in its segment */
    struct wal_scanner scanner = {.io = mending->io,
                                  .dir = mending->dir,
                                  .identity = mending->identity,
                                  .scan = &scan,
                                  .patient = true,
                                  .patches = mending->patches,
                                  .patch_count = mending->survey->holes.count,
                                  .error = error};
    int code =
        wal_scanner_load(&scanner, mending->survey->holes.items[number].number, &scanner.next);
    if (code == CONCLAVE_OK && patch->end > scanner.next.bytes)
        code = error_set(error, CONCLAVE_IO, "the log became shorter while it was read");
    if (code == CONCLAVE_OK)
        code = write_hole(mending, number, &scanner.next, error);
    wal_scanner_deinit(&scanner);
    return code;
}

int wal_mend_write(const struct wal_mending *mending, struct conclave_error *error)
{
    int code = mark_mending(mending, error);
    for (size_t i = 0; i < mending->survey->holes.count && code == CONCLAVE_OK; i++)
        code = mend(mending, i, error);
    return code;
}

int wal_mend_begun(const struct io *io, const char *wal_dir, bool *ret,
                   struct conclave_error *error)
{
    char *path = path_join(wal_dir, WAL_MENDING_NAME);
    struct io_file *file = NULL;
    int code = io->open(io->ctx, path, IO_OPEN_READ_ONLY, &file, error);
    free(path);
    *ret = code == CONCLAVE_OK;
    if (code == CONCLAVE_OK)
        io->close(io->ctx, file);
    return code == CONCLAVE_NOT_FOUND ? CONCLAVE_OK : code;
}

#include "storage/wal_evidence.h"

#include "storage/block.h"
#include "storage/wal_internal.h"

#include <stdlib.h>

/* Blocks that cannot be read are left out: nothing was seen in them. */
static int rewrite_readable(const struct io *io, struct io_file *file, uint64_t from, uint64_t to,
                            struct conclave_error *error)
{
    uint8_t block[WAL_SCANNER_BLOCK_BYTES];
    int code = wal_rewrite(io, file, from, to, error);
    if (code != CONCLAVE_IO)
        return code;
    code = CONCLAVE_OK;
    for (uint64_t at = from, next; at < to && code == CONCLAVE_OK; at = next) {
        size_t got = 0;
        next = (at / WAL_SCANNER_BLOCK_BYTES + 1) * WAL_SCANNER_BLOCK_BYTES;
        next = next < to ? next : to;
        code = io->read(io->ctx, file, at, block, (size_t)(next - at), &got, error);
        if (code == CONCLAVE_OK)
            code = wal_rewrite(io, file, at, next, error);
        else if (code == CONCLAVE_IO)
            code = CONCLAVE_OK;
    }
    return code;
}

static int rewrite_around_holes(const struct io *io, const struct wal_survey *survey, size_t number,
                                struct io_file *file, struct conclave_error *error)
{
    const struct wal_scan *scan = &survey->scan;
    uint64_t end = number == scan->active ? scan->end : scan->segments[number].bytes;
    uint64_t from = 0;
    int code = CONCLAVE_OK;
    for (size_t i = 0; i < survey->holes.count && code == CONCLAVE_OK; i++) {
        const struct wal_hole *hole = &survey->holes.items[i];
        if (hole->number != number)
            continue;
        if (hole->offset > from)
            code = rewrite_readable(io, file, from, hole->offset, error);
        from = hole->end;
    }
    if (code == CONCLAVE_OK && end > from)
        code = rewrite_readable(io, file, from, end, error);
    return code == CONCLAVE_OK ? io->datasync(io->ctx, file, error) : code;
}

/* A repair before this one did not come to its end: what it wrote was read as whole, and may stand
 * in memory alone, as behind a sync that failed. */
static int was_begun(const struct io *io, const char *wal_dir, bool *ret,
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

int wal_evidence_keep(const struct io *io, const char *wal_dir, const struct wal_survey *survey,
                      struct conclave_error *error)
{
    const struct wal_scan *scan = &survey->scan;
    bool begun = false;
    int asked = was_begun(io, wal_dir, &begun, error);
    if (asked != CONCLAVE_OK || (!begun && survey->holes.count == 0))
        return asked;
    for (size_t i = begun ? 0 : survey->holes.items[0].number; i <= scan->active; i++) {
        char *path = wal_segment_path(wal_dir, scan->segments[i].sequence);
        struct io_file *file = NULL;
        int code = io->open(io->ctx, path, 0, &file, error);
        free(path);
        if (code != CONCLAVE_OK)
            return code;
        code = rewrite_around_holes(io, survey, i, file, error);
        io->close(io->ctx, file);
        if (code != CONCLAVE_OK)
            return code;
    }
    return CONCLAVE_OK;
}

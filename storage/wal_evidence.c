#include "storage/wal_evidence.h"

#include "storage/wal_internal.h"
#include "storage/wal_mend.h"

#include <inttypes.h>
#include <stdlib.h>

static int write_range(const struct io *io, struct io_file *file, const struct wal_loaded *segment,
                       uint64_t from, uint64_t to, struct conclave_error *error)
{
    const struct iovec part = {.iov_base = segment->data + from, .iov_len = (size_t)(to - from)};
    return to > from ? io->writev(io->ctx, file, from, &part, 1, error) : CONCLAVE_OK;
}

/* Blocks that cannot be read are left out: nothing was seen in them. */
static int write_readable(const struct io *io, struct io_file *file,
                          const struct wal_loaded *segment, uint64_t from, uint64_t to,
                          struct conclave_error *error)
{
    int code = CONCLAVE_OK;
    for (size_t i = 0; i < segment->unread.count && code == CONCLAVE_OK; i++) {
        const uint64_t block = segment->unread.items[i], end = block + WAL_SCANNER_BLOCK_BYTES;
        if (end <= from || block >= to)
            continue;
        code = write_range(io, file, segment, from, block, error);
        from = end;
    }
    return code == CONCLAVE_OK ? write_range(io, file, segment, from, to, error) : code;
}

static int write_around_holes(const struct io *io, const struct wal_survey *survey, size_t number,
                              const struct wal_loaded *segment, uint64_t end, struct io_file *file,
                              struct conclave_error *error)
{
    uint64_t from = 0;
    int code = CONCLAVE_OK;
    for (size_t i = 0; i < survey->holes.count && code == CONCLAVE_OK; i++) {
        const struct wal_hole *hole = &survey->holes.items[i];
        if (hole->number != number)
            continue;
        code =
            write_readable(io, file, segment, from, hole->offset < end ? hole->offset : end, error);
        from = hole->end;
    }
    if (code == CONCLAVE_OK)
        code = write_readable(io, file, segment, from, end, error);
    return code == CONCLAVE_OK ? io->datasync(io->ctx, file, error) : code;
}

/* What is written is what was judged, or a read that went wrong without a word would become what
 * the disk holds. */
static int keep_segment(const struct io *io, const char *wal_dir,
                        const struct storage_identity *identity, const struct wal_survey *survey,
                        size_t number, struct conclave_error *error)
{
    struct wal_scan scan = survey->scan; /* loading notes the file's size in its segment */
    struct wal_scanner scanner = {.io = io,
                                  .dir = wal_dir,
                                  .identity = identity,
                                  .scan = &scan,
                                  .patient = true,
                                  .error = error};
    const struct wal_scan_segment *segment = &scan.segments[number];
    const uint64_t bytes = segment->bytes, end = number == scan.active ? scan.end : bytes;
    struct io_file *file = NULL;
    int code = wal_scanner_load(&scanner, number, &scanner.next);
    if (code == CONCLAVE_OK &&
        (scanner.next.bytes != bytes ||
         wal_survey_sum(survey, number, scanner.next.data, end) != segment->read_sum))
        code = error_set(error, CONCLAVE_IO,
                         "segment %016" PRIx64 ".wal brings other bytes when it is read again",
                         segment->sequence);
    if (code != CONCLAVE_OK)
        goto free_segment;
    char *path = wal_segment_path(wal_dir, segment->sequence);
    code = io->open(io->ctx, path, 0, &file, error);
    free(path);
    if (code == CONCLAVE_OK) {
        code = write_around_holes(io, survey, number, &scanner.next, end, file, error);
        io->close(io->ctx, file);
    }
free_segment:
    wal_scanner_deinit(&scanner);
    return code;
}

int wal_evidence_keep(const struct io *io, const char *wal_dir,
                      const struct storage_identity *identity, const struct wal_survey *survey,
                      struct conclave_error *error)
{
    const struct wal_scan *scan = &survey->scan;
    bool begun = false;
    int asked = wal_mend_begun(io, wal_dir, &begun, error);
    if (asked != CONCLAVE_OK || (!begun && survey->holes.count == 0))
        return asked;
    int code = CONCLAVE_OK;
    for (size_t i = begun ? 0 : survey->holes.items[0].number;
         i <= scan->active && code == CONCLAVE_OK; i++)
        code = keep_segment(io, wal_dir, identity, survey, i, error);
    return code;
}

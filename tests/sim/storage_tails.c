/* What stands behind the records of a log, on the disk of a simulated node. */
#include "tests/sim/storage_internal.h"

#include "storage/block.h"
#include "storage/bytes.h"
#include "storage/wal_internal.h"
#include "storage/wal_scan.h"

#include <stdlib.h>

/* Where the next segment says that this one ends; UINT64_MAX: it says nothing. */
static uint64_t end_before(const struct storage *storage, const char *wal_dir, uint64_t sequence)
{
    struct wal_header header;
    size_t bytes = 0;
    char *path = wal_segment_path(wal_dir, sequence);
    const uint8_t *data = memory_disk_bytes(storage->disk, path, &bytes);
    bool whole = data && wal_header_decode(data, bytes, &storage->identity, &header) == CONCLAVE_OK;
    free(path);
    return whole ? header.previous_end : UINT64_MAX;
}

static bool is_zero_from(const struct storage *storage, const char *wal_dir, uint64_t sequence,
                         uint64_t end)
{
    size_t bytes = 0;
    char *path = wal_segment_path(wal_dir, sequence);
    const uint8_t *data = memory_disk_bytes(storage->disk, path, &bytes);
    free(path);
    return !data || end >= bytes || bytes_zero(data + end, bytes - (size_t)end);
}

bool storage_is_zero_behind(struct storage *storage, uint64_t *ret_sequence)
{
    struct wal_scan scan;
    char *wal_dir = path_join(STORAGE_DIR, "wal");
    bool zero =
        wal_scan_run(storage->io, wal_dir, &storage->identity, false, &scan, NULL) == CONCLAVE_OK;
    *ret_sequence = 0;
    for (size_t i = 0; i < scan.segment_count && zero; i++) {
        const struct wal_scan_segment *segment = &scan.segments[i];
        *ret_sequence = segment->sequence;
        if (i < scan.active)
            zero = is_zero_from(storage, wal_dir, segment->sequence,
                                end_before(storage, wal_dir, segment->sequence + 1));
        else
            zero = segment->dirty_end <= segment->dirty_start;
    }
    wal_scan_deinit(&scan);
    free(wal_dir);
    return zero;
}

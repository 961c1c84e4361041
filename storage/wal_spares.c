/* Spares: files of segments that were let go of, kept for the next segments. Blocks that were
 * written before need neither zeros nor a change of metadata, so a log that goes round in them
 * writes half as much. What makes it sound stands in storage/wal_format.h. */
#include "storage/wal_internal.h"

#include "base/fatal.h"
#include "storage/block.h"

#include <stdlib.h>
#include <string.h>

enum {
    ZERO_BYTES = 256 << 10,
    SPARE_ZERO_BYTES = IO_BLOCK_BYTES /* the header */
};

int wal_write_zeros(const struct io *io, struct io_file *file, uint64_t from, uint64_t to,
                    struct conclave_error *error)
{
    if (from >= to)
        return CONCLAVE_OK;
    size_t chunk = to - from < ZERO_BYTES ? (size_t)(to - from) : ZERO_BYTES;
    chunk = (chunk + IO_BLOCK_BYTES - 1) / IO_BLOCK_BYTES * IO_BLOCK_BYTES;
    uint8_t *zeros = mem_alloc_aligned(IO_BLOCK_BYTES, chunk);
    memset(zeros, 0, chunk);
    int code = CONCLAVE_OK;
    for (uint64_t at = from; at < to && code == CONCLAVE_OK; at += chunk) {
        uint64_t left = to - at;
        struct iovec part = {.iov_base = zeros, .iov_len = left < chunk ? (size_t)left : chunk};
        code = io->writev(io->ctx, file, at, &part, 1, error);
    }
    free(zeros);
    return code;
}

static char *spare_path(const char *wal_dir, uint64_t sequence)
{
    char name[WAL_NAME_BYTES + sizeof WAL_SPARE_SUFFIX];
    wal_name_format(sequence, name);
    memcpy(name + WAL_NAME_BYTES - 1, WAL_SPARE_SUFFIX, sizeof WAL_SPARE_SUFFIX);
    return path_join(wal_dir, name);
}

/* The file has the size of a segment: not one that was made for a larger entry. */
static int has_size(const struct wal *wal, const char *path, bool *ret,
                    struct conclave_error *error)
{
    struct io_file *file = NULL;
    uint64_t bytes = 0;
    int code = wal->io->open(wal->io->ctx, path, 0, &file, error);
    if (code != CONCLAVE_OK)
        return code;
    code = wal->io->size(wal->io->ctx, file, &bytes, error);
    wal->io->close(wal->io->ctx, file);
    *ret = bytes == wal->segment_bytes;
    return code;
}

int wal_spare_keep(struct wal *wal, uint64_t sequence, bool *ret_kept, struct conclave_error *error)
{
    *ret_kept = false;
    pthread_mutex_lock(&wal->ahead.mutex);
    bool room = wal->ahead.spare_count < wal->ahead.spares_max;
    pthread_mutex_unlock(&wal->ahead.mutex);
    if (!room)
        return CONCLAVE_OK;
    char *path = wal_segment_path(wal->dir, sequence);
    char *spare = spare_path(wal->dir, sequence);
    bool fits = false;
    int code = has_size(wal, path, &fits, error);
    if (code == CONCLAVE_OK && fits)
        code = wal->io->rename(wal->io->ctx, path, spare, error);
    *ret_kept = code == CONCLAVE_OK && fits;
    free(spare);
    free(path);
    return code;
}

void wal_spare_add(struct wal *wal, uint64_t sequence)
{
    pthread_mutex_lock(&wal->ahead.mutex);
    ASSERT(wal->ahead.spare_count < wal->ahead.spares_max); /* one thread adds */
    wal->ahead.spares[wal->ahead.spare_count++] = sequence;
    pthread_mutex_unlock(&wal->ahead.mutex);
}

/* The header of its earlier life goes before the file gets its name: it must not be found there. */
static int spare_make(struct wal *wal, const char *spare, const char *path,
                      struct io_file **ret_file, struct conclave_error *error)
{
    const struct io *io = wal->io;
    struct io_file *file = NULL;
    int code = io->open(io->ctx, spare, IO_OPEN_DIRECT, &file, error);
    if (code != CONCLAVE_OK)
        return code;
    uint64_t bytes = wal->segment_bytes < SPARE_ZERO_BYTES ? wal->segment_bytes : SPARE_ZERO_BYTES;
    code = wal_write_zeros(io, file, 0, bytes, error);
    if (code == CONCLAVE_OK)
        code = io->datasync(io->ctx, file, error);
    if (code == CONCLAVE_OK)
        code = io->rename(io->ctx, spare, path, error);
    if (code == CONCLAVE_OK)
        code = io->sync_dir(io->ctx, wal->dir, error);
    if (code == CONCLAVE_OK)
        *ret_file = file;
    else
        io->close(io->ctx, file);
    return code;
}

int wal_spare_use(struct wal *wal, uint64_t sequence, struct io_file **ret_file,
                  struct conclave_error *error)
{
    if (wal->ahead.spare_count == 0)
        return CONCLAVE_NOT_FOUND;
    char *spare = spare_path(wal->dir, wal->ahead.spares[--wal->ahead.spare_count]);
    char *path = wal_segment_path(wal->dir, sequence);
    int code = spare_make(wal, spare, path, ret_file, error);
    free(path);
    free(spare);
    return code;
}

int wal_drop_spares(struct wal *wal, struct conclave_error *error)
{
    int code = CONCLAVE_OK;
    pthread_mutex_lock(&wal->ahead.mutex);
    while (wal->ahead.spare_count > 0 && code == CONCLAVE_OK) {
        char *spare = spare_path(wal->dir, wal->ahead.spares[--wal->ahead.spare_count]);
        code = wal->io->unlink(wal->io->ctx, spare, error);
        free(spare);
    }
    pthread_mutex_unlock(&wal->ahead.mutex);
    return code;
}

/* --- At a start ------------------------------------------------------------------------------- */

struct sweep {
    uint64_t *found;
    size_t count, capacity;
};

static void note_spare(void *arg, const char *name)
{
    struct sweep *sweep = arg;
    char plain[WAL_NAME_BYTES] = {0};
    uint64_t sequence = 0;
    if (strlen(name) != WAL_NAME_BYTES - 1 + strlen(WAL_SPARE_SUFFIX) ||
        strcmp(name + WAL_NAME_BYTES - 1, WAL_SPARE_SUFFIX) != 0)
        return;
    memcpy(plain, name, WAL_NAME_BYTES - 1);
    if (!wal_name_parse(plain, &sequence))
        return;
    if (sweep->count == sweep->capacity) {
        sweep->capacity = sweep->capacity == 0 ? 16 : 2 * sweep->capacity;
        sweep->found = mem_realloc(sweep->found, sweep->capacity * sizeof sweep->found[0]);
    }
    sweep->found[sweep->count++] = sequence;
}

int wal_spares_sweep(const struct wal *wal, struct conclave_error *error)
{
    struct sweep sweep = {0};
    int code = wal->io->list_dir(wal->io->ctx, wal->dir, note_spare, &sweep, error);
    for (size_t i = 0; i < sweep.count && code == CONCLAVE_OK; i++) {
        char *spare = spare_path(wal->dir, sweep.found[i]);
        code = wal->io->unlink(wal->io->ctx, spare, error);
        free(spare);
    }
    free(sweep.found);
    return code;
}

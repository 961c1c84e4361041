/* Making segments and handing them over. */
#include "storage/wal_internal.h"

#include "base/fatal.h"
#include "storage/block.h"

#include <stdlib.h>

char *wal_segment_path(const char *wal_dir, uint64_t sequence)
{
    char name[WAL_NAME_BYTES];
    wal_name_format(sequence, name);
    return path_join(wal_dir, name);
}

/* Makes a zero segment, durable under its name, and opens it. It may replace a prepared one that is
 * too small. A crash anywhere in between leaves next.tmp, or a segment without a header. */
static int segment_make(struct wal *wal, uint64_t sequence, uint64_t bytes,
                        struct io_file **ret_file, struct conclave_error *error)
{
    const struct io *io = wal->io;
    const char *dir = wal->dir;
    char *temporary = path_join(dir, WAL_TEMPORARY_NAME);
    char *path = wal_segment_path(dir, sequence);
    struct io_file *file = NULL;
    int code = io->open(io->ctx, temporary, IO_OPEN_CREATE | IO_OPEN_DIRECT, &file, error);
    if (code == CONCLAVE_EXISTS) { /* left by a crash or a full disk */
        code = io->unlink(io->ctx, temporary, error);
        if (code == CONCLAVE_OK)
            code = io->open(io->ctx, temporary, IO_OPEN_CREATE | IO_OPEN_DIRECT, &file, error);
    }
    if (code != CONCLAVE_OK)
        goto free_paths;
    code = io->allocate(io->ctx, file, bytes, &wal->ahead.pressing, error);
    if (code == CONCLAVE_OK) /* before the rename: a segment in its place is whole */
        code = io->sync(io->ctx, file, error);
    if (code == CONCLAVE_OK)
        code = io->rename(io->ctx, temporary, path, error);
    if (code ==
        CONCLAVE_OK) /* before the first record: a synced record in an unfindable file is lost */
        code = io->sync_dir(io->ctx, dir, error);
    if (code == CONCLAVE_OK) {
        *ret_file = file;
    } else {
        io->close(io->ctx, file);
        (void)io->unlink(io->ctx, temporary,
                         NULL); /* gives the space back; the first error counts */
    }
free_paths:
    free(path);
    free(temporary);
    return code;
}

/* Of a spare if there is one, which needs no zeros. */
static int segment_take(struct wal *wal, uint64_t sequence, uint64_t bytes,
                        struct io_file **ret_file, bool *ret_recycled, struct conclave_error *error)
{
    if (bytes == wal->segment_bytes) {
        int code = wal_spare_use(wal, sequence, ret_file, error);
        *ret_recycled = code == CONCLAVE_OK;
        if (code != CONCLAVE_NOT_FOUND)
            return code;
    }
    *ret_recycled = false;
    return segment_make(wal, sequence, bytes, ret_file, error);
}

void wal_press(struct wal *wal)
{
    atomic_store(&wal->ahead.pressing, true);
}

int wal_segment_switch(struct wal *wal, uint64_t sequence, uint64_t capacity,
                       struct conclave_error *error)
{
    int code = CONCLAVE_OK;
    struct io_file *file = NULL;
    bool recycled = false;
    wal_press(wal);
    pthread_mutex_lock(&wal->ahead.mutex);
    ASSERT(sequence == wal->ahead.sequence);
    if (wal->ahead.file != NULL && capacity > wal->segment_bytes) {
        wal->io->close(wal->io->ctx, wal->ahead.file);
        wal->ahead.file = NULL;
    }
    if (wal->ahead.file != NULL) {
        file = wal->ahead.file;
        recycled = wal->ahead.recycled;
    } else {
        code = segment_take(wal, sequence, capacity, &file, &recycled, error);
    }
    wal->ahead.file = NULL;
    if (code == CONCLAVE_OK)
        wal->ahead.sequence = sequence + 1;
    atomic_store(&wal->ahead.state, WAL_AHEAD_NONE);
    atomic_store(&wal->ahead.pressing, false);
    pthread_mutex_unlock(&wal->ahead.mutex);
    if (code != CONCLAVE_OK)
        return code;
    if (wal->file != NULL)
        wal->io->close(wal->io->ctx, wal->file);
    wal->file = file;
    wal->file_sequence = sequence;
    wal->file_end = 0;
    wal->file_bytes = capacity;
    wal->file_recycled = recycled;
    return CONCLAVE_OK;
}

int wal_prepare_segment(struct wal *wal, struct conclave_error *error)
{
    int code = CONCLAVE_OK;
    pthread_mutex_lock(&wal->ahead.mutex);
    if (wal->ahead.file == NULL) {
        atomic_store(&wal->ahead.state, WAL_AHEAD_MAKING);
        code = segment_take(wal, wal->ahead.sequence, wal->segment_bytes, &wal->ahead.file,
                            &wal->ahead.recycled, error);
        atomic_store(&wal->ahead.state, code == CONCLAVE_OK ? WAL_AHEAD_READY : WAL_AHEAD_NONE);
    }
    pthread_mutex_unlock(&wal->ahead.mutex);
    return code;
}

bool wal_needs_segment(const struct wal *wal)
{
    return !wal->failed && atomic_load(&wal->ahead.state) == WAL_AHEAD_NONE;
}

/* Files to look at, which may be in use, of anybody, or no files at all. */
#include "storage/io.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int refuse(const char *what, struct conclave_error *error)
{
    return error_set(error, CONCLAVE_DENIED, "refused to %s: this only looks", what);
}

/* Whoever waits for the other end of a pipe in the place of a file waits for ever. */
static int look_open(void *ctx, const char *path, unsigned flags, struct io_file **ret_file,
                     struct conclave_error *error)
{
    struct stat status;
    if ((flags & ~(unsigned)IO_OPEN_READ_ONLY) != 0)
        return refuse("write", error);
    if (stat(path, &status) == 0 && !S_ISREG(status.st_mode))
        return error_set(error, CONCLAVE_IO, "%s is not a file", path);
    return io_posix()->open(ctx, path, IO_OPEN_READ_ONLY, ret_file, error);
}

static void look_close(void *ctx, struct io_file *file)
{
    io_posix()->close(ctx, file);
}

static int look_size(void *ctx, struct io_file *file, uint64_t *ret_bytes,
                     struct conclave_error *error)
{
    return io_posix()->size(ctx, file, ret_bytes, error);
}

static int look_read(void *ctx, struct io_file *file, uint64_t offset, void *data, size_t bytes,
                     size_t *ret_bytes, struct conclave_error *error)
{
    return io_posix()->read(ctx, file, offset, data, bytes, ret_bytes, error);
}

static int look_list_dir(void *ctx, const char *path, void (*entry)(void *arg, const char *name),
                         void *arg, struct conclave_error *error)
{
    return io_posix()->list_dir(ctx, path, entry, arg, error);
}

static int no_writev(void *ctx, struct io_file *file, uint64_t offset, const struct iovec *parts,
                     int part_count, struct conclave_error *error)
{
    (void)ctx, (void)file, (void)offset, (void)parts, (void)part_count;
    return refuse("write", error);
}

static int no_sync(void *ctx, struct io_file *file, struct conclave_error *error)
{
    (void)ctx, (void)file;
    return refuse("sync", error);
}

static int no_allocate(void *ctx, struct io_file *file, uint64_t bytes, const atomic_bool *pressing,
                       struct conclave_error *error)
{
    (void)ctx, (void)file, (void)bytes, (void)pressing;
    return refuse("allocate", error);
}

static int no_rename(void *ctx, const char *from, const char *to, struct conclave_error *error)
{
    (void)ctx, (void)from, (void)to;
    return refuse("rename", error);
}

static int no_change(void *ctx, const char *path, struct conclave_error *error)
{
    (void)ctx, (void)path;
    return refuse("change a directory", error);
}

const struct io *io_posix_read_only(void)
{
    static const struct io table = {
        .open = look_open,
        .close = look_close,
        .size = look_size,
        .read = look_read,
        .writev = no_writev,
        .datasync = no_sync,
        .sync = no_sync,
        .allocate = no_allocate,
        .lock = no_sync,
        .rename = no_rename,
        .unlink = no_change,
        .make_dir = no_change,
        .sync_dir = no_change,
        .list_dir = look_list_dir,
    };
    return &table;
}

/* Who holds this file, if it is this line of /proc/locks that says so:
 * "1: FLOCK  ADVISORY  WRITE 812 fd:01:131 0 EOF". The device is not compared: some file systems
 * show another one there than stat does. */
static long holder_in(char *line, ino_t inode)
{
    enum { KIND = 1, PROCESS = 4, FILE_ID = 5, FIELDS = 6 };
    char *fields[FIELDS], *rest = line;
    for (size_t i = 0; i < FIELDS; i++) {
        fields[i] = strtok_r(i == 0 ? line : NULL, " \n", &rest);
        if (fields[i] == NULL)
            return 0;
    }
    const char *number = strrchr(fields[FILE_ID], ':');
    const bool held = strcmp(fields[KIND], "FLOCK") == 0 && number != NULL &&
                      strtoull(number + 1, NULL, 10) == inode;
    return held ? strtol(fields[PROCESS], NULL, 10) : 0;
}

long io_posix_lock_holder(const char *path)
{
    struct stat status;
    FILE *locks = stat(path, &status) == 0 ? fopen("/proc/locks", "re") : NULL;
    char line[256];
    long holder = 0;
    while (locks != NULL && holder == 0 && fgets(line, sizeof line, locks) != NULL)
        holder = holder_in(line, status.st_ino);
    if (locks != NULL)
        (void)fclose(locks);
    return holder;
}

#include "base/clock.h"
#include "base/fatal.h"
#include "storage/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum {
    POSIX_PARTS_MAX = 64,         /* of one writev; far below IOV_MAX (1024) */
    POSIX_ZERO_BYTES = 256 << 10, /* at once: what the log writes meanwhile waits for no more */

    /* Between them, where there is time: a segment of 16 MiB takes about a sixth of a second. In
     * one go three nodes on one disk kept it busy for 40 ms, and every write waited for that. */
    POSIX_PAUSE_US = 2000
};

struct io_file {
    int fd;
    char *path; /* for sentences */
};

/* The code of an errno with a sentence that says what to do, where something can be done. */
static int fail(struct conclave_error *error, int number, const char *what, const char *path)
{
    switch (number) {
    case ENOSPC:
        return error_set(error, CONCLAVE_NO_SPACE,
                         "cannot %s %s: the disk is full; free some space", what, path);
    case EDQUOT:
        return error_set(error, CONCLAVE_NO_SPACE,
                         "cannot %s %s: the disk quota is used up; raise it or free some space",
                         what, path);
    case EACCES:
    case EPERM:
        return error_set(error, CONCLAVE_DENIED,
                         "cannot %s %s: permission denied; run as the user who owns the directory, "
                         "or correct its owner and mode",
                         what, path);
    case EROFS:
        return error_set(error, CONCLAVE_DENIED,
                         "cannot %s %s: the file system is read-only; mount it for writing", what,
                         path);
    case EMFILE:
    case ENFILE:
        return error_set(error, CONCLAVE_IO,
                         "cannot %s %s: too many open files; raise the limit (ulimit -n)", what,
                         path);
    case ENOENT:
    case ENOTDIR:
        return error_set_errno(error, CONCLAVE_NOT_FOUND, number, "cannot %s %s", what, path);
    case EEXIST:
        return error_set(error, CONCLAVE_EXISTS, "cannot %s %s: it exists already", what, path);
    case ENOMEM:
        return error_set(error, CONCLAVE_NO_MEMORY, "cannot %s %s: out of memory", what, path);
    default:
        return error_set_errno(error, CONCLAVE_IO, number, "cannot %s %s", what, path);
    }
}

static int open_retrying(const char *path, int mode)
{
    int fd;
    do {
        fd = open(path, mode, 0600);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

static int posix_open(void *ctx, const char *path, unsigned flags, struct io_file **ret_file,
                      struct conclave_error *error)
{
    (void)ctx;
    int mode = O_CLOEXEC | ((flags & IO_OPEN_READ_ONLY) != 0 ? O_RDONLY : O_RDWR);
    if ((flags & IO_OPEN_CREATE) != 0)
        mode |= O_CREAT | O_EXCL;
    int fd = open_retrying(path, mode | ((flags & IO_OPEN_DIRECT) != 0 ? O_DIRECT : 0));
    if (fd < 0 && errno == EINVAL && (flags & IO_OPEN_DIRECT) != 0) {
        /* Not every file system can. It may have made the file before it found out. */
        if ((mode & O_CREAT) != 0 && unlink(path) != 0 && errno != ENOENT)
            return fail(error, errno, "remove", path);
        fd = open_retrying(path, mode);
    }
    if (fd < 0)
        return fail(error, errno, (flags & IO_OPEN_CREATE) != 0 ? "create" : "open", path);
    size_t bytes = strlen(path) + 1;
    struct io_file *file = mem_alloc(sizeof(*file));
    file->fd = fd;
    file->path = mem_alloc(bytes);
    memcpy(file->path, path, bytes);
    *ret_file = file;
    return CONCLAVE_OK;
}

static void posix_close(void *ctx, struct io_file *file)
{
    (void)ctx;
    /* What must be durable was synced before; an error here says nothing more. */
    (void)close(file->fd);
    free(file->path);
    free(file);
}

static int posix_size(void *ctx, struct io_file *file, uint64_t *ret_bytes,
                      struct conclave_error *error)
{
    (void)ctx;
    struct stat status;
    if (fstat(file->fd, &status) != 0)
        return fail(error, errno, "stat", file->path);
    *ret_bytes = (uint64_t)status.st_size;
    return CONCLAVE_OK;
}

static int posix_read(void *ctx, struct io_file *file, uint64_t offset, void *data, size_t bytes,
                      size_t *ret_bytes, struct conclave_error *error)
{
    (void)ctx;
    size_t done = 0;
    while (done < bytes) {
        ssize_t got = pread(file->fd, (char *)data + done, bytes - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail(error, errno, "read", file->path);
        if (got == 0)
            break;
        done += (size_t)got;
    }
    *ret_bytes = done;
    return CONCLAVE_OK;
}

static int posix_writev(void *ctx, struct io_file *file, uint64_t offset, const struct iovec *parts,
                        int part_count, struct conclave_error *error)
{
    (void)ctx;
    ASSERT(part_count > 0 && part_count <= POSIX_PARTS_MAX);
    struct iovec rest[POSIX_PARTS_MAX];
    memcpy(rest, parts, (size_t)part_count * sizeof(rest[0]));
    int first = 0;
    while (first < part_count) {
        if (rest[first].iov_len == 0) {
            first++;
            continue;
        }
        ssize_t got = pwritev(file->fd, rest + first, part_count - first, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail(error, errno, "write", file->path);
        if (got == 0) /* never seen for bytes > 0; not to loop on it */
            return fail(error, EIO, "write", file->path);
        offset += (uint64_t)got;
        size_t left = (size_t)got;
        while (first < part_count && left >= rest[first].iov_len) {
            left -= rest[first].iov_len;
            first++;
        }
        if (first < part_count) {
            rest[first].iov_base = (char *)rest[first].iov_base + left;
            rest[first].iov_len -= left;
        }
    }
    return CONCLAVE_OK;
}

/* A sync that failed is not tried again: the kernel may have marked the pages clean (Rule 6).
 * EINTR comes before anything was lost. */
static int posix_datasync(void *ctx, struct io_file *file, struct conclave_error *error)
{
    (void)ctx;
    int got;
    do {
        got = fdatasync(file->fd);
    } while (got != 0 && errno == EINTR);
    return got == 0 ? CONCLAVE_OK : fail(error, errno, "sync", file->path);
}

static int posix_sync(void *ctx, struct io_file *file, struct conclave_error *error)
{
    (void)ctx;
    int got;
    do {
        got = fsync(file->fd);
    } while (got != 0 && errno == EINTR);
    return got == 0 ? CONCLAVE_OK : fail(error, errno, "sync", file->path);
}

/* fallocate reserves the blocks, so that a full disk shows before anything is written. But a block
 * that is only reserved is marked unwritten, and the first write to it changes metadata: so real
 * zeros follow. Where fallocate is not supported the zeros alone do it. */
static int posix_allocate(void *ctx, struct io_file *file, uint64_t bytes,
                          const atomic_bool *pressing, struct conclave_error *error)
{
    uint64_t old = 0;
    int code = posix_size(ctx, file, &old, error);
    if (code != CONCLAVE_OK)
        return code;
    int got;
    do {
        got = fallocate(file->fd, 0, 0, (off_t)bytes);
    } while (got != 0 && errno == EINTR);
    if (got != 0 && errno != EOPNOTSUPP && errno != ENOSYS)
        code = fail(error, errno, "allocate", file->path);
    else if (ftruncate(file->fd, (off_t)bytes) != 0)
        code = fail(error, errno, "resize", file->path);

    uint8_t *zeros = mem_alloc_aligned(IO_BLOCK_BYTES, POSIX_ZERO_BYTES);
    memset(zeros, 0, POSIX_ZERO_BYTES);
    for (uint64_t at = 0; at < bytes && code == CONCLAVE_OK; at += POSIX_ZERO_BYTES) {
        uint64_t left = bytes - at;
        size_t some = left < POSIX_ZERO_BYTES ? (size_t)left : POSIX_ZERO_BYTES;
        struct iovec part = {.iov_base = zeros, .iov_len = some};
        code = posix_writev(ctx, file, at, &part, 1, error);
        if (pressing != NULL && !atomic_load_explicit(pressing, memory_order_relaxed))
            clock_pause_us(POSIX_PAUSE_US);
    }
    free(zeros);
    if (code != CONCLAVE_OK && ftruncate(file->fd, (off_t)old) != 0) {
        /* The space is not given back, but the caller's error is the one that matters. */
    }
    return code;
}

static int posix_lock(void *ctx, struct io_file *file, struct conclave_error *error)
{
    int got;
    do {
        got = flock(file->fd, LOCK_EX | LOCK_NB);
    } while (got != 0 && errno == EINTR);
    if (got == 0)
        return CONCLAVE_OK;
    if (errno != EWOULDBLOCK)
        return fail(error, errno, "lock", file->path);
    char holder[24] = {0};
    size_t bytes = 0;
    int code = posix_read(ctx, file, 0, holder, sizeof(holder) - 1, &bytes, error);
    if (code != CONCLAVE_OK)
        return code;
    long pid = strtol(holder, NULL, 10);
    if (pid <= 0)
        return error_set(error, CONCLAVE_IN_USE, "%s is held by another process; stop it first",
                         file->path);
    return error_set(error, CONCLAVE_IN_USE, "%s is held by process %ld; stop it first", file->path,
                     pid);
}

static int posix_rename(void *ctx, const char *from, const char *to, struct conclave_error *error)
{
    (void)ctx;
    return rename(from, to) == 0 ? CONCLAVE_OK : fail(error, errno, "rename", from);
}

static int posix_unlink(void *ctx, const char *path, struct conclave_error *error)
{
    (void)ctx;
    return unlink(path) == 0 ? CONCLAVE_OK : fail(error, errno, "remove", path);
}

static int posix_make_dir(void *ctx, const char *path, struct conclave_error *error)
{
    (void)ctx;
    return mkdir(path, 0700) == 0 ? CONCLAVE_OK : fail(error, errno, "make directory", path);
}

static int posix_sync_dir(void *ctx, const char *path, struct conclave_error *error)
{
    (void)ctx;
    int fd;
    do {
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return fail(error, errno, "open directory", path);
    int got;
    do {
        got = fsync(fd);
    } while (got != 0 && errno == EINTR);
    int code = got == 0 ? CONCLAVE_OK : fail(error, errno, "sync directory", path);
    (void)close(fd);
    return code;
}

static int posix_list_dir(void *ctx, const char *path, void (*entry)(void *arg, const char *name),
                          void *arg, struct conclave_error *error)
{
    (void)ctx;
    DIR *dir = opendir(path);
    if (dir == NULL)
        return fail(error, errno, "open directory", path);
    int code = CONCLAVE_OK;
    for (;;) {
        errno = 0;
        /* Safe on a stream of one's own (POSIX 2024; glibc always). */
        const struct dirent *found = readdir(dir); /* NOLINT(concurrency-mt-unsafe) */
        if (found == NULL) {
            if (errno != 0)
                code = fail(error, errno, "read directory", path);
            break;
        }
        if (strcmp(found->d_name, ".") != 0 && strcmp(found->d_name, "..") != 0)
            entry(arg, found->d_name);
    }
    (void)closedir(dir);
    return code;
}

int io_posix_free_bytes(const char *path, uint64_t *ret_bytes, struct conclave_error *error)
{
    struct statvfs found;
    int failed;
    do {
        failed = statvfs(path, &found);
    } while (failed && errno == EINTR);
    if (failed)
        return fail(error, errno, "look at the free space of", path);
    *ret_bytes = (uint64_t)found.f_bavail * found.f_frsize;
    return CONCLAVE_OK;
}

const struct io *io_posix(void)
{
    static const struct io table = {
        .open = posix_open,
        .close = posix_close,
        .size = posix_size,
        .read = posix_read,
        .writev = posix_writev,
        .datasync = posix_datasync,
        .sync = posix_sync,
        .allocate = posix_allocate,
        .lock = posix_lock,
        .rename = posix_rename,
        .unlink = posix_unlink,
        .make_dir = posix_make_dir,
        .sync_dir = posix_sync_dir,
        .list_dir = posix_list_dir,
    };
    return &table;
}

/* tests/process/faulty_disk.c - preloaded into one node: a disk that fails on command.
 *
 * FAULTY_DISK_TRIGGER names a file. Once it exists, operations on files under FAULTY_DISK_UNDER
 * fail, as its first word says:
 *   - sync: fsync and fdatasync fail with EIO
 *   - stall: fsync and fdatasync hang until the file is gone
 *   - space: pwrite, pwritev, posix_fallocate, fallocate fail with ENOSPC
 *   - full: posix_fallocate, fallocate fail with ENOSPC, statvfs tells of no room: what was
 *     allocated ahead can be written
 *   - read: pread, preadv fail with EIO
 *   - store: posix_fallocate fails with ENOSPC for the state machine's own files (under machine/);
 *     the others are spared
 * But for the last the state machine's files are spared: they are memory-mapped and may be lost. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

/* The tree is built with hidden symbols; these replace the C library's. */
#define REPLACES __attribute__((visibility("default")))

static bool is_under(int fd, bool of_machine)
{
    const char *under = getenv("FAULTY_DISK_UNDER");
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (!under || length <= 0)
        return false;
    path[length] = '\0';
    return strncmp(path, under, strlen(under)) == 0 &&
           (strstr(path, "/machine/") != NULL) == of_machine;
}

static bool is_on(const char *fault)
{
    const char *trigger = getenv("FAULTY_DISK_TRIGGER");
    int saved = errno;
    char word[16] = "";
    int file = trigger ? open(trigger, O_RDONLY | O_CLOEXEC) : -1;
    if (file >= 0) {
        ssize_t length = read(file, word, sizeof word - 1);
        if (length < 0)
            word[0] = '\0';
        close(file);
    }
    errno = saved;
    return strncmp(word, fault, strlen(fault)) == 0;
}

static bool fails(int fd, const char *fault)
{
    return is_on(fault) && is_under(fd, strcmp(fault, "store") == 0);
}

/* The C library's own function of this name. */
#define REAL(name) __extension__((__typeof__(&(name)))dlsym(RTLD_NEXT, #name))

static void hang_while(int fd, const char *fault)
{
    while (fails(fd, fault))
        usleep(20000);
}

REPLACES int fsync(int fd)
{
    hang_while(fd, "stall");
    if (fails(fd, "sync")) {
        errno = EIO;
        return -1;
    }
    return REAL(fsync)(fd);
}

REPLACES int fdatasync(int fd)
{
    hang_while(fd, "stall");
    if (fails(fd, "sync")) {
        errno = EIO;
        return -1;
    }
    return REAL(fdatasync)(fd);
}

REPLACES ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset)
{
    if (fails(fd, "space")) {
        errno = ENOSPC;
        return -1;
    }
    return REAL(pwrite)(fd, data, bytes, offset);
}

REPLACES ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
    if (fails(fd, "space")) {
        errno = ENOSPC;
        return -1;
    }
    return REAL(pwritev)(fd, parts, count, offset);
}

REPLACES int posix_fallocate(int fd, off_t offset, off_t bytes)
{
    return fails(fd, "space") || fails(fd, "full") || fails(fd, "store")
               ? ENOSPC
               : REAL(posix_fallocate)(fd, offset, bytes);
}

REPLACES int fallocate(int fd, int mode, off_t offset, off_t bytes)
{
    if (fails(fd, "space") || fails(fd, "full")) {
        errno = ENOSPC;
        return -1;
    }
    return REAL(fallocate)(fd, mode, offset, bytes);
}

REPLACES int statvfs(const char *path, struct statvfs *found)
{
    const char *under = getenv("FAULTY_DISK_UNDER");
    int failed = REAL(statvfs)(path, found);
    if (!failed && under && strncmp(path, under, strlen(under)) == 0 && is_on("full"))
        found->f_bavail = 0;
    return failed;
}

REPLACES ssize_t pread(int fd, void *data, size_t bytes, off_t offset)
{
    if (fails(fd, "read")) {
        errno = EIO;
        return -1;
    }
    return REAL(pread)(fd, data, bytes, offset);
}

REPLACES ssize_t preadv(int fd, const struct iovec *parts, int count, off_t offset)
{
    if (fails(fd, "read")) {
        errno = EIO;
        return -1;
    }
    return REAL(preadv)(fd, parts, count, offset);
}

/* The operating system fails, interrupts, and does less than it was asked for: what comes of each
 * system call that the files of a node are made with. The linker puts these functions between
 * storage and the C library (--wrap). */
#include "storage/bytes.h"
#include "storage/io.h"
#include "tests/unit/storage/fixture.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* What was asked for. */
static struct {
    uint32_t opens, writes, pauses;
    int flags;      /* of the last open */
    size_t largest; /* write, in bytes of its first part */
} asked;

/* The next calls of one function: the first `times` fail with `number`, or do at most `most`. */
static struct {
    const char *call;
    int times;
    int number;
    size_t most;
} plan;

static bool fails(const char *call)
{
    if (plan.times == 0 || plan.number == 0 || strcmp(plan.call, call) != 0)
        return false;
    plan.times--;
    errno = plan.number;
    return true;
}

static size_t at_most(const char *call, size_t bytes)
{
    if (plan.times == 0 || plan.number != 0 || strcmp(plan.call, call) != 0)
        return bytes;
    plan.times--;
    return bytes < plan.most ? bytes : plan.most;
}

#define WRAP(type, name, parameters, arguments, failed)           \
    type __real_##name parameters;                                \
    type __wrap_##name parameters;                                \
    type __wrap_##name parameters                                 \
    {                                                             \
        return fails(#name) ? (failed) : __real_##name arguments; \
    }

/* NOLINTBEGIN(bugprone-reserved-identifier) */
WRAP(int, fstat64, (int fd, struct stat *status), (fd, status), -1)
WRAP(int, fdatasync, (int fd), (fd), -1)
WRAP(int, fsync, (int fd), (fd), -1)
WRAP(int, fallocate64, (int fd, int mode, off_t offset, off_t bytes), (fd, mode, offset, bytes), -1)
WRAP(int, ftruncate64, (int fd, off_t bytes), (fd, bytes), -1)
WRAP(int, flock, (int fd, int operation), (fd, operation), -1)
WRAP(int, rename, (const char *from, const char *to), (from, to), -1)
WRAP(int, unlink, (const char *path), (path), -1)
WRAP(int, mkdir, (const char *path, mode_t mode), (path, mode), -1)
WRAP(DIR *, opendir, (const char *path), (path), NULL)
WRAP(struct dirent *, readdir64, (DIR * dir), (dir), NULL)

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    asked.opens++;
    asked.flags = flags;
    return fails("open64") ? -1 : __real_open64(path, flags, mode);
}

/* What the C library makes of open() without a mode in a build with _FORTIFY_SOURCE. */
int __real___open64_2(const char *path, int flags);
int __wrap___open64_2(const char *path, int flags);
int __wrap___open64_2(const char *path, int flags)
{
    return fails("open64") ? -1 : __real___open64_2(path, flags);
}

ssize_t __real_pread64(int fd, void *data, size_t bytes, off_t offset);
ssize_t __wrap_pread64(int fd, void *data, size_t bytes, off_t offset);
ssize_t __wrap_pread64(int fd, void *data, size_t bytes, off_t offset)
{
    return fails("pread64") ? -1 : __real_pread64(fd, data, at_most("pread64", bytes), offset);
}

/* Some file systems write a part of the first piece and come back. */
ssize_t __real_pwritev64(int fd, const struct iovec *parts, int count, off_t offset);
ssize_t __wrap_pwritev64(int fd, const struct iovec *parts, int count, off_t offset);
ssize_t __wrap_pwritev64(int fd, const struct iovec *parts, int count, off_t offset)
{
    asked.writes++;
    if (count > 0 && parts[0].iov_len > asked.largest)
        asked.largest = parts[0].iov_len;
    if (fails("pwritev64"))
        return -1;
    if (count == 0)
        return __real_pwritev64(fd, parts, count, offset);
    struct iovec part = parts[0];
    size_t most = at_most("pwritev64", part.iov_len + 1);
    if (most > part.iov_len)
        return __real_pwritev64(fd, parts, count, offset);
    if (most == 0)
        return 0;
    part.iov_len = most;
    return __real_pwritev64(fd, &part, 1, offset);
}

void __wrap_clock_pause_us(uint64_t us);
void __wrap_clock_pause_us(uint64_t us)
{
    (void)us;
    asked.pauses++;
}
/* NOLINTEND(bugprone-reserved-identifier) */

static char directory[64], path[128];
static const struct io *io;
static struct io_file *file;

static void setup(void)
{
    (void)snprintf(directory, sizeof directory, "/tmp/conclave-syscalls-XXXXXX");
    cr_assert_not_null(mkdtemp(directory));
    (void)snprintf(path, sizeof path, "%s/file", directory);
    io = io_posix();
    cr_assert_eq(io->open(io->ctx, path, IO_OPEN_CREATE, &file, NULL), CONCLAVE_OK);
    struct iovec part = {.iov_base = (char[]){"0123456789"}, .iov_len = 10};
    cr_assert_eq(io->writev(io->ctx, file, 0, &part, 1, NULL), CONCLAVE_OK);
}

static void teardown(void)
{
    char command[128];
    plan.times = 0;
    io->close(io->ctx, file);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", directory);
    cr_assert_eq(system(command), 0);
}

TestSuite(syscalls, .init = setup, .fini = teardown);

/* --- What calls them ---------------------------------------------------------------------------
 */

static void ignore_name(void *arg, const char *name)
{
    (void)arg;
    (void)name;
}

static int call_open(struct conclave_error *error)
{
    struct io_file *other;
    int code = io->open(io->ctx, path, 0, &other, error);
    if (code == CONCLAVE_OK)
        io->close(io->ctx, other);
    return code;
}

static int call_size(struct conclave_error *error)
{
    uint64_t bytes = 0;
    int code = io->size(io->ctx, file, &bytes, error);
    cr_assert(code != CONCLAVE_OK || bytes == 10);
    return code;
}

static int call_read(struct conclave_error *error)
{
    char text[16] = {0};
    size_t got = 0;
    int code = io->read(io->ctx, file, 0, text, sizeof text, &got, error);
    cr_assert(code != CONCLAVE_OK || (got == 10 && strcmp(text, "0123456789") == 0));
    return code;
}

static int call_write(struct conclave_error *error)
{
    char one[] = "abc", none[] = "", two[] = "defghij";
    struct iovec parts[] = {{none, 0}, {one, 3}, {none, 0}, {two, 7}};
    int code = io->writev(io->ctx, file, 0, parts, 4, error);
    if (code == CONCLAVE_OK) {
        char text[16] = {0};
        size_t got = 0;
        cr_assert_eq(io->read(io->ctx, file, 0, text, sizeof text, &got, NULL), CONCLAVE_OK);
        cr_assert_str_eq(text, "abcdefghij");
    }
    return code;
}

static int call_datasync(struct conclave_error *error)
{
    return io->datasync(io->ctx, file, error);
}

static int call_sync(struct conclave_error *error)
{
    return io->sync(io->ctx, file, error);
}

static int call_allocate(struct conclave_error *error)
{
    int code = io->allocate(io->ctx, file, 5000, NULL, error);
    uint64_t bytes = 0;
    plan.times = 0;
    cr_assert_eq(io->size(io->ctx, file, &bytes, NULL), CONCLAVE_OK);
    if (code == CONCLAVE_OK)
        cr_assert_eq(bytes, 5000);
    return code;
}

static int call_lock(struct conclave_error *error)
{
    return io->lock(io->ctx, file, error);
}

static int call_rename(struct conclave_error *error)
{
    return io->rename(io->ctx, path, path, error);
}

static int call_unlink(struct conclave_error *error)
{
    return io->unlink(io->ctx, path, error);
}

static int call_make_dir(struct conclave_error *error)
{
    char child[160];
    (void)snprintf(child, sizeof child, "%s/child", directory);
    return io->make_dir(io->ctx, child, error);
}

static int call_sync_dir(struct conclave_error *error)
{
    return io->sync_dir(io->ctx, directory, error);
}

static int call_list_dir(struct conclave_error *error)
{
    return io->list_dir(io->ctx, directory, ignore_name, NULL, error);
}

struct caller {
    const char *call;
    int (*run)(struct conclave_error *error);
    bool restarts; /* when a signal interrupts it */
};

static const struct caller callers[] = {
    {"open64", call_open, true},          {"fstat64", call_size, false},
    {"pread64", call_read, true},         {"pwritev64", call_write, true},
    {"fdatasync", call_datasync, true},   {"fsync", call_sync, true},
    {"fallocate64", call_allocate, true}, {"ftruncate64", call_allocate, false},
    {"pwritev64", call_allocate, true},   {"fstat64", call_allocate, false},
    {"flock", call_lock, true},           {"rename", call_rename, false},
    {"unlink", call_unlink, false},       {"mkdir", call_make_dir, false},
    {"open64", call_sync_dir, true},      {"fsync", call_sync_dir, true},
    {"opendir", call_list_dir, false},    {"readdir64", call_list_dir, false},
};

static int run(const struct caller *caller, int number, int times, struct conclave_error *error)
{
    plan.call = caller->call;
    plan.number = number;
    plan.times = times;
    *error = (struct conclave_error){0};
    int code = caller->run(error);
    plan.times = 0;
    return code;
}

Test(syscalls, that_fail_are_told)
{
    struct conclave_error error;
    for (size_t i = 0; i < sizeof callers / sizeof *callers; i++) {
        cr_assert_eq(run(&callers[i], EIO, 1, &error), CONCLAVE_IO, "%s", callers[i].call);
        cr_assert_not_null(strstr(error.message, directory), "%s does not say where: %s",
                           callers[i].call, error.message);
        uint64_t bytes = 0;
        cr_assert_eq(io->size(io->ctx, file, &bytes, NULL), CONCLAVE_OK);
        cr_assert_eq(bytes, 10, "%s", callers[i].call);
    }
}

Test(syscalls, that_are_interrupted_begin_again)
{
    struct conclave_error error;
    for (size_t i = 0; i < sizeof callers / sizeof *callers; i++) {
        if (callers[i].restarts)
            cr_assert_eq(run(&callers[i], EINTR, 3, &error), CONCLAVE_OK, "%s: %s", callers[i].call,
                         error.message);
    }
}

Test(syscalls, that_do_a_part_are_continued)
{
    for (size_t most = 1; most <= 11; most++) {
        struct conclave_error error;
        plan.call = "pwritev64";
        plan.number = 0;
        plan.most = most;
        plan.times = 100;
        cr_assert_eq(call_write(&error), CONCLAVE_OK);
        struct iovec part = {.iov_base = (char[]){"0123456789"}, .iov_len = 10};
        cr_assert_eq(io->writev(io->ctx, file, 0, &part, 1, NULL), CONCLAVE_OK);
        plan.call = "pread64";
        plan.times = 100;
        cr_assert_eq(call_read(&error), CONCLAVE_OK);
        plan.times = 0;
    }
}

/* Whatever failed before it. */
Test(syscalls, write_that_writes_nothing_does_not_go_on_for_ever)
{
    static const int before[] = {0, EINTR, ENOSPC};
    for (size_t i = 0; i < sizeof before / sizeof *before; i++) {
        struct conclave_error error;
        plan.call = "pwritev64";
        plan.number = 0;
        plan.most = 0;
        plan.times = 1;
        errno = before[i];
        cr_assert_eq(call_write(&error), CONCLAVE_IO);
    }
}

Test(syscalls, write_of_nothing_is_done)
{
    char none[] = "";
    struct iovec parts[] = {{none, 0}, {none, 0}};
    uint32_t before = asked.writes;
    cr_assert_eq(io->writev(io->ctx, file, 3, parts, 2, NULL), CONCLAVE_OK);
    cr_assert_eq(asked.writes, before);
}

Test(syscalls, allocation_works_where_the_file_system_does_not_know_it)
{
    static const int numbers[] = {EOPNOTSUPP, ENOSYS};
    for (size_t i = 0; i < 2; i++) {
        struct conclave_error error;
        struct caller caller = {"fallocate64", call_allocate, true};
        cr_assert_eq(run(&caller, numbers[i], 1, &error), CONCLAVE_OK, "%s", error.message);
    }
}

/* The file is as long as before when the disk gets full on the way. */
Test(syscalls, allocation_that_fails_gives_back_what_it_took)
{
    static const char *const calls[] = {"fallocate64", "pwritev64"};
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        struct conclave_error error;
        uint64_t bytes = 0;
        struct caller caller = {calls[i], call_allocate, true};
        cr_assert_eq(run(&caller, ENOSPC, 1, &error), CONCLAVE_NO_SPACE);
        cr_assert_eq(io->size(io->ctx, file, &bytes, NULL), CONCLAVE_OK);
        cr_assert_eq(bytes, 10, "%s", calls[i]);
    }
    /* Even that may fail; the first failure is the one that is told. */
    struct conclave_error error;
    struct caller caller = {"ftruncate64", call_allocate, false};
    cr_assert_eq(run(&caller, ENOSPC, 2, &error), CONCLAVE_NO_SPACE);
}

/* A large file is filled in pieces, and others come to the disk between them, unless somebody waits
 * for it. */
Test(syscalls, allocation_leaves_the_disk_to_others_unless_it_is_waited_for)
{
    enum { PIECE = 256 << 10, BYTES = 3 * PIECE + IO_BLOCK_BYTES };
    atomic_bool pressing = false, *const ways[] = {NULL, &pressing, &pressing};
    static const uint32_t pauses[] = {0, 4, 0};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        asked.writes = asked.pauses = 0;
        asked.largest = 0;
        atomic_store(&pressing, i == 2);
        cr_assert_eq(io->allocate(io->ctx, file, BYTES, ways[i], NULL), CONCLAVE_OK);
        cr_assert_eq(asked.writes, 4);
        cr_assert_eq(asked.largest, PIECE);
        cr_assert_eq(asked.pauses, pauses[i]);
    }
    static uint8_t bytes[BYTES];
    size_t got = 0;
    cr_assert_eq(io->read(io->ctx, file, 0, bytes, BYTES, &got, NULL), CONCLAVE_OK);
    cr_assert_eq(got, BYTES);
    cr_assert(bytes_zero(bytes, BYTES));
}

Test(syscalls, lock_of_who_knows_whom_is_told)
{
    struct conclave_error error;
    struct caller caller = {"flock", call_lock, true};
    cr_assert_eq(run(&caller, EWOULDBLOCK, 1, &error), CONCLAVE_IN_USE);
    cr_assert_null(strstr(error.message, "another process"), "%s", error.message);
    struct iovec part = {.iov_base = (char[]){"nobody...."}, .iov_len = 10};
    cr_assert_eq(io->writev(io->ctx, file, 0, &part, 1, NULL), CONCLAVE_OK);
    cr_assert_eq(run(&caller, EWOULDBLOCK, 1, &error), CONCLAVE_IN_USE);
    cr_assert_not_null(strstr(error.message, "another process"), "%s", error.message);
}

Test(syscalls, every_reason_has_its_code_and_says_what_to_do)
{
    static const struct {
        int number, code;
        const char *advice;
    } reasons[] = {{ENOSPC, CONCLAVE_NO_SPACE, "free some space"},
                   {EDQUOT, CONCLAVE_NO_SPACE, "quota"},
                   {EACCES, CONCLAVE_DENIED, "owner"},
                   {EPERM, CONCLAVE_DENIED, "owner"},
                   {EROFS, CONCLAVE_DENIED, "mount it for writing"},
                   {EMFILE, CONCLAVE_IO, "ulimit"},
                   {ENFILE, CONCLAVE_IO, "ulimit"},
                   {ENOENT, CONCLAVE_NOT_FOUND, ""},
                   {ENOTDIR, CONCLAVE_NOT_FOUND, ""},
                   {EEXIST, CONCLAVE_EXISTS, "exists already"},
                   {ENOMEM, CONCLAVE_NO_MEMORY, "memory"},
                   {EIO, CONCLAVE_IO, ""}};
    struct caller caller = {"open64", call_open, true};
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        struct conclave_error error;
        cr_assert_eq(run(&caller, reasons[i].number, 1, &error), reasons[i].code, "%s",
                     strerror(reasons[i].number));
        cr_assert_not_null(strstr(error.message, reasons[i].advice), "%s", error.message);
    }
}

/* --- Without the page cache --------------------------------------------------------------------
 */

Test(syscalls, the_page_cache_is_passed_by_where_that_is_asked_for)
{
    struct io_file *other = NULL;
    for (unsigned i = 0; i < 4; i++) {
        char name[160];
        (void)snprintf(name, sizeof name, "%s/%u", directory, i);
        const unsigned flags = IO_OPEN_CREATE | (i % 2 == 1 ? IO_OPEN_DIRECT : 0);
        uint32_t before = asked.opens;
        errno = i >= 2 ? EINVAL : 0; /* of something else, long ago */
        cr_assert_eq(io->open(io->ctx, name, flags, &other, NULL), CONCLAVE_OK);
        cr_assert_eq((asked.flags & O_DIRECT) != 0, i % 2 == 1);
        cr_assert_eq(asked.opens, before + 1);
        io->close(io->ctx, other);
    }
}

static int open_direct(const char *name, unsigned flags, int number, struct conclave_error *error)
{
    struct io_file *other = NULL;
    plan.call = "open64";
    plan.number = number;
    plan.times = 1;
    *error = (struct conclave_error){0};
    int code = io->open(io->ctx, name, flags | IO_OPEN_DIRECT, &other, error);
    plan.times = 0;
    if (code == CONCLAVE_OK)
        io->close(io->ctx, other);
    return code;
}

Test(syscalls, where_the_page_cache_cannot_be_passed_by_files_are_opened_all_the_same)
{
    struct conclave_error error;
    char made[160];
    (void)snprintf(made, sizeof made, "%s/made", directory);
    cr_assert_eq(open_direct(path, 0, EINVAL, &error), CONCLAVE_OK, "%s", error.message);
    cr_assert_eq(open_direct(made, IO_OPEN_CREATE, EINVAL, &error), CONCLAVE_OK, "%s",
                 error.message);
    /* Some make the file before they find out that they cannot: as this one, which is there. */
    cr_assert_eq(open_direct(made, IO_OPEN_CREATE, EINVAL, &error), CONCLAVE_OK, "%s",
                 error.message);
}

Test(syscalls, what_else_keeps_a_file_from_being_opened_is_told)
{
    struct conclave_error error;
    struct caller plain = {"open64", call_open, true};
    cr_assert_eq(open_direct(path, 0, EACCES, &error), CONCLAVE_DENIED);
    cr_assert_not_null(strstr(error.message, "cannot open"), "%s", error.message);
    cr_assert_eq(open_direct(path, IO_OPEN_CREATE, EACCES, &error), CONCLAVE_DENIED);
    cr_assert_not_null(strstr(error.message, "cannot create"), "%s", error.message);
    cr_assert_eq(run(&plain, EINVAL, 1, &error), CONCLAVE_IO, "that was not asked for");
    /* A directory is no file that was made by chance. */
    cr_assert_neq(open_direct(directory, IO_OPEN_CREATE, EINVAL, &error), CONCLAVE_OK);
    cr_assert_not_null(strstr(error.message, "cannot remove"), "%s", error.message);
}

Test(syscalls, allocation_in_a_file_that_may_only_be_read_leaves_it_as_it_is)
{
    struct io_file *other = NULL;
    struct conclave_error error = {0};
    uint64_t bytes = 0;
    cr_assert_eq(io->open(io->ctx, path, IO_OPEN_READ_ONLY, &other, NULL), CONCLAVE_OK);
    cr_assert_neq(io->allocate(io->ctx, other, 5000, NULL, &error), CONCLAVE_OK);
    cr_assert_not_null(strstr(error.message, "cannot allocate"), "%s", error.message);
    cr_assert_eq(io->size(io->ctx, other, &bytes, NULL), CONCLAVE_OK);
    cr_assert_eq(bytes, 10);
    io->close(io->ctx, other);
}

Test(syscalls, lock_whose_holder_cannot_be_read_says_so)
{
    struct io_file *holder = NULL;
    struct conclave_error error;
    struct caller caller = {"pread64", call_lock, true};
    cr_assert_eq(io->open(io->ctx, path, 0, &holder, NULL), CONCLAVE_OK);
    cr_assert_eq(io->lock(io->ctx, holder, NULL), CONCLAVE_OK);
    cr_assert_eq(run(&caller, EIO, 1, &error), CONCLAVE_IO);
    cr_assert_not_null(strstr(error.message, "cannot read"), "%s", error.message);
    io->close(io->ctx, holder);
}

Test(syscalls, free_space_of_a_path_that_is_not_there_is_not_known)
{
    struct conclave_error error = {0};
    uint64_t bytes = 0;
    char none[160];
    (void)snprintf(none, sizeof none, "%s/none", directory);
    cr_assert_eq(io_posix_free_bytes(directory, &bytes, &error), CONCLAVE_OK, "%s", error.message);
    cr_assert_gt(bytes, 0);
    cr_assert_eq(io_posix_free_bytes(none, &bytes, &error), CONCLAVE_NOT_FOUND);
    cr_assert_not_null(strstr(error.message, "none"), "%s", error.message);
}

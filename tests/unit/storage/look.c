/* Files that are only looked at. */
#include "fixture.h"

#include "storage/identity.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[128], path[160];

static void make(void)
{
    const char *base = getenv("TMPDIR");
    (void)snprintf(dir, sizeof dir, "%s/look-XXXXXX",
                   base == NULL || strlen(base) > 60 ? "/tmp" : base);
    cr_assert_not_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/lock", dir);
}

static void clear(void)
{
    (void)unlink(path);
    (void)rmdir(dir);
}

TestSuite(look, .init = make, .fini = clear);

Test(look, reads_and_refuses_everything_else)
{
    const struct io *io = io_posix_read_only();
    struct conclave_error error;
    struct io_file *file = NULL;
    uint64_t bytes = 0;
    size_t got = 0;
    char data[8];
    struct iovec part = {.iov_base = data, .iov_len = sizeof data};
    cr_assert_eq(io->open(io->ctx, path, IO_OPEN_CREATE, &file, &error), CONCLAVE_DENIED);
    cr_assert_eq(io->open(io->ctx, path, 0, &file, &error), CONCLAVE_NOT_FOUND);
    const int made = open(path, O_CREAT | O_WRONLY, 0400);
    cr_assert(made >= 0 && write(made, "abc", 3) == 3 && close(made) == 0);
    cr_assert_eq(io->open(io->ctx, path, 0, &file, &error), CONCLAVE_OK);
    cr_assert_eq(io->size(io->ctx, file, &bytes, &error), CONCLAVE_OK);
    cr_assert_eq(io->read(io->ctx, file, 0, data, sizeof data, &got, &error), CONCLAVE_OK);
    cr_assert(bytes == 3 && got == 3 && memcmp(data, "abc", 3) == 0);
    cr_assert_eq(io->writev(io->ctx, file, 0, &part, 1, &error), CONCLAVE_DENIED);
    cr_assert_eq(io->allocate(io->ctx, file, 9, NULL, &error), CONCLAVE_DENIED);
    cr_assert_eq(io->sync(io->ctx, file, &error), CONCLAVE_DENIED);
    cr_assert_eq(io->datasync(io->ctx, file, &error), CONCLAVE_DENIED);
    cr_assert_eq(io->lock(io->ctx, file, &error), CONCLAVE_DENIED);
    cr_assert_eq(io->rename(io->ctx, path, dir, &error), CONCLAVE_DENIED);
    cr_assert_eq(io->unlink(io->ctx, path, &error), CONCLAVE_DENIED);
    cr_assert_eq(io->make_dir(io->ctx, dir, &error), CONCLAVE_DENIED);
    cr_assert_eq(io->sync_dir(io->ctx, dir, &error), CONCLAVE_DENIED);
    io->close(io->ctx, file);
    cr_assert_eq(access(path, F_OK), 0);
}

Test(look, waits_for_nobody_at_a_pipe)
{
    const struct io *io = io_posix_read_only();
    struct conclave_error error;
    struct io_file *file = NULL;
    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_assert_eq(io->open(io->ctx, path, IO_OPEN_READ_ONLY, &file, &error), CONCLAVE_IO);
    cr_assert_not_null(strstr(error.message, "not a file"));
}

Test(look, sees_who_has_the_directory)
{
    struct conclave_error error;
    struct io_file *lock = NULL;
    cr_assert_eq(io_posix_lock_holder(path), 0, "there is no such file");
    cr_assert_eq(dir_lock(io_posix(), dir, &lock, &error), CONCLAVE_OK);
    cr_assert_eq(io_posix_lock_holder(path), getpid());
    dir_unlock(io_posix(), lock);
    cr_assert_eq(io_posix_lock_holder(path), 0);
}

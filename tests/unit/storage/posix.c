/* The real file system, in a temporary directory. */
#include "fixture.h"

#include "base/fatal.h"
#include "storage/bytes.h"
#include "storage/identity.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64];

static void dir_make(void)
{
    const char *base = getenv("TMPDIR");
    (void)snprintf(dir, sizeof(dir), "%s/storage-XXXXXX",
                   base == NULL || strlen(base) > 40 ? "/tmp" : base);
    cr_assert_not_null(mkdtemp(dir));
}

static void remove_all(const char *path)
{
    DIR *open = opendir(path);
    const struct dirent *entry;
    while (open != NULL && (entry = readdir(open)) != NULL) {
        char child[512];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        (void)snprintf(child, sizeof(child), "%s/%s", path, entry->d_name);
        if (unlink(child) != 0)
            remove_all(child);
    }
    if (open != NULL)
        closedir(open);
    (void)rmdir(path);
}

static void dir_remove(void)
{
    remove_all(dir);
}

static void path_in_dir(char *path, size_t size, const char *name)
{
    (void)snprintf(path, size, "%s/%s", dir, name);
}

TestSuite(posix, .init = dir_make, .fini = dir_remove);

Test(posix, writes_reads_and_sizes)
{
    const struct io *io = io_posix();
    char path[128], text[16] = {0};
    struct io_file *file = NULL, *again = NULL;
    uint64_t bytes = 0;
    size_t got = 0;
    path_in_dir(path, sizeof(path), "file");
    cr_assert_eq(io->open(io->ctx, path, 0, &file, NULL), CONCLAVE_NOT_FOUND);
    cr_assert_eq(io->open(io->ctx, path, IO_OPEN_CREATE, &file, NULL), CONCLAVE_OK);
    cr_assert_eq(io->open(io->ctx, path, IO_OPEN_CREATE, &again, NULL), CONCLAVE_EXISTS);
    char one[] = "one", none[] = "", two[] = "two";
    struct iovec parts[3] = {{one, 3}, {none, 0}, {two, 3}};
    cr_assert_eq(io->writev(io->ctx, file, 4, parts, 3, NULL), CONCLAVE_OK);
    cr_assert_eq(io->datasync(io->ctx, file, NULL), CONCLAVE_OK);
    cr_assert_eq(io->sync(io->ctx, file, NULL), CONCLAVE_OK);
    cr_assert_eq(io->size(io->ctx, file, &bytes, NULL), CONCLAVE_OK);
    cr_assert_eq(bytes, 10);
    cr_assert_eq(io->read(io->ctx, file, 4, text, sizeof(text), &got, NULL), CONCLAVE_OK);
    cr_assert_eq(got, 6);
    cr_assert_str_eq(text, "onetwo");
    io->close(io->ctx, file);
}

Test(posix, allocate_makes_zeroed_blocks)
{
    const struct io *io = io_posix();
    char path[128];
    struct io_file *file = NULL;
    struct stat status;
    path_in_dir(path, sizeof(path), "file");
    cr_assert_eq(io->open(io->ctx, path, IO_OPEN_CREATE, &file, NULL), CONCLAVE_OK);
    cr_assert_eq(io->allocate(io->ctx, file, (3 << 20) + 512, NULL, NULL), CONCLAVE_OK);
    io->close(io->ctx, file);
    cr_assert_eq(stat(path, &status), 0);
    cr_assert_eq(status.st_size, (3 << 20) + 512);
    cr_assert_eq(status.st_mode & 0777, 0600, "only the owner may read it");
}

Test(posix, allocated_blocks_are_zero_whatever_was_in_memory_before)
{
    const struct io *io = io_posix();
    char path[128];
    uint8_t bytes[5000];
    struct io_file *file = NULL;
    size_t got = 0;
    volatile uint8_t *dirty = mem_alloc_aligned(IO_BLOCK_BYTES, 3 * (size_t)IO_BLOCK_BYTES);
    for (size_t i = 0; i < 3 * (size_t)IO_BLOCK_BYTES; i++)
        dirty[i] = 'x';
    free((void *)(uintptr_t)dirty);
    path_in_dir(path, sizeof(path), "file");
    cr_assert_eq(io->open(io->ctx, path, IO_OPEN_CREATE, &file, NULL), CONCLAVE_OK);
    cr_assert_eq(io->allocate(io->ctx, file, sizeof bytes, NULL, NULL), CONCLAVE_OK);
    cr_assert_eq(io->read(io->ctx, file, 0, bytes, sizeof bytes, &got, NULL), CONCLAVE_OK);
    cr_assert_eq(got, sizeof bytes);
    cr_assert(bytes_zero(bytes, sizeof bytes));
    io->close(io->ctx, file);
}

static void count_names(void *arg, const char *name)
{
    (void)name;
    ++*(int *)arg;
}

Test(posix, names)
{
    const struct io *io = io_posix();
    char a[128], b[128];
    struct io_file *file = NULL;
    int names = 0;
    path_in_dir(a, sizeof(a), "a");
    path_in_dir(b, sizeof(b), "b");
    cr_assert_eq(io->open(io->ctx, a, IO_OPEN_CREATE, &file, NULL), CONCLAVE_OK);
    io->close(io->ctx, file);
    cr_assert_eq(io->rename(io->ctx, a, b, NULL), CONCLAVE_OK);
    cr_assert_eq(io->make_dir(io->ctx, a, NULL), CONCLAVE_OK);
    cr_assert_eq(io->make_dir(io->ctx, a, NULL), CONCLAVE_EXISTS);
    cr_assert_eq(io->sync_dir(io->ctx, dir, NULL), CONCLAVE_OK);
    cr_assert_eq(io->list_dir(io->ctx, dir, count_names, &names, NULL), CONCLAVE_OK);
    cr_assert_eq(names, 2);
    cr_assert_eq(io->unlink(io->ctx, b, NULL), CONCLAVE_OK);
    cr_assert_eq(io->unlink(io->ctx, b, NULL), CONCLAVE_NOT_FOUND);
    cr_assert_eq(io->list_dir(io->ctx, b, count_names, &names, NULL), CONCLAVE_NOT_FOUND);
}

Test(posix, too_many_open_files_says_what_to_do)
{
    const struct io *io = io_posix();
    struct rlimit limit, none;
    struct conclave_error error = {0};
    struct io_file *file = NULL;
    char path[128];
    path_in_dir(path, sizeof(path), "file");
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = 0;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    int code = io->open(io->ctx, path, IO_OPEN_CREATE, &file, &error);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_assert_eq(code, CONCLAVE_IO);
    cr_assert_not_null(strstr(error.message, "ulimit"), "%s", error.message);
}

Test(posix, directory_that_may_not_be_written_says_what_to_do)
{
    const struct io *io = io_posix();
    struct conclave_error error = {0};
    struct io_file *lock = NULL;
    cr_assert_eq(chmod(dir, 0555), 0);
    /* For root no directory is read-only; this test runs in a process of its own. */
    if (geteuid() == 0)
        cr_assert_eq(seteuid(65534), 0);
    cr_assert_eq(dir_lock(io, dir, &lock, &error), CONCLAVE_DENIED);
    cr_assert_not_null(strstr(error.message, "owner"), "%s", error.message);
    if (getuid() == 0)
        cr_assert_eq(seteuid(0), 0);
    cr_assert_eq(chmod(dir, 0700), 0);
}

Test(posix, lock_names_the_process_that_holds_it)
{
    const struct io *io = io_posix();
    struct conclave_error error = {0};
    struct io_file *lock = NULL;
    int ready[2], done[2];
    char byte = 0, pid_text[24];
    cr_assert_eq(pipe(ready), 0);
    cr_assert_eq(pipe(done), 0);
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        int code = dir_lock(io, dir, &lock, NULL);
        byte = code == CONCLAVE_OK ? 'y' : 'n';
        if (write(ready[1], &byte, 1) != 1 || read(done[0], &byte, 1) != 1)
            _exit(1);
        _exit(0); /* without dir_unlock: the end of the process lets go */
    }
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    cr_assert_eq(byte, 'y');
    cr_assert_eq(dir_lock(io, dir, &lock, &error), CONCLAVE_IN_USE);
    (void)snprintf(pid_text, sizeof(pid_text), "process %ld;", (long)child);
    cr_assert_not_null(strstr(error.message, pid_text), "%s", error.message);
    cr_assert_eq(write(done[1], &byte, 1), 1);
    cr_assert_eq(waitpid(child, NULL, 0), child);
    cr_assert_eq(dir_lock(io, dir, &lock, &error), CONCLAVE_OK, "%s", error.message);
    dir_unlock(io, lock);
}

static void log_make(uint64_t count)
{
    struct raft_runs runs = {0};
    struct conclave_error error = {0};
    runs_fill(&runs, 1, 1, count);
    cr_assert_eq(wal_create(io_posix(), dir, &story_identity, &story_options, &runs, &error),
                 CONCLAVE_OK, "%s", error.message);
    raft_runs_clear(&runs);
}

Test(posix, whole_directory_comes_back)
{
    const struct io *io = io_posix();
    struct conclave_error error = {0};
    struct storage_identity identity;
    struct vote_file *vote = NULL;
    struct wal *wal = NULL;
    struct raft_hard_state state;
    struct wal_recovery recovery;
    log_make(100);
    cr_assert_eq(vote_create(io, dir, &story_identity, (struct raft_hard_state){1, 0}, &error),
                 CONCLAVE_OK, "%s", error.message);
    cr_assert_eq(identity_write(io, dir, &story_identity, &error), CONCLAVE_OK, "%s",
                 error.message);
    cr_assert_eq(identity_read(io, dir, &identity, &error), CONCLAVE_OK, "%s", error.message);
    cr_assert_eq(vote_open(io, dir, &identity, &vote, &state, &error), CONCLAVE_OK, "%s",
                 error.message);
    cr_assert_eq(vote_write(vote, (struct raft_hard_state){2, 3}, &error), CONCLAVE_OK);
    vote_close(vote);
    cr_assert_eq(vote_open(io, dir, &identity, &vote, &state, &error), CONCLAVE_OK);
    cr_assert_eq(state.vote, 3);
    vote_close(vote);
    cr_assert_eq(wal_open(io, dir, &identity, &story_options, &wal, &recovery, &error), CONCLAVE_OK,
                 "%s", error.message);
    cr_assert_eq(recovery.entries.entry_count, 100);
    raft_runs_clear(&recovery.entries);
    wal_close(wal);
    identity.cluster_id++;
    cr_assert_eq(wal_open(io, dir, &identity, &story_options, &wal, &recovery, &error),
                 CONCLAVE_IDENTITY);
    cr_assert_eq(vote_open(io, dir, &identity, &vote, &state, &error), CONCLAVE_IDENTITY);
}

static void *prepare_often(void *arg)
{
    struct wal *wal = arg;
    for (int i = 0; i < 200; i++)
        if (wal_prepare_segment(wal, NULL) != CONCLAVE_OK)
            return wal;
    return NULL;
}

Test(posix, helper_prepares_while_the_owner_writes)
{
    const struct io *io = io_posix();
    struct conclave_error error = {0};
    struct wal *wal = NULL;
    struct wal_recovery recovery;
    pthread_t helper;
    void *failed = NULL;
    log_make(1);
    cr_assert_eq(wal_open(io, dir, &story_identity, &story_options, &wal, &recovery, &error),
                 CONCLAVE_OK, "%s", error.message);
    raft_runs_clear(&recovery.entries);
    cr_assert_eq(pthread_create(&helper, NULL, prepare_often, wal), 0);
    for (uint64_t index = 2; index < 202; index += 4) {
        struct raft_runs runs = {0};
        runs_fill(&runs, 1, index, 4);
        wal_append(wal, &runs);
        raft_runs_clear(&runs);
        (void)wal_needs_segment(wal);
        cr_assert_eq(wal_sync(wal, &error), CONCLAVE_OK, "%s", error.message);
    }
    cr_assert_eq(pthread_join(helper, &failed), 0);
    cr_assert_null(failed);
    wal_close(wal);
    cr_assert_eq(wal_open(io, dir, &story_identity, &story_options, &wal, &recovery, &error),
                 CONCLAVE_OK, "%s", error.message);
    cr_assert_eq(recovery.entries.entry_count, 201);
    raft_runs_clear(&recovery.entries);
    wal_close(wal);
}

/* When a store is carried on with and when it is thrown away. */
#include "rig.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static void other_boot(struct rig *rig)
{
    rig->env.boot_id[15]++;
}

/* A store with one key, closed. */
static struct rig *rig_with_a_key(void)
{
    struct rig *rig = rig_create();
    rig_put(rig, "a", "1");
    rig_put(rig, "a", "2");
    return rig;
}

Test(store, same_boot_carries_on)
{
    struct rig *rig = rig_with_a_key();
    rig_close(rig);
    cr_assert_eq(rig_open(rig), 2);
    rig_expect(rig, "2 a=2(1,2,2)");
    rig_put(rig, "b", "3");
    rig_expect(rig, "3 a=2(1,2,2) b=3(3,3,1)");
    rig_destroy(rig);
}

Test(store, another_boot_starts_empty)
{
    struct rig *rig = rig_with_a_key();
    rig_close(rig);
    other_boot(rig);
    cr_assert_eq(rig_open(rig), 0);
    rig_expect(rig, "0");
    rig_put(rig, "b", "1");
    rig_close(rig);
    cr_assert_eq(rig_open(rig), 1, "and is that boot's from then on");
    rig_expect(rig, "1 b=1(1,1,1)");
    rig_destroy(rig);
}

Test(store, unknown_boot_starts_empty)
{
    struct rig *rig = rig_create();
    memset(rig->env.boot_id, 0, sizeof rig->env.boot_id);
    for (int i = 0; i < 2; i++) {
        rig_close(rig);
        cr_assert_eq(rig_open(rig), 0);
        rig_put(rig, "a", "1");
    }
    rig_destroy(rig);
}

Test(store, synced_one_outlives_the_boot)
{
    struct rig *rig = rig_with_a_key();
    cr_assert_eq(rig->ops->sync(rig->kv), CONCLAVE_OK);
    cr_assert_eq(rig->ops->sync(rig->kv), CONCLAVE_OK, "twice is as good");
    rig_close(rig);
    other_boot(rig);
    cr_assert_eq(rig_open(rig), 2);
    rig_expect(rig, "2 a=2(1,2,2)");
    rig_close(rig);
    other_boot(rig);
    cr_assert_eq(rig_open(rig), 0, "opened, and not synced again");
    rig_destroy(rig);
}

Test(store, change_after_a_sync_takes_it_back)
{
    struct rig *rig = rig_with_a_key();
    cr_assert_eq(rig->ops->sync(rig->kv), CONCLAVE_OK);
    rig_put(rig, "a", "3");
    rig_close(rig);
    other_boot(rig);
    cr_assert_eq(rig_open(rig), 0);
    rig_destroy(rig);
}

Test(store, of_another_node_or_cluster_starts_empty)
{
    for (int which = 0; which < 2; which++) {
        struct rig *rig = rig_with_a_key();
        cr_assert_eq(rig->ops->sync(rig->kv), CONCLAVE_OK);
        rig_close(rig);
        rig->env.cluster_id += which == 0;
        rig->env.node_id += which == 1;
        cr_assert_eq(rig_open(rig), 0);
        rig_expect(rig, "0");
        rig_destroy(rig);
    }
}

static void file_read(const char *path, void *data, size_t bytes)
{
    FILE *file = fopen(path, "r");
    cr_assert(file && fread(data, 1, bytes, file) == bytes);
    fclose(file);
}

static void file_write(const char *path, long at, const void *data, size_t bytes)
{
    int fd = open(path, O_WRONLY);
    cr_assert(fd >= 0 && pwrite(fd, data, bytes, at) == (ssize_t)bytes);
    close(fd);
}

Test(store, owner_file_of_other_bytes_is_not_believed, .timeout = 1200)
{
    struct rig *rig = rig_with_a_key();
    rig_close(rig);
    uint8_t owner[48];
    file_read(rig_path(rig, "owner"), owner, sizeof owner);
    for (size_t at = 0; at < sizeof owner - 8; at++) { /* the last 8: clean or not */
        uint8_t bad = owner[at] ^ 0x40;
        file_write(rig_path(rig, "owner"), (long)at, &bad, 1);
        cr_assert_eq(rig_open(rig), 0, "byte %zu", at);
        rig_put(rig, "a", "1");
        rig_close(rig);
    }
    rig_destroy(rig);
}

Test(store, owner_file_missing_or_cut_is_not_believed)
{
    struct rig *rig = rig_with_a_key();
    rig_close(rig);
    cr_assert_eq(truncate(rig_path(rig, "owner"), 47), 0);
    cr_assert_eq(rig_open(rig), 0);
    rig_put(rig, "a", "1");
    rig_close(rig);
    cr_assert_eq(unlink(rig_path(rig, "owner")), 0);
    cr_assert_eq(rig_open(rig), 0);
    rig_destroy(rig);
}

Test(store, data_file_of_another_node_is_thrown_away)
{
    struct rig *rig = rig_with_a_key();
    struct rig *other = rig_create();
    rig_close(other);
    other->env.node_id++;
    rig_open(other);
    rig_put(other, "a", "1");
    rig_close(other);
    rig_close(rig);
    char path[128];
    snprintf(path, sizeof path, "%s/data.mdb", other->dir);
    cr_assert_eq(rename(path, rig_path(rig, "data.mdb")), 0);
    cr_assert_eq(rig_open(rig), 0);
    rig_expect(rig, "0");
    rig_destroy(other);
    rig_destroy(rig);
}

Test(store, unreadable_data_file_is_thrown_away)
{
    struct rig *rig = rig_with_a_key();
    static const char garbage[8192] = "this is not a database";
    rig_close(rig);
    file_write(rig_path(rig, "data.mdb"), 0, garbage, sizeof garbage);
    cr_assert_eq(rig_open(rig), 0);
    rig_put(rig, "a", "1");
    rig_close(rig);
    cr_assert_eq(truncate(rig_path(rig, "data.mdb"), 12288), 0);
    cr_assert_eq(rig_open(rig), 0, "shorter than its last page");
    rig_put(rig, "a", "1");
    rig_close(rig);
    cr_assert_eq(unlink(rig_path(rig, "data.mdb")), 0);
    cr_assert_eq(rig_open(rig), 0);
    rig_destroy(rig);
}

Test(store, files_are_the_owners_alone)
{
    struct rig *rig = rig_create();
    const char *const files[] = {"owner", "data.mdb", "lock.mdb"};
    for (size_t i = 0; i < 3; i++) {
        struct stat stat_;
        cr_assert_eq(stat(rig_path(rig, files[i]), &stat_), 0);
        cr_assert_eq(stat_.st_mode & 0777, 0600, "%s", files[i]);
    }
    rig_destroy(rig);
}

Test(store, data_file_has_no_holes)
{
    struct rig *rig = rig_create();
    struct stat file;
    cr_assert_eq(stat(rig_path(rig, "data.mdb"), &file), 0);
    cr_assert_geq(file.st_blocks * 512, file.st_size);
    rig_destroy(rig);
}

Test(store, directory_that_is_missing_is_an_error)
{
    struct kv *kv = kv_create();
    struct conclave_machine_env env = {.dir = "/tmp/conclave-machine-missing/kv"};
    struct conclave_error error = {0};
    uint64_t applied = 5;
    cr_assert_eq(kv_machine_ops()->open(kv, &env, &applied, &error), CONCLAVE_IO);
    cr_assert(strstr(error.message, env.dir));
    cr_assert_eq(applied, 5);
    kv_destroy(kv);
}

Test(store, entries_without_commands_count_as_applied)
{
    struct rig *rig = rig_with_a_key();
    cr_assert_eq(rig->ops->apply(rig->kv, NULL, 0, 9, NULL), CONCLAVE_OK);
    rig_close(rig);
    cr_assert_eq(rig_open(rig), 9);
    rig_expect(rig, "2 a=2(1,2,2)");
    rig_destroy(rig);
}

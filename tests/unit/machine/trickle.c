/* The store's file, written to disk part by part. */
#include "machine/tables_lmdb.h"
#include "machine/tables_trickle.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PART_BYTES = 64 << 10, MIB = 1 << 20 };

static char dir[64];
static char file[128];

static void make_file(off_t bytes)
{
    snprintf(dir, sizeof dir, "/tmp/conclave-trickle-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    snprintf(file, sizeof file, "%s/%s", dir, TABLES_LMDB_FILE);
    int fd = open(file, O_CREAT | O_RDWR, 0600);
    cr_assert(fd >= 0 && ftruncate(fd, bytes) == 0);
    close(fd);
}

static void rename_over_file(off_t bytes)
{
    char other[160];
    snprintf(other, sizeof other, "%s.new", file);
    int fd = open(other, O_CREAT | O_RDWR, 0600);
    cr_assert(fd >= 0 && ftruncate(fd, bytes) == 0 && rename(other, file) == 0);
    close(fd);
}

static struct tables_trickle trickle;

static int step(uint64_t at, uint64_t used)
{
    return tables_trickle_step(&trickle, dir,
                               &(struct tables_part){.at = at, .bytes = PART_BYTES, .used = used});
}

static void setup(void)
{
    trickle = (struct tables_trickle){.fd = -1, .huge_us_max = UINT64_MAX};
}

static void teardown(void)
{
    tables_trickle_close(&trickle);
    unlink(file);
    rmdir(dir);
}

TestSuite(trickle, .init = setup, .fini = teardown);

Test(trickle, opens_the_file_anew_with_each_round)
{
    struct stat old, new;
    make_file(2 * PART_BYTES);
    cr_assert_eq(step(0, 0), CONCLAVE_OK);
    cr_assert_eq(step(PART_BYTES, 0), CONCLAVE_OK);
    cr_assert_eq(fstat(trickle.fd, &old), 0);
    rename_over_file(2 * PART_BYTES);
    cr_assert_eq(step(PART_BYTES, 0), CONCLAVE_OK);
    cr_assert(fstat(trickle.fd, &new) == 0 && new.st_ino == old.st_ino);
    cr_assert_eq(step(0, 0), CONCLAVE_OK);
    cr_assert(fstat(trickle.fd, &new) == 0 && new.st_ino != old.st_ino, "it may be another");
}

Test(trickle, has_pages_made_for_what_is_to_come)
{
    make_file(6 * MIB);
    cr_assert_eq(step(0, MIB), CONCLAVE_OK);
    cr_assert_eq(trickle.ahead, 5 * MIB);
    cr_assert_eq(step(PART_BYTES, MIB + 4096), CONCLAVE_OK);
    cr_assert_eq(trickle.ahead, 5 * MIB, "not for each page");
    cr_assert_eq(step(PART_BYTES, 5 * MIB), CONCLAVE_OK);
    cr_assert_eq(trickle.ahead, 6 * MIB, "no further than the file goes");
}

Test(trickle, makes_huge_pages_a_block_a_step)
{
    struct tables_part part = {.at = PART_BYTES, .used = MIB, .huge = true};
    make_file(9 * MIB);
    for (uint64_t ahead = 4 * MIB; ahead <= 8 * MIB; ahead += 2 * MIB) {
        cr_assert_eq(tables_trickle_step(&trickle, dir, &part), CONCLAVE_OK);
        cr_assert_eq(trickle.ahead, ahead, "%lu", trickle.ahead);
        part.used = ahead - 2 * MIB;
    }
    part.used = 8 * MIB;
    cr_assert_eq(tables_trickle_step(&trickle, dir, &part), CONCLAVE_OK);
    cr_assert_eq(trickle.ahead, 9 * MIB, "what is left is no whole block");
}

Test(trickle, makes_smaller_pages_once_a_huge_one_took_too_long)
{
    struct tables_part part = {.at = PART_BYTES, .used = MIB, .huge = true};
    make_file(16 * MIB);
    trickle.huge_us_max = 0;
    cr_assert_eq(tables_trickle_step(&trickle, dir, &part), CONCLAVE_OK);
    cr_assert(trickle.ahead == 4 * MIB && trickle.small, "%lu", trickle.ahead);
    cr_assert_eq(tables_trickle_step(&trickle, dir, &part), CONCLAVE_OK);
    cr_assert_eq(trickle.ahead, 9 * MIB, "as far as with huge ones, in one step");
}

Test(trickle, writes_nothing_of_an_empty_part)
{
    char page[4096] = {1};
    struct stat old, new;
    make_file(MIB);
    cr_assert_eq(step(0, 0), CONCLAVE_OK);
    cr_assert_eq(fstat(trickle.fd, &old), 0);
    rename_over_file(MIB);
    cr_assert_eq(pwrite(trickle.fd, page, sizeof page, 0), (ssize_t)sizeof page);
    struct tables_part empty = {.used = MIB};
    cr_assert_eq(tables_trickle_step(&trickle, dir, &empty), CONCLAVE_OK);
    cr_assert(fstat(trickle.fd, &new) == 0 && new.st_ino == old.st_ino, "it begins no round");
}

Test(trickle, waits_for_a_store_that_is_not_there_yet)
{
    make_file(1);
    cr_assert_eq(unlink(file), 0);
    cr_assert_eq(step(0, 0), CONCLAVE_OK);
    cr_assert(!trickle.failed && trickle.fd == -1);
}

Test(trickle, says_once_that_it_cannot)
{
    make_file(1);
    cr_assert(unlink(file) == 0 && mkfifo(file, 0600) == 0); /* has no parts */
    cr_assert_eq(step(0, 0), CONCLAVE_IO);
    cr_assert_eq(step(0, 0), CONCLAVE_OK);
    cr_assert_eq(trickle.fd, -1);
}

static bool written_since_long_ago(void)
{
    struct timespec long_ago[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    struct stat now;
    cr_assert_eq(utimensat(AT_FDCWD, file, long_ago, 0), 0);
    cr_assert_eq(step(PART_BYTES, 0), CONCLAVE_OK);
    cr_assert_eq(stat(file, &now), 0);
    return now.st_mtim.tv_sec > 1;
}

Test(trickle, keeps_the_file_young_without_changing_it)
{
    char before[4096], after[4096];
    make_file(2 * PART_BYTES);
    int fd = open(file, O_RDWR);
    memset(before, 7, sizeof before);
    cr_assert_eq(pwrite(fd, before, sizeof before, 0), (ssize_t)sizeof before);
    cr_assert_not(written_since_long_ago(), "it is as old as the first part");
    trickle.young_ns = 1;
    cr_assert(written_since_long_ago());
    cr_assert_not(written_since_long_ago(), "not with each part");
    cr_assert_eq(pread(fd, after, sizeof after, 0), (ssize_t)sizeof after);
    cr_assert_arr_eq(before, after, sizeof before);
    close(fd);
}

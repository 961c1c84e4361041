/* The store's file, written to disk part by part. */
#include "machine/tables_lmdb.h"
#include "machine/tables_trickle.h"
#include "mapped.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PART_BYTES = 64 << 10, MIB = 1 << 20 };

static char dir[64];
static char file[128];

static void make_file(off_t bytes)
{
    snprintf(dir, sizeof dir, "/var/tmp/conclave-trickle-XXXXXX");
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

/* Where the file is mapped; without read-ahead, as LMDB has it. */
static char *map_file(size_t bytes)
{
    int fd = open(file, O_RDWR | O_CLOEXEC);
    char *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    cr_assert(map != MAP_FAILED && madvise(map, bytes, MADV_RANDOM) == 0);
    close(fd);
    return map;
}

enum { PAGES_OF_MIB = MIB / 4096 };

/* The first part of a file that so much is used of, all of which is mapped. */
static struct tables_part map_part(uint64_t used, size_t file_bytes)
{
    mapped_or_skip();
    make_file((off_t)file_bytes);
    return (struct tables_part){
        .bytes = PART_BYTES, .used = used, .map = map_file(file_bytes), .map_bytes = file_bytes};
}

static size_t step_maps(struct tables_part *part)
{
    cr_assert_eq(tables_trickle_step(&trickle, dir, part), CONCLAVE_OK);
    part->at = PART_BYTES; /* the first one is the first of a round */
    return mapped_pages(part->map, part->map_bytes);
}

Test(trickle, has_what_is_to_come_mapped_for_who_uses_it)
{
    struct tables_part part = map_part(MIB, 16 * MIB);
    cr_assert_eq(step_maps(&part), 2 * PAGES_OF_MIB);
    cr_assert_eq(mapped_pages(part.map + MIB, 2 * MIB), 2 * PAGES_OF_MIB);
    part.used += MIB / 4;
    cr_assert_eq(step_maps(&part), 2 * PAGES_OF_MIB, "not for each page");
    part.used += MIB / 4;
    cr_assert_eq(step_maps(&part), PAGES_OF_MIB * 5 / 2);
}

Test(trickle, maps_what_is_to_come_anew_where_the_map_is_another)
{
    enum { FILE_BYTES = 16 * MIB };
    struct tables_part part = map_part(3 * MIB, FILE_BYTES);
    part.map_bytes = FILE_BYTES / 2;
    cr_assert_eq(step_maps(&part), 2 * PAGES_OF_MIB);
    part.map = map_file(FILE_BYTES);
    cr_assert_eq(step_maps(&part), 2 * PAGES_OF_MIB, "somewhere else");
    cr_assert_eq(madvise(part.map, FILE_BYTES, MADV_DONTNEED), 0);
    part.map_bytes = FILE_BYTES;
    cr_assert_eq(step_maps(&part), 2 * PAGES_OF_MIB, "in the same place, and larger");
    part.used = MIB / 2;
    cr_assert_eq(step_maps(&part), 4 * PAGES_OF_MIB, "in the same place, and of another file");
}

/* A page that is mapped to be written is one that is to be written to disk. */
Test(trickle, maps_what_is_to_come_once_and_not_with_each_round)
{
    struct tables_part part = map_part(MIB, 16 * MIB);
    cr_assert_eq(step_maps(&part), 2 * PAGES_OF_MIB);
    cr_assert_eq(madvise(part.map, part.map_bytes, MADV_DONTNEED), 0);
    part.at = 0;
    cr_assert_eq(step_maps(&part), 0);
}

Test(trickle, maps_nothing_that_no_pages_were_made_for)
{
    enum { FILE_BYTES = 5 * MIB / 2 };
    mapped_or_skip();
    make_file(FILE_BYTES);
    struct tables_part part = {.bytes = PART_BYTES, .map = map_file(4 * MIB), .map_bytes = 4 * MIB};
    cr_assert_eq(step_maps(&part), 0, "of an unused file none are");
    part.used = MIB;
    cr_assert_eq(step_maps(&part), (FILE_BYTES - MIB) / 4096);
    cr_assert_eq(trickle.ahead, FILE_BYTES, "no further than the file goes");
    part = (struct tables_part){.at = PART_BYTES, .bytes = PART_BYTES, .used = 2 * MIB};
    cr_assert_eq(tables_trickle_step(&trickle, dir, &part), CONCLAVE_OK, "it is not told where");
}

/* The file is made larger before the map is. */
Test(trickle, maps_nothing_behind_the_map)
{
    struct tables_part part = map_part(MIB, 16 * MIB);
    part.map_bytes = 2 * MIB;
    cr_assert_eq(step_maps(&part), PAGES_OF_MIB);
    cr_assert_eq(mapped_pages(part.map, 16 * MIB), PAGES_OF_MIB);
}

/* The map was made larger meanwhile and stands somewhere else. */
Test(trickle, does_without_a_map_that_is_gone)
{
    make_file(8 * MIB);
    struct tables_part part = {
        .bytes = PART_BYTES, .used = MIB, .map = map_file(8 * MIB), .map_bytes = 8 * MIB};
    cr_assert_eq(munmap(part.map, 8 * MIB), 0);
    cr_assert_eq(tables_trickle_step(&trickle, dir, &part), CONCLAVE_OK);
    cr_assert_eq(trickle.ahead, 5 * MIB);
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

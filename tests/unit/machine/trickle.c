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

enum { STEP_BYTES = 64 << 10, MIB = 1 << 20 };

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

static void remove_file(void)
{
    unlink(file);
    rmdir(dir);
}

Test(trickle, goes_through_the_file_and_begins_again, .fini = remove_file)
{
    struct tables_trickle trickle = {.fd = -1};
    make_file(2 * STEP_BYTES + 1);
    for (int round = 0; round < 2; round++) {
        for (uint64_t step = 1; step <= 2; step++) {
            cr_assert_eq(tables_trickle_step(&trickle, dir, 0), CONCLAVE_OK);
            cr_assert(trickle.fd >= 0 && trickle.at == step * STEP_BYTES);
        }
        cr_assert_eq(tables_trickle_step(&trickle, dir, 0), CONCLAVE_OK);
        cr_assert_eq(trickle.fd, -1, "the file is looked for again: it may be another");
    }
    tables_trickle_close(&trickle);
}

Test(trickle, has_pages_made_for_what_is_to_come, .fini = remove_file)
{
    struct tables_trickle trickle = {.fd = -1};
    make_file(6 * MIB);
    cr_assert_eq(tables_trickle_step(&trickle, dir, MIB), CONCLAVE_OK);
    cr_assert_eq(trickle.ahead, 5 * MIB);
    cr_assert_eq(tables_trickle_step(&trickle, dir, MIB + 4096), CONCLAVE_OK);
    cr_assert_eq(trickle.ahead, 5 * MIB, "not for each page");
    cr_assert_eq(tables_trickle_step(&trickle, dir, 5 * MIB), CONCLAVE_OK);
    cr_assert_eq(trickle.ahead, 6 * MIB, "no further than the file goes");
    tables_trickle_close(&trickle);
}

Test(trickle, waits_for_a_store_that_is_not_there_yet, .fini = remove_file)
{
    struct tables_trickle trickle = {.fd = -1};
    make_file(1);
    cr_assert_eq(unlink(file), 0);
    cr_assert_eq(tables_trickle_step(&trickle, dir, 0), CONCLAVE_OK);
    cr_assert(!trickle.failed && trickle.fd == -1);
}

Test(trickle, says_once_that_it_cannot, .fini = remove_file)
{
    struct tables_trickle trickle = {.fd = -1};
    make_file(1);
    cr_assert(unlink(file) == 0 && mkfifo(file, 0600) == 0); /* has no parts */
    cr_assert_eq(tables_trickle_step(&trickle, dir, 0), CONCLAVE_IO);
    cr_assert_eq(tables_trickle_step(&trickle, dir, 0), CONCLAVE_OK);
    cr_assert_eq(trickle.fd, -1);
}

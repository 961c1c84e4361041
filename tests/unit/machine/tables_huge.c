/* Which part of the store's file is written to disk next when some of it may be in huge pages, and
 * what becomes of those. */
#include "machine/tables_lmdb.h"
#include "machine/tables_lmdb_internal.h"
#include "machine/tables_trickle.h"
#include "tables_rig.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A look at the load each LOOK steps. */
enum { VALUE_BYTES = 4000, LOOK = 25, ROUND = LMDB_ROUND_PARTS, MIB = 1 << 20 };

static char dir[TABLES_RIG_DIR_BYTES], file[128];
static struct tables *tables;
static uint32_t keys;
static struct tables_trickle trickle;

static void setup(void)
{
    tables = tables_rig_open(dir);
    (void)snprintf(file, sizeof file, "%s/%s", dir, TABLES_LMDB_FILE);
    keys = 0;
    trickle = (struct tables_trickle){.fd = -1, .huge_us_max = UINT64_MAX};
}

static void teardown(void)
{
    tables_trickle_close(&trickle);
    tables_rig_close(tables, dir);
}

TestSuite(tables_huge, .init = setup, .fini = teardown);

/* So many new values of a page each, and as many entries more that are said to be applied. */
static void grow(uint32_t values, uint64_t entries)
{
    struct tables_tx tx;
    struct tables_state state = {.applied_index = tables->state.applied_index + entries};
    uint32_t before = keys;
    int code = tables_begin(tables, &tx);
    cr_assert_eq(code, CONCLAVE_OK);
    for (uint32_t i = 0; i < values; i++, keys++) {
        char text[16];
        void *room;
        (void)snprintf(text, sizeof text, "%08u", keys);
        struct slice key = {.data = (const unsigned char *)text, .bytes = 8};
        code = tables_put(&tx, TABLE_KEYS, key, VALUE_BYTES, &room);
        if (code == TABLES_FULL)
            break;
        cr_assert_eq(code, CONCLAVE_OK);
        memset(room, (int)(keys % 251), VALUE_BYTES);
    }
    if (code == TABLES_FULL)
        tables_abort(&tx);
    else
        code = tables_commit(&tx, &state);
    if (code == TABLES_FULL) {
        keys = before;
        code = tables_grow(tables);
    }
    cr_assert_eq(code, CONCLAVE_OK);
}

static struct tables_part steps(unsigned count, uint32_t values, uint64_t entries)
{
    struct tables_part part = {0};
    for (unsigned i = 0; i < count; i++) {
        grow(values, entries);
        tables_next_part(tables, &part);
        cr_assert_eq(tables_trickle_step(&trickle, dir, &part), CONCLAVE_OK);
    }
    return part;
}

Test(tables_huge, are_asked_for_while_the_store_grows_fast)
{
    cr_assert(!steps(LOOK, 20, 20).huge, "nothing is known yet");
    cr_assert(steps(2, 20, 20).huge);
    cr_assert(!steps(2 * LOOK, 2, 20).huge);
    cr_assert(steps(2 * LOOK, 20, 20).huge);
    cr_assert(!steps(2 * LOOK, 0, 20).huge);
}

static uint64_t file_bytes(void)
{
    struct stat status;
    cr_assert_eq(stat(file, &status), 0);
    return (uint64_t)status.st_size;
}

/* From here on the store grows fast when a round comes near the end of what is used, or all the
 * time in every second round, by fits and starts: so blocks become huge ones before, behind and
 * where a round is. */
Test(tables_huge, parts_are_the_whole_file_and_no_block_is_cut)
{
    struct tables_part part = {0};
    uint64_t end = 0, rounds = 0, size = file_bytes();
    unsigned whole = 0;
    for (unsigned i = 0; i < 7 * ROUND; i++) {
        bool near = end + (4 + rounds) * MIB > part.used && end < part.used + 8 * MIB;
        bool burst = i / (4 * LOOK) % 4 == 0; /* else the round never gets there */
        grow((rounds % 2 || near) && burst ? 12 : 1, 30);
        uint64_t before = size;
        size = file_bytes();
        tables_next_part(tables, &part);
        bool begins = part.at == 0 && end >= TABLES_HUGE_BYTES; /* else a block became huge */
        rounds += begins;
        cr_assert(!begins || end >= before, "%u: a round ends at %lu of %lu", i, end, before);
        cr_assert(begins || part.at <= end, "%u: %lu is left out behind %lu", i, part.at, end);
        cr_assert(begins || part.at == end || part.at % TABLES_HUGE_BYTES == 0);
        cr_assert(part.at <= size && part.bytes <= size - part.at);
        whole += part.bytes >= TABLES_HUGE_BYTES && part.at % TABLES_HUGE_BYTES == 0;
        end = part.at + part.bytes;
    }
    cr_assert(rounds >= 4 && whole > 10, "%lu rounds, %u whole blocks", rounds, whole);
}

static void read_all(void)
{
    for (uint32_t i = 0; i < keys; i++) {
        struct tables_tx *tx;
        struct slice value;
        char text[16];
        (void)snprintf(text, sizeof text, "%08u", i);
        struct slice key = {.data = (const unsigned char *)text, .bytes = 8};
        cr_assert_eq(tables_read(tables, &tx), CONCLAVE_OK);
        cr_assert_eq(tables_get(tx, TABLE_KEYS, key, &value), CONCLAVE_OK);
        cr_assert(value.bytes == VALUE_BYTES && value.data[VALUE_BYTES - 1] == i % 251);
    }
}

/* How much of what the store uses is in huge pages, in KiB. */
static unsigned long huge_kib(void)
{
    read_all(); /* and with that it is mapped, if it was not */
    char line[8192];
    unsigned long sum = 0, kib;
    bool here = false;
    FILE *maps = fopen("/proc/self/smaps", "re");
    cr_assert(maps);
    while (fgets(line, sizeof line, maps)) {
        if (strchr(line, '-') && strchr(line, ':') && strstr(line, " rw-s "))
            here = strstr(line, dir) != NULL;
        else if (here && sscanf(line, "FilePmdMapped: %lu kB", &kib) == 1)
            sum += kib;
    }
    (void)fclose(maps);
    return sum;
}

Test(tables_huge, become_small_when_little_changes)
{
    (void)steps(6 * LOOK, 40, 40000);
    if (huge_kib() == 0)
        cr_skip_test("this file system has no huge pages for a file");
    unsigned long before = huge_kib();
    (void)steps(2 * ROUND, 1, 40000);
    cr_assert_geq(huge_kib(), before / 2, "it still changes much");
    for (int i = 0; i < 4; i++) {
        int fd = open(file, O_RDWR | O_CLOEXEC);
        cr_assert(fd >= 0 && fsync(fd) == 0); /* as if some time had passed */
        close(fd);
        (void)steps(ROUND, 0, 1);
    }
    /* Each commit writes its own two pages, and what has just been changed cannot become small. */
    cr_assert_leq(huge_kib(), 2 * TABLES_HUGE_BYTES / 1024, "%lu of %lu KiB", huge_kib(), before);
}

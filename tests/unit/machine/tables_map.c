/* The map of the tables in LMDB, when it grows; also where the system does not do what it is asked
 * for. The linker puts the functions below between machine and the C library (--wrap). */
#include "machine/tables_lmdb.h"
#include "mapped.h"
#include "tables_rig.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { VALUES = 1000, VALUE_BYTES = 4000 };

static char dir[TABLES_RIG_DIR_BYTES];
static struct tables *tables;

/* What fails from now on, and where pages are put that stand aside; NULL: anywhere. */
static struct {
    bool aside, back, map, size;
    void *place;
} plan;

/* NOLINTBEGIN(bugprone-reserved-identifier) */
void *__real_mremap(void *at, size_t bytes, size_t new_bytes, int flags, ...);
void *__wrap_mremap(void *at, size_t bytes, size_t new_bytes, int flags, ...);
void *__wrap_mremap(void *at, size_t bytes, size_t new_bytes, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    void *to = va_arg(more, void *);
    va_end(more);
    bool back = (flags & MREMAP_FIXED) != 0;
    if (back && plan.back)
        munmap(to, new_bytes); /* as the kernel does first */
    if (back ? plan.back : plan.aside) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    if (!back && plan.place)
        return __real_mremap(at, bytes, new_bytes, flags | MREMAP_FIXED, plan.place);
    return __real_mremap(at, bytes, new_bytes, flags, to);
}

void *__real_mmap64(void *at, size_t bytes, int access, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *at, size_t bytes, int access, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *at, size_t bytes, int access, int flags, int fd, off_t offset)
{
    errno = ENOMEM;
    return plan.map ? MAP_FAILED : __real_mmap64(at, bytes, access, flags, fd, offset);
}

int __real_mdb_env_set_mapsize(MDB_env *env, size_t bytes);
int __wrap_mdb_env_set_mapsize(MDB_env *env, size_t bytes);
int __wrap_mdb_env_set_mapsize(MDB_env *env, size_t bytes)
{
    return plan.size ? ENOMEM : __real_mdb_env_set_mapsize(env, bytes);
}
/* NOLINTEND(bugprone-reserved-identifier) */

static void setup(void)
{
    tables = tables_rig_open(dir);
}

static void teardown(void)
{
    tables_rig_close(tables, dir);
}

TestSuite(tables_map, .init = setup, .fini = teardown);

static struct slice key_of(uint32_t number, char *text)
{
    (void)snprintf(text, 16, "%08u", number);
    return (struct slice){.data = (const unsigned char *)text, .bytes = 8};
}

static void fill(void)
{
    struct tables_tx tx;
    char text[16];
    void *room;
    cr_assert_eq(tables_begin(tables, &tx), CONCLAVE_OK);
    for (uint32_t i = 0; i < VALUES; i++) {
        cr_assert_eq(tables_put(&tx, TABLE_KEYS, key_of(i, text), VALUE_BYTES, &room), CONCLAVE_OK);
        memset(room, (int)(i % 251), VALUE_BYTES);
    }
    cr_assert_eq(tables_commit(&tx, &(struct tables_state){.applied_index = 1}), CONCLAVE_OK);
}

static void expect_all(void)
{
    struct tables_tx *tx;
    char text[16];
    struct slice value;
    cr_assert_eq(tables_read(tables, &tx), CONCLAVE_OK);
    for (uint32_t i = 0; i < VALUES; i++) {
        cr_assert_eq(tables_get(tx, TABLE_KEYS, key_of(i, text), &value), CONCLAVE_OK);
        cr_assert_eq(value.bytes, VALUE_BYTES);
        cr_assert(value.data[0] == i % 251 && value.data[VALUE_BYTES - 1] == i % 251);
    }
}

/* How much of the file this process has in its page tables, and in how many pieces it is mapped. */
static unsigned long mapped_kib(unsigned *ret_maps)
{
    char line[8192];
    unsigned long sum = 0, kib;
    bool here = false;
    FILE *maps = fopen("/proc/self/smaps", "re");
    cr_assert(maps);
    *ret_maps = 0;
    while (fgets(line, sizeof line, maps)) {
        if (strstr(line, dir)) {
            here = strstr(line, TABLES_LMDB_FILE) != NULL;
            *ret_maps += here;
        } else if (here && sscanf(line, "Rss: %lu kB", &kib) == 1) {
            sum += kib;
            here = false;
        }
    }
    fclose(maps);
    return sum;
}

/* Linux 5.13. */
static bool system_moves_pages(void)
{
    size_t bytes = (size_t)sysconf(_SC_PAGESIZE);
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", dir, TABLES_LMDB_FILE);
    FILE *file = fopen(path, "r+e");
    cr_assert(file);
    void *map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fileno(file), 0);
    cr_assert(map != MAP_FAILED);
    void *moved = mremap(map, bytes, bytes, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
    if (moved != MAP_FAILED)
        munmap(moved, bytes);
    munmap(map, bytes);
    fclose(file);
    return moved != MAP_FAILED;
}

Test(tables_map, keeps_its_pages_when_it_grows)
{
    unsigned maps;
    fill();
    expect_all();
    unsigned long before = mapped_kib(&maps);
    cr_assert_geq(before, VALUES * 4096 / 1024);
    if (!system_moves_pages())
        cr_skip_test("this kernel does not move pages of shared files");
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(tables_grow(tables), CONCLAVE_OK);
        cr_assert_geq(mapped_kib(&maps), before, "no page has to be looked up again");
        cr_assert_eq(maps, 1, "nothing stays aside");
        expect_all();
    }
}

static void expect_maps(unsigned expected)
{
    unsigned maps;
    (void)mapped_kib(&maps);
    cr_assert_eq(maps, expected, "%u", maps);
}

Test(tables_map, grows_where_pages_cannot_be_moved)
{
    fill();
    plan.aside = true;
    cr_assert_eq(tables_grow(tables), CONCLAVE_OK);
    expect_all();
    expect_maps(1);
}

Test(tables_map, is_read_anew_where_pages_do_not_come_back)
{
    fill();
    if (!system_moves_pages())
        cr_skip_test("this kernel does not move pages of shared files");
    plan.back = true;
    cr_assert_eq(tables_grow(tables), CONCLAVE_OK);
    expect_all();
    fill(); /* it can be written, too */
    expect_all();
    expect_maps(1);
    plan.back = false;
    cr_assert_eq(tables_grow(tables), CONCLAVE_OK);
    expect_all();
}

Test(tables_map, that_is_gone_is_told_of)
{
    fill();
    if (!system_moves_pages())
        cr_skip_test("this kernel does not move pages of shared files");
    plan.back = plan.map = true;
    cr_assert_eq(tables_grow(tables), CONCLAVE_NO_MEMORY);
    expect_maps(1); /* what lies behind it: nothing stays aside */
}

Test(tables_map, that_cannot_grow_stays_as_it_is)
{
    fill();
    plan.size = true;
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(tables_grow(tables), CONCLAVE_NO_MEMORY);
        expect_all();
        expect_maps(1);
    }
    plan.size = false;
    cr_assert_eq(tables_grow(tables), CONCLAVE_OK);
    expect_all();
}

/* The system lists maps by their addresses. */
Test(tables_map, is_not_taken_for_what_stands_aside_in_front_of_it)
{
    enum { PLACE_BYTES = 1 << 28 };
    fill();
    if (!system_moves_pages())
        cr_skip_test("this kernel does not move pages of shared files");
    for (int low = 0; low < 2; low++) {
        void *hint = low ? (void *)(UINT64_C(1) << 32) : NULL;
        plan.place = __real_mmap64(hint, PLACE_BYTES, PROT_NONE,
                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        cr_assert(plan.place != MAP_FAILED);
        cr_assert_eq(tables_grow(tables), CONCLAVE_OK);
        expect_all();
        expect_maps(1);
    }
}

/* --- Part by part ----------------------------------------------------------------------------- */

static uint64_t file_bytes(void)
{
    char path[128];
    struct stat file;
    (void)snprintf(path, sizeof path, "%s/%s", dir, TABLES_LMDB_FILE);
    cr_assert_eq(stat(path, &file), 0);
    return (uint64_t)file.st_size;
}

/* From this place of the file to its end, each part behind so many entries that were applied. */
static void go_on(uint64_t at, uint64_t entries)
{
    uint64_t size = file_bytes();
    while (at < size) {
        struct tables_part part;
        struct tables_tx tx;
        struct tables_state state = {.applied_index = tables->state.applied_index + entries};
        cr_assert_eq(tables_begin(tables, &tx), CONCLAVE_OK);
        cr_assert_eq(tables_commit(&tx, &state), CONCLAVE_OK);
        tables_next_part(tables, &part);
        cr_assert(part.at == at && part.bytes > 0 && part.bytes <= size - at);
        cr_assert(part.used > VALUES * VALUE_BYTES && part.used <= size);
        at += part.bytes;
    }
}

Test(tables_map, is_unmapped_part_by_part_where_it_changes_much_and_loses_nothing)
{
    unsigned maps;
    fill();
    expect_all();
    unsigned long before = mapped_kib(&maps);
    for (int i = 0; i < 2; i++) {
        go_on(0, 1000);
        cr_assert_lt(mapped_kib(&maps), before / 4 * 3);
        cr_assert_eq(maps, 1);
        expect_all();
    }
    uint64_t old_bytes = file_bytes();
    cr_assert_eq(tables_grow(tables), CONCLAVE_OK);
    go_on(old_bytes, 1000);
    go_on(0, 1000);
    cr_assert_lt(mapped_kib(&maps), before / 4 * 3, "the new map is known");
    expect_all();
}

Test(tables_map, stays_mapped_where_it_hardly_changes)
{
    unsigned maps;
    fill();
    expect_all();
    unsigned long before = mapped_kib(&maps);
    go_on(0, 0);
    cr_assert_geq(mapped_kib(&maps), before);
    expect_all();
}

Test(tables_map, is_told_with_each_part)
{
    struct tables_part part;
    char meta[4096], path[128];
    fill();
    (void)snprintf(path, sizeof path, "%s/%s", dir, TABLES_LMDB_FILE);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    for (int i = 0; i < 3; i++) {
        tables_next_part(tables, &part);
        cr_assert_eq(pread(fd, meta, sizeof meta, 0), (ssize_t)sizeof meta);
        cr_assert(part.map && memcmp(part.map, meta, sizeof meta) == 0);
        cr_assert(file_bytes() > part.used);
        cr_assert_eq(part.map_bytes, file_bytes());
        cr_assert_eq(part.map[part.map_bytes - 1], 0, "all of it is mapped there");
        cr_assert_eq(tables_grow(tables), CONCLAVE_OK);
    }
    close(fd);
}

/* Nothing of it has changed, so it is no part of what is full of changes. */
Test(tables_map, what_is_to_be_used_next_stays_mapped)
{
    enum { AHEAD_PAGES = 64, PAGE = 4096 };
    struct tables_part part;
    mapped_or_skip();
    fill();
    for (int i = 0; i < 2; i++)
        cr_assert_eq(tables_grow(tables), CONCLAVE_OK);
    tables_next_part(tables, &part);
    cr_assert_lt(part.used, file_bytes() / 2, "most of the parts lie behind it");
    const char *next = part.map + part.used;
    for (int i = 0; i < AHEAD_PAGES; i++)
        (void)*(const volatile char *)(next + (size_t)i * PAGE);
    cr_assert_eq(mapped_pages(next, AHEAD_PAGES * PAGE), AHEAD_PAGES);
    go_on(part.bytes, 1000);
    cr_assert_geq(mapped_pages(next, AHEAD_PAGES * PAGE), AHEAD_PAGES - 16,
                  "but for what was used");
    expect_all();
}

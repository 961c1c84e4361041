/* The map of the tables in LMDB, when it grows; also where the system does not do what it is asked
 * for. The linker puts the functions below between machine and the C library (--wrap). */
#include "machine/tables_lmdb.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <lmdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { VALUES = 1000, VALUE_BYTES = 4000 };

static char dir[64];
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
    struct conclave_machine_env env = {.dir = dir, .boot_id = {1}, .cluster_id = 7, .node_id = 1};
    strcpy(dir, "/tmp/conclave-map-XXXXXX");
    cr_assert(mkdtemp(dir));
    tables = tables_lmdb_create();
    cr_assert_eq(tables_open(tables, &env, NULL), CONCLAVE_OK);
}

static void teardown(void)
{
    static const char *const files[] = {"owner", "data.mdb", "lock.mdb"};
    tables_close(tables);
    tables_destroy(tables);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[128];
        (void)snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        unlink(path);
    }
    cr_assert_eq(rmdir(dir), 0);
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

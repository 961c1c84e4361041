/* The map of the tables in LMDB while it is made larger.
 *
 * LMDB unmaps the file and maps it anew, so that every page has to be looked up again when it is
 * touched: with 768 MiB 40 ms for the one, at once and in the state machine's thread, and 290 ms
 * for the other. The pages are therefore moved aside before, by mremap, and back into the new map
 * behind it, which takes 0.2 ms: the kernel hands over page tables, not pages. It is a shared map
 * of the same file at the same place, so whatever is read there is the same either way, and a
 * system that cannot do this does without. */
#include "machine/tables_lmdb_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* The number at *at, behind which `behind` follows; *at is behind that afterwards. */
static bool take_number(char **at, int base, char behind, uint64_t *ret)
{
    char *end;
    errno = 0;
    *ret = strtoull(*at, &end, base);
    if (errno || end == *at || *end != behind)
        return false;
    *at = end + 1;
    return true;
}

/* A line of proc(5)'s maps, "FROM-TO rw-s OFFSET MAJOR:MINOR INODE PATH": whether it is of the
 * beginning of this file. */
static bool is_map_of(char *line, const struct stat *file, struct lmdb_pages *ret)
{
    static const char access[] = "rw-s ";
    uint64_t from, to, offset, major, minor, inode;
    if (!take_number(&line, 16, '-', &from) || !take_number(&line, 16, ' ', &to) ||
        strncmp(line, access, strlen(access)) != 0)
        return false;
    line += strlen(access);
    if (!take_number(&line, 16, ' ', &offset) || !take_number(&line, 16, ':', &major) ||
        !take_number(&line, 16, ' ', &minor) || !take_number(&line, 10, ' ', &inode))
        return false;
    *ret = (struct lmdb_pages){.at = (void *)(uintptr_t)from, .bytes = (size_t)(to - from)};
    return offset == 0 && inode == file->st_ino &&
           makedev((unsigned)major, (unsigned)minor) == file->st_dev;
}

/* Where the file is mapped, but for `aside`: LMDB does not tell. False: it is not to be found. */
static bool find_map(int fd, const void *aside, struct lmdb_pages *ret)
{
    struct stat file;
    char line[8192]; /* the path is at the end and may be cut off */
    bool found = false;
    if (fstat(fd, &file))
        return false;
    FILE *maps = fopen("/proc/self/maps", "re");
    if (!maps)
        return false;
    while (!found && fgets(line, sizeof line, maps))
        found = is_map_of(line, &file, ret) && ret->at != aside;
    fclose(maps);
    return found;
}

char *lmdb_map(const struct lmdb *lmdb)
{
    mdb_filehandle_t fd;
    struct lmdb_pages map;
    return !mdb_env_get_fd(lmdb->env, &fd) && find_map(fd, NULL, &map) ? map.at : NULL;
}

void lmdb_pages_aside(const struct lmdb *lmdb, struct lmdb_pages *ret)
{
    mdb_filehandle_t fd;
    struct lmdb_pages old;
    struct rlimit limit;
    *ret = (struct lmdb_pages){0};
    if (getrlimit(RLIMIT_AS, &limit) || limit.rlim_cur != RLIM_INFINITY)
        return; /* both places at once may be too much */
    if (mdb_env_get_fd(lmdb->env, &fd) || !find_map(fd, NULL, &old))
        return;
    /* The old place stays LMDB's until it unmaps it: nobody else may get it in between. */
    void *at = mremap(old.at, old.bytes, old.bytes, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
    if (at != MAP_FAILED)
        *ret = (struct lmdb_pages){.at = at, .bytes = old.bytes};
}

int lmdb_pages_back(const struct lmdb *lmdb, struct lmdb_pages *pages)
{
    mdb_filehandle_t fd;
    struct lmdb_pages map;
    const struct lmdb_pages aside = *pages;
    *pages = (struct lmdb_pages){0};
    if (!aside.at)
        return 0;
    if (mdb_env_get_fd(lmdb->env, &fd) || !find_map(fd, aside.at, &map) || map.bytes < aside.bytes)
        return munmap(aside.at, aside.bytes) ? errno : 0;
    if (mremap(aside.at, aside.bytes, aside.bytes, MREMAP_MAYMOVE | MREMAP_FIXED, map.at) == map.at)
        return 0;
    /* What was there may be gone already. */
    void *again = mmap(map.at, aside.bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
    int failed = again == MAP_FAILED ? errno : 0;
    if (!failed)
        (void)madvise(again, aside.bytes, MADV_RANDOM); /* as LMDB has it: no read-ahead */
    (void)munmap(aside.at, aside.bytes);                /* mapped or not: it is not used any more */
    return failed;
}

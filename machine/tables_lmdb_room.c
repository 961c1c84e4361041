/* Room in the tables in LMDB: the file and the map grow together, and some is kept for deletes. */
#include "machine/tables_lmdb_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

enum {
    GROW_BYTES_MAX = 256 << 20, /* the file doubles up to this step: allocating it may take a while
                                   on file systems that write zeros for it */
    GROW_BYTES_MIN = 1 << 20,   /* less than this is a full disk */
    MOMENT_BYTES = 4 << 20,     /* between the largest steps of two nodes */
    SLACK_BYTES_MAX = 1 << 30,  /* room for changes while a view is being read */

    /* What is kept for those who delete: an eighth of the map. A delete takes room too, for the
     * history and the pages on the way to it, before what it frees can be used. */
    RESERVE_PART = 8,
    RESERVE_BYTES_MIN = 4 << 20,
    RESERVE_BYTES_MAX = 64 << 20
};

int lmdb_allocate(const struct lmdb *lmdb, size_t bytes)
{
    mdb_filehandle_t fd;
    int rc = mdb_env_get_fd(lmdb->env, &fd);
    return rc ? rc : posix_fallocate(fd, 0, (off_t)bytes);
}

/* rc. As much more of the file as there is, up to a step, or to what is lacking. */
static int allocate_step(const struct lmdb *lmdb, size_t lacking, size_t *ret_step)
{
    size_t most = GROW_BYTES_MAX - lmdb_moment(lmdb) * MOMENT_BYTES;
    size_t step = lmdb->map_bytes < most ? lmdb->map_bytes : most;
    if (step < lacking)
        step = (lacking + GROW_BYTES_MIN - 1) / GROW_BYTES_MIN * GROW_BYTES_MIN;
    int rc = lmdb_allocate(lmdb, lmdb->map_bytes + step);
    while (lmdb_public_code(rc) == CONCLAVE_NO_SPACE && step > GROW_BYTES_MIN) {
        step /= 2;
        rc = lmdb_allocate(lmdb, lmdb->map_bytes + step);
    }
    *ret_step = step;
    return rc;
}

/* The map is made anew: see tables_lmdb_map.c. A public code. */
static int grow_by(struct lmdb *lmdb, size_t lacking)
{
    size_t step = 0;
    /* Pages that a view reads are not used again while it lasts, so the next one gets more room to
     * begin with. */
    if (lmdb_end_view(lmdb) && lmdb->slack_bytes < SLACK_BYTES_MAX)
        lmdb->slack_bytes *= 2;
    int rc = allocate_step(lmdb, lacking, &step);
    if (!rc) {
        struct lmdb_pages pages;
        lmdb_pages_aside(lmdb, &pages);
        rc = mdb_env_set_mapsize(lmdb->env, lmdb->map_bytes + step);
        int back = lmdb_pages_back(lmdb, &pages);
        rc = rc ? rc : back;
        lmdb->round.map = lmdb_map(lmdb);
    }
    if (!rc)
        lmdb->map_bytes += step;
    return lmdb_public_code(rc);
}

int lmdb_grow(struct tables *tables)
{
    return grow_by(lmdb_of(tables), 0);
}

int lmdb_tail_bytes(const struct lmdb *lmdb, size_t *ret)
{
    MDB_envinfo info;
    MDB_stat stat;
    int rc = mdb_env_info(lmdb->env, &info);
    if (!rc)
        rc = mdb_env_stat(lmdb->env, &stat);
    if (!rc)
        *ret = lmdb->map_bytes - (info.me_last_pgno + 1) * stat.ms_psize;
    return rc;
}

static void reading_end(struct lmdb *lmdb)
{
    if (lmdb->reading)
        mdb_txn_reset(lmdb->read);
    lmdb->reading = false;
}

int lmdb_make_room(struct lmdb *lmdb)
{
    size_t tail = 0;
    int rc = lmdb_tail_bytes(lmdb, &tail);
    if (rc)
        return lmdb_public_code(rc);
    reading_end(lmdb);
    size_t used = lmdb->map_bytes - tail;
    while (lmdb->map_bytes - used < lmdb->slack_bytes) {
        int code = grow_by(lmdb, lmdb->slack_bytes - (lmdb->map_bytes - used));
        if (code)
            return code;
    }
    return CONCLAVE_OK;
}

/* rc. Pages that were used and are free again: LMDB notes them in a database of its own, in lists
 * whose first word is their length. */
static int free_bytes(struct lmdb *lmdb, size_t *ret)
{
    enum { FREE_DBI = 0 };
    struct tables_tx *tx = NULL;
    MDB_cursor *cursor;
    MDB_val key, value;
    MDB_stat stat;
    size_t pages = 0;
    int rc = lmdb_read(&lmdb->tables, &tx) ? EIO : mdb_env_stat(lmdb->env, &stat);
    if (!rc)
        rc = mdb_cursor_open(lmdb->read, FREE_DBI, &cursor);
    if (rc)
        return rc;
    while (!(rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT))) {
        size_t count = 0;
        if (value.mv_size >= sizeof count)
            memcpy(&count, value.mv_data, sizeof count);
        pages += count;
    }
    mdb_cursor_close(cursor);
    if (rc != MDB_NOTFOUND)
        return rc;
    *ret = pages * stat.ms_psize;
    return 0;
}

int lmdb_reserve(struct tables *tables, bool lacking)
{
    struct lmdb *lmdb = lmdb_of(tables);
    size_t wanted = lmdb->map_bytes / RESERVE_PART, tail = 0, freed = 0;
    if (wanted < RESERVE_BYTES_MIN)
        wanted = RESERVE_BYTES_MIN;
    if (wanted > RESERVE_BYTES_MAX)
        wanted = RESERVE_BYTES_MAX;
    if (lacking)
        wanted *= 2; /* not to and fro */
    int rc = lmdb_tail_bytes(lmdb, &tail);
    if (rc || tail >= wanted || lmdb->view) /* growing would end the view */
        return lmdb_public_code(rc);
    rc = free_bytes(lmdb, &freed);
    if (rc || tail + freed >= wanted)
        return lmdb_public_code(rc);
    reading_end(lmdb);
    return lmdb_grow(tables);
}

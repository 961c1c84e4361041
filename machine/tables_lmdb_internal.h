/* machine/tables_lmdb_internal.h - the LMDB environment, shared by the files that implement
 * machine/tables_lmdb.h: tables_lmdb.c (files, opening), tables_lmdb_room.c (growth),
 * tables_lmdb_map.c (the map meanwhile), tables_lmdb_part.c (writing to disk), tables_lmdb_huge.c
 * (its pages' size) and tables_lmdb_tx.c (transactions, cursors, views). Functions that say "rc"
 * return 0, an LMDB code or an errno. */
#ifndef MACHINE_TABLES_LMDB_INTERNAL_H
#define MACHINE_TABLES_LMDB_INTERNAL_H

#include "machine/tables_lmdb.h"
#include "machine/tables_owner.h"
#include "machine/tables_part.h"

#include <lmdb.h>
#include <pthread.h>
#include <unistd.h>

struct lmdb_view {
    struct tables_view view; /* view.tx.handle: NULL when it was ended for lack of room */
};

/* What was learnt of how keys come: whether the next new one is likely behind all others. */
struct lmdb_tail {
    uint32_t every;      /* one put of so many looks; 1: they rise. 0: nothing is known yet */
    uint32_t puts;       /* since one did */
    uint32_t last_bytes; /* in this transaction no key is behind this one; 0: not known */
    uint8_t last[TABLES_KEY_BYTES_MAX];
};

/* The round through the file (tables_lmdb_part.c). It takes some 15 s with parts of 20 ms. */
enum { LMDB_ROUND_PARTS = 750 };
struct lmdb_round {
    char *map;      /* where the file is mapped; NULL: not known */
    size_t at;      /* its next part */
    uint64_t index; /* applied when there was one last */
    struct tables_part last;
};

/* Where the file has huge pages (tables_lmdb_huge.c). */
struct lmdb_huge {
    uint8_t *tries; /* of each block: to make it small, if it is a huge one; 0: it is small */
    size_t blocks;  /* so many have an entry there */
    unsigned steps; /* since the load was looked at, */
    size_t used;    /* and what was used, */
    uint64_t index; /* and applied then */
    bool grows, sparse;
};

struct lmdb {
    struct tables tables;
    struct tables_owner owner;
    char *dir;
    MDB_env *env;
    MDB_dbi main, dbis[TABLES];
    struct lmdb_tail tails[TABLES];
    size_t map_bytes;         /* of the file, all of it allocated, and of the map */
    MDB_txn *read;            /* one read transaction, kept for all queries */
    bool reading;             /* whether it holds a state now */
    struct tables_tx read_tx; /* with that transaction */
    bool clean;               /* the owner file says that everything is on the disk */
    struct lmdb_round round;
    struct lmdb_huge huge;
    size_t slack_bytes; /* unused room that the map has when a view begins */

    /* Whoever uses or ends the view's transaction holds the mutex; its reader never for longer than
     * it takes to copy a piece. */
    pthread_mutex_t view_mutex;
    struct lmdb_view *view; /* NULL: none, or ended */
};

static inline struct lmdb *lmdb_of(struct tables *tables)
{
    return (struct lmdb *)tables; /* its first member */
}

static inline size_t lmdb_page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* What tables.h says for an rc. */
int lmdb_code(int rc);

/* The same where there is no transaction to do once more. */
int lmdb_public_code(int rc);

/* From 0 to below LMDB_MOMENTS, another one on most nodes: what all nodes would do at the same
 * moment, since they hold the same, each does at a moment of its own. */
enum { LMDB_MOMENTS = 16 };
static inline size_t lmdb_moment(const struct lmdb *lmdb)
{
    return (size_t)(lmdb->owner.node_id % LMDB_MOMENTS);
}

/* Pages of the map that stand aside; all zero: none. */
struct lmdb_pages {
    void *at;
    size_t bytes;
};

/* Moves the map's pages aside before LMDB maps the file anew, if the system can do that. Nobody may
 * use the map until they are back. */
void lmdb_pages_aside(const struct lmdb *lmdb, struct lmdb_pages *ret);

/* Where the file is mapped: LMDB does not tell. NULL: it is not to be found. */
char *lmdb_map(const struct lmdb *lmdb);

/* rc. Puts them where the file is mapped now, or lets them go if it is not; *pages is empty then.
 */
int lmdb_pages_back(const struct lmdb *lmdb, struct lmdb_pages *pages);

/* With each part: looks at the load now and then. */
void lmdb_huge_step(struct lmdb *lmdb, size_t used);

/* Where the block there begins, if it may be a huge one; else `at`. */
size_t lmdb_huge_floor(const struct lmdb *lmdb, size_t at);

/* Makes small what lies there, which was written a moment ago, if few pages change. */
void lmdb_huge_split(struct lmdb *lmdb, const struct tables_part *part);

void lmdb_huge_close(struct lmdb *lmdb);

/* rc. What lies behind the last page that was ever used. */
int lmdb_tail_bytes(const struct lmdb *lmdb, size_t *ret);

/* rc. Allocates the file up to so many bytes; what is allocated already stays. */
int lmdb_allocate(const struct lmdb *lmdb, size_t bytes);

/* rc. */
int lmdb_state_write(const struct lmdb *lmdb, MDB_txn *txn, const struct tables_state *state);

/* Before the map moves or goes: nobody may read it then. True if a view was open. */
bool lmdb_end_view(struct lmdb *lmdb);

/* Grows the map so that a view can begin. Code. */
MUST_USE int lmdb_make_room(struct lmdb *lmdb);

/* The functions of tables.h. */
int lmdb_grow(struct tables *tables);
int lmdb_reserve(struct tables *tables, bool lacking);
void lmdb_next_part(struct tables *tables, struct tables_part *ret);
int lmdb_begin(struct tables *tables, struct tables_tx *ret_tx);
int lmdb_commit(struct tables_tx *tx, const struct tables_state *state);
void lmdb_abort(struct tables_tx *tx);
int lmdb_read(struct tables *tables, struct tables_tx **ret_tx);
int lmdb_view_begin(struct tables *tables, struct tables_view **ret_view);
bool lmdb_view_enter(struct tables_view *view);
void lmdb_view_leave(struct tables_view *view);
void lmdb_view_end(struct tables_view *view);
int lmdb_get(struct tables_tx *tx, enum table table, struct slice key, struct slice *ret_value);
int lmdb_put(struct tables_tx *tx, enum table table, struct slice key, size_t bytes,
             void **ret_room);
int lmdb_erase(struct tables_tx *tx, enum table table, struct slice key);
int lmdb_cursor_open(struct tables_cursor *cursor);
void lmdb_cursor_close(struct tables_cursor *cursor);
int lmdb_cursor_move(struct tables_cursor *cursor, enum tables_move move, struct slice *key,
                     struct slice *ret_value);
int lmdb_cursor_put(struct tables_cursor *cursor, struct slice key, size_t bytes, void **ret_room);
int lmdb_cursor_put_bytes(struct tables_cursor *cursor, struct slice key, struct slice value);
int lmdb_cursor_erase(struct tables_cursor *cursor);
int lmdb_cursor_read(struct tables_cursor *cursor, struct slice *ret_key, struct slice *ret_value);

#endif

/* What is in the directory (docs/disk-format.md has the bytes):
 *
 *     owner     whose tables these are, and of which boot of the operating system
 *     data.mdb  the LMDB environment; lock.mdb its lock table
 *
 * The tables are a cache of the log: never synced while they are in use, and kept or thrown away as
 * a whole.
 *
 * A killed process loses nothing. LMDB runs with MDB_WRITEMAP: a transaction writes straight into
 * the shared map, but copies on write, into pages that neither of the last two committed states
 * refers to, and the meta page that makes them the committed state is written last, its transaction
 * number last of all. So the page cache holds a whole state at every instant, and it outlives the
 * process.
 *
 * A crash of the operating system may lose any part of the page cache (MDB_NOSYNC), meta page
 * before or after data: nothing in data.mdb may be believed then, not even enough to read a boot id
 * out of it. That is why the owner file is looked at first, and is a file of its own. It is
 * replaced by rename; it names this boot only after what other boots left was removed; so if it
 * names the present boot, every page was written since and is in the page cache. `clean` in it is
 * set after a full sync and durably taken back before the next change: with it any boot may trust
 * the tables.
 *
 * The file is allocated as far as the map goes, and both grow (tables_lmdb_room.c). A sparse map of
 * some large size would be simpler, but writing into a hole on a full disk is a SIGBUS in the
 * middle of the host program. This way a full disk is an error code before anything is touched, and
 * there is no largest size. */
#include "machine/tables_lmdb_internal.h"

#include "base/fatal.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char DATA_FILE[] = TABLES_LMDB_FILE;
static const char LOCK_FILE[] = "lock.mdb";

static const char STATE_KEY[] = "state"; /* in the main database */
static const char *const NAMES[TABLES] = {
    [TABLE_KEYS] = "keys",           [TABLE_SESSIONS] = "sessions", [TABLE_HISTORY] = "history",
    [TABLE_COORD] = "coord",         [TABLE_LEASES] = "leases",     [TABLE_ATTACHED] = "attached",
    [TABLE_DEADLINES] = "deadlines", [TABLE_TOPICS] = "topics",     [TABLE_MESSAGES] = "messages",
    [TABLE_GROUPS] = "groups"};

/* Without read-ahead: behind the last page that was used the file is allocated and empty, so at
 * each page that is touched there first the kernel would fill its whole read-ahead window with
 * zeros, 8 MiB and twice that on some systems, while nobody else gets the processor
 * (tables_trickle.h). */
static const unsigned FLAGS = MDB_WRITEMAP | MDB_NOSYNC | MDB_NOTLS | MDB_NORDAHEAD;

enum {
    FILE_MODE = 0600,
    MAP_BYTES_MIN = 16 << 20, /* a new store */
    MOMENT_BYTES = 256 << 10, /* between the first maps of two nodes */
    SLACK_BYTES_MIN = 4 << 20 /* room for changes while a view is being read */
};

/* On disk, little-endian; `note` as long as the machine's note is. */
struct state_record {
    uint64_t format;
    uint64_t cluster_id;
    uint64_t node_id;
    uint64_t applied_index;
    uint64_t digest;
    uint8_t note[TABLES_NOTE_BYTES_MAX];
};
enum { STATE_FORMAT = 3, STATE_BYTES = 40 };
_Static_assert(sizeof(struct state_record) == STATE_BYTES + TABLES_NOTE_BYTES_MAX, "no padding");

int lmdb_code(int rc)
{
    switch (rc) {
    case MDB_SUCCESS:
        return CONCLAVE_OK;
    case MDB_NOTFOUND:
        return CONCLAVE_NOT_FOUND;
    case MDB_MAP_FULL:
        return TABLES_FULL;
    case ENOSPC:
    case EDQUOT:
    case EFBIG: /* the process's or the file system's largest file */
        return CONCLAVE_NO_SPACE;
    case ENOMEM:
        return CONCLAVE_NO_MEMORY;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
    case MDB_INCOMPATIBLE:
        return CONCLAVE_CORRUPT;
    default:
        return CONCLAVE_IO;
    }
}

int lmdb_public_code(int rc)
{
    return rc == MDB_MAP_FULL ? CONCLAVE_NO_SPACE : lmdb_code(rc);
}

/* Removes the files, the owner file first: a process killed half way leaves some that nobody
 * trusts. Returns an errno. */
static int discard(const struct lmdb *lmdb)
{
    int failed = tables_owner_remove(&lmdb->owner);
    if (failed)
        return failed;
    const char *const files[] = {DATA_FILE, LOCK_FILE};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (unlinkat(lmdb->owner.dir_fd, files[i], 0) && errno != ENOENT)
            return errno;
    return 0;
}

/* --- The state record ------------------------------------------------------------------------- */

/* rc. MDB_INVALID if it is not of this node; all zero if there is none: then nothing was ever
 * committed. */
static int state_read(const struct lmdb *lmdb, MDB_txn *txn, struct tables_state *ret)
{
    MDB_val key = {sizeof STATE_KEY - 1, (void *)(uintptr_t)STATE_KEY};
    MDB_val value;
    *ret = (struct tables_state){0};
    int rc = mdb_get(txn, lmdb->main, &key, &value);
    if (rc == MDB_NOTFOUND)
        return 0;
    if (rc)
        return rc;
    struct state_record record;
    if (value.mv_size < STATE_BYTES || value.mv_size > sizeof record)
        return MDB_INVALID;
    memcpy(&record, value.mv_data, value.mv_size);
    if (le64toh(record.format) != STATE_FORMAT ||
        le64toh(record.cluster_id) != lmdb->owner.cluster_id ||
        le64toh(record.node_id) != lmdb->owner.node_id)
        return MDB_INVALID;
    ret->applied_index = le64toh(record.applied_index);
    ret->digest = le64toh(record.digest);
    ret->note_bytes = (uint32_t)(value.mv_size - STATE_BYTES);
    memcpy(ret->note, record.note, ret->note_bytes);
    return 0;
}

int lmdb_state_write(const struct lmdb *lmdb, MDB_txn *txn, const struct tables_state *state)
{
    struct state_record record = {
        .format = htole64(STATE_FORMAT),
        .cluster_id = htole64(lmdb->owner.cluster_id),
        .node_id = htole64(lmdb->owner.node_id),
        .applied_index = htole64(state->applied_index),
        .digest = htole64(state->digest),
    };
    memcpy(record.note, state->note, state->note_bytes);
    MDB_val key = {sizeof STATE_KEY - 1, (void *)(uintptr_t)STATE_KEY};
    MDB_val value = {STATE_BYTES + state->note_bytes, &record};
    return mdb_put(txn, lmdb->main, &key, &value, 0);
}

/* --- Opening ---------------------------------------------------------------------------------- */

/* rc. The databases and the state, in the first transaction of this run. */
static int load(struct lmdb *lmdb)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(lmdb->env, NULL, 0, &txn);
    if (rc)
        return rc;
    struct tables_state state = {0};
    rc = mdb_dbi_open(txn, NULL, 0, &lmdb->main);
    if (!rc)
        rc = state_read(lmdb, txn, &state);
    for (int i = 0; i < TABLES && !rc; i++)
        rc = mdb_dbi_open(txn, NAMES[i], MDB_CREATE, &lmdb->dbis[i]);
    if (!rc)
        rc = lmdb_state_write(lmdb, txn, &state);
    if (rc) {
        mdb_txn_abort(txn);
        return rc;
    }
    rc = mdb_txn_commit(txn);
    if (!rc)
        lmdb->tables.state = state;
    return rc;
}

/* rc. MDB_INVALID if the file ends before its last page. */
static int check_length(const struct lmdb *lmdb, size_t file_bytes)
{
    MDB_envinfo info;
    MDB_stat stat;
    int rc = mdb_env_info(lmdb->env, &info);
    if (!rc)
        rc = mdb_env_stat(lmdb->env, &stat);
    if (!rc && file_bytes > 0 && file_bytes / stat.ms_psize <= info.me_last_pgno)
        rc = MDB_INVALID;
    return rc;
}

static void close_env(struct lmdb *lmdb)
{
    (void)lmdb_end_view(lmdb);
    if (lmdb->read)
        mdb_txn_abort(lmdb->read);
    if (lmdb->env)
        mdb_env_close(lmdb->env);
    lmdb_huge_close(lmdb);
    lmdb->read = NULL;
    lmdb->env = NULL;
    lmdb->reading = false;
}

/* rc. Opens the environment that is there, or a new one. */
static int open_env(struct lmdb *lmdb)
{
    struct stat file;
    size_t file_bytes = 0;
    if (fstatat(lmdb->owner.dir_fd, DATA_FILE, &file, 0) == 0)
        file_bytes = (size_t)file.st_size;
    lmdb->map_bytes = MAP_BYTES_MIN + lmdb_moment(lmdb) * MOMENT_BYTES;
    if (file_bytes > lmdb->map_bytes)
        lmdb->map_bytes = file_bytes;

    int rc = mdb_env_create(&lmdb->env);
    if (rc)
        return rc;
    rc = mdb_env_set_maxdbs(lmdb->env, TABLES);
    if (!rc)
        rc = mdb_env_set_mapsize(lmdb->env, lmdb->map_bytes);
    if (!rc)
        rc = mdb_env_open(lmdb->env, lmdb->dir, FLAGS, FILE_MODE);
    if (!rc)
        rc = check_length(lmdb, file_bytes);
    if (!rc)
        rc = lmdb_allocate(lmdb, lmdb->map_bytes);
    if (!rc)
        rc = mdb_reader_check(lmdb->env, NULL); /* slots of killed processes pin old pages */
    if (!rc)
        rc = load(lmdb);
    if (!rc)
        rc = mdb_txn_begin(lmdb->env, NULL, MDB_RDONLY, &lmdb->read);
    if (rc) {
        close_env(lmdb);
        return rc;
    }
    mdb_txn_reset(lmdb->read);
    lmdb->round =
        (struct lmdb_round){.map = lmdb_map(lmdb), .index = lmdb->tables.state.applied_index};
    lmdb->read_tx = (struct tables_tx){.tables = &lmdb->tables, .handle = lmdb->read};
    return 0;
}

/* rc. */
static int open_trusted(struct lmdb *lmdb)
{
    int rc = tables_owner_trusts(&lmdb->owner) ? 0 : discard(lmdb);
    if (!rc)
        rc = tables_owner_write(&lmdb->owner, false);
    if (rc)
        return rc;
    rc = open_env(lmdb);
    if (lmdb_code(rc) != CONCLAVE_CORRUPT)
        return rc;
    /* Damaged or foreign, and only a cache: the log has everything. */
    rc = discard(lmdb);
    if (!rc)
        rc = tables_owner_write(&lmdb->owner, false);
    return rc ? rc : open_env(lmdb);
}

static void deinit(struct lmdb *lmdb)
{
    pthread_mutex_destroy(&lmdb->view_mutex);
    free(lmdb->dir);
    lmdb->dir = NULL;
    close(lmdb->owner.dir_fd);
}

static int lmdb_open(struct tables *tables, const struct conclave_machine_env *env,
                     struct conclave_error *error)
{
    struct lmdb *lmdb = lmdb_of(tables);
    *lmdb = (struct lmdb){.tables.ops = tables->ops, .slack_bytes = SLACK_BYTES_MIN};
    lmdb->owner = (struct tables_owner){
        .dir_fd = open(env->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
        .cluster_id = env->cluster_id,
        .node_id = env->node_id,
    };
    memcpy(lmdb->owner.boot_id, env->boot_id, sizeof lmdb->owner.boot_id);
    if (lmdb->owner.dir_fd < 0)
        return error_set_errno(error, CONCLAVE_IO, errno, "cannot open the directory %s", env->dir);
    ASSERT(pthread_mutex_init(&lmdb->view_mutex, NULL) == 0);
    lmdb->dir = mem_alloc(strlen(env->dir) + 1);
    memcpy(lmdb->dir, env->dir, strlen(env->dir) + 1);
    int rc = open_trusted(lmdb);
    if (rc == 0)
        return CONCLAVE_OK;
    deinit(lmdb);
    return error_set(error, lmdb_public_code(rc), "cannot open the key-value store in %s: %s",
                     env->dir, mdb_strerror(rc));
}

static void lmdb_close(struct tables *tables)
{
    close_env(lmdb_of(tables));
    deinit(lmdb_of(tables));
}

static void lmdb_destroy(struct tables *tables)
{
    free(tables);
}

static int lmdb_begin_anew(struct tables *tables)
{
    struct lmdb *lmdb = lmdb_of(tables);
    close_env(lmdb);
    int rc = discard(lmdb); /* the owner file first: from here on nobody trusts it */
    if (!rc)
        rc = fsync(lmdb->owner.dir_fd) ? errno : 0;
    lmdb->clean = false;
    tables->state = (struct tables_state){0};
    if (!rc)
        rc = open_env(lmdb);
    return lmdb_public_code(rc);
}

static int lmdb_trust(struct tables *tables)
{
    return lmdb_public_code(tables_owner_write(&lmdb_of(tables)->owner, false));
}

static int lmdb_sync(struct tables *tables)
{
    struct lmdb *lmdb = lmdb_of(tables);
    if (lmdb->clean)
        return CONCLAVE_OK;
    int rc = mdb_env_sync(lmdb->env, 1);
    if (!rc)
        rc = tables_owner_write(&lmdb->owner, true);
    if (!rc)
        lmdb->clean = true;
    return lmdb_public_code(rc);
}

struct tables *tables_lmdb_create(void)
{
    static const struct tables_ops ops = {
        .open = lmdb_open,
        .close = lmdb_close,
        .destroy = lmdb_destroy,
        .sync = lmdb_sync,
        .grow = lmdb_grow,
        .reserve = lmdb_reserve,
        .next_part = lmdb_next_part,
        .begin_anew = lmdb_begin_anew,
        .trust = lmdb_trust,
        .begin = lmdb_begin,
        .commit = lmdb_commit,
        .abort = lmdb_abort,
        .read = lmdb_read,
        .view_begin = lmdb_view_begin,
        .view_enter = lmdb_view_enter,
        .view_leave = lmdb_view_leave,
        .view_end = lmdb_view_end,
        .get = lmdb_get,
        .put = lmdb_put,
        .erase = lmdb_erase,
        .cursor_open = lmdb_cursor_open,
        .cursor_close = lmdb_cursor_close,
        .cursor_move = lmdb_cursor_move,
        .cursor_put = lmdb_cursor_put,
        .cursor_put_bytes = lmdb_cursor_put_bytes,
        .cursor_erase = lmdb_cursor_erase,
        .cursor_read = lmdb_cursor_read,
    };
    struct lmdb *lmdb = mem_zalloc(sizeof *lmdb);
    lmdb->tables.ops = &ops;
    return &lmdb->tables;
}

/* What is in the directory (docs/disk-format.md has the bytes):
 *
 *     owner     whose store this is, and of which boot of the operating system
 *     data.mdb  the LMDB environment; lock.mdb its lock table
 *
 * The store is a cache of the log: it is never synced while it runs, and is kept or thrown away as
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
 * the store.
 *
 * The file is allocated as far as the map goes, and both grow by kv_store_grow(). A sparse map of
 * some large size would be simpler, but writing into a hole on a full disk is a SIGBUS in the
 * middle of the host program. This way a full disk is an error code before anything is touched, and
 * there is no largest size. */
#include "machine/kv_store.h"

#include "base/fatal.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char OWNER_FILE[] = "owner";
static const char OWNER_TEMPORARY[] = "owner.new";
static const char DATA_FILE[] = "data.mdb";
static const char LOCK_FILE[] = "lock.mdb";

static const char STATE_KEY[] = "state";        /* in the main database */
static const char KEYS_NAME[] = "keys";         /* the database of the keys */
static const char SESSIONS_NAME[] = "sessions"; /* of the client sessions, by big-endian id */

enum {
    FILE_MODE = 0600,
    MAP_BYTES_MIN = 16 << 20,   /* a new store */
    GROW_BYTES_MAX = 256 << 20, /* the file doubles up to this step: allocating it may take a while
                                   on file systems that write zeros for it */
    GROW_BYTES_MIN = 1 << 20,   /* less than this is a full disk */

    /* Room for changes while a snapshot is being read. */
    SLACK_BYTES_MIN = 4 << 20,
    SLACK_BYTES_MAX = 1 << 30
};

/* On disk, little-endian. */
struct owner {
    uint8_t magic[8];
    uint64_t cluster_id;
    uint64_t node_id;
    uint8_t boot_id[16];
    uint64_t clean;
};
_Static_assert(sizeof(struct owner) == 48, "no padding");
static const uint8_t OWNER_MAGIC[8] = "CNCLKV\0\1";

struct state_record {
    uint64_t format;
    uint64_t cluster_id;
    uint64_t node_id;
    uint64_t applied_index;
    uint64_t revision;
};
_Static_assert(sizeof(struct state_record) == 40, "no padding");
enum { STATE_FORMAT = 1 };

int kv_store_code(int rc)
{
    switch (rc) {
    case MDB_SUCCESS:
        return CONCLAVE_OK;
    case ENOSPC:
    case EDQUOT:
    case EFBIG: /* the process's or the file system's largest file */
    case MDB_MAP_FULL:
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

/* --- The owner file --------------------------------------------------------------------------- */

/* Whether the directory holds this node's store, whole. */
static bool owner_trusts(const struct kv_store *store)
{
    int fd = openat(store->dir_fd, OWNER_FILE, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    struct owner owner;
    ssize_t got = read(fd, &owner, sizeof owner);
    close(fd);
    if (got != (ssize_t)sizeof owner || memcmp(owner.magic, OWNER_MAGIC, sizeof owner.magic) != 0)
        return false;
    if (le64toh(owner.cluster_id) != store->cluster_id || le64toh(owner.node_id) != store->node_id)
        return false;

    static const uint8_t unknown_boot[16];
    bool same_boot = memcmp(owner.boot_id, store->boot_id, sizeof owner.boot_id) == 0 &&
                     memcmp(owner.boot_id, unknown_boot, sizeof unknown_boot) != 0;
    return same_boot || le64toh(owner.clean) == 1;
}

/* Replaces the owner file, durably: taking `clean` back must be on the disk before the change that
 * makes it untrue, or the next boot would believe a torn store. Returns an errno. */
static int owner_write(const struct kv_store *store, bool clean)
{
    struct owner owner = {
        .cluster_id = htole64(store->cluster_id),
        .node_id = htole64(store->node_id),
        .clean = htole64(clean),
    };
    memcpy(owner.magic, OWNER_MAGIC, sizeof owner.magic);
    memcpy(owner.boot_id, store->boot_id, sizeof owner.boot_id);

    int fd =
        openat(store->dir_fd, OWNER_TEMPORARY, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, FILE_MODE);
    if (fd < 0)
        return errno;
    int failed = 0;
    ssize_t put = write(fd, &owner, sizeof owner);
    if (put != (ssize_t)sizeof owner)
        failed = put < 0 ? errno : ENOSPC;
    else if (fsync(fd))
        failed = errno;
    close(fd);
    if (!failed && renameat(store->dir_fd, OWNER_TEMPORARY, store->dir_fd, OWNER_FILE))
        failed = errno;
    if (!failed && fsync(store->dir_fd))
        failed = errno;
    return failed;
}

/* Removes the store, the owner file first: a process killed half way leaves one that nobody trusts.
 * Returns an errno. */
static int store_discard(const struct kv_store *store)
{
    const char *const files[] = {OWNER_FILE, OWNER_TEMPORARY, DATA_FILE, LOCK_FILE};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (unlinkat(store->dir_fd, files[i], 0) && errno != ENOENT)
            return errno;
    return 0;
}

/* --- Opening ---------------------------------------------------------------------------------- */

/* rc. The state record; MDB_INVALID if it is not of this store, a new state if there is none: then
 * nothing was ever committed. */
static int state_read(const struct kv_store *store, MDB_txn *txn, struct kv_state *ret)
{
    MDB_val key = {sizeof STATE_KEY - 1, (void *)(uintptr_t)STATE_KEY};
    MDB_val value;
    int rc = mdb_get(txn, store->meta, &key, &value);
    if (rc == MDB_NOTFOUND) {
        *ret = (struct kv_state){0};
        return 0;
    }
    if (rc)
        return rc;
    struct state_record record;
    if (value.mv_size != sizeof record)
        return MDB_INVALID;
    memcpy(&record, value.mv_data, sizeof record);
    if (le64toh(record.format) != STATE_FORMAT || le64toh(record.cluster_id) != store->cluster_id ||
        le64toh(record.node_id) != store->node_id)
        return MDB_INVALID;
    *ret = (struct kv_state){le64toh(record.applied_index), le64toh(record.revision)};
    return 0;
}

/* rc. */
static int state_write(const struct kv_store *store, MDB_txn *txn, const struct kv_state *state)
{
    struct state_record record = {
        .format = htole64(STATE_FORMAT),
        .cluster_id = htole64(store->cluster_id),
        .node_id = htole64(store->node_id),
        .applied_index = htole64(state->applied_index),
        .revision = htole64(state->revision),
    };
    MDB_val key = {sizeof STATE_KEY - 1, (void *)(uintptr_t)STATE_KEY};
    MDB_val value = {sizeof record, &record};
    return mdb_put(txn, store->meta, &key, &value, 0);
}

/* rc. The databases and the state, in the store's first transaction of this run. */
static int store_load(struct kv_store *store)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(store->env, NULL, 0, &txn);
    if (rc)
        return rc;
    struct kv_state state = {0};
    rc = mdb_dbi_open(txn, NULL, 0, &store->meta);
    if (!rc)
        rc = state_read(store, txn, &state);
    if (!rc)
        rc = mdb_dbi_open(txn, KEYS_NAME, MDB_CREATE, &store->keys);
    if (!rc)
        rc = mdb_dbi_open(txn, SESSIONS_NAME, MDB_CREATE, &store->sessions);
    if (!rc)
        rc = state_write(store, txn, &state);
    if (rc) {
        mdb_txn_abort(txn);
        return rc;
    }
    rc = mdb_txn_commit(txn);
    if (!rc)
        store->state = state;
    return rc;
}

/* rc. Allocates the file up to `bytes`; what is allocated already stays. */
static int store_allocate(const struct kv_store *store, size_t bytes)
{
    mdb_filehandle_t fd;
    int rc = mdb_env_get_fd(store->env, &fd);
    return rc ? rc : posix_fallocate(fd, 0, (off_t)bytes);
}

/* rc. MDB_INVALID if the file ends before its last page. */
static int store_check_length(const struct kv_store *store, size_t file_bytes)
{
    MDB_envinfo info;
    MDB_stat stat;
    int rc = mdb_env_info(store->env, &info);
    if (!rc)
        rc = mdb_env_stat(store->env, &stat);
    if (!rc && file_bytes > 0 && file_bytes / stat.ms_psize <= info.me_last_pgno)
        rc = MDB_INVALID;
    return rc;
}

void kv_store_drop_snapshot(struct kv_store *store)
{
    mdb_txn_abort(*store->snapshot_txn);
    *store->snapshot_txn = NULL;
    store->snapshot_txn = NULL;
}

/* Before the map moves or goes: nobody may read it then. True if a snapshot was being read. */
static bool store_end_snapshot(struct kv_store *store)
{
    pthread_mutex_lock(&store->snapshot_mutex);
    bool reading = store->snapshot_txn != NULL;
    if (reading)
        kv_store_drop_snapshot(store);
    pthread_mutex_unlock(&store->snapshot_mutex);
    return reading;
}

static void store_close_env(struct kv_store *store)
{
    (void)store_end_snapshot(store);
    if (store->read)
        mdb_txn_abort(store->read);
    if (store->env)
        mdb_env_close(store->env);
    store->read = NULL;
    store->env = NULL;
    store->reading = false;
}

/* rc. Opens the environment that is there, or a new one. */
static int store_open_env(struct kv_store *store, const char *dir)
{
    struct stat file;
    size_t file_bytes = 0;
    if (fstatat(store->dir_fd, DATA_FILE, &file, 0) == 0)
        file_bytes = (size_t)file.st_size;
    store->map_bytes = file_bytes > MAP_BYTES_MIN ? file_bytes : MAP_BYTES_MIN;

    int rc = mdb_env_create(&store->env);
    if (rc)
        return rc;
    rc = mdb_env_set_maxdbs(store->env, 2);
    if (!rc)
        rc = mdb_env_set_mapsize(store->env, store->map_bytes);
    if (!rc)
        rc = mdb_env_open(store->env, dir, MDB_WRITEMAP | MDB_NOSYNC | MDB_NOTLS, FILE_MODE);
    if (!rc)
        rc = store_check_length(store, file_bytes);
    if (!rc)
        rc = store_allocate(store, store->map_bytes);
    if (!rc)
        rc = mdb_reader_check(store->env, NULL); /* slots of killed processes pin old pages */
    if (!rc)
        rc = store_load(store);
    if (!rc)
        rc = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &store->read);
    if (rc) {
        store_close_env(store);
        return rc;
    }
    mdb_txn_reset(store->read);
    return 0;
}

/* rc. */
static int store_open_trusted(struct kv_store *store, const char *dir)
{
    int rc = owner_trusts(store) ? 0 : store_discard(store);
    if (!rc)
        rc = owner_write(store, false);
    if (rc)
        return rc;
    rc = store_open_env(store, dir);
    if (kv_store_code(rc) != CONCLAVE_CORRUPT)
        return rc;
    /* Damaged or foreign, and only a cache: the log has everything. */
    rc = store_discard(store);
    if (!rc)
        rc = owner_write(store, false);
    return rc ? rc : store_open_env(store, dir);
}

static void store_deinit(struct kv_store *store)
{
    pthread_mutex_destroy(&store->snapshot_mutex);
    free(store->dir);
    close(store->dir_fd);
}

int kv_store_open(struct kv_store *store, const struct conclave_machine_env *env,
                  struct conclave_error *error)
{
    *store = (struct kv_store){.cluster_id = env->cluster_id, .node_id = env->node_id};
    memcpy(store->boot_id, env->boot_id, sizeof store->boot_id);
    store->slack_bytes = SLACK_BYTES_MIN;
    store->dir_fd = open(env->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (store->dir_fd < 0)
        return error_set_errno(error, CONCLAVE_IO, errno, "cannot open the directory %s", env->dir);
    ASSERT(pthread_mutex_init(&store->snapshot_mutex, NULL) == 0);
    store->dir = mem_alloc(strlen(env->dir) + 1);
    memcpy(store->dir, env->dir, strlen(env->dir) + 1);
    int rc = store_open_trusted(store, env->dir);
    if (rc == 0)
        return CONCLAVE_OK;
    store_deinit(store);
    return error_set(error, kv_store_code(rc), "cannot open the key-value store in %s: %s",
                     env->dir, mdb_strerror(rc));
}

void kv_store_close(struct kv_store *store)
{
    store_close_env(store);
    store_deinit(store);
}

int kv_store_begin_anew(struct kv_store *store)
{
    store_close_env(store);
    int rc = store_discard(store); /* the owner file first: from here on nobody trusts it */
    if (!rc)
        rc = fsync(store->dir_fd) ? errno : 0;
    store->clean = false;
    store->state = (struct kv_state){0};
    if (!rc)
        rc = store_open_env(store, store->dir);
    return kv_store_code(rc);
}

int kv_store_trust(struct kv_store *store)
{
    return kv_store_code(owner_write(store, false));
}

int kv_store_sync(struct kv_store *store)
{
    if (store->clean)
        return CONCLAVE_OK;
    int rc = mdb_env_sync(store->env, 1);
    if (!rc)
        rc = owner_write(store, true);
    if (!rc)
        store->clean = true;
    return kv_store_code(rc);
}

int kv_store_grow(struct kv_store *store)
{
    /* Pages that a snapshot reads are not used again while it lasts, so the next attempt gets more
     * room to begin with. */
    if (store_end_snapshot(store) && store->slack_bytes < SLACK_BYTES_MAX)
        store->slack_bytes *= 2;
    size_t step = store->map_bytes < GROW_BYTES_MAX ? store->map_bytes : GROW_BYTES_MAX;
    int rc = store_allocate(store, store->map_bytes + step);
    while (kv_store_code(rc) == CONCLAVE_NO_SPACE && step > GROW_BYTES_MIN) {
        step /= 2;
        rc = store_allocate(store, store->map_bytes + step);
    }
    if (!rc)
        rc = mdb_env_set_mapsize(store->env, store->map_bytes + step);
    if (!rc)
        store->map_bytes += step;
    return kv_store_code(rc);
}

int kv_store_make_room(struct kv_store *store)
{
    MDB_envinfo info;
    MDB_stat stat;
    int rc = mdb_env_info(store->env, &info);
    if (!rc)
        rc = mdb_env_stat(store->env, &stat);
    if (rc)
        return kv_store_code(rc);
    size_t used = (info.me_last_pgno + 1) * stat.ms_psize;
    if (store->reading)
        mdb_txn_reset(store->read);
    store->reading = false;
    while (store->map_bytes - used < store->slack_bytes) {
        int code = kv_store_grow(store);
        if (code)
            return code;
    }
    return CONCLAVE_OK;
}

/* --- Transactions ----------------------------------------------------------------------------- */

int kv_batch_begin(struct kv_store *store, struct kv_batch *ret)
{
    /* The queries' snapshot would pin pages that this transaction could use again, and no
     * transaction may be open when the map grows. */
    if (store->reading)
        mdb_txn_reset(store->read);
    store->reading = false;
    int rc = store->clean ? owner_write(store, false) : 0;
    if (rc)
        return rc;
    store->clean = false;

    struct kv_batch batch = {.state = store->state, .sessions = store->sessions};
    rc = mdb_txn_begin(store->env, NULL, 0, &batch.txn);
    if (rc)
        return rc;
    rc = mdb_cursor_open(batch.txn, store->keys, &batch.keys);
    if (rc) {
        mdb_txn_abort(batch.txn);
        return rc;
    }
    *ret = batch;
    return 0;
}

int kv_batch_commit(struct kv_store *store, struct kv_batch *batch)
{
    ASSERT(batch->state.applied_index >= store->state.applied_index);
    ASSERT(batch->state.revision >= store->state.revision);
    mdb_cursor_close(batch->keys); /* before the commit, as a write transaction's cursors must */
    int rc = state_write(store, batch->txn, &batch->state);
    if (rc) {
        mdb_txn_abort(batch->txn);
        return rc;
    }
    rc = mdb_txn_commit(batch->txn);
    if (!rc)
        store->state = batch->state;
    return rc;
}

void kv_batch_abort(struct kv_batch *batch)
{
    mdb_cursor_close(batch->keys);
    mdb_txn_abort(batch->txn);
}

int kv_store_read(struct kv_store *store, MDB_txn **ret_txn)
{
    if (!store->reading) {
        int rc = mdb_txn_renew(store->read);
        if (rc)
            return rc;
        store->reading = true;
    }
    *ret_txn = store->read;
    return 0;
}

/* --- Client sessions -------------------------------------------------------------------------- */

int kv_batch_put_session(void *batch, uint64_t id, const void *data, size_t bytes)
{
    struct kv_batch *to = batch;
    uint64_t name = htobe64(id);
    MDB_val key = {sizeof name, &name};
    MDB_val value = {bytes, (void *)(uintptr_t)data};
    return mdb_put(to->txn, to->sessions, &key, &value, 0);
}

int kv_batch_remove_session(void *batch, uint64_t id)
{
    struct kv_batch *to = batch;
    uint64_t name = htobe64(id);
    MDB_val key = {sizeof name, &name};
    int rc = mdb_del(to->txn, to->sessions, &key, NULL);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int kv_store_sessions(struct kv_store *store,
                      int (*load)(void *arg, uint64_t id, const void *data, size_t bytes),
                      void *arg)
{
    MDB_txn *txn;
    MDB_cursor *cursor;
    int rc = kv_store_read(store, &txn);
    if (!rc)
        rc = mdb_cursor_open(txn, store->sessions, &cursor);
    if (rc)
        return kv_store_code(rc);
    MDB_val key, value;
    int code = CONCLAVE_OK;
    while (!code && (rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        uint64_t name;
        code = key.mv_size == sizeof name ? CONCLAVE_OK : CONCLAVE_CORRUPT;
        if (code)
            break;
        memcpy(&name, key.mv_data, sizeof name);
        code = load(arg, be64toh(name), value.mv_data, value.mv_size);
    }
    mdb_cursor_close(cursor);
    return code || rc == MDB_NOTFOUND ? code : kv_store_code(rc);
}

#include "tests/disk/memory_io.h"

#include "base/fatal.h"
#include "base/prng.h"

#include <stdlib.h>
#include <string.h>

struct node {
    bool dir;
    uint32_t refs; /* names, pending changes and handles */
    uint64_t lock; /* serial of the handle that holds the lock; 0: nobody */
    uint8_t *written, *synced;
    size_t written_bytes, synced_bytes;
    size_t written_room, synced_room; /* of the allocations: files grow piece by piece */
    bool *clean; /* per sector: a sync failed, the kernel takes it for written (see Rule 6) */
    size_t clean_count;
    bool *broken; /* per sector: it cannot be read, until the whole of it is written */
    size_t broken_count;
};

struct name {
    char *path;
    struct node *seen, *durable; /* NULL: not there */
};

/* A change of a directory that was not synced: `from` goes (or ""), `to` is the node (or ""). */
struct change {
    char *dir, *from, *to;
    struct node *node;
};

struct io_file {
    struct node *node;
    uint64_t serial;
    uint64_t life;
    bool read_only;
};

struct memory_disk {
    struct io table;
    struct name *names;
    size_t name_count;
    struct change *changes;
    size_t change_count;
    uint64_t life; /* rises with each crash */
    uint64_t serial, operations, mutations, handles;
    uint64_t fail_at, power_off_at, space;
    uint64_t fail_at_change, power_off_at_change;
    int fail_code;
    void (*meanwhile)(void *arg);
    void *meanwhile_arg;
};

enum outcome { GOES_ON, FAILS, LOSES_POWER, IS_OFF };

/* --- Nodes and names -------------------------------------------------------------------------- */

static char *text_copy(const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = mem_alloc(bytes);
    memcpy(copy, text, bytes);
    return copy;
}

static struct node *node_ref(struct node *node)
{
    if (node != NULL)
        node->refs++;
    return node;
}

static void node_unref(struct node *node)
{
    if (node == NULL || --node->refs > 0)
        return;
    free(node->written);
    free(node->synced);
    free(node->clean);
    free(node->broken);
    free(node);
}

static void node_set(struct node **place, struct node *node)
{
    struct node *old = *place;
    *place = node_ref(node);
    node_unref(old);
}

static void bytes_resize(uint8_t **bytes, size_t *count, size_t *room, size_t wanted)
{
    if (*bytes == NULL || wanted > *room) {
        *room = *bytes == NULL || wanted > 2 * *room ? wanted : 2 * *room;
        *bytes = mem_realloc(*bytes, *room + 1);
    }
    if (wanted > *count)
        memset(*bytes + *count, 0, wanted - *count);
    *count = wanted;
}

static void written_resize(struct node *node, size_t wanted)
{
    bytes_resize(&node->written, &node->written_bytes, &node->written_room, wanted);
}

static void synced_resize(struct node *node, size_t wanted)
{
    bytes_resize(&node->synced, &node->synced_bytes, &node->synced_room, wanted);
}

static bool node_clean(const struct node *node, size_t at)
{
    return at / MEMORY_SECTOR_BYTES < node->clean_count && node->clean[at / MEMORY_SECTOR_BYTES];
}

static void node_sync(struct node *node)
{
    synced_resize(node, node->written_bytes);
    if (node->clean_count == 0 && node->written_bytes > 0) { /* as nearly always */
        memcpy(node->synced, node->written, node->written_bytes);
        return;
    }
    for (size_t at = 0; at < node->written_bytes; at += MEMORY_SECTOR_BYTES) {
        size_t left = node->written_bytes - at;
        if (!node_clean(node, at))
            memcpy(node->synced + at, node->written + at,
                   left < MEMORY_SECTOR_BYTES ? left : MEMORY_SECTOR_BYTES);
    }
}

/* A sync that fails: nothing reached the disk, and no later sync will bring it there. */
static void node_sync_fails(struct node *node)
{
    free(node->clean);
    node->clean_count = node->written_bytes / MEMORY_SECTOR_BYTES + 1;
    node->clean = mem_alloc(node->clean_count * sizeof(node->clean[0]));
    for (size_t i = 0; i < node->clean_count; i++)
        node->clean[i] = true;
}

/* Written again: the next sync takes these sectors. */
static void node_dirty(struct node *node, uint64_t offset, size_t bytes)
{
    for (uint64_t i = offset / MEMORY_SECTOR_BYTES;
         bytes > 0 && i <= (offset + bytes - 1) / MEMORY_SECTOR_BYTES && i < node->clean_count; i++)
        node->clean[i] = false;
}

static struct name *name_find(const struct memory_disk *disk, const char *path)
{
    for (size_t i = 0; i < disk->name_count; i++)
        if (strcmp(disk->names[i].path, path) == 0)
            return &disk->names[i];
    return NULL;
}

static struct name *name_make(struct memory_disk *disk, const char *path)
{
    struct name *name = name_find(disk, path);
    if (name != NULL)
        return name;
    disk->names = mem_realloc(disk->names, (disk->name_count + 1) * sizeof(disk->names[0]));
    disk->names[disk->name_count] = (struct name){.path = text_copy(path)};
    return &disk->names[disk->name_count++];
}

static struct node *seen(const struct memory_disk *disk, const char *path)
{
    const struct name *name = name_find(disk, path);
    return name == NULL ? NULL : name->seen;
}

/* The directory part, "." if none; to be freed. */
static char *parent_of(const char *path)
{
    char *copy = text_copy(path);
    char *slash = strrchr(copy, '/');
    if (slash == NULL) {
        free(copy);
        return text_copy(".");
    }
    *slash = 0;
    return copy;
}

/* --- Changes of directories ------------------------------------------------------------------- */

static void change_apply(struct memory_disk *disk, const struct change *change)
{
    if (change->from[0] != 0)
        node_set(&name_make(disk, change->from)->durable, NULL);
    if (change->to[0] != 0)
        node_set(&name_make(disk, change->to)->durable, change->node);
}

static void change_free(struct change *change)
{
    free(change->dir);
    free(change->from);
    free(change->to);
    node_unref(change->node);
}

static void change_add(struct memory_disk *disk, const char *from, const char *to,
                       struct node *node)
{
    node_ref(node);
    if (from[0] != 0)
        node_set(&name_make(disk, from)->seen, NULL);
    if (to[0] != 0)
        node_set(&name_make(disk, to)->seen, node);
    disk->changes = mem_realloc(disk->changes, (disk->change_count + 1) * sizeof(disk->changes[0]));
    disk->changes[disk->change_count++] = (struct change){
        .dir = parent_of(to[0] != 0 ? to : from),
        .from = text_copy(from),
        .to = text_copy(to),
        .node = node,
    };
}

/* --- Faults ----------------------------------------------------------------------------------- */

static enum outcome begin(struct memory_disk *disk, bool mutates, struct conclave_error *error)
{
    uint64_t number = ++disk->operations;
    if (disk->power_off_at != 0 && number > disk->power_off_at) {
        error_set(error, CONCLAVE_IO, "the power is off");
        return IS_OFF;
    }
    if (mutates) {
        disk->mutations++;
        if (disk->mutations == disk->power_off_at_change)
            disk->power_off_at = number;
        if (disk->mutations == disk->fail_at_change)
            disk->fail_at = number;
    }
    if (number == disk->power_off_at) {
        error_set(error, CONCLAVE_IO, "the power went off");
        return LOSES_POWER;
    }
    if (number == disk->fail_at) {
        error_set(error, disk->fail_code, "operation %llu fails", (unsigned long long)number);
        return FAILS;
    }
    return GOES_ON;
}

static int outcome_code(const struct memory_disk *disk, enum outcome outcome)
{
    if (outcome == GOES_ON)
        return CONCLAVE_OK;
    return outcome == FAILS ? disk->fail_code : CONCLAVE_IO;
}

/* --- The table -------------------------------------------------------------------------------- */

static int memory_open(void *ctx, const char *path, unsigned flags, struct io_file **ret_file,
                       struct conclave_error *error)
{
    struct memory_disk *disk = ctx;
    bool create = (flags & IO_OPEN_CREATE) != 0;
    enum outcome outcome = begin(disk, create, error);
    if (outcome == IS_OFF || outcome == FAILS)
        return outcome_code(disk, outcome);
    struct node *node = seen(disk, path);
    if (create) {
        char *dir = parent_of(path);
        bool has_dir = seen(disk, dir) != NULL;
        free(dir);
        if (node != NULL)
            return error_set(error, CONCLAVE_EXISTS, "%s exists", path);
        if (!has_dir)
            return error_set(error, CONCLAVE_NOT_FOUND, "no directory for %s", path);
        node = mem_zalloc(sizeof(*node));
        change_add(disk, "", path, node);
    }
    if (outcome != GOES_ON)
        return outcome_code(disk, outcome);
    if (node == NULL || node->dir)
        return error_set(error, CONCLAVE_NOT_FOUND, "no file %s", path);
    struct io_file *file = mem_zalloc(sizeof(*file));
    file->node = node_ref(node);
    file->serial = ++disk->serial;
    file->life = disk->life;
    file->read_only = (flags & IO_OPEN_READ_ONLY) != 0;
    disk->handles++;
    *ret_file = file;
    return CONCLAVE_OK;
}

static void memory_close(void *ctx, struct io_file *file)
{
    struct memory_disk *disk = ctx;
    if (file->node->lock == file->serial)
        file->node->lock = 0;
    node_unref(file->node);
    free(file);
    ASSERT(disk->handles > 0);
    disk->handles--;
}

static int memory_size(void *ctx, struct io_file *file, uint64_t *ret_bytes,
                       struct conclave_error *error)
{
    struct memory_disk *disk = ctx;
    ASSERT(file->life == disk->life);
    enum outcome outcome = begin(disk, false, error);
    if (outcome == GOES_ON)
        *ret_bytes = file->node->written_bytes;
    return outcome_code(disk, outcome);
}

/* True if a broken sector is among these bytes; with `within`, one that is not written as a whole.
 */
static bool meets_broken(const struct node *node, uint64_t offset, size_t bytes, bool within)
{
    for (size_t i = offset / MEMORY_SECTOR_BYTES;
         i < node->broken_count && i * MEMORY_SECTOR_BYTES < offset + bytes; i++) {
        bool whole =
            i * MEMORY_SECTOR_BYTES >= offset && (i + 1) * MEMORY_SECTOR_BYTES <= offset + bytes;
        if (node->broken[i] && !(within && whole))
            return true;
    }
    return false;
}

static void mend_broken(struct node *node, uint64_t offset, size_t bytes)
{
    for (size_t i = offset / MEMORY_SECTOR_BYTES;
         i < node->broken_count && i * MEMORY_SECTOR_BYTES < offset + bytes; i++)
        node->broken[i] = false; /* meets_broken has looked */
}

static int memory_read(void *ctx, struct io_file *file, uint64_t offset, void *data, size_t bytes,
                       size_t *ret_bytes, struct conclave_error *error)
{
    struct memory_disk *disk = ctx;
    const struct node *node = file->node;
    ASSERT(file->life == disk->life);
    enum outcome outcome = begin(disk, false, error);
    if (outcome != GOES_ON)
        return outcome_code(disk, outcome);
    size_t left = offset < node->written_bytes ? node->written_bytes - (size_t)offset : 0;
    size_t count = bytes < left ? bytes : left;
    if (meets_broken(node, offset, count, false))
        return error_set(error, CONCLAVE_IO, "the disk fails to read %zu bytes at %llu", count,
                         (unsigned long long)offset);
    if (count > 0)
        memcpy(data, node->written + offset, count);
    *ret_bytes = count;
    return CONCLAVE_OK;
}

static int grow(struct memory_disk *disk, struct node *node, uint64_t end, bool partly,
                struct conclave_error *error)
{
    if (end <= node->written_bytes)
        return CONCLAVE_OK;
    uint64_t more = end - node->written_bytes;
    if (more > disk->space) { /* what there is is taken */
        if (partly) {
            written_resize(node, node->written_bytes + (size_t)disk->space);
            disk->space = 0;
        }
        return error_set(error, CONCLAVE_NO_SPACE, "the disk is full");
    }
    if (disk->space != UINT64_MAX)
        disk->space -= more;
    written_resize(node, (size_t)end);
    return CONCLAVE_OK;
}

static int memory_writev(void *ctx, struct io_file *file, uint64_t offset,
                         const struct iovec *parts, int part_count, struct conclave_error *error)
{
    struct memory_disk *disk = ctx;
    ASSERT(file->life == disk->life && !file->read_only);
    enum outcome outcome = begin(disk, true, error);
    if (outcome == IS_OFF)
        return CONCLAVE_IO;
    for (int i = 0; i < part_count; i++) {
        size_t bytes = outcome == FAILS ? parts[i].iov_len / 2 : parts[i].iov_len;
        int code = grow(disk, file->node, offset + bytes, true, error);
        if (code == CONCLAVE_NO_SPACE && file->node->written_bytes > offset) {
            size_t fits = file->node->written_bytes - (size_t)offset;
            memcpy(file->node->written + offset, parts[i].iov_base, fits < bytes ? fits : bytes);
            node_dirty(file->node, offset, fits);
        }
        if (code != CONCLAVE_OK)
            return code;
        if (meets_broken(file->node, offset, bytes, true))
            return error_set(error, CONCLAVE_IO, "the disk fails to read what it is to change");
        mend_broken(file->node, offset, bytes);
        if (bytes > 0)
            memcpy(file->node->written + offset, parts[i].iov_base, bytes);
        node_dirty(file->node, offset, bytes);
        offset += bytes;
        if (outcome == FAILS)
            break;
    }
    return outcome_code(disk, outcome);
}

static int memory_sync(void *ctx, struct io_file *file, struct conclave_error *error)
{
    struct memory_disk *disk = ctx;
    ASSERT(file->life == disk->life);
    enum outcome outcome = begin(disk, true, error);
    if (outcome == GOES_ON)
        node_sync(file->node);
    else if (outcome == FAILS)
        node_sync_fails(file->node);
    return outcome_code(disk, outcome);
}

static int memory_datasync(void *ctx, struct io_file *file, struct conclave_error *error)
{
    struct memory_disk *disk = ctx;
    void (*run)(void *arg) = disk->meanwhile;
    disk->meanwhile = NULL;
    if (run)
        run(disk->meanwhile_arg);
    disk->meanwhile = run;
    return memory_sync(ctx, file, error);
}

static int memory_allocate(void *ctx, struct io_file *file, uint64_t bytes,
                           const atomic_bool *pressing, struct conclave_error *error)
{
    (void)pressing; /* takes no time */
    struct memory_disk *disk = ctx;
    ASSERT(file->life == disk->life && !file->read_only);
    enum outcome outcome = begin(disk, true, error);
    if (outcome == IS_OFF || outcome == FAILS)
        return outcome_code(disk, outcome);
    int code = grow(disk, file->node, bytes, false, error);
    if (code != CONCLAVE_OK)
        return code;
    written_resize(file->node, (size_t)bytes);
    memset(file->node->written, 0, (size_t)bytes);
    node_dirty(file->node, 0, (size_t)bytes);
    return outcome_code(disk, outcome);
}

static int memory_lock(void *ctx, struct io_file *file, struct conclave_error *error)
{
    struct memory_disk *disk = ctx;
    enum outcome outcome = begin(disk, false, error);
    if (outcome != GOES_ON)
        return outcome_code(disk, outcome);
    if (file->node->lock != 0 && file->node->lock != file->serial)
        return error_set(error, CONCLAVE_IN_USE, "the file is locked");
    file->node->lock = file->serial;
    return CONCLAVE_OK;
}

static int memory_rename(void *ctx, const char *from, const char *to, struct conclave_error *error)
{
    struct memory_disk *disk = ctx;
    enum outcome outcome = begin(disk, true, error);
    if (outcome == IS_OFF || outcome == FAILS)
        return outcome_code(disk, outcome);
    struct node *node = seen(disk, from);
    if (node == NULL)
        return error_set(error, CONCLAVE_NOT_FOUND, "no %s", from);
    change_add(disk, from, to, node);
    return outcome_code(disk, outcome);
}

static int memory_unlink(void *ctx, const char *path, struct conclave_error *error)
{
    struct memory_disk *disk = ctx;
    enum outcome outcome = begin(disk, true, error);
    if (outcome == IS_OFF || outcome == FAILS)
        return outcome_code(disk, outcome);
    const struct node *node = seen(disk, path);
    if (node == NULL)
        return error_set(error, CONCLAVE_NOT_FOUND, "no %s", path);
    if (disk->space != UINT64_MAX)
        disk->space += node->written_bytes;
    change_add(disk, path, "", NULL);
    return outcome_code(disk, outcome);
}

static int memory_make_dir(void *ctx, const char *path, struct conclave_error *error)
{
    struct memory_disk *disk = ctx;
    enum outcome outcome = begin(disk, true, error);
    if (outcome == IS_OFF || outcome == FAILS)
        return outcome_code(disk, outcome);
    if (seen(disk, path) != NULL)
        return error_set(error, CONCLAVE_EXISTS, "%s exists", path);
    struct node *node = mem_zalloc(sizeof(*node));
    node->dir = true;
    change_add(disk, "", path, node);
    return outcome_code(disk, outcome);
}

static int memory_sync_dir(void *ctx, const char *path, struct conclave_error *error)
{
    struct memory_disk *disk = ctx;
    enum outcome outcome = begin(disk, true, error);
    if (outcome != GOES_ON)
        return outcome_code(disk, outcome);
    if (seen(disk, path) == NULL)
        return error_set(error, CONCLAVE_NOT_FOUND, "no directory %s", path);
    size_t kept = 0;
    for (size_t i = 0; i < disk->change_count; i++) {
        if (strcmp(disk->changes[i].dir, path) == 0) {
            change_apply(disk, &disk->changes[i]);
            change_free(&disk->changes[i]);
        } else {
            disk->changes[kept++] = disk->changes[i];
        }
    }
    disk->change_count = kept;
    return CONCLAVE_OK;
}

static int memory_list_dir(void *ctx, const char *path, void (*entry)(void *arg, const char *name),
                           void *arg, struct conclave_error *error)
{
    struct memory_disk *disk = ctx;
    enum outcome outcome = begin(disk, false, error);
    if (outcome != GOES_ON)
        return outcome_code(disk, outcome);
    if (seen(disk, path) == NULL)
        return error_set(error, CONCLAVE_NOT_FOUND, "no directory %s", path);
    for (size_t i = disk->name_count; i > 0; i--) { /* any order will do; not the sorted one */
        const struct name *name = &disk->names[i - 1];
        char *dir = parent_of(name->path);
        if (name->seen != NULL && strcmp(dir, path) == 0 && strcmp(name->path, ".") != 0) {
            const char *slash = strrchr(name->path, '/');
            entry(arg, slash == NULL ? name->path : slash + 1);
        }
        free(dir);
    }
    return CONCLAVE_OK;
}

/* --- The disk --------------------------------------------------------------------------------- */

struct memory_disk *memory_disk_create(void)
{
    struct memory_disk *disk = mem_zalloc(sizeof(*disk));
    disk->table = (struct io){
        .ctx = disk,
        .open = memory_open,
        .close = memory_close,
        .size = memory_size,
        .read = memory_read,
        .writev = memory_writev,
        .datasync = memory_datasync,
        .sync = memory_sync,
        .allocate = memory_allocate,
        .lock = memory_lock,
        .rename = memory_rename,
        .unlink = memory_unlink,
        .make_dir = memory_make_dir,
        .sync_dir = memory_sync_dir,
        .list_dir = memory_list_dir,
    };
    disk->space = UINT64_MAX;
    struct node *root = mem_zalloc(sizeof(*root));
    root->dir = true;
    struct name *name = name_make(disk, ".");
    node_set(&name->seen, root);
    node_set(&name->durable, root);
    return disk;
}

void memory_disk_destroy(struct memory_disk *disk)
{
    if (disk == NULL)
        return;
    ASSERT(disk->handles == 0);
    for (size_t i = 0; i < disk->change_count; i++)
        change_free(&disk->changes[i]);
    for (size_t i = 0; i < disk->name_count; i++) {
        node_unref(disk->names[i].seen);
        node_unref(disk->names[i].durable);
        free(disk->names[i].path);
    }
    free(disk->changes);
    free(disk->names);
    free(disk);
}

struct memory_disk *memory_disk_clone(const struct memory_disk *disk)
{
    struct memory_disk *clone = memory_disk_create();
    for (size_t i = 0; i < disk->name_count; i++) {
        const struct name *from = &disk->names[i];
        if (from->seen == NULL || strcmp(from->path, ".") == 0)
            continue;
        struct node *node = mem_zalloc(sizeof(*node));
        node->dir = from->seen->dir;
        written_resize(node, from->seen->written_bytes);
        if (node->written_bytes > 0)
            memcpy(node->written, from->seen->written, node->written_bytes);
        node_sync(node);
        struct name *to = name_make(clone, from->path);
        node_set(&to->seen, node);
        node_set(&to->durable, node);
    }
    return clone;
}

struct memory_disk *memory_disk_fork(const struct memory_disk *disk)
{
    ASSERT(disk->change_count == 0);
    struct memory_disk *fork = memory_disk_clone(disk);
    for (size_t i = 0; i < fork->name_count; i++) {
        struct node *to = fork->names[i].durable;
        const struct node *from = seen(disk, fork->names[i].path);
        if (to->dir)
            continue;
        synced_resize(to, from->synced_bytes);
        if (to->synced_bytes > 0)
            memcpy(to->synced, from->synced, to->synced_bytes);
    }
    return fork;
}

const struct io *memory_disk_io(struct memory_disk *disk)
{
    return &disk->table;
}

void memory_disk_meanwhile(struct memory_disk *disk, void (*run)(void *arg), void *arg)
{
    disk->meanwhile = run;
    disk->meanwhile_arg = arg;
}

/* A sector from `at` on, of what was written or synced; zero behind its end. */
static void sector_read(uint8_t sector[MEMORY_SECTOR_BYTES], const uint8_t *bytes, size_t end,
                        size_t at)
{
    size_t count = end > at ? end - at : 0;
    if (count > MEMORY_SECTOR_BYTES)
        count = MEMORY_SECTOR_BYTES;
    memset(sector, 0, MEMORY_SECTOR_BYTES);
    if (count > 0)
        memcpy(sector, bytes + at, count);
}

/* An unsynced sector as the power left it: as it was, as it was written, or the one up to a byte
 * among those that differ and the other behind it. */
static void sector_crash(uint8_t old[MEMORY_SECTOR_BYTES], const uint8_t new[MEMORY_SECTOR_BYTES],
                         struct prng *prng)
{
    enum { FATES = 16, TORN = 4 };
    uint64_t draw = prng_below(prng, FATES);
    size_t first = 0, last = MEMORY_SECTOR_BYTES;
    if (memcmp(old, new, MEMORY_SECTOR_BYTES) == 0) /* as nearly all of a large file */
        first = last;
    while (first < MEMORY_SECTOR_BYTES && old[first] == new[first])
        first++;
    while (last > first && old[last - 1] == new[last - 1])
        last--;
    size_t cut = draw < TORN ? (size_t)prng_between(prng, first, last) : last;
    if (draw % 2 == 1)
        memcpy(old, new, cut);
    else
        memcpy(old + cut, new + cut, last - cut);
}

/* prng NULL: nothing that was not synced survives. */
static void node_crash(struct node *node, struct prng *prng)
{
    size_t bytes = node->synced_bytes;
    if (prng != NULL && prng_below(prng, 2) == 1)
        bytes = node->written_bytes;
    uint8_t *kept = mem_zalloc(bytes + 1);
    for (size_t at = 0; at < bytes; at += MEMORY_SECTOR_BYTES) {
        uint8_t sector[MEMORY_SECTOR_BYTES], written[MEMORY_SECTOR_BYTES];
        sector_read(sector, node->synced, node->synced_bytes, at);
        sector_read(written, node->written, node->written_bytes, at);
        if (prng != NULL)
            sector_crash(sector, written, prng);
        memcpy(kept + at, sector, bytes - at < sizeof sector ? bytes - at : sizeof sector);
    }
    free(node->written);
    node->written = kept;
    node->written_bytes = node->written_room = bytes;
    node_dirty(node, 0, bytes);
    node_sync(node);
    node->lock = 0;
}

/* A name in a directory that did not survive is not there. */
static void drop_orphans(struct memory_disk *disk)
{
    for (bool again = true; again;) {
        again = false;
        for (size_t i = 0; i < disk->name_count; i++) {
            struct name *name = &disk->names[i];
            char *dir = parent_of(name->path);
            const struct name *parent = name_find(disk, dir);
            if (name->durable != NULL && (parent == NULL || parent->durable == NULL)) {
                node_set(&name->durable, NULL);
                again = true;
            }
            free(dir);
        }
    }
}

static void crash(struct memory_disk *disk, struct prng *prng)
{
    for (size_t i = 0; i < disk->change_count; i++) {
        if (prng != NULL && prng_below(prng, 2) == 1)
            change_apply(disk, &disk->changes[i]);
        change_free(&disk->changes[i]);
    }
    disk->change_count = 0;
    drop_orphans(disk);
    for (size_t i = 0; i < disk->name_count; i++) {
        struct name *name = &disk->names[i];
        node_set(&name->seen, name->durable);
        if (name->durable != NULL && !name->durable->dir)
            node_crash(name->durable, prng);
    }
    disk->life++;
    disk->fail_at = disk->power_off_at = 0;
    disk->fail_at_change = disk->power_off_at_change = 0;
}

void memory_disk_crash(struct memory_disk *disk, uint64_t seed)
{
    struct prng prng;
    prng_init(&prng, seed);
    crash(disk, &prng);
}

void memory_disk_crash_hard(struct memory_disk *disk)
{
    crash(disk, NULL);
}

void memory_disk_fail_at(struct memory_disk *disk, uint64_t number, int code)
{
    disk->fail_at = number;
    disk->fail_code = code;
}

void memory_disk_power_off_at(struct memory_disk *disk, uint64_t number)
{
    disk->power_off_at = number;
}

void memory_disk_fail_at_change(struct memory_disk *disk, uint64_t number, int code)
{
    disk->fail_at_change = number;
    disk->fail_code = code;
}

void memory_disk_power_off_at_change(struct memory_disk *disk, uint64_t number)
{
    disk->power_off_at_change = number;
}

void memory_disk_set_space(struct memory_disk *disk, uint64_t bytes)
{
    disk->space = bytes;
}

uint64_t memory_disk_operations(const struct memory_disk *disk)
{
    return disk->operations;
}

uint64_t memory_disk_changes(const struct memory_disk *disk)
{
    return disk->mutations;
}

uint64_t memory_disk_handles(const struct memory_disk *disk)
{
    return disk->handles;
}

const uint8_t *memory_disk_bytes(const struct memory_disk *disk, const char *path,
                                 size_t *ret_bytes)
{
    const struct node *node = seen(disk, path);
    if (node == NULL || node->dir)
        return NULL;
    *ret_bytes = node->written_bytes;
    return node->written;
}

bool memory_disk_is_synced(const struct memory_disk *disk, const char *path, size_t offset,
                           size_t count)
{
    const struct node *node = seen(disk, path);
    ASSERT(node != NULL && offset + count <= node->written_bytes);
    return offset + count <= node->synced_bytes &&
           memcmp(node->synced + offset, node->written + offset, count) == 0;
}

void memory_disk_rot(struct memory_disk *disk, const char *path, size_t offset, const void *bytes,
                     size_t count)
{
    struct node *node = seen(disk, path);
    ASSERT(node != NULL && offset + count <= node->written_bytes);
    memcpy(node->written + offset, bytes, count);
    if (offset + count <= node->synced_bytes)
        memcpy(node->synced + offset, bytes, count);
}

void memory_disk_break(struct memory_disk *disk, const char *path, size_t offset, size_t count)
{
    struct node *node = seen(disk, path);
    ASSERT(node != NULL && count > 0 && offset + count <= node->written_bytes);
    size_t sectors = (node->written_bytes + MEMORY_SECTOR_BYTES - 1) / MEMORY_SECTOR_BYTES;
    if (node->broken == NULL) {
        node->broken = mem_zalloc(sectors * sizeof(*node->broken));
        node->broken_count = sectors;
    }
    ASSERT(sectors == node->broken_count);
    for (size_t i = offset / MEMORY_SECTOR_BYTES; i * MEMORY_SECTOR_BYTES < offset + count; i++)
        node->broken[i] = true;
}

void memory_disk_unbreak(struct memory_disk *disk, const char *path)
{
    struct node *node = seen(disk, path);
    ASSERT(node != NULL);
    free(node->broken);
    node->broken = NULL;
    node->broken_count = 0;
}

const char *memory_disk_file(const struct memory_disk *disk, size_t number)
{
    for (size_t i = 0; i < disk->name_count; i++) {
        if (disk->names[i].seen == NULL || disk->names[i].seen->dir)
            continue;
        if (number-- == 0)
            return disk->names[i].path;
    }
    return NULL;
}

static bool contains(const struct memory_disk *a, const struct memory_disk *b)
{
    for (size_t i = 0; i < b->name_count; i++) {
        const struct node *theirs = b->names[i].seen;
        const struct node *ours = seen(a, b->names[i].path);
        if ((theirs == NULL) != (ours == NULL))
            return false;
        if (theirs == NULL)
            continue;
        if (theirs->dir != ours->dir || theirs->written_bytes != ours->written_bytes ||
            (theirs->written_bytes > 0 &&
             memcmp(theirs->written, ours->written, ours->written_bytes) != 0))
            return false;
    }
    return true;
}

bool memory_disk_equal(const struct memory_disk *a, const struct memory_disk *b)
{
    return contains(a, b) && contains(b, a);
}

/* The directory of the snapshots, and files on their way between nodes. */
#include "storage/snapshot_format.h"

#include "base/fatal.h"
#include "base/list.h"
#include "storage/block.h"
#include "storage/bytes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* --- Listing ---------------------------------------------------------------------------------- */

static void note_name(void *arg, const char *name)
{
    struct snapshot_list *list = arg;
    struct raft_id id;
    if (!snapshot_name_parse(name, &id))
        return;
    LIST_RESERVE(list);
    list->items[list->count++] = id;
}

static int newest_first(const void *left, const void *right)
{
    const struct raft_id *a = left, *b = right;
    if (a->index != b->index)
        return a->index > b->index ? -1 : 1;
    return a->term > b->term ? -1 : a->term < b->term;
}

static int read_names(const struct io *io, const char *snapshots, struct snapshot_list *ret,
                      struct conclave_error *error)
{
    struct snapshot_list list = {0};
    int code = io->list_dir(io->ctx, snapshots, note_name, &list, error);
    if (code != CONCLAVE_OK) {
        snapshot_list_clear(&list);
        return code;
    }
    if (list.count > 0)
        qsort(list.items, list.count, sizeof list.items[0], newest_first);
    *ret = list;
    return CONCLAVE_OK;
}

int snapshot_list_read(const struct io *io, const char *dir, struct snapshot_list *ret,
                       struct conclave_error *error)
{
    char *snapshots = snapshot_dir_path(dir);
    char *temporary = path_join(snapshots, "new.tmp");
    int code = io->make_dir(io->ctx, snapshots, error);
    if (code == CONCLAVE_OK || code == CONCLAVE_EXISTS)
        code = io->sync_dir(io->ctx, dir, error);
    if (code == CONCLAVE_OK) {
        code = io->unlink(io->ctx, temporary, error);
        code = code == CONCLAVE_NOT_FOUND ? CONCLAVE_OK : code;
    }
    /* A process killed between a rename and the sync behind it leaves a name in memory alone. */
    if (code == CONCLAVE_OK)
        code = io->sync_dir(io->ctx, snapshots, error);
    if (code == CONCLAVE_OK)
        code = read_names(io, snapshots, ret, error);
    free(temporary);
    free(snapshots);
    return code;
}

int snapshot_list_look(const struct io *io, const char *dir, struct snapshot_list *ret,
                       struct conclave_error *error)
{
    char *snapshots = snapshot_dir_path(dir);
    int code = read_names(io, snapshots, ret, error);
    if (code == CONCLAVE_NOT_FOUND) { /* none was ever taken */
        *ret = (struct snapshot_list){0};
        code = CONCLAVE_OK;
    }
    free(snapshots);
    return code;
}

void snapshot_list_clear(struct snapshot_list *list)
{
    free(list->items);
    *list = (struct snapshot_list){0};
}

int snapshot_prune(const struct io *io, const char *dir, uint64_t needed,
                   uint64_t *ret_oldest_index, struct conclave_error *error)
{
    struct snapshot_list list = {0};
    char *snapshots = snapshot_dir_path(dir);
    int code = read_names(io, snapshots, &list, error);
    size_t kept = list.count;
    while (kept > SNAPSHOTS_KEPT && code == CONCLAVE_OK &&
           (needed == 0 || list.items[kept - 1].index < needed)) {
        char *path = snapshot_file_path(dir, list.items[--kept], ".snap");
        code = io->unlink(io->ctx, path, error);
        free(path);
    }
    if (code == CONCLAVE_OK && list.count > kept)
        code = io->sync_dir(io->ctx, snapshots, error);
    if (code == CONCLAVE_OK)
        *ret_oldest_index = kept > 0 ? list.items[kept - 1].index : 0;
    free(snapshots);
    snapshot_list_clear(&list);
    return code;
}

int snapshot_set_aside(const struct io *io, const char *dir, struct raft_id id,
                       struct conclave_error *error)
{
    char *snapshots = snapshot_dir_path(dir);
    char *path = snapshot_file_path(dir, id, ".snap");
    char *aside = snapshot_file_path(dir, id, ".bad");
    int code = io->rename(io->ctx, path, aside, error);
    if (code == CONCLAVE_OK)
        code = io->sync_dir(io->ctx, snapshots, error);
    free(aside);
    free(path);
    free(snapshots);
    return code;
}

/* --- Sending ---------------------------------------------------------------------------------- */

int snapshot_source_open(const struct io *io, const char *dir, struct raft_id id,
                         struct snapshot_source *ret, struct conclave_error *error)
{
    char *path = snapshot_file_path(dir, id, ".snap");
    struct snapshot_source source = {.io = io};
    uint8_t name[8];
    size_t got = 0;
    int code = io->open(io->ctx, path, IO_OPEN_READ_ONLY, &source.file, error);
    if (code != CONCLAVE_OK)
        goto free_path;
    code = io->size(io->ctx, source.file, &source.bytes, error);
    if (code == CONCLAVE_OK)
        code = io->read(io->ctx, source.file, 0, name, sizeof name, &got, error);
    if (code == CONCLAVE_OK && got < sizeof name)
        code = error_set(error, CONCLAVE_CORRUPT, "the snapshot %s is too short", path);
    if (code == CONCLAVE_OK) {
        source.name = get_u64(name);
        *ret = source;
    } else {
        io->close(io->ctx, source.file);
    }
free_path:
    free(path);
    return code;
}

void snapshot_source_close(struct snapshot_source *source)
{
    if (source->file != NULL)
        source->io->close(source->io->ctx, source->file);
    *source = (struct snapshot_source){0};
}

/* --- Receiving -------------------------------------------------------------------------------- */

struct snapshot_part {
    const struct io *io;
    char *dir;
    char *path;
    struct io_file *file;
    uint64_t bytes;  /* of the whole */
    uint64_t offset; /* up to here it is here */
};

/* Part files of other names. */
struct strangers {
    char keep[SNAPSHOT_NAME_BYTES];
    struct {
        char (*items)[SNAPSHOT_NAME_BYTES];
        size_t count, capacity;
    } names;
};

static void note_part(void *arg, const char *name)
{
    struct strangers *strangers = arg;
    size_t bytes = strlen(name);
    if (bytes != 21 || strcmp(name + 16, ".part") != 0 || strcmp(name, strangers->keep) == 0)
        return;
    LIST_RESERVE(&strangers->names);
    memcpy(strangers->names.items[strangers->names.count++], name, bytes + 1);
}

static int remove_strangers(const struct io *io, const char *snapshots, const char *keep,
                            struct conclave_error *error)
{
    struct strangers strangers = {0};
    memcpy(strangers.keep, keep, strlen(keep) + 1);
    int code = io->list_dir(io->ctx, snapshots, note_part, &strangers, error);
    for (size_t i = 0; i < strangers.names.count && code == CONCLAVE_OK; i++) {
        char *path = path_join(snapshots, strangers.names.items[i]);
        code = io->unlink(io->ctx, path, error);
        free(path);
    }
    free(strangers.names.items);
    return code;
}

/* Opens what there is of it. NOT_FOUND: nothing that could be gone on with. */
static int part_go_on(struct snapshot_part *part, struct conclave_error *error)
{
    const struct io *io = part->io;
    int code = io->open(io->ctx, part->path, 0, &part->file, error);
    if (code == CONCLAVE_OK)
        code = io->size(io->ctx, part->file, &part->offset, error);
    if (code != CONCLAVE_OK || part->offset < part->bytes)
        return code;
    /* Rule 6: it was whole and did not get its name, so its sync may have failed. Another sync of
     * the same file would say that all is well, and write nothing. Or it is too long. */
    io->close(io->ctx, part->file);
    part->file = NULL;
    part->offset = 0;
    code = io->unlink(io->ctx, part->path, error);
    return code == CONCLAVE_OK ? CONCLAVE_NOT_FOUND : code;
}

int snapshot_part_open(const struct io *io, const char *dir, uint64_t name, uint64_t bytes,
                       struct snapshot_part **ret_part, struct conclave_error *error)
{
    char text[SNAPSHOT_NAME_BYTES];
    (void)snprintf(text, sizeof text, "%016" PRIx64 ".part", name);
    char *snapshots = snapshot_dir_path(dir);
    struct snapshot_part *part = mem_zalloc(sizeof *part);
    part->io = io;
    part->bytes = bytes;
    part->dir = mem_alloc(strlen(dir) + 1);
    memcpy(part->dir, dir, strlen(dir) + 1);
    part->path = path_join(snapshots, text);
    int code = remove_strangers(io, snapshots, text, error);
    if (code == CONCLAVE_OK)
        code = part_go_on(part, error);
    if (code == CONCLAVE_NOT_FOUND)
        code = io->open(io->ctx, part->path, IO_OPEN_CREATE, &part->file, error);
    free(snapshots);
    if (code != CONCLAVE_OK) {
        snapshot_part_close(part);
        return code;
    }
    *ret_part = part;
    return CONCLAVE_OK;
}

uint64_t snapshot_part_offset(const struct snapshot_part *part)
{
    return part->offset;
}

int snapshot_part_add(struct snapshot_part *part, const void *data, size_t bytes,
                      struct conclave_error *error)
{
    if (bytes > part->bytes - part->offset)
        return error_set(error, CONCLAVE_MALFORMED, "a snapshot's chunk lies behind its end");
    struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = bytes};
    int code = part->io->writev(part->io->ctx, part->file, part->offset, &iov, 1, error);
    if (code == CONCLAVE_OK)
        part->offset += bytes;
    return code;
}

int snapshot_part_finish(struct snapshot_part *part, const struct storage_identity *identity,
                         struct snapshot_meta *ret_meta, struct conclave_error *error)
{
    const struct io *io = part->io;
    ASSERT(part->offset == part->bytes);
    struct snapshot_reader *reader = NULL;
    struct snapshot_meta meta = {0};
    char *snapshots = snapshot_dir_path(part->dir);
    char *path = NULL;
    int code = snapshot_open_path(io, part->path, identity, &reader, &meta, error);
    if (code == CONCLAVE_OK)
        code = snapshot_reader_check(reader, error);
    snapshot_reader_close(reader);
    /* Rule 35, as for one that was made here. */
    if (code == CONCLAVE_OK)
        code = io->sync(io->ctx, part->file, error);
    if (code == CONCLAVE_OK) {
        path = snapshot_file_path(part->dir, meta.last, ".snap");
        code = io->rename(io->ctx, part->path, path, error);
    }
    if (code == CONCLAVE_OK)
        code = io->sync_dir(io->ctx, snapshots, error);
    if (code == CONCLAVE_CORRUPT || code == CONCLAVE_IDENTITY || code == CONCLAVE_VERSION)
        (void)io->unlink(io->ctx, part->path, NULL); /* so that the next try begins anew */
    if (code == CONCLAVE_OK)
        *ret_meta = meta;
    else
        snapshot_meta_clear(&meta);
    free(path);
    free(snapshots);
    snapshot_part_close(part);
    return code;
}

void snapshot_part_close(struct snapshot_part *part)
{
    if (part == NULL)
        return;
    if (part->file != NULL)
        part->io->close(part->io->ctx, part->file);
    free(part->path);
    free(part->dir);
    free(part);
}

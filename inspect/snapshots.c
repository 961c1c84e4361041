/* The files in snapshots/. */
#include "inspect/inspect.h"
#include "inspect/state.h"

#include "base/fatal.h"
#include "base/list.h"
#include "raft/configuration.h"
#include "storage/block.h"
#include "storage/snapshot_format.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct names {
    char **items;
    size_t count, capacity;
};

static bool ends_with(const char *name, const char *suffix)
{
    const size_t bytes = strlen(name), end = strlen(suffix);
    return bytes >= end && strcmp(name + bytes - end, suffix) == 0;
}

static void note_name(void *arg, const char *name)
{
    struct names *names = arg;
    struct raft_id id;
    if (!snapshot_name_parse(name, &id) && !ends_with(name, ".bad") && !ends_with(name, ".part") &&
        strcmp(name, "new.tmp") != 0)
        return;
    const size_t bytes = strlen(name) + 1;
    LIST_RESERVE(names);
    names->items[names->count++] = memcpy(mem_alloc(bytes), name, bytes);
}

/* Names begin with the index, in as many digits each: the newest comes first. */
static int newest_first(const void *left, const void *right)
{
    return strcmp(*(char *const *)right, *(char *const *)left);
}

static int file_bytes(const struct io *io, const char *path, uint64_t *ret,
                      struct conclave_error *error)
{
    struct io_file *file = NULL;
    int code = io->open(io->ctx, path, IO_OPEN_READ_ONLY, &file, error);
    if (code != CONCLAVE_OK)
        return code;
    code = io->size(io->ctx, file, ret, error);
    io->close(io->ctx, file);
    return code;
}

static size_t count_members(struct slice configuration)
{
    struct raft_configuration *members = mem_zalloc(sizeof *members);
    const int code = raft_configuration_decode(configuration, members);
    const size_t count = code == CONCLAVE_OK ? members->member_count : 0;
    free(members);
    return count;
}

/* Reads all of it. */
static int read_whole(const struct conclave_inspection *inspection, struct raft_id id,
                      struct conclave_inspect_snapshot *found, struct conclave_error *error)
{
    struct snapshot_reader *reader = NULL;
    struct snapshot_meta meta;
    int code = snapshot_reader_open(inspection->io, inspection->dir, &inspection->identity, id,
                                    &reader, &meta, error);
    if (code != CONCLAVE_OK)
        return code;
    found->configuration_index = meta.configuration_index;
    found->members =
        count_members((struct slice){meta.configuration->data, meta.configuration->bytes});
    code = state_read(reader, found, error);
    if (code == CONCLAVE_OK && found->members == 0)
        code = error_set(error, CONCLAVE_CORRUPT, "its configuration cannot be read");
    snapshot_meta_clear(&meta);
    snapshot_reader_close(reader);
    return code;
}

/* OK; NOT_FOUND: the node has removed it since. */
static int look_at(const struct conclave_inspection *inspection, const char *path, bool read,
                   struct conclave_inspect_snapshot *found, struct conclave_error *error)
{
    struct raft_id id;
    const bool kept = snapshot_name_parse(found->file, &id);
    int code = file_bytes(inspection->io, path, &found->file_bytes, error);
    if (code == CONCLAVE_NOT_FOUND || (code != CONCLAVE_OK && !kept))
        return code;
    if (!kept) {
        found->state =
            ends_with(found->file, ".bad") ? CONCLAVE_INSPECT_ASIDE : CONCLAVE_INSPECT_PARTIAL;
        return CONCLAVE_OK;
    }
    found->index = id.index;
    found->term = id.term;
    found->state = read ? CONCLAVE_INSPECT_WHOLE : CONCLAVE_INSPECT_UNREAD;
    if (code == CONCLAVE_OK && read)
        code = read_whole(inspection, id, found, error);
    if (code == CONCLAVE_OK || code == CONCLAVE_NOT_FOUND)
        return code;
    found->state = CONCLAVE_INSPECT_BAD;
    found->text = error->message;
    return CONCLAVE_OK;
}

int conclave_inspect_snapshots(const struct conclave_inspection *inspection, bool read,
                               void (*visit)(void *arg,
                                             const struct conclave_inspect_snapshot *found),
                               void *arg, struct conclave_error *error)
{
    const struct io *io = inspection->io;
    struct names names = {0};
    char *dir = snapshot_dir_path(inspection->dir);
    int code = io->list_dir(io->ctx, dir, note_name, &names, error);
    if (code == CONCLAVE_NOT_FOUND) /* none was ever taken */
        code = CONCLAVE_OK;
    if (names.count > 0)
        qsort((void *)names.items, names.count, sizeof names.items[0], newest_first);
    for (size_t i = 0; i < names.count; i++) {
        struct conclave_inspect_snapshot found = {.file = names.items[i], .text = ""};
        struct conclave_error own = {0};
        char *path = path_join(dir, names.items[i]);
        if (code == CONCLAVE_OK && look_at(inspection, path, read, &found, &own) == CONCLAVE_OK)
            visit(arg, &found);
        free(path);
        free(names.items[i]);
    }
    free((void *)names.items);
    free(dir);
    return code;
}

#include "tests/sim/shelf.h"

#include "base/fatal.h"
#include "base/list.h"
#include "storage/snapshot_format.h"
#include "tests/disk/memory_io.h"
#include "tests/sim/map.h"

#include <stdlib.h>
#include <string.h>

/* A snapshot of the model: a header, the configuration, the state. */
struct model_header {
    uint64_t name; /* hash of everything behind it */
    uint64_t index, term, configuration_index, configuration_bytes;
};

struct model_item {
    struct raft_id id;
    struct buf *file;
};

struct shelf {
    const struct io *io;
    const char *dir;
    struct storage_identity identity;
    struct snapshot_part *part;

    struct {
        struct model_item *items; /* oldest first */
        uint32_t count, capacity;
    } model;
    struct {
        bool open, there;
        uint64_t name, bytes, offset;
        uint8_t *data;
    } model_part;
};

struct shelf *shelf_create(const struct io *io, const char *dir,
                           const struct storage_identity *identity)
{
    struct shelf *shelf = mem_zalloc(sizeof *shelf);
    shelf->io = io;
    shelf->dir = dir;
    shelf->identity = *identity;
    return shelf;
}

void shelf_destroy(struct shelf *shelf)
{
    shelf_part_close(shelf);
    for (uint32_t i = 0; i < shelf->model.count; i++)
        buf_unref(shelf->model.items[i].file);
    free(shelf->model.items);
    free(shelf->model_part.data);
    free(shelf);
}

/* --- The model's files ------------------------------------------------------------------------ */

static uint64_t model_hash(const uint8_t *data, size_t bytes)
{
    uint64_t hash = bytes;
    for (size_t i = sizeof(uint64_t); i < bytes; i++)
        hash = hash_mix(hash, data[i]);
    return hash;
}

/* False: it is damaged. The state points into the file. */
static bool model_decode(const uint8_t *data, size_t bytes, struct snapshot_meta *ret,
                         struct slice *ret_state)
{
    struct model_header header;
    if (bytes < sizeof header)
        return false;
    memcpy(&header, data, sizeof header);
    if (header.name != model_hash(data, bytes) ||
        header.configuration_bytes > bytes - sizeof header)
        return false;
    const uint8_t *configuration = data + sizeof header;
    *ret = (struct snapshot_meta){.last = {.term = header.term, .index = header.index},
                                  .configuration_index = header.configuration_index,
                                  .configuration =
                                      buf_copy(configuration, header.configuration_bytes)};
    *ret_state = (struct slice){configuration + header.configuration_bytes,
                                bytes - sizeof header - header.configuration_bytes};
    return true;
}

static struct model_item *model_find(struct shelf *shelf, struct raft_id id)
{
    for (uint32_t i = 0; i < shelf->model.count; i++)
        if (raft_id_equal(shelf->model.items[i].id, id))
            return &shelf->model.items[i];
    return NULL;
}

/* Takes over the file. */
static void model_put(struct shelf *shelf, struct raft_id id, struct buf *file)
{
    struct model_item *there = model_find(shelf, id);
    if (there) {
        buf_unref(there->file);
        there->file = file;
        return;
    }
    LIST_RESERVE(&shelf->model);
    uint32_t at = shelf->model.count++;
    for (; at > 0 && shelf->model.items[at - 1].id.index > id.index; at--)
        shelf->model.items[at] = shelf->model.items[at - 1];
    shelf->model.items[at] = (struct model_item){.id = id, .file = file};
}

static void model_write(struct shelf *shelf, const struct snapshot_meta *meta, struct slice state)
{
    struct model_header header = {.index = meta->last.index,
                                  .term = meta->last.term,
                                  .configuration_index = meta->configuration_index,
                                  .configuration_bytes = meta->configuration->bytes};
    struct buf *file = buf_create(sizeof header + meta->configuration->bytes + state.bytes);
    uint8_t *at = file->data + sizeof header;
    memcpy(at, meta->configuration->data, meta->configuration->bytes);
    memcpy(at + meta->configuration->bytes, state.data, state.bytes);
    memcpy(file->data, &header, sizeof header);
    header.name = model_hash(file->data, file->bytes);
    memcpy(file->data, &header, sizeof header);
    model_put(shelf, meta->last, file);
}

/* --- Whole ones ------------------------------------------------------------------------------- */

int shelf_write(struct shelf *shelf, const struct snapshot_meta *meta, struct slice state,
                struct conclave_error *error)
{
    if (!shelf->io) {
        model_write(shelf, meta, state);
        return CONCLAVE_OK;
    }
    struct snapshot_writer *writer = NULL;
    int code =
        snapshot_writer_create(shelf->io, shelf->dir, &shelf->identity, meta, &writer, error);
    if (code)
        return code;
    code = snapshot_writer_add(writer, state.data, state.bytes, error);
    if (!code)
        return snapshot_writer_finish(writer, error);
    snapshot_writer_abort(writer);
    return code;
}

int shelf_prune(struct shelf *shelf, uint64_t needed, uint64_t *ret_oldest,
                struct conclave_error *error)
{
    if (shelf->io)
        return snapshot_prune(shelf->io, shelf->dir, needed, ret_oldest, error);
    uint32_t gone = 0;
    while (shelf->model.count - gone > SNAPSHOTS_KEPT &&
           (needed == 0 || shelf->model.items[gone].id.index < needed))
        gone++;
    for (uint32_t i = 0; i < gone; i++)
        buf_unref(shelf->model.items[i].file);
    shelf->model.count -= gone;
    for (uint32_t i = 0; gone > 0 && i < shelf->model.count; i++)
        shelf->model.items[i] = shelf->model.items[i + gone];
    *ret_oldest = shelf->model.count > 0 ? shelf->model.items[0].id.index : 0;
    return CONCLAVE_OK;
}

static int real_find(struct shelf *shelf, bool whole, struct snapshot_meta *ret,
                     uint32_t *ret_aside, struct conclave_error *error)
{
    struct snapshot_list list = {0};
    int code = snapshot_list_read(shelf->io, shelf->dir, &list, error);
    for (size_t i = 0; i < list.count && !code; i++) {
        struct snapshot_reader *reader = NULL;
        if (whole)
            code = snapshot_verify(shelf->io, shelf->dir, &shelf->identity, list.items[i], error);
        if (!code)
            code = snapshot_reader_open(shelf->io, shelf->dir, &shelf->identity, list.items[i],
                                        &reader, ret, error);
        snapshot_reader_close(reader);
        if (code != CONCLAVE_CORRUPT)
            break;
        code = snapshot_set_aside(shelf->io, shelf->dir, list.items[i], error);
        ++*ret_aside;
    }
    snapshot_list_clear(&list);
    return code;
}

int shelf_find(struct shelf *shelf, bool whole, struct snapshot_meta *ret, uint32_t *ret_aside,
               struct conclave_error *error)
{
    *ret = (struct snapshot_meta){0};
    *ret_aside = 0;
    if (shelf->io)
        return real_find(shelf, whole, ret, ret_aside, error);
    struct slice state;
    while (shelf->model.count > 0) {
        struct buf *file = shelf->model.items[shelf->model.count - 1].file;
        if (model_decode(file->data, file->bytes, ret, &state))
            break;
        buf_unref(file);
        shelf->model.count--;
        ++*ret_aside;
    }
    return CONCLAVE_OK;
}

int shelf_verify(struct shelf *shelf, struct raft_id id, struct conclave_error *error)
{
    if (shelf->io)
        return snapshot_verify(shelf->io, shelf->dir, &shelf->identity, id, error);
    struct snapshot_meta meta = {0};
    struct buf *state = NULL;
    int code = shelf_read(shelf, id, &meta, &state, error);
    snapshot_meta_clear(&meta);
    buf_unref(state);
    return code;
}

int shelf_set_aside(struct shelf *shelf, struct raft_id id, struct conclave_error *error)
{
    if (shelf->io)
        return snapshot_set_aside(shelf->io, shelf->dir, id, error);
    struct model_item *item = model_find(shelf, id);
    if (!item)
        return error_set(error, CONCLAVE_NOT_FOUND, "no such snapshot");
    buf_unref(item->file);
    const struct model_item *end = &shelf->model.items[shelf->model.count--];
    memmove(item, item + 1, (size_t)(end - (item + 1)) * sizeof *item);
    return CONCLAVE_OK;
}

static int real_read(struct shelf *shelf, struct raft_id id, struct snapshot_meta *ret_meta,
                     struct buf **ret_state, struct conclave_error *error)
{
    enum { STEP = 4096 };
    struct snapshot_reader *reader = NULL;
    int code =
        snapshot_reader_open(shelf->io, shelf->dir, &shelf->identity, id, &reader, ret_meta, error);
    if (code)
        return code;
    uint8_t *data = NULL;
    size_t bytes = 0, got = STEP;
    while (!code && got == STEP) {
        data = mem_realloc(data, bytes + STEP);
        code = snapshot_reader_read(reader, data + bytes, STEP, &got, error);
        bytes += code ? 0 : got;
    }
    snapshot_reader_close(reader);
    if (code)
        snapshot_meta_clear(ret_meta);
    else
        *ret_state = buf_copy(data, bytes);
    free(data);
    return code;
}

int shelf_read(struct shelf *shelf, struct raft_id id, struct snapshot_meta *ret_meta,
               struct buf **ret_state, struct conclave_error *error)
{
    if (shelf->io)
        return real_read(shelf, id, ret_meta, ret_state, error);
    const struct model_item *item = model_find(shelf, id);
    struct slice state;
    if (!item)
        return error_set(error, CONCLAVE_NOT_FOUND, "no such snapshot");
    if (!model_decode(item->file->data, item->file->bytes, ret_meta, &state))
        return error_set(error, CONCLAVE_CORRUPT, "the snapshot is damaged");
    *ret_state = buf_copy(state.data, state.bytes);
    return CONCLAVE_OK;
}

bool shelf_is_synced(const struct shelf *shelf, struct raft_id id)
{
    if (!shelf->io)
        return true;
    char *path = snapshot_file_path(shelf->dir, id, ".snap");
    size_t bytes = 0;
    bool there = memory_disk_bytes(shelf->io->ctx, path, &bytes) != NULL;
    bool synced = there && memory_disk_is_synced(shelf->io->ctx, path, 0, bytes);
    free(path);
    return synced;
}

void shelf_newest(struct shelf *shelf, struct raft_id ret[2])
{
    struct snapshot_list list = {0};
    const uint32_t count = shelf->model.count;
    if (shelf->io && snapshot_list_look(shelf->io, shelf->dir, &list, NULL) != CONCLAVE_OK)
        list.count = 0;
    for (uint32_t i = 0; i < 2; i++) {
        ret[i] = (struct raft_id){0};
        if (i < count)
            ret[i] = shelf->model.items[count - 1 - i].id;
        else if (i < list.count)
            ret[i] = list.items[i];
    }
    snapshot_list_clear(&list);
}

void shelf_rot(struct shelf *shelf, struct prng *prng)
{
    if (!shelf->io) {
        struct model_item *newest = &shelf->model.items[shelf->model.count - 1];
        struct buf *file = buf_copy(newest->file->data, newest->file->bytes);
        file->data[prng_below(prng, file->bytes)] ^= (uint8_t)prng_between(prng, 1, 255);
        buf_unref(newest->file);
        newest->file = file;
        return;
    }
    struct snapshot_list list = {0};
    int code = snapshot_list_read(shelf->io, shelf->dir, &list, NULL);
    ASSERT(code == CONCLAVE_OK && list.count > 0);
    char *path = snapshot_file_path(shelf->dir, list.items[0], ".snap");
    struct memory_disk *disk = shelf->io->ctx;
    size_t bytes = 0;
    const uint8_t *data = memory_disk_bytes(disk, path, &bytes);
    size_t at = (size_t)prng_below(prng, bytes);
    uint8_t byte = (uint8_t)(data[at] ^ prng_between(prng, 1, 255));
    if (prng_below(prng, 3) == 0)
        memory_disk_break(disk, path, at, 1);
    else
        memory_disk_rot(disk, path, at, &byte, 1);
    free(path);
    snapshot_list_clear(&list);
}

/* --- Sending ---------------------------------------------------------------------------------- */

int shelf_source_open(struct shelf *shelf, struct raft_id id, struct shelf_source *ret,
                      struct conclave_error *error)
{
    *ret = (struct shelf_source){0};
    if (shelf->io) {
        int code = snapshot_source_open(shelf->io, shelf->dir, id, &ret->source, error);
        ret->name = ret->source.name;
        ret->bytes = ret->source.bytes;
        return code;
    }
    const struct model_item *item = model_find(shelf, id);
    if (!item)
        return error_set(error, CONCLAVE_NOT_FOUND, "no such snapshot");
    ret->file = buf_ref(item->file);
    ret->bytes = item->file->bytes;
    memcpy(&ret->name, item->file->data, sizeof ret->name);
    return CONCLAVE_OK;
}

int shelf_source_read(const struct shelf_source *source, uint64_t offset, uint8_t *to, size_t bytes,
                      size_t *ret_bytes, struct conclave_error *error)
{
    const struct snapshot_source *real = &source->source;
    if (!source->file)
        return real->io->read(real->io->ctx, real->file, offset, to, bytes, ret_bytes, error);
    uint64_t left = source->bytes - offset;
    *ret_bytes = left < bytes ? (size_t)left : bytes;
    memcpy(to, source->file->data + offset, *ret_bytes);
    return CONCLAVE_OK;
}

void shelf_source_close(struct shelf_source *source)
{
    if (source->source.file)
        snapshot_source_close(&source->source);
    buf_unref(source->file);
    *source = (struct shelf_source){0};
}

/* --- Receiving -------------------------------------------------------------------------------- */

int shelf_part_open(struct shelf *shelf, uint64_t name, uint64_t bytes, uint64_t *ret_offset,
                    struct conclave_error *error)
{
    ASSERT(!shelf->part && !shelf->model_part.open);
    if (shelf->io) {
        int code = snapshot_part_open(shelf->io, shelf->dir, name, bytes, &shelf->part, error);
        if (!code)
            *ret_offset = snapshot_part_offset(shelf->part);
        return code;
    }
    if (!shelf->model_part.there || shelf->model_part.name != name ||
        shelf->model_part.bytes != bytes) {
        shelf->model_part.data = mem_realloc(shelf->model_part.data, bytes);
        shelf->model_part.name = name;
        shelf->model_part.bytes = bytes;
        shelf->model_part.offset = 0;
        shelf->model_part.there = true;
    }
    shelf->model_part.open = true;
    *ret_offset = shelf->model_part.offset;
    return CONCLAVE_OK;
}

int shelf_part_add(struct shelf *shelf, struct slice data, struct conclave_error *error)
{
    if (shelf->io)
        return snapshot_part_add(shelf->part, data.data, data.bytes, error);
    if (data.bytes > shelf->model_part.bytes - shelf->model_part.offset)
        return error_set(error, CONCLAVE_MALFORMED, "behind its end");
    memcpy(shelf->model_part.data + shelf->model_part.offset, data.data, data.bytes);
    shelf->model_part.offset += data.bytes;
    return CONCLAVE_OK;
}

int shelf_part_finish(struct shelf *shelf, struct snapshot_meta *ret_meta,
                      struct conclave_error *error)
{
    if (shelf->io) {
        struct snapshot_part *part = shelf->part;
        shelf->part = NULL;
        return snapshot_part_finish(part, &shelf->identity, ret_meta, error);
    }
    struct slice state;
    const uint8_t *data = shelf->model_part.data;
    size_t bytes = (size_t)shelf->model_part.bytes;
    shelf->model_part.open = shelf->model_part.there = false;
    if (!model_decode(data, bytes, ret_meta, &state))
        return error_set(error, CONCLAVE_CORRUPT, "the snapshot is damaged");
    model_put(shelf, ret_meta->last, buf_copy(data, bytes));
    return CONCLAVE_OK;
}

void shelf_part_close(struct shelf *shelf)
{
    snapshot_part_close(shelf->part);
    shelf->part = NULL;
    shelf->model_part.open = false;
}

void shelf_crash(struct shelf *shelf, struct prng *prng)
{
    shelf_part_close(shelf);
    if (!shelf->io)
        shelf->model_part.offset = prng_between(prng, 0, shelf->model_part.offset);
}

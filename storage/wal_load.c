/* The files of a log and their bytes, as they are or as they would be with some bytes written. */
#include "storage/wal_scanner.h"

#include "base/fatal.h"
#include "base/list.h"
#include "storage/bytes.h"
#include "storage/wal_internal.h"

#include <inttypes.h>
#include <stdlib.h>

static void note_name(void *arg, const char *name)
{
    struct wal_scan *scan = arg;
    uint64_t sequence = 0;
    if (!wal_name_parse(name, &sequence))
        return;
    if (scan->segment_count == scan->segment_capacity) {
        scan->segment_capacity = scan->segment_capacity == 0 ? 16 : 2 * scan->segment_capacity;
        scan->segments =
            mem_realloc(scan->segments, scan->segment_capacity * sizeof(scan->segments[0]));
    }
    scan->segments[scan->segment_count++] = (struct wal_scan_segment){.sequence = sequence};
}

static int by_sequence(const void *left, const void *right)
{
    const struct wal_scan_segment *a = left, *b = right;
    return a->sequence < b->sequence ? -1 : a->sequence > b->sequence;
}

int wal_scanner_find(struct wal_scanner *scanner)
{
    struct wal_scan *scan = scanner->scan;
    int code =
        scanner->io->list_dir(scanner->io->ctx, scanner->dir, note_name, scan, scanner->error);
    if (code == CONCLAVE_NOT_FOUND || (code == CONCLAVE_OK && scan->segment_count == 0))
        return error_set(scanner->error, CONCLAVE_CORRUPT,
                         "the log in %s is missing; remove this node from the cluster and add it "
                         "again with an empty directory",
                         scanner->dir);
    if (code != CONCLAVE_OK)
        return code;
    qsort(scan->segments, scan->segment_count, sizeof(scan->segments[0]), by_sequence);
    for (size_t i = 1; i < scan->segment_count; i++) {
        uint64_t expected = scan->segments[i - 1].sequence + 1;
        if (scan->segments[i].sequence != expected)
            return error_set(scanner->error, CONCLAVE_CORRUPT,
                             "segment %016" PRIx64 ".wal is missing in %s, though later ones are "
                             "there; nothing was changed",
                             expected, scanner->dir);
    }
    return CONCLAVE_OK;
}

/* What stands at the front of a segment says that the log begins in it: the link that it names is
 * not one of a log before it. A header alone may be of a first batch that was torn: what the log
 * begins behind then is as durable as with all of it. Where something is damaged the first batch
 * record says so as well. */
static bool is_beginning(const struct wal_scanner *scanner, const uint8_t *front, size_t bytes,
                         uint64_t sequence)
{
    const uint64_t key = wal_key(scanner->identity, sequence);
    struct wal_header header;
    struct wal_record batch, record;
    const bool begun =
        wal_record_decode(front, bytes, WAL_HEADER_BYTES, key, &batch) && batch.kind == WAL_BATCH;
    if (wal_header_decode(front, bytes, scanner->identity, &header) != CONCLAVE_OK)
        return scanner->patient && begun && batch.batch == 0 &&
               batch.previous == wal_link_begin(batch.id);
    if (header.sequence != sequence)
        return false;
    return header.previous == wal_link_begin(header.last) ||
           (begun &&
            wal_record_decode(front, bytes, WAL_HEADER_BYTES + WAL_RECORD_BYTES, key, &record) &&
            record.kind == WAL_ANEW);
}

/* As it would be: what is lost of it may be what is mended. */
static void patch_front(const struct wal_scanner *scanner, uint64_t sequence, uint8_t *front,
                        size_t bytes)
{
    for (size_t i = 0; i < scanner->patch_count; i++) {
        const struct wal_patch *patch = &scanner->patches[i];
        const uint64_t end = patch->end < bytes ? patch->end : bytes;
        if (patch->sequence == sequence && patch->offset < end)
            memcpy(front + patch->offset, patch->bytes, (size_t)(end - patch->offset));
    }
}

/* *ret: the log begins anew in this segment. */
static int begins_anew(const struct wal_scanner *scanner, uint64_t sequence, bool *ret)
{
    uint8_t front[WAL_HEADER_BYTES + 2 * WAL_RECORD_BYTES];
    const struct io *io = scanner->io;
    char *path = wal_segment_path(scanner->dir, sequence);
    struct io_file *file = NULL;
    uint64_t bytes = 0;
    size_t got = 0;
    *ret = false;
    int code = io->open(io->ctx, path, IO_OPEN_READ_ONLY, &file, scanner->error);
    free(path);
    if (code != CONCLAVE_OK)
        return code;
    code = io->size(io->ctx, file, &bytes, scanner->error);
    if (code == CONCLAVE_OK && bytes >= sizeof front)
        code = io->read(io->ctx, file, 0, front, sizeof front, &got, scanner->error);
    if (code == CONCLAVE_OK && bytes >= sizeof front && got != sizeof front)
        code = error_set(scanner->error, CONCLAVE_IO, "the log became shorter while it was read");
    io->close(io->ctx, file);
    if (code == CONCLAVE_IO && (scanner->patient || scanner->patch_count > 0)) { /* damaged */
        memset(front, 0, sizeof front);
        got = sizeof front;
    } else if (code != CONCLAVE_OK) {
        return code;
    }
    patch_front(scanner, sequence, front, got);
    *ret = got == sizeof front && is_beginning(scanner, front, got, sequence);
    return CONCLAVE_OK;
}

int wal_scanner_skip(struct wal_scanner *scanner)
{
    struct wal_scan *scan = scanner->scan;
    size_t first = scan->segment_count - 1;
    bool anew = false;
    for (; first > 0; first--) {
        int code = begins_anew(scanner, scan->segments[first].sequence, &anew);
        if (code != CONCLAVE_OK)
            return code;
        if (anew)
            break;
    }
    scan->skipped = scan->segments[0].sequence;
    scan->segment_count -= first;
    memmove(scan->segments, scan->segments + first,
            scan->segment_count * sizeof(scan->segments[0]));
    return CONCLAVE_OK;
}

/* True if a patch covers a part of these bytes: the whole block is written with it then. */
static bool is_patched(const struct wal_scanner *scanner, uint64_t sequence, size_t at,
                       size_t bytes)
{
    for (size_t i = 0; i < scanner->patch_count; i++) {
        const struct wal_patch *patch = &scanner->patches[i];
        if (patch->sequence == sequence && patch->offset < at + bytes && patch->end > at)
            return true;
    }
    return false;
}

static void apply_patches(const struct wal_scanner *scanner, struct wal_loaded *to)
{
    for (size_t i = 0; i < scanner->patch_count; i++) {
        const struct wal_patch *patch = &scanner->patches[i];
        if (patch->sequence == to->sequence && patch->end <= to->bytes)
            memcpy(to->data + patch->offset, patch->bytes, (size_t)(patch->end - patch->offset));
    }
}

/* Reads block by block; those that cannot be read are zero. */
static int read_patiently(const struct wal_scanner *scanner, struct io_file *file,
                          struct wal_loaded *to, size_t bytes)
{
    const struct io *io = scanner->io;
    to->bytes = bytes;
    memset(to->data, 0, bytes);
    for (size_t at = 0; at < bytes; at += WAL_SCANNER_BLOCK_BYTES) {
        size_t block = bytes - at < WAL_SCANNER_BLOCK_BYTES ? bytes - at : WAL_SCANNER_BLOCK_BYTES;
        size_t got = 0;
        int code = io->read(io->ctx, file, at, to->data + at, block, &got, scanner->error);
        if (code == CONCLAVE_IO &&
            (scanner->patient || is_patched(scanner, to->sequence, at, block))) {
            memset(to->data + at, 0, block);
            LIST_RESERVE(&to->unread);
            to->unread.items[to->unread.count++] = at;
        } else if (code != CONCLAVE_OK) {
            return code;
        }
    }
    return CONCLAVE_OK;
}

int wal_scanner_load(struct wal_scanner *scanner, size_t number, struct wal_loaded *to)
{
    const struct io *io = scanner->io;
    struct wal_scan_segment *segment = &scanner->scan->segments[number];
    char *path = wal_segment_path(scanner->dir, segment->sequence);
    struct io_file *file = NULL;
    int code = io->open(io->ctx, path, IO_OPEN_READ_ONLY, &file, scanner->error);
    if (code != CONCLAVE_OK)
        goto free_path;
    code = io->size(io->ctx, file, &segment->bytes, scanner->error);
    if (code == CONCLAVE_OK && segment->bytes > 2 * (uint64_t)WAL_SEGMENT_BYTES_MAX)
        code = error_set(scanner->error, CONCLAVE_CORRUPT, "%s is larger than any segment", path);
    if (code == CONCLAVE_OK && to->capacity < segment->bytes) {
        free(to->data);
        to->data = mem_alloc(segment->bytes);
        to->capacity = (size_t)segment->bytes;
    }
    to->bytes = 0;
    to->unread.count = 0;
    to->sequence = segment->sequence;
    to->key = wal_key(scanner->identity, segment->sequence);
    if (code == CONCLAVE_OK && segment->bytes > 0) {
        code = io->read(io->ctx, file, 0, to->data, (size_t)segment->bytes, &to->bytes,
                        scanner->error);
        if (code == CONCLAVE_IO && (scanner->patient || scanner->patch_count > 0))
            code = read_patiently(scanner, file, to, (size_t)segment->bytes);
    }
    io->close(io->ctx, file);
    if (code == CONCLAVE_OK)
        apply_patches(scanner, to);
free_path:
    free(path);
    return code;
}

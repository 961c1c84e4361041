#include "storage/wal_reader.h"

#include "base/fatal.h"
#include "base/list.h"
#include "storage/block.h"
#include "storage/wal_collect.h"
#include "storage/wal_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* So much is read at once, and more only for a record that is larger. */
enum { WINDOW_BYTES = 256 << 10 };

/* Peers that read on at the same time. */
enum { CURSORS = 4 };

/* A record of a segment: `next` stands there or behind it. */
struct cursor {
    struct raft_id next; /* index 0: none */
    uint64_t sequence;
    uint64_t offset;
};

struct wal_reader {
    const struct io *io;
    char *dir; /* DIR/wal */
    const struct storage_identity *identity;
    struct cursor cursors[CURSORS];
    unsigned replace; /* which of them goes next */

    /* What of the open segment is in memory. */
    struct io_file *file; /* NULL: none is open */
    uint64_t key;
    uint8_t *window;
    size_t window_bytes, window_capacity;
    uint64_t window_offset;
};

/* One read that is under way. */
struct reading {
    const struct raft_fetch *fetch;
    struct cursor at;
    struct wal_collect collect;
    uint64_t entries, bytes;
    bool full;
};

struct wal_reader *wal_reader_create(const struct io *io, const char *dir,
                                     const struct storage_identity *identity)
{
    struct wal_reader *reader = mem_zalloc(sizeof *reader);
    reader->io = io;
    reader->dir = path_join(dir, "wal");
    reader->identity = identity;
    return reader;
}

void wal_reader_destroy(struct wal_reader *reader)
{
    if (!reader)
        return;
    free(reader->window);
    free(reader->dir);
    free(reader);
}

/* --- Segments -----------------------------------------------------------------------------------
 */

static void close_segment(struct wal_reader *reader)
{
    if (reader->file)
        reader->io->close(reader->io->ctx, reader->file);
    reader->file = NULL;
    reader->window_bytes = 0;
}

static int open_segment(struct wal_reader *reader, uint64_t sequence, struct conclave_error *error)
{
    char *path = wal_segment_path(reader->dir, sequence);
    int code = reader->io->open(reader->io->ctx, path, IO_OPEN_READ_ONLY, &reader->file, error);
    free(path);
    reader->key = wal_key(reader->identity, sequence);
    reader->window_bytes = 0;
    return code;
}

/* The window begins at `offset` and has `bytes`, unless the file ends before. */
static int fill_window(struct wal_reader *reader, uint64_t offset, size_t bytes,
                       struct conclave_error *error)
{
    if (reader->window_capacity < bytes) {
        free(reader->window);
        reader->window = mem_alloc(bytes);
        reader->window_capacity = bytes;
    }
    reader->window_offset = offset;
    reader->window_bytes = 0;
    return reader->io->read(reader->io->ctx, reader->file, offset, reader->window, bytes,
                            &reader->window_bytes, error);
}

/* What of the window stands at `offset` and behind it. */
static size_t in_window(const struct wal_reader *reader, uint64_t offset)
{
    uint64_t end = reader->window_offset + reader->window_bytes;
    return offset >= reader->window_offset && offset < end ? (size_t)(end - offset) : 0;
}

static const uint8_t *window_at(const struct wal_reader *reader, uint64_t offset)
{
    return reader->window + (offset - reader->window_offset);
}

/* *ret_whole: the record that stands at the reading's place, its payload in the window. */
static int next_record(struct wal_reader *reader, struct reading *reading, struct wal_record *ret,
                       bool *ret_whole, struct conclave_error *error)
{
    const uint64_t offset = reading->at.offset;
    size_t wanted = WAL_RECORD_BYTES;
    int code = CONCLAVE_OK;
    *ret_whole = false;
    if (in_window(reader, offset) >= wanted)
        wanted = wal_record_claims(window_at(reader, offset));
    if (wanted > WAL_SEGMENT_BYTES_MAX)
        return CONCLAVE_OK;
    if (in_window(reader, offset) < wanted) {
        wal_collect_flush(&reading->collect);
        code = fill_window(reader, offset, wanted > WINDOW_BYTES ? wanted : WINDOW_BYTES, error);
        if (code != CONCLAVE_OK || reader->window_bytes < WAL_RECORD_BYTES)
            return code;
        wanted = wal_record_claims(reader->window);
        if (wanted > reader->window_bytes && reader->window_bytes >= WINDOW_BYTES &&
            wanted <= WAL_SEGMENT_BYTES_MAX)
            code = fill_window(reader, offset, wanted, error);
    }
    *ret_whole = code == CONCLAVE_OK &&
                 wal_record_decode_at(window_at(reader, offset), in_window(reader, offset),
                                      (size_t)offset, reader->key, ret);
    return code;
}

/* --- Where to begin -----------------------------------------------------------------------------
 */

struct sequences {
    uint64_t *items;
    uint32_t count, capacity;
};

static void note_name(void *arg, const char *name)
{
    struct sequences *sequences = arg;
    uint64_t sequence;
    if (!wal_name_parse(name, &sequence))
        return;
    LIST_RESERVE(sequences);
    sequences->items[sequences->count++] = sequence;
}

static int latest_first(const void *left, const void *right)
{
    const uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return a > b ? -1 : a < b;
}

/* *ret: the log ended before this index when the segment was begun. Not if its header is not whole:
 * then those before it are read, too. */
static int begins_before(struct wal_reader *reader, uint64_t sequence, uint64_t index, bool *ret,
                         struct conclave_error *error)
{
    struct wal_header header;
    *ret = false;
    int code = open_segment(reader, sequence, error);
    if (code == CONCLAVE_NOT_FOUND) /* removed meanwhile: so is what is before it */
        return CONCLAVE_OK;
    if (code == CONCLAVE_OK)
        code = fill_window(reader, 0, WAL_HEADER_BYTES, error);
    *ret = code == CONCLAVE_OK &&
           wal_header_decode(reader->window, reader->window_bytes, reader->identity, &header) ==
               CONCLAVE_OK &&
           header.last.index < index;
    close_segment(reader);
    return code == CONCLAVE_IO ? CONCLAVE_OK : code;
}

/* The last segment at whose beginning the entry was not there yet: it was written last in that one
 * or in a later one, since what is committed is never replaced. */
static int find_begin(struct wal_reader *reader, struct reading *reading,
                      struct conclave_error *error)
{
    struct sequences sequences = {0};
    bool found = false;
    int code = reader->io->list_dir(reader->io->ctx, reader->dir, note_name, &sequences, error);
    if (sequences.count > 0)
        qsort(sequences.items, sequences.count, sizeof sequences.items[0], latest_first);
    for (uint32_t i = 0; i < sequences.count && code == CONCLAVE_OK && !found; i++) {
        reading->at.sequence = sequences.items[i];
        code = begins_before(reader, sequences.items[i], reading->at.next.index, &found, error);
    }
    reading->at.offset = WAL_HEADER_BYTES;
    free(sequences.items);
    return code;
}

static bool find_cursor(struct wal_reader *reader, struct reading *reading)
{
    for (unsigned i = 0; i < CURSORS; i++) {
        if (!raft_id_equal(reader->cursors[i].next, reading->fetch->first))
            continue;
        reading->at = reader->cursors[i];
        reader->cursors[i] = (struct cursor){0};
        return true;
    }
    return false;
}

static void keep_cursor(struct wal_reader *reader, const struct cursor *cursor)
{
    for (unsigned i = 0; i < CURSORS; i++) {
        if (reader->cursors[i].next.index == 0) {
            reader->cursors[i] = *cursor;
            return;
        }
    }
    reader->cursors[reader->replace++ % CURSORS] = *cursor;
}

/* --- Reading ------------------------------------------------------------------------------------
 */

/* Takes the entry if it is the next one. False: there is no room for it any more. */
static bool take(struct reading *reading, const struct wal_record *entry)
{
    const struct raft_fetch *fetch = reading->fetch;
    if (!raft_id_equal(entry->id, reading->at.next))
        return true;
    if (entry->id.index > fetch->last ||
        (reading->entries > 0 && (reading->entries >= fetch->entries_max ||
                                  reading->bytes + entry->payload.bytes > fetch->bytes_max))) {
        reading->full = true;
        return false;
    }
    wal_collect_add(&reading->collect, entry);
    reading->entries++;
    reading->bytes += entry->payload.bytes;
    reading->at.next.index++;
    return true;
}

static bool take_record(struct reading *reading, const struct wal_record *record)
{
    struct wal_mend mend;
    struct wal_record entry;
    if (record->kind == WAL_ENTRY)
        return take(reading, record);
    if (record->kind != WAL_MEND || !wal_mend_begin(record, &mend))
        return true;
    while (wal_mend_next(&mend, &entry) == 1) {
        if (!take(reading, &entry))
            return false;
    }
    return true;
}

static int walk_segment(struct wal_reader *reader, struct reading *reading,
                        struct conclave_error *error)
{
    struct wal_record record;
    bool whole;
    for (;;) {
        int code = next_record(reader, reading, &record, &whole, error);
        if (code != CONCLAVE_OK || !whole || !take_record(reading, &record))
            return code;
        reading->at.offset += wal_record_bytes(record.payload.bytes);
        reading->full = reading->full || reading->at.next.index > reading->fetch->last;
        if (reading->full)
            return CONCLAVE_OK;
    }
}

static int walk(struct wal_reader *reader, struct reading *reading, struct conclave_error *error)
{
    for (;;) {
        int code = open_segment(reader, reading->at.sequence, error);
        if (code != CONCLAVE_OK) /* NOT_FOUND: behind the last one, or removed */
            return code == CONCLAVE_NOT_FOUND ? CONCLAVE_OK : code;
        code = walk_segment(reader, reading, error);
        wal_collect_flush(&reading->collect);
        close_segment(reader);
        if (code != CONCLAVE_OK || reading->full)
            return code;
        reading->at.sequence++;
        reading->at.offset = WAL_HEADER_BYTES;
    }
}

int wal_reader_read(struct wal_reader *reader, const struct raft_fetch *fetch,
                    struct raft_runs *ret, struct conclave_error *error)
{
    struct reading reading = {.fetch = fetch, .at = {.next = fetch->first}};
    wal_collect_begin(&reading.collect,
                      (struct raft_id){.term = fetch->first.term, .index = fetch->first.index - 1});
    int code = CONCLAVE_OK;
    if (find_cursor(reader, &reading))
        code = walk(reader, &reading, error);
    if (code == CONCLAVE_OK && reading.entries == 0)
        code = find_begin(reader, &reading, error);
    if (code == CONCLAVE_OK && reading.entries == 0)
        code = walk(reader, &reading, error);
    if (reading.entries > 0)
        code = CONCLAVE_OK;
    if (reading.full)
        keep_cursor(reader, &reading.at);
    if (code == CONCLAVE_OK && reading.entries == 0)
        code = error_set(error, CONCLAVE_CORRUPT,
                         "entry %" PRIu64 " of term %" PRIu64 " is not whole in the log in %s",
                         fetch->first.index, fetch->first.term, reader->dir);
    wal_collect_finish(&reading.collect, ret);
    wal_collect_deinit(&reading.collect);
    return code;
}

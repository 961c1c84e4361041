/* Blocks that the disk fails to read and in which nothing of the log stands: behind the last record
 * of a segment, and in those that are prepared. A start reads all files as a whole, so it would
 * fail for ever, and no peer has anything that could go there. They are written as what they are to
 * the log, zeros, which is what makes a disk use others in their place. */
#include "storage/wal_survey_internal.h"

#include "base/fatal.h"
#include "base/list.h"
#include "storage/bytes.h"

#include <string.h>

/* What of a record shows that it may be one: its checksum, and where it stands. */
enum { RECORD_OFFSET_AT = 20, RECORD_BEGINNING_BYTES = 24 };

static uint64_t block_end(const struct wal_loaded *loaded, uint64_t block)
{
    const uint64_t end = block + WAL_SCANNER_BLOCK_BYTES;
    return end < loaded->bytes ? end : loaded->bytes;
}

/* It is written with a hole, as a whole, or is in one. */
static bool is_in_hole(const struct wal_surveyor *surveyor, size_t number, uint64_t from,
                       uint64_t to)
{
    const struct wal_survey *survey = surveyor->survey;
    for (size_t i = 0; i < survey->holes.count; i++) {
        const struct wal_hole *hole = &survey->holes.items[i];
        if (hole->number == number && hole->offset < to && hole->end > from)
            return true;
    }
    return false;
}

static void note_unread(struct wal_survey *survey, size_t number, const struct wal_loaded *loaded)
{
    for (size_t i = 0; i < loaded->unread.count; i++) {
        LIST_RESERVE(&survey->unread);
        survey->unread.items[survey->unread.count++] =
            (struct wal_unread){.number = number, .offset = loaded->unread.items[i]};
    }
}

/* A hole for each row of such blocks, with the bytes that were read, all zero. */
static int add_holes(struct wal_surveyor *surveyor, size_t number, const struct wal_loaded *loaded)
{
    note_unread(surveyor->survey, number, loaded);
    for (size_t i = 0; i < loaded->unread.count;) {
        const uint64_t from = loaded->unread.items[i];
        uint64_t to = from;
        while (i < loaded->unread.count && loaded->unread.items[i] == to &&
               !is_in_hole(surveyor, number, to, block_end(loaded, to)))
            to = block_end(loaded, loaded->unread.items[i++]);
        if (to == from) {
            i++;
            continue;
        }
        struct wal_hole *hole = wal_survey_add_hole(surveyor, number, from, to);
        if (!hole)
            return wal_survey_beyond(surveyor, loaded->sequence, from,
                                     "there are too many damaged places");
        hole->bytes = mem_alloc((size_t)(to - from));
        memcpy(hole->bytes, loaded->data + from, (size_t)(to - from));
    }
    return CONCLAVE_OK;
}

/* Might a record begin at the log's end, whole but for what cannot be read? All that is behind it
 * was written after it was synced. So if it is not there nothing is, in whatever block. */
static bool may_go_on(const struct wal_loaded *here, uint64_t end)
{
    const uint64_t beginning = end + RECORD_BEGINNING_BYTES;
    if (beginning > here->bytes)
        return false;
    for (size_t i = 0; i < here->unread.count; i++)
        if (here->unread.items[i] < beginning && block_end(here, here->unread.items[i]) > end)
            return true;
    return get_u64(here->data + end) != 0 && get_u32(here->data + end + RECORD_OFFSET_AT) == end;
}

int wal_survey_take_unread(struct wal_surveyor *surveyor, bool ends)
{
    const struct wal_loaded *here = &surveyor->scanner.here;
    const struct wal_scan *scan = &surveyor->survey->scan;
    const size_t count = here->unread.count;
    const uint64_t end = scan->end;
    if (count == 0)
        return CONCLAVE_OK;
    if (ends && block_end(here, here->unread.items[count - 1]) > end && may_go_on(here, end))
        return wal_survey_beyond(surveyor, here->sequence, end,
                                 "it cannot be read there, so nobody knows whether the log ends");
    return add_holes(surveyor, scan->active, here);
}

int wal_survey_take_unread_behind(struct wal_surveyor *surveyor)
{
    struct wal_scanner *scanner = &surveyor->scanner;
    const size_t first = scanner->scan->active + 1;
    for (size_t number = first; number < scanner->scan->segment_count; number++) {
        int code = wal_scanner_load(scanner, number, &scanner->next);
        if (code == CONCLAVE_OK && number == first && scanner->next.unread.count > 0 &&
            scanner->next.unread.items[0] == 0)
            code = wal_survey_beyond(surveyor, scanner->next.sequence, 0,
                                     "it cannot be read there, so nobody knows whether the log "
                                     "goes on");
        if (code == CONCLAVE_OK)
            code = add_holes(surveyor, number, &scanner->next);
        if (code != CONCLAVE_OK)
            return code;
    }
    return CONCLAVE_OK;
}

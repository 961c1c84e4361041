/* Handing out a log. */
#include "inspect/describe.h"
#include "inspect/inspect.h"

#include "base/fatal.h"
#include "storage/block.h"

#include <stdlib.h>

enum { VALUE_BYTES = 48, LINE_BYTES = 512 };

/* One reading of a log. */
struct reading {
    const struct conclave_inspection *inspection;
    struct conclave_inspect_options options;
    bool (*visit)(void *arg, const struct conclave_inspect_item *item);
    void *arg;
    struct wal_cuts cuts;
    struct conclave_inspect_log log;
    char *line;
    size_t line_bytes;
    bool enough; /* the visitor has */
};

static enum conclave_inspect_kind kind_of(const struct wal_walk_step *step)
{
    static const enum conclave_inspect_kind kinds[] = {
        [WAL_WALK_SKIPPED] = CONCLAVE_INSPECT_SKIPPED,
        [WAL_WALK_SEGMENT] = CONCLAVE_INSPECT_SEGMENT,
        [WAL_WALK_RECORD] = CONCLAVE_INSPECT_ANEW,
        [WAL_WALK_MEND] = CONCLAVE_INSPECT_MEND,
        [WAL_WALK_ENTRY] = CONCLAVE_INSPECT_ENTRY,
        [WAL_WALK_DAMAGE] = CONCLAVE_INSPECT_DAMAGE,
        [WAL_WALK_TORN] = CONCLAVE_INSPECT_TORN,
        [WAL_WALK_PREPARED] = CONCLAVE_INSPECT_PREPARED,
        [WAL_WALK_GONE] = CONCLAVE_INSPECT_GONE,
    };
    return kinds[step->what];
}

static void count_entry(struct conclave_inspect_log *log, const struct wal_record *entry,
                        bool replaced)
{
    if (replaced) {
        log->replaced++;
        return;
    }
    if (log->entries == 0 || entry->id.index != log->last + 1) /* a gap: it begins behind that */
        log->first = entry->id.index;
    log->entries++;
    log->payload_bytes += entry->payload.bytes;
    log->last = entry->id.index;
    log->last_term = entry->id.term;
}

/* What the log begins behind: an entry before that is not of it, whatever was read of it. */
static void begin_behind(struct conclave_inspect_log *log, struct raft_id id)
{
    log->behind = id.index;
    if (log->last > id.index)
        return;
    log->first = 0;
    log->last = id.index;
    log->last_term = id.term;
}

static void count(struct reading *reading, const struct wal_walk_step *step, bool replaced)
{
    struct conclave_inspect_log *log = &reading->log;
    switch (step->what) {
    case WAL_WALK_SEGMENT:
        log->segments++;
        log->file_bytes += step->bytes;
        if (step->has_header && log->entries == 0 && log->damaged == 0)
            begin_behind(log, step->header.last);
        break;
    case WAL_WALK_PREPARED:
        log->prepared++;
        log->file_bytes += step->bytes;
        break;
    case WAL_WALK_RECORD:
        if (step->record.kind == WAL_ANEW) {
            log->last = 0;
            begin_behind(log, step->record.id);
        }
        break;
    case WAL_WALK_ENTRY:
        count_entry(log, &step->record, replaced);
        break;
    case WAL_WALK_DAMAGE:
        log->damaged++;
        break;
    case WAL_WALK_TORN:
        log->torn_bytes += step->end - step->offset;
        break;
    default:
        break;
    }
}

static void fill_entry(struct reading *reading, const struct wal_walk_step *step,
                       struct conclave_inspect_item *item)
{
    const struct wal_record *entry = &step->record;
    struct say text;
    say_begin(&text, reading->line, reading->line_bytes, reading->options.value_bytes);
    describe_entry(&text, entry->entry_kind, entry->payload);
    item->entry = describe_kind(entry->entry_kind);
    item->payload = entry->payload.data;
    item->payload_bytes = entry->payload.bytes;
    item->text = reading->line;
    item->index = entry->id.index;
    item->term = entry->id.term;
}

static bool is_asked_for(const struct reading *reading, const struct wal_walk_step *step)
{
    const struct conclave_inspect_options *options = &reading->options;
    if (step->what == WAL_WALK_RECORD)
        return step->record.kind == WAL_ANEW;
    if (step->what != WAL_WALK_ENTRY)
        return true;
    return !options->without_entries && step->record.id.index >= options->from &&
           (options->to == 0 || step->record.id.index <= options->to);
}

static void hand_out(struct reading *reading, const struct wal_walk_step *step, bool replaced)
{
    struct conclave_inspect_item item = {.kind = kind_of(step),
                                         .segment = step->sequence,
                                         .file_bytes = step->bytes,
                                         .offset = step->offset,
                                         .end = step->end,
                                         .index = step->last.index,
                                         .term = step->last.term,
                                         .replaced = replaced,
                                         .text = ""};
    if (step->what == WAL_WALK_ENTRY) {
        fill_entry(reading, step, &item);
    } else if (step->what == WAL_WALK_DAMAGE) {
        item.text = step->why;
    } else if (step->what == WAL_WALK_SEGMENT && step->has_header) {
        item.index = step->header.last.index;
        item.term = step->header.last.term;
    } else if (step->what == WAL_WALK_RECORD || step->what == WAL_WALK_MEND) {
        item.index = step->record.id.index;
        item.term = step->record.id.term;
    }
    reading->enough = !reading->visit(reading->arg, &item);
}

/* Is a repair under way, or did one not end? */
static bool has_mark(const struct conclave_inspection *inspection)
{
    const struct io *io = inspection->io;
    char *path = path_join(inspection->wal_dir, WAL_MENDING_NAME);
    struct io_file *file = NULL;
    struct conclave_error none;
    const bool there = io->open(io->ctx, path, IO_OPEN_READ_ONLY, &file, &none) == CONCLAVE_OK;
    if (there)
        io->close(io->ctx, file);
    free(path);
    return there;
}

/* Goes through the log; `second`: the cuts are known. */
static int run(struct reading *reading, bool second, struct conclave_error *error)
{
    const struct conclave_inspection *inspection = reading->inspection;
    struct wal_walk *walk = NULL;
    struct wal_walk_step step;
    const int code = wal_walk_open(inspection->io, inspection->wal_dir, &inspection->identity,
                                   inspection->live, &walk, error);
    if (code != CONCLAVE_OK)
        return code;
    wal_walk_next(walk, &step);
    for (; step.what != WAL_WALK_END && !reading->enough; wal_walk_next(walk, &step)) {
        if (!second) {
            wal_cuts_note(&reading->cuts, &step);
            continue;
        }
        const bool replaced =
            step.what == WAL_WALK_ENTRY && wal_cuts_replaced(&reading->cuts, &step);
        count(reading, &step, replaced);
        if (is_asked_for(reading, &step))
            hand_out(reading, &step, replaced);
    }
    wal_walk_close(walk);
    wal_cuts_settle(&reading->cuts);
    return CONCLAVE_OK;
}

int conclave_inspect_log(const struct conclave_inspection *inspection,
                         const struct conclave_inspect_options *options,
                         bool (*visit)(void *arg, const struct conclave_inspect_item *item),
                         void *arg, struct conclave_inspect_log *ret, struct conclave_error *error)
{
    if (options->size != sizeof *options)
        return error_set(error, CONCLAVE_INVALID, "options of this version are needed");
    struct reading reading = {
        .inspection = inspection, .options = *options, .visit = visit, .arg = arg};
    if (reading.options.value_bytes == 0)
        reading.options.value_bytes = VALUE_BYTES;
    reading.line_bytes = LINE_BYTES + 4 * reading.options.value_bytes;
    reading.line = mem_alloc(reading.line_bytes);
    reading.log.mending = has_mark(inspection);
    int code = run(&reading, false, error);
    if (code == CONCLAVE_OK)
        code = run(&reading, true, error);
    if (code == CONCLAVE_OK)
        *ret = reading.log;
    wal_cuts_deinit(&reading.cuts);
    free(reading.line);
    return code;
}

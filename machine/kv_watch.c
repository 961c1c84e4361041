#include "machine/kv_watch.h"

#include "base/fatal.h"
#include "codec/watch.h"
#include "machine/kv_change.h"
#include "machine/kv_history.h"

enum {
    /* A change with a larger value and a larger previous one, together, is told without the
     * previous one: the frame has to hold both. */
    PREVIOUS_BYTES_MAX = 1 << 20
};

void kv_watch_init(struct kv_watch *watch, struct tables *tables, const struct kv_state *state)
{
    *watch = (struct kv_watch){.tables = tables, .state = state};
}

static int watch_check(void *feed, struct slice spec, struct feed_interest *ret, bool *ret_state)
{
    struct watch_spec watch;
    (void)feed;
    int code = watch_spec_decode(spec, &watch);
    if (!code && watch.space >= KV_SPACES)
        code = CONCLAVE_INVALID;
    if (code)
        return code;
    *ret = (struct feed_interest){.space = (uint8_t)watch.space,
                                  .no_end = watch.bounds.no_end,
                                  .from = watch.bounds.from,
                                  .to = watch.bounds.to};
    *ret_state = (watch.what & WATCH_INITIAL) != 0;
    return CONCLAVE_OK;
}

static int watch_bounds(void *feed, const struct feed_interest *interest, uint64_t *ret_oldest,
                        uint64_t *ret_next)
{
    const struct kv_watch *watch = feed;
    (void)interest;
    *ret_oldest = watch->state->compacted + 1;
    *ret_next = watch->state->revision + 1;
    return CONCLAVE_OK;
}

static void watch_skip(void *feed)
{
    struct kv_watch *watch = feed;
    watch->seen = watch->state->revision;
}

/* rc. */
static int cursor_open(const struct kv_watch *watch, enum table table, struct tables_cursor *ret)
{
    struct tables_tx *tx = NULL;
    *ret = (struct tables_cursor){0};
    int rc = tables_read(watch->tables, &tx);
    return rc ? rc : tables_cursor_open(tx, table, ret);
}

/* rc. */
static int history_open(const struct kv_watch *watch, struct kv_history_reader *ret)
{
    struct tables_tx *tx = NULL;
    int rc = tables_read(watch->tables, &tx);
    return rc ? rc : kv_history_reader_open(ret, tx);
}

static int watch_changes(void *feed, feed_touch touch, void *arg)
{
    struct kv_watch *watch = feed;
    struct kv_history_reader reader = {0};
    struct kv_change change;
    uint64_t seen = watch->seen;
    watch_skip(watch);
    if (seen == watch->state->revision)
        return CONCLAVE_OK;
    /* Another state was installed, or one apply changed more than what is kept. */
    if (seen > watch->state->revision || seen < watch->state->compacted)
        return FEED_LOST;
    int rc = history_open(watch, &reader);
    if (!rc)
        rc = kv_history_seek(&reader, seen + 1, 0, &change);
    while (!rc) {
        touch(arg, (uint8_t)change.space, change.key, change.revision, change.revision + 1);
        rc = kv_history_next(&reader, &change);
    }
    kv_history_reader_close(&reader);
    return rc == CONCLAVE_NOT_FOUND ? CONCLAVE_OK : rc;
}

static bool interest_holds(const struct feed_interest *interest, const struct kv_change *change)
{
    return change->space == interest->space && tables_compare(change->key, interest->from) >= 0 &&
           (interest->no_end || tables_compare(change->key, interest->to) < 0);
}

/* --- Events ----------------------------------------------------------------------------------- */

/* rc. What a stored record says; all zero for none. */
static int item_of(struct slice stored, struct kv_item *ret)
{
    struct kv_record record = {0};
    *ret = (struct kv_item){0};
    if (stored.bytes == 0)
        return CONCLAVE_OK;
    int rc = kv_record_read(stored, &record);
    if (rc)
        return rc;
    ret->value = kv_record_value(stored);
    ret->create_revision = record.create_revision;
    ret->mod_revision = record.mod_revision;
    ret->version = record.version;
    return CONCLAVE_OK;
}

/* rc. *ret_wanted: it is in the range, and not of those that are left out. */
static int event_of(const struct feed_read *read, const struct watch_spec *spec,
                    const struct kv_change *change, bool *ret_wanted, struct watch_event *ret)
{
    bool put = change->kind == KV_CHANGE_PUT;
    struct kv_item now, before;
    *ret_wanted = interest_holds(read->interest, change) &&
                  !(spec->what & (put ? WATCH_NO_PUTS : WATCH_NO_DELETES));
    if (!*ret_wanted)
        return CONCLAVE_OK;
    int rc = item_of(change->after, &now);
    if (!rc)
        rc = item_of(change->before, &before);
    if (rc)
        return rc;
    *ret = (struct watch_event){.kind = change->kind,
                                .key = change->key,
                                .value = now.value,
                                .revision = change->revision,
                                .create_revision = now.create_revision,
                                .version = now.version,
                                .previous = before};
    ret->has_previous = (spec->what & WATCH_PREVIOUS) && before.version &&
                        now.value.bytes + before.value.bytes <= PREVIOUS_BYTES_MAX;
    return CONCLAVE_OK;
}

/* A reading on its way. */
struct reading {
    struct feed_read *read;
    struct watch_spec spec;
    size_t begin; /* of its events in the pack */

    uint64_t at;   /* the revision at hand: of it */
    uint32_t part; /* so many changes have been looked at */

    /* Everything before the revision at hand is in here; what comes behind may be taken back. */
    size_t whole_bytes;
    uint32_t whole_count;
};

/* rc. Takes one change in; *ret_full: or there is no room for it. */
static int reading_take(struct reading *reading, const struct kv_change *change, bool *ret_full)
{
    struct feed_read *read = reading->read;
    struct watch_event event;
    bool wanted;
    if (change->revision != reading->at) {
        reading->at = change->revision;
        reading->part = 0;
        reading->whole_bytes = read->items->bytes;
        reading->whole_count = read->count;
    }
    int rc = event_of(read, &reading->spec, change, &wanted, &event);
    if (rc)
        return rc;
    size_t used = read->items->bytes - reading->begin;
    *ret_full =
        read->looks == 0 || (wanted && used > 0 && used + watch_event_bytes(&event) > read->bytes);
    if (*ret_full)
        return CONCLAVE_OK;
    read->looks--;
    reading->part = change->sub + 1;
    if (wanted) {
        watch_event_pack(read->items, &event);
        read->count++;
    }
    return CONCLAVE_OK;
}

static int watch_read(void *feed, struct feed_read *read)
{
    const struct kv_watch *watch = feed;
    struct reading reading = {.read = read,
                              .begin = read->items->bytes,
                              .at = read->position,
                              .part = read->part,
                              .whole_bytes = read->items->bytes,
                              .whole_count = read->count};
    struct kv_history_reader reader = {0};
    struct kv_change change;
    bool full = false;
    if (read->position <= watch->state->compacted)
        return FEED_LOST;
    int rc = watch_spec_decode(read->spec, &reading.spec);
    if (rc)
        return rc;
    rc = history_open(watch, &reader);
    if (!rc)
        rc = kv_history_seek(&reader, read->position, read->part, &change);
    while (!rc && change.revision < read->end) {
        rc = reading_take(&reading, &change, &full);
        if (rc || full)
            break;
        rc = kv_history_next(&reader, &change);
    }
    kv_history_reader_close(&reader);
    if (rc && rc != CONCLAVE_NOT_FOUND)
        return rc;
    if (!full) {
        read->position = read->end;
        read->part = 0;
    } else if (reading.at == read->position) {
        read->part = reading.part; /* larger than a frame by itself */
    } else {
        /* A part of a revision goes into a frame of its own, or the whole of it. */
        read->items->bytes = reading.whole_bytes;
        read->count = reading.whole_count;
        read->position = reading.at;
        read->part = 0;
    }
    return CONCLAVE_OK;
}

/* --- What there is ---------------------------------------------------------------------------- */

/* Adds an item unless there is no room. False: there is none. */
static bool state_add(struct feed_state *state, const struct kv_item *item)
{
    if (state->looks == 0 ||
        (state->count > 0 && state->items->bytes + kv_item_bytes(item) > state->bytes))
        return false;
    state->looks--;
    state->count++;
    kv_item_pack(state->items, item);
    return true;
}

/* rc. What changed since the last piece, of the keys that were told. *ret_full: not all of it. */
static int state_catch_up(const struct kv_watch *watch, struct feed_state *state, bool *ret_full)
{
    uint64_t now = watch->state->revision + 1;
    struct slice told = {state->name, state->name_bytes};
    struct kv_history_reader reader = {0};
    struct kv_change change;
    if (state->position <= watch->state->compacted)
        return FEED_LOST;
    int rc = history_open(watch, &reader);
    if (!rc)
        rc = kv_history_seek(&reader, state->position, state->part, &change);
    while (!rc) {
        bool room = state->looks > 0;
        if (room && interest_holds(state->interest, &change) &&
            tables_compare(change.key, told) < 0) {
            struct kv_item item;
            rc = item_of(change.after, &item);
            if (rc)
                break;
            item.key = change.key;
            item.value_left_out = change.after.bytes == 0;
            if (item.value_left_out)
                item.mod_revision = change.revision;
            room = state_add(state, &item);
        } else if (room) {
            state->looks--;
        }
        state->position = change.revision;
        state->part = change.sub;
        if (!room) {
            *ret_full = true;
            break;
        }
        rc = kv_history_next(&reader, &change);
    }
    kv_history_reader_close(&reader);
    if (!*ret_full && (!rc || rc == CONCLAVE_NOT_FOUND)) {
        state->position = now;
        state->part = 0;
    }
    return rc == CONCLAVE_NOT_FOUND ? CONCLAVE_OK : rc;
}

/* rc. The next keys. */
static int state_page(const struct kv_watch *watch, struct feed_state *state)
{
    const struct feed_interest *interest = state->interest;
    struct slice key =
        state->name_bytes ? (struct slice){state->name, state->name_bytes} : interest->from;
    struct tables_cursor cursor;
    struct slice stored;
    bool room = true;
    int rc = cursor_open(watch, kv_space_table((enum kv_space)interest->space), &cursor);
    if (!rc)
        rc = tables_cursor_move(&cursor, TABLES_FROM, &key, &stored);
    while (!rc && (interest->no_end || tables_compare(key, interest->to) < 0)) {
        struct kv_item item;
        rc = item_of(stored, &item);
        if (rc)
            break;
        item.key = key;
        room = state_add(state, &item);
        if (!room) {
            ASSERT(key.bytes <= FEED_NAME_BYTES_MAX);
            memcpy(state->name, key.data, key.bytes);
            state->name_bytes = (uint32_t)key.bytes;
            break;
        }
        rc = tables_cursor_move(&cursor, TABLES_NEXT, &key, &stored);
    }
    tables_cursor_close(&cursor);
    if (rc && rc != CONCLAVE_NOT_FOUND)
        return rc;
    state->done = room;
    return CONCLAVE_OK;
}

static int watch_state(void *feed, struct feed_state *state)
{
    const struct kv_watch *watch = feed;
    bool full = false;
    if (state->position == 0)
        state->position = watch->state->revision + 1;
    int rc = CONCLAVE_OK;
    if (state->position <= watch->state->revision)
        rc = state_catch_up(watch, state, &full);
    return rc || full ? rc : state_page(watch, state);
}

struct feed kv_watch_as_feed(struct kv_watch *watch)
{
    static const struct feed_ops ops = {.check = watch_check,
                                        .bounds = watch_bounds,
                                        .changes = watch_changes,
                                        .skip = watch_skip,
                                        .read = watch_read,
                                        .state = watch_state};
    return (struct feed){&ops, watch};
}

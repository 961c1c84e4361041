#include "tests/sim/watcher.h"

#include "base/fatal.h"
#include "base/list.h"

#include <stdlib.h>
#include <string.h>

/* --- The oracle ------------------------------------------------------------------------------- */

uint64_t oracle_hash(struct slice value)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < value.bytes; i++)
        hash = (hash ^ value.data[i]) * UINT64_C(0x100000001b3);
    return hash | 1;
}

void oracle_add(struct oracle *oracle, uint64_t above, uint64_t revision, struct slice key,
                uint64_t value)
{
    LIST_RESERVE(oracle);
    struct oracle_change *change = &oracle->items[oracle->count++];
    ASSERT(key.bytes <= sizeof change->key && above < revision);
    *change = (struct oracle_change){
        .revision = revision, .above = above, .key_bytes = (uint32_t)key.bytes, .value = value};
    memcpy(change->key, key.data, key.bytes);
}

void oracle_deinit(struct oracle *oracle)
{
    free(oracle->items);
    *oracle = (struct oracle){0};
}

/* The first change that may have this revision or a later one. */
static uint32_t oracle_from(const struct oracle *oracle, uint64_t revision)
{
    uint32_t low = 0, high = oracle->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (oracle->items[middle].revision < revision)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int compare(struct slice a, struct slice b)
{
    size_t bytes = a.bytes < b.bytes ? a.bytes : b.bytes;
    int order = bytes ? memcmp(a.data, b.data, bytes) : 0;
    return order ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

static bool in_range(const struct watcher *watcher, struct slice key)
{
    const struct kv_bounds *bounds = &watcher->spec.bounds;
    return compare(key, bounds->from) >= 0 && (bounds->no_end || compare(key, bounds->to) < 0);
}

static struct slice change_key(const struct oracle_change *change)
{
    return (struct slice){change->key, change->key_bytes};
}

static bool wanted(const struct watcher *watcher, const struct oracle_change *change)
{
    uint64_t left_out = change->value ? WATCH_NO_PUTS : WATCH_NO_DELETES;
    return in_range(watcher, change_key(change)) && !(watcher->spec.what & left_out);
}

/* --- Life ------------------------------------------------------------------------------------- */

void watcher_init(struct watcher *watcher, const struct oracle *oracle, struct slice from,
                  struct slice to, uint64_t what)
{
    *watcher = (struct watcher){.oracle = oracle};
    ASSERT(from.bytes <= sizeof watcher->from && to.bytes <= sizeof watcher->to);
    if (from.bytes)
        memcpy(watcher->from, from.data, from.bytes);
    if (to.bytes)
        memcpy(watcher->to, to.data, to.bytes);
    watcher->spec = (struct watch_spec){
        .bounds = {{watcher->from, from.bytes}, {watcher->to, to.bytes}, to.bytes == 0},
        .what = what};
}

void watcher_deinit(struct watcher *watcher)
{
    free(watcher->told.items);
    free(watcher->open.items);
    free(watcher->state.items);
}

struct buf *watcher_subscribe(struct watcher *watcher)
{
    struct pack spec, pack;
    struct watch_spec watch = watcher->spec;
    watcher_lost(watcher);
    if (watcher->position)
        watch.what &= ~(uint64_t)WATCH_INITIAL;
    pack_init(&spec, 0);
    watch_spec_pack(&spec, &watch);
    pack_init(&pack, 0);
    stream_subscribe_pack(&pack, &(struct stream_subscribe){STREAM_WATCH,
                                                            watcher->position,
                                                            watcher->granted,
                                                            {spec.buf->data, spec.bytes}});
    pack_deinit(&spec);
    return pack_take(&pack);
}

void watcher_lost(struct watcher *watcher)
{
    watcher->number = 0;
    watcher->spent = 0;
    watcher->begun = watcher->stating = watcher->part = false;
    watcher->age_ms = 0;
    watcher->open.count = 0;
    watcher->state.count = 0;
    watcher->ask = watcher->answered = 0;
}

void watcher_forget(struct watcher *watcher)
{
    if (watcher->position > watcher->seen)
        watcher->seen = watcher->position;
    watcher->position = 0;
    watcher_lost(watcher);
}

/* --- What is wrong ---------------------------------------------------------------------------- */

static void fail(struct watcher *watcher, const char *wrong, uint64_t revision)
{
    if (watcher->wrong)
        return;
    watcher->wrong = wrong;
    watcher->wrong_revision = revision;
}

static uint8_t *told(struct watcher *watcher, uint32_t change)
{
    while (watcher->told.count < watcher->oracle->count) {
        LIST_RESERVE(&watcher->told);
        watcher->told.items[watcher->told.count++] = 0;
    }
    return &watcher->told.items[change];
}

static bool is_open(const struct watcher *watcher, uint32_t change)
{
    for (uint32_t i = 0; i < watcher->open.count; i++)
        if (watcher->open.items[i] == change)
            return true;
    return false;
}

static uint64_t hash_of(const struct watcher *watcher, struct slice value)
{
    return watcher->oracle->hash ? watcher->oracle->hash(value) : oracle_hash(value);
}

static void take_event(struct watcher *watcher, const struct watch_event *event)
{
    const struct oracle *oracle = watcher->oracle;
    uint64_t value = event->kind == WATCH_PUT ? hash_of(watcher, event->value) : 0;
    if (event->revision < watcher->position)
        fail(watcher, "an event comes again, or late", event->revision);
    if (event->revision < watcher->last_revision)
        fail(watcher, "events do not come in their order", event->revision);
    watcher->last_revision = event->revision;
    for (uint32_t i = oracle_from(oracle, event->revision); i < oracle->count; i++) {
        const struct oracle_change *change = &oracle->items[i];
        if (change->above >= event->revision)
            break;
        if (change->value != value || compare(change_key(change), event->key) != 0 ||
            (value && change->revision != event->revision) || !wanted(watcher, change))
            continue;
        if (*told(watcher, i) || is_open(watcher, i))
            continue; /* a key may go twice within what was done at once */
        const char *wrong = oracle->event_wrong
                                ? oracle->event_wrong(oracle->arg, change->tag, event,
                                                      watcher->spec.what & WATCH_PREVIOUS)
                                : NULL;
        if (wrong)
            fail(watcher, wrong, event->revision);
        LIST_RESERVE(&watcher->open);
        watcher->open.items[watcher->open.count++] = i;
        watcher->events++;
        return;
    }
    fail(watcher, "an event tells of what did not happen, or twice", event->revision);
}

/* Everything before the position has been told. */
static void settle(struct watcher *watcher, uint64_t position)
{
    const struct oracle *oracle = watcher->oracle;
    for (uint32_t i = 0; i < watcher->open.count; i++)
        *told(watcher, watcher->open.items[i]) = 1;
    watcher->open.count = 0;
    if (position < watcher->position) {
        fail(watcher, "the position goes back", position);
        return;
    }
    for (uint32_t i = oracle_from(oracle, watcher->position);
         i < oracle->count && oracle->items[i].revision < position; i++)
        if (oracle->items[i].above + 1 >= watcher->position && wanted(watcher, &oracle->items[i]) &&
            !*told(watcher, i))
            fail(watcher, "an event was left out", oracle->items[i].revision);
    watcher->position = position;
}

static void take_events(struct watcher *watcher, const struct stream_frame *frame)
{
    struct cursor cursor;
    uint64_t first = 0;
    cursor_init(&cursor, frame->items.data, frame->items.bytes);
    for (uint32_t i = 0; i < frame->count; i++) {
        struct watch_event event;
        if (watch_event_read(&cursor, &event)) {
            fail(watcher, "an event cannot be read", 0);
            return;
        }
        first = first ? first : event.revision;
        if (frame->more && event.revision != first)
            fail(watcher, "a frame that goes on has several revisions", event.revision);
        if (!frame->more && event.revision >= frame->position)
            fail(watcher, "an event lies behind the frame's position", event.revision);
        take_event(watcher, &event);
    }
    if (!cursor_done(&cursor))
        fail(watcher, "bytes are left over in a frame", 0);
    watcher->part = frame->more;
    if (!frame->more)
        settle(watcher, frame->position);
}

static void take_item(struct watcher *watcher, const struct kv_item *item)
{
    uint32_t at = 0;
    if (!in_range(watcher, item->key) || item->key.bytes > ORACLE_KEY_BYTES) {
        fail(watcher, "a state has a key that is not in the range", item->mod_revision);
        return;
    }
    while (at < watcher->state.count &&
           compare((struct slice){watcher->state.items[at].key, watcher->state.items[at].key_bytes},
                   item->key) != 0)
        at++;
    if (at == watcher->state.count) {
        LIST_RESERVE(&watcher->state);
        watcher->state.items[watcher->state.count++] =
            (struct watcher_item){.key_bytes = (uint32_t)item->key.bytes};
        memcpy(watcher->state.items[at].key, item->key.data, item->key.bytes);
    }
    watcher->state.items[at].value = item->version ? hash_of(watcher, item->value) : 0;
    watcher->state.items[at].told = *item;
    watcher->state.items[at].told.key = watcher->state.items[at].told.value = (struct slice){0};
}

/* What made a key what it is at a revision, by the oracle; NULL: nothing did. */
static const struct oracle_change *change_at(const struct oracle *oracle, struct slice key,
                                             uint64_t position)
{
    for (uint32_t i = oracle_from(oracle, position); i-- > 0;)
        if (compare(change_key(&oracle->items[i]), key) == 0)
            return &oracle->items[i];
    return NULL;
}

/* The state is that before the position: no more, no less. */
static void settle_state(struct watcher *watcher, uint64_t position)
{
    const struct oracle *oracle = watcher->oracle;
    uint32_t held = 0, there = 0;
    for (uint32_t i = 0; i < watcher->state.count; i++) {
        const struct watcher_item *item = &watcher->state.items[i];
        struct slice key = {item->key, item->key_bytes};
        held += item->value != 0;
        const struct oracle_change *change = change_at(oracle, key, position);
        if (item->value != (change ? change->value : 0))
            fail(watcher, "a state has another value", position);
        else if (item->value && oracle->item_wrong &&
                 oracle->item_wrong(oracle->arg, change->tag, &item->told))
            fail(watcher, oracle->item_wrong(oracle->arg, change->tag, &item->told), position);
    }
    uint32_t end = oracle_from(oracle, position);
    for (uint32_t i = 0; i < end; i++) {
        struct slice key = change_key(&oracle->items[i]);
        bool last = true;
        for (uint32_t k = i + 1; k < end && last; k++)
            last = compare(change_key(&oracle->items[k]), key) != 0;
        there += last && oracle->items[i].value && in_range(watcher, key);
    }
    if (held != there)
        fail(watcher, "a state has not every key", position);
    watcher->open.count = 0;
    watcher->state.count = 0;
    watcher->stating = false;
    watcher->position = position;
    watcher->states++;
}

static void take_state(struct watcher *watcher, const struct stream_frame *frame)
{
    struct cursor cursor;
    watcher->stating = true;
    cursor_init(&cursor, frame->items.data, frame->items.bytes);
    for (uint32_t i = 0; i < frame->count; i++) {
        struct kv_item item;
        if (watch_item_read(&cursor, &item)) {
            fail(watcher, "an item cannot be read", 0);
            return;
        }
        take_item(watcher, &item);
    }
    if (frame->more)
        watcher->pieces++;
    else
        settle_state(watcher, frame->position);
}

static void begin(struct watcher *watcher, const struct stream_frame *frame)
{
    if (watcher->position && frame->position != watcher->position)
        fail(watcher, "it begins elsewhere", frame->position);
    if (!watcher->position && frame->position < watcher->seen)
        fail(watcher, "what comes begins before what was told", frame->position);
    watcher->position = frame->position;
    watcher->begun = true;
    watcher->last_revision = 0;
    watcher->begins++;
}

bool watcher_take(struct watcher *watcher, struct slice body)
{
    struct stream_frame frame;
    if (stream_frame_decode(body, &frame)) {
        fail(watcher, "a frame cannot be read", 0);
        return true;
    }
    if (frame.number != watcher->number + 1)
        return false;
    watcher->number = frame.number;
    watcher->frames++;
    if ((frame.type == STREAM_BEGUN) != (frame.number == 1))
        fail(watcher, "the first frame says that it began, and no other", frame.position);
    switch (frame.type) {
    case STREAM_BEGUN:
        begin(watcher, &frame);
        break;
    case STREAM_EVENTS:
        watcher->spent += body.bytes;
        take_events(watcher, &frame);
        break;
    case STREAM_STATE:
        watcher->spent += body.bytes;
        take_state(watcher, &frame);
        break;
    case STREAM_PROGRESS:
        watcher->age_ms = frame.age_ms;
        if (!watcher->part)
            settle(watcher, frame.position);
        if (frame.ask && frame.ask == watcher->ask && frame.position <= watcher->ask_revision)
            fail(watcher, "a mark is older than what it was asked for", frame.position);
        if (frame.ask)
            watcher->answered = frame.ask;
        break;
    case STREAM_RESYNC:
        if (frame.oldest <= frame.position && !watcher->stating)
            fail(watcher, "it is told to begin anew without need", frame.position);
        watcher->state.count = 0;
        watcher->open.count = 0;
        watcher->stating = true;
        watcher->part = false;
        watcher->last_revision = 0;
        watcher->resyncs++;
        break;
    default:
        fail(watcher, "a frame has an unknown type", frame.position);
    }
    return true;
}

bool watcher_is_at(const struct watcher *watcher, uint64_t position)
{
    return watcher->begun && !watcher->stating && !watcher->part && watcher->position >= position;
}

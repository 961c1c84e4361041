/* codec/watch.h - what a subscription to keys (codec/stream.h, kind 1) wants and is told.
 *
 *     spec    [from, to, what?, space?]
 *     event   [kind, key, value, revision, create_revision, version, previous?]
 *     previous                  nil, or [value, create_revision, revision, version]
 *
 * Positions are revisions. Items of STATE are those of ranges (codec/kv.h); one of version 0 and
 * without a value says that the key is gone again. Decoding allocates nothing; the slices point
 * into the bytes read. Any thread; pure functions. */
#ifndef CODEC_WATCH_H
#define CODEC_WATCH_H

#include "codec/kv.h"

enum watch_what {
    WATCH_INITIAL = 1,    /* what is in the range comes first, as STATE */
    WATCH_NO_PUTS = 2,    /* events of puts are left out */
    WATCH_NO_DELETES = 4, /* those of deletes and expiries are */
    WATCH_PREVIOUS = 8,   /* events tell what there was before */
    WATCH_WHAT_ALL = 15
};

struct watch_spec {
    struct kv_bounds bounds;
    uint64_t what; /* of enum watch_what */
    uint64_t space;
};

/* Errors: MALFORMED, INVALID (an unknown `what`), TOO_LARGE (a bound). */
MUST_USE int watch_spec_decode(struct slice spec, struct watch_spec *ret);
void watch_spec_pack(struct pack *pack, const struct watch_spec *spec);

enum watch_event_kind { WATCH_PUT = 1, WATCH_DELETE = 2, WATCH_EXPIRE = 3 };

struct watch_event {
    uint64_t kind; /* enum watch_event_kind; unknown ones are handed out */
    struct slice key;
    struct slice value; /* PUT */
    uint64_t revision;
    uint64_t create_revision, version; /* PUT: of the key now; else 0 */
    bool has_previous;                 /* it was asked for, there was something, and it is known */
    struct kv_item previous;           /* without the key */
};

size_t watch_event_bytes(const struct watch_event *event); /* at most */
void watch_event_pack(struct pack *pack, const struct watch_event *event);

/* Reads the next event from a cursor over a frame's items. Errors: MALFORMED. */
MUST_USE int watch_event_read(struct cursor *cursor, struct watch_event *ret);

/* Likewise an item of a frame of STATE. */
MUST_USE int watch_item_read(struct cursor *cursor, struct kv_item *ret);

#endif

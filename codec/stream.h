/* codec/stream.h - subscriptions of clients on the wire: one mechanism for all that a node tells a
 * client by itself, watches (codec/watch.h) and topics.
 *
 *     SUBSCRIBE    [kind, position, granted, spec]     body of the operation, bin
 *     CREDIT       [granted, ask?]
 *     UNSUBSCRIBE  nil
 *     frame        [number, type, position, ...]       body of a reply with the code OK, bin
 *       BEGUN        [1, 1, position, lifetime_ms]
 *       EVENTS       [number, 2, position, more, [event, ...]]
 *       STATE        [number, 3, position, more, [item, ...]]
 *       PROGRESS     [number, 4, position, age_ms, ask]
 *       RESYNC       [number, 5, position, oldest]
 *
 * All three operations and all frames have the id of the SUBSCRIBE. Frames are numbered from 1: one
 * that is missing was lost. `position` is where a subscription has to begin that goes on behind the
 * frame. A reply with another code, or an OK with an empty body, is the end. docs/protocol.md is
 * the full description. Decoding allocates nothing. Any thread; pure functions. */
#ifndef CODEC_STREAM_H
#define CODEC_STREAM_H

#include "base/cursor.h"
#include "base/error.h"
#include "base/pack.h"

enum stream_kind { STREAM_WATCH = 1, STREAM_TOPIC = 2, STREAM_GROUP = 3, STREAM_KINDS = 4 };

enum {
    STREAM_SPEC_BYTES_MAX = 2048, /* two bounds of 481 bytes, and options */

    /* A client that says nothing about any of its subscriptions for so long has lost them all. */
    STREAM_LIFETIME_MS = 30000,
    /* One with nothing to tell says so after so long. */
    STREAM_PROGRESS_MS = 3000,
    /* Subscriptions of one connection, at most. */
    STREAM_CONNECTION_MAX = 16384,

    /* Events or items of one frame, at most, unless the first one alone is larger. */
    STREAM_FRAME_BYTES = 128 << 10,
    STREAM_FRAME_OVERHEAD_BYTES = 48 /* beside its items */
};

/* --- What clients say ------------------------------------------------------------------------- */

struct stream_subscribe {
    uint64_t kind;     /* enum stream_kind; unknown ones are handed out */
    uint64_t position; /* the first one wanted; 0: from now on */
    uint64_t granted;  /* as in CREDIT */
    struct slice spec; /* one MessagePack value, the kind's own */
};

/* Errors: MALFORMED, TOO_LARGE (the spec). */
MUST_USE int stream_subscribe_decode(struct slice body, struct stream_subscribe *ret);
void stream_subscribe_pack(struct pack *pack, const struct stream_subscribe *subscribe);

struct stream_credit {
    uint64_t granted; /* bytes of EVENTS and STATE bodies, since the subscription began, in all */
    uint64_t ask;     /* not 0: wants a PROGRESS that names it and is newer than this */
};

/* Errors: MALFORMED. */
MUST_USE int stream_credit_decode(struct slice body, struct stream_credit *ret);
void stream_credit_pack(struct pack *pack, const struct stream_credit *credit);

/* --- What nodes say --------------------------------------------------------------------------- */

enum stream_frame_type {
    STREAM_BEGUN = 1,    /* the first frame: it is in place */
    STREAM_EVENTS = 2,   /* what happened */
    STREAM_STATE = 3,    /* what is; piece by piece, until `more` is false */
    STREAM_PROGRESS = 4, /* all that happened before `position` has been told */
    STREAM_RESYNC = 5    /* what happened from `position` on is not kept any more */
};

struct stream_frame {
    uint64_t number;
    uint64_t type; /* enum stream_frame_type; of unknown ones nothing but `position` is read */
    uint64_t position;
    uint64_t lifetime_ms; /* BEGUN */
    bool more;          /* EVENTS: the last position goes on in the next frame. STATE: so does it */
    uint32_t count;     /* EVENTS, STATE */
    struct slice items; /* so many MessagePack values */
    uint64_t age_ms;    /* PROGRESS: so old may be what it knows */
    uint64_t ask;       /* PROGRESS: the newest CREDIT.ask that it answers; 0: none */
    uint64_t oldest;    /* RESYNC: the first position that is kept */
};

/* Errors: MALFORMED. */
MUST_USE int stream_frame_decode(struct slice body, struct stream_frame *ret);
void stream_frame_pack(struct pack *pack, const struct stream_frame *frame);

#endif

/* machine/feed.h - what a machine offers to subscriptions (actors/stream_hub.h), kind by kind
 * (codec/stream.h): keys that are watched, topics.
 *
 * A feed is ordered by positions, numbers that rise: the revision of a change, the sequence of a
 * message. Of the same position there may be several events; they belong together and are told
 * together. Everything is read from the machine's tables as of the last apply: there is no queue of
 * events anywhere, so that nothing can be lost between history and what happens now, and a
 * subscriber that is slow costs nothing but its turn.
 *
 * How the hub uses it, on the thread of the state machine and between two applies:
 *     check     once for a subscription: what it is about
 *     bounds    what there is now
 *     changes   after every apply: whom to look at
 *     read      events of one subscription, from where it is, as far as its room reaches
 *     state     what there is now, piece by piece, for one that begins or was too far behind
 *
 * A new kind implements these functions, adds its number to enum stream_kind and is handed to the
 * hub; everything else (routes, credit, order, progress, limits) is the hub's. */
#ifndef MACHINE_FEED_H
#define MACHINE_FEED_H

#include "base/buf.h"
#include "base/error.h"
#include "base/pack.h"

/* What a subscription is about: names of one space, in the order of memcmp. */
struct feed_interest {
    uint8_t space;
    bool no_end;       /* up to the last name */
    bool single;       /* one name alone, `from` */
    uint64_t token;    /* the kind's own */
    struct slice from; /* the first name; points into the spec */
    struct slice to;   /* the first name behind, if there is an end */
};

/* The interest in one name says so, or has the end `name 00`. */
static inline bool feed_interest_is_single(const struct feed_interest *interest)
{
    if (interest->single)
        return true;
    return !interest->no_end && interest->to.bytes == interest->from.bytes + 1 &&
           interest->to.data[interest->from.bytes] == 0 && interest->from.bytes > 0 &&
           __builtin_memcmp(interest->from.data, interest->to.data, interest->from.bytes) == 0;
}

enum {
    /* What was asked for is not kept any more. Internal: never an answer. */
    FEED_LOST = -2,

    FEED_NAME_BYTES_MAX = 511
};

/* One call of `read`. */
struct feed_read {
    struct slice spec; /* as checked */
    const struct feed_interest *interest;

    /* In: where to begin. Out: where to go on: everything before it was looked at. `part` is not 0
     * within a position: so many of its events, wanted or not, come before. */
    uint64_t position;
    uint32_t part;

    uint64_t end; /* the first position that is not to be looked at */
    size_t bytes; /* stop when there is so much in `items`: with whole positions alone, or with the
                     first one alone in part */
    uint32_t looks; /* stop after so many events were looked at; out: what is left of them */

    struct pack *items; /* one MessagePack value is added for each event that is wanted */
    uint32_t count;     /* of them */
};

/* One call of `state`, and what it remembers between calls. Zeroed at first. */
struct feed_state {
    struct slice spec;
    const struct feed_interest *interest;
    size_t bytes;
    uint32_t looks;
    struct pack *items; /* pieces of the state. A later piece about the same name replaces it */
    uint32_t count;

    uint64_t position; /* the pieces so far tell of everything before it; 0: not begun */
    uint32_t part;
    bool done; /* all of it was told */

    uint32_t name_bytes; /* names before this one were told; 0: not begun */
    uint8_t name[FEED_NAME_BYTES_MAX + 1];
};

/* Who is told that something changed. */
typedef void (*feed_touch)(void *arg, uint8_t space, struct slice name, uint64_t from,
                           uint64_t end);

/* Of one kind. Functions return 0, a public code (of this node's tables: the subscription ends), or
 * FEED_LOST. */
struct feed_ops {
    /* Reads the spec. INVALID, MALFORMED, TOO_LARGE, NOT_FOUND are told to the client.
     * *ret_state: wants the state first, in any case. */
    int (*check)(void *feed, struct slice spec, struct feed_interest *ret, bool *ret_state);

    /* The first position that is kept, and the one that comes next. */
    int (*bounds)(void *feed, const struct feed_interest *interest, uint64_t *ret_oldest,
                  uint64_t *ret_next);

    /* Names each change since the last call (`touch` may be called several times for one), oldest
     * first, as positions from `from` on and before `end`. FEED_LOST: more than that has changed.
     */
    int (*changes)(void *feed, feed_touch touch, void *arg);

    /* There is no subscription: what changed until now need not be named. */
    void (*skip)(void *feed);

    int (*read)(void *feed, struct feed_read *read);

    /* FEED_LOST: it has to be begun anew. NULL: there is none; after a gap a subscription goes on
     * with the first position that is kept. */
    int (*state)(void *feed, struct feed_state *state);
};

struct feed {
    const struct feed_ops *ops; /* NULL: the machine has none of this kind */
    void *arg;
};

#endif

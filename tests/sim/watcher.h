/* tests/sim/watcher.h - a client that watches keys, and what it may be told.
 *
 * The oracle holds every change that was ever made, oldest first. A watcher takes the frames of its
 * subscription apart (codec/stream.h) and says what is wrong with them: events have to come in the
 * order of their revisions, each once, all of those in its range, those of one revision together,
 * whatever node tells them and however often the watcher begins again elsewhere; a state has to be
 * that of one revision. Pure; one thread. */
#ifndef TESTS_SIM_WATCHER_H
#define TESTS_SIM_WATCHER_H

#include "codec/stream.h"
#include "codec/watch.h"

enum { ORACLE_KEY_BYTES = 16 };

struct oracle_change {
    uint64_t revision;
    uint64_t above; /* of a key that went: its revision is above this, and at most `revision` */
    uint32_t key_bytes;
    uint8_t key[ORACLE_KEY_BYTES];
    uint64_t value; /* a hash of what was put; 0: the key is gone */
    uint64_t tag;   /* for whoever knows more of it, below */
};

struct oracle {
    struct oracle_change *items;
    uint32_t count, capacity;
    uint64_t (*hash)(struct slice value); /* never 0; NULL: oracle_hash */
    /* What is wrong with an event that tells of this change, or with an item (without its value)
     * that it left behind; NULL: nothing. Neither is asked if it is NULL. */
    const char *(*event_wrong)(const void *arg, uint64_t tag, const struct watch_event *event,
                               bool previous);
    const char *(*item_wrong)(const void *arg, uint64_t tag, const struct kv_item *item);
    const void *arg;
};

/* `above`: the revision before, unless several revisions were made at once. */
void oracle_add(struct oracle *oracle, uint64_t above, uint64_t revision, struct slice key,
                uint64_t value);
void oracle_deinit(struct oracle *oracle);

/* Never 0. */
uint64_t oracle_hash(struct slice value);

struct watcher_item {
    uint32_t key_bytes;
    uint8_t key[ORACLE_KEY_BYTES];
    uint64_t value;
    struct kv_item told; /* without key and value */
};

struct watcher {
    const struct oracle *oracle;
    uint8_t from[ORACLE_KEY_BYTES], to[ORACLE_KEY_BYTES + 1];
    struct watch_spec spec; /* bounds point into the two above */

    uint64_t position; /* where to begin again; 0: it never began */
    uint64_t number;   /* of the last frame; 0: none came */
    uint64_t granted, spent;
    uint64_t ask, answered; /* the last mark that was asked for, and told */
    uint64_t ask_revision;  /* the mark has to be at or behind this one */
    uint64_t age_ms;        /* of the last progress mark: what the node knows of the others */
    uint64_t seen;          /* where it was when it forgot everything */
    bool begun, stating, part;
    uint64_t last_revision; /* of the last event of this subscription */

    struct { /* one for each change of the oracle: was it told? */
        uint8_t *items;
        uint32_t count, capacity;
    } told;
    struct { /* changes that were told in frames that go on */
        uint32_t *items;
        uint32_t count, capacity;
    } open;
    struct {
        struct watcher_item *items;
        uint32_t count, capacity;
    } state;

    uint64_t events, pieces, states, resyncs, frames, begins;
    const char *wrong; /* the first thing that is */
    uint64_t wrong_revision;
};

/* Watches [from, to); `to` empty: to the end. */
void watcher_init(struct watcher *watcher, const struct oracle *oracle, struct slice from,
                  struct slice to, uint64_t what);
void watcher_deinit(struct watcher *watcher);

/* What to subscribe with, now or again; one reference. */
struct buf *watcher_subscribe(struct watcher *watcher);

/* What was open is lost: it begins again. */
void watcher_lost(struct watcher *watcher);

/* It dies and comes back, and knows nothing of what it was told. */
void watcher_forget(struct watcher *watcher);

/* Takes a frame. False: one before it was lost, and this one is worth nothing. */
bool watcher_take(struct watcher *watcher, struct slice body);

/* Whether it was told all that happened before this position. */
bool watcher_is_at(const struct watcher *watcher, uint64_t position);

#endif

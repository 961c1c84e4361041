/* machine/kv_watch.h - the changes of keys as a feed (machine/feed.h): positions are revisions, the
 * events are read from the history (machine/kv_history.h), the state from the keys.
 *
 * A state that is told in pieces is one of its end: with each piece go the changes since the one
 * before, of the keys that were told already. So nothing is kept open meanwhile, and however large
 * it is, it is whole. One thread: the state-machine actor's. */
#ifndef MACHINE_KV_WATCH_H
#define MACHINE_KV_WATCH_H

#include "machine/feed.h"
#include "machine/kv_state.h"

struct kv_watch {
    struct tables *tables;
    const struct kv_state *state; /* committed */
    uint64_t seen;                /* changes up to this revision were named */
};

/* Both outlive what is made of them. */
void kv_watch_init(struct kv_watch *watch, struct tables *tables, const struct kv_state *state);

struct feed kv_watch_as_feed(struct kv_watch *watch);

#endif

/* machine/kv_deadline.h - what ends by cluster time, in the order in which it does.
 *
 * The table holds, under time in ms (8), kind (1) and number (8), big-endian, a note of whoever set
 * it: a topic's name. Whoever sets a deadline keeps its time, to clear it. What is due is carried
 * out when cluster time passes, as an entry of the log, in the order of the table
 * (machine/kv_expire.c).
 *
 * Cluster time is what leaders measured and wrote into the log; it is never ahead of real time, but
 * it may be behind by what is not written yet, up to a bound (codec/session_clock.h). A deadline
 * counts from the latest that it can be: so nothing is ever early, by whatever clock measures well,
 * and what is lost at a change of leader makes it later.
 *
 * Functions return what those of machine/tables.h do. State-machine thread. */
#ifndef MACHINE_KV_DEADLINE_H
#define MACHINE_KV_DEADLINE_H

#include "machine/tables.h"

enum kv_deadline_kind {
    KV_DEADLINE_LEASE = 1,
    KV_DEADLINE_GROUP = 2,
    KV_DEADLINE_TOPIC = 3, /* messages of a topic are too old; the note is its name */
    KV_DEADLINE_REST = 4   /* what a deleted topic has left */
};

enum { KV_DEADLINE_NOTE_BYTES_MAX = 255 };

struct kv_deadline {
    uint64_t ms;
    enum kv_deadline_kind kind;
    uint64_t number;   /* a lease's; the id of a group or topic */
    struct slice note; /* borrowed from the table where it was found there */
};

MUST_USE int kv_deadline_set(struct tables_tx *tx, const struct kv_deadline *deadline);
MUST_USE int kv_deadline_clear(struct tables_tx *tx, const struct kv_deadline *deadline);

/* The earliest one. NOT_FOUND: there is none. */
MUST_USE int kv_deadline_first(struct tables_tx *tx, struct kv_deadline *ret);

#endif

/* machine/kv_query.h - answering one key-value query from what is committed, or inside of a
 * transaction. One thread: the state-machine actor's. */
#ifndef MACHINE_KV_QUERY_H
#define MACHINE_KV_QUERY_H

#include "codec/kv.h"
#include "machine/kv_change.h"

/* What is read from. */
struct kv_view {
    struct tables_tx *tx;
    const struct kv_state *state; /* of the same moment */
    uint64_t revision;            /* which answers tell */
    uint64_t clock_ms;
};

/* Packs the answer and sets its code, which is the store's own word. Returns a failure of the
 * tables: IO, CORRUPT. */
MUST_USE int kv_query_run(const struct kv_view *view, const struct kv_query *query,
                          struct pack *pack, int *ret_code);

/* Sets the answer to what was asked, whatever happens: a failure of the tables is its code. */
void kv_query_answer(struct tables *tables, const struct kv_state *state, uint64_t clock_ms,
                     const void *data, size_t bytes, struct conclave_reply_sink *reply);

#endif

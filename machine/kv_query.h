/* machine/kv_query.h - answering one key-value query from what is committed.
 * One thread: the state-machine actor's. */
#ifndef MACHINE_KV_QUERY_H
#define MACHINE_KV_QUERY_H

#include "machine/kv_store.h"

/* Sets the answer, whatever happens: a failure of the store is its code (IO, CORRUPT). */
void kv_query_answer(struct kv_store *store, const void *data, size_t bytes,
                     struct conclave_reply_sink *reply);

#endif

/* machine/kv_query.h - answering one key-value query from what is committed.
 * One thread: the state-machine actor's. */
#ifndef MACHINE_KV_QUERY_H
#define MACHINE_KV_QUERY_H

#include "machine/tables.h"

/* Sets the answer, whatever happens: a failure of the tables is its code (IO, CORRUPT). `revision`
 * is the one that is committed. */
void kv_query_answer(struct tables *tables, uint64_t revision, const void *data, size_t bytes,
                     struct conclave_reply_sink *reply);

#endif

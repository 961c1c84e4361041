/* machine/kv_txn.h - transactions: compares, then one of two lists of steps, all of it as one
 * revision or not at all. State-machine thread. */
#ifndef MACHINE_KV_TXN_H
#define MACHINE_KV_TXN_H

#include "codec/kv_txn.h"
#include "machine/kv_change.h"

/* Applies it and answers batch->reply. What refuses a put of it by itself refuses all of it. 0, or
 * what kv_command_apply returns. */
MUST_USE int kv_txn_apply(struct kv_batch *batch, const struct kv_txn *txn);

#endif

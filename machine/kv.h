/* machine/kv.h - the built-in key-value machine on LMDB.
 *
 * One global revision that rises by one with every command that changes something; each key carries
 * its create revision, modify revision and version, as in etcd. Commands, queries and answers are
 * encoded by codec/kv.h. The log is what is durable: LMDB runs unsynced, its applied index is
 * written in the same transaction as the data, and a store from before a reboot of the machine is
 * discarded and rebuilt from the log. One thread: the state-machine actor's. */
#ifndef MACHINE_KV_H
#define MACHINE_KV_H

#include "base/error.h"

struct kv;

struct kv *kv_create(void);
void kv_destroy(struct kv *kv); /* closes if open */

/* The functions; `machine` is the struct kv. */
const struct conclave_machine_ops *kv_machine_ops(void);

/* The revision of the last applied change, for status. State-machine thread. */
uint64_t kv_revision(const struct kv *kv);

#endif

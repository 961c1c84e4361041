/* machine/kv_expire.h - what happens because cluster time has passed: what is due ends, history
 * that is too old goes. State-machine thread. */
#ifndef MACHINE_KV_EXPIRE_H
#define MACHINE_KV_EXPIRE_H

#include "machine/kv_change.h"

/* What one passing of time may end, so that no apply takes long: keys, and one for each lease,
 * topic or block of messages that goes, or erased key of a deleted topic. What is begun is
 * finished. */
enum { KV_EXPIRE_WORK = 1024 };

/* Carries out what is due, in the order of the deadlines, each as a revision of its own, until
 * batch->expire_work is done: what is left is due as soon as time passes again, which the leader
 * sees to at once. At the same place of the log on every node: right behind the entry with which
 * the time passed. 0, or what the functions of machine/tables.h return. */
MUST_USE int kv_expire(struct kv_batch *batch);

#endif

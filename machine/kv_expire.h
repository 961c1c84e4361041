/* machine/kv_expire.h - what happens because cluster time has passed: what is due ends, history
 * that is too old goes. State-machine thread. */
#ifndef MACHINE_KV_EXPIRE_H
#define MACHINE_KV_EXPIRE_H

#include "machine/kv_change.h"

/* Carries out what is due, in the order of the deadlines, each as a revision of its own. At the
 * same place of the log on every node: right behind the entry with which the time passed. 0, or
 * what the functions of machine/tables.h return. */
MUST_USE int kv_expire(struct kv_batch *batch);

#endif

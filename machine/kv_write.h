/* machine/kv_write.h - a put or a delete of one key, by itself or as a step of a transaction: what
 * refuses it, what it is answered, what it does. `found` is what kv_change_find found under the
 * command's key, with nothing changed since. State-machine thread. */
#ifndef MACHINE_KV_WRITE_H
#define MACHINE_KV_WRITE_H

#include "codec/kv.h"
#include "machine/kv_change.h"

/* By how many bytes more than now it would count, with the lease that goes with the key. Returns a
 * failure of the tables. */
MUST_USE int kv_write_growth(struct kv_batch *batch, const struct kv_command *command,
                             const struct kv_found *found, uint64_t *ret);

/* Whether it may be carried out: *ret_code is LEASE_EXPIRED, QUOTA, or left alone. Returns a
 * failure of the tables. */
MUST_USE int kv_write_check(struct kv_batch *batch, const struct kv_command *command,
                            const struct kv_found *found, int *ret_code);

/* What it will be answered, within the revision that is being made; the item is borrowed. */
MUST_USE int kv_write_outcome(const struct kv_batch *batch, const struct kv_command *command,
                              const struct kv_found *found, struct kv_outcome *ret);

/* Adds the item that was found, if the command asks for it. */
MUST_USE int kv_write_item(const struct kv_command *command, const struct kv_found *found,
                           struct kv_outcome *outcome);

/* Carries it out. */
MUST_USE int kv_write_apply(struct kv_batch *batch, const struct kv_command *command,
                            const struct kv_found *found);

#endif

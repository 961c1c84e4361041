/* machine/kv_command.h - applying one key-value command inside a batch.
 *
 * The answer is a function of the command's bytes and of the commands before it, so that every node
 * gives the same and ends up with the same keys. One thread: the state-machine actor's. */
#ifndef MACHINE_KV_COMMAND_H
#define MACHINE_KV_COMMAND_H

#include "machine/kv_change.h"

/* Applies the command and sets its answer (`reply` NULL: nobody asks). Returns 0, or the code of a
 * failure of this node's tables, TABLES_FULL too: the batch is then to be aborted. */
MUST_USE int kv_command_apply(struct kv_batch *batch, const struct conclave_command *entry,
                              struct conclave_reply_sink *reply);

#endif

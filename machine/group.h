/* machine/group.h - work groups on topics: what their commands, and time, do to the tables inside
 * the apply of a batch.
 *
 * A group hands each message of its topic to one member at a time. A member is a lease. What it
 * holds has a deadline of cluster time, by which it is to be acknowledged or extended; then it is
 * ready for another one, as it is when the member gives it back or its lease ends. What was
 * delivered as often as the group allows is published to another topic instead, as a revision of
 * its own.
 *
 * Payloads stay where they are: a fetch answers with sequences. One command works on at most
 * CONCLAVE_GROUP_SETTLE_MAX messages; whatever may be more (a member's end, deadlines, dead
 * letters) is done when cluster time passes, in steps of GROUP_STEP messages. Of a group there is
 * one entry in the table of deadlines: the earliest, or an earlier one that is not needed any more.
 *
 * State-machine thread. Functions that say "rc" return what those of machine/kv_change.h do. */
#ifndef MACHINE_GROUP_H
#define MACHINE_GROUP_H

#include "machine/group_record.h"
#include "machine/kv_change.h"

enum {
    GROUP_STEP = 256,           /* messages that a step moves */
    GROUP_STEP_BYTES = 1 << 20, /* or bytes of dead letters */
    GROUP_BURY_MAX = 256,       /* keys of deleted groups that a command erases */
    GROUP_FETCH_LOOKS = 4 * CONCLAVE_GROUP_FETCH_MAX /* of what is ready; the rest waits */
};

/* rc. Applies a command whose opcode group_is_command knows, and answers batch->reply. */
MUST_USE int group_command_apply(struct kv_batch *batch, const void *data, size_t bytes);

/* rc. The topic of this name is deleted by the command at hand: so are its groups. Before that. */
MUST_USE int group_topic_deleted(struct kv_batch *batch, struct slice topic);

/* rc. For machine/kv_lease.c: the lease, a member of the group, ends. */
MUST_USE int group_lease_ended(struct kv_batch *batch, uint64_t group, uint64_t lease);

/* rc. For machine/kv_expire.c: the group's deadline is due. One step; what is left is due again. */
MUST_USE int group_expire(struct kv_batch *batch, uint64_t group);

/* --- Reading, from whatever transaction --------------------------------------------------------
 */

/* rc; NOT_FOUND: there is none. */
MUST_USE int group_find(struct tables_tx *tx, uint64_t topic, struct slice name, struct group *ret);
MUST_USE int group_read(struct tables_tx *tx, uint64_t id, struct group *ret);

/* Sets the answer to a query whose opcode group_is_query knows, whatever happens. */
void group_query_answer(struct tables *tables, uint64_t revision, uint64_t clock_ms,
                        const void *data, size_t bytes, struct conclave_reply_sink *reply);

#endif

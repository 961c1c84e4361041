/* machine/group_internal.h - what the files of work groups share: group.c (create, delete,
 * records), group_fetch.c, group_settle.c (ack, nack, extend), group_expire.c (deadlines, members
 * that end, dead letters), group_bury.c (what is deleted). State-machine thread; all functions
 * return an rc (machine/group.h). */
#ifndef MACHINE_GROUP_INTERNAL_H
#define MACHINE_GROUP_INTERNAL_H

#include "machine/group.h"
#include "machine/topic_internal.h"

static inline struct topic_key group_name_key(uint64_t topic, struct slice name)
{
    struct topic_key key = group_key(GROUP_TAG_NAME, topic);
    topic_key_add(&key, name.data, name.bytes);
    return key;
}

/* Erases a key that has to be there. */
MUST_USE int group_erase_key(struct kv_batch *batch, const struct topic_key *key);

/* Stores the record. */
MUST_USE int group_write(struct kv_batch *batch, const struct group *group);

/* The audit is told what is about to be changed. */
void group_note(struct kv_batch *batch, const struct group *group);

/* Answers with the revision and a number. */
void group_answer(struct kv_batch *batch, int code, uint64_t number);

/* The topic is batch->topics.record then. NOT_FOUND: it, or the group, is not there, which was
 * answered. */
MUST_USE int group_load(struct kv_batch *batch, const struct group_command *command,
                        struct group *ret);

/* The oldest message that the topic at hand keeps. */
MUST_USE int group_topic_first(struct kv_batch *batch, uint64_t *ret_sequence);

/* There is something to do at that time, at the latest. */
MUST_USE int group_due_at(struct kv_batch *batch, struct group *group, uint64_t ms);

/* When what begins now and lasts so long ends, at the earliest. */
static inline uint64_t group_end_of(const struct kv_batch *batch, uint64_t ms)
{
    return batch->clock_ms + batch->clock_lag_ms + ms;
}

/* Something may be fetched now: for those who wait. */
void group_touch(struct kv_batch *batch, struct group *group);

/* --- Single messages; they count in group->record, which the caller stores ---------------------
 */

/* Held by the lease until then; lease 0: by nobody. */
MUST_USE int group_hold(struct kv_batch *batch, struct group *group, uint64_t lease,
                        uint64_t sequence, struct group_held held);

/* Not held any more; `held` is what was found there. */
MUST_USE int group_let_go(struct kv_batch *batch, struct group *group, uint64_t lease,
                          uint64_t sequence, struct group_held held);

/* To be handed out again. */
MUST_USE int group_make_ready(struct kv_batch *batch, struct group *group, uint64_t sequence,
                              uint64_t deliveries);

/* NOT_FOUND: this lease does not hold it. */
MUST_USE int group_held_find(struct kv_batch *batch, const struct group *group, uint64_t lease,
                             uint64_t sequence, struct group_held *ret);

static inline bool group_is_exhausted(const struct group_record *record, uint64_t deliveries)
{
    return record->deliveries_max && deliveries >= record->deliveries_max;
}

/* --- Members ------------------------------------------------------------------------------------
 */

/* NOT_FOUND: the lease has fetched nothing yet. */
MUST_USE int group_member_find(struct kv_batch *batch, uint64_t group, uint64_t lease,
                               struct group_member *ret);
MUST_USE int group_member_write(struct kv_batch *batch, uint64_t group, uint64_t lease,
                                const struct group_member *member);

/* Whether it may be one, now. *ret_member all zero: it is not yet. */
MUST_USE int group_member_load(struct kv_batch *batch, const struct group *group, uint64_t lease,
                               bool *ret_lives, bool *ret_known, struct group_member *ret_member);

/* --- Commands; they answer ----------------------------------------------------------------------
 */
MUST_USE int group_fetch(struct kv_batch *batch, const struct group_command *command,
                         struct group *group);
MUST_USE int group_settle(struct kv_batch *batch, struct group_command *command,
                          struct group *group);

/* --- group_bury.c -------------------------------------------------------------------------------
 */

/* Nobody finds it any more; what it held is erased bit by bit. */
MUST_USE int group_drop(struct kv_batch *batch, const struct group *group);

/* Erases a part of what deleted groups have left, if any. */
MUST_USE int group_bury(struct kv_batch *batch);

#endif

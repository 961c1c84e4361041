/* machine/topic_internal.h - what the files of topics share: topic.c (create, delete, the kept
 * record), topic_publish.c, topic_dedup.c, topic_retention.c. State-machine thread; all functions
 * return an rc (machine/topic.h). */
#ifndef MACHINE_TOPIC_INTERNAL_H
#define MACHINE_TOPIC_INTERNAL_H

#include "machine/kv_deadline.h"
#include "machine/topic.h"

/* Makes batch->record the topic's. NOT_FOUND: there is none. */
MUST_USE int topic_load(struct topic_batch *batch, struct slice name);

/* rc. Opens a cursor of the batch over the blocks unless it is. */
MUST_USE int topic_blocks_open(struct topic_batch *batch, struct tables_cursor *cursor);

/* Stores the newest block as far as it is kept in the batch; before blocks are looked for. */
MUST_USE int topic_tail_flush(struct topic_batch *batch);

/* For the audit: what was found where a command changes something. */
void topic_note_effect(struct conclave_reply_sink *reply, const void *data, size_t bytes);
void topic_answer(struct conclave_reply_sink *reply, int code, uint64_t revision, uint64_t number);

enum {
    TOPIC_BYTES = 128,         /* what quotas count for a topic, beside its name and messages */
    TOPIC_GROWTH_MAX = 2 << 20 /* more than any command can add: it need not be looked at */
};

/* For quotas: so much more, or less, of what is counted. */
static inline void topic_count(uint64_t *counted, int64_t change)
{
    if (counted)
        *counted += (uint64_t)change;
}

/* Whether the command at hand may add so much; if not that is noted. */
bool topic_room_takes(struct topic_batch *batch, uint64_t growth);

/* What a publish to the topic of batch->record would add, as this revision. */
MUST_USE int topic_publish_growth(struct topic_batch *batch, const struct topic_command *command,
                                  uint64_t revision, uint64_t *ret);

/* A publish to the topic of batch->record. */
MUST_USE int topic_publish(struct topic_batch *batch, uint64_t *revision,
                           struct topic_command *command, struct conclave_reply_sink *reply);

/* Publishes a dead letter there. Its id is not compared: nothing may keep it back. */
MUST_USE int topic_publish_letter(struct topic_batch *batch, uint64_t *revision,
                                  const struct topic_message *message,
                                  struct conclave_reply_sink *reply);

/* Notes that the topic got messages. */
void topic_touch(struct topic_touched *touched, struct slice name, uint64_t first, uint64_t end);

/* --- topic_dedup.c: of batch->record, which compares ids ---------------------------------------
 */

/* *ret_sequence: the message that was published under this id within the window; 0: none. */
MUST_USE int topic_dedup_find(struct topic_batch *batch, struct slice id, uint64_t *ret_sequence);

/* Notes the id of a message that gets this sequence. */
MUST_USE int topic_dedup_note(struct topic_batch *batch, struct slice id, uint64_t sequence);

/* Notes in what order they came: once for each publish, after its ids. `first` is the sequence of
 * the first message. */
MUST_USE int topic_dedup_order(struct topic_batch *batch, const struct topic_message *messages,
                               uint32_t count, uint64_t first);

/* Erases what is behind the window, a bounded part. */
MUST_USE int topic_dedup_expire(struct topic_batch *batch);

/* --- topic_retention.c -------------------------------------------------------------------------
 */

/* Erases what batch->record keeps no more, at most *blocks, which goes down by those, and sets the
 * deadline of what is left. */
MUST_USE int topic_trim(struct topic_batch *batch, uint32_t *blocks,
                        struct conclave_reply_sink *reply);

/* The deadline of a topic came: likewise; *work goes down by 1 too, to 0 at least. */
MUST_USE int topic_age(struct topic_batch *batch, const struct kv_deadline *due, uint32_t *work,
                       struct conclave_reply_sink *reply);

/* Of batch->record, which goes: it has no deadline any more. */
MUST_USE int topic_deadline_clear(struct topic_batch *batch);

/* Erases a part of what deleted topics have left, if any. */
MUST_USE int topic_bury(struct topic_batch *batch);

/* Notes that the topic of batch->record is deleted, to be buried from now on. */
MUST_USE int topic_die(struct topic_batch *batch);

/* Up to *left keys of what this one has left. */
MUST_USE int topic_bury_one(struct topic_batch *batch, uint64_t topic, uint32_t *left);

#endif

/* tests/sim/reference_internal.h - what the files of the reference have of one another. One thread.
 */
#ifndef TESTS_SIM_REFERENCE_INTERNAL_H
#define TESTS_SIM_REFERENCE_INTERNAL_H

#include "tests/sim/reference.h"

/* An answer whose body is packed; takes the pack. */
struct reference_reply reference_reply_take(int code, struct pack *pack);

/* An answer of two numbers; one of the revision alone. */
struct reference_reply reference_outcome(int code, uint64_t revision, uint64_t value);
struct reference_reply reference_revision_alone(int code, uint64_t revision);

/* reference_sessions.c: an entry of the sessions. */
struct reference_reply reference_session_apply(struct reference *reference, uint64_t index,
                                               struct slice payload, struct reference_entry *entry);

/* reference_keys.c: any command of the machine. */
struct reference_reply reference_command_apply(struct reference *reference, struct slice bytes);

/* reference_reads.c: answers to queries, of so many entries. A read of keys, of either space, as of
 * a revision, that tells another one; its code. */
int reference_keys_read(const struct reference *reference, const struct kv_query *query,
                        uint64_t revision, uint64_t told, struct pack *pack);
struct reference_reply reference_keys_answer(const struct reference *reference,
                                             const struct op *op);
struct reference_reply reference_queue_answer(const struct reference *reference,
                                              const struct op *op);
struct reference_reply reference_topic_answer(const struct reference *reference,
                                              const struct reference_past *past,
                                              const struct op *op);
struct reference_reply reference_messages_answer(const struct reference *reference,
                                                 const struct reference_past *past,
                                                 const struct op *op);

/* A key is put, or deleted, as of a revision; nothing happens if there is no key to delete. */
void reference_put(struct reference *reference, const struct kv_command *command,
                   uint64_t revision);
void reference_erase(struct reference *reference, uint32_t cell, uint64_t revision);

/* The cell behind the last one. */
uint32_t reference_bounds_end(const struct kv_bounds *bounds);

/* The bytes of a value, in a room of SIM_VALUE_BYTES_MAX; an item with them. */
struct kv_item reference_item(const struct reference *reference, uint32_t cell, uint8_t *key,
                              uint8_t *value);

/* Whether a put may have the lease that it wants; 0: none. */
bool reference_lease_fits(struct reference *reference, uint64_t id);

/* reference_usage.c. A change that the history gets; all those of a revision are there. Cluster
 * time has passed. */
enum {
    REFERENCE_CHANGE_BYTES = 32, /* of a change in the history, beside key and records */
    REFERENCE_RECORD_BYTES = 32, /* of what is stored under a key, beside the value */
    REFERENCE_LEASE_BYTES = 96,
    REFERENCE_GROUP_BYTES = 384 + 1, /* and its name */
    REFERENCE_TOPIC_BYTES = 128 + 1
};
void reference_usage_init(struct reference *reference);
void reference_change_add(struct reference *reference, struct reference_change change);
void reference_history_changed(struct reference *reference);
void reference_history_aged(struct reference *reference);
struct reference_reply reference_settings_apply(struct reference *reference,
                                                const struct kv_settings *settings);

/* What a key takes, with its name; 0: there is none. What the quota leaves room for. */
uint64_t reference_key_bytes(const struct reference *reference, uint32_t cell);
uint64_t reference_room(const struct reference *reference);

/* Whether so much more may come; else that is what was refused. Before each command: what there is
 * room for by now is over. */
bool reference_takes(struct reference *reference, uint64_t growth);
void reference_settle_quota(struct reference *reference);

/* How much more a put would take; what a publish would. */
uint64_t reference_put_growth(struct reference *reference, const struct kv_command *command);
uint64_t reference_publish_growth(const struct reference *reference,
                                  const struct reference_topic *topic,
                                  struct topic_messages messages);

/* reference_txn.c */
struct reference_reply reference_txn_apply(struct reference *reference, const struct kv_txn *txn);

/* reference_queue.c: a command about queues. */
struct reference_reply reference_queue_apply(struct reference *reference, struct slice bytes);
void reference_queues_fold(struct reference_fold *fold, const struct reference *reference);

/* What is stored of a place in a queue. */
enum { REFERENCE_PLACE_BYTES_MAX = 2 + SIM_VALUE_BYTES_MAX };
struct slice reference_place_stored(uint64_t slots, struct slice value,
                                    uint8_t room[REFERENCE_PLACE_BYTES_MAX]);

/* The places of all queues as of a revision, in the order in which they are stored. */
void reference_places_at(const struct reference *reference, uint64_t revision,
                         void (*add)(void *arg, const struct reference_place *place,
                                     const struct reference_key *item),
                         void *arg);

/* How many places there are of a lease; they go, as of a revision. */
uint64_t reference_places_held(const struct reference *reference, uint64_t lease);
void reference_places_end(struct reference *reference, uint64_t lease, uint64_t revision);

/* reference_topic.c: a command about topics. */
struct reference_reply reference_topic_apply(struct reference *reference, struct slice bytes);
void reference_topics_fold(struct reference_fold *fold, const struct reference *reference);

/* NULL: there is none. */
struct reference_topic *reference_topic_find(struct reference *reference, struct slice name);

/* Publishes what is new, as of a revision; the answer's body is packed. How many were new. */
uint64_t reference_publish(struct reference *reference, struct reference_topic *topic,
                           struct topic_messages messages, uint64_t revision, struct pack *pack);

/* reference_past.c: the next entry is applied. */
void reference_past_note(struct reference *reference);
void reference_past_deinit(struct reference *reference);

/* Publishes a dead letter, as a revision of its own: a copy of this message. */
void reference_letter(struct reference *reference, struct reference_topic *topic,
                      const struct reference_message *message, struct slice origin);

/* reference_group.c: a command about work groups. */
struct reference_reply reference_group_apply(struct reference *reference, struct slice bytes);
void reference_groups_fold(struct reference_fold *fold, const struct reference *reference,
                           const struct reference_topic *topic);

struct group_info reference_group_info(const struct reference *reference,
                                       const struct reference_group *group);

/* A topic is deleted; a lease ends. */
void reference_groups_end(struct reference *reference, uint64_t topic);
void reference_members_end(struct reference *reference, uint64_t lease);

/* The group for which there is something to do by now; NULL: none. Does it. */
struct reference_group *reference_group_due(struct reference *reference);
void reference_group_expire(struct reference *reference, struct reference_group *group);

/* How many messages a member has in hand; one is done. */
uint64_t reference_group_held(const struct reference_group *group, uint64_t lease);
void reference_handed_remove(struct reference_group *group, uint32_t at);

/* Whether a message was delivered as often as it may be. */
bool reference_is_exhausted(const struct reference_group *group, uint64_t deliveries);

/* When what begins now ends, at the earliest; there is something to do then, at the latest. */
uint64_t reference_group_end_of(const struct reference *reference, uint64_t ms);
void reference_group_due_at(struct reference_group *group, uint64_t ms);

/* reference_hand.c: a fetch; an ack, nack or extend. By a lease that there is. */
struct reference_reply reference_fetch(struct reference *reference, struct reference_group *group,
                                       const struct group_command *command);
struct reference_reply reference_settle(struct reference *reference, struct reference_group *group,
                                        struct group_command *command);

/* reference_leases.c. NULL: there is no such lease. */
struct reference_lease *reference_lease(struct reference *reference, uint64_t id);

struct reference_lease *reference_grant(struct reference *reference, uint64_t ttl_ms, bool of_key);

/* Its time begins anew. */
void reference_lease_begin(struct reference *reference, struct reference_lease *lease);

/* The key is gone, or has another lease from now on. */
void reference_key_lease(struct reference *reference, struct reference_key *key, uint64_t lease);

/* How many keys and places end with it. */
uint64_t reference_lease_held(const struct reference *reference, uint64_t id);

/* A command about leases. */
struct reference_reply reference_lease_apply(struct reference *reference,
                                             const struct kv_command *command);

/* Cluster time has passed: whatever is due ends, in the order of the deadlines. */
void reference_expire(struct reference *reference);

void reference_leases_fold(struct reference_fold *fold, const struct reference *reference);

#endif

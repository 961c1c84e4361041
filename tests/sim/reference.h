/* tests/sim/reference.h - what the replicated state has to be: the rules for client sessions, keys,
 * leases, transactions, queues, topics and work groups written down once more, as plainly as
 * possible, and applied to the committed entries.
 *
 * It shares no code with machine/ but the wire forms. For every index it says which answer a
 * command gets, to the byte, and what the whole state is after it, as hashes; and of any earlier
 * revision what the keys were. Limits are small arrays and everything is searched from the front:
 * it has no batches, no store, no restarts. One thread. */
#ifndef TESTS_SIM_REFERENCE_H
#define TESTS_SIM_REFERENCE_H

#include "base/pack.h"
#include "codec/coord.h"
#include "codec/group.h"
#include "codec/kv.h"
#include "codec/kv_lease.h"
#include "codec/topic.h"
#include "machine/session_table.h"
#include "raft/entries.h"
#include "tests/sim/knobs.h"

struct op;

struct reference_reply {
    bool refused; /* by the sessions: the machine is not asked */
    int code;
    uint64_t bytes;
    uint64_t body; /* a hash; reference_body_hash */
};

/* What the sessions made of an entry. */
enum reference_verdict {
    REFERENCE_NOTHING, /* no command, or none of a session */
    REFERENCE_APPLIED, /* a numbered command, for the first time */
    REFERENCE_REPEATED,
    REFERENCE_ACKNOWLEDGED, /* the client had said that it needs the answer no more */
    REFERENCE_FORGOTTEN,    /* the answer was given up to save memory */
    REFERENCE_NO_ROOM,
    REFERENCE_EXPIRED,
    REFERENCE_VERDICT_COUNT
};

/* What is known of an index. */
struct reference_entry {
    enum reference_verdict verdict;
    uint64_t original; /* REPEATED: the index that applied it */
    uint64_t reply;    /* hash of the answer; 0: none */
    uint64_t revision; /* after it */
    uint64_t keys;     /* hash of all keys and the revision, after it */
    uint64_t sessions; /* hash of all sessions and the clock, after it */
};

struct reference_slot {
    uint64_t sequence;
    uint64_t index; /* of the entry that applied it */
    bool forgotten;
    struct reference_reply reply;
};

struct reference_session {
    uint64_t id, acknowledged, highest, used_ms, used_index;
    uint32_t capacity;
    RAFT_LIST(struct reference_slot, slots); /* by rising sequence */
};

struct reference_key {
    uint64_t value;                                  /* hash of its bytes */
    uint64_t number, bytes;                          /* what the bytes are: value_encode */
    uint64_t create_revision, mod_revision, version; /* version 0: there is no such key */
    uint64_t lease;                                  /* that it ends with; 0: none */
};

/* One change of a key, or of an entry of a queue. */
struct reference_change {
    uint64_t revision;
    uint32_t cell;                      /* SIM_KEYS and more: that queue's */
    uint32_t key_bytes;                 /* of what is stored */
    uint64_t token;                     /* of a queue's entry */
    uint64_t value;                     /* hash of what is there now; 0: it is gone */
    uint64_t value_bytes;               /* of it */
    struct reference_key before, after; /* version 0: there was none, there is none now */
    bool expired;                       /* its lease ended by its time */
    uint64_t bytes, clock_ms;           /* in the history, since when */
};

struct reference_lease {
    uint64_t id, ttl_ms, deadline_ms;
    bool of_key;      /* goes with its key, and is in no list */
    uint64_t from_us; /* as of the command that began its time */
    uint64_t term;    /* of that command */
};

/* One that came to its end by itself. */
struct reference_end {
    struct reference_lease lease;
    uint64_t keys;
    uint64_t places; /* of them in queues, with others behind */
};

/* The command at hand: when it was proposed. */
struct reference_at {
    uint64_t from_us, term, index;
};

/* An entry of a queue; it stays here when it is gone. */
struct reference_place {
    uint32_t queue;
    uint64_t token, slots, lease;
    uint64_t mod_revision, version;
    uint64_t value, bytes;           /* what is stored: hash of its bytes, how many */
    uint64_t number;                 /* what the client's part of them is: value_encode */
    uint64_t gone_revision;          /* 0: it is there */
    uint64_t entered, granted, gone; /* the index at which it came, held, and went; 0: not yet */
};

enum { REFERENCE_ORIGIN_BYTES_MAX = 1 + 2 * 2 + 2 * 9 }; /* of names of one letter */

struct reference_message {
    uint64_t sequence, revision, id;
    uint64_t value;  /* hash of its bytes */
    uint64_t bytes;  /* how many */
    uint64_t number; /* what they are: value_encode */
    uint64_t origin; /* a dead letter: hash of where it comes from; 0: it is none */
    uint8_t origin_raw[REFERENCE_ORIGIN_BYTES_MAX];
    uint32_t origin_bytes;
    uint64_t time_ms, term;
};

/* What one publish brought, to be given up together. */
struct reference_block {
    uint64_t first, end, bytes, time_ms;
};

/* A topic; it stays here when it is deleted, and one of its name that is made anew is another. */
struct reference_topic {
    uint32_t name;
    uint64_t id;
    uint64_t deleted; /* as of this revision; 0: it is there */
    struct topic_settings settings;
    uint64_t first, end, bytes;
    RAFT_LIST(struct reference_message, messages); /* all that there ever were */
    RAFT_LIST(struct reference_block, blocks);
    uint32_t head; /* the oldest block that is kept */
};

/* A message that a group handed out and that is not done. */
struct reference_handed {
    uint64_t sequence, deliveries;
    uint64_t lease;       /* the member that has it; 0: none */
    uint64_t deadline_ms; /* until then; nobody's: not before then */
    bool ready;           /* nobody's, to be handed out again */
    uint64_t term;        /* in which it was handed out last */
};

struct reference_member {
    uint64_t lease;
    bool ended; /* its lease has; what it has goes when cluster time passes next */
};

/* A work group; it stays here when it is deleted, by itself or with its topic. */
struct reference_group {
    uint32_t name;
    uint32_t topic_name, dead; /* topics; dead SIM_TOPICS: none */
    uint64_t id, topic;        /* topic: its id */
    uint64_t created, deleted; /* indexes; deleted 0: it is there */
    bool unburied;             /* went with its topic, and still counts */
    uint64_t ack_ms, deliveries_max, held_max, pending_max;
    uint64_t start, next, acked, dead_letters, lost, redelivered, returned;
    uint64_t due_ms;                            /* something happens then, or earlier; 0: never */
    RAFT_LIST(struct reference_handed, handed); /* by rising sequence */
    RAFT_LIST(struct reference_member, members);
};

/* What queries tell as of an index. */
struct past_lease {
    struct reference_lease lease;
    uint64_t keys;
};

struct past_group {
    bool there;
    struct group_info info;
    uint32_t count;
    struct reference_handed *handed; /* by rising sequence */
};

struct past_topic {
    bool there;
    struct topic_info info;
    struct past_group groups[SIM_GROUPS];
};

struct reference_past {
    uint64_t clock_ms;
    struct kv_usage usage;
    uint32_t lease_count;
    struct past_lease *leases; /* by rising id */
    struct past_topic topics[SIM_TOPICS];
};

/* Situations that are worth counting. */
struct reference_counts {
    uint64_t ended_by_limit, ended_by_time, swept; /* sessions, sessions, answers */
    uint64_t then, otherwise, refused;             /* transactions */
    uint64_t published_with_keys;                  /* and by how many of them */
    uint64_t duplicates, duplicates_later;         /* of messages; in a later term */
    uint64_t trimmed;                              /* blocks */
    uint64_t handed_on;                            /* places that held because one ended */
    uint64_t letters, letters_homeless;            /* dead letters; without a topic for them */
    uint64_t handed_again, handed_again_later;     /* messages; under a later leader */
    uint64_t members_ended;                        /* with something in hand */
    uint64_t dropped;                              /* messages, before a group was done with them */
    uint64_t full;                                 /* fetches that get less than there is */
    uint64_t over_quota;                           /* commands */
};

struct reference {
    struct session_limits limits;
    uint64_t revision, clock_ms, commands, slots;
    struct reference_key keys[SIM_KEYS];
    RAFT_LIST(struct reference_change, changes); /* all that there ever were */
    uint32_t history_first;                      /* the history begins with it */
    uint64_t history_bytes, compacted;
    uint64_t settings[KV_SETTING_COUNT];
    uint64_t refused; /* what the quota had no room for last; 0: nothing */
    uint64_t last_lease;
    RAFT_LIST(struct reference_topic, topics);     /* by rising id */
    RAFT_LIST(struct reference_group, groups);     /* by rising id */
    RAFT_LIST(struct reference_place, places);     /* by rising token */
    RAFT_LIST(struct reference_lease, leases);     /* by rising id */
    RAFT_LIST(struct reference_end, ends);         /* with the last entry applied */
    RAFT_LIST(struct reference_session, sessions); /* the one used longest ago first */
    RAFT_LIST(struct reference_entry, entries);    /* items[index]; item 0 is the empty state */
    bool remembers;                                /* queries will be asked */
    RAFT_LIST(struct reference_past, past);        /* items[index], if it remembers */
    uint32_t places_from;                          /* all before are gone */
    struct reference_at at;
    bool expiring; /* what ends now ends by its time */
    struct reference_counts counts;
};

void reference_init(struct reference *reference, const struct session_limits *limits);
void reference_deinit(struct reference *reference);

/* Before the first entry: reference_answer will be asked. */
void reference_remember(struct reference *reference);

/* The index of the last entry applied. */
uint64_t reference_applied(const struct reference *reference);

/* Applies the entry of the next index. */
void reference_apply(struct reference *reference, const struct raft_entry *entry);

/* The same of a command that was proposed at this moment: no lease may count from an earlier one.
 */
void reference_apply_from(struct reference *reference, const struct raft_entry *entry,
                          uint64_t proposed_us);

/* What is known of an index that was applied. */
const struct reference_entry *reference_at(const struct reference *reference, uint64_t index);

/* The hash of an answer; of its body. */
uint64_t reference_reply_hash(bool refused, int code, const void *body, size_t bytes);
uint64_t reference_body_hash(const void *body, size_t bytes);

/* What is used, as queries tell it; whether the quota refused what it still would. */
struct kv_usage reference_usage(const struct reference *reference);
uint64_t reference_used(const struct reference *reference); /* that the quota counts */
bool reference_alarm(const struct reference *reference);

/* The oldest revision that can be read, as of an index. */
uint64_t reference_compacted(const struct reference *reference, uint64_t index);

/* The keys as they were at a revision. */
void reference_keys_at(const struct reference *reference, uint64_t revision,
                       struct reference_key ret[SIM_KEYS]);

/* The topic of this name as of a revision; NULL: there was none. */
const struct reference_topic *reference_topic_at(const struct reference *reference, uint32_t name,
                                                 uint64_t revision);
const struct reference_topic *reference_topic_of(const struct reference *reference, uint64_t id);

/* The first message that can be read. */
uint64_t reference_topic_first(const struct reference *reference,
                               const struct reference_topic *topic);

/* What is too old goes when time passes. */
uint64_t reference_topic_bytes(const struct reference *reference,
                               const struct reference_topic *topic);

/* The group of this name as of an index; NULL: there was none. */
const struct reference_group *reference_group_at(const struct reference *reference, uint32_t topic,
                                                 uint32_t name, uint64_t index);

const struct reference_group *reference_group_of(const struct reference *reference, uint64_t id);

/* What rises whenever there may be something new to fetch. */
uint64_t reference_group_wake(const struct reference *reference,
                              const struct reference_group *group);

/* Every message of every group is where it can be, once: done, handed out, or still to come. */
bool reference_groups_balance(const struct reference *reference);

/* The key of a place: a name of one letter, a zero byte, the token. How many bytes. */
enum { REFERENCE_PLACE_KEY_BYTES = 10 };
size_t reference_place_key(uint32_t queue, uint64_t token, uint8_t key[REFERENCE_PLACE_KEY_BYTES]);

/* NULL: there never was such a place. */
const struct reference_place *reference_place_of(const struct reference *reference, uint64_t token);

/* What the place waits for as of an index; 0: it holds. It was there then. */
uint64_t reference_place_awaits(const struct reference *reference,
                                const struct reference_place *place, uint64_t index);

/* The answer to a query (OP_ASK, OP_QUEUE, OP_TOPIC_READ) of so many entries. */
struct reference_reply reference_answer(const struct reference *reference, const struct op *op);

/* --- The state as hashes, folded in this order by whoever has one ------------------------------
 */

struct reference_fold {
    uint64_t hash;
};

void fold_key(struct reference_fold *fold, uint32_t cell, const struct reference_key *key);
void fold_topic(struct reference_fold *fold, uint64_t id, uint64_t first, uint64_t end);
void fold_message(struct reference_fold *fold, const struct reference_message *message);
void fold_group(struct reference_fold *fold, const struct group_info *info);
/* Of what is handed out and not ready: of all of it the sum, in whatever order. */
uint64_t fold_pending(const struct conclave_group_pending *pending);
void fold_place(struct reference_fold *fold, const struct reference_place *place);
void fold_lease(struct reference_fold *fold, uint64_t id, uint64_t ttl_ms, uint64_t left_ms,
                uint64_t keys);
void fold_session(struct reference_fold *fold, const struct reference_session *session);
/* `body`: reference_body_hash. */
void fold_slot(struct reference_fold *fold, uint64_t sequence, bool forgotten, int code,
               uint64_t body);
void fold_usage(struct reference_fold *fold, const struct kv_usage *usage);
void fold_number(struct reference_fold *fold, uint64_t number);
uint64_t reference_value_hash(struct slice value);
uint64_t reference_origin_hash(struct slice origin); /* 0: none */

#endif

/* tests/sim/reference.h - what the replicated state has to be: the rules for client sessions and
 * keys written down once more, as plainly as possible, and applied to the committed entries.
 *
 * It shares no code with machine/ but the wire forms. For every index it says which answer a
 * command gets, to the byte, and what the whole state is after it, as hashes. Limits are small
 * arrays and everything is searched from the front: it has no batches, no store, no restarts. One
 * thread. */
#ifndef TESTS_SIM_REFERENCE_H
#define TESTS_SIM_REFERENCE_H

#include "machine/session_table.h"
#include "raft/entries.h"
#include "tests/sim/knobs.h"

enum { REFERENCE_BODY_BYTES = 48 };

struct reference_reply {
    bool refused; /* by the sessions: the machine is not asked */
    int code;
    uint32_t bytes;
    uint8_t body[REFERENCE_BODY_BYTES];
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
    uint64_t create_revision, mod_revision, version; /* version 0: there is no such key */
    uint64_t lease;                                  /* that it ends with; 0: none */
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
};

/* The command at hand: when it was proposed. */
struct reference_at {
    uint64_t from_us, term;
};

struct reference_message {
    uint64_t sequence, revision, id;
    uint64_t value; /* hash of its bytes */
};

struct reference {
    struct session_limits limits;
    uint64_t revision, clock_ms, commands, slots;
    struct reference_key keys[SIM_KEYS];
    uint64_t gone[SIM_KEYS]; /* the revision at which the key was deleted last */
    uint64_t last_lease;
    uint64_t topic; /* its id; 0: there is none yet */
    RAFT_LIST(struct reference_message, messages);
    RAFT_LIST(struct reference_lease, leases);     /* by rising id */
    RAFT_LIST(struct reference_end, ends);         /* with the last entry applied */
    RAFT_LIST(struct reference_session, sessions); /* the one used longest ago first */
    RAFT_LIST(struct reference_entry, entries);    /* items[index]; item 0 is the empty state */
    struct reference_at at;
    uint64_t ended_by_limit, ended_by_time, swept; /* sessions, sessions, answers */
};

void reference_init(struct reference *reference, const struct session_limits *limits);
void reference_deinit(struct reference *reference);

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

/* The hash of an answer. */
uint64_t reference_reply_hash(bool refused, int code, const void *body, size_t bytes);

/* --- The state as hashes, folded in this order by whoever has one ------------------------------
 */

struct reference_fold {
    uint64_t hash;
};

void fold_key(struct reference_fold *fold, uint32_t cell, const struct reference_key *key);
void fold_message(struct reference_fold *fold, const struct reference_message *message);
void fold_lease(struct reference_fold *fold, uint64_t id, uint64_t ttl_ms, uint64_t left_ms,
                uint64_t keys);
void fold_session(struct reference_fold *fold, const struct reference_session *session);
void fold_slot(struct reference_fold *fold, uint64_t sequence, bool forgotten, int code,
               const void *body, size_t bytes);
void fold_number(struct reference_fold *fold, uint64_t number);
uint64_t reference_value_hash(struct slice value);

/* --- reference_topic.c: for reference.c --------------------------------------------------------
 */

/* A command about the topic. */
struct reference_reply reference_topic_apply(struct reference *reference, struct slice bytes);

void reference_topic_fold(struct reference_fold *fold, const struct reference *reference);

/* An answer of two numbers. */
struct reference_reply reference_outcome(int code, uint64_t revision, uint64_t value);

/* --- reference_leases.c: for reference.c -------------------------------------------------------
 */

/* NULL: there is no such lease. */
struct reference_lease *reference_lease(struct reference *reference, uint64_t id);

struct reference_lease *reference_grant(struct reference *reference, uint64_t ttl_ms, bool of_key);

/* Its time begins anew. */
void reference_lease_begin(struct reference *reference, struct reference_lease *lease);

/* The key is gone, or has another lease from now on. */
void reference_key_lease(struct reference *reference, struct reference_key *key, uint64_t lease);

/* Ends the lease and its keys, as one revision at most; how many there were. */
uint64_t reference_lease_end(struct reference *reference, uint64_t id);

/* The key is deleted, as of a revision. */
void reference_erase(struct reference *reference, uint32_t cell, uint64_t revision);

/* Cluster time has passed: whatever is due ends, in the order of the deadlines. */
void reference_expire(struct reference *reference);

void reference_leases_fold(struct reference_fold *fold, const struct reference *reference);

#endif

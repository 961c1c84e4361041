/* raft/message.h - what Raft nodes say to each other, decoded. The wire form is codec/peer.h.
 *
 * One struct per message, one tag; real and pre-vote messages are different types, so that neither
 * can be taken for the other (Rule 19). */
#ifndef RAFT_MESSAGE_H
#define RAFT_MESSAGE_H

#include "raft/entries.h"

/* A node's id: random-looking, never 0, below 2^53 so that every language can hold it. */
typedef uint64_t raft_node_id;

/* An id that no node has. */
#define RAFT_NODE_NONE UINT64_MAX

enum raft_message_type {
    RAFT_PREVOTE_REQUEST = 1,
    RAFT_PREVOTE_RESPONSE = 2,
    RAFT_VOTE_REQUEST = 3,
    RAFT_VOTE_RESPONSE = 4,
    RAFT_APPEND_REQUEST = 5,
    RAFT_APPEND_RESPONSE = 6,
    RAFT_TIMEOUT_NOW = 11,
    RAFT_READ_REQUEST = 12,
    RAFT_READ_RESPONSE = 13
};

/* RequestVote (paper figure 2; PreVote: dissertation 9.6). In a pre-vote `term` of the message is
 * the term the sender would campaign in, not one it has. */
struct raft_vote_request {
    struct raft_id last;  /* the candidate's last entry */
    bool transfer;        /* VOTE_REQUEST: the leader itself asked for this election (Rule 21) */
    uint64_t incarnation; /* of the candidate's data directory; the frame's own on the wire */
};

struct raft_vote_response {
    bool granted;
    uint64_t campaign_term; /* the term that was asked about: echoes the request's term */
    uint64_t incarnation;   /* echoes the request's: whom it was given to */
};

/* AppendEntries (paper figure 2); empty ones are heartbeats. */
struct raft_append_request {
    struct raft_id prev;
    uint64_t commit; /* for an empty message at most what the follower is known to match: Rule 12 */
    uint64_t round;  /* of the leader's confirmation rounds: Rule 40; only grows within a term */
    struct raft_runs entries; /* contiguous from prev.index + 1: Rule 16 */
};

enum { RAFT_PRIORITY_MAX = 100 };

enum raft_append_result {
    RAFT_APPEND_ACCEPTED = 1, /* the log holds prev and, durably, everything up to `match` */
    RAFT_APPEND_REJECTED = 2, /* the log does not hold prev */
    RAFT_APPEND_STALE = 3     /* the request was of an older term; the message's term is newer */
};

struct raft_append_response {
    enum raft_append_result result;
    uint64_t match;          /* ACCEPTED: highest index durable here and equal to the leader's */
    uint64_t rejected;       /* REJECTED: prev.index of the request */
    struct raft_id conflict; /* REJECTED: the follower's hint, Rule 18: the largest id at or below
                                prev.index that could match (its term and index) */
    uint64_t last_index;     /* the follower's last index, for status and flow control */
    uint64_t round;          /* echoes the request's */
    uint32_t priority;       /* the sender's: raft_options.priority */
    uint64_t life;           /* of the sender: raft_start.life */
    uint64_t promise_us;     /* by its own clock, from when it took the request in: for so long it
                                votes for nobody that this leader has not asked to campaign; 0: it
                                promises nothing (Rule 41) */
};

/* A follower that has reads asks its leader for a read index (dissertation, 6.4). */
struct raft_read_index {
    uint64_t number; /* the follower's own, of the request; it only grows, over restarts too */
    uint64_t index;  /* READ_RESPONSE: what was committed when the request came */
};

/* The leader of `term` asks a follower whose log is equal to its own to campaign at once
 * (dissertation, 3.10). */
struct raft_timeout_now {
    uint64_t incarnation; /* of the data directory with that log; 0: not written down yet */
};

struct raft_message {
    enum raft_message_type type;
    raft_node_id from, to;
    uint64_t term;
    union {
        struct raft_vote_request vote_request;   /* PREVOTE_REQUEST, VOTE_REQUEST */
        struct raft_vote_response vote_response; /* PREVOTE_RESPONSE, VOTE_RESPONSE */
        struct raft_append_request append_request;
        struct raft_append_response append_response;
        struct raft_timeout_now timeout_now;
        struct raft_read_index read_index; /* READ_REQUEST, READ_RESPONSE */
    };
};

/* A zeroed message on the heap. */
struct raft_message *raft_message_create(enum raft_message_type type, raft_node_id from,
                                         raft_node_id to, uint64_t term);

/* Frees a message and its references. NULL is allowed. */
void raft_message_destroy(struct raft_message *message);

/* A growable list of owned messages. All zero is empty. */
struct raft_messages {
    struct raft_message **items;
    uint32_t count, capacity;
};

/* Takes over the message. */
void raft_messages_add(struct raft_messages *messages, struct raft_message *message);

/* Destroys all messages; the list is then empty and usable. */
void raft_messages_clear(struct raft_messages *messages);

/* {term, vote}: one atomic durable record (Rule 1). vote 0: none in this term. */
struct raft_hard_state {
    uint64_t term;
    raft_node_id vote;
};

#endif

/* tests/fuzz/samples.h - valid frames of every kind: the seeds of the fuzzers and the ground on
 * which the codec's tests try every prefix and every changed byte. */
#ifndef TESTS_FUZZ_SAMPLES_H
#define TESTS_FUZZ_SAMPLES_H

#include "codec/client.h"
#include "codec/peer.h"

enum sample_kind {
    SAMPLE_PEER,      /* a frame between nodes */
    SAMPLE_REQUEST,   /* a client's frame */
    SAMPLE_REPLY,     /* a node's answer */
    SAMPLE_REDIRECT,  /* the body of a reply that names the leader */
    SAMPLE_STATUS,    /* the body of an answer to STATUS */
    SAMPLE_SUBSCRIBE, /* bodies of what clients say of subscriptions */
    SAMPLE_CREDIT,
    SAMPLE_FRAME, /* a frame of a subscription */
    SAMPLE_KINDS
};

struct sample {
    const char *name;
    enum sample_kind kind;
    struct buf *bytes;
};

enum { SAMPLES_MAX = 48 };

/* Fills samples[] and answers their number. They are always the same. */
size_t samples_make(struct sample samples[SAMPLES_MAX]);
void samples_free(struct sample *samples, size_t count);

/* Who sends the frames between nodes, and to whom. */
extern const struct peer_identity sample_identity;
#define SAMPLE_TO UINT64_C(0x1234567890123)

/* A raft message from sample_identity to SAMPLE_TO. */
struct raft_message *sample_message(enum raft_message_type type, uint64_t term);

/* Adds a batch of `count` commands of `bytes` bytes each, of the message's term, behind what an
 * append request holds. */
void sample_add_commands(struct raft_message *message, uint32_t count, size_t bytes);

/* Adds one entry as a batch of its own. */
void sample_add_entry(struct raft_message *message, uint64_t term, enum raft_entry_kind kind,
                      const void *payload, size_t bytes);

/* Packs a message and destroys it. */
struct buf *sample_encode(struct raft_message *message);

/* A status with every field set. */
void sample_status(struct client_status *status);

#endif

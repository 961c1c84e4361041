/* conclave_propose.h - proposing from within the process that runs the node.
 *
 * A proposer hands commands to a node of its own process without sockets, sessions or an encoding:
 * what was gathered goes to the node as one batch, and outcomes come back in batches, so that a
 * hundred commands cost little more than one. It does what a client (conclave_client.h) leaves to
 * nobody else: it looks for no leader, repeats nothing and has no deadlines. The node must lead, or
 * it says so; who needs more uses a client with the node's inproc:// endpoint.
 *
 *     while (have work)
 *         conclave_propose(proposer, data, bytes, user);    as many as there are
 *         count = conclave_proposer_poll(proposer, timeout, outcomes, limit);
 *
 * A proposer is used by one thread at a time; several, of one node or of more, may be used by
 * several threads at the same time, and while the node stops.
 */
#ifndef CONCLAVE_PROPOSE_H
#define CONCLAVE_PROPOSE_H

#include "conclave_node.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    CONCLAVE_PROPOSERS_MAX = 8,       /* of a node at a time */
    CONCLAVE_PROPOSER_OPS_MAX = 65536 /* proposals of one that have no outcome yet */
};

struct conclave_proposer;

/* Makes a proposer for a node that was started; a node's function, as in conclave_node.h. When the
 * node is stopped it is of no more use, whether or not the node is started again.
 * Errors: STOPPING (the node does not run), BUSY (the node has CONCLAVE_PROPOSERS_MAX). */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_proposer_create(struct conclave_node *node,
                                                            struct conclave_proposer **ret_proposer,
                                                            struct conclave_error *error);

/* Ends at once, before the node is destroyed. What has no outcome yet may or may not be applied,
 * but for what was not sent. */
CONCLAVE_API void conclave_proposer_destroy(struct conclave_proposer *proposer);

/* Takes a command (copied). It is sent with what else was taken, in order, by the next flush or
 * poll. Never blocks. Errors: INVALID (no data); TOO_LARGE (above CONCLAVE_COMMAND_BYTES_MAX); BUSY
 * (CONCLAVE_PROPOSER_OPS_MAX, or conclave_options.inflight_bytes_max, have no outcome yet);
 * STOPPING: as the last poll found, the node has ended. With an error there is no outcome. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_propose(struct conclave_proposer *proposer,
                                                    const void *data, size_t bytes, void *user);

/* Sends what was taken, without waiting for outcomes. */
CONCLAVE_API void conclave_proposer_flush(struct conclave_proposer *proposer);

/* What became of a proposal; each has one outcome. */
struct conclave_outcome {
    void *user;
    int code;
    bool applied; /* true: code and reply are the state machine's. False: the node's, and it was
                     not applied: NOT_LEADER, NO_LEADER, HANDOVER (the node gives the lead away),
                     BUSY, NO_SPACE, STOPPING; or, with UNKNOWN, it may or may not be: the node lost
                     the lead, or ended */
    const void *reply; /* the machine's answer, or a node's sentence; valid until the next poll */
    size_t reply_bytes;
};

/* Sends what was taken and waits up to timeout_ms for outcomes, if any are to come. Returns how
 * many it has put into ret_outcomes, `limit` at most; 0: none came in time, or none is to come. */
CONCLAVE_API size_t conclave_proposer_poll(struct conclave_proposer *proposer, uint32_t timeout_ms,
                                           struct conclave_outcome *ret_outcomes, size_t limit);

/* Becomes readable when poll may have outcomes (edge-triggered, as ZMQ_FD: poll with timeout 0
 * until it returns 0 after each event). */
CONCLAVE_API int conclave_proposer_fd(const struct conclave_proposer *proposer);

#ifdef __cplusplus
}
#endif
#endif

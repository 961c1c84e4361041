/* actors/network.h - the network actor's own state, shared by its files: network_actor.c (the
 * loop), network_proposers.c (proposers of the host) and those of actors/network_clients.h.
 * Network's thread only. */
#ifndef ACTORS_NETWORK_H
#define ACTORS_NETWORK_H

#include "actors/network_clients.h"
#include "actors/node.h"
#include "actors/proposer.h"
#include "actors/reads_ahead.h"
#include "conclave_propose.h"

struct network_proposer {
    struct proposer_link *link;
    struct reply_list replies; /* gathered, sent once a wake-up */
};

struct network {
    struct client_side clients;
    struct {
        struct network_proposer items[CONCLAVE_PROPOSERS_MAX];
        uint32_t count;
    } proposers;

    struct raft_configuration *members; /* NULL until raft told */

    /* The log is damaged and there is no core: members are those of before, clients are refused.
     * Until raft tells who the members are. */
    bool repairing;
    char repair[CLIENT_REPAIR_BYTES_MAX + 1]; /* what is missing, for status */

    raft_node_id leader;
    uint64_t leader_term;
    bool leads;
    struct reads_ahead reads;
    bool traced; /* replies of the write that is followed were staged */
};

/* Reads what clients asked, and hands proposals and queries on as one batch each. */
void network_receive_clients(struct actor *actor);

/* A proposer that the host made; takes the node's side of the link over. */
void network_take_proposer(struct network *network, struct proposer_link *link);

/* What to wait for; returns how many, CONCLAVE_PROPOSERS_MAX at most. */
size_t network_proposer_sources(struct network *network, struct source *ret_sources[]);

/* Hands on what proposers took in, and lets go of those that were destroyed. */
void network_receive_proposers(struct actor *actor);

bool network_is_of_proposer(struct raft_origin origin);

/* Takes the list over, which is then empty, if all in it are for one proposer that has none yet. */
bool network_take_proposed(struct network *network, struct reply_list *list);

/* One of a list; takes over the body. */
void network_stage_proposed(struct network *network, struct reply *reply);

/* Sends what was taken and staged. */
void network_flush_proposed(struct network *network);

/* The node ends. */
void network_end_proposers(struct network *network);

/* The leader: writes cluster time into the log when something is due. */
void network_tick(struct actor *actor, uint64_t now_us);

/* When it has to do so next; UINT64_MAX: nothing is due here. */
uint64_t network_tick_us(const struct network *network);

/* Stages answers of other actors for their clients. Takes over the bodies. */
void network_take_replies(struct actor *actor, struct reply_list *list);

/* Stages answers that came before the decision on their reads. */
void network_take_decisions(struct actor *actor, const struct read_decisions *decisions);

/* Stages what the subscriptions of clients are told: a STREAMS. Takes over the bodies. */
void network_take_streams(struct actor *actor, struct envelope *envelope);

/* Stages the answer to a STATUS. */
void network_take_status(struct actor *actor, const struct raft_origin *origin,
                         struct client_status *status);

/* Sends everything staged, one frame a client where it fits. */
void network_flush_replies(struct actor *actor, uint64_t now_us);

/* Tries once more to send what clients did not read in time. */
void network_retry_replies(struct actor *actor, uint64_t now_us);

/* Answers everything still pending with UNKNOWN: the node ends. */
void network_abandon_clients(struct actor *actor);

MUST_USE int network_clients_start(struct actor *actor, struct conclave_error *error);
void network_clients_stop(struct network *network);

#endif

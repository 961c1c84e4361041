/* actors/network.h - the network actor's own state, shared by its files: network_actor.c (the
 * loop), network_peers.c (frames of the other nodes), network_audit.c (whether the nodes applied
 * the same), network_proposers.c (proposers of the host) and those of actors/network_clients.h.
 * Network's thread only. */
#ifndef ACTORS_NETWORK_H
#define ACTORS_NETWORK_H

#include "actors/network_clients.h"
#include "actors/node.h"
#include "actors/proposer.h"
#include "conclave_propose.h"
#include "raft/audit.h"
#include "transport/peers.h"

/* A node that is listened to: a member, or a guest. A guest belongs to the cluster, and this node's
 * configuration does not show it: it was a member until a moment ago, and hears of its removal, or
 * it is one, and this node's log does not say so yet (Rule 23: it is answered). */
struct peer_state {
    raft_node_id id;
    uint64_t incarnation; /* as the configuration says, or as first heard; 0: not known */
    bool guest;
    bool told;              /* raft was told the incarnation */
    uint64_t expire_us;     /* guest: forgotten then, if nothing more is heard */
    uint64_t complained_us; /* when a refusal of its frames was last logged; 0: never */
    char endpoint[CONCLAVE_ENDPOINT_BYTES_MAX + 1]; /* "": not known */
};

struct network_proposer {
    struct proposer_link *link;
    struct reply_list replies; /* gathered, sent once a wake-up */
};

struct network {
    struct peers *peers;
    struct client_side clients;
    struct {
        struct network_proposer items[CONCLAVE_PROPOSERS_MAX];
        uint32_t count;
    } proposers;

    struct raft_configuration *members;             /* NULL until raft told */
    struct peer_state peer_states[PEERS_LINKS_MAX]; /* every member but this node, then guests */
    uint32_t peer_count;
    struct peer_state scratch[PEERS_LINKS_MAX];
    struct raft_messages received; /* of one wake-up */
    uint64_t hello_due_us;
    uint64_t supervise_due_us;
    uint64_t stranger_complained_us;
    uint64_t refused_complained_us;

    /* The log is damaged and there is no core: members are those of before, raft's messages are
     * dropped, clients are refused. Until raft tells who the members are. */
    bool repairing;
    char repair[CLIENT_REPAIR_BYTES_MAX + 1]; /* what is missing, for status */

    raft_node_id leader;
    uint64_t leader_term;
    bool leads;
    bool traced; /* replies of the write that is followed were staged */

    struct audit audit;
    uint64_t deviates_at; /* this node differs from the majority there: it must end; 0: no */
    uint64_t audit_complained_us;
};

/* Reads what peers sent and hands authentic Raft messages to raft. */
void network_receive_peers(struct actor *actor, uint64_t now_us);

/* Sends frames that other actors made. */
void network_send(struct actor *actor, struct outgoing_list *list);

/* As network_send, over the bulk links. */
void network_send_bulk(struct actor *actor, struct outgoing_list *list);

/* Links to a new set of members; takes them over. */
void network_set_members(struct actor *actor, struct raft_configuration *members, uint64_t now_us);

/* Says hello where it is due, and replaces silent links. */
void network_tend_links(struct actor *actor, uint64_t now_us);

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

/* The state machine says what its chain was. */
void network_audit_own(struct actor *actor, const struct envelope *envelope, uint64_t now_us);

/* Another node says so. */
void network_audit_heard(struct actor *actor, const struct peer_frame *frame, uint64_t now_us);

/* With each hello: says it again, and asks the state machine how far it is, since a cluster that is
 * idle passes no mark. */
void network_audit_tick(struct actor *actor);

void network_audit_status(const struct network *network, struct client_status *status);

/* CORRUPT if this node has to end. */
MUST_USE int network_audit_verdict(const struct network *network, struct conclave_error *error);

MUST_USE int network_clients_start(struct actor *actor, struct conclave_error *error);
void network_clients_stop(struct network *network);

#endif

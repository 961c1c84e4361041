/* actors/peer_side.h - the raft actor's side towards the other nodes: peer_side.c (frames from and
 * to them, and the links) and peer_audit.c (whether the nodes applied the same). Raft's thread
 * only, but for outgoing_send. */
#ifndef ACTORS_PEER_SIDE_H
#define ACTORS_PEER_SIDE_H

#include "actors/node.h"
#include "raft/audit.h"
#include "transport/peers.h"

/* A node that is listened to: a member, or a guest. A guest belongs to the cluster, and this node's
 * configuration does not show it: it was a member until a moment ago, and hears of its removal, or
 * it is one, and this node's log does not say so yet (Rule 23: it is answered). */
struct peer_state {
    raft_node_id id;
    uint64_t incarnation; /* as the configuration says, or as first heard; 0: not known */
    bool guest;
    bool told;              /* the core was told the incarnation */
    uint64_t expire_us;     /* guest: forgotten then, if nothing more is heard */
    uint64_t complained_us; /* when a refusal of its frames was last logged; 0: never */
    char endpoint[CONCLAVE_ENDPOINT_BYTES_MAX + 1]; /* "": not known */
};

struct peer_side {
    struct peers *peers;
    struct raft_configuration members;         /* as the core last said */
    bool linked;                               /* it did; before that nobody is listened to */
    struct peer_state states[PEERS_LINKS_MAX]; /* every member but this node, then guests */
    uint32_t count;
    struct peer_state scratch[PEERS_LINKS_MAX];
    uint64_t hello_due_us;
    uint64_t supervise_due_us;
    uint64_t stranger_complained_us;
    uint64_t refused_complained_us;
    uint64_t refused_us; /* when another node last refused to listen to this one; 0: never */
    enum peer_refusal refusal;

    /* The log is damaged and the core has not begun: members are those of before, and raft's
     * messages are dropped. */
    bool repairing;

    struct audit audit;
    uint64_t deviates_at; /* this node differs from the majority there: it must end; 0: no */
    uint64_t deviates_complained_us, split_complained_us; /* of each by itself */
};

/* Binds the endpoint that the others send to; errors as peers_create. */
MUST_USE int peer_side_start(struct actor *actor, struct conclave_error *error);

/* Reads what the others sent: what concerns the core becomes events. */
void peer_side_receive(struct actor *actor, uint64_t now_us);

/* Sends frames, by peers_send or peers_send_bulk, and empties the list. Any thread. */
typedef bool (*outgoing_way)(struct peers *peers, uint64_t id, struct buf *frame);
void outgoing_send(struct outgoing_list *list, struct peers *peers, outgoing_way send);

/* Links to a new set of members. */
void peer_side_set_members(struct actor *actor, const struct raft_configuration *members,
                           uint64_t now_us);

/* Says hello where it is due, and replaces silent links. */
void peer_side_tend(struct actor *actor, uint64_t now_us);

/* When that is due next; UINT64_MAX: nobody is linked to. */
uint64_t peer_side_due_us(const struct peer_side *side);

/* "removed" or "refused" if the others do not listen to this node and said so lately; else NULL. */
const char *peer_side_refused(const struct peer_side *side, uint64_t now_us);

/* The state machine says what its chain was. */
void peer_audit_own(struct actor *actor, const struct envelope *envelope, uint64_t now_us);

/* Another node says so. */
void peer_audit_heard(struct actor *actor, const struct peer_frame *frame, uint64_t now_us);

/* With each hello: says it again, and asks the state machine how far it is, since a cluster that is
 * idle passes no mark. */
void peer_audit_tick(struct actor *actor);

void peer_audit_status(const struct peer_side *side, struct client_status *status);

/* CORRUPT if this node has to end. */
MUST_USE int peer_audit_verdict(const struct peer_side *side, struct conclave_error *error);

#endif

/* Frames from and to the other nodes: raft's thread reads and sends them itself, since each thread
 * between the wire and the core would cost a wake-up (ARCHITECTURE.md). A frame is believed when it
 * names this cluster and this node and a data directory that the cluster knows its sender by;
 * whatever else arrives on the port changes nothing but a counter of complaints. */
#include "actors/raft_actor.h"

#include "base/clock.h"
#include "base/fatal.h"
#include "base/prng.h"
#include "transport/endpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    GUEST_US = 5000000,               /* how long a guest is answered after its last word */
    HELLO_INTERVAL_US = 1000000,      /* a third of PEERS_SILENCE_US: two may be lost */
    COMPLAINT_INTERVAL_US = 10000000, /* one line in this time about the same trouble */
    RECEIVE_FRAMES_MAX = 1024         /* frames taken before other sockets get their turn */
};

static struct peer_state *find_peer(struct peer_side *side, raft_node_id id)
{
    for (uint32_t i = 0; i < side->count; i++)
        if (side->states[i].id == id)
            return &side->states[i];
    return NULL;
}

/* Links to every peer whose endpoint is known. */
static void relink(struct peer_side *side, uint64_t now_us)
{
    struct peer_address addresses[PEERS_LINKS_MAX];
    size_t count = 0;
    for (uint32_t i = 0; i < side->count; i++) {
        const struct peer_state *peer = &side->states[i];
        if (peer->endpoint[0])
            addresses[count++] = (struct peer_address){.id = peer->id, .endpoint = peer->endpoint};
    }
    peers_set(side->peers, addresses, count, now_us);
    side->supervise_due_us = now_us;
}

static const char *peer_name(const struct peer_side *side, raft_node_id id)
{
    const struct raft_member *member = raft_configuration_find(&side->members, id);
    return member ? member->name : "unknown";
}

static bool complaint_due(uint64_t *last_us, uint64_t now_us)
{
    if (*last_us && now_us - *last_us < COMPLAINT_INTERVAL_US)
        return false;
    *last_us = now_us;
    return true;
}

/* Says on the other side too why its frames are not listened to. */
static void refuse(struct actor *actor, struct peer_state *peer, enum peer_refusal refusal,
                   uint64_t now_us)
{
    struct peer_side *side = peer_side_of(actor);
    if (!complaint_due(&peer->complained_us, now_us))
        return;
    /* Another directory under this id may have forgotten a vote or an entry it acknowledged. */
    const char *reason =
        refusal == PEER_REFUSAL_INCARNATION
            ? "this member came back with another data directory; it is not listened to: restore "
              "its directory, or remove the member and join it anew"
            : "this node was removed from the cluster and is not listened to: stop it";
    log_event(&actor->node->logger, CONCLAVE_LOG_ERROR, "raft",
              refusal == PEER_REFUSAL_INCARNATION ? "other_incarnation" : "removed_member",
              "peer=%s id=%llu reason=\"%s\"", peer_name(side, peer->id),
              (unsigned long long)peer->id, reason);
    peers_send(side->peers, peer->id,
               peer_encode_refused(&actor->node->peer_identity, peer->id, refusal));
}

static void take_refusal(struct actor *actor, const struct peer_frame *frame, uint64_t now_us)
{
    struct peer_side *side = peer_side_of(actor);
    side->refused_us = now_us;
    side->refusal = frame->refusal;
    if (!complaint_due(&side->refused_complained_us, now_us))
        return;
    const char *reason =
        frame->refusal == PEER_REFUSAL_INCARNATION
            ? "the cluster knows this member by another data directory and does not listen to this "
              "one: restore that directory, or remove the member and join with an empty directory"
            : "this node was removed from its cluster: stop it and delete its data directory";
    log_event(&actor->node->logger, CONCLAVE_LOG_ERROR, "raft", "refused", "by=%s reason=\"%s\"",
              peer_name(side, frame->from.node_id), reason);
}

/* Two of the others' refusals may be lost. */
const char *peer_side_refused(const struct peer_side *side, uint64_t now_us)
{
    if (!side->refused_us || now_us - side->refused_us > 3 * (uint64_t)COMPLAINT_INTERVAL_US)
        return NULL;
    return side->refusal == PEER_REFUSAL_REMOVED ? "removed" : "refused";
}

/* Takes in a node of the cluster that is no member by this node's log. */
static struct peer_state *admit_guest(struct peer_side *side, raft_node_id id)
{
    if (side->count == PEERS_LINKS_MAX)
        return NULL;
    struct peer_state *guest = &side->states[side->count++];
    *guest = (struct peer_state){.id = id, .guest = true};
    return guest;
}

/* A guest says where it is to be answered. */
static void link_guest(struct peer_side *side, struct peer_state *guest, const char *endpoint,
                       uint64_t now_us)
{
    if (!guest->guest || strcmp(guest->endpoint, endpoint) == 0 ||
        endpoint_check(endpoint, NULL) != CONCLAVE_OK)
        return;
    snprintf(guest->endpoint, sizeof guest->endpoint, "%s", endpoint);
    relink(side, now_us);
}

/* The core has the incarnation written down, so that it outlives this process. */
static void tell_seen(struct actor *actor, struct peer_state *peer)
{
    struct peer_side *side = peer_side_of(actor);
    if (peer->told || peer->guest || side->repairing)
        return;
    peer->told = true;
    struct raft_event *event = raft_actor_add(actor->state, RAFT_EVENT_PEER_SEEN);
    event->peer_seen.peer = peer->id;
    event->peer_seen.incarnation = peer->incarnation;
}

static void complain_of_stranger(struct actor *actor, const struct peer_frame *frame,
                                 uint64_t now_us)
{
    struct peer_side *side = peer_side_of(actor);
    const struct node *node = actor->node;
    if (!complaint_due(&side->stranger_complained_us, now_us))
        return;
    const char *reason = frame->from.cluster_id != node->identity.cluster_id
                             ? "a node of another cluster sends here; check its --members"
                         : frame->to != node->identity.node_id
                             ? "what is sent here is for another member of this cluster; is this "
                               "one's address given to a new member, or its directory an old one?"
                             : "a node with the id of this one sends here, or a group of later "
                               "versions; is this data directory served twice?";
    log_event(&node->logger, CONCLAVE_LOG_WARN, "raft", "stranger",
              "cluster=%016llx from=%llu to=%llu reason=\"%s\"",
              (unsigned long long)frame->from.cluster_id, (unsigned long long)frame->from.node_id,
              (unsigned long long)frame->to, reason);
}

/* True if the frame comes from a node that belongs to this cluster, for this node. */
static bool authenticate(struct actor *actor, const struct peer_frame *frame, uint64_t now_us)
{
    struct peer_side *side = peer_side_of(actor);
    const struct node *node = actor->node;
    if (!side->linked)
        return false; /* the core has not said yet who the members are */
    raft_node_id from = frame->from.node_id;
    struct peer_state *peer = NULL;
    if (frame->group == 0 && frame->from.cluster_id == node->identity.cluster_id &&
        frame->to == node->identity.node_id && from != node->identity.node_id) {
        peer = find_peer(side, from);
        if (!peer)
            peer = admit_guest(side, from);
    }
    if (!peer) {
        complain_of_stranger(actor, frame, now_us);
        return false;
    }
    if (frame->type == PEER_FRAME_HELLO && frame->hello.peer[0])
        link_guest(side, peer, frame->hello.peer, now_us);
    bool removed = raft_configuration_was_removed(&side->members, from);
    if (!removed || !peer->told || !peer->expire_us) /* who hears of its removal hears it once */
        peer->expire_us = now_us + GUEST_US;
    if (removed && !peer->told) {
        refuse(actor, peer, PEER_REFUSAL_REMOVED, now_us); /* Rule 32 */
        return false;
    }
    if (!peer->incarnation)
        peer->incarnation = frame->from.incarnation;
    if (peer->incarnation != frame->from.incarnation) {
        refuse(actor, peer, PEER_REFUSAL_INCARNATION, now_us);
        return false;
    }
    tell_seen(actor, peer);
    return true;
}

static void hand_bulk(struct actor *actor, struct buf *bytes, const struct peer_frame *frame)
{
    struct envelope *bulk = envelope_create(ENVELOPE_BULK);
    bulk->bulk.buf = buf_ref(bytes);
    bulk->bulk.frame = *frame;
    actor_send(actor, ACTOR_SNAPSHOT, &bulk);
}

/* A node that repairs its log asks, and answers others; a running one has nothing to ask. */
static void hand_repair(struct actor *actor, struct peer_frame *frame, bool good)
{
    struct peer_side *side = peer_side_of(actor);
    bool asks = frame->type == PEER_FRAME_REPAIR_ASK;
    if (!good || (!asks && !side->repairing)) {
        raft_runs_clear(&frame->repair.entries);
        return;
    }
    struct envelope *repair = envelope_create(asks ? ENVELOPE_REPAIR_ASK : ENVELOPE_REPAIR_ANSWER);
    repair->repair.from = frame->from.node_id;
    repair->repair.frame = frame->repair; /* the entries move */
    if (side->repairing) {
        actor_send(actor, ACTOR_LOG_WRITER, &repair);
        return;
    }
    raft_actor_give(actor, repair);
    envelope_destroy(repair);
}

static void take_frame(struct actor *actor, struct buf *bytes, uint64_t now_us)
{
    struct peer_side *side = peer_side_of(actor);
    struct peer_frame frame;
    int code = peer_decode(bytes, &frame);
    if (code) {
        if (complaint_due(&side->stranger_complained_us, now_us))
            log_event(&actor->node->logger, CONCLAVE_LOG_WARN, "raft", "bad_peer_frame",
                      "bytes=%zu reason=\"%s\"", bytes->bytes, conclave_code_text(code));
        return;
    }
    bool good = authenticate(actor, &frame, now_us);
    if (good)
        peers_heard(side->peers, frame.from.node_id, now_us);
    if (good && frame.type == PEER_FRAME_REFUSED)
        take_refusal(actor, &frame, now_us);
    switch (frame.type) {
    case PEER_FRAME_RAFT:
        if (good && !side->repairing)
            raft_actor_add(actor->state, RAFT_EVENT_RECEIVE)->receive = frame.raft;
        else
            raft_message_destroy(frame.raft);
        break;
    case PEER_FRAME_SNAPSHOT:
    case PEER_FRAME_SNAPSHOT_ACK:
        if (good)
            hand_bulk(actor, bytes, &frame);
        break;
    case PEER_FRAME_AUDIT:
        if (good && !side->repairing)
            peer_audit_heard(actor, &frame, now_us);
        break;
    case PEER_FRAME_REPAIR_ASK:
    case PEER_FRAME_REPAIR_ANSWER:
        hand_repair(actor, &frame, good);
        break;
    case PEER_FRAME_HELLO:
    case PEER_FRAME_REFUSED:
        break;
    }
}

void peer_side_receive(struct actor *actor, uint64_t now_us)
{
    struct peer_side *side = peer_side_of(actor);
    struct buf *bytes;
    for (int i = 0; i < RECEIVE_FRAMES_MAX && (bytes = peers_receive(side->peers)); i++) {
        take_frame(actor, bytes, now_us);
        buf_unref(bytes);
    }
    raft_node_id lost; /* behind what it sent before */
    while (peers_lost(side->peers, &lost))
        if (side->linked && !side->repairing)
            raft_actor_add(actor->state, RAFT_EVENT_PEER_DOWN)->peer_down = lost;
}

void outgoing_send(struct outgoing_list *list, struct peers *peers, outgoing_way send)
{
    for (uint32_t i = 0; i < list->count; i++)
        send(peers, list->items[i].to, list->items[i].frame);
    list->count = 0; /* the references moved */
}

void peer_side_set_members(struct actor *actor, const struct raft_configuration *members,
                           uint64_t now_us)
{
    struct peer_side *side = peer_side_of(actor);
    struct peer_state *next = side->scratch;
    uint32_t count = 0;
    for (uint32_t i = 0; i < members->member_count; i++) {
        const struct raft_member *member = &members->members[i];
        if (member->id == actor->node->identity.node_id)
            continue;
        const struct peer_state *known = find_peer(side, member->id);
        struct peer_state *peer = &next[count++];
        *peer = known ? *known : (struct peer_state){.id = member->id};
        peer->guest = false;
        peer->told = member->incarnation != 0;
        if (member->incarnation)
            peer->incarnation = member->incarnation;
        snprintf(peer->endpoint, sizeof peer->endpoint, "%s", member->peer);
    }
    /* Whoever is no member now stays a guest for a while: it hears of its removal, or this node's
     * log is only on its way to where it becomes a member again. */
    for (uint32_t i = 0; i < side->count && count < PEERS_LINKS_MAX; i++) {
        struct peer_state *gone = &side->states[i];
        if (raft_configuration_find(members, gone->id))
            continue;
        next[count] = *gone;
        if (!gone->guest) {
            next[count].guest = true;
            next[count].expire_us = now_us + GUEST_US;
            next[count].told = true;
        }
        count++;
    }
    memcpy(side->states, next, count * sizeof *next);
    side->count = count;
    side->members = *members;
    side->linked = true;
    relink(side, now_us);
    side->hello_due_us = now_us;
}

static void say_hello(struct actor *actor)
{
    struct peer_side *side = peer_side_of(actor);
    const struct node *node = actor->node;
    struct peer_hello hello = {0};
    memcpy(hello.name, node->identity.name, sizeof hello.name);
    memcpy(hello.client, node->listen_client, sizeof hello.client);
    memcpy(hello.peer, node->peer, sizeof hello.peer);
    for (uint32_t i = 0; i < side->count; i++) {
        raft_node_id id = side->states[i].id;
        if (side->states[i].endpoint[0])
            peers_send(side->peers, id, peer_encode_hello(&node->peer_identity, id, &hello));
    }
}

static void guests_expire(struct peer_side *side, uint64_t now_us)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < side->count; i++) {
        const struct peer_state *peer = &side->states[i];
        if (!peer->guest || now_us < peer->expire_us)
            side->states[count++] = *peer;
    }
    if (count == side->count)
        return;
    side->count = count;
    relink(side, now_us);
}

void peer_side_tend(struct actor *actor, uint64_t now_us)
{
    struct peer_side *side = peer_side_of(actor);
    if (!side->linked)
        return;
    if (now_us >= side->hello_due_us) {
        guests_expire(side, now_us);
        say_hello(actor);
        peer_audit_tick(actor);
        side->hello_due_us = now_us + HELLO_INTERVAL_US;
    }
    if (now_us >= side->supervise_due_us) {
        unsigned replaced;
        side->supervise_due_us = peers_supervise(side->peers, now_us, &replaced);
        if (replaced)
            log_event(&actor->node->logger, CONCLAVE_LOG_DEBUG, "raft", "links_replaced",
                      "count=%u", replaced);
    }
}

uint64_t peer_side_due_us(const struct peer_side *side)
{
    if (!side->linked)
        return UINT64_MAX;
    return side->hello_due_us < side->supervise_due_us ? side->hello_due_us
                                                       : side->supervise_due_us;
}

int peer_side_start(struct actor *actor, struct conclave_error *error)
{
    struct peer_side *side = peer_side_of(actor);
    const struct node *node = actor->node;
    audit_init(&side->audit, node->identity.node_id);
    int code =
        peers_create(node->context, node->listen, prng_entropy(), &actor->node->peers, error);
    side->peers = node->peers;
    if (code || !node->repairing)
        return code;
    /* Who the members are by what can be read of the log. */
    side->repairing = true;
    peer_side_set_members(actor, &node->recovered.configuration, clock_now_us());
    return CONCLAVE_OK;
}

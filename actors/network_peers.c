/* Frames from and to the other nodes. A frame is believed when it names this cluster, this node and
 * a member; whatever else arrives on the port changes nothing but a counter of complaints. */
#include "actors/network.h"

#include "base/fatal.h"
#include "base/list.h"

#include <stdlib.h>
#include <string.h>

enum {
    HELLO_INTERVAL_US = 1000000,      /* a third of PEERS_SILENCE_US: two may be lost */
    COMPLAINT_INTERVAL_US = 10000000, /* one line in this time about the same trouble */
    RECEIVE_FRAMES_MAX = 1024         /* frames taken before other sockets get their turn */
};

static struct peer_state *find_peer(struct network *network, raft_node_id id)
{
    for (uint32_t i = 0; network->members && i < network->members->member_count; i++)
        if (network->peer_states[i].id == id)
            return &network->peer_states[i];
    return NULL;
}

static const char *peer_name(const struct network *network, raft_node_id id)
{
    const struct raft_member *member =
        network->members ? raft_configuration_find(network->members, id) : NULL;
    return member ? member->name : "unknown";
}

static bool complaint_due(uint64_t *last_us, uint64_t now_us)
{
    if (*last_us && now_us - *last_us < COMPLAINT_INTERVAL_US)
        return false;
    *last_us = now_us;
    return true;
}

/* True if the frame comes from a member of this cluster, for this node. */
static bool authenticate(struct actor *actor, const struct peer_frame *frame, uint64_t now_us)
{
    struct network *network = actor->state;
    const struct node *node = actor->node;
    const struct logger *logger = &node->logger;
    if (!network->members)
        return false; /* raft has not said yet who the members are */
    struct peer_state *peer = find_peer(network, frame->from.node_id);
    if (frame->group != 0 || frame->from.cluster_id != node->identity.cluster_id ||
        frame->to != node->identity.node_id || !peer) {
        if (complaint_due(&network->stranger_complained_us, now_us))
            log_event(logger, CONCLAVE_LOG_WARN, "network", "stranger",
                      "cluster=%016llx from=%llu to=%llu reason=\"a node of another cluster or not "
                      "a member sends here; check its --members\"",
                      (unsigned long long)frame->from.cluster_id,
                      (unsigned long long)frame->from.node_id, (unsigned long long)frame->to);
        return false;
    }
    if (!peer->heard) {
        peer->heard = true;
        peer->incarnation = frame->from.incarnation;
    }
    if (peer->incarnation != frame->from.incarnation) {
        /* The same id on another disk: it may have forgotten a vote or an entry it acknowledged. */
        if (complaint_due(&peer->complained_us, now_us))
            log_event(logger, CONCLAVE_LOG_ERROR, "network", "other_incarnation",
                      "peer=%s reason=\"this member came back with another data directory; it is "
                      "not listened to: restore its directory, or restart this node to accept it\"",
                      peer_name(network, peer->id));
        return false;
    }
    return true;
}

static void take_frame(struct actor *actor, struct buf *bytes, uint64_t now_us)
{
    struct network *network = actor->state;
    struct peer_frame frame;
    int code = peer_decode(bytes, &frame);
    if (code) {
        if (complaint_due(&network->stranger_complained_us, now_us))
            log_event(&actor->node->logger, CONCLAVE_LOG_WARN, "network", "bad_peer_frame",
                      "bytes=%zu reason=\"%s\"", bytes->bytes, conclave_code_text(code));
        return;
    }
    bool good = authenticate(actor, &frame, now_us);
    if (good)
        peers_heard(network->peers, frame.from.node_id, now_us);
    if (frame.type == PEER_FRAME_RAFT) {
        if (good)
            raft_messages_add(&network->received, frame.raft);
        else
            raft_message_destroy(frame.raft);
    }
}

static void hand_on(struct actor *actor)
{
    struct network *network = actor->state;
    if (!network->received.count)
        return;
    struct envelope *received = envelope_create(ENVELOPE_RECEIVED);
    received->received = network->received;
    network->received = (struct raft_messages){0};
    actor_send(actor, ACTOR_RAFT, &received);
}

void network_receive_peers(struct actor *actor, uint64_t now_us)
{
    struct network *network = actor->state;
    struct buf *bytes;
    for (int i = 0; i < RECEIVE_FRAMES_MAX && (bytes = peers_receive(network->peers)); i++) {
        take_frame(actor, bytes, now_us);
        buf_unref(bytes);
    }
    hand_on(actor);
    raft_node_id lost; /* behind what it sent before */
    while (peers_lost(network->peers, &lost)) {
        struct envelope *down = envelope_create(ENVELOPE_PEER_DOWN);
        down->peer_down = lost;
        actor_send(actor, ACTOR_RAFT, &down);
    }
}

void network_send(struct actor *actor, struct outgoing_list *list)
{
    struct network *network = actor->state;
    for (uint32_t i = 0; i < list->count; i++)
        peers_send(network->peers, list->items[i].to, list->items[i].frame);
    list->count = 0; /* the references moved */
}

void network_set_members(struct actor *actor, struct raft_configuration *members, uint64_t now_us)
{
    struct network *network = actor->state;
    struct peer_address addresses[CONCLAVE_MEMBERS_MAX];
    struct peer_state states[CONCLAVE_MEMBERS_MAX];
    memset(states, 0, sizeof states);
    size_t count = 0;
    for (uint32_t i = 0; i < members->member_count; i++) {
        const struct raft_member *member = &members->members[i];
        const struct peer_state *known = find_peer(network, member->id);
        if (known)
            states[i] = *known;
        states[i].id = member->id;
        if (member->id != actor->node->identity.node_id)
            addresses[count++] = (struct peer_address){.id = member->id, .endpoint = member->peer};
    }
    memcpy(network->peer_states, states, sizeof states);
    free(network->members);
    network->members = members;
    peers_set(network->peers, addresses, count, now_us);
    network->hello_due_us = now_us;
    network->supervise_due_us = now_us;
}

static void say_hello(struct actor *actor)
{
    struct network *network = actor->state;
    const struct node *node = actor->node;
    struct peer_hello hello = {0};
    memcpy(hello.name, node->identity.name, sizeof hello.name);
    memcpy(hello.client, node->listen_client, sizeof hello.client);
    for (uint32_t i = 0; i < network->members->member_count; i++) {
        raft_node_id id = network->members->members[i].id;
        if (id != node->identity.node_id)
            peers_send(network->peers, id, peer_encode_hello(&node->peer_identity, id, &hello));
    }
}

void network_tend_links(struct actor *actor, uint64_t now_us)
{
    struct network *network = actor->state;
    if (!network->members)
        return;
    if (now_us >= network->hello_due_us) {
        say_hello(actor);
        network->hello_due_us = now_us + HELLO_INTERVAL_US;
    }
    if (now_us >= network->supervise_due_us) {
        unsigned replaced;
        network->supervise_due_us = peers_supervise(network->peers, now_us, &replaced);
        if (replaced)
            log_event(&actor->node->logger, CONCLAVE_LOG_DEBUG, "network", "links_replaced",
                      "count=%u", replaced);
    }
}

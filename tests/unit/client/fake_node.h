/* tests/unit/client/fake_node.h - nodes that answer as a test tells them.
 *
 * A fake node is a ROUTER socket that is served by the test's own thread, between polls of the
 * client: what has been sent and what has been answered is then known at every line of a test. */
#ifndef TEST_FAKE_NODE_H
#define TEST_FAKE_NODE_H

#include "codec/client.h"
#include "conclave.h"

enum { FAKE_HELD_MAX = 8192, FAKE_NODES_MAX = 4 };

/* What a fake node does with proposals and reads. LEADER is answered from `redirect` in every mode
 * but DEAF, STATUS from `status` if `answers_status`. */
enum fake_mode {
    FAKE_OK,     /* answers OK with the operation's own bytes */
    FAKE_HOLD,   /* keeps them in held[]; fake_answer() answers */
    FAKE_REFUSE, /* answers `refusal`, with the redirect where the code has one */
    FAKE_DEAF    /* reads nothing at all */
};

struct fake_held {
    uint64_t id;
    uint32_t type;
    char body[64]; /* what fits; of a command in a session, the command */
    uint64_t session, sequence, acknowledged;
};

struct fake_node {
    void *router;
    char endpoint[64];
    enum fake_mode mode;
    int refusal;
    struct client_redirect redirect;
    struct client_status status;
    bool answers_status;
    unsigned status_busy; /* so many requests for STATUS are answered BUSY first */
    size_t frame_count, op_count, leader_count, frame_bytes_max; /* seen so far */
    uint32_t frame_ops_max;
    struct fake_held held[FAKE_HELD_MAX];
    size_t held_count;
    size_t opened, kept_alive; /* sessions, so often; ids are 100 + opened */
    uint64_t lifetime_ms;      /* of sessions; 0: a minute */
    uint64_t window;           /* 0: 4,096 */
    uint64_t expired;          /* sessions up to this id have */
    uint8_t client_id[256];
    size_t client_id_bytes;
};

struct fake_cluster {
    void *context;
    struct fake_node *nodes[FAKE_NODES_MAX];
    size_t node_count;
    struct conclave_client *client;
};

/* `count` nodes n1, n2, ... on inproc endpoints, mode FAKE_OK, all naming n1 in term 1. */
void fake_cluster_init(struct fake_cluster *cluster, size_t count);
void fake_cluster_deinit(struct fake_cluster *cluster);

/* A client whose endpoints are the nodes first to first + count - 1. */
void fake_client(struct fake_cluster *cluster, size_t first, size_t count);

/* The same with sessions; fake_client makes one without. */
void fake_session_client(struct fake_cluster *cluster, size_t first, size_t count);

/* Every node names this node, from 0, as the leader of this term; -1: none. */
void fake_leader(struct fake_cluster *cluster, int node, uint64_t term);
void fake_name(struct fake_node *node, const struct fake_node *leader, uint64_t term);

/* Reads and answers what has come to the nodes. */
void fake_serve(struct fake_cluster *cluster);

/* Polls the client and serves the nodes until `count` operations are done or 20 s have passed.
 * Returns how many are; the first of them is *ret_done. */
size_t fake_run(struct fake_cluster *cluster, size_t count, struct conclave_op **ret_done);

/* The same until the condition holds; false after 20 s. Operations done meanwhile are lost. */
#define FAKE_RUN_UNTIL(cluster, condition)                                   \
    do {                                                                     \
        for (int fake_turns = 0; !(condition); fake_turns++) {               \
            struct conclave_op *fake_done;                                   \
            conclave_client_poll((cluster)->client, 1, &fake_done);          \
            fake_serve(cluster);                                             \
            cr_assert(fake_turns < 20000, "waited in vain for " #condition); \
        }                                                                    \
    } while (0)

/* Answers held[i] with a bin body, or sends raw bytes, to the client heard last. */
void fake_answer(struct fake_node *node, size_t i, int code, const char *body);
void fake_answer_refusal(struct fake_node *node, uint64_t id, int code);
void fake_send(struct fake_node *node, const void *data, size_t bytes);

struct conclave_op fake_op(enum conclave_op_kind kind, const char *body, uint32_t timeout_ms);

#endif

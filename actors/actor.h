/* actors/actor.h - the life of one actor: a named thread, one inbox, outboxes to the others.
 *
 *     node: actor_wire ─> actor_start ──> [thread] start ──ok──> run ──STOP or QUIT──> stop
 *                                              │ failed            │ failed
 *                                              └─> READY{error}    └─> node_fatal, stop
 *
 * Everything that an actor owns is made, used and freed in its own thread; the exceptions are the
 * sockets of its mailboxes, which the host's thread makes before the thread starts and closes after
 * it was joined. */
#ifndef ACTORS_ACTOR_H
#define ACTORS_ACTOR_H

#include "actors/mailbox.h"
#include "base/turn.h"

#include <pthread.h>

struct node;

enum actor_id {
    ACTOR_TIMER,
    ACTOR_NETWORK,
    ACTOR_RAFT,
    ACTOR_LOG_WRITER,
    ACTOR_SEGMENTS,
    ACTOR_STORE_WRITER,
    ACTOR_LOG_READER,
    ACTOR_SNAPSHOT,
    ACTOR_MACHINE,
    ACTOR_FEED, /* runs at nodes with a feed alone */
    ACTOR_COUNT
};

struct actor;

/* What makes an actor this actor. Static. */
struct actor_ops {
    const char *name; /* in logs; the thread's name is "cv-" and this */
    enum thread_turn turn;

    /* Makes actor->state. On failure *error says why and nothing is left. May be NULL. */
    int (*start)(struct actor *actor, struct conclave_error *error);

    /* Works until STOP or QUIT: CONCLAVE_OK; or until something breaks: a code and *error, and the
     * node goes down. */
    int (*run)(struct actor *actor, struct conclave_error *error);

    /* Frees actor->state. May be NULL. */
    void (*stop)(struct actor *actor);
};

struct actor {
    const struct actor_ops *ops;
    struct node *node; /* read-only for actors, except node_fatal */
    void *state;       /* the actor's own */
    struct inbox inbox;
    struct outbox to[ACTOR_COUNT];
    struct outbox to_node;
    pthread_t thread;
    bool running; /* has a thread to join */
};

/* Opens the inbox; then, when all inboxes are open, the outboxes. Host's thread. */
void actor_open_inbox(struct actor *actor, enum actor_id id);
void actor_open_outboxes(struct actor *actor);
void actor_close(struct actor *actor);

/* Starts the thread with all signals blocked; its READY comes to the node's inbox. */
MUST_USE int actor_start(struct actor *actor, struct conclave_error *error);
void actor_join(struct actor *actor);

/* Sends to another actor of the same node. */
void actor_send(struct actor *actor, enum actor_id to, struct envelope **envelope);

/* The five actors and their helpers. */
extern const struct actor_ops timer_actor_ops;
extern const struct actor_ops network_actor_ops;
extern const struct actor_ops raft_actor_ops;
extern const struct actor_ops log_writer_ops;
extern const struct actor_ops segment_helper_ops;
extern const struct actor_ops store_writer_ops;
extern const struct actor_ops log_reader_ops;
extern const struct actor_ops snapshot_helper_ops;
extern const struct actor_ops machine_actor_ops;
extern const struct actor_ops feed_actor_ops;

#endif

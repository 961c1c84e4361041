/* actors/mailbox.h - the queues between actors: one inbox an actor, any number of outboxes to it,
 * over ZeroMQ inproc PUSH/PULL. A message is one pointer.
 *
 * Sending never blocks and never drops: queues have no high-water mark, because everything in them
 * is bounded where it enters the node (actors/pending.h, the core's limits). An inbox is bound once
 * and never again (inproc does not reconnect). */
#ifndef ACTORS_MAILBOX_H
#define ACTORS_MAILBOX_H

#include "actors/envelope.h"
#include "transport/source.h"

struct inbox {
    struct source source;
};

struct outbox {
    void *socket; /* NULL: not connected */
};

/* Binds an inbox under a name that is unique within the context. */
void inbox_open(struct inbox *inbox, void *context, const char *address);

/* Destroys what is still in it. */
void inbox_close(struct inbox *inbox);

/* The next envelope, NULL if there is none now. Owner thread. */
struct envelope *inbox_receive(struct inbox *inbox);

/* Waits up to timeout_ms (-1: for ever) until there is one; a signal may end it early. */
void inbox_wait(struct inbox *inbox, long timeout_ms);

void outbox_open(struct outbox *outbox, void *context, const char *address);
void outbox_close(struct outbox *outbox);

/* Hands the envelope over and sets *envelope to NULL. Owner thread of the outbox. */
void mailbox_send(struct outbox *outbox, struct envelope **envelope);

#endif

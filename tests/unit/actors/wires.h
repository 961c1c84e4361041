/* tests/unit/actors/wires.h - the mailboxes of a node whose actors a test runs itself, one at a
 * time: the inboxes of the others show what it sends them. */
#ifndef TESTS_UNIT_ACTORS_WIRES_H
#define TESTS_UNIT_ACTORS_WIRES_H

#include "actors/node.h"

/* Opens the context and all inboxes and outboxes; `name` is the test's own in this process. */
void wires_open(struct node *node, const char *name);

/* Closes all of it. What else is of the context must be gone. */
void wires_close(struct node *node);

/* One more way into an actor's inbox, for the test's thread; closed by outbox_close. */
void wires_to(const struct node *node, enum actor_id id, struct outbox *ret);

#endif

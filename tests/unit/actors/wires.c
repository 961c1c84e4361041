#include "wires.h"

#include "transport/context.h"

#include <stdio.h>

static void address_of(const struct node *node, int id, char *ret, size_t bytes)
{
    (void)snprintf(ret, bytes, "%s-%d", node->address, id);
}

void wires_open(struct node *node, const char *name)
{
    char address[96];
    node->context = context_create();
    (void)snprintf(node->address, sizeof node->address, "inproc://%s", name);
    address_of(node, ACTOR_COUNT, address, sizeof address);
    inbox_open(&node->inbox, node->context, address);
    for (int id = 0; id < ACTOR_COUNT; id++) {
        node->actors[id].node = node;
        actor_open_inbox(&node->actors[id], (enum actor_id)id);
    }
    for (int id = 0; id < ACTOR_COUNT; id++)
        actor_open_outboxes(&node->actors[id]);
}

void wires_close(struct node *node)
{
    for (int id = 0; id < ACTOR_COUNT; id++)
        actor_close(&node->actors[id]);
    inbox_close(&node->inbox);
    context_destroy(node->context);
}

void wires_to(const struct node *node, enum actor_id id, struct outbox *ret)
{
    char address[96];
    address_of(node, (int)id, address, sizeof address);
    outbox_open(ret, node->context, address);
}

#include "actors/actor.h"

#include "actors/node.h"
#include "base/fatal.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void actor_address(const struct node *node, enum actor_id id, char *text, size_t size)
{
    snprintf(text, size, "%s-%d", node->address, (int)id);
}

void actor_open_inbox(struct actor *actor, enum actor_id id)
{
    char address[96];
    actor_address(actor->node, id, address, sizeof address);
    inbox_open(&actor->inbox, actor->node->context, address);
}

void actor_open_outboxes(struct actor *actor)
{
    char address[96];
    for (int id = 0; id < ACTOR_COUNT; id++) {
        actor_address(actor->node, (enum actor_id)id, address, sizeof address);
        outbox_open(&actor->to[id], actor->node->context, address);
    }
    actor_address(actor->node, ACTOR_COUNT, address, sizeof address);
    outbox_open(&actor->to_node, actor->node->context, address);
}

void actor_close(struct actor *actor)
{
    for (int id = 0; id < ACTOR_COUNT; id++)
        outbox_close(&actor->to[id]);
    outbox_close(&actor->to_node);
    inbox_close(&actor->inbox);
}

void actor_send(struct actor *actor, enum actor_id to, struct envelope **envelope)
{
    mailbox_send(&actor->to[to], envelope);
}

static void report_ready(struct actor *actor, const struct conclave_error *error)
{
    struct envelope *ready = envelope_create(ENVELOPE_READY);
    ready->ready.actor = actor->ops->name;
    if (error) {
        ready->ready.error = mem_alloc(sizeof *error);
        *ready->ready.error = *error;
    }
    mailbox_send(&actor->to_node, &ready);
}

static void *actor_main(void *arg)
{
    struct actor *actor = arg;
    struct conclave_error error = {0};
    char name[16];
    snprintf(name, sizeof name, "cv-%s", actor->ops->name);
    pthread_setname_np(pthread_self(), name);
    thread_take_turn(actor->ops->turn);

    if (actor->ops->start && actor->ops->start(actor, &error) != CONCLAVE_OK) {
        report_ready(actor, &error);
        return NULL;
    }
    report_ready(actor, NULL);
    if (actor->ops->run(actor, &error) != CONCLAVE_OK)
        node_fatal(actor->node, actor, &error);
    if (actor->ops->stop)
        actor->ops->stop(actor);
    return NULL;
}

int actor_start(struct actor *actor, struct conclave_error *error)
{
    /* The host's signal handlers run in the host's threads only. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&actor->thread, NULL, actor_main, actor);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed)
        return error_set_errno(error, CONCLAVE_NO_MEMORY, failed, "cannot start the %s thread",
                               actor->ops->name);
    actor->running = true;
    return CONCLAVE_OK;
}

void actor_join(struct actor *actor)
{
    if (!actor->running)
        return;
    int failed = pthread_join(actor->thread, NULL);
    ASSERT(!failed);
    actor->running = false;
}

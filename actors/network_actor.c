/* The network actor: owns the sockets of clients. One wake-up reads all that has come, hands it on
 * in batches, sends what the other actors made, and sleeps again. */
#include "actors/network.h"

#include "base/clock.h"
#include "base/fatal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

/* How often a client that does not read its replies is tried again. */
enum { KEPT_RETRY_US = 10000 };

static void network_stop(struct actor *actor)
{
    struct network *network = actor->state;
    network_end_proposers(network);
    network_clients_stop(network);
    reads_ahead_deinit(&network->reads);
    trace_drop(&actor->node->trace);
    free(network->members);
    free(network);
    actor->state = NULL;
}

/* Who the members are by what can be read of the log. */
static void await_repair(struct actor *actor)
{
    struct network *network = actor->state;
    network->members = mem_alloc(sizeof *network->members);
    *network->members = actor->node->recovered.configuration;
    network->repairing = true;
    snprintf(network->repair, sizeof network->repair, "the log is damaged");
}

static int network_start(struct actor *actor, struct conclave_error *error)
{
    struct network *network = mem_zalloc(sizeof *network);
    actor->state = network;
    network->clients.due_ms = UINT64_MAX;
    network->clients.machine = actor->node->options.machine;
    int code = network_clients_start(actor, error);
    if (code)
        network_stop(actor);
    else if (actor->node->repairing)
        await_repair(actor);
    return code;
}

static void take_leadership(struct network *network, const struct envelope *envelope)
{
    /* Cluster time is what this leader measures itself, from now on. */
    if (envelope->leadership.self &&
        (!network->leads || network->leader_term != envelope->leadership.term))
        network->clients.clock_us = clock_now_us();
    network->leader = envelope->leadership.leader;
    network->leader_term = envelope->leadership.term;
    network->leads = envelope->leadership.self;
    network->clients.leads = network->leads;
}

/* Refuses new work from now on. STOP reaches raft behind all that was taken before. */
static void drain_clients(struct actor *actor)
{
    struct network *network = actor->state;
    network->clients.draining = true;
    struct envelope *stop = envelope_create(ENVELOPE_STOP);
    actor_send(actor, ACTOR_RAFT, &stop);
}

/* Carries out what the other actors sent. Returns STOP or QUIT if one of them came, else 0. */
static int drain(struct actor *actor)
{
    struct network *network = actor->state;
    int ended = 0;
    for (struct envelope *envelope; !ended && (envelope = inbox_receive(&actor->inbox));) {
        switch (envelope->type) {
        case ENVELOPE_REPLY:
            network_take_replies(actor, &envelope->reply);
            network->traced |= envelope->reply.traced;
            break;
        case ENVELOPE_READS_DECIDED:
            network_take_decisions(actor, &envelope->reads_decided);
            break;
        case ENVELOPE_PROPOSER:
            network_take_proposer(network, envelope->proposer);
            envelope->proposer = NULL;
            break;
        case ENVELOPE_STREAMS:
            network_take_streams(actor, envelope);
            break;
        case ENVELOPE_STATUS:
            network_take_status(actor, &envelope->status.origin, envelope->status.status);
            break;
        case ENVELOPE_LEADERSHIP:
            take_leadership(network, envelope);
            break;
        case ENVELOPE_REPAIR_STATE:
            memcpy(network->repair, envelope->repair_state, sizeof network->repair);
            break;
        case ENVELOPE_MEMBERS:
            network->repairing = false;
            free(network->members);
            network->members = envelope->members;
            envelope->members = NULL;
            break;
        case ENVELOPE_DUE:
            network->clients.due_ms = envelope->due_ms;
            network->clients.overdue = envelope->due_ms == 0;
            break;
        case ENVELOPE_SPACE:
            network->clients.full[envelope->space.of] = envelope->space.full;
            break;
        case ENVELOPE_DRAIN:
            drain_clients(actor);
            break;
        case ENVELOPE_STOP:
        case ENVELOPE_QUIT:
            ended = (int)envelope->type;
            break;
        default:
            ASSERT(!"an envelope that is not for the network");
        }
        envelope_destroy(envelope);
    }
    return ended;
}

static long wait_ms(const struct network *network, uint64_t now_us)
{
    uint64_t due_us = network_tick_us(network);
    if (network->clients.kept.count && due_us > now_us + KEPT_RETRY_US)
        due_us = now_us + KEPT_RETRY_US;
    if (due_us == UINT64_MAX)
        return -1;
    return due_us <= now_us ? 0 : (long)((due_us - now_us + 999) / 1000);
}

static void wait_for_work(struct actor *actor)
{
    struct network *network = actor->state;
    struct source *sources[1 + CLIENT_PORTS + CONCLAVE_PROPOSERS_MAX];
    _Static_assert(sizeof sources / sizeof *sources <= SOURCES_MAX, "all of them at once");
    size_t count = 0;
    sources[count++] = &actor->inbox.source;
    for (int i = 0; i < CLIENT_PORTS; i++)
        if (network->clients.ports[i])
            sources[count++] = clients_source(network->clients.ports[i]);
    count += network_proposer_sources(network, sources + count);
    sources_wait(sources, count, wait_ms(network, clock_now_us()));
}

/* The replies of the write that is followed have been sent. */
static void tell_trace(struct actor *actor)
{
    struct network *network = actor->state;
    const struct conclave_options *options = &actor->node->options;
    struct conclave_trace trace;
    if (!network->traced)
        return;
    network->traced = false;
    if (trace_end(&actor->node->trace, &trace))
        options->trace(options->trace_arg, &trace);
}

static int network_run(struct actor *actor, struct conclave_error *error)
{
    (void)error;
    for (;;) {
        wait_for_work(actor);
        uint64_t now_us = clock_now_us();
        int ended = drain(actor);
        if (ended == ENVELOPE_QUIT)
            return CONCLAVE_OK; /* nothing more is acknowledged: staged replies are dropped */
        network_receive_clients(actor);
        network_receive_proposers(actor);
        network_tick(actor, now_us);
        network_retry_replies(actor, now_us);
        if (atomic_load(&actor->node->fatal))
            return CONCLAVE_OK; /* QUIT is on its way */
        network_flush_replies(actor, now_us);
        network_flush_proposed(actor->state);
        tell_trace(actor);
        if (ended == ENVELOPE_STOP) {
            network_abandon_clients(actor);
            return CONCLAVE_OK;
        }
    }
}

const struct actor_ops network_actor_ops = {.name = "network",
                                            .turn = TURN_FIRST,
                                            .start = network_start,
                                            .run = network_run,
                                            .stop = network_stop};

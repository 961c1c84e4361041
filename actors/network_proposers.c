/* The node's side of proposers: their batches go to raft as they are, and what becomes of them goes
 * back in one list for each wake-up. The bounds of what they have under way are their own. */
#include "actors/network.h"

#include "base/fatal.h"
#include "codec/kv.h"
#include "machine/kv.h"

#include <stdlib.h>

enum { RECEIVE_BATCHES_MAX = 64 /* of one proposer, before the others get their turn */ };

void network_take_proposer(struct network *network, struct proposer_link *link)
{
    ASSERT(network->proposers.count < CONCLAVE_PROPOSERS_MAX);
    network->proposers.items[network->proposers.count++] = (struct network_proposer){.link = link};
}

size_t network_proposer_sources(struct network *network, struct source *ret_sources[])
{
    for (uint32_t i = 0; i < network->proposers.count; i++)
        ret_sources[i] = &network->proposers.items[i].link->to_node.in.source;
    return network->proposers.count;
}

/* --- Proposals -------------------------------------------------------------------------------- */

/* Whether the disk is too full for it: then only what gives space back is taken, and of a batch
 * that holds anything else nothing. */
static bool lacks_space(const struct client_side *side, const struct raft_batch *batch)
{
    if (!side->leads)
        return false;
    if (side->full[SPACE_MACHINE])
        return true;
    if (!side->full[SPACE_LOG] && !side->full[SPACE_STORE])
        return false;
    for (uint32_t i = 0; i < batch->count; i++) {
        struct slice command = batch->entries[i].payload;
        if (!side->machine->frees || !side->machine->frees(command.data, command.bytes))
            return true;
    }
    return false;
}

/* Why the batch is not taken; OK: it is. */
static int refusal(const struct network *network, const struct raft_batch *batch,
                   const char **ret_text)
{
    *ret_text = NULL;
    if (!network->members)
        *ret_text = "the node is starting";
    else if (network->repairing)
        *ret_text = "the log of this node is being repaired";
    if (*ret_text)
        return CONCLAVE_BUSY;
    if (network->clients.draining)
        return CONCLAVE_STOPPING;
    if (!lacks_space(&network->clients, batch))
        return CONCLAVE_OK;
    *ret_text = "this node's disk is nearly full: it takes nothing but reads and deletes until "
                "there is room; not applied";
    return CONCLAVE_NO_SPACE;
}

/* Commands of the built-in machine may need cluster time in the log before them. */
static void send_clock(struct actor *actor, const struct raft_batch *batch)
{
    struct network *network = actor->state;
    struct client_side *side = &network->clients;
    bool timed = false;
    for (uint32_t i = 0; !timed && side->machine == kv_machine_ops() && i < batch->count; i++) {
        struct slice command = batch->entries[i].payload;
        timed = kv_command_is_timed(command.data, command.bytes);
    }
    if (!timed)
        return;
    struct envelope *proposed = envelope_create(ENVELOPE_PROPOSED);
    proposed->proposed = raft_batch_create(1);
    side->timed = true;
    network_add_clock(network, side, proposed->proposed);
    side->timed = false;
    if (proposed->proposed->count > 0)
        actor_send(actor, ACTOR_RAFT, &proposed);
    envelope_destroy(proposed);
}

static void take_batch(struct actor *actor, struct network_proposer *proposer,
                       struct envelope **envelope)
{
    struct network *network = actor->state;
    struct raft_batch *batch = (*envelope)->proposed;
    const char *text;
    int code = refusal(network, batch, &text);
    if (code) {
        for (uint32_t i = 0; i < batch->count; i++) {
            reply_add(&proposer->replies, batch->entries[i].origin, code, NULL);
            proposer->replies.items[proposer->replies.count - 1].text = text;
        }
        return;
    }
    send_clock(actor, batch);
    if (network->leads && actor->node->options.trace)
        trace_begin(&actor->node->trace, batch);
    actor_send(actor, ACTOR_RAFT, envelope);
}

/* False: the proposer was destroyed. */
static bool receive_from(struct actor *actor, struct network_proposer *proposer)
{
    struct inbox *inbox = &proposer->link->to_node.in;
    for (int i = 0; i < RECEIVE_BATCHES_MAX && !inbox->source.quiet; i++) {
        struct envelope *envelope = inbox_receive(inbox);
        if (!envelope)
            break;
        bool goes_on = envelope->type == ENVELOPE_PROPOSED;
        ASSERT(goes_on || envelope->type == ENVELOPE_STOP);
        if (goes_on)
            take_batch(actor, proposer, &envelope);
        envelope_destroy(envelope); /* NULL if it was handed on */
        if (!goes_on)
            return false;
    }
    return true;
}

void network_receive_proposers(struct actor *actor)
{
    struct network *network = actor->state;
    for (uint32_t i = 0; i < network->proposers.count;) {
        struct network_proposer *proposer = &network->proposers.items[i];
        if (receive_from(actor, proposer)) {
            i++;
            continue;
        }
        reply_list_clear(&proposer->replies);
        proposer_link_unref(proposer->link);
        *proposer = network->proposers.items[--network->proposers.count];
    }
}

/* --- Replies ---------------------------------------------------------------------------------- */

bool network_is_of_proposer(struct raft_origin origin)
{
    return (uint32_t)origin.client == PROPOSER_ORIGIN;
}

/* NULL: it was destroyed. */
static struct network_proposer *find(struct network *network, struct raft_origin origin)
{
    for (uint32_t i = 0; i < network->proposers.count; i++)
        if (network->proposers.items[i].link->number == origin.client >> 32)
            return &network->proposers.items[i];
    return NULL;
}

/* True if all are of one proposer. */
static bool are_of_one(const struct reply_list *list)
{
    for (uint32_t i = 1; i < list->count; i++)
        if (list->items[i].origin.client != list->items[0].origin.client)
            return false;
    return true;
}

bool network_take_proposed(struct network *network, struct reply_list *list)
{
    if (list->count == 0 || !network_is_of_proposer(list->items[0].origin) || !are_of_one(list))
        return false;
    struct network_proposer *proposer = find(network, list->items[0].origin);
    if (!proposer || proposer->replies.count > 0)
        return false;
    struct reply_list empty = proposer->replies;
    proposer->replies = *list;
    *list = empty;
    return true;
}

void network_stage_proposed(struct network *network, struct reply *reply)
{
    struct network_proposer *proposer = find(network, reply->origin);
    if (!proposer) {
        buf_unref(reply->body);
        return;
    }
    reply_add(&proposer->replies, reply->origin, reply->code, reply->body);
    proposer->replies.items[proposer->replies.count - 1] = *reply;
}

void network_flush_proposed(struct network *network)
{
    for (uint32_t i = 0; i < network->proposers.count; i++) {
        struct network_proposer *proposer = &network->proposers.items[i];
        if (proposer->replies.count == 0)
            continue;
        struct envelope *reply = envelope_create(ENVELOPE_REPLY);
        reply->reply = proposer->replies;
        proposer->replies = (struct reply_list){0};
        mailbox_send(&proposer->link->to_host.out, &reply);
    }
}

void network_end_proposers(struct network *network)
{
    for (uint32_t i = 0; i < network->proposers.count; i++) {
        reply_list_clear(&network->proposers.items[i].replies);
        proposer_link_end(network->proposers.items[i].link);
    }
    network->proposers.count = 0;
}

/* What clients ask about the node itself: its status, a transfer of leadership, a change of the
 * members; and the little that a node answers whose log is being repaired. */
#include "actors/network.h"

#include "actors/bootstrap.h"
#include "base/clock.h"
#include "base/fatal.h"
#include "codec/member.h"
#include "transport/endpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STATUS_MAX = 256 }; /* STATUS requests on their way round: 23 KiB each */

void network_ask_status(struct actor *actor, client_handle client, uint64_t request)
{
    struct network *network = actor->state;
    struct raft_origin origin;
    if (network->clients.draining || network->clients.status_count >= STATUS_MAX ||
        !pending_enter_free(network->clients.pending, client, request, &origin)) {
        int code = network->clients.draining ? CONCLAVE_STOPPING : CONCLAVE_BUSY;
        network_answer(&network->clients, client, request, code, conclave_code_text(code));
        return;
    }
    network->clients.status_count++;
    struct envelope *status = envelope_create(ENVELOPE_STATUS);
    status->status.origin = origin;
    status->status.status = mem_zalloc(sizeof *status->status.status);
    actor_send(actor, ACTOR_RAFT, &status);
}

void network_ask_transfer(struct actor *actor, client_handle client, const struct client_op *op)
{
    struct network *network = actor->state;
    struct raft_origin origin;
    if (op->body.bytes > CONCLAVE_NAME_BYTES_MAX) {
        network_answer(&network->clients, client, op->id, CONCLAVE_INVALID,
                       "the name is longer than the name of any node");
        return;
    }
    if (network->clients.draining ||
        !pending_enter(network->clients.pending, client, op->id, op->body.bytes, &origin)) {
        int code = network->clients.draining ? CONCLAVE_STOPPING : CONCLAVE_BUSY;
        network_answer(&network->clients, client, op->id, code, conclave_code_text(code));
        return;
    }
    struct envelope *transfer = envelope_create(ENVELOPE_TRANSFER);
    transfer->transfer.origin = origin;
    if (op->body.bytes > 0)
        memcpy(transfer->transfer.name, op->body.data, op->body.bytes);
    actor_send(actor, ACTOR_RAFT, &transfer);
}

/* What is wrong with the change by itself, as a sentence; NULL: nothing. */
static const char *change_fault(const struct client_member_change *change)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    if (!change->name[0] || change->name[strspn(change->name, letters)])
        return "a node's name has 1 to 32 of A-Z a-z 0-9 . _ -";
    if (change->kind != CLIENT_MEMBER_ADD)
        return NULL;
    if (endpoint_check(change->peer, NULL) ||
        (change->client[0] && endpoint_check(change->client, NULL)))
        return "an endpoint is written tcp://HOST:PORT";
    return NULL;
}

static struct raft_change *change_make(const struct client_member_change *asked,
                                       struct raft_origin origin)
{
    static const enum raft_change_type types[] = {
        [CLIENT_MEMBER_ADD] = RAFT_CHANGE_ADD,
        [CLIENT_MEMBER_PROMOTE] = RAFT_CHANGE_PROMOTE,
        [CLIENT_MEMBER_REMOVE] = RAFT_CHANGE_REMOVE,
        [CLIENT_MEMBER_REPLACE] = RAFT_CHANGE_REPLACE,
    };
    struct raft_change *change = mem_zalloc(sizeof *change);
    change->type = types[asked->kind];
    change->origin = origin;
    change->member.id = asked->id ? asked->id : bootstrap_draw_id();
    change->member.incarnation = asked->incarnation;
    change->member.flags =
        asked->learner ? RAFT_MEMBER_LEARNER : RAFT_MEMBER_LEARNER | RAFT_MEMBER_PROMOTE;
    snprintf(change->member.name, sizeof change->member.name, "%s", asked->name);
    snprintf(change->member.peer, sizeof change->member.peer, "%s", asked->peer);
    if (asked->kind == CLIENT_MEMBER_ADD && !asked->client[0])
        endpoint_client_default(asked->peer, change->member.client, sizeof change->member.client);
    else
        snprintf(change->member.client, sizeof change->member.client, "%s", asked->client);
    snprintf(change->replacement, sizeof change->replacement, "%s", asked->replacement);
    return change;
}

void network_ask_change(struct actor *actor, client_handle client, const struct client_op *op)
{
    struct network *network = actor->state;
    struct client_side *side = &network->clients;
    struct client_member_change asked;
    struct raft_origin origin;
    int code = client_member_decode(op->body, &asked);
    const char *fault = code ? "this change cannot be read: a node's name has 1 to 32 of A-Z a-z "
                               "0-9 . _ -, an endpoint is written tcp://HOST:PORT"
                             : change_fault(&asked);
    if (fault) {
        network_answer(side, client, op->id, CONCLAVE_INVALID, fault);
        return;
    }
    if (side->draining ||
        !pending_enter(side->pending, client, op->id, sizeof(struct raft_change), &origin)) {
        code = side->draining ? CONCLAVE_STOPPING : CONCLAVE_BUSY;
        network_answer(side, client, op->id, code, conclave_code_text(code));
        return;
    }
    struct envelope *envelope = envelope_create(ENVELOPE_CHANGE);
    envelope->change = change_make(&asked, origin);
    actor_send(actor, ACTOR_RAFT, &envelope);
}

static void status_of_repair(struct actor *actor, client_handle client, uint64_t request)
{
    struct network *network = actor->state;
    const struct node *node = actor->node;
    struct client_status *status = mem_zalloc(sizeof *status); /* 23 KiB: not for every stack */
    status->cluster_id = node->identity.cluster_id;
    memcpy(status->name, node->identity.name, sizeof status->name);
    status->id = node->identity.node_id;
    snprintf(status->role, sizeof status->role, "repair");
    snprintf(status->repair, sizeof status->repair, "%s", network->repair);
    status->pid = (uint64_t)getpid();
    status->uptime_ms = (clock_now_us() - node->started_us) / 1000;
    snprintf(status->version, sizeof status->version, "%s", conclave_version());
    memcpy(status->feed, node->feed, sizeof status->feed);
    client_status_members(status, network->members);
    network_stage_reply(&network->clients, client,
                        (struct staged_reply){.request = request,
                                              .code = CONCLAVE_OK,
                                              .body = client_status_encode(status)});
    free(status);
}

void network_ask_in_repair(struct actor *actor, client_handle client, const struct client_op *op)
{
    struct network *network = actor->state;
    if (op->type == CLIENT_OP_STATUS)
        status_of_repair(actor, client, op->id);
    else if (op->type == CLIENT_OP_LEADER)
        network_stage_reply(
            &network->clients, client,
            (struct staged_reply){.request = op->id, .code = CONCLAVE_OK, .redirect = true});
    else
        network_answer(&network->clients, client, op->id, CONCLAVE_BUSY,
                       "the log of this node is being repaired");
}

/* Subscriptions: what clients say of theirs goes to the state machine, whose frames come back. */
#include "actors/network.h"

#include "base/fatal.h"
#include "base/list.h"

#include <stdlib.h>

/* On their way to the state machine: about 100 bytes each, and the frames that they came in. */
enum { ON_THE_WAY_MAX = 65536 };

static void add(struct client_side *side, struct stream_request request)
{
    LIST_RESERVE(&side->stream_requests);
    side->stream_requests.items[side->stream_requests.count++] = request;
    side->stream_requests_on_the_way++;
}

void network_ask_stream(struct client_side *side, client_handle client, const struct client_op *op,
                        struct buf *frame)
{
    if (side->draining || side->stream_requests_on_the_way >= ON_THE_WAY_MAX) {
        /* Of a CREDIT too: who gets it knows that the subscription is not to be counted on. */
        int code = side->draining ? CONCLAVE_STOPPING : CONCLAVE_BUSY;
        network_answer(side, client, op->id, code, conclave_code_text(code));
        return;
    }
    struct meter *meter = clients_meter(side->ports[client_handle_tag(client)], client);
    ASSERT(meter); /* it has just asked */
    add(side, (struct stream_request){.client = client,
                                      .id = op->id,
                                      .type = op->type,
                                      .buf = buf_ref(frame),
                                      .body = op->body,
                                      .meter = meter_ref(meter)});
}

void network_stream_gone(struct client_side *side, client_handle client)
{
    add(side, (struct stream_request){.client = client});
}

void network_hand_streams_on(struct actor *actor)
{
    struct network *network = actor->state;
    struct client_side *side = &network->clients;
    if (!side->stream_requests.count)
        return;
    struct envelope *asked = envelope_create(ENVELOPE_SUBSCRIPTIONS);
    asked->subscriptions = side->stream_requests;
    side->stream_requests = (struct stream_requests){0};
    actor_send(actor, ACTOR_MACHINE, &asked);
}

void network_take_streams(struct actor *actor, struct envelope *envelope)
{
    struct network *network = actor->state;
    struct client_side *side = &network->clients;
    struct stream_outputs *outputs = &envelope->streams.outputs;
    ASSERT(side->stream_requests_on_the_way >= envelope->streams.taken);
    side->stream_requests_on_the_way -= envelope->streams.taken;
    for (uint32_t i = 0; i < outputs->count; i++) {
        const struct stream_output *output = &outputs->items[i];
        network_stage_reply(side, output->client,
                            (struct staged_reply){.request = output->id,
                                                  .code = output->code,
                                                  .body = output->body,
                                                  .text = output->text,
                                                  .redirect = output->code == CONCLAVE_NO_LEADER,
                                                  .stream = true});
    }
    outputs->count = 0; /* the references moved */
}

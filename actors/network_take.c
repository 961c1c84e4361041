/* One operation of a client: it is taken in (pending), answered BUSY, or answered at once. */
#include "actors/network.h"

#include "base/fatal.h"
#include "base/list.h"
#include "codec/kv.h"
#include "codec/session.h"
#include "machine/kv.h"
#include "machine/session_table.h"

/* True if a request of a session may go into the log; else it is answered. What the machine would
 * answer MALFORMED is not worth an entry, and cluster time is the leader's alone. */
static bool session_acceptable(struct client_side *side, client_handle client,
                               const struct client_op *op)
{
    struct session_request request;
    int code = session_request_decode(op->body.data, op->body.bytes, &request);
    if (!code && request.opcode == SESSION_CLOCK)
        code = CONCLAVE_INVALID;
    if (code)
        network_answer(side, client, op->id, code, conclave_code_text(code));
    return !code;
}

/* True if the command may be taken while the disk is nearly full. */
static bool gives_space_back(const struct client_side *side, const struct client_op *op)
{
    struct slice command = op->body;
    if (op->type == CLIENT_OP_SESSION) {
        struct session_request request;
        if (session_request_decode(op->body.data, op->body.bytes, &request) != CONCLAVE_OK ||
            request.opcode != SESSION_COMMAND)
            return true; /* small, and without it a session would end */
        command = request.command;
    }
    return side->machine->frees && side->machine->frees(command.data, command.bytes);
}

/* Whether cluster time has to be in the log before it. */
static bool is_timed(const struct client_side *side, const struct client_op *op)
{
    if (op->type == CLIENT_OP_SESSION)
        return true;
    return side->machine == kv_machine_ops() && kv_command_is_timed(op->body.data, op->body.bytes);
}

/* Takes a proposal or query in; its body points into `frame`. */
static void take_work(struct client_side *side, client_handle client, const struct client_op *op,
                      struct buf *frame)
{
    struct raft_origin origin;
    bool in_session = op->type == CLIENT_OP_SESSION;
    size_t bytes_max = CONCLAVE_COMMAND_BYTES_MAX + (in_session ? SESSION_OVERHEAD_BYTES : 0);
    if (op->body.bytes > bytes_max) {
        network_answer(side, client, op->id, CONCLAVE_TOO_LARGE,
                       "the command is larger than 1 MiB");
        return;
    }
    if (in_session && !session_acceptable(side, client, op))
        return;
    if (side->draining) {
        network_answer(side, client, op->id, CONCLAVE_STOPPING,
                       conclave_code_text(CONCLAVE_STOPPING));
        return;
    }
    bool changes = op->type == CLIENT_OP_PROPOSE || in_session;
    bool full = side->full[SPACE_LOG] || side->full[SPACE_STORE];
    if (changes && full && side->leads && !gives_space_back(side, op)) {
        network_answer(
            side, client, op->id, CONCLAVE_NO_SPACE,
            "this node's disk is nearly full: it takes nothing but reads and deletes until there "
            "is room; not applied");
        return;
    }
    if (changes && side->full[SPACE_MACHINE] && side->leads) {
        network_answer(side, client, op->id, CONCLAVE_NO_SPACE,
                       "the disk of this node's state machine is full: it takes nothing but reads "
                       "until there is room; not applied");
        return;
    }
    if (!pending_enter(side->pending, client, op->id, op->body.bytes, &origin)) {
        network_answer(side, client, op->id, CONCLAVE_BUSY, conclave_code_text(CONCLAVE_BUSY));
        return;
    }
    if (op->type == CLIENT_OP_READ || op->type == CLIENT_OP_READ_LEASE ||
        op->type == CLIENT_OP_READ_STALE) {
        struct meter *meter = clients_meter(side->ports[client_handle_tag(client)], client);
        ASSERT(meter); /* it has just asked */
        query_add(&side->queries, (struct query){.origin = origin,
                                                 .buf = buf_ref(frame),
                                                 .body = op->body,
                                                 .meter = meter_ref(meter),
                                                 .lease = op->type == CLIENT_OP_READ_LEASE,
                                                 .stale = op->type == CLIENT_OP_READ_STALE,
                                                 .max_age_ms = op->max_age_ms});
        return;
    }
    LIST_RESERVE(&side->proposals);
    bool first = side->proposals.count == side->frame_first;
    side->timed |= is_timed(side, op);
    side->proposals.items[side->proposals.count++] =
        (struct raft_entry){.origin = origin,
                            .buf = first ? buf_ref(frame) : NULL,
                            .payload = op->body,
                            .kind = in_session ? RAFT_ENTRY_SESSION : RAFT_ENTRY_COMMAND};
}

void network_take_op(struct actor *actor, client_handle client, const struct client_op *op,
                     struct buf *frame)
{
    struct network *network = actor->state;
    if (!network->members) { /* raft has not been started yet */
        network_answer(&network->clients, client, op->id, CONCLAVE_BUSY, "the node is starting");
        return;
    }
    if (network->repairing) {
        network_ask_in_repair(actor, client, op);
        return;
    }
    switch (op->type) {
    case CLIENT_OP_PROPOSE:
    case CLIENT_OP_READ:
    case CLIENT_OP_SESSION:
    case CLIENT_OP_READ_STALE:
    case CLIENT_OP_READ_LEASE:
        take_work(&network->clients, client, op, frame);
        break;
    case CLIENT_OP_SUBSCRIBE:
    case CLIENT_OP_CREDIT:
    case CLIENT_OP_UNSUBSCRIBE:
        network_ask_stream(&network->clients, client, op, frame);
        break;
    case CLIENT_OP_MEMBER:
        network_ask_change(actor, client, op);
        break;
    case CLIENT_OP_STATUS:
        network_ask_status(actor, client, op->id);
        break;
    case CLIENT_OP_TRANSFER:
        network_ask_transfer(actor, client, op);
        break;
    case CLIENT_OP_LEADER:
        network_stage_reply(
            &network->clients, client,
            (struct staged_reply){.request = op->id, .code = CONCLAVE_OK, .redirect = true});
        break;
    default:
        network_answer(&network->clients, client, op->id, CONCLAVE_INVALID,
                       "unknown operation type; this node speaks protocol version 1");
    }
}

/* The client's session: numbers its proposals, so that repeating one is always right.
 *
 *     none ──a proposal is held──> opening ──answer──> open ──SESSION_EXPIRED──> none
 *
 * Opening and keeping alive are operations like others, of the client's own: they are retried and
 * find the leader in the same way. A proposal gets its number when it is first queued and keeps it
 * over all attempts; the window bounds how many are numbered at a time, the others are held. */
#include "client/client.h"

#include "base/clock.h"
#include "base/fatal.h"

#include <string.h>
#include <zmq.h>

enum { CLOSE_LINGER_MS = 100 };

/* --- Numbers ---------------------------------------------------------------------------------- */

static bool window_full(const struct client_session *session)
{
    return session->next - session->acknowledged > session->window;
}

static uint64_t *done_word(struct client_session *session, uint64_t sequence, uint64_t *ret_bit)
{
    uint64_t at = sequence % CLIENT_SESSION_WINDOW;
    *ret_bit = UINT64_C(1) << at % 64;
    return &session->done[at / 64];
}

bool session_number(struct conclave_client *client, struct table_entry *entry)
{
    struct client_session *session = &client->session;
    if (entry->sequence > 0 && entry->session == session->id)
        return true;
    ASSERT(!entry->uncertain); /* a number of an expired session that may have been taken */
    entry->sequence = 0;
    if (session->id == 0 || window_full(session))
        return false;
    entry->session = session->id;
    entry->sequence = session->next++;
    return true;
}

void session_finish(struct conclave_client *client, const struct table_entry *entry)
{
    struct client_session *session = &client->session;
    if (entry->sequence == 0 || entry->session != session->id)
        return;
    uint64_t bit, *word = done_word(session, entry->sequence, &bit);
    *word |= bit;
    while (*(word = done_word(session, session->acknowledged + 1, &bit)) & bit) {
        *word &= ~bit;
        session->acknowledged++;
    }
    ASSERT(session->acknowledged < session->next);
}

bool session_stale(const struct conclave_client *client, const struct table_entry *entry)
{
    return entry->sequence > 0 && entry->session != client->session.id;
}

void session_expired(struct conclave_client *client, uint64_t id)
{
    if (client->session.id == id)
        client->session.id = 0;
}

void session_used(struct conclave_client *client, uint64_t now_ns)
{
    client->session.keep_alive_at_ns = now_ns + client->session.keep_alive_ns;
}

struct session_request session_command(const struct conclave_client *client,
                                       const struct table_entry *entry)
{
    /* Of an expired session: any number below; the answer will be that it expired. */
    bool stale = session_stale(client, entry);
    return (struct session_request){
        .opcode = SESSION_COMMAND,
        .session = entry->session,
        .sequence = entry->sequence,
        .acknowledged = stale ? 0 : client->session.acknowledged,
        .command = {entry->op->data, entry->op->bytes},
    };
}

/* --- The client's own operations -------------------------------------------------------------- */

static void own_start(struct conclave_client *client, const struct session_request *request,
                      uint64_t now_ns)
{
    struct client_session *session = &client->session;
    struct pack pack;
    pack_init(&pack, sizeof session->body);
    session_request_pack(&pack, request);
    ASSERT(pack.bytes <= sizeof session->body);
    memcpy(session->body, pack.buf->data, pack.bytes);
    session->op.bytes = pack.bytes;
    pack_deinit(&pack);
    session->op.kind = CONCLAVE_OP_READ; /* may be repeated like a read */
    session->op.data = session->body;
    session->op.state = CLIENT_OP_OWN;
    session->op.submitted_ns = now_ns;
    session->opcode = request->opcode;
    uint32_t index =
        table_add(&client->table, &session->op, now_ns + client->timeout_ms * CLIENT_MS_NS);
    ASSERT(index != TABLE_NONE); /* one entry is the client's own */
    operation_queue(client, index);
}

static void opened(struct conclave_client *client, uint64_t now_ns)
{
    struct client_session *session = &client->session;
    struct session_opened opened;
    if (session->op.code ||
        session_opened_decode(session->op.reply, session->op.reply_bytes, &opened))
        return; /* once more, if a proposal still waits */
    session->id = opened.session;
    session->next = 1;
    session->acknowledged = 0;
    session->window = opened.window < CLIENT_SESSION_WINDOW ? opened.window : CLIENT_SESSION_WINDOW;
    session->keep_alive_ns = opened.lifetime_ms * CLIENT_MS_NS / 3;
    memset(session->done, 0, sizeof session->done);
    session->refusal = CONCLAVE_OK;
    session_used(client, now_ns);
}

void session_answered(struct conclave_client *client, uint64_t now_ns)
{
    struct client_session *session = &client->session;
    session->op.state = CLIENT_OP_IDLE;
    if (session->opcode == SESSION_OPEN) {
        opened(client, now_ns);
        session->open_after_ns = session->id ? 0 : now_ns + CLIENT_BACKOFF_MAX_MS * CLIENT_MS_NS;
    } else {
        if (session->op.code == CONCLAVE_SESSION_EXPIRED)
            session->id = 0;
        session_used(client, now_ns);
    }
    conclave_op_release(&session->op);
}

void session_tend(struct conclave_client *client, uint64_t now_ns)
{
    struct client_session *session = &client->session;
    if (session->op.state == CLIENT_OP_IDLE) {
        if (session->id > 0 && now_ns >= session->keep_alive_at_ns)
            own_start(client,
                      &(struct session_request){.opcode = SESSION_KEEP_ALIVE,
                                                .session = session->id,
                                                .acknowledged = session->acknowledged},
                      now_ns);
        else if (session->id == 0 && client->held_head != TABLE_NONE &&
                 now_ns >= session->open_after_ns)
            own_start(client, &(struct session_request){.opcode = SESSION_OPEN}, now_ns);
    }
    if (session->id > 0 && !window_full(session))
        operations_unhold(client);
}

void session_close(struct conclave_client *client)
{
    struct client_session *session = &client->session;
    uint32_t target = client->target;
    if (session->id == 0 || target == CLIENT_CONNECTION_NONE)
        return;
    struct client_connection *connection = &client->connections[target];
    if (!connection_writable(connection))
        return; /* it ends by itself */
    struct pack pack;
    pack_init(&pack, 64);
    client_request_pack(&pack, 1);
    pack_array(&pack, 3);
    pack_uint(&pack, table_new_id(&client->table, TABLE_CONTROL_LAST));
    pack_uint(&pack, CLIENT_OP_SESSION);
    session_request_pack_bin(
        &pack, &(struct session_request){.opcode = SESSION_CLOSE, .session = session->id});
    int linger_ms = CLOSE_LINGER_MS;
    zmq_setsockopt(connection->source.socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    connection_send(connection, pack_take(&pack), clock_now_ns());
    session->id = 0;
}

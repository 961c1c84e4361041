#include "client/client.h"

#include "base/clock.h"
#include "base/fatal.h"

/* What a frame spends on an operation beside its body, at most: array 1, id 9, type 1, header 5. */
enum { OP_FRAME_BYTES = 16 + SESSION_OVERHEAD_BYTES, FRAME_HEADER_BYTES = 8 };

/* --- The end of an operation ----------------------------------------------------------------- */

static void operation_done(struct conclave_client *client, uint32_t index, int code,
                           uint64_t now_ns)
{
    struct table_entry *entry = table_at(&client->table, index);
    struct conclave_op *op = entry->op;
    ASSERT(entry->state == TABLE_WAITING);
    session_finish(client, entry);
    table_remove(&client->table, index);
    op->code = code;
    op->latency_ns = now_ns > op->submitted_ns ? now_ns - op->submitted_ns : 0;
    op->next = NULL;
    if (op->state == CLIENT_OP_OWN) {
        session_answered(client, now_ns);
        return;
    }
    if (op->state == CLIENT_OP_CALLED) {
        op->state = CLIENT_OP_IDLE;
        return;
    }
    ASSERT(op->state == CLIENT_OP_SUBMITTED);
    op->state = CLIENT_OP_DONE;
    *client->done_tail = op;
    client->done_tail = &op->next;
    client->done_count++;
}

/* Takes the entry off the connection that it was sent on. */
static void operation_unsend(struct conclave_client *client, struct table_entry *entry)
{
    struct client_connection *connection = &client->connections[entry->connection];
    ASSERT(entry->state == TABLE_SENT && connection->outstanding > 0);
    connection->outstanding--;
    entry->state = TABLE_WAITING;
}

/* --- Queue and frames ------------------------------------------------------------------------ */

/* Two lists go through queue_next: the send queue, and what is held. */
static void list_append(struct conclave_client *client, uint32_t *head, uint32_t *tail,
                        uint32_t index)
{
    table_at(&client->table, index)->queue_next = TABLE_NONE;
    if (*head == TABLE_NONE)
        *head = index;
    else
        table_at(&client->table, *tail)->queue_next = index;
    *tail = index;
}

static void list_pop(struct conclave_client *client, uint32_t *head, uint32_t *tail)
{
    struct table_entry *entry = table_at(&client->table, *head);
    *head = entry->queue_next;
    entry->queue_next = TABLE_NONE;
    if (*head == TABLE_NONE)
        *tail = TABLE_NONE;
}

/* Takes an entry out of the middle: at a deadline only, so the search is affordable (what is
 * overdue is near the head: a list is about as old as it is long). */
static void list_remove(struct conclave_client *client, uint32_t *head, uint32_t *tail,
                        uint32_t index)
{
    uint32_t *link = head;
    uint32_t before = TABLE_NONE;
    while (*link != index) {
        ASSERT(*link != TABLE_NONE);
        before = *link;
        link = &table_at(&client->table, before)->queue_next;
    }
    *link = table_at(&client->table, index)->queue_next;
    if (*tail == index)
        *tail = before;
}

void operation_queue(struct conclave_client *client, uint32_t index)
{
    struct table_entry *entry = table_at(&client->table, index);
    bool numbered = client->session.enabled && entry->op->kind == CONCLAVE_OP_PROPOSE;
    if (entry->uncertain && session_stale(client, entry)) {
        entry->state = TABLE_WAITING;
        operation_done(client, index, CONCLAVE_UNKNOWN, clock_now_ns()); /* rule 44 */
        return;
    }
    if (numbered && !session_number(client, entry)) {
        entry->state = TABLE_HELD;
        list_append(client, &client->held_head, &client->held_tail, index);
        return;
    }
    entry->state = TABLE_QUEUED;
    list_append(client, &client->queue_head, &client->queue_tail, index);
}

void operations_unhold(struct conclave_client *client)
{
    while (client->held_head != TABLE_NONE) {
        uint32_t index = client->held_head;
        struct table_entry *entry = table_at(&client->table, index);
        if (!session_number(client, entry))
            return;
        list_pop(client, &client->held_head, &client->held_tail);
        entry->state = TABLE_QUEUED;
        list_append(client, &client->queue_head, &client->queue_tail, index);
    }
}

/* How many operations from the head of the queue go into one frame, and its size. */
static uint32_t frame_measure(struct conclave_client *client, size_t *ret_bytes)
{
    size_t bytes = FRAME_HEADER_BYTES;
    uint32_t count = 0;
    for (uint32_t index = client->queue_head; index != TABLE_NONE;) {
        const struct table_entry *entry = table_at(&client->table, index);
        size_t more = entry->op->bytes + OP_FRAME_BYTES;
        if (count > 0 &&
            (bytes + more > CLIENT_SEND_BYTES_MAX || count == CLIENT_OPS_PER_FRAME_MAX))
            break;
        bytes += more;
        count++;
        index = entry->queue_next;
    }
    *ret_bytes = bytes;
    return count;
}

static bool op_changes(enum conclave_op_kind kind)
{
    return kind != CONCLAVE_OP_READ && kind != CONCLAVE_OP_READ_LEASE &&
           kind != CONCLAVE_OP_READ_STALE;
}

static uint32_t wire_type(const struct conclave_op *op)
{
    if (op->state == CLIENT_OP_OWN)
        return CLIENT_OP_SESSION;
    switch (op->kind) {
    case CONCLAVE_OP_PROPOSE:
        return CLIENT_OP_PROPOSE;
    case CONCLAVE_OP_TRANSFER:
        return CLIENT_OP_TRANSFER;
    case CONCLAVE_OP_READ_STALE:
        return CLIENT_OP_READ_STALE;
    case CONCLAVE_OP_READ_LEASE:
        return CLIENT_OP_READ_LEASE;
    case CONCLAVE_OP_MEMBER:
        return CLIENT_OP_MEMBER;
    case CONCLAVE_OP_READ:
        break;
    }
    return CLIENT_OP_READ;
}

static void entry_pack(const struct conclave_client *client, struct pack *pack,
                       const struct table_entry *entry)
{
    if (entry->sequence > 0) {
        struct session_request request = session_command(client, entry);
        pack_array(pack, 3);
        pack_uint(pack, entry->id);
        pack_uint(pack, CLIENT_OP_SESSION);
        session_request_pack_bin(pack, &request);
        return;
    }
    struct client_op op = {
        .id = entry->id,
        .type = wire_type(entry->op),
        .body = {entry->op->data, entry->op->bytes},
        .max_age_ms = entry->op->max_age_ms,
    };
    client_op_pack(pack, &op);
}

static struct buf *frame_pack(struct conclave_client *client, uint32_t count, size_t bytes)
{
    struct pack pack;
    pack_init(&pack, bytes);
    client_request_pack(&pack, count);
    uint32_t index = client->queue_head;
    for (uint32_t i = 0; i < count; i++) {
        struct table_entry *entry = table_at(&client->table, index);
        entry->id = table_new_id(&client->table, index);
        entry_pack(client, &pack, entry);
        index = entry->queue_next;
    }
    return pack_take(&pack);
}

void operations_send(struct conclave_client *client, uint64_t now_ns)
{
    session_tend(client, now_ns);
    while (client->queue_head != TABLE_NONE) {
        uint32_t target = leader_target(client);
        if (target == CLIENT_CONNECTION_NONE)
            return;
        struct client_connection *connection = &client->connections[target];
        size_t bytes;
        uint32_t count = frame_measure(client, &bytes);
        if (!connection_send(connection, frame_pack(client, count, bytes), now_ns))
            return;
        /* Silence counts from what is outstanding now, not from an attempt that failed earlier. */
        if (connection->outstanding == 0)
            connection->silent_since_ns = now_ns;
        connection->outstanding += count;
        for (uint32_t i = 0; i < count; i++) {
            struct table_entry *entry = table_at(&client->table, client->queue_head);
            list_pop(client, &client->queue_head, &client->queue_tail);
            entry->state = TABLE_SENT;
            entry->connection = (uint8_t)target;
            entry->sent_ns = now_ns;
        }
        /* In what term a guess leads, if it does: a later change can then be told from it. */
        if (connection->term == 0 && !connection->asked)
            leader_ask(client, target, now_ns);
    }
}

/* --- Answers --------------------------------------------------------------------------------- */

/* Codes with which a node (not its state machine: those answers are bin) refuses an operation that
 * may be tried again. */
static bool refusal_may_be_retried(const struct client_reply *reply,
                                   const struct table_entry *entry)
{
    if (reply->body_is_bin)
        return false;
    switch (reply->code) {
    case CONCLAVE_NOT_LEADER:
    case CONCLAVE_NO_LEADER:
    case CONCLAVE_BUSY:
    case CONCLAVE_STOPPING:
    case CONCLAVE_TIMEOUT:
    case CONCLAVE_HANDOVER:
    case CONCLAVE_STALE:
    case CONCLAVE_NO_SPACE: /* its leader hands over, if anybody has room */
        return true;
    case CONCLAVE_UNKNOWN: /* a read has no outcome, and a number may come again */
        return !op_changes(entry->op->kind) || entry->sequence > 0;
    default:
        return false;
    }
}

static void operation_back_off(struct conclave_client *client, uint32_t index, uint64_t now_ns)
{
    struct table_entry *entry = table_at(&client->table, index);
    /* A handover takes about as long as one write. */
    uint64_t most_ms =
        entry->refusal == CONCLAVE_HANDOVER ? CLIENT_HANDOVER_MS : CLIENT_BACKOFF_MAX_MS;
    uint64_t wait_ms = prng_between(&client->prng, CLIENT_BACKOFF_MIN_MS, most_ms);
    uint64_t until_ns = now_ns + wait_ms * CLIENT_MS_NS;
    /* A change of the members may wait for long. An attempt that is under way at the deadline has
     * an unknown outcome, the one that was refused a known one: so none that would take twice as
     * long as that one is begun too late. */
    if (entry->op->kind == CONCLAVE_OP_MEMBER && entry->refusal == CONCLAVE_BUSY &&
        until_ns + 2 * (now_ns - entry->sent_ns) > entry->deadline_ns)
        until_ns = entry->deadline_ns;
    entry->state = TABLE_WAITING;
    table_wake_at(&client->table, index,
                  until_ns < entry->deadline_ns ? until_ns : entry->deadline_ns);
}

static void operation_refused(struct conclave_client *client, uint32_t index, uint32_t connection,
                              const struct client_reply *reply, uint64_t now_ns)
{
    struct table_entry *entry = table_at(&client->table, index);
    entry->refusal = (uint8_t)reply->code;
    if (entry->op->state == CLIENT_OP_OWN)
        client->session.refusal = reply->code;
    bool leads_not = reply->code == CONCLAVE_NOT_LEADER || reply->code == CONCLAVE_NO_LEADER;
    struct client_redirect redirect;
    if (leads_not && client_redirect_decode(reply->body, &redirect) == CONCLAVE_OK)
        leader_learn(client, connection, &redirect, now_ns);
    /* A node that is not up to date enough: another may be, unless this one leads. */
    bool useless = reply->code == CONCLAVE_STOPPING ||
                   (reply->code == CONCLAVE_STALE && client->connections[connection].term == 0);
    if ((leads_not || useless) && client->target == connection)
        leader_lost(client, connection);
    bool elsewhere = client->target != CLIENT_CONNECTION_NONE && client->target != connection;
    if (elsewhere && reply->code != CONCLAVE_BUSY && entry->redirects < CLIENT_REDIRECTS_MAX) {
        entry->redirects++;
        operation_queue(client, index);
    } else {
        operation_back_off(client, index, now_ns);
    }
}

/* What an answer says of the session that the proposal is numbered in. True: all is done. */
static bool numbered_answered(struct conclave_client *client, uint32_t index,
                              const struct client_reply *reply, uint64_t now_ns)
{
    struct table_entry *entry = table_at(&client->table, index);
    if (reply->body_is_bin) {
        session_used(client, now_ns);
    } else if (reply->code == CONCLAVE_UNKNOWN) {
        entry->uncertain = true;
    } else if (reply->code == CONCLAVE_SESSION_EXPIRED) {
        session_expired(client, entry->session);
        operation_queue(client, index); /* in a new session, or UNKNOWN if it is uncertain */
        return true;
    }
    return false;
}

/* Keeps with the operation what the answer says; nothing if it says nothing. */
static void reply_keep(struct conclave_op *op, const struct client_reply *reply,
                       struct reply_frame *frame)
{
    struct slice body = reply->body;
    if (op->reply_owner)
        conclave_op_release(op); /* what an earlier attempt was told */
    if (!reply->body_is_bin) {   /* a node's own verdict: its sentence, if it has one */
        struct cursor cursor;
        cursor_init(&cursor, body.data, body.bytes);
        body = cursor_bin(&cursor);
        if (!cursor_ok(&cursor))
            body = (struct slice){0};
    }
    if (body.bytes > 0) {
        op->reply = body.data;
        op->reply_bytes = body.bytes;
        op->reply_owner = reply_frame_ref(frame);
    }
}

void operation_answered(struct conclave_client *client, uint32_t connection,
                        const struct client_reply *reply, struct reply_frame *frame,
                        uint64_t now_ns)
{
    uint32_t index = table_find_sent(&client->table, reply->id);
    if (index == TABLE_NONE)
        return;
    struct table_entry *entry = table_at(&client->table, index);
    if (entry->connection != connection)
        return;
    struct conclave_op *op = entry->op;
    operation_unsend(client, entry);
    if (entry->sequence > 0 && numbered_answered(client, index, reply, now_ns))
        return;
    if (refusal_may_be_retried(reply, entry)) {
        if (op->kind == CONCLAVE_OP_MEMBER)
            reply_keep(op, reply, frame); /* why, if it ends with this refusal */
        operation_refused(client, index, connection, reply, now_ns);
        return;
    }
    op->age_ms = reply->age_ms;
    reply_keep(op, reply, frame);
    operation_done(client, index, reply->code, now_ns);
}

/* --- Changes of leader and time -------------------------------------------------------------- */

void operations_abandon(struct conclave_client *client, uint32_t connection,
                        uint64_t sent_before_ns, uint64_t now_ns)
{
    /* Over the whole table: it happens when a leader is lost, not per operation. */
    for (uint32_t i = 0; i < client->table.capacity; i++) {
        if (client->connections[connection].outstanding == 0)
            break;
        struct table_entry *entry = table_at(&client->table, i);
        if (entry->state != TABLE_SENT || entry->connection != connection ||
            entry->sent_ns >= sent_before_ns)
            continue;
        operation_unsend(client, entry);
        entry->uncertain = entry->sequence > 0;
        if (op_changes(entry->op->kind) && entry->sequence == 0) {
            conclave_op_release(entry->op); /* it says why of an earlier attempt */
            operation_done(client, i, CONCLAVE_UNKNOWN, now_ns); /* rule 44 */
        } else {
            operation_queue(client, i);
        }
    }
}

void operations_wake(struct conclave_client *client)
{
    for (uint32_t i = 0; i < client->table.capacity; i++) {
        struct table_entry *entry = table_at(&client->table, i);
        if (entry->state != TABLE_WAITING || entry->refusal == CONCLAVE_BUSY ||
            entry->redirects == CLIENT_REDIRECTS_MAX)
            continue;
        entry->redirects++;
        table_wake_at(&client->table, i, entry->deadline_ns);
        operation_queue(client, i);
    }
}

/* The verdict on an operation that nobody can have taken since it was last refused, if it was. */
static int unsent_code(const struct conclave_client *client, const struct table_entry *entry)
{
    bool leader_known = client->target != CLIENT_CONNECTION_NONE && !client->leader_none &&
                        client->connections[client->target].term > 0;
    int refusal = entry->state == TABLE_HELD ? client->session.refusal : entry->refusal;
    if (entry->uncertain)
        return CONCLAVE_UNKNOWN; /* rule 44 */
    if (refusal == CONCLAVE_BUSY || refusal == CONCLAVE_STOPPING || refusal == CONCLAVE_HANDOVER ||
        refusal == CONCLAVE_STALE || refusal == CONCLAVE_NO_SPACE)
        return refusal;
    if (refusal == 0 && client->heard_ns < entry->op->submitted_ns)
        return CONCLAVE_UNREACHABLE;
    return leader_known ? CONCLAVE_TIMEOUT : CONCLAVE_NO_LEADER;
}

/* Takes an entry out of whatever it is in. */
static void operation_withdraw(struct conclave_client *client, uint32_t index)
{
    struct table_entry *entry = table_at(&client->table, index);
    if (entry->state == TABLE_SENT)
        operation_unsend(client, entry);
    else if (entry->state == TABLE_QUEUED)
        list_remove(client, &client->queue_head, &client->queue_tail, index);
    else if (entry->state == TABLE_HELD)
        list_remove(client, &client->held_head, &client->held_tail, index);
    entry->state = TABLE_WAITING;
}

void operations_expire(struct conclave_client *client, uint64_t now_ns)
{
    uint32_t index;
    while ((index = table_take_due(&client->table, now_ns)) != TABLE_NONE) {
        struct table_entry *entry = table_at(&client->table, index);
        if (entry->deadline_ns > now_ns) {
            ASSERT(entry->state == TABLE_WAITING);
            table_wake_at(&client->table, index, entry->deadline_ns);
            operation_queue(client, index);
            continue;
        }
        int code = unsent_code(client, entry);
        if (entry->state == TABLE_SENT)
            code = op_changes(entry->op->kind) ? CONCLAVE_UNKNOWN : CONCLAVE_TIMEOUT; /* rule 44 */
        if (code != entry->refusal)
            conclave_op_release(entry->op); /* it says why of another end */
        operation_withdraw(client, index);
        operation_done(client, index, code, now_ns);
    }
}

void operation_cancel(struct conclave_client *client, struct conclave_op *op)
{
    if (op->state != CLIENT_OP_CALLED)
        return;
    for (uint32_t i = 0; i < client->table.capacity; i++) {
        struct table_entry *entry = table_at(&client->table, i);
        if (entry->state == TABLE_FREE || entry->op != op)
            continue;
        operation_withdraw(client, i);
        session_finish(client, entry);
        table_remove(&client->table, i);
        break;
    }
    op->state = CLIENT_OP_IDLE;
}

void operations_drop(struct conclave_client *client)
{
    for (uint32_t i = 0; i < client->table.capacity; i++) {
        struct table_entry *entry = table_at(&client->table, i);
        if (entry->state == TABLE_FREE)
            continue;
        bool may_be_taken =
            entry->uncertain || (entry->state == TABLE_SENT && op_changes(entry->op->kind));
        conclave_op_release(entry->op);
        entry->op->code = may_be_taken ? CONCLAVE_UNKNOWN : CONCLAVE_STOPPING;
        entry->op->state = CLIENT_OP_IDLE;
        table_remove(&client->table, i);
    }
}

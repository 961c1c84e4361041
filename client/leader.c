#include "client/client.h"

#include "base/fatal.h"

#include <string.h>

/* --- The target ------------------------------------------------------------------------------ */

/* A known leader is kept until another is named; its socket may just be full. A guess is kept while
 * something is outstanding there: it will answer, or fall silent and be probed. */
static bool target_kept(const struct conclave_client *client)
{
    if (client->target == CLIENT_CONNECTION_NONE)
        return false;
    const struct client_connection *target = &client->connections[client->target];
    return target->term > 0 || target->outstanding > 0;
}

bool leader_may_be_target(const struct conclave_client *client, uint32_t connection)
{
    return client->target == connection || !target_kept(client);
}

uint32_t leader_target(struct conclave_client *client)
{
    uint32_t target = client->target;
    if (target != CLIENT_CONNECTION_NONE && connection_writable(&client->connections[target]))
        return target;
    if (target_kept(client))
        return CLIENT_CONNECTION_NONE;
    for (uint32_t i = 0; i < client->connection_count; i++) {
        uint32_t guess = (client->next_guess + i) % client->connection_count;
        if (!connection_writable(&client->connections[guess]))
            continue;
        client->next_guess = guess + 1;
        client->target = guess;
        return guess;
    }
    return CLIENT_CONNECTION_NONE;
}

void leader_lost(struct conclave_client *client, uint32_t connection)
{
    client->connections[connection].term = 0;
    if (client->target == connection) {
        client->target = CLIENT_CONNECTION_NONE;
        client->next_guess = connection + 1;
    }
}

/* --- What nodes say -------------------------------------------------------------------------- */

static bool connection_silent(const struct client_connection *connection, uint64_t now_ns)
{
    return connection->outstanding > 0 && connection->silent_since_ns > 0 &&
           now_ns >= connection->silent_since_ns + CLIENT_SILENCE_MS * CLIENT_MS_NS;
}

/* The connection led and does not any more: what it took and has not answered may commit under the
 * next leader or be lost. A node that lives is about to answer what it refused: it gets a moment to
 * say so, since UNKNOWN is the answer that is worst to have. */
static void depose(struct conclave_client *client, uint32_t index, uint64_t now_ns)
{
    struct client_connection *connection = &client->connections[index];
    connection->term = 0;
    if (connection_silent(connection, now_ns))
        operations_abandon(client, index, UINT64_MAX, now_ns);
    else if (connection->outstanding > 0 && connection->deposed_ns == 0)
        connection->deposed_ns = now_ns;
}

/* `from` names no leader (or one that cannot be reached by a client). */
static void learn_none(struct conclave_client *client, uint32_t from, uint64_t term,
                       uint64_t now_ns)
{
    struct client_connection *connection = &client->connections[from];
    if (term != 0 && term < connection->term)
        return; /* older than what is known of it */
    if (connection->term > 0)
        depose(client, from, now_ns);
    leader_lost(client, from);
}

/* `leader` leads in `term`, later than all terms known before: whoever led before answers no more.
 */
static void learn_change(struct conclave_client *client, uint32_t leader, uint64_t term,
                         uint64_t now_ns)
{
    for (uint32_t i = 0; i < client->connection_count; i++) {
        struct client_connection *connection = &client->connections[i];
        bool deposed = connection->term > 0 && connection->term < term;
        bool mute = i != leader && connection->term == 0 && connection_silent(connection, now_ns);
        if (deposed || mute)
            depose(client, i, now_ns);
    }
}

void leader_learn(struct conclave_client *client, uint32_t from,
                  const struct client_redirect *redirect, uint64_t now_ns)
{
    uint32_t leader;
    bool named = redirect->leader[0] != '\0' && redirect->endpoint[0] != '\0' &&
                 connection_obtain(client, redirect->endpoint, &leader, NULL) == CONCLAVE_OK;
    client->leader_none = !named;
    if (!named) {
        learn_none(client, from, redirect->term, now_ns);
        return;
    }
    struct client_connection *target =
        client->target == CLIENT_CONNECTION_NONE ? NULL : &client->connections[client->target];
    if (target && target->term > redirect->term)
        return; /* stale news */
    learn_change(client, leader, redirect->term, now_ns);
    if (target && target->term > 0 && target->term == redirect->term)
        return; /* no news; or another name of the same node: a term has one leader */
    client->leader_new = true;
    client->target = leader;
    client->connections[leader].term = redirect->term;
}

/* --- Probes ---------------------------------------------------------------------------------- */

void leader_ask(struct conclave_client *client, uint32_t connection, uint64_t now_ns)
{
    struct pack pack;
    pack_init(&pack, 32);
    client_request_pack(&pack, 1);
    struct client_op question = {
        .id = table_new_id(&client->table,
                           TABLE_CONTROL_FIRST + 2 * connection + CLIENT_CONTROL_LEADER),
        .type = CLIENT_OP_LEADER,
    };
    client_op_pack(&pack, &question);
    if (connection_send(&client->connections[connection], pack_take(&pack), now_ns))
        client->connections[connection].asked = true;
}

/* True if something waits and the target, if there is one, does not take care of it. */
static bool leader_wanted(const struct conclave_client *client)
{
    if (client->queue_head != TABLE_NONE)
        return true;
    return client->table.count > 0 && client->target == CLIENT_CONNECTION_NONE;
}

static bool probe_wanted(const struct conclave_client *client, uint64_t now_ns)
{
    if (leader_wanted(client))
        return true;
    for (uint32_t i = 0; i < client->connection_count; i++) {
        if (connection_silent(&client->connections[i], now_ns))
            return true;
    }
    return false;
}

static uint64_t recreate_ns(const struct client_connection *connection)
{
    return connection->silent_since_ns + connection->recreate_after_ns;
}

static uint64_t deposed_end_ns(const struct client_connection *connection)
{
    return connection->deposed_ns + CLIENT_SILENCE_MS * CLIENT_MS_NS;
}

void leader_watch(struct conclave_client *client, uint64_t now_ns)
{
    for (uint32_t i = 0; i < client->connection_count; i++) {
        struct client_connection *connection = &client->connections[i];
        if (connection->deposed_ns > 0 && now_ns >= deposed_end_ns(connection)) {
            /* Not what was sent since: it may lead again, in a later term. */
            operations_abandon(client, i, connection->deposed_ns, now_ns);
            connection->deposed_ns = 0;
        }
        if (connection->silent_since_ns == 0 || now_ns < recreate_ns(connection))
            continue;
        /* A socket after a protocol error never connects again and may swallow what is sent; the
         * answers to what is outstanding would go to the old socket. */
        operations_abandon(client, i, UINT64_MAX, now_ns);
        leader_lost(client, i);
        connection_recreate(client, i);
    }
    if (now_ns < client->next_probe_ns || !probe_wanted(client, now_ns))
        return;
    client->next_probe_ns = now_ns + CLIENT_PROBE_MS * CLIENT_MS_NS;
    for (uint32_t i = 0; i < client->connection_count; i++)
        leader_ask(client, i, now_ns);
}

uint64_t leader_next_ns(const struct conclave_client *client)
{
    uint64_t next_ns = leader_wanted(client) ? client->next_probe_ns : UINT64_MAX;
    for (uint32_t i = 0; i < client->connection_count; i++) {
        const struct client_connection *connection = &client->connections[i];
        if (connection->deposed_ns > 0 && deposed_end_ns(connection) < next_ns)
            next_ns = deposed_end_ns(connection);
        if (connection->silent_since_ns == 0)
            continue;
        uint64_t at_ns = recreate_ns(connection);
        if (connection->outstanding > 0) {
            uint64_t silent_ns = connection->silent_since_ns + CLIENT_SILENCE_MS * CLIENT_MS_NS;
            uint64_t probe_ns =
                silent_ns > client->next_probe_ns ? silent_ns : client->next_probe_ns;
            if (probe_ns < at_ns)
                at_ns = probe_ns;
        }
        if (at_ns < next_ns)
            next_ns = at_ns;
    }
    return next_ns;
}

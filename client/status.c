#include "client/client.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TIMEOUT_DEFAULT_MS = 1000,
    /* After the first answer: how long a connection may take to come about. A node that is down
     * does not keep the others' answers waiting for the whole timeout; one that is connected does.
     */
    CONNECT_GRACE_MS = 300,
    AGAIN_MS = 20 /* a node that starts, or has too much to do, is asked again after this */
};

struct status_collector {
    struct conclave_status *status;
    bool asked[CLIENT_CONNECTIONS_MAX];
    bool answered[CLIENT_CONNECTIONS_MAX];
    uint64_t again_ns[CLIENT_CONNECTIONS_MAX]; /* when to ask once more; 0: not */
    uint32_t answer_count;
    uint64_t first_answer_ns;
    uint64_t leader_term; /* of the answer that `leader` was taken from */
    uint64_t applied;     /* of the one that `quota_full` was */
    struct rank {         /* of the one that says who the members are */
        bool led;
        uint64_t term, commit, last_index;
    } rank;
};

/* Copies text that fits: both sides' sizes come from the same limits. */
static void text_copy(char *to, size_t size, const char *from)
{
    snprintf(to, size, "%s", from);
}

static struct conclave_node_status *node_obtain(struct conclave_status *status, uint64_t id,
                                                const char *name)
{
    for (size_t i = 0; i < status->node_count; i++) {
        if (status->nodes[i].id == id)
            return &status->nodes[i];
    }
    if (status->node_count == CONCLAVE_MEMBERS_MAX)
        return NULL;
    struct conclave_node_status *node = &status->nodes[status->node_count++];
    memset(node, 0, sizeof *node);
    node->id = id;
    text_copy(node->name, sizeof node->name, name);
    text_copy(node->role, sizeof node->role, "unknown");
    return node;
}

/* Nodes know different members while these change, and one that was left behind, by a recovery say,
 * knows those of long ago. Who has a leader, and most of the newest log, knows best. */
static int compare_ranks(const struct rank *a, const struct rank *b)
{
    if (a->led != b->led)
        return a->led ? 1 : -1;
    if (a->term != b->term)
        return a->term > b->term ? 1 : -1;
    if (a->commit != b->commit)
        return a->commit > b->commit ? 1 : -1;
    return (a->last_index > b->last_index) - (a->last_index < b->last_index);
}

/* Nobody is a member until the next answer has said who is. */
static void members_clear(struct conclave_status *status)
{
    for (size_t i = 0; i < status->node_count; i++) {
        struct conclave_node_status *node = &status->nodes[i];
        node->peer[0] = node->client[0] = '\0';
        node->voter = false;
        node->incarnation = 0;
    }
}

static void members_merge(struct conclave_client *client, const struct client_status *answer)
{
    struct status_collector *collector = client->collector;
    struct rank rank = {.led = answer->leader[0] != '\0',
                        .term = answer->term,
                        .commit = answer->commit,
                        .last_index = answer->last_index};
    bool newest = collector->answer_count == 1 || compare_ranks(&rank, &collector->rank) > 0;
    if (newest) {
        collector->rank = rank;
        members_clear(collector->status);
    }
    for (uint32_t i = 0; i < answer->member_count; i++) {
        const struct client_status_member *member = &answer->members[i];
        struct conclave_node_status *node =
            newest ? node_obtain(collector->status, member->id, member->name) : NULL;
        if (node) {
            text_copy(node->peer, sizeof node->peer, member->peer);
            text_copy(node->client, sizeof node->client, member->client);
            node->voter = member->voter;
            node->incarnation = member->incarnation;
            if (!node->answered)
                text_copy(node->role, sizeof node->role, member->voter ? "unknown" : "learner");
        }
        uint32_t connection;
        /* Where a member cannot be asked it is listed all the same; one of long ago is asked too.
         */
        if (member->client[0] != '\0' &&
            connection_obtain(client, member->client, &connection, NULL) != CONCLAVE_OK)
            continue;
    }
}

/* Leaves those who answered, and those whom the newest answer names. */
static void drop_strangers(struct conclave_status *status)
{
    size_t kept = 0;
    for (size_t i = 0; i < status->node_count; i++) {
        if (status->nodes[i].answered || status->nodes[i].peer[0] != '\0')
            status->nodes[kept++] = status->nodes[i];
    }
    status->node_count = kept;
}

static void answer_merge(struct conclave_client *client, const struct client_status *answer)
{
    struct status_collector *collector = client->collector;
    struct conclave_status *status = collector->status;
    char cluster[sizeof status->cluster];
    snprintf(cluster, sizeof cluster, "%016" PRIx64, answer->cluster_id);
    /* A node of another cluster at an address of this one (a port used again, a wrong directory) is
     * not one of its nodes: who is meant there counts as one that does not answer. */
    if (status->cluster[0] != '\0' && strcmp(status->cluster, cluster) != 0)
        return;
    memcpy(status->cluster, cluster, sizeof cluster);
    struct conclave_node_status *node = node_obtain(status, answer->id, answer->name);
    if (node) {
        text_copy(node->role, sizeof node->role, answer->role);
        text_copy(node->repair, sizeof node->repair, answer->repair);
        node->term = answer->term;
        node->commit = answer->commit;
        node->applied = answer->applied;
        node->last_index = answer->last_index;
        node->audited = answer->audited;
        text_copy(node->feed, sizeof node->feed, answer->feed);
        text_copy(node->deviating, sizeof node->deviating, answer->deviating);
        node->revision = answer->revision;
        node->quota_full = answer->quota_full;
        node->disk_full = answer->disk_full;
        node->pid = answer->pid <= INT64_MAX ? (int64_t)answer->pid : 0;
        node->answered = true;
        node->healthy = answer->leader[0] != '\0' && answer->serving;
    }
    members_merge(client, answer);
    if (answer->revision > status->revision)
        status->revision = answer->revision;
    if (answer->applied >= collector->applied) { /* those who are as far say the same */
        collector->applied = answer->applied;
        status->quota_full = answer->quota_full;
    }
    /* In one term all who know the leader name the same; one of a later term knows better. */
    if (answer->term > collector->leader_term ||
        (answer->term == collector->leader_term && answer->leader[0] != '\0')) {
        collector->leader_term = answer->term;
        text_copy(status->leader, sizeof status->leader, answer->leader);
    }
}

void status_answered(struct conclave_client *client, uint32_t connection,
                     const struct client_reply *reply)
{
    struct status_collector *collector = client->collector;
    if (!collector || !collector->asked[connection] || collector->answered[connection])
        return;
    struct client_status answer;
    if (reply->code == CONCLAVE_BUSY)
        collector->again_ns[connection] = clock_now_ns() + AGAIN_MS * CLIENT_MS_NS;
    if (reply->code != CONCLAVE_OK || !reply->body_is_bin ||
        client_status_decode(reply->body, &answer) != CONCLAVE_OK)
        return;
    collector->answered[connection] = true;
    if (collector->answer_count++ == 0)
        collector->first_answer_ns = clock_now_ns();
    answer_merge(client, &answer);
}

bool status_wants_to_send(const struct conclave_client *client, uint32_t connection)
{
    return client->collector && !client->collector->asked[connection];
}

static void status_ask(struct conclave_client *client, uint64_t now_ns)
{
    struct status_collector *collector = client->collector;
    for (uint32_t i = 0; i < client->connection_count; i++) {
        struct client_connection *connection = &client->connections[i];
        bool again = collector->again_ns[i] != 0 && now_ns >= collector->again_ns[i];
        if ((collector->asked[i] && !again) || !connection_writable(connection))
            continue;
        struct pack pack;
        pack_init(&pack, 32);
        client_request_pack(&pack, 1);
        struct client_op question = {
            .id = table_new_id(&client->table, TABLE_CONTROL_FIRST + 2 * i + CLIENT_CONTROL_STATUS),
            .type = CLIENT_OP_STATUS,
        };
        client_op_pack(&pack, &question);
        collector->asked[i] = connection_send(connection, pack_take(&pack), now_ns);
        collector->again_ns[i] = 0;
    }
}

/* Until when to wait for a message: at most until somebody is to be asked again. */
static uint64_t status_next(const struct conclave_client *client, uint64_t until_ns)
{
    for (uint32_t i = 0; i < client->connection_count; i++) {
        uint64_t again_ns = client->collector->again_ns[i];
        if (again_ns != 0 && again_ns < until_ns)
            until_ns = again_ns;
    }
    return until_ns;
}

/* Until when answers are worth waiting for. */
static uint64_t status_until(const struct conclave_client *client, uint64_t deadline_ns)
{
    const struct status_collector *collector = client->collector;
    uint64_t until_ns = 0;
    for (uint32_t i = 0; i < client->connection_count; i++) {
        if (collector->answered[i])
            continue;
        uint64_t grace_ns = collector->first_answer_ns + CONNECT_GRACE_MS * CLIENT_MS_NS;
        bool connecting = !collector->asked[i] && collector->answer_count > 0;
        uint64_t wait_ns = connecting && grace_ns < deadline_ns ? grace_ns : deadline_ns;
        if (wait_ns > until_ns)
            until_ns = wait_ns;
    }
    return until_ns;
}

/* Nodes are found in the order of their answers, which is another one each time. */
static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct conclave_node_status *)a)->name,
                  ((const struct conclave_node_status *)b)->name);
}

int conclave_client_status(struct conclave_client *client, uint32_t timeout_ms,
                           struct conclave_status *ret_status)
{
    struct conclave_status status;
    memset(&status, 0, sizeof status);
    struct status_collector collector = {.status = &status};
    uint64_t deadline_ns =
        clock_now_ns() + (timeout_ms ? timeout_ms : TIMEOUT_DEFAULT_MS) * CLIENT_MS_NS;
    client->collector = &collector;
    for (;;) {
        status_ask(client, clock_now_ns());
        bool received = client_step(client);
        uint64_t until_ns = status_until(client, deadline_ns);
        uint64_t now_ns = clock_now_ns();
        if (until_ns <= now_ns)
            break;
        if (!received)
            client_wait(client, status_next(client, until_ns));
    }
    client->collector = NULL;
    if (collector.answer_count == 0)
        return CONCLAVE_UNREACHABLE;
    drop_strangers(&status);
    qsort(status.nodes, status.node_count, sizeof status.nodes[0], compare_names);
    *ret_status = status;
    return CONCLAVE_OK;
}

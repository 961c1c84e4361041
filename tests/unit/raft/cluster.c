#include "cluster.h"

#include "base/fatal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_ADD(list, ...)                                                                   \
    do {                                                                                      \
        if ((list)->count == (list)->capacity) {                                              \
            (list)->capacity = (list)->capacity > 0 ? (list)->capacity * 2 : 8;               \
            (list)->items =                                                                   \
                mem_realloc((list)->items, (size_t)(list)->capacity * sizeof *(list)->items); \
        }                                                                                     \
        (list)->items[(list)->count++] = (__VA_ARGS__);                                       \
    } while (0)

/* --- Setting up ---------------------------------------------------------------------------------
 */

void cluster_init(struct cluster *cluster, uint32_t voters)
{
    ASSERT(voters <= CLUSTER_NODES_MAX);
    memset(cluster, 0, sizeof *cluster);
    cluster->now_us = 1000000;
    cluster->voters = voters;
    cluster->configuration.member_count = voters;
    for (uint32_t i = 0; i < voters; i++) {
        struct raft_member *member = &cluster->configuration.members[i];
        member->id = i + 1;
        member->flags = RAFT_MEMBER_VOTER;
        snprintf(member->name, sizeof member->name, "n%u", i + 1);
        snprintf(member->peer, sizeof member->peer, "tcp://127.0.0.1:%u", 7401 + i);
    }
    for (uint32_t i = 1; i <= voters; i++) {
        struct raft_options *options = &cluster->nodes[i].options;
        raft_options_init(options);
        options->id = i;
        options->seed = i;
        options->election_timeout_us = T_US;
        options->heartbeat_us = HEARTBEAT_US;
    }
}

void cluster_add_node(struct cluster *cluster, raft_node_id id)
{
    ASSERT(id <= CLUSTER_NODES_MAX && id > cluster->voters);
    cluster->voters = (uint32_t)id;
    struct raft_options *options = &cluster->nodes[id].options;
    *options = cluster->nodes[1].options;
    options->id = id;
    options->seed = id;
    cluster->nodes[id].disk_hard.term = 1;
    cluster->nodes[id].joined = true;
}

void cluster_change(struct cluster *cluster, raft_node_id id, enum raft_change_type type,
                    const char *name, const char *replacement)
{
    struct raft_change *change = mem_zalloc(sizeof *change);
    change->type = type;
    change->origin = (struct raft_origin){.client = 7, .request = 77};
    snprintf(change->member.name, sizeof change->member.name, "%s", name);
    snprintf(change->replacement, sizeof change->replacement, "%s", replacement);
    if (type == RAFT_CHANGE_ADD) {
        change->member.id = (raft_node_id)(name[1] - '0');
        change->member.flags = RAFT_MEMBER_LEARNER | RAFT_MEMBER_PROMOTE;
        change->member.incarnation = 100 + change->member.id;
        snprintf(change->member.peer, sizeof change->member.peer, "tcp://127.0.0.1:74%s",
                 *replacement ? replacement : name);
    }
    struct raft_event event = {.type = RAFT_EVENT_CHANGE, .change = change};
    cluster_step(cluster, id, &event, 1);
}

void cluster_start_node(struct cluster *cluster, raft_node_id id)
{
    struct test_node *node = &cluster->nodes[id];
    ASSERT(!node->raft);
    node->raft = raft_create(&node->options);
    struct raft_event event = {.type = RAFT_EVENT_START};
    event.start.hard_state = node->disk_hard;
    event.start.applied_index = node->applied_index;
    event.start.life = ++node->life;
    event.start.members = node->joined ? &cluster->configuration : NULL;
    raft_runs_append_all(&event.start.entries, &node->disk_log);
    event.start.base = node->disk_base;
    event.start.snapshot = node->disk_snapshot;
    if (node->disk_snapshot.configuration)
        (void)buf_ref(node->disk_snapshot.configuration);
    cluster_step(cluster, id, &event, 1);
}

void cluster_start(struct cluster *cluster, uint32_t alive)
{
    for (uint32_t i = 1; i <= cluster->voters; i++) {
        if (cluster->nodes[i].disk_log.count == 0)
            cluster_set_disk(cluster, i, (struct raft_hard_state){.term = 1}, NULL, 0);
    }
    for (uint32_t i = 1; i <= alive; i++)
        cluster_start_node(cluster, i);
}

void cluster_setup(struct cluster *cluster, uint32_t voters, uint32_t alive)
{
    cluster_init(cluster, voters);
    cluster_start(cluster, alive);
}

static void persist_free(struct raft_persist *persist)
{
    raft_messages_clear(&persist->send_after);
    raft_runs_clear(&persist->entries);
}

void cluster_crash(struct cluster *cluster, raft_node_id id)
{
    struct test_node *node = &cluster->nodes[id];
    raft_destroy(node->raft);
    node->raft = NULL;
    for (size_t i = 0; i < node->persist_count; i++)
        persist_free(&node->persists[i]);
    node->persist_count = 0;
    node->fetches.count = 0;
    node->reads_begun.count = 0;
    node->reads.count = 0;
    node->refused.count = 0;
    node->transfers.count = 0;
    node->trace.count = 0;
}

void cluster_deinit(struct cluster *cluster)
{
    for (uint32_t i = 1; i <= cluster->voters; i++) {
        struct test_node *node = &cluster->nodes[i];
        cluster_crash(cluster, i);
        free(node->persists);
        free(node->fetches.items);
        free(node->reads_begun.items);
        free(node->reads.items);
        free(node->refused.items);
        free(node->transfers.items);
        free(node->trace.items);
        raft_runs_clear(&node->disk_log);
        raft_runs_clear(&node->applied);
        buf_unref(node->disk_snapshot.configuration);
    }
    raft_messages_clear(&cluster->wire);
}

/* --- Steps --------------------------------------------------------------------------------------
 */

/* By its own clock. */
static uint64_t now_of(const struct cluster *cluster, raft_node_id id)
{
    const struct test_node *node = &cluster->nodes[id];
    return (node->clock_stands ? node->stood_us : cluster->now_us) - node->behind_us;
}

void cluster_clock(struct cluster *cluster, raft_node_id id, bool stands)
{
    struct test_node *node = &cluster->nodes[id];
    ASSERT(node->clock_stands != stands);
    if (stands)
        node->stood_us = cluster->now_us;
    else
        node->behind_us += cluster->now_us - node->stood_us;
    node->clock_stands = stands;
}

static void wire_add_all(struct cluster *cluster, struct raft_messages *messages)
{
    for (uint32_t i = 0; i < messages->count; i++)
        raft_messages_add(&cluster->wire, messages->items[i]);
    messages->count = 0;
    raft_messages_clear(messages);
}

static void output_take(struct cluster *cluster, struct test_node *node, struct raft_output *output)
{
    wire_add_all(cluster, &output->send_now);
    if (output->persist.seq != 0) {
        node->persists =
            mem_realloc(node->persists, (node->persist_count + 1) * sizeof(struct raft_persist));
        node->persists[node->persist_count++] = output->persist;
        output->persist = (struct raft_persist){0};
    }
    if (output->install.index > 0) {
        raft_runs_clear(&node->applied);
        node->install = output->install;
        node->applied_index = output->install.index;
    }
    raft_runs_append_all(&node->applied, &output->apply);
    if (output->apply.entry_count > 0)
        node->applied_index = raft_runs_last(&output->apply).index;
    for (uint32_t i = 0; i < output->fetches.count; i++)
        LIST_ADD(&node->fetches, output->fetches.items[i]);
    node->snapshots_wanted += output->snapshot_wanted;
    for (uint32_t i = 0; i < output->reads_begun.count; i++)
        LIST_ADD(&node->reads_begun, output->reads_begun.items[i]);
    for (uint32_t i = 0; i < output->reads.count; i++)
        LIST_ADD(&node->reads, output->reads.items[i]);
    for (uint32_t i = 0; i < output->refused.count; i++)
        LIST_ADD(&node->refused, output->refused.items[i]);
    for (uint32_t i = 0; i < output->transfers.count; i++)
        LIST_ADD(&node->transfers, output->transfers.items[i]);
    for (uint32_t i = 0; i < output->trace.count; i++)
        LIST_ADD(&node->trace, output->trace.items[i]);
    node->deadline_us = output->deadline_us;
}

void cluster_step(struct cluster *cluster, raft_node_id id, struct raft_event *events, size_t count)
{
    struct test_node *node = &cluster->nodes[id];
    struct raft_output output = {0};
    uint64_t applied_before = node->applied_index;
    node->code = raft_step(node->raft, now_of(cluster, id), events, count, &output);
    node->error = output.error;
    if (node->code == CONCLAVE_OK)
        output_take(cluster, node, &output);
    raft_output_deinit(&output);
    if (node->applied_index > applied_before && !node->hold_applied) {
        struct raft_event applied = {.type = RAFT_EVENT_APPLIED, .applied = node->applied_index};
        cluster_step(cluster, id, &applied, 1);
    }
}

void cluster_propose(struct cluster *cluster, raft_node_id id, uint32_t count, size_t bytes)
{
    struct raft_event event = {.type = RAFT_EVENT_PROPOSE, .propose = command_batch(count, bytes)};
    cluster_step(cluster, id, &event, 1);
}

void cluster_read(struct cluster *cluster, raft_node_id id, uint64_t read)
{
    struct raft_event event = {.type = RAFT_EVENT_READ, .read = read};
    cluster_step(cluster, id, &event, 1);
}

void cluster_timeout(struct cluster *cluster, raft_node_id id)
{
    struct raft_event event = {.type = RAFT_EVENT_TIMEOUT};
    cluster_step(cluster, id, &event, 1);
}

void cluster_receive(struct cluster *cluster, struct raft_message *message)
{
    struct raft_event event = {.type = RAFT_EVENT_RECEIVE, .receive = message};
    cluster_step(cluster, message->to, &event, 1);
}

void cluster_persist(struct cluster *cluster, raft_node_id id)
{
    struct test_node *node = &cluster->nodes[id];
    ASSERT(node->persist_count > 0);
    struct raft_persist done = node->persists[0];
    node->persist_count--;
    memmove(node->persists, node->persists + 1, node->persist_count * sizeof done);
    if (done.hard_state_changed)
        node->disk_hard = done.hard_state;
    if (done.anew.index > 0) {
        raft_runs_clear(&node->disk_log);
        node->disk_base = done.anew;
    }
    if (done.entries.entry_count > 0) {
        raft_runs_truncate(&node->disk_log, raft_runs_first(&done.entries).index);
        raft_runs_append_all(&node->disk_log, &done.entries);
    }
    struct raft_id last =
        node->disk_log.count > 0 ? raft_runs_last(&node->disk_log) : node->disk_base;
    ASSERT(raft_id_equal(last, done.last));
    wire_add_all(cluster, &done.send_after);
    persist_free(&done);
    struct raft_event event = {.type = RAFT_EVENT_PERSISTED,
                               .persisted = {.seq = done.seq, .last = done.last}};
    cluster_step(cluster, id, &event, 1);
}

void cluster_persist_all(struct cluster *cluster, raft_node_id id)
{
    while (cluster->nodes[id].persist_count > 0)
        cluster_persist(cluster, id);
}

void cluster_cut(struct cluster *cluster, uint32_t from, uint32_t to)
{
    for (uint32_t a = 1; a <= CLUSTER_NODES_MAX; a++) {
        for (uint32_t b = 1; b <= CLUSTER_NODES_MAX; b++) {
            if (from >> a & 1 && to >> b & 1)
                cluster->cut[a][b] = true;
        }
    }
}

void cluster_advance(struct cluster *cluster, uint64_t us)
{
    cluster->now_us += us;
}

/* --- The wire -----------------------------------------------------------------------------------
 */

static struct raft_message *wire_remove(struct cluster *cluster, uint32_t position)
{
    struct raft_messages *wire = &cluster->wire;
    struct raft_message *message = wire->items[position];
    wire->count--;
    memmove(wire->items + position, wire->items + position + 1,
            (wire->count - position) * sizeof message);
    return message;
}

struct raft_message *cluster_take(struct cluster *cluster, raft_node_id to,
                                  enum raft_message_type type)
{
    for (uint32_t i = 0; i < cluster->wire.count; i++) {
        if (cluster->wire.items[i]->to == to && cluster->wire.items[i]->type == type)
            return wire_remove(cluster, i);
    }
    return NULL;
}

size_t cluster_count(const struct cluster *cluster, raft_node_id to, enum raft_message_type type)
{
    size_t count = 0;
    for (uint32_t i = 0; i < cluster->wire.count; i++)
        count += cluster->wire.items[i]->to == to && cluster->wire.items[i]->type == type;
    return count;
}

void cluster_drop_all(struct cluster *cluster)
{
    raft_messages_clear(&cluster->wire);
}

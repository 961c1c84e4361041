/* Who counts: every configuration as sets of nodes, kept beside the logs that hold them. */
#include "tests/sim/check.h"

#include "base/fatal.h"
#include "base/list.h"

#include <inttypes.h>
#include <stdlib.h>

/* --- Configurations --------------------------------------------------------------------------- */

static uint64_t payload_hash(struct slice payload)
{
    uint64_t hash = payload.bytes;
    for (size_t i = 0; i < payload.bytes; i++)
        hash = hash_mix(hash, payload.data[i]);
    return hash;
}

/* The node's bit; 0 after a violation. */
static uint32_t node_bit(struct check *check, raft_node_id id)
{
    uint32_t node = check_find(check, id);
    if (node < check->node_count)
        return UINT32_C(1) << node;
    check_fail(check, "members come by request",
               "a configuration names id %" PRIu64 ", of which nobody has heard", id);
    return 0;
}

static struct check_config config_make(struct check *check,
                                       const struct raft_configuration *configuration)
{
    struct check_config config = {.joint = configuration->joint};
    for (uint32_t i = 0; i < configuration->member_count; i++) {
        const struct raft_member *member = &configuration->members[i];
        uint32_t bit = node_bit(check, member->id);
        config.members |= bit;
        config.voters |= member->flags & RAFT_MEMBER_VOTER ? bit : 0;
        config.outgoing |= member->flags & RAFT_MEMBER_VOTER_OLD ? bit : 0;
        config.learners |= member->flags & RAFT_MEMBER_LEARNER ? bit : 0;
        config.known |= member->incarnation != 0 ? bit : 0;
        config.promote |= member->flags & RAFT_MEMBER_PROMOTE ? bit : 0;
    }
    for (uint32_t i = 0; i < configuration->removed_count; i++)
        config.removed |= node_bit(check, configuration->removed[i]);
    return config;
}

uint32_t check_config_number(struct check *check, struct slice payload)
{
    uint64_t hash = payload_hash(payload);
    uint64_t number;
    if (map_get(&check->config_numbers, hash, 0, &number))
        return (uint32_t)number;
    struct raft_configuration *configuration = mem_alloc(sizeof *configuration);
    if (raft_configuration_decode(payload, configuration) == CONCLAVE_OK) {
        struct check_config config = config_make(check, configuration);
        LIST_RESERVE(&check->configs);
        check->configs.items[check->configs.count++] = config;
        number = check->configs.count - 1;
        map_put_once(&check->config_numbers, hash, 0, number);
    } else {
        check_fail(check, "configurations can be read", "one of %zu bytes can not", payload.bytes);
        number = 0;
    }
    free(configuration);
    return (uint32_t)number;
}

const struct check_config *check_config_at(const struct check *check, const struct check_log *log,
                                           uint64_t index)
{
    const struct check_entry *entry = check_log_at(log, index);
    return &check->configs.items[entry ? entry->config : 0];
}

/* --- Majorities ------------------------------------------------------------------------------- */

uint32_t check_count(uint32_t set)
{
    uint32_t count = 0;
    for (; set; set &= set - 1)
        count++;
    return count;
}

static bool set_majority(uint32_t set, uint32_t nodes)
{
    return set != 0 && 2 * check_count(set & nodes) > check_count(set);
}

bool check_majority(const struct check_config *config, uint32_t nodes)
{
    return set_majority(config->voters, nodes) &&
           (!config->joint || set_majority(config->outgoing, nodes));
}

bool check_is_voter(const struct check *check, uint32_t node, uint32_t peer)
{
    const struct check_log *log = &check->nodes[node].memory;
    const struct check_config *config = check_config_at(check, log, log->count);
    return (config->voters | config->outgoing) >> peer & 1;
}

/* Another data directory under a voter's id may not. */
bool check_may_lead(const struct check *check, uint32_t node)
{
    const struct check_node *at = &check->nodes[node];
    const struct check_entry *entry = check_log_at(&at->memory, at->memory.count);
    while (entry && entry->config_at > 0) {
        const struct check_config *config = &check->configs.items[entry->config];
        if ((config->voters | config->outgoing) >> node & 1)
            return true;
        if (entry->config_at <= at->view.commit)
            return false;
        entry = check_log_at(&at->memory, entry->config_at - 1);
    }
    return false;
}

/* Rule 24. The first configuration is how every log begins. */
void check_campaign(struct check *check, uint32_t node)
{
    const struct check_node *at = &check->nodes[node];
    const struct check_entry *entry = check_log_at(&at->memory, at->view.commit);
    if (entry && entry->config_at > 1 && entry->config_at > at->view.applied)
        check_fail(check, "no campaign with a configuration not applied",
                   "n%u campaigns; it has applied %" PRIu64 ", and the members of %" PRIu64
                   " are committed",
                   node + 1, at->view.applied, entry->config_at);
}

void check_elected(struct check *check, uint32_t node)
{
    const struct check_node *at = &check->nodes[node];
    uint64_t term = at->view.hard_state.term;
    uint32_t votes = 0;
    for (uint32_t i = 0; i < check->node_count; i++) {
        uint64_t candidate;
        if (map_get(&check->votes, i, term, &candidate) && candidate == at->id)
            votes |= UINT32_C(1) << i;
    }
    if (at->durable.term == term && at->durable.vote == at->id) /* a voter alone asks nobody */
        votes |= UINT32_C(1) << node;
    const struct check_config *config = check_config_at(check, &at->memory, at->led_from);
    if (!check_majority(config, votes))
        check_fail(check, "a leader has the votes of a majority",
                   "n%u leads term %" PRIu64 " by the votes of the nodes of mask %#x; voters are "
                   "%#x, outgoing ones %#x",
                   node + 1, term, votes, config->voters, config->outgoing);
}

bool check_commit_majority(const struct check *check, uint32_t node, uint32_t nodes)
{
    const struct check_node *at = &check->nodes[node];
    uint64_t last = at->memory.count;
    if (check_majority(check_config_at(check, &at->memory, last), nodes))
        return true;
    uint64_t newest = check_log_at(&at->memory, last)->config_at;
    if (newest <= at->stepped_last)
        return false; /* it was in effect before this step */
    return check_majority(check_config_at(check, &at->memory, newest - 1), nodes);
}

/* False: the nodes are no majority of the newest configuration in this log. */
static bool may_lose_by(const struct check *check, const struct check_log *log, uint32_t nodes)
{
    const struct check_config *config = check_config_at(check, log, log->count);
    return config->members == 0 || check_majority(config, nodes);
}

bool check_may_lose(const struct check *check, uint32_t node)
{
    const struct check_log *disk = &check->nodes[node].disk;
    const struct check_entry *last = check_log_at(disk, disk->count);
    uint32_t others = 0;
    for (uint32_t i = 0; last && i < check->node_count; i++) {
        const struct check_entry *same = check_log_at(&check->nodes[i].disk, disk->count);
        if (i != node && same && same->chain == last->chain)
            others |= UINT32_C(1) << i;
    }
    bool may = may_lose_by(check, &check->oracle, others);
    for (uint32_t i = 0; i < check->node_count; i++)
        may = may && may_lose_by(check, &check->nodes[i].disk, others) &&
              may_lose_by(check, &check->nodes[i].memory, others);
    return may;
}

/* --- What is in effect ------------------------------------------------------------------------ */

void check_config_index(struct check *check, uint32_t node)
{
    const struct check_node *at = &check->nodes[node];
    const struct check_entry *last = check_log_at(&at->memory, at->memory.count);
    uint64_t newest = last ? last->config_at : 0;
    if (at->view.config_index != newest)
        check_fail(check, "the newest configuration is in effect",
                   "n%u acts by configuration %" PRIu64 ", the newest in its log is %" PRIu64,
                   node + 1, at->view.config_index, newest);
}

void check_configuration(struct check *check, uint32_t node,
                         const struct raft_configuration *configuration)
{
    const struct check_node *at = &check->nodes[node];
    const struct check_entry *last = check_log_at(&at->memory, at->memory.count);
    if (!last || check->failed)
        return; /* it has just joined, and knows only what it was told then */
    struct buf *payload = raft_configuration_encode(configuration);
    uint32_t number = check_config_number(check, (struct slice){payload->data, payload->bytes});
    buf_unref(payload);
    if (number != last->config)
        check_fail(check, "the newest configuration is in effect",
                   "n%u acts by another configuration than %" PRIu64 ", the newest in its log",
                   node + 1, last->config_at);
}

/* A leader names itself, whoever campaigns nobody, and any other one a node that leads its term. */
void check_followed(struct check *check, uint32_t node, raft_node_id leader)
{
    const struct check_node *at = &check->nodes[node];
    enum raft_role role = at->view.role;
    uint64_t found;
    if (check->failed)
        return;
    if (role != RAFT_FOLLOWER) {
        if (leader != (role == RAFT_LEADER ? at->id : 0))
            check_fail(check, "who does not follow names no other leader",
                       "n%u, in role %d, names %" PRIu64, node + 1, (int)role, leader);
    } else if (leader != 0 && (leader == at->id ||
                               !map_get(&check->leaders, at->view.hard_state.term, 0, &found) ||
                               check->nodes[found >> 32].id != leader)) {
        check_fail(check, "who is followed leads that term",
                   "n%u follows %" PRIu64 " in term %" PRIu64, node + 1, leader,
                   at->view.hard_state.term);
    }
}

void check_removed(struct check *check, uint32_t node, uint64_t index)
{
    const struct check_node *at = &check->nodes[node];
    uint32_t member = check_find(check, at->id); /* the first node of this id */
    if (!check->failed && (index > at->view.commit ||
                           !(check_config_at(check, &at->memory, index)->removed >> member & 1)))
        check_fail(check, "who is told to be removed is",
                   "n%u is told so by entry %" PRIu64 ", commit is %" PRIu64, node + 1, index,
                   at->view.commit);
}

/* More than it may is in memory only as far as it has to be: a batch goes as a whole. */
static void check_memory(struct check *check, uint32_t node, const struct raft_runs *entries,
                         uint64_t done)
{
    enum { ENTRY_BYTES = 96, FACTOR = 4 };
    uint64_t most = check->options.memory_bytes;
    uint64_t memory = entries->payload_bytes + ENTRY_BYTES * entries->entry_count;
    if (most > UINT32_MAX || memory <= FACTOR * most + FACTOR * most / 8)
        return;
    uint64_t first_batch = raft_runs_first(entries).index + entries->items[0].count - 1;
    if (first_batch <= done)
        check_fail(check, "the log takes a bounded part of memory",
                   "n%u keeps %" PRIu64 " bytes of entries from %" PRIu64
                   " on in memory, and may keep %" PRIu64,
                   node + 1, memory, raft_runs_first(entries).index, most);
}

void check_entries(struct check *check, uint32_t node, const struct raft_runs *entries)
{
    const struct check_node *at = &check->nodes[node];
    uint64_t base = at->view.memory_base;
    uint64_t done =
        at->view.applied < at->view.durable.index ? at->view.applied : at->view.durable.index;
    if (check->failed)
        return;
    if (base < at->view.base.index || (base > at->view.base.index && base > done))
        check_fail(check, "what may still change or is to be applied is in memory",
                   "n%u has entries behind %" PRIu64 " in memory, its log begins behind %" PRIu64
                   ", %" PRIu64 " are applied and durable",
                   node + 1, base, at->view.base.index, done);
    uint64_t bytes =
        check_log_bytes(&at->memory, at->memory.count) - check_log_bytes(&at->memory, base);
    if (entries->entry_count != at->memory.count - base || entries->payload_bytes != bytes)
        check_fail(
            check, "a log knows its size",
            "n%u counts %" PRIu64 " entries of %" PRIu64 " bytes, and has %" PRIu64 " of %" PRIu64,
            node + 1, entries->entry_count, entries->payload_bytes, at->memory.count - base, bytes);
    check_memory(check, node, entries, done);
}

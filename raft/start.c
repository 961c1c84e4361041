#include "raft/internal.h"

#include "base/fatal.h"

#include <stdlib.h>

static int start_corrupt(struct raft *raft, uint64_t index, const char *what)
{
    return error_set(&raft->output->error, CONCLAVE_CORRUPT,
                     "the recovered log is not valid: entry %llu %s", (unsigned long long)index,
                     what);
}

/* Takes a configuration from the recovered log into effect. */
static int start_configuration(struct raft *raft, const struct raft_entry *entry)
{
    struct raft_configuration *configuration = mem_alloc(sizeof *configuration);
    if (raft_configuration_decode(entry->payload, configuration) != CONCLAVE_OK) {
        free(configuration);
        return start_corrupt(raft, entry->id.index, "is a configuration that cannot be read");
    }
    raft_membership_push(raft, entry->id.index, configuration);
    return CONCLAVE_OK;
}

static int start_entries(struct raft *raft, const struct raft_runs *entries)
{
    struct raft_runs_iter iter = {0};
    struct raft_id last = {0};
    for (const struct raft_entry *entry; (entry = raft_runs_next(entries, &iter));) {
        if (entry->id.index != last.index + 1)
            return start_corrupt(raft, last.index + 1, "is missing");
        if (entry->id.term < last.term || entry->id.term == 0)
            return start_corrupt(raft, entry->id.index, "has a term below the one before it");
        if (last.index == 0 && entry->kind != RAFT_ENTRY_CONFIG)
            return start_corrupt(raft, entry->id.index, "is not the first configuration");
        last = entry->id;
        if (entry->kind == RAFT_ENTRY_CONFIG) {
            int code = start_configuration(raft, entry);
            if (code != CONCLAVE_OK)
                return code;
        }
    }
    if (last.index == 0)
        return error_set(&raft->output->error, CONCLAVE_CORRUPT,
                         "the recovered log is empty: not even its first configuration is there");
    return CONCLAVE_OK;
}

static bool is_self(const void *arg, raft_node_id id)
{
    return id == *(const raft_node_id *)arg;
}

/* When this node campaigns and for whom it votes before it has heard of anyone. */
static void start_timers(struct raft *raft)
{
    raft_draw_timeout(raft);
    if (raft_configuration_quorum(raft_members(raft), is_self, &raft->options.id)) {
        raft->election_deadline_us = raft->now_us; /* nobody to wait for */
        return;
    }
    /* Rule 42: before it stopped this node may have promised a leader to vote for nobody else
     * within T. A node that has never voted and holds nothing but the first configuration has
     * answered no leader yet, and a new cluster need not wait. */
    bool fresh =
        raft->hard.vote == 0 && raft->log.last.index == 1 && raft->hard.term == raft->log.last.term;
    if (!fresh)
        raft->sticky_until_us = raft->now_us + raft->options.election_timeout_us;
}

int raft_start(struct raft *raft, struct raft_hard_state hard_state, struct raft_runs *entries,
               uint64_t applied_index)
{
    ASSERT(!raft->started);
    int code = start_entries(raft, entries);
    struct raft_id last = raft_runs_last(entries);
    if (code == CONCLAVE_OK && hard_state.term < last.term)
        code = error_set(&raft->output->error, CONCLAVE_CORRUPT,
                         "the recovered term %llu is below the term %llu of the last entry",
                         (unsigned long long)hard_state.term, (unsigned long long)last.term);
    if (code == CONCLAVE_OK && applied_index > last.index)
        code = error_set(&raft->output->error, CONCLAVE_CORRUPT,
                         "the state machine holds entry %llu and the recovered log ends at %llu",
                         (unsigned long long)applied_index, (unsigned long long)last.index);
    if (code != CONCLAVE_OK) {
        raft_runs_clear(entries);
        return code;
    }

    raft_log_append_runs(&raft->log, entries, 0);
    raft_runs_clear(entries);
    raft->log.staged = last.index;
    raft->log.durable = last.index;
    raft->hard = hard_state;
    /* What was applied was committed, and so was the first configuration by definition. */
    raft->commit = raft_max(applied_index, 1);
    raft->applying = applied_index;
    raft->applied = applied_index;
    raft_membership_commit(raft, raft->commit);
    raft->started = true;
    start_timers(raft);
    return CONCLAVE_OK;
}

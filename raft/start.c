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

/* The entries follow `start->base` without a gap. Configurations at or below `known` are in the
 * snapshot's. */
static int start_entries(struct raft *raft, const struct raft_start *start, uint64_t known)
{
    struct raft_runs_iter iter = {0};
    struct raft_id last = start->base;
    for (const struct raft_entry *entry; (entry = raft_runs_next(&start->entries, &iter));) {
        if (entry->id.index != last.index + 1)
            return start_corrupt(raft, last.index + 1, "is missing");
        if (entry->id.term < last.term || entry->id.term == 0)
            return start_corrupt(raft, entry->id.index, "has a term below the one before it");
        if (last.index == 0 && entry->kind != RAFT_ENTRY_CONFIG)
            return start_corrupt(raft, entry->id.index, "is not the first configuration");
        last = entry->id;
        if (entry->kind == RAFT_ENTRY_CONFIG && entry->id.index > known) {
            int code = start_configuration(raft, entry);
            if (code != CONCLAVE_OK)
                return code;
        }
    }
    if (last.index == 0 && raft->membership_count == 0)
        return error_set(&raft->output->error, CONCLAVE_CORRUPT,
                         "the recovered log is empty: not even its first configuration is there");
    return CONCLAVE_OK;
}

/* Log, configurations and the newest snapshot, as they fit together. */
static int start_log(struct raft *raft, struct raft_start *start)
{
    const struct raft_snapshot *snapshot = &start->snapshot;
    struct raft_configuration *configuration = NULL;
    if (snapshot->last.index > 0) {
        if (raft_snapshot_read(snapshot, &configuration) != CONCLAVE_OK)
            return start_corrupt(raft, snapshot->last.index, "ends a snapshot that is not valid");
        raft_membership_push(raft, snapshot->configuration_index, configuration);
    }
    if (snapshot->last.index < start->base.index)
        return start_corrupt(raft, start->base.index,
                             "and those before it are in no snapshot, and not in the log");
    if (start->members && snapshot->last.index == 0 && start->entries.entry_count == 0) {
        /* It is in nobody's log: what the leader sends takes its place. */
        configuration = mem_alloc(sizeof *configuration);
        *configuration = *start->members;
        raft_membership_push(raft, 0, configuration);
    }
    int code = start_entries(raft, start, snapshot->configuration_index);
    if (code != CONCLAVE_OK)
        return code;
    if (start->base.index > 0)
        raft_log_restart(&raft->log, start->base);
    raft_log_append_runs(&raft->log, &start->entries, 0);
    raft->log.staged = raft->log.last.index;
    raft->log.durable = raft->log.last.index;
    raft->snapshot_index = snapshot->last.index;
    if (raft_log_term_at(&raft->log, snapshot->last.index) == snapshot->last.term)
        return CONCLAVE_OK;
    /* Rule 35: a snapshot was received, and the node stopped before its log began anew. */
    configuration = NULL;
    code = raft_snapshot_read(snapshot, &configuration);
    ASSERT(code == CONCLAVE_OK);
    raft_begin_anew(raft, snapshot, configuration);
    return CONCLAVE_OK;
}

static bool is_self(const void *arg, raft_node_id id)
{
    return id == *(const raft_node_id *)arg;
}

/* By no configuration that may be in force does anybody else vote. One that is not known to be
 * committed came from a leader that may read yet by what this node promised, though it be without
 * it. */
static bool is_alone(const struct raft *raft)
{
    for (uint32_t i = 0; i < raft->membership_count; i++) {
        if (!raft_configuration_quorum(raft->memberships[i].configuration, is_self,
                                       &raft->options.id))
            return false;
    }
    return true;
}

/* When this node campaigns and for whom it votes before it has heard of anyone. */
static void start_timers(struct raft *raft)
{
    raft_draw_timeout(raft);
    if (is_alone(raft)) {
        raft->election_deadline_us = raft->now_us; /* nobody to wait for */
        return;
    }
    /* Rule 42: before it stopped this node may have promised a leader to vote for nobody else
     * within T. A node that has never voted and holds nothing but the first configuration has
     * answered no leader yet, and a new cluster need not wait. */
    bool fresh =
        raft->hard.vote == 0 && raft->log.last.index == 1 && raft->hard.term == raft->log.last.term;
    if (!fresh)
        raft->promised_until_us = raft->now_us + raft->options.election_timeout_us;
}

static int start_check(struct raft *raft, const struct raft_start *start)
{
    const struct raft_log *log = &raft->log;
    if (raft->hard.term < log->last.term)
        return error_set(&raft->output->error, CONCLAVE_CORRUPT,
                         "the recovered term %llu is below the term %llu of the last entry",
                         (unsigned long long)raft->hard.term, (unsigned long long)log->last.term);
    if (start->applied_index > log->last.index)
        return error_set(&raft->output->error, CONCLAVE_CORRUPT,
                         "the state machine holds entry %llu and the recovered log ends at %llu",
                         (unsigned long long)start->applied_index,
                         (unsigned long long)log->last.index);
    if (start->applied_index < log->base.index)
        return error_set(&raft->output->error, CONCLAVE_CORRUPT,
                         "the state machine holds entry %llu and the recovered log begins behind "
                         "%llu",
                         (unsigned long long)start->applied_index,
                         (unsigned long long)log->base.index);
    return CONCLAVE_OK;
}

int raft_start(struct raft *raft, struct raft_start *start)
{
    ASSERT(!raft->started);
    raft->hard = start->hard_state;
    int code = start_log(raft, start);
    /* The snapshot that the log begins anew with came from a leader of a term that this node had
     * not written down yet. */
    if (code == CONCLAVE_OK && raft->anew_pending && raft->hard.term < raft->log.base.term) {
        raft->hard = (struct raft_hard_state){.term = raft->log.base.term};
        raft->hard_dirty = true;
    }
    if (code == CONCLAVE_OK)
        code = start_check(raft, start);
    raft_runs_clear(&start->entries);
    buf_unref(start->snapshot.configuration);
    start->snapshot.configuration = NULL;
    if (code != CONCLAVE_OK)
        return code;

    /* What was applied was committed, and so was what a snapshot holds, and the first configuration
     * by definition. A node that has just joined has none yet. */
    raft->commit = raft_max(raft_max(start->applied_index, raft->snapshot_index), 1);
    raft->commit = raft_min(raft->commit, raft->log.last.index);
    raft->applying = start->applied_index;
    raft->applied = start->applied_index;
    raft->life = start->life;
    raft_membership_commit(raft, raft->commit);
    /* Rule 40: higher than in any life before, so that no late answer is taken for one to this
     * life's, and elsewhere than in another data directory, whose lives begin at 1 too. 2^39
     * requests are enough for one. */
    raft->read_number =
        (raft->life << 40) + (raft->options.incarnation & ((UINT64_C(1) << 39) - 1));
    raft->started = true;
    start_timers(raft);
    raft_snapshot_cut(raft);
    return CONCLAVE_OK;
}

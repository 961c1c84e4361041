/* What a start finds: the log, or how it is damaged, the newest snapshot, the members. */
#include "actors/log_open.h"

#include "base/fatal.h"
#include "storage/joined.h"

#include <stdlib.h>

/* As many as a snapshot lets go of at once, and the log needs until the next one. */
enum { SPARES_MAX = 32 };

/* Who the members are by the log, and where this node itself is: by the newest configuration that
 * knows it, since it may have been removed, and may be needed until that is committed. */
static int find_configuration(struct node *node, const struct raft_runs *entries,
                              struct conclave_error *error)
{
    struct raft_configuration *newest = &node->recovered.configuration;
    struct raft_configuration *joined = mem_zalloc(sizeof *joined);
    node->recovered.self = (struct raft_member){0};
    newest->member_count = 0;
    int code = joined_read(node->io, node->options.data_dir, &node->identity, joined, error);
    if (code == CONCLAVE_NOT_FOUND)
        code = CONCLAVE_OK; /* there from the start */
    *newest = *joined;
    struct raft_runs_iter iter = {0};
    const struct raft_entry *entry = raft_runs_next(entries, &iter);
    const struct snapshot_meta *snapshot = &node->recovered.snapshot;
    node->recovered.boot = entry || snapshot->configuration ? NULL : joined;
    if (!code && snapshot->configuration) {
        const struct buf *payload = snapshot->configuration;
        code = raft_configuration_decode((struct slice){payload->data, payload->bytes}, newest);
    }
    for (; !code; entry = raft_runs_next(entries, &iter)) {
        const struct raft_member *self = raft_configuration_find(newest, node->identity.node_id);
        if (self)
            node->recovered.self = *self;
        while (entry && (entry->kind != RAFT_ENTRY_CONFIG ||
                         entry->id.index <= snapshot->configuration_index))
            entry = raft_runs_next(entries, &iter);
        if (!entry)
            break;
        code = raft_configuration_decode(entry->payload, newest);
    }
    if (!code && !newest->member_count)
        code = CONCLAVE_MALFORMED;
    if (node->recovered.boot != joined)
        free(joined);
    if (code == CONCLAVE_MALFORMED)
        return error_set(error, CONCLAVE_CORRUPT,
                         "the log holds no readable configuration: the data directory is damaged");
    return code;
}

static void log_recovery(const struct node *node, const struct wal_recovery *found)
{
    const struct raft_id last = raft_runs_last(&found->entries);
    log_event(&node->logger, CONCLAVE_LOG_INFO, "log-writer", "recovered",
              "last_index=%llu last_term=%llu segments=%llu", (unsigned long long)last.index,
              (unsigned long long)last.term, (unsigned long long)found->segment_count);
    if (found->cut_bytes)
        log_event(&node->logger, CONCLAVE_LOG_WARN, "log-writer", "torn_tail_cut",
                  "bytes=%llu reason=\"the last batch was never confirmed to be on disk\"",
                  (unsigned long long)found->cut_bytes);
}

/* Finds the newest snapshot whose beginning can be read, or that is `whole`; the others are set
 * aside. Without need not all of it is read: whether it is right is seen when it is used. */
static int find_snapshot(const struct node *node, bool whole, struct snapshot_meta *ret,
                         struct conclave_error *error)
{
    struct snapshot_list list = {0};
    const char *dir = node->options.data_dir;
    int code = snapshot_list_read(node->io, dir, &list, error);
    for (size_t i = 0; i < list.count && !code; i++) {
        struct snapshot_reader *reader = NULL;
        if (whole)
            code = snapshot_verify(node->io, dir, &node->identity, list.items[i], error);
        if (!code)
            code = snapshot_reader_open(node->io, dir, &node->identity, list.items[i], &reader, ret,
                                        error);
        snapshot_reader_close(reader);
        if (code != CONCLAVE_CORRUPT)
            break;
        log_event(&node->logger, CONCLAVE_LOG_ERROR, "log-writer", "snapshot_damaged",
                  "reason=\"%s\"", error->message);
        code = snapshot_set_aside(node->io, dir, list.items[i], error);
    }
    snapshot_list_clear(&list);
    return code;
}

/* Takes what was found as node->recovered, in the place of what was there. */
static int take(struct node *node, const struct raft_runs *entries, struct raft_id base, bool whole,
                struct conclave_error *error)
{
    struct node_recovered *recovered = &node->recovered;
    free(recovered->boot);
    recovered->boot = NULL;
    snapshot_meta_clear(&recovered->snapshot);
    recovered->base = base;
    int code = find_snapshot(node, whole, &recovered->snapshot, error);
    return code ? code : find_configuration(node, entries, error);
}

int log_open(struct node *node, struct wal **ret_wal, struct conclave_error *error)
{
    struct wal_recovery found = {0};
    struct wal *wal = NULL;
    const struct wal_options options = {.segment_bytes = node->options.segment_bytes,
                                        .spares_max = SPARES_MAX};
    int code =
        wal_open(node->io, node->options.data_dir, &node->identity, &options, &wal, &found, error);
    if (code)
        return code;
    code = take(node, &found.entries, found.base, false, error);
    if (code) {
        raft_runs_clear(&found.entries);
        wal_close(wal);
        return code;
    }
    log_recovery(node, &found);
    raft_runs_clear(&node->recovered.entries);
    raft_runs_move(&node->recovered.entries, &found.entries);
    *ret_wal = wal;
    return CONCLAVE_OK;
}

int log_open_snapshot(struct node *node, struct conclave_error *error)
{
    return take(node, &node->recovered.entries, node->recovered.base, true, error);
}

int log_survey(struct node *node, struct wal_repair **ret_repair, struct conclave_error *error)
{
    struct wal_repair *repair = NULL;
    int code = wal_repair_open(node->io, node->options.data_dir, &node->identity, &repair, error);
    if (code)
        return code;
    if (wal_repair_holes(repair) == 0) { /* what is wrong is not among what can be put back */
        wal_repair_close(repair);
        return CONCLAVE_NOT_FOUND;
    }
    const struct wal_supplier log = wal_repair_log(repair);
    code = take(node, log.log, log.base, true, error);
    if (code) {
        wal_repair_close(repair);
        return code;
    }
    wal_repair_cover(repair, node->recovered.snapshot.last);
    *ret_repair = repair;
    return CONCLAVE_OK;
}

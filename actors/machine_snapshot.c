#include "actors/machine_snapshot.h"

#include "base/clock.h"
#include "base/fatal.h"

#include <stdlib.h>

/* What an entry counts besides its payload: a log of small entries is not a small log. */
enum { ENTRY_BYTES = 48 };

/* Of the log between two snapshots, to the state in one, and at most to what an option says. */
enum { DISTANCE_FACTOR = 4 };

/* --- Restoring -------------------------------------------------------------------------------- */

struct reading {
    struct snapshot_reader *reader;
    uint64_t bytes;
    struct conclave_error error;
};

static int read_state(void *arg, void *data, size_t bytes, size_t *ret_bytes)
{
    struct reading *reading = arg;
    int code = snapshot_reader_read(reading->reader, data, bytes, ret_bytes, &reading->error);
    if (!code)
        reading->bytes += *ret_bytes;
    return code;
}

/* Restores the machine and takes over what the snapshot says of the configuration. */
static int restore(struct actor *actor, struct machine_snapshot *snapshot,
                   struct session_layer *sessions, struct raft_id id, struct conclave_error *error)
{
    const struct node *node = actor->node;
    if (!node->options.machine->restore)
        return error_set(error, CONCLAVE_INVALID,
                         "this state machine cannot become a snapshot: all nodes of a cluster must "
                         "have the same machine");
    struct reading reading = {0};
    struct snapshot_meta meta = {0};
    uint64_t began_us = clock_now_us();
    int code = snapshot_reader_open(node->io, node->options.data_dir, &node->identity, id,
                                    &reading.reader, &meta, error);
    if (code)
        return code;
    code = session_layer_restore(sessions, id.index, read_state, &reading);
    snapshot_reader_close(reading.reader);
    if (code) {
        snapshot_meta_clear(&meta);
        return reading.error.code
                   ? error_set(error, reading.error.code, "%s", reading.error.message)
                   : error_set(error, code,
                               "the state machine failed to become the snapshot at "
                               "%llu: %s",
                               (unsigned long long)id.index, conclave_code_text(code));
    }
    buf_unref(snapshot->configuration);
    snapshot->configuration = meta.configuration;
    snapshot->configuration_index = meta.configuration_index;
    snapshot_meta_clear(&snapshot->ahead);
    snapshot->applied = id;
    snapshot->bytes = snapshot->entries = 0;
    snapshot->state_bytes = reading.bytes;
    log_event(&node->logger, CONCLAVE_LOG_INFO, actor->ops->name, "restored", "index=%llu ms=%llu",
              (unsigned long long)id.index, (unsigned long long)(clock_now_us() - began_us) / 1000);
    return CONCLAVE_OK;
}

/* True if the log goes on where the snapshot ends. */
static bool log_holds(const struct node_recovered *recovered, struct raft_id id)
{
    if (raft_id_equal(recovered->base, id))
        return true;
    struct raft_id first = raft_runs_first(&recovered->entries);
    if (id.index < first.index || id.index > raft_runs_last(&recovered->entries).index)
        return false;
    return raft_runs_find(&recovered->entries, id.index)->id.term == id.term;
}

static bool must_restore(const struct node_recovered *recovered, uint64_t applied_index)
{
    struct raft_id last = recovered->snapshot.last;
    if (last.index == 0 || applied_index >= last.index)
        return false;
    return applied_index < recovered->base.index || !log_holds(recovered, last);
}

/* The newest snapshot that is valid as a whole; others are set aside. */
static int find_valid(struct actor *actor, struct conclave_error *error)
{
    struct node *node = actor->node;
    const char *dir = node->options.data_dir;
    struct snapshot_list list = {0};
    struct snapshot_meta *found = &node->recovered.snapshot;
    int code = snapshot_list_read(node->io, dir, &list, error);
    snapshot_meta_clear(found);
    for (size_t i = 0; i < list.count && !code; i++) {
        code = snapshot_verify(node->io, dir, &node->identity, list.items[i], error);
        if (!code) {
            struct snapshot_reader *reader = NULL;
            code = snapshot_reader_open(node->io, dir, &node->identity, list.items[i], &reader,
                                        found, error);
            snapshot_reader_close(reader);
            break;
        }
        if (code != CONCLAVE_CORRUPT)
            break;
        log_event(&node->logger, CONCLAVE_LOG_ERROR, actor->ops->name, "snapshot_damaged",
                  "reason=\"%s\"", error->message);
        code = snapshot_set_aside(node->io, dir, list.items[i], error);
    }
    snapshot_list_clear(&list);
    return code;
}

/* The configuration in effect at the applied index, and what was applied since the snapshot. */
static void read_log(struct machine_snapshot *snapshot, const struct node_recovered *recovered,
                     uint64_t applied_index)
{
    const struct snapshot_meta *meta = &recovered->snapshot;
    if (!snapshot->configuration && meta->configuration && meta->last.index <= applied_index) {
        snapshot->configuration = buf_ref(meta->configuration);
        snapshot->configuration_index = meta->configuration_index;
    }
    if (applied_index == meta->last.index)
        snapshot->applied = meta->last; /* the log need not hold it, nor anything behind it */
    if (meta->configuration && meta->last.index > applied_index) {
        snapshot->ahead = *meta;
        buf_ref(meta->configuration);
    }
    struct raft_runs_iter iter = {0};
    for (const struct raft_entry *entry; (entry = raft_runs_next(&recovered->entries, &iter));) {
        if (entry->id.index > applied_index)
            break;
        if (entry->id.index > meta->last.index)
            machine_snapshot_note(snapshot, entry);
    }
}

int machine_snapshot_start(struct actor *actor, struct machine_snapshot *snapshot,
                           struct session_layer *sessions, uint64_t *applied_index,
                           struct conclave_error *error)
{
    struct node_recovered *recovered = &actor->node->recovered;
    if (must_restore(recovered, *applied_index)) {
        int code = find_valid(actor, error);
        if (!code && must_restore(recovered, *applied_index)) {
            code = sessions ? restore(actor, snapshot, sessions, recovered->snapshot.last, error)
                            : CONCLAVE_NO_SPACE;
            if (code == CONCLAVE_NO_SPACE) { /* as an installation that waits for room */
                snapshot->unrestored = recovered->snapshot.last;
                code = CONCLAVE_OK;
            }
            *applied_index = code ? *applied_index : recovered->snapshot.last.index;
        }
        if (code)
            return code;
    }
    recovered->snapshot_lacking = *applied_index < recovered->base.index ||
                                  recovered->snapshot.last.index < recovered->base.index;
    if (recovered->snapshot_lacking)
        return error_set(error, CONCLAVE_CORRUPT,
                         "the log begins behind entry %llu and no valid snapshot reaches it",
                         (unsigned long long)recovered->base.index);
    read_log(snapshot, recovered, *applied_index);
    return CONCLAVE_OK;
}

void machine_snapshot_deinit(struct machine_snapshot *snapshot)
{
    buf_unref(snapshot->configuration);
    snapshot->configuration = NULL;
    snapshot_meta_clear(&snapshot->ahead);
}

int machine_snapshot_install(struct actor *actor, struct machine_snapshot *snapshot,
                             struct session_layer *sessions, struct raft_id id,
                             struct conclave_error *error)
{
    ASSERT(!snapshot->taken);
    return restore(actor, snapshot, sessions, id, error);
}

/* --- Taking ----------------------------------------------------------------------------------- */

uint64_t machine_snapshot_distance(uint64_t least, uint64_t state_bytes)
{
    if (least > UINT64_MAX / DISTANCE_FACTOR / 4) /* never, whatever there is */
        return least;
    uint64_t bytes = (state_bytes < least ? state_bytes : least) * DISTANCE_FACTOR;
    return bytes > least ? bytes : least;
}

/* All nodes apply the same: without a little of their own they would all be busy with a snapshot at
 * the same moment, and so would be the disk that some of them share. */
static uint64_t distance(const struct node *node, const struct machine_snapshot *snapshot)
{
    enum { OWN_PARTS = 64, OWN_BITS = 4 };
    uint64_t bytes = machine_snapshot_distance(node->options.snapshot_bytes, snapshot->state_bytes);
    uint64_t own = node->identity.node_id * UINT64_C(0x9e3779b97f4a7c15) >> (64 - OWN_BITS);
    return bytes + bytes / OWN_PARTS * own;
}

void machine_snapshot_note(struct machine_snapshot *snapshot, const struct raft_entry *entry)
{
    snapshot->applied = entry->id;
    snapshot->entries++;
    snapshot->bytes += entry->payload.bytes + ENTRY_BYTES;
    if (entry->id.index == snapshot->ahead.last.index) { /* reached: what it says holds here */
        buf_unref(snapshot->configuration);
        snapshot->configuration = snapshot->ahead.configuration;
        snapshot->configuration_index = snapshot->ahead.configuration_index;
        snapshot->ahead = (struct snapshot_meta){0};
    }
    if (entry->kind != RAFT_ENTRY_CONFIG)
        return;
    buf_unref(snapshot->configuration);
    snapshot->configuration = buf_copy(entry->payload.data, entry->payload.bytes);
    snapshot->configuration_index = entry->id.index;
}

void machine_snapshot_take(struct actor *actor, struct machine_snapshot *snapshot,
                           struct session_layer *sessions)
{
    const struct conclave_options *options = &actor->node->options;
    if (snapshot->taken || !snapshot->configuration || snapshot->applied.term == 0)
        return;
    uint64_t state_bytes = session_layer_bytes(sessions);
    if (state_bytes > 0) /* a store that grows is not what it was */
        snapshot->state_bytes = state_bytes;
    if (!snapshot->wanted &&
        snapshot->entries < options->snapshot_entries + snapshot->wait_entries &&
        snapshot->bytes < distance(actor->node, snapshot) + snapshot->wait_bytes)
        return;
    if (!session_layer_can_snapshot(sessions))
        return;
    snapshot->bytes = snapshot->entries = 0;
    snapshot->wanted = false;
    struct session_snapshot *state = NULL;
    int code = session_layer_begin_snapshot(sessions, &state);
    if (code) {
        log_event(&actor->node->logger,
                  code == CONCLAVE_BUSY ? CONCLAVE_LOG_DEBUG : CONCLAVE_LOG_WARN, actor->ops->name,
                  "no_snapshot", "reason=\"%s\"", conclave_code_text(code));
        machine_snapshot_done(actor->node, snapshot, code, 0);
        return;
    }
    struct envelope *begun = envelope_create(ENVELOPE_SNAPSHOT_BEGUN);
    begun->snapshot_begun.snapshot = state;
    begun->snapshot_begun.meta =
        (struct snapshot_meta){.last = snapshot->applied,
                               .configuration_index = snapshot->configuration_index,
                               .configuration = buf_ref(snapshot->configuration)};
    snapshot->taken = state;
    actor_send(actor, ACTOR_SNAPSHOT, &begun);
}

void machine_snapshot_done(const struct node *node, struct machine_snapshot *snapshot, int code,
                           uint64_t state_bytes)
{
    const struct conclave_options *options = &node->options;
    if (snapshot->taken)
        session_snapshot_end(snapshot->taken);
    snapshot->taken = NULL;
    snapshot->wait_entries = snapshot->wait_bytes = 0;
    if (!code) {
        snapshot->state_bytes = state_bytes;
        return;
    }
    /* What it was to hold is still to come; after a failure not at once, or a full disk would be
     * tried with every command. */
    snapshot->entries += options->snapshot_entries;
    snapshot->bytes += distance(node, snapshot);
    if (code != CONCLAVE_BUSY) {
        snapshot->wait_entries =
            snapshot->entries - options->snapshot_entries + options->snapshot_entries / 8 + 1;
        snapshot->wait_bytes =
            snapshot->bytes - distance(node, snapshot) + options->snapshot_bytes / 8 + 1;
    }
}

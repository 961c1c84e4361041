/* Snapshots, and logs that begin behind one. */
#include "tests/sim/check.h"

#include "base/fatal.h"

#include <inttypes.h>
#include <string.h>

/* --- The account ------------------------------------------------------------------------------ */

bool check_holds(const struct check *check, uint32_t node, uint64_t index,
                 const struct check_entry *entry)
{
    const struct check_node *at = &check->nodes[node];
    const struct check_entry *stored = check_log_at(&at->disk, index);
    if (!entry || (stored && stored->chain == entry->chain))
        return entry != NULL;
    /* Or a snapshot that is durable, and the log has not begun anew behind it yet. */
    stored = check_log_at(&check->oracle, index);
    return index <= at->snapshot.index && stored->chain == entry->chain;
}

uint64_t check_stored_last(const struct check *check, uint32_t node)
{
    const struct check_node *at = &check->nodes[node];
    return at->snapshot.index > at->disk.count ? at->snapshot.index : at->disk.count;
}

void check_log_anew(struct check *check, struct check_log *log, uint64_t index)
{
    ASSERT(index <= check->oracle.count);
    if (log->capacity < index || !log->entries) {
        log->capacity = (index + 1) * 2;
        log->entries = mem_realloc(log->entries, log->capacity * sizeof *log->entries);
    }
    const struct check_entry *committed = check->oracle.entries;
    if (committed)
        memcpy(log->entries, committed, index * sizeof *committed);
    log->count = index;
}

static bool is_committed(const struct check *check, struct raft_id id)
{
    const struct check_entry *entry = check_log_at(&check->oracle, id.index);
    return entry && entry->term == id.term;
}

/* --- What a snapshot says --------------------------------------------------------------------- */

/* It ends with a committed entry, and has the configuration of that place (Rule 29). */
static void check_meta(struct check *check, uint32_t node, const struct raft_snapshot *snapshot)
{
    const struct check_entry *last = check_log_at(&check->oracle, snapshot->last.index);
    if (!is_committed(check, snapshot->last)) {
        check_fail(check, "a snapshot holds only what is committed",
                   "n%u has a snapshot up to %" PRIu64 ":%" PRIu64 ", committed is %" PRIu64,
                   node + 1, snapshot->last.term, snapshot->last.index, check->oracle.count);
        return;
    }
    struct slice payload = {snapshot->configuration->data, snapshot->configuration->bytes};
    if (snapshot->configuration_index != last->config_at ||
        check_config_number(check, payload) != last->config)
        check_fail(check, "a snapshot has the configuration of its index",
                   "n%u has a snapshot up to %" PRIu64 " with configuration %" PRIu64
                   "; in effect was %" PRIu64,
                   node + 1, snapshot->last.index, snapshot->configuration_index, last->config_at);
}

void check_snapshot_synced(struct check *check, uint32_t node, struct raft_id id, bool synced)
{
    if (!synced)
        check_fail(check, "a snapshot that counts is on the disk",
                   "n%u counts the one up to %" PRIu64 ":%" PRIu64 ", which no sync has written",
                   node + 1, id.term, id.index);
}

void check_snapshots_pruned(struct check *check, uint32_t node, const struct raft_id before[2],
                            const struct raft_id after[2], uint64_t oldest, uint64_t needed)
{
    const uint64_t older = before[1].index ? before[1].index : before[0].index;
    if (!raft_id_equal(before[0], after[0]) || !raft_id_equal(before[1], after[1]))
        check_fail(check, "two snapshots are kept",
                   "n%u has those up to %" PRIu64 " and %" PRIu64 " left of those up to %" PRIu64
                   " and %" PRIu64,
                   node + 1, after[0].index, after[1].index, before[0].index, before[1].index);
    else if (oldest != older && (oldest > older || needed == 0 || oldest < needed))
        check_fail(check, "the log reaches back to the older snapshot",
                   "n%u lets go of its log up to %" PRIu64 ", the older one of its snapshots ends "
                   "at %" PRIu64,
                   node + 1, oldest, older);
}

void check_snapshot_whole(struct check *check, uint32_t node, struct raft_id id, bool whole)
{
    if (!whole)
        check_fail(check, "a snapshot that was received is whole",
                   "n%u counts the one up to %" PRIu64 ":%" PRIu64 ", which cannot be read",
                   node + 1, id.term, id.index);
}

void check_snapshot_durable(struct check *check, uint32_t node,
                            const struct raft_snapshot *snapshot, bool taken)
{
    struct check_node *at = &check->nodes[node];
    check_meta(check, node, snapshot);
    if (taken && snapshot->last.index > at->machine_index)
        check_fail(check, "a snapshot is of the own state machine",
                   "n%u has taken a snapshot up to %" PRIu64 ", its state machine holds %" PRIu64,
                   node + 1, snapshot->last.index, at->machine_index);
    if (!check->failed && snapshot->last.index > at->snapshot.index)
        at->snapshot = snapshot->last;
}

void check_snapshot_rotten(struct check *check, uint32_t node, struct raft_id before)
{
    struct check_node *at = &check->nodes[node];
    at->rotten = at->snapshot;
    at->before = before;
}

void check_start_snapshot(struct check *check, uint32_t node, const struct raft_snapshot *snapshot)
{
    struct check_node *at = &check->nodes[node];
    if (raft_id_equal(at->snapshot, at->rotten) && snapshot->last.index < at->snapshot.index)
        at->snapshot = at->before;
    if (snapshot->last.index < at->snapshot.index)
        check_fail(check, "durable snapshots are kept",
                   "n%u starts with a snapshot up to %" PRIu64 ", one up to %" PRIu64
                   " was durable",
                   node + 1, snapshot->last.index, at->snapshot.index);
    if (snapshot->last.index > 0 && !check->failed)
        check_snapshot_durable(check, node, snapshot, false);
}

void check_unreadable(struct check *check, uint32_t node, uint64_t index)
{
    struct check_node *at = &check->nodes[node];
    if (index > at->unreadable)
        at->unreadable = index;
    if (index > at->unreadable_cut && index <= at->snapshot_told)
        at->unreadable_cut = index;
}

bool check_begins_unreadable(const struct check_node *at)
{
    return at->view.base.index == at->unreadable || at->view.base.index == at->unreadable_cut;
}

void check_snapshot_told(struct check *check, uint32_t node, uint64_t index)
{
    struct check_node *at = &check->nodes[node];
    if (index > at->snapshot_told)
        at->snapshot_told = index;
}

/* --- Installing ------------------------------------------------------------------------------- */

void check_anew(struct check *check, uint32_t node, struct raft_id base)
{
    struct check_node *at = &check->nodes[node];
    if (base.index > at->snapshot.index || !is_committed(check, base)) {
        check_fail(check, "a log begins anew behind a durable snapshot",
                   "n%u begins its log anew behind %" PRIu64 ":%" PRIu64
                   ", its snapshot ends at %" PRIu64,
                   node + 1, base.term, base.index, at->snapshot.index);
        return;
    }
    const struct check_entry *own = check_log_at(&at->memory, base.index);
    if (own && own->chain == check->oracle.entries[base.index - 1].chain)
        check_fail(check, "a log that agrees with a snapshot is kept",
                   "n%u throws away its log, which agrees with the snapshot up to %" PRIu64,
                   node + 1, base.index);
    check_log_anew(check, &at->memory, base.index);
    check_snapshot_told(check, node, base.index);
}

void check_install(struct check *check, uint32_t node, struct raft_id id)
{
    struct check_node *at = &check->nodes[node];
    if (id.index > at->snapshot.index || !is_committed(check, id) || id.index <= at->apply_handed)
        check_fail(check, "what is installed is durable and new",
                   "n%u installs a snapshot up to %" PRIu64 ":%" PRIu64
                   ", durable is one up to %" PRIu64 ", applied %" PRIu64,
                   node + 1, id.term, id.index, at->snapshot.index, at->apply_handed);
    at->installing = at->apply_handed = id.index;
}

void check_restored(struct check *check, uint32_t node, uint64_t from, uint64_t index)
{
    struct check_node *at = &check->nodes[node];
    if (index < from)
        check_fail(check, "applied in order",
                   "n%u's state machine goes back from %" PRIu64 " to the snapshot at %" PRIu64,
                   node + 1, from, index);
    at->machine_index = index;
}

/* --- The front of the log --------------------------------------------------------------------- */

uint64_t check_bytes_behind(const struct check_node *at, uint64_t base)
{
    return check_log_bytes(&at->memory, at->memory.count) - check_log_bytes(&at->memory, base);
}

/* Rule 39: a node that has cut its log keeps some entries, as many as it may; and it does cut. */
static void check_trailing(struct check *check, uint32_t node, const struct check_view *before)
{
    const struct check_node *at = &check->nodes[node];
    const struct raft_options *options = &check->options;
    uint64_t kept = at->snapshot_told - at->view.base.index;
    uint64_t held = at->snapshot_told - before->base.index;
    bool bounded = options->trailing_bytes < UINT64_MAX || /* then it may keep fewer */
                   check_begins_unreadable(at);
    if (at->view.base.index > before->base.index && !bounded &&
        kept < (held < options->trailing_entries ? held : options->trailing_entries))
        check_fail(check, "entries behind a snapshot are kept",
                   "n%u keeps %" PRIu64 " entries behind its snapshot at %" PRIu64
                   " and may keep %" PRIu64,
                   node + 1, kept, at->snapshot_told, options->trailing_entries);
    if (at->snapshot_told > at->snapshot_known && at->view.role != RAFT_LEADER &&
        before->role != RAFT_LEADER && kept > options->trailing_entries)
        check_fail(check, "the log is cut behind a snapshot",
                   "n%u keeps %" PRIu64 " entries behind its snapshot at %" PRIu64, node + 1, kept,
                   at->snapshot_told);
}

void check_base(struct check *check, uint32_t node, const struct check_view *before)
{
    struct check_node *at = &check->nodes[node];
    struct raft_id base = at->view.base;
    const struct check_entry *entry = check_log_at(&at->memory, base.index);
    if (base.index < before->base.index || base.index > at->view.commit ||
        (base.index > 0 && base.term != entry->term))
        check_fail(check, "the log is cut at the front only, and below commit",
                   "n%u's log begins behind %" PRIu64 ":%" PRIu64 ", before behind %" PRIu64
                   ", commit is %" PRIu64,
                   node + 1, base.term, base.index, before->base.index, at->view.commit);
    else if (base.index > at->snapshot.index || base.index > at->snapshot_told)
        check_fail(check, "the log is cut behind a durable snapshot",
                   "n%u's log begins behind %" PRIu64 ", its snapshot ends at %" PRIu64, node + 1,
                   base.index, at->snapshot.index);
    else if (!at->anew)
        check_trailing(check, node, before);
    at->snapshot_before = at->snapshot_known;
    at->snapshot_known = at->snapshot_told;
    at->base_before = before->base.index;
    if (at->installing > at->view.applied && at->view.role != RAFT_FOLLOWER)
        check_fail(check, "no campaign with a snapshot half installed",
                   "n%u campaigns or leads, and is to become the snapshot at %" PRIu64, node + 1,
                   at->installing);
}

/* Rule 36: what a peer that gets a snapshot needs behind it stays, also when it has it and has yet
 * to catch up with the newest. */
void check_peer_snapshot(struct check *check, uint32_t node, uint32_t peer,
                         const struct raft_peer_view *view, uint64_t now_us)
{
    struct check_node *at = &check->nodes[node];
    uint64_t base = at->view.base.index;
    if (view->life != at->peers[peer].life)
        at->pins[peer] = 0;
    uint64_t pin = at->pins[peer];
    if (!view->needs_snapshot) {
        at->pins[peer] = pin == 0 || view->match >= at->snapshot_before ? 0 : view->match;
        return;
    }
    if (view->match > 0 && view->match >= base)
        check_fail(check, "who reaches the log needs no snapshot",
                   "n%u gives n%u a snapshot, whose match %" PRIu64
                   " reaches the log, which begins behind %" PRIu64,
                   node + 1, peer + 1, view->match, base);
    bool begins = pin == 0 || view->match >= pin; /* it has that one, and needs another */
    bool owed = pin > 0 && view->match < at->snapshot_before;
    if (view->match > pin)
        pin = view->match;
    uint64_t heard_us = at->peers[peer].contact_us; /* before this step */
    if (owed && base > at->base_before && base > pin && !check_begins_unreadable(at) &&
        heard_us > 0 && now_us - heard_us < 10 * check->options.election_timeout_us &&
        check_bytes_behind(at, at->base_before) <= check->options.pinned_bytes_max)
        check_fail(check, "what follows a snapshot on its way stays",
                   "n%u's log begins behind %" PRIu64 ", n%u gets what follows %" PRIu64, node + 1,
                   base, peer + 1, pin);
    if (begins)
        at->pins[peer] = at->snapshot_told;
}

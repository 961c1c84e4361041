/* What of the log is in memory, and what of the rest is read back. A log that has been applied and
 * is durable is needed for peers that are behind alone, and of those most need its end. */
#include "raft/internal.h"

#include "base/fatal.h"

/* --- Letting go ---------------------------------------------------------------------------------
 */

/* Peers that keep up have it soon: until then it stays, up to so many times as much. */
enum { NEEDED_FACTOR = 4 };

/* So much more than is to stay comes together first: each time all the rest moves. */
enum { SLACK_PART = 8 };

/* What every peer that keeps up has. */
static uint64_t needed_behind(const struct raft *raft)
{
    uint64_t behind = UINT64_MAX;
    for (uint32_t i = 0; i < raft->peer_count && raft->role == RAFT_LEADER; i++) {
        const struct raft_progress *peer = &raft->peers[i];
        if (peer->state == RAFT_REPLICATE &&
            raft->now_us - peer->contact_us < raft->options.election_timeout_us)
            behind = raft_min(behind, peer->match);
    }
    return behind;
}

void raft_shed(struct raft *raft)
{
    struct raft_log *log = &raft->log;
    uint64_t bytes = raft->options.memory_bytes;
    if (bytes > UINT64_MAX / 2 / NEEDED_FACTOR)
        return;
    if (raft_log_memory(log) <= bytes + bytes / SLACK_PART)
        return;
    uint64_t index = raft_min(raft->applied, log->durable);
    raft_log_shed(log, raft_min(index, needed_behind(raft)), bytes);
    bytes *= NEEDED_FACTOR;
    if (raft_log_memory(log) > bytes + bytes / SLACK_PART)
        raft_log_shed(log, index, bytes);
}

/* --- Reading back -------------------------------------------------------------------------------
 */

static void ask(struct raft *raft, struct raft_progress *peer)
{
    const struct raft_log *log = &raft->log;
    const struct raft_id first = raft_log_id_at(log, peer->next);
    const struct raft_id same_term = {.term = first.term, .index = log->shed};
    peer->fetch = ++raft->fetch_number;
    peer->fetch_first = first;
    RAFT_LIST_ADD(&raft->output->fetches,
                  (struct raft_fetch){.number = peer->fetch,
                                      .first = first,
                                      .last = raft_log_find_at_most(log, same_term),
                                      .entries_max = raft->options.append_entries_max,
                                      .bytes_max = raft->options.append_bytes_max});
}

/* The peer waits for one. Again with each heartbeat, which may be an append that asks it for a
 * round of reads. */
static void want_snapshot(struct raft *raft, struct raft_progress *peer)
{
    if (!raft_append_is_due(raft, peer) ||
        raft->now_us - peer->wanted_us < raft->options.heartbeat_us)
        return;
    peer->wanted_us = raft->now_us;
    raft->output->snapshot_wanted = true;
}

bool raft_fetch_has(const struct raft *raft, struct raft_progress *peer)
{
    bool fetched = peer->fetched.count > 0 && raft_runs_first(&peer->fetched).index == peer->next;
    if (!fetched && peer->fetched.count > 0)
        raft_runs_clear(&peer->fetched); /* it needs something else now */
    return fetched || peer->next > raft->log.shed;
}

void raft_fetch_begin(struct raft *raft, struct raft_progress *peer)
{
    if (peer->fetch != 0)
        return;
    if (peer->next > raft->unreadable)
        ask(raft, peer);
    else
        want_snapshot(raft, peer);
}

void raft_fetch_take(const struct raft *raft, struct raft_progress *peer, struct raft_runs *to)
{
    const struct raft_options *options = &raft->options;
    if (peer->fetched.count > 0)
        raft_runs_move(to, &peer->fetched);
    else
        raft_runs_slice(&raft->log.runs, peer->next, options->append_entries_max,
                        options->append_bytes_max, to);
}

/* The log has a hole here that a start would find and repair (docs/disk-format.md). This node holds
 * all that it led to, and so a snapshot can take its place. */
static void note_unreadable(struct raft *raft, struct raft_id id)
{
    if (id.index <= raft->log.base.index)
        return; /* it went meanwhile */
    raft_trace(raft, RAFT_TRACE_UNREADABLE, id.index, id.term);
    raft->unreadable = raft_max(raft->unreadable, id.index);
    raft_snapshot_cut(raft);
    if (raft->unreadable > raft->log.base.index)
        raft->output->snapshot_wanted = true;
}

void raft_on_fetched(struct raft *raft, uint64_t fetch, struct raft_runs *entries)
{
    struct raft_progress *peer = NULL;
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        if (raft->peers[i].fetch == fetch)
            peer = &raft->peers[i];
    }
    if (peer) {
        const struct raft_id first = peer->fetch_first;
        peer->fetch = 0;
        if (entries->entry_count == 0) {
            note_unreadable(raft, first);
        } else {
            ASSERT(raft_id_equal(raft_runs_first(entries), first));
            ASSERT(raft_runs_last(entries).term == first.term);
            raft_runs_clear(&peer->fetched);
            raft_runs_move(&peer->fetched, entries);
        }
    }
    raft_runs_clear(entries);
}

void raft_fetch_forget(struct raft *raft)
{
    for (uint32_t i = 0; i < raft->peer_count; i++)
        raft_progress_forget(&raft->peers[i]);
}

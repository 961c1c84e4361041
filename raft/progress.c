#include "raft/progress.h"

#include "base/fatal.h"

void raft_progress_reset(struct raft_progress *progress, uint64_t next)
{
    ASSERT(next > 0);
    progress->state = RAFT_PROBE;
    progress->probe_sent = false;
    progress->match = 0;
    progress->next = next;
    progress->sent_us = 0;
    progress->commit_told = 0;
    progress->snapshot_index = 0;
    progress->prompt = false;
    progress->answer_us = 0;
    progress->held_until_us = 0;
    progress->timed_index = 0;
    raft_ledger_clear(&progress->inflight);
    raft_progress_forget(progress);
}

void raft_progress_forget(struct raft_progress *progress)
{
    progress->fetch = 0;
    raft_runs_clear(&progress->fetched);
}

void raft_progress_deinit(struct raft_progress *progress)
{
    raft_ledger_deinit(&progress->inflight);
    raft_runs_clear(&progress->fetched);
}

void raft_progress_move(struct raft_progress *to, struct raft_progress *from)
{
    *to = *from;
    from->inflight = (struct raft_ledger){0};
    from->fetched = (struct raft_runs){0};
}

void raft_progress_snapshot(struct raft_progress *progress, uint64_t snapshot_index)
{
    progress->state = RAFT_SNAPSHOT;
    progress->snapshot_index = snapshot_index;
    raft_ledger_clear(&progress->inflight);
    progress->held_until_us = 0;
    progress->timed_index = 0;
    raft_progress_forget(progress);
}

bool raft_progress_accept(struct raft_progress *progress, uint64_t match)
{
    bool news = match > progress->match;
    if (news)
        progress->match = match; /* Rule 14: only grows, whatever order answers come in */
    raft_ledger_settle(&progress->inflight, progress->match);
    if (progress->state != RAFT_REPLICATE) {
        progress->state = RAFT_REPLICATE;
        progress->next = progress->match + 1;
    } else if (progress->next <= progress->match) {
        progress->next = progress->match + 1;
    }
    ASSERT(progress->match < progress->next);
    return news;
}

bool raft_progress_reject(struct raft_progress *progress, uint64_t rejected, uint64_t hint)
{
    /* Rule 14. A probe is answered by exactly its own prev; anything else was overtaken. When
     * pipelining, what was acknowledged cannot be missing: such a rejection is an old one. */
    if (progress->state == RAFT_PROBE && rejected != progress->next - 1)
        return false;
    if (progress->state == RAFT_SNAPSHOT)
        return false; /* it is known to lack what the log begins with */
    if (rejected <= progress->match || rejected >= progress->next)
        return false;
    progress->next = hint < rejected ? hint + 1 : rejected;
    if (progress->next <= progress->match)
        progress->next = progress->match + 1;
    progress->state = RAFT_PROBE;
    progress->probe_sent = false;
    raft_ledger_clear(&progress->inflight);
    progress->timed_index = 0; /* what was sent may never be answered; what waits does so on */
    ASSERT(progress->match < progress->next);
    return true;
}

void raft_progress_sent(struct raft_progress *progress, uint64_t last, uint64_t bytes)
{
    if (progress->state == RAFT_PROBE) {
        progress->probe_sent = true;
        return;
    }
    ASSERT(last >= progress->next);
    progress->next = last + 1;
    raft_ledger_add(&progress->inflight, last, bytes);
}

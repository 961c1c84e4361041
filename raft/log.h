/* raft/log.h - the log: entries, terms, and how much of it is durable here.
 *
 * It begins behind `base`, which is {0, 0} until a snapshot holds the front. The terms are kept
 * apart as spans (a term and the index where it begins), because the questions asked most often are
 * about terms and a log has few of them. The entries themselves are in memory behind `shed`; those
 * before it are on disk alone, and of their sizes it is known how much so many of them are.
 *
 * Always: durable <= last.index and staged <= last.index. `durable` counts an entry only if the
 * very bytes that the log now holds are on disk: every outstanding persist remembers what of it is
 * still in the log, so that the completion for bytes that were since replaced counts for nothing
 * (Rule 5). Owned by the core's thread. */
#ifndef RAFT_LOG_H
#define RAFT_LOG_H

#include "raft/entries.h"

/* A persist handed to the host and not yet confirmed. */
struct raft_log_persist {
    uint64_t seq;
    struct raft_id last; /* the log's last id when it was handed over */
    uint64_t covers;     /* the last index of it that the log still holds unchanged */
    uint64_t since_us;   /* when it was handed over */
};

/* Entries on disk alone: those behind the mark before, up to `last`. */
struct raft_log_mark {
    uint64_t last;
    uint64_t bytes; /* of payload; at most as much as it is */
};

struct raft_log {
    struct raft_runs runs; /* the entries behind `shed` */
    struct raft_term_span {
        uint64_t term, first;
    } * spans; /* terms and firsts grow */
    uint32_t span_count, span_capacity;
    struct raft_id base; /* the entry before the first one */
    uint64_t shed;       /* up to here the entries are on disk alone; base.index: none are */
    uint64_t shed_bytes; /* payload of those */
    struct {
        struct raft_log_mark *items; /* oldest first */
        uint32_t count, capacity;
    } marks;
    struct raft_id last;
    uint64_t staged;             /* handed to persist up to here */
    uint64_t durable;            /* on disk up to here */
    struct raft_dropped dropped; /* went from the front */

    struct raft_log_persist *persists; /* oldest first */
    uint32_t persist_head, persist_count, persist_capacity;
};

void raft_log_deinit(struct raft_log *log);

/* Appends batch->entries[first .. first + count), which must follow the last entry and have terms
 * that do not fall (asserted). */
void raft_log_append(struct raft_log *log, struct raft_batch *batch, uint32_t first,
                     uint32_t count);

/* Appends all of `runs` but the first `skip` entries. */
void raft_log_append_runs(struct raft_log *log, const struct raft_runs *runs, uint64_t skip);

/* Removes the entry at index, which is in memory, and all after it; they are neither staged nor
 * durable any more. */
void raft_log_truncate(struct raft_log *log, uint64_t index);

/* Forgets the entries up to `index`, which the log holds and a snapshot too. */
void raft_log_compact(struct raft_log *log, uint64_t index);

/* What the log takes of memory; and, of its payload, also what is on disk alone. */
uint64_t raft_log_memory(const struct raft_log *log);
uint64_t raft_log_payload(const struct raft_log *log);

/* Lets whole batches up to `index`, which is durable, go from memory, the oldest first, until what
 * is left takes no more than `bytes`. */
void raft_log_shed(struct raft_log *log, uint64_t index, uint64_t bytes);

/* The lowest index, not below `least`, so that the entries behind it up to `index` take no more
 * than `bytes` in memory; of those on disk alone roughly, a few more rather than fewer. */
uint64_t raft_log_reach(const struct raft_log *log, uint64_t index, uint64_t least, uint64_t bytes);

/* Makes the log empty behind `base`, which is durable here. Persists on their way confirm nothing
 * of it. */
void raft_log_restart(struct raft_log *log, struct raft_id base);

/* The term of an entry or of `base`; 0 if the log does not hold it. */
uint64_t raft_log_term_at(const struct raft_log *log, uint64_t index);

/* The id at an index that the log holds, `base` or {0, 0} for index 0. */
struct raft_id raft_log_id_at(const struct raft_log *log, uint64_t index);

/* The largest index at or below `limit.index` whose term is at or below `limit.term`; 0, or an
 * index before the first one, if there is none. Both sides of the search for the place where two
 * logs part use it (Rule 18). */
uint64_t raft_log_find_at_most(const struct raft_log *log, struct raft_id limit);

/* Appends to *to every entry not handed to persist yet, and counts them as handed over. */
void raft_log_stage(struct raft_log *log, struct raft_runs *to);

/* Remembers that persist `seq` was handed over at now_us with all that the log holds now. */
void raft_log_persist_add(struct raft_log *log, uint64_t seq, uint64_t now_us);

/* When the oldest persist that is still out was handed over; UINT64_MAX if none is. */
uint64_t raft_log_persist_since(const struct raft_log *log);

/* Persist `seq` and all before it are durable; `last` must be what the log's last id was when it
 * was handed over (asserted). */
void raft_log_persisted(struct raft_log *log, uint64_t seq, struct raft_id last);

#endif

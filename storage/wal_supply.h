/* storage/wal_supply.h - what a node gives from its log to one whose log is damaged. Pure; owned by
 * one thread, that of the log. */
#ifndef STORAGE_WAL_SUPPLY_H
#define STORAGE_WAL_SUPPLY_H

#include "base/error.h"
#include "raft/entries.h"

/* What has to come from a peer whose log holds `anchor`: its entries behind `prev` up to `last`,
 * and its own id at prev.index. An anchor of index 0: from any log, for whoever asks has a checksum
 * that tells what is right. */
struct wal_want {
    struct raft_id prev;
    uint64_t last; /* prev.index: only the id there is needed */
    struct raft_id anchor;
    uint64_t giver;            /* 0: of anybody; else of the first, second .. of the others */
    uint64_t sequence, offset; /* where it is missing */
};

enum wal_supply {
    WAL_SUPPLY_HERE = 1,  /* *ret_prev and *ret_entries */
    WAL_SUPPLY_ABSENT,    /* this log does not hold the anchor */
    WAL_SUPPLY_COMPACTED, /* it begins behind what is wanted */
    WAL_SUPPLY_LATER      /* it lacks the same itself, for now */
};

/* Only the id of the entry is known, and that may be a guess. */
bool wal_is_absent(const struct raft_entry *entry);

/* Entries of this term that a damaged log had at these indexes, and has in the end if any. */
struct wal_sure {
    uint64_t first, last, term;
};

/* A log to give from. */
struct wal_supplier {
    const struct raft_runs *log;
    struct raft_id base; /* what is before its first entry */
    bool no_past;        /* and nothing of that is in a segment that the log can do without */

    /* Of a damaged one: absent entries whose ids are known all the same. */
    const struct wal_sure *sure;
    size_t sure_count;

    /* Of a damaged one: what is there up to this index may have been replaced in a hole. It is of
     * the log that holds an anchor if it is of the anchor's term: that term's leader made both, in
     * one log (paper, 5.3). 0: nothing may. */
    uint64_t doubtful;
};

/* Entries from a log for a peer's want: at most bytes_max of payload, but one at least. Appends to
 * *ret_entries. Its own id at prev.index may have a term of 0 above an index that is not 0: it is
 * not known. */
enum wal_supply wal_supply_from(const struct wal_supplier *supplier, const struct wal_want *want,
                                uint64_t bytes_max, struct raft_id *ret_prev,
                                struct raft_runs *ret_entries);

#endif

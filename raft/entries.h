/* raft/entries.h - log entries in immutable, reference-counted batches.
 *
 * What is proposed together, or arrives in one message, is one batch; the log, messages to peers,
 * the log-writer and the state machine share it and count references once per batch, not once per
 * entry. A run names consecutive entries of one batch; runs are a sequence of runs whose entries
 * have consecutive indexes.
 *
 * A batch is written by the one thread that makes it, until it is given to the core or decoded;
 * from then on nobody writes to it. References: any thread. */
#ifndef RAFT_ENTRIES_H
#define RAFT_ENTRIES_H

#include "base/buf.h"
#include "base/fatal.h"

#include <stdbool.h>

/* An entry's identity. Passed whole: never two neighbouring integers. index 0 means "before the
 * first entry" and goes with term 0. */
struct raft_id {
    uint64_t term;
    uint64_t index;
};

static inline bool raft_id_equal(struct raft_id a, struct raft_id b)
{
    return a.term == b.term && a.index == b.index;
}

enum raft_entry_kind {
    RAFT_ENTRY_NOOP = 0,    /* the first entry of every term (paper section 8); no payload */
    RAFT_ENTRY_COMMAND = 1, /* payload: the state machine's, opaque here */
    RAFT_ENTRY_CONFIG = 2,  /* payload: raft/configuration.h */
    RAFT_ENTRY_SESSION = 3  /* payload: a command of a client session, opaque here too */
};

/* Who waits for an entry's outcome on this node. Local: not on the wire, not on disk. {0, 0}:
 * nobody. `client` is the network actor's handle of a connection, `request` the client's own id. */
struct raft_origin {
    uint64_t client;
    uint64_t request;
};

struct raft_entry {
    struct raft_id id;
    struct raft_origin origin;
    struct buf *buf; /* one reference, owned by the batch; NULL: the payload is empty, static, or
                        in the buf of another entry of the batch */
    struct slice payload; /* points into a buf of the batch */
    enum raft_entry_kind kind;
};

/* The same in every log: id, kind and payload. */
bool raft_entry_equal(const struct raft_entry *a, const struct raft_entry *b);

struct raft_batch {
    atomic_uint refs;
    uint32_t count; /* entries filled */
    uint32_t capacity;
    uint32_t owners;        /* entries behind the first so many have no buf */
    uint64_t payload_bytes; /* of all of them */
    struct raft_entry entries[];
};

/* An empty batch with room for `capacity` entries; one reference. */
struct raft_batch *raft_batch_create(uint32_t capacity);

/* The place of the next entry, while the batch is still its maker's alone; raft_batch_count_entry
 * counts it once all of it is filled in, and takes over the reference on its buf. */
static inline struct raft_entry *raft_batch_place_entry(struct raft_batch *batch)
{
    ASSERT(batch->count < batch->capacity);
    return &batch->entries[batch->count];
}

static inline void raft_batch_count_entry(struct raft_batch *batch)
{
    const struct raft_entry *entry = &batch->entries[batch->count++];
    batch->payload_bytes += entry->payload.bytes;
    if (entry->buf)
        batch->owners = batch->count;
}

/* Both at once. */
static inline void raft_batch_add(struct raft_batch *batch, struct raft_entry entry)
{
    *raft_batch_place_entry(batch) = entry;
    raft_batch_count_entry(batch);
}

struct raft_batch *raft_batch_ref(struct raft_batch *batch);
void raft_batch_unref(struct raft_batch *batch); /* NULL is allowed */

struct raft_run {
    struct raft_batch *batch; /* one reference, owned by the runs that hold it */
    uint32_t first, count;    /* batch->entries[first .. first + count) ; count > 0 */
};

/* Payload bytes of its entries. */
uint64_t raft_run_payload(const struct raft_run *run);

/* A growable sequence of runs with consecutive indexes. All zero is empty. Owned by one thread;
 * handing it over hands over its references. */
struct raft_runs {
    struct raft_run *items;
    uint32_t count, capacity;
    uint64_t entry_count;
    uint64_t payload_bytes;
};

/* Appends batch->entries[first .. first + count), taking a new reference. The first index must
 * follow the last one (asserted). count may be 0: nothing happens. */
void raft_runs_append(struct raft_runs *runs, struct raft_batch *batch, uint32_t first,
                      uint32_t count);

/* Appends all of `from`, taking new references. */
void raft_runs_append_all(struct raft_runs *runs, const struct raft_runs *from);

/* Drops all references and frees; the runs are then empty and usable. */
void raft_runs_clear(struct raft_runs *runs);

/* Appends to *to the entries of `runs` from `index` (which it must hold) on: at most entries_max of
 * them and at most bytes_max of payload, but always at least one. Takes new references. */
void raft_runs_slice(const struct raft_runs *runs, uint64_t index, uint64_t entries_max,
                     uint64_t bytes_max, struct raft_runs *to);

/* The entry with this index, or NULL. Quick near the end, logarithmic elsewhere. */
const struct raft_entry *raft_runs_find(const struct raft_runs *runs, uint64_t index);

/* Removes the entry with this index and all after it; nothing if they end before it. */
void raft_runs_truncate(struct raft_runs *runs, uint64_t index);

/* Batches that are needed no more, one reference each. All zero: none. */
struct raft_dropped {
    struct raft_batch **items;
    uint32_t count, capacity;
    uint64_t entries; /* of all of them */
};

/* Removes the entry with this index and all before it; nothing if they begin behind it. */
void raft_runs_drop_front(struct raft_runs *runs, uint64_t index);

/* The same, but the batches go into *dropped: to free those of a million entries takes tens of
 * milliseconds. */
void raft_runs_set_aside(struct raft_runs *runs, uint64_t index, struct raft_dropped *dropped);

/* Frees batches of some `entries` in all, or what there is. */
void raft_dropped_free(struct raft_dropped *dropped, uint64_t entries);

/* Moves *from into *to (which must be empty) and leaves *from empty. */
void raft_runs_move(struct raft_runs *to, struct raft_runs *from);

/* Ids of the first and last entry; {0, 0} when empty. */
struct raft_id raft_runs_first(const struct raft_runs *runs);
struct raft_id raft_runs_last(const struct raft_runs *runs);

/* Walks entries in order:
 *     struct raft_runs_iter it = {0};
 *     for (const struct raft_entry *e; (e = raft_runs_next(&runs, &it));) ... */
struct raft_runs_iter {
    uint32_t run, offset;
};
const struct raft_entry *raft_runs_next(const struct raft_runs *runs, struct raft_runs_iter *iter);

/* Entries that are to be read back from the disk. They are committed, so that whatever
 * stands on the disk with such an id is the right one (log matching; paper, 5.3). */
struct raft_fetch {
    uint64_t number;      /* 1, 2, 3 ...: comes back with them */
    struct raft_id first; /* from this entry on, all of its term ... */
    uint64_t last;        /* ... up to this index, as far as they fit: */
    uint32_t entries_max;
    uint64_t bytes_max; /* of payload; but one entry in any case */
};

#endif

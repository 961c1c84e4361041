#include "actors/durable.h"

#include "base/fatal.h"

bool durable_store(struct durable *durable, uint64_t seq, struct raft_id last)
{
    unsigned stores = atomic_load(&durable->stores);
    ASSERT(seq > atomic_load(&durable->slots[stores % 2].seq));
    stores++;
    atomic_store(&durable->slots[stores % 2].seq, seq);
    atomic_store(&durable->slots[stores % 2].term, last.term);
    atomic_store(&durable->slots[stores % 2].index, last.index);
    atomic_store(&durable->stores, stores);
    /* Behind the store, as raft looks behind its wish: one of both sees the other's. */
    return atomic_exchange(&durable->wanted, false);
}

bool durable_look(struct durable *durable, uint64_t *seq, struct raft_id *ret_last)
{
    unsigned stores;
    uint64_t stored;
    struct raft_id last;
    do {
        stores = atomic_load(&durable->stores);
        stored = atomic_load(&durable->slots[stores % 2].seq);
        last.term = atomic_load(&durable->slots[stores % 2].term);
        last.index = atomic_load(&durable->slots[stores % 2].index);
    } while (stores != atomic_load(&durable->stores));
    if (stored <= *seq)
        return false;
    *seq = stored;
    *ret_last = last;
    return true;
}

bool durable_want(struct durable *durable, uint64_t seq)
{
    atomic_store(&durable->wanted, true);
    unsigned stores = atomic_load(&durable->stores);
    return atomic_load(&durable->slots[stores % 2].seq) <= seq;
}

void durable_forgo(struct durable *durable)
{
    if (atomic_load(&durable->wanted))
        atomic_store(&durable->wanted, false);
}

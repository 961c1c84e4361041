/* How far the log is on disk, as the log-writer says it to raft: one thread in both parts. */
#include "actors/durable.h"

#include <criterion/criterion.h>

Test(durable, each_store_is_seen_once)
{
    struct durable durable = {0};
    struct raft_id last = {0};
    uint64_t seq = 0;
    cr_assert_not(durable_look(&durable, &seq, &last), "nothing was written");
    for (uint64_t stored = 1; stored <= 3; stored++) {
        durable_store(&durable, stored, (struct raft_id){.term = 7, .index = 10 + stored});
        cr_assert(durable_look(&durable, &seq, &last));
        cr_assert_eq(seq, stored);
        cr_assert(last.term == 7 && last.index == 10 + stored);
        cr_assert_not(durable_look(&durable, &seq, &last), "raft has it already");
    }
}

/* Raft may be in the middle of reading it: term and index would be those of two entries. */
Test(durable, store_leaves_alone_what_may_be_being_read)
{
    struct durable durable = {0};
    for (uint64_t stored = 1; stored <= 3; stored++) {
        unsigned current = atomic_load(&durable.stores) % 2;
        durable_store(&durable, stored, (struct raft_id){.term = stored, .index = stored});
        cr_assert_eq(atomic_load(&durable.slots[current].seq), stored - 1);
        cr_assert_eq(atomic_load(&durable.slots[current].term), stored - 1);
        cr_assert_eq(atomic_load(&durable.slots[current].index), stored - 1);
    }
}

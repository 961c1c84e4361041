/* The sums of a log by index: those behind one that is set anew are gone, and what was let go of at
 * the front is not known any more. */
#include "storage/wal_links.h"

#include <criterion/criterion.h>

Test(links, are_found_where_they_were_put)
{
    struct wal_links links = {0};
    cr_assert_eq(wal_links_find(&links, 0), 0);
    wal_links_begin(&links, 7, 70);
    for (uint64_t index = 8; index < 500; index++)
        wal_links_put(&links, index, 10 * index);
    for (uint64_t index = 0; index < 510; index++)
        cr_assert_eq(wal_links_find(&links, index), index >= 7 && index < 500 ? 10 * index : 0);
    wal_links_put(&links, 100, 5);
    cr_assert_eq(wal_links_find(&links, 99), 990);
    cr_assert_eq(wal_links_find(&links, 100), 5);
    cr_assert_eq(wal_links_find(&links, 101), 0, "it is of a log that is gone");
    wal_links_put(&links, 103, 6);
    cr_assert_eq(wal_links_find(&links, 102), 0, "of those between nothing is known");
    wal_links_learn(&links, 102, 4);
    cr_assert_eq(wal_links_find(&links, 102), 4);
    cr_assert_eq(wal_links_find(&links, 103), 6, "what is learned forgets nothing");
    wal_links_learn(&links, 104, 4);
    cr_assert_eq(wal_links_find(&links, 104), 0);
    wal_links_put(&links, 3, 9);
    cr_assert_eq(wal_links_find(&links, 3), 9, "before the first one");
    cr_assert_eq(wal_links_find(&links, 7), 0);
    wal_links_deinit(&links);
}

/* As a log that is written and compacted for long: the memory that it takes stays what it needs. */
Test(links, what_is_let_go_of_takes_no_memory)
{
    struct wal_links links = {0}, moved = {0};
    wal_links_begin(&links, 0, 1);
    for (uint64_t index = 1; index < 100000; index++) {
        wal_links_put(&links, index, index + 1);
        if (index % 64 == 0)
            wal_links_drop_front(&links, index - 32);
    }
    cr_assert_leq(links.capacity, 512, "%zu", links.capacity);
    cr_assert_eq(wal_links_find(&links, 99999), 100000);
    cr_assert_eq(wal_links_find(&links, 99000), 0);
    wal_links_drop_front(&links, 200000);
    cr_assert_eq(wal_links_find(&links, 99999), 100000, "what comes next follows it");
    wal_links_move(&moved, &links);
    cr_assert_eq(links.items, NULL);
    wal_links_put(&moved, 100000, 3);
    cr_assert_eq(wal_links_find(&moved, 100000), 3);
    wal_links_deinit(&moved);
}

#include "actors/pending.h"

#include <criterion/criterion.h>

Test(pending, operation_leaves_once)
{
    struct pending *pending = pending_create(1 << 20);
    struct raft_origin origin;
    client_handle client;
    uint64_t request;
    cr_assert(pending_enter(pending, 77, 5, 100, &origin));
    cr_assert_eq(origin.request, 5);
    cr_assert_eq(pending_count(pending), 1);
    cr_assert(pending_leave(pending, origin, &client, &request));
    cr_assert_eq(client, 77);
    cr_assert_eq(request, 5);
    cr_assert_not(pending_leave(pending, origin, &client, &request));
    cr_assert_eq(pending_count(pending), 0);
    pending_destroy(pending);
}

Test(pending, late_second_answer_does_not_reach_the_next_operation)
{
    struct pending *pending = pending_create(1 << 20);
    struct raft_origin first, second;
    client_handle client;
    uint64_t request;
    cr_assert(pending_enter(pending, 1, 10, 0, &first));
    cr_assert(pending_leave(pending, first, &client, &request));
    cr_assert(pending_enter(pending, 2, 20, 0, &second)); /* the same slot */
    cr_assert_not(pending_leave(pending, first, &client, &request));
    cr_assert(pending_leave(pending, second, &client, &request));
    cr_assert_eq(client, 2);
    pending_destroy(pending);
}

Test(pending, bytes_are_bounded_and_given_back)
{
    struct pending *pending = pending_create(UINT64_C(2) * (1000 + PENDING_OVERHEAD_BYTES));
    struct raft_origin a, b, c;
    client_handle client;
    uint64_t request;
    cr_assert(pending_enter(pending, 1, 1, 1000, &a));
    cr_assert(pending_enter(pending, 1, 2, 1000, &b));
    cr_assert_not(pending_enter(pending, 1, 3, 0, &c));
    cr_assert(pending_leave(pending, a, &client, &request));
    cr_assert_not(pending_enter(pending, 1, 3, 1001, &c));
    cr_assert(pending_enter(pending, 1, 3, 1000, &c));
    pending_destroy(pending);
}

Test(pending, operations_are_bounded)
{
    struct pending *pending = pending_create(UINT64_MAX / 2);
    struct raft_origin origin;
    for (int i = 0; i < PENDING_OPS_MAX; i++)
        cr_assert(pending_enter(pending, 1, 1, 0, &origin));
    cr_assert_not(pending_enter(pending, 1, 1, 0, &origin));
    pending_destroy(pending);
}

Test(pending, foreign_origins_are_nobody)
{
    struct pending *pending = pending_create(1 << 20);
    client_handle client;
    uint64_t request;
    cr_assert_not(pending_leave(pending, (struct raft_origin){0, 0}, &client, &request));
    cr_assert_not(pending_leave(pending, (struct raft_origin){UINT64_MAX, 0}, &client, &request));
    pending_destroy(pending);
}

Test(pending, everything_left_is_walked)
{
    struct pending *pending = pending_create(1 << 20);
    struct raft_origin origins[10], origin;
    client_handle client;
    uint64_t request, sum = 0;
    for (uint64_t i = 0; i < 10; i++)
        cr_assert(pending_enter(pending, 1, i, 0, &origins[i]));
    cr_assert(pending_leave(pending, origins[3], &client, &request));
    uint32_t cursor = 0, count = 0;
    while (pending_next(pending, &cursor, &origin)) {
        sum += origin.request;
        count++;
    }
    cr_assert_eq(count, 9);
    cr_assert_eq(sum, 45 - 3);
    pending_destroy(pending);
}

Test(pending, slots_of_those_that_left_are_taken_again)
{
    enum { OPS = 5 };
    struct pending *pending = pending_create(1 << 20);
    struct raft_origin origins[OPS];
    client_handle client;
    uint64_t request;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < OPS; i++) {
            cr_assert(pending_enter(pending, 1, (uint64_t)i, 0, &origins[i]));
            cr_expect_leq(origins[i].client & 0xffffffff, OPS,
                          "a slot more than there are operations");
        }
        for (int i = 0; i < OPS; i++)
            cr_assert(pending_leave(pending, origins[i], &client, &request));
    }
    pending_destroy(pending);
}

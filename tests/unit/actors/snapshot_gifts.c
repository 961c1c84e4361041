/* Snapshots for nodes in repair, which ask for one themselves while raft may want another thing. */
#include "actors/snapshot_actor.h"

#include <criterion/criterion.h>

enum { PEER = 5, SECOND_US = 1000000, PATIENCE_US = 3 * SECOND_US, FILE_BYTES = 1000 };

static struct snapshot_helper helper;
static struct actor actor;

static void begin(uint64_t newest)
{
    helper = (struct snapshot_helper){.newest = {.term = 3, .index = newest}};
    flow_limits_init(&helper.sender.limits, 100);
    actor = (struct actor){.state = &helper};
}

static void ask(raft_node_id from, uint64_t last, uint64_t now_us)
{
    gifts_take(
        &actor, from,
        &(struct peer_repair){.last = last, .anchor = {.term = 3, .index = last}, .snapshot = true},
        now_us);
}

static bool sends_to(raft_node_id peer)
{
    return flow_stream_of(&helper.sender, peer) != NULL;
}

Test(snapshot_gifts, one_that_reaches_is_sent_and_one_that_does_not_is_not)
{
    begin(40);
    helper.repairing = true; /* it has no machine that could make another */
    ask(PEER, 41, 0);
    cr_assert_not(sends_to(PEER));
    ask(PEER, 40, 0);
    cr_assert(sends_to(PEER));
    begin(0);
    helper.repairing = true;
    ask(PEER, 0, 0);
    cr_assert_not(sends_to(PEER), "there is none");
}

Test(snapshot_gifts, ends_when_the_peer_neither_asks_nor_answers)
{
    begin(40);
    ask(PEER, 40, 0);
    cr_assert_eq(gifts_tend(&helper, SECOND_US), PATIENCE_US);
    ask(PEER, 40, SECOND_US);
    cr_assert_eq(gifts_tend(&helper, PATIENCE_US), SECOND_US + PATIENCE_US);
    cr_assert(sends_to(PEER));
    cr_assert_eq(gifts_tend(&helper, SECOND_US + PATIENCE_US), UINT64_MAX);
    cr_assert_not(sends_to(PEER));
}

Test(snapshot_gifts, goes_on_while_pieces_are_answered)
{
    begin(40);
    ask(PEER, 40, 0);
    flow_opened(&helper.sender, 0, 77, helper.newest, FILE_BYTES, 0);
    struct peer_snapshot answer = {.name = 77, .id = helper.newest, .bytes = FILE_BYTES};
    answer.offset = 100;
    flow_take_ack(&helper.sender, PEER, &answer, 2 * SECOND_US);
    cr_assert_eq(gifts_tend(&helper, PATIENCE_US), 2 * SECOND_US + PATIENCE_US);
    answer.offset = FILE_BYTES; /* it has all: nothing keeps the gift but another ask */
    flow_take_ack(&helper.sender, PEER, &answer, PATIENCE_US);
    cr_assert_eq(gifts_tend(&helper, PATIENCE_US), UINT64_MAX);
    cr_assert_not(sends_to(PEER));
}

Test(snapshot_gifts, what_raft_wants_as_well_outlives_the_gift)
{
    begin(40);
    gifts_stream(&helper, PEER, true, 0);
    ask(PEER, 40, 0);
    cr_assert_eq(gifts_tend(&helper, PATIENCE_US), UINT64_MAX);
    cr_assert(sends_to(PEER), "raft still wants it");
    ask(PEER, 40, PATIENCE_US);
    gifts_stream(&helper, PEER, false, PATIENCE_US);
    cr_assert(sends_to(PEER), "the peer still wants it");
    cr_assert_eq(gifts_tend(&helper, 2 * PATIENCE_US), UINT64_MAX);
    cr_assert_not(sends_to(PEER));
}

Test(snapshot_gifts, are_for_so_many_at_a_time)
{
    begin(40);
    for (raft_node_id peer = 1; peer <= SNAPSHOT_GIFTS_MAX + 1; peer++)
        ask(peer, 40, 0);
    cr_assert(sends_to(SNAPSHOT_GIFTS_MAX));
    cr_assert_not(sends_to(SNAPSHOT_GIFTS_MAX + 1));
    (void)gifts_tend(&helper, PATIENCE_US);
    ask(SNAPSHOT_GIFTS_MAX + 1, 40, PATIENCE_US);
    cr_assert(sends_to(SNAPSHOT_GIFTS_MAX + 1), "a place is free again");
}

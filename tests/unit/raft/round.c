/* Whom a leader asks whether it still leads. */
#include "cluster.h"

#include <criterion/criterion.h>

static struct cluster c;

enum { LATE_US = HEARTBEAT_US / 20 };

static struct test_node *node(void)
{
    return &c.nodes[1];
}

/* The round of the last append to the peer, taken off the wire; 0: none. */
static uint64_t round_to(raft_node_id peer)
{
    uint64_t round = 0;
    for (struct raft_message *m; (m = cluster_take(&c, peer, RAFT_APPEND_REQUEST));) {
        round = m->append_request.round;
        raft_message_destroy(m);
    }
    return round;
}

/* Node 1 leads the others, all of which have its no-op (entry 2) and know that it is committed. */
static uint64_t lead(uint32_t members)
{
    uint64_t led = cluster_lead_alone(&c);
    for (raft_node_id id = 2; id <= members; id++)
        cluster_receive(&c, append_accepted(id, 1, led, 2, 0));
    cr_assert(raft_is_serving(node()->raft));
    cluster_advance(&c, HEARTBEAT_US);
    cluster_timeout(&c, 1);
    cluster_drop_all(&c);
    return led;
}

static uint64_t serving(uint32_t voters)
{
    cluster_setup(&c, voters, 1);
    return lead(voters);
}

static uint32_t asked(uint32_t voters)
{
    uint32_t count = 0;
    for (raft_node_id id = 2; id <= voters; id++)
        count += round_to(id) > 0;
    return count;
}

Test(round, asks_as_many_as_make_a_majority)
{
    static const uint32_t expected[] = {[1] = 0, [2] = 1, [3] = 1, [4] = 2, [5] = 2, [7] = 3};
    for (uint32_t voters = 2; voters <= 7; voters += voters == 5 ? 2 : 1) {
        serving(voters);
        cluster_read(&c, 1, 77);
        cr_expect_eq(asked(voters), expected[voters], "%u voters", voters);
        cluster_deinit(&c);
    }
}

Test(round, asks_no_learner)
{
    cluster_init(&c, 3);
    c.configuration.members[2].flags = RAFT_MEMBER_LEARNER;
    cluster_start(&c, 1);
    uint64_t led = lead(3);
    cluster_advance(&c, 1);
    cluster_receive(&c, append_accepted(3, 1, led, 2, 0)); /* newer than what 2 said */
    cluster_read(&c, 1, 77);
    cr_assert_eq(cluster_count(&c, 3, RAFT_APPEND_REQUEST), 0);
    cr_assert_eq(cluster_count(&c, 2, RAFT_APPEND_REQUEST), 1);
    cluster_deinit(&c);
}

/* From 1, 2, 3 to 1, 2, 4, and 2 is slow: the quickest of all is not enough. */
Test(round, rule_30_asks_a_majority_of_each_set_in_the_joint_phase)
{
    cluster_init(&c, 4);
    c.configuration.members[3].flags = RAFT_MEMBER_LEARNER;
    cluster_start(&c, 1);
    uint64_t led = lead(4);
    cluster_advance(&c, 1);
    cluster_receive(&c, append_accepted(3, 1, led, 2, 0));
    cluster_advance(&c, 1);
    cluster_receive(&c, append_accepted(4, 1, led, 2, 0));
    cluster_change(&c, 1, RAFT_CHANGE_REPLACE, "n3", "n4");
    cr_assert(raft_configuration(node()->raft, NULL)->joint);
    cluster_drop_all(&c);
    cluster_read(&c, 1, 77);
    cr_assert_eq(round_to(2), 0);
    cr_assert_gt(round_to(3), 0);
    cr_assert_gt(round_to(4), 0);
    cluster_deinit(&c);
}

/* It asks all: each promise makes the lease safer, though entries went to some just now. */
Test(round, for_a_lease_asks_everybody)
{
    cluster_init(&c, 3);
    c.nodes[1].options.leases = true;
    cluster_start(&c, 1);
    lead(3);
    cluster_advance(&c, HEARTBEAT_US / 2);
    cluster_propose(&c, 1, 1, 10);
    cluster_drop_all(&c);
    cluster_advance(&c, HEARTBEAT_US / 2);
    cluster_timeout(&c, 1);
    cr_assert_eq(asked(3), 2);
    cluster_deinit(&c);
}

Test(round, asks_who_answered_the_last_one)
{
    for (raft_node_id quick = 2; quick <= 3; quick++) {
        uint64_t led = serving(3);
        cluster_read(&c, 1, 77);
        cluster_advance(&c, LATE_US);
        cluster_timeout(&c, 1);
        cluster_receive(&c, append_accepted(quick, 1, led, 2, round_to(quick)));
        cr_assert_eq(node()->reads.count, 1);
        cluster_drop_all(&c);
        cluster_read(&c, 1, 78);
        cr_expect_eq(cluster_count(&c, quick, RAFT_APPEND_REQUEST), 1);
        cr_expect_eq(cluster_count(&c, 5 - quick, RAFT_APPEND_REQUEST), 0);
        cluster_deinit(&c);
    }
}

/* One that does not answer must not be what a read waits for. */
Test(round, that_is_late_asks_everybody_at_its_own_deadline)
{
    uint64_t led = serving(3);
    cluster_read(&c, 1, 77);
    raft_node_id first = cluster_count(&c, 2, RAFT_APPEND_REQUEST) ? 2 : 3, other = 5 - first;
    cr_assert_eq(cluster_count(&c, other, RAFT_APPEND_REQUEST), 0);
    cr_assert_eq(node()->deadline_us, c.now_us + LATE_US);
    cluster_advance(&c, LATE_US - 1);
    cluster_timeout(&c, 1);
    cr_assert_eq(cluster_count(&c, other, RAFT_APPEND_REQUEST), 0);
    cluster_advance(&c, 1);
    cluster_timeout(&c, 1);
    cr_assert_eq(cluster_count(&c, first, RAFT_APPEND_REQUEST), 1, "it was asked");
    cluster_receive(&c, append_accepted(other, 1, led, 2, round_to(other)));
    cr_assert_eq(node()->reads.count, 1);
    cr_assert_eq(node()->reads.items[0].code, CONCLAVE_OK);
    cluster_deinit(&c);
}

/* While it waits, new reads are no reason to wait longer. */
Test(round, that_begins_while_one_is_late_asks_everybody)
{
    serving(3);
    cluster_read(&c, 1, 77);
    cluster_drop_all(&c);
    cluster_advance(&c, LATE_US);
    cluster_read(&c, 1, 78);
    cr_assert_eq(asked(3), 2);
    cluster_deinit(&c);
}

/* It may be the one that asks for the index, and would wait for that. */
Test(round, asks_who_does_not_know_of_a_commit_yet)
{
    uint64_t led = serving(3);
    cluster_propose(&c, 1, 1, 10);
    cluster_drop_all(&c);
    cluster_persist_all(&c, 1);
    cluster_receive(&c, append_accepted(2, 1, led, 3, 0));
    cluster_receive(&c, append_accepted(3, 1, led, 3, 0));
    cluster_drop_all(&c);
    cluster_read(&c, 1, 77);
    cr_assert_eq(asked(3), 2);
    cluster_read(&c, 1, 78);
    cr_assert_eq(asked(3), 1);
    cluster_deinit(&c);
}

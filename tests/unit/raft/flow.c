/* Bounds: what is uncommitted, what is being applied; proposals and their one outcome (Rule 44). */
#include "cluster.h"

#include <criterion/criterion.h>

static struct cluster c;

static struct test_node *node(void)
{
    return &c.nodes[1];
}

Test(flow, a_proposal_reaches_every_node_and_is_applied_once)
{
    cluster_setup(&c, 3, 3);
    cluster_elect(&c, 1);
    for (int i = 0; i < 20; i++)
        cluster_propose(&c, 1, 10, 5);
    cluster_run(&c, 3 * HEARTBEAT_US);
    for (raft_node_id id = 1; id <= 3; id++) {
        cr_assert_eq(c.nodes[id].applied_index, 202);
        cr_assert_eq(c.nodes[id].applied.entry_count, 202);
    }
    cr_assert_eq(node()->refused.count, 0);
    cluster_deinit(&c);
}

Test(flow, rule_44_a_follower_refuses_proposals_and_names_the_reason)
{
    cluster_setup(&c, 3, 1);
    cluster_propose(&c, 1, 2, 1);
    cr_assert_eq(node()->refused.count, 2);
    cr_assert_eq(node()->refused.items[1].code, CONCLAVE_NO_LEADER);
    cr_assert_eq(node()->refused.items[1].origin.client, 7);
    cluster_receive(&c, append_request(2, 1, 1, id_of(1, 1), 1, NULL, 0));
    cluster_propose(&c, 1, 1, 1);
    cr_assert_eq(node()->refused.items[2].code, CONCLAVE_NOT_LEADER);
    cr_assert_eq(raft_last(node()->raft).index, 1);
    cluster_deinit(&c);
}

Test(flow, proposals_over_the_bound_are_busy)
{
    cluster_init(&c, 3);
    node()->options.uncommitted_bytes_max = 100;
    cluster_start(&c, 1);
    uint64_t led = cluster_lead_alone(&c);
    cluster_propose(&c, 1, 1, 500); /* alone it goes, however large */
    cr_assert_eq(node()->refused.count, 0);
    cluster_propose(&c, 1, 3, 1);
    cr_assert_eq(node()->refused.count, 3);
    cr_assert_eq(node()->refused.items[0].code, CONCLAVE_BUSY);
    cluster_persist_all(&c, 1);
    cluster_receive(&c, append_accepted(2, 1, led, 3, 0));
    cluster_propose(&c, 1, 2, 50);
    cr_assert_eq(node()->refused.count, 3, "what was committed makes room");
    cluster_propose(&c, 1, 1, 1);
    cr_assert_eq(node()->refused.count, 4);
    cluster_deinit(&c);
}

Test(flow, what_is_uncommitted_is_counted_to_the_byte)
{
    cluster_init(&c, 3);
    node()->options.uncommitted_bytes_max = 100;
    cluster_start(&c, 1);
    uint64_t led = cluster_lead_alone(&c);
    cluster_propose(&c, 1, 1, 1);
    cluster_propose(&c, 1, 1, 100);
    cr_assert_eq(node()->refused.count, 1, "one byte is something");
    cluster_propose(&c, 1, 9, 11);
    cr_assert_eq(node()->refused.count, 1, "as much as there may be");
    cluster_propose(&c, 1, 1, 1);
    cr_assert_eq(node()->refused.count, 2);
    cluster_persist_all(&c, 1);
    cluster_receive(&c, append_accepted(2, 1, led, 3, 0));
    cluster_propose(&c, 1, 1, 1);
    cr_assert_eq(node()->refused.count, 2, "what was committed is given back, and no less");
    cluster_propose(&c, 1, 1, 1);
    cr_assert_eq(node()->refused.count, 3, "and no more");
    cluster_deinit(&c);
}

Test(flow, what_an_earlier_office_had_not_committed_takes_no_room_in_the_next)
{
    cluster_init(&c, 3);
    node()->options.uncommitted_bytes_max = 100;
    cluster_start(&c, 1);
    uint64_t led = cluster_lead_alone(&c);
    cluster_propose(&c, 1, 1, 100);
    cluster_persist_all(&c, 1);
    cluster_receive(&c, append_request(2, 1, led + 1, id_of(led, 3), 1, NULL, 0));
    cluster_persist_all(&c, 1);
    cluster_lead_alone(&c);
    cluster_propose(&c, 1, 1, 60);
    cluster_propose(&c, 1, 1, 40);
    cr_assert_eq(node()->refused.count, 0);
    cluster_propose(&c, 1, 1, 1);
    cr_assert_eq(node()->refused.count, 1);
    cluster_deinit(&c);
}

Test(flow, an_empty_batch_is_nothing)
{
    cluster_setup(&c, 1, 1);
    cluster_settle(&c);
    cluster_propose(&c, 1, 0, 0);
    cr_assert_eq(raft_last(node()->raft).index, 2);
    cr_assert_eq(node()->persist_count, 0);
    cluster_deinit(&c);
}

Test(flow, applying_is_bounded_in_bytes)
{
    cluster_init(&c, 1);
    node()->options.apply_bytes_max = 100;
    node()->hold_applied = true;
    cluster_start(&c, 1);
    cluster_settle(&c);
    struct raft_event applied = {.type = RAFT_EVENT_APPLIED, .applied = 2};
    cluster_step(&c, 1, &applied, 1);
    cluster_propose(&c, 1, 5, 40);
    cluster_settle(&c);
    cr_assert_eq(node()->applied_index, 4);
    cluster_timeout(&c, 1);
    cr_assert_eq(node()->applied_index, 4, "nothing more goes before what went was applied");
    applied.applied = 4;
    cluster_step(&c, 1, &applied, 1);
    cr_assert_eq(node()->applied_index, 6);
    applied.applied = 6;
    cluster_step(&c, 1, &applied, 1);
    cr_assert_eq(node()->applied_index, 7);
    cluster_deinit(&c);
}

Test(flow, one_entry_larger_than_the_bound_is_applied_alone)
{
    cluster_init(&c, 1);
    node()->options.apply_bytes_max = 100;
    node()->hold_applied = true;
    cluster_start(&c, 1);
    cluster_settle(&c);
    cluster_propose(&c, 1, 1, 400);
    cluster_settle(&c);
    cr_assert_eq(node()->applied_index, 2, "the no-op is still on its way");
    struct raft_event applied = {.type = RAFT_EVENT_APPLIED, .applied = 2};
    cluster_step(&c, 1, &applied, 1);
    cr_assert_eq(node()->applied_index, 3);
    cluster_deinit(&c);
}

Test(flow, events_of_one_step_are_one_persist)
{
    cluster_setup(&c, 1, 1);
    cluster_settle(&c);
    struct raft_event events[4];
    for (int i = 0; i < 4; i++) {
        events[i] = (struct raft_event){.type = RAFT_EVENT_PROPOSE};
        events[i].propose = command_batch(3, 1);
    }
    cluster_step(&c, 1, events, 4);
    cr_assert_eq(node()->persist_count, 1);
    cr_assert_eq(node()->persists[0].entries.entry_count, 12);
    cr_assert_not(node()->persists[0].hard_state_changed);
    cluster_deinit(&c);
}

Test(flow, a_proposal_survives_the_change_of_leader_and_is_answered_where_it_was_made)
{
    cluster_setup(&c, 3, 3);
    cluster_elect(&c, 1);
    cluster_settle(&c);
    cluster_propose(&c, 1, 1, 1);
    cluster_persist_all(&c, 1);
    for (raft_node_id id = 2; id <= 3; id++) {
        cluster_receive(&c, cluster_take(&c, id, RAFT_APPEND_REQUEST));
        cluster_persist_all(&c, id);
    }
    cluster_elect(&c, 2);
    cluster_run(&c, 3 * HEARTBEAT_US);
    cr_assert_eq(raft_role(node()->raft), RAFT_FOLLOWER);
    cr_assert_eq(node()->refused.count, 0);
    struct raft_runs_iter iter = {0};
    uint32_t mine = 0;
    for (const struct raft_entry *e; (e = raft_runs_next(&node()->applied, &iter));)
        mine += e->origin.client == 7;
    cr_assert_eq(mine, 1);
    cluster_deinit(&c);
}

/* What a node makes of what storage recovered. */
#include "cluster.h"

#include <criterion/criterion.h>

static struct cluster c;

#define TERMS(...) (const uint64_t[]){__VA_ARGS__}, sizeof((const uint64_t[]){__VA_ARGS__}) / 8

static void start(uint64_t term, const uint64_t *terms, size_t count)
{
    cluster_init(&c, 3);
    cluster_set_disk(&c, 1, (struct raft_hard_state){.term = term}, terms, count);
    cluster_start_node(&c, 1);
}

static void expect_corrupt(void)
{
    cr_assert_eq(c.nodes[1].code, CONCLAVE_CORRUPT);
    cr_assert_neq(c.nodes[1].error.message[0], 0, "with a sentence");
    cluster_deinit(&c);
}

Test(start, everything_recovered_is_durable)
{
    start(3, TERMS(2, 2, 3));
    struct raft *raft = c.nodes[1].raft;
    cr_assert_eq(c.nodes[1].code, CONCLAVE_OK);
    cr_assert_eq(raft_durable(raft).index, 4);
    cr_assert_eq(raft_last(raft).term, 3);
    cr_assert_eq(raft_hard_state(raft).term, 3);
    cr_assert_eq(raft_commit(raft), 1, "only the first configuration is committed by definition");
    cr_assert_eq(c.nodes[1].applied_index, 1);
    cr_assert_eq(c.nodes[1].persist_count, 0);
    cluster_deinit(&c);
}

Test(start, what_was_applied_is_committed_and_not_applied_again)
{
    cluster_init(&c, 3);
    cluster_set_disk(&c, 1, (struct raft_hard_state){.term = 3}, TERMS(2, 2, 3));
    c.nodes[1].applied_index = 3;
    cluster_start_node(&c, 1);
    cr_assert_eq(raft_commit(c.nodes[1].raft), 3);
    cr_assert_eq(raft_applied(c.nodes[1].raft), 3);
    cr_assert_eq(c.nodes[1].applied.entry_count, 0);
    cluster_receive(&c, append_request(2, 1, 3, id_of(3, 4), 4, NULL, 0));
    cr_assert_eq(raft_runs_first(&c.nodes[1].applied).index, 4);
    cluster_deinit(&c);
}

Test(start, an_empty_log_is_corrupt)
{
    cluster_init(&c, 1);
    cluster_start_node(&c, 1);
    expect_corrupt();
}

Test(start, a_log_that_does_not_begin_with_a_configuration_is_corrupt)
{
    cluster_init(&c, 1);
    cluster_set_disk(&c, 1, (struct raft_hard_state){.term = 1}, NULL, 0);
    c.nodes[1].disk_log.items[0].batch->entries[0].kind = RAFT_ENTRY_COMMAND;
    cluster_start_node(&c, 1);
    expect_corrupt();
}

Test(start, a_log_that_does_not_begin_at_1_is_corrupt)
{
    cluster_init(&c, 1);
    cluster_set_disk(&c, 1, (struct raft_hard_state){.term = 1}, NULL, 0);
    c.nodes[1].disk_log.items[0].batch->entries[0].id.index = 2;
    cluster_start_node(&c, 1);
    expect_corrupt();
}

Test(start, a_configuration_that_cannot_be_read_is_corrupt)
{
    cluster_init(&c, 1);
    cluster_set_disk(&c, 1, (struct raft_hard_state){.term = 1}, NULL, 0);
    c.nodes[1].disk_log.items[0].batch->entries[0].payload.bytes--;
    cluster_start_node(&c, 1);
    expect_corrupt();
}

Test(start, a_gap_is_corrupt)
{
    cluster_init(&c, 3);
    cluster_set_disk(&c, 1, (struct raft_hard_state){.term = 2}, NULL, 0);
    struct raft_batch *batch = command_batch(2, 0);
    batch->entries[0].id = id_of(2, 2);
    batch->entries[1].id = id_of(2, 4);
    raft_runs_append(&c.nodes[1].disk_log, batch, 0, 2);
    raft_batch_unref(batch);
    cluster_start_node(&c, 1);
    expect_corrupt();
}

Test(start, terms_that_fall_are_corrupt)
{
    start(3, TERMS(3, 2));
    expect_corrupt();
}

Test(start, a_term_below_the_last_entrys_is_corrupt)
{
    start(2, TERMS(3));
    expect_corrupt();
}

Test(start, a_state_machine_ahead_of_the_log_is_corrupt)
{
    cluster_init(&c, 3);
    cluster_set_disk(&c, 1, (struct raft_hard_state){.term = 2}, TERMS(2));
    c.nodes[1].applied_index = 3;
    cluster_start_node(&c, 1);
    expect_corrupt();
}

Test(start, a_failed_node_takes_what_it_is_given_and_does_nothing)
{
    cluster_init(&c, 1);
    struct raft_event events[3] = {
        {.type = RAFT_EVENT_START}, {.type = RAFT_EVENT_RECEIVE}, {.type = RAFT_EVENT_PROPOSE}};
    c.nodes[1].raft = raft_create(&c.nodes[1].options);
    events[1].receive = append_request(2, 1, 1, id_of(1, 1), 1, TERMS(1, 1));
    events[2].propose = command_batch(2, 10);
    cluster_step(&c, 1, events, 3); /* the sanitizers see what is not given back */
    expect_corrupt();
}

/* Node 1, from what is given. */
static void start_from(struct raft_start recovered)
{
    cluster_init(&c, 3);
    struct test_node *node = &c.nodes[1];
    node->raft = raft_create(&node->options);
    struct raft_event event = {.type = RAFT_EVENT_START, .start = recovered};
    cluster_step(&c, 1, &event, 1);
}

static struct raft_snapshot snapshot_of(raft_node_id members, struct raft_id last)
{
    struct raft_configuration one = {.member_count = 1};
    one.members[0] = (struct raft_member){
        .id = members, .flags = RAFT_MEMBER_VOTER, .name = "n1", .peer = "tcp://x:1"};
    return (struct raft_snapshot){
        .last = last, .configuration_index = 1, .configuration = raft_configuration_encode(&one)};
}

Test(start, a_snapshot_whose_members_cannot_be_read_is_corrupt)
{
    start_from((struct raft_start){.hard_state = {.term = 3},
                                   .snapshot = {.last = id_of(3, 9),
                                                .configuration_index = 1,
                                                .configuration = buf_copy("\xc0", 1)}});
    expect_corrupt();
}

Test(start, a_state_machine_that_lacks_what_the_log_has_let_go_of_is_corrupt)
{
    start_from((struct raft_start){.hard_state = {.term = 3},
                                   .base = id_of(3, 9),
                                   .applied_index = 5,
                                   .snapshot = snapshot_of(1, id_of(3, 9))});
    expect_corrupt();
}

Test(start, a_log_that_begins_behind_what_no_snapshot_holds_is_corrupt)
{
    start_from((struct raft_start){.hard_state = {.term = 3},
                                   .base = id_of(3, 9),
                                   .applied_index = 7,
                                   .snapshot = snapshot_of(1, id_of(3, 7))});
    expect_corrupt();
}

Test(start, a_first_entry_of_no_term_is_corrupt)
{
    struct raft_start recovered = {.hard_state = {.term = 3}};
    struct raft_batch *batch = raft_batch_create(1);
    raft_batch_add(batch, (struct raft_entry){.id = {.index = 1}, .kind = RAFT_ENTRY_CONFIG});
    raft_runs_append(&recovered.entries, batch, 0, 1);
    raft_batch_unref(batch);
    start_from(recovered);
    expect_corrupt();
}

/* The log begins with this node alone. */
Test(start, rule_42_who_may_vote_at_once_is_said_by_the_newest_members)
{
    static struct raft_configuration alone;
    cluster_init(&c, 3);
    alone = c.configuration;
    alone.member_count = 1;
    struct test_node *node = &c.nodes[1];
    cluster_disk_append(&node->disk_log, id_of(1, 1), RAFT_ENTRY_CONFIG,
                        raft_configuration_encode(&alone));
    cluster_disk_append(&node->disk_log, id_of(2, 2), RAFT_ENTRY_CONFIG,
                        raft_configuration_encode(&c.configuration));
    node->disk_hard = (struct raft_hard_state){.term = 2, .vote = 1};
    cluster_start_node(&c, 1);
    cr_assert_geq(node->deadline_us, c.now_us + T_US, "it does not campaign at once");
    cluster_receive(&c, vote_request(RAFT_PREVOTE_REQUEST, 2, 1, 3, id_of(2, 2)));
    struct raft_message *answer = cluster_take(&c, 2, RAFT_PREVOTE_RESPONSE);
    cr_assert_not(answer->vote_response.granted, "it may have promised a leader not to");
    raft_message_destroy(answer);
    cluster_deinit(&c);
}

/* The store lost its last writes, and the log agrees with the snapshot: nothing is restored. Rule
 * 24: the members in it are committed, though this node has yet to apply them. */
Test(start, what_a_snapshot_holds_is_committed_and_its_members_are_applied_before_a_campaign)
{
    cluster_init(&c, 3);
    struct test_node *node = &c.nodes[1];
    cluster_disk_append(&node->disk_log, id_of(1, 1), RAFT_ENTRY_CONFIG,
                        raft_configuration_encode(&c.configuration));
    cluster_disk_append(&node->disk_log, id_of(1, 2), RAFT_ENTRY_CONFIG,
                        raft_configuration_encode(&c.configuration));
    cluster_disk_append(&node->disk_log, id_of(1, 3), RAFT_ENTRY_NOOP, NULL);
    node->disk_hard = (struct raft_hard_state){.term = 1};
    node->disk_snapshot = (struct raft_snapshot){
        .last = id_of(1, 3),
        .configuration_index = 2,
        .configuration = raft_configuration_encode(&c.configuration),
    };
    node->applied_index = 1;
    node->hold_applied = true;
    cluster_start_node(&c, 1);
    cr_assert_eq(raft_commit(node->raft), 3);
    cr_assert_eq(node->applied.entry_count, 2, "it is given to the state machine again");
    cluster_advance(&c, 4 * T_US);
    cluster_timeout(&c, 1);
    cr_assert_eq(cluster_count(&c, 2, RAFT_PREVOTE_REQUEST), 0);
    struct raft_event applied = {.type = RAFT_EVENT_APPLIED, .applied = 3};
    cluster_step(&c, 1, &applied, 1);
    cluster_advance(&c, 2 * T_US);
    cluster_timeout(&c, 1);
    cr_assert_eq(cluster_count(&c, 2, RAFT_PREVOTE_REQUEST), 1);
    cluster_deinit(&c);
}

/* Rules 12-18 and 44: what a leader does. */
#include "cluster.h"

#include <criterion/criterion.h>

static struct cluster c;

#define TERMS(...) (const uint64_t[]){__VA_ARGS__}, sizeof((const uint64_t[]){__VA_ARGS__}) / 8

static struct raft *raft(void)
{
    return c.nodes[1].raft;
}

static struct raft_peer_view view(raft_node_id peer)
{
    struct raft_peer_view view = {0};
    cr_assert(raft_peer_view(raft(), peer, &view));
    return view;
}

/* Node 1 leads; node 2 is being replicated to, node 3 is silent. */
static uint64_t leader(void)
{
    uint64_t led = cluster_lead_alone(&c);
    cluster_receive(&c, append_accepted(2, 1, led, raft_last(raft()).index, 0));
    cr_assert(view(2).replicating);
    cluster_drop_all(&c);
    return led;
}

/* Takes the next append to node 2. The caller destroys it. */
static struct raft_message *next_append(void)
{
    struct raft_message *message = cluster_take(&c, 2, RAFT_APPEND_REQUEST);
    cr_assert_not_null(message, "no append");
    return message;
}

static void expect_append(uint64_t prev, uint64_t count)
{
    struct raft_message *message = next_append();
    cr_assert_eq(message->append_request.prev.index, prev);
    cr_assert_eq(message->append_request.entries.entry_count, count);
    raft_message_destroy(message);
}

Test(replication, entries_leave_in_the_step_in_which_they_go_to_the_disk)
{
    cluster_setup(&c, 3, 1);
    leader();
    cluster_propose(&c, 1, 3, 1);
    cr_assert_eq(c.nodes[1].persist_count, 1);
    expect_append(2, 3);
    cluster_deinit(&c);
}

Test(replication, a_new_leader_starts_its_term_with_a_no_op)
{
    cluster_setup(&c, 3, 1);
    cluster_lead_alone(&c);
    cr_assert_eq(raft_last(raft()).index, 2);
    cr_assert_eq(raft_term_at(raft(), 2), 2);
    cr_assert_not(raft_is_serving(raft()));
    cluster_receive(&c, append_accepted(2, 1, 2, 2, 0));
    cr_assert(raft_is_serving(raft()));
    cluster_deinit(&c);
}

Test(replication, appends_are_pipelined_without_waiting)
{
    cluster_setup(&c, 3, 1);
    leader();
    cluster_propose(&c, 1, 1, 1);
    cluster_propose(&c, 1, 1, 1);
    cluster_propose(&c, 1, 1, 1);
    expect_append(2, 1);
    expect_append(3, 1);
    expect_append(4, 1);
    cluster_deinit(&c);
}

Test(replication, one_append_is_bounded_in_entries_and_bytes)
{
    cluster_init(&c, 3);
    c.nodes[1].options.append_entries_max = 4;
    c.nodes[1].options.append_bytes_max = 25;
    cluster_start(&c, 1);
    leader();
    cluster_propose(&c, 1, 6, 1);
    expect_append(2, 4);
    expect_append(6, 2);
    cluster_propose(&c, 1, 3, 10);
    expect_append(8, 2);
    expect_append(10, 1);
    cluster_propose(&c, 1, 2, 100);
    expect_append(11, 1);
    expect_append(12, 1);
    cluster_deinit(&c);
}

Test(replication, the_window_is_bounded_in_messages)
{
    cluster_init(&c, 3);
    c.nodes[1].options.inflight_messages_max = 2;
    cluster_start(&c, 1);
    uint64_t led = leader();
    for (int i = 0; i < 5; i++)
        cluster_propose(&c, 1, 1, 1);
    cr_assert_eq(cluster_count(&c, 2, RAFT_APPEND_REQUEST), 2);
    cluster_drop_all(&c);
    cluster_receive(&c, append_accepted(2, 1, led, 3, 0));
    expect_append(4, 3); /* an answer opens it, and what waited goes together */
    cluster_deinit(&c);
}

Test(replication, the_window_is_bounded_in_bytes)
{
    cluster_init(&c, 3);
    c.nodes[1].options.inflight_bytes_max = 100;
    cluster_start(&c, 1);
    uint64_t led = leader();
    for (int i = 0; i < 5; i++)
        cluster_propose(&c, 1, 1, 60);
    cr_assert_eq(cluster_count(&c, 2, RAFT_APPEND_REQUEST), 2);
    cluster_receive(&c, append_accepted(2, 1, led, 4, 0));
    cr_assert_eq(cluster_count(&c, 2, RAFT_APPEND_REQUEST), 3);
    cluster_deinit(&c);
}

Test(replication, rule_12_a_heartbeat_commits_no_more_than_the_follower_matches)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = leader();
    cluster_propose(&c, 1, 2, 1);
    cluster_persist_all(&c, 1);
    cluster_drop_all(&c);
    cluster_receive(&c, append_accepted(3, 1, led, 4, 0));
    cr_assert_eq(raft_commit(raft()), 4);
    cluster_advance(&c, HEARTBEAT_US);
    cluster_timeout(&c, 1);
    struct raft_message *message = next_append();
    cr_assert_eq(message->append_request.entries.entry_count, 0);
    cr_assert_eq(message->append_request.commit, 2, "node 2 is known to hold only entry 2");
    raft_message_destroy(message);
    cluster_deinit(&c);
}

Test(replication, rule_13_an_entry_of_an_earlier_term_is_not_committed_by_counting)
{
    /* The paper's figure 8: entry 2 of term 2 reaches a majority only in term 3 or later. */
    cluster_init(&c, 3);
    cluster_set_disk(&c, 1, (struct raft_hard_state){.term = 3}, TERMS(2));
    cluster_start(&c, 1);
    uint64_t led = cluster_lead_alone(&c);
    cluster_receive(&c, append_accepted(2, 1, led, 2, 0));
    cluster_receive(&c, append_accepted(3, 1, led, 2, 0));
    cr_assert_eq(raft_commit(raft()), 1);
    cluster_receive(&c, append_accepted(2, 1, led, 3, 0));
    cr_assert_eq(raft_commit(raft()), 3, "the no-op commits it with itself");
    cluster_deinit(&c);
}

Test(replication, rule_14_match_never_goes_back)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = leader();
    cluster_propose(&c, 1, 4, 1);
    cluster_receive(&c, append_accepted(2, 1, led, 5, 0));
    cluster_receive(&c, append_accepted(2, 1, led, 3, 0));
    cr_assert_eq(view(2).match, 5);
    cr_assert_eq(view(2).next, 7);
    cluster_deinit(&c);
}

Test(replication, rule_14_when_pipelining_a_rejection_at_or_below_match_is_old)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = leader();
    cluster_propose(&c, 1, 4, 1);
    cluster_receive(&c, append_accepted(2, 1, led, 4, 0));
    cluster_receive(&c, append_rejected(2, 1, led, 4, id_of(1, 1)));
    cr_assert(view(2).replicating);
    cr_assert_eq(view(2).next, 7);
    cluster_receive(&c, append_rejected(2, 1, led, 9, id_of(1, 1)));
    cr_assert(view(2).replicating, "nor can it be about what was never sent");
    cluster_deinit(&c);
}

Test(replication, rule_14_when_probing_only_the_answer_to_the_probe_counts)
{
    cluster_init(&c, 3);
    cluster_set_disk(&c, 1, (struct raft_hard_state){.term = 1}, TERMS(1, 1, 1, 1, 1));
    cluster_start(&c, 1);
    uint64_t led = cluster_lead_alone(&c);
    cr_assert_eq(view(2).next, 7);
    cluster_receive(&c, append_rejected(2, 1, led, 4, id_of(1, 2)));
    cr_assert_eq(view(2).next, 7);
    cluster_receive(&c, append_rejected(2, 1, led, 6, id_of(1, 3)));
    cr_assert_eq(view(2).next, 4);
    cluster_receive(&c, append_rejected(2, 1, led, 6, id_of(1, 1)));
    cr_assert_eq(view(2).next, 4, "the same rejection again");
    cluster_deinit(&c);
}

Test(replication, rule_15_answers_of_another_term_do_not_count)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = cluster_lead_alone(&c);
    cluster_receive(&c, append_accepted(2, 1, led - 1, 2, 0));
    cr_assert_eq(view(2).match, 0);
    cr_assert_eq(raft_commit(raft()), 1);
    cluster_deinit(&c);
}

Test(replication, rule_15_a_new_term_forgets_what_peers_had)
{
    cluster_setup(&c, 3, 1);
    leader();
    cluster_lead_alone(&c); /* again: after silence it lost its quorum */
    cr_assert_eq(view(2).match, 0);
    cr_assert_not(view(2).replicating);
    cluster_deinit(&c);
}

/* Its first append to each has the no-op, though they never answered those of its last office. */
Test(replication, a_new_term_begins_with_entries_to_those_who_never_answered)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = cluster_lead_alone(&c);
    cluster_receive(&c, append_request(2, 1, led + 1, id_of(led, 2), 1, NULL, 0));
    cluster_persist_all(&c, 1);
    cluster_receive(&c, raft_message_create(RAFT_TIMEOUT_NOW, 2, 1, led + 1));
    cluster_persist_all(&c, 1);
    cluster_receive(&c, vote_response(RAFT_VOTE_RESPONSE, 2, 1, led + 2, led + 2, true));
    struct raft_message *append = cluster_take(&c, 3, RAFT_APPEND_REQUEST);
    cr_assert(append);
    cr_assert_eq(append->append_request.entries.entry_count, 1);
    raft_message_destroy(append);
    cluster_deinit(&c);
}

/* An answer of a peer's life. */
static struct raft_message *of_life(uint64_t life, struct raft_message *answer)
{
    answer->append_response.life = life;
    return answer;
}

Test(replication, rule_15_a_follower_that_lost_what_it_acknowledged_is_probed_anew)
{
    /* Its last batch rotted before it was attested and was cut when it started: it rejects what
     * comes after it, for ever, unless the leader forgets the acknowledgement. */
    cluster_setup(&c, 3, 1);
    uint64_t led = cluster_lead_alone(&c);
    cluster_propose(&c, 1, 1, 1);
    cluster_persist_all(&c, 1);
    cluster_receive(&c, of_life(1, append_accepted(2, 1, led, 3, 0)));
    cr_assert_eq(raft_commit(raft()), 3);
    cluster_drop_all(&c);
    struct raft_message *rejected = append_rejected(2, 1, led, 3, id_of(led, 2));
    cluster_receive(&c, of_life(2, rejected));
    cr_assert_eq(view(2).match, 0);
    cr_assert_eq(raft_commit(raft()), 3, "what is committed stays");
    expect_append(2, 1);
    cluster_receive(&c, of_life(2, append_accepted(2, 1, led, 3, 0)));
    cr_assert_eq(view(2).match, 3);
    cluster_deinit(&c);
}

Test(replication, rule_15_what_a_peer_acknowledged_in_an_earlier_life_is_counted_again)
{
    cluster_setup(&c, 5, 1);
    uint64_t led = cluster_lead_alone(&c);
    cluster_receive(&c, of_life(1, append_accepted(2, 1, led, 2, 0)));
    cluster_receive(&c, of_life(2, append_accepted(2, 1, led, 1, 0)));
    cluster_receive(&c, of_life(1, append_accepted(3, 1, led, 2, 0)));
    cr_assert_eq(raft_commit(raft()), 1, "two of five hold it for sure");
    cluster_receive(&c, of_life(2, append_accepted(2, 1, led, 2, 0)));
    cr_assert_eq(raft_commit(raft()), 2);
    cluster_deinit(&c);
}

Test(replication, rule_40_a_peer_that_was_restarted_has_answered_no_round_to_come)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = cluster_lead_alone(&c);
    cluster_receive(&c, of_life(1, append_accepted(2, 1, led, 2, 0)));
    cluster_receive(&c, of_life(2, append_accepted(2, 1, led, 2, 0)));
    cluster_read(&c, 1, 1);
    cr_assert_eq(c.nodes[1].reads.count, 0);
    cluster_receive(&c, of_life(2, append_accepted(2, 1, led, 2, 1)));
    cr_assert_eq(c.nodes[1].reads.count, 1);
    cluster_deinit(&c);
}

Test(replication, rule_18_a_hint_that_does_not_go_back_is_none)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = cluster_lead_alone(&c);
    cluster_propose(&c, 1, 3, 1);
    cluster_receive(&c, append_rejected(2, 1, led, 1, id_of(led, 5)));
    cr_assert_eq(view(2).next, 1, "what was rejected is what is sent next");
    cluster_deinit(&c);
}

Test(replication, rule_15_a_late_answer_of_an_earlier_life_does_not_count)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = cluster_lead_alone(&c);
    cluster_receive(&c, of_life(7, append_accepted(2, 1, led, 1, 0)));
    cluster_receive(&c, of_life(6, append_accepted(2, 1, led, 2, 0)));
    cr_assert_eq(view(2).match, 1);
    cr_assert_eq(raft_commit(raft()), 1);
    cluster_deinit(&c);
}

Test(replication, rule_15_a_late_answer_of_an_earlier_life_is_no_sign_of_life)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = cluster_lead_alone(&c);
    cluster_receive(&c, of_life(7, append_accepted(2, 1, led, 1, 0)));
    cluster_advance(&c, T_US - 1);
    cluster_receive(&c, of_life(6, append_accepted(2, 1, led, 1, 0)));
    cr_assert_eq(raft_role(raft()), RAFT_LEADER);
    cluster_advance(&c, 1);
    cluster_timeout(&c, 1);
    cr_assert_eq(raft_role(raft()), RAFT_FOLLOWER);
    cluster_deinit(&c);
}

Test(replication, rule_15_a_removed_peer_is_not_counted_and_does_not_come_back)
{
    cluster_setup(&c, 3, 3);
    cluster_elect(&c, 1);
    cluster_settle(&c);
    struct raft_message *late =
        of_life(1, append_accepted(3, 1, raft_hard_state(raft()).term, 2, 0));
    cluster_change(&c, 1, RAFT_CHANGE_REMOVE, "n3", "");
    cluster_run(&c, 4 * T_US);
    struct raft_peer_view ignored;
    cr_assert_not(raft_peer_view(raft(), 3, &ignored), "it has had time to hear of it");
    cluster_receive(&c, late);
    cr_assert_not(raft_peer_view(raft(), 3, &ignored));
    c.nodes[1].refused.count = 0;
    cluster_change(&c, 1, RAFT_CHANGE_ADD, "n3", "");
    cr_assert_eq(c.nodes[1].refused.count, 1);
    cr_assert_eq(c.nodes[1].refused.items[0].code, CONCLAVE_EXISTS, "Rule 32");
    cluster_deinit(&c);
}

Test(replication, rule_17_a_full_window_lets_an_empty_append_through)
{
    cluster_init(&c, 3);
    c.nodes[1].options.inflight_messages_max = 1;
    cluster_start(&c, 1);
    leader();
    cluster_propose(&c, 1, 1, 1);
    cluster_propose(&c, 1, 1, 1);
    cluster_drop_all(&c); /* the one append of the window is lost */
    cluster_advance(&c, HEARTBEAT_US);
    cluster_timeout(&c, 1);
    expect_append(3, 0);
    cluster_deinit(&c);
}

Test(replication, rule_17_a_lost_append_is_found_and_sent_again)
{
    cluster_init(&c, 3);
    for (raft_node_id id = 1; id <= 3; id++)
        c.nodes[id].options.inflight_messages_max = 1;
    cluster_start(&c, 3);
    cluster_elect(&c, 1);
    cluster_propose(&c, 1, 1, 1);
    cluster_propose(&c, 1, 1, 1);
    cluster_drop_all(&c);
    cluster_run(&c, 3 * HEARTBEAT_US);
    cr_assert_eq(raft_role(raft()), RAFT_LEADER);
    cr_assert_eq(raft_commit(raft()), 4);
    cr_assert_eq(raft_last(c.nodes[2].raft).index, 4);
    cr_assert_eq(raft_last(c.nodes[3].raft).index, 4);
    cluster_deinit(&c);
}

Test(replication, a_lost_append_is_found_even_where_an_old_tail_hides_it)
{
    cluster_init(&c, 3);
    cluster_set_disk(&c, 2, (struct raft_hard_state){.term = 2}, TERMS(2, 2, 2, 2));
    cluster_set_disk(&c, 1, (struct raft_hard_state){.term = 3}, TERMS(3));
    cluster_set_disk(&c, 3, (struct raft_hard_state){.term = 3}, TERMS(3));
    cluster_start(&c, 3);
    cluster_elect(&c, 1);
    cluster_run(&c, 5 * HEARTBEAT_US);
    cr_assert(raft_id_equal(raft_last(c.nodes[2].raft), raft_last(raft())));
    cluster_deinit(&c);
}

Test(replication, a_lost_acknowledgement_is_made_up_by_the_next_heartbeat)
{
    cluster_setup(&c, 3, 3);
    cluster_elect(&c, 1);
    cluster_propose(&c, 1, 1, 1);
    cluster_receive(&c, next_append());
    cluster_persist_all(&c, 2);
    cluster_persist_all(&c, 1);
    cluster_drop_all(&c);
    cr_assert_eq(raft_commit(raft()), 2);
    cluster_run(&c, 2 * HEARTBEAT_US);
    cr_assert_eq(raft_commit(raft()), 3);
    cluster_deinit(&c);
}

Test(replication, probing_sends_one_append_a_heartbeat_or_answer)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = cluster_lead_alone(&c);
    for (int i = 0; i < 4; i++)
        cluster_propose(&c, 1, 1, 1);
    cluster_timeout(&c, 1);
    cr_assert_eq(cluster_count(&c, 2, RAFT_APPEND_REQUEST), 0);
    cluster_advance(&c, HEARTBEAT_US);
    cluster_timeout(&c, 1);
    cluster_timeout(&c, 1);
    cr_assert_eq(cluster_count(&c, 2, RAFT_APPEND_REQUEST), 1);
    cluster_drop_all(&c);
    cluster_receive(&c, append_rejected(2, 1, led, 1, id_of(0, 0)));
    cr_assert_eq(cluster_count(&c, 2, RAFT_APPEND_REQUEST), 1);
    cluster_deinit(&c);
}

Test(replication, a_peer_that_is_down_is_probed_without_entries)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = leader();
    for (int i = 0; i < 4; i++) {
        cluster_advance(&c, HEARTBEAT_US);
        cluster_receive(&c, append_accepted(2, 1, led, 2, 0));
    }
    cluster_propose(&c, 1, 100, 1000);
    while (cluster_count(&c, 3, RAFT_APPEND_REQUEST) > 0) {
        struct raft_message *message = cluster_take(&c, 3, RAFT_APPEND_REQUEST);
        cr_assert_eq(message->append_request.entries.entry_count, 0);
        raft_message_destroy(message);
    }
    cluster_deinit(&c);
}

Test(replication, rule_18_backtracking_skips_whole_terms)
{
    cluster_init(&c, 3);
    uint64_t mine[60], theirs[60];
    for (int i = 0; i < 60; i++) {
        mine[i] = i < 10 ? 1 : 5;
        theirs[i] = i < 10 ? 1 : 4;
    }
    cluster_set_disk(&c, 1, (struct raft_hard_state){.term = 5}, mine, 60);
    cluster_set_disk(&c, 2, (struct raft_hard_state){.term = 5}, theirs, 60);
    cluster_start(&c, 1);
    cluster_start_node(&c, 2);
    uint64_t led = cluster_lead_alone(&c);
    uint32_t exchanges = 0;
    cluster_advance(&c, HEARTBEAT_US);
    cluster_timeout(&c, 1);
    while (!view(2).replicating && exchanges < 100) {
        cluster_receive(&c, next_append());
        cluster_persist_all(&c, 2);
        struct raft_message *answer = cluster_take(&c, 1, RAFT_APPEND_RESPONSE);
        cr_assert_not_null(answer);
        cluster_receive(&c, answer);
        exchanges++;
    }
    cr_assert_leq(exchanges, 2, "50 entries of one wrong term cost one rejection");
    cr_assert_geq(view(2).match, 11);
    cr_assert_eq(led, 6);
    cluster_deinit(&c);
}

Test(replication, rule_18_the_leader_skips_its_own_later_terms)
{
    cluster_init(&c, 3);
    uint64_t mine[60];
    for (int i = 0; i < 60; i++)
        mine[i] = i < 10 ? 1 : 5;
    cluster_set_disk(&c, 1, (struct raft_hard_state){.term = 5}, mine, 60);
    cluster_start(&c, 1);
    uint64_t led = cluster_lead_alone(&c);
    cluster_receive(&c, append_rejected(2, 1, led, 61, id_of(3, 40)));
    cr_assert_eq(view(2).next, 12, "entries of term 5 cannot equal any of term 3 or less");
    cluster_deinit(&c);
}

Test(replication, heartbeats_go_only_to_idle_peers)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = leader();
    cluster_receive(&c, append_accepted(3, 1, led, 2, 0));
    cluster_advance(&c, HEARTBEAT_US / 2);
    cluster_propose(&c, 1, 1, 1);
    cluster_drop_all(&c);
    cluster_advance(&c, HEARTBEAT_US / 2);
    cluster_timeout(&c, 1);
    cr_assert_eq(c.wire.count, 0);
    cr_assert_eq(c.nodes[1].deadline_us, c.now_us + HEARTBEAT_US / 2);
    cluster_advance(&c, HEARTBEAT_US / 2);
    cluster_timeout(&c, 1);
    cr_assert_eq(cluster_count(&c, 2, RAFT_APPEND_REQUEST), 1);
    cr_assert_eq(cluster_count(&c, 3, RAFT_APPEND_REQUEST), 1);
    cluster_deinit(&c);
}

Test(replication, commit_reaches_followers_with_the_next_heartbeat)
{
    cluster_setup(&c, 3, 3);
    cluster_elect(&c, 1);
    cluster_propose(&c, 1, 1, 1);
    cluster_settle(&c);
    cr_assert_eq(raft_commit(raft()), 3);
    cluster_run(&c, 2 * HEARTBEAT_US);
    for (raft_node_id id = 1; id <= 3; id++) {
        cr_assert_eq(raft_commit(c.nodes[id].raft), 3);
        cr_assert_eq(c.nodes[id].applied_index, 3);
    }
    cluster_deinit(&c);
}

Test(replication, a_lone_commit_is_told_long_before_the_heartbeat)
{
    cluster_setup(&c, 3, 3);
    cluster_elect(&c, 1);
    cluster_propose(&c, 1, 1, 1);
    cluster_settle(&c);
    cr_assert_eq(raft_commit(raft()), 3);
    cr_assert_eq(raft_commit(c.nodes[2].raft), 2, "nothing has taken it there yet");
    cluster_run(&c, HEARTBEAT_US / 20);
    for (raft_node_id id = 2; id <= 3; id++)
        cr_assert_eq(raft_commit(c.nodes[id].raft), 3);
    cluster_deinit(&c);
}

Test(replication, a_commit_is_told_once_and_to_those_who_can_use_it)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = leader();
    cluster_propose(&c, 1, 1, 1);
    cluster_drop_all(&c);
    cluster_persist_all(&c, 1);
    cluster_receive(&c, append_accepted(2, 1, led, 3, 0));
    cr_assert_eq(raft_commit(raft()), 3);
    cluster_advance(&c, HEARTBEAT_US / 10);
    cluster_timeout(&c, 1);
    cr_assert_eq(cluster_count(&c, 2, RAFT_APPEND_REQUEST), 1);
    cr_assert_eq(cluster_count(&c, 3, RAFT_APPEND_REQUEST), 0, "it is not known to hold it");
    struct raft_message *message = next_append();
    cr_assert_eq(message->append_request.commit, 3);
    cr_assert_eq(message->append_request.entries.entry_count, 0);
    raft_message_destroy(message);
    cluster_advance(&c, HEARTBEAT_US / 10);
    cluster_timeout(&c, 1);
    cr_assert_eq(c.wire.count, 0);
    cluster_deinit(&c);
}

Test(replication, entries_take_a_commit_along_and_nothing_else_does)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = leader();
    cluster_propose(&c, 1, 1, 1);
    cluster_persist_all(&c, 1);
    cluster_receive(&c, append_accepted(2, 1, led, 3, 0));
    cluster_drop_all(&c);
    cluster_propose(&c, 1, 1, 1);
    struct raft_message *message = next_append();
    cr_assert_eq(message->append_request.commit, 3);
    raft_message_destroy(message);
    cluster_drop_all(&c);
    cluster_advance(&c, HEARTBEAT_US / 10);
    cluster_timeout(&c, 1);
    cr_assert_eq(cluster_count(&c, 2, RAFT_APPEND_REQUEST), 0);
    cluster_deinit(&c);
}

Test(replication, a_learner_gets_everything_and_counts_nowhere)
{
    cluster_init(&c, 3);
    c.configuration.members[2].flags = RAFT_MEMBER_LEARNER;
    cluster_start(&c, 1);
    uint64_t led = cluster_lead_alone(&c);
    cluster_receive(&c, append_accepted(3, 1, led, 2, 0));
    cr_assert_eq(raft_commit(raft()), 1);
    cr_assert(view(3).replicating);
    cluster_receive(&c, append_accepted(2, 1, led, 2, 0));
    cr_assert_eq(raft_commit(raft()), 2);
    cluster_deinit(&c);
}

Test(replication, rule_15_answers_of_another_term_are_no_contact)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = leader();
    cluster_advance(&c, T_US - 1);
    cluster_receive(&c, append_accepted(2, 1, led - 1, 2, 0));
    cluster_receive(&c, append_accepted(3, 1, led - 1, 2, 0));
    cr_assert_eq(raft_role(raft()), RAFT_LEADER);
    cluster_advance(&c, 2);
    cluster_timeout(&c, 1);
    cr_assert_eq(raft_role(raft()), RAFT_FOLLOWER);
    cluster_deinit(&c);
}

Test(replication, a_probe_without_entries_is_sent_once_a_heartbeat)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = leader();
    for (uint64_t life = 1; life <= 2; life++) {
        struct raft_message *answer = append_accepted(2, 1, led, 2, 0);
        answer->append_response.life = life;
        if (life == 2) /* it started again, and says nothing of its log */
            answer->append_response.result = RAFT_APPEND_STALE;
        cluster_receive(&c, answer);
    }
    cluster_drop_all(&c);
    for (int i = 0; i < 3; i++)
        cluster_timeout(&c, 1);
    cr_assert_eq(cluster_count(&c, 2, RAFT_APPEND_REQUEST), 0);
    cluster_deinit(&c);
}

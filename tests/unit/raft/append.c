/* Rules 8-11, 16, 18, 26, 29, 44: what a follower does with appends. */
#include "cluster.h"

#include <criterion/criterion.h>

static struct cluster c;

#define TERMS(...) (const uint64_t[]){__VA_ARGS__}, sizeof((const uint64_t[]){__VA_ARGS__}) / 8

static struct raft *raft(void)
{
    return c.nodes[1].raft;
}

/* Node 1 of three with a log of these terms after the configuration, following nobody yet. */
static void follower(uint64_t term, const uint64_t *terms, size_t count)
{
    cluster_init(&c, 3);
    cluster_set_disk(&c, 1, (struct raft_hard_state){.term = term}, terms, count);
    cluster_start(&c, 1);
}

static void expect_log(const uint64_t *terms, size_t count)
{
    cr_assert_eq(raft_last(raft()).index, count + 1);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(raft_term_at(raft(), i + 2), terms[i], "entry %zu", i + 2);
}

static struct raft_append_response answer(raft_node_id to)
{
    cluster_persist_all(&c, 1);
    struct raft_message *message = cluster_take(&c, to, RAFT_APPEND_RESPONSE);
    cr_assert_not_null(message, "no answer");
    struct raft_append_response response = message->append_response;
    raft_message_destroy(message);
    return response;
}

Test(append, entries_that_follow_are_taken)
{
    follower(1, TERMS(1, 1));
    cluster_receive(&c, append_request(2, 1, 2, id_of(1, 3), 0, TERMS(2, 2)));
    expect_log(TERMS(1, 1, 2, 2));
    struct raft_append_response response = answer(2);
    cr_assert_eq(response.result, RAFT_APPEND_ACCEPTED);
    cr_assert_eq(response.match, 5);
    cr_assert_eq(raft_leader(raft()), 2);
    cluster_deinit(&c);
}

Test(append, entries_after_a_gap_are_rejected)
{
    follower(1, TERMS(1, 1));
    cluster_receive(&c, append_request(2, 1, 1, id_of(1, 6), 0, TERMS(1)));
    struct raft_append_response response = answer(2);
    cr_assert_eq(response.result, RAFT_APPEND_REJECTED);
    cr_assert_eq(response.rejected, 6);
    cr_assert_eq(response.conflict.index, 3);
    cr_assert_eq(response.conflict.term, 1);
    expect_log(TERMS(1, 1));
    cluster_deinit(&c);
}

Test(append, rule_8_a_repeated_append_shortens_nothing)
{
    follower(2, TERMS(2, 2, 2, 2));
    cluster_receive(&c, append_request(2, 1, 2, id_of(2, 2), 0, TERMS(2, 2)));
    expect_log(TERMS(2, 2, 2, 2));
    cr_assert_eq(c.nodes[1].persist_count, 0, "nothing new for the disk");
    cr_assert_eq(answer(2).match, 4, "vouches for what the message covers, not for its tail");
    cluster_deinit(&c);
}

Test(append, rule_8_an_empty_append_shortens_nothing)
{
    follower(2, TERMS(2, 2, 2, 2));
    cluster_receive(&c, append_request(2, 1, 3, id_of(2, 3), 0, NULL, 0));
    expect_log(TERMS(2, 2, 2, 2));
    cr_assert_eq(answer(2).match, 3);
    cluster_deinit(&c);
}

Test(append, rule_8_a_short_append_that_agrees_keeps_the_tail)
{
    follower(2, TERMS(2, 2, 2));
    cluster_receive(&c, append_request(2, 1, 2, id_of(2, 2), 0, TERMS(2, 2, 2)));
    cr_assert_eq(answer(2).match, 5);
    cluster_receive(&c, append_request(2, 1, 2, id_of(2, 2), 0, TERMS(2)));
    expect_log(TERMS(2, 2, 2, 2));
    cr_assert_eq(answer(2).match, 5, "what was verified in this term stays verified");
    cluster_deinit(&c);
}

Test(append, a_conflict_of_terms_replaces_the_tail)
{
    follower(2, TERMS(1, 2, 2, 2));
    cluster_receive(&c, append_request(2, 1, 3, id_of(1, 2), 0, TERMS(3)));
    expect_log(TERMS(1, 3));
    struct raft_persist *persist = &c.nodes[1].persists[0];
    cr_assert_eq(raft_runs_first(&persist->entries).index, 3);
    cr_assert_eq(persist->last.index, 3);
    cr_assert_eq(answer(2).match, 3);
    cr_assert_eq(raft_runs_last(&c.nodes[1].disk_log).index, 3);
    cluster_deinit(&c);
}

Test(append, a_conflict_in_the_middle_keeps_what_agrees)
{
    follower(2, TERMS(1, 1, 2, 2));
    cluster_receive(&c, append_request(2, 1, 3, id_of(1, 1), 0, TERMS(1, 1, 3, 3, 3)));
    expect_log(TERMS(1, 1, 3, 3, 3));
    cr_assert_eq(raft_runs_first(&c.nodes[1].persists[0].entries).index, 4);
    cluster_deinit(&c);
}

Test(append, rule_9_a_committed_entry_is_never_replaced)
{
    for (uint64_t prev = 1; prev <= 2; prev++) { /* the last committed one too */
        follower(1, TERMS(1, 1));
        cluster_receive(&c, append_request(2, 1, 1, id_of(1, 3), 3, NULL, 0));
        cr_assert_eq(raft_commit(raft()), 3);
        cluster_receive(&c, append_request(3, 1, 2, id_of(1, prev), 0, TERMS(2)));
        cr_assert_eq(c.nodes[1].code, CONCLAVE_INTERNAL);
        cr_assert_neq(c.nodes[1].error.message[0], 0);
        cluster_timeout(&c, 1);
        cr_assert_eq(c.nodes[1].code, CONCLAVE_INTERNAL, "and the node does nothing more");
        cluster_deinit(&c);
    }
}

Test(append, rule_9_a_leader_that_lacks_the_last_committed_entry_is_fatal)
{
    follower(1, TERMS(1, 1));
    cluster_receive(&c, append_request(2, 1, 1, id_of(1, 3), 3, NULL, 0));
    cluster_receive(&c, append_request(3, 1, 5, id_of(4, 3), 0, NULL, 0));
    cr_assert_eq(c.nodes[1].code, CONCLAVE_INTERNAL);
    cluster_deinit(&c);
}

Test(append, rule_10_below_commit_the_answer_is_commit_without_comparing)
{
    follower(1, TERMS(1, 1, 1));
    cluster_receive(&c, append_request(2, 1, 1, id_of(1, 4), 4, NULL, 0));
    cr_assert_eq(answer(2).match, 4);
    cluster_receive(&c, append_request(2, 1, 1, (struct raft_id){0}, 4, NULL, 0));
    struct raft_append_response response = answer(2);
    cr_assert_eq(response.result, RAFT_APPEND_ACCEPTED);
    cr_assert_eq(response.match, 4);
    /* An old prev whose term could no longer be looked up in a compacted log. */
    cluster_receive(&c, append_request(2, 1, 9, id_of(8, 2), 4, NULL, 0));
    response = answer(2);
    cr_assert_eq(response.result, RAFT_APPEND_ACCEPTED);
    cr_assert_eq(response.match, 4);
    cluster_deinit(&c);
}

Test(append, rule_10_an_old_append_that_reaches_beyond_commit_still_brings_its_entries)
{
    follower(1, TERMS(1, 1));
    cluster_receive(&c, append_request(2, 1, 1, id_of(1, 3), 3, NULL, 0));
    cr_assert_eq(answer(2).match, 3);
    cluster_receive(&c, append_request(2, 1, 1, id_of(1, 1), 3, TERMS(1, 1, 1, 1)));
    expect_log(TERMS(1, 1, 1, 1));
    cr_assert_eq(answer(2).match, 5);
    cluster_deinit(&c);
}

Test(append, rule_11_commit_goes_no_further_than_the_entries_of_the_message)
{
    follower(2, TERMS(2, 2, 2));
    cluster_receive(&c, append_request(2, 1, 3, id_of(2, 2), 9, NULL, 0));
    cr_assert_eq(raft_commit(raft()), 2, "entries 3 and 4 may be another leader's");
    cluster_receive(&c, append_request(2, 1, 3, id_of(2, 2), 9, TERMS(2)));
    cr_assert_eq(raft_commit(raft()), 3);
    cluster_receive(&c, append_request(2, 1, 3, id_of(2, 3), 3, TERMS(3)));
    cr_assert_eq(raft_commit(raft()), 3, "nor further than the leader's commit");
    cluster_deinit(&c);
}

Test(append, commit_never_goes_back)
{
    follower(1, TERMS(1, 1));
    cluster_receive(&c, append_request(2, 1, 1, id_of(1, 3), 3, NULL, 0));
    cluster_receive(&c, append_request(2, 1, 1, id_of(1, 3), 1, NULL, 0));
    cr_assert_eq(raft_commit(raft()), 3);
    cluster_deinit(&c);
}

Test(append, rule_16_entries_that_do_not_follow_each_other_are_refused)
{
    follower(1, TERMS(1));
    struct raft_message *gap = append_request(2, 1, 1, id_of(1, 2), 0, TERMS(1, 1));
    gap->append_request.prev = id_of(1, 1); /* the entries begin at 3 */
    cluster_receive(&c, gap);
    expect_log(TERMS(1));
    cr_assert_eq(c.wire.count, 0);
    cr_assert_eq(raft_leader(raft()), 0, "a message that is wrong is not even heard");

    struct raft_message *inside = append_request(2, 1, 1, id_of(1, 2), 0, TERMS(1, 1));
    inside->append_request.entries.items[1].batch->entries[0].id.index = 5;
    cluster_receive(&c, inside);
    expect_log(TERMS(1));
    cluster_deinit(&c);
}

Test(append, rule_16_terms_that_fall_or_exceed_the_leaders_are_refused)
{
    follower(5, TERMS(2));
    cluster_receive(&c, append_request(2, 1, 5, id_of(2, 2), 0, TERMS(4, 3)));
    cluster_receive(&c, append_request(2, 1, 5, id_of(2, 2), 0, TERMS(1)));
    cluster_receive(&c, append_request(2, 1, 5, id_of(2, 2), 0, TERMS(6)));
    cluster_receive(&c, append_request(2, 1, 5, id_of(9, 2), 0, NULL, 0));
    cr_assert_eq(c.wire.count, 0);
    expect_log(TERMS(2));
    cluster_deinit(&c);
}

Test(append, rule_18_the_hint_skips_terms_that_the_leader_cannot_have)
{
    follower(5, TERMS(1, 1, 4, 4, 4, 5));
    cluster_receive(&c, append_request(2, 1, 6, id_of(3, 6), 0, NULL, 0));
    struct raft_append_response response = answer(2);
    cr_assert_eq(response.result, RAFT_APPEND_REJECTED);
    cr_assert_eq(response.conflict.index, 3, "the terms 4 and 5 are skipped at once");
    cr_assert_eq(response.conflict.term, 1);
    cluster_deinit(&c);
}

Test(append, rule_20_of_an_earlier_term_is_no_sign_of_life)
{
    cluster_init(&c, 3);
    cluster_set_disk(&c, 1, (struct raft_hard_state){.term = 7}, NULL, 0);
    cluster_start(&c, 1);
    uint64_t deadline = c.nodes[1].deadline_us;
    cluster_advance(&c, T_US / 2);
    cluster_receive(&c, append_request(2, 1, 3, id_of(1, 1), 0, NULL, 0));
    cr_assert_eq(c.nodes[1].deadline_us, deadline);
    cluster_deinit(&c);
}

Test(append, rule_26_two_leaders_in_one_term_are_fatal)
{
    follower(1, NULL, 0);
    cluster_receive(&c, append_request(2, 1, 4, id_of(1, 1), 0, NULL, 0));
    cluster_receive(&c, append_request(3, 1, 4, id_of(1, 1), 0, NULL, 0));
    cr_assert_eq(c.nodes[1].code, CONCLAVE_INTERNAL);
    cluster_deinit(&c);
}

Test(append, rule_26_a_leader_that_hears_another_of_its_term_stops)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = cluster_lead_alone(&c);
    cluster_receive(&c, append_request(3, 1, led, id_of(1, 1), 0, NULL, 0));
    cr_assert_eq(c.nodes[1].code, CONCLAVE_INTERNAL);
    cluster_deinit(&c);
}

static void add_configuration(struct raft_message *message, struct raft_id id, uint32_t members)
{
    struct raft_configuration smaller = c.configuration;
    smaller.member_count = members;
    struct buf *buf = raft_configuration_encode(&smaller);
    struct raft_batch *batch = raft_batch_create(1);
    raft_batch_add(batch, (struct raft_entry){.id = id,
                                              .kind = RAFT_ENTRY_CONFIG,
                                              .buf = buf,
                                              .payload = {buf->data, buf->bytes}});
    raft_runs_append(&message->append_request.entries, batch, 0, 1);
    raft_batch_unref(batch);
}

/* An append with one CONFIG entry at index 2 in which node 3 is gone. */
static struct raft_message *append_configuration(uint64_t term)
{
    struct raft_message *message = append_request(2, 1, term, id_of(1, 1), 0, NULL, 0);
    add_configuration(message, id_of(term, 2), 2);
    return message;
}

Test(append, rule_29_a_configuration_takes_effect_when_appended)
{
    follower(1, NULL, 0);
    uint64_t index = 0;
    cluster_receive(&c, append_configuration(2));
    cr_assert_eq(raft_configuration(raft(), &index)->member_count, 2);
    cr_assert_eq(index, 2);
    cluster_deinit(&c);
}

Test(append, rule_29_a_configuration_rolls_back_when_truncated)
{
    follower(1, NULL, 0);
    uint64_t index = 0;
    cluster_receive(&c, append_configuration(2));
    cluster_persist_all(&c, 1);
    cr_assert_eq(raft_configuration(raft(), &index)->member_count, 2);
    cluster_receive(&c, append_request(2, 1, 3, id_of(1, 1), 0, TERMS(3)));
    cluster_persist_all(&c, 1);
    cr_assert_eq(c.nodes[1].code, CONCLAVE_OK);
    cr_assert_eq(raft_configuration(raft(), &index)->member_count, 3);
    cr_assert_eq(index, 1);
    cluster_deinit(&c);
}

Test(append, rule_29_of_several_configurations_in_one_append_each_can_be_the_last)
{
    follower(1, NULL, 0);
    uint64_t index = 0;
    struct raft_message *message = append_configuration(2);
    add_configuration(message, id_of(2, 3), 1);
    cluster_receive(&c, message);
    cluster_persist_all(&c, 1);
    cr_assert_eq(raft_configuration(raft(), &index)->member_count, 1);
    cr_assert_eq(index, 3);
    cluster_receive(&c, append_request(2, 1, 3, id_of(2, 2), 0, TERMS(3)));
    cluster_persist_all(&c, 1);
    cr_assert_eq(c.nodes[1].code, CONCLAVE_OK);
    cr_assert_eq(raft_configuration(raft(), &index)->member_count, 2);
    cr_assert_eq(index, 2);
    cluster_deinit(&c);
}

Test(append, rule_29_a_committed_configuration_stays)
{
    follower(1, NULL, 0);
    uint64_t index = 0;
    struct raft_message *message = append_configuration(2);
    message->append_request.commit = 2;
    cluster_receive(&c, message);
    cluster_receive(&c, append_request(2, 1, 3, id_of(2, 2), 2, TERMS(3, 3)));
    cluster_receive(&c, append_request(2, 1, 4, id_of(2, 2), 2, TERMS(4)));
    cr_assert_eq(raft_configuration(raft(), &index)->member_count, 2);
    cr_assert_eq(index, 2);
    cluster_deinit(&c);
}

Test(append, a_configuration_that_cannot_be_read_is_refused)
{
    follower(1, NULL, 0);
    struct raft_message *message = append_configuration(2);
    message->append_request.entries.items[0].batch->entries[0].payload.bytes = 3;
    cluster_receive(&c, message);
    cr_assert_eq(c.nodes[1].code, CONCLAVE_OK);
    expect_log(NULL, 0);
    cr_assert_eq(c.wire.count, 0);
    cluster_deinit(&c);
}

Test(append, rule_44_replaced_proposals_are_unknown_and_each_is_answered_once)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = cluster_lead_alone(&c);
    cluster_propose(&c, 1, 3, 1);
    cr_assert_eq(c.nodes[1].refused.count, 0);
    cluster_receive(&c, append_request(2, 1, led + 1, id_of(1, 1), 1, NULL, 0));
    cr_assert_eq(c.nodes[1].refused.count, 0, "stepping down decides nothing about them");
    cluster_receive(&c, append_request(2, 1, led + 1, id_of(led, 3), 1, TERMS(led + 1)));
    cr_assert_eq(c.nodes[1].refused.count, 2, "entry 3 is still there");
    for (uint32_t i = 0; i < 2; i++)
        cr_assert_eq(c.nodes[1].refused.items[i].code, CONCLAVE_UNKNOWN);
    cr_assert_neq(c.nodes[1].refused.items[0].origin.request,
                  c.nodes[1].refused.items[1].origin.request);
    cluster_receive(&c, append_request(2, 1, led + 1, id_of(led + 1, 4), 4, NULL, 0));
    cluster_persist_all(&c, 1);
    cr_assert_eq(c.nodes[1].refused.count, 2);
    struct raft_runs_iter iter = {0};
    uint32_t applied = 0;
    for (const struct raft_entry *e; (e = raft_runs_next(&c.nodes[1].applied, &iter));)
        applied += e->origin.client == 7;
    cr_assert_eq(applied, 1, "and is answered by apply");
    cluster_deinit(&c);
}

/* A majority writes what it was sent, and says so when the leader has stepped down already: for the
 * one who waits that is no success, since the next leader replaces it. */
Test(append, rule_44_an_ack_that_comes_after_the_leaders_end_makes_no_success)
{
    cluster_setup(&c, 3, 1);
    const uint64_t led = cluster_lead_alone(&c);
    cluster_receive(&c, append_accepted(2, 1, led, 2, 0));
    cluster_persist_all(&c, 1);
    cluster_propose(&c, 1, 1, 1); /* entry 3 */
    cluster_persist_all(&c, 1);
    const uint64_t commit = raft_commit(c.nodes[1].raft);
    cr_assert_eq(commit, 2);
    cluster_receive(&c, append_request(2, 1, led + 1, id_of(led, 2), 2, NULL, 0));
    cr_assert_eq(raft_role(c.nodes[1].raft), RAFT_FOLLOWER);
    cluster_receive(&c, append_accepted(3, 1, led, 3, 0));
    cluster_receive(&c, append_accepted(2, 1, led, 3, 0));
    cr_assert_eq(raft_commit(c.nodes[1].raft), commit);
    cr_assert_eq(c.nodes[1].applied_index, commit);
    cluster_receive(&c, append_request(2, 1, led + 1, id_of(led, 2), 3, TERMS(led + 1)));
    cluster_persist_all(&c, 1);
    cr_assert_eq(raft_commit(c.nodes[1].raft), 3);
    cr_assert_eq(c.nodes[1].refused.count, 1);
    cr_assert_eq(c.nodes[1].refused.items[0].code, CONCLAVE_UNKNOWN);
    cr_assert_eq(raft_runs_last(&c.nodes[1].applied).term, led + 1);
    cluster_deinit(&c);
}

/* Else it would never hear anything again of a leader that it may be needed by. */
Test(append, rule_29_a_peer_whose_removal_was_rolled_back_is_sent_everything)
{
    follower(1, NULL, 0);
    cluster_receive(&c, append_configuration(2));
    cluster_persist_all(&c, 1);
    cluster_receive(&c, append_request(2, 1, 3, id_of(1, 1), 0, TERMS(3)));
    cluster_persist_all(&c, 1);
    uint64_t led = cluster_lead_alone(&c);
    for (int i = 0; i < 6; i++) {
        cluster_advance(&c, T_US / 2);
        cluster_receive(&c, append_accepted(2, 1, led, 1, 0));
    }
    cluster_drop_all(&c);
    cluster_advance(&c, T_US / 2);
    cluster_receive(&c, append_accepted(2, 1, led, 1, 0));
    cr_assert_eq(raft_role(raft()), RAFT_LEADER);
    cr_assert_gt(cluster_count(&c, 3, RAFT_APPEND_REQUEST), 0);
    cluster_deinit(&c);
}

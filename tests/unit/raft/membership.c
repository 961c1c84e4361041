/* Changing the members (paper, section 6; dissertation, 4.2 and 4.3). */
#include "cluster.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct cluster c;

static struct raft *raft_of(raft_node_id id)
{
    return c.nodes[id].raft;
}

static const struct raft_configuration *members_of(raft_node_id id)
{
    return raft_configuration(raft_of(id), NULL);
}

static const struct raft_member *member_of(raft_node_id id, raft_node_id member)
{
    return raft_configuration_find(members_of(id), member);
}

static bool votes(raft_node_id id, raft_node_id member)
{
    return raft_configuration_is_voter(members_of(id), member);
}

/* What the last change was answered with by a refusal; -1: nothing. */
static int refusal(raft_node_id id)
{
    return c.nodes[id].refused.count ? c.nodes[id].refused.items[c.nodes[id].refused.count - 1].code
                                     : -1;
}

/* True if node `id` has handed an entry with the change's origin to its state machine. */
static bool answered(raft_node_id id)
{
    struct raft_runs_iter iter = {0};
    for (const struct raft_entry *e; (e = raft_runs_next(&c.nodes[id].applied, &iter));) {
        if (e->origin.client == 7 && e->origin.request == 77)
            return true;
    }
    return false;
}

static bool traced(raft_node_id id, enum raft_trace_type type)
{
    for (uint32_t i = 0; i < c.nodes[id].trace.count; i++) {
        if (c.nodes[id].trace.items[i].type == type)
            return true;
    }
    return false;
}

static raft_node_id leader_now(void)
{
    raft_node_id leader = 0;
    for (uint32_t i = 1; i <= c.voters; i++) {
        if (c.nodes[i].raft && raft_is_serving(raft_of(i)) &&
            (!leader || raft_hard_state(raft_of(i)).term > raft_hard_state(raft_of(leader)).term))
            leader = i;
    }
    return leader;
}

/* `count` voters, node 1 leads and has committed in its term. */
static void cluster_led(uint32_t count)
{
    cluster_setup(&c, count, count);
    cluster_elect(&c, 1);
    cluster_settle(&c);
    cr_assert(raft_is_serving(raft_of(1)));
}

static void join(raft_node_id id)
{
    char name[4];
    snprintf(name, sizeof name, "n%u", (unsigned)id);
    cluster_add_node(&c, id);
    cluster_change(&c, leader_now(), RAFT_CHANGE_ADD, name, "");
    cluster_start_node(&c, id);
}

/* --- Rule 28 ---------------------------------------------------------------------------------- */

Test(membership, rule_28_no_change_before_an_entry_of_the_own_term_is_committed)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = cluster_lead_alone(&c);
    cluster_change(&c, 1, RAFT_CHANGE_REMOVE, "n3", "");
    cr_assert_eq(refusal(1), CONCLAVE_BUSY);
    cluster_receive(&c, append_accepted(2, 1, led, 2, 0));
    cluster_change(&c, 1, RAFT_CHANGE_REMOVE, "n3", "");
    cr_assert_eq(c.nodes[1].refused.count, 1);
    cr_assert(members_of(1)->joint);
    cluster_deinit(&c);
}

Test(membership, rule_28_one_change_at_a_time)
{
    cluster_led(3);
    cluster_change(&c, 1, RAFT_CHANGE_REMOVE, "n3", "");
    cluster_change(&c, 1, RAFT_CHANGE_REMOVE, "n2", "");
    cr_assert_eq(refusal(1), CONCLAVE_BUSY);
    cluster_settle(&c);
    cr_assert_eq(members_of(1)->member_count, 2);
    cr_assert(answered(1));
    cluster_deinit(&c);
}

Test(membership, a_follower_changes_nothing)
{
    cluster_led(3);
    cluster_change(&c, 2, RAFT_CHANGE_REMOVE, "n3", "");
    cr_assert_eq(refusal(2), CONCLAVE_NOT_LEADER);
    cluster_deinit(&c);
}

/* --- Learners --------------------------------------------------------------------------------- */

Test(membership, rule_34_a_new_member_learns_first_and_votes_when_it_has_caught_up)
{
    cluster_led(3);
    cluster_propose(&c, 1, 5, 10);
    cluster_settle(&c);
    join(4);
    cr_assert_eq(member_of(1, 4)->flags, RAFT_MEMBER_LEARNER | RAFT_MEMBER_PROMOTE);
    cluster_run(&c, 4 * HEARTBEAT_US);
    cr_assert(traced(1, RAFT_TRACE_PROMOTE));
    for (raft_node_id id = 1; id <= 4; id++) {
        cr_assert_eq(member_of(id, 4)->flags, RAFT_MEMBER_VOTER);
        cr_assert_not(members_of(id)->joint);
        cr_assert_eq(raft_commit(raft_of(id)), raft_last(raft_of(1)).index);
    }
    cr_assert_eq(member_of(1, 4)->incarnation, 104);
    cr_assert(answered(1));
    cluster_deinit(&c);
}

/* An append of node 2, the leader of term 2, with two configurations behind entry 1: both sets, and
 * then the new one alone, without node 3. */
static struct raft_message *removal_of_third(void)
{
    static struct raft_configuration next;
    next = c.configuration;
    next.joint = true;
    for (uint32_t i = 0; i < 3; i++)
        next.members[i].flags = RAFT_MEMBER_VOTER_OLD | (i < 2 ? RAFT_MEMBER_VOTER : 0u);
    struct buf *joint = raft_configuration_encode(&next);
    next.joint = false;
    next.member_count = 2;
    next.members[0].flags = next.members[1].flags = RAFT_MEMBER_VOTER;
    next.removed[next.removed_count++] = 3;
    struct raft_message *message = append_request(2, 1, 2, id_of(1, 1), 1, NULL, 0);
    struct raft_runs *entries = &message->append_request.entries;
    cluster_disk_append(entries, id_of(2, 2), RAFT_ENTRY_CONFIG, joint);
    cluster_disk_append(entries, id_of(2, 3), RAFT_ENTRY_CONFIG, raft_configuration_encode(&next));
    return message;
}

/* It took both phases at once and knows of neither that it is committed. */
Test(membership, who_was_removed_hears_of_it_from_the_next_leader_too)
{
    cluster_setup(&c, 3, 1);
    cluster_receive(&c, removal_of_third());
    cluster_persist_all(&c, 1);
    cr_assert_eq(members_of(1)->member_count, 2);
    cluster_drop_all(&c);
    cluster_advance(&c, 3 * T_US);
    cluster_timeout(&c, 1);
    cluster_receive(&c, vote_response(RAFT_PREVOTE_RESPONSE, 2, 1, 2, 3, true));
    cluster_persist_all(&c, 1);
    cluster_receive(&c, vote_response(RAFT_VOTE_RESPONSE, 2, 1, 3, 3, true));
    cr_assert_eq(raft_role(raft_of(1)), RAFT_LEADER);
    cr_assert_gt(cluster_count(&c, 3, RAFT_APPEND_REQUEST), 0);
    cluster_deinit(&c);
}

Test(membership, rule_34_a_learner_that_is_behind_is_not_promoted)
{
    cluster_led(3);
    cluster_add_node(&c, 4);
    cluster_change(&c, 1, RAFT_CHANGE_ADD, "n4", "");
    cluster_run(&c, 4 * T_US);
    cr_assert(member_of(1, 4)->flags & RAFT_MEMBER_LEARNER);
    cluster_change(&c, 1, RAFT_CHANGE_PROMOTE, "n4", "");
    cr_assert_eq(refusal(1), CONCLAVE_BUSY);
    cluster_change(&c, 1, RAFT_CHANGE_REPLACE, "n3", "n4");
    cr_assert_eq(refusal(1), CONCLAVE_BUSY);
    cluster_deinit(&c);
}

/* It was fast in an office before; its leader knows nothing of what it holds by now. */
Test(membership, rule_34_a_learner_catches_up_again_with_a_new_leader)
{
    cluster_init(&c, 4);
    c.configuration.members[3].flags = RAFT_MEMBER_LEARNER;
    cluster_start(&c, 1);
    uint64_t led = cluster_lead_alone(&c);
    cluster_receive(&c, append_accepted(2, 1, led, 2, 0));
    cluster_receive(&c, append_accepted(4, 1, led, 2, 0));
    cluster_receive(&c, append_request(2, 1, led + 1, id_of(led, 2), 2, NULL, 0));
    cluster_persist_all(&c, 1);
    led = cluster_lead_alone(&c);
    cluster_receive(&c, append_accepted(2, 1, led, 3, 0));
    cr_assert(raft_is_serving(raft_of(1)));
    cluster_change(&c, 1, RAFT_CHANGE_PROMOTE, "n4", "");
    cr_assert_eq(refusal(1), CONCLAVE_BUSY);
    cluster_receive(&c, append_accepted(4, 1, led, 3, 0));
    cluster_change(&c, 1, RAFT_CHANGE_PROMOTE, "n4", "");
    cr_assert_eq(member_of(1, 4)->flags & RAFT_MEMBER_LEARNER, 0);
    cluster_deinit(&c);
}

Test(membership, rule_34_a_learner_that_was_restarted_with_less_catches_up_again)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = cluster_lead_alone(&c);
    cluster_receive(&c, append_accepted(2, 1, led, 2, 0));
    struct raft_change *add = calloc(1, sizeof *add);
    *add = (struct raft_change){.type = RAFT_CHANGE_ADD,
                                .member = {.id = 4, .name = "n4", .peer = "tcp://h:4"}};
    cluster_step(&c, 1, &(struct raft_event){.type = RAFT_EVENT_CHANGE, .change = add}, 1);
    cluster_propose(&c, 1, 1, 8);
    cluster_persist_all(&c, 1);
    cluster_receive(&c, append_accepted(2, 1, led, 4, 0));
    struct raft_message *whole = append_accepted(4, 1, led, 4, 0);
    whole->append_response.life = 1;
    cluster_receive(&c, whole);
    struct raft_message *less = append_accepted(4, 1, led, 3, 0);
    less->append_response.life = 2;
    cluster_receive(&c, less);
    cluster_change(&c, 1, RAFT_CHANGE_PROMOTE, "n4", "");
    cr_assert_eq(refusal(1), CONCLAVE_BUSY);
    struct raft_message *again = append_accepted(4, 1, led, 4, 0);
    again->append_response.life = 2;
    cluster_receive(&c, again);
    cluster_change(&c, 1, RAFT_CHANGE_PROMOTE, "n4", "");
    cr_assert(members_of(1)->joint);
    cluster_deinit(&c);
}

/* Node 1 leads two others, and node 4 is a learner since entry 3, which is committed. Returns the
 * term. */
static uint64_t lead_with_learner(void)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = cluster_lead_alone(&c);
    cluster_receive(&c, append_accepted(2, 1, led, 2, 0));
    struct raft_change *add = calloc(1, sizeof *add);
    *add = (struct raft_change){.type = RAFT_CHANGE_ADD,
                                .member = {.id = 4, .name = "n4", .peer = "tcp://h:4"}};
    cluster_step(&c, 1, &(struct raft_event){.type = RAFT_EVENT_CHANGE, .change = add}, 1);
    cluster_persist_all(&c, 1);
    cluster_receive(&c, append_accepted(2, 1, led, 3, 0));
    return led;
}

/* Node 4 is a learner that has caught up and has not been heard of since for longer than an
 * election takes; meanwhile two more entries came. Returns the term. */
static uint64_t learner_away(void)
{
    uint64_t led = lead_with_learner();
    struct raft_message *whole = append_accepted(4, 1, led, 3, 0);
    whole->append_response.life = 1;
    cluster_receive(&c, whole);
    for (int i = 0; i < 3; i++) {
        cluster_advance(&c, T_US / 2);
        cluster_receive(&c, append_accepted(2, 1, led, 3, 0));
    }
    cluster_propose(&c, 1, 2, 8);
    cluster_persist_all(&c, 1);
    cluster_receive(&c, append_accepted(2, 1, led, 5, 0));
    return led;
}

Test(membership, rule_34_a_learner_that_was_restarted_catches_up_with_all_there_is)
{
    uint64_t led = learner_away();
    struct raft_message *before = append_accepted(4, 1, led, 3, 0);
    before->append_response.life = 2;
    cluster_receive(&c, before);
    cluster_change(&c, 1, RAFT_CHANGE_PROMOTE, "n4", "");
    cr_assert_eq(refusal(1), CONCLAVE_BUSY, "what it held before is not all");
    struct raft_message *all = append_accepted(4, 1, led, 5, 0);
    all->append_response.life = 2;
    cluster_receive(&c, all);
    cluster_change(&c, 1, RAFT_CHANGE_PROMOTE, "n4", "");
    cr_assert(members_of(1)->joint, "it took no time since it was heard of again");
    cluster_deinit(&c);
}

/* All that there was, and not what was committed of it: the learner is heard all the time, and
 * takes nothing of the last two entries. */
Test(membership, rule_34_a_round_ends_with_all_that_there_was_when_it_began)
{
    uint64_t led = lead_with_learner();
    cluster_propose(&c, 1, 2, 8);
    for (int i = 0; i < 3; i++) {
        cluster_receive(&c, append_accepted(2, 1, led, 3, 0));
        cluster_receive(&c, append_accepted(4, 1, led, 3, 0));
        cluster_advance(&c, T_US / 2);
    }
    cluster_change(&c, 1, RAFT_CHANGE_PROMOTE, "n4", "");
    cr_assert_eq(refusal(1), CONCLAVE_BUSY);
    cluster_deinit(&c);
}

/* What it holds is all that there was when it last acknowledged something; since then it has only
 * refused, because it needs what the leader sends as a snapshot. */
Test(membership, rule_34_a_learner_that_is_heard_of_but_takes_nothing_has_not_caught_up)
{
    uint64_t led = lead_with_learner();
    cluster_receive(&c, append_accepted(4, 1, led, 3, 0));
    cluster_receive(&c, append_accepted(4, 1, led, 3, 0)); /* all there is, and fast */
    for (uint64_t last = 4; last < 8; last++) {
        cluster_propose(&c, 1, 1, 8);
        cluster_persist_all(&c, 1);
        cluster_advance(&c, T_US / 3);
        cluster_receive(&c, append_accepted(2, 1, led, last, 0));
        cluster_receive(&c, append_rejected(4, 1, led, 4, (struct raft_id){led, 3}));
    }
    cr_assert_eq(raft_commit(raft_of(1)), 7);
    cluster_change(&c, 1, RAFT_CHANGE_PROMOTE, "n4", "");
    cr_assert_eq(refusal(1), CONCLAVE_BUSY);
    cluster_receive(&c, append_accepted(4, 1, led, 7, 0));
    cluster_receive(&c, append_accepted(4, 1, led, 7, 0));
    cluster_change(&c, 1, RAFT_CHANGE_PROMOTE, "n4", "");
    cr_assert(members_of(1)->joint);
    cluster_deinit(&c);
}

Test(membership, rule_34_a_round_that_takes_an_election_timeout_promotes_nobody)
{
    cluster_setup(&c, 1, 1);
    cluster_elect(&c, 1);
    cluster_settle(&c);
    cluster_add_node(&c, 4);
    cluster_change(&c, 1, RAFT_CHANGE_ADD, "n4", "");
    cluster_settle(&c);
    uint64_t term = raft_hard_state(raft_of(1)).term;
    for (int i = 0; i < 3; i++) {
        uint64_t match = raft_last(raft_of(1)).index;
        cluster_propose(&c, 1, 1, 8); /* the next round has more to fetch */
        cluster_settle(&c);
        cluster_advance(&c, T_US);
        cluster_receive(&c, append_accepted(4, 1, term, match, 0));
        cr_assert(member_of(1, 4)->flags & RAFT_MEMBER_LEARNER);
    }
    cluster_advance(&c, T_US - 1);
    cluster_receive(&c, append_accepted(4, 1, term, raft_last(raft_of(1)).index, 0));
    cr_assert(member_of(1, 4)->flags & RAFT_MEMBER_VOTER);
    cluster_deinit(&c);
}

Test(membership, a_learner_counts_nowhere)
{
    cluster_led(3);
    join(4);
    cluster_crash(&c, 2);
    cluster_crash(&c, 3);
    uint64_t commit = raft_commit(raft_of(1));
    uint64_t term = raft_hard_state(raft_of(1)).term;
    cluster_propose(&c, 1, 1, 8);
    cluster_settle(&c);
    cr_assert_eq(raft_commit(raft_of(1)), commit);
    cluster_run(&c, 6 * T_US);
    cr_assert_eq(raft_role(raft_of(1)) == RAFT_LEADER, false, "a learner is no quorum");
    cr_assert_eq(raft_role(raft_of(4)), RAFT_FOLLOWER);
    cr_assert_eq(raft_hard_state(raft_of(4)).term, term);
    cluster_deinit(&c);
}

Test(membership, rule_28_two_learners_that_are_ready_are_promoted_one_after_the_other)
{
    cluster_led(3);
    join(4);
    cluster_settle(&c);
    join(5);
    cluster_run(&c, 10 * HEARTBEAT_US);
    cr_assert(votes(1, 4) && votes(1, 5));
    uint32_t before = 3;
    struct raft_runs_iter iter = {0};
    static struct raft_configuration read;
    for (const struct raft_entry *e; (e = raft_runs_next(&c.nodes[5].disk_log, &iter));) {
        if (e->kind != RAFT_ENTRY_CONFIG)
            continue;
        cr_assert_eq(raft_configuration_decode(e->payload, &read), CONCLAVE_OK);
        uint32_t now = 0;
        for (uint32_t i = 0; i < read.member_count; i++)
            now += (read.members[i].flags & RAFT_MEMBER_VOTER) != 0;
        cr_assert_leq(now, before + 1);
        before = now;
    }
    cr_assert_eq(before, 5);
    cluster_deinit(&c);
}

static struct raft_event acknowledged(raft_node_id from, uint64_t term, uint64_t match)
{
    struct raft_message *message = append_accepted(from, 1, term, match, 0);
    message->append_response.life = 1;
    return (struct raft_event){.type = RAFT_EVENT_RECEIVE, .receive = message};
}

/* Redpanda 17675: both are ready in one step. */
Test(membership, rule_28_the_second_promotion_waits_until_the_first_is_committed_in_both_phases)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = cluster_lead_alone(&c);
    cluster_receive(&c, append_accepted(2, 1, led, 2, 0));
    for (uint64_t index = 3; index <= 4; index++) {
        cluster_change(&c, 1, RAFT_CHANGE_ADD, index == 3 ? "n4" : "n5", "");
        cluster_persist_all(&c, 1);
        cluster_receive(&c, append_accepted(2, 1, led, index, 0));
    }
    struct raft_event ready[] = {acknowledged(4, led, 4), acknowledged(5, led, 4)};
    cluster_step(&c, 1, ready, 2);
    cr_assert_eq(raft_last(raft_of(1)).index, 5);
    cr_assert(members_of(1)->joint && votes(1, 4) && !votes(1, 5));
    cluster_persist_all(&c, 1);
    struct raft_event joint[] = {acknowledged(4, led, 5), acknowledged(5, led, 5)};
    cluster_receive(&c, append_accepted(2, 1, led, 5, 0));
    cluster_step(&c, 1, joint, 2);
    cr_assert_eq(raft_last(raft_of(1)).index, 6);
    cr_assert_not(members_of(1)->joint);
    cluster_persist_all(&c, 1);
    struct raft_event left[] = {acknowledged(5, led, 6)};
    cluster_step(&c, 1, left, 1);
    cr_assert_eq(raft_last(raft_of(1)).index, 6, "the end of the first is not committed");
    cluster_receive(&c, append_accepted(2, 1, led, 6, 0));
    struct raft_event again[] = {acknowledged(4, led, 6)};
    cluster_step(&c, 1, again, 1);
    cr_assert_eq(raft_last(raft_of(1)).index, 7);
    cr_assert(members_of(1)->joint && votes(1, 5));
    cluster_deinit(&c);
}

/* --- Joint consensus -------------------------------------------------------------------------- */

Test(membership, rule_30_the_joint_phase_needs_both_majorities_to_commit)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = cluster_lead_alone(&c);
    cluster_receive(&c, append_accepted(2, 1, led, 2, 0));
    cluster_change(&c, 1, RAFT_CHANGE_REMOVE, "n3", "");
    cluster_persist_all(&c, 1);
    cluster_receive(&c, append_accepted(3, 1, led, 3, 0));
    cr_assert_eq(raft_commit(raft_of(1)), 2, "nodes 1 and 3 are a majority of the old set only");
    cluster_receive(&c, append_accepted(2, 1, led, 3, 0));
    cr_assert_eq(raft_commit(raft_of(1)), 3);
    cr_assert_not(members_of(1)->joint);
    cr_assert_eq(raft_last(raft_of(1)).index, 4);
    cluster_persist_all(&c, 1);
    cluster_receive(&c, append_accepted(3, 1, led, 4, 0));
    cr_assert_eq(raft_commit(raft_of(1)), 3, "node 3 counts no more");
    cluster_receive(&c, append_accepted(2, 1, led, 4, 0));
    cr_assert_eq(raft_commit(raft_of(1)), 4);
    cr_assert(answered(1));
    cluster_deinit(&c);
}

/* Two of the three that are left hold more than three of the four that were. */
Test(membership, rule_30_what_the_incoming_majority_holds_is_committed_as_it_takes_over)
{
    cluster_setup(&c, 4, 1);
    uint64_t led = cluster_lead_alone(&c);
    cluster_receive(&c, append_accepted(2, 1, led, 2, 0));
    cluster_receive(&c, append_accepted(3, 1, led, 2, 0));
    cluster_change(&c, 1, RAFT_CHANGE_REMOVE, "n4", "");
    cluster_propose(&c, 1, 2, 8);
    cluster_persist_all(&c, 1);
    cluster_receive(&c, append_accepted(2, 1, led, 5, 0));
    cr_assert_eq(raft_commit(raft_of(1)), 2);
    cr_assert(members_of(1)->joint);
    c.nodes[1].hold_applied = true; /* nothing else happens */
    cluster_receive(&c, append_accepted(3, 1, led, 3, 0));
    cr_assert_not(members_of(1)->joint);
    cr_assert_eq(raft_commit(raft_of(1)), 5, "and not only when something happens again");
    cr_assert_eq(raft_runs_last(&c.nodes[1].applied).index, 5);
    cluster_deinit(&c);
}

Test(membership, rule_30_the_next_leader_ends_the_joint_phase)
{
    cluster_led(3);
    cluster_change(&c, 1, RAFT_CHANGE_REMOVE, "n3", "");
    struct raft_message *joint;
    for (raft_node_id id = 2; id <= 3; id++) {
        joint = cluster_take(&c, id, RAFT_APPEND_REQUEST);
        cluster_receive(&c, joint);
        cluster_persist_all(&c, id);
    }
    cluster_drop_all(&c);
    cluster_crash(&c, 1);
    cr_assert(members_of(2)->joint);
    cluster_run(&c, 6 * T_US);
    cr_assert_eq(leader_now(), 0, "both majorities are {1, 2} and one more");
    cluster_start_node(&c, 1);
    cluster_run(&c, 6 * T_US);
    cr_assert_neq(leader_now(), 0);
    cr_assert_not(members_of(2)->joint);
    cr_assert_eq(members_of(2)->member_count, 2);
    cr_assert(raft_configuration_was_removed(members_of(2), 3));
    cluster_deinit(&c);
}

Test(membership, an_isolated_leader_cannot_remove_its_peers)
{
    cluster_led(3);
    cluster_change(&c, 1, RAFT_CHANGE_REMOVE, "n2", "");
    cluster_drop_all(&c);
    cluster_persist_all(&c, 1);
    cluster_drop_all(&c);
    cluster_change(&c, 1, RAFT_CHANGE_REMOVE, "n3", "");
    cr_assert_eq(refusal(1), CONCLAVE_BUSY);
    cr_assert_lt(raft_commit(raft_of(1)), raft_last(raft_of(1)).index);
    cluster_crash(&c, 1);
    cluster_run(&c, 6 * T_US);
    cr_assert_neq(leader_now(), 0, "the others go on without it");
    cluster_start_node(&c, 1);
    cluster_run(&c, 2 * T_US);
    cr_assert_eq(members_of(1)->member_count, 3);
    cr_assert_not(members_of(1)->joint);
    cluster_deinit(&c);
}

Test(membership, a_change_whose_leader_falls_ends_unknown)
{
    cluster_led(3);
    cluster_change(&c, 1, RAFT_CHANGE_REMOVE, "n3", "");
    cluster_drop_all(&c);
    uint64_t term = raft_hard_state(raft_of(1)).term;
    cluster_receive(&c, append_request(2, 1, term + 1, id_of(1, 1), 0, NULL, 0));
    cr_assert_eq(refusal(1), CONCLAVE_UNKNOWN);
    cr_assert_eq(c.nodes[1].refused.count, 1);
    /* Its joint phase is in the log still, and the next leader ends it: for nobody. */
    cluster_elect(&c, 1);
    cluster_settle(&c);
    cr_assert_eq(members_of(1)->member_count, 2);
    cr_assert_not(answered(1), "it was answered already");
    cr_assert_eq(c.nodes[1].refused.count, 1);
    cluster_deinit(&c);
}

Test(membership, rule_30_the_outgoing_majority_still_counts_in_the_joint_phase)
{
    cluster_led(2);
    uint64_t commit = raft_commit(raft_of(1));
    cluster_change(&c, 1, RAFT_CHANGE_REMOVE, "n2", "");
    cluster_persist_all(&c, 1);
    cr_assert_eq(raft_commit(raft_of(1)), commit, "node 1 alone is a majority of the new set only");
    cluster_settle(&c);
    cr_assert_eq(members_of(1)->member_count, 1);
    cluster_deinit(&c);
}

Test(membership, replace_changes_both_members_at_once)
{
    cluster_led(3);
    cluster_add_node(&c, 4);
    struct raft_change *add = calloc(1, sizeof *add);
    *add = (struct raft_change){
        .type = RAFT_CHANGE_ADD,
        .member = {.id = 4, .flags = RAFT_MEMBER_LEARNER, .name = "n4", .peer = "tcp://h:4"}};
    struct raft_event event = {.type = RAFT_EVENT_CHANGE, .change = add};
    cluster_step(&c, 1, &event, 1);
    cluster_start_node(&c, 4);
    cluster_run(&c, 4 * HEARTBEAT_US);
    cr_assert_eq(member_of(1, 4)->flags, RAFT_MEMBER_LEARNER, "it is not promoted by itself");
    cluster_change(&c, 1, RAFT_CHANGE_REPLACE, "n3", "n4");
    cr_assert(members_of(1)->joint);
    cr_assert_eq(member_of(1, 3)->flags, RAFT_MEMBER_VOTER_OLD);
    cr_assert_eq(member_of(1, 4)->flags, RAFT_MEMBER_VOTER);
    cluster_settle(&c);
    cr_assert(votes(1, 4) && !members_of(1)->joint);
    cr_assert(raft_configuration_was_removed(members_of(1), 3));
    cr_assert(answered(1));
    cluster_change(&c, 1, RAFT_CHANGE_REPLACE, "n2", "n4");
    cr_assert_eq(refusal(1), CONCLAVE_INVALID, "it votes already");
    cluster_deinit(&c);
}

Test(membership, a_learner_that_is_replaced_is_not_left_in_the_joint_phase)
{
    cluster_led(3);
    for (raft_node_id id = 4; id <= 5; id++) {
        char name[4];
        snprintf(name, sizeof name, "n%u", (unsigned)id);
        cluster_add_node(&c, id);
        struct raft_change *add = calloc(1, sizeof *add);
        *add =
            (struct raft_change){.type = RAFT_CHANGE_ADD, .member = {.id = id, .peer = "tcp://h"}};
        snprintf(add->member.name, sizeof add->member.name, "%s", name);
        snprintf(add->member.peer, sizeof add->member.peer, "tcp://h:%s", name);
        struct raft_event event = {.type = RAFT_EVENT_CHANGE, .change = add};
        cluster_step(&c, 1, &event, 1);
        cluster_start_node(&c, id);
        cluster_run(&c, 4 * HEARTBEAT_US);
    }
    cluster_change(&c, 1, RAFT_CHANGE_REPLACE, "n4", "n5");
    cr_assert(members_of(1)->joint);
    cr_assert_null(member_of(1, 4), "it votes in neither set");
    cluster_settle(&c);
    cr_assert(votes(2, 5) && !members_of(2)->joint, "the others could read it");
    cr_assert(raft_configuration_was_removed(members_of(2), 4));
    cr_assert(answered(1));
    cluster_deinit(&c);
}

Test(membership, the_only_one_with_the_newest_log_is_the_one_just_promoted)
{
    cluster_led(3);
    cluster_crash(&c, 3); /* will not hear of node 4 */
    join(4);
    cluster_run(&c, 4 * HEARTBEAT_US);
    cr_assert(votes(4, 4) && !members_of(4)->joint);
    cluster_propose(&c, 1, 1, 8);
    struct raft_message *newest = cluster_take(&c, 4, RAFT_APPEND_REQUEST);
    cr_assert_not_null(newest);
    cluster_receive(&c, newest);
    cluster_persist_all(&c, 4);
    cluster_drop_all(&c);
    cluster_crash(&c, 1);
    cluster_start_node(&c, 3);
    cr_assert_null(member_of(3, 4));
    cluster_run(&c, 12 * T_US);
    cr_assert_eq(leader_now(), 4);
    cr_assert_not_null(member_of(3, 4));
    cluster_deinit(&c);
}

/* --- Removed ---------------------------------------------------------------------------------- */

Test(membership, rule_31_a_removed_leader_leads_until_it_is_committed_without_itself)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = cluster_lead_alone(&c);
    cluster_receive(&c, append_accepted(2, 1, led, 2, 0));
    cluster_change(&c, 1, RAFT_CHANGE_REMOVE, "n1", "");
    cluster_persist_all(&c, 1);
    cluster_receive(&c, append_accepted(2, 1, led, 3, 0));
    cr_assert_eq(raft_commit(raft_of(1)), 2, "nodes 1 and 2 are no majority of {2, 3}");
    cluster_receive(&c, append_accepted(3, 1, led, 3, 0));
    cluster_persist_all(&c, 1);
    cluster_receive(&c, append_accepted(2, 1, led, 4, 0));
    cr_assert_eq(raft_role(raft_of(1)), RAFT_LEADER);
    cr_assert_eq(raft_commit(raft_of(1)), 3);
    cluster_receive(&c, append_accepted(3, 1, led, 4, 0));
    cr_assert_eq(raft_commit(raft_of(1)), 4);
    cr_assert_eq(raft_role(raft_of(1)), RAFT_FOLLOWER);
    cr_assert(traced(1, RAFT_TRACE_RETIRED) && traced(1, RAFT_TRACE_REMOVED));
    cr_assert_eq(cluster_count(&c, 2, RAFT_TIMEOUT_NOW) + cluster_count(&c, 3, RAFT_TIMEOUT_NOW), 1,
                 "one of those who hold all is to campaign at once");
    cr_assert(answered(1), "and who asked for it is answered");
    cr_assert_neq(refusal(1), CONCLAVE_UNKNOWN);
    cluster_deinit(&c);
}

Test(membership, the_others_go_on_without_a_removed_leader_and_it_stays_silent)
{
    cluster_led(3);
    cluster_change(&c, 1, RAFT_CHANGE_REMOVE, "n1", "");
    cluster_run(&c, 6 * T_US);
    cr_assert(leader_now() == 2 || leader_now() == 3);
    cr_assert_eq(members_of(2)->member_count, 2);
    cr_assert_eq(raft_role(raft_of(1)), RAFT_FOLLOWER);
    cr_assert_eq(c.nodes[1].deadline_us, UINT64_MAX);
    cluster_deinit(&c);
}

Test(membership, a_removed_follower_hears_of_it)
{
    cluster_led(3);
    cluster_change(&c, 1, RAFT_CHANGE_REMOVE, "n3", "");
    cluster_run(&c, T_US);
    cr_assert(traced(3, RAFT_TRACE_REMOVED));
    cr_assert_eq(c.nodes[3].deadline_us, UINT64_MAX);
    struct raft_peer_view view;
    cluster_run(&c, T_US);
    cr_assert_not(raft_peer_view(raft_of(1), 3, &view));
    cluster_deinit(&c);
}

/* Or it would never hear of its removal, if that is committed late. */
Test(membership, a_removed_follower_is_sent_the_log_until_its_removal_is_committed)
{
    struct raft_peer_view view;
    cluster_setup(&c, 3, 1);
    uint64_t led = cluster_lead_alone(&c);
    cluster_receive(&c, append_accepted(2, 1, led, 2, 0));
    cluster_change(&c, 1, RAFT_CHANGE_REMOVE, "n3", "");
    cluster_persist_all(&c, 1);
    cluster_receive(&c, append_accepted(2, 1, led, 3, 0));
    cluster_persist_all(&c, 1);
    cr_assert_eq(members_of(1)->member_count, 2);
    for (int i = 0; i < 5; i++) {
        cluster_advance(&c, T_US / 2);
        cluster_receive(&c, append_accepted(2, 1, led, 3, 0));
    }
    cr_assert_eq(raft_commit(raft_of(1)), 3);
    cr_assert(raft_peer_view(raft_of(1), 3, &view));
    cluster_receive(&c, append_accepted(2, 1, led, 4, 0));
    cr_assert_eq(raft_commit(raft_of(1)), 4);
    cluster_advance(&c, T_US / 2);
    cluster_receive(&c, append_accepted(2, 1, led, 4, 0));
    cr_assert(raft_peer_view(raft_of(1), 3, &view));
    for (int i = 0; i < 2; i++) {
        cluster_advance(&c, T_US / 2);
        cluster_receive(&c, append_accepted(2, 1, led, 4, 0));
    }
    cr_assert_not(raft_peer_view(raft_of(1), 3, &view), "it has had time to hear of it");
    cluster_deinit(&c);
}

Test(membership, a_removed_leader_leads_again_if_only_its_log_holds_its_removal)
{
    cluster_led(2);
    cluster_change(&c, 1, RAFT_CHANGE_REMOVE, "n1", "");
    cluster_persist_all(&c, 1);
    cluster_receive(&c, cluster_take(&c, 2, RAFT_APPEND_REQUEST));
    cluster_persist_all(&c, 2);
    cluster_receive(&c, cluster_take(&c, 1, RAFT_APPEND_RESPONSE));
    cluster_persist_all(&c, 1);
    cr_assert_not(members_of(1)->joint);
    cluster_drop_all(&c); /* node 2 never gets the configuration without node 1 */
    cluster_crash(&c, 1);
    cluster_start_node(&c, 1);
    cluster_run(&c, 12 * T_US);
    cr_assert_eq(leader_now(), 2);
    cr_assert_not(members_of(2)->joint);
    cr_assert_eq(members_of(2)->member_count, 1);
    cluster_deinit(&c);
}

Test(membership, rule_32_the_id_of_a_removed_member_is_never_used_again)
{
    cluster_led(4);
    cluster_change(&c, 1, RAFT_CHANGE_REMOVE, "n4", "");
    cluster_settle(&c);
    cr_assert_null(member_of(1, 4));
    cluster_change(&c, 1, RAFT_CHANGE_ADD, "n4", "");
    cr_assert_eq(refusal(1), CONCLAVE_EXISTS);
    cluster_deinit(&c);
}

Test(membership, rule_32_what_a_removed_member_says_is_not_heard)
{
    cluster_led(4);
    cluster_change(&c, 1, RAFT_CHANGE_REMOVE, "n4", "");
    cluster_settle(&c);
    cluster_advance(&c, 4 * T_US);
    cluster_receive(&c, vote_request(RAFT_VOTE_REQUEST, 4, 1, 99, id_of(9, 99)));
    cluster_settle(&c);
    cr_assert_lt(raft_hard_state(raft_of(1)).term, 99);
    cluster_deinit(&c);
}

/* Until then it may be the one that has to lead. */
Test(membership, rule_32_a_member_is_heard_until_its_removal_is_committed)
{
    cluster_led(4);
    cluster_change(&c, 1, RAFT_CHANGE_REMOVE, "n4", "");
    cluster_settle(&c);
    uint64_t index = 0;
    cr_assert(raft_configuration_was_removed(raft_configuration(raft_of(2), &index), 4));
    cr_assert_lt(raft_commit(raft_of(2)), index, "node 2 has not heard of it");
    cluster_advance(&c, 4 * T_US);
    cluster_receive(&c, vote_request(RAFT_VOTE_REQUEST, 4, 2, 99, id_of(9, 99)));
    cr_assert_eq(raft_hard_state(raft_of(2)).term, 99);
    cluster_deinit(&c);
}

/* The configuration that is being left says who was removed before. */
Test(membership, rule_32_a_removed_member_is_not_heard_while_the_next_change_is_under_way)
{
    cluster_led(5);
    cluster_change(&c, 1, RAFT_CHANGE_REMOVE, "n5", "");
    cluster_run(&c, 2 * HEARTBEAT_US);
    cluster_change(&c, 1, RAFT_CHANGE_REMOVE, "n4", "");
    cluster_settle(&c);
    uint64_t index = 0;
    cr_assert(raft_configuration_was_removed(raft_configuration(raft_of(2), &index), 4));
    cr_assert_lt(raft_commit(raft_of(2)), index);
    cluster_advance(&c, 4 * T_US);
    cluster_receive(&c, vote_request(RAFT_VOTE_REQUEST, 5, 2, 99, id_of(9, 99)));
    cr_assert_lt(raft_hard_state(raft_of(2)).term, 99);
    cluster_receive(&c, vote_request(RAFT_VOTE_REQUEST, 4, 2, 99, id_of(9, 99)));
    cr_assert_eq(raft_hard_state(raft_of(2)).term, 99);
    cluster_deinit(&c);
}

Test(membership, the_last_voter_stays)
{
    cluster_led(1);
    cluster_change(&c, 1, RAFT_CHANGE_REMOVE, "n1", "");
    cr_assert_eq(refusal(1), CONCLAVE_INVALID);
    cluster_change(&c, 1, RAFT_CHANGE_REMOVE, "n9", "");
    cr_assert_eq(refusal(1), CONCLAVE_NOT_FOUND);
    cluster_deinit(&c);
}

/* --- Elections -------------------------------------------------------------------------------- */

Test(membership, rule_24_no_campaign_with_an_unapplied_configuration)
{
    cluster_led(3);
    c.nodes[2].hold_applied = true;
    cluster_change(&c, 1, RAFT_CHANGE_REMOVE, "n3", "");
    cluster_run(&c, 2 * HEARTBEAT_US);
    cr_assert_eq(raft_commit(raft_of(2)), raft_last(raft_of(1)).index);
    cluster_crash(&c, 1);
    for (int i = 0; i < 8; i++) {
        cluster_advance(&c, T_US);
        cluster_timeout(&c, 2);
    }
    cr_assert_eq(raft_role(raft_of(2)), RAFT_FOLLOWER);
    struct raft_event applied = {.type = RAFT_EVENT_APPLIED, .applied = c.nodes[2].applied_index};
    cluster_step(&c, 2, &applied, 1);
    cluster_advance(&c, 2 * T_US);
    cluster_timeout(&c, 2);
    cr_assert_eq(raft_role(raft_of(2)), RAFT_PRECANDIDATE);
    cluster_deinit(&c);
}

/* It asks for pre-votes already when it learns that a change in its log is committed: a snapshot
 * that it was being sent holds it. */
Test(membership, rule_24_no_campaign_though_the_configuration_was_committed_since_it_asked)
{
    cluster_led(3);
    c.nodes[3].hold_applied = true;
    cluster_change(&c, 1, RAFT_CHANGE_ADD, "n4", "");
    cluster_settle(&c);
    uint64_t changed = raft_last(raft_of(1)).index;
    cluster_snapshot(&c, 1, changed, 0);
    cr_assert_eq(raft_last(raft_of(3)).index, changed);
    cr_assert_lt(raft_commit(raft_of(3)), changed);
    cluster_advance(&c, 4 * T_US);
    cluster_timeout(&c, 3);
    cr_assert_eq(raft_role(raft_of(3)), RAFT_PRECANDIDATE);
    cluster_transfer(&c, 1, 3);
    cr_assert_eq(raft_commit(raft_of(3)), changed);
    uint64_t term = raft_hard_state(raft_of(3)).term;
    cluster_receive(&c, vote_response(RAFT_PREVOTE_RESPONSE, 2, 3, term, term + 1, true));
    cr_assert_eq(raft_hard_state(raft_of(3)).term, term);
    struct raft_event applied = {.type = RAFT_EVENT_APPLIED, .applied = c.nodes[3].applied_index};
    cluster_step(&c, 3, &applied, 1);
    cluster_drop_all(&c);
    cluster_advance(&c, T_US);
    cluster_timeout(&c, 3);
    cluster_receive(&c, vote_response(RAFT_PREVOTE_RESPONSE, 2, 3, term, term + 1, true));
    cr_assert_eq(raft_role(raft_of(3)), RAFT_CANDIDATE);
    cluster_deinit(&c);
}

Test(membership, rule_24_who_is_told_to_campaign_applies_the_configuration_first)
{
    cluster_led(3);
    c.nodes[2].hold_applied = true;
    cluster_change(&c, 1, RAFT_CHANGE_REMOVE, "n3", "");
    cluster_run(&c, 2 * HEARTBEAT_US);
    cr_assert_eq(raft_commit(raft_of(2)), raft_last(raft_of(1)).index);
    uint64_t term = raft_hard_state(raft_of(1)).term;
    cluster_receive(&c, raft_message_create(RAFT_TIMEOUT_NOW, 1, 2, term));
    cr_assert_eq(raft_role(raft_of(2)), RAFT_FOLLOWER);
    struct raft_event applied = {.type = RAFT_EVENT_APPLIED, .applied = c.nodes[2].applied_index};
    cluster_step(&c, 2, &applied, 1);
    cr_assert_eq(raft_role(raft_of(2)), RAFT_CANDIDATE, "the call was not lost");
    cluster_deinit(&c);
}

Test(membership, rule_24_a_call_to_campaign_ends_with_the_time_of_a_transfer)
{
    cluster_led(3);
    c.nodes[2].hold_applied = true;
    cluster_change(&c, 1, RAFT_CHANGE_REMOVE, "n3", "");
    cluster_run(&c, 2 * HEARTBEAT_US);
    uint64_t term = raft_hard_state(raft_of(1)).term;
    cluster_receive(&c, raft_message_create(RAFT_TIMEOUT_NOW, 1, 2, term));
    cluster_run(&c, T_US);
    struct raft_event applied = {.type = RAFT_EVENT_APPLIED, .applied = c.nodes[2].applied_index};
    cluster_step(&c, 2, &applied, 1);
    cr_assert_eq(raft_role(raft_of(2)), RAFT_FOLLOWER, "it leads on long since");
    cr_assert_eq(raft_hard_state(raft_of(2)).term, term);
    cluster_deinit(&c);
}

Test(membership, rule_23_whoever_is_asked_answers_even_to_a_member_it_does_not_know)
{
    cluster_setup(&c, 3, 1);
    cluster_receive(&c, vote_request(RAFT_PREVOTE_REQUEST, 9, 1, 3, id_of(9, 9)));
    struct raft_message *answer = cluster_take(&c, 9, RAFT_PREVOTE_RESPONSE);
    cr_assert_not_null(answer);
    cr_assert(answer->vote_response.granted);
    raft_message_destroy(answer);
    cluster_deinit(&c);
}

/* --- Incarnations ----------------------------------------------------------------------------- */

static void seen(raft_node_id peer, uint64_t incarnation)
{
    struct raft_event event = {.type = RAFT_EVENT_PEER_SEEN,
                               .peer_seen = {.peer = peer, .incarnation = incarnation}};
    cluster_step(&c, 1, &event, 1);
    cluster_settle(&c);
}

Test(membership, incarnations_are_written_down_once_and_stay)
{
    cluster_init(&c, 3);
    c.nodes[1].options.incarnation = 11;
    cluster_start(&c, 3);
    cluster_elect(&c, 1);
    cluster_settle(&c);
    seen(2, 22);
    seen(3, 33);
    for (raft_node_id id = 1; id <= 3; id++)
        cr_assert_eq(member_of(2, id)->incarnation, id * 11);
    uint64_t last = raft_last(raft_of(1)).index;
    seen(3, 44);
    cr_assert_eq(raft_last(raft_of(1)).index, last);
    cr_assert_eq(member_of(2, 3)->incarnation, 33);
    cluster_deinit(&c);
}

/* Two directories claim to be one node before either is written down: the first one is the member,
 * whatever comes later. */
Test(membership, the_first_directory_that_was_heard_of_is_the_one_written_down)
{
    cluster_led(3);
    struct raft_event events[] = {
        {.type = RAFT_EVENT_PEER_SEEN, .peer_seen = {.peer = 3, .incarnation = 33}},
        {.type = RAFT_EVENT_PEER_SEEN, .peer_seen = {.peer = 3, .incarnation = 44}}};
    cluster_step(&c, 1, events, 2);
    cluster_settle(&c);
    cr_assert_eq(member_of(2, 3)->incarnation, 33);
    cluster_deinit(&c);
}

/* An entry of the leader's own would keep the target from holding the whole log. */
Test(membership, rule_25_nothing_is_changed_while_leadership_is_handed_over)
{
    cluster_led(3);
    cluster_cut(&c, 1 << 1 | 1 << 2 | 1 << 3, 1 << 3);
    struct raft_event event = {.type = RAFT_EVENT_TRANSFER, .transfer = {.target = 3}};
    cluster_step(&c, 1, &event, 1);
    uint64_t last = raft_last(raft_of(1)).index;
    seen(2, 22);
    cr_assert_eq(raft_transfer_target(raft_of(1)), 3);
    cr_assert_eq(raft_last(raft_of(1)).index, last);
    cluster_run(&c, T_US + HEARTBEAT_US);
    cr_assert_eq(raft_transfer_target(raft_of(1)), 0);
    cr_assert_eq(member_of(1, 2)->incarnation, 22, "as soon as it was given up");
    cluster_deinit(&c);
}

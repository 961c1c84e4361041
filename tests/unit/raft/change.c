/* What is asked of the members and refused, and with which code; what is true already. */
#include "cluster.h"

#include <criterion/criterion.h>

#include "base/fatal.h"

#include <stdio.h>
#include <stdlib.h>

static struct cluster c;

static struct raft *raft(void)
{
    return c.nodes[1].raft;
}

static const struct raft_member *member(raft_node_id id)
{
    return raft_configuration_find(raft_configuration(raft(), NULL), id);
}

/* Node 1 of `count` voters leads and has committed in its term; the others are played. */
static void begin(uint32_t count)
{
    cluster_setup(&c, count, 1);
    uint64_t term = 0;
    if (count > 1)
        term = cluster_lead_alone(&c);
    else
        cluster_run(&c, 1);
    for (raft_node_id id = 2; id <= count; id++)
        cluster_receive(&c, append_accepted(id, 1, term, raft_last(raft()).index, 0));
    cluster_drop_all(&c);
    cr_assert(raft_is_serving(raft()));
}

/* Everything that node 1 has in its log is durable here and there. */
static void commit(void)
{
    cluster_persist_all(&c, 1);
    for (raft_node_id id = 2; id <= c.voters; id++)
        cluster_receive(
            &c, append_accepted(id, 1, raft_hard_state(raft()).term, raft_last(raft()).index, 0));
    cluster_drop_all(&c);
}

static struct raft_change adding(raft_node_id id, const char *name, const char *peer,
                                 uint64_t incarnation)
{
    struct raft_change change = {.type = RAFT_CHANGE_ADD, .origin = {.client = 7, .request = 77}};
    change.member.id = id;
    change.member.flags = RAFT_MEMBER_LEARNER | RAFT_MEMBER_PROMOTE;
    change.member.incarnation = incarnation;
    snprintf(change.member.name, sizeof change.member.name, "%s", name);
    snprintf(change.member.peer, sizeof change.member.peer, "%s", peer);
    return change;
}

static struct raft_change naming(enum raft_change_type type, const char *name,
                                 const char *replacement)
{
    struct raft_change change = adding(0, name, "", 0);
    change.type = type;
    snprintf(change.replacement, sizeof change.replacement, "%s", replacement);
    return change;
}

/* The code that it is answered with at once, nothing being appended; -1: it was begun. */
static int asked(struct raft_change change)
{
    struct raft_change *given = mem_alloc(sizeof *given);
    *given = change;
    struct raft_event event = {.type = RAFT_EVENT_CHANGE, .change = given};
    uint32_t before = c.nodes[1].refused.count;
    uint64_t last = raft_last(raft()).index;
    cluster_step(&c, 1, &event, 1);
    if (c.nodes[1].refused.count == before) {
        cr_assert_eq(raft_last(raft()).index, last + 1);
        return -1;
    }
    cr_assert_eq(c.nodes[1].refused.count, before + 1);
    cr_assert_eq(raft_last(raft()).index, last);
    struct raft_refusal refusal = c.nodes[1].refused.items[before];
    cr_assert(refusal.origin.client == 7 && refusal.origin.request == 77);
    cr_assert_eq(refusal.why == NULL, refusal.code == CONCLAVE_OK, "a refusal says why");
    return refusal.code;
}

Test(change, a_new_member_has_an_id_a_name_and_an_address_of_its_own)
{
    begin(3);
    cr_assert_eq(asked(adding(9, "n2", "tcp://new", 0)), CONCLAVE_EXISTS);
    cr_assert_eq(asked(adding(2, "new", "tcp://new", 0)), CONCLAVE_EXISTS);
    cr_assert_eq(asked(adding(9, "new", member(3)->peer, 0)), CONCLAVE_EXISTS);
    cr_assert_eq(asked(adding(9, "new", member(1)->peer, 0)), CONCLAVE_EXISTS);
    cr_assert_eq(asked(adding(0, "new", "tcp://new", 0)), CONCLAVE_INVALID);
    cr_assert_eq(asked(adding(UINT64_C(1) << 53, "new", "tcp://new", 0)), CONCLAVE_INVALID);
    cr_assert_eq(asked(adding(9, "", "tcp://new", 0)), CONCLAVE_INVALID);
    cr_assert_eq(asked(adding(9, "new", "", 0)), CONCLAVE_INVALID);
    cr_assert_eq(asked(adding((UINT64_C(1) << 53) - 1, "new", "tcp://new", 0)), -1);
    cluster_deinit(&c);
}

Test(change, a_member_has_one_directory_which_may_become_known_later)
{
    begin(3);
    cr_assert_eq(asked(adding(2, "n2", "tcp://n2", 0)), CONCLAVE_OK, "it is so already");
    cr_assert_eq(asked(adding(2, "n2", "tcp://n2", 22)), CONCLAVE_EXISTS, "a voter has one");
    cr_assert_eq(asked(adding(9, "n9", "tcp://n9", 0)), -1);
    commit();
    cr_assert_eq(asked(adding(9, "n9", "tcp://n9", 99)), -1);
    commit();
    cr_assert_eq(member(9)->incarnation, 99);
    cr_assert_eq(member(9)->flags, RAFT_MEMBER_LEARNER | RAFT_MEMBER_PROMOTE);
    cr_assert_eq(asked(adding(9, "n9", "tcp://n9", 99)), CONCLAVE_OK);
    cr_assert_eq(asked(adding(9, "n9", "tcp://n9", 98)), CONCLAVE_EXISTS);
    cr_assert_eq(asked(adding(9, "n9", "tcp://n9", 0)), CONCLAVE_EXISTS);
    cr_assert_eq(member(9)->incarnation, 99);
    cluster_deinit(&c);
}

Test(change, what_is_asked_of_nobody_or_is_no_change_is_refused)
{
    begin(3);
    cr_assert_eq(asked(naming(RAFT_CHANGE_PROMOTE, "n9", "")), CONCLAVE_NOT_FOUND);
    cr_assert_eq(asked(naming(RAFT_CHANGE_REMOVE, "n9", "")), CONCLAVE_NOT_FOUND);
    cr_assert_eq(asked(naming(RAFT_CHANGE_REPLACE, "n9", "n2")), CONCLAVE_NOT_FOUND);
    cr_assert_eq(asked(naming(RAFT_CHANGE_REPLACE, "n2", "n9")), CONCLAVE_NOT_FOUND);
    cr_assert_eq(asked(naming(RAFT_CHANGE_REPLACE, "n2", "n2")), CONCLAVE_INVALID);
    cr_assert_eq(asked(naming(RAFT_CHANGE_REPLACE, "n2", "n3")), CONCLAVE_INVALID);
    cr_assert_eq(asked(naming(RAFT_CHANGE_PROMOTE, "n2", "")), CONCLAVE_OK);
    struct raft_change unknown = adding(9, "n9", "tcp://n9", 0);
    unknown.type = (enum raft_change_type)77;
    cr_assert_eq(asked(unknown), CONCLAVE_INVALID);
    cluster_deinit(&c);
}

Test(change, a_learner_replaces_nobody_before_it_has_caught_up)
{
    begin(3);
    struct raft_change learner = adding(4, "n4", "tcp://n4", 0);
    learner.member.flags = RAFT_MEMBER_LEARNER;
    cr_assert_eq(asked(learner), -1);
    commit();
    cr_assert_eq(asked(naming(RAFT_CHANGE_REPLACE, "n4", "n4")), CONCLAVE_INVALID);
    cr_assert_eq(asked(naming(RAFT_CHANGE_REPLACE, "n2", "n4")), CONCLAVE_BUSY);
    cr_assert_eq(asked(naming(RAFT_CHANGE_PROMOTE, "n4", "")), CONCLAVE_BUSY);
    cluster_receive(&c, append_accepted(4, 1, raft_hard_state(raft()).term, 1, 0));
    cr_assert_eq(asked(naming(RAFT_CHANGE_PROMOTE, "n4", "")), CONCLAVE_BUSY,
                 "Rule 34: a part of what there was when it came is not enough");
    cluster_receive(
        &c, append_accepted(4, 1, raft_hard_state(raft()).term, raft_last(raft()).index, 0));
    cr_assert_eq(asked(naming(RAFT_CHANGE_REPLACE, "n2", "n4")), -1);
    cluster_deinit(&c);
}

Test(change, there_are_never_more_members_than_there_may_be)
{
    begin(1);
    char name[16], peer[32];
    for (raft_node_id id = 2; id <= CONCLAVE_MEMBERS_MAX + 1; id++) {
        snprintf(name, sizeof name, "n%u", (unsigned)id);
        snprintf(peer, sizeof peer, "tcp://n%u", (unsigned)id);
        cr_assert_eq(asked(adding(id, name, peer, 0)),
                     id <= CONCLAVE_MEMBERS_MAX ? -1 : CONCLAVE_INVALID, "%u", (unsigned)id);
        commit();
    }
    cluster_deinit(&c);
}

Test(change, there_are_never_more_voters_than_there_may_be)
{
    begin(CONCLAVE_VOTERS_MAX);
    cr_assert_eq(asked(adding(20, "n20", "tcp://n20", 0)), -1);
    commit();
    uint64_t last = raft_last(raft()).index;
    cluster_receive(&c, append_accepted(20, 1, raft_hard_state(raft()).term, last, 0));
    cr_assert_eq(raft_last(raft()).index, last, "it waits for a place");
    cr_assert_eq(asked(naming(RAFT_CHANGE_PROMOTE, "n20", "")), CONCLAVE_INVALID);
    cr_assert_eq(asked(naming(RAFT_CHANGE_REPLACE, "n2", "n20")), -1, "and may take another's");
    cluster_deinit(&c);
}

Test(change, one_letter_is_a_name_and_an_address)
{
    begin(3);
    cr_assert_eq(asked(adding(9, "x", "y", 0)), -1);
    cluster_deinit(&c);
}

Test(change, rule_25_nothing_is_asked_of_a_leader_that_hands_over)
{
    begin(3);
    cr_assert_eq(asked(adding(4, "n4", "tcp://n4", 0)), -1);
    commit();
    cluster_propose(&c, 1, 1, 8); /* what the target has to fetch yet */
    struct raft_event event = {.type = RAFT_EVENT_TRANSFER, .transfer = {.target = 2}};
    cluster_step(&c, 1, &event, 1);
    cr_assert_eq(raft_transfer_target(raft()), 2);
    struct raft_change *change = mem_alloc(sizeof *change);
    *change = naming(RAFT_CHANGE_REMOVE, "n3", "");
    event = (struct raft_event){.type = RAFT_EVENT_CHANGE, .change = change};
    uint64_t last = raft_last(raft()).index;
    cluster_step(&c, 1, &event, 1);
    cr_assert_eq(c.nodes[1].refused.items[c.nodes[1].refused.count - 1].code, CONCLAVE_HANDOVER);
    cr_assert_eq(raft_last(raft()).index, last);
    cluster_deinit(&c);
}

/* Both learners hold everything, and say so in one step. */
static void both_caught_up(struct raft_event *more)
{
    uint64_t term = raft_hard_state(raft()).term, last = raft_last(raft()).index;
    struct raft_event events[] = {
        {.type = RAFT_EVENT_RECEIVE, .receive = append_accepted(4, 1, term, last, 0)},
        {.type = RAFT_EVENT_RECEIVE, .receive = append_accepted(5, 1, term, last, 0)},
        {.type = RAFT_EVENT_TIMEOUT}};
    if (more)
        events[2] = *more;
    cluster_step(&c, 1, events, 3);
    cr_assert_eq(raft_last(raft()).index, last + 1, "Rule 28: one change, and not two at once");
}

static void two_learners(void)
{
    begin(3);
    cr_assert_eq(asked(adding(4, "n4", "tcp://n4", 0)), -1);
    commit();
    cr_assert_eq(asked(adding(5, "n5", "tcp://n5", 0)), -1);
    commit();
}

Test(change, rule_28_of_two_learners_that_are_ready_at_once_one_is_promoted)
{
    two_learners();
    both_caught_up(NULL);
    cr_assert(raft_configuration(raft(), NULL)->joint);
    cr_assert((member(4)->flags & RAFT_MEMBER_VOTER) && !(member(5)->flags & RAFT_MEMBER_VOTER));
    cluster_deinit(&c);
}

Test(change, rule_28_a_directory_is_written_down_before_anybody_is_promoted)
{
    two_learners();
    struct raft_event seen = {.type = RAFT_EVENT_PEER_SEEN,
                              .peer_seen = {.peer = 2, .incarnation = 22}};
    both_caught_up(&seen);
    cr_assert_eq(member(2)->incarnation, 22);
    cr_assert_not(raft_configuration(raft(), NULL)->joint);
    cluster_deinit(&c);
}

/* One voter is left, and in the place behind it what was there before. */
Test(change, whoever_was_a_voter_once_makes_no_joint_phase)
{
    begin(3);
    for (int i = 2; i <= 3; i++) {
        cr_assert_eq(asked(naming(RAFT_CHANGE_REMOVE, i == 2 ? "n2" : "n3", "")), -1);
        commit();
        commit();
    }
    struct raft_change learner = adding(4, "n4", "tcp://n4", 0);
    learner.member.flags = RAFT_MEMBER_LEARNER;
    cr_assert_eq(asked(learner), -1);
    commit();
    cr_assert_eq(raft_configuration(raft(), NULL)->member_count, 2);
    struct raft_event seen = {.type = RAFT_EVENT_PEER_SEEN,
                              .peer_seen = {.peer = 4, .incarnation = 44}};
    cluster_step(&c, 1, &seen, 1);
    cr_assert_eq(member(4)->incarnation, 44);
    cr_assert_not(raft_configuration(raft(), NULL)->joint);
    cluster_deinit(&c);
}

Test(change, rule_31_a_removed_leader_changes_nothing_more)
{
    begin(3);
    cr_assert_eq(asked(naming(RAFT_CHANGE_REMOVE, "n1", "")), -1);
    commit();
    cluster_persist_all(&c, 1);
    uint64_t term = raft_hard_state(raft()).term, last = raft_last(raft()).index;
    struct raft_event events[] = {
        {.type = RAFT_EVENT_PEER_SEEN, .peer_seen = {.peer = 2, .incarnation = 22}},
        {.type = RAFT_EVENT_RECEIVE, .receive = append_accepted(2, 1, term, last, 0)},
        {.type = RAFT_EVENT_RECEIVE, .receive = append_accepted(3, 1, term, last, 0)}};
    cluster_step(&c, 1, events, 3);
    cr_assert_eq(raft_role(raft()), RAFT_FOLLOWER);
    cr_assert_eq(raft_last(raft()).index, last);
    cluster_deinit(&c);
}

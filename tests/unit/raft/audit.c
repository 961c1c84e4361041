/* The comparison of what the nodes applied: who is right, and who has to stop. */
#include "raft/audit.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

static struct raft_configuration members;
static struct audit audit;

static void member_add(raft_node_id id, uint32_t flags)
{
    struct raft_member *member = &members.members[members.member_count++];
    member->id = id;
    member->flags = flags;
    snprintf(member->name, sizeof member->name, "n%lu", (unsigned long)id);
}

/* Voters 1 to count; this node is 1. */
static void begin(raft_node_id count)
{
    memset(&members, 0, sizeof members);
    for (raft_node_id id = 1; id <= count; id++)
        member_add(id, RAFT_MEMBER_VOTER);
    audit_init(&audit, 1);
}

static enum audit_verdict says(raft_node_id id, uint64_t index, uint64_t hash)
{
    return audit_note(&audit, &members, id, (struct audit_mark){index, hash}).verdict;
}

Test(audit, equal_values_of_a_majority_agree)
{
    begin(3);
    cr_assert_eq(says(1, 1024, 7), AUDIT_OPEN);
    cr_assert_eq(audit.agreed, 0);
    cr_assert_eq(says(3, 1024, 7), AUDIT_AGREES);
    cr_assert_eq(audit.agreed, 1024);
    cr_assert_eq(says(2, 1024, 7), AUDIT_AGREES);
    cr_assert_eq(audit_deviating(&audit, &members), 0);
}

Test(audit, a_node_that_differs_from_the_majority_is_told_so)
{
    begin(3);
    cr_assert_eq(says(1, 1024, 7), AUDIT_OPEN);
    cr_assert_eq(says(2, 1024, 8), AUDIT_SPLIT);
    cr_assert_eq(says(3, 1024, 8), AUDIT_SELF_DEVIATES);
    cr_assert_eq(audit.agreed, 0);
}

Test(audit, a_node_that_comes_late_to_an_index_is_told_so_too)
{
    begin(5);
    says(2, 2048, 8);
    says(3, 2048, 8);
    cr_assert_eq(says(4, 2048, 8), AUDIT_AGREES);
    cr_assert_eq(says(1, 2048, 9), AUDIT_SELF_DEVIATES);
}

Test(audit, the_others_name_the_one_that_differs)
{
    begin(3);
    says(1, 1024, 7);
    says(3, 1024, 9);
    struct audit_finding finding =
        audit_note(&audit, &members, 2, (struct audit_mark){.index = 1024, .hash = 7});
    cr_assert_eq(finding.verdict, AUDIT_DEVIATES);
    cr_assert_eq(finding.deviating, 3);
    cr_assert_eq(finding.index, 1024);
    cr_assert_eq(audit_deviating(&audit, &members), 3);
}

Test(audit, two_of_two_that_differ_have_no_majority)
{
    begin(2);
    says(1, 1024, 7);
    struct audit_finding finding =
        audit_note(&audit, &members, 2, (struct audit_mark){.index = 1024, .hash = 8});
    cr_assert_eq(finding.verdict, AUDIT_SPLIT);
    cr_assert(finding.deviating == 1 || finding.deviating == 2, "one of the two");
    cr_assert_eq(finding.index, 1024);
    cr_assert_eq(audit_deviating(&audit, &members), 0, "nobody can say who is right");
}

Test(audit, all_different_have_no_majority)
{
    begin(3);
    says(1, 1024, 7);
    cr_assert_eq(says(2, 1024, 8), AUDIT_SPLIT);
    cr_assert_eq(says(3, 1024, 9), AUDIT_SPLIT);
}

Test(audit, values_of_different_indexes_are_not_compared)
{
    begin(3);
    says(1, 1024, 7);
    cr_assert_eq(says(2, 2048, 8), AUDIT_OPEN);
    cr_assert_eq(says(3, 3072, 9), AUDIT_OPEN);
}

Test(audit, learners_do_not_count_and_are_compared)
{
    begin(3);
    member_add(4, RAFT_MEMBER_LEARNER);
    member_add(5, RAFT_MEMBER_LEARNER);
    says(4, 1024, 9);
    says(5, 1024, 9);
    cr_assert_eq(says(1, 1024, 9), AUDIT_OPEN, "learners make no majority");
    cr_assert_eq(says(2, 1024, 7), AUDIT_SPLIT);
    cr_assert_eq(says(3, 1024, 7), AUDIT_SELF_DEVIATES);
    audit_init(&audit, 4); /* a learner judges itself by the voters */
    says(4, 1024, 9);
    says(1, 1024, 7);
    cr_assert_eq(says(2, 1024, 7), AUDIT_SELF_DEVIATES);
}

Test(audit, a_joint_phase_needs_both_majorities)
{
    begin(3); /* 1, 2, 3 come in; 1, 4, 5 go out */
    members.joint = true;
    members.members[0].flags |= RAFT_MEMBER_VOTER_OLD;
    member_add(4, RAFT_MEMBER_VOTER_OLD);
    member_add(5, RAFT_MEMBER_VOTER_OLD);
    says(1, 1024, 9);
    says(2, 1024, 7);
    cr_assert_eq(says(3, 1024, 7), AUDIT_SPLIT, "one set alone decides nothing");
    says(4, 1024, 7);
    cr_assert_eq(says(5, 1024, 7), AUDIT_SELF_DEVIATES);
}

Test(audit, a_node_that_is_no_member_is_not_heard)
{
    begin(3);
    says(1, 1024, 7);
    cr_assert_eq(says(8, 1024, 9), AUDIT_OPEN);
    cr_assert_eq(says(9, 1024, 9), AUDIT_OPEN);
    cr_assert_eq(says(2, 1024, 7), AUDIT_AGREES);
    cr_assert_eq(says(8, 1024, 7), AUDIT_OPEN, "nor told that it is right");
}

Test(audit, a_full_house_has_no_place_for_a_node_that_is_no_member)
{
    begin(CONCLAVE_MEMBERS_MAX);
    for (raft_node_id id = 1; id <= CONCLAVE_MEMBERS_MAX; id++)
        says(id, 1024, 7);
    cr_assert_eq(audit.agreed, 1024);
    members.members[0].id = 100; /* this node is a member no more, and keeps its place */
    cr_assert_eq(says(100, 2048, 7), AUDIT_OPEN);
    cr_assert_eq(says(1, 2048, 7), AUDIT_OPEN);
    for (raft_node_id id = 2; id <= CONCLAVE_MEMBERS_MAX / 2 + 1; id++)
        cr_assert_eq(says(id, 2048, 7), AUDIT_OPEN);
    cr_assert_eq(says(CONCLAVE_MEMBERS_MAX / 2 + 2, 2048, 7), AUDIT_AGREES);
    cr_assert_eq(audit.agreed, 2048);
}

Test(audit, whoever_got_the_last_place_counts_and_is_named_like_the_others)
{
    begin(CONCLAVE_MEMBERS_MAX);
    for (raft_node_id id = 1; id <= CONCLAVE_MEMBERS_MAX; id++)
        says(id, 1024, id == CONCLAVE_MEMBERS_MAX ? 9 : 7);
    cr_assert_eq(audit_deviating(&audit, &members), CONCLAVE_MEMBERS_MAX);
    begin(1);
    for (raft_node_id id = 2; id <= CONCLAVE_MEMBERS_MAX; id++) {
        member_add(id, RAFT_MEMBER_LEARNER);
        cr_assert_eq(says(id, 1024, 5), AUDIT_OPEN);
    }
    cr_assert_eq(says(1, 1024, 7), AUDIT_DEVIATES, "the only voter is the majority");
}

Test(audit, a_mended_node_is_not_named_any_more)
{
    begin(3);
    says(1, 1024, 7);
    says(2, 1024, 7);
    cr_assert_eq(says(3, 1024, 9), AUDIT_DEVIATES);
    cr_assert_eq(says(3, 1024, 7), AUDIT_AGREES, "made again from the log, it says what is right");
    cr_assert_eq(audit_deviating(&audit, &members), 0);
    cr_assert_eq(says(3, 2048, 5), AUDIT_OPEN);
    says(1, 2048, 4);
    cr_assert_eq(says(2, 2048, 4), AUDIT_DEVIATES);
    cr_assert_eq(audit_deviating(&audit, &members), 3);
}

Test(audit, old_marks_make_room_for_new_ones)
{
    begin(3);
    for (uint64_t i = 1; i <= 3 * AUDIT_MARKS_MAX; i++) {
        says(1, i, i);
        says(2, i, i);
    }
    cr_assert_eq(audit.agreed, 3 * AUDIT_MARKS_MAX);
    struct audit_mark own[4];
    cr_assert_eq(audit_own(&audit, own, 4), 4);
    for (uint64_t i = 0; i < 4; i++)
        cr_assert_eq(own[i].index, 3 * AUDIT_MARKS_MAX - 3 + i);
    cr_assert_eq(says(3, 1, 9), AUDIT_OPEN, "what is forgotten is not judged");
    cr_assert_eq(says(3, 3 * AUDIT_MARKS_MAX, 9), AUDIT_DEVIATES);
}

Test(audit, members_that_come_and_go_find_a_place)
{
    begin(1);
    for (raft_node_id id = 100; id < 100 + 5 * CONCLAVE_MEMBERS_MAX; id++) {
        members.member_count = 1;
        member_add(id, RAFT_MEMBER_VOTER);
        says(1, id, 7);
        cr_assert_eq(says(id, id, 7), AUDIT_AGREES);
    }
    cr_assert_eq(audit.agreed, 99 + 5 * CONCLAVE_MEMBERS_MAX);
}

Test(audit, a_member_that_was_removed_counts_no_more_and_is_named_no_more)
{
    begin(4);
    cr_assert_eq(says(4, 1024, 8), AUDIT_OPEN);
    cr_assert_eq(says(1, 1024, 7), AUDIT_SPLIT);
    cr_assert_eq(says(2, 1024, 7), AUDIT_SPLIT);
    cr_assert_eq(says(3, 1024, 7), AUDIT_DEVIATES);
    cr_assert_eq(audit_deviating(&audit, &members), 4);
    members.member_count = 3;
    cr_assert_eq(audit_deviating(&audit, &members), 0);
    cr_assert_eq(says(2, 1024, 7), AUDIT_AGREES, "what the removed one said is not looked at");
}

Test(audit, two_values_are_no_split_if_one_is_of_a_member_that_was_removed)
{
    begin(4);
    cr_assert_eq(says(4, 1024, 8), AUDIT_OPEN);
    members.member_count = 3;
    cr_assert_eq(says(1, 1024, 7), AUDIT_OPEN);
}

Test(audit, what_a_former_member_said_is_not_said_by_the_one_in_its_place)
{
    begin(3);
    cr_assert_eq(says(3, 1024, 7), AUDIT_OPEN);
    members.members[2].id = 4;
    cr_assert_eq(says(4, 2048, 5), AUDIT_OPEN);
    cr_assert_eq(says(1, 1024, 7), AUDIT_OPEN, "nobody else of them has said so");
}

Test(audit, an_older_value_that_agrees_takes_no_difference_back)
{
    begin(3);
    says(1, 2048, 7);
    says(2, 2048, 7);
    cr_assert_eq(says(3, 2048, 9), AUDIT_DEVIATES);
    says(1, 1024, 5);
    cr_assert_eq(says(3, 1024, 5), AUDIT_AGREES);
    cr_assert_eq(audit_deviating(&audit, &members), 3, "it was right then, and is not now");
}

/* Bugs of other systems, each replayed, and what could go wrong where several things happen at
 * once: scenario/NAME.txt says what happens and what has to come of it. docs/testing.md lists them,
 * and those that are tests of their own. */
#include "script.h"

#include <criterion/criterion.h>

Test(scenario, etcd_8243_a_higher_term_rejoins_as_the_leader_dies)
{
    script_run("etcd_8243_a_higher_term_rejoins_as_the_leader_dies");
}

Test(scenario, etcd_8501_an_isolated_leader_rejoins)
{
    script_run("etcd_8501_an_isolated_leader_rejoins");
}

Test(scenario, hashicorp_606_one_holds_to_a_leader_that_stepped_down)
{
    script_run("hashicorp_606_one_holds_to_a_leader_that_stepped_down");
}

Test(scenario, hashicorp_609_a_node_that_cannot_win_starves_nobody)
{
    script_run("hashicorp_609_a_node_that_cannot_win_starves_nobody");
}

Test(scenario, cloudflare_2020_two_do_not_hear_each_other)
{
    script_run("cloudflare_2020_two_do_not_hear_each_other");
}

Test(scenario, redpanda_3003_who_steps_down_reports_no_success)
{
    script_run("redpanda_3003_who_steps_down_reports_no_success");
}

Test(scenario, redisraft_17_an_isolated_leader_removes_its_peers)
{
    script_run("redisraft_17_an_isolated_leader_removes_its_peers");
}

Test(scenario, redisraft_18_a_restart_reads_nothing_old)
{
    script_run("redisraft_18_a_restart_reads_nothing_old");
}

Test(scenario, a_leader_cut_off_inside_its_lease)
{
    script_run("a_leader_cut_off_inside_its_lease");
}

Test(scenario, a_lease_ends_with_a_transfer)
{
    script_run("a_lease_ends_with_a_transfer");
}

Test(scenario, a_joint_phase_outlives_its_leader)
{
    script_run("a_joint_phase_outlives_its_leader");
}

Test(scenario, a_leader_is_to_go_while_it_hands_over_to_a_full_disk)
{
    script_run("a_leader_is_to_go_while_it_hands_over_to_a_full_disk");
}

Test(scenario, a_leader_that_left_alone_is_still_a_member)
{
    script_run("a_leader_that_left_alone_is_still_a_member");
}

Test(scenario, a_leader_with_a_disk_that_hangs)
{
    script_run("a_leader_with_a_disk_that_hangs");
}

Test(scenario, a_lease_and_connections_that_are_told_to_be_lost)
{
    script_run("a_lease_and_connections_that_are_told_to_be_lost");
}

Test(scenario, a_lease_does_not_outlast_a_suspended_machine)
{
    script_run("a_lease_does_not_outlast_a_suspended_machine");
}

Test(scenario, a_read_waits_over_a_change_of_leaders)
{
    script_run("a_read_waits_over_a_change_of_leaders");
}

Test(scenario, a_removed_id_stays_removed)
{
    script_run("a_removed_id_stays_removed");
}

Test(scenario, a_snapshot_is_overtaken_on_its_way_to_a_learner)
{
    script_run("a_snapshot_is_overtaken_on_its_way_to_a_learner");
}

Test(scenario, figure_8_and_a_disk_that_is_late)
{
    script_run("figure_8_and_a_disk_that_is_late");
}

Test(scenario, a_leader_hands_over_in_the_phase_that_removes_it)
{
    script_run("a_leader_hands_over_in_the_phase_that_removes_it");
}

Test(scenario, two_changes_in_a_row_over_a_crash)
{
    script_run("two_changes_in_a_row_over_a_crash");
}

Test(scenario, a_learner_with_a_full_disk_becomes_a_voter)
{
    script_run("a_learner_with_a_full_disk_becomes_a_voter");
}

Test(scenario, a_snapshot_of_a_joint_phase_is_installed)
{
    script_run("a_snapshot_of_a_joint_phase_is_installed");
}

Test(scenario, a_follower_whose_clock_stands_still)
{
    script_run("a_follower_whose_clock_stands_still");
}

Test(scenario, one_address_three_members)
{
    script_run("one_address_three_members");
}

Test(scenario, who_was_removed_while_it_was_cut_off)
{
    script_run("who_was_removed_while_it_was_cut_off");
}

Test(scenario, one_of_two_survivors_goes_on_alone)
{
    script_run("one_of_two_survivors_goes_on_alone");
}

Test(scenario, four_nodes_in_two_halves)
{
    script_run("four_nodes_in_two_halves");
}

Test(scenario, a_target_dies_in_the_hand_over)
{
    script_run("a_target_dies_in_the_hand_over");
}

Test(scenario, only_one_reaches_the_others)
{
    script_run("only_one_reaches_the_others");
}

Test(scenario, changes_of_two_leaders)
{
    script_run("changes_of_two_leaders");
}

Test(scenario, a_leader_that_hears_nobody)
{
    script_run("a_leader_that_hears_nobody");
}

Test(scenario, a_commit_index_reaches_another_branch)
{
    script_run("a_commit_index_reaches_another_branch");
}

Test(scenario, learners_keep_no_leader)
{
    script_run("learners_keep_no_leader");
}

Test(scenario, an_old_snapshot_comes_late)
{
    script_run("an_old_snapshot_comes_late");
}

Test(scenario, a_snapshot_meets_a_longer_tail)
{
    script_run("a_snapshot_meets_a_longer_tail");
}

Test(scenario, two_become_one)
{
    script_run("two_become_one");
}

Test(scenario, one_of_each_set_is_down)
{
    script_run("one_of_each_set_is_down");
}

Test(scenario, a_snapshot_outlives_its_sender)
{
    script_run("a_snapshot_outlives_its_sender");
}

Test(scenario, who_is_alone_keeps_what_it_promised)
{
    script_run("who_is_alone_keeps_what_it_promised");
}

Test(scenario, nats_8519_two_of_three_die_under_load)
{
    script_run("nats_8519_two_of_three_die_under_load");
}

Test(scenario, cockroach_63507_the_target_needs_a_snapshot)
{
    script_run("cockroach_63507_the_target_needs_a_snapshot");
}

Test(scenario, openraft_1747_reads_while_it_hands_over_to_nobody)
{
    script_run("openraft_1747_reads_while_it_hands_over_to_nobody");
}

Test(scenario, scylla_29092_a_snapshot_of_an_earlier_office)
{
    script_run("scylla_29092_a_snapshot_of_an_earlier_office");
}

Test(scenario, etcd_21178_a_new_learner_with_an_empty_log)
{
    script_run("etcd_21178_a_new_learner_with_an_empty_log");
}

Test(scenario, nats_7040_a_snapshot_is_here_and_its_log_is_not)
{
    script_run("nats_7040_a_snapshot_is_here_and_its_log_is_not");
}

Test(scenario, dragonboat_94_a_learner_hears_of_another_that_votes)
{
    script_run("dragonboat_94_a_learner_hears_of_another_that_votes");
}

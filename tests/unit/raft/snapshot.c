/* Logs that begin behind a snapshot. */
#include "cluster.h"
#include "raft/internal.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* Three nodes with small logs: node 1 leads, `count` commands are committed everywhere. */
static void setup(struct cluster *c, uint32_t count)
{
    cluster_init(c, 3);
    for (uint32_t i = 1; i <= 3; i++)
        c->nodes[i].options.trailing_entries = 2;
    cluster_start(c, 3);
    cluster_elect(c, 1);
    for (uint32_t i = 0; i < count; i++) {
        cluster_propose(c, 1, 1, 10);
        cluster_settle(c);
    }
    cluster_run(c, HEARTBEAT_US + 1);
}

static bool needs_snapshot(const struct cluster *c, raft_node_id leader, raft_node_id peer)
{
    struct raft_peer_view view = {0};
    return raft_peer_view(c->nodes[leader].raft, peer, &view) && view.needs_snapshot;
}

/* Node 3 is down while the others go on and node 1 compacts. */
static void leave_behind(struct cluster *c)
{
    setup(c, 3);
    cluster_crash(c, 3);
    for (int i = 0; i < 12; i++) {
        cluster_propose(c, 1, 1, 10);
        cluster_settle(c);
    }
    uint64_t applied = raft_applied(c->nodes[1].raft);
    cluster_snapshot(c, 1, applied, applied - 5);
}

Test(snapshot, rule_39_trailing_entries_are_bounded_in_bytes)
{
    struct cluster c;
    cluster_init(&c, 1);
    c.nodes[1].options.trailing_entries = 10;
    c.nodes[1].options.trailing_bytes = 3000;
    cluster_start(&c, 1);
    cluster_settle(&c);
    for (int i = 0; i < 10; i++) {
        cluster_propose(&c, 1, 1, 1000);
        cluster_settle(&c);
    }
    uint64_t applied = raft_applied(c.nodes[1].raft);
    cluster_snapshot(&c, 1, applied, 0);
    cr_assert_eq(raft_base(c.nodes[1].raft).index, applied - 2, "an entry costs a little more");
    cluster_deinit(&c);
}

Test(snapshot, log_keeps_trailing_entries)
{
    struct cluster c;
    setup(&c, 10);
    uint64_t applied = raft_applied(c.nodes[1].raft);
    cluster_snapshot(&c, 1, applied, 0);
    cr_assert_eq(raft_base(c.nodes[1].raft).index, applied - 2); /* Rule 39 */
    cr_assert_eq(raft_term_at(c.nodes[1].raft, applied - 3), 0);
    cr_assert_neq(raft_term_at(c.nodes[1].raft, applied - 2), 0);
    cluster_propose(&c, 1, 1, 10);
    cluster_settle(&c);
    cr_assert_eq(raft_commit(c.nodes[1].raft), applied + 1);
    cluster_deinit(&c);
}

Test(snapshot, rule_35_log_goes_no_further_than_what_is_durable)
{
    struct cluster c;
    setup(&c, 10);
    uint64_t applied = raft_applied(c.nodes[1].raft);
    cluster_snapshot(&c, 1, applied - 4, 0); /* writing it took its time */
    cr_assert_eq(raft_base(c.nodes[1].raft).index, applied - 6);
    cluster_deinit(&c);
}

Test(snapshot, follower_slightly_behind_needs_none)
{
    struct cluster c;
    setup(&c, 10);
    cluster_propose(&c, 1, 2, 10);
    cluster_persist_all(&c, 1);
    struct raft_message *late = cluster_take(&c, 3, RAFT_APPEND_REQUEST);
    cluster_settle(&c);
    cluster_snapshot(&c, 1, raft_applied(c.nodes[1].raft), 0);
    raft_message_destroy(late);
    cluster_run(&c, 3 * HEARTBEAT_US);
    cr_assert_not(needs_snapshot(&c, 1, 3));
    cr_assert_eq(raft_last(c.nodes[3].raft).index, raft_last(c.nodes[1].raft).index);
    cluster_deinit(&c);
}

Test(snapshot, node_that_was_down_comes_back_by_one)
{
    struct cluster c;
    leave_behind(&c);
    cluster_start_node(&c, 3);
    cluster_run(&c, 3 * HEARTBEAT_US);
    cr_assert(needs_snapshot(&c, 1, 3));
    cr_assert_eq(raft_role(c.nodes[1].raft), RAFT_LEADER, "heartbeats go on meanwhile");
    cr_assert_eq(raft_leader(c.nodes[3].raft), 1);
    cluster_propose(&c, 1, 1, 10);
    cluster_settle(&c);
    cluster_transfer(&c, 1, 3);
    cr_assert_eq(c.nodes[3].install.index, c.nodes[1].disk_snapshot.last.index);
    cluster_run(&c, 3 * HEARTBEAT_US);
    cr_assert_not(needs_snapshot(&c, 1, 3)); /* Rule 37 */
    cr_assert_eq(raft_last(c.nodes[3].raft).index, raft_last(c.nodes[1].raft).index);
    cr_assert_eq(raft_applied(c.nodes[3].raft), raft_applied(c.nodes[1].raft));
    cluster_propose(&c, 1, 1, 10);
    cluster_settle(&c);
    cr_assert_eq(raft_last(c.nodes[3].raft).index, raft_last(c.nodes[1].raft).index);
    cluster_deinit(&c);
}

/* Node 3 tells node 1 that it holds so much. */
static void acknowledge(struct cluster *c, uint64_t match)
{
    uint64_t term = raft_hard_state(c->nodes[1].raft).term;
    struct raft_message *answer = append_accepted(3, 1, term, match, 0);
    answer->append_response.life = c->nodes[3].life;
    cluster_receive(c, answer);
}

/* Node 1 commits some more and takes another snapshot of all of it. */
static void snapshot_again(struct cluster *c)
{
    for (int i = 0; i < 8; i++) {
        cluster_propose(c, 1, 1, 10);
        cluster_settle(c);
    }
    uint64_t applied = raft_applied(c->nodes[1].raft);
    cluster_snapshot(c, 1, applied, applied - 5);
}

Test(snapshot, rule_36_what_follows_one_on_its_way_stays)
{
    struct cluster c;
    leave_behind(&c);
    cluster_start_node(&c, 3);
    cluster_run(&c, 3 * HEARTBEAT_US);
    cr_assert(needs_snapshot(&c, 1, 3));
    uint64_t sent = c.nodes[1].disk_snapshot.last.index;
    snapshot_again(&c);
    cr_assert_eq(raft_base(c.nodes[1].raft).index, sent);
    /* Rule 37: an old answer that does not reach the log ends nothing, not even the pin. */
    acknowledge(&c, 1);
    cr_assert(needs_snapshot(&c, 1, 3));
    snapshot_again(&c);
    cr_assert_eq(raft_base(c.nodes[1].raft).index, sent);
    cluster_crash(&c, 3);
    cluster_run(&c, 11 * T_US);
    snapshot_again(&c);
    cr_assert_gt(raft_base(c.nodes[1].raft).index, sent, "not for one that does not answer");
    cluster_deinit(&c);
}

/* Whoever got it from somebody else, or an older one, may not hold all of what is sent to it; where
 * the log begins is enough to go on. */
Test(snapshot, rule_36_a_new_leader_keeps_it_for_who_was_silent_before_too)
{
    struct cluster c;
    setup(&c, 3);
    cluster_crash(&c, 3);
    cluster_run(&c, 11 * T_US);
    cluster_elect(&c, 2);
    cluster_elect(&c, 1);
    snapshot_again(&c);
    cluster_run(&c, HEARTBEAT_US + 1);
    cr_assert(needs_snapshot(&c, 1, 3));
    uint64_t first = c.nodes[1].disk_snapshot.last.index;
    snapshot_again(&c);
    cr_assert_leq(raft_base(c.nodes[1].raft).index, first);
    cluster_deinit(&c);
}

Test(snapshot, rule_37_an_ack_that_reaches_the_log_ends_the_wait_for_one)
{
    struct cluster c;
    struct raft_peer_view view = {0};
    leave_behind(&c);
    cluster_start_node(&c, 3);
    cluster_run(&c, 3 * HEARTBEAT_US);
    cr_assert(needs_snapshot(&c, 1, 3));
    const struct raft_id base = raft_base(c.nodes[1].raft);
    cr_assert_lt(base.index, c.nodes[1].disk_snapshot.last.index);
    cluster_drop_all(&c);
    acknowledge(&c, base.index);
    cr_assert_not(needs_snapshot(&c, 1, 3));
    cr_assert(raft_peer_view(c.nodes[1].raft, 3, &view));
    cr_assert_eq(view.match, base.index);
    struct raft_message *next = cluster_take(&c, 3, RAFT_APPEND_REQUEST);
    cr_assert_not_null(next);
    cr_assert(raft_id_equal(next->append_request.prev, base));
    cr_assert_eq(raft_runs_first(&next->append_request.entries).index, base.index + 1);
    raft_message_destroy(next);
    cluster_deinit(&c);
}

Test(snapshot, rule_37_who_gets_one_is_asked_whether_it_has_reached_the_log)
{
    struct cluster c;
    leave_behind(&c);
    cluster_start_node(&c, 3);
    cluster_run(&c, 3 * HEARTBEAT_US);
    cr_assert(needs_snapshot(&c, 1, 3));
    const struct raft_id base = raft_base(c.nodes[1].raft);
    cr_assert_lt(base.index, raft_last(c.nodes[1].raft).index);
    cluster_drop_all(&c);
    cluster_advance(&c, HEARTBEAT_US);
    cluster_timeout(&c, 1);
    struct raft_message *asked = cluster_take(&c, 3, RAFT_APPEND_REQUEST);
    cr_assert_not_null(asked);
    cr_assert(raft_id_equal(asked->append_request.prev, base),
              "a lost ack of the snapshot's end would never be made up for");
    cr_assert_eq(asked->append_request.entries.entry_count, 0);
    raft_message_destroy(asked);
    cluster_deinit(&c);
}

Test(snapshot, rule_36_no_more_stays_for_a_peer_than_may)
{
    struct cluster c;
    leave_behind(&c);
    cluster_start_node(&c, 3);
    cluster_run(&c, 3 * HEARTBEAT_US);
    cr_assert(needs_snapshot(&c, 1, 3));
    uint64_t sent = c.nodes[1].disk_snapshot.last.index;
    c.nodes[1].raft->options.pinned_bytes_max = 1;
    snapshot_again(&c);
    cr_assert_gt(raft_base(c.nodes[1].raft).index, sent);
    cluster_deinit(&c);
}

Test(snapshot, rule_36_what_a_peer_lacks_behind_one_stays_until_it_has_caught_up)
{
    struct cluster c;
    leave_behind(&c);
    cluster_start_node(&c, 3);
    cluster_run(&c, 3 * HEARTBEAT_US);
    uint64_t sent = c.nodes[1].disk_snapshot.last.index;
    cluster_crash(&c, 3); /* the test answers for it, and slowly */
    snapshot_again(&c);
    acknowledge(&c, sent);
    cr_assert_not(needs_snapshot(&c, 1, 3));
    snapshot_again(&c);
    cr_assert_eq(raft_base(c.nodes[1].raft).index, sent);
    acknowledge(&c, sent + 2);
    snapshot_again(&c);
    cr_assert_eq(raft_base(c.nodes[1].raft).index, sent + 2);
    cr_assert_not(needs_snapshot(&c, 1, 3));
    uint64_t newest = c.nodes[1].disk_snapshot.last.index;
    acknowledge(&c, newest);
    snapshot_again(&c);
    snapshot_again(&c);
    cr_assert_gt(raft_base(c.nodes[1].raft).index, newest,
                 "it had caught up, and fell behind anew");
    cluster_deinit(&c);
}

Test(snapshot, nothing_is_applied_while_one_is_installed)
{
    struct cluster c;
    leave_behind(&c);
    cluster_start_node(&c, 3);
    cluster_run(&c, 3 * HEARTBEAT_US);
    c.nodes[3].hold_applied = true;
    cluster_transfer(&c, 1, 3);
    uint64_t installed = c.nodes[3].install.index;
    cr_assert(raft_is_installing(c.nodes[3].raft));
    cluster_propose(&c, 1, 3, 10);
    cluster_run(&c, 3 * HEARTBEAT_US);
    cr_assert_gt(raft_commit(c.nodes[3].raft), installed);
    cr_assert_eq(c.nodes[3].applied.entry_count, 0); /* Rule 36 */
    /* Rule 24: it does not campaign either, not even if its leader asks for it. */
    uint64_t term = raft_hard_state(c.nodes[3].raft).term;
    cluster_receive(&c, raft_message_create(RAFT_TIMEOUT_NOW, 1, 3, term));
    cr_assert_eq(raft_role(c.nodes[3].raft), RAFT_FOLLOWER);
    cluster_crash(&c, 1);
    cluster_crash(&c, 2);
    cluster_run(&c, 6 * T_US);
    cr_assert_eq(raft_role(c.nodes[3].raft), RAFT_FOLLOWER);
    struct raft_event applied = {.type = RAFT_EVENT_APPLIED, .applied = installed};
    c.nodes[3].hold_applied = false;
    cluster_step(&c, 3, &applied, 1);
    cr_assert_not(raft_is_installing(c.nodes[3].raft));
    cr_assert_eq(raft_runs_first(&c.nodes[3].applied).index, installed + 1);
    cluster_run(&c, 3 * T_US);
    cr_assert_eq(raft_role(c.nodes[3].raft), RAFT_PRECANDIDATE);
    cluster_deinit(&c);
}

Test(snapshot, log_that_disagrees_is_discarded_and_one_that_agrees_is_kept)
{
    struct cluster c;
    cluster_init(&c, 3);
    const uint64_t stale[] = {1, 2, 2, 2, 2, 2, 2, 2}, agreeing[] = {1, 4, 4, 4, 4, 4, 4, 4};
    cluster_set_disk(&c, 2, (struct raft_hard_state){.term = 4}, stale, 8);
    cluster_set_disk(&c, 3, (struct raft_hard_state){.term = 4}, agreeing, 8);
    cluster_start(&c, 3);
    struct raft_snapshot snapshot = {.last = id_of(4, 5),
                                     .configuration_index = 1,
                                     .configuration = raft_configuration_encode(&c.configuration)};
    for (raft_node_id id = 2; id <= 3; id++) {
        struct raft_event event = {.type = RAFT_EVENT_SNAPSHOT_RECEIVED,
                                   .snapshot_received = snapshot};
        (void)buf_ref(snapshot.configuration);
        cluster_step(&c, id, &event, 1);
    }
    buf_unref(snapshot.configuration);
    /* Rule 35 */
    cr_assert_eq(raft_last(c.nodes[2].raft).index, 5);
    cr_assert_eq(raft_base(c.nodes[2].raft).index, 5);
    cr_assert_eq(raft_commit(c.nodes[2].raft), 5);
    cr_assert_eq(c.nodes[2].persists[0].anew.index, 5);
    cr_assert_eq(raft_last(c.nodes[3].raft).index, 9);
    cr_assert_eq(raft_commit(c.nodes[3].raft), 5);
    cr_assert_eq(c.nodes[3].install.index, 0, "its log has everything");
    cluster_deinit(&c);
}

Test(snapshot, replaces_a_newer_configuration_of_the_discarded_log)
{
    struct cluster c;
    leave_behind(&c);
    cluster_start_node(&c, 3);
    struct raft_configuration other = c.configuration;
    other.member_count = 2;
    other.members[1] = c.configuration.members[2];
    struct raft_message *message = append_request(1, 3, raft_hard_state(c.nodes[1].raft).term,
                                                  raft_last(c.nodes[3].raft), 0, NULL, 0);
    struct raft_batch *batch = raft_batch_create(1);
    struct buf *payload = raft_configuration_encode(&other);
    struct raft_id last = message->append_request.prev;
    raft_batch_add(batch, (struct raft_entry){.id = {last.term, last.index + 1},
                                              .kind = RAFT_ENTRY_CONFIG,
                                              .buf = payload,
                                              .payload = {payload->data, payload->bytes}});
    raft_runs_append(&message->append_request.entries, batch, 0, 1);
    raft_batch_unref(batch);
    cluster_receive(&c, message);
    uint64_t index = 0;
    cr_assert_eq(raft_configuration(c.nodes[3].raft, &index)->member_count, 2);
    cluster_persist_all(&c, 3);
    cluster_drop_all(&c);
    cluster_transfer(&c, 1, 3);
    cr_assert_eq(raft_configuration(c.nodes[3].raft, &index)->member_count, 3); /* Rule 33 */
    cr_assert_eq(index, 1);
    cluster_deinit(&c);
}

Test(snapshot, append_from_before_a_compacted_log_appends_nothing_again)
{
    struct cluster c;
    setup(&c, 10);
    cluster_snapshot(&c, 3, raft_applied(c.nodes[3].raft), 0);
    uint64_t last = raft_last(c.nodes[3].raft).index;
    uint64_t term = raft_hard_state(c.nodes[1].raft).term;
    const uint64_t terms[] = {1, term, term};
    cluster_receive(&c, append_request(1, 3, term, id_of(0, 0), 3, terms, 3)); /* Rule 10 */
    cr_assert_eq(c.nodes[3].code, CONCLAVE_OK, "%s", c.nodes[3].error.message);
    cr_assert_eq(raft_last(c.nodes[3].raft).index, last);
    cr_assert_eq(c.nodes[3].persist_count, 0);
    struct raft_message *answer = cluster_take(&c, 1, RAFT_APPEND_RESPONSE);
    cr_assert(answer && answer->append_response.result == RAFT_APPEND_ACCEPTED);
    raft_message_destroy(answer);
    cluster_deinit(&c);
}

Test(snapshot, restart_goes_on_behind_it)
{
    struct cluster c;
    setup(&c, 10);
    uint64_t applied = raft_applied(c.nodes[2].raft);
    cluster_snapshot(&c, 2, applied - 2, applied - 6);
    cluster_crash(&c, 2);
    c.nodes[2].applied_index = applied - 2;
    raft_runs_clear(&c.nodes[2].applied);
    cluster_start_node(&c, 2);
    cr_assert_eq(c.nodes[2].code, CONCLAVE_OK, "%s", c.nodes[2].error.message);
    cr_assert_eq(raft_commit(c.nodes[2].raft), applied - 2);
    cluster_run(&c, 3 * HEARTBEAT_US);
    cr_assert_eq(raft_applied(c.nodes[2].raft), applied);
    cluster_deinit(&c);
}

Test(snapshot, restart_finishes_an_install_that_was_cut_short)
{
    struct cluster c;
    leave_behind(&c);
    /* The file became durable, the rest did not. */
    c.nodes[3].disk_snapshot = c.nodes[1].disk_snapshot;
    (void)buf_ref(c.nodes[3].disk_snapshot.configuration);
    c.nodes[3].applied_index = c.nodes[3].disk_snapshot.last.index; /* restored by the host */
    cluster_start_node(&c, 3);
    cr_assert_eq(c.nodes[3].code, CONCLAVE_OK, "%s", c.nodes[3].error.message);
    cr_assert_eq(raft_base(c.nodes[3].raft).index, c.nodes[3].disk_snapshot.last.index);
    cr_assert_eq(c.nodes[3].persists[0].anew.index, c.nodes[3].disk_snapshot.last.index);
    cluster_run(&c, 3 * HEARTBEAT_US);
    cr_assert_eq(raft_last(c.nodes[3].raft).index, raft_last(c.nodes[1].raft).index);
    cluster_deinit(&c);
}

/* It came from a leader of a term that the node had not written down. */
Test(snapshot, restart_behind_one_of_a_newer_term_is_in_that_term)
{
    struct cluster c;
    leave_behind(&c);
    c.nodes[3].disk_snapshot = c.nodes[1].disk_snapshot;
    (void)buf_ref(c.nodes[3].disk_snapshot.configuration);
    struct raft_id last = id_of(7, c.nodes[3].disk_snapshot.last.index);
    c.nodes[3].disk_snapshot.last = last;
    c.nodes[3].applied_index = last.index;
    cluster_start_node(&c, 3);
    cr_assert_eq(c.nodes[3].code, CONCLAVE_OK, "%s", c.nodes[3].error.message);
    cr_assert_eq(raft_hard_state(c.nodes[3].raft).term, 7);
    cr_assert_eq(raft_hard_state(c.nodes[3].raft).vote, 0, "nobody had its vote in it");
    cr_assert_eq(c.nodes[3].persists[0].hard_state.term, 7);
    cr_assert(c.nodes[3].persists[0].hard_state_changed);
    cluster_deinit(&c);
}

/* Rule 1: the term is written down already, and in it the vote. */
Test(snapshot, rule_1_restart_behind_one_of_the_own_term_keeps_the_vote)
{
    struct cluster c;
    leave_behind(&c);
    c.nodes[3].disk_snapshot = c.nodes[1].disk_snapshot;
    (void)buf_ref(c.nodes[3].disk_snapshot.configuration);
    struct raft_id last = c.nodes[3].disk_snapshot.last;
    c.nodes[3].disk_hard = (struct raft_hard_state){.term = last.term, .vote = 2};
    c.nodes[3].applied_index = last.index;
    cluster_start_node(&c, 3);
    cr_assert_eq(c.nodes[3].code, CONCLAVE_OK, "%s", c.nodes[3].error.message);
    cr_assert_eq(raft_hard_state(c.nodes[3].raft).term, last.term);
    cr_assert_eq(raft_hard_state(c.nodes[3].raft).vote, 2);
    cr_assert_not(c.nodes[3].persists[0].hard_state_changed);
    cluster_deinit(&c);
}

Test(snapshot, a_rejection_does_not_end_the_wait_for_one)
{
    struct cluster c;
    leave_behind(&c);
    cluster_start_node(&c, 3);
    cluster_run(&c, 3 * HEARTBEAT_US);
    cr_assert(needs_snapshot(&c, 1, 3));
    struct raft_peer_view before = {0}, after = {0};
    cr_assert(raft_peer_view(c.nodes[1].raft, 3, &before));
    cr_assert_gt(before.next, 2);
    struct raft_message *rejected =
        append_rejected(3, 1, raft_hard_state(c.nodes[1].raft).term, before.next - 1, id_of(1, 1));
    rejected->append_response.life = before.life;
    cluster_receive(&c, rejected);
    cr_assert(needs_snapshot(&c, 1, 3));
    cr_assert(raft_peer_view(c.nodes[1].raft, 3, &after));
    cr_assert_eq(after.next, before.next);
    cluster_deinit(&c);
}

Test(snapshot, one_that_was_taken_before_a_newer_one_came_counts_no_more)
{
    struct cluster c;
    setup(&c, 10);
    struct raft_id last = raft_last(c.nodes[3].raft);
    cluster_snapshot(&c, 3, last.index, 0);
    struct raft_event event = {.type = RAFT_EVENT_SNAPSHOT_TAKEN,
                               .snapshot_taken = id_of(last.term, last.index - 3)};
    cluster_step(&c, 3, &event, 1);
    cr_assert_eq(c.nodes[3].raft->snapshot_index, last.index);
    cluster_deinit(&c);
}

Test(snapshot, what_it_made_superfluous_is_freed_step_by_step_and_soon)
{
    enum { BATCHES = 3, ENTRIES = 8192, SOON_US = 10000 };
    struct cluster c;
    setup(&c, 10);
    struct raft_dropped *dropped = &c.nodes[3].raft->log.dropped;
    struct raft_runs runs = {0};
    for (uint64_t i = 0; i < BATCHES; i++) {
        struct raft_batch *batch = raft_batch_create(ENTRIES);
        for (uint64_t k = 1; k <= ENTRIES; k++)
            raft_batch_add(batch, (struct raft_entry){.id = id_of(1, i * ENTRIES + k)});
        raft_runs_append(&runs, batch, 0, ENTRIES);
        raft_batch_unref(batch);
    }
    raft_runs_set_aside(&runs, (uint64_t)BATCHES * ENTRIES, dropped);
    raft_runs_clear(&runs);
    for (uint32_t left = BATCHES; left-- > 0;) {
        struct raft_event event = {.type = RAFT_EVENT_TIMEOUT};
        cluster_step(&c, 3, &event, 1);
        cr_assert_eq(dropped->count, left);
        cr_assert_eq(dropped->entries, (uint64_t)left * ENTRIES);
        cr_assert_eq(c.nodes[3].deadline_us <= c.now_us + SOON_US, left > 0);
    }
    cluster_deinit(&c);
}

Test(snapshot, log_with_a_gap_before_it_does_not_start)
{
    struct cluster c;
    setup(&c, 10);
    uint64_t applied = raft_applied(c.nodes[2].raft);
    cluster_snapshot(&c, 2, applied - 4, applied - 2);
    cluster_crash(&c, 2);
    cluster_start_node(&c, 2);
    cr_assert_eq(c.nodes[2].code, CONCLAVE_CORRUPT);
    cluster_deinit(&c);
}

Test(snapshot, persist_of_the_discarded_log_attests_nothing)
{
    struct cluster c;
    leave_behind(&c);
    cluster_start_node(&c, 3);
    uint64_t term = raft_hard_state(c.nodes[1].raft).term;
    const uint64_t terms[] = {term, term};
    cluster_drop_all(&c);
    cluster_receive(&c, append_request(1, 3, term, raft_last(c.nodes[3].raft), 0, terms, 2));
    cluster_transfer(&c, 1, 3);
    uint64_t installed = c.nodes[3].install.index;
    cluster_persist(&c, 3); /* of the two entries, which are gone */
    cr_assert_eq(raft_durable(c.nodes[3].raft).index, installed); /* Rule 5 */
    cr_assert_eq(raft_last(c.nodes[3].raft).index, installed);
    cluster_persist_all(&c, 3);
    cr_assert_eq(c.nodes[3].disk_base.index, installed);
    cluster_deinit(&c);
}

/* raft-rs 417, etcd 18055. The newer one takes the older one's place before the disk has begun anew
 * behind that: what then is reported of the older one is about nothing any more. With a crash that
 * keeps the first of the two persists the start finds a log that begins behind the older one. */
static void second_while_first_is_persisted(bool crash)
{
    struct cluster c;
    leave_behind(&c);
    struct raft_snapshot first = c.nodes[1].disk_snapshot;
    (void)buf_ref(first.configuration);
    snapshot_again(&c);
    uint64_t last = c.nodes[1].disk_snapshot.last.index;
    cr_assert_gt(last, first.last.index);
    cluster_start_node(&c, 3);
    c.nodes[3].hold_applied = true;
    cluster_step(
        &c, 3,
        &(struct raft_event){.type = RAFT_EVENT_SNAPSHOT_RECEIVED, .snapshot_received = first}, 1);
    cr_assert_eq(c.nodes[3].install.index, first.last.index);
    cluster_transfer(&c, 1, 3);
    cr_assert_eq(c.nodes[3].install.index, last);
    cr_assert_eq(c.nodes[3].persists[0].anew.index, first.last.index);
    cr_assert_eq(c.nodes[3].persists[1].anew.index, last);
    cluster_persist(&c, 3);
    cr_assert_eq(raft_durable(c.nodes[3].raft).index, last, "by the file, and no further");
    struct raft_event applied = {.type = RAFT_EVENT_APPLIED, .applied = first.last.index};
    cluster_step(&c, 3, &applied, 1); /* the state machine took both, one after the other */
    cluster_propose(&c, 1, 2, 10);
    if (crash) {
        cluster_crash(&c, 3);
        cr_assert_eq(c.nodes[3].disk_base.index, first.last.index);
        c.nodes[3].applied_index = last; /* restored by the host */
        c.nodes[3].hold_applied = false;
        cluster_start_node(&c, 3);
        cr_assert_eq(c.nodes[3].code, CONCLAVE_OK, "%s", c.nodes[3].error.message);
    }
    cluster_run(&c, 3 * HEARTBEAT_US);
    cr_assert_eq(raft_base(c.nodes[3].raft).index, last);
    cr_assert_eq(raft_last(c.nodes[3].raft).index, raft_last(c.nodes[1].raft).index);
    if (!crash) {
        cr_assert_eq(c.nodes[3].applied.entry_count, 0); /* Rule 36: the newer one is not there */
        c.nodes[3].hold_applied = false;
        applied.applied = last;
        cluster_step(&c, 3, &applied, 1);
        cluster_run(&c, 3 * HEARTBEAT_US);
    }
    cr_assert_eq(raft_runs_first(&c.nodes[3].applied).index, last + 1);
    cr_assert_eq(raft_applied(c.nodes[3].raft), raft_applied(c.nodes[1].raft));
    cluster_deinit(&c);
}

Test(snapshot, second_one_while_the_first_is_persisted_takes_its_place)
{
    second_while_first_is_persisted(false);
}

Test(snapshot, second_one_is_finished_by_a_start_that_finds_the_first_persisted)
{
    second_while_first_is_persisted(true);
}

/* A received one, with what it takes to be read. */
static void receive(struct cluster *c, raft_node_id id, struct raft_id last)
{
    struct raft_event event = {
        .type = RAFT_EVENT_SNAPSHOT_RECEIVED,
        .snapshot_received = {.last = last,
                              .configuration_index = 1,
                              .configuration = raft_configuration_encode(&c->configuration)}};
    cluster_step(c, id, &event, 1);
}

/* Rule 2: its log begins in that term, whatever was heard of the leader that sent it. */
Test(snapshot, one_of_a_newer_term_brings_that_term)
{
    struct cluster c;
    setup(&c, 3);
    receive(&c, 3, id_of(7, 50));
    cr_assert_eq(raft_hard_state(c.nodes[3].raft).term, 7);
    cr_assert_eq(raft_hard_state(c.nodes[3].raft).vote, 0);
    cr_assert_eq(raft_leader(c.nodes[3].raft), 0);
    cr_assert_eq(c.nodes[3].persists[0].anew.index, 50);
    cr_assert_eq(c.nodes[3].persists[0].hard_state.term, 7, "with the log, in one unit");
    cr_assert_eq(c.nodes[3].raft->snapshot_index, 50, "the newest that there is here");
    cluster_deinit(&c);
}

Test(snapshot, what_was_received_is_acknowledged_at_once)
{
    struct cluster c;
    setup(&c, 3);
    receive(&c, 3, id_of(2, 50));
    struct raft_message *answer = cluster_take(&c, 1, RAFT_APPEND_RESPONSE);
    cr_assert_not_null(answer);
    cr_assert_eq(answer->append_response.result, RAFT_APPEND_ACCEPTED);
    cr_assert_eq(answer->append_response.match, 50);
    raft_message_destroy(answer);
    cluster_deinit(&c);
}

/* The state machine has lost some of it, and the log still has that. */
Test(snapshot, what_one_holds_is_committed_at_a_start)
{
    struct cluster c;
    setup(&c, 10);
    cluster_snapshot(&c, 1, 8, 0);
    cluster_crash(&c, 1);
    c.nodes[1].applied_index = 4;
    raft_runs_truncate(&c.nodes[1].applied, 5);
    cluster_start_node(&c, 1);
    cr_assert_eq(c.nodes[1].code, CONCLAVE_OK, "%s", c.nodes[1].error.message);
    cr_assert_eq(raft_commit(c.nodes[1].raft), 8);
    cluster_deinit(&c);
}

Test(snapshot, what_one_commits_takes_no_room_of_proposals_any_more)
{
    struct cluster c;
    cluster_init(&c, 3);
    c.nodes[1].options.uncommitted_bytes_max = 100;
    cluster_start(&c, 1);
    uint64_t led = cluster_lead_alone(&c);
    cluster_propose(&c, 1, 1, 100);
    cluster_propose(&c, 1, 1, 1);
    cr_assert_eq(c.nodes[1].refused.count, 1);
    receive(&c, 1, id_of(led, 3)); /* the next leader has committed it */
    cr_assert_eq(raft_commit(c.nodes[1].raft), 3);
    cluster_propose(&c, 1, 1, 100);
    cr_assert_eq(c.nodes[1].refused.count, 1);
    cluster_deinit(&c);
}

Test(snapshot, of_what_is_committed_already_changes_nothing)
{
    struct cluster c;
    setup(&c, 10);
    uint64_t applied = raft_applied(c.nodes[3].raft);
    struct raft_id old = id_of(raft_term_at(c.nodes[3].raft, 4), 4);
    cluster_snapshot(&c, 3, applied, 0);
    struct raft_id base = raft_base(c.nodes[3].raft);
    cr_assert_gt(base.index, old.index, "it is not in the log any more");
    receive(&c, 3, old);
    receive(&c, 3, base);
    cr_assert_eq(raft_commit(c.nodes[3].raft), applied);
    cr_assert_eq(raft_base(c.nodes[3].raft).index, base.index);
    cr_assert_eq(c.nodes[3].install.index, 0);
    cr_assert_eq(c.nodes[3].persist_count, 0);
    cluster_deinit(&c);
}

Test(snapshot, leader_whose_log_lacks_it_leads_no_longer)
{
    struct cluster c;
    setup(&c, 3);
    struct raft_id last = raft_last(c.nodes[1].raft);
    uint64_t term = raft_hard_state(c.nodes[1].raft).term;
    cluster_cut(&c, 1 << 1, 1 << 2 | 1 << 3);
    cluster_propose(&c, 1, 3, 10);
    receive(&c, 1, id_of(term, last.index + 5));
    cr_assert_eq(raft_role(c.nodes[1].raft), RAFT_FOLLOWER);
    cr_assert_eq(raft_base(c.nodes[1].raft).index, last.index + 5);
    cr_assert_eq(c.nodes[1].install.index, last.index + 5);
    cr_assert_eq(c.nodes[1].refused.count, 3, "Rule 44: they may be in it");
    for (uint32_t i = 0; i < 3; i++) {
        cr_assert_eq(c.nodes[1].refused.items[i].code, CONCLAVE_UNKNOWN);
        cr_assert_eq(c.nodes[1].refused.items[i].origin.client, 7);
    }
    cluster_deinit(&c);
}

/* The discarded log was longer than what the snapshot holds: what is reported of it later would
 * else count for entries that stand at the same indexes now, and are on no disk yet. */
Test(snapshot, rule_5_persist_of_a_longer_discarded_log_attests_nothing_that_came_after)
{
    struct cluster c;
    cluster_setup(&c, 3, 1);
    const uint64_t old[] = {2, 2, 2, 2, 2, 2}, new[] = {4, 4};
    cluster_receive(&c, append_request(2, 1, 2, id_of(1, 1), 1, old, 6)); /* entries 2 to 7 */
    receive(&c, 1, id_of(4, 4));
    cr_assert_eq(raft_last(c.nodes[1].raft).index, 4);
    cluster_receive(&c, append_request(3, 1, 4, id_of(4, 4), 4, new, 2));
    cr_assert_eq(raft_last(c.nodes[1].raft).index, 6);
    cluster_persist(&c, 1); /* of the six entries, which are gone */
    cr_assert_eq(raft_durable(c.nodes[1].raft).index, 4);
    cluster_persist_all(&c, 1);
    cr_assert_eq(raft_durable(c.nodes[1].raft).index, 6);
    cluster_deinit(&c);
}

Test(snapshot, rule_44_who_waits_for_entries_that_go_with_the_log_hears_that_it_is_unknown)
{
    struct cluster c;
    cluster_setup(&c, 3, 1);
    uint64_t term = cluster_lead_alone(&c);
    struct raft_batch *batch = raft_batch_create(2);
    raft_batch_add(batch, (struct raft_entry){.kind = RAFT_ENTRY_COMMAND, .origin = {7, 1}});
    raft_batch_add(batch, (struct raft_entry){.kind = RAFT_ENTRY_COMMAND, .origin = {0, 2}});
    cluster_step(&c, 1, &(struct raft_event){.type = RAFT_EVENT_PROPOSE, .propose = batch}, 1);
    cluster_receive(&c, append_request(2, 1, term + 1, id_of(term + 1, 40), 0, NULL, 0));
    cr_assert_eq(raft_role(c.nodes[1].raft), RAFT_FOLLOWER);
    cr_assert_eq(c.nodes[1].refused.count, 0, "another leader may have them");
    receive(&c, 1, id_of(term + 1, 30));
    cr_assert_eq(c.nodes[1].refused.count, 2);
    for (uint32_t i = 0; i < 2; i++) {
        cr_assert_eq(c.nodes[1].refused.items[i].code, CONCLAVE_UNKNOWN);
        cr_assert_eq(c.nodes[1].refused.items[i].origin.request, i + 1);
    }
    cr_assert_eq(raft_base(c.nodes[1].raft).index, 30);
    cluster_deinit(&c);
}

Test(snapshot, rule_44_what_the_state_machine_is_applying_it_answers)
{
    struct cluster c;
    cluster_setup(&c, 3, 1);
    uint64_t term = cluster_lead_alone(&c);
    c.nodes[1].hold_applied = true;
    struct raft_batch *batch = raft_batch_create(2);
    raft_batch_add(batch, (struct raft_entry){.kind = RAFT_ENTRY_COMMAND, .origin = {7, 1}});
    raft_batch_add(batch, (struct raft_entry){.kind = RAFT_ENTRY_COMMAND, .origin = {7, 2}});
    cluster_step(&c, 1, &(struct raft_event){.type = RAFT_EVENT_PROPOSE, .propose = batch}, 1);
    cluster_persist_all(&c, 1);
    cluster_receive(&c, append_accepted(2, 1, term, 3, 0));
    cr_assert_eq(raft_commit(c.nodes[1].raft), 3);
    cr_assert_eq(raft_runs_last(&c.nodes[1].applied).index, 3);
    cr_assert_lt(raft_applied(c.nodes[1].raft), 3);
    cluster_receive(&c, append_request(2, 1, term + 1, id_of(term + 1, 40), 0, NULL, 0));
    receive(&c, 1, id_of(term + 1, 30));
    cr_assert_eq(c.nodes[1].refused.count, 1);
    cr_assert_eq(c.nodes[1].refused.items[0].origin.request, 2);
    cluster_deinit(&c);
}

Test(snapshot, with_members_that_cannot_be_read_is_not_taken)
{
    struct cluster c;
    cluster_setup(&c, 3, 1);
    struct raft_event event = {.type = RAFT_EVENT_SNAPSHOT_RECEIVED,
                               .snapshot_received = {.last = id_of(3, 30),
                                                     .configuration_index = 1,
                                                     .configuration = buf_copy("\xc0", 1)}};
    cluster_step(&c, 1, &event, 1);
    cr_assert_eq(c.nodes[1].code, CONCLAVE_OK);
    cr_assert_eq(raft_last(c.nodes[1].raft).index, 1);
    cr_assert_eq(raft_base(c.nodes[1].raft).index, 0);
    cluster_deinit(&c);
}

/* Node 1, alone, with one installed that its state machine does not have yet. */
static void installing(struct cluster *c, uint64_t index)
{
    receive(c, 1, id_of(1, index));
    cr_assert_eq(raft_base(c->nodes[1].raft).index, index);
    cr_assert_lt(raft_applied(c->nodes[1].raft), index);
}

Test(snapshot, an_older_one_changes_nothing_while_one_is_installed)
{
    struct cluster c;
    cluster_setup(&c, 3, 1);
    c.nodes[1].hold_applied = true;
    installing(&c, 20);
    receive(&c, 1, id_of(1, 10));
    cr_assert_eq(raft_base(c.nodes[1].raft).index, 20);
    cr_assert_eq(raft_commit(c.nodes[1].raft), 20);
    cluster_deinit(&c);
}

Test(snapshot, rule_36_what_was_applied_just_before_it_does_not_end_an_install)
{
    struct cluster c;
    cluster_setup(&c, 3, 1);
    c.nodes[1].hold_applied = true;
    installing(&c, 20);
    struct raft_event event = {.type = RAFT_EVENT_APPLIED, .applied = 19};
    cluster_step(&c, 1, &event, 1);
    cr_assert(raft_is_installing(c.nodes[1].raft));
    event = (struct raft_event){.type = RAFT_EVENT_APPLIED, .applied = 20};
    cluster_step(&c, 1, &event, 1);
    cr_assert_not(raft_is_installing(c.nodes[1].raft));
    cluster_deinit(&c);
}

Test(snapshot, who_asks_for_prevotes_asks_no_more_when_it_gets_one)
{
    struct cluster c;
    cluster_setup(&c, 3, 1);
    c.nodes[1].hold_applied = true;
    cluster_run(&c, 3 * T_US);
    uint64_t term = raft_hard_state(c.nodes[1].raft).term;
    cr_assert_eq(raft_role(c.nodes[1].raft), RAFT_PRECANDIDATE);
    installing(&c, 20);
    cr_assert_eq(raft_role(c.nodes[1].raft), RAFT_FOLLOWER);
    cluster_receive(&c, vote_response(RAFT_PREVOTE_RESPONSE, 2, 1, term, term + 1, true));
    cr_assert_eq(raft_hard_state(c.nodes[1].raft).term, term, "Rules 24 and 36");
    cluster_deinit(&c);
}

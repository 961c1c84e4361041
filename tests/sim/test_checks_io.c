/* Disk, network, state machine, clients: every check is fed the violation that it is there for, and
 * has to name it. */
#include "tests/sim/test_fixture.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(checks_io, .init = fixture_setup, .fini = fixture_teardown);

/* --- What is durable -------------------------------------------------------------------------- */

static struct raft_message accepted(uint64_t term, uint64_t match)
{
    return (struct raft_message){
        .type = RAFT_APPEND_RESPONSE,
        .term = term,
        .append_response = {.result = RAFT_APPEND_ACCEPTED, .match = match}};
}

Test(checks_io, find_an_acknowledgement_before_the_fsync)
{
    node_does(B, 2, 0, RAFT_FOLLOWER, entries_make(2, 2, 1, 0), 1, false);
    message_send(B, A, accepted(2, 2));
    SCREAMS("acknowledged is durable");
}

Test(checks_io, find_an_answer_in_a_term_that_is_not_durable)
{
    good_cluster();
    uint64_t term = check.nodes[B].durable.term;
    message_send(B, A, accepted(term, 0));
    SILENT();
    struct raft_message stale = accepted(term + 1, 0);
    stale.append_response.result = RAFT_APPEND_STALE;
    message_send(B, A, stale);
    SCREAMS("a term is durable before it is answered in");
}

Test(checks_io, find_an_answer_to_a_round_of_nobody)
{
    good_cluster();
    check.nodes[A].round_sent = 4;
    struct raft_message answer = accepted(check.nodes[A].led_term, 0);
    answer.append_response.round = 4;
    message_send(B, A, answer);
    SILENT();
    answer.append_response.round = 5;
    message_send(B, A, answer);
    SCREAMS("a round is answered that was asked");
}

Test(checks_io, find_an_acknowledgement_of_other_entries)
{
    node_does(A, 3, ids[A], RAFT_LEADER, entries_make(2, 3, 1, 0), 1, true);
    node_does(B, 3, ids[A], RAFT_FOLLOWER, entries_make(2, 2, 1, 0), 1, true);
    SILENT();
    message_send(B, A, accepted(3, 2));
    SCREAMS("acknowledged is equal to the leader's log");
}

Test(checks_io, find_a_leader_that_believes_too_much_of_a_peer)
{
    node_does(A, 2, ids[A], RAFT_LEADER, entries_make(2, 2, 1, 0), 1, true);
    node_does(B, 2, ids[A], RAFT_FOLLOWER, entries_make(2, 2, 1, 0), 1, false);
    check_peer_view(&check, A, B, &(struct raft_peer_view){.match = 2, .next = 3}, false, 0);
    SCREAMS("match is durable at the peer");
}

Test(checks_io, find_a_match_that_shrinks)
{
    good_cluster();
    check_peer_view(&check, A, B, &(struct raft_peer_view){.match = 3, .next = 4}, false, 0);
    SILENT();
    check_peer_view(&check, A, B, &(struct raft_peer_view){.match = 2, .next = 4}, false, 0);
    SCREAMS("match only grows and is below next");
}

Test(checks_io, let_a_leader_forget_a_peer_that_was_restarted)
{
    good_cluster();
    check_rot(&check, B, 2, 1);
    check_peer_view(&check, A, B, &(struct raft_peer_view){.match = 3, .next = 4, .life = 1}, false,
                    0);
    check_peer_view(&check, A, B, &(struct raft_peer_view){.match = 0, .next = 4, .life = 2}, false,
                    0);
    SILENT();
    check_peer_view(&check, A, B, &(struct raft_peer_view){.match = 3, .next = 4, .life = 2}, false,
                    0);
    SCREAMS("match is durable at the peer");
}

Test(checks_io, find_a_lease_that_lasts_too_long)
{
    good_cluster();
    check.nodes[A].view.lease_us = 1000;
    for (uint32_t node = B; node < LEARNER; node++)
        node_does(node, 9, ids[B], node == B ? RAFT_LEADER : RAFT_FOLLOWER,
                  entries_make(4, 9, 2, 0), 3, true);
    SILENT();
    struct check_view view = view_make(B, RAFT_LEADER, 4);
    view.world_us = 1000;
    check_step(&check, B, &view);
    SILENT();
    view = view_make(B, RAFT_LEADER, 5);
    view.world_us = 999;
    check_step(&check, B, &view);
    SCREAMS("leases end before another leader commits");
}

Test(checks_io, find_a_core_that_believes_too_much_of_its_disk)
{
    node_does(A, 2, 0, RAFT_FOLLOWER, entries_make(2, 2, 1, 0), 1, false);
    struct check_view view = view_make(A, RAFT_FOLLOWER, 1);
    view.durable = (struct raft_id){.term = 2, .index = 2};
    check_step(&check, A, &view);
    SCREAMS("durable is on disk");
}

Test(checks_io, find_a_disk_that_forgets_a_committed_entry)
{
    good_cluster();
    struct raft_runs log = log_of_new_node();
    check_start(&check, B, 2, check.nodes[B].durable, (struct raft_id){0}, &log, 0);
    raft_runs_clear(&log);
    SCREAMS("durable committed entries are kept");
}

/* --- Messages --------------------------------------------------------------------------------- */

Test(checks_io, find_an_append_from_no_leader)
{
    message_send(A, B, (struct raft_message){.type = RAFT_APPEND_REQUEST, .term = 2});
    SCREAMS("only a leader appends");
}

Test(checks_io, find_an_append_with_a_wrong_prev)
{
    good_cluster();
    message_send(A, B,
                 (struct raft_message){.type = RAFT_APPEND_REQUEST,
                                       .term = 2,
                                       .append_request = {.prev = {.term = 1, .index = 3}}});
    SCREAMS("an append continues its prev");
}

Test(checks_io, find_an_append_with_a_gap)
{
    good_cluster();
    struct raft_message message = {
        .type = RAFT_APPEND_REQUEST,
        .term = 2,
        .append_request = {.prev = {.term = 1, .index = 1}, .entries = entries_make(3, 2, 1, 0)}};
    message_send(A, B, message);
    raft_runs_clear(&message.append_request.entries);
    SCREAMS("an append continues its prev");
}

Test(checks_io, find_an_append_over_its_limit)
{
    check.options.append_entries_max = 1;
    good_cluster();
    struct raft_message message = {
        .type = RAFT_APPEND_REQUEST,
        .term = 2,
        .append_request = {.prev = {.term = 1, .index = 1}, .entries = entries_make(2, 2, 2, 0)}};
    message_send(A, B, message);
    raft_runs_clear(&message.append_request.entries);
    SCREAMS("appends are bounded");
}

/* An append of one entry, as the leader A of good_cluster sends it to B. */
static void send_entry(uint64_t index)
{
    struct raft_message message = {
        .type = RAFT_APPEND_REQUEST,
        .term = 2,
        .append_request = {.prev = {.term = index > 2 ? 2 : 1, .index = index - 1},
                           .entries = entries_make(index, 2, 1, 0)}};
    message_send(A, B, message);
    raft_runs_clear(&message.append_request.entries);
}

Test(checks_io, find_more_appends_on_their_way_than_allowed)
{
    check.options.inflight_messages_max = 1;
    good_cluster();
    check_peer_view(&check, A, B, &(struct raft_peer_view){.next = 4, .replicating = true}, false,
                    0);
    send_entry(2);
    check_peer_view(&check, A, B,
                    &(struct raft_peer_view){.match = 2, .next = 4, .replicating = true}, false, 0);
    send_entry(3);
    SILENT();
    send_entry(3);
    SCREAMS("appends on their way are bounded");
}

Test(checks_io, find_more_bytes_on_their_way_than_allowed)
{
    check.options.inflight_bytes_max = COMMAND_BYTES;
    good_cluster();
    check_peer_view(&check, A, B, &(struct raft_peer_view){.next = 4, .replicating = true}, false,
                    0);
    send_entry(2);
    SILENT();
    send_entry(3);
    SCREAMS("appends on their way are bounded");
}

Test(checks_io, find_more_uncommitted_than_allowed)
{
    check.options.uncommitted_bytes_max = UINT64_C(2) * COMMAND_BYTES;
    node_does(A, 2, ids[A], RAFT_LEADER, entries_make(2, 2, 2, 0), 1, true);
    check_uncommitted(&check, A);
    SILENT();
    node_does(A, 2, ids[A], RAFT_LEADER, entries_make(4, 2, 1, 0), 1, true);
    check_uncommitted(&check, A);
    SCREAMS("what is uncommitted is bounded");
}

Test(checks_io, find_a_commit_told_before_it_is_known)
{
    good_cluster();
    message_send(
        A, B,
        (struct raft_message){.type = RAFT_APPEND_REQUEST,
                              .term = 2,
                              .append_request = {.prev = {.term = 2, .index = 3}, .commit = 4}});
    SCREAMS("a leader tells what it committed");
}

Test(checks_io, find_an_empty_append_that_commits_too_much)
{
    good_cluster();
    check_peer_view(&check, A, B, &(struct raft_peer_view){.match = 2, .next = 4}, false, 0);
    message_send(
        A, B,
        (struct raft_message){.type = RAFT_APPEND_REQUEST,
                              .term = 2,
                              .append_request = {.prev = {.term = 2, .index = 3}, .commit = 3}});
    SCREAMS("an empty append commits no more than the peer holds");
}

Test(checks_io, find_a_message_to_nobody)
{
    struct raft_message message = {.type = RAFT_VOTE_REQUEST, .from = ids[A], .to = 999, .term = 2};
    check_send(&check, A, &message);
    SCREAMS("messages name their ends");
}

/* --- State machine ---------------------------------------------------------------------------- */

static void apply(uint32_t node, uint64_t first, uint64_t term, uint32_t count)
{
    struct raft_runs runs = entries_make(first, term, count, 0);
    check_apply(&check, node, &runs);
    raft_runs_clear(&runs);
}

Test(checks_io, find_an_entry_applied_before_it_is_committed)
{
    node_does(A, 2, 0, RAFT_FOLLOWER, entries_make(2, 2, 1, 0), 1, true);
    check.nodes[A].apply_handed = 1;
    apply(A, 2, 2, 1);
    SCREAMS("only committed entries are applied");
}

Test(checks_io, find_an_entry_applied_before_it_is_durable)
{
    good_cluster();
    check.nodes[B].apply_handed = 1;
    check.nodes[B].disk.count = 1;
    apply(B, 2, 2, 1);
    SCREAMS("only durable entries are applied");
}

Test(checks_io, find_an_entry_applied_out_of_order)
{
    good_cluster();
    check.nodes[B].apply_handed = 1;
    apply(B, 3, 2, 1);
    SCREAMS("applied in order");
}

Test(checks_io, find_more_handed_out_than_allowed)
{
    good_cluster();
    check.options.apply_bytes_max = 20;
    check.nodes[B].apply_handed = 1;
    apply(B, 2, 2, 2);
    SCREAMS("applying is bounded");
}

Test(checks_io, find_different_answers)
{
    good_cluster();
    check_applied(&check, A, 1, 0);
    check_applied(&check, B, 1, 0);
    check_applied(&check, A, 2, 77);
    check_applied(&check, B, 2, 77);
    SILENT();
    check_applied(&check, C, 1, 78);
    SCREAMS("equal answers at equal index");
}

Test(checks_io, find_different_states)
{
    check_store(&check, A, 1, 77);
    check_store(&check, B, 1, 77);
    SILENT();
    check_store(&check, C, 1, 78);
    SCREAMS("equal state at equal index");
}

Test(checks_io, find_an_applied_index_that_goes_back)
{
    good_cluster();
    check.nodes[B].view.applied = 2;
    check.nodes[B].machine_index = 2;
    struct check_view view = view_make(B, RAFT_FOLLOWER, 3);
    view.applied = 1;
    check_step(&check, B, &view);
    SCREAMS("applied is monotonic and committed");
}

Test(checks_io, find_a_state_machine_ahead_of_the_disk)
{
    check.nodes[B].machine_index = 2;
    struct raft_runs log = log_of_new_node();
    check_start(&check, B, 2, check.nodes[B].durable, (struct raft_id){0}, &log, 2);
    raft_runs_clear(&log);
    SCREAMS("applied entries are durable");
}

/* --- Clients ---------------------------------------------------------------------------------- */

static uint64_t op_taken(enum op_kind kind)
{
    return ops_add(&ops, (struct op){.kind = kind, .state = OP_TAKEN, .node = A, .incarnation = 1});
}

Test(checks_io, find_an_operation_answered_twice)
{
    uint64_t op = op_taken(OP_PUT);
    check_answer(&check, op, A, 1, OP_REFUSED);
    SILENT();
    ops.items[op].state = OP_REFUSED;
    check_answer(&check, op, A, 1, OP_REFUSED);
    SCREAMS("an operation is answered once");
}

Test(checks_io, find_an_answer_from_another_node)
{
    check_answer(&check, op_taken(OP_PUT), B, 1, OP_REFUSED);
    SCREAMS("an answer comes from where it was asked");
}

Test(checks_io, find_an_answer_from_another_life)
{
    check_answer(&check, op_taken(OP_PUT), A, 2, OP_REFUSED);
    SCREAMS("an answer comes from where it was asked");
}

Test(checks_io, find_an_answer_to_nobody)
{
    check_answer(&check, 5, A, 1, OP_OK);
    SCREAMS("an answer is somebody's");
}

Test(checks_io, find_an_acknowledged_write_that_is_not_committed)
{
    check_answer(&check, op_taken(OP_PUT), A, 1, OP_OK);
    SCREAMS("acknowledged is committed");
}

Test(checks_io, find_a_committed_write_refused)
{
    uint64_t op = op_taken(OP_PUT);
    ops.items[op].committed = 3;
    check_answer(&check, op, A, 1, OP_REFUSED);
    SCREAMS("refused is not applied");
}

Test(checks_io, find_a_write_refused_that_was_in_a_log)
{
    good_cluster();
    uint64_t op = op_taken(OP_PUT);
    leader_gets(A, entries_make(4, 2, 1, op), 3);
    SILENT();
    check_answer(&check, op, A, 1, OP_REFUSED);
    SCREAMS("what was in a log is not surely refused");
}

Test(checks_io, find_a_read_confirmed_by_what_was_asked_before_it_came)
{
    good_cluster();
    uint64_t op = op_taken(OP_GET);
    const struct raft_message request = {
        .type = RAFT_READ_REQUEST, .term = 2, .read_index.number = 7};
    struct raft_message response = request;
    message_send(B, A, request);
    check_events(&check, B, ids[A], 0, &(struct raft_event){.type = RAFT_EVENT_READ, .read = op},
                 1);
    node_steps(B, RAFT_FOLLOWER, 3);
    response.type = RAFT_READ_RESPONSE;
    check_heard(&check, B, &response);
    response.read_index.number++;
    struct check later = check;
    check_read_followed(&check, op, B);
    SCREAMS("a follower asks for a read after it came");
    check = later;
    check_heard(&check, B, &response);
    check_read_followed(&check, op, B);
    SILENT();
}

/* B asks its leader by this number, and starts anew. */
static void ask_and_die(uint64_t number)
{
    struct raft_runs log = log_of_new_node();
    message_send(
        B, A,
        (struct raft_message){.type = RAFT_READ_REQUEST, .term = 2, .read_index.number = number});
    check_start(&check, B, 2, check.nodes[B].durable, (struct raft_id){0}, &log, 0);
    raft_runs_clear(&log);
}

Test(checks_io, find_a_number_of_a_read_that_comes_again)
{
    ask_and_die(7);
    message_send(
        B, A, (struct raft_message){.type = RAFT_READ_REQUEST, .term = 2, .read_index.number = 8});
    SILENT();
    message_send(
        B, A, (struct raft_message){.type = RAFT_READ_REQUEST, .term = 2, .read_index.number = 7});
    SCREAMS("numbers of reads never come again");
}

Test(checks_io, find_a_stale_read)
{
    good_cluster();
    uint64_t op = op_taken(OP_GET);
    ops.items[op].floor = 3;
    check_read(&check, op, 3);
    SILENT();
    check_read(&check, op, 2);
    SCREAMS("reads are not stale");
}

Test(checks_io, find_a_read_of_the_future)
{
    good_cluster();
    check_read(&check, op_taken(OP_GET), 4);
    SCREAMS("reads see committed entries");
}

Test(checks_io, keep_the_first_violation)
{
    check_fail(&check, "first", "one");
    check_fail(&check, "second", "two");
    SCREAMS("first");
}

/* --- What may wait ---------------------------------------------------------------------------- */

Test(checks_io, find_an_application_that_is_put_off_for_ever)
{
    good_cluster();
    struct check_node *at = &check.nodes[B];
    check.options.apply_delay_us = 10;
    at->apply_handed = at->view.applied = 1;
    at->view.commit = at->view.durable.index = 2;
    check_deadline(&check, B, at->view.now_us + 10);
    SILENT();
    check_deadline(&check, B, at->view.now_us + 11);
    SCREAMS("what is committed is applied in time");
}

Test(checks_io, find_a_core_that_waits_for_its_disk_and_does_not_say_so)
{
    good_cluster();
    struct check_node *at = &check.nodes[B];
    struct check_view before = at->view;
    check_told_late(&check, B, &before, at->apply_handed);
    SILENT();
    at->view.commit++;
    check_told_late(&check, B, &before, at->apply_handed);
    SCREAMS("a core says that it waits for its disk");
}

Test(checks_io, find_a_core_that_would_lead_and_is_not_told)
{
    good_cluster();
    struct check_view before = check.nodes[B].view;
    before.role = RAFT_CANDIDATE;
    check.nodes[B].view.role = RAFT_LEADER;
    check_told_late(&check, B, &before, check.nodes[B].apply_handed);
    SCREAMS("a core says that it waits for its disk");
}

Test(checks_io, find_a_core_that_would_apply_and_is_not_told)
{
    good_cluster();
    struct check_node *at = &check.nodes[B];
    at->apply_handed = 2;
    check.options.apply_delay_us = 1;
    check_told_late(&check, B, &at->view, at->apply_handed - 1);
    SILENT();
    check.options.apply_delay_us = 0;
    check_told_late(&check, B, &at->view, at->apply_handed - 1);
    SCREAMS("a core says that it waits for its disk");
}

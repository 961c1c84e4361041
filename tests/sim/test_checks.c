/* Every check of check.h is fed the violation that it is there for, and has to name it. */
#include "tests/sim/check.h"

#include <criterion/criterion.h>
#include <string.h>

enum { A, B, C, LEARNER, NODES };

static struct check check;
static struct ops ops;
static struct raft_options options;
static const raft_node_id ids[NODES] = {101, 102, 103, 104};

/* Runs of `count` entries from index `first` on, all of one term. */
static struct raft_runs entries_make(uint64_t first, uint64_t term, uint32_t count, uint64_t op)
{
    struct raft_runs runs = {0};
    struct raft_batch *batch = raft_batch_create(count);
    for (uint32_t i = 0; i < count; i++) {
        struct buf *buf = command_encode(op ? op + i : 0, 0, 0);
        raft_batch_add(batch, (struct raft_entry){.id = {.term = term, .index = first + i},
                                                  .buf = buf,
                                                  .payload = {buf->data, buf->bytes},
                                                  .kind = RAFT_ENTRY_COMMAND});
    }
    raft_runs_append(&runs, batch, 0, count);
    raft_batch_unref(batch);
    return runs;
}

/* The log of a new node: one configuration. */
static struct raft_runs log_of_new_node(void)
{
    struct raft_runs runs = {0};
    struct raft_batch *batch = raft_batch_create(1);
    raft_batch_add(batch,
                   (struct raft_entry){.id = {.term = 1, .index = 1}, .kind = RAFT_ENTRY_CONFIG});
    raft_runs_append(&runs, batch, 0, 1);
    raft_batch_unref(batch);
    return runs;
}

static void start_all(void)
{
    struct raft_runs log = log_of_new_node();
    struct raft_runs_iter it = {0};
    check_bootstrap(&check, raft_runs_next(&log, &it));
    for (uint32_t i = 0; i < NODES; i++)
        check_start(&check, i, 1, (struct raft_hard_state){.term = 1}, &log, 0);
    raft_runs_clear(&log);
}

static void setup(void)
{
    raft_options_init(&options);
    memset(&ops, 0, sizeof ops);
    check_init(&check, &options, ids, 3, NODES, &ops);
    start_all();
}

static void teardown(void)
{
    check_deinit(&check);
    ops_deinit(&ops);
}

TestSuite(checks, .init = setup, .fini = teardown);

/* A persist of a node: hard state {term, vote} and entries (count 0: none). */
static struct raft_persist persist_make(uint32_t node, uint64_t term, raft_node_id vote,
                                        struct raft_runs entries)
{
    const struct check_node *at = &check.nodes[node];
    struct raft_persist persist = {.seq = at->seq + 1,
                                   .hard_state_changed = true,
                                   .hard_state = {.term = term, .vote = vote},
                                   .entries = entries};
    persist.last = raft_runs_last(&entries);
    if (persist.last.index == 0) {
        const struct check_entry *last = check_log_at(&at->memory, at->memory.count);
        persist.last = (struct raft_id){.term = last->term, .index = at->memory.count};
    }
    return persist;
}

static struct check_view view_make(uint32_t node, enum raft_role role, uint64_t commit)
{
    const struct check_node *at = &check.nodes[node];
    const struct check_entry *last = check_log_at(&at->memory, at->memory.count);
    return (struct check_view){.role = role,
                               .hard_state = at->handed,
                               .commit = commit,
                               .applied = at->view.applied,
                               .last = {.term = last->term, .index = at->memory.count}};
}

/* The node puts out a persist and steps; the disk has it too if `durable`. */
static void node_does(uint32_t node, uint64_t term, raft_node_id vote, enum raft_role role,
                      struct raft_runs entries, uint64_t commit, bool durable)
{
    struct raft_persist persist = persist_make(node, term, vote, entries);
    check_persist(&check, node, &persist, 0, false);
    if (durable)
        check_durable(&check, node, &persist);
    struct check_view view = view_make(node, role, commit);
    check_step(&check, node, &view);
    raft_runs_clear(&persist.entries);
}

static void node_steps(uint32_t node, enum raft_role role, uint64_t commit)
{
    struct check_view view = view_make(node, role, commit);
    check_step(&check, node, &view);
}

static void send(uint32_t from, uint32_t to, struct raft_message message)
{
    message.from = ids[from];
    message.to = ids[to];
    check_send(&check, from, &message);
}

#define NOTHING ((struct raft_runs){0})

#define SCREAMS(name)                                                                   \
    do {                                                                                \
        cr_assert(check.failed, "nothing was found");                                   \
        cr_assert_str_eq(check.invariant, name, "%s: %s", check.invariant, check.text); \
        cr_assert(strlen(check.text) > 0);                                              \
    } while (0)

#define SILENT() cr_assert_not(check.failed, "%s: %s", check.invariant, check.text)

/* A leads term 2 with entries 2..3 that all hold, and has committed them. */
static void good_cluster(void)
{
    for (uint32_t i = 0; i < NODES; i++)
        node_does(i, 2, i == LEARNER ? 0 : ids[A], i == A ? RAFT_LEADER : RAFT_FOLLOWER,
                  entries_make(2, 2, 2, 0), 1, true);
    for (uint32_t i = 0; i < NODES; i++)
        node_steps(i, i == A ? RAFT_LEADER : RAFT_FOLLOWER, 3);
    SILENT();
    cr_assert_eq(check.oracle.count, 3);
}

Test(checks, are_silent_in_a_good_cluster)
{
    good_cluster();
}

/* --- Leaders ---------------------------------------------------------------------------------- */

Test(checks, find_two_leaders_in_one_term)
{
    node_does(A, 2, ids[A], RAFT_LEADER, NOTHING, 1, true);
    SILENT();
    node_does(B, 2, ids[B], RAFT_LEADER, NOTHING, 1, true);
    SCREAMS("one leader per term");
}

Test(checks, find_a_term_led_again_in_another_life)
{
    good_cluster();
    check.nodes[A].incarnation = 2;
    check.nodes[A].view.role = RAFT_FOLLOWER;
    node_steps(A, RAFT_LEADER, 3);
    SCREAMS("one leader per term");
}

Test(checks, find_a_leader_whose_own_vote_is_not_durable)
{
    node_does(A, 2, ids[A], RAFT_LEADER, NOTHING, 1, false);
    SCREAMS("a leader's own vote is durable");
}

Test(checks, find_a_leading_learner)
{
    node_does(LEARNER, 2, ids[LEARNER], RAFT_LEADER, NOTHING, 1, true);
    SCREAMS("learners do not lead");
}

Test(checks, find_a_leader_without_a_committed_entry)
{
    for (uint32_t i = A; i <= B; i++)
        node_does(i, 2, ids[A], i == A ? RAFT_LEADER : RAFT_FOLLOWER, entries_make(2, 2, 2, 0), 1,
                  true);
    node_steps(A, RAFT_LEADER, 3);
    SILENT();
    node_does(C, 3, ids[C], RAFT_LEADER, entries_make(2, 3, 1, 0), 1, true);
    SCREAMS("leader completeness");
}

Test(checks, find_an_entry_committed_behind_a_later_leaders_back)
{
    node_does(A, 2, ids[A], RAFT_LEADER, entries_make(2, 2, 1, 0), 1, true);
    node_does(B, 2, ids[A], RAFT_FOLLOWER, entries_make(2, 2, 1, 0), 1, true);
    node_does(C, 3, ids[C], RAFT_LEADER, entries_make(2, 3, 1, 0), 1, true);
    SILENT();
    node_steps(A, RAFT_LEADER, 2);
    SCREAMS("leader completeness");
}

Test(checks, find_a_leader_that_replaces_its_entries)
{
    good_cluster();
    struct raft_persist persist = persist_make(A, 2, ids[A], entries_make(3, 2, 1, 0));
    check_persist(&check, A, &persist, 1, true);
    raft_runs_clear(&persist.entries);
    SCREAMS("leader append-only");
}

/* --- Logs ------------------------------------------------------------------------------------- */

Test(checks, find_different_entries_with_one_id)
{
    node_does(A, 2, 0, RAFT_FOLLOWER, entries_make(2, 2, 1, 7), 1, true);
    SILENT();
    node_does(B, 2, 0, RAFT_FOLLOWER, entries_make(2, 2, 1, 8), 1, true);
    SCREAMS("log matching");
}

Test(checks, find_equal_entries_after_different_ones)
{
    node_does(A, 4, 0, RAFT_FOLLOWER, entries_make(2, 2, 1, 0), 1, true);
    node_does(A, 4, 0, RAFT_FOLLOWER, entries_make(3, 4, 1, 0), 1, true);
    node_does(B, 4, 0, RAFT_FOLLOWER, entries_make(2, 3, 1, 0), 1, true);
    SILENT();
    node_does(B, 4, 0, RAFT_FOLLOWER, entries_make(3, 4, 1, 0), 1, true);
    SCREAMS("log matching");
}

Test(checks, find_a_gap)
{
    struct raft_persist persist = persist_make(A, 2, 0, entries_make(3, 2, 1, 0));
    check_persist(&check, A, &persist, 0, false);
    raft_runs_clear(&persist.entries);
    SCREAMS("logs have no gaps");
}

Test(checks, find_a_truncation_without_conflict)
{
    node_does(A, 2, 0, RAFT_FOLLOWER, entries_make(2, 2, 2, 0), 1, true);
    struct raft_persist persist = persist_make(A, 2, 0, entries_make(2, 2, 1, 0));
    check_persist(&check, A, &persist, 1, false);
    raft_runs_clear(&persist.entries);
    SCREAMS("truncation only at a conflict");
}

Test(checks, find_a_committed_entry_replaced)
{
    good_cluster();
    struct raft_persist persist = persist_make(B, 3, 0, entries_make(3, 3, 1, 0));
    check_persist(&check, B, &persist, 1, false);
    raft_runs_clear(&persist.entries);
    SCREAMS("committed entries stay");
}

Test(checks, find_an_entry_that_is_not_handed_to_the_disk)
{
    struct check_view view = view_make(A, RAFT_FOLLOWER, 1);
    view.last.index++;
    check_step(&check, A, &view);
    SCREAMS("the log is handed to the disk");
}

Test(checks, find_a_lost_persist_number)
{
    struct raft_persist persist = persist_make(A, 2, 0, NOTHING);
    persist.seq++;
    check_persist(&check, A, &persist, 0, false);
    SCREAMS("persists are numbered");
}

/* --- Commitment ------------------------------------------------------------------------------- */

Test(checks, find_a_commit_without_a_durable_majority)
{
    node_does(A, 2, ids[A], RAFT_LEADER, entries_make(2, 2, 1, 0), 1, true);
    node_does(B, 2, ids[A], RAFT_FOLLOWER, entries_make(2, 2, 1, 0), 1, false);
    node_does(LEARNER, 2, 0, RAFT_FOLLOWER, entries_make(2, 2, 1, 0), 1, true);
    SILENT();
    node_steps(A, RAFT_LEADER, 2);
    SCREAMS("committed is durable on a majority");
}

Test(checks, find_an_old_terms_entry_committed_by_count)
{
    for (uint32_t i = A; i <= C; i++)
        node_does(i, 3, ids[A], i == A ? RAFT_LEADER : RAFT_FOLLOWER, entries_make(2, 2, 1, 0), 1,
                  true);
    SILENT();
    node_steps(A, RAFT_LEADER, 2);
    SCREAMS("leaders commit by their own term");
}

Test(checks, find_different_entries_committed)
{
    good_cluster();
    check.nodes[C].memory.entries[2].chain++;
    check.nodes[C].view.commit = 2;
    node_steps(C, RAFT_FOLLOWER, 3);
    SCREAMS("committed entries are equal everywhere");
}

Test(checks, find_a_commit_that_goes_back)
{
    good_cluster();
    node_steps(B, RAFT_FOLLOWER, 2);
    SCREAMS("commit is monotonic");
}

Test(checks, find_a_commit_beyond_the_log)
{
    node_steps(B, RAFT_FOLLOWER, 2);
    SCREAMS("commit is inside the log");
}

Test(checks, find_a_command_committed_twice)
{
    uint64_t op = ops_add(&ops, (struct op){.kind = OP_WRITE, .state = OP_TAKEN});
    for (uint32_t i = A; i <= C; i++) {
        node_does(i, 2, ids[A], i == A ? RAFT_LEADER : RAFT_FOLLOWER, entries_make(2, 2, 1, op), 1,
                  true);
        node_does(i, 2, ids[A], i == A ? RAFT_LEADER : RAFT_FOLLOWER, entries_make(3, 2, 1, op), 1,
                  true);
    }
    node_steps(A, RAFT_LEADER, 2);
    SILENT();
    node_steps(A, RAFT_LEADER, 3);
    SCREAMS("a command is committed once");
}

Test(checks, find_a_refused_command_committed)
{
    uint64_t op = ops_add(&ops, (struct op){.kind = OP_WRITE, .state = OP_REFUSED});
    for (uint32_t i = A; i <= C; i++)
        node_does(i, 2, ids[A], i == A ? RAFT_LEADER : RAFT_FOLLOWER, entries_make(2, 2, 1, op), 1,
                  true);
    node_steps(A, RAFT_LEADER, 2);
    SCREAMS("refused is not applied");
}

/* --- Terms and votes -------------------------------------------------------------------------- */

Test(checks, find_a_term_that_goes_back)
{
    node_does(A, 3, 0, RAFT_FOLLOWER, NOTHING, 1, false);
    node_does(A, 2, 0, RAFT_FOLLOWER, NOTHING, 1, false);
    SCREAMS("term is monotonic");
}

Test(checks, find_a_changed_vote)
{
    node_does(A, 2, ids[B], RAFT_FOLLOWER, NOTHING, 1, false);
    node_does(A, 2, ids[C], RAFT_FOLLOWER, NOTHING, 1, false);
    SCREAMS("one vote per term");
}

Test(checks, find_two_votes_in_two_lives)
{
    struct raft_message vote = {.type = RAFT_VOTE_RESPONSE,
                                .term = 2,
                                .vote_response = {.granted = true, .campaign_term = 2}};
    check.nodes[A].durable = (struct raft_hard_state){.term = 2, .vote = ids[B]};
    send(A, B, vote);
    SILENT();
    check.nodes[A].durable = (struct raft_hard_state){.term = 2, .vote = ids[C]};
    send(A, C, vote);
    SCREAMS("one vote per term");
}

Test(checks, find_a_vote_sent_before_it_is_durable)
{
    node_does(A, 2, ids[B], RAFT_FOLLOWER, NOTHING, 1, false);
    send(A, B,
         (struct raft_message){.type = RAFT_VOTE_RESPONSE,
                               .term = 2,
                               .vote_response = {.granted = true, .campaign_term = 2}});
    SCREAMS("a vote is durable before it leaves");
}

Test(checks, find_a_vote_request_before_the_own_vote_is_durable)
{
    node_does(A, 2, ids[A], RAFT_CANDIDATE, NOTHING, 1, false);
    send(A, B, (struct raft_message){.type = RAFT_VOTE_REQUEST, .term = 2});
    SCREAMS("a vote is durable before it leaves");
}

Test(checks, find_a_term_that_is_not_handed_to_the_disk)
{
    struct check_view view = view_make(A, RAFT_FOLLOWER, 1);
    view.hard_state.term = 5;
    check_step(&check, A, &view);
    SCREAMS("hard state is handed to the disk");
}

Test(checks, find_a_durable_term_forgotten)
{
    node_does(A, 4, ids[B], RAFT_FOLLOWER, NOTHING, 1, true);
    struct raft_runs log = log_of_new_node();
    check_start(&check, A, 2, (struct raft_hard_state){.term = 3}, &log, 0);
    raft_runs_clear(&log);
    SCREAMS("durable hard state is kept");
}

Test(checks, find_an_entry_durable_before_its_term)
{
    struct raft_persist persist = persist_make(A, 2, 0, entries_make(2, 3, 1, 0));
    check_durable(&check, A, &persist);
    raft_runs_clear(&persist.entries);
    SCREAMS("a term is durable before its entries");
}

/* --- What is durable -------------------------------------------------------------------------- */

static struct raft_message accepted(uint64_t term, uint64_t match)
{
    return (struct raft_message){
        .type = RAFT_APPEND_RESPONSE,
        .term = term,
        .append_response = {.result = RAFT_APPEND_ACCEPTED, .match = match}};
}

Test(checks, find_an_acknowledgement_before_the_fsync)
{
    node_does(B, 2, 0, RAFT_FOLLOWER, entries_make(2, 2, 1, 0), 1, false);
    send(B, A, accepted(2, 2));
    SCREAMS("acknowledged is durable");
}

Test(checks, find_an_acknowledgement_of_other_entries)
{
    node_does(A, 3, ids[A], RAFT_LEADER, entries_make(2, 3, 1, 0), 1, true);
    node_does(B, 3, ids[A], RAFT_FOLLOWER, entries_make(2, 2, 1, 0), 1, true);
    SILENT();
    send(B, A, accepted(3, 2));
    SCREAMS("acknowledged is equal to the leader's log");
}

Test(checks, find_a_leader_that_believes_too_much_of_a_peer)
{
    node_does(A, 2, ids[A], RAFT_LEADER, entries_make(2, 2, 1, 0), 1, true);
    node_does(B, 2, ids[A], RAFT_FOLLOWER, entries_make(2, 2, 1, 0), 1, false);
    check_peer_view(&check, A, B, &(struct raft_peer_view){.match = 2, .next = 3}, false);
    SCREAMS("match is durable at the peer");
}

Test(checks, find_a_match_that_shrinks)
{
    good_cluster();
    check_peer_view(&check, A, B, &(struct raft_peer_view){.match = 3, .next = 4}, false);
    SILENT();
    check_peer_view(&check, A, B, &(struct raft_peer_view){.match = 2, .next = 4}, false);
    SCREAMS("match only grows and is below next");
}

Test(checks, find_a_core_that_believes_too_much_of_its_disk)
{
    node_does(A, 2, 0, RAFT_FOLLOWER, entries_make(2, 2, 1, 0), 1, false);
    struct check_view view = view_make(A, RAFT_FOLLOWER, 1);
    view.durable = (struct raft_id){.term = 2, .index = 2};
    check_step(&check, A, &view);
    SCREAMS("durable is on disk");
}

Test(checks, find_a_disk_that_forgets_a_committed_entry)
{
    good_cluster();
    struct raft_runs log = log_of_new_node();
    check_start(&check, B, 2, check.nodes[B].durable, &log, 0);
    raft_runs_clear(&log);
    SCREAMS("durable committed entries are kept");
}

/* --- Messages --------------------------------------------------------------------------------- */

Test(checks, find_an_append_from_no_leader)
{
    send(A, B, (struct raft_message){.type = RAFT_APPEND_REQUEST, .term = 2});
    SCREAMS("only a leader appends");
}

Test(checks, find_an_append_with_a_wrong_prev)
{
    good_cluster();
    send(A, B,
         (struct raft_message){.type = RAFT_APPEND_REQUEST,
                               .term = 2,
                               .append_request = {.prev = {.term = 1, .index = 3}}});
    SCREAMS("an append continues its prev");
}

Test(checks, find_an_append_with_a_gap)
{
    good_cluster();
    struct raft_message message = {
        .type = RAFT_APPEND_REQUEST,
        .term = 2,
        .append_request = {.prev = {.term = 1, .index = 1}, .entries = entries_make(3, 2, 1, 0)}};
    send(A, B, message);
    raft_runs_clear(&message.append_request.entries);
    SCREAMS("an append continues its prev");
}

Test(checks, find_an_append_over_its_limit)
{
    check.options.append_entries_max = 1;
    good_cluster();
    struct raft_message message = {
        .type = RAFT_APPEND_REQUEST,
        .term = 2,
        .append_request = {.prev = {.term = 1, .index = 1}, .entries = entries_make(2, 2, 2, 0)}};
    send(A, B, message);
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
    send(A, B, message);
    raft_runs_clear(&message.append_request.entries);
}

Test(checks, find_more_appends_on_their_way_than_allowed)
{
    check.options.inflight_messages_max = 1;
    good_cluster();
    check_peer_view(&check, A, B, &(struct raft_peer_view){.next = 4, .replicating = true}, false);
    send_entry(2);
    check_peer_view(&check, A, B,
                    &(struct raft_peer_view){.match = 2, .next = 4, .replicating = true}, false);
    send_entry(3);
    SILENT();
    send_entry(3);
    SCREAMS("appends on their way are bounded");
}

Test(checks, find_more_bytes_on_their_way_than_allowed)
{
    check.options.inflight_bytes_max = COMMAND_BYTES;
    good_cluster();
    check_peer_view(&check, A, B, &(struct raft_peer_view){.next = 4, .replicating = true}, false);
    send_entry(2);
    SILENT();
    send_entry(3);
    SCREAMS("appends on their way are bounded");
}

Test(checks, find_more_uncommitted_than_allowed)
{
    check.options.uncommitted_bytes_max = UINT64_C(2) * COMMAND_BYTES;
    node_does(A, 2, ids[A], RAFT_LEADER, entries_make(2, 2, 2, 0), 1, true);
    check_uncommitted(&check, A);
    SILENT();
    node_does(A, 2, ids[A], RAFT_LEADER, entries_make(4, 2, 1, 0), 1, true);
    check_uncommitted(&check, A);
    SCREAMS("what is uncommitted is bounded");
}

Test(checks, find_a_commit_told_before_it_is_known)
{
    good_cluster();
    send(A, B,
         (struct raft_message){.type = RAFT_APPEND_REQUEST,
                               .term = 2,
                               .append_request = {.prev = {.term = 2, .index = 3}, .commit = 4}});
    SCREAMS("a leader tells what it committed");
}

Test(checks, find_an_empty_append_that_commits_too_much)
{
    good_cluster();
    check_peer_view(&check, A, B, &(struct raft_peer_view){.match = 2, .next = 4}, false);
    send(A, B,
         (struct raft_message){.type = RAFT_APPEND_REQUEST,
                               .term = 2,
                               .append_request = {.prev = {.term = 2, .index = 3}, .commit = 3}});
    SCREAMS("an empty append commits no more than the peer holds");
}

Test(checks, find_a_message_to_nobody)
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

Test(checks, find_an_entry_applied_before_it_is_committed)
{
    node_does(A, 2, 0, RAFT_FOLLOWER, entries_make(2, 2, 1, 0), 1, true);
    check.nodes[A].apply_handed = 1;
    apply(A, 2, 2, 1);
    SCREAMS("only committed entries are applied");
}

Test(checks, find_an_entry_applied_before_it_is_durable)
{
    good_cluster();
    check.nodes[B].apply_handed = 1;
    check.nodes[B].disk.count = 1;
    apply(B, 2, 2, 1);
    SCREAMS("only durable entries are applied");
}

Test(checks, find_an_entry_applied_out_of_order)
{
    good_cluster();
    check.nodes[B].apply_handed = 1;
    apply(B, 3, 2, 1);
    SCREAMS("applied in order");
}

Test(checks, find_more_handed_out_than_allowed)
{
    good_cluster();
    check.options.apply_bytes_max = 20;
    check.nodes[B].apply_handed = 1;
    apply(B, 2, 2, 2);
    SCREAMS("applying is bounded");
}

Test(checks, find_different_states)
{
    good_cluster();
    check_applied(&check, A, 1, 77);
    check_applied(&check, B, 1, 77);
    SILENT();
    check_applied(&check, C, 1, 78);
    SCREAMS("equal state at equal index");
}

Test(checks, find_an_applied_index_that_goes_back)
{
    good_cluster();
    check.nodes[B].view.applied = 2;
    check.nodes[B].machine_index = 2;
    struct check_view view = view_make(B, RAFT_FOLLOWER, 3);
    view.applied = 1;
    check_step(&check, B, &view);
    SCREAMS("applied is monotonic and committed");
}

Test(checks, find_a_state_machine_ahead_of_the_disk)
{
    check.nodes[B].machine_index = 2;
    struct raft_runs log = log_of_new_node();
    check_start(&check, B, 2, check.nodes[B].durable, &log, 2);
    raft_runs_clear(&log);
    SCREAMS("applied entries are durable");
}

/* --- Clients ---------------------------------------------------------------------------------- */

static uint64_t op_taken(enum op_kind kind)
{
    return ops_add(&ops, (struct op){.kind = kind, .state = OP_TAKEN, .node = A, .incarnation = 1});
}

Test(checks, find_an_operation_answered_twice)
{
    uint64_t op = op_taken(OP_WRITE);
    check_answer(&check, op, A, 1, OP_REFUSED);
    SILENT();
    ops.items[op].state = OP_REFUSED;
    check_answer(&check, op, A, 1, OP_REFUSED);
    SCREAMS("an operation is answered once");
}

Test(checks, find_an_answer_from_another_node)
{
    check_answer(&check, op_taken(OP_WRITE), B, 1, OP_REFUSED);
    SCREAMS("an answer comes from where it was asked");
}

Test(checks, find_an_answer_from_another_life)
{
    check_answer(&check, op_taken(OP_WRITE), A, 2, OP_REFUSED);
    SCREAMS("an answer comes from where it was asked");
}

Test(checks, find_an_answer_to_nobody)
{
    check_answer(&check, 5, A, 1, OP_OK);
    SCREAMS("an answer is somebody's");
}

Test(checks, find_an_acknowledged_write_that_is_not_committed)
{
    check_answer(&check, op_taken(OP_WRITE), A, 1, OP_OK);
    SCREAMS("acknowledged is committed");
}

Test(checks, find_a_committed_write_refused)
{
    uint64_t op = op_taken(OP_WRITE);
    ops.items[op].committed = 3;
    check_answer(&check, op, A, 1, OP_REFUSED);
    SCREAMS("refused is not applied");
}

Test(checks, find_a_stale_read)
{
    good_cluster();
    uint64_t op = op_taken(OP_READ);
    ops.items[op].floor = 3;
    check_read(&check, op, 3);
    SILENT();
    check_read(&check, op, 2);
    SCREAMS("reads are not stale");
}

Test(checks, find_a_read_of_the_future)
{
    good_cluster();
    check_read(&check, op_taken(OP_READ), 4);
    SCREAMS("reads see committed entries");
}

Test(checks, keep_the_first_violation)
{
    check_fail(&check, "first", "one");
    check_fail(&check, "second", "two");
    SCREAMS("first");
}

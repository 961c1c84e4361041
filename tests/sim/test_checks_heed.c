/* What comes of what is heard: every check is fed the violation that it is there for, and has to
 * name it. */
#include "tests/sim/test_fixture.h"

#include <criterion/criterion.h>

TestSuite(checks_heed, .init = fixture_setup, .fini = fixture_teardown);

enum { T_US = 1000, BEAT_US = 100, NOW_US = 100 * T_US };

static uint64_t now_us;
static struct check_own own;
static struct raft_output output;
static struct raft_message *sent[NODES];
static struct raft_message messages[NODES];

/* A leads term 2; everybody's log ends at 2:3, and all of it is committed and on the disks. */
static void good_step(void)
{
    check.options.election_timeout_us = T_US;
    check.options.heartbeat_us = BEAT_US;
    check.options.clock_drift_percent = 20;
    own = (struct check_own){.incarnation = 9, .life = 5, .leader = ids[A]};
    output = (struct raft_output){.send_now.items = sent};
    now_us = NOW_US;
    good_cluster();
}

static void puts_out(uint32_t receiver, struct raft_message message)
{
    uint32_t place = output.send_now.count++;
    messages[place] = message;
    messages[place].to = ids[receiver];
    sent[place] = &messages[place];
}

static void hears(uint32_t node, uint32_t from, struct raft_message message)
{
    message.from = ids[from];
    message.to = ids[node];
    struct raft_event event = {.type = RAFT_EVENT_RECEIVE, .receive = &message};
    check_events(&check, node, ids[A], now_us + 500, &event, 1);
}

static struct check_view view_of(uint32_t node, enum raft_role role, uint64_t commit)
{
    struct check_view view = view_make(node, role, commit);
    view.now_us = now_us;
    view.durable = view.last;
    return view;
}

/* The step is over, and the node is so. */
static void ends(uint32_t node, const struct check_view *view, uint64_t deadline_us)
{
    check_step(&check, node, view);
    SILENT();
    output.deadline_us = deadline_us;
    check_heed(&check, node, &own, &output);
    check_said(&check, node);
    output = (struct raft_output){.send_now.items = sent};
}

/* --- What a leader believes ------------------------------------------------------------------- */

static struct raft_message answer(enum raft_append_result result, uint64_t match, uint64_t rejected,
                                  struct raft_id conflict)
{
    return (struct raft_message){.type = RAFT_APPEND_RESPONSE,
                                 .term = 2,
                                 .append_response = {.result = result,
                                                     .match = match,
                                                     .rejected = rejected,
                                                     .conflict = conflict,
                                                     .life = 7}};
}

/* A believed this of B, hears it, and believes that. */
static void believes(struct raft_peer_view before, struct raft_message heard,
                     struct raft_peer_view after)
{
    before.life = after.life = 7;
    check.nodes[A].peers[B] = before;
    hears(A, B, heard);
    struct check_view view = view_of(A, RAFT_LEADER, 3);
    check_step(&check, A, &view);
    SILENT();
    check_belief(&check, A, B, &after);
    check_said(&check, A);
}

static const struct raft_peer_view PROBED = {.next = 4},
                                   PIPED = {.match = 2, .next = 4, .replicating = true};
#define BELIEF "a leader believes what it is answered, and no more"

Test(checks_heed, know_what_answers_make_of_a_peer)
{
    good_step();
    believes(PROBED, answer(RAFT_APPEND_ACCEPTED, 3, 0, (struct raft_id){0}),
             (struct raft_peer_view){.match = 3, .next = 4, .replicating = true});
    believes(PROBED, answer(RAFT_APPEND_REJECTED, 0, 3, (struct raft_id){1, 2}),
             (struct raft_peer_view){.next = 2});
    believes(PIPED, answer(RAFT_APPEND_REJECTED, 0, 3, (struct raft_id){2, 2}),
             (struct raft_peer_view){.match = 2, .next = 3});
    believes(PIPED, answer(RAFT_APPEND_STALE, 0, 0, (struct raft_id){0}), PIPED);
    SILENT();
}

Test(checks_heed, find_a_probe_answered_by_another_rejection)
{
    good_step();
    believes(PROBED, answer(RAFT_APPEND_REJECTED, 0, 2, (struct raft_id){1, 1}),
             (struct raft_peer_view){.next = 2});
    SCREAMS(BELIEF);
}

Test(checks_heed, find_a_rejection_believed_of_what_was_acknowledged)
{
    good_step();
    believes(PIPED, answer(RAFT_APPEND_REJECTED, 0, 2, (struct raft_id){1, 1}),
             (struct raft_peer_view){.match = 2, .next = 3});
    SCREAMS(BELIEF);
}

Test(checks_heed, find_a_hint_taken_without_a_look_at_the_own_log)
{
    good_step();
    believes(PROBED, answer(RAFT_APPEND_REJECTED, 0, 3, (struct raft_id){1, 2}),
             (struct raft_peer_view){.next = 3});
    SCREAMS(BELIEF);
}

Test(checks_heed, find_a_snapshot_that_ends_before_the_log_is_reached)
{
    good_step();
    check.nodes[A].view.base = (struct raft_id){2, 2};
    check.nodes[A].snapshot = (struct raft_id){2, 2};
    check.nodes[A].snapshot_told = 2;
    check.nodes[A].peers[B] = (struct raft_peer_view){.next = 2, .needs_snapshot = true, .life = 7};
    hears(A, B, answer(RAFT_APPEND_ACCEPTED, 1, 0, (struct raft_id){0}));
    struct check_view view = view_of(A, RAFT_LEADER, 3);
    view.base = (struct raft_id){2, 2};
    check_step(&check, A, &view);
    SILENT();
    check_belief(&check, A, B,
                 &(struct raft_peer_view){.match = 1, .next = 2, .replicating = true, .life = 7});
    SCREAMS(BELIEF);
}

/* A knew nothing of B's lives, and heard of these in one step. */
static void of_two_lives(uint64_t first, uint64_t next)
{
    struct raft_message heard = answer(RAFT_APPEND_REJECTED, 0, 3, (struct raft_id){1, 1});
    check.nodes[A].peers[B] = PROBED;
    heard.append_response.life = first;
    hears(A, B, heard);
    hears(A, B, answer(RAFT_APPEND_REJECTED, 0, 3, (struct raft_id){1, 1}));
    struct check_view view = view_of(A, RAFT_LEADER, 3);
    check_step(&check, A, &view);
    SILENT();
    check_belief(&check, A, B, &(struct raft_peer_view){.next = next, .life = 7});
    check_said(&check, A);
}

Test(checks_heed, know_that_a_peer_may_start_within_a_step)
{
    good_step();
    of_two_lives(6, 4); /* what was known of the first is not of the second */
    SILENT();
}

Test(checks_heed, find_a_rejection_overheard_where_no_life_was_known)
{
    good_step();
    of_two_lives(7, 4);
    SCREAMS(BELIEF);
}

/* --- What a leader does ----------------------------------------------------------------------- */

/* A sends an append of this round to everybody. */
static void beats(uint64_t round)
{
    for (uint32_t i = B; i < NODES; i++)
        puts_out(i, (struct raft_message){.type = RAFT_APPEND_REQUEST,
                                          .term = 2,
                                          .append_request = {.commit = 3, .round = round}});
}

static void leads(uint64_t deadline_us)
{
    struct check_view view = view_of(A, RAFT_LEADER, check.nodes[A].view.commit);
    ends(A, &view, deadline_us);
}

static void good_office(void)
{
    good_step();
    check_events(&check, A, ids[A], now_us, NULL, 0);
    beats(1);
    leads(now_us + BEAT_US);
    SILENT();
}

Test(checks_heed, find_a_heartbeat_left_out)
{
    good_office();
    now_us += BEAT_US;
    check_events(&check, A, ids[A], now_us, NULL, 0);
    beats(1);
    output.send_now.count--;
    leads(now_us + BEAT_US);
    SCREAMS("a leader is heard of in time");
}

Test(checks_heed, find_a_leader_that_sleeps_too_long)
{
    good_office();
    check_events(&check, A, ids[A], now_us, NULL, 0);
    leads(now_us + BEAT_US + 1);
    SCREAMS("a leader is heard of in time");
}

Test(checks_heed, find_a_commit_that_is_told_late)
{
    good_office();
    check.nodes[A].office.peers[B].commit = 2;
    check.nodes[A].peers[B].match = 3;
    check_events(&check, A, ids[A], now_us, NULL, 0);
    leads(now_us + BEAT_US);
    SCREAMS("a leader is heard of in time");
}

Test(checks_heed, find_an_entry_that_is_committed_late)
{
    good_office();
    leader_gets(A, entries_make(4, 2, 1, 0), 3);
    hears(A, B, answer(RAFT_APPEND_ACCEPTED, 4, 0, (struct raft_id){0}));
    check.nodes[A].peers[B].match = 4;
    leads(now_us + BEAT_US);
    SCREAMS("what a majority holds is committed");
}

Test(checks_heed, find_an_append_to_who_is_no_member_for_long)
{
    good_step();
    leader_gets(A, config_make(4, 2, members_make(M(A) | M(B) | M(C), 0, 0, M(LEARNER))), 3);
    leader_gets(B, config_make(4, 2, members_make(M(A) | M(B) | M(C), 0, 0, M(LEARNER))), 3);
    check.nodes[A].peers[B].match = 4;
    node_steps(A, RAFT_LEADER, 4);
    for (int time = 0; time < 4; time++) {
        SILENT();
        check_events(&check, A, ids[A], now_us, NULL, 0);
        beats(1);
        leads(now_us + 1);
        now_us += T_US;
    }
    SCREAMS("who is no member is not sent to for ever");
}

static void promises(uint32_t from, uint64_t round)
{
    struct raft_message promise = answer(RAFT_APPEND_ACCEPTED, 3, 0, (struct raft_id){0});
    promise.append_response.promise_us = T_US;
    promise.append_response.round = round;
    hears(A, from, promise);
}

static void has_lease(uint64_t lease_us)
{
    struct check_view view = view_of(A, RAFT_LEADER, 3);
    view.lease_us = lease_us;
    ends(A, &view, now_us + BEAT_US);
}

Test(checks_heed, find_a_lease_that_a_learner_promised)
{
    good_office();
    promises(LEARNER, 1);
    has_lease(0);
    SILENT();
    promises(LEARNER, 1);
    has_lease(now_us + 1);
    SCREAMS("a lease is the promise of a majority");
}

Test(checks_heed, find_a_lease_that_begins_when_it_is_answered)
{
    const uint64_t sent_us = NOW_US, holds_us = T_US * 80 / 120;
    struct check_view view;
    good_office();
    now_us += BEAT_US / 2;
    promises(B, 1);
    view = view_of(A, RAFT_LEADER, 3);
    view.lease_us = view.lease_own_us = sent_us + holds_us;
    ends(A, &view, sent_us + BEAT_US);
    SILENT();
    check_events(&check, A, ids[A], now_us, NULL, 0);
    view.lease_us = ++view.lease_own_us;
    ends(A, &view, sent_us + BEAT_US);
    SCREAMS("a lease begins when what was answered was sent");
}

Test(checks_heed, find_a_promise_that_is_no_lease)
{
    good_office();
    own.promise_us = T_US;
    promises(B, 1);
    has_lease(now_us + 1);
    SILENT();
    promises(B, 1);
    has_lease(0);
    SCREAMS("the promise of a majority is a lease");
}

Test(checks_heed, know_that_who_handed_over_has_no_lease)
{
    good_office();
    own.promise_us = T_US;
    struct raft_trace trace = {.type = RAFT_TRACE_TRANSFER, .a = ids[B]};
    promises(B, 1);
    output.trace.items = &trace;
    output.trace.count = 1;
    has_lease(0);
    SILENT();
}

/* B has answered A, which leaves as a leader that was removed. */
static void leaves(void)
{
    struct check_view *view = &check.nodes[A].view;
    good_office();
    hears(A, B, answer(RAFT_APPEND_ACCEPTED, 3, 0, (struct raft_id){0}));
    view->now_us = now_us;
    view->role = RAFT_FOLLOWER;
    view->retired = true;
}

Test(checks_heed, let_a_leader_go_that_calls_another)
{
    leaves();
    puts_out(B, (struct raft_message){.type = RAFT_TIMEOUT_NOW, .term = 2});
    check_heed(&check, A, &own, &output);
    SILENT();
}

Test(checks_heed, find_a_leader_that_goes_without_a_word)
{
    leaves();
    check_heed(&check, A, &own, &output);
    SCREAMS("a leader that was removed calls another");
}

/* --- What a follower does --------------------------------------------------------------------- */

static struct raft_message append(uint64_t prev, uint64_t commit)
{
    return (struct raft_message){
        .type = RAFT_APPEND_REQUEST,
        .term = 2,
        .append_request = {.prev = {.term = 2, .index = prev}, .commit = commit}};
}

/* B, which has committed one entry of its three, hears an append behind this one, and commits. */
static void b_commits(uint64_t prev, uint64_t told, uint64_t commits)
{
    good_step();
    check.nodes[B].view.commit = 1;
    hears(B, A, append(prev, told));
    struct check_view view = view_of(B, RAFT_FOLLOWER, commits);
    ends(B, &view, now_us + 500);
}

Test(checks_heed, find_a_commit_beyond_what_was_compared)
{
    b_commits(2, 3, 3);
    SCREAMS("a follower commits what it was told and holds");
}

Test(checks_heed, find_a_commit_that_is_not_taken)
{
    b_commits(3, 3, 2);
    SCREAMS("a follower takes what fits, and commits it");
}

Test(checks_heed, let_a_follower_commit_what_it_was_told)
{
    b_commits(3, 3, 3);
    SILENT();
}

Test(checks_heed, find_a_leader_that_is_not_followed)
{
    good_step();
    own.leader = 0;
    hears(B, A, append(3, 3));
    struct check_view view = view_of(B, RAFT_FOLLOWER, 3);
    ends(B, &view, now_us + 500);
    SCREAMS("who hears the leader of its term follows it");
}

/* A removes the learner, which B knows to be committed; the learner asks for B's vote. */
static void a_removed_one_asks(bool answers)
{
    good_step();
    leader_gets(A, config_make(4, 2, members_make(M(A) | M(B) | M(C), 0, 0, M(LEARNER))), 3);
    leader_gets(B, config_make(4, 2, members_make(M(A) | M(B) | M(C), 0, 0, M(LEARNER))), 4);
    SILENT();
    node_steps(B, RAFT_FOLLOWER, 4);
    SILENT();
    hears(B, LEARNER, (struct raft_message){.type = RAFT_PREVOTE_REQUEST, .term = 3});
    if (answers)
        puts_out(LEARNER, (struct raft_message){.type = RAFT_PREVOTE_RESPONSE});
    struct check_view view = view_of(B, RAFT_FOLLOWER, 4);
    ends(B, &view, now_us + 500);
}

Test(checks_heed, find_an_answer_to_who_was_removed)
{
    a_removed_one_asks(true);
    SCREAMS("who was removed is not heard");
}

Test(checks_heed, let_who_was_removed_go_unheard)
{
    a_removed_one_asks(false);
    SILENT();
}

/* --- Reads ------------------------------------------------------------------------------------ */

Test(checks_heed, find_a_read_that_waits_for_what_could_be_applied)
{
    good_step();
    struct check_node *at = &check.nodes[B];
    at->view.applied = at->apply_handed = 1;
    at->view.durable = at->view.last;
    check_read_awaited(&check, B, 1);
    SILENT();
    at->apply_handed = 2; /* an APPLIED is to come */
    check_read_awaited(&check, B, 3);
    SILENT();
    at->apply_handed = 1;
    check_read_awaited(&check, B, 3);
    SCREAMS("what a read waits for is applied at once");
}

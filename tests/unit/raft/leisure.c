/* What may wait: a follower's applying, and the news of the own disk. */
#include "cluster.h"

#include <criterion/criterion.h>

static struct cluster c;

#define DELAY_US UINT64_C(5000)
#define TERMS(...) (const uint64_t[]){__VA_ARGS__}, sizeof((const uint64_t[]){__VA_ARGS__}) / 8

static struct test_node *node(void)
{
    return &c.nodes[1];
}

/* Node 1 follows node 2, which the test plays, in term 2; entries 1 and 2 are committed and durable
 * and applied. It applies late. */
static void follow(void)
{
    cluster_init(&c, 3);
    node()->options.apply_delay_us = DELAY_US;
    cluster_start(&c, 1);
    cluster_receive(&c, append_request(2, 1, 2, id_of(1, 1), 2, TERMS(2)));
    cluster_persist_all(&c, 1);
    cluster_advance(&c, DELAY_US);
    cluster_timeout(&c, 1);
    cr_assert_eq(node()->applied_index, 2);
    cluster_drop_all(&c);
}

/* Entry 3 comes, and the word that it is committed. */
static void commit_third(void)
{
    cluster_receive(&c, append_request(2, 1, 2, id_of(2, 2), 2, TERMS(2)));
    cluster_persist_all(&c, 1);
    cluster_receive(&c, append_request(2, 1, 2, id_of(2, 3), 3, NULL, 0));
    cr_assert_eq(raft_commit(node()->raft), 3);
}

static void watch(bool watched)
{
    struct raft_event event = {.type = RAFT_EVENT_WATCHED, .watched = watched};
    cluster_step(&c, 1, &event, 1);
}

Test(leisure, a_follower_applies_a_little_later_and_asks_to_be_woken_for_it)
{
    follow();
    commit_third();
    cr_assert_eq(node()->applied_index, 2);
    cr_assert_eq(node()->deadline_us, c.now_us + DELAY_US);
    cluster_advance(&c, DELAY_US - 1);
    cluster_receive(&c, append_request(2, 1, 2, id_of(2, 3), 3, TERMS(2)));
    cluster_persist_all(&c, 1);
    cluster_receive(&c, append_request(2, 1, 2, id_of(2, 4), 4, NULL, 0));
    cr_assert_eq(node()->applied_index, 2, "what comes later does not move the time");
    cluster_advance(&c, 1);
    cluster_timeout(&c, 1);
    cr_assert_eq(node()->applied_index, 4);
    cr_assert_gt(node()->deadline_us, c.now_us + DELAY_US, "nothing is held any more");
    cluster_deinit(&c);
}

Test(leisure, a_follower_that_is_watched_applies_at_once)
{
    follow();
    watch(true);
    commit_third();
    cr_assert_eq(node()->applied_index, 3);
    cluster_deinit(&c);
}

Test(leisure, what_is_held_is_applied_when_somebody_begins_to_watch)
{
    follow();
    commit_third();
    watch(true);
    cr_assert_eq(node()->applied_index, 3);
    watch(false);
    cr_assert_eq(node()->applied_index, 3);
    cluster_deinit(&c);
}

/* The number under which node 1 asks its leader for the index of its reads. */
static uint64_t asked(void)
{
    struct raft_message *message = cluster_take(&c, 2, RAFT_READ_REQUEST);
    cr_assert(message);
    uint64_t number = message->read_index.number;
    raft_message_destroy(message);
    return number;
}

static void answer(uint64_t number, uint64_t index)
{
    struct raft_message *message = raft_message_create(RAFT_READ_RESPONSE, 2, 1, 2);
    message->read_index = (struct raft_read_index){.number = number, .index = index};
    cluster_receive(&c, message);
}

Test(leisure, what_a_read_waits_for_is_applied_at_once)
{
    follow();
    commit_third();
    cluster_read(&c, 1, 7);
    answer(asked(), 3);
    cr_assert_eq(node()->reads.count, 1);
    cr_assert_eq(node()->applied_index, 3);
    cluster_deinit(&c);
}

Test(leisure, what_a_read_waits_for_is_applied_as_soon_as_the_disk_has_it)
{
    follow();
    cluster_receive(&c, append_request(2, 1, 2, id_of(2, 2), 3, TERMS(2)));
    cluster_read(&c, 1, 7);
    answer(asked(), 3);
    cr_assert_eq(node()->reads.count, 1);
    cr_assert_eq(node()->applied_index, 2);
    cluster_persist_all(&c, 1);
    cr_assert_eq(node()->applied_index, 3);
    cluster_deinit(&c);
}

Test(leisure, rule_24_a_change_of_the_members_is_applied_at_once)
{
    follow();
    struct raft_configuration next = c.configuration;
    next.members[2].incarnation = 9;
    struct buf *payload = raft_configuration_encode(&next);
    struct raft_message *message = append_request(2, 1, 2, id_of(2, 2), 2, NULL, 0);
    struct raft_batch *batch = raft_batch_create(1);
    raft_batch_add(batch, (struct raft_entry){.id = id_of(2, 3),
                                              .kind = RAFT_ENTRY_CONFIG,
                                              .buf = payload,
                                              .payload = {payload->data, payload->bytes}});
    raft_runs_append(&message->append_request.entries, batch, 0, 1);
    raft_batch_unref(batch);
    cluster_receive(&c, message);
    cluster_persist_all(&c, 1);
    cluster_receive(&c, append_request(2, 1, 2, id_of(2, 3), 3, NULL, 0));
    cr_assert_eq(node()->applied_index, 3);
    cluster_deinit(&c);
}

Test(leisure, a_large_part_is_applied_at_once)
{
    enum { MANY = 600 };
    static uint64_t terms[MANY];
    for (int i = 0; i < MANY; i++)
        terms[i] = 2;
    follow();
    cluster_receive(&c, append_request(2, 1, 2, id_of(2, 2), 2, terms, MANY));
    cluster_persist_all(&c, 1);
    cluster_receive(&c, append_request(2, 1, 2, id_of(2, 2 + MANY), 2 + MANY, NULL, 0));
    cr_assert_eq(node()->applied_index, 2 + MANY);
    cluster_deinit(&c);
}

Test(leisure, a_leader_applies_at_once)
{
    cluster_init(&c, 3);
    node()->options.apply_delay_us = DELAY_US;
    cluster_start(&c, 1);
    uint64_t led = cluster_lead_alone(&c);
    cluster_receive(&c, append_accepted(2, 1, led, raft_last(node()->raft).index, 0));
    cr_assert_eq(node()->applied_index, raft_last(node()->raft).index);
    cluster_deinit(&c);
}

Test(leisure, what_waits_for_room_asks_for_no_wake_up)
{
    cluster_init(&c, 3);
    node()->options.apply_delay_us = DELAY_US;
    node()->options.apply_bytes_max = 1;
    node()->hold_applied = true;
    cluster_start(&c, 1);
    cluster_receive(&c, append_request(2, 1, 2, id_of(1, 1), 2, TERMS(2)));
    cluster_persist_all(&c, 1);
    cluster_advance(&c, DELAY_US);
    cluster_timeout(&c, 1);
    commit_third();
    cluster_advance(&c, DELAY_US);
    cluster_timeout(&c, 1);
    cr_assert_gt(node()->deadline_us, c.now_us + DELAY_US, "its APPLIED wakes it");
    cluster_deinit(&c);
}

Test(leisure, a_follower_does_not_wait_for_its_disk_but_to_apply_or_in_a_new_term)
{
    follow();
    cr_assert_not(raft_awaits_disk(node()->raft), "nothing is on its way");
    cluster_receive(&c, append_request(2, 1, 2, id_of(2, 2), 2, TERMS(2)));
    cr_assert_not(raft_awaits_disk(node()->raft), "its answer goes out without it");
    cluster_receive(&c, append_request(2, 1, 2, id_of(2, 3), 3, NULL, 0));
    cr_assert(raft_awaits_disk(node()->raft), "entry 3 is to be applied");
    cluster_persist_all(&c, 1);
    cr_assert_not(raft_awaits_disk(node()->raft));
    cluster_receive(&c, append_request(3, 1, 3, id_of(2, 3), 3, NULL, 0));
    cr_assert(raft_awaits_disk(node()->raft), "without its term on disk it could say nothing");
    cluster_deinit(&c);
}

Test(leisure, a_candidate_waits_for_its_disk)
{
    cluster_setup(&c, 3, 1);
    cluster_advance(&c, 2 * T_US);
    cluster_timeout(&c, 1);
    cr_assert_eq(raft_role(node()->raft), RAFT_PRECANDIDATE);
    cr_assert_not(raft_awaits_disk(node()->raft), "it has said nothing that must last");
    cluster_receive(&c, vote_response(RAFT_PREVOTE_RESPONSE, 2, 1, 1, 2, true));
    cr_assert_eq(raft_role(node()->raft), RAFT_CANDIDATE);
    cr_assert(raft_awaits_disk(node()->raft));
    cluster_deinit(&c);
}

Test(leisure, a_leader_waits_for_its_disk_when_that_makes_the_majority)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = cluster_lead_alone(&c);
    uint64_t last = raft_last(node()->raft).index;
    cluster_receive(&c, append_accepted(2, 1, led, last, 0));
    cluster_propose(&c, 1, 1, 1);
    cr_assert_not(raft_awaits_disk(node()->raft), "alone it makes no majority");
    cluster_receive(&c, append_accepted(2, 1, led, last + 1, 0));
    cr_assert(raft_awaits_disk(node()->raft));
    cluster_persist_all(&c, 1);
    cr_assert_not(raft_awaits_disk(node()->raft));
    cr_assert_eq(raft_commit(node()->raft), last + 1);
    cluster_deinit(&c);
}

Test(leisure, a_leader_waits_for_its_disk_to_apply_what_others_committed)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = cluster_lead_alone(&c);
    uint64_t last = raft_last(node()->raft).index;
    cluster_propose(&c, 1, 1, 1);
    cluster_receive(&c, append_accepted(2, 1, led, last + 1, 0));
    cluster_receive(&c, append_accepted(3, 1, led, last + 1, 0));
    cr_assert_eq(raft_commit(node()->raft), last + 1);
    cr_assert(raft_awaits_disk(node()->raft));
    cluster_deinit(&c);
}

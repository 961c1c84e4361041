/* What a log keeps in memory, and what a leader has read back for those that are behind. */
#include "cluster.h"
#include "raft/internal.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define ENTRY UINT64_C(196) /* bytes in memory of what is proposed here */

static uint64_t held_from(const struct cluster *c, raft_node_id id)
{
    return raft_memory_base(c->nodes[id].raft).index + 1;
}

static uint64_t last_of(const struct cluster *c, raft_node_id id)
{
    return raft_last(c->nodes[id].raft).index;
}

static void propose(struct cluster *c, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        cluster_propose(c, 1, 1, 100);
        cluster_settle(c);
    }
}

/* Three nodes that keep so much in memory; node 1 leads, and all know what is committed. */
static void setup(struct cluster *c, uint64_t memory_bytes)
{
    cluster_init(c, 3);
    for (uint32_t i = 1; i <= 3; i++) {
        c->nodes[i].options.memory_bytes = memory_bytes;
        c->nodes[i].options.append_entries_max = 4;
        c->nodes[i].options.trailing_entries = 0;
    }
    cluster_start(c, 3);
    cluster_elect(c, 1);
    cluster_run(c, HEARTBEAT_US + 1);
}

/* Node 3 is down while the others go on. */
static void leave_behind(struct cluster *c, uint32_t count)
{
    setup(c, 0);
    cluster_crash(c, 3);
    propose(c, count);
    cluster_run(c, HEARTBEAT_US + 1);
}

/* Node 3 is here again, and what is to be read for it is not read yet. */
static void come_back(struct cluster *c)
{
    leave_behind(c, 20);
    c->nodes[1].hold_fetches = true;
    cluster_start_node(c, 3);
    cluster_run(c, 3 * HEARTBEAT_US);
}

/* Node 3 has everything that node 1 has, and in that order. */
static void assert_follows(const struct cluster *c)
{
    const struct raft_runs *theirs = &c->nodes[3].disk_log, *ours = &c->nodes[1].disk_log;
    cr_assert_eq(last_of(c, 3), last_of(c, 1));
    cr_assert_eq(raft_commit(c->nodes[3].raft), raft_commit(c->nodes[1].raft));
    struct raft_runs_iter iter = {0};
    for (const struct raft_entry *entry; (entry = raft_runs_next(theirs, &iter));)
        cr_assert(raft_entry_equal(entry, raft_runs_find(ours, entry->id.index)));
}

Test(fetch, what_is_applied_everywhere_stays_in_memory_up_to_the_limit)
{
    struct cluster c;
    setup(&c, 5 * ENTRY);
    propose(&c, 30);
    cluster_run(&c, HEARTBEAT_US + 1);
    for (uint32_t i = 1; i <= 3; i++) {
        uint64_t held = last_of(&c, i) + 1 - held_from(&c, i);
        cr_assert(held >= 5 && held <= 6, "node %u holds %lu", i, (unsigned long)held);
    }
    cluster_deinit(&c);
}

Test(fetch, all_of_it_stays_without_a_limit)
{
    struct cluster c;
    setup(&c, UINT64_MAX);
    propose(&c, 30);
    cr_assert_eq(held_from(&c, 1), 1);
    cluster_deinit(&c);
}

Test(fetch, what_the_state_machine_or_the_disk_has_yet_to_take_stays)
{
    struct cluster c;
    setup(&c, 0);
    propose(&c, 3);
    c.nodes[1].hold_applied = true;
    uint64_t applied = raft_applied(c.nodes[1].raft);
    propose(&c, 5);
    cr_assert_eq(held_from(&c, 1), applied + 1);
    cr_assert_eq(last_of(&c, 1), applied + 5);
    cluster_deinit(&c);

    setup(&c, 0);
    c.nodes[2].hold_persists = true;
    uint64_t durable = raft_durable(c.nodes[2].raft).index;
    propose(&c, 5);
    cr_assert_leq(held_from(&c, 2), durable + 1);
    cluster_deinit(&c);
}

/* Four times as much, while they keep up. */
Test(fetch, what_peers_that_keep_up_need_soon_stays_for_a_while)
{
    struct cluster c;
    setup(&c, 5 * ENTRY);
    propose(&c, 6); /* it pipelines to both */
    cluster_cut(&c, 1u << 3, 1u << 1);
    propose(&c, 10);
    struct raft_peer_view view;
    cr_assert(raft_peer_view(c.nodes[1].raft, 3, &view));
    cr_assert_leq(held_from(&c, 1), view.match + 1, "of a peer whose answers are late");
    propose(&c, 20);
    uint64_t held = last_of(&c, 1) + 1 - held_from(&c, 1);
    cr_assert(held >= 20 && held <= 23, "%lu", (unsigned long)held);
    cr_assert_gt(held_from(&c, 1), view.match + 1);
    cluster_deinit(&c);
}

/* Beyond the limit for those alone that have it soon. */
Test(fetch, who_is_down_or_is_given_a_snapshot_keeps_nothing_in_memory)
{
    struct cluster c;
    setup(&c, 5 * ENTRY);
    propose(&c, 6);
    cluster_crash(&c, 3);
    cluster_run(&c, 2 * T_US);
    propose(&c, 12);
    cr_assert_geq(held_from(&c, 1), last_of(&c, 1) - 5);

    uint64_t applied = raft_applied(c.nodes[1].raft);
    cluster_snapshot(&c, 1, applied, applied);
    cluster_start_node(&c, 3);
    cluster_run(&c, 3 * HEARTBEAT_US);
    struct raft_peer_view view;
    cr_assert(raft_peer_view(c.nodes[1].raft, 3, &view) && view.needs_snapshot);
    propose(&c, 12);
    cr_assert_geq(held_from(&c, 1), last_of(&c, 1) - 5);
    cluster_deinit(&c);
}

Test(fetch, follower_that_was_down_gets_what_is_on_disk_alone)
{
    struct cluster c;
    leave_behind(&c, 30);
    cr_assert_gt(held_from(&c, 1), 25);
    cluster_start_node(&c, 3);
    cluster_run(&c, 3 * HEARTBEAT_US);
    assert_follows(&c);
    cr_assert_eq(c.nodes[1].snapshots_wanted, 0);
    propose(&c, 2);
    cluster_run(&c, HEARTBEAT_US + 1);
    assert_follows(&c);
    cluster_deinit(&c);
}

/* One part for each append, of one term; the next one is asked for when that is out. */
Test(fetch, is_asked_for_part_by_part)
{
    struct cluster c;
    leave_behind(&c, 20);
    cluster_elect(&c, 2);
    cluster_elect(&c, 1);
    propose(&c, 10);
    cluster_run(&c, HEARTBEAT_US + 1);
    c.nodes[1].hold_fetches = true;
    cluster_start_node(&c, 3);
    cluster_run(&c, 3 * HEARTBEAT_US);
    uint64_t parts = 0, next = last_of(&c, 3) + 1;
    for (; last_of(&c, 3) < last_of(&c, 1) && parts < 100; parts++) {
        cr_assert_eq(c.nodes[1].fetches.count, 1);
        const struct raft_fetch fetch = c.nodes[1].fetches.items[0];
        cr_assert_eq(fetch.first.index, next);
        cr_assert_eq(fetch.entries_max, 4);
        for (uint64_t i = fetch.first.index; i <= fetch.last; i++)
            cr_assert_eq(raft_term_at(c.nodes[1].raft, i), fetch.first.term);
        cr_assert_neq(raft_term_at(c.nodes[1].raft, fetch.last + 1), fetch.first.term);
        cr_assert_lt(fetch.last, held_from(&c, 1));
        cluster_fetch(&c, 1, false);
        next += fetch.last - fetch.first.index < 4 ? fetch.last - fetch.first.index + 1 : 4;
        cluster_settle(&c);
    }
    cr_assert(parts >= 8, "%lu", (unsigned long)parts);
    assert_follows(&c);
    cluster_deinit(&c);
}

Test(fetch, heartbeats_go_on_while_it_is_read)
{
    struct cluster c;
    leave_behind(&c, 20);
    c.nodes[1].hold_fetches = true;
    cluster_start_node(&c, 3);
    cluster_run(&c, 10 * T_US);
    cr_assert_eq(raft_role(c.nodes[1].raft), RAFT_LEADER);
    cr_assert_eq(raft_leader(c.nodes[3].raft), 1);
    cr_assert_eq(c.nodes[1].fetches.count, 1, "it is asked for once");
    cluster_deinit(&c);
}

/* The peer goes on from elsewhere: it was given a snapshot, or this node leads anew. */
Test(fetch, what_comes_too_late_is_not_sent)
{
    struct cluster c;
    come_back(&c);
    cr_assert_eq(c.nodes[1].fetches.count, 1);
    uint64_t applied = raft_applied(c.nodes[1].raft);
    cluster_snapshot(&c, 1, applied, applied);
    cluster_run(&c, HEARTBEAT_US + 1);
    struct raft_peer_view view;
    cr_assert(raft_peer_view(c.nodes[1].raft, 3, &view) && view.needs_snapshot);
    cr_assert_not(view.fetching);
    cluster_transfer(&c, 1, 3);
    cluster_run(&c, 3 * HEARTBEAT_US);
    propose(&c, 3);
    cr_assert_eq(last_of(&c, 3), last_of(&c, 1));
    struct raft_event late = {.type = RAFT_EVENT_FETCHED,
                              .fetched = {.fetch = c.nodes[1].fetches.items[0].number}};
    cluster_step(&c, 1, &late, 1);
    cr_assert_eq(c.nodes[1].snapshots_wanted, 0, "nobody waits for that one");
    propose(&c, 3);
    cr_assert_eq(last_of(&c, 3), last_of(&c, 1));
    cluster_deinit(&c);
}

Test(fetch, leader_that_leads_no_more_forgets_what_it_had_read)
{
    struct cluster c;
    come_back(&c);
    const uint64_t number = c.nodes[1].fetches.items[0].number;
    cluster_elect(&c, 2);
    cluster_run(&c, 3 * HEARTBEAT_US);
    assert_follows(&c);
    cluster_elect(&c, 1);
    struct raft_event late = {.type = RAFT_EVENT_FETCHED, .fetched = {.fetch = number}};
    raft_runs_slice(&c.nodes[1].disk_log, 3, 4, UINT64_MAX, &late.fetched.entries);
    cluster_step(&c, 1, &late, 1);
    propose(&c, 3);
    cluster_run(&c, HEARTBEAT_US + 1);
    assert_follows(&c);
    cluster_deinit(&c);
}

/* It is damaged: a snapshot takes its place. */
Test(fetch, what_cannot_be_read_is_replaced_by_a_snapshot)
{
    struct cluster c;
    come_back(&c);
    const struct raft_id lost = c.nodes[1].fetches.items[0].first;
    cluster_fetch(&c, 1, true);
    cr_assert_eq(c.nodes[1].snapshots_wanted, 1);
    propose(&c, 3);
    cr_assert_eq(c.nodes[1].snapshots_wanted, 1, "no more than once a heartbeat");
    cluster_run(&c, 3 * HEARTBEAT_US);
    cr_assert_eq(c.nodes[1].fetches.count, 0, "it is not tried again");
    cr_assert_gt(c.nodes[1].snapshots_wanted, 1, "but asked for again");
    c.nodes[1].raft->options.trailing_entries = UINT64_MAX;
    uint64_t applied = raft_applied(c.nodes[1].raft);
    cluster_snapshot(&c, 1, applied, 0);
    cr_assert_geq(raft_base(c.nodes[1].raft).index, lost.index);
    cluster_run(&c, HEARTBEAT_US + 1);
    struct raft_peer_view view;
    cr_assert(raft_peer_view(c.nodes[1].raft, 3, &view) && view.needs_snapshot);
    cluster_transfer(&c, 1, 3);
    cluster_run(&c, 3 * HEARTBEAT_US);
    uint32_t wanted = c.nodes[1].snapshots_wanted;
    propose(&c, 3);
    cr_assert_eq(last_of(&c, 3), last_of(&c, 1));
    cr_assert_eq(c.nodes[1].snapshots_wanted, wanted);
    cluster_deinit(&c);
}

Test(fetch, what_cannot_be_read_goes_at_once_if_a_snapshot_has_it)
{
    struct cluster c;
    cluster_init(&c, 3);
    for (uint32_t i = 1; i <= 3; i++)
        c.nodes[i].options.memory_bytes = 0;
    cluster_start(&c, 3);
    cluster_elect(&c, 1);
    propose(&c, 3);
    cluster_crash(&c, 3);
    propose(&c, 10);
    cluster_run(&c, HEARTBEAT_US + 1);
    cluster_snapshot(&c, 1, raft_applied(c.nodes[1].raft), 0);
    cr_assert_eq(raft_base(c.nodes[1].raft).index, 0, "trailing entries");
    c.nodes[1].hold_fetches = true;
    cluster_start_node(&c, 3);
    cluster_run(&c, 3 * HEARTBEAT_US);
    const uint64_t lost = c.nodes[1].fetches.items[0].first.index;
    cluster_fetch(&c, 1, true);
    cr_assert_eq(raft_base(c.nodes[1].raft).index, lost, "and no more than that");
    cr_assert_eq(c.nodes[1].snapshots_wanted, 0);
    cluster_run(&c, HEARTBEAT_US + 1);
    struct raft_peer_view view;
    cr_assert(raft_peer_view(c.nodes[1].raft, 3, &view) && view.needs_snapshot);
    cluster_deinit(&c);
}

/* Rounds of reads that are late ask everybody, who waits for a snapshot, too, and sooner than a
 * heartbeat would. */
Test(fetch, what_cannot_be_read_is_wanted_as_a_snapshot_again_whatever_else_the_peer_is_sent)
{
    struct cluster c;
    come_back(&c);
    struct test_node *node = &c.nodes[1];
    cluster_fetch(&c, 1, true);
    cluster_run(&c, 3 * HEARTBEAT_US);
    const uint32_t wanted = node->snapshots_wanted;
    for (int part = 0; part < 25; part++) {
        cluster_read(&c, 1, 77);
        cluster_advance(&c, HEARTBEAT_US / 10);
        cluster_timeout(&c, 1);
        cr_assert_gt(cluster_count(&c, 3, RAFT_APPEND_REQUEST), 0);
        cluster_drop_all(&c);
    }
    cr_assert_geq(node->snapshots_wanted, wanted + 2);
    cr_assert_leq(node->snapshots_wanted, wanted + 3, "not with each of them");
    cluster_deinit(&c);
}

static bool traced_unreadable(const struct test_node *node)
{
    for (uint32_t i = 0; i < node->trace.count; i++)
        if (node->trace.items[i].type == RAFT_TRACE_UNREADABLE)
            return true;
    return false;
}

/* It is no damage, and nobody is told of any. */
Test(fetch, what_went_while_it_was_read_is_not_missed)
{
    struct cluster c;
    come_back(&c);
    struct test_node *node = &c.nodes[1];
    const uint64_t applied = raft_applied(node->raft);
    const uint64_t number = node->fetches.items[0].number;
    struct raft_event events[] = {
        {.type = RAFT_EVENT_SNAPSHOT_TAKEN,
         .snapshot_taken = id_of(raft_term_at(node->raft, applied), applied)},
        {.type = RAFT_EVENT_FETCHED, .fetched = {.fetch = number}},
    };
    cluster_step(&c, 1, events, 2);
    cr_assert_eq(raft_base(node->raft).index, applied);
    cr_assert_not(traced_unreadable(node));
    cr_assert_eq(node->snapshots_wanted, 0);
    cluster_deinit(&c);
}

/* What was found later to be unreadable, for who is farther behind, does not make what is known to
 * be so worth a try again. */
Test(fetch, several_places_that_cannot_be_read_are_tried_once_each)
{
    struct cluster c;
    cluster_init(&c, 5);
    for (uint32_t i = 1; i <= 5; i++) {
        c.nodes[i].options.memory_bytes = 0;
        c.nodes[i].options.append_entries_max = 4;
    }
    cluster_start(&c, 5);
    cluster_elect(&c, 1);
    propose(&c, 3);
    cluster_crash(&c, 4);
    propose(&c, 10);
    cluster_crash(&c, 5);
    propose(&c, 10);
    cluster_run(&c, HEARTBEAT_US + 1);
    c.nodes[1].hold_fetches = true;
    cluster_start_node(&c, 4);
    cluster_start_node(&c, 5);
    cluster_run(&c, 3 * HEARTBEAT_US);
    cr_assert_eq(c.nodes[1].fetches.count, 2);
    struct raft_fetch *items = c.nodes[1].fetches.items;
    if (items[0].first.index < items[1].first.index) { /* who is less behind is told first */
        const struct raft_fetch first = items[0];
        items[0] = items[1];
        items[1] = first;
    }
    cluster_fetch(&c, 1, true);
    cluster_fetch(&c, 1, true);
    cr_assert(traced_unreadable(&c.nodes[1]));
    cluster_run(&c, 3 * HEARTBEAT_US);
    cr_assert_eq(c.nodes[1].fetches.count, 0);
    cluster_deinit(&c);
}

/* After a power loss its state machine is behind its snapshots, which are of no use to it as long
 * as its log goes on from there. */
Test(fetch, what_cannot_be_read_stays_while_it_is_to_be_applied)
{
    struct cluster c;
    leave_behind(&c, 20);
    struct test_node *node = &c.nodes[1];
    const uint64_t last = raft_applied(node->raft);
    cluster_snapshot(&c, 1, last, 0);
    cluster_crash(&c, 1);
    node->applied_index = last - 4;
    raft_runs_clear(&node->applied);
    node->hold_applied = true;
    node->options.trailing_entries = 0;
    cluster_start_node(&c, 1);
    cluster_elect(&c, 1);
    node->hold_fetches = true;
    cluster_start_node(&c, 3);
    cluster_run(&c, 3 * HEARTBEAT_US);
    cluster_fetch(&c, 1, true);
    cr_assert(traced_unreadable(node));
    cr_expect_leq(raft_base(node->raft).index, last - 4);
    node->hold_applied = false;
    propose(&c, 1);
    cr_expect_geq(raft_applied(node->raft), last + 1);
    cr_expect_eq(raft_base(node->raft).index, last, "up to the snapshot that there is");
    cluster_deinit(&c);
}

/* By its number: the peer waits for something else now. */
Test(fetch, what_comes_too_late_is_not_taken_for_what_is_being_read)
{
    struct cluster c;
    come_back(&c);
    const struct raft_fetch old = c.nodes[1].fetches.items[0];
    const uint64_t applied = raft_applied(c.nodes[1].raft);
    cluster_snapshot(&c, 1, applied, 0);
    cluster_run(&c, HEARTBEAT_US + 1);
    cluster_transfer(&c, 1, 3);
    cluster_run(&c, 3 * HEARTBEAT_US);
    cluster_crash(&c, 3);
    propose(&c, 10);
    cluster_run(&c, HEARTBEAT_US + 1);
    c.nodes[1].fetches.count = 0;
    cluster_start_node(&c, 3);
    cluster_run(&c, 3 * HEARTBEAT_US);
    cr_assert_eq(c.nodes[1].fetches.count, 1);
    struct raft_event late = {.type = RAFT_EVENT_FETCHED, .fetched = {.fetch = old.number}};
    raft_runs_slice(&c.nodes[1].disk_log, old.first.index, 4, UINT64_MAX, &late.fetched.entries);
    cluster_step(&c, 1, &late, 1);
    c.nodes[1].hold_fetches = false;
    cluster_fetch(&c, 1, false);
    cluster_run(&c, 3 * HEARTBEAT_US);
    cr_assert_eq(last_of(&c, 3), last_of(&c, 1));
    cluster_deinit(&c);
}

Test(fetch, goes_on_when_the_members_change)
{
    struct cluster c;
    come_back(&c);
    cluster_fetch(&c, 1, false);
    cluster_settle(&c);
    cr_assert_eq(c.nodes[1].fetches.count, 1);
    cluster_add_node(&c, 4);
    cluster_change(&c, 1, RAFT_CHANGE_ADD, "n4", "");
    cluster_settle(&c);
    cr_assert_eq(c.nodes[1].fetches.count, 1, "it is not asked for again");
    cluster_fetch(&c, 1, false);
    c.nodes[1].hold_fetches = false;
    cluster_run(&c, 3 * HEARTBEAT_US);
    assert_follows(&c);
    cluster_deinit(&c);
}

/* Rules 36 and 39 count what is on disk alone, too. */
Test(fetch, log_stays_for_a_snapshot_on_its_way_whether_or_not_it_is_in_memory)
{
    struct cluster c;
    setup(&c, 0);
    c.nodes[1].raft->options.pinned_bytes_max = 3000;
    cluster_crash(&c, 3);
    propose(&c, 20);
    cluster_run(&c, HEARTBEAT_US + 1);
    uint64_t first = raft_applied(c.nodes[1].raft);
    cluster_snapshot(&c, 1, first, first);
    cluster_start_node(&c, 3);
    cluster_run(&c, 3 * HEARTBEAT_US);
    propose(&c, 10);
    cluster_run(&c, HEARTBEAT_US + 1);
    cluster_snapshot(&c, 1, raft_applied(c.nodes[1].raft), 0);
    cr_assert_eq(raft_base(c.nodes[1].raft).index, first, "it is to get this one");
    propose(&c, 25);
    cluster_run(&c, HEARTBEAT_US + 1);
    cr_assert_leq(c.nodes[1].raft->log.runs.payload_bytes, 100, "nearly all is on disk alone");
    uint64_t applied = raft_applied(c.nodes[1].raft);
    cluster_snapshot(&c, 1, applied, 0);
    cr_assert_eq(raft_base(c.nodes[1].raft).index, applied, "but not without bound");
    cluster_transfer(&c, 1, 3);
    cluster_run(&c, 3 * HEARTBEAT_US);
    cr_assert_eq(last_of(&c, 3), last_of(&c, 1));
    cluster_deinit(&c);
}

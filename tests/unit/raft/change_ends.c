/* Changes of the members that come late, or end with their leader; and what a node that has failed
 * does with what it is still handed. */
#include "cluster.h"

#include "base/fatal.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

static struct cluster c;

/* Three voters; node 1 leads and has committed in its term. */
static void led(void)
{
    cluster_setup(&c, 3, 3);
    cluster_elect(&c, 1);
    cluster_settle(&c);
    cr_assert(raft_is_serving(c.nodes[1].raft));
}

static void ask(struct raft_change change)
{
    struct raft_change *asked = mem_alloc(sizeof *asked);
    *asked = change;
    asked->origin = (struct raft_origin){.request = 9}; /* of nobody's connection */
    struct raft_event event = {.type = RAFT_EVENT_CHANGE, .change = asked};
    cluster_step(&c, 1, &event, 1);
}

static struct raft_change about(enum raft_change_type type, const char *name)
{
    struct raft_change change = {.type = type};
    snprintf(change.member.name, sizeof change.member.name, "%s", name);
    return change;
}

Test(changes, of_the_ids_that_were_removed_the_oldest_is_forgotten_when_there_are_too_many)
{
    cluster_init(&c, 1);
    struct raft_configuration *configuration = &c.configuration;
    configuration->members[configuration->member_count++] = (struct raft_member){
        .id = 100, .flags = RAFT_MEMBER_LEARNER, .name = "l1", .peer = "tcp://x:1"};
    configuration->removed_count = RAFT_REMOVED_MAX;
    for (uint32_t i = 0; i < RAFT_REMOVED_MAX; i++)
        configuration->removed[i] = 1000 + i;
    cluster_start(&c, 1);
    cluster_elect(&c, 1);
    cluster_settle(&c);
    ask(about(RAFT_CHANGE_REMOVE, "l1"));
    cluster_settle(&c);
    const struct raft_configuration *members = raft_configuration(c.nodes[1].raft, NULL);
    cr_assert_eq(members->member_count, 1);
    cr_assert_eq(members->removed_count, RAFT_REMOVED_MAX);
    for (uint32_t i = 0; i + 1 < RAFT_REMOVED_MAX; i++)
        cr_assert_eq(members->removed[i], 1001 + i);
    cr_assert_eq(members->removed[RAFT_REMOVED_MAX - 1], 100);
    cr_assert_not(raft_configuration_was_removed(members, 1000));
    cluster_deinit(&c);
}

Test(changes, a_learner_that_has_not_been_heard_for_long_is_not_promoted)
{
    led();
    cluster_add_node(&c, 4);
    cluster_change(&c, 1, RAFT_CHANGE_ADD, "n4", "");
    cluster_settle(&c);
    cluster_cut(&c, 1u << 4, 0x0e);
    cluster_run(&c, 3 * T_US);
    ask(about(RAFT_CHANGE_PROMOTE, "n4"));
    cr_assert_eq(c.nodes[1].refused.count, 1);
    cr_assert_eq(c.nodes[1].refused.items[0].code, CONCLAVE_BUSY);
    cluster_deinit(&c);
}

Test(changes, a_directory_of_a_stranger_and_the_end_of_no_connection_change_nothing)
{
    led();
    uint64_t term = raft_hard_state(c.nodes[1].raft).term;
    struct raft_event events[] = {
        {.type = RAFT_EVENT_PEER_SEEN, .peer_seen = {.peer = 77, .incarnation = 5}},
        {.type = RAFT_EVENT_PEER_DOWN, .peer_down = 0}};
    for (raft_node_id id = 1; id <= 2; id++)
        cluster_step(&c, id, events, 2);
    cr_assert_eq(raft_role(c.nodes[1].raft), RAFT_LEADER);
    cr_assert_eq(raft_hard_state(c.nodes[2].raft).term, term);
    cr_assert_eq(raft_leader(c.nodes[2].raft), 1);
    cluster_deinit(&c);
}

Test(changes, one_that_an_old_leader_has_begun_ends_unknown_though_nobody_is_named)
{
    led();
    ask(about(RAFT_CHANGE_REMOVE, "n3"));
    cr_assert_eq(c.nodes[1].refused.count, 0);
    uint64_t term = raft_hard_state(c.nodes[1].raft).term;
    cluster_receive(&c, append_request(2, 1, term + 1, id_of(term + 1, 90), 0, NULL, 0));
    cr_assert_eq(c.nodes[1].refused.count, 1);
    cr_assert_eq(c.nodes[1].refused.items[0].code, CONCLAVE_UNKNOWN);
    cr_assert_eq(c.nodes[1].refused.items[0].origin.request, 9);
    cluster_deinit(&c);
}

/* --- Failed, and not started ------------------------------------------------------------------ */

Test(failed, node_frees_what_it_is_still_handed_and_says_why_again)
{
    cluster_setup(&c, 3, 1);
    uint64_t term = cluster_lead_alone(&c);
    struct raft_snapshot snapshot = {.last = id_of(term, 9),
                                     .configuration_index = 1,
                                     .configuration = raft_configuration_encode(&c.configuration)};
    struct raft_event events[] = {
        /* Rule 26: another leader of its term */
        {.type = RAFT_EVENT_RECEIVE,
         .receive = append_request(2, 1, term, id_of(1, 1), 0, NULL, 0)},
        {.type = RAFT_EVENT_SNAPSHOT_RECEIVED, .snapshot_received = snapshot},
        {.type = RAFT_EVENT_CHANGE, .change = mem_zalloc(sizeof(struct raft_change))},
        {.type = RAFT_EVENT_PROPOSE, .propose = command_batch(2, 10)},
        {.type = RAFT_EVENT_RECEIVE,
         .receive = append_request(2, 1, term, id_of(1, 1), 0, NULL, 0)},
        {.type = RAFT_EVENT_START,
         .start = {.snapshot = {.last = id_of(1, 1),
                                .configuration = buf_ref(snapshot.configuration)}}},
        {.type = RAFT_EVENT_TIMEOUT}};
    cluster_step(&c, 1, events, sizeof events / sizeof *events);
    cr_assert_eq(c.nodes[1].code, CONCLAVE_INTERNAL);
    cr_assert_eq(c.wire.count, 0);
    cluster_deinit(&c);
}

Test(failed, node_that_was_not_started_waits_for_nothing)
{
    struct raft_options options;
    struct raft_output output = {0};
    raft_options_init(&options);
    options.id = 1;
    struct raft *raft = raft_create(&options);
    cr_assert_eq(raft_step(raft, 5, NULL, 0, &output), CONCLAVE_OK);
    cr_assert_eq(output.deadline_us, UINT64_MAX);
    raft_destroy(raft);
}

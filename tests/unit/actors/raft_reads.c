/* Queries at the raft actor, which wait for their reads to be decided, or go ahead of that. */
#include "actors/raft_actor.h"
#include "base/clock.h"
#include "base/list.h"
#include "wires.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct node *node;
static struct actor *raft; /* its own thread is this one; the others' inboxes show what it sends */
static struct raft_actor *self;
static struct reply_list replies;

static void setup(void)
{
    node = calloc(1, sizeof *node);
    wires_open(node, "raft-reads");
    raft = &node->actors[ACTOR_RAFT];
    self = calloc(1, sizeof *self);
    raft->state = self;
}

static void teardown(void)
{
    reply_list_clear(&replies);
    raft_output_deinit(&self->output);
    raft_actor_reads_clear(self);
    free(self->events.items);
    free(self);
    wires_close(node);
    free(node);
}

TestSuite(raft_reads, .init = setup, .fini = teardown, .timeout = 600);

static void add(struct query_list *queries, struct query query)
{
    query.origin.client = 1;
    query.buf = buf_create(1);
    query_add(queries, query);
}

static void ask(struct query query)
{
    struct query_list queries = {0};
    add(&queries, query);
    raft_actor_read(raft, &queries);
    cr_assert_eq(queries.count, 0);
    free(queries.items);
}

static void begin(uint64_t read, uint64_t index)
{
    LIST_RESERVE(&self->output.reads_begun);
    self->output.reads_begun.items[self->output.reads_begun.count++] =
        (struct raft_read_begun){.read = read, .index = index};
}

static void decide(uint64_t read, int code, uint64_t index)
{
    LIST_RESERVE(&self->output.reads);
    self->output.reads.items[self->output.reads.count++] =
        (struct raft_read_result){.read = read, .code = code, .index = index};
}

static void carry(void)
{
    raft_actor_reads_done(raft, &replies);
    raft_actor_reads_begun(raft);
    raft_output_clear(&self->output);
}

/* The caller's; NULL: there is none. */
static struct envelope *sent(enum actor_id id)
{
    return inbox_receive(&node->actors[id].inbox);
}

static void expect_nothing(enum actor_id id)
{
    struct envelope *envelope = sent(id);
    cr_assert_null(envelope, "%d", envelope->type);
}

/* Of so many queries of one read, ahead of it or not. */
static void expect_query(uint64_t ahead, uint64_t index, uint32_t count)
{
    struct envelope *query = sent(ACTOR_MACHINE);
    cr_assert_not_null(query);
    cr_assert_eq(query->type, ENVELOPE_QUERY);
    cr_assert_eq(query->query.ahead, ahead);
    cr_assert_eq(query->query.index, index);
    cr_assert_eq(query->query.queries.count, count);
    envelope_destroy(query);
}

static void expect_decision(uint64_t read, uint32_t count, int code)
{
    struct envelope *decided = sent(ACTOR_NETWORK);
    cr_assert_not_null(decided);
    cr_assert_eq(decided->type, ENVELOPE_READS_DECIDED);
    cr_assert_eq(decided->reads_decided.count, 1);
    cr_assert_eq(decided->reads_decided.items[0].read, read);
    cr_assert_eq(decided->reads_decided.items[0].count, count);
    cr_assert_eq(decided->reads_decided.items[0].code, code);
    envelope_destroy(decided);
}

Test(raft_reads, are_executed_when_they_begin_and_decided_afterwards)
{
    struct query_list queries = {0};
    for (uint64_t i = 1; i <= 3; i++)
        add(&queries, (struct query){.origin.request = i});
    raft_actor_read(raft, &queries);
    expect_nothing(ACTOR_MACHINE);
    begin(1, 7);
    carry();
    expect_query(1, 7, 3);
    expect_nothing(ACTOR_NETWORK);
    decide(1, CONCLAVE_OK, 7);
    carry();
    expect_decision(1, 3, CONCLAVE_OK);
    expect_nothing(ACTOR_MACHINE);
    cr_assert_eq(replies.count, 0);
    cr_assert_eq(numbered_count(&self->reads), 0);
}

Test(raft_reads, that_are_refused_are_answered_without_the_state_machine)
{
    ask((struct query){.origin.request = 5});
    begin(1, 7);
    carry();
    expect_query(1, 7, 1);
    decide(1, CONCLAVE_NOT_LEADER, 0);
    carry();
    expect_decision(1, 1, CONCLAVE_NOT_LEADER);
    cr_assert_eq(replies.count, 1);
    cr_assert_eq(replies.items[0].origin.request, 5);
    cr_assert_eq(replies.items[0].code, CONCLAVE_NOT_LEADER);
}

Test(raft_reads, that_begin_and_are_confirmed_in_one_step_go_the_straight_way)
{
    ask((struct query){.origin.request = 5});
    begin(1, 7);
    decide(1, CONCLAVE_OK, 7);
    carry();
    expect_query(0, 7, 1);
    expect_nothing(ACTOR_MACHINE);
    expect_nothing(ACTOR_NETWORK);
}

Test(raft_reads, of_an_older_state_or_of_nothing_wait_for_the_decision)
{
    struct query_list queries = {0};
    add(&queries, (struct query){.origin.request = 1, .stale = true});
    add(&queries, (struct query){.origin.request = 2});
    add(&queries, (struct query){.origin.request = 3, .probe = true});
    raft_actor_read(raft, &queries);
    free(queries.items);
    begin(1, 7);
    carry();
    expect_query(1, 7, 1);
    decide(1, CONCLAVE_OK, 7);
    carry();
    expect_query(0, 7, 2);
    expect_decision(1, 1, CONCLAVE_OK);
    /* A later one in the same place of the table is none that went ahead. */
    ask((struct query){.origin.request = 4, .lease = true});
    decide(2, CONCLAVE_NO_LEADER, 0);
    carry();
    expect_nothing(ACTOR_NETWORK);
    cr_assert_eq(replies.count, 1);
}

Test(raft_reads, tell_the_state_machine_how_old_it_is_with_the_next_ones)
{
    ask((struct query){.origin.request = 1});
    begin(1, 7);
    carry();
    expect_query(1, 7, 1);
    decide(1, CONCLAVE_OK, 7);
    carry();
    expect_decision(1, 1, CONCLAVE_OK);
    cr_assert_eq(self->fresh_index, 7);
    uint64_t fresh_us = self->fresh_us;
    ask((struct query){.origin.request = 2});
    begin(2, 9);
    carry();
    struct envelope *query = sent(ACTOR_MACHINE);
    cr_assert_eq(query->query.fresh_us, fresh_us);
    envelope_destroy(query);
}

Test(raft_reads, are_as_old_as_the_newest_that_was_confirmed_when_it_was_asked)
{
    ask((struct query){.origin.request = 1});
    uint64_t asked_us = clock_now_us();
    ask((struct query){.origin.request = 2});
    uint64_t later_us = clock_now_us();
    while (clock_now_us() == later_us)
        continue;
    decide(2, CONCLAVE_OK, 9);
    carry();
    expect_query(0, 9, 1);
    uint64_t fresh_us = self->fresh_us;
    cr_assert_geq(fresh_us, asked_us);
    cr_assert_leq(fresh_us, later_us, "when it was confirmed says nothing of what it saw");
    decide(1, CONCLAVE_OK, 7);
    carry();
    expect_query(0, 7, 1);
    cr_assert_eq(self->fresh_us, fresh_us);
    cr_assert_eq(self->fresh_index, 9);
}

Test(raft_reads, of_an_older_state_are_answered_from_it_only_within_their_bound)
{
    self->fresh_us = 1; /* of long ago */
    self->fresh_index = 7;
    ask((struct query){.origin.request = 1, .stale = true, .max_age_ms = 1});
    expect_nothing(ACTOR_MACHINE);
    self->fresh_us = clock_now_us();
    ask((struct query){.origin.request = 2, .stale = true, .max_age_ms = UINT32_MAX});
    expect_query(0, 7, 1);
    cr_assert_eq(self->events.count, 1);
    decide(1, CONCLAVE_NO_LEADER, 0);
    carry();
}

Test(raft_reads, that_overlap_for_ever_take_no_more_room)
{
    ask((struct query){.origin.request = 1});
    for (uint64_t i = 2; i < 1000; i++) {
        ask((struct query){.origin.request = i});
        decide(i - 1, CONCLAVE_NOT_LEADER, 0);
        carry();
    }
    cr_assert_leq(self->reads.capacity, 8);
    decide(999, CONCLAVE_NOT_LEADER, 0);
    carry();
    cr_assert_eq(numbered_count(&self->reads), 0);
    for (uint32_t i = 0; i < replies.count; i++) /* each one once, in their order */
        cr_assert_eq(replies.items[i].origin.request, i + 1);
    cr_assert_eq(replies.count, 999);
}

Test(raft_reads, that_are_refused_out_of_turn_leave_the_others)
{
    for (uint64_t i = 1; i <= 5; i++)
        ask((struct query){.origin.request = i});
    static const uint64_t order[] = {5, 2, 4, 1, 3};
    for (int i = 0; i < 5; i++) {
        decide(order[i], CONCLAVE_BUSY, 0);
        carry();
        cr_assert_eq(replies.count, (uint32_t)i + 1);
        cr_assert_eq(replies.items[i].origin.request, order[i]);
    }
    cr_assert_eq(numbered_count(&self->reads), 0);
}

Test(raft_reads, begin_by_lease_or_by_a_round_as_they_were_asked)
{
    ask((struct query){.origin.request = 1, .lease = true});
    ask((struct query){.origin.request = 2, .stale = true}); /* nothing was confirmed before */
    ask((struct query){.origin.request = 3});
    cr_assert_eq(self->events.count, 3);
    cr_assert_eq(self->events.items[0].type, RAFT_EVENT_READ_LEASE);
    cr_assert_eq(self->events.items[1].type, RAFT_EVENT_READ);
    cr_assert_eq(self->events.items[2].type, RAFT_EVENT_READ);
    for (uint64_t read = 1; read <= 3; read++)
        decide(read, CONCLAVE_NOT_LEADER, 0);
    carry();
    cr_assert_eq(replies.items[0].code, CONCLAVE_NOT_LEADER);
    cr_assert_eq(replies.items[1].code, CONCLAVE_STALE);
    cr_assert_eq(replies.items[2].code, CONCLAVE_NOT_LEADER);
}

Test(raft_reads, by_a_lease_say_how_long_it_holds)
{
    ask((struct query){.origin.request = 1, .lease = true});
    decide(1, CONCLAVE_OK, 7);
    self->output.reads.items[0].valid_until_us = 99;
    carry();
    struct envelope *query = sent(ACTOR_MACHINE);
    cr_assert_not_null(query);
    cr_assert_eq(query->query.valid_until_us, 99);
    envelope_destroy(query);
}

#include "actors/machine_queries.h"

#include "actors/reply_room.h"
#include "machine/reply.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* A machine whose answer to everything has answer_bytes. */
static size_t answer_bytes;
static unsigned asked;

static void answer(void *arg, const void *data, size_t bytes, struct conclave_reply_sink *reply)
{
    (void)arg;
    (void)data;
    (void)bytes;
    asked++;
    reply_sink_take(reply, CONCLAVE_OK, buf_create(answer_bytes));
}

static const struct conclave_machine_ops ops = {.query = answer};
static struct node *node;
static struct actor actor;
static struct machine_queries queries;
static struct reply_list replies;
static struct meter *all, *client;

static void setup(void)
{
    node = calloc(1, sizeof *node);
    node->options.machine = &ops;
    actor = (struct actor){.node = node};
    queries = (struct machine_queries){0};
    answer_bytes = 1000;
    all = meter_create(NULL);
    client = meter_create(all);
}

static void teardown(void)
{
    machine_queries_deinit(&queries);
    reply_list_clear(&replies);
    cr_expect_eq(meter_held(all), 0, "%zu bytes are lost", meter_held(all));
    meter_unref(client);
    meter_unref(all);
    free(node);
}

TestSuite(machine_queries, .init = setup, .fini = teardown, .timeout = 600);

static void ask(struct meter *who, uint32_t count)
{
    struct envelope *envelope = envelope_create(ENVELOPE_QUERY);
    for (uint32_t i = 0; i < count; i++)
        query_add(&envelope->query.queries, (struct query){.origin = {.client = 1, .request = i},
                                                           .buf = buf_create(20),
                                                           .meter = meter_ref(who)});
    machine_queries_add(&queries, envelope);
}

static uint32_t pass(void)
{
    machine_queries_answer(&actor, &queries, 10, &replies);
    return replies.count;
}

static void assert_codes(uint32_t first, int code)
{
    for (uint32_t i = first; i < replies.count; i++)
        cr_assert_eq(replies.items[i].code, code, "%u: %d", i, replies.items[i].code);
}

Test(machine_queries, answer_is_counted_until_it_is_freed)
{
    ask(client, 3);
    cr_assert_eq(pass(), 3);
    cr_assert_eq(meter_held(client), 3000);
    cr_assert_eq(machine_queries_wait_ms(&queries), -1);
    reply_list_clear(&replies);
    cr_assert_eq(meter_held(client), 0);
}

Test(machine_queries, index_that_is_not_applied_is_waited_for)
{
    ask(client, 1);
    queries.waiting.items[0]->query.index = 11;
    cr_assert_eq(pass(), 0);
    machine_queries_answer(&actor, &queries, 11, &replies);
    cr_assert_eq(replies.count, 1);
}

/* Answers, refusals and what waited for room in between. */
Test(machine_queries, what_is_not_confirmed_says_of_which_read_it_is)
{
    ask(client, 1);
    queries.waiting.items[0]->query.ahead = 5;
    ask(client, 1);
    cr_assert_eq(pass(), 2);
    cr_assert_eq(replies.items[0].read, 5);
    cr_assert_eq(replies.items[1].read, 0);
    meter_take(client, REPLY_CLIENT_QUERY_BYTES);
    ask(client, 2);
    queries.waiting.items[0]->query.ahead = 6;
    cr_assert_eq(pass(), 2);
    queries.stalled.items[0].items[0].since_us -= QUERIES_STALLED_US_MAX;
    cr_assert_eq(pass(), 3);
    cr_assert_eq(replies.items[2].read, 6);
    cr_assert_eq(replies.items[2].code, CONCLAVE_BUSY);
    meter_give_back(client, REPLY_CLIENT_QUERY_BYTES);
    cr_assert_eq(pass(), 4);
    cr_assert_eq(replies.items[3].read, 6);
    ask(client, 1);
    queries.waiting.items[0]->query.ahead = 7;
    machine_queries_refuse(&actor, &queries, true, &replies);
    cr_assert_eq(replies.items[4].read, 7);
    cr_assert_eq(replies.items[4].code, CONCLAVE_NO_SPACE);
}

Test(machine_queries, machine_is_not_asked_for_a_client_that_does_not_read)
{
    answer_bytes = 1 << 20;
    ask(client, 100);
    cr_assert_eq(pass(), REPLY_CLIENT_QUERY_BYTES >> 20);
    cr_assert_eq(asked, REPLY_CLIENT_QUERY_BYTES >> 20);
    cr_assert_eq(machine_queries_wait_ms(&queries), QUERIES_STALLED_RETRY_MS);
    cr_assert_eq(pass(), asked);
    assert_codes(0, CONCLAVE_OK);
}

Test(machine_queries, client_that_reads_again_gets_the_others_in_their_order)
{
    answer_bytes = 1 << 20;
    ask(client, 20);
    uint64_t next = 0;
    for (int i = 0; i < 3; i++) {
        pass();
        assert_codes(0, CONCLAVE_OK);
        for (uint32_t k = 0; k < replies.count; k++)
            cr_assert_eq(replies.items[k].origin.request, next++);
        reply_list_clear(&replies);
    }
    cr_assert_eq(next, 20);
    cr_assert_eq(queries.stalled_count, 0);
    cr_assert_eq(machine_queries_wait_ms(&queries), -1);
}

Test(machine_queries, another_client_does_not_wait_with_it)
{
    answer_bytes = 1 << 20;
    struct meter *other = meter_create(all);
    ask(client, 100);
    ask(other, 1);
    cr_assert_eq(pass(), (REPLY_CLIENT_QUERY_BYTES >> 20) + 1);
    cr_assert_eq(meter_held(other), 1 << 20);
    meter_unref(other);
}

Test(machine_queries, many_clients_that_do_not_read_leave_room_for_one_that_does)
{
    answer_bytes = 900000;
    for (int i = 0; i < 30; i++) {
        struct meter *greedy = meter_create(all);
        ask(greedy, 20);
        meter_unref(greedy); /* the queries and their answers have it */
    }
    uint32_t before = 0;
    while (pass() > before)
        before = replies.count;
    cr_assert_lt(meter_held(all), REPLY_QUERY_BYTES);
    ask(client, 1);
    cr_assert_eq(pass(), before + 1);
    cr_assert_eq(meter_held(client), answer_bytes);
}

Test(machine_queries, no_more_than_the_node_holds_is_made_for_all_together)
{
    answer_bytes = 1 << 20;
    for (int i = 0; i < 200; i++) {
        struct meter *greedy = meter_create(all);
        ask(greedy, 2);
        meter_unref(greedy);
    }
    uint32_t before = 0;
    while (pass() > before)
        before = replies.count;
    cr_assert_leq(meter_held(all), REPLY_QUERY_BYTES + answer_bytes);
}

Test(machine_queries, query_that_waits_too_long_is_answered_busy)
{
    meter_take(client, REPLY_CLIENT_QUERY_BYTES);
    ask(client, 2);
    cr_assert_eq(pass(), 0);
    queries.stalled.items[0].items[0].since_us -= QUERIES_STALLED_US_MAX;
    cr_assert_eq(pass(), 1);
    assert_codes(0, CONCLAVE_BUSY);
    cr_assert_eq(asked, 0);
    cr_assert_not(replies.items[0].answer);
    meter_give_back(client, REPLY_CLIENT_QUERY_BYTES);
    cr_assert_eq(pass(), 2);
    assert_codes(1, CONCLAVE_OK);
}

Test(machine_queries, too_many_of_one_client_are_answered_busy_at_once)
{
    meter_take(client, REPLY_CLIENT_QUERY_BYTES);
    ask(client, QUERIES_STALLED_OF_CLIENT_MAX + 5);
    cr_assert_eq(pass(), 5);
    assert_codes(0, CONCLAVE_BUSY);
    cr_assert_eq(queries.stalled_count, QUERIES_STALLED_OF_CLIENT_MAX);
    meter_give_back(client, REPLY_CLIENT_QUERY_BYTES);
    cr_assert_eq(pass(), QUERIES_STALLED_OF_CLIENT_MAX + 5);
    assert_codes(5, CONCLAVE_OK);
}

Test(machine_queries, too_many_clients_that_wait_are_answered_busy_at_once)
{
    meter_take(all, REPLY_QUERY_BYTES);
    for (int i = 0; i < QUERIES_STALLED_CLIENTS_MAX; i++) {
        struct meter *greedy = meter_create(all);
        ask(greedy, 1);
        meter_unref(greedy);
    }
    ask(client, 1);
    cr_assert_eq(pass(), 1);
    assert_codes(0, CONCLAVE_BUSY);
    meter_give_back(all, REPLY_QUERY_BYTES);
    cr_assert_eq(pass(), 1 + QUERIES_STALLED_CLIENTS_MAX);
    assert_codes(1, CONCLAVE_OK);
}

Test(machine_queries, frames_have_room_of_their_own)
{
    meter_take(client, REPLY_CLIENT_QUERY_BYTES);
    cr_assert_not(reply_room_for_query(client));
    cr_assert(reply_room_for_frame(client, 1 << 20));
    cr_assert_not(
        reply_room_for_frame(client, REPLY_CLIENT_BYTES_MAX - REPLY_CLIENT_QUERY_BYTES + 1));
    meter_give_back(client, REPLY_CLIENT_QUERY_BYTES);
    meter_take(all, REPLY_BYTES_MAX - 100);
    cr_assert(reply_room_for_frame(client, 100));
    cr_assert_not(reply_room_for_frame(client, 101));
    meter_give_back(all, REPLY_BYTES_MAX - 100);
}

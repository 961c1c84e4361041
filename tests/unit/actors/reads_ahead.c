/* Rule 40: what was executed before its read was confirmed is seen by nobody before that. */
#include "actors/reads_ahead.h"

#include <criterion/criterion.h>

static struct reads_ahead reads;
static struct reply_list out;

static void teardown(void)
{
    reply_list_clear(&out);
    reads_ahead_deinit(&reads);
}

TestSuite(reads_ahead, .fini = teardown, .timeout = 60);

/* The answer of the state machine to one query of a read. */
static struct reply answer(uint64_t read, uint64_t request)
{
    return (struct reply){.origin = {.client = 1, .request = request},
                          .code = CONCLAVE_NOT_FOUND,
                          .body = buf_create(10),
                          .answer = true,
                          .read = read};
}

static enum reads_ahead_fate take(uint64_t read, uint64_t request)
{
    struct reply reply = answer(read, request);
    enum reads_ahead_fate fate = reads_ahead_take(&reads, &reply);
    if (fate == READS_AHEAD_OUT) {
        reply_add(&out, reply.origin, reply.code, reply.body);
        out.items[out.count - 1].answer = reply.answer;
    }
    return fate;
}

static bool keep(uint64_t read, uint64_t request)
{
    return take(read, request) == READS_AHEAD_KEPT;
}

static void decide(uint64_t read, uint32_t count, int code)
{
    reads_ahead_decide(&reads, &(struct read_decision){.read = read, .count = count, .code = code},
                       &out);
}

static void assert_answers(uint32_t first, uint32_t count)
{
    cr_assert_eq(out.count, first + count);
    for (uint32_t i = first; i < out.count; i++) {
        cr_assert_eq(out.items[i].code, CONCLAVE_NOT_FOUND);
        cr_assert(out.items[i].answer);
        cr_assert_not_null(out.items[i].body);
        cr_assert_eq(out.items[i].read, 0);
    }
}

Test(reads_ahead, answers_wait_for_the_decision_and_keep_their_order)
{
    cr_assert(keep(7, 1));
    cr_assert(keep(7, 2));
    decide(7, 2, CONCLAVE_OK);
    assert_answers(0, 2);
    cr_assert_eq(out.items[0].origin.request, 1);
    cr_assert_eq(out.items[1].origin.request, 2);
    cr_assert_eq(reads_ahead_count(&reads), 0);
}

Test(reads_ahead, answers_that_come_after_the_decision_go_out_at_once)
{
    decide(7, 2, CONCLAVE_OK);
    cr_assert_not(keep(7, 1));
    cr_assert_eq(reads_ahead_count(&reads), 1);
    cr_assert_not(keep(7, 2));
    assert_answers(0, 2);
    cr_assert_eq(reads_ahead_count(&reads), 0);
}

Test(reads_ahead, decision_between_two_answers_is_for_both)
{
    cr_assert(keep(7, 1));
    decide(7, 2, CONCLAVE_OK);
    assert_answers(0, 1);
    cr_assert_not(keep(7, 2));
    assert_answers(1, 1);
    cr_assert_eq(reads_ahead_count(&reads), 0);
}

Test(reads_ahead, nothing_goes_out_of_a_read_that_was_refused)
{
    cr_assert(keep(7, 1));
    decide(7, 3, CONCLAVE_NOT_LEADER);
    cr_assert_eq(take(7, 2), READS_AHEAD_VOID);
    cr_assert_eq(reads_ahead_count(&reads), 1);
    cr_assert_eq(take(7, 3), READS_AHEAD_VOID);
    cr_assert_eq(out.count, 0);
    cr_assert_eq(reads_ahead_count(&reads), 0);
}

Test(reads_ahead, decision_on_one_read_is_none_on_another)
{
    cr_assert(keep(9, 3));
    cr_assert(keep(7, 1));
    cr_assert(keep(8, 2));
    decide(8, 1, CONCLAVE_OK);
    assert_answers(0, 1);
    cr_assert_eq(out.items[0].origin.request, 2);
    decide(9, 1, CONCLAVE_NO_LEADER);
    cr_assert_eq(out.count, 1);
    decide(7, 1, CONCLAVE_OK);
    assert_answers(1, 1);
    cr_assert_eq(out.items[1].origin.request, 1);
    cr_assert_eq(reads_ahead_count(&reads), 0);
}

Test(reads_ahead, answers_of_confirmed_reads_are_none_of_its_business)
{
    struct reply reply = answer(0, 1);
    cr_assert_eq(reads_ahead_take(&reads, &reply), READS_AHEAD_OUT);
    cr_assert_eq(reads_ahead_count(&reads), 0);
    buf_unref(reply.body);
}

/* As after a stall of the state machine: in order, and from both ends. */
Test(reads_ahead, many_may_be_under_way)
{
    enum { MANY = 20000 };
    for (uint64_t i = 1; i <= MANY; i++)
        decide(i, 1, CONCLAVE_OK);
    cr_assert_eq(reads_ahead_count(&reads), MANY);
    for (uint64_t i = 1; i <= MANY / 2; i++) {
        cr_assert_not(keep(i, i));
        cr_assert_not(keep(MANY + 1 - i, i));
    }
    assert_answers(0, MANY);
    cr_assert_eq(reads_ahead_count(&reads), 0);
}

/* The place of those that are gone is used again. */
Test(reads_ahead, that_overlap_for_ever_take_no_more_room)
{
    cr_assert(keep(1, 1));
    for (uint64_t i = 2; i < 1000; i++) {
        cr_assert(keep(i, i));
        decide(i - 1, 1, CONCLAVE_OK);
    }
    cr_assert_eq(reads_ahead_count(&reads), 1);
    cr_assert_leq(reads.reads.capacity, 8);
    assert_answers(0, 998);
}

Test(reads_ahead, what_is_never_decided_is_freed_with_the_rest)
{
    cr_assert(keep(7, 1));
    decide(8, 3, CONCLAVE_OK);
    cr_assert_eq(reads_ahead_count(&reads), 2);
}

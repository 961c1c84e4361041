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

static bool keep(uint64_t read, uint64_t request)
{
    struct reply reply = answer(read, request);
    bool kept = reads_ahead_keep(&reads, &reply);
    if (!kept) {
        cr_assert_eq(reply.read, 0, "nobody asks again");
        reply_add(&out, reply.origin, reply.code, reply.body);
        out.items[out.count - 1].answer = reply.answer;
    }
    return kept;
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
    cr_assert_eq(reads.count, 0);
}

Test(reads_ahead, answers_that_come_after_the_decision_go_out_at_once)
{
    decide(7, 2, CONCLAVE_OK);
    cr_assert_not(keep(7, 1));
    cr_assert_eq(reads.count, 1);
    cr_assert_not(keep(7, 2));
    assert_answers(0, 2);
    cr_assert_eq(reads.count, 0);
}

Test(reads_ahead, decision_between_two_answers_is_for_both)
{
    cr_assert(keep(7, 1));
    decide(7, 2, CONCLAVE_OK);
    assert_answers(0, 1);
    cr_assert_not(keep(7, 2));
    assert_answers(1, 1);
    cr_assert_eq(reads.count, 0);
}

Test(reads_ahead, refusal_goes_out_in_the_place_of_what_was_read)
{
    cr_assert(keep(7, 1));
    decide(7, 2, CONCLAVE_NOT_LEADER);
    cr_assert_not(keep(7, 2));
    cr_assert_eq(out.count, 2);
    for (uint32_t i = 0; i < 2; i++) {
        cr_assert_eq(out.items[i].origin.request, i + 1);
        cr_assert_eq(out.items[i].code, CONCLAVE_NOT_LEADER);
        cr_assert_not(out.items[i].answer);
        cr_assert_null(out.items[i].body);
    }
    cr_assert_eq(reads.count, 0);
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
    cr_assert_eq(out.items[1].origin.request, 3);
    cr_assert_eq(out.items[1].code, CONCLAVE_NO_LEADER);
    decide(7, 1, CONCLAVE_OK);
    cr_assert_eq(out.items[2].origin.request, 1);
    cr_assert_eq(out.items[2].code, CONCLAVE_NOT_FOUND);
    cr_assert_eq(reads.count, 0);
}

Test(reads_ahead, answers_of_confirmed_reads_are_none_of_its_business)
{
    struct reply reply = answer(0, 1);
    cr_assert_not(reads_ahead_keep(&reads, &reply));
    cr_assert_eq(reads.count, 0);
    buf_unref(reply.body);
}

Test(reads_ahead, what_is_never_decided_is_freed_with_the_rest)
{
    cr_assert(keep(7, 1));
    decide(8, 3, CONCLAVE_OK);
}

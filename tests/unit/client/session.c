/* The client's session: proposals are numbered, and repeated until they are answered. */
#include "fake_node.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct fake_cluster cluster;
static struct fake_node *n1, *n2;

static void two_nodes(void)
{
    fake_cluster_init(&cluster, 2);
    fake_session_client(&cluster, 0, 2);
    n1 = cluster.nodes[0];
    n2 = cluster.nodes[1];
}

static void end(void)
{
    fake_cluster_deinit(&cluster);
}

TestSuite(session, .init = two_nodes, .fini = end);

static void submit(struct conclave_op *op)
{
    cr_assert_eq(conclave_client_submit(cluster.client, op), CONCLAVE_OK);
}

static void finish(size_t count)
{
    cr_assert_eq(fake_run(&cluster, count, NULL), count);
}

/* One proposal that n1 takes and does not answer. */
static void submit_held(struct conclave_op *op)
{
    n1->mode = FAKE_HOLD;
    size_t held = n1->held_count;
    submit(op);
    FAKE_RUN_UNTIL(&cluster, n1->held_count == held + 1);
}

Test(session, is_opened_by_the_first_proposal_alone)
{
    struct conclave_op read = fake_op(CONCLAVE_OP_READ, "r", 0);
    submit(&read);
    finish(1);
    cr_assert_eq(n1->opened + n2->opened, 0);
    for (int i = 0; i < 3; i++) {
        struct conclave_op op = fake_op(CONCLAVE_OP_PROPOSE, "p", 0);
        submit(&op);
        finish(1);
        cr_assert_eq(op.code, CONCLAVE_OK);
        conclave_op_release(&op);
    }
    cr_assert_eq(n1->opened, 1);
    conclave_op_release(&read);
}

Test(session, numbers_proposals_and_acknowledges_answers)
{
    struct conclave_op ops[3];
    n1->mode = FAKE_HOLD;
    for (int i = 0; i < 3; i++) {
        ops[i] = fake_op(CONCLAVE_OP_PROPOSE, "p", 0);
        submit(&ops[i]);
    }
    FAKE_RUN_UNTIL(&cluster, n1->held_count == 3);
    for (uint64_t i = 0; i < 3; i++) {
        cr_assert_eq(n1->held[i].session, 101);
        cr_assert_eq(n1->held[i].sequence, i + 1);
        cr_assert_eq(n1->held[i].acknowledged, 0);
    }
    fake_answer(n1, 1, CONCLAVE_OK, "");
    finish(1);
    struct conclave_op more = fake_op(CONCLAVE_OP_PROPOSE, "p", 0);
    submit_held(&more);
    cr_assert_eq(n1->held[3].sequence, 4);
    cr_assert_eq(n1->held[3].acknowledged, 0, "the first is not answered");
    fake_answer(n1, 0, CONCLAVE_OK, "");
    finish(1);
    struct conclave_op last = fake_op(CONCLAVE_OP_PROPOSE, "p", 0);
    submit_held(&last);
    cr_assert_eq(n1->held[4].acknowledged, 2);
    for (size_t i = 2; i < 5; i++)
        fake_answer(n1, i, CONCLAVE_OK, "");
    finish(3);
}

Test(session, repeats_under_the_same_number_when_the_leader_is_lost)
{
    struct conclave_op op = fake_op(CONCLAVE_OP_PROPOSE, "once", 0);
    submit_held(&op);
    n1->mode = FAKE_DEAF;
    n2->mode = FAKE_HOLD;
    fake_leader(&cluster, 1, 2);
    FAKE_RUN_UNTIL(&cluster, n2->held_count == 1);
    cr_assert_eq(n2->held[0].session, n1->held[0].session);
    cr_assert_eq(n2->held[0].sequence, n1->held[0].sequence);
    cr_assert_str_eq(n2->held[0].body, "once");
    fake_answer(n2, 0, CONCLAVE_OK, "done");
    finish(1);
    cr_assert_eq(op.code, CONCLAVE_OK);
    cr_assert_eq(op.reply_bytes, 4);
    conclave_op_release(&op);
}

Test(session, repeats_what_a_node_answered_unknown)
{
    struct conclave_op op = fake_op(CONCLAVE_OP_PROPOSE, "once", 0);
    submit_held(&op);
    fake_answer_refusal(n1, n1->held[0].id, CONCLAVE_UNKNOWN);
    FAKE_RUN_UNTIL(&cluster, n1->held_count == 2);
    cr_assert_eq(n1->held[1].sequence, n1->held[0].sequence);
    fake_answer(n1, 1, CONCLAVE_OK, "");
    finish(1);
    cr_assert_eq(op.code, CONCLAVE_OK);
}

Test(session, leaves_unknown_what_was_taken_and_not_answered_by_its_deadline)
{
    struct conclave_op op = fake_op(CONCLAVE_OP_PROPOSE, "once", 300);
    submit_held(&op);
    fake_answer_refusal(n1, n1->held[0].id, CONCLAVE_UNKNOWN);
    n1->mode = FAKE_REFUSE;
    n1->refusal = CONCLAVE_BUSY;
    finish(1);
    cr_assert_eq(op.code, CONCLAVE_UNKNOWN, "refused last, but perhaps taken first");
}

Test(session, sends_in_a_new_one_what_an_expired_one_refused_at_first)
{
    struct conclave_op op = fake_op(CONCLAVE_OP_PROPOSE, "a", 0);
    submit(&op);
    finish(1);
    conclave_op_release(&op);
    n1->expired = 101;
    submit(&op);
    finish(1);
    cr_assert_eq(op.code, CONCLAVE_OK);
    cr_assert_eq(n1->opened, 2);
    conclave_op_release(&op);
}

Test(session, leaves_unknown_what_an_expired_one_may_have_applied)
{
    struct conclave_op op = fake_op(CONCLAVE_OP_PROPOSE, "a", 0);
    submit_held(&op);
    fake_answer_refusal(n1, n1->held[0].id, CONCLAVE_UNKNOWN);
    n1->expired = 101;
    finish(1);
    cr_assert_eq(op.code, CONCLAVE_UNKNOWN);
    n1->mode = FAKE_OK;
    submit(&op);
    finish(1);
    cr_assert_eq(op.code, CONCLAVE_OK, "the next one gets a session of its own");
    conclave_op_release(&op);
}

Test(session, holds_what_is_beyond_the_window)
{
    enum { COUNT = 10 };
    struct conclave_op ops[COUNT];
    n1->window = 4;
    n1->mode = FAKE_HOLD;
    for (int i = 0; i < COUNT; i++) {
        ops[i] = fake_op(CONCLAVE_OP_PROPOSE, "p", 0);
        submit(&ops[i]);
    }
    FAKE_RUN_UNTIL(&cluster, n1->held_count == 4);
    struct conclave_op read = fake_op(CONCLAVE_OP_READ, "r", 0);
    submit(&read); /* not held up by them */
    FAKE_RUN_UNTIL(&cluster, n1->held_count == 5);
    for (size_t i = 0; i < COUNT + 1; i++) {
        cr_assert_lt(i, n1->held_count);
        fake_answer(n1, i, CONCLAVE_OK, "");
        finish(1);
        FAKE_RUN_UNTIL(&cluster, n1->held_count >= (i < 4 ? 6 + i : i < 6 ? i + 5 : COUNT + 1));
    }
}

Test(session, is_kept_alive_while_the_client_is_polled)
{
    n1->lifetime_ms = 60;
    struct conclave_op op = fake_op(CONCLAVE_OP_PROPOSE, "p", 0);
    submit(&op);
    finish(1);
    conclave_op_release(&op);
    FAKE_RUN_UNTIL(&cluster, n1->kept_alive >= 2);
    n1->expired = 101;
    size_t kept_alive = n1->kept_alive;
    FAKE_RUN_UNTIL(&cluster, n1->kept_alive > kept_alive);
    submit(&op);
    finish(1);
    cr_assert_eq(op.code, CONCLAVE_OK);
    cr_assert_eq(n1->opened, 2);
    conclave_op_release(&op);
}

Test(session, that_cannot_be_opened_leaves_proposals_surely_not_applied)
{
    struct conclave_op op = fake_op(CONCLAVE_OP_PROPOSE, "p", 200);
    n1->mode = n2->mode = FAKE_REFUSE;
    n1->refusal = n2->refusal = CONCLAVE_BUSY;
    submit(&op);
    finish(1);
    cr_assert_eq(op.code, CONCLAVE_BUSY);
    n1->mode = n2->mode = FAKE_DEAF;
    submit(&op);
    finish(1);
    cr_assert_neq(op.code, CONCLAVE_UNKNOWN);
    cr_assert_neq(op.code, CONCLAVE_OK);
}

Test(session, is_not_used_when_switched_off)
{
    conclave_client_destroy(cluster.client);
    fake_client(&cluster, 0, 2);
    n1->mode = FAKE_HOLD;
    struct conclave_op op = fake_op(CONCLAVE_OP_PROPOSE, "p", 0);
    submit_held(&op);
    cr_assert_eq(n1->held[0].type, CLIENT_OP_PROPOSE);
    cr_assert_eq(n1->opened, 0);
    fake_answer(n1, 0, CONCLAVE_OK, "");
    finish(1);
}

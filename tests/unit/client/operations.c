/* Life of an operation: frames, answers, refusals, deadlines. */
#include "fake_node.h"

#include "base/clock.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct fake_cluster cluster;
static struct fake_node *node;

static void one_node(void)
{
    fake_cluster_init(&cluster, 1);
    fake_client(&cluster, 0, 1);
    node = cluster.nodes[0];
}

static void end(void)
{
    fake_cluster_deinit(&cluster);
}

TestSuite(operations, .init = one_node, .fini = end);

static void submit(struct conclave_op *op)
{
    cr_assert_eq(conclave_client_submit(cluster.client, op), CONCLAVE_OK);
}

/* Serves the node until it has been sent `count` proposals and reads in all. */
static void run_until_sent(size_t count)
{
    FAKE_RUN_UNTIL(&cluster, node->op_count >= count);
    cr_assert_eq(node->op_count, count);
}

static bool reply_is(const struct conclave_op *op, const char *text)
{
    return op->reply_bytes == strlen(text) && memcmp(op->reply, text, op->reply_bytes) == 0;
}

Test(operations, come_back_with_the_answer)
{
    struct conclave_op op = fake_op(CONCLAVE_OP_PROPOSE, "hello", 0), *done;
    submit(&op);
    cr_assert_eq(fake_run(&cluster, 1, &done), 1);
    cr_assert_eq(done, &op);
    cr_assert_eq(op.code, CONCLAVE_OK);
    cr_assert(reply_is(&op, "hello"));
    cr_assert_gt(op.latency_ns, 0);
    conclave_op_release(&op);
    cr_assert_null(op.reply);
}

Test(operations, submitted_together_travel_in_one_frame)
{
    enum { COUNT = 1000 };
    static struct conclave_op ops[COUNT];
    for (int i = 0; i < COUNT; i++) {
        ops[i] = fake_op(i % 2 ? CONCLAVE_OP_READ : CONCLAVE_OP_PROPOSE, "x", 0);
        submit(&ops[i]);
    }
    cr_assert_eq(fake_run(&cluster, COUNT, NULL), COUNT);
    cr_assert_eq(node->op_count, COUNT);
    cr_assert_eq(node->frame_count, 1);
    for (int i = 0; i < COUNT; i++)
        conclave_op_release(&ops[i]);
}

Test(operations, travel_in_frames_of_bounded_count_and_size)
{
    enum { MANY = CLIENT_OPS_PER_FRAME_MAX + 1, LARGE = 8, LARGE_BYTES = 100 << 10 };
    static struct conclave_op ops[MANY], large[LARGE];
    for (int i = 0; i < MANY; i++) {
        ops[i] = fake_op(CONCLAVE_OP_READ, "", 0);
        submit(&ops[i]);
    }
    cr_assert_eq(fake_run(&cluster, MANY, NULL), MANY);
    cr_assert_eq(node->frame_ops_max, CLIENT_OPS_PER_FRAME_MAX);

    char *bytes = calloc(1, LARGE_BYTES);
    for (int i = 0; i < LARGE; i++) {
        large[i] =
            (struct conclave_op){.kind = CONCLAVE_OP_PROPOSE, .data = bytes, .bytes = LARGE_BYTES};
        submit(&large[i]);
    }
    node->frame_bytes_max = 0;
    cr_assert_eq(fake_run(&cluster, LARGE, NULL), LARGE);
    cr_assert_leq(node->frame_bytes_max, 256 << 10);
    cr_assert_gt(node->frame_bytes_max, 2 * LARGE_BYTES);
    for (int i = 0; i < LARGE; i++) {
        cr_assert_eq(large[i].reply_bytes, LARGE_BYTES);
        conclave_op_release(&large[i]);
    }
    free(bytes);
}

Test(operations, are_answered_in_any_order)
{
    struct conclave_op ops[3];
    const char *bodies[3] = {"a", "b", "c"};
    node->mode = FAKE_HOLD;
    for (int i = 0; i < 3; i++) {
        ops[i] = fake_op(CONCLAVE_OP_PROPOSE, bodies[i], 0);
        submit(&ops[i]);
    }
    run_until_sent(3);
    for (size_t i = 3; i-- > 0;)
        fake_answer(node, i, CONCLAVE_OK, node->held[i].body);
    cr_assert_eq(fake_run(&cluster, 3, NULL), 3);
    for (int i = 0; i < 3; i++) {
        cr_assert(reply_is(&ops[i], bodies[i]));
        conclave_op_release(&ops[i]);
    }
}

Test(operations, keep_replies_after_the_client_is_gone)
{
    struct conclave_op op = fake_op(CONCLAVE_OP_READ, "kept", 0);
    submit(&op);
    cr_assert_eq(fake_run(&cluster, 1, NULL), 1);
    conclave_client_destroy(cluster.client);
    cluster.client = NULL;
    cr_assert(reply_is(&op, "kept"));
    conclave_op_release(&op);
}

Test(operations, pass_on_codes_and_answers_of_the_machine)
{
    struct conclave_op op = fake_op(CONCLAVE_OP_PROPOSE, "x", 0);
    node->mode = FAKE_HOLD;
    submit(&op);
    run_until_sent(1);
    fake_answer(node, 0, CONCLAVE_COMPARE_FAILED, "why");
    cr_assert_eq(fake_run(&cluster, 1, NULL), 1);
    cr_assert_eq(op.code, CONCLAVE_COMPARE_FAILED);
    cr_assert(reply_is(&op, "why"));
    conclave_op_release(&op);
}

Test(operations, are_not_sent_again_when_the_machine_says_busy)
{
    struct conclave_op op = fake_op(CONCLAVE_OP_PROPOSE, "x", 0);
    node->mode = FAKE_HOLD;
    submit(&op);
    run_until_sent(1);
    fake_answer(node, 0, CONCLAVE_BUSY, "applied, and it said so");
    cr_assert_eq(fake_run(&cluster, 1, NULL), 1);
    cr_assert_eq(op.code, CONCLAVE_BUSY);
    cr_assert_eq(node->op_count, 1);
    conclave_op_release(&op);
}

Test(operations, carry_the_sentence_of_a_node_that_refuses_for_good)
{
    struct conclave_op op = fake_op(CONCLAVE_OP_PROPOSE, "x", 0);
    node->mode = FAKE_REFUSE;
    node->refusal = CONCLAVE_TOO_LARGE;
    submit(&op);
    cr_assert_eq(fake_run(&cluster, 1, NULL), 1);
    cr_assert_eq(op.code, CONCLAVE_TOO_LARGE);
    cr_assert(reply_is(&op, "refused by the test"));
    conclave_op_release(&op);
}

/* --- Refusals -------------------------------------------------------------------------------- */

Test(operations, are_tried_again_while_the_node_is_busy)
{
    struct conclave_op op = fake_op(CONCLAVE_OP_PROPOSE, "x", 0);
    node->mode = FAKE_REFUSE;
    node->refusal = CONCLAVE_BUSY;
    submit(&op);
    FAKE_RUN_UNTIL(&cluster, node->op_count == 3);
    node->mode = FAKE_OK;
    cr_assert_eq(fake_run(&cluster, 1, NULL), 1);
    cr_assert_eq(op.code, CONCLAVE_OK);
    cr_assert_eq(node->op_count, 4);
    conclave_op_release(&op);
}

static int code_when_always_refused(int refusal)
{
    struct conclave_op op = fake_op(CONCLAVE_OP_PROPOSE, "x", 200);
    node->mode = FAKE_REFUSE;
    node->refusal = refusal;
    for (int tries = 0; tries < 5; tries++) {
        submit(&op);
        cr_assert_eq(fake_run(&cluster, 1, NULL), 1);
        cr_assert_geq(op.latency_ns, 200 * 1000000ull);
        cr_assert_geq(node->op_count, 2);
        /* The deadline may fall between an attempt and its refusal: once more, then. */
        if (op.code != CONCLAVE_UNKNOWN)
            break;
    }
    return op.code;
}

Test(operations, end_busy_when_the_node_stays_busy)
{
    cr_assert_eq(code_when_always_refused(CONCLAVE_BUSY), CONCLAVE_BUSY);
}

Test(operations, that_change_members_tell_why_they_were_refused_last)
{
    struct conclave_op op = fake_op(CONCLAVE_OP_MEMBER, "x", 200);
    node->mode = FAKE_REFUSE;
    node->refusal = CONCLAVE_BUSY;
    for (int tries = 0; tries < 5 && op.code != CONCLAVE_BUSY; tries++) {
        submit(&op);
        cr_assert_eq(fake_run(&cluster, 1, NULL), 1);
    }
    cr_assert_eq(op.code, CONCLAVE_BUSY);
    cr_assert(reply_is(&op, "refused by the test"));
    /* An answer that is no refusal says what it says itself. */
    op.timeout_ms = 0;
    submit(&op);
    node->op_count = 0;
    FAKE_RUN_UNTIL(&cluster, node->op_count == 1);
    node->mode = FAKE_OK;
    cr_assert_eq(fake_run(&cluster, 1, NULL), 1);
    cr_assert_eq(op.code, CONCLAVE_OK);
    cr_assert(reply_is(&op, "x"));
    conclave_op_release(&op);
}

Test(operations, that_change_members_are_not_sent_again_right_before_their_deadline)
{
    struct conclave_op op = fake_op(CONCLAVE_OP_MEMBER, "x", 200), *done;
    node->mode = FAKE_HOLD;
    for (int tries = 0; tries < 5 && op.code != CONCLAVE_BUSY; tries++) {
        node->held_count = 0;
        node->op_count = 0;
        submit(&op);
        /* The node takes more than half of the time that there is. */
        uint64_t from_ns = clock_now_ns();
        FAKE_RUN_UNTIL(&cluster, clock_now_ns() - from_ns > 120 * UINT64_C(1000000));
        fake_answer_refusal(node, node->held[0].id, CONCLAVE_BUSY);
        cr_assert_eq(fake_run(&cluster, 1, &done), 1);
    }
    cr_assert_eq(op.code, CONCLAVE_BUSY); /* sent again, it would be UNKNOWN */
    cr_assert_eq(node->op_count, 1);
    conclave_op_release(&op);
}

Test(operations, end_stopping_when_the_node_stays_so)
{
    cr_assert_eq(code_when_always_refused(CONCLAVE_STOPPING), CONCLAVE_STOPPING);
}

Test(operations, end_without_leader_when_there_is_none)
{
    fake_leader(&cluster, -1, 3);
    cr_assert_eq(code_when_always_refused(CONCLAVE_NO_LEADER), CONCLAVE_NO_LEADER);
}

/* --- Deadlines ------------------------------------------------------------------------------- */

Test(operations, proposal_sent_and_not_answered_is_unknown)
{
    struct conclave_op op = fake_op(CONCLAVE_OP_PROPOSE, "x", 100);
    node->mode = FAKE_HOLD;
    submit(&op);
    cr_assert_eq(fake_run(&cluster, 1, NULL), 1);
    cr_assert_eq(op.code, CONCLAVE_UNKNOWN);
    cr_assert_eq(node->op_count, 1, "it must not be sent twice");
}

Test(operations, read_sent_and_not_answered_times_out)
{
    struct conclave_op op = fake_op(CONCLAVE_OP_READ, "x", 100);
    node->mode = FAKE_HOLD;
    submit(&op);
    cr_assert_eq(fake_run(&cluster, 1, NULL), 1);
    cr_assert_eq(op.code, CONCLAVE_TIMEOUT);
}

Test(operations, nobody_there_is_unreachable, .init = NULL, .fini = NULL)
{
    struct conclave_client_options options;
    conclave_client_options_init(&options);
    options.endpoints = "tcp://127.0.0.1:1,ipc:///nonexistent/conclave-test";
    struct conclave_client *client;
    cr_assert_eq(conclave_client_create(&options, &client, NULL), CONCLAVE_OK);
    struct conclave_op op = fake_op(CONCLAVE_OP_PROPOSE, "x", 150);
    cr_assert_eq(conclave_client_call(client, &op), CONCLAVE_UNREACHABLE);
    cr_assert_str_eq(conclave_client_describe(client),
                     "tcp://127.0.0.1:1 (no answer), ipc:///nonexistent/conclave-test (no answer)");
    conclave_client_destroy(client);
}

Test(operations, each_has_its_own_deadline)
{
    struct conclave_op slow = fake_op(CONCLAVE_OP_PROPOSE, "slow", 10000);
    struct conclave_op quick = fake_op(CONCLAVE_OP_PROPOSE, "quick", 50), *done;
    node->mode = FAKE_HOLD;
    submit(&slow);
    submit(&quick);
    cr_assert_eq(fake_run(&cluster, 1, &done), 1);
    cr_assert_eq(done, &quick);
    cr_assert_eq(quick.code, CONCLAVE_UNKNOWN);
    fake_answer(node, 0, CONCLAVE_OK, "");
    cr_assert_eq(fake_run(&cluster, 1, &done), 1);
    cr_assert_eq(done, &slow);
    cr_assert_eq(slow.code, CONCLAVE_OK);
}

/* --- What must not disturb ------------------------------------------------------------------- */

Test(operations, are_undisturbed_by_garbage)
{
    struct conclave_op op = fake_op(CONCLAVE_OP_PROPOSE, "x", 0), *done;
    node->mode = FAKE_HOLD;
    submit(&op);
    run_until_sent(1);
    uint64_t random = 42;
    for (int i = 0; i < 2000; i++) {
        uint8_t bytes[40];
        for (size_t k = 0; k < sizeof bytes; k++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            bytes[k] = (uint8_t)(random >> 56);
        }
        bytes[0] = (uint8_t)(0x90 | (bytes[0] & 7)); /* an array: gets further */
        if (i % 2)
            bytes[1] = CLIENT_PROTOCOL_VERSION;
        fake_send(node, bytes, (size_t)i % sizeof bytes);
    }
    for (int i = 0; i < 50; i++)
        cr_assert_eq(conclave_client_poll(cluster.client, 0, &done), 0);
    fake_answer(node, 0, CONCLAVE_OK, "real");
    cr_assert_eq(fake_run(&cluster, 1, NULL), 1);
    cr_assert(reply_is(&op, "real"));
    conclave_op_release(&op);
}

Test(operations, are_undisturbed_by_truncated_answers)
{
    struct conclave_op op = fake_op(CONCLAVE_OP_PROPOSE, "x", 0), *done;
    node->mode = FAKE_HOLD;
    submit(&op);
    run_until_sent(1);
    struct pack pack;
    pack_init(&pack, 64);
    client_reply_pack_begin(&pack, 1);
    client_reply_pack_bin(&pack, node->held[0].id, CONCLAVE_OK, "answer", 6);
    struct buf *whole = pack_take(&pack);
    for (size_t bytes = 0; bytes < whole->bytes; bytes++) {
        fake_send(node, whole->data, bytes);
        cr_assert_eq(conclave_client_poll(cluster.client, 0, &done), 0);
    }
    fake_send(node, whole->data, whole->bytes);
    buf_unref(whole);
    cr_assert_eq(fake_run(&cluster, 1, NULL), 1);
    cr_assert(reply_is(&op, "answer"));
    conclave_op_release(&op);
}

Test(operations, take_the_first_of_two_answers)
{
    struct conclave_op op = fake_op(CONCLAVE_OP_PROPOSE, "x", 0), next, *done;
    node->mode = FAKE_HOLD;
    submit(&op);
    run_until_sent(1);
    fake_answer(node, 0, CONCLAVE_OK, "first");
    fake_answer(node, 0, CONCLAVE_INVALID, "second");
    cr_assert_eq(fake_run(&cluster, 1, NULL), 1);
    cr_assert(reply_is(&op, "first"));
    /* The next one takes the same place in the table; the duplicate must not be its answer. */
    next = fake_op(CONCLAVE_OP_PROPOSE, "y", 0);
    submit(&next);
    run_until_sent(2);
    fake_answer(node, 0, CONCLAVE_INVALID, "third");
    cr_assert_eq(conclave_client_poll(cluster.client, 0, &done), 0);
    fake_answer(node, 1, CONCLAVE_OK, "its own");
    cr_assert_eq(fake_run(&cluster, 1, &done), 1);
    cr_assert_eq(done, &next);
    cr_assert(reply_is(&next, "its own"));
    conclave_op_release(&op);
    conclave_op_release(&next);
}

Test(operations, ignore_a_second_refusal_of_an_earlier_attempt)
{
    struct conclave_op op = fake_op(CONCLAVE_OP_PROPOSE, "x", 0), *done;
    node->mode = FAKE_HOLD;
    submit(&op);
    run_until_sent(1);
    fake_answer_refusal(node, node->held[0].id, CONCLAVE_BUSY);
    run_until_sent(2);
    /* Were it taken for a verdict on the second attempt, the command would be sent a third time
     * while the second is being applied. */
    fake_answer_refusal(node, node->held[0].id, CONCLAVE_BUSY);
    for (int i = 0; i < 150; i++)
        cr_assert_eq(conclave_client_poll(cluster.client, 1, &done), 0);
    fake_serve(&cluster);
    cr_assert_eq(node->op_count, 2);
    fake_answer(node, 1, CONCLAVE_OK, "");
    cr_assert_eq(fake_run(&cluster, 1, NULL), 1);
    cr_assert_eq(op.code, CONCLAVE_OK);
}

/* --- The edges of the interface -------------------------------------------------------------- */

Test(operations, wrong_ones_are_not_taken)
{
    struct conclave_op op = fake_op(CONCLAVE_OP_PROPOSE, "x", 0);
    op.bytes = CONCLAVE_COMMAND_BYTES_MAX + 1;
    cr_assert_eq(conclave_client_submit(cluster.client, &op), CONCLAVE_TOO_LARGE);
    op.bytes = 1;
    op.kind = 0;
    cr_assert_eq(conclave_client_submit(cluster.client, &op), CONCLAVE_INVALID);
    op.kind = CONCLAVE_OP_READ;
    submit(&op);
    cr_assert_eq(conclave_client_submit(cluster.client, &op), CONCLAVE_INVALID, "twice");
    cr_assert_eq(fake_run(&cluster, 1, NULL), 1);
    submit(&op);
    cr_assert_eq(fake_run(&cluster, 1, NULL), 1);
    conclave_op_release(&op);
}

Test(operations, over_the_limit_are_busy)
{
    struct conclave_op *ops = calloc(CONCLAVE_CLIENT_OPS_MAX + 1, sizeof *ops), *done;
    for (int i = 0; i <= CONCLAVE_CLIENT_OPS_MAX; i++)
        ops[i] = fake_op(CONCLAVE_OP_READ, "", 30000);
    for (int i = 0; i < CONCLAVE_CLIENT_OPS_MAX; i++)
        submit(&ops[i]);
    cr_assert_eq(conclave_client_submit(cluster.client, &ops[CONCLAVE_CLIENT_OPS_MAX]),
                 CONCLAVE_BUSY);
    cr_assert_eq(fake_run(&cluster, CONCLAVE_CLIENT_OPS_MAX, &done), CONCLAVE_CLIENT_OPS_MAX);
    submit(&ops[CONCLAVE_CLIENT_OPS_MAX]);
    cr_assert_eq(fake_run(&cluster, 1, NULL), 1);
    free(ops);
}

Test(operations, outstanding_at_the_end_go_back_to_the_caller)
{
    struct conclave_op sent = fake_op(CONCLAVE_OP_PROPOSE, "x", 0);
    struct conclave_op unsent = fake_op(CONCLAVE_OP_PROPOSE, "y", 0);
    node->mode = FAKE_HOLD;
    submit(&sent);
    run_until_sent(1);
    submit(&unsent);
    conclave_client_destroy(cluster.client);
    cluster.client = NULL;
    cr_assert_eq(sent.code, CONCLAVE_UNKNOWN);
    cr_assert_eq(unsent.code, CONCLAVE_STOPPING);
}

Test(operations, call_leaves_other_operations_to_poll)
{
    struct conclave_op submitted = fake_op(CONCLAVE_OP_PROPOSE, "x", 100), *done;
    struct conclave_op called = fake_op(CONCLAVE_OP_READ, "y", 300);
    node->mode = FAKE_DEAF;
    submit(&submitted);
    cr_assert_eq(conclave_client_call(cluster.client, &called), CONCLAVE_TIMEOUT);
    cr_assert_eq(conclave_client_poll(cluster.client, 0, &done), 1);
    cr_assert_eq(done, &submitted);
    cr_assert_eq(submitted.code, CONCLAVE_UNKNOWN);
}

Test(operations, descriptor_becomes_readable_when_an_answer_comes)
{
    struct conclave_op op = fake_op(CONCLAVE_OP_READ, "x", 0), *done;
    submit(&op);
    cr_assert_eq(conclave_client_poll(cluster.client, 0, &done), 0);
    while (conclave_client_poll(cluster.client, 0, &done) > 0)
        continue;
    fake_serve(&cluster);
    struct pollfd fd = {.fd = conclave_client_fd(cluster.client), .events = POLLIN};
    cr_assert_eq(poll(&fd, 1, 20000), 1);
    cr_assert_eq(fake_run(&cluster, 1, &done), 1);
    conclave_op_release(&op);
}

Test(client, refuses_endpoints_that_cannot_be)
{
    static const char *const bad[] = {"",
                                      ",",
                                      "127.0.0.1:7501",
                                      "tcp://127.0.0.1",
                                      "tcp://127.0.0.1:0",
                                      "tcp://127.0.0.1:65536",
                                      "tcp://:7501",
                                      "tcp://127.0.0.1:7501,udp://x:1",
                                      "ipc://",
                                      "inproc://needs-a-context"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct conclave_client_options options;
        conclave_client_options_init(&options);
        options.endpoints = bad[i];
        struct conclave_client *client = NULL;
        struct conclave_error error = {0};
        cr_assert_eq(conclave_client_create(&options, &client, &error), CONCLAVE_INVALID, "'%s'",
                     bad[i]);
        cr_assert_eq(error.code, CONCLAVE_INVALID);
        cr_assert_neq(error.message[0], '\0');
        cr_assert_null(client);
    }
}

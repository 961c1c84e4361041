/* Finding the leader, following it, and what its loss means for what was sent to it. */
#include "fake_node.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

static struct fake_cluster cluster;
static struct fake_node *n1, *n2, *n3;

/* n1 leads in term 1; the client is told all three. The others redirect. */
static void three_nodes(void)
{
    fake_cluster_init(&cluster, 3);
    fake_client(&cluster, 0, 3);
    n1 = cluster.nodes[0];
    n2 = cluster.nodes[1];
    n3 = cluster.nodes[2];
    n2->mode = n3->mode = FAKE_REFUSE;
    n2->refusal = n3->refusal = CONCLAVE_NOT_LEADER;
}

static void end(void)
{
    fake_cluster_deinit(&cluster);
}

TestSuite(leader, .init = three_nodes, .fini = end);

static void submit(struct conclave_op *op)
{
    cr_assert_eq(conclave_client_submit(cluster.client, op), CONCLAVE_OK);
}

static int run(struct conclave_op *op)
{
    cr_assert_eq(fake_run(&cluster, 1, NULL), 1);
    conclave_op_release(op);
    return op->code;
}

/* One operation that the leader answers: the client then knows n1 and its term. */
static void settle(void)
{
    struct conclave_op op = fake_op(CONCLAVE_OP_READ, "settle", 0);
    size_t before = n1->leader_count;
    submit(&op);
    cr_assert_eq(run(&op), CONCLAVE_OK);
    FAKE_RUN_UNTIL(&cluster, n1->leader_count > before);
    struct conclave_op *done;
    conclave_client_poll(cluster.client, 0, &done);
}

Test(leader, is_followed_to_an_endpoint_that_was_not_given)
{
    conclave_client_destroy(cluster.client);
    fake_client(&cluster, 1, 1); /* knows n2 alone */
    struct conclave_op op = fake_op(CONCLAVE_OP_PROPOSE, "x", 0);
    submit(&op);
    cr_assert_eq(run(&op), CONCLAVE_OK);
    cr_assert_eq(n2->op_count, 1);
    cr_assert_eq(n1->op_count, 1);
    submit(&op);
    cr_assert_eq(run(&op), CONCLAVE_OK);
    cr_assert_eq(n2->op_count, 1, "it is remembered");
}

Test(leader, gets_everything_that_was_refused_elsewhere)
{
    enum { COUNT = 500 };
    static struct conclave_op ops[COUNT];
    conclave_client_destroy(cluster.client);
    fake_client(&cluster, 2, 1);
    for (int i = 0; i < COUNT; i++) {
        ops[i] = fake_op(CONCLAVE_OP_PROPOSE, "x", 0);
        submit(&ops[i]);
    }
    cr_assert_eq(fake_run(&cluster, COUNT, NULL), COUNT);
    cr_assert_eq(n1->op_count, COUNT);
    for (int i = 0; i < COUNT; i++) {
        cr_assert_eq(ops[i].code, CONCLAVE_OK);
        conclave_op_release(&ops[i]);
    }
}

Test(leader, is_found_once_it_is_elected)
{
    fake_leader(&cluster, -1, 1);
    n1->mode = FAKE_REFUSE;
    n1->refusal = n2->refusal = n3->refusal = CONCLAVE_NO_LEADER;
    struct conclave_op op = fake_op(CONCLAVE_OP_PROPOSE, "x", 10000);
    submit(&op);
    FAKE_RUN_UNTIL(&cluster, n1->op_count + n2->op_count + n3->op_count >= 3);
    fake_leader(&cluster, 2, 2);
    n3->mode = FAKE_OK;
    cr_assert_eq(run(&op), CONCLAVE_OK);
}

Test(leader, changes_by_redirect)
{
    settle();
    fake_leader(&cluster, 1, 2);
    n1->mode = FAKE_REFUSE;
    n1->refusal = CONCLAVE_NOT_LEADER;
    n2->mode = FAKE_OK;
    struct conclave_op op = fake_op(CONCLAVE_OP_PROPOSE, "x", 0);
    submit(&op);
    cr_assert_eq(run(&op), CONCLAVE_OK);
    cr_assert_eq(n2->op_count, 1);
}

/* Each sends the client to the other, in ever newer terms, so that neither is old news. */
Test(leader, two_nodes_that_name_each_other_do_not_spin)
{
    n1->mode = FAKE_REFUSE;
    n1->refusal = CONCLAVE_NOT_LEADER;
    struct conclave_op op = fake_op(CONCLAVE_OP_PROPOSE, "x", 300), *done = NULL;
    submit(&op);
    for (uint64_t term = 2; !done; term++) {
        fake_leader(&cluster, 0, term);
        fake_name(n1, n2, term);
        conclave_client_poll(cluster.client, 1, &done);
        fake_serve(&cluster);
        cr_assert_lt(term, 20000);
    }
    cr_assert_neq(op.code, CONCLAVE_OK);
    /* A few at once, then one a back-off of at least 10 ms. */
    cr_assert_leq(n1->op_count + n2->op_count + n3->op_count, 60);
}

/* --- A leader that dies or hangs ------------------------------------------------------------- */

Test(leader, proposals_at_a_dead_one_are_unknown_when_another_is_elected)
{
    settle();
    n1->mode = FAKE_DEAF;
    struct conclave_op proposal = fake_op(CONCLAVE_OP_PROPOSE, "p", 60000);
    submit(&proposal);
    /* Silence makes the client ask; while the others still name n1, it waits. */
    FAKE_RUN_UNTIL(&cluster, n2->leader_count >= 3);
    cr_assert_neq(proposal.state, 0);
    fake_leader(&cluster, 1, 2);
    n2->mode = FAKE_OK;
    cr_assert_eq(run(&proposal), CONCLAVE_UNKNOWN);
    cr_assert_lt(proposal.latency_ns, UINT64_C(60000) * 1000000, "long before its deadline");
    cr_assert_eq(n2->op_count, 0, "a proposal of unknown outcome is not sent again");
    struct conclave_op next = fake_op(CONCLAVE_OP_PROPOSE, "q", 0);
    submit(&next);
    cr_assert_eq(run(&next), CONCLAVE_OK);
    cr_assert_eq(n2->op_count, 1);
}

Test(leader, reads_at_a_dead_one_are_sent_to_the_next)
{
    settle();
    n1->mode = FAKE_DEAF;
    struct conclave_op read = fake_op(CONCLAVE_OP_READ, "r", 60000);
    submit(&read);
    FAKE_RUN_UNTIL(&cluster, n2->leader_count >= 2);
    fake_leader(&cluster, 1, 2);
    n2->mode = FAKE_OK;
    cr_assert_eq(run(&read), CONCLAVE_OK);
    cr_assert_eq(n2->op_count, 1);
}

Test(leader, late_answer_to_what_was_given_up_is_ignored)
{
    settle();
    n1->mode = FAKE_DEAF;
    struct conclave_op proposal = fake_op(CONCLAVE_OP_PROPOSE, "p", 60000), *done;
    submit(&proposal);
    FAKE_RUN_UNTIL(&cluster, n2->leader_count >= 2);
    fake_leader(&cluster, 1, 2);
    cr_assert_eq(run(&proposal), CONCLAVE_UNKNOWN);
    n1->mode = FAKE_OK; /* wakes up and answers */
    fake_serve(&cluster);
    for (int i = 0; i < 20; i++)
        cr_assert_eq(conclave_client_poll(cluster.client, 1, &done), 0);
    cr_assert_eq(proposal.code, CONCLAVE_UNKNOWN);
}

Test(leader, proposals_are_unknown_when_it_says_that_it_leads_no_more)
{
    settle();
    n1->mode = FAKE_HOLD;
    struct conclave_op proposal = fake_op(CONCLAVE_OP_PROPOSE, "p", 60000);
    submit(&proposal);
    FAKE_RUN_UNTIL(&cluster, n1->held_count == 1);
    fake_leader(&cluster, -1, 1);
    cr_assert_eq(run(&proposal), CONCLAVE_UNKNOWN);
}

Test(leader, refusal_that_follows_the_news_is_waited_for)
{
    settle();
    n1->mode = FAKE_HOLD;
    struct conclave_op proposal = fake_op(CONCLAVE_OP_PROPOSE, "p", 60000);
    submit(&proposal);
    FAKE_RUN_UNTIL(&cluster, n1->held_count == 1);
    fake_leader(&cluster, 1, 2);
    n2->mode = FAKE_OK;
    /* n1 answers another operation first, then this one: surely not applied, so n2 gets it. */
    n1->mode = FAKE_REFUSE;
    n1->refusal = CONCLAVE_NOT_LEADER;
    struct conclave_op other = fake_op(CONCLAVE_OP_PROPOSE, "q", 60000);
    submit(&other);
    cr_assert_eq(run(&other), CONCLAVE_OK);
    fake_answer_refusal(n1, n1->held[0].id, CONCLAVE_NOT_LEADER);
    cr_assert_eq(run(&proposal), CONCLAVE_OK);
    cr_assert_eq(n2->op_count, 2);
}

Test(leader, proposals_are_unknown_when_it_was_elected_anew)
{
    settle();
    n1->mode = FAKE_HOLD;
    struct conclave_op proposal = fake_op(CONCLAVE_OP_PROPOSE, "p", 60000);
    submit(&proposal);
    FAKE_RUN_UNTIL(&cluster, n1->held_count == 1);
    fake_leader(&cluster, 0, 2); /* as after a restart, which forgot the proposal */
    cr_assert_eq(run(&proposal), CONCLAVE_UNKNOWN);
}

Test(leader, slow_one_that_answers_questions_is_waited_for)
{
    settle();
    n1->mode = FAKE_HOLD;
    struct conclave_op proposal = fake_op(CONCLAVE_OP_PROPOSE, "p", 60000);
    submit(&proposal);
    size_t before = n1->leader_count;
    FAKE_RUN_UNTIL(&cluster, n1->leader_count >= before + 3);
    cr_assert_neq(proposal.state, 0);
    fake_answer(n1, 0, CONCLAVE_OK, "");
    cr_assert_eq(run(&proposal), CONCLAVE_OK);
}

Test(leader, news_of_an_earlier_term_changes_nothing)
{
    fake_leader(&cluster, 0, 5);
    settle();
    fake_name(n2, n3, 4);
    fake_name(n3, n3, 4);
    n1->mode = FAKE_HOLD;
    struct conclave_op proposal = fake_op(CONCLAVE_OP_PROPOSE, "p", 60000);
    submit(&proposal);
    FAKE_RUN_UNTIL(&cluster, n3->leader_count >= 3 && n2->leader_count >= 3);
    cr_assert_neq(proposal.state, 0);
    n1->mode = FAKE_OK;
    struct conclave_op next = fake_op(CONCLAVE_OP_PROPOSE, "q", 60000);
    submit(&next);
    cr_assert_eq(run(&next), CONCLAVE_OK);
    fake_answer(n1, 0, CONCLAVE_OK, "");
    cr_assert_eq(run(&proposal), CONCLAVE_OK);
    cr_assert_eq(n3->op_count, 0);
}

Test(leader, that_cannot_be_reached_times_out)
{
    settle();
    fake_leader(&cluster, 0, 2);
    for (size_t i = 0; i < 3; i++)
        snprintf(cluster.nodes[i]->redirect.endpoint, sizeof n1->redirect.endpoint,
                 "tcp://127.0.0.1:1");
    n1->mode = FAKE_REFUSE;
    n1->refusal = CONCLAVE_NOT_LEADER;
    struct conclave_op op = fake_op(CONCLAVE_OP_PROPOSE, "p", 200);
    submit(&op);
    cr_assert_eq(run(&op), CONCLAVE_TIMEOUT);
}

Test(leader, that_died_and_has_no_successor_is_no_leader)
{
    settle();
    fake_leader(&cluster, 0, 2);
    for (size_t i = 0; i < 3; i++)
        snprintf(cluster.nodes[i]->redirect.endpoint, sizeof n1->redirect.endpoint,
                 "tcp://127.0.0.1:1");
    n1->mode = FAKE_REFUSE;
    n1->refusal = CONCLAVE_NOT_LEADER;
    struct conclave_op op = fake_op(CONCLAVE_OP_PROPOSE, "p", 1000);
    submit(&op);
    size_t before = n2->leader_count;
    FAKE_RUN_UNTIL(&cluster, n2->leader_count >= before + 2);
    fake_leader(&cluster, -1, 2);
    cr_assert_eq(run(&op), CONCLAVE_NO_LEADER);
}

Test(leader, redirect_to_nonsense_is_no_leader)
{
    for (size_t i = 0; i < 3; i++)
        snprintf(cluster.nodes[i]->redirect.endpoint, sizeof n1->redirect.endpoint, "nonsense");
    n1->mode = FAKE_REFUSE;
    n1->refusal = CONCLAVE_NOT_LEADER;
    struct conclave_op op = fake_op(CONCLAVE_OP_PROPOSE, "p", 200);
    submit(&op);
    cr_assert_eq(run(&op), CONCLAVE_NO_LEADER);
}

/* --- Sockets --------------------------------------------------------------------------------- */

/* Listens on a port of its own choice; returns the descriptor. */
static int tcp_listen(uint16_t *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, bytes), 0);
    cr_assert_eq(listen(fd, 16), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &bytes), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

Test(leader, connection_that_met_a_foreign_service_is_made_anew)
{
    uint16_t port;
    int listener = tcp_listen(&port);
    snprintf(n1->endpoint, sizeof n1->endpoint, "tcp://127.0.0.1:%u", port);
    conclave_client_destroy(cluster.client);
    fake_client(&cluster, 0, 1);
    fake_leader(&cluster, 0, 1);
    struct conclave_op op = fake_op(CONCLAVE_OP_PROPOSE, "p", 15000), *done;
    submit(&op);
    conclave_client_poll(cluster.client, 0, &done);
    int foreign = accept(listener, NULL, NULL);
    /* ZMTP 3.0 with a mechanism that the client does not speak: 64 bytes. */
    static const char greeting[64] = "\xff\0\0\0\0\0\0\0\1\x7f\3\0PLAIN";
    cr_assert_eq(write(foreign, greeting, sizeof greeting), (ssize_t)sizeof greeting);
    char byte;
    while (read(foreign, &byte, 1) > 0) /* until libzmq hangs up, for good */
        continue;
    close(foreign);
    close(listener);
    cr_assert_eq(zmq_bind(n1->router, n1->endpoint), 0);
    cr_assert_eq(run(&op), CONCLAVE_OK);
}

Test(leader, restarted_on_the_same_port_is_found_again)
{
    int none = 0;
    zmq_bind(n1->router, "tcp://127.0.0.1:*");
    size_t bytes = sizeof n1->endpoint;
    zmq_getsockopt(n1->router, ZMQ_LAST_ENDPOINT, n1->endpoint, &bytes);
    conclave_client_destroy(cluster.client);
    fake_client(&cluster, 0, 1);
    fake_leader(&cluster, 0, 1);
    settle();
    zmq_close(n1->router);
    struct conclave_op op = fake_op(CONCLAVE_OP_PROPOSE, "p", 15000), *done;
    conclave_client_poll(cluster.client, 100, &done);
    submit(&op);
    conclave_client_poll(cluster.client, 20, &done);
    n1->router = zmq_socket(cluster.context, ZMQ_ROUTER);
    zmq_setsockopt(n1->router, ZMQ_LINGER, &none, sizeof none);
    while (zmq_bind(n1->router, n1->endpoint) != 0)
        cr_assert_eq(zmq_errno(), EADDRINUSE);
    fake_leader(&cluster, 0, 2);
    cr_assert_eq(run(&op), CONCLAVE_OK);
}

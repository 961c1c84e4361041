/* conclave_client_status: asking everybody, and putting together what they say. */
#include "fake_node.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { CLUSTER = 0xc0ffee };

static struct fake_cluster cluster;
static struct conclave_status status;

/* conclave_client_status waits by itself, so here a thread serves the nodes. */
static pthread_t server;
static atomic_bool stop;

static void *serve(void *arg)
{
    (void)arg;
    struct timespec pause = {.tv_nsec = 1000000};
    while (!stop) {
        fake_serve(&cluster);
        nanosleep(&pause, NULL);
    }
    return NULL;
}

/* Three members; each answers and names n1 in term 7. */
static void three_nodes(void)
{
    fake_cluster_init(&cluster, 3);
    for (size_t i = 0; i < 3; i++) {
        struct client_status *own = &cluster.nodes[i]->status;
        cluster.nodes[i]->answers_status = true;
        own->cluster_id = CLUSTER;
        own->term = 7;
        own->pid = 1000 + i;
        own->revision = 50 + i;
        own->commit = 60;
        own->serving = true;
        snprintf(own->leader, sizeof own->leader, "n1");
        snprintf(own->role, sizeof own->role, i == 0 ? "leader" : "follower");
        own->member_count = 3;
        for (size_t k = 0; k < 3; k++) {
            struct client_status_member *member = &own->members[k];
            member->id = k + 1;
            member->voter = true;
            snprintf(member->name, sizeof member->name, "n%zu", k + 1);
            snprintf(member->peer, sizeof member->peer, "tcp://peer:%zu", 7401 + k);
            snprintf(member->client, sizeof member->client, "%s", cluster.nodes[k]->endpoint);
        }
    }
}

static void end(void)
{
    fake_cluster_deinit(&cluster);
}

TestSuite(status, .init = three_nodes, .fini = end);

static int ask_once(uint32_t timeout_ms)
{
    stop = false;
    cr_assert_eq(pthread_create(&server, NULL, serve, NULL), 0);
    int code = conclave_client_status(cluster.client, timeout_ms, &status);
    stop = true;
    pthread_join(server, NULL);
    return code;
}

/* Whether a node that can be reached and would answer did not. */
static bool missed_somebody(void)
{
    for (size_t i = 0; i < status.node_count; i++) {
        const struct conclave_node_status *seen = &status.nodes[i];
        for (size_t k = 0; k < 3; k++) {
            const struct fake_node *asked = cluster.nodes[k];
            if (strcmp(seen->client, asked->endpoint) == 0 && asked->mode != FAKE_DEAF &&
                asked->status.cluster_id == CLUSTER && !seen->answered)
                return true;
        }
    }
    return false;
}

/* A connection that takes long to come about is not waited for, and on a slow machine any may. */
static int ask(size_t first, size_t count, uint32_t timeout_ms)
{
    if (!cluster.client)
        fake_client(&cluster, first, count);
    int code = ask_once(timeout_ms);
    for (int tries = 0; tries < 100 && code == CONCLAVE_OK && missed_somebody(); tries++)
        code = ask_once(timeout_ms);
    return code;
}

static const struct conclave_node_status *node(const char *name)
{
    for (size_t i = 0; i < status.node_count; i++) {
        if (strcmp(status.nodes[i].name, name) == 0)
            return &status.nodes[i];
    }
    cr_assert_fail("no node %s", name);
    return NULL;
}

Test(status, of_a_healthy_cluster_has_every_node_from_its_own_mouth)
{
    cr_assert_eq(ask(0, 3, 10000), CONCLAVE_OK);
    cr_assert_str_eq(status.cluster, "0000000000c0ffee");
    cr_assert_str_eq(status.leader, "n1");
    cr_assert_eq(status.revision, 52);
    cr_assert_eq(status.node_count, 3);
    cr_assert_str_eq(node("n1")->role, "leader");
    cr_assert_str_eq(node("n2")->role, "follower");
    cr_assert_str_eq(node("n2")->peer, "tcp://peer:7402");
    for (size_t i = 0; i < 3; i++) {
        cr_assert(status.nodes[i].answered && status.nodes[i].healthy);
        cr_assert_eq(status.nodes[i].commit, 60);
    }
    cr_assert_eq(node("n3")->pid, 1002);
}

Test(status, lists_nodes_by_name_whoever_answers_first)
{
    cluster.nodes[0]->status_busy = 1;
    cr_assert_eq(ask(1, 2, 10000), CONCLAVE_OK);
    cr_assert_eq(status.node_count, 3);
    cr_assert_str_eq(status.nodes[0].name, "n1");
    cr_assert_str_eq(status.nodes[1].name, "n2");
    cr_assert_str_eq(status.nodes[2].name, "n3");
}

/* A node that is just starting says so; its only client must not take that for its last word. */
Test(status, asks_a_busy_node_again)
{
    cluster.nodes[0]->status_busy = 3;
    cr_assert_eq(ask(0, 1, 10000), CONCLAVE_OK);
    cr_assert(node("n1")->answered);
    cr_assert_eq(cluster.nodes[0]->status_busy, 0);
}

Test(status, keeps_out_a_node_of_another_cluster)
{
    cluster.nodes[2]->status_busy = 2; /* so that it does not answer first */
    cluster.nodes[2]->status.cluster_id = 0xbadc0de;
    cluster.nodes[2]->status.term = 99;
    snprintf(cluster.nodes[2]->status.leader, sizeof cluster.nodes[2]->status.leader, "n3");
    cr_assert_eq(ask(0, 3, 2000), CONCLAVE_OK);
    cr_assert_str_eq(status.cluster, "0000000000c0ffee");
    cr_assert_str_eq(status.leader, "n1");
    cr_assert_eq(status.node_count, 3);
    cr_assert(!node("n3")->answered && !node("n3")->healthy);
    cr_assert_eq(node("n3")->term, 0);
}

Test(status, asks_members_that_it_only_heard_of)
{
    cr_assert_eq(ask(1, 1, 10000), CONCLAVE_OK);
    cr_assert_eq(status.node_count, 3);
    cr_assert(node("n1")->answered && node("n2")->answered && node("n3")->answered);
}

/* n3 was left behind in an earlier term: it still takes itself and a fourth for members. */
static void leave_n3_behind(void)
{
    for (size_t i = 0; i < 2; i++)
        cluster.nodes[i]->status.member_count = 2;
    struct client_status *old = &cluster.nodes[2]->status;
    old->term = 6;
    old->commit = 70; /* entries of its own, which are gone elsewhere */
    old->leader[0] = '\0';
    struct client_status_member *fourth = &old->members[old->member_count++];
    *fourth = (struct client_status_member){.id = 4, .name = "n4", .voter = true};
    snprintf(fourth->peer, sizeof fourth->peer, "tcp://peer:7404");
}

static void assert_n3_is_no_member(void)
{
    cr_assert_eq(status.node_count, 3, "a fourth is listed");
    cr_assert(node("n3")->answered);
    cr_assert_str_eq(node("n3")->peer, "");
    cr_assert_not(node("n3")->voter);
    cr_assert_str_eq(node("n2")->peer, "tcp://peer:7402");
    cr_assert(node("n1")->voter && node("n2")->voter);
}

Test(status, has_the_members_of_the_newest_answer_though_an_older_one_comes_first)
{
    leave_n3_behind();
    cluster.nodes[0]->status_busy = cluster.nodes[1]->status_busy = 3;
    cr_assert_eq(ask(0, 3, 10000), CONCLAVE_OK);
    assert_n3_is_no_member();
}

Test(status, has_the_members_of_the_newest_answer_though_an_older_one_comes_last)
{
    leave_n3_behind();
    cluster.nodes[2]->status_busy = 3;
    cr_assert_eq(ask(0, 3, 10000), CONCLAVE_OK);
    assert_n3_is_no_member();
}

/* The leader has appended a change that the others have not received. */
Test(status, has_the_members_of_who_has_most_of_the_log)
{
    cluster.nodes[0]->status.last_index = 61;
    for (size_t i = 1; i < 3; i++) {
        cluster.nodes[i]->status.last_index = 60;
        cluster.nodes[i]->status.members[2].voter = false;
    }
    cr_assert_eq(ask(0, 3, 10000), CONCLAVE_OK);
    cr_assert(node("n3")->voter);
}

Test(status, lists_a_silent_member_as_unknown)
{
    cluster.nodes[2]->mode = FAKE_DEAF;
    cr_assert_eq(ask(0, 3, 300), CONCLAVE_OK);
    cr_assert_eq(status.node_count, 3);
    cr_assert_not(node("n3")->answered);
    cr_assert_not(node("n3")->healthy);
    cr_assert_str_eq(node("n3")->role, "unknown");
    cr_assert_str_eq(node("n3")->client, cluster.nodes[2]->endpoint);
    cr_assert_eq(node("n3")->id, 3);
    cr_assert(node("n2")->healthy);
}

Test(status, does_not_wait_for_a_member_that_is_down)
{
    for (size_t i = 0; i < 3; i++)
        snprintf(cluster.nodes[i]->status.members[2].client, CONCLAVE_ENDPOINT_BYTES_MAX,
                 "tcp://127.0.0.1:1");
    /* The timeout is longer than the test may take. */
    cr_assert_eq(ask(0, 2, 1000000), CONCLAVE_OK);
    cr_assert_eq(status.node_count, 3);
    cr_assert_not(node("n3")->answered);
}

Test(status, believes_the_answer_of_the_highest_term)
{
    cluster.nodes[1]->status.term = 8;
    snprintf(cluster.nodes[1]->status.leader, 3, "n2");
    cr_assert_eq(ask(0, 3, 10000), CONCLAVE_OK);
    cr_assert_str_eq(status.leader, "n2");
}

Test(status, has_no_leader_when_the_highest_term_knows_none)
{
    cluster.nodes[2]->status.term = 9;
    cluster.nodes[2]->status.leader[0] = '\0';
    cr_assert_eq(ask(0, 3, 10000), CONCLAVE_OK);
    cr_assert_str_eq(status.leader, "");
    cr_assert(node("n3")->answered);
    cr_assert_not(node("n3")->healthy);
}

Test(status, unreachable_leaves_the_output_alone)
{
    for (size_t i = 0; i < 3; i++)
        cluster.nodes[i]->mode = FAKE_DEAF;
    memset(&status, 0x5a, sizeof status);
    cr_assert_eq(ask(0, 3, 100), CONCLAVE_UNREACHABLE);
    cr_assert_eq(status.node_count, (size_t)0x5a5a5a5a5a5a5a5a);
    cr_assert_str_eq(conclave_client_describe(cluster.client),
                     "inproc://n1 (no answer), inproc://n2 (no answer), inproc://n3 (no answer)");
}

Test(status, can_be_asked_again)
{
    cr_assert_eq(ask(0, 3, 10000), CONCLAVE_OK);
    cluster.nodes[0]->status.revision = 99;
    cr_assert_eq(ask(0, 3, 10000), CONCLAVE_OK);
    cr_assert_eq(status.revision, 99);
}

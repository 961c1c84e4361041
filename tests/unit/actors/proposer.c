/* Proposals from within the process: one node, with a machine that adds. */
#include "conclave.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { READY_MS = 30000, OUTCOMES = 512 };

/* --- A machine that adds, in memory ------------------------------------------------------------
 */

struct adder {
    uint64_t sum;
    atomic_ulong commands;
};

static int adder_open(void *machine, const struct conclave_machine_env *env, uint64_t *ret_applied,
                      struct conclave_error *error)
{
    (void)machine;
    (void)env;
    (void)error;
    *ret_applied = 0;
    return CONCLAVE_OK;
}

static int adder_apply(void *machine, const struct conclave_command *commands, size_t count,
                       uint64_t last_index, struct conclave_reply_sink *const *replies)
{
    struct adder *adder = machine;
    (void)last_index;
    for (size_t i = 0; i < count; i++) {
        uint32_t add = 0;
        if (commands[i].bytes < sizeof add) {
            conclave_reply_set(replies[i], CONCLAVE_NOT_LEADER, NULL, 0); /* may be any code */
            continue;
        }
        memcpy(&add, commands[i].data, sizeof add);
        adder->sum += add;
        conclave_reply_set(replies[i], CONCLAVE_OK, &adder->sum, sizeof adder->sum);
    }
    atomic_fetch_add(&adder->commands, count);
    return CONCLAVE_OK;
}

static void adder_query(void *machine, const void *data, size_t bytes,
                        struct conclave_reply_sink *reply)
{
    const struct adder *adder = machine;
    (void)data;
    (void)bytes;
    conclave_reply_set(reply, CONCLAVE_OK, &adder->sum, sizeof adder->sum);
}

static const struct conclave_machine_ops adder_ops = {
    .size = sizeof adder_ops, .open = adder_open, .apply = adder_apply, .query = adder_query};

/* --- The node ----------------------------------------------------------------------------------
 */

static struct {
    char dir[40], data[64];
    struct adder adder;
    struct conclave_node *node;
    struct conclave_proposer *proposer;
} w;

/* Its log lacks the first entry from then on, which later records show to have been there. */
static void damage_log(void)
{
    enum { IN_FIRST_ENTRY = 600 };
    char path[128];
    snprintf(path, sizeof path, "%s/wal/0000000000000001.wal", w.data);
    FILE *log = fopen(path, "r+b");
    cr_assert(log);
    cr_assert_eq(fseek(log, IN_FIRST_ENTRY, SEEK_SET), 0);
    int byte = fgetc(log);
    cr_assert_eq(fseek(log, IN_FIRST_ENTRY, SEEK_SET), 0);
    cr_assert_neq(fputc(byte ^ 1, log), EOF);
    cr_assert_eq(fclose(log), 0);
}

/* A node that is the only one of `count` that runs. */
static void create_of(size_t count, bool damaged)
{
    static const char *const names[3] = {"n1", "n2", "n3"};
    struct conclave_member members[3];
    char peers[3][80], clients[3][80];
    struct conclave_options options;
    struct conclave_error error = {0};
    memset(&w, 0, sizeof w);
    strcpy(w.dir, "/tmp/conclave-proposer-XXXXXX");
    cr_assert(mkdtemp(w.dir));
    for (size_t i = 0; i < count; i++) {
        snprintf(peers[i], sizeof peers[i], "ipc://%s/%s.peer", w.dir, names[i]);
        snprintf(clients[i], sizeof clients[i], "ipc://%s/%s.client", w.dir, names[i]);
        members[i] = (struct conclave_member){names[i], peers[i], clients[i]};
    }
    snprintf(w.data, sizeof w.data, "%s/n1", w.dir);
    cr_assert_eq(conclave_bootstrap(w.data, "n1", NULL, members, count, NULL), CONCLAVE_OK);
    if (damaged)
        damage_log();
    conclave_options_init(&options);
    options.data_dir = w.data;
    options.machine = &adder_ops;
    options.machine_arg = &w.adder;
    options.inflight_bytes_max = UINT64_C(24) << 20;
    cr_assert_eq(conclave_node_create(&options, &w.node, &error), CONCLAVE_OK);
    cr_assert_eq(conclave_node_start(w.node, &error), CONCLAVE_OK, "%s", error.message);
    if (count == 1)
        cr_assert_eq(conclave_node_wait_ready(w.node, READY_MS), CONCLAVE_OK);
    cr_assert_eq(conclave_proposer_create(w.node, &w.proposer, &error), CONCLAVE_OK, "%s",
                 error.message);
}

static void create(void)
{
    create_of(1, false);
}

static void create_without_leader(void)
{
    create_of(3, false);
}

static void create_in_repair(void)
{
    create_of(3, true);
}

static void destroy(void)
{
    char command[64];
    conclave_proposer_destroy(w.proposer);
    conclave_node_destroy(w.node);
    snprintf(command, sizeof command, "rm -rf '%s'", w.dir);
    cr_assert_eq(system(command), 0);
}

static void add(struct conclave_proposer *proposer, uint32_t number, void *user)
{
    cr_assert_eq(conclave_propose(proposer, &number, sizeof number, user), CONCLAVE_OK);
}

/* Whether this is the node's sentence. */
static bool says(const struct conclave_outcome *outcome, const char *text)
{
    return outcome->reply_bytes == strlen(text) &&
           memcmp(outcome->reply, text, outcome->reply_bytes) == 0;
}

/* --- Tests -------------------------------------------------------------------------------------
 */

Test(proposer, hands_out_every_outcome_in_order, .init = create, .fini = destroy)
{
    static char users[5000];
    struct conclave_outcome outcomes[OUTCOMES];
    uint64_t sum = 0;
    for (size_t i = 0; i < sizeof users; i++)
        add(w.proposer, 2, &users[i]);
    for (size_t got = 0; got < sizeof users;) {
        size_t count = conclave_proposer_poll(w.proposer, READY_MS, outcomes, OUTCOMES);
        cr_assert_gt(count, 0);
        for (size_t i = 0; i < count; i++, got++) {
            cr_assert_eq(outcomes[i].user, &users[got]);
            cr_assert_eq(outcomes[i].code, CONCLAVE_OK);
            cr_assert(outcomes[i].applied);
            cr_assert_eq(outcomes[i].reply_bytes, sizeof sum);
            memcpy(&sum, outcomes[i].reply, sizeof sum);
            cr_assert_eq(sum, 2 * (got + 1));
        }
    }
    cr_assert_eq(conclave_proposer_poll(w.proposer, READY_MS, outcomes, OUTCOMES), 0,
                 "none is to come: it does not wait");
}

Test(proposer, tells_the_machines_codes_from_the_nodes, .init = create, .fini = destroy)
{
    struct conclave_outcome outcome;
    cr_assert_eq(conclave_propose(w.proposer, "", 0, NULL), CONCLAVE_OK);
    cr_assert_eq(conclave_proposer_poll(w.proposer, READY_MS, &outcome, 1), 1);
    cr_assert_eq(outcome.code, CONCLAVE_NOT_LEADER);
    cr_assert(outcome.applied);
    cr_assert_eq(outcome.reply_bytes, 0);
}

Test(proposer, says_so_where_nobody_leads, .init = create_without_leader, .fini = destroy)
{
    struct conclave_outcome outcomes[OUTCOMES];
    size_t got = 0;
    int user;
    /* Before it knows its members, the node is starting: that is BUSY. */
    do {
        add(w.proposer, 1, &user);
        got = conclave_proposer_poll(w.proposer, READY_MS, outcomes, OUTCOMES);
        cr_assert_eq(got, 1);
        cr_assert_not(outcomes[0].applied);
        cr_assert_eq(outcomes[0].user, &user);
    } while (outcomes[0].code == CONCLAVE_BUSY);
    cr_assert_eq(outcomes[0].code, CONCLAVE_NO_LEADER);
    cr_assert_eq(atomic_load(&w.adder.commands), 0);
}

/* What is proposed there would wait for ever: nobody listens until the log is whole. */
Test(proposer, says_so_where_the_log_is_being_repaired, .init = create_in_repair, .fini = destroy)
{
    struct conclave_outcome outcome;
    int user;
    do {
        add(w.proposer, 1, &user);
        cr_assert_eq(conclave_proposer_poll(w.proposer, READY_MS, &outcome, 1), 1);
        cr_assert_eq(outcome.code, CONCLAVE_BUSY);
        cr_assert_not(outcome.applied);
        cr_assert_eq(outcome.user, &user);
    } while (says(&outcome, "the node is starting"));
    cr_assert(says(&outcome, "the log of this node is being repaired"));
    cr_assert_eq(atomic_load(&w.adder.commands), 0);
}

Test(proposer, descriptor_is_readable_when_there_are_outcomes, .init = create, .fini = destroy)
{
    struct conclave_outcome outcome;
    struct pollfd fd = {.fd = conclave_proposer_fd(w.proposer), .events = POLLIN};
    cr_assert_eq(conclave_proposer_poll(w.proposer, 0, &outcome, 1), 0);
    add(w.proposer, 1, NULL);
    conclave_proposer_flush(w.proposer);
    while (conclave_proposer_poll(w.proposer, 0, &outcome, 1) == 0)
        cr_assert_eq(poll(&fd, 1, READY_MS), 1);
    cr_assert_eq(outcome.code, CONCLAVE_OK);
}

Test(proposer, refuses_more_than_its_bounds, .init = create, .fini = destroy)
{
    struct conclave_outcome outcomes[OUTCOMES];
    uint8_t *large = calloc(1, CONCLAVE_COMMAND_BYTES_MAX + 1);
    size_t taken = 0, got = 0;
    cr_assert_eq(conclave_propose(w.proposer, NULL, 1, NULL), CONCLAVE_INVALID);
    cr_assert_eq(conclave_propose(w.proposer, large, CONCLAVE_COMMAND_BYTES_MAX + 1, NULL),
                 CONCLAVE_TOO_LARGE);
    while (conclave_propose(w.proposer, large, CONCLAVE_COMMAND_BYTES_MAX, NULL) == CONCLAVE_OK)
        taken++;
    cr_assert_eq(taken, 23, "with what each takes beside its bytes");
    cr_assert_eq(conclave_propose(w.proposer, large, CONCLAVE_COMMAND_BYTES_MAX, NULL),
                 CONCLAVE_BUSY);
    while (got < taken)
        got += conclave_proposer_poll(w.proposer, READY_MS, outcomes, OUTCOMES);
    for (uint32_t i = 0; i < CONCLAVE_PROPOSER_OPS_MAX; i++)
        add(w.proposer, 1, NULL);
    cr_assert_eq(conclave_propose(w.proposer, large, 4, NULL), CONCLAVE_BUSY);
    for (got = 0; got < CONCLAVE_PROPOSER_OPS_MAX;)
        got += conclave_proposer_poll(w.proposer, READY_MS, outcomes, OUTCOMES);
    add(w.proposer, 1, NULL);
    cr_assert_eq(conclave_proposer_poll(w.proposer, READY_MS, outcomes, OUTCOMES), 1);
    free(large);
}

Test(proposer, serves_as_many_as_there_may_be_at_the_same_time, .init = create, .fini = destroy)
{
    enum { EACH = 300, MORE = CONCLAVE_PROPOSERS_MAX - 1 };
    struct conclave_proposer *others[MORE], *one_more;
    struct conclave_outcome outcomes[OUTCOMES];
    for (int i = 0; i < MORE; i++)
        cr_assert_eq(conclave_proposer_create(w.node, &others[i], NULL), CONCLAVE_OK);
    cr_assert_eq(conclave_proposer_create(w.node, &one_more, NULL), CONCLAVE_BUSY);
    for (int round = 0; round < EACH; round++)
        for (int i = 0; i < MORE; i++) {
            add(others[i], 1, others[i]);
            conclave_proposer_flush(others[i]);
        }
    for (int i = 0; i < MORE; i++) {
        for (size_t got = 0; got < EACH;) {
            size_t count = conclave_proposer_poll(others[i], READY_MS, outcomes, OUTCOMES);
            cr_assert_gt(count, 0);
            for (size_t k = 0; k < count; k++, got++) {
                cr_assert_eq(outcomes[k].user, others[i], "its own, and not another one's");
                cr_assert_eq(outcomes[k].code, CONCLAVE_OK);
            }
        }
    }
    cr_assert_eq(atomic_load(&w.adder.commands), EACH * MORE);
    conclave_proposer_destroy(others[0]);
    while (conclave_proposer_create(w.node, &others[0], NULL) == CONCLAVE_BUSY)
        continue; /* until the node has seen that there is one less */
    for (int i = 0; i < MORE; i++)
        conclave_proposer_destroy(others[i]);
}

Test(proposer, what_was_sent_before_it_was_destroyed_is_applied, .init = create, .fini = destroy)
{
    struct conclave_outcome outcome;
    for (int i = 0; i < 100; i++)
        add(w.proposer, 1, NULL);
    conclave_proposer_flush(w.proposer);
    add(w.proposer, 1, NULL); /* this one is not sent */
    conclave_proposer_destroy(w.proposer);
    w.proposer = NULL;
    while (conclave_proposer_create(w.node, &w.proposer, NULL) == CONCLAVE_BUSY)
        continue;
    add(w.proposer, 1, NULL);
    cr_assert_eq(conclave_proposer_poll(w.proposer, READY_MS, &outcome, 1), 1);
    uint64_t sum;
    memcpy(&sum, outcome.reply, sizeof sum);
    cr_assert_leq(sum, 101); /* the node reads one proposer after the other, in any order */
    while (atomic_load(&w.adder.commands) < 101)
        continue;
    cr_assert_eq(atomic_load(&w.adder.commands), 101);
}

Test(proposer, every_proposal_has_an_outcome_when_the_node_ends, .init = create, .fini = destroy)
{
    enum { BEFORE = 1000, AFTER = 10 };
    static unsigned outcomes_of[BEFORE + AFTER];
    struct conclave_outcome outcomes[OUTCOMES];
    size_t applied = 0;
    for (int i = 0; i < BEFORE; i++)
        add(w.proposer, 1, &outcomes_of[i]);
    conclave_proposer_flush(w.proposer);
    cr_assert_eq(conclave_node_stop(w.node, NULL), CONCLAVE_OK);
    for (int i = BEFORE; i < BEFORE + AFTER; i++)
        add(w.proposer, 1, &outcomes_of[i]); /* it has not heard of it yet */
    for (size_t got = 0, count; got < BEFORE + AFTER; got += count) {
        count = conclave_proposer_poll(w.proposer, READY_MS, outcomes, OUTCOMES);
        cr_assert_gt(count, 0);
        for (size_t i = 0; i < count; i++) {
            unsigned *of = outcomes[i].user;
            ++*of;
            applied += outcomes[i].applied;
            if (of >= &outcomes_of[BEFORE])
                cr_assert_eq(outcomes[i].code, CONCLAVE_STOPPING);
            else if (!outcomes[i].applied)
                cr_assert(outcomes[i].code == CONCLAVE_STOPPING ||
                          outcomes[i].code == CONCLAVE_UNKNOWN);
        }
    }
    for (int i = 0; i < BEFORE + AFTER; i++)
        cr_assert_eq(outcomes_of[i], 1, "each has one");
    cr_assert_leq(applied, atomic_load(&w.adder.commands));
    uint32_t number = 1;
    cr_assert_eq(conclave_propose(w.proposer, &number, sizeof number, NULL), CONCLAVE_STOPPING);
    struct conclave_proposer *another;
    cr_assert_eq(conclave_proposer_create(w.node, &another, NULL), CONCLAVE_STOPPING);
}

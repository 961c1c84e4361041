/* Queries at the raft actor, which wait for their reads to be decided. */
#include "actors/raft_actor.h"
#include "base/list.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct node *node;
static struct raft_actor *self;
static struct actor actor;

static void setup(void)
{
    node = calloc(1, sizeof *node);
    self = calloc(1, sizeof *self);
    actor = (struct actor){.node = node, .state = self};
}

static void teardown(void)
{
    raft_output_deinit(&self->output);
    free(self->reads.items);
    free(self->events.items);
    free(self);
    free(node);
}

TestSuite(raft_reads, .init = setup, .fini = teardown, .timeout = 60);

static void ask(uint64_t request, bool stale, bool lease)
{
    struct query_list queries = {0};
    query_add(&queries, (struct query){.origin = {.client = 1, .request = request},
                                       .buf = buf_create(1),
                                       .stale = stale,
                                       .lease = lease});
    raft_actor_read(&actor, &queries);
    cr_assert_eq(queries.count, 0);
    free(queries.items);
}

/* The oldest one comes back, refused. */
static void refuse(uint64_t read, struct reply_list *replies)
{
    LIST_RESERVE(&self->output.reads);
    self->output.reads.items[self->output.reads.count++] =
        (struct raft_read_result){.read = read, .code = CONCLAVE_NOT_LEADER};
    raft_actor_reads_done(&actor, replies);
    raft_output_clear(&self->output);
}

Test(raft_reads, that_overlap_for_ever_take_no_more_room)
{
    struct reply_list replies = {0};
    ask(1, false, false);
    for (uint64_t i = 2; i < 1000; i++) {
        ask(i, false, false);
        refuse(i - 1, &replies);
    }
    cr_assert_leq(self->reads.capacity, 8);
    refuse(999, &replies);
    cr_assert_eq(self->reads.count, 0);
    for (uint32_t i = 0; i < replies.count; i++) /* each one once, in their order */
        cr_assert_eq(replies.items[i].origin.request, i + 1);
    cr_assert_eq(replies.count, 999);
    reply_list_clear(&replies);
}

Test(raft_reads, begin_by_lease_or_by_a_round_as_they_were_asked)
{
    struct reply_list replies = {0};
    ask(1, false, true);
    ask(2, true, false); /* nothing has been confirmed yet that it could be answered from */
    ask(3, false, false);
    cr_assert_eq(self->events.count, 3);
    cr_assert_eq(self->events.items[0].type, RAFT_EVENT_READ_LEASE);
    cr_assert_eq(self->events.items[1].type, RAFT_EVENT_READ);
    cr_assert_eq(self->events.items[2].type, RAFT_EVENT_READ);
    for (uint64_t read = 1; read <= 3; read++)
        refuse(read, &replies);
    cr_assert_eq(replies.items[0].code, CONCLAVE_NOT_LEADER);
    cr_assert_eq(replies.items[1].code, CONCLAVE_STALE);
    cr_assert_eq(replies.items[2].code, CONCLAVE_NOT_LEADER);
    reply_list_clear(&replies);
}

#include "tests/sim/test_fixture.h"

#include "base/fatal.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct check check;
struct ops ops;
static struct raft_options options;
const raft_node_id ids[NODES] = {101, 102, 103, 104};

/* Runs of `count` entries from index `first` on, all of one term. */
struct raft_runs entries_make(uint64_t first, uint64_t term, uint32_t count, uint64_t op)
{
    struct raft_runs runs = {0};
    struct raft_batch *batch = raft_batch_create(count);
    for (uint32_t i = 0; i < count; i++) {
        struct buf *buf = command_encode(&(struct op){.kind = OP_PUT}, op ? op + i : 0);
        raft_batch_add(batch, (struct raft_entry){.id = {.term = term, .index = first + i},
                                                  .buf = buf,
                                                  .payload = {buf->data, buf->bytes},
                                                  .kind = RAFT_ENTRY_COMMAND});
    }
    raft_runs_append(&runs, batch, 0, count);
    raft_batch_unref(batch);
    return runs;
}

struct raft_configuration *members_make(uint32_t voters, uint32_t outgoing, uint32_t learners,
                                        uint32_t removed)
{
    struct raft_configuration *members = mem_zalloc(sizeof *members);
    members->joint = outgoing != 0;
    for (uint32_t i = 0; i < NODES; i++) {
        if (removed >> i & 1)
            members->removed[members->removed_count++] = ids[i];
        if (!((voters | outgoing | learners) >> i & 1))
            continue;
        struct raft_member *member = &members->members[members->member_count++];
        member->id = ids[i];
        member->flags = (voters >> i & 1 ? RAFT_MEMBER_VOTER : 0u) |
                        (outgoing >> i & 1 ? RAFT_MEMBER_VOTER_OLD : 0u) |
                        (learners >> i & 1 ? RAFT_MEMBER_LEARNER : 0u);
        snprintf(member->name, sizeof member->name, "n%u", i + 1);
        snprintf(member->peer, sizeof member->peer, "sim://n%u", i + 1);
    }
    return members;
}

struct raft_runs config_make(uint64_t index, uint64_t term, struct raft_configuration *members)
{
    struct raft_runs runs = {0};
    struct buf *buf = raft_configuration_encode(members);
    struct raft_batch *batch = raft_batch_create(1);
    raft_batch_add(batch, (struct raft_entry){.id = {.term = term, .index = index},
                                              .buf = buf,
                                              .payload = {buf->data, buf->bytes},
                                              .kind = RAFT_ENTRY_CONFIG});
    raft_runs_append(&runs, batch, 0, 1);
    raft_batch_unref(batch);
    free(members);
    return runs;
}

struct raft_runs log_of_new_node(void)
{
    return config_make(1, 1, members_make(M(A) | M(B) | M(C), 0, M(LEARNER), 0));
}

static void start_all(void)
{
    struct raft_runs log = log_of_new_node();
    struct raft_runs_iter it = {0};
    check_bootstrap(&check, raft_runs_next(&log, &it));
    for (uint32_t i = 0; i < NODES; i++)
        check_start(&check, i, 1, (struct raft_hard_state){.term = 1}, (struct raft_id){0}, &log,
                    0);
    raft_runs_clear(&log);
}

void fixture_setup(void)
{
    raft_options_init(&options);
    memset(&ops, 0, sizeof ops);
    check_init(&check, &options, ids, NODES, &ops);
    start_all();
}

void fixture_teardown(void)
{
    check_deinit(&check);
    ops_deinit(&ops);
}

/* A persist of a node: hard state {term, vote} and entries (count 0: none). */
struct raft_persist persist_make(uint32_t node, uint64_t term, raft_node_id vote,
                                 struct raft_runs entries)
{
    const struct check_node *at = &check.nodes[node];
    struct raft_persist persist = {.seq = at->seq + 1,
                                   .hard_state_changed = true,
                                   .hard_state = {.term = term, .vote = vote},
                                   .entries = entries};
    persist.last = raft_runs_last(&entries);
    if (persist.last.index == 0) {
        const struct check_entry *last = check_log_at(&at->memory, at->memory.count);
        persist.last = (struct raft_id){.term = last->term, .index = at->memory.count};
    }
    return persist;
}

struct check_view view_make(uint32_t node, enum raft_role role, uint64_t commit)
{
    const struct check_node *at = &check.nodes[node];
    const struct check_entry *last = check_log_at(&at->memory, at->memory.count);
    return (struct check_view){.role = role,
                               .hard_state = at->handed,
                               .commit = commit,
                               .applied = at->view.applied,
                               .last = {.term = last->term, .index = at->memory.count},
                               .config_index = last->config_at};
}

void elect(uint32_t node, uint64_t term)
{
    for (uint32_t i = 0; i < NODES; i++)
        map_put_once(&check.votes, i, term, ids[node]);
}

/* The node puts out a persist and steps; the disk has it too if `durable`. */
void node_does(uint32_t node, uint64_t term, raft_node_id vote, enum raft_role role,
               struct raft_runs entries, uint64_t commit, bool durable)
{
    struct raft_persist persist = persist_make(node, term, vote, entries);
    if (role == RAFT_LEADER)
        elect(node, term);
    check_persist(&check, node, &persist, 0, false);
    if (durable)
        check_durable(&check, node, &persist);
    struct check_view view = view_make(node, role, commit);
    check_step(&check, node, &view);
    raft_runs_clear(&persist.entries);
}

void node_steps(uint32_t node, enum raft_role role, uint64_t commit)
{
    struct check_view view = view_make(node, role, commit);
    check_step(&check, node, &view);
}

void message_send(uint32_t from, uint32_t to, struct raft_message message)
{
    message.from = ids[from];
    message.to = ids[to];
    check_send(&check, from, &message);
}

void leader_gets(uint32_t node, struct raft_runs entries, uint64_t commit)
{
    node_does(node, 2, node == LEARNER ? 0 : ids[A], node == A ? RAFT_LEADER : RAFT_FOLLOWER,
              entries, node == A ? commit : check.nodes[node].view.commit, true);
}

/* A leads term 2 with entries 2..3 that all hold, and has committed them. */
void good_cluster(void)
{
    for (uint32_t i = 0; i < NODES; i++)
        node_does(i, 2, i == LEARNER ? 0 : ids[A], i == A ? RAFT_LEADER : RAFT_FOLLOWER,
                  entries_make(2, 2, 2, 0), 1, true);
    for (uint32_t i = 0; i < NODES; i++)
        node_steps(i, i == A ? RAFT_LEADER : RAFT_FOLLOWER, 3);
    SILENT();
    cr_assert_eq(check.oracle.count, 3);
}

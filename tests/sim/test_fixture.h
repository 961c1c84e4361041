/* tests/sim/test_fixture.h - a struct check with three voters and a learner, and what feeds it. */
#ifndef TESTS_SIM_TEST_FIXTURE_H
#define TESTS_SIM_TEST_FIXTURE_H

#include "tests/sim/check.h"

enum { A, B, C, LEARNER, NODES };

extern struct check check;
extern struct ops ops;
extern const raft_node_id ids[NODES];

/* Starts every node as new; for TestSuite. */
void fixture_setup(void);
void fixture_teardown(void);

/* `count` entries from index `first` on, all of one term; of operations op, op + 1 ... if not 0. */
struct raft_runs entries_make(uint64_t first, uint64_t term, uint32_t count, uint64_t op);

#define M(node) (UINT32_C(1) << (node))

/* A configuration of nodes by masks; joint if there are outgoing ones. On the heap. */
struct raft_configuration *members_make(uint32_t voters, uint32_t outgoing, uint32_t learners,
                                        uint32_t removed);

/* The entry that holds it; frees it. */
struct raft_runs config_make(uint64_t index, uint64_t term, struct raft_configuration *members);

/* The log of a new node: the configuration of voters A, B, C and the learner. */
struct raft_runs log_of_new_node(void);

/* The node's next persist: hard state {term, vote} and entries (none: NOTHING). */
struct raft_persist persist_make(uint32_t node, uint64_t term, raft_node_id vote,
                                 struct raft_runs entries);

/* What the node says of itself after what it has put out so far. */
struct check_view view_make(uint32_t node, enum raft_role role, uint64_t commit);

/* Everybody who has not voted in this term votes for the node. */
void elect(uint32_t node, uint64_t term);

/* The node puts out a persist and steps; a leader has been elected by everybody who could. The disk
 * has it too if `durable`. Frees the entries. */
void node_does(uint32_t node, uint64_t term, raft_node_id vote, enum raft_role role,
               struct raft_runs entries, uint64_t commit, bool durable);

/* The node steps and puts out nothing. */
void node_steps(uint32_t node, enum raft_role role, uint64_t commit);

/* After good_cluster: the log of A, or of a node that follows it in term 2, gets these entries, and
 * the disk too; A steps with this commit. Frees the entries. */
void leader_gets(uint32_t node, struct raft_runs entries, uint64_t commit);

/* The message leaves `from` for `to`; its ends are filled in. */
void message_send(uint32_t from, uint32_t to, struct raft_message message);

/* A leads term 2 with entries 2 and 3, which all hold and have committed. */
void good_cluster(void);

#define NOTHING ((struct raft_runs){0})

#define SCREAMS(name)                                                                   \
    do {                                                                                \
        cr_assert(check.failed, "nothing was found");                                   \
        cr_assert_str_eq(check.invariant, name, "%s: %s", check.invariant, check.text); \
        cr_assert(strlen(check.text) > 0);                                              \
    } while (0)

#define SILENT() cr_assert_not(check.failed, "%s: %s", check.invariant, check.text)

#endif

/* Seeded runs over a network that loses, repeats and reorders, and over disks that are slow and
 * forget what was not durable. After every step the safety properties of the paper's figure 3. */
#include "cluster.h"

#include "base/prng.h"

#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

enum { TERMS_MAX = 4096, ENTRIES_MAX = 65536, READS_MAX = 4096 };

struct oracle {
    raft_node_id leaders[TERMS_MAX]; /* of each term */
    uint64_t committed[ENTRIES_MAX]; /* the term of each committed entry */
    uint64_t commit;                 /* the highest commit of any node */
    uint64_t read_floor[READS_MAX];  /* the commit that a read must see */
    uint64_t node_commit[CLUSTER_NODES_MAX + 1];
    uint64_t node_term[CLUSTER_NODES_MAX + 1];
    uint32_t reads, reads_ok;
};

static struct cluster c;
static struct oracle oracle;
static struct prng prng;

/* Election safety, state machine safety, and that nothing goes back. */
static void check_node(raft_node_id id)
{
    struct test_node *node = &c.nodes[id];
    cr_assert_eq(node->code, CONCLAVE_OK, "%s", node->error.message);
    const struct raft *raft = node->raft;
    uint64_t term = raft_hard_state(raft).term;
    uint64_t commit = raft_commit(raft);
    cr_assert_lt(term, TERMS_MAX);
    cr_assert_geq(term, oracle.node_term[id]);
    oracle.node_term[id] = term;
    if (raft_role(raft) == RAFT_LEADER) {
        cr_assert(oracle.leaders[term] == 0 || oracle.leaders[term] == id, "two leaders of a term");
        oracle.leaders[term] = id;
    }
    cr_assert_geq(commit, oracle.node_commit[id]);
    for (uint64_t i = oracle.node_commit[id] + 1; i <= commit; i++) {
        uint64_t entry = raft_term_at(raft, i);
        cr_assert(oracle.committed[i] == 0 || oracle.committed[i] == entry,
                  "node %lu committed another entry %lu", (unsigned long)id, (unsigned long)i);
        oracle.committed[i] = entry;
    }
    oracle.node_commit[id] = commit;
    oracle.commit = commit > oracle.commit ? commit : oracle.commit;
    cr_assert_leq(node->applied_index, raft_last(raft).index);
    cr_assert_leq(node->applied_index, raft_runs_last(&node->disk_log).index);
    cr_assert(node->applied_index <= commit);
    for (uint32_t i = 0; i < node->reads.count; i++) {
        if (node->reads.items[i].code != CONCLAVE_OK)
            continue;
        oracle.reads_ok++;
        cr_assert_geq(node->reads.items[i].index, oracle.read_floor[node->reads.items[i].read],
                      "a read that misses what was committed before it");
    }
    node->reads.count = 0;
}

/* Leader completeness: whoever leads the newest term holds everything committed. */
static void check_leader(raft_node_id id)
{
    const struct raft *raft = c.nodes[id].raft;
    if (raft_role(raft) != RAFT_LEADER)
        return;
    for (raft_node_id other = 1; other <= c.voters; other++) {
        if (oracle.node_term[other] > raft_hard_state(raft).term)
            return;
    }
    for (uint64_t i = 1; i <= oracle.commit; i++)
        cr_assert_eq(raft_term_at(raft, i), oracle.committed[i]);
}

/* Rule 4, at the moment an acknowledgement reaches the network. */
static void check_wire(uint32_t from)
{
    for (uint32_t i = from; i < c.wire.count; i++) {
        const struct raft_message *m = c.wire.items[i];
        if (m->type != RAFT_APPEND_RESPONSE || m->append_response.result != RAFT_APPEND_ACCEPTED)
            continue;
        cr_assert_leq(m->append_response.match, raft_runs_last(&c.nodes[m->from].disk_log).index);
        cr_assert_leq(m->term, c.nodes[m->from].disk_hard.term);
    }
}

static void deliver_one(unsigned loss)
{
    uint32_t at = (uint32_t)prng_below(&prng, c.wire.count < 8 ? c.wire.count : 8);
    struct raft_message *m = c.wire.items[at];
    if (m->type != RAFT_APPEND_REQUEST && prng_below(&prng, 50) < loss) {
        struct raft_message *copy = raft_message_create(m->type, m->from, m->to, m->term);
        *copy = *m;
        raft_messages_add(&c.wire, copy); /* repeats it later */
    }
    for (uint32_t i = at + 1; i < c.wire.count; i++)
        c.wire.items[i - 1] = c.wire.items[i];
    c.wire.count--;
    if (!c.nodes[m->to].raft || prng_below(&prng, 50) < loss)
        raft_message_destroy(m);
    else
        cluster_receive(&c, m);
}

static raft_node_id alive(void)
{
    raft_node_id id = prng_below(&prng, c.voters) + 1;
    while (!c.nodes[id].raft)
        id = id % c.voters + 1;
    return id;
}

static void crash_or_restart(void)
{
    for (raft_node_id id = 1; id <= c.voters; id++) {
        if (!c.nodes[id].raft) {
            cluster_start_node(&c, id);
            return;
        }
    }
    raft_node_id id = alive();
    cluster_crash(&c, id);
    /* What it knew in memory only may be less after the start. */
    oracle.node_commit[id] = 0;
    oracle.node_term[id] = c.nodes[id].disk_hard.term;
}

static void something_happens(unsigned loss)
{
    uint64_t what = prng_below(&prng, 100);
    raft_node_id id = alive();
    if (what < 60 && c.wire.count > 0) {
        deliver_one(loss);
    } else if (what < 75) {
        if (c.nodes[id].persist_count > 0)
            cluster_persist(&c, id);
    } else if (what < 88) {
        cluster_advance(&c, prng_below(&prng, 30000));
        cluster_timeout(&c, id);
    } else if (what < 94) {
        cluster_propose(&c, id, (uint32_t)prng_below(&prng, 4), prng_below(&prng, 60));
    } else if (what < 99) {
        if (oracle.reads == READS_MAX)
            return;
        oracle.read_floor[oracle.reads] = oracle.commit;
        cluster_read(&c, id, oracle.reads++);
    } else if (prng_below(&prng, 4) == 0) {
        crash_or_restart();
    }
}

static void run(uint64_t seed)
{
    memset(&oracle, 0, sizeof oracle);
    prng_init(&prng, seed);
    unsigned loss = (unsigned)prng_below(&prng, 6);
    cluster_init(&c, seed % 2 ? 3 : 5);
    for (raft_node_id id = 1; id <= c.voters; id++) {
        c.nodes[id].options.seed = seed * 100 + id;
        c.nodes[id].options.append_entries_max = 3;
        c.nodes[id].options.inflight_messages_max = 4;
        c.nodes[id].options.apply_bytes_max = 100;
    }
    cluster_start(&c, c.voters);
    for (int i = 0; i < 4000; i++) {
        uint32_t before = c.wire.count;
        something_happens(loss);
        check_wire(c.wire.count >= before ? before : 0);
        for (raft_node_id id = 1; id <= c.voters; id++) {
            if (c.nodes[id].raft)
                check_node(id);
        }
        for (raft_node_id id = 1; id <= c.voters; id++) {
            if (c.nodes[id].raft)
                check_leader(id);
        }
    }
    /* Liveness: with everyone up and nothing lost, all agree within ten election timeouts. */
    for (raft_node_id id = 1; id <= c.voters; id++) {
        if (!c.nodes[id].raft)
            cluster_start_node(&c, id);
    }
    cluster_run(&c, 10 * T_US);
    uint64_t commit = raft_commit(c.nodes[1].raft);
    cr_assert_geq(commit, oracle.commit);
    for (raft_node_id id = 1; id <= c.voters; id++) {
        check_node(id);
        cr_assert_neq(raft_leader(c.nodes[id].raft), 0);
        cr_assert_eq(raft_commit(c.nodes[id].raft), commit, "seed %lu", (unsigned long)seed);
        cr_assert_eq(c.nodes[id].applied_index, commit);
        cr_assert(raft_id_equal(raft_last(c.nodes[id].raft), raft_last(c.nodes[1].raft)));
    }
}

Test(random, runs_keep_every_promise)
{
    uint64_t commits = 0, reads = 0;
    const char *one = getenv("RAFT_RANDOM_SEED");
    uint64_t first = one ? strtoull(one, NULL, 10) : 1;
    uint64_t last = one ? first : 60;
    for (uint64_t seed = first; seed <= last; seed++) {
        run(seed);
        commits += oracle.commit;
        reads += oracle.reads_ok;
        cluster_deinit(&c);
    }
    cr_assert_gt(commits, 1000, "the runs did something");
    cr_assert_gt(reads, 100);
}

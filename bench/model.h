/* bench/model.h - a model of the write path: what a cluster would do on another machine, at another
 * distance, under another load. Pure.
 *
 * An operation waits for the batch under way, is part of the next one, and pays for its own way
 * beside that:
 *
 *     T(b) = (D(b)^3 + P(b)^3)^(1/3)       the cycle: disk and processors work beside each other
 *     D(b) = sync f (1 + s (n - 1)) + b size d      the disk, of a batch of b operations
 *     P(b) = (k n + b (c + (n - 1) r) + b size n e) / cores      the processors, likewise
 *     L(b) = a + h + rtts + D(b) + P(b) + u T(b) / 2      what an operation takes in the mean
 *
 * with n nodes on one machine; where each has a machine of its own, s is 0 and P is the leader's.
 * The batch follows from what is outstanding: in a time T as many operations come as N clients with
 * one outstanding begin, b = N T(b) / L(b), never fewer than one; in the open loop b = rate T(b). u
 * is how likely an operation meets a batch under way. docs/performance.md has the parameters in
 * words, and how well it does. */
#ifndef BENCH_MODEL_H
#define BENCH_MODEL_H

#include <stdbool.h>
#include <stddef.h>

/* The parameters, all above 0, in the order in which they are fitted. Times in microseconds. */
enum model_parameter {
    MODEL_CLIENT_US, /* a: fixed, of a client's question and answer */
    MODEL_HOP_US,    /* h: fixed, of asking other nodes; a single one has none */
    MODEL_SYNC,      /* f: a sync while the nodes run, in idle ones */
    MODEL_SHARE,     /* s: what each other node on the same disk adds to it */
    MODEL_OP_US,     /* c: processor, of the leader and the client */
    MODEL_FOLLOW_US, /* r: processor, of each other node */
    MODEL_BATCH_US,  /* k: processor of each node, for each batch */
    MODEL_BYTE_NS,   /* e: processor of each node, for each byte of a value */
    MODEL_DISK_NS,   /* d: disk of each node, likewise */
    MODEL_MIDDLE,    /* the median in means */
    MODEL_PARAMETERS
};

struct model {
    double of[MODEL_PARAMETERS];
    double tail_share; /* the 99th percentile is the median, this share of it, */
    double tail_cycle; /* and so many cycles more */
};

const char *model_parameter_name(enum model_parameter parameter);

/* What it is asked about. */
struct model_case {
    double clients;       /* with one operation outstanding each */
    double rate;          /* above 0: open loop, and clients are not asked for */
    double rtt_us;        /* beyond what the machine's own loopback takes: between nodes, */
    double client_rtt_us; /* and from the client to the leader */
    double sync_us;       /* of an idle disk */
    double size;          /* of a value */
    double nodes, cores;
    bool apart; /* each node on a machine of its own, and the client too */
};

struct model_answer {
    double ops_per_s, p50_us, p99_us;
    double batch, cycle_us, disk_us, processor_us, fixed_us;
    bool carried;           /* false: more is due than it can do; the latencies are without bound */
    const char *bottleneck; /* disk, processors, distance */
};

/* What most machines are nearer to than to anything else: where the fit begins. */
extern const struct model model_prior;

struct model_answer model_predict(const struct model *model, const struct model_case *where);

/* --- Fitting -----------------------------------------------------------------------------------
 */

struct model_point {
    struct model_case where;
    double ops_per_s, p50_us, p99_us; /* measured */
};

/* Finds the parameters under which the points' throughput and median come out nearest, in the sum
 * of squared logarithms; what the points do not tell stays near the prior. False: there are none.
 */
bool model_fit(const struct model_point *points, size_t count, struct model *ret);

/* Leaves out one point after the other: predicted[i] is what a model says of point i that was
 * fitted to all others. False: fewer than two points, or out of memory. */
bool model_leave_out(const struct model_point *points, size_t count,
                     struct model_answer *predicted);

#endif

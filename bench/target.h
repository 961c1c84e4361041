/* bench/target.h - what is measured: a cluster that runs somewhere, or one that the harness starts.
 *
 * Kinds differ in how a node is started, how one hears who leads, and who makes the load
 * (struct target_ops); the life of the nodes is the same for all. Main thread only. */
#ifndef BENCH_TARGET_H
#define BENCH_TARGET_H

#include "bench/load.h"
#include "conclave.h"

#include <limits.h>
#include <sys/types.h>

enum { TARGET_ARGUMENTS_MAX = 40, TARGET_NODE_NONE = BENCH_NODES_MAX };

struct target_node {
    unsigned client_port, peer_port;
    pid_t pid; /* 0: does not run */
    char name[16];
    char dir[PATH_MAX];
    char log[PATH_MAX];
};

struct target {
    const struct target_ops *ops;
    const char *name; /* as --target has it */
    const struct bench_options *options;
    char dir[PATH_MAX]; /* of the harness; "": nothing was started */
    unsigned count;
    struct target_node nodes[BENCH_NODES_MAX];
    char endpoints[1024];
    char loader[PATH_MAX]; /* the program that makes the load; "": this one does */
    char version[64];
};

/* Words of a command line, which belong to the list. */
struct words {
    char *list[TARGET_ARGUMENTS_MAX];
    size_t count;
};

__attribute__((format(printf, 2, 3))) void words_add(struct words *words, const char *format, ...);
void words_free(struct words *words);

struct target_ops {
    const char *name;
    bool starts;           /* the nodes are the harness's */
    const char *fsync;     /* yes, no: does what it acknowledged survive a power cut; unknown */
    const char *fsync_why; /* in a sentence */
    const char *reads;     /* what its reads promise */

    /* Whether it can be measured at all on this machine; the error says what to install. */
    int (*look)(struct target *target, struct conclave_error *error);
    /* Makes what the nodes need, once the directory and the ports are there. */
    int (*prepare)(struct target *target, struct conclave_error *error);
    void (*command)(const struct target *target, unsigned node, struct words *words);
    /* True if the cluster serves. */
    bool (*serves)(struct target *target);
    /* The node that leads; TARGET_NODE_NONE: nobody does, or it is not known. */
    unsigned (*leader)(struct target *target);
    /* What everything that is committed counts up to, and what the node has applied of it. False:
     * it did not say. NULL: this kind cannot tell. */
    bool (*progress)(struct target *target, unsigned node, uint64_t *ret_committed,
                     uint64_t *ret_applied);
    void (*fill)(struct target *target, const struct load *load, const struct measure_watch *watch,
                 struct measure *measure);
    void (*run)(struct target *target, const struct load *load, const struct measure_watch *watch,
                struct measure *measure);
    /* Why it cannot run this; NULL: it can. */
    const char *(*refuses)(const struct load *load);
};

/* The target of this name. Errors: as look. */
int target_open(struct target *target, const char *name, const struct bench_options *options,
                struct conclave_error *error);

/* Starts its nodes and waits until they serve; nothing for one that runs already. */
int target_start(struct target *target, const volatile sig_atomic_t *stop,
                 struct conclave_error *error);

/* Starts nodes again that do not run, and waits until all serve. */
int target_ready(struct target *target, const volatile sig_atomic_t *stop,
                 struct conclave_error *error);

/* Stops what was started and removes its data. */
void target_stop(struct target *target);

int target_start_node(struct target *target, unsigned node, struct conclave_error *error);
void target_kill_node(struct target *target, unsigned node);

extern const struct target_ops target_self, target_tcp, target_etcd, target_nats;

#endif

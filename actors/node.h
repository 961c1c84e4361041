/* actors/node.h - what the actors of one node share: set up before their threads start, read-only
 * afterwards, but for the record of the first fatal failure. */
#ifndef ACTORS_NODE_H
#define ACTORS_NODE_H

#include "actors/actor.h"
#include "actors/durable.h"
#include "actors/trace.h"
#include "base/log.h"
#include "codec/peer.h"
#include "storage/vote.h"
#include "storage/wal.h"
#include "transport/peers.h"

/* What the log-writer recovered, for the node's start to hand on. */
struct node_recovered {
    struct raft_hard_state hard_state;
    uint64_t life;       /* the number of this start */
    struct raft_id base; /* the entry before the first one */
    struct raft_runs entries;
    struct snapshot_meta snapshot;           /* the newest that can be used; index 0: none */
    bool snapshot_lacking;                   /* it does not reach the log */
    struct raft_configuration configuration; /* the newest in the log; else who was joined */
    struct raft_configuration *boot;         /* heap: an empty log's members; NULL: none */
    struct raft_member self;                 /* as last named; id 0: nowhere */
    uint64_t applied_index;                  /* from the state machine */
};

/* How far the state machine is. It stores this after each apply, `applied` last; raft looks
 * whenever it is awake, and is woken for it (APPLIED) no more often than somebody could care: a
 * wake-up after each apply was one in fourteen of all that an operation costs. */
struct node_progress {
    _Atomic(uint64_t) applied, revision;
    _Atomic(bool) quota;              /* it is used up */
    _Atomic(uint64_t) since_snapshot; /* bytes of log since the last one was begun */
    _Atomic(uint64_t) becoming;       /* index of the snapshot that it is yet to become; 0: none */
};

struct node {
    struct conclave_options options; /* strings are the node's own copies */
    const struct io *io;             /* all file operations but those of the state machine's store;
                                        the real ones, unless a test says otherwise before the start */
    struct logger logger;
    void *context;
    bool context_is_own;
    unsigned starts;
    char address[64];  /* prefix of the inproc addresses: inproc://conclave-… */
    char endpoint[80]; /* where clients inside the process connect */

    struct storage_identity identity;
    struct peer_identity peer_identity;
    char machine_dir[4096];
    char peer[CONCLAVE_ENDPOINT_BYTES_MAX + 1]; /* where the others reach this node */
    char listen[CONCLAVE_ENDPOINT_BYTES_MAX + 1];
    char listen_client[CONCLAVE_ENDPOINT_BYTES_MAX + 1]; /* "": none */
    char feed[CONCLAVE_ENDPOINT_BYTES_MAX + 1];          /* "": none */
    uint64_t started_us;
    struct io_file *lock;
    struct kv *kv; /* the built-in machine, if the node made one; else NULL */

    /* Written by log-writer and machine while they start, read by the host's thread after their
     * READY. The segment helper uses the log that the log-writer owns, through the one function
     * that is made for it. */
    struct node_recovered recovered;
    struct wal *wal;
    bool repairing; /* entries of the log or its snapshot are to come from other nodes first: then
                       the log-writer and the machine write `recovered` again, each before it tells
                       the next one of it */

    struct node_progress progress;
    struct durable durable;
    struct peers *peers; /* made by raft's thread, whose it is, and destroyed when all have ended:
                            the log-writer sends its answers by it */
    struct trace trace;  /* of a write that is followed; see there for whose it is */

    struct actor actors[ACTOR_COUNT];
    struct inbox inbox;            /* READY, SERVING; the host's thread */
    struct outbox to[ACTOR_COUNT]; /* the host's thread */
    bool wired;
    bool running;
    bool serving; /* SERVING has come */

    atomic_uint proposers;   /* links that one side or the other still has (actors/proposer.h) */
    uint32_t proposers_made; /* the host's thread */

    _Atomic(bool) fatal;           /* some thread died; `failure` is being or has been written */
    struct conclave_error failure; /* of the first that died; read after the joins */
};

/* The handle of the public interface. */
struct conclave_node {
    struct node node;
};

/* What raft starts with: moves it out of node->recovered. */
struct envelope *node_start_envelope(struct node *node);

/* Records why a thread dies (the first one wins), tells the host, and makes every other actor end
 * at once. Called by actor_main, in the dying thread. */
void node_fatal(struct node *node, struct actor *actor, const struct conclave_error *error);

#endif

/* actors/log_repair.h - the log-writer while entries of its log are missing: it asks the other
 * nodes for them, gives them what they ask for, and writes nothing before it has all. The node does
 * nothing else meanwhile: it has no core that could vote, campaign or acknowledge. The log-writer's
 * thread. */
#ifndef ACTORS_LOG_REPAIR_H
#define ACTORS_LOG_REPAIR_H

#include "actors/node.h"
#include "storage/wal_repair.h"

enum { LOG_REPAIR_ANSWER_BYTES = 128 << 10 }; /* of entries in one answer */

/* Until nothing is missing, and is written. STOPPING: the node is to end. CORRUPT: no other node
 * has what is missing. */
MUST_USE int log_repair_run(struct actor *actor, struct wal_repair *repair,
                            struct conclave_error *error);

/* The answer of a node whose log this is, `base` being before its first entry. */
struct buf *log_repair_answer(const struct node *node, raft_node_id to,
                              const struct peer_repair *ask, const struct raft_runs *log,
                              struct raft_id base, bool *ret_compacted);

#endif

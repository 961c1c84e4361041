/* actors/log_repair.h - the log-writer while entries of its log are missing, or the snapshot behind
 * which it begins: it asks the other nodes for them, gives them what they ask for, and writes
 * nothing to the log before it has all. The node does nothing else meanwhile: it has no core that
 * could vote, campaign or acknowledge. The log-writer's thread. */
#ifndef ACTORS_LOG_REPAIR_H
#define ACTORS_LOG_REPAIR_H

#include "actors/node.h"
#include "storage/wal_repair.h"

enum { LOG_REPAIR_ANSWER_BYTES = 128 << 10 }; /* of entries in one answer */

/* Until nothing is missing, and is written: of the log, and of a snapshot that reaches its
 * beginning. `repair` NULL: the log is open, the snapshot alone is missing. STOPPING: the node is
 * to end. CORRUPT: no other node has what is missing. */
MUST_USE int log_repair_run(struct actor *actor, struct wal_repair *repair,
                            struct conclave_error *error);

/* Answers a REPAIR_ASK for a node whose log this is, and hands it on if the newest snapshot is
 * asked for as well. The thread that owns the log. */
void log_repair_give(struct actor *actor, const struct envelope *ask,
                     const struct wal_supplier *log);

/* The same for a running node's log as far as it is in memory. What is wanted from before that is
 * for the segment helper: it takes reading. */
void log_repair_give_running(struct actor *actor, const struct envelope *ask,
                             const struct wal_supplier *log);

/* Answers from the segments, or that nobody but a snapshot has it. The segment helper's thread. */
void log_repair_give_past(struct actor *actor, const struct envelope *ask);

#endif

/* actors/log_open.h - what a start finds on disk, and puts into node->recovered. The log-writer's
 * thread; it blocks on the disk. */
#ifndef ACTORS_LOG_OPEN_H
#define ACTORS_LOG_OPEN_H

#include "actors/node.h"
#include "storage/wal_repair.h"

/* Opens the log. Errors as wal_open. */
MUST_USE int log_open(struct node *node, struct wal **ret_wal, struct conclave_error *error);

/* After log_open answered CORRUPT or IO: looks at the damage. node->recovered then says who
 * the members are, as far as the log can be read. NOT_FOUND: there is nothing that could be put
 * back, the first error stands. CORRUPT: damaged beyond repair. */
MUST_USE int log_survey(struct node *node, struct wal_repair **ret_repair,
                        struct conclave_error *error);

/* With the log open, and another snapshot there than then: takes the newest whole one. */
MUST_USE int log_open_snapshot(struct node *node, struct conclave_error *error);

#endif

/* storage/joined.h - DIR/joined: who the members were when the node of this directory joined them.
 *
 * A node that joins a cluster begins with an empty log; until the leader has sent it the first
 * configuration, this says who the others are and where. Written once, by join, before the
 * identity. Owned by one thread. */
#ifndef STORAGE_JOINED_H
#define STORAGE_JOINED_H

#include "raft/configuration.h"
#include "storage/identity.h"

MUST_USE int joined_write(const struct io *io, const char *dir,
                          const struct storage_identity *identity,
                          const struct raft_configuration *members, struct conclave_error *error);

/* Errors: NOT_FOUND (the node was there from the start; no sentence), CORRUPT, VERSION, IDENTITY,
 * IO; *ret is then untouched. */
MUST_USE int joined_read(const struct io *io, const char *dir,
                         const struct storage_identity *identity, struct raft_configuration *ret,
                         struct conclave_error *error);

#endif

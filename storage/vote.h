/* storage/vote.h - {term, vote}: one atomic durable record in two slots written in turn (Rule 1).
 *
 * Each slot is a checksummed block of its own with a sequence number; the valid slot with the
 * higher one counts, so a write torn by power loss leaves the one before. Both slots bad: CORRUPT,
 * the node must never vote again. Owned by one thread. */
#ifndef STORAGE_VOTE_H
#define STORAGE_VOTE_H

#include "raft/message.h"
#include "storage/identity.h"

struct vote_file;

/* Makes DIR/vote with `initial` in it, durable. EXISTS if it is there. */
MUST_USE int vote_create(const struct io *io, const char *dir,
                         const struct storage_identity *identity, struct raft_hard_state initial,
                         struct conclave_error *error);

MUST_USE int vote_open(const struct io *io, const char *dir,
                       const struct storage_identity *identity, struct vote_file **ret_file,
                       struct raft_hard_state *ret_state, struct conclave_error *error);

/* What the file says, read only: of a node that may be running. */
struct vote_view {
    struct raft_hard_state state;
    uint64_t sequence;      /* of the write */
    unsigned damaged_slots; /* 0 or 1 */
    uint64_t damaged_at;    /* where it stands */
};

/* Reads it and changes nothing. Errors: as vote_open. */
MUST_USE int vote_look(const struct io *io, const char *dir,
                       const struct storage_identity *identity, struct vote_view *ret,
                       struct conclave_error *error);

/* The number of the start that opened the file: above that of every one before. */
uint64_t vote_start_number(const struct vote_file *file);

/* Writes and syncs. After a failure the file must not be used again (Rule 6). */
MUST_USE int vote_write(struct vote_file *file, struct raft_hard_state state,
                        struct conclave_error *error);

void vote_close(struct vote_file *file);

#endif

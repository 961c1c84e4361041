/* actors/bootstrap.h - making a node's data directory over any file table (conclave_bootstrap uses
 * the operating system's). */
#ifndef ACTORS_BOOTSTRAP_H
#define ACTORS_BOOTSTRAP_H

#include "raft/configuration.h"
#include "raft/entries.h"
#include "storage/identity.h"

/* A random number from 1 to 2^53 - 1: for ids and incarnations. */
uint64_t bootstrap_draw_id(void);

/* Fills in what a member is named with, as a voter; ids come later. Errors: INVALID. */
MUST_USE int bootstrap_take_member(const struct conclave_member *from, struct raft_member *to,
                                   struct conclave_error *error);

/* EXISTS if a node has the directory already. */
MUST_USE int bootstrap_check_dir(const struct io *io, const char *dir,
                                 struct conclave_error *error);

/* Makes the directory with those above it; one that is there must be empty. */
MUST_USE int bootstrap_make_dir(const struct io *io, const char *dir, struct conclave_error *error);

/* Writes everything that a node needs with these entries in its log; the identity last. */
MUST_USE int bootstrap_write_dir(const struct io *io, const char *dir,
                                 const struct storage_identity *identity,
                                 const struct raft_runs *entries, struct conclave_error *error);

/* As conclave_bootstrap. */
MUST_USE int bootstrap_directory(const struct io *io, const char *data_dir, const char *name,
                                 const char *token, const struct conclave_member *members,
                                 size_t member_count, struct conclave_error *error);

#endif

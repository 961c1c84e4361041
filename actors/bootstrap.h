/* actors/bootstrap.h - making a node's data directory over any file table (conclave_bootstrap uses
 * the operating system's). */
#ifndef ACTORS_BOOTSTRAP_H
#define ACTORS_BOOTSTRAP_H

#include "storage/io.h"

/* As conclave_bootstrap. */
MUST_USE int bootstrap_directory(const struct io *io, const char *data_dir, const char *name,
                                 const char *token, const struct conclave_member *members,
                                 size_t member_count, struct conclave_error *error);

#endif

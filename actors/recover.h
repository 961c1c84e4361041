/* actors/recover.h - going on alone after the quorum was lost for good, over any file table
 * (conclave_recover uses the operating system's). Nothing runs on the directory. */
#ifndef ACTORS_RECOVER_H
#define ACTORS_RECOVER_H

#include "storage/io.h"

/* As conclave_recover. */
MUST_USE int recover_directory(const struct io *io, const char *data_dir,
                               const struct conclave_recover_options *options,
                               struct conclave_recovery *ret, struct conclave_error *error);

#endif

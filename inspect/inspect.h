/* inspect/inspect.h - the inside of a handle, shared by this folder. Owned by one thread. */
#ifndef INSPECT_INSPECT_H
#define INSPECT_INSPECT_H

#include "conclave_inspect.h"
#include "storage/wal_walk.h"

struct conclave_inspection {
    const struct io *io;
    char *dir, *wal_dir;
    struct storage_identity identity;
    bool live; /* somebody uses it */
};

/* As conclave_inspect_open, with files of one's own. */
MUST_USE int inspect_open(const struct io *io, const char *data_dir,
                          struct conclave_inspection **ret, struct conclave_error *error);

/* The entries of a log that were not replaced, in the order of their indexes, one after the other.
 */
struct inspect_entries {
    struct wal_cuts cuts;
    struct wal_walk *walk;
    uint64_t damaged; /* places so far */
};

/* Goes through the log once, and stands before its first entry. */
MUST_USE int inspect_entries_open(const struct conclave_inspection *inspection,
                                  struct inspect_entries *ret, struct conclave_error *error);

/* False behind the last one. The payload is there until the next call. */
bool inspect_entries_next(struct inspect_entries *entries, struct wal_record *ret);

void inspect_entries_close(struct inspect_entries *entries);

#endif

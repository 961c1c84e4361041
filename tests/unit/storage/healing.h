/* A damaged copy of a scripted life's log, and a peer that has all of it. */
#ifndef TESTS_STORAGE_HEALING_H
#define TESTS_STORAGE_HEALING_H

#include "fixture.h"

#include "storage/wal_repair.h"

struct peer {
    struct story story;
    struct memory_disk *disk; /* intact */
    struct wal_recovery log;
};

void peer_make(struct peer *peer, const struct step *steps);
void peer_free(struct peer *peer);

/* One repair with what the peer has, up to the end of the writing. */
int repair_through(const struct io *io, const struct peer *peer, struct conclave_error *error);
int repair_all(struct memory_disk *disk, const struct peer *peer, struct conclave_error *error);

/* So many repairs so far wrote the log anew: what was lost fitted nowhere. */
extern size_t heal_anew;

enum outcome { OUTCOME_WHOLE, OUTCOME_SAME_BYTES, OUTCOME_MENDED, OUTCOME_REFUSED };

/* What becomes of a damaged copy; checks everything that holds for every damage: what was written
 * is opened and is the peer's log, and what was refused was left alone. */
enum outcome heal(const struct peer *peer, struct memory_disk *damaged, const char *what);

#endif

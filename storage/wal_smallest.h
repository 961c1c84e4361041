/* storage/wal_smallest.h - guessing the one record that a hole held. The smallest records follow
 * from what stands around them, and the link that what follows names proves them.
 *
 * Pure; owned by one thread, that of the survey. */
#ifndef STORAGE_WAL_SMALLEST_H
#define STORAGE_WAL_SMALLEST_H

#include "storage/wal_survey.h"

/* True: *ret is what stood in the hole, which now has its bytes. False: none of the smallest
 * records did. `index`: of an entry; `from` and `to`: of what terms it can be. */
bool wal_smallest_find(const struct wal_scanner *scanner, struct wal_hole *hole, uint64_t index,
                       uint64_t from, uint64_t to, struct wal_record *ret);

#endif

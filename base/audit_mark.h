/* base/audit_mark.h - one value of the audit's chain (machine/audit_chain.h): made where commands
 * are applied, carried between nodes by codec/peer.h, compared by raft/audit.h. Plain data, any
 * thread. */
#ifndef BASE_AUDIT_MARK_H
#define BASE_AUDIT_MARK_H

#include <stdint.h>

struct audit_mark {
    uint64_t index; /* of the last entry in it */
    uint64_t hash;
};

/* Marks of one node that are kept, and that fit in one frame. */
enum { AUDIT_MARKS_MAX = 32 };

#endif

/* raft/audit.h - comparing what the nodes applied: who differs from the majority.
 *
 * Each node says what its chain (machine/audit_chain.h) was at some indexes; two values for one
 * index must be equal. If they are not, the value of a majority of the voters counts (in a joint
 * phase of both sets), learners are compared with it. Without such a majority nobody can say who is
 * right: that is told, and nothing else follows. Pure; owned by one thread, raft's. */
#ifndef RAFT_AUDIT_H
#define RAFT_AUDIT_H

#include "base/audit_mark.h"
#include "raft/configuration.h"

/* The newest marks of one node; a ring. */
struct audit_member {
    raft_node_id id; /* 0: a free place */
    uint32_t count, next;
    struct audit_mark marks[AUDIT_MARKS_MAX];
    uint64_t deviates_at; /* it differed from the majority there, and has not agreed since */
};

struct audit {
    raft_node_id self;
    uint64_t agreed; /* the highest index at which a majority, and this node, had one value */
    struct audit_member members[CONCLAVE_MEMBERS_MAX];
};

enum audit_verdict {
    AUDIT_OPEN,          /* too few values are known */
    AUDIT_AGREES,        /* a majority has one value, and so has whoever has said one */
    AUDIT_DEVIATES,      /* a majority has one value, and `deviating` has another */
    AUDIT_SELF_DEVIATES, /* and this node has: it must not serve */
    AUDIT_SPLIT          /* there are different values, and none (yet) has a majority */
};

struct audit_finding {
    enum audit_verdict verdict;
    uint64_t index;
    raft_node_id deviating; /* DEVIATES: one of them; SPLIT: one that differs from another */
};

void audit_init(struct audit *audit, raft_node_id self);

/* A node, perhaps this one, says what its chain was; the verdict on that index. A later value for
 * the same index replaces the earlier: the node was mended. Nodes that are no members are ignored.
 */
struct audit_finding audit_note(struct audit *audit, const struct raft_configuration *members,
                                raft_node_id id, struct audit_mark mark);

/* A member that deviates, as far as is known; 0: none. */
raft_node_id audit_deviating(const struct audit *audit, const struct raft_configuration *members);

/* This node's newest marks, at most `limit`, the oldest first; the count. */
uint32_t audit_own(const struct audit *audit, struct audit_mark *ret, uint32_t limit);

#endif

/* raft/configuration.h - who the members are: the payload of CONFIG entries, and its majorities.
 *
 * Configuration is data in the log from the first entry on (index 1, term 1, equal on every initial
 * node). A member may be a voter of the incoming set, of the outgoing set (joint consensus, paper
 * section 6), of both, or a learner. Outside a change the two sets are not both in use:
 * `joint` is false and only MEMBER_VOTER counts. Pure data, any thread. */
#ifndef RAFT_CONFIGURATION_H
#define RAFT_CONFIGURATION_H

#include "base/error.h"
#include "raft/message.h"

enum raft_member_flags {
    RAFT_MEMBER_VOTER = 1,     /* votes in the (incoming) configuration */
    RAFT_MEMBER_VOTER_OLD = 2, /* votes in the outgoing configuration of a joint phase */
    RAFT_MEMBER_LEARNER = 4,   /* receives the log, counts nowhere */
    RAFT_MEMBER_PROMOTE = 8    /* of a learner: the leader makes it a voter once it has caught up */
};

/* Ids of removed members that are remembered (Rule 32). The oldest are forgotten: an id is drawn
 * from 2^53 numbers, so that even a forgotten one does not come back by chance. */
enum { RAFT_REMOVED_MAX = 256 };

struct raft_member {
    raft_node_id id;
    uint64_t incarnation; /* of its data directory; 0: not known yet */
    uint32_t flags;
    char name[CONCLAVE_NAME_BYTES_MAX + 1];
    char peer[CONCLAVE_ENDPOINT_BYTES_MAX + 1];
    char client[CONCLAVE_ENDPOINT_BYTES_MAX + 1]; /* "": none */
};

struct raft_configuration {
    bool joint;
    uint32_t member_count;
    struct raft_member members[CONCLAVE_MEMBERS_MAX];
    uint32_t removed_count;
    raft_node_id removed[RAFT_REMOVED_MAX]; /* oldest first */
};

/* The member with this id or NULL. */
const struct raft_member *raft_configuration_find(const struct raft_configuration *configuration,
                                                  raft_node_id id);

/* The member with this name or NULL. */
const struct raft_member *
raft_configuration_find_name(const struct raft_configuration *configuration, const char *name);

/* True if the id was a member once and never may be one again (Rule 32). */
bool raft_configuration_was_removed(const struct raft_configuration *configuration,
                                    raft_node_id id);

/* True if the id votes (in either set of a joint configuration). */
bool raft_configuration_is_voter(const struct raft_configuration *configuration, raft_node_id id);

/* True if `has(id)` holds for a majority of the voters; in the joint phase of both sets (Rule 30).
 */
bool raft_configuration_quorum(const struct raft_configuration *configuration,
                               bool (*has)(const void *arg, raft_node_id id), const void *arg);

/* The highest value that a majority has reached, where value(id) is what a voter has; in the joint
 * phase the lower of both sets' (Rule 30). 0 without voters. */
uint64_t raft_configuration_committed(const struct raft_configuration *configuration,
                                      uint64_t (*value)(const void *arg, raft_node_id id),
                                      const void *arg);

/* Packs into MessagePack (docs/disk-format.md); one reference. */
struct buf *raft_configuration_encode(const struct raft_configuration *configuration);

/* Unpacks and checks: ids and names unique and not empty, at least one voter, no count over its
 * limit. Errors: MALFORMED; *ret is then untouched. */
MUST_USE int raft_configuration_decode(struct slice payload, struct raft_configuration *ret);

#endif

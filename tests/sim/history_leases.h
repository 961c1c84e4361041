/* tests/sim/history_leases.h - what the clients know of leases, for the search in history.c.
 *
 * A key may go by itself, as a revision, once its lease may be over: no sooner than its time by the
 * true clock after the last command that surely began that time before. An answer that the lease is
 * there says that it has not ended at any revision before. Sooner than that no lease may be refused
 * as over, unless somebody revokes it. */
#ifndef TESTS_SIM_HISTORY_LEASES_H
#define TESTS_SIM_HISTORY_LEASES_H

#include "tests/sim/ops.h"

#include <stddef.h>

/* A key's lease that came with its put: which number it has only reads tell. */
#define HISTORY_OWN_LEASE UINT64_MAX

/* A command whose answer says that the lease was there, at this revision. */
struct lease_answer {
    uint64_t lease, revision;
    bool begins;
    uint64_t finished; /* tick */
    uint64_t ends_us;  /* `begins`: not before that */
};

struct history_leases {
    uint64_t fastest; /* of clocks, in millionths */
    RAFT_LIST(struct lease_answer, answers);
    RAFT_LIST(struct lease_answer, revokes); /* `finished`: when they were invoked */
};

void history_leases_init(struct history_leases *leases, const struct ops *ops, uint64_t fastest);
void history_leases_deinit(struct history_leases *leases);

/* The true time at which a lease may end that began its time with a command sent at from_us. */
uint64_t history_ends_us(const struct history_leases *leases, uint64_t from_us, uint64_t ttl_ms);

/* Whether a lease that was granted may end by itself as this revision, and then no sooner than
 * *ret_us. */
bool history_lease_may_end(const struct history_leases *leases, uint64_t lease, uint64_t revision,
                           uint64_t *ret_us);

/* The first operation that was refused sooner than its lease can have ended; 0: there is none. */
uint64_t history_refused_early(const struct history_leases *leases, const struct ops *ops);

#endif

/* tests/sim/history.h - is what the clients saw linearizable?
 *
 * The store has one revision for all keys, which rises by one with each change, and every answer
 * tells it. So the search for an order (Wing and Gong, "Testing and verifying concurrent objects",
 * 1993; with the memory of Lowe, 2017) goes along the revisions: each one is a change that was
 * answered with it, or one that was never answered and may have taken effect at any time after it
 * was invoked, or never. Only there the search branches. What was answered at a revision has to be
 * what the keys then hold, to the last version number; and nothing may come before what was
 * finished when it began. An operation that was surely not applied takes effect nowhere. A command
 * of a session counts once, however often it was sent, from its first sending to its first answer.
 *
 * A key that has a lease may also go by itself, as a revision that nobody is answered with
 * (tests/sim/history_leases.h).
 *
 * It looks only at ops_*: at what clients saw, not at the log. */
#ifndef TESTS_SIM_HISTORY_H
#define TESTS_SIM_HISTORY_H

#include "tests/sim/ops.h"

#include <stddef.h>

enum history_verdict {
    HISTORY_LINEARIZABLE,
    HISTORY_VIOLATED,
    HISTORY_UNDECIDED /* the search took too many steps */
};

/* `fastest`: of the clocks that measured leases, in millionths of the true time. VIOLATED: the
 * reason is in text[size]. */
enum history_verdict history_check(const struct ops *ops, uint64_t fastest, char *text,
                                   size_t size);

#endif

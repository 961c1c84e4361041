/* tests/sim/history.h - is what the clients saw linearizable?
 *
 * Every register is checked by itself (linearizability is local). Writes have unique values, so
 * the question is decided in O(n log n) (Gibbons and Korach, "Testing shared memories", 1997): a
 * write and the reads that saw it form a cluster with the zone between its first response and its
 * last invocation. The history is linearizable if and only if no read saw a write that began after
 * it or never was, no two forward zones overlap, and no backward zone lies inside a forward one.
 *
 * It looks only at ops_*: at what clients saw, not at the log. */
#ifndef TESTS_SIM_HISTORY_H
#define TESTS_SIM_HISTORY_H

#include "tests/sim/ops.h"

#include <stddef.h>

/* True if linearizable; else the reason is in text[size]. */
bool history_check(const struct ops *ops, char *text, size_t size);

#endif

/* codec/session_clock.h - when the leader writes cluster time into the log.
 *
 * The leader writes how much time passed (SESSION_CLOCK) before it takes commands of sessions, so
 * that every node ends the same sessions before the same command. Without commands no time is
 * written: an idle cluster stays idle. Measured is what passed since `clock_us`, which the caller
 * sets to its own clock when it begins to lead, so that no time counts in which nobody led.
 * Any thread; a pure function. */
#ifndef CODEC_SESSION_CLOCK_H
#define CODEC_SESSION_CLOCK_H

#include "base/error.h"
#include "raft/entries.h"

/* True if at least `step_us`, a millisecond or more, passed since `clock_us`: `ret` is the entry to
 * go before the commands, its buffer the caller's, and `clock_us` moves on by what the entry says,
 * whole milliseconds. */
MUST_USE bool session_clock_entry(uint64_t *clock_us, uint64_t now_us, uint64_t step_us,
                                  struct raft_entry *ret);

#endif

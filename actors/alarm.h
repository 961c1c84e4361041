/* actors/alarm.h - when raft is to be woken next: what it has told the timer, and what it waits for
 * itself. Raft's thread only.
 *
 * The timer is told of a deadline only if that is earlier than what it already waits for: most
 * deadlines move into the future with every message, and an alarm that comes too early costs one
 * look at the clock. One that is near is waited for by raft, with whatever else may come: the timer
 * would be woken for one after the other, and go off for few of them. */
#ifndef ACTORS_ALARM_H
#define ACTORS_ALARM_H

#include <stdbool.h>
#include <stdint.h>

enum { ALARM_NEAR_US = 10000 };

struct alarm {
    uint64_t near_us;  /* waited for here; UINT64_MAX: nothing */
    uint64_t armed_us; /* what the timer will go off at; UINT64_MAX: nothing */
    uint64_t epoch;    /* of the newest ARM */
};

void alarm_init(struct alarm *alarm);

/* After each step, whose next deadline this is (UINT64_MAX: none). True if the timer is to be armed
 * for it, with alarm->epoch. */
bool alarm_set(struct alarm *alarm, uint64_t deadline_us, uint64_t now_us);

/* The timer went off, for the ARM of this epoch. One that was replaced says nothing of the newer.
 */
void alarm_fired(struct alarm *alarm, uint64_t epoch);

/* True, once, when what was waited for here is due. */
bool alarm_is_due(struct alarm *alarm, uint64_t now_us);

#endif

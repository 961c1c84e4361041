/* machine/kv_quota.h - how many bytes keys, leases and topics may take, and the alarm.
 *
 * What would grow beyond the quota is refused, what shrinks is taken. The alarm is on while what
 * was refused last would still be refused; nobody has to take it back. All of it follows from the
 * log alone. State-machine thread. */
#ifndef MACHINE_KV_QUOTA_H
#define MACHINE_KV_QUOTA_H

#include "machine/kv_state.h"

/* What may still be added; UINT64_MAX: there is no quota. */
static inline uint64_t kv_quota_room(const struct kv_state *state)
{
    uint64_t used = state->bytes + state->topic_bytes;
    if (!state->quota)
        return UINT64_MAX;
    return state->quota > used ? state->quota - used : 0;
}

static inline bool kv_quota_alarm(const struct kv_state *state)
{
    return state->refused > kv_quota_room(state);
}

/* Whether so much more may be added; if not that is what is refused. */
static inline bool kv_quota_takes(struct kv_state *state, uint64_t growth)
{
    bool takes = growth <= kv_quota_room(state);
    if (!takes)
        state->refused = growth;
    return takes;
}

/* Before each command: with room for what was refused that is over. */
static inline void kv_quota_settle(struct kv_state *state)
{
    if (!kv_quota_alarm(state))
        state->refused = 0;
}

#endif

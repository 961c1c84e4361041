#include "machine/kv_expire.h"

#include "machine/group.h"
#include "machine/kv_deadline.h"
#include "machine/kv_lease.h"
#include "machine/topic_internal.h"

enum { GROUP_WORK = 64 }; /* what one step of a group counts, which has bounds of its own */

/* rc. *work: what may be done; what was goes from it. */
static int carry_out(struct kv_batch *batch, const struct kv_deadline *due, uint32_t *work)
{
    switch (due->kind) {
    case KV_DEADLINE_LEASE:
        return kv_lease_expire(batch, due->number, work);
    case KV_DEADLINE_GROUP:
        *work -= *work < GROUP_WORK ? *work : GROUP_WORK;
        return group_expire(batch, due->number);
    case KV_DEADLINE_TOPIC:
        return topic_age(&batch->topics, due, work, batch->reply);
    case KV_DEADLINE_REST:
        return topic_bury_one(&batch->topics, due->number, work);
    }
    return CONCLAVE_CORRUPT;
}

int kv_expire(struct kv_batch *batch)
{
    struct kv_deadline due;
    uint32_t work = batch->expire_work ? batch->expire_work : KV_EXPIRE_WORK;
    int rc = 0;
    while (work > 0 && !(rc = kv_deadline_first(&batch->tx, &due)) && due.ms <= batch->clock_ms) {
        rc = carry_out(batch, &due, &work);
        if (rc)
            return rc;
    }
    if (rc && rc != CONCLAVE_NOT_FOUND)
        return rc;
    return kv_history_age(&batch->history, &batch->state, batch->clock_ms, KV_HISTORY_TICK);
}

#include "machine/kv_expire.h"

#include "machine/group.h"
#include "machine/kv_deadline.h"
#include "machine/kv_lease.h"

static int carry_out(struct kv_batch *batch, const struct kv_deadline *due)
{
    switch (due->kind) {
    case KV_DEADLINE_LEASE:
        return kv_lease_expire(batch, due->number);
    case KV_DEADLINE_GROUP:
        return group_expire(batch, due->number);
    }
    return CONCLAVE_CORRUPT;
}

int kv_expire(struct kv_batch *batch)
{
    struct kv_deadline due;
    int rc;
    while (!(rc = kv_deadline_first(&batch->tx, &due)) && due.ms <= batch->clock_ms) {
        rc = carry_out(batch, &due);
        if (rc)
            return rc;
    }
    if (rc && rc != CONCLAVE_NOT_FOUND)
        return rc;
    return kv_history_age(&batch->history, &batch->state, batch->clock_ms, KV_HISTORY_TICK);
}

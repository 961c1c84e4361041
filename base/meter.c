#include "base/meter.h"

#include "base/fatal.h"

#include <stdatomic.h>
#include <stdlib.h>

struct meter {
    atomic_uint refs;
    atomic_size_t held;
    struct meter *above;
};

struct meter *meter_create(struct meter *above)
{
    struct meter *meter = mem_zalloc(sizeof *meter);
    atomic_init(&meter->refs, 1);
    atomic_init(&meter->held, 0);
    meter->above = above ? meter_ref(above) : NULL;
    return meter;
}

struct meter *meter_ref(struct meter *meter)
{
    unsigned before = atomic_fetch_add_explicit(&meter->refs, 1, memory_order_relaxed);
    ASSERT(before > 0);
    return meter;
}

void meter_unref(struct meter *meter)
{
    while (meter) {
        unsigned before = atomic_fetch_sub_explicit(&meter->refs, 1, memory_order_acq_rel);
        ASSERT(before > 0);
        if (before > 1)
            return;
        struct meter *above = meter->above;
        ASSERT(meter_held(meter) == 0);
        free(meter);
        meter = above;
    }
}

/* Relaxed: the numbers order nothing, the memory that they count is handed over by other means. */
void meter_take(struct meter *meter, size_t bytes)
{
    for (; meter; meter = meter->above)
        atomic_fetch_add_explicit(&meter->held, bytes, memory_order_relaxed);
}

void meter_give_back(struct meter *meter, size_t bytes)
{
    for (; meter; meter = meter->above) {
        size_t before = atomic_fetch_sub_explicit(&meter->held, bytes, memory_order_relaxed);
        ASSERT(before >= bytes);
    }
}

size_t meter_held(const struct meter *meter)
{
    return atomic_load_explicit(&meter->held, memory_order_relaxed);
}

const struct meter *meter_above(const struct meter *meter)
{
    return meter->above;
}

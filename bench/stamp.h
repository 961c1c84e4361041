/* bench/stamp.h - what a value carries that somebody else is told of: which operation wrote it and
 * when that was due, at its front. Pure. */
#ifndef BENCH_STAMP_H
#define BENCH_STAMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { STAMP_BYTES = 24 };

struct stamp {
    uint64_t number; /* of the operation */
    uint64_t due_ns; /* latency counts from here, on the generator's clock */
    uint32_t place;  /* of whoever waits for it */
    uint32_t check;  /* of the fields before */
};

static inline uint32_t stamp_check(const struct stamp *stamp)
{
    uint64_t mixed = (stamp->number * UINT64_C(0x9e3779b97f4a7c15)) ^ stamp->due_ns;
    return (uint32_t)(mixed ^ mixed >> 32) ^ stamp->place;
}

/* Read by the process that wrote it: in its byte order. */
static inline void stamp_write(struct stamp stamp, void *value)
{
    stamp.check = stamp_check(&stamp);
    memcpy(value, &stamp, STAMP_BYTES);
}

/* False: it is none. */
static inline bool stamp_read(const void *value, size_t bytes, struct stamp *ret)
{
    if (bytes < STAMP_BYTES)
        return false;
    memcpy(ret, value, STAMP_BYTES);
    return ret->check == stamp_check(ret);
}

#endif

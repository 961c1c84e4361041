/* base/meter.h - how many bytes are held on somebody's behalf, and on behalf of all.
 *
 * A meter may have one above it, which counts the same bytes: those of a client, and of the node.
 * Bytes are taken when memory is made and given back when it is freed, on whatever thread that is:
 * ZeroMQ frees what it has sent on its own. So counting is atomic, waits for nobody, and a meter
 * lives as long as anything that it counts. Whoever reads it gets a number that may change at any
 * moment; a bound that several threads take against is exceeded by what each of them takes at a
 * time, at most. */
#ifndef BASE_METER_H
#define BASE_METER_H

#include <stddef.h>

struct meter;

/* One reference. `above` may be NULL; the meter keeps a reference to it. */
struct meter *meter_create(struct meter *above);

/* Takes one more reference and returns the same meter. Any thread. */
struct meter *meter_ref(struct meter *meter);

/* Drops one reference; the last one frees. NULL is allowed. Any thread. */
void meter_unref(struct meter *meter);

/* Counts bytes here and above, and not any more. Any thread. */
void meter_take(struct meter *meter, size_t bytes);
void meter_give_back(struct meter *meter, size_t bytes);

size_t meter_held(const struct meter *meter);

/* NULL: none. */
const struct meter *meter_above(const struct meter *meter);

#endif

/* bench/number.h - numbers with units, as flags have them. Pure. */
#ifndef BENCH_NUMBER_H
#define BENCH_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

/* A whole number from `min` to `max`, with k, K, M, KiB or MiB behind it as it may be. */
bool number_count(const char *text, uint64_t min, uint64_t max, uint64_t *ret);

/* Milliseconds: "500ms", "10s" or "10", "2m". */
bool number_ms(const char *text, uint64_t min, uint64_t max, uint64_t *ret);

/* A number with a point as it may be, from `min` to `max`. */
bool number_real(const char *text, double min, double max, double *ret);

#endif

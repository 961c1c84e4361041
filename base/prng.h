/* base/prng.h - a seeded generator (xoshiro256**, Blackman and Vigna 2018; seeded by splitmix64).
 * Not for secrets. Owned by one thread. */
#ifndef BASE_PRNG_H
#define BASE_PRNG_H

#include <stdint.h>

struct prng {
    uint64_t state[4];
};

void prng_init(struct prng *prng, uint64_t seed);
uint64_t prng_next(struct prng *prng);

/* Uniform in [0, bound); bound > 0. */
uint64_t prng_below(struct prng *prng, uint64_t bound);

/* Uniform in [low, high], both included; low <= high. */
uint64_t prng_between(struct prng *prng, uint64_t low, uint64_t high);

/* Eight bytes from the operating system, for seeds and incarnations. */
uint64_t prng_entropy(void);

#endif

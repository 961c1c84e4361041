#include "base/prng.h"

#include "base/fatal.h"

#include <sys/random.h>

static uint64_t splitmix64(uint64_t *x)
{
    uint64_t z = (*x += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void prng_init(struct prng *prng, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        prng->state[i] = splitmix64(&seed);
}

static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

uint64_t prng_next(struct prng *prng)
{
    uint64_t *s = prng->state;
    uint64_t result = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint64_t prng_below(struct prng *prng, uint64_t bound)
{
    ASSERT(bound > 0);
    uint64_t threshold = (0 - bound) % bound; /* rejects the uneven tail: no modulo bias */
    for (;;) {
        uint64_t value = prng_next(prng);
        if (value >= threshold)
            return value % bound;
    }
}

uint64_t prng_between(struct prng *prng, uint64_t low, uint64_t high)
{
    ASSERT(low <= high);
    ASSERT(high - low < UINT64_MAX);
    return low + prng_below(prng, high - low + 1);
}

uint64_t prng_entropy(void)
{
    uint64_t value = 0;
    ssize_t got = getrandom(&value, sizeof value, 0);
    ASSERT(got == (ssize_t)sizeof value);
    return value;
}

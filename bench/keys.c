#include "bench/keys.h"

#include <math.h>
#include <string.h>

enum { KEY_DIGITS_MIN = 8, KEY_DIGITS_MAX = 20 };

/* The skew that YCSB made the usual one. */
static const double ZIPF_THETA = 0.99;

/* The finalizer of SplitMix64 (Steele, Lea, Flood 2014): every bit of the input moves every bit of
 * the output. */
static uint64_t mix(uint64_t value)
{
    value += UINT64_C(0x9e3779b97f4a7c15);
    value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
    return value ^ (value >> 31);
}

static double unit(uint64_t random)
{
    return (double)(random >> 11) * 0x1p-53;
}

/* After Gray et al., Quickly Generating Billion-Record Synthetic Databases (1994), 3.2. */
static void zipf_init(struct keys *keys)
{
    double zeta = 0;
    for (uint64_t i = 1; i <= keys->count; i++)
        zeta += 1 / pow((double)i, ZIPF_THETA);
    double zeta2 = 1 + pow(0.5, ZIPF_THETA);
    keys->zeta = zeta;
    keys->alpha = 1 / (1 - ZIPF_THETA);
    keys->eta = keys->count > 2
                    ? (1 - pow(2 / (double)keys->count, 1 - ZIPF_THETA)) / (1 - zeta2 / zeta)
                    : 0;
}

static uint64_t zipf_rank(const struct keys *keys, double chance)
{
    double scaled = chance * keys->zeta;
    if (scaled < 1 || keys->count == 1)
        return 0;
    if (scaled < 1 + pow(0.5, ZIPF_THETA) || keys->count == 2)
        return 1;
    double rank = (double)keys->count * pow(keys->eta * chance - keys->eta + 1, keys->alpha);
    return rank < (double)keys->count ? (uint64_t)rank : keys->count - 1;
}

void keys_init(struct keys *keys, const char *prefix, uint64_t count,
               enum keys_distribution distribution, uint64_t seed)
{
    *keys = (struct keys){
        .prefix = prefix, .count = count, .distribution = distribution, .seed = mix(seed)};
    if (distribution == KEYS_ZIPF)
        zipf_init(keys);
}

uint64_t keys_pick(const struct keys *keys, uint64_t number)
{
    if (keys->distribution == KEYS_SEQUENTIAL)
        return number % keys->count;
    uint64_t random = mix(keys->seed ^ mix(number));
    if (keys->distribution == KEYS_UNIFORM)
        return random % keys->count;
    /* The popular ones lie scattered over the key space. */
    return mix(zipf_rank(keys, unit(random))) % keys->count;
}

double keys_chance(const struct keys *keys, uint64_t number)
{
    return unit(mix(~keys->seed ^ mix(number)));
}

static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233"
                            "34353637383940414243444546474849505152535455565758596061626364656667"
                            "6869707172737475767778798081828384858687888990919293949596979899";

/* By hand: this and the next one are what a generator does most. */
size_t keys_format(const char *prefix, uint64_t key_number, char *key, size_t size)
{
    char digits[KEY_DIGITS_MAX];
    size_t first = sizeof digits, prefix_bytes = strlen(prefix);
    do { /* two at a time: a division is the most of it */
        memcpy(digits + (first -= 2), pairs + 2 * (key_number % 100), 2);
        key_number /= 100;
    } while (key_number > 0 || sizeof digits - first < KEY_DIGITS_MIN);
    first += sizeof digits - first > KEY_DIGITS_MIN && digits[first] == '0';
    size_t digit_bytes = sizeof digits - first;
    if (prefix_bytes + digit_bytes >= size)
        prefix_bytes = size - digit_bytes - 1;
    memcpy(key, prefix, prefix_bytes);
    memcpy(key + prefix_bytes, digits + first, digit_bytes);
    key[prefix_bytes + digit_bytes] = '\0';
    return prefix_bytes + digit_bytes;
}

/* Whole periods, one beside the other, up to some hundred bytes; returns how many bytes. The period
 * is loaded once, as two overlapping words: what has just been stored bit by bit is to be waited
 * for. */
static size_t put_periods(const uint8_t *period, size_t period_bytes, uint8_t *value, size_t bytes)
{
    enum { WORD = 8, ENOUGH_BYTES = 256 };
    size_t done = 0;
    uint8_t first[WORD], last[WORD];
    if (period_bytes < WORD || period_bytes > (size_t)2 * WORD)
        return 0;
    memcpy(first, period, WORD);
    memcpy(last, period + period_bytes - WORD, WORD);
    for (; done + period_bytes <= bytes && done < (size_t)ENOUGH_BYTES; done += period_bytes) {
        memcpy(value + done, first, WORD);
        memcpy(value + done + period_bytes - WORD, last, WORD);
    }
    return done;
}

void keys_value(const char *key, size_t key_bytes, uint8_t *value, size_t value_bytes)
{
    size_t done = value_bytes < key_bytes ? value_bytes : key_bytes;
    memcpy(value, key, done);
    if (done < value_bytes) {
        value[done++] = ':';
        done += put_periods(value, done, value + done, value_bytes - done);
    }
    /* What is there is whole periods: it is doubled. */
    while (done < value_bytes) {
        size_t more = value_bytes - done < done ? value_bytes - done : done;
        memcpy(value + done, value, more);
        done += more;
    }
}

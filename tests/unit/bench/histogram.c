#include "bench/histogram.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct histogram *histogram;

static void begin(void)
{
    histogram = histogram_create();
}

static void end(void)
{
    histogram_destroy(histogram);
}

TestSuite(histogram, .init = begin, .fini = end);

Test(histogram, without_values_answers_zero)
{
    cr_assert_eq(histogram_quantile(histogram, 0.5), 0);
    cr_assert_eq(histogram_quantile(histogram, 1), 0);
    cr_assert_eq(histogram_mean(histogram), 0);
}

Test(histogram, small_values_are_exact)
{
    for (uint64_t value = 1; value <= 2000; value++)
        histogram_record(histogram, value);
    cr_assert_eq(histogram_quantile(histogram, 0), 1);
    cr_assert_eq(histogram_quantile(histogram, 0.5), 1000);
    cr_assert_eq(histogram_quantile(histogram, 0.99), 1980);
    cr_assert_eq(histogram_quantile(histogram, 0.9991), 1999);
    cr_assert_eq(histogram_quantile(histogram, 1), 2000);
    cr_assert_eq(histogram_mean(histogram), 1000.5);
    cr_assert_eq(histogram->min, 1);
    cr_assert_eq(histogram->max, 2000);
}

/* Records a value below another that is larger by far, and reads it back as the median. */
static uint64_t read_back(uint64_t value)
{
    struct histogram *one = histogram_create();
    histogram_record(one, value);
    histogram_record(one, UINT64_MAX);
    uint64_t got = histogram_quantile(one, 0.5);
    histogram_destroy(one);
    return got;
}

Test(histogram, every_magnitude_is_precise_to_a_thousandth_and_never_low)
{
    for (unsigned bit = 0; bit < 64; bit++) {
        uint64_t power = UINT64_C(1) << bit;
        const uint64_t values[] = {power - 1, power, power + 1, power + power / 3,
                                   power + (power - 1)};
        for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
            uint64_t got = read_back(values[i]);
            cr_assert_geq(got, values[i]);
            cr_assert_leq(got - values[i], values[i] / 1024);
        }
    }
}

static int compare(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

Test(histogram, quantiles_agree_with_sorting)
{
    enum { COUNT = 100000 };
    uint64_t *values = malloc(COUNT * sizeof *values);
    uint64_t random = 7;
    for (int i = 0; i < COUNT; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        values[i] = random >> (24 + random % 32); /* magnitudes from 2^8 to 2^40 */
        histogram_record(histogram, values[i]);
    }
    qsort(values, COUNT, sizeof *values, compare);
    static const double shares[] = {0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 1};
    for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++) {
        uint64_t exact = values[(size_t)(shares[i] * COUNT + 0.5) - 1];
        uint64_t got = histogram_quantile(histogram, shares[i]);
        cr_assert_geq(got, exact, "share %f", shares[i]);
        cr_assert_leq(got - exact, exact / 1000 + 1, "share %f", shares[i]);
    }
    free(values);
}

Test(histogram, quantile_never_exceeds_the_maximum)
{
    histogram_record(histogram, 1000001);
    cr_assert_eq(histogram_quantile(histogram, 0.5), 1000001);
}

Test(histogram, merged_ones_answer_as_one)
{
    struct histogram *other = histogram_create();
    for (uint64_t i = 1; i <= 1000; i++)
        histogram_record(i % 2 ? histogram : other, i * 1000);
    histogram_merge(histogram, other);
    cr_assert_eq(histogram->count, 1000);
    cr_assert_eq(histogram->min, 1000);
    cr_assert_eq(histogram->max, 1000000);
    cr_assert_geq(histogram_quantile(histogram, 0.5), 500000);
    cr_assert_leq(histogram_quantile(histogram, 0.5), 500000 + 500000 / 1024 + 1);
    histogram_destroy(other);
}

Test(histogram, takes_buckets_of_other_programs)
{
    cr_assert(histogram_record_bucket(histogram, 5, 3));
    cr_assert(histogram_record_bucket(histogram, 2048, 1));
    cr_assert_eq(histogram->count, 4);
    cr_assert_eq(histogram_quantile(histogram, 0.5), 5);
    cr_assert_eq(histogram_quantile(histogram, 1), 2049, "2048 and 2049 share it");
    cr_assert_not(histogram_record_bucket(histogram, HISTOGRAM_BUCKETS, 1));
}

Test(histogram, that_was_reset_is_as_new)
{
    histogram_record(histogram, 77);
    histogram_reset(histogram);
    cr_assert_eq(histogram->count, 0);
    histogram_record(histogram, 99);
    cr_assert_eq(histogram->min, 99);
    cr_assert_eq(histogram->max, 99);
}

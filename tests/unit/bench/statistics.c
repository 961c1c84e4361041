#include "bench/statistics.h"

#include <criterion/criterion.h>
#include <math.h>

static int near(double a, double b)
{
    return fabs(a - b) < 1e-9;
}

Test(statistics, of_nothing_is_zero)
{
    struct statistic none = statistic_of(NULL, 0);
    cr_assert(near(none.median, 0) && near(none.confidence, 0));
}

Test(statistics, of_one_run_has_no_confidence)
{
    double one[] = {7};
    struct statistic statistic = statistic_of(one, 1);
    cr_assert(near(statistic.median, 7) && near(statistic.low, 7) && near(statistic.high, 7));
    cr_assert(near(statistic.confidence, 0));
}

Test(statistics, median_of_an_even_count_lies_between_the_middle_two)
{
    double values[] = {4, 1, 3, 2};
    cr_assert(near(statistic_median(values, 4), 2.5));
}

/* Of five values all lie on one side of the true median with a chance of 2 in 32. */
Test(statistics, few_runs_give_their_whole_range_and_say_what_it_is_worth)
{
    double values[] = {5, 1, 4, 2, 3};
    struct statistic statistic = statistic_of(values, 5);
    cr_assert(near(statistic.median, 3) && near(statistic.low, 1) && near(statistic.high, 5));
    cr_assert(near(statistic.confidence, 1 - 2.0 / 32));
}

/* The ranks that Conover's tables give for 95 %: 2nd and 9th of 10, 6th and 15th of 20. */
Test(statistics, many_runs_give_the_narrowest_interval_of_95_percent)
{
    double values[20];
    for (int i = 0; i < 10; i++)
        values[i] = 10 - i;
    struct statistic ten = statistic_of(values, 10);
    cr_assert(near(ten.low, 2) && near(ten.high, 9), "%f to %f", ten.low, ten.high);
    cr_assert(ten.confidence >= 0.95);
    for (int i = 0; i < 20; i++)
        values[i] = 20 - i;
    struct statistic twenty = statistic_of(values, 20);
    cr_assert(near(twenty.low, 6) && near(twenty.high, 15), "%f to %f", twenty.low, twenty.high);
}

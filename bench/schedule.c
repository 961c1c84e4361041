#include "bench/schedule.h"

#include <math.h>

enum { PACE_PART = 20, PACE_NS_MAX = 250000, PACE_SAMPLES = 64 };

void pace_latency(struct pace *pace, uint64_t latency_ns)
{
    uint64_t rest_ns = pace->latency_ns - pace->latency_ns / PACE_SAMPLES;
    pace->latency_ns = pace->latency_ns ? rest_ns + latency_ns / PACE_SAMPLES : latency_ns;
}

void pace_begun(struct pace *pace, uint64_t now_ns)
{
    uint64_t rest_ns = pace->latency_ns / PACE_PART;
    pace->next_ns = now_ns + (rest_ns < PACE_NS_MAX ? rest_ns : PACE_NS_MAX);
}

uint64_t schedule_number(const struct schedule *schedule)
{
    uint64_t number = schedule->first + schedule->taken * schedule->step;
    return number < schedule->limit ? number : UINT64_MAX;
}

uint64_t schedule_due_ns(const struct schedule *schedule)
{
    if (schedule->rate <= 0)
        return schedule->start_ns;
    double number = (double)(schedule->first + schedule->taken * schedule->step);
    return schedule->start_ns + (uint64_t)(number * 1e9 / schedule->rate);
}

uint64_t schedule_left(const struct schedule *schedule, uint64_t end_ns)
{
    if (schedule->rate <= 0 || end_ns <= schedule->start_ns)
        return 0;
    double numbers = ceil((double)(end_ns - schedule->start_ns) * schedule->rate / 1e9);
    uint64_t bound = numbers < (double)schedule->limit ? (uint64_t)numbers : schedule->limit;
    if (bound <= schedule->first)
        return 0;
    uint64_t all = (bound - schedule->first + schedule->step - 1) / schedule->step;
    return all > schedule->taken ? all - schedule->taken : 0;
}

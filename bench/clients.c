#include "bench/clients.h"

#include "bench/statistics.h"

#include <stdlib.h>

bool clients_init(struct clients *clients, uint32_t count)
{
    clients->of = calloc(count, sizeof *clients->of);
    clients->count = clients->of ? count : 0;
    return clients->of;
}

void clients_deinit(struct clients *clients)
{
    for (uint32_t i = 0; i < clients->count; i++) {
        compact_deinit(&clients->of[i].second);
        compact_deinit(&clients->of[i].total);
    }
    free(clients->of);
    *clients = (struct clients){0};
}

bool clients_record(struct clients *clients, uint32_t client, uint64_t latency_ns)
{
    return compact_record(&clients->of[client].second, latency_ns);
}

bool clients_turn(struct clients *clients, uint64_t *ret_slowest_ns)
{
    bool good = true;
    *ret_slowest_ns = 0;
    for (uint32_t i = 0; i < clients->count; i++) {
        struct client_record *record = &clients->of[i];
        if (record->second.count == 0)
            continue;
        uint64_t p99_ns = compact_quantile(&record->second, 0.99);
        if (p99_ns > *ret_slowest_ns)
            *ret_slowest_ns = p99_ns;
        good = compact_merge(&record->total, &record->second) && good;
        compact_reset(&record->second);
    }
    return good;
}

bool clients_summarize(const struct clients *const *lists, size_t list_count,
                       struct clients_summary *ret)
{
    size_t count = 0, served = 0;
    double sum = 0, squares = 0;
    struct clients_summary summary = {.least = UINT64_MAX};
    for (size_t l = 0; l < list_count; l++)
        count += lists[l]->count;
    double *p99s = calloc(count + 1, sizeof *p99s);
    if (!p99s)
        return false;
    for (size_t l = 0; l < list_count; l++) {
        for (uint32_t i = 0; i < lists[l]->count; i++) {
            const struct compact *total = &lists[l]->of[i].total;
            double done = (double)total->count;
            sum += done;
            squares += done * done;
            if (total->count < summary.least)
                summary.least = total->count;
            if (total->count > summary.most)
                summary.most = total->count;
            if (total->count == 0)
                continue;
            uint64_t p99_ns = compact_quantile(total, 0.99);
            p99s[served++] = (double)p99_ns;
            if (p99_ns > summary.p99_worst_ns)
                summary.p99_worst_ns = p99_ns;
        }
    }
    if (summary.least == UINT64_MAX)
        summary.least = 0;
    summary.p99_median_ns = (uint64_t)statistic_median(p99s, served);
    /* Jain, Chiu, Hawe, A Quantitative Measure of Fairness (1984). */
    summary.fairness = squares > 0 ? sum * sum / ((double)count * squares) : 0;
    free(p99s);
    *ret = summary;
    return true;
}

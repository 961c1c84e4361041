/* bench/clients.h - a histogram for each client of a generator, and what they say of how evenly the
 * clients were served. Owned by the generator's thread until it has ended. */
#ifndef BENCH_CLIENTS_H
#define BENCH_CLIENTS_H

#include "bench/compact.h"

#include <stddef.h>

struct clients {
    struct client_record {
        struct compact second; /* of the second that runs */
        struct compact total;  /* of all before it */
    } * of;
    uint32_t count;
};

/* False: out of memory. */
bool clients_init(struct clients *clients, uint32_t count);
void clients_deinit(struct clients *clients);

/* False: out of memory. */
bool clients_record(struct clients *clients, uint32_t client, uint64_t latency_ns);

/* Merges each client's second into its total; *ret_slowest_ns is the 99th percentile of the client
 * with the highest one in this second, 0: there was nothing. False: out of memory. */
bool clients_turn(struct clients *clients, uint64_t *ret_slowest_ns);

/* Of all clients of a run. */
struct clients_summary {
    uint64_t p99_worst_ns, p99_median_ns; /* of the clients' own 99th percentiles */
    double fairness; /* Jain's index over what each got done: 1 all the same, 1/n one had it all */
    uint64_t least, most; /* operations */
};

/* Over the clients of several generators, whose last second was turned. False: out of memory. */
bool clients_summarize(const struct clients *const *lists, size_t list_count,
                       struct clients_summary *ret);

#endif

/* bench/generator.h - makes load on a conclave cluster from one thread over one connection.
 *
 * Many clients, each with its own operations outstanding, are carried by one struct
 * conclave_client. Closed loop: a client begins its next operation when its last is done. Open
 * loop: operations are begun when they are due (bench/schedule.h) as long as a client is free, and
 * wait for one if not. An operation that ends surely not applied or with an unknown outcome is
 * repeated until its timeout: it writes the same again.
 *
 * With listeners, what is measured is the way to them, from when an operation was due. Clients go
 * on when their operations are acknowledged, but no further ahead of the slowest listener than
 * GENERATOR_AHEAD operations for each client: who cannot keep up slows them down. */
#ifndef BENCH_GENERATOR_H
#define BENCH_GENERATOR_H

#include "bench/clients.h"
#include "bench/listeners.h"
#include "bench/measure.h"
#include "bench/schedule.h"
#include "bench/workload.h"

#include <pthread.h>

enum { GENERATOR_AHEAD = 4 };

struct generator {
    /* set by the caller */
    const struct bench_options *options;
    const char *endpoints;
    struct workload *workload;
    struct schedule schedule;
    struct pace pace; /* open loop */
    uint32_t clients;
    uint32_t slots_per_client;
    uint64_t measure_ns; /* what begins before this is not counted */
    uint64_t end_ns;     /* nothing begins after this; UINT64_MAX: no limit */
    struct series *series;
    const volatile sig_atomic_t *stop;
    _Atomic bool *failed;                /* shared: one of them failed, all end */
    const struct listeners_plan *listen; /* NULL: nobody listens */

    /* what came of it */
    uint64_t begun, done, retried, errors, missed;
    uint64_t last_ns;         /* when its last operation was done */
    uint64_t cpu_ns;          /* that its thread computed */
    uint64_t wrong;           /* that listeners were told twice or out of order */
    struct histogram *source; /* with listeners: until it was acknowledged */
    struct clients served;    /* each client, or listener; until generator_deinit */
    bool stopped;
    int code;
    char message[1024];
    struct generator_health health;

    /* its own */
    struct conclave_client *client;
    struct slot *slots;
    uint8_t *buffers;
    struct slot **free;
    uint32_t slot_count, free_count;
    struct way *ways; /* of what not all listeners were told, by number modulo way_count */
    uint32_t way_count, ways_busy;
    struct listeners *listeners;
    uint64_t drained_ns;      /* when all of them were asked last */
    bool exhausted;           /* nothing is left to begin */
    struct histogram *second; /* of the second that runs */
    struct histogram *lag;
    uint64_t second_number, second_done, second_errors;
    pthread_t thread;
};

/* Runs it to its end on the calling thread. */
void generator_run(struct generator *generator);

void generator_deinit(struct generator *generator);

#endif

/* bench/measure.h - what one run of one load brought, whoever made the load. */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include "bench/clients.h"
#include "bench/series.h"
#include "bench/stages.h"
#include "bench/standstill.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

enum { MEASURE_MARKS_MAX = 32, MEASURE_MARK_BYTES = 48, MEASURE_NODES_MAX = 9 };

/* Something that was done to the nodes meanwhile. */
struct mark {
    uint64_t at_ns; /* after the measurement began */
    char text[MEASURE_MARK_BYTES];
};

/* What a node that was started here cost; zeros: not known. */
struct node_usage {
    double cpu_share; /* of one processor */
    uint64_t resident_bytes;
    bool leads;
};

/* How the program that makes the load was doing itself. */
struct generator_health {
    double cpu_share;     /* of the time that its busiest thread computed, 0 to 1 */
    double process_share; /* of one processor, all its threads; 0: not known */
    double wait_share;    /* of the time that this thread was ready and had no processor */
    uint64_t lag_p99_ns;  /* open loop: how late operations were begun that could have been */
};

struct measure {
    struct series *series;
    uint64_t start_ns; /* when the measurement began, after the warm-up; monotonic */
    uint64_t begun, done, retried, errors;
    uint64_t missed;     /* open loop: due and never begun, since too much was outstanding */
    uint64_t elapsed_ns; /* from the beginning of the measurement to the last operation done */
    struct generator_health health;
    struct standstill_seen stood; /* the machine, warm-up and all */
    struct stages stages;
    struct mark marks[MEASURE_MARKS_MAX];
    size_t mark_count;
    uint64_t recover_ns; /* 0: not measured */
    struct clients_summary served;
    uint64_t source_done, source_p50_ns, source_p99_ns; /* of `watch` and `sub`: what was written */
    double replay_per_s;                                /* of `sub` */
    struct node_usage nodes[MEASURE_NODES_MAX];
    unsigned node_count;
    bool validated;
    uint64_t read, mismatches; /* acknowledged keys read back; missing or of another value */
    bool stopped;              /* interrupted */
    int code;                  /* of the first operation that failed for good; 0: none */
    char message[1024];
};

/* False: out of memory; code and message are set. */
bool measure_init(struct measure *measure);
void measure_deinit(struct measure *measure);

/* Notes the first failure. */
__attribute__((format(printf, 3, 4))) void measure_fail(struct measure *measure, int code,
                                                        const char *format, ...);

void measure_mark(struct measure *measure, uint64_t at_ns, const char *text);

/* True if the figures say as much about the generator as about what it measured; the reason goes to
 * why[]. */
bool measure_overloaded(const struct measure *measure, bool open_loop, char *why, size_t size);

double measure_rate(const struct measure *measure);

/* Called about every hundredth of a second while a load runs, from the thread that waits for it. */
struct measure_watch {
    void (*tick)(void *arg, struct measure *measure, uint64_t elapsed_ns);
    void *arg;
    const volatile sig_atomic_t *stop; /* not 0: end at once */
};

/* Monotonic nanoseconds. */
uint64_t measure_now_ns(void);

/* What the calling thread computed, and how long it was ready to run and did not (0: the kernel
 * does not say). */
uint64_t measure_thread_cpu_ns(void);
uint64_t measure_thread_wait_ns(void);

/* The same for who asks often, of the thread whose /proc/.../schedstat is open there. False: the
 * system does not say. */
bool measure_wait_read(int fd, uint64_t *ret_ns);

#endif

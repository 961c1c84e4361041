/* bench/generator_inside.h - the inside of a generator: its two files share it. */
#ifndef BENCH_GENERATOR_INSIDE_H
#define BENCH_GENERATOR_INSIDE_H

#include "bench/generator.h"

enum {
    /* Listeners of whom nothing is known are asked so often, for what they have to do by time. */
    GENERATOR_LISTEN_NS = 50000000
};

/* generator.c */

/* Something failed for good; the first one is kept, and all end. */
void generator_failed(struct generator *generator, int code);

/* One more is done, for this client or listener. */
void generator_count(struct generator *generator, uint32_t client, uint64_t latency_ns);

/* generator_listen.c */

bool generator_listen_begin(struct generator *generator);

/* True if the next operation would run too far ahead of the listeners. */
bool generator_too_far_ahead(const struct generator *generator);

/* An operation begins; returns what its value carries. */
struct stamp generator_set_out(struct generator *generator, uint64_t number, uint64_t due_ns);
void generator_acked(struct generator *generator, uint32_t place);

/* Takes in what listeners were told. True: there was something. */
bool generator_listen(struct generator *generator);

/* What listeners were not told in time will not come: that is a failure. */
void generator_look_for_untold(struct generator *generator, uint64_t now_ns);

#endif

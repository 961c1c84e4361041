/* bench/stages.h - where the time of writes went inside the node that led: from the lines that
 * `conclave serve --trace-file` adds for some of them. */
#ifndef BENCH_STAGES_H
#define BENCH_STAGES_H

#include "bench/histogram.h"

#include <stdbool.h>
#include <stdint.h>

enum stage { STAGE_QUEUE, STAGE_WAL, STAGE_REPLICATE, STAGE_APPLY, STAGE_REPLY, STAGE_COUNT };

struct stages {
    struct histogram *of[STAGE_COUNT]; /* NULL: nothing was read yet */
};

const char *stage_name(enum stage stage);

/* Adds the writes of a trace file that arrived at `from_ns` (on CLOCK_BOOTTIME) or later. A file
 * that is not there has none. False: out of memory, or lines of another form. */
bool stages_read(struct stages *stages, const char *path, uint64_t from_ns);

/* Moves what `from` has to `into`. False: out of memory. */
bool stages_merge(struct stages *into, const struct stages *from);

void stages_deinit(struct stages *stages);

#endif

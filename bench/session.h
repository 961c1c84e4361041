/* bench/session.h - one call of `conclave bench`: carries the plan out, run by run. */
#ifndef BENCH_SESSION_H
#define BENCH_SESSION_H

#include "bench/environment.h"
#include "bench/live.h"
#include "bench/result.h"
#include "bench/target.h"

struct session {
    const struct bench_options *options;
    const volatile sig_atomic_t *stop;
    int argc;    /* of the command line, */
    char **argv; /* for the report */
    struct environment environment;
    struct target targets[BENCH_TARGETS_MAX]; /* in the order of the options */
    struct result *results;
    size_t result_count;
    struct live live;
};

/* Whether nodes of its own keep idle processors awake: by flag, and by what the system allows. */
static inline bool session_keeps_awake(const struct session *session)
{
    return session->options->keep_awake && session->environment.keeps_awake;
}

/* Measures. Runs take turns: first run of each target, second run of each, and so on, so that what
 * changes on the machine meanwhile meets all of them; only the target that is measured runs. A
 * target that cannot be measured has the reason in its results. Errors: a target that was asked for
 * alone cannot be measured, with a sentence. */
int session_run(struct session *session, struct conclave_error *error);
void session_deinit(struct session *session);

#endif

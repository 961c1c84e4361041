#include "bench/session.h"

#include "bench/disturb.h"

#include <stdio.h>
#include <string.h>

/* --- One run -------------------------------------------------------------------------------------
 */

static void title(struct session *session, const struct result *result, uint32_t run)
{
    const struct bench_options *options = session->options;
    char load[48], runs[32] = "";
    if (result->rate > 0)
        snprintf(load, sizeof load, "%.0f/s", result->rate);
    else
        snprintf(load, sizeof load, "%u clients", result->clients);
    if (options->runs > 1)
        snprintf(runs, sizeof runs, ", run %u of %u", run + 1, options->runs);
    live_title(&session->live, "%s %s, %s%s:", options->targets[result->target],
               bench_workload_name(result->workload), load, runs);
}

static void not_measured(struct result *result, const char *why)
{
    snprintf(result->not_measured, sizeof result->not_measured, "%s", why);
}

/* Which of the nodes led, if it can be asked cheaply. */
static void note_leader(struct target *target, struct measure *measure)
{
    if (target->ops != &target_self || measure->node_count == 0)
        return;
    unsigned leader = target->ops->leader(target);
    if (leader != TARGET_NODE_NONE)
        measure->nodes[leader].leads = true;
}

/* One load on a cluster that serves. */
static void run_load(struct session *session, struct target *target, struct result *result,
                     uint32_t run, bool *filled)
{
    struct load load = result_load(result, session->options);
    struct measure measure;
    struct disturb disturb;
    struct measure_watch watch = {disturb_tick, &disturb, session->stop};
    if (!measure_init(&measure)) {
        not_measured(result, measure.message);
        return;
    }
    title(session, result, run);
    disturb_init(&disturb, target, &load, &session->live, session->stop);
    if (load_reads(&load) && !*filled) {
        target->ops->fill(target, &load, &watch, &measure);
        *filled = true;
    }
    if (measure.code == CONCLAVE_OK && !measure.stopped) {
        struct standstill standstill;
        standstill_begin(&standstill);
        target->ops->run(target, &load, &watch, &measure);
        measure.stood = standstill_end(&standstill);
        disturb_finish(&disturb, &measure);
        note_leader(target, &measure);
    }
    if (!result_add(result, &measure))
        not_measured(result, "out of memory");
    measure_deinit(&measure);
}

/* --- One run of one target -----------------------------------------------------------------------
 */

/* The load starts nodes of its own: no others run beside them. */
static void stop_beside(struct target *target, bool *started, bool *filled)
{
    if (*started)
        target_stop(target);
    target->count = 0;
    *started = *filled = false;
}

static void run_target(struct session *session, size_t index, uint32_t run)
{
    struct target *target = &session->targets[index];
    struct conclave_error error = {0};
    bool filled = false, started = false;
    for (size_t i = 0; i < session->result_count && !*session->stop; i++) {
        struct result *result = &session->results[i];
        if (result->target != index || *result->not_measured || result->code != CONCLAVE_OK)
            continue;
        struct load load = result_load(result, session->options);
        const char *why = target->ops->refuses(&load);
        if (why) {
            not_measured(result, why);
            continue;
        }
        int code = CONCLAVE_OK;
        if (result->workload == BENCH_PROPOSE) {
            stop_beside(target, &started, &filled);
        } else {
            code = started ? target_ready(target, session->stop, &error)
                           : target_start(target, session->stop, &error);
            started = started || code == CONCLAVE_OK;
        }
        if (code == CONCLAVE_OK)
            run_load(session, target, result, run, &filled);
        else if (!*session->stop)
            not_measured(result, error.message);
    }
    if (started)
        target_stop(target);
}

/* --- All -----------------------------------------------------------------------------------------
 */

static int open_targets(struct session *session, struct conclave_error *error)
{
    const struct bench_options *options = session->options;
    int first = CONCLAVE_OK;
    size_t good = 0;
    for (size_t i = 0; i < options->target_count; i++) {
        struct conclave_error why = {0};
        int code = target_open(&session->targets[i], options->targets[i], options, &why);
        good += code == CONCLAVE_OK;
        if (code == CONCLAVE_OK)
            continue;
        if (first == CONCLAVE_OK) {
            first = code;
            *error = why;
        }
        for (size_t r = 0; r < session->result_count; r++)
            if (session->results[r].target == i)
                not_measured(&session->results[r], why.message);
    }
    return good > 0 ? CONCLAVE_OK : first;
}

/* Nothing could be measured: the first reason is the error of the whole. */
static int verdict(const struct session *session, struct conclave_error *error)
{
    for (size_t i = 0; i < session->result_count; i++)
        if (!*session->results[i].not_measured)
            return CONCLAVE_OK;
    snprintf(error->message, sizeof error->message, "%.*s", (int)sizeof error->message - 1,
             session->results[0].not_measured);
    return error->code = CONCLAVE_UNREACHABLE;
}

int session_run(struct session *session, struct conclave_error *error)
{
    const struct bench_options *options = session->options;
    live_init(&session->live, options->progress);
    session->result_count = plan_make(options, &session->results);
    if (session->result_count == 0) {
        snprintf(error->message, sizeof error->message, "out of memory");
        return error->code = CONCLAVE_NO_MEMORY;
    }
    int code = open_targets(session, error);
    if (code != CONCLAVE_OK)
        return code;
    environment_look(&session->environment, options->dir ? options->dir : "/var/tmp");
    for (uint32_t run = 0; run < options->runs && !*session->stop; run++)
        for (size_t t = 0; t < options->target_count && !*session->stop; t++)
            run_target(session, t, run);
    live_clear(&session->live);
    return verdict(session, error);
}

void session_deinit(struct session *session)
{
    plan_free(session->results, session->result_count);
    session->results = NULL;
    session->result_count = 0;
}

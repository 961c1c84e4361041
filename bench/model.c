#include "bench/model.h"

#include <math.h>

enum { HALVINGS = 80, ROUNDS = 60 };

/* How many of its threads a node keeps busy at most, on a machine of its own. */
static const double NODE_THREADS = 2;
static const double BATCH_MAX = 1e7;

const struct model model_prior = {
    .of = {[MODEL_CLIENT_US] = 150,
           [MODEL_HOP_US] = 150,
           [MODEL_SYNC] = 1,
           [MODEL_SHARE] = 0.1,
           [MODEL_OP_US] = 3,
           [MODEL_FOLLOW_US] = 1.5,
           [MODEL_BATCH_US] = 40,
           [MODEL_BYTE_NS] = 1,
           [MODEL_DISK_NS] = 1,
           [MODEL_MIDDLE] = 0.95},
    .tail_share = 0.5,
    .tail_cycle = 1,
};

static const char *const names[MODEL_PARAMETERS] = {
    "client_us", "hop_us",   "sync_factor", "sync_share",   "op_us",
    "follow_us", "batch_us", "byte_cpu_ns", "byte_disk_ns", "middle"};

const char *model_parameter_name(enum model_parameter parameter)
{
    return names[parameter];
}

/* What a batch of `batch` operations takes. */
struct times {
    double disk, processor, path, cycle;
};

static struct times times_of(const double *of, const struct model_case *where, double batch)
{
    struct times times;
    double others = where->nodes - 1, bytes = batch * where->size;
    double sharers = where->apart ? 0 : others;
    double lead = of[MODEL_BATCH_US] + batch * of[MODEL_OP_US] + bytes * of[MODEL_BYTE_NS] / 1e3;
    double follow =
        of[MODEL_BATCH_US] + batch * of[MODEL_FOLLOW_US] + bytes * of[MODEL_BYTE_NS] / 1e3;
    times.disk = where->sync_us * of[MODEL_SYNC] * (1 + of[MODEL_SHARE] * sharers) +
                 bytes * of[MODEL_DISK_NS] / 1e3 * (1 + sharers);
    if (where->apart) {
        double threads = fmin(where->cores, NODE_THREADS);
        times.processor = lead / threads;
        times.path = (lead + (others > 0 ? follow : 0)) / threads;
    } else {
        times.processor = times.path = (lead + others * follow) / where->cores;
    }
    times.cycle = cbrt(times.disk * times.disk * times.disk +
                       times.processor * times.processor * times.processor);
    return times;
}

static double fixed_of(const double *of, const struct model_case *where)
{
    double hop = where->nodes > 1 ? of[MODEL_HOP_US] + where->rtt_us : 0;
    return of[MODEL_CLIENT_US] + where->client_rtt_us + hop;
}

static double latency_of(const struct times *times, double fixed, double busy)
{
    return fixed + times->disk + times->path + busy * times->cycle / 2;
}

/* The batch that N clients make of themselves. */
static double closed_batch(const double *of, const struct model_case *where, double fixed,
                           double *ret_latency)
{
    double low = 1, high = where->clients > 1 ? where->clients : 1;
    double others = (where->clients - 1) / where->clients;
    for (int i = 0; i < HALVINGS && high > 1; i++) {
        double batch = (low + high) / 2;
        struct times times = times_of(of, where, batch);
        if (batch * latency_of(&times, fixed, others) < where->clients * times.cycle)
            low = batch;
        else
            high = batch;
    }
    /* Batches of one: there may be no other under way. */
    struct times times = times_of(of, where, low);
    double latency = latency_of(&times, fixed, others);
    for (int i = 0; i < ROUNDS && low <= 1 + 1e-9; i++) {
        double busy = fmin(1, where->clients / latency * times.cycle);
        latency = (latency + latency_of(&times, fixed, busy * others)) / 2;
    }
    *ret_latency = latency;
    return low;
}

/* The batch that a rate makes; 0: none is large enough. */
static double open_batch(const double *of, const struct model_case *where, double fixed,
                         double *ret_latency)
{
    double low = 1, high = BATCH_MAX, per_us = where->rate / 1e6;
    struct times times = times_of(of, where, high);
    if (high < per_us * times.cycle)
        return 0;
    for (int i = 0; i < HALVINGS; i++) {
        double batch = (low + high) / 2;
        times = times_of(of, where, batch);
        if (batch < per_us * times.cycle)
            low = batch;
        else
            high = batch;
    }
    times = times_of(of, where, low);
    *ret_latency = latency_of(&times, fixed, fmin(1, per_us * times.cycle / low));
    return low;
}

static const char *bottleneck_of(const struct model_answer *answer)
{
    if (answer->fixed_us > answer->disk_us + answer->processor_us)
        return "distance";
    return answer->processor_us > answer->disk_us ? "processors" : "disk";
}

struct model_answer model_predict(const struct model *model, const struct model_case *where)
{
    struct model_answer answer = {.carried = true, .fixed_us = fixed_of(model->of, where)};
    double latency = INFINITY;
    bool open = where->rate > 0;
    answer.batch = open ? open_batch(model->of, where, answer.fixed_us, &latency)
                        : closed_batch(model->of, where, answer.fixed_us, &latency);
    answer.carried = answer.batch > 0;
    double batch = answer.carried ? answer.batch : BATCH_MAX;
    struct times times = times_of(model->of, where, batch);
    answer.cycle_us = times.cycle;
    answer.disk_us = times.disk;
    answer.processor_us = times.processor;
    if (open)
        answer.ops_per_s = answer.carried ? where->rate : batch / times.cycle * 1e6;
    else
        answer.ops_per_s = where->clients / latency * 1e6;
    answer.p50_us = latency * model->of[MODEL_MIDDLE];
    answer.p99_us = answer.p50_us * (1 + model->tail_share) + model->tail_cycle * times.cycle;
    answer.bottleneck = bottleneck_of(&answer);
    return answer;
}

#include "actors/awake.h"

#include "base/cpu_latency.h"

#include <string.h>
#include <unistd.h>

void awake_init(struct awake *awake, const char *device, int32_t latency_us)
{
    *awake = (struct awake){.device = device, .latency_us = latency_us, .fd = -1};
}

static void ask(struct awake *awake, const struct logger *logger)
{
    int failed = cpu_latency_ask(awake->device, awake->latency_us, &awake->fd);
    if (failed) {
        log_event(logger, CONCLAVE_LOG_INFO, "raft", "cpus_may_halt", "device=%s error=\"%s\"",
                  awake->device, strerrordesc_np(failed));
        awake->device = NULL;
        return;
    }
    log_event(logger, CONCLAVE_LOG_DEBUG, "raft", "cpus_awake", "latency_us=%d",
              (int)awake->latency_us);
}

static void let_halt(struct awake *awake)
{
    if (awake->fd >= 0)
        close(awake->fd);
    awake->fd = -1;
}

void awake_turn(struct awake *awake, const struct logger *logger, uint64_t now_us)
{
    awake->turns++;
    if (!awake->device || now_us < awake->since_us + AWAKE_LOOK_US)
        return;
    bool busy = awake->turns >= (now_us - awake->since_us) * AWAKE_RATE / 1000000;
    awake->turns = 0;
    awake->since_us = now_us;
    if (busy)
        awake->busy_us = now_us;
    if (busy && awake->fd < 0)
        ask(awake, logger);
    if (awake->fd >= 0 && now_us - awake->busy_us >= AWAKE_REST_US)
        let_halt(awake);
}

uint64_t awake_due_us(const struct awake *awake)
{
    if (awake->fd < 0)
        return UINT64_MAX;
    uint64_t rested_us = awake->busy_us + AWAKE_REST_US;
    uint64_t look_us = awake->since_us + AWAKE_LOOK_US;
    return rested_us > look_us ? rested_us : look_us;
}

void awake_deinit(struct awake *awake)
{
    let_halt(awake);
}

/* bench/topic.h - the topic that the workload `pub` publishes to. */
#ifndef BENCH_TOPIC_H
#define BENCH_TOPIC_H

#include <stddef.h>
#include <stdint.h>

struct conclave_error;

#define TOPIC_NAME "bench"
enum { TOPIC_NAME_BYTES = sizeof TOPIC_NAME - 1 };

/* Creates the topic if it is not there, and says how many messages it was ever given. Errors: those
 * of a command, with a sentence. */
int topic_prepare(const char *endpoints, uint32_t timeout_ms, uint64_t *ret_count,
                  struct conclave_error *error);

#endif

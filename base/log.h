/* base/log.h - the node's log: events with logfmt fields, handed to the host's callback.
 *
 * Only actors, cli and bench log; everything below returns errors, and the core returns traces.
 * A struct logger is set up before the threads start and then only read: any thread may log. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "conclave.h"

struct logger {
    void (*write)(void *arg, enum conclave_log_level level, const char *actor, const char *event,
                  const char *fields);
    void *arg;
    enum conclave_log_level level;
};

/* Logs `event` (a few words, stable) with fields ("term=%lu peer=%s"). Cut at 1 KiB. */
void log_event(const struct logger *logger, enum conclave_log_level level, const char *actor,
               const char *event, const char *format, ...) __attribute__((format(printf, 5, 6)));

#endif

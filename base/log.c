#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

void log_event(const struct logger *logger, enum conclave_log_level level, const char *actor,
               const char *event, const char *format, ...)
{
    if (!logger->write || level < logger->level)
        return;
    char fields[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(fields, sizeof fields, format, args);
    va_end(args);
    logger->write(logger->arg, level, actor, event, fields);
}

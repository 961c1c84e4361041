#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int error_set(struct conclave_error *error, int code, const char *format, ...)
{
    if (error) {
        va_list args;
        va_start(args, format);
        error->code = code;
        vsnprintf(error->message, sizeof error->message, format, args);
        va_end(args);
    }
    return code;
}

int error_set_errno(struct conclave_error *error, int code, int errno_value, const char *format,
                    ...)
{
    if (error) {
        va_list args;
        va_start(args, format);
        error->code = code;
        int n = vsnprintf(error->message, sizeof error->message, format, args);
        va_end(args);
        size_t used = n < 0 ? 0 : (size_t)n;
        if (used < sizeof error->message) {
            char text[128];
            snprintf(error->message + used, sizeof error->message - used, ": %s",
                     strerror_r(errno_value, text, sizeof text));
        }
    }
    return code;
}

const char *conclave_code_text(int code)
{
    switch (code) {
#define CASE(name, number, exit_code, text) \
    case number:                            \
        return text;
        CONCLAVE_CODES(CASE)
#undef CASE
    }
    return "unknown code";
}

const char *conclave_code_name(int code)
{
    switch (code) {
#define CASE(name, number, exit_code, text) \
    case number:                            \
        return #name;
        CONCLAVE_CODES(CASE)
#undef CASE
    }
    return "UNKNOWN_CODE";
}

int conclave_code_exit(int code)
{
    switch (code) {
#define CASE(name, number, exit_code, text) \
    case number:                            \
        return exit_code;
        CONCLAVE_CODES(CASE)
#undef CASE
    }
    return CONCLAVE_INTERNAL;
}

const char *conclave_version(void)
{
    return "0.1.0";
}

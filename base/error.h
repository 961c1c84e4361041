/* base/error.h - failures with a sentence. The codes are the public ones of conclave.h.
 * Any thread; a struct error belongs to the caller that passes it down. */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include "conclave.h"

/* `error` may be NULL in every function: the code alone is then returned. */
/* Fills *error with the code and the formatted sentence and returns the code, so that a failing
 * function can end with `return error_set(error, CONCLAVE_IO, "...")`. The sentence says what
 * failed and, where there is one, what to do. */
int error_set(struct conclave_error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As error_set, with ": " and strerror(errno_value) appended. */
int error_set_errno(struct conclave_error *error, int code, int errno_value, const char *format,
                    ...) __attribute__((format(printf, 4, 5)));

#define MUST_USE __attribute__((warn_unused_result))

#endif

/* cli/output.h - what the program says: data on standard output, errors on standard error, both as
 * text or JSON. Main thread. */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Prints the sentence, and the hint if it is not NULL, to standard error; as JSON:
 * {"error":{"code":NAME,"message":…,"hint":…,"leader":…}}. `leader` may be NULL. Returns the exit
 * code that belongs to the code. */
int output_error(bool json, int code, const char *leader, const char *hint, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* Bytes as a JSON string, or {"b64":…} if they are not UTF-8. NULL without memory. */
json_t *output_bytes(const void *data, size_t bytes);

/* A count or revision; those above what JSON's signed 64 bits hold are cut to them. */
json_t *output_uint(uint64_t value);

/* Prints the value as one line on standard output and drops the reference. NULL (out of memory
 * while it was made) is an error. Returns the exit code, 0 unless memory ran out: that all was
 * written is checked by output_finish. */
int output_line(json_t *value);

/* Flushes standard output now; a failure is kept for output_finish. */
void output_flush(void);

/* Flushes standard output. If anything could not be written says so and returns 2, else
 * `exit_code`. To be called once before the end, and wherever a failure should end the work. */
int output_finish(bool json, int exit_code);

/* True if standard output has failed already: streams can stop early. */
bool output_failed(void);

/* True if the stream's descriptor is a terminal that wants colour (NO_COLOR, TERM=dumb). */
bool output_colour(int fd);

#endif

#include "cli/output.h"

#include "cli/args.h"
#include "cli/text.h"
#include "conclave.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The errno of the first failed write: later ones say less. */
static int write_errno;

static json_t *text_or_null(const char *text)
{
    return text && *text ? json_string(text) : json_null();
}

/* Keys, paths and what a node said may hold bytes that a terminal or JSON should not see. */
static void make_printable(char *text, size_t size)
{
    size_t bytes = strlen(text);
    if (text_is_printable(text, bytes))
        return;
    char *copy = strdup(text);
    FILE *out = copy ? fmemopen(text, size, "w") : NULL;
    if (out) {
        text_escape(out, copy, bytes);
        fclose(out);
    }
    text[size - 1] = '\0';
    free(copy);
}

int output_error(bool json, int code, const char *leader, const char *hint, const char *format, ...)
{
    char message[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(message, sizeof message, format, list);
    va_end(list);
    make_printable(message, sizeof message);
    if (json) {
        json_t *error = json_pack("{s:{s:s, s:o, s:o, s:o}}", "error", "code",
                                  conclave_code_name(code), "message", text_or_null(message),
                                  "hint", text_or_null(hint), "leader", text_or_null(leader));
        if (error) {
            json_dumpf(error, stderr, JSON_COMPACT);
            fputc('\n', stderr);
            json_decref(error);
            return conclave_code_exit(code);
        }
    }
    fprintf(stderr, "conclave: %s\n", message);
    if (hint && *hint)
        fprintf(stderr, "hint: %s\n", hint);
    return conclave_code_exit(code);
}

json_t *output_bytes(const void *data, size_t bytes)
{
    if (text_is_utf8(data, bytes))
        return json_stringn(data, bytes);
    char *text = text_base64(data, bytes);
    json_t *value = text ? json_pack("{s:s}", "b64", text) : NULL;
    free(text);
    return value;
}

json_t *output_uint(uint64_t value)
{
    return json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value);
}

static void note_failure(void)
{
    if (write_errno == 0)
        write_errno = errno ? errno : EIO;
}

int output_line(json_t *value)
{
    if (!value)
        return output_error(true, CONCLAVE_NO_MEMORY, NULL, NULL, "out of memory");
    errno = 0;
    if (json_dumpf(value, stdout, JSON_COMPACT) != 0 || putchar('\n') == EOF)
        note_failure();
    json_decref(value);
    return 0;
}

bool output_failed(void)
{
    if (write_errno == 0 && ferror(stdout))
        note_failure();
    return write_errno != 0;
}

void output_flush(void)
{
    errno = 0;
    if (fflush(stdout) != 0)
        note_failure();
}

int output_finish(bool json, int exit_code)
{
    output_flush();
    if (!output_failed())
        return exit_code;
    int code = output_error(json, CONCLAVE_INVALID, NULL, NULL,
                            "could not write to standard output: %s", strerrordesc_np(write_errno));
    return exit_code ? exit_code : code;
}

bool output_colour(int fd)
{
    const char *term = args_environment("TERM");
    return isatty(fd) && !args_environment("NO_COLOR") && term && strcmp(term, "dumb") != 0;
}

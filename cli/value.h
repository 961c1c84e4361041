/* cli/value.h - values and names as commands take them: VALUE, - for standard input, @FILE. Main
 * thread. */
#ifndef CLI_VALUE_H
#define CLI_VALUE_H

#include "cli/args.h"

struct value {
    const char *data;
    size_t bytes;
    char *owned; /* to be freed; NULL: the operand itself */
};

/* Reads what the operand names; as it stands if the command's --literal is on. On failure prints
 * the error and returns its exit code, else 0; ret->owned is to be freed in both cases. */
int value_take(const struct args *args, const char *text, struct value *ret);

/* Refuses a name that no node would take, before any is asked: empty or of more bytes than the
 * limit. `what` says of what it is ("key"). Returns an exit code or 0. */
int value_check_name(bool json, const char *what, const char *name, int limit);

/* Reads a whole file, or standard input ("-"); of what is longer one byte more than `bytes_max`. */
int value_read(bool json, const char *path, size_t bytes_max, struct value *ret);

#endif

/* cli/logfmt.h - log lines: what a node logs, written as logfmt for people or as JSON lines.
 *
 * One schema in both forms: ts, level, node, actor, event, then the event's own fields. A field
 * that would hide one of those is called field_NAME. Pure functions over FILEs; any thread. */
#ifndef CLI_LOGFMT_H
#define CLI_LOGFMT_H

#include "conclave.h"

#include <stdio.h>
#include <time.h>

enum logfmt_style {
    LOGFMT_TEXT, /* key=value, values quoted where needed */
    LOGFMT_JSON  /* an object a line */
};

struct logfmt_record {
    struct timespec time; /* of CLOCK_REALTIME */
    enum conclave_log_level level;
    const char *node, *actor, *event;
    const char *fields; /* logfmt pairs, as the library hands them over */
};

/* Writes the record as one line with its newline. In JSON whole numbers of up to 15 digits, true
 * and false keep their types, all else is a string (ids have 16 digits and stay strings); bytes
 * that are not UTF-8 become U+FFFD. */
void logfmt_write(FILE *out, enum logfmt_style style, const struct logfmt_record *record);

/* One pair of a fields string. The value is unescaped; quoted says that it was in quotes. */
struct logfmt_pair {
    char key[64];
    char value[1024];
    bool quoted;
};

/* Reads the next pair and moves *at behind it; false at the end. Anything goes in: a word without
 * `=` is a key with the value true, an unclosed quote ends with the string. */
bool logfmt_next(const char **at, struct logfmt_pair *ret);

#endif

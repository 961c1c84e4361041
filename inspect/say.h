/* inspect/say.h - a line of printable words, in memory of the caller's. Owned by one thread. */
#ifndef INSPECT_SAY_H
#define INSPECT_SAY_H

#include "base/buf.h"

#include <stdbool.h>

struct say {
    char *text; /* always a string */
    size_t size, used;
    size_t value_bytes; /* so much of bytes that anybody chose is shown */
    bool full;          /* it does not fit: it ends with "..." */
};

/* `size`: at least 4. */
void say_begin(struct say *say, char *text, size_t size, size_t value_bytes);

void say(struct say *say, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* In quotes: well-formed UTF-8 as it is; control characters, quotes, backslashes and all else as
 * \xNN. What is left out is said behind. */
void say_bytes(struct say *say, struct slice bytes);

#endif

/* inspect/describe.h - what an entry of the log does, in a line of words. Any thread. */
#ifndef INSPECT_DESCRIBE_H
#define INSPECT_DESCRIBE_H

#include "inspect/say.h"

/* `kind` as in the log, whatever it may be there. */
void describe_entry(struct say *text, uint8_t kind, struct slice payload);

/* "command" */
const char *describe_kind(uint8_t kind);

#endif

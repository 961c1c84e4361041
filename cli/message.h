/* cli/message.h - messages of topics as commands print them, hand them to programs, and are told
 * where to begin. Main thread. */
#ifndef CLI_MESSAGE_H
#define CLI_MESSAGE_H

#include "conclave_topic.h"

#include <sys/types.h>

struct message_style {
    const char *topic;
    bool json, null; /* null: a zero byte ends it instead of a newline */
};

/* `deliveries` 0: it is not of a group. Returns the exit code. */
int message_print(const struct message_style *style, const struct conclave_topic_message *message,
                  uint64_t deliveries);

/* Runs the command by the shell with the bytes on its standard input, and waits for nothing. -1
 * with errno. */
pid_t message_run(const char *command, const struct conclave_topic_message *message,
                  uint64_t deliveries);

/* "first", "last", "new", a sequence, "-1h". False: none of them. */
bool message_from_parse(const char *text, enum conclave_from *ret_from, uint64_t *ret_position);

#endif

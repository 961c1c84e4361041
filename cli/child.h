/* cli/child.h - programs that a command runs. Main thread. */
#ifndef CLI_CHILD_H
#define CLI_CHILD_H

#include <sys/types.h>

/* Runs argv[0], found by PATH, with the environment of this process and `extra` ("NAME=value", ends
 * with NULL), which go before. `input` becomes its standard input and is closed here; -1: that of
 * this process. Its signals are as they were when this program began. -1 with errno. */
pid_t child_start(char *const *argv, char *const *extra, int input);

/* The exit code that belongs to what waitpid said: its own, or 128 and the signal. */
int child_exit(int status);

#endif

/* cli/signals.h - signals as something to read, for the commands that run until they are told to
 * stop. Main thread, before any other thread starts. */
#ifndef CLI_SIGNALS_H
#define CLI_SIGNALS_H

#include <stdbool.h>

/* Blocks SIGINT, SIGTERM and SIGHUP (and SIGCHLD if `children`) in this thread and all that it will
 * start. Returns a descriptor to read them from, or -1 with errno. A SIGHUP that was ignored
 * (nohup) stays ignored. */
int signals_open(bool children);

/* Reads one signal that waits; 0 if none does. */
int signals_read(int fd);

/* From here on SIGINT, SIGTERM or SIGHUP end the process at once with exit code 130. */
void signals_exit_at_once(void);

/* Undoes the blocking, for a child process before it executes another program. */
void signals_unblock(void);

#endif

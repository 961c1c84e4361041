/* cli/logsink.h - carries a node's log lines to standard error without ever holding the node up.
 *
 * Threads of the node hand finished lines over; one thread of the sink writes them. When the reader
 * is stuck (a stopped terminal, a full pipe) lines are dropped and counted, and the count is logged
 * when it moves again: a node that waits for its terminal would miss its heartbeats. */
#ifndef CLI_LOGSINK_H
#define CLI_LOGSINK_H

#include "cli/logfmt.h"

#include <pthread.h>

enum {
    LOGSINK_LINES_MAX = 1024, /* waiting; a line is at most some KiB, so a few MiB at worst */
    LOGSINK_CLOSE_MS = 1000   /* how long the end of the process waits for a stuck reader */
};

struct logsink {
    enum logfmt_style style;
    char node[CONCLAVE_NAME_BYTES_MAX + 1];
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct {
        char *text;
        size_t bytes;
    } lines[LOGSINK_LINES_MAX]; /* a ring */
    size_t first, count;
    uint64_t dropped;
    bool closing;
};

/* Starts the thread, which blocks all signals. Returns 0 or an errno value. */
int logsink_open(struct logsink *sink, enum logfmt_style style, const char *node);

/* Any thread; has the form of conclave_options.log with the sink as its argument. */
void logsink_log(void *sink, enum conclave_log_level level, const char *actor, const char *event,
                 const char *fields);

/* Writes what waits, ends the thread. Returns false if the reader is stuck: the thread then still
 * uses the sink, which must live until the process exits. */
bool logsink_close(struct logsink *sink);

#endif

/* cli/supervise.h - processes that are started, watched, restarted and stopped together.
 *
 *     starting ──spawn──> running ──killed by a signal──> waiting ──after 1 s, spawn──> running
 *                            │                                (only if restarts are wanted)
 *                            └──ended with an exit code, or killed while stopping──> ended
 *
 * No child outlives this process (the kernel kills them when its main thread ends). Their standard
 * error comes here through pipes and goes on, in whole lines, each behind its child's name. Main
 * thread. */
#ifndef CLI_SUPERVISE_H
#define CLI_SUPERVISE_H

#include "conclave.h"

#include <sys/types.h>

enum {
    SUPERVISE_CHILDREN_MAX = CONCLAVE_VOTERS_MAX,
    SUPERVISE_RESTART_MS = 1000,
    SUPERVISE_STOP_MS = 10000, /* for an orderly end; then SIGKILL */
    SUPERVISE_LINE_MAX = 16384 /* longer lines are cut into several */
};

enum supervise_state { SUPERVISE_RUNNING, SUPERVISE_WAITING, SUPERVISE_ENDED };

struct supervise_child {
    char name[CONCLAVE_NAME_BYTES_MAX + 1];
    char **argv; /* NULL-ended, of this very program; borrowed */
    enum supervise_state state;
    pid_t pid;
    int pipe; /* -1: closed */
    char line[SUPERVISE_LINE_MAX];
    size_t line_bytes;
    char reason[512];      /* the last line that was no log line */
    int64_t restart_at_ms; /* WAITING */
    int exit_code;         /* ENDED; 128 + signal if one killed it */
};

struct supervisor {
    struct supervise_child children[SUPERVISE_CHILDREN_MAX];
    size_t count;
    bool restart;
    bool prefix; /* names before lines; else lines go on as they are */
    bool colour;
    bool json; /* own remarks as JSON lines */
    bool stopping, stopped_by_signal;
    int64_t kill_at_ms;
    int signal_fd;
};

/* A remark about a child (NULL: about all) among the lines. `fields` is logfmt. */
void supervise_say(const struct supervisor *supervisor, enum conclave_log_level level,
                   const char *event, const char *fields);

/* Starts all children and carries on until all have ended. `tick`, if not NULL, is called about
 * every 200 ms until it returns true. Returns the exit code: after SIGINT, SIGTERM or SIGHUP 0
 * (130 if a second one was needed), else the worst of the children's. */
int supervise_run(struct supervisor *supervisor, bool (*tick)(void *arg), void *arg);

#endif

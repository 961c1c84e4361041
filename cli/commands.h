/* cli/commands.h - the commands. Each takes the read command line, prints, and returns the exit
 * code. Main thread. */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#include "cli/args.h"

/* cmd_kv.c */
extern const struct args_flag put_flags[], get_flags[], del_flags[];
int put_run(const struct args *args);
int get_run(const struct args *args);
int del_run(const struct args *args);

/* cmd_ls.c */
extern const struct args_flag ls_flags[];
int ls_run(const struct args *args);

/* cmd_status.c */
extern const struct args_flag status_flags[], health_flags[];
int status_run(const struct args *args);
int health_run(const struct args *args);

/* cmd_init.c */
extern const struct args_flag init_flags[], join_flags[];
int init_run(const struct args *args);
int join_run(const struct args *args);

/* serve.c */
extern const struct args_flag serve_flags[];
int serve_run(const struct args *args);

/* up.c */
extern const struct args_flag up_flags[];
int up_run(const struct args *args);

/* Flags of a node that `up` hands on to each of its nodes. */
#define SERVE_TUNING_FLAGS                                                                      \
    {"election-timeout",                                                                        \
     0,                                                                                         \
     "DURATION",                                                                                \
     NULL,                                                                                      \
     true,                                                                                      \
     "silence after which a leader is replaced (500ms)"},                                       \
        {"heartbeat", 0,    "DURATION",                                                         \
         NULL,        true, "how often a leader speaks; at most a third of that (100ms)"},      \
        {"segment-size", 0, "SIZE", NULL, true, "size of a log segment (16MiB)"},               \
        {"inflight-max", 0, "SIZE", NULL, true, "commands taken and not yet answered (64MiB)"}, \
    {                                                                                           \
        "log-level", 0, "LEVEL", NULL, true, "debug, info, warn or error (info)"                \
    }
extern const char *const serve_tuning[]; /* their names; ends with NULL */

#endif

/* cli/commands.h - the commands. Each takes the read command line, prints, and returns the exit
 * code. Main thread. */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#include "cli/args.h"

/* cmd_kv.c */
extern const struct args_flag cmd_put_flags[], cmd_get_flags[], cmd_del_flags[];
int cmd_put_run(const struct args *args);
int cmd_get_run(const struct args *args);
int cmd_del_run(const struct args *args);

/* cmd_ls.c */
extern const struct args_flag cmd_ls_flags[];
int cmd_ls_run(const struct args *args);

/* cmd_lock.c */
extern const struct args_flag cmd_lock_flags[];
int cmd_lock_run(const struct args *args);

/* cmd_presence.c */
extern const struct args_flag cmd_presence_flags[];
int cmd_presence_run(const struct args *args);

/* cmd_elect.c */
extern const struct args_flag cmd_elect_flags[];
int cmd_elect_run(const struct args *args);

/* cmd_store.c */
extern const struct args_flag cmd_store_flags[];
int cmd_store_run(const struct args *args);

/* cmd_lease.c */
int cmd_lease_run(const struct args *args);

/* cmd_txn.c */
extern const struct args_flag cmd_txn_flags[];
int cmd_txn_run(const struct args *args);

/* cmd_topic.c */
extern const struct args_flag cmd_topic_flags[];
int cmd_topic_run(const struct args *args);

/* cmd_group.c */
extern const struct args_flag cmd_group_flags[];
int cmd_group_run(const struct args *args);

/* cmd_pub.c */
extern const struct args_flag cmd_pub_flags[];
int cmd_pub_run(const struct args *args);

/* cmd_sub.c */
extern const struct args_flag cmd_sub_flags[];
int cmd_sub_run(const struct args *args);

/* cmd_watch.c */
extern const struct args_flag cmd_watch_flags[];
int cmd_watch_run(const struct args *args);

/* cmd_member.c */
extern const struct args_flag cmd_member_flags[];
int cmd_member_run(const struct args *args);

/* cmd_status.c */
extern const struct args_flag cmd_status_flags[], cmd_health_flags[];
int cmd_status_run(const struct args *args);
int cmd_health_run(const struct args *args);

/* cmd_leader.c */
extern const struct args_flag cmd_leader_flags[];
int cmd_leader_run(const struct args *args);

/* cmd_init.c */
extern const struct args_flag cmd_init_flags[], cmd_join_flags[];
int cmd_init_run(const struct args *args);
int cmd_join_run(const struct args *args);

/* cmd_inspect.c */
extern const struct args_flag cmd_inspect_flags[];
int cmd_inspect_run(const struct args *args);

/* cmd_recover.c */
extern const struct args_flag cmd_recover_flags[];
int cmd_recover_run(const struct args *args);

/* serve.c */
extern const struct args_flag cmd_serve_flags[];
int cmd_serve_run(const struct args *args);

/* up.c */
extern const struct args_flag cmd_up_flags[];
int cmd_up_run(const struct args *args);

/* Flags of a node that `up` hands on to each of its nodes. */
#define SERVE_TUNING_FLAGS                                                                          \
    {"election-timeout",                                                                            \
     0,                                                                                             \
     "DURATION",                                                                                    \
     NULL,                                                                                          \
     true,                                                                                          \
     "silence after which a leader is replaced (500ms)"},                                           \
        {"heartbeat", 0,    "DURATION",                                                             \
         NULL,        true, "how often a leader speaks; at most a third of that (100ms)"},          \
        {"segment-size", 0, "SIZE", NULL, true, "size of a log segment (16MiB)"},                   \
        {"snapshot-bytes", 0, "SIZE", NULL, true, "a snapshot after so much (256MiB)"},             \
        {"snapshot-entries", 0, "N", NULL, true, "or after so many entries (4000000)"},             \
        {"log-memory", 0, "SIZE", NULL, true, "of the log so much stays in memory (16MiB)"},        \
        {"leases", 0, "BOOL", NULL, true, "serve 'get --lease' by leases: on all nodes (false)"},   \
        {"disk-reserve", 0,    "SIZE",                                                              \
         NULL,           true, "with less room on disk writes are refused (64MiB)"},                \
        {"inflight-max", 0, "SIZE", NULL, true, "commands taken and not yet answered (64MiB)"},     \
        {"keep-awake", 0,    "BOOL",                                                                \
         NULL,         true, "under load have idle processors at hand, if that is allowed (true)"}, \
    {                                                                                               \
        "log-level", 0, "LEVEL", NULL, true, "debug, info, warn or error (info)"                    \
    }
extern const char *const serve_tuning[]; /* their names; ends with NULL */

#endif

/* actors/log_repair_internal.h - a log-writer that asks for what its log lacks, shared by
 * log_repair.c (the loop), log_repair_ask.c (who is asked for what, and what they answer) and
 * log_repair_say.c (what a person is told of it). The log-writer's thread. */
#ifndef ACTORS_LOG_REPAIR_INTERNAL_H
#define ACTORS_LOG_REPAIR_INTERNAL_H

#include "actors/log_repair.h"

#define LOG_REPAIR_NOBODY UINT32_MAX

enum {
    LOG_REPAIR_AGAIN_US = 300000
}; /* whoever has not answered by then is asked again, with all others */

struct log_asking {
    struct actor *actor;
    struct wal_repair *repair; /* NULL: the log is open, a snapshot alone is missing */
    struct raft_id snapshot;   /* the newest here that is whole */
    const struct raft_configuration *members;
    uint64_t number;    /* of the present ask */
    raft_node_id giver; /* had the last entries: is asked first; 0: all are */
    uint64_t ask_us;    /* when to ask (again) */
    uint64_t since_us;  /* when the present want was first asked for */
    uint64_t room_us;   /* all is here, and there was no room for it: when to try again */
    uint64_t complain_us;
    enum peer_repair_result said[CONCLAVE_MEMBERS_MAX]; /* to the present want; 0: nothing */
    bool turn_due;                                      /* somebody could not help by this anchor */
    bool asked_all;    /* not the giver alone, but all that are to be asked: */
    uint32_t asked;    /* so many */
    uint32_t helpless; /* so many have answered, and were of no use */
    bool unheard;      /* the only one that was to be asked did not answer yet */
    uint32_t helper;   /* the member whose snapshot is asked for; LOG_REPAIR_NOBODY */
    uint64_t helper_until_us;
};

/* --- log_repair_ask.c ------------------------------------------------------------------------- */

/* The member with this number is another node; so many are. */
bool log_repair_is_other(const struct log_asking *asking, uint32_t i);
uint32_t log_repair_others(const struct log_asking *asking);

/* What the log has by now: a repair proves more and more. A snapshot must reach its base. */
struct wal_supplier log_repair_log(const struct log_asking *asking);

/* What is asked for next. False: all is here. snapshot_only: no entries, but a snapshot that
 * reaches the log. */
bool log_repair_want(const struct log_asking *asking, struct wal_want *ret,
                     bool *ret_snapshot_only);

/* Something else is wanted now: what was said before does not count. */
void log_repair_want_changed(struct log_asking *asking, uint64_t now_us);

/* Asks for what is wanted, which is in *ret then: by the next anchor, if nobody could give it by
 * this one. */
void log_repair_ask(struct log_asking *asking, uint64_t now_us, struct wal_want *ret,
                    bool *ret_snapshot_only);

/* What another node says. CORRUPT: it cannot be put together with what is here. */
MUST_USE int log_repair_take_answer(struct log_asking *asking, raft_node_id from,
                                    const struct peer_repair *answer, uint64_t now_us,
                                    struct conclave_error *error);

/* --- log_repair_say.c ------------------------------------------------------------------------- */

/* What is missing, and what the others say. */
void log_repair_describe(const struct log_asking *asking, const struct wal_want *want,
                         bool snapshot_only, char *text, size_t size);

/* What clients hear who ask for the node's state. */
void log_repair_tell(const struct log_asking *asking, const char *text);

/* A line about what it waits for, now and then. */
void log_repair_complain(struct log_asking *asking, const char *text, uint64_t now_us);

#endif

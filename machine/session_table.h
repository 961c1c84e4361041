/* machine/session_table.h - the sessions of the cluster's clients and the answers they may ask for
 * again (dissertation, 6.3).
 *
 * A session numbers its commands. For each number above the highest that the client acknowledged
 * the table knows whether the command was applied, and its answer: a repeated command is answered
 * and not applied (Rule 43). The table is part of the replicated state: it is a function of the log
 * alone, the same on every node and however the log was cut into batches, and is stored together
 * with the machine's data or rebuilt from the log.
 *
 * Sessions end when they are closed; when they were not used for SESSION_LIFETIME_MS of cluster
 * time; or, the one that was used longest ago, when there would be more than SESSIONS_MAX. Cluster
 * time is the sum of what leaders wrote into the log (SESSION_CLOCK): only time that a leader
 * measured while sessions were in use, never a wall clock, so that nothing expires early.
 *
 * Whether a command is applied depends on numbers alone. Answers may be forgotten to save memory
 * (SESSION_BODY_BYTES_MAX, SESSION_BODIES_BYTES_MAX), and a node that noted commands without
 * applying them never knew the answers: then a repeat is told FORGOTTEN, and still not applied.
 * Pointers to sessions stay valid until they are removed. One thread: the state-machine actor's. */
#ifndef MACHINE_SESSION_TABLE_H
#define MACHINE_SESSION_TABLE_H

#include "base/buf.h"
#include "base/error.h"
#include "base/pack.h"
#include "machine/audit_chain.h"

enum {
    SESSIONS_MAX = 16384,  /* 352 bytes each with the smallest ring: 6 MiB */
    SESSION_WINDOW = 4096, /* numbers above the acknowledged one that a session may use */
    SESSION_LIFETIME_MS = 60000,
    SESSION_CLOCK_LAG_MS = 100, /* the leader writes time before a command that has to do with it,
                                   unless it wrote it less than this ago */
    SESSION_CLOCK_STEP_MAX_MS = 30000, /* more than this is not believed to have been usable time:
                                          the cluster stood still, or nobody had a session */
    SESSION_SLOTS_MIN = 8,
    SESSION_SLOTS_MAX = 1 << 20, /* of all sessions, 24 bytes each: 24 MiB; beyond them rings do not
                                    grow, the commands get BUSY */
    SESSION_BODY_BYTES_MAX = 64 << 10,   /* of one answer that is kept */
    SESSION_BODIES_BYTES_MAX = 64 << 20, /* of all, looked at every SESSION_SWEEP_COMMANDS: at most
                                            1024 * 64 KiB, as much again, over it in between */
    SESSION_SWEEP_COMMANDS = 1024,
    SESSION_BODY_OVERHEAD_BYTES = 128 /* charged for every answer beside its bytes */
};

/* What bounds a table. Part of what makes it a function of the log: a node with other limits would
 * answer differently, so they are the ones above, always. Tests set smaller ones, on all nodes of a
 * cluster, to get there. */
struct session_limits {
    uint32_t sessions;       /* SESSIONS_MAX, or fewer */
    uint32_t window;         /* a power of two, at least SESSION_SLOTS_MIN */
    uint32_t sweep_commands; /* at least 2 */
    uint64_t lifetime_ms, clock_step_max_ms;
    uint64_t clock_lag_ms; /* what leaders have measured and not written, at most */
    uint64_t slots;
    uint64_t body_bytes, bodies_bytes;
    uint32_t audit_entries; /* a mark of the audit every so many; 0: AUDIT_INTERVAL */
    uint32_t expire_work;   /* of the key-value machine (machine/kv_expire.h); 0: the default */
};

enum session_slot_state { SLOT_FREE, SLOT_PENDING, SLOT_KEPT, SLOT_FORGOTTEN };

/* One numbered command that was let through and is not acknowledged. */
struct session_slot {
    uint64_t sequence;
    struct buf *body; /* KEPT: the answer, one reference; NULL: empty */
    uint32_t code;    /* KEPT: the answer's; PENDING: the caller's number for the command */
    uint32_t state;   /* enum session_slot_state */
};

struct session {
    uint64_t id;                /* the index of the entry that opened it: never used again */
    uint64_t acknowledged;      /* the client has the answers up to here, or wants them no more */
    uint64_t highest;           /* number seen */
    uint64_t used_ms;           /* cluster time of its last use */
    uint64_t used_index;        /* the entry of its last use */
    struct session_slot *slots; /* ring by sequence (session_slot_of) */
    uint32_t capacity;          /* 0 or a power of two */
    bool dirty;                 /* in the table's list of changed ones */
    uint64_t body_bytes;
    uint64_t changed_from, changed_to; /* numbers whose slots changed since saved; to 0: none */
    uint64_t stored_from, stored_to;   /* parts of answers that are saved: from, and below to */
    struct session *in_bucket, *older, *newer, *next_dirty;
};

struct session_table;

struct session_table *session_table_create(void);
void session_table_destroy(struct session_table *table);

/* The limits of a new table are those of this file; others only while it is empty. */
void session_table_set_limits(struct session_table *table, const struct session_limits *limits);
struct session_limits session_table_limits(const struct session_table *table);

/* Forgets everything, for loading anew. */
void session_table_clear(struct session_table *table);

/* --- Sessions --------------------------------------------------------------------------------- */

/* NULL if there is none (any more). */
struct session *session_table_find(const struct session_table *table, uint64_t id);

/* A new session, opened by the entry at this index; ends the one used longest ago if there are too
 * many. */
struct session *session_table_open(struct session_table *table, uint64_t index);

void session_table_remove(struct session_table *table, struct session *session);

/* The entry at this index uses the session, which says that it needs no answer up to
 * `acknowledged`. */
void session_table_use(struct session_table *table, struct session *session, uint64_t index,
                       uint64_t acknowledged);

/* Cluster time passes; ends the sessions whose time is over. */
void session_table_pass_time(struct session_table *table, uint64_t elapsed_ms);

/* Cluster time. */
uint64_t session_table_clock_ms(const struct session_table *table);

uint32_t session_table_count(const struct session_table *table);

/* What it takes of its limits. */
uint64_t session_table_slots(const struct session_table *table);
uint64_t session_table_body_bytes(const struct session_table *table);

/* --- Commands --------------------------------------------------------------------------------- */

enum session_verdict {
    SESSION_NEW,               /* apply it, then settle; *ret is its slot, PENDING */
    SESSION_REPEAT,            /* not again; *ret is its slot, PENDING or KEPT */
    SESSION_FORGOTTEN_COMMAND, /* not again, and the answer is not known */
    SESSION_NO_ROOM            /* beyond the window, or no slots left: surely not applied */
};

/* What is to be done with a numbered command. `item` is kept in a new slot until it is settled. The
 * slot is valid until the next call for this session. */
enum session_verdict session_table_admit(struct session_table *table, struct session *session,
                                         uint64_t sequence, uint32_t item,
                                         const struct session_slot **ret);

/* The answer to a command that was let through; takes a reference of its own. Does nothing if the
 * client acknowledged it meanwhile. */
void session_table_settle(struct session_table *table, struct session *session, uint64_t sequence,
                          int code, struct buf *body);

/* Whether settle keeps such an answer; else it is forgotten at once. */
bool session_table_keeps(const struct session_table *table, const struct buf *body);

/* As settle, for a command whose answer is not known here. */
void session_table_settle_forgotten(struct session_table *table, struct session *session,
                                    uint64_t sequence);

/* True after every SESSION_SWEEP_COMMANDS commands let through: time to sweep, once they are
 * settled and before the next one. */
bool session_table_wants_sweep(const struct session_table *table);

/* Forgets answers, of the sessions that hold most, until all fit. */
void session_table_sweep(struct session_table *table);

/* The audit's chain over all that was applied: part of the table, so that it is stored and travels
 * with it. */
struct audit_chain session_table_audit(const struct session_table *table);
void session_table_set_audit(struct session_table *table, const struct audit_chain *chain);

/* --- As bytes --------------------------------------------------------------------------------- */

/* The whole table, for a snapshot; one reference. Only while nothing is pending. */
struct buf *session_table_encode(const struct session_table *table);

/* Replaces the table's content. Errors: MALFORMED; the table is then empty. */
MUST_USE int session_table_decode(struct session_table *table, const void *data, size_t bytes);

/* Where single records are kept beside a machine's data. A session is part 0 and, for its answers,
 * parts of SESSION_PART_NUMBERS numbers each, from 1 on: what is written for a batch follows from
 * the batch, not from all answers that are kept. Id 0 is the table itself. The functions return 0
 * or a code of the store's own, which ends the save. */
enum { SESSION_PART_NUMBERS = 64 };
struct session_sink {
    void *arg;
    int (*put)(void *arg, uint64_t id, uint64_t part, const void *data, size_t bytes);
    int (*remove)(void *arg, uint64_t id, uint64_t part); /* one that is not there is no error */
    int (*remove_all)(void *arg, uint64_t id);            /* all parts */
};

/* Writes what changed since the last session_table_saved. */
int session_table_save(const struct session_table *table, const struct session_sink *sink);

/* What was saved is kept. */
void session_table_saved(struct session_table *table);

/* Takes one saved record in, ids and parts rising. Errors: MALFORMED. */
MUST_USE int session_table_load(struct session_table *table, uint64_t id, uint64_t part,
                                const void *data, size_t bytes);

/* After the last record. */
void session_table_loaded(struct session_table *table);

#endif

/* machine/session_layer.h - client sessions in front of any state machine.
 *
 *     committed entries ──> layer ──> commands that are to be applied ──> the machine
 *                             │                                             │
 *                             └── repeats, refusals, open, close    answers ┘, kept for repeats
 *
 * The layer unwraps commands of sessions, lets each number through once (Rule 43), and passes plain
 * commands on as they are. Its table is stored in the transaction of the built-in machine, together
 * with data and applied index (Rule 7). A machine of an embedder knows nothing of it: the table is
 * then rebuilt at each start, from the snapshot that the log begins behind, and by reading the log
 * from there on; commands that the machine already holds are noted, and not applied again. The
 * snapshots of every machine have the table in front (machine/session_snapshot.h).
 *
 * One thread: the state-machine actor's. */
#ifndef MACHINE_SESSION_LAYER_H
#define MACHINE_SESSION_LAYER_H

#include "base/error.h"
#include "machine/session_snapshot.h"
#include "machine/session_table.h"

/* One committed entry, in order. */
struct session_input {
    struct conclave_command command;
    bool in_session; /* its data is a session request (codec/session.h) */
    bool audit_only; /* a no-op or a configuration: nothing to apply, its data is the payload */
};

enum { SESSION_INPUTS_MAX = 4096 }; /* of one session_layer_apply */

struct session_layer;

/* In front of ops and its machine. */
struct session_layer *session_layer_create(const struct conclave_machine_ops *ops, void *machine);
void session_layer_destroy(struct session_layer *layer);

/* Opens the machine. *ret_applied_index: up to where sessions and machine hold everything. Errors:
 * the machine's. */
MUST_USE int session_layer_open(struct session_layer *layer, const struct conclave_machine_env *env,
                                uint64_t *ret_applied_index, struct conclave_error *error);

/* As conclave_machine_ops.apply. May be several applies of the machine, each of them atomic with
 * the sessions. NO_SPACE: one of them found no room and did nothing; the inputs and replies stay
 * where they are until session_layer_go_on has succeeded, and nothing else is applied before. */
MUST_USE int session_layer_apply(struct session_layer *layer, const struct session_input *inputs,
                                 size_t count, uint64_t last_index,
                                 struct conclave_reply_sink *const *replies);

/* Tries again what found no room, and goes on with what follows it. As session_layer_apply. */
MUST_USE int session_layer_go_on(struct session_layer *layer);

/* Whether a snapshot can be begun now: the machine can take some, and holds no more than what the
 * layer has seen. */
bool session_layer_can_snapshot(const struct session_layer *layer);

/* As session_snapshot_begin: everything as of the last apply. */
MUST_USE int session_layer_begin_snapshot(struct session_layer *layer,
                                          struct session_snapshot **ret_snapshot);

/* Sessions and machine become the snapshot of everything up to `index`, which is behind what was
 * applied; a machine that holds more than that already stays as it is. None of its snapshots is
 * open. Codes: CORRUPT, VERSION, the source's, the machine's; nothing may be applied after one. */
MUST_USE int session_layer_restore(struct session_layer *layer, uint64_t index, snapshot_read read,
                                   void *arg);

/* The audit's marks that the last apply passed, one every AUDIT_INTERVAL entries, at most `limit`,
 * oldest first; the count. They are handed out once. */
uint32_t session_layer_marks(struct session_layer *layer, struct audit_mark *ret, uint32_t limit);

/* The audit's mark of everything applied; false: it is not known, or there is nothing. */
bool session_layer_mark(const struct session_layer *layer, struct audit_mark *ret);

/* How much cluster time there is until something in the built-in machine ends (0: it is over), as
 * of the last apply; UINT64_MAX: nothing does. A code of the machine's tables. */
MUST_USE int session_layer_due(const struct session_layer *layer, uint64_t *ret_ms);

/* Of the built-in machine, as kv_reserve, kv_quota_is_used_up and kv_bytes (0: not known). */
MUST_USE int session_layer_reserve(const struct session_layer *layer, bool lacking);
bool session_layer_quota(const struct session_layer *layer);
uint64_t session_layer_bytes(const struct session_layer *layer);

/* As of the last apply. */
struct session_table *session_layer_table(struct session_layer *layer);

#endif

/* machine/kv.h - the built-in key-value machine.
 *
 * One global revision that rises by one with every command that changes something; each key carries
 * its create revision, modify revision and version, as in etcd. Commands, queries and answers are
 * encoded by codec/kv.h. The log is what is durable: the tables (machine/tables.h) are not synced
 * while they are in use, the applied index is written in the same transaction as the data, and
 * tables from before a reboot of the machine are discarded and rebuilt from the log. One thread:
 * the state-machine actor's. */
#ifndef MACHINE_KV_H
#define MACHINE_KV_H

#include "base/error.h"
#include "machine/feed.h"

struct kv;
struct session_sink;
struct tables;
struct tables_part;

struct conclave_reply_sink;

/* Cluster time as the command at hand finds it. */
struct kv_clock {
    uint64_t now_ms;
    uint64_t lag_ms;      /* so much may not be written yet */
    uint32_t expire_work; /* what one passing may end (machine/kv_expire.h); 0: the default */
    /* It passed with an entry behind the last apply: whose reply; its effect is what ended then.
     * NULL: it stands. */
    struct conclave_reply_sink *passed;
};

/* Who keeps client sessions in the tables (machine/session_layer.h). */
struct kv_sessions {
    void *arg;
    /* Takes in a stored record, when the tables are opened; ids and parts rising. A code. */
    int (*load)(void *arg, uint64_t id, uint64_t part, const void *data, size_t bytes);
    /* Writes what changed into the transaction of an apply, after its commands were answered, or
     * into the one that ends a restore; may be called again for the same one. 0 or what the sink
     * returned. */
    int (*save)(void *arg, const struct session_sink *sink);
    /* Time; the same for all commands of one apply, which is behind the entry that it passed with.
     * May be called again for the same one. */
    struct kv_clock (*clock)(void *arg);
};

struct kv *kv_create(void); /* in the files of LMDB */

/* In tables that stay the caller's, and outlive it. */
struct kv *kv_create_in(struct tables *tables);

/* NULL is allowed. Closes if open. */
void kv_destroy(struct kv *kv);

/* The functions, all of them; `machine` is the struct kv. */
const struct conclave_machine_ops *kv_machine_ops(void);

/* Before open; all zero: nobody. */
void kv_keep_sessions(struct kv *kv, struct kv_sessions sessions);

/* How much cluster time there is until something ends (0: it is over); UINT64_MAX: nothing does.
 * Open. A code of the tables. */
MUST_USE int kv_due(struct kv *kv, uint64_t *ret_ms);

/* As tables_next_part. Open. */
void kv_next_part(struct kv *kv, struct tables_part *ret);

/* Whether there is room for deletes, as tables_reserve. Open. */
MUST_USE int kv_reserve(struct kv *kv, bool lacking);

/* Whether something was refused for the quota, and still would be. */
bool kv_quota_is_used_up(const struct kv *kv);

/* What it holds as of the last apply: keys with what belongs to them, their history, leases and
 * topics; about what a snapshot has but for the sessions. 0: nothing, or it is closed.
 * State-machine thread. */
uint64_t kv_bytes(const struct kv *kv);

/* The revision of the last applied change. State-machine thread. */
uint64_t kv_revision(const struct kv *kv);

/* The changes of keys (machine/kv_watch.h), to be used while it is open. State-machine thread. */
struct feed kv_watch_feed(struct kv *kv);
struct feed kv_topic_feed(struct kv *kv);
struct feed kv_group_feed(struct kv *kv);

#endif

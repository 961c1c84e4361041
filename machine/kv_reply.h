/* machine/kv_reply.h - the answers that several commands have in common. State-machine thread. */
#ifndef MACHINE_KV_REPLY_H
#define MACHINE_KV_REPLY_H

#include "codec/kv.h"
#include "machine/kv_change.h"

/* Answers, if anybody asks. */
static inline void kv_reply_outcome(struct kv_batch *batch, int code,
                                    const struct kv_outcome *outcome)
{
    struct pack pack;
    if (!batch->reply)
        return;
    pack_init(&pack, 0);
    kv_outcome_pack(&pack, outcome);
    reply_sink_take(batch->reply, code, pack_take(&pack));
}

/* A refusal: nothing changed. */
static inline void kv_reply_revision(struct kv_batch *batch, int code)
{
    struct pack pack;
    if (!batch->reply)
        return;
    pack_init(&pack, 0);
    kv_not_found_pack(&pack, batch->state.revision);
    reply_sink_take(batch->reply, code, pack_take(&pack));
}

/* What a read tells of a key. CORRUPT if that is no record. */
MUST_USE static inline int kv_item_of(struct slice key, struct slice stored, struct kv_item *ret)
{
    struct kv_record record;
    int rc = kv_record_read(stored, &record);
    if (rc)
        return rc;
    *ret = (struct kv_item){
        .key = key,
        .value = kv_record_value(stored),
        .create_revision = record.create_revision,
        .mod_revision = record.mod_revision,
        .version = record.version,
        .lease = record.lease,
    };
    return 0;
}

#endif

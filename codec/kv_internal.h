/* codec/kv_internal.h - what the files that decode key-value commands share: parts of one command.
 * Pure functions; any thread. */
#ifndef CODEC_KV_INTERNAL_H
#define CODEC_KV_INTERNAL_H

#include "codec/fields.h"
#include "codec/kv.h"

/* INVALID for 0, TOO_LARGE. */
MUST_USE int kv_ttl_check(uint64_t ttl_ms);

void kv_settings_decode(struct fields *fields, struct kv_settings *settings);
MUST_USE int kv_settings_check(const struct kv_settings *settings);
void kv_settings_pack(struct pack *pack, const struct kv_settings *settings);

/* Reads an array without looking into it; a bad one leaves the cursor bad. */
struct kv_txn_list kv_txn_list_decode(struct cursor *cursor);
MUST_USE int kv_txn_check(const struct kv_txn *txn);
void kv_txn_list_pack(struct pack *pack, const struct kv_txn_list *list);

#endif

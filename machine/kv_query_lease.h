/* machine/kv_query_lease.h - queries about leases, settings and usage. State-machine thread. */
#ifndef MACHINE_KV_QUERY_LEASE_H
#define MACHINE_KV_QUERY_LEASE_H

#include "machine/kv_query.h"

/* As kv_query_run. Leases that came with a key are in no list. */
MUST_USE int kv_leases_run(const struct kv_view *view, const struct kv_query *query,
                           struct pack *pack);
MUST_USE int kv_lease_keys_run(const struct kv_view *view, const struct kv_query *query,
                               struct pack *pack, int *ret_code);
void kv_usage_run(const struct kv_view *view, struct pack *pack);

#endif

/* Leases, in the rules written down once more: what they hold, and when they end. */
#include "tests/sim/reference_internal.h"

#include "base/list.h"
#include "codec/kv_lease.h"

#include <string.h>

enum { EXPIRE_WORK = 1024, GROUP_WORK = 64 };

void fold_lease(struct reference_fold *fold, uint64_t id, uint64_t ttl_ms, uint64_t left_ms,
                uint64_t keys)
{
    fold_number(fold, id);
    fold_number(fold, ttl_ms);
    fold_number(fold, left_ms);
    fold_number(fold, keys);
}

struct reference_lease *reference_lease(struct reference *reference, uint64_t id)
{
    for (uint32_t i = 0; i < reference->leases.count; i++) {
        if (reference->leases.items[i].id == id)
            return &reference->leases.items[i];
    }
    return NULL;
}

/* Nothing, of one that is due and waits for its turn. */
static uint64_t left_ms(const struct reference *reference, const struct reference_lease *lease)
{
    return lease->deadline_ms > reference->clock_ms ? lease->deadline_ms - reference->clock_ms : 0;
}

uint64_t reference_lease_held(const struct reference *reference, uint64_t id)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < SIM_KEYS; i++)
        count += reference->keys[i].version && reference->keys[i].lease == id;
    return count + reference_places_held(reference, id);
}

void reference_leases_fold(struct reference_fold *fold, const struct reference *reference)
{
    for (uint32_t i = 0; i < reference->leases.count; i++) {
        const struct reference_lease *lease = &reference->leases.items[i];
        if (!lease->of_key)
            fold_lease(fold, lease->id, lease->ttl_ms, left_ms(reference, lease),
                       reference_lease_held(reference, lease->id));
    }
}

/* So much time may have passed already, and not be written. */
void reference_lease_begin(struct reference *reference, struct reference_lease *lease)
{
    lease->deadline_ms = reference->clock_ms + reference->limits.clock_lag_ms + lease->ttl_ms;
    lease->from_us = reference->at.from_us;
    lease->term = reference->at.term;
}

struct reference_lease *reference_grant(struct reference *reference, uint64_t ttl_ms, bool of_key)
{
    LIST_RESERVE(&reference->leases);
    struct reference_lease *lease = &reference->leases.items[reference->leases.count++];
    *lease =
        (struct reference_lease){.id = ++reference->last_lease, .ttl_ms = ttl_ms, .of_key = of_key};
    reference_lease_begin(reference, lease);
    return lease;
}

static void lease_remove(struct reference *reference, uint64_t id)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < reference->leases.count; i++) {
        if (reference->leases.items[i].id != id)
            reference->leases.items[kept++] = reference->leases.items[i];
    }
    reference->leases.count = kept;
}

void reference_key_lease(struct reference *reference, struct reference_key *key, uint64_t lease)
{
    const struct reference_lease *before = reference_lease(reference, key->lease);
    if (before && before->of_key)
        lease_remove(reference, key->lease);
    key->lease = lease;
}

/* Ends the lease with its keys and places, as one revision at most; how many there were. */
static uint64_t lease_end(struct reference *reference, uint64_t id)
{
    uint64_t deleted = reference_lease_held(reference, id);
    reference->revision += deleted > 0;
    for (uint32_t i = 0; i < SIM_KEYS; i++) {
        if (reference->keys[i].version && reference->keys[i].lease == id)
            reference_erase(reference, i, reference->revision);
    }
    reference_places_end(reference, id, reference->revision);
    reference_members_end(reference, id);
    lease_remove(reference, id);
    if (deleted)
        reference_history_changed(reference);
    return deleted;
}

static struct reference_reply lease_reply(const struct reference *reference,
                                          const struct reference_lease *lease)
{
    struct pack pack;
    pack_init(&pack, 0);
    kv_lease_answer_pack(&pack, &(struct kv_lease_answer){.revision = reference->revision,
                                                          .lease = lease->id,
                                                          .ttl_ms = lease->ttl_ms});
    return reference_reply_take(CONCLAVE_OK, &pack);
}

struct reference_reply reference_lease_apply(struct reference *reference,
                                             const struct kv_command *command)
{
    if (command->opcode == KV_LEASE_GRANT && !reference_takes(reference, REFERENCE_LEASE_BYTES))
        return reference_revision_alone(CONCLAVE_QUOTA, reference->revision);
    if (command->opcode == KV_LEASE_GRANT)
        return lease_reply(reference, reference_grant(reference, command->ttl_ms, false));
    struct reference_lease *lease = reference_lease(reference, command->lease);
    if (!lease)
        return reference_revision_alone(CONCLAVE_LEASE_EXPIRED, reference->revision);
    if (command->opcode == KV_LEASE_REVOKE) {
        uint64_t deleted = lease_end(reference, command->lease);
        return reference_outcome(CONCLAVE_OK, reference->revision, deleted);
    }
    reference_lease_begin(reference, lease);
    return lease_reply(reference, lease);
}

/* By deadline, and by id if those are equal. NULL: none is due. */
static const struct reference_lease *first_due(const struct reference *reference)
{
    const struct reference_lease *first = NULL;
    for (uint32_t i = 0; i < reference->leases.count; i++) {
        const struct reference_lease *lease = &reference->leases.items[i];
        if (lease->deadline_ms <= reference->clock_ms &&
            (!first || lease->deadline_ms < first->deadline_ms))
            first = lease;
    }
    return first;
}

static uint64_t lease_expire(struct reference *reference, const struct reference_lease *due)
{
    struct reference_end end = {.lease = *due};
    end.places = reference_places_held(reference, end.lease.id);
    reference->expiring = true;
    end.keys = lease_end(reference, end.lease.id);
    reference->expiring = false;
    LIST_RESERVE(&reference->ends);
    reference->ends.items[reference->ends.count++] = end;
    return 1 + end.keys; /* and places */
}

/* A lease and each of its keys count 1, a group more; once so many have ended the rest waits for
 * more time. What is due at the same time: leases first. */
void reference_expire(struct reference *reference)
{
    uint64_t work = reference->limits.expire_work ? reference->limits.expire_work : EXPIRE_WORK;
    for (uint64_t done = 0; done < work;) {
        const struct reference_lease *lease = first_due(reference);
        struct reference_group *group = reference_group_due(reference);
        if (!lease && !group)
            break;
        if (lease && (!group || lease->deadline_ms <= group->due_ms)) {
            done += lease_expire(reference, lease);
            continue;
        }
        reference_group_expire(reference, group);
        done += GROUP_WORK;
    }
    reference_history_aged(reference);
}

/* What the store takes, in the rules written down once more: the bytes that its quota counts, and
 * what the history keeps. */
#include "base/list.h"
#include "tests/sim/ops.h"
#include "tests/sim/reference_internal.h"

enum {
    HISTORY_CHANGES = 100000, /* of a new store */
    HISTORY_BYTES = 64 << 20,
    HISTORY_STEP = 512,  /* changes that go with a command, at most */
    HISTORY_TICK = 16384 /* and when time passes, or settings change */
};

void reference_usage_init(struct reference *reference)
{
    reference->settings[KV_SETTING_CHANGES] = HISTORY_CHANGES;
    reference->settings[KV_SETTING_BYTES] = HISTORY_BYTES;
}

/* --- The history ------------------------------------------------------------------------------ */

void reference_change_add(struct reference *reference, struct reference_change change)
{
    change.clock_ms = reference->clock_ms;
    change.expired = reference->expiring;
    change.bytes = REFERENCE_CHANGE_BYTES + change.key_bytes;
    change.bytes += change.before.version ? REFERENCE_RECORD_BYTES + change.before.bytes : 0;
    change.bytes += change.value ? REFERENCE_RECORD_BYTES + change.value_bytes : 0;
    LIST_RESERVE(&reference->changes);
    reference->changes.items[reference->changes.count++] = change;
    reference->history_bytes += change.bytes;
}

static uint64_t history_changes(const struct reference *reference)
{
    return reference->changes.count - reference->history_first;
}

/* Whether there is more of it than such a part of the limits. */
static bool is_over(const struct reference *reference, uint64_t part)
{
    uint64_t changes = reference->settings[KV_SETTING_CHANGES];
    uint64_t bytes = reference->settings[KV_SETTING_BYTES];
    return history_changes(reference) > changes + (part ? changes / part : 0) ||
           reference->history_bytes > bytes + (part ? bytes / part : 0);
}

static void forget_first(struct reference *reference)
{
    const struct reference_change *first = &reference->changes.items[reference->history_first++];
    reference->history_bytes -= first->bytes;
    reference->compacted = first->revision;
}

/* Only what is an eighth too much is looked at, and then all of it goes. */
static void shorten(struct reference *reference, uint32_t budget)
{
    if (!is_over(reference, 8))
        return;
    while (budget-- > 0 && is_over(reference, 0))
        forget_first(reference);
}

static void forget_old(struct reference *reference)
{
    uint64_t age_ms = reference->settings[KV_SETTING_AGE_MS];
    uint32_t budget = HISTORY_TICK;
    if (age_ms == 0 || reference->clock_ms <= age_ms)
        return;
    while (budget-- > 0 && reference->history_first < reference->changes.count &&
           reference->changes.items[reference->history_first].clock_ms <
               reference->clock_ms - age_ms)
        forget_first(reference);
}

void reference_history_changed(struct reference *reference)
{
    shorten(reference, HISTORY_STEP);
}

void reference_history_aged(struct reference *reference)
{
    forget_old(reference);
}

struct reference_reply reference_settings_apply(struct reference *reference,
                                                const struct kv_settings *settings)
{
    for (int i = 0; i < KV_SETTING_COUNT; i++)
        if (settings->given[i])
            reference->settings[i] = settings->values[i];
    shorten(reference, HISTORY_TICK);
    forget_old(reference);
    return reference_outcome(CONCLAVE_OK, reference->revision, 0);
}

/* --- Bytes ------------------------------------------------------------------------------------ */

static uint64_t item_bytes(size_t key_bytes, uint64_t value_bytes)
{
    return key_bytes + REFERENCE_RECORD_BYTES + value_bytes;
}

uint64_t reference_key_bytes(const struct reference *reference, uint32_t cell)
{
    const struct reference_key *key = &reference->keys[cell];
    uint8_t room[2];
    return key->version ? item_bytes(key_encode(cell, room).bytes, key->bytes) : 0;
}

/* Keys, places in queues, leases, groups; of those that went with their topic as long as nothing
 * was asked of any group since. */
static uint64_t bytes_used(const struct reference *reference)
{
    uint64_t bytes = reference->leases.count * (uint64_t)REFERENCE_LEASE_BYTES;
    for (uint32_t i = 0; i < SIM_KEYS; i++)
        bytes += reference_key_bytes(reference, i);
    for (uint32_t i = reference->places_from; i < reference->places.count; i++) {
        const struct reference_place *place = &reference->places.items[i];
        if (!place->gone)
            bytes += item_bytes(REFERENCE_PLACE_KEY_BYTES, place->bytes);
    }
    for (uint32_t i = 0; i < reference->groups.count; i++) {
        const struct reference_group *group = &reference->groups.items[i];
        if (!group->deleted || group->unburied)
            bytes += REFERENCE_GROUP_BYTES;
    }
    return bytes;
}

static uint64_t topic_bytes_used(const struct reference *reference)
{
    uint64_t bytes = 0;
    for (uint32_t name = 0; name < SIM_TOPICS; name++) {
        const struct reference_topic *topic = reference_topic_at(reference, name, UINT64_MAX);
        if (topic)
            bytes += REFERENCE_TOPIC_BYTES + reference_topic_bytes(reference, topic);
    }
    return bytes;
}

uint64_t reference_used(const struct reference *reference)
{
    return bytes_used(reference) + topic_bytes_used(reference);
}

/* --- The quota -------------------------------------------------------------------------------- */

uint64_t reference_room(const struct reference *reference)
{
    uint64_t quota = reference->settings[KV_SETTING_QUOTA], used = reference_used(reference);
    if (quota == 0)
        return UINT64_MAX;
    return quota > used ? quota - used : 0;
}

bool reference_alarm(const struct reference *reference)
{
    return reference->refused > 0 && reference->refused > reference_room(reference);
}

bool reference_takes(struct reference *reference, uint64_t growth)
{
    if (growth == 0 || growth <= reference_room(reference))
        return true;
    reference->refused = growth;
    reference->counts.over_quota++;
    return false;
}

void reference_settle_quota(struct reference *reference)
{
    if (reference->refused && !reference_alarm(reference))
        reference->refused = 0;
}

/* --- All of it -------------------------------------------------------------------------------- */

struct kv_usage reference_usage(const struct reference *reference)
{
    struct kv_usage usage = {.revision = reference->revision,
                             .compacted = reference->compacted,
                             .clock_ms = reference->clock_ms,
                             .bytes = bytes_used(reference),
                             .history_changes = history_changes(reference),
                             .history_bytes = reference->history_bytes,
                             .leases = reference->leases.count,
                             .topic_bytes = topic_bytes_used(reference),
                             .refused = reference_alarm(reference) ? reference->refused : 0};
    for (int i = 0; i < KV_SETTING_COUNT; i++)
        usage.settings[i] = reference->settings[i];
    for (uint32_t i = 0; i < SIM_KEYS; i++)
        usage.keys += reference->keys[i].version > 0;
    for (uint32_t i = reference->places_from; i < reference->places.count; i++)
        usage.keys += !reference->places.items[i].gone;
    for (uint32_t i = 0; i < SIM_TOPICS; i++)
        usage.topics += reference_topic_at(reference, i, UINT64_MAX) != NULL;
    return usage;
}

void fold_usage(struct reference_fold *fold, const struct kv_usage *usage)
{
    const uint64_t numbers[] = {
        usage->revision, usage->compacted,   usage->clock_ms,        usage->keys,
        usage->bytes,    usage->leases,      usage->history_changes, usage->history_bytes,
        usage->topics,   usage->topic_bytes, usage->refused};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        fold_number(fold, numbers[i]);
    for (int i = 0; i < KV_SETTING_COUNT; i++)
        fold_number(fold, usage->settings[i]);
}

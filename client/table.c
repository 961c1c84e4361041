#include "client/table.h"

#include "base/fatal.h"

#include <stdlib.h>
#include <string.h>

enum { CAPACITY_FIRST = 256, BUCKET_DUE = TABLE_WHEEL_TICKS, BUCKET_NONE = UINT16_MAX };

_Static_assert((1u << TABLE_INDEX_BITS) >= 2 * CONCLAVE_CLIENT_OPS_MAX, "ids have room for both");

void table_init(struct table *table, uint64_t now_ns)
{
    memset(table, 0, sizeof *table);
    table->free_head = TABLE_NONE;
    table->tick = now_ns / TABLE_TICK_NS;
    for (uint32_t i = 0; i < TABLE_BUCKETS; i++)
        table->heads[i] = TABLE_NONE;
}

void table_deinit(struct table *table)
{
    free(table->entries);
    memset(table, 0, sizeof *table);
}

static void table_grow(struct table *table)
{
    uint32_t capacity = table->capacity ? table->capacity * 2 : CAPACITY_FIRST;
    if (capacity > TABLE_ENTRIES_MAX)
        capacity = TABLE_ENTRIES_MAX;
    table->entries = mem_realloc(table->entries, capacity * sizeof *table->entries);
    for (uint32_t i = capacity; i-- > table->capacity;) {
        struct table_entry *entry = &table->entries[i];
        memset(entry, 0, sizeof *entry);
        entry->bucket = BUCKET_NONE;
        entry->queue_next = table->free_head;
        table->free_head = i;
    }
    table->capacity = capacity;
}

struct table_entry *table_at(struct table *table, uint32_t index)
{
    ASSERT(index < table->capacity);
    return &table->entries[index];
}

/* --- Timers ---------------------------------------------------------------------------------- */

static void bucket_link(struct table *table, uint32_t index, uint32_t bucket)
{
    struct table_entry *entry = &table->entries[index];
    entry->bucket = (uint16_t)bucket;
    entry->wheel_prev = TABLE_NONE;
    entry->wheel_next = table->heads[bucket];
    if (entry->wheel_next != TABLE_NONE)
        table->entries[entry->wheel_next].wheel_prev = index;
    table->heads[bucket] = index;
    if (bucket != BUCKET_DUE)
        table->occupied[bucket / 64] |= UINT64_C(1) << (bucket % 64);
}

static void bucket_unlink(struct table *table, uint32_t index)
{
    struct table_entry *entry = &table->entries[index];
    uint32_t bucket = entry->bucket;
    if (bucket == BUCKET_NONE)
        return;
    if (entry->wheel_prev != TABLE_NONE)
        table->entries[entry->wheel_prev].wheel_next = entry->wheel_next;
    else
        table->heads[bucket] = entry->wheel_next;
    if (entry->wheel_next != TABLE_NONE)
        table->entries[entry->wheel_next].wheel_prev = entry->wheel_prev;
    if (bucket != BUCKET_DUE && table->heads[bucket] == TABLE_NONE)
        table->occupied[bucket / 64] &= ~(UINT64_C(1) << (bucket % 64));
    entry->bucket = BUCKET_NONE;
}

void table_wake_at(struct table *table, uint32_t index, uint64_t wake_ns)
{
    struct table_entry *entry = table_at(table, index);
    bucket_unlink(table, index);
    entry->wake_ns = wake_ns;
    uint64_t tick = wake_ns / TABLE_TICK_NS;
    if (tick < table->tick)
        tick = table->tick; /* already past: its own tick will not be looked at again */
    bucket_link(table, index, (uint32_t)(tick % TABLE_WHEEL_TICKS));
}

/* Moves what is due from the buckets of all ticks that are wholly past. */
static void wheel_turn(struct table *table, uint64_t now_ns)
{
    uint64_t now_tick = now_ns / TABLE_TICK_NS;
    if (now_tick <= table->tick)
        return;
    if (now_tick - table->tick > TABLE_WHEEL_TICKS)
        table->tick = now_tick - TABLE_WHEEL_TICKS; /* one round sees every bucket */
    for (; table->tick < now_tick; table->tick++) {
        uint32_t index = table->heads[table->tick % TABLE_WHEEL_TICKS];
        while (index != TABLE_NONE) {
            struct table_entry *entry = &table->entries[index];
            uint32_t next = entry->wheel_next;
            if (entry->wake_ns <= now_ns) {
                bucket_unlink(table, index);
                bucket_link(table, index, BUCKET_DUE);
            }
            index = next;
        }
    }
}

uint32_t table_take_due(struct table *table, uint64_t now_ns)
{
    if (table->heads[BUCKET_DUE] == TABLE_NONE)
        wheel_turn(table, now_ns);
    uint32_t index = table->heads[BUCKET_DUE];
    if (index != TABLE_NONE)
        bucket_unlink(table, index);
    return index;
}

uint64_t table_next_due_ns(const struct table *table)
{
    if (table->heads[BUCKET_DUE] != TABLE_NONE)
        return 0;
    uint32_t first = (uint32_t)(table->tick % TABLE_WHEEL_TICKS);
    /* The first word is seen twice: its high bits first, its low bits as the end of the round. */
    for (uint32_t i = 0; i <= TABLE_WHEEL_TICKS / 64; i++) {
        uint32_t word = (first / 64 + i) % (TABLE_WHEEL_TICKS / 64);
        uint64_t bits = table->occupied[word];
        uint64_t below_first = (UINT64_C(1) << (first % 64)) - 1;
        if (i == 0)
            bits &= ~below_first;
        else if (i == TABLE_WHEEL_TICKS / 64)
            bits &= below_first;
        if (bits == 0)
            continue;
        uint32_t bucket = word * 64 + (uint32_t)__builtin_ctzll(bits);
        uint32_t distance = (bucket + TABLE_WHEEL_TICKS - first) % TABLE_WHEEL_TICKS;
        return (table->tick + distance + 1) * TABLE_TICK_NS;
    }
    return UINT64_MAX;
}

/* --- Entries --------------------------------------------------------------------------------- */

uint32_t table_add(struct table *table, struct conclave_op *op, uint64_t deadline_ns)
{
    if (table->free_head == TABLE_NONE) {
        if (table->capacity == TABLE_ENTRIES_MAX)
            return TABLE_NONE;
        table_grow(table);
    }
    uint32_t index = table->free_head;
    struct table_entry *entry = &table->entries[index];
    ASSERT(entry->state == TABLE_FREE);
    table->free_head = entry->queue_next;
    *entry = (struct table_entry){
        .op = op,
        .deadline_ns = deadline_ns,
        .queue_next = TABLE_NONE,
        .bucket = BUCKET_NONE,
        .state = TABLE_QUEUED,
    };
    table->count++;
    table_wake_at(table, index, deadline_ns);
    return index;
}

void table_remove(struct table *table, uint32_t index)
{
    struct table_entry *entry = table_at(table, index);
    ASSERT(entry->state != TABLE_FREE);
    bucket_unlink(table, index);
    entry->op = NULL;
    entry->state = TABLE_FREE;
    entry->queue_next = table->free_head;
    table->free_head = index;
    table->count--;
}

uint64_t table_new_id(struct table *table, uint32_t index)
{
    table->attempts = (table->attempts + 1) & ((UINT64_C(1) << TABLE_ATTEMPT_BITS) - 1);
    return table->attempts << TABLE_INDEX_BITS | index;
}

uint32_t table_id_index(uint64_t id)
{
    return (uint32_t)(id & ((UINT64_C(1) << TABLE_INDEX_BITS) - 1));
}

uint32_t table_find_sent(const struct table *table, uint64_t id)
{
    uint32_t index = table_id_index(id);
    if (index >= table->capacity)
        return TABLE_NONE;
    const struct table_entry *entry = &table->entries[index];
    return entry->state == TABLE_SENT && entry->id == id ? index : TABLE_NONE;
}

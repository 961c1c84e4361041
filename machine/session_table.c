#include "machine/session_internal.h"

#include "base/fatal.h"
#include "base/list.h"

#include <stdlib.h>
#include <string.h>

struct session_table *session_table_create(void)
{
    struct session_table *table = mem_zalloc(sizeof *table);
    table->limits = (struct session_limits){.sessions = SESSIONS_MAX,
                                            .window = SESSION_WINDOW,
                                            .sweep_commands = SESSION_SWEEP_COMMANDS,
                                            .lifetime_ms = SESSION_LIFETIME_MS,
                                            .clock_step_max_ms = SESSION_CLOCK_STEP_MAX_MS,
                                            .clock_lag_ms = SESSION_CLOCK_LAG_MS,
                                            .slots = SESSION_SLOTS_MAX,
                                            .body_bytes = SESSION_BODY_BYTES_MAX,
                                            .bodies_bytes = SESSION_BODIES_BYTES_MAX};
    return table;
}

void session_table_set_limits(struct session_table *table, const struct session_limits *limits)
{
    ASSERT(table->count == 0 && limits->sessions >= 1 && limits->sessions <= SESSIONS_MAX);
    ASSERT(limits->window >= SESSION_SLOTS_MIN && (limits->window & (limits->window - 1)) == 0);
    ASSERT(limits->sweep_commands >= 2);
    table->limits = *limits;
}

struct session_limits session_table_limits(const struct session_table *table)
{
    return table->limits;
}

/* --- Lists ------------------------------------------------------------------------------------ */

static struct session **bucket_of(struct session_table *table, uint64_t id)
{
    return &table->buckets[id % SESSION_BUCKETS];
}

static void order_unlink(struct session_table *table, struct session *session)
{
    *(session->older ? &session->older->newer : &table->oldest) = session->newer;
    *(session->newer ? &session->newer->older : &table->newest) = session->older;
}

static void order_append(struct session_table *table, struct session *session)
{
    session->older = table->newest;
    session->newer = NULL;
    *(table->newest ? &table->newest->newer : &table->oldest) = session;
    table->newest = session;
}

void session_mark_dirty(struct session_table *table, struct session *session)
{
    if (session->dirty)
        return;
    session->dirty = true;
    session->next_dirty = table->dirty;
    table->dirty = session;
}

void session_mark_changed(struct session_table *table, struct session *session, uint64_t from,
                          uint64_t to)
{
    session_mark_dirty(table, session);
    if (session->changed_to == 0 || from < session->changed_from)
        session->changed_from = from;
    if (to > session->changed_to)
        session->changed_to = to;
}

static void dirty_unlink(struct session_table *table, struct session *session)
{
    if (!session->dirty)
        return;
    struct session **link = &table->dirty;
    while (*link != session)
        link = &(*link)->next_dirty;
    *link = session->next_dirty;
    session->dirty = false;
}

void session_table_insert(struct session_table *table, struct session *session)
{
    struct session **bucket = bucket_of(table, session->id);
    session->in_bucket = *bucket;
    *bucket = session;
    order_append(table, session);
    table->count++;
}

/* --- Slots ------------------------------------------------------------------------------------ */

static uint64_t body_charge(const struct buf *body)
{
    return body ? body->bytes + SESSION_BODY_OVERHEAD_BYTES : 0;
}

static void body_drop(struct session_table *table, struct session *session,
                      struct session_slot *slot)
{
    uint64_t charge = body_charge(slot->body);
    session->body_bytes -= charge;
    table->body_bytes -= charge;
    buf_unref(slot->body);
    slot->body = NULL;
}

void session_ring_create(struct session_table *table, struct session *session, uint32_t capacity)
{
    ASSERT(!session->slots && capacity > 0);
    session->slots = mem_zalloc(capacity * sizeof *session->slots);
    session->capacity = capacity;
    table->slots += capacity;
}

static void ring_destroy(struct session_table *table, struct session *session)
{
    for (uint32_t i = 0; i < session->capacity; i++)
        body_drop(table, session, &session->slots[i]);
    free(session->slots);
    session->slots = NULL;
    table->slots -= session->capacity;
    session->capacity = 0;
}

/* Makes room for `span` numbers above the acknowledged one. Depends on numbers alone. False: all
 * slots are taken. */
static bool ring_reserve(struct session_table *table, struct session *session, uint64_t span)
{
    uint32_t capacity = session->capacity ? session->capacity : SESSION_SLOTS_MIN;
    while (capacity < span)
        capacity *= 2;
    if (capacity == session->capacity)
        return true;
    if (capacity > SESSION_SLOTS_MIN &&
        table->slots - session->capacity + capacity > table->limits.slots)
        return false;
    struct session_slot *old = session->slots;
    uint32_t old_capacity = session->capacity;
    table->slots -= old_capacity;
    session->slots = NULL;
    session_ring_create(table, session, capacity);
    for (uint32_t i = 0; i < old_capacity; i++)
        if (old[i].state != SLOT_FREE)
            *session_slot_of(session, old[i].sequence) = old[i];
    free(old);
    return true;
}

/* --- Sessions --------------------------------------------------------------------------------- */

struct session *session_table_find(const struct session_table *table, uint64_t id)
{
    struct session *session = table->buckets[id % SESSION_BUCKETS];
    while (session && session->id != id)
        session = session->in_bucket;
    return session;
}

/* Out of all lists, and freed. */
static void session_end(struct session_table *table, struct session *session)
{
    struct session **link = bucket_of(table, session->id);
    while (*link != session)
        link = &(*link)->in_bucket;
    *link = session->in_bucket;
    order_unlink(table, session);
    dirty_unlink(table, session);
    ring_destroy(table, session);
    table->count--;
    free(session);
}

void session_table_remove(struct session_table *table, struct session *session)
{
    LIST_RESERVE(&table->removed);
    table->removed.items[table->removed.count++] = session->id;
    session_end(table, session);
}

void session_table_clear(struct session_table *table)
{
    session_table_saved(table);
    while (table->oldest)
        session_end(table, table->oldest);
    table->clock_ms = table->commands = 0;
    table->audit = (struct audit_chain){0};
    ASSERT(table->count == 0 && table->slots == 0 && table->body_bytes == 0);
}

struct audit_chain session_table_audit(const struct session_table *table)
{
    return table->audit;
}

void session_table_set_audit(struct session_table *table, const struct audit_chain *chain)
{
    table->audit = *chain;
    table->changed = true;
}

void session_table_destroy(struct session_table *table)
{
    if (!table)
        return;
    session_table_clear(table);
    free(table->removed.items);
    free(table);
}

struct session *session_table_open(struct session_table *table, uint64_t index)
{
    ASSERT(!session_table_find(table, index));
    if (table->count == table->limits.sessions)
        session_table_remove(table, table->oldest);
    struct session *session = mem_zalloc(sizeof *session);
    session->id = session->used_index = index;
    session->used_ms = table->clock_ms;
    session_table_insert(table, session);
    session_mark_dirty(table, session);
    return session;
}

/* Forgets everything up to `acknowledged`: the client will never ask for it again. */
static void session_acknowledge(struct session_table *table, struct session *session,
                                uint64_t acknowledged)
{
    if (acknowledged <= session->acknowledged)
        return;
    uint64_t last = acknowledged < session->highest ? acknowledged : session->highest;
    for (uint64_t at = session->acknowledged + 1; at <= last; at++) {
        struct session_slot *slot = session_slot_of(session, at);
        if (slot->state == SLOT_FREE)
            continue;
        ASSERT(slot->sequence == at);
        body_drop(table, session, slot);
        *slot = (struct session_slot){0};
    }
    session->acknowledged = acknowledged;
    if (session->acknowledged >= session->highest && session->capacity > SESSION_SLOTS_MIN)
        ring_destroy(table, session);
}

void session_table_use(struct session_table *table, struct session *session, uint64_t index,
                       uint64_t acknowledged)
{
    ASSERT(index > session->used_index);
    session->used_index = index;
    session->used_ms = table->clock_ms;
    if (table->newest != session) {
        order_unlink(table, session);
        order_append(table, session);
    }
    session_acknowledge(table, session, acknowledged);
    session_mark_dirty(table, session);
}

void session_table_pass_time(struct session_table *table, uint64_t elapsed_ms)
{
    uint64_t step_max_ms = table->limits.clock_step_max_ms;
    table->clock_ms += elapsed_ms < step_max_ms ? elapsed_ms : step_max_ms;
    table->changed = true;
    /* The order of use is the order of time, as cluster time never goes back. */
    while (table->oldest && table->oldest->used_ms + table->limits.lifetime_ms <= table->clock_ms) {
        struct session *ended = table->oldest;
        session_table_remove(table, ended);
        ASSERT(table->oldest != ended);
    }
}

uint64_t session_table_clock_ms(const struct session_table *table)
{
    return table->clock_ms;
}

uint32_t session_table_count(const struct session_table *table)
{
    return table->count;
}

uint64_t session_table_slots(const struct session_table *table)
{
    return table->slots;
}

uint64_t session_table_body_bytes(const struct session_table *table)
{
    return table->body_bytes;
}

/* --- Commands --------------------------------------------------------------------------------- */

enum session_verdict session_table_admit(struct session_table *table, struct session *session,
                                         uint64_t sequence, uint32_t item,
                                         const struct session_slot **ret)
{
    if (sequence <= session->acknowledged)
        return SESSION_FORGOTTEN_COMMAND;
    uint64_t span = sequence - session->acknowledged;
    if (span > table->limits.window || !ring_reserve(table, session, span))
        return SESSION_NO_ROOM;
    struct session_slot *slot = session_slot_of(session, sequence);
    if (slot->state == SLOT_FREE) {
        *slot = (struct session_slot){.sequence = sequence, .code = item, .state = SLOT_PENDING};
        if (sequence > session->highest)
            session->highest = sequence;
        table->commands++;
        table->changed = true;
        *ret = slot;
        return SESSION_NEW;
    }
    ASSERT(slot->sequence == sequence); /* one ring holds no two numbers of one window */
    if (slot->state == SLOT_FORGOTTEN)
        return SESSION_FORGOTTEN_COMMAND;
    *ret = slot;
    return SESSION_REPEAT;
}

/* The slot of a command that is still wanted, or NULL. */
static struct session_slot *slot_pending(struct session *session, uint64_t sequence)
{
    if (sequence <= session->acknowledged)
        return NULL;
    struct session_slot *slot = session_slot_of(session, sequence);
    ASSERT(slot->sequence == sequence && slot->state == SLOT_PENDING);
    return slot;
}

bool session_table_keeps(const struct session_table *table, const struct buf *body)
{
    return !body || body->bytes <= table->limits.body_bytes;
}

void session_table_settle(struct session_table *table, struct session *session, uint64_t sequence,
                          int code, struct buf *body)
{
    struct session_slot *slot = slot_pending(session, sequence);
    if (!slot)
        return;
    session_mark_changed(table, session, sequence, sequence);
    if (!session_table_keeps(table, body)) {
        slot->state = SLOT_FORGOTTEN;
        slot->code = 0;
        return;
    }
    slot->state = SLOT_KEPT;
    slot->code = (uint32_t)code;
    slot->body = body ? buf_ref(body) : NULL;
    session->body_bytes += body_charge(body);
    table->body_bytes += body_charge(body);
}

void session_table_settle_forgotten(struct session_table *table, struct session *session,
                                    uint64_t sequence)
{
    struct session_slot *slot = slot_pending(session, sequence);
    if (!slot)
        return;
    session_mark_changed(table, session, sequence, sequence);
    slot->state = SLOT_FORGOTTEN;
    slot->code = 0;
}

bool session_table_wants_sweep(const struct session_table *table)
{
    return table->commands % table->limits.sweep_commands == 0;
}

void session_table_sweep(struct session_table *table)
{
    while (table->body_bytes > table->limits.bodies_bytes) {
        struct session *most = table->oldest;
        ASSERT(most); /* somebody holds the bytes */
        for (struct session *at = most; at; at = at->newer)
            if (at->body_bytes > most->body_bytes)
                most = at;
        for (uint32_t i = 0; i < most->capacity; i++) {
            struct session_slot *slot = &most->slots[i];
            if (!slot->body)
                continue;
            body_drop(table, most, slot);
            slot->state = SLOT_FORGOTTEN;
            slot->code = 0;
        }
        session_mark_changed(table, most, most->acknowledged + 1, most->highest);
    }
}

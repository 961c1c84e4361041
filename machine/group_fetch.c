/* Handing out: first what has come back, then what is new. */
#include "base/fatal.h"
#include "machine/group_internal.h"
#include "machine/kv_lease.h"
#include "machine/topic_read.h"

#include <stdlib.h>

struct taken {
    uint64_t sequence, deliveries;
    bool gone; /* the topic has dropped it */
};

/* One fetch. */
struct fetch {
    struct group *group;
    uint64_t lease;
    uint64_t first; /* the topic keeps */
    uint64_t room;  /* messages that may still be handed out */
    uint64_t lost;
    bool once;
    bool short_look; /* there may be more than was looked at */
    struct taken *ready;
    uint32_t looked; /* of them */
    struct pack runs;
    uint32_t run_count;
    struct conclave_group_run run; /* the last one; count 0: none yet */
};

static void run_end(struct fetch *fetch)
{
    if (fetch->run.count == 0)
        return;
    group_run_pack(&fetch->runs, &fetch->run);
    fetch->run_count++;
}

static void run_add(struct fetch *fetch, uint64_t sequence, uint64_t deliveries)
{
    struct conclave_group_run *run = &fetch->run;
    if (run->count && sequence == run->first + run->count && deliveries == run->deliveries) {
        run->count++;
        return;
    }
    run_end(fetch);
    *run = (struct conclave_group_run){sequence, 1, deliveries};
}

/* rc. This message is the member's now. */
static int hand_out(struct kv_batch *batch, struct fetch *fetch, uint64_t sequence,
                    uint64_t deliveries)
{
    struct group_record *record = &fetch->group->record;
    const struct group_held held = {deliveries, group_end_of(batch, record->ack_ms)};
    ASSERT(fetch->room > 0);
    fetch->room--;
    record->redelivered += deliveries > 1;
    run_add(fetch, sequence, deliveries);
    if (fetch->once) {
        record->acked++;
        return 0;
    }
    return group_hold(batch, fetch->group, fetch->lease, sequence, held);
}

/* rc. Looks at what came back, in order, without changing it: a cursor does not outlive that. */
static int look(struct kv_batch *batch, struct fetch *fetch)
{
    struct tables_cursor cursor;
    uint64_t id = fetch->group->record.id, wanted = fetch->room;
    struct topic_key from = group_key2(GROUP_TAG_READY, id, 0);
    struct slice key = topic_key_slice(&from), value = {0};
    int rc = tables_cursor_open(&batch->tx, TABLE_GROUPS, &cursor);
    if (rc)
        return rc;
    rc = tables_cursor_move(&cursor, TABLES_FROM, &key, &value);
    while (!rc && wanted > 0 && group_key_is(key, GROUP_TAG_READY, id, 1)) {
        struct taken taken = {.sequence = topic_number_at(key.data + 9)};
        if (fetch->looked == GROUP_FETCH_LOOKS) {
            fetch->short_look = true;
            break;
        }
        rc = topic_numbers_read(value, &taken.deliveries, sizeof taken.deliveries);
        taken.gone = taken.sequence < fetch->first;
        wanted -= !taken.gone;
        fetch->ready[fetch->looked++] = taken;
        if (!rc)
            rc = tables_cursor_move(&cursor, TABLES_NEXT, &key, &value);
    }
    tables_cursor_close(&cursor);
    return rc == CONCLAVE_NOT_FOUND ? 0 : rc;
}

/* rc. */
static int take_ready(struct kv_batch *batch, struct fetch *fetch)
{
    struct group_record *record = &fetch->group->record;
    int rc = record->ready ? look(batch, fetch) : 0;
    for (uint32_t i = 0; !rc && i < fetch->looked; i++) {
        const struct taken *taken = &fetch->ready[i];
        struct topic_key key = group_key2(GROUP_TAG_READY, record->id, taken->sequence);
        record->ready--;
        rc = group_erase_key(batch, &key);
        fetch->lost += taken->gone;
        if (!rc && !taken->gone)
            rc = hand_out(batch, fetch, taken->sequence, taken->deliveries + 1);
    }
    return rc;
}

/* rc. */
static int take_new(struct kv_batch *batch, struct fetch *fetch, uint64_t end)
{
    struct group_record *record = &fetch->group->record;
    uint64_t pending = group_pending(record);
    uint64_t may = record->pending_max > pending ? record->pending_max - pending : 0;
    int rc = 0;
    if (record->next < fetch->first) { /* dropped before anybody got them: said, not passed over */
        fetch->lost += fetch->first - record->next;
        record->next = fetch->first;
    }
    if (fetch->once)
        may = fetch->room;
    for (; !rc && fetch->room > 0 && may > 0 && record->next < end; may--)
        rc = hand_out(batch, fetch, record->next++, 1);
    return rc;
}

/* rc. A member with something in hand is known, and its lease tells of its end. */
static int note_member(struct kv_batch *batch, const struct fetch *fetch, bool known,
                       const struct group_member *member)
{
    struct group_record *record = &fetch->group->record;
    if (!known) {
        record->members++;
        int rc = kv_lease_join(batch, fetch->lease, record->id);
        if (rc)
            return rc;
    }
    return group_member_write(batch, record->id, fetch->lease, member);
}

static void answer(struct kv_batch *batch, struct fetch *fetch, uint64_t end)
{
    struct group_record *record = &fetch->group->record;
    struct pack pack;
    run_end(fetch);
    if (!batch->reply)
        return;
    pack_init(&pack, 0);
    group_fetch_answer_pack(
        &pack,
        &(struct group_fetch_answer){.revision = batch->state.revision,
                                     .wake = group_wake(record, end) - fetch->short_look,
                                     .lost = fetch->lost,
                                     .ack_ms = record->ack_ms,
                                     .count = fetch->run_count},
        (struct slice){fetch->runs.buf->data, fetch->runs.bytes});
    reply_sink_take(batch->reply, CONCLAVE_OK, pack_take(&pack));
}

/* rc. */
static int run(struct kv_batch *batch, struct fetch *fetch, bool known, struct group_member *member)
{
    struct group_record *record = &fetch->group->record;
    const struct topic_record *topic = &batch->topics.record;
    uint64_t held = record->held;
    int rc = group_topic_first(batch, &fetch->first);
    if (!rc)
        rc = take_ready(batch, fetch);
    if (!rc)
        rc = take_new(batch, fetch, topic->end);
    uint64_t got = record->held - held;
    member->held += got;
    record->lost += fetch->lost;
    if (!rc && got)
        rc = note_member(batch, fetch, known, member);
    if (!rc && got)
        rc = group_due_at(batch, fetch->group, group_end_of(batch, record->ack_ms));
    if (!rc && (fetch->run.count || fetch->lost))
        rc = group_write(batch, fetch->group);
    if (!rc)
        answer(batch, fetch, topic->end);
    return rc;
}

int group_fetch(struct kv_batch *batch, const struct group_command *command, struct group *group)
{
    struct group_member member;
    bool lives, known;
    int rc = group_member_load(batch, group, command->lease, &lives, &known, &member);
    if (rc)
        return rc;
    if (!lives) {
        group_answer(batch, CONCLAVE_LEASE_EXPIRED, command->lease);
        return 0;
    }
    uint64_t held_max = group->record.held_max;
    uint64_t room = held_max > member.held ? held_max - member.held : 0;
    struct fetch fetch = {.group = group,
                          .lease = command->lease,
                          .room = command->limit < room || command->once ? command->limit : room,
                          .once = command->once};
    group_note(batch, group);
    fetch.ready = mem_alloc(GROUP_FETCH_LOOKS * sizeof *fetch.ready);
    pack_init(&fetch.runs, 0);
    rc = run(batch, &fetch, known, &member);
    pack_deinit(&fetch.runs);
    free(fetch.ready);
    return rc;
}

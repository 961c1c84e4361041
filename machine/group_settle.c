/* What members say of what they hold: done, not done, in progress. A message that the member does
 * not hold any more is another one's, or somebody's already: nothing happens to it, and it is said.
 */
#include "base/fatal.h"
#include "machine/group_internal.h"

/* One ack, nack or extend. */
struct settle {
    struct group *group;
    const struct group_command *command;
    uint64_t settled, returned;
    uint64_t earliest_ms; /* of the deadlines that it sets; UINT64_MAX: none */
    struct pack missing;
    uint32_t missing_count;
    struct conclave_group_range run; /* the last one that is missing; count 0: none yet */
};

static void missing_end(struct settle *settle)
{
    if (settle->run.count == 0)
        return;
    group_range_pack(&settle->missing, &settle->run);
    settle->missing_count++;
}

static void missing_add(struct settle *settle, uint64_t sequence)
{
    struct conclave_group_range *run = &settle->run;
    if (run->count && sequence == run->first + run->count) {
        run->count++;
        return;
    }
    missing_end(settle);
    *run = (struct conclave_group_range){sequence, 1};
}

/* rc. Held until then, by the member or by nobody. */
static int hold_until(struct kv_batch *batch, struct settle *settle, uint64_t lease,
                      uint64_t sequence, struct group_held held)
{
    if (held.deadline_ms < settle->earliest_ms)
        settle->earliest_ms = held.deadline_ms;
    return group_hold(batch, settle->group, lease, sequence, held);
}

/* rc. It is not the member's any more. A dead letter is moved when time passes next. */
static int give_back(struct kv_batch *batch, struct settle *settle, uint64_t sequence,
                     uint64_t deliveries)
{
    struct group_held held = {deliveries, group_end_of(batch, settle->command->delay_ms)};
    if (group_is_exhausted(&settle->group->record, deliveries))
        held.deadline_ms = batch->clock_ms;
    else if (settle->command->delay_ms == 0) {
        settle->returned++;
        return group_make_ready(batch, settle->group, sequence, deliveries);
    }
    return hold_until(batch, settle, 0, sequence, held);
}

/* rc. */
static int settle_one(struct kv_batch *batch, struct settle *settle, uint64_t sequence)
{
    const struct group_command *command = settle->command;
    struct group_record *record = &settle->group->record;
    struct group_held held;
    int rc = group_held_find(batch, settle->group, command->lease, sequence, &held);
    if (rc == CONCLAVE_NOT_FOUND) {
        missing_add(settle, sequence);
        return 0;
    }
    if (!rc)
        rc = group_let_go(batch, settle->group, command->lease, sequence, held);
    if (rc)
        return rc;
    settle->settled++;
    if (command->opcode == GROUP_ACK)
        record->acked++;
    if (command->opcode == GROUP_NACK)
        rc = give_back(batch, settle, sequence, held.deliveries);
    held.deadline_ms = group_end_of(batch, record->ack_ms);
    if (command->opcode == GROUP_EXTEND)
        rc = hold_until(batch, settle, command->lease, sequence, held);
    return rc;
}

static void answer(struct kv_batch *batch, struct settle *settle)
{
    struct pack pack;
    missing_end(settle);
    if (!batch->reply)
        return;
    pack_init(&pack, 0);
    group_settle_answer_pack(
        &pack,
        &(struct group_settle_answer){.revision = batch->state.revision,
                                      .settled = settle->settled,
                                      .missing = {.count = settle->missing_count}},
        (struct slice){settle->missing.buf->data, settle->missing.bytes});
    reply_sink_take(batch->reply, CONCLAVE_OK, pack_take(&pack));
}

/* rc. All of them, then the group and the member. */
static int run(struct kv_batch *batch, struct settle *settle, struct group_ranges ranges,
               struct group_member *member)
{
    struct group_record *record = &settle->group->record;
    bool was_full = group_pending(record) >= record->pending_max;
    uint64_t held = record->held;
    int rc = 0;
    for (uint32_t i = 0; i < ranges.count; i++) {
        struct conclave_group_range range = group_ranges_next(&ranges);
        for (uint64_t at = 0; !rc && at < range.count; at++)
            rc = settle_one(batch, settle, range.first + at);
    }
    if (rc)
        return rc;
    member->held -= held - record->held;
    if (settle->settled) {
        if (settle->returned || (was_full && group_pending(record) < record->pending_max))
            group_touch(batch, settle->group);
        if (settle->earliest_ms != UINT64_MAX)
            rc = group_due_at(batch, settle->group, settle->earliest_ms);
        if (!rc)
            rc = group_member_write(batch, record->id, settle->command->lease, member);
        if (!rc)
            rc = group_write(batch, settle->group);
    }
    if (!rc)
        answer(batch, settle);
    return rc;
}

int group_settle(struct kv_batch *batch, struct group_command *command, struct group *group)
{
    struct group_member member;
    struct settle settle = {.group = group, .command = command, .earliest_ms = UINT64_MAX};
    bool lives, known;
    int rc = group_member_load(batch, group, command->lease, &lives, &known, &member);
    if (rc)
        return rc;
    if (!lives) {
        group_answer(batch, CONCLAVE_LEASE_EXPIRED, command->lease);
        return 0;
    }
    group_note(batch, group);
    pack_init(&settle.missing, 0);
    rc = run(batch, &settle, command->ranges, &member);
    pack_deinit(&settle.missing);
    return rc;
}

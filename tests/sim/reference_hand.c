/* Handing out the messages of a group, and what members say of them, in the rules written down once
 * more. */
#include "base/list.h"
#include "tests/sim/reference_internal.h"

/* --- Handing out ------------------------------------------------------------------------------ */

/* One fetch. */
struct fetch {
    struct reference *reference;
    struct reference_group *group;
    const struct group_command *command;
    uint64_t room, got, lost;
    struct pack runs;
    uint32_t run_count;
    struct conclave_group_run run; /* the last one; count 0: none yet */
};

static void run_end(struct fetch *fetch)
{
    if (fetch->run.count)
        group_run_pack(&fetch->runs, &fetch->run);
    fetch->run_count += fetch->run.count > 0;
}

/* This message is the member's now, as the group has it already. */
static void hand_out(struct fetch *fetch, struct reference_handed *handed)
{
    struct reference *reference = fetch->reference;
    struct conclave_group_run *run = &fetch->run;
    uint64_t deliveries = ++handed->deliveries;
    fetch->room--;
    fetch->got++;
    fetch->group->redelivered += deliveries > 1;
    reference->counts.handed_again += deliveries > 1;
    reference->counts.handed_again_later += deliveries > 1 && handed->term < reference->at.term;
    handed->term = reference->at.term;
    handed->ready = false;
    handed->lease = fetch->command->lease;
    handed->deadline_ms = reference_group_end_of(reference, fetch->group->ack_ms);
    if (run->count && run->first + run->count == handed->sequence &&
        run->deliveries == deliveries) {
        run->count++;
        return;
    }
    run_end(fetch);
    *run = (struct conclave_group_run){handed->sequence, 1, deliveries};
}

/* Done when handed out. */
static void done(struct reference_group *group, uint32_t at)
{
    group->acked++;
    reference_handed_remove(group, at);
}

static void take_ready(struct fetch *fetch, uint64_t first)
{
    struct reference_group *group = fetch->group;
    for (uint32_t i = 0; i < group->handed.count && fetch->room > 0;) {
        struct reference_handed *handed = &group->handed.items[i];
        if (!handed->ready) {
            i++;
        } else if (handed->sequence < first) {
            fetch->lost++;
            reference_handed_remove(group, i);
        } else {
            hand_out(fetch, handed);
            if (fetch->command->once)
                done(group, i);
            else
                i++;
        }
    }
}

static void take_new(struct fetch *fetch, uint64_t first, uint64_t end)
{
    struct reference_group *group = fetch->group;
    if (group->next < first) {
        fetch->lost += first - group->next;
        group->next = first;
    }
    bool once = fetch->command->once;
    while (fetch->room > 0 && group->next < end &&
           (once || group->handed.count < group->pending_max)) {
        LIST_RESERVE(&group->handed);
        struct reference_handed *handed = &group->handed.items[group->handed.count++];
        *handed = (struct reference_handed){.sequence = group->next++};
        hand_out(fetch, handed);
        if (once)
            done(group, group->handed.count - 1);
    }
    fetch->reference->counts.full += group->next < end && fetch->got < fetch->command->limit;
}

static void note_member(struct reference_group *group, uint64_t lease)
{
    for (uint32_t i = 0; i < group->members.count; i++)
        if (group->members.items[i].lease == lease)
            return;
    LIST_RESERVE(&group->members);
    group->members.items[group->members.count++] = (struct reference_member){.lease = lease};
}

struct reference_reply reference_fetch(struct reference *reference, struct reference_group *group,
                                       const struct group_command *command)
{
    const struct reference_topic *topic = reference_topic_of(reference, group->topic);
    uint64_t first = reference_topic_first(reference, topic);
    uint64_t held = reference_group_held(group, command->lease);
    uint64_t room = group->held_max > held ? group->held_max - held : 0;
    struct fetch fetch = {.reference = reference, .group = group, .command = command};
    fetch.room = command->once || command->limit < room ? command->limit : room;
    pack_init(&fetch.runs, 0);
    take_ready(&fetch, first);
    take_new(&fetch, first, topic->end);
    run_end(&fetch);
    group->lost += fetch.lost;
    reference->counts.dropped += fetch.lost;
    if (fetch.got && !command->once) {
        note_member(group, command->lease);
        reference_group_due_at(group, reference_group_end_of(reference, group->ack_ms));
    }
    struct group_fetch_answer answer = {.revision = reference->revision,
                                        .wake = reference_group_wake(reference, group),
                                        .lost = fetch.lost,
                                        .ack_ms = group->ack_ms,
                                        .count = fetch.run_count};
    struct pack pack;
    pack_init(&pack, 0);
    group_fetch_answer_pack(&pack, &answer, (struct slice){fetch.runs.buf->data, fetch.runs.bytes});
    pack_deinit(&fetch.runs);
    return reference_reply_take(CONCLAVE_OK, &pack);
}

/* --- What members say of it ------------------------------------------------------------------- */

/* One ack, nack or extend. */
struct settle {
    struct reference *reference;
    struct reference_group *group;
    const struct group_command *command;
    uint64_t settled, returned;
    struct pack missing;
    uint32_t missing_count;
    struct conclave_group_range run; /* the last one that is missing; count 0: none yet */
};

static void missing_end(struct settle *settle)
{
    if (settle->run.count)
        group_range_pack(&settle->missing, &settle->run);
    settle->missing_count += settle->run.count > 0;
}

static void missing_add(struct settle *settle, uint64_t sequence)
{
    struct conclave_group_range *run = &settle->run;
    if (run->count && run->first + run->count == sequence) {
        run->count++;
        return;
    }
    missing_end(settle);
    *run = (struct conclave_group_range){sequence, 1};
}

/* Whoever gives back what was delivered too often sees it go when time passes next. */
static void settle_one(struct settle *settle, uint64_t sequence)
{
    struct reference *reference = settle->reference;
    struct reference_group *group = settle->group;
    const struct group_command *command = settle->command;
    uint32_t at = 0;
    while (at < group->handed.count && group->handed.items[at].sequence != sequence)
        at++;
    if (at == group->handed.count || group->handed.items[at].lease != command->lease) {
        missing_add(settle, sequence);
        return;
    }
    struct reference_handed *handed = &group->handed.items[at];
    settle->settled++;
    if (command->opcode == GROUP_ACK) {
        done(group, at);
        return;
    }
    if (command->opcode == GROUP_EXTEND) {
        handed->deadline_ms = reference_group_end_of(reference, group->ack_ms);
        reference_group_due_at(group, handed->deadline_ms);
        return;
    }
    bool exhausted = reference_is_exhausted(group, handed->deliveries);
    handed->lease = handed->deadline_ms = 0;
    handed->ready = !exhausted && command->delay_ms == 0;
    settle->returned += handed->ready;
    if (handed->ready)
        return;
    handed->deadline_ms =
        exhausted ? reference->clock_ms : reference_group_end_of(reference, command->delay_ms);
    reference_group_due_at(group, handed->deadline_ms);
}

struct reference_reply reference_settle(struct reference *reference, struct reference_group *group,
                                        struct group_command *command)
{
    struct settle settle = {.reference = reference, .group = group, .command = command};
    bool was_full = group->handed.count >= group->pending_max;
    pack_init(&settle.missing, 0);
    for (uint32_t i = 0; i < command->ranges.count; i++) {
        struct conclave_group_range range = group_ranges_next(&command->ranges);
        for (uint64_t at = 0; at < range.count; at++)
            settle_one(&settle, range.first + at);
    }
    missing_end(&settle);
    group->returned +=
        settle.returned || (was_full && group->handed.count < group->pending_max) ? 1 : 0;
    struct pack pack;
    pack_init(&pack, 0);
    group_settle_answer_pack(
        &pack,
        &(struct group_settle_answer){.revision = reference->revision,
                                      .settled = settle.settled,
                                      .missing = {.count = settle.missing_count}},
        (struct slice){settle.missing.buf->data, settle.missing.bytes});
    pack_deinit(&settle.missing);
    return reference_reply_take(CONCLAVE_OK, &pack);
}

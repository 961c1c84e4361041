/* What state machines answer and hold, against the rules written down once more
 * (tests/sim/reference.h), and against one another. */
#include "machine/reply.h"
#include "tests/sim/map.h"
#include "tests/sim/world.h"

#include <inttypes.h>

static const char *const verdict_texts[REFERENCE_VERDICT_COUNT] = {
    "no command of a session", "applied for the first time", "a repeat",
    "acknowledged before",     "of a forgotten answer",      "without room",
    "of an expired session"};

/* A repeat is interesting where the first answer did not come, or came from elsewhere. */
static void repeat_marks(struct world *world, const struct node *node,
                         const struct raft_entry *entry, const struct reference_entry *told)
{
    struct report *report = &world->report;
    const struct check_entry *original = check_log_at(&world->check.oracle, told->original);
    uint64_t number = entry->origin.request;
    if (!original || original->op == 0 || number == 0)
        return; /* nobody waits for it here */
    const struct op *first = &world->ops.items[original->op];
    report_mark(report, SIM_MARK_REPEAT_ANSWERED);
    if (first->node != world_index(world, node))
        report_mark(report, SIM_MARK_REPEAT_ELSEWHERE);
    if (first->state != OP_OK)
        report_mark(report, SIM_MARK_REPEAT_LOST);
    if (node->incarnation > 1 && told->original <= node->start_applied)
        report_mark(report, SIM_MARK_REPEAT_RESTART);
}

/* When the command was handed to a core. */
static uint64_t proposed_us(const struct world *world, const struct raft_entry *entry)
{
    uint64_t number;
    bool command = entry->kind == RAFT_ENTRY_COMMAND || entry->kind == RAFT_ENTRY_SESSION;
    if (!command || !command_decode(entry->payload, &number) || number > world->ops.count)
        return 0;
    return world->ops.items[number].proposed_us;
}

/* The true time that is over at the latest when so much was measured, by the fastest clock. */
static uint64_t least_us(const struct world *world, uint64_t ttl_ms)
{
    uint64_t us = (uint64_t)((double)ttl_ms * 1e3 * (1e6 / (double)world_fastest(world)));
    return us > 2 ? us - 2 : 0; /* clocks tell whole microseconds */
}

/* A lease lives at least as long as was said, from the moment at which a leader took it. */
static void ends_check(struct world *world, uint64_t index)
{
    for (uint32_t i = 0; i < world->reference.ends.count; i++) {
        const struct reference_end *end = &world->reference.ends.items[i];
        const struct reference_lease *lease = &end->lease;
        report_mark(&world->report, SIM_MARK_LEASE_EXPIRED);
        if (end->keys)
            report_mark(&world->report, SIM_MARK_LEASE_KEYS_EXPIRED);
        world->report.marks[SIM_MARK_LOCK_EXPIRED] += end->places;
        if (lease->term < world->reference.at.term)
            report_mark(&world->report, SIM_MARK_LEASE_SURVIVED);
        if (world->now_us < lease->from_us + least_us(world, lease->ttl_ms))
            check_fail(&world->check, "a lease is never early",
                       "lease %" PRIu64 " of %" PRIu64 " ms that began at %" PRIu64
                       " us ends with entry %" PRIu64,
                       lease->id, lease->ttl_ms, lease->from_us, index);
    }
}

void check_machine_entry(struct world *world, struct node *node, const struct raft_entry *entry,
                         const struct conclave_reply_sink *reply)
{
    struct check *check = &world->check;
    uint64_t index = entry->id.index;
    uint64_t hash = 0;
    if (reply && !node->altered)
        hash = reference_reply_hash(reply->refused, reply->code,
                                    reply->body ? reply->body->data : NULL,
                                    reply->body ? reply->body->bytes : 0);
    if (index > reference_applied(&world->reference)) {
        if (index != reference_applied(&world->reference) + 1) {
            check_fail(
                check, "applied in order", "n%u applies %" PRIu64 ", nobody applied %" PRIu64,
                world_index(world, node) + 1, index, reference_applied(&world->reference) + 1);
            return;
        }
        reference_apply_from(&world->reference, entry, proposed_us(world, entry));
        ends_check(world, index);
        watches_note(world);
        if (!reference_groups_balance(&world->reference))
            check_fail(check, "a group accounts for every message", "not after entry %" PRIu64,
                       index);
    }
    const struct reference_entry *told = reference_at(&world->reference, index);
    if (node->altered)
        hash = told->reply; /* what it says is not looked at */
    check_applied(check, world_index(world, node), index, hash);
    if (told->verdict == REFERENCE_REPEATED)
        repeat_marks(world, node, entry, told);
    if (told->reply != hash)
        check_fail(check, "answers are those of the rules",
                   "n%u answers entry %" PRIu64 ", a command %s, with %s and %zu bytes",
                   world_index(world, node) + 1, index, verdict_texts[told->verdict],
                   reply ? conclave_code_name(reply->code) : "nothing",
                   reply && reply->body ? reply->body->bytes : 0);
}

void check_machine_state(struct world *world, struct node *node)
{
    struct check *check = &world->check;
    struct store *store = machine_store(node->machine);
    uint32_t at = world_index(world, node);
    uint64_t index = machine_applied(node->machine);
    if (node->altered)
        return;
    check_store(check, at, index, machine_hash(node->machine));
    const struct reference_entry *told = reference_at(&world->reference, index);
    const char *wrong = NULL;
    if (store_keys_hash(store) != told->keys)
        wrong = "keys";
    else if (store_sessions_hash(store) != told->sessions)
        wrong = "sessions";
    if (wrong)
        check_fail(check, "state is that of the rules",
                   "n%u's %s after entry %" PRIu64 " are other ones", at + 1, wrong, index);
    if (!store_within_limits(store))
        check_fail(check, "sessions keep their limits", "n%u's do not, after entry %" PRIu64,
                   at + 1, index);
    const char *difference = machine_difference(node->machine);
    if (difference)
        check_fail(check, "two stores are one", "n%u's differ in their %s after entry %" PRIu64,
                   at + 1, difference, index);
}

void check_machine_snapshot(struct world *world, struct node *node)
{
    if (node->altered)
        return; /* it gives none */
    struct check *check = &world->check;
    struct store *store = machine_store(node->machine);
    struct store *copy =
        store_create(STORE_MEMORY, &world->knobs.sessions, world->cluster_id, node->id);
    struct buf *snapshot = machine_snapshot(node->machine);
    uint64_t index = machine_applied(node->machine), applied;
    struct conclave_error error = {0};
    int code = store_open(copy, &applied, &error);
    if (!code)
        code = store_restore(copy, index, (struct slice){snapshot->data, snapshot->bytes});
    buf_unref(snapshot);
    const char *wrong = NULL;
    if (code)
        wrong = "bytes";
    else if (store_keys_hash(copy) != store_keys_hash(store))
        wrong = "keys";
    else if (store_sessions_hash(copy) != store_sessions_hash(store))
        wrong = "sessions";
    else if (store_audit(copy) != store_audit(store))
        wrong = "audit";
    if (wrong)
        check_fail(check, "a snapshot is the whole state",
                   "what is restored from n%u's at %" PRIu64 " has other %s",
                   world_index(world, node) + 1, index, wrong);
    store_destroy(copy);
}

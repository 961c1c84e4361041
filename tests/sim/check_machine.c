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
        reference_apply(&world->reference, entry);
        watches_note(world);
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

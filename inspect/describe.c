#include "inspect/describe.h"

#include "base/fatal.h"
#include "codec/coord.h"
#include "codec/group.h"
#include "codec/kv_txn.h"
#include "codec/session.h"
#include "codec/topic.h"
#include "raft/configuration.h"

#include <inttypes.h>
#include <stdlib.h>

static const char *plural(uint64_t count)
{
    return count == 1 ? "" : "s";
}

/* --- Keys ------------------------------------------------------------------------------------- */

static void describe_condition(struct say *text, const struct kv_condition *condition)
{
    if (condition->given && condition->revision == 0)
        say(text, ", if it is absent");
    else if (condition->given)
        say(text, ", if its revision is %" PRIu64, condition->revision);
}

static void describe_put(struct say *text, const struct kv_command *command)
{
    say(text, "put ");
    say_bytes(text, command->key);
    say(text, " ");
    say_bytes(text, command->value);
    if (command->lease > 0)
        say(text, ", lease %" PRIu64, command->lease);
    if (command->ttl_ms > 0)
        say(text, ", for %" PRIu64 " ms", command->ttl_ms);
    describe_condition(text, &command->condition);
}

static void describe_bounds(struct say *text, const struct kv_bounds *bounds)
{
    say(text, "from ");
    say_bytes(text, bounds->from);
    if (bounds->no_end) {
        say(text, " on");
        return;
    }
    say(text, " to ");
    say_bytes(text, bounds->to);
}

static void describe_settings(struct say *text, const struct kv_settings *settings)
{
    static const char *const names[KV_SETTING_COUNT] = {
        [KV_SETTING_CHANGES] = "history",
        [KV_SETTING_BYTES] = "history bytes",
        [KV_SETTING_AGE_MS] = "history age in ms",
        [KV_SETTING_QUOTA] = "quota",
    };
    say(text, "settings:");
    for (size_t i = 0; i < KV_SETTING_COUNT; i++)
        if (settings->given[i])
            say(text, " %s %" PRIu64, names[i], settings->values[i]);
}

static void describe_txn(struct say *text, const struct kv_txn *txn);

static void describe_kv(struct say *text, const struct kv_command *command)
{
    switch (command->opcode) {
    case KV_PUT:
        describe_put(text, command);
        break;
    case KV_DELETE:
        say(text, "delete ");
        say_bytes(text, command->key);
        describe_condition(text, &command->condition);
        break;
    case KV_DELETE_RANGE:
        say(text, "delete keys ");
        describe_bounds(text, &command->bounds);
        break;
    case KV_ADVANCE:
        say(text, "leave out %" PRIu64 " revisions", command->revisions);
        break;
    case KV_TXN:
        describe_txn(text, &command->txn);
        break;
    case KV_LEASE_GRANT:
        say(text, "grant a lease of %" PRIu64 " ms", command->ttl_ms);
        break;
    case KV_LEASE_RENEW:
        say(text, "renew lease %" PRIu64, command->lease);
        break;
    case KV_LEASE_REVOKE:
        say(text, "revoke lease %" PRIu64, command->lease);
        break;
    case KV_SETTINGS:
        describe_settings(text, &command->settings);
        break;
    default:
        say(text, "command %d", (int)command->opcode);
        break;
    }
}

static void describe_query(struct say *text, const struct kv_query *query)
{
    if (query->opcode == KV_GET) {
        say(text, "get ");
        say_bytes(text, query->key);
    } else {
        say(text, "list keys ");
        describe_bounds(text, &query->bounds);
    }
}

/* --- Topics, groups, queues ------------------------------------------------------------------- */

static void describe_publish(struct say *text, const struct topic_command *command)
{
    struct topic_messages messages = command->messages;
    say(text, "publish to ");
    say_bytes(text, command->name);
    say(text, " %" PRIu32 " message%s:", messages.count, plural(messages.count));
    for (uint32_t i = 0; i < command->messages.count && !text->full; i++) {
        const struct topic_message message = topic_messages_next(&messages);
        say(text, " ");
        say_bytes(text, message.data);
        if (message.id.bytes > 0) {
            say(text, " id ");
            say_bytes(text, message.id);
        }
    }
    if (command->expected)
        say(text, ", if its last sequence is %" PRIu64, command->expect);
}

static void describe_topic(struct say *text, const struct topic_command *command)
{
    switch (command->opcode) {
    case TOPIC_PUBLISH:
        describe_publish(text, command);
        break;
    case TOPIC_CREATE:
        say(text, "create topic ");
        say_bytes(text, command->name);
        break;
    case TOPIC_DELETE:
        say(text, "delete topic ");
        say_bytes(text, command->name);
        break;
    case TOPIC_TRIM:
        say(text, "trim topic ");
        say_bytes(text, command->name);
        say(text, " before %" PRIu64, command->sequence);
        break;
    default:
        say(text, "command %d of a topic", (int)command->opcode);
        break;
    }
}

static void describe_ranges(struct say *text, struct group_ranges ranges)
{
    const uint32_t count = ranges.count;
    for (uint32_t i = 0; i < count && !text->full; i++) {
        const struct conclave_group_range range = group_ranges_next(&ranges);
        say(text, " %" PRIu64, range.first);
        if (range.count > 1)
            say(text, "-%" PRIu64, range.first + range.count - 1);
    }
}

static void describe_group(struct say *text, const struct group_command *command)
{
    static const char *const verbs[] = {
        [GROUP_CREATE - GROUP_CREATE] = "create group ",
        [GROUP_DELETE - GROUP_CREATE] = "delete group ",
        [GROUP_FETCH - GROUP_CREATE] = "fetch for group ",
        [GROUP_ACK - GROUP_CREATE] = "acknowledge in group ",
        [GROUP_NACK - GROUP_CREATE] = "give back to group ",
        [GROUP_EXTEND - GROUP_CREATE] = "hold longer in group ",
    };
    say(text, "%s", verbs[command->opcode - GROUP_CREATE]);
    say_bytes(text, command->group);
    say(text, " of topic ");
    say_bytes(text, command->topic);
    if (command->opcode == GROUP_CREATE || command->opcode == GROUP_DELETE)
        return;
    if (command->opcode == GROUP_FETCH)
        say(text, " up to %" PRIu64 "%s", command->limit, command->once ? ", once" : "");
    else
        describe_ranges(text, command->ranges);
    say(text, ", lease %" PRIu64, command->lease);
}

static void describe_coord(struct say *text, const struct coord_request *request)
{
    const bool enqueues = request->opcode == COORD_ENQUEUE;
    say(text, enqueues                         ? "enqueue in "
              : request->opcode == COORD_LEAVE ? "leave "
                                               : "proclaim in ");
    say_bytes(text, request->name);
    if (request->opcode != COORD_LEAVE) {
        say(text, " ");
        say_bytes(text, request->value);
    }
    if (enqueues)
        say(text, ", lease %" PRIu64, request->lease);
    else
        say(text, ", token %" PRIu64, request->token);
    if (enqueues && request->slots != 1)
        say(text, ", %" PRIu64 " slot%s", request->slots, plural(request->slots));
}

/* --- Transactions ----------------------------------------------------------------------------- */

static void describe_compare(struct say *text, const struct kv_compare *compare)
{
    static const char *const whats[KV_COMPARE_WHATS] = {"rev",   "create", "version", "value",
                                                        "lease", "seq",    "topic"};
    static const char *const hows[KV_COMPARE_HOWS] = {"=", "!=", "<", ">"};
    say(text, "%s(", whats[compare->what]);
    say_bytes(text, compare->key);
    say(text, ")%s", hows[compare->how]);
    if (compare->what == KV_COMPARE_VALUE)
        say_bytes(text, compare->value);
    else
        say(text, "%" PRIu64, compare->number);
}

static void describe_steps(struct say *text, const char *word, const struct kv_txn_list *list)
{
    struct kv_txn_reader reader;
    struct kv_step step;
    if (list->count == 0)
        return;
    say(text, " %s ", word);
    kv_txn_begin(&reader, list);
    for (bool first = true; !text->full && kv_txn_next_step(&reader, &step) == 1; first = false) {
        say(text, "%s", first ? "" : "; ");
        if (step.reads)
            describe_query(text, &step.query);
        else if (step.publishes)
            describe_topic(text, &step.topic);
        else
            describe_kv(text, &step.command); /* a step is no transaction */
    }
}

static void describe_txn(struct say *text, const struct kv_txn *txn)
{
    struct kv_txn_reader reader;
    struct kv_compare compare;
    say(text, "transaction:");
    if (txn->compares.count > 0)
        say(text, " if ");
    kv_txn_begin(&reader, &txn->compares);
    for (bool first = true; !text->full && kv_txn_next_compare(&reader, &compare) == 1;
         first = false) {
        say(text, "%s", first ? "" : " and ");
        describe_compare(text, &compare);
    }
    describe_steps(text, "then", &txn->then);
    describe_steps(text, "else", &txn->otherwise);
}

/* --- Entries ---------------------------------------------------------------------------------- */

/* What the built-in machine answers to what it cannot read, or another machine's command. */
static void describe_unread(struct say *text, struct slice payload, int code)
{
    if (code == CONCLAVE_MALFORMED)
        say(text, "no command of the built-in state machine: ");
    else
        say(text, "a command that is refused (%s): ", conclave_code_text(code));
    say_bytes(text, payload);
}

static void describe_command(struct say *text, struct slice payload)
{
    union {
        struct kv_command kv;
        struct topic_command topic;
        struct group_command group;
        struct coord_request coord;
    } command;
    const uint64_t opcode = topic_opcode_peek(payload.data, payload.bytes);
    int code;
    if (topic_is_command(opcode)) {
        code = topic_command_decode(payload.data, payload.bytes, &command.topic);
        if (code == CONCLAVE_OK)
            describe_topic(text, &command.topic);
    } else if (group_is_command(opcode)) {
        code = group_command_decode(payload.data, payload.bytes, &command.group);
        if (code == CONCLAVE_OK)
            describe_group(text, &command.group);
    } else if (coord_is_command(opcode)) {
        code = coord_command_decode(payload.data, payload.bytes, &command.coord);
        if (code == CONCLAVE_OK)
            describe_coord(text, &command.coord);
    } else {
        code = kv_command_decode(payload.data, payload.bytes, &command.kv);
        if (code == CONCLAVE_OK)
            describe_kv(text, &command.kv);
    }
    if (code != CONCLAVE_OK)
        describe_unread(text, payload, code);
}

static void describe_session(struct say *text, struct slice payload)
{
    struct session_request request;
    const int code = session_request_decode(payload.data, payload.bytes, &request);
    if (code != CONCLAVE_OK) {
        say(text, "nothing that a session says: ");
        say_bytes(text, payload);
        return;
    }
    switch (request.opcode) {
    case SESSION_OPEN:
        say(text, "open a session");
        break;
    case SESSION_COMMAND:
        say(text, "session %" PRIu64 ", number %" PRIu64 ": ", request.session, request.sequence);
        describe_command(text, request.command);
        break;
    case SESSION_KEEP_ALIVE:
        say(text, "session %" PRIu64 " is kept, has its answers up to %" PRIu64, request.session,
            request.acknowledged);
        break;
    case SESSION_CLOSE:
        say(text, "session %" PRIu64 " is closed", request.session);
        break;
    case SESSION_CLOCK:
        say(text, "cluster time: %" PRIu64 " ms passed", request.elapsed_ms);
        break;
    }
}

/* "voters n1 n2", of those with any of these flags. */
static void describe_members(struct say *text, const struct raft_configuration *configuration,
                             const char *word, uint32_t flags)
{
    bool first = true;
    for (uint32_t i = 0; i < configuration->member_count; i++) {
        const struct raft_member *member = &configuration->members[i];
        if ((member->flags & flags) == 0)
            continue;
        if (first)
            say(text, "%s%s", text->used > 0 ? ", " : "", word);
        say(text, " %s", member->name);
        first = false;
    }
}

static void describe_configuration(struct say *text, struct slice payload)
{
    struct raft_configuration *configuration = mem_zalloc(sizeof *configuration);
    if (raft_configuration_decode(payload, configuration) == CONCLAVE_OK) {
        describe_members(text, configuration, "voters", RAFT_MEMBER_VOTER);
        if (configuration->joint)
            describe_members(text, configuration, "until then", RAFT_MEMBER_VOTER_OLD);
        describe_members(text, configuration, "learners", RAFT_MEMBER_LEARNER);
        if (configuration->removed_count > 0)
            say(text, ", %" PRIu32 " removed", configuration->removed_count);
    } else {
        say(text, "a configuration that cannot be read: ");
        say_bytes(text, payload);
    }
    free(configuration);
}

void describe_entry(struct say *text, uint8_t kind, struct slice payload)
{
    switch (kind) {
    case RAFT_ENTRY_NOOP:
        say(text, "a leader begins its term");
        break;
    case RAFT_ENTRY_COMMAND:
        describe_command(text, payload);
        break;
    case RAFT_ENTRY_CONFIG:
        describe_configuration(text, payload);
        break;
    case RAFT_ENTRY_SESSION:
        describe_session(text, payload);
        break;
    default:
        say(text, "an entry of the unknown kind %u: ", kind);
        say_bytes(text, payload);
        break;
    }
}

const char *describe_kind(uint8_t kind)
{
    static const char *const names[] = {[RAFT_ENTRY_NOOP] = "no-op",
                                        [RAFT_ENTRY_COMMAND] = "command",
                                        [RAFT_ENTRY_CONFIG] = "configuration",
                                        [RAFT_ENTRY_SESSION] = "session"};
    return kind < sizeof names / sizeof names[0] ? names[kind] : "unknown";
}

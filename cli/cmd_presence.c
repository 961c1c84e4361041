/* cli/cmd_presence.c - presence: to be in a group while a program runs, and to see who is. */
#include "cli/commands.h"
#include "cli/connect.h"
#include "cli/hold.h"
#include "cli/output.h"
#include "cli/text.h"
#include "conclave_presence.h"

#include <string.h>
#include <unistd.h>

enum { LOOK_MS = 5000 }; /* between two looks whether anybody still reads */

const struct args_flag cmd_presence_flags[] = {
    HOLD_FLAGS,
    {"value", 0, "V", NULL, false, "join: to be seen by others"},
    {"count", 'n', "N", NULL, false, "watch: end after N who joined, left or changed"},
    {0}};

/* --- Being there -------------------------------------------------------------------------------
 */

static int announce(const struct hold *hold, const struct conclave_lock *lock, const char *name)
{
    uint64_t token = conclave_lock_token(lock);
    if (hold->command)
        return 0; /* standard output is the program's */
    if (args_on(hold->args, "json"))
        return output_line(
            json_pack("{s:o, s:o, s:o}", "group", output_bytes(hold->name, strlen(hold->name)),
                      "name", output_bytes(name, strlen(name)), "token", output_uint(token)));
    printf("%llu\n", (unsigned long long)token);
    return 0;
}

/* Who says nothing is the host and the process. */
static const char *own_name(char *room, size_t size)
{
    char host[256] = "";
    if (gethostname(host, sizeof host - 1) != 0 || host[0] == 0)
        memcpy(host, "unknown", sizeof "unknown");
    snprintf(room, size, "%s-%ld", host, (long)getpid());
    return room;
}

static int be_there(struct hold *hold, const char *name, uint32_t ttl_ms)
{
    struct conclave_presence_options options;
    struct conclave_lock *member = NULL;
    conclave_presence_options_init(&options);
    options.name = name;
    options.name_bytes = strlen(name);
    options.value = args_value(hold->args, "value");
    options.value_bytes = options.value ? strlen(options.value) : 0;
    options.ttl_ms = ttl_ms;
    int code =
        conclave_presence_join(hold->client, hold->name, strlen(hold->name), &options, &member);
    if (code)
        return connect_error(hold->args, hold->client, code);
    int exit_code = hold_wait(hold, member, CONCLAVE_LOCK_FOREVER);
    if (exit_code)
        return exit_code;
    exit_code = announce(hold, member, name);
    output_flush();
    return exit_code ? exit_code : hold_run(hold, member);
}

/* presence join GROUP [NAME] [-- CMD...]: what stands behind -- is the command. */
static int join(const struct args *args)
{
    struct hold hold = {.args = args, .what = "place in", .name = args->operands[1], .signals = -1};
    size_t plain = args->plain_count;
    char room[320];
    uint32_t ttl_ms = 0;
    if (plain < 2 || plain > 3)
        return output_error(args_on(args, "json"), CONCLAVE_INVALID, NULL,
                            "conclave presence join GROUP [NAME] [-- CMD...]",
                            "'presence join' takes a group, a name, and a program behind --");
    const char *name = plain == 3 ? args->operands[2] : own_name(room, sizeof room);
    int exit_code = hold_options(&hold, &ttl_ms);
    if (exit_code == 0)
        exit_code = hold_open(&hold, plain);
    if (exit_code == 0)
        exit_code = be_there(&hold, name, ttl_ms);
    hold_close(&hold);
    return exit_code;
}

/* --- Who is there ------------------------------------------------------------------------------
 */

static json_t *member_json(const char *type, const struct conclave_presence_member *member)
{
    json_t *line = json_pack("{s:o, s:o, s:o, s:o}", "token", output_uint(member->token), "name",
                             output_bytes(member->name, member->name_bytes), "value",
                             output_bytes(member->value, member->value_bytes), "revision",
                             output_uint(member->revision));
    if (type)
        json_object_set_new(line, "type", json_string(type));
    return line;
}

static void member_text(const struct conclave_presence_member *member)
{
    printf("%12llu  ", (unsigned long long)member->token);
    text_escape(stdout, member->name, member->name_bytes);
    if (member->value_bytes) {
        fputs("  ", stdout);
        text_escape(stdout, member->value, member->value_bytes);
    }
    putchar('\n');
}

struct listing {
    bool json;
    int exit_code;
};

static int list_member(void *arg, const struct conclave_presence_member *member)
{
    struct listing *listing = arg;
    if (listing->json)
        listing->exit_code = output_line(member_json(NULL, member));
    else
        member_text(member);
    return listing->exit_code || output_failed();
}

static int list(const struct args *args, struct conclave_client *client)
{
    struct listing listing = {args_on(args, "json"), 0};
    const char *group = args->operands[1];
    int code = conclave_presence_list(client, group, strlen(group), 0, list_member, &listing);
    return code ? connect_read_error(args, client, code) : listing.exit_code;
}

static const char *kind_name(const struct conclave_presence_event *event)
{
    switch (event->kind) {
    case CONCLAVE_PRESENCE_JOIN:
        return "join";
    case CONCLAVE_PRESENCE_LEAVE:
        return event->expired ? "expire" : "leave";
    case CONCLAVE_PRESENCE_CHANGE:
        return "change";
    case CONCLAVE_PRESENCE_SYNCED:
        return "synced";
    }
    return "unknown";
}

static int print_event(const struct args *args, const struct conclave_presence_event *event)
{
    bool json = args_on(args, "json"), synced = event->kind == CONCLAVE_PRESENCE_SYNCED;
    if (json && synced)
        return output_line(
            json_pack("{s:s, s:o}", "type", "synced", "revision", output_uint(event->revision)));
    if (json)
        return output_line(member_json(kind_name(event), &event->member));
    if (!synced) {
        printf("%-6s ", kind_name(event));
        member_text(&event->member);
    }
    return 0;
}

static int watch_loop(const struct args *args, struct conclave_client *client,
                      struct conclave_presence_watch *watch, uint64_t left, uint32_t timeout_ms)
{
    struct conclave_presence_event event;
    bool begun = false;
    int exit_code = 0;
    while (exit_code == 0 && left > 0 && !output_failed()) {
        output_flush();
        int code = conclave_presence_watch_next(watch, begun ? LOOK_MS : timeout_ms, &event);
        if (code == CONCLAVE_OK) {
            exit_code = print_event(args, &event);
            left -= event.kind != CONCLAVE_PRESENCE_SYNCED && left != UINT64_MAX;
        } else if (code != CONCLAVE_TIMEOUT) {
            exit_code = connect_read_error(args, client, code);
        } else if (!begun) {
            exit_code = output_error(args_on(args, "json"), CONCLAVE_UNREACHABLE, NULL,
                                     "name nodes of the cluster with --endpoints",
                                     "no node serves the watch: %s",
                                     conclave_presence_watch_describe(watch));
        }
        begun = true;
    }
    return exit_code;
}

static int watch(const struct args *args, struct conclave_client *client)
{
    const char *text = args_value(args, "count"), *group = args->operands[1];
    struct conclave_presence_watch *watch = NULL;
    uint64_t left = UINT64_MAX;
    uint32_t timeout_ms = 0;
    if (text && (!text_uint_parse(text, INT64_MAX, &left) || left == 0))
        return output_error(args_on(args, "json"), CONCLAVE_INVALID, NULL, NULL,
                            "--count: '%.40s' is not a number", text);
    int exit_code = connect_timeout(args, &timeout_ms);
    if (exit_code)
        return exit_code;
    int code = conclave_presence_watch_create(client, group, strlen(group), &watch);
    exit_code = code ? connect_read_error(args, client, code)
                     : watch_loop(args, client, watch, left, timeout_ms);
    conclave_presence_watch_destroy(watch);
    return exit_code;
}

int cmd_presence_run(const struct args *args)
{
    const char *action = args->operands[0];
    bool lists = strcmp(action, "ls") == 0, watches = strcmp(action, "watch") == 0;
    struct conclave_client *client = NULL;
    if (strcmp(action, "join") == 0)
        return join(args);
    if (!lists && !watches)
        return output_error(args_on(args, "json"), CONCLAVE_INVALID, NULL,
                            "it is join, ls or watch", "'presence %.40s' is not a command", action);
    if (args->operand_count != 2)
        return output_error(args_on(args, "json"), CONCLAVE_INVALID, NULL, NULL,
                            "'presence %s' takes the name of a group", action);
    int exit_code = connect_open(args, NULL, &client);
    if (exit_code == 0)
        exit_code = lists ? list(args, client) : watch(args, client);
    conclave_client_destroy(client);
    return exit_code;
}

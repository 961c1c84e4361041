/* cli/cmd_sub.c - sub: the messages of a topic, page by page, and new ones when they come. */
#include "cli/child.h"
#include "cli/commands.h"
#include "cli/connect.h"
#include "cli/message.h"
#include "cli/output.h"
#include "cli/sub_group.h"
#include "cli/text.h"
#include "conclave_topic.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FOLLOW_MS = 60000 };

const struct args_flag cmd_sub_flags[] = {
    {"from", 0, "WHERE", "new", false,
     "where to begin: first, last, new, a sequence, or -DURATION for so long ago"},
    {"count", 'n', "N", NULL, false, "end after N messages"},
    {"no-wait", 0, NULL, NULL, false, "end when all that is there was printed"},
    {"null", '0', NULL, NULL, false, "end messages with a zero byte instead of a newline"},
    {"exec", 0, "CMD", NULL, false, "run CMD by the shell for each message, in order"},
    {"group", 0, "NAME", NULL, false, "share the messages with the other members of a work group"},
    {"ack", 0, NULL, NULL, false, "a message is done when it was printed, or CMD exits with 0"},
    {"retry", 0, "DURATION", "1s", false, "when a message that CMD failed on is handed out again"},
    {"ttl", 0, "DURATION", "10s", false, "not heard of for so long a member loses what it holds"},
    {0}};

struct sub {
    const struct args *args;
    struct conclave_client *client;
    const char *topic, *exec;
    bool json, null, wait;
    enum conclave_from from;
    uint64_t id;             /* of the topic */
    uint64_t position, left; /* left 0: without end */
    bool placed;             /* position is the sequence to go on with */
    int exit_code;
};

/* --- One message -------------------------------------------------------------------------------
 */

/* Runs the command with the bytes on its standard input. Returns its exit code. */
static int execute(const struct sub *sub, const struct conclave_topic_message *message)
{
    int status = 0;
    pid_t child = message_run(sub->exec, message, 0);
    if (child < 0)
        return output_error(sub->json, CONCLAVE_IO, NULL, NULL, "cannot run a command: %s",
                            strerrordesc_np(errno));
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return child_exit(status);
}

static int print(const struct sub *sub, const struct conclave_topic_message *message)
{
    return message_print(&(struct message_style){sub->topic, sub->json, sub->null}, message, 0);
}

/* Messages were dropped before they were read: said, never passed over. */
static void report_gap(const struct sub *sub, uint64_t next)
{
    bool asked_for = sub->placed || sub->from == CONCLAVE_FROM_SEQUENCE;
    if (!asked_for || next <= sub->position)
        return;
    if (sub->json)
        (void)output_line(json_pack("{s:{s:o, s:o}}", "dropped", "first",
                                    output_uint(sub->position), "last", output_uint(next - 1)));
    else
        fprintf(stderr, "messages %llu to %llu were dropped before they were read\n",
                (unsigned long long)sub->position, (unsigned long long)(next - 1));
}

static int take(void *arg, const struct conclave_topic_message *message)
{
    struct sub *sub = arg;
    report_gap(sub, message->sequence);
    sub->position = message->sequence + 1;
    sub->placed = true;
    sub->exit_code = sub->exec ? execute(sub, message) : print(sub, message);
    if (sub->left > 0)
        sub->left--;
    return sub->exit_code || output_failed();
}

/* --- Pages -------------------------------------------------------------------------------------
 */

/* What comes, from where the pages ended on. */
static int follow(struct sub *sub, struct conclave_subscription *subscription)
{
    bool limited = sub->left > 0;
    while (!sub->exit_code && !output_failed() && !(limited && sub->left == 0)) {
        struct conclave_subscription_event event;
        int code = conclave_subscription_next(subscription, FOLLOW_MS, &event);
        if (code == CONCLAVE_TIMEOUT)
            continue; /* as long as it takes */
        if (code == CONCLAVE_NOT_FOUND)
            return output_error(sub->json, code, NULL, NULL, "the topic '%s' was deleted",
                                sub->topic);
        if (code != CONCLAVE_OK)
            return connect_read_error(sub->args, sub->client, code);
        if (event.kind == CONCLAVE_SUBSCRIPTION_MESSAGE)
            (void)take(sub, &event.message);
        else
            report_gap(sub, event.dropped_last + 1);
        if (event.kind == CONCLAVE_SUBSCRIPTION_DROPPED)
            sub->position = event.dropped_last + 1;
        output_flush();
    }
    return sub->exit_code;
}

static int subscribe(struct sub *sub)
{
    struct conclave_subscription_options options;
    struct conclave_subscription *subscription = NULL;
    struct conclave_error error;
    conclave_subscription_options_init(&options);
    options.endpoints = args_value(sub->args, "endpoints");
    options.topic = sub->topic;
    options.topic_bytes = strlen(sub->topic);
    options.id = sub->id;
    options.sequence = sub->position;
    int code = conclave_subscription_create(&options, &subscription, &error);
    if (code != CONCLAVE_OK)
        return output_error(sub->json, code, NULL, NULL, "%s", error.message);
    int exit_code = follow(sub, subscription);
    conclave_subscription_destroy(subscription);
    return exit_code;
}

static int failed(const struct sub *sub, int code)
{
    if (code == CONCLAVE_NOT_FOUND)
        return output_error(sub->json, code, NULL, "'conclave topic create' makes one",
                            "no topic '%s'", sub->topic);
    return connect_read_error(sub->args, sub->client, code);
}

/* Pages of what there is, then what comes. */
static int run(struct sub *sub)
{
    bool limited = sub->left > 0;
    struct conclave_topic_info info;
    int code = conclave_topic_info(sub->client, sub->topic, strlen(sub->topic), 0, &info);
    if (code != CONCLAVE_OK)
        return failed(sub, code);
    sub->id = info.id;
    for (;;) {
        struct conclave_topic_page page = {0};
        code = conclave_topic_read(sub->client, sub->topic, strlen(sub->topic), sub->from,
                                   sub->position, sub->left, 0, 0, take, sub, &page);
        if (code != CONCLAVE_OK)
            return failed(sub, code);
        report_gap(sub, page.next);
        sub->from = CONCLAVE_FROM_SEQUENCE;
        sub->position = page.next;
        sub->placed = true;
        output_flush();
        if (sub->exit_code || output_failed() || (limited && sub->left == 0))
            return sub->exit_code;
        if (page.next >= page.end)
            return sub->wait ? subscribe(sub) : 0;
    }
}

int cmd_sub_run(const struct args *args)
{
    struct sub sub = {.args = args,
                      .topic = args->operands[0],
                      .exec = args_value(args, "exec"),
                      .json = args_on(args, "json"),
                      .null = args_on(args, "null"),
                      .wait = !args_on(args, "no-wait")};
    if (args_value(args, "group"))
        return sub_group_run(args);
    if (args_on(args, "ack"))
        return output_error(sub.json, CONCLAVE_INVALID, NULL, "name one with --group",
                            "--ack is for members of a group");
    const char *from = args_value(args, "from"), *count = args_value(args, "count");
    int exit_code = 0;
    if (!message_from_parse(from, &sub.from, &sub.position))
        exit_code =
            output_error(sub.json, CONCLAVE_INVALID, NULL, "first, last, new, a sequence or -1h",
                         "--from: '%.40s' is no place in a topic", from);
    else if (count && (!text_uint_parse(count, INT64_MAX, &sub.left) || sub.left == 0))
        exit_code = output_error(sub.json, CONCLAVE_INVALID, NULL, NULL,
                                 "--count: '%.40s' is not a number of messages", count);
    if (exit_code == 0)
        exit_code = connect_open(args, NULL, &sub.client);
    if (exit_code == 0)
        exit_code = run(&sub);
    conclave_client_destroy(sub.client);
    return exit_code;
}

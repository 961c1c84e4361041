/* cli/cmd_sub.c - sub: the messages of a topic, page by page, and new ones when they come. */
#include "cli/child.h"
#include "cli/commands.h"
#include "cli/connect.h"
#include "cli/output.h"
#include "cli/text.h"
#include "conclave_topic.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
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

static bool write_all(int fd, const char *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t n = write(fd, data, bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        data += n;
        bytes -= (size_t)n;
    }
    return true;
}

/* Runs the command with the bytes on its standard input. Returns its exit code. */
static int execute(const struct sub *sub, const struct conclave_topic_message *message)
{
    static char shell[] = "/bin/sh", flag[] = "-c";
    char sequence[48], revision[48], id[16 + CONCLAVE_MESSAGE_ID_BYTES_MAX];
    char *command = strdup(sub->exec);
    char *argv[] = {shell, flag, command, NULL};
    char *extra[] = {sequence, revision, id, NULL};
    int ends[2], status = 0;
    snprintf(sequence, sizeof sequence, "CONCLAVE_SEQUENCE=%" PRIu64, message->sequence);
    snprintf(revision, sizeof revision, "CONCLAVE_REVISION=%" PRIu64, message->revision);
    snprintf(id, sizeof id, "CONCLAVE_ID=%.*s", (int)message->id_bytes,
             message->id ? (const char *)message->id : "");
    output_flush();
    pid_t child = -1;
    if (command && pipe2(ends, O_CLOEXEC) == 0) {
        child = child_start(argv, extra, ends[0]);
        if (child > 0) /* it need not read them */
            (void)write_all(ends[1], message->data, message->bytes);
        close(ends[1]);
    }
    free(command);
    if (child < 0)
        return output_error(sub->json, CONCLAVE_IO, NULL, NULL, "cannot run a command: %s",
                            strerrordesc_np(errno));
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return child_exit(status);
}

static int print(const struct sub *sub, const struct conclave_topic_message *message)
{
    if (sub->json)
        return output_line(json_pack(
            "{s:o, s:o, s:o, s:o, s:o, s:o*}", "topic",
            output_bytes(sub->topic, strlen(sub->topic)), "sequence",
            output_uint(message->sequence), "revision", output_uint(message->revision), "time_ms",
            output_uint(message->time_ms), "data", output_bytes(message->data, message->bytes),
            "id", message->id ? output_bytes(message->id, message->id_bytes) : NULL));
    if (message->bytes > 0)
        fwrite(message->data, 1, message->bytes, stdout);
    putchar(sub->null ? '\0' : '\n');
    return 0;
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
            return connect_error(sub->args, sub->client, code);
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
    return connect_error(sub->args, sub->client, code);
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

/* --from. */
static bool read_from(const char *text, struct sub *sub)
{
    static const struct {
        const char *name;
        enum conclave_from from;
    } names[] = {
        {"first", CONCLAVE_FROM_FIRST}, {"last", CONCLAVE_FROM_LAST}, {"new", CONCLAVE_FROM_NEW}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        sub->from = names[i].from;
        if (strcmp(text, names[i].name) == 0)
            return true;
    }
    sub->from = *text == '-' ? CONCLAVE_FROM_AGO : CONCLAVE_FROM_SEQUENCE;
    if (*text == '-')
        return text_long_duration_parse(text + 1, &sub->position);
    return text_uint_parse(text, INT64_MAX, &sub->position) && sub->position > 0;
}

int cmd_sub_run(const struct args *args)
{
    struct sub sub = {.args = args,
                      .topic = args->operands[0],
                      .exec = args_value(args, "exec"),
                      .json = args_on(args, "json"),
                      .null = args_on(args, "null"),
                      .wait = !args_on(args, "no-wait")};
    const char *from = args_value(args, "from"), *count = args_value(args, "count");
    int exit_code = 0;
    if (!read_from(from, &sub))
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

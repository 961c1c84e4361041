#include "cli/sub_group.h"

#include "cli/child.h"
#include "cli/connect.h"
#include "cli/message.h"
#include "cli/output.h"
#include "cli/signals.h"
#include "cli/text.h"
#include "conclave_group.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOOK_MS = 100 /* at the signals, while it waits for messages */ };

struct sub_group {
    const struct args *args;
    struct conclave_client *client;
    struct conclave_group_member *member; /* NULL: its lease ended; it joins again */
    struct conclave_group_member_options options;
    struct message_style style;
    const char *exec;
    bool json, ack, wait;
    uint64_t left; /* messages; UINT64_MAX: without end */
    uint64_t retry_ms;
    int signals;
    bool joined, stopped;
    int exit_code;
};

/* --- What is said -------------------------------------------------------------------------------
 */

/* Never passed over in silence. */
static void report(const struct sub_group *sub, const struct conclave_group_message *message)
{
    if (!message->lost && !message->late)
        return;
    if (sub->json) {
        if (message->lost)
            (void)output_line(json_pack("{s:o}", "lost", output_uint(message->lost)));
        if (message->late)
            (void)output_line(json_pack("{s:o}", "late", output_uint(message->late)));
        return;
    }
    if (message->lost)
        fprintf(stderr, "%llu messages were dropped by the topic before they were done\n",
                (unsigned long long)message->lost);
    if (message->late)
        fprintf(stderr, "%llu messages were done too late: another member may have got them\n",
                (unsigned long long)message->late);
}

/* Whether it may be over with the next attempt. */
static bool passes(int code)
{
    return code == CONCLAVE_TIMEOUT || code == CONCLAVE_NO_LEADER || code == CONCLAVE_BUSY ||
           code == CONCLAVE_STOPPING || code == CONCLAVE_HANDOVER || code == CONCLAVE_UNREACHABLE ||
           code == CONCLAVE_NOT_LEADER || code == CONCLAVE_UNKNOWN || code == CONCLAVE_STALE ||
           code == CONCLAVE_NO_SPACE;
}

/* --- One message -------------------------------------------------------------------------------
 */

/* Signals that came; those for a child are handed on to it. */
static void read_signals(struct sub_group *sub, pid_t child)
{
    for (int number; (number = signals_read(sub->signals)) != 0;) {
        if (number == SIGCHLD)
            continue;
        sub->stopped = true;
        if (child > 0)
            kill(child, number);
    }
}

/* Its exit code. Meanwhile the member lives, and holds what it has. */
static int wait_for(struct sub_group *sub, pid_t child)
{
    struct pollfd waits = {.fd = sub->signals, .events = POLLIN};
    int status = 0;
    while (waitpid(child, &status, WNOHANG) == 0) {
        (void)poll(&waits, 1, (int)conclave_group_poll_ms(sub->member) + 1);
        read_signals(sub, child);
        /* If it is lost the message may go to another one: this command can still end. */
        if (conclave_group_poll(sub->member) != CONCLAVE_OK)
            (void)poll(&waits, 1, LOOK_MS);
    }
    return child_exit(status);
}

static int execute(struct sub_group *sub, const struct conclave_group_message *message)
{
    pid_t child = message_run(sub->exec, &message->message, message->deliveries);
    if (child < 0) {
        sub->stopped = true;
        return output_error(sub->json, CONCLAVE_IO, NULL, NULL, "cannot run a command: %s",
                            strerrordesc_np(errno));
    }
    return wait_for(sub, child);
}

/* Done or not done; what cannot be said now comes back by itself. */
static int settle(struct sub_group *sub, uint64_t sequence, int exit_code)
{
    if (!sub->ack)
        return CONCLAVE_OK;
    if (exit_code)
        return conclave_group_nack(sub->member, sequence, sub->retry_ms, 0);
    int code = conclave_group_ack(sub->member, sequence);
    if (!code && sub->exec)
        code = conclave_group_flush(sub->member, 0);
    return code;
}

static int take(struct sub_group *sub, const struct conclave_group_message *message)
{
    uint64_t sequence = message->message.sequence;
    int exit_code = sub->exec ? execute(sub, message)
                              : message_print(&sub->style, &message->message, message->deliveries);
    if (exit_code)
        sub->exit_code = exit_code;
    if (!sub->exec)
        output_flush(); /* before it is done */
    if (output_failed())
        return CONCLAVE_OK;
    if (sub->left != UINT64_MAX)
        sub->left--;
    int code = settle(sub, sequence, exit_code);
    return code == CONCLAVE_NOT_FOUND ? CONCLAVE_OK : code; /* too late: the next one tells */
}

/* --- The loop ----------------------------------------------------------------------------------
 */

static int failed(const struct sub_group *sub, int code, const char *message)
{
    if (code == CONCLAVE_NOT_FOUND)
        return output_error(sub->json, code, NULL, "'conclave group create' makes one", "%s",
                            message);
    return connect_error(sub->args, sub->client, code);
}

/* The first time it has to succeed; later it is tried until it does. */
static int join(struct sub_group *sub)
{
    struct conclave_error error = {0};
    int code = conclave_group_join(sub->client, &sub->options, &sub->member, &error);
    if (code == CONCLAVE_OK || (sub->joined && passes(code))) {
        sub->joined = true;
        return 0;
    }
    return failed(sub, code, error.message);
}

/* What it held is lost to others; it goes on as another member. */
static void lose(struct sub_group *sub)
{
    (void)conclave_group_leave(sub->member, 1);
    sub->member = NULL;
    if (!sub->json)
        fprintf(stderr, "the member's lease ended: it joins again\n");
}

static int step(struct sub_group *sub)
{
    struct conclave_group_message message = {0};
    int code = conclave_group_next(sub->member, sub->wait ? LOOK_MS : 0, &message);
    if (code == CONCLAVE_OK || code == CONCLAVE_TIMEOUT)
        report(sub, &message);
    bool took = code == CONCLAVE_OK;
    if (took)
        code = take(sub, &message);
    else if (code == CONCLAVE_TIMEOUT && !sub->wait)
        sub->left = 0;
    if (code == CONCLAVE_LEASE_EXPIRED)
        lose(sub);
    if (code == CONCLAVE_OK || code == CONCLAVE_LEASE_EXPIRED || passes(code))
        return 0;
    return failed(sub, code, "the group was deleted");
}

static int run(struct sub_group *sub)
{
    int exit_code = 0;
    while (exit_code == 0 && !sub->stopped && sub->left > 0 && !output_failed()) {
        exit_code = sub->member ? step(sub) : join(sub);
        read_signals(sub, 0);
    }
    int code = conclave_group_leave(sub->member, 0);
    if (code != CONCLAVE_OK && exit_code == 0)
        exit_code = connect_error(sub->args, sub->client, code);
    return exit_code ? exit_code : sub->exit_code;
}

/* --- The command line --------------------------------------------------------------------------
 */

static int duration_flag(const struct args *args, const char *name, uint64_t *ret_ms)
{
    const char *text = args_value(args, name);
    if (text_long_duration_parse(text, ret_ms))
        return 0;
    return output_error(args_on(args, "json"), CONCLAVE_INVALID, NULL,
                        "write a number with its unit: 500ms, 2s, 1m",
                        "--%s: '%.40s' is not a duration", name, text);
}

static int read_flags(struct sub_group *sub)
{
    const struct args *args = sub->args;
    const char *count = args_value(args, "count"), *group = args_value(args, "group");
    uint64_t ttl_ms = 0;
    if (args_source(args, "from") == ARGS_GIVEN)
        return output_error(sub->json, CONCLAVE_INVALID, NULL,
                            "'conclave group create' says where it begins",
                            "--from is not for members of a group");
    if (count && (!text_uint_parse(count, INT64_MAX, &sub->left) || sub->left == 0))
        return output_error(sub->json, CONCLAVE_INVALID, NULL, NULL,
                            "--count: '%.40s' is not a number of messages", count);
    int exit_code = duration_flag(args, "retry", &sub->retry_ms);
    if (exit_code == 0)
        exit_code = duration_flag(args, "ttl", &ttl_ms);
    if (exit_code == 0 && (ttl_ms < 500 || ttl_ms > UINT32_MAX))
        exit_code = output_error(sub->json, CONCLAVE_INVALID, NULL, NULL,
                                 "--ttl is at least 500ms, and at most some weeks");
    sub->options.topic = args->operands[0];
    sub->options.topic_bytes = strlen(args->operands[0]);
    sub->options.group = group;
    sub->options.group_bytes = strlen(group);
    sub->options.ttl_ms = (uint32_t)ttl_ms;
    sub->options.once = !sub->ack;
    /* A command may take long: what it is not at work on goes to other members. And what is done
     * when it is handed out must not be left over when this ends. */
    if (sub->exec || !sub->ack || sub->left < sub->options.prefetch)
        sub->options.prefetch = 1;
    return exit_code;
}

int sub_group_run(const struct args *args)
{
    struct sub_group sub = {
        .args = args,
        .exec = args_value(args, "exec"),
        .json = args_on(args, "json"),
        .ack = args_on(args, "ack"),
        .wait = !args_on(args, "no-wait"),
        .left = UINT64_MAX,
        .style = {args->operands[0], args_on(args, "json"), args_on(args, "null")}};
    conclave_group_member_options_init(&sub.options);
    int exit_code = read_flags(&sub);
    if (exit_code != 0)
        return exit_code;
    sub.signals = signals_open(true); /* before any other thread starts */
    if (sub.signals < 0)
        return output_error(sub.json, CONCLAVE_IO, NULL, NULL, "cannot read signals: %s",
                            strerrordesc_np(errno));
    exit_code = connect_open(args, NULL, &sub.client);
    if (exit_code == 0)
        exit_code = run(&sub);
    conclave_client_destroy(sub.client);
    close(sub.signals);
    return exit_code;
}

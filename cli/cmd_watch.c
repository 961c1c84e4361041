/* cli/cmd_watch.c - watch: what happens to keys, a line of JSON for each event, until it is told to
 * stop. */
#include "cli/child.h"
#include "cli/commands.h"
#include "cli/connect.h"
#include "cli/output.h"
#include "cli/text.h"
#include "conclave_watch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

const struct args_flag cmd_watch_flags[] = {
    {"prefix", 0, NULL, NULL, false, "all keys that begin with KEY; '' is every key"},
    {"from", 0, "REV", NULL, false, "what happened from this revision on (default: from now on)"},
    {"initial", 0, NULL, NULL, false, "first what there is"},
    {"previous", 0, NULL, NULL, false, "with what was there before"},
    {"no-puts", 0, NULL, NULL, false, "leave puts out"},
    {"no-deletes", 0, NULL, NULL, false, "leave deleted and expired keys out"},
    {"count", 'n', "N", NULL, false, "end after N events"},
    {"exec", 0, "CMD", NULL, false,
     "run CMD by the shell for each event, with its line on standard input"},
    {0}};

struct watching {
    const struct args *args;
    struct conclave_watch *watch;
    const char *exec;  /* NULL: print */
    uint64_t left;     /* events; UINT64_MAX: no limit */
    uint64_t waits_ms; /* for the first sign of a node */
    bool begun;
};

static const char *kind_name(enum conclave_watch_kind kind)
{
    switch (kind) {
    case CONCLAVE_WATCH_PUT:
        return "put";
    case CONCLAVE_WATCH_DELETE:
        return "delete";
    case CONCLAVE_WATCH_EXPIRE:
        return "expire";
    case CONCLAVE_WATCH_RESYNC:
        return "resync";
    case CONCLAVE_WATCH_STATE:
        return "state";
    case CONCLAVE_WATCH_GONE:
        return "gone";
    case CONCLAVE_WATCH_SYNCED:
        return "synced";
    case CONCLAVE_WATCH_PROGRESS:
        return "progress";
    }
    return "unknown";
}

static json_t *line_of(const struct conclave_watch_event *event)
{
    json_t *line = json_pack("{s:s, s:o}", "type", kind_name(event->kind), "revision",
                             output_uint(event->revision));
    switch (event->kind) {
    case CONCLAVE_WATCH_PUT:
    case CONCLAVE_WATCH_STATE:
        json_object_set_new(line, "key", output_bytes(event->key, event->key_bytes));
        json_object_set_new(line, "value", output_bytes(event->value, event->value_bytes));
        json_object_set_new(line, "create_revision", output_uint(event->create_revision));
        json_object_set_new(line, "version", output_uint(event->version));
        break;
    case CONCLAVE_WATCH_DELETE:
    case CONCLAVE_WATCH_EXPIRE:
    case CONCLAVE_WATCH_GONE:
        json_object_set_new(line, "key", output_bytes(event->key, event->key_bytes));
        break;
    case CONCLAVE_WATCH_RESYNC:
        json_object_set_new(line, "oldest", output_uint(event->oldest));
        break;
    case CONCLAVE_WATCH_PROGRESS:
        json_object_set_new(line, "age_ms", output_uint(event->age_ms));
        break;
    case CONCLAVE_WATCH_SYNCED:
        break;
    }
    if (event->has_previous) {
        json_object_set_new(line, "previous",
                            output_bytes(event->previous_value, event->previous_bytes));
        json_object_set_new(line, "previous_revision", output_uint(event->previous_revision));
    }
    return line;
}

/* --- Commands ----------------------------------------------------------------------------------
 */

static void write_all(int fd, const char *text)
{
    size_t left = strlen(text);
    while (left > 0) {
        ssize_t wrote = write(fd, text, left);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return; /* it need not read */
        text += wrote;
        left -= (size_t)wrote;
    }
}

/* Runs the command with the line on its standard input; its exit code. Takes the line over. */
static int run_command(struct watching *watching, const struct conclave_watch_event *event,
                       json_t *line)
{
    static char shell[] = "/bin/sh", option[] = "-c";
    char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;
    char revision[48], name[32], *command = text ? strdup(watching->exec) : NULL;
    char *argv[] = {shell, option, command, NULL}, *extra[] = {name, revision, NULL};
    int pipes[2], status = 0;
    bool json = args_on(watching->args, "json");
    json_decref(line);
    snprintf(revision, sizeof revision, "CONCLAVE_REVISION=%llu",
             (unsigned long long)event->revision);
    snprintf(name, sizeof name, "CONCLAVE_EVENT=%s", kind_name(event->kind));
    if (!command || pipe2(pipes, O_CLOEXEC)) {
        free(text);
        free(command);
        return output_error(json, CONCLAVE_NO_MEMORY, NULL, NULL, "cannot run the command");
    }
    output_flush();
    pid_t child = child_start(argv, extra, pipes[0]);
    if (child > 0) {
        write_all(pipes[1], text);
        write_all(pipes[1], "\n");
    }
    close(pipes[1]);
    free(text);
    free(command);
    if (child < 0)
        return output_error(json, CONCLAVE_NO_MEMORY, NULL, NULL, "cannot run the command: %s",
                            strerrordesc_np(errno));
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return child_exit(status);
}

/* --- The loop ----------------------------------------------------------------------------------
 */

static bool is_event(enum conclave_watch_kind kind)
{
    return kind != CONCLAVE_WATCH_PROGRESS && kind != CONCLAVE_WATCH_SYNCED &&
           kind != CONCLAVE_WATCH_RESYNC;
}

static int take(struct watching *watching, const struct conclave_watch_event *event)
{
    int exit_code = 0;
    json_t *line = line_of(event);
    watching->begun = true;
    if (watching->exec && event->kind == CONCLAVE_WATCH_PROGRESS)
        json_decref(line);
    else if (watching->exec)
        exit_code = run_command(watching, event, line);
    else
        exit_code = output_line(line);
    if (is_event(event->kind) && watching->left != UINT64_MAX)
        watching->left--;
    return exit_code;
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int unreachable(const struct watching *watching)
{
    return output_error(args_on(watching->args, "json"), CONCLAVE_UNREACHABLE, NULL,
                        "name nodes of the cluster with --endpoints",
                        "no node serves the watch: %s", conclave_watch_describe(watching->watch));
}

static int watch_loop(struct watching *watching)
{
    uint64_t give_up_ms = now_ms() + watching->waits_ms;
    bool json = args_on(watching->args, "json");
    int exit_code = 0;
    while (exit_code == 0 && watching->left > 0 && !output_failed()) {
        struct conclave_watch_event event;
        int code = conclave_watch_next(watching->watch, 0, &event);
        if (code == CONCLAVE_TIMEOUT) {
            output_flush(); /* before it waits: who reads sees all there is */
            code = conclave_watch_next(watching->watch, 200, &event);
        }
        watching->begun = watching->begun || conclave_watch_position(watching->watch) > 0;
        if (code == CONCLAVE_OK)
            exit_code = take(watching, &event);
        else if (code != CONCLAVE_TIMEOUT)
            exit_code = output_error(json, code, NULL, NULL, "the watch ended: %s",
                                     conclave_code_text(code));
        else if (!watching->begun && now_ms() >= give_up_ms)
            exit_code = unreachable(watching);
    }
    return exit_code;
}

static int number_flag(const struct args *args, const char *name, uint64_t *ret)
{
    const char *text = args_value(args, name);
    if (!text || text_uint_parse(text, INT64_MAX, ret))
        return 0;
    return output_error(args_on(args, "json"), CONCLAVE_INVALID, NULL, NULL,
                        "--%s: '%.40s' is not a number", name, text);
}

int cmd_watch_run(const struct args *args)
{
    bool json = args_on(args, "json");
    struct watching watching = {.args = args, .exec = args_value(args, "exec"), .left = UINT64_MAX};
    struct conclave_watch_options options;
    struct conclave_error error = {0};
    uint32_t timeout_ms = 0;
    conclave_watch_options_init(&options);
    options.endpoints = args_value(args, "endpoints");
    options.key = args->operands[0];
    options.key_bytes = strlen(args->operands[0]);
    options.prefix = args_on(args, "prefix");
    options.initial = args_on(args, "initial");
    options.previous = args_on(args, "previous");
    options.no_puts = args_on(args, "no-puts");
    options.no_deletes = args_on(args, "no-deletes");
    int exit_code = number_flag(args, "from", &options.revision);
    if (exit_code == 0)
        exit_code = number_flag(args, "count", &watching.left);
    if (exit_code == 0)
        exit_code = connect_timeout(args, &timeout_ms);
    if (exit_code)
        return exit_code;
    watching.waits_ms = timeout_ms;
    int code = conclave_watch_create(&options, &watching.watch, &error);
    if (code)
        return output_error(json, code, NULL, NULL, "%s", error.message);
    exit_code = watch_loop(&watching);
    conclave_watch_destroy(watching.watch);
    return exit_code;
}

#include "cli/hold.h"

#include "cli/child.h"
#include "cli/connect.h"
#include "cli/output.h"
#include "cli/signals.h"
#include "cli/text.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

enum {
    EXIT_LOST = 125,
    GRACE_MS = 5000, /* between telling the program to end and killing it */
    TTL_MS_MIN = 500
};

int hold_ttl(const struct args *args, uint32_t *ret_ms)
{
    const char *text = args_value(args, "ttl");
    if (text_duration_parse(text, ret_ms) && *ret_ms >= TTL_MS_MIN)
        return 0;
    return output_error(args_on(args, "json"), CONCLAVE_INVALID, NULL,
                        "write a number with its unit: 2s, 1m",
                        "--ttl: '%.40s' is not a duration of at least 500ms", text);
}

int hold_failed(const struct hold *hold, int code)
{
    bool json = args_on(hold->args, "json");
    if (code == CONCLAVE_COMPARE_FAILED)
        return output_error(json, code, NULL, "those who are there have to agree on --slots",
                            "'%s' is queued for with another number of slots", hold->name);
    if (code == CONCLAVE_TIMEOUT) {
        int exit_code = output_error(json, code, NULL, "wait longer with --timeout",
                                     "others hold '%s'", hold->name);
        return exit_code ? 1 : 0;
    }
    return connect_error(hold->args, hold->client, code);
}

char **hold_command(const struct args *args, size_t first)
{
    size_t count = args->operand_count - first;
    char **command = calloc(count + 1, sizeof *command);
    if (command)
        memcpy(command, args->operands + first, count * sizeof *command);
    return command;
}

/* True: the child has ended; *ret_exit is its exit code. */
static bool has_ended(pid_t child, int *ret_exit)
{
    int status = 0;
    pid_t ended = waitpid(child, &status, WNOHANG);
    if (ended != child)
        return false;
    *ret_exit = child_exit(status);
    return true;
}

/* The lock is lost: what it guards must not be touched any more. */
static void stop_child(const struct hold *hold, pid_t child)
{
    struct pollfd waits = {.fd = hold->signals, .events = POLLIN};
    int ignored;
    kill(child, hold->kill ? SIGKILL : SIGTERM);
    /* Each signal that comes, its end among them, ends the wait; another one shortens it. */
    while (!has_ended(child, &ignored)) {
        if (poll(&waits, 1, GRACE_MS) == 0) {
            kill(child, SIGKILL);
            continue;
        }
        while (signals_read(hold->signals) != 0)
            ;
    }
}

static int lost(const struct hold *hold, pid_t child)
{
    if (child > 0)
        stop_child(hold, child);
    (void)output_error(args_on(hold->args, "json"), CONCLAVE_LEASE_EXPIRED, NULL, NULL,
                       "the lock '%s' was lost%s", hold->name,
                       child > 0 ? ", and the program stopped" : "");
    return EXIT_LOST;
}

/* Until the child ends, a signal comes and there is no child, or the lock is lost. */
static int wait_for_end(const struct hold *hold, struct conclave_lock *lock, pid_t child)
{
    struct pollfd waits = {.fd = hold->signals, .events = POLLIN};
    int exit_code = 0;
    for (;;) {
        (void)poll(&waits, 1, (int)conclave_lock_poll_ms(lock) + 1);
        for (int number; (number = signals_read(hold->signals)) != 0;) {
            if (number == SIGCHLD)
                continue;
            if (child < 0)
                return 0;
            kill(child, number); /* what it makes of it is its own business */
        }
        if (child > 0 && has_ended(child, &exit_code))
            return exit_code;
        if (conclave_lock_poll(lock) != CONCLAVE_OK)
            return lost(hold, child);
    }
}

int hold_run(const struct hold *hold, struct conclave_lock *lock)
{
    char token[48];
    char *extra[] = {token, NULL};
    pid_t child = -1;
    int exit_code = 0;
    snprintf(token, sizeof token, "CONCLAVE_LOCK_TOKEN=%" PRIu64, conclave_lock_token(lock));
    if (hold->command) {
        output_flush();
        child = child_start(hold->command, extra, -1);
        if (child < 0)
            exit_code =
                output_error(args_on(hold->args, "json"), CONCLAVE_IO, NULL, NULL,
                             "cannot run '%.100s': %s", hold->command[0], strerrordesc_np(errno));
    }
    if (exit_code == 0)
        exit_code = wait_for_end(hold, lock, child);
    (void)conclave_lock_release(lock, 0); /* not told: it ends by itself */
    return exit_code;
}

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
#include <time.h>
#include <unistd.h>

enum {
    EXIT_LOST = 125,
    TTL_MS_MIN = 500,
    GRACE_PART = 4,      /* of the lease's time, if nothing is said */
    KILL_MARGIN_MS = 20, /* before the end of the lease, for the killing itself */
    RELEASE_LOST_MS = 100,
    WAIT_MS_MAX = 60000
};

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* --- Options -----------------------------------------------------------------------------------
 */

int hold_options(struct hold *hold, uint32_t *ret_ttl_ms)
{
    bool json = args_on(hold->args, "json");
    const char *ttl = args_value(hold->args, "ttl"), *grace = args_value(hold->args, "grace");
    const char *on_lost = args_value(hold->args, "on-lost");
    hold->kill = strcmp(on_lost, "kill") == 0;
    if (!hold->kill && strcmp(on_lost, "term") != 0)
        return output_error(json, CONCLAVE_INVALID, NULL, "it is term or kill",
                            "--on-lost: '%.40s' is neither", on_lost);
    if (!text_duration_parse(ttl, ret_ttl_ms) || *ret_ttl_ms < TTL_MS_MIN)
        return output_error(json, CONCLAVE_INVALID, NULL, "write a number with its unit: 2s, 1m",
                            "--ttl: '%.40s' is not a duration of at least 500ms", ttl);
    hold->grace_ms = hold->kill ? 0 : *ret_ttl_ms / GRACE_PART;
    if (grace && (!text_duration_parse(grace, &hold->grace_ms) ||
                  hold->grace_ms > *ret_ttl_ms / 2 || hold->kill))
        return output_error(json, CONCLAVE_INVALID, NULL,
                            "with --on-lost term, it is at most half of --ttl",
                            "--grace: '%.40s' cannot be", grace);
    return 0;
}

int hold_open(struct hold *hold, size_t first)
{
    const struct args *args = hold->args;
    hold->signals = signals_open(true); /* before there is any other thread */
    if (args->operand_count > first) {
        size_t count = args->operand_count - first;
        hold->command = calloc(count + 1, sizeof *hold->command);
        if (hold->command)
            memcpy(hold->command, args->operands + first, count * sizeof *hold->command);
    }
    if (hold->signals < 0 || (args->operand_count > first && !hold->command))
        return output_error(args_on(args, "json"), CONCLAVE_NO_MEMORY, NULL, NULL, "out of memory");
    return connect_open(args, NULL, &hold->client);
}

void hold_close(struct hold *hold)
{
    conclave_client_destroy(hold->client);
    if (hold->signals >= 0)
        close(hold->signals);
    free(hold->command);
}

/* --- Waiting -----------------------------------------------------------------------------------
 */

/* Until a signal comes, or there may be something to do for the client, or that time is over. */
static void wait_ms(const struct hold *hold, uint64_t ms)
{
    struct pollfd waits[] = {{.fd = hold->signals, .events = POLLIN},
                             {.fd = conclave_client_fd(hold->client), .events = POLLIN}};
    (void)poll(waits, 2, (int)(ms < WAIT_MS_MAX ? ms : WAIT_MS_MAX));
}

static int failed(const struct hold *hold, int code)
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

/* The signal that asks this process to end; 0: none. */
static int asked_to_end(const struct hold *hold)
{
    int number;
    while ((number = signals_read(hold->signals)) == SIGCHLD)
        ;
    return number;
}

int hold_wait(struct hold *hold, struct conclave_lock *lock, uint32_t wait)
{
    uint64_t give_up_ms = UINT64_MAX;
    int code, number = 0;
    while ((code = conclave_lock_poll(lock)) == CONCLAVE_TIMEOUT) {
        uint64_t at_ms = now_ms();
        if (give_up_ms == UINT64_MAX && conclave_lock_token(lock) && wait != CONCLAVE_LOCK_FOREVER)
            give_up_ms = at_ms + wait; /* it queues */
        if (at_ms >= give_up_ms || (number = asked_to_end(hold)) != 0)
            break;
        uint64_t left_ms = give_up_ms - at_ms, next_ms = conclave_lock_poll_ms(lock);
        wait_ms(hold, left_ms < next_ms ? left_ms : next_ms);
    }
    if (code == CONCLAVE_OK)
        return 0;
    (void)conclave_lock_release(lock,
                                number ? RELEASE_LOST_MS : 0); /* not told: it ends by itself */
    return number ? 128 + number : failed(hold, code);
}

/* --- Holding -----------------------------------------------------------------------------------
 */

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

/* The lock is lost, or is about to be: what it guards must not be touched any more. It has the time
 * until the lease ends to do so; signals do not lengthen it. */
static void stop_child(const struct hold *hold, pid_t child)
{
    struct pollfd waits = {.fd = hold->signals, .events = POLLIN};
    uint64_t kill_ms = now_ms() + hold->grace_ms;
    bool killed = hold->kill;
    int ignored;
    kill(child, killed ? SIGKILL : SIGTERM);
    while (!has_ended(child, &ignored)) {
        uint64_t at_ms = now_ms();
        if (at_ms >= kill_ms && !killed) {
            kill(child, SIGKILL);
            killed = true;
        }
        (void)poll(&waits, 1, killed ? WAIT_MS_MAX : (int)(kill_ms - at_ms));
        while (signals_read(hold->signals) != 0)
            ;
    }
}

static int lost(const struct hold *hold, pid_t child)
{
    if (child > 0)
        stop_child(hold, child);
    (void)output_error(args_on(hold->args, "json"), CONCLAVE_LEASE_EXPIRED, NULL, NULL,
                       "the %s '%s' was lost%s", hold->what, hold->name,
                       child > 0 ? ", and the program stopped" : "");
    return EXIT_LOST;
}

/* Until the child ends, a signal comes and there is no child, or the lock is lost: its lease may
 * end before the child could be stopped. */
static int wait_for_end(const struct hold *hold, struct conclave_lock *lock, pid_t child)
{
    uint32_t margin_ms = child > 0 ? hold->grace_ms + KILL_MARGIN_MS : 0;
    int exit_code = 0;
    for (;;) {
        int code = conclave_lock_poll(lock);
        uint32_t left_ms = conclave_lock_left_ms(lock), next_ms = conclave_lock_poll_ms(lock);
        if (code || left_ms <= margin_ms)
            return lost(hold, child);
        wait_ms(hold, left_ms - margin_ms < next_ms ? left_ms - margin_ms : next_ms);
        for (int number; (number = signals_read(hold->signals)) != 0;) {
            if (number == SIGCHLD)
                continue;
            if (child < 0)
                return 0;
            kill(child, number); /* what it makes of it is its own business */
        }
        if (child > 0 && has_ended(child, &exit_code))
            return exit_code;
    }
}

int hold_run(struct hold *hold, struct conclave_lock *lock)
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
    /* Not told: it ends by itself. */
    (void)conclave_lock_release(lock, exit_code == EXIT_LOST ? RELEASE_LOST_MS : 0);
    return exit_code;
}

/* cli/cmd_elect.c - elect: to stand for election and lead, or to see who does. */
#include "cli/commands.h"
#include "cli/connect.h"
#include "cli/hold.h"
#include "cli/output.h"
#include "cli/signals.h"
#include "cli/text.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { OBSERVE_MS = 200 }; /* between two looks */

const struct args_flag cmd_elect_flags[] = {
    {"ttl", 0, "DURATION", "10s", false, "not heard of for so long, the lead is lost"},
    {"timeout", 't', "DURATION", NULL, false, "how long to stand for election (without end)"},
    {"observe", 0, NULL, NULL, false,
     "print the value of who leads, and of each one who does next"},
    {"count", 'n', "N", NULL, false, "with --observe: end after N of them"},
    {"no-wait", 0, NULL, NULL, false, "with --observe: print who leads now; nobody exits with 1"},
    {0}};

/* --- Observing ---------------------------------------------------------------------------------
 */

struct observer {
    const struct args *args;
    const char *name;
    bool json, leads; /* somebody was found */
    uint64_t token, revision;
    uint64_t printed;
    int exit_code;
};

static int take(void *arg, const struct conclave_queue_entry *entry)
{
    struct observer *observer = arg;
    observer->leads = true;
    if (entry->token == observer->token && entry->revision == observer->revision)
        return 1;
    observer->token = entry->token;
    observer->revision = entry->revision;
    observer->printed++;
    if (observer->json) {
        observer->exit_code = output_line(
            json_pack("{s:o, s:o, s:o, s:o}", "election",
                      output_bytes(observer->name, strlen(observer->name)), "value",
                      output_bytes(entry->value, entry->value_bytes), "token",
                      output_uint(entry->token), "revision", output_uint(entry->revision)));
    } else {
        fwrite(entry->value, 1, entry->value_bytes, stdout);
        putchar('\n');
    }
    return 1; /* the first one leads */
}

static int observe(const struct args *args, struct observer *observer, uint64_t count)
{
    struct conclave_client *client = NULL;
    struct timespec pause = {.tv_nsec = OBSERVE_MS * 1000000L};
    bool once = args_on(args, "no-wait");
    int exit_code = connect_open(args, NULL, &client);
    while (exit_code == 0) {
        observer->leads = false;
        int code =
            conclave_queue_list(client, observer->name, strlen(observer->name), 0, take, observer);
        exit_code = code ? connect_error(args, client, code) : observer->exit_code;
        output_flush();
        if (exit_code || output_failed() || once || (count && observer->printed >= count))
            break;
        nanosleep(&pause, NULL);
    }
    conclave_client_destroy(client);
    if (exit_code == 0 && once && !observer->leads)
        return output_error(observer->json, CONCLAVE_NOT_FOUND, NULL, NULL, "nobody leads '%s'",
                            observer->name);
    return exit_code;
}

/* --- Standing for election ---------------------------------------------------------------------
 */

static int announce(const struct hold *hold, const struct conclave_lock *lock)
{
    uint64_t token = conclave_lock_token(lock);
    if (hold->command)
        return 0; /* standard output is the program's */
    if (args_on(hold->args, "json"))
        return output_line(json_pack("{s:o, s:o}", "election",
                                     output_bytes(hold->name, strlen(hold->name)), "token",
                                     output_uint(token)));
    printf("%llu\n", (unsigned long long)token);
    return 0;
}

static int lead(struct hold *hold, const struct conclave_lock_options *options, uint32_t wait_ms)
{
    struct conclave_lock *lock = NULL;
    int exit_code = connect_open(hold->args, NULL, &hold->client);
    if (exit_code == 0) {
        int code = conclave_lock_acquire(hold->client, hold->name, strlen(hold->name), options,
                                         wait_ms, &lock);
        exit_code = code ? hold_failed(hold, code) : announce(hold, lock);
        output_flush();
        if (lock)
            exit_code = hold_run(hold, lock);
    }
    conclave_client_destroy(hold->client);
    return exit_code;
}

static int stand(const struct args *args, const char *name)
{
    bool json = args_on(args, "json");
    struct hold hold = {.args = args, .name = name};
    struct conclave_lock_options options;
    uint32_t wait_ms = CONCLAVE_LOCK_FOREVER;
    conclave_lock_options_init(&options);
    options.value = args->operands[1];
    options.value_bytes = strlen(args->operands[1]);
    int exit_code = hold_ttl(args, &options.ttl_ms);
    if (exit_code == 0 && args_value(args, "timeout"))
        exit_code = connect_timeout(args, &wait_ms);
    if (exit_code != 0)
        return exit_code;
    hold.signals = signals_open(true); /* before there is any other thread */
    if (args->operand_count > 2)
        hold.command = hold_command(args, 2);
    if (hold.signals < 0 || (args->operand_count > 2 && !hold.command))
        exit_code = output_error(json, CONCLAVE_NO_MEMORY, NULL, NULL, "out of memory");
    else
        exit_code = lead(&hold, &options, wait_ms);
    if (hold.signals >= 0)
        close(hold.signals);
    free(hold.command);
    return exit_code;
}

int cmd_elect_run(const struct args *args)
{
    bool json = args_on(args, "json"), observes = args_on(args, "observe");
    const char *text = args_value(args, "count");
    uint64_t count = 0;
    if (observes != (args->operand_count == 1))
        return output_error(json, CONCLAVE_INVALID, NULL,
                            "conclave elect NAME VALUE [-- CMD], or conclave elect NAME --observe",
                            "'elect' needs a value to lead with, or --observe and none");
    if (text && (!text_uint_parse(text, INT64_MAX, &count) || count == 0))
        return output_error(json, CONCLAVE_INVALID, NULL, NULL, "--count: '%.40s' is not a number",
                            text);
    if (!observes)
        return stand(args, args->operands[0]);
    struct observer observer = {.args = args, .name = args->operands[0], .json = json};
    return observe(args, &observer, count);
}

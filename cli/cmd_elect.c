/* cli/cmd_elect.c - elect: to stand for election and lead, or to see who does. */
#include "cli/commands.h"
#include "cli/connect.h"
#include "cli/hold.h"
#include "cli/output.h"
#include "cli/text.h"

#include <string.h>

enum { LOOK_MS = 5000 }; /* between two looks whether anybody still reads */

const struct args_flag cmd_elect_flags[] = {
    HOLD_FLAGS,
    {"timeout", 't', "DURATION", NULL, false, "how long to stand for election (without end)"},
    {"observe", 0, NULL, NULL, false,
     "print token and value of who leads, and of each one who does next"},
    {"count", 'n', "N", NULL, false, "with --observe: end after N of them"},
    {"no-wait", 0, NULL, NULL, false, "with --observe: print who leads now; nobody exits with 1"},
    {0}};

/* --- Observing ---------------------------------------------------------------------------------
 */

struct observing {
    const struct args *args;
    const char *name;
    struct conclave_client *client;
    struct conclave_observer *observer;
    uint64_t left; /* lines to print; UINT64_MAX: no end */
};

static int print(const struct observing *observing, const struct conclave_queue_entry *entry)
{
    if (args_on(observing->args, "json"))
        return output_line(json_pack(
            "{s:o, s:o, s:o, s:o}", "election",
            output_bytes(observing->name, strlen(observing->name)), "value",
            entry->token ? output_bytes(entry->value, entry->value_bytes) : json_null(), "token",
            output_uint(entry->token), "revision", output_uint(entry->revision)));
    if (entry->token) {
        printf("%llu ", (unsigned long long)entry->token);
        fwrite(entry->value, 1, entry->value_bytes, stdout);
        putchar('\n');
    }
    return 0;
}

static int take(struct observing *observing, const struct conclave_queue_entry *entry)
{
    int exit_code = print(observing, entry);
    output_flush();
    if (entry->token && observing->left != UINT64_MAX)
        observing->left--;
    if (entry->token || !args_on(observing->args, "no-wait"))
        return exit_code;
    return output_error(args_on(observing->args, "json"), CONCLAVE_NOT_FOUND, NULL, NULL,
                        "nobody leads '%s'", observing->name);
}

/* The first one is waited for as long as any answer, the others without end. */
static int observe_loop(struct observing *observing, uint32_t timeout_ms)
{
    struct conclave_queue_entry entry;
    int code = conclave_observer_next(observing->observer, timeout_ms, &entry), exit_code = 0;
    if (code)
        return connect_read_error(observing->args, observing->client, code);
    exit_code = take(observing, &entry);
    while (exit_code == 0 && observing->left > 0 && !output_failed()) {
        code = conclave_observer_next(observing->observer, LOOK_MS, &entry);
        if (code == CONCLAVE_OK)
            exit_code = take(observing, &entry);
        else if (code != CONCLAVE_TIMEOUT)
            exit_code = connect_read_error(observing->args, observing->client, code);
    }
    return exit_code;
}

static int observe(const struct args *args, uint64_t count)
{
    struct observing observing = {.args = args, .name = args->operands[0], .left = count};
    uint32_t timeout_ms = 0;
    if (args_on(args, "no-wait"))
        observing.left = 1;
    int exit_code = connect_timeout(args, &timeout_ms);
    if (exit_code == 0)
        exit_code = connect_open(args, NULL, &observing.client);
    if (exit_code == 0) {
        int code = conclave_observer_create(observing.client, observing.name,
                                            strlen(observing.name), &observing.observer);
        exit_code = code ? connect_read_error(args, observing.client, code)
                         : observe_loop(&observing, timeout_ms);
    }
    conclave_observer_destroy(observing.observer);
    conclave_client_destroy(observing.client);
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
    int code = conclave_lock_begin(hold->client, hold->name, strlen(hold->name), options, &lock);
    if (code)
        return connect_error(hold->args, hold->client, code);
    int exit_code = hold_wait(hold, lock, wait_ms);
    if (exit_code)
        return exit_code;
    exit_code = announce(hold, lock);
    output_flush();
    return exit_code ? exit_code : hold_run(hold, lock);
}

static int stand(const struct args *args)
{
    struct hold hold = {.args = args, .what = "lead of", .name = args->operands[0], .signals = -1};
    struct conclave_lock_options options;
    uint32_t wait_ms = CONCLAVE_LOCK_FOREVER;
    conclave_lock_options_init(&options);
    options.value = args->operands[1];
    options.value_bytes = strlen(args->operands[1]);
    int exit_code = hold_options(&hold, &options.ttl_ms);
    if (exit_code == 0 && args_value(args, "timeout"))
        exit_code = connect_timeout(args, &wait_ms);
    if (exit_code == 0)
        exit_code = hold_open(&hold, 2);
    if (exit_code == 0)
        exit_code = lead(&hold, &options, wait_ms);
    hold_close(&hold);
    return exit_code;
}

int cmd_elect_run(const struct args *args)
{
    bool json = args_on(args, "json"), observes = args_on(args, "observe");
    const char *text = args_value(args, "count");
    uint64_t count = UINT64_MAX;
    if (observes != (args->operand_count == 1))
        return output_error(json, CONCLAVE_INVALID, NULL,
                            "conclave elect NAME VALUE [-- CMD], or conclave elect NAME --observe",
                            "'elect' needs a value to lead with, or --observe and none");
    if (text && (!text_uint_parse(text, INT64_MAX, &count) || count == 0))
        return output_error(json, CONCLAVE_INVALID, NULL, NULL, "--count: '%.40s' is not a number",
                            text);
    return observes ? observe(args, count) : stand(args);
}

/* cli/cmd_lock.c - lock: a program that runs while a lock is held, and who queues for one. */
#include "cli/commands.h"
#include "cli/connect.h"
#include "cli/hold.h"
#include "cli/output.h"
#include "cli/text.h"

#include <string.h>

const struct args_flag cmd_lock_flags[] = {
    HOLD_FLAGS,
    {"slots", 0, "N", "1", false, "how many may hold it at a time; 0: everybody"},
    {"value", 0, "V", NULL, false, "to be seen by --list"},
    {"list", 'l', NULL, NULL, false, "show who holds it and who waits, in order"},
    {0}};

/* --- Who is there ------------------------------------------------------------------------------
 */

struct listing {
    bool json;
    int exit_code;
};

static int print_entry(void *arg, const struct conclave_queue_entry *entry)
{
    struct listing *listing = arg;
    if (listing->json) {
        listing->exit_code =
            output_line(json_pack("{s:o, s:b, s:o, s:o}", "token", output_uint(entry->token),
                                  "holds", entry->holds, "lease", output_uint(entry->lease),
                                  "value", output_bytes(entry->value, entry->value_bytes)));
        return listing->exit_code || output_failed();
    }
    printf("%12llu  %-5s  ", (unsigned long long)entry->token, entry->holds ? "holds" : "waits");
    text_escape(stdout, entry->value, entry->value_bytes);
    putchar('\n');
    return output_failed();
}

static int list(const struct args *args, const char *name)
{
    struct conclave_client *client = NULL;
    struct listing listing = {args_on(args, "json"), 0};
    int exit_code = connect_open(args, NULL, &client);
    if (exit_code == 0) {
        int code = conclave_queue_list(client, name, strlen(name), 0, print_entry, &listing);
        exit_code =
            code == CONCLAVE_OK ? listing.exit_code : connect_read_error(args, client, code);
    }
    conclave_client_destroy(client);
    return exit_code;
}

/* --- A program ---------------------------------------------------------------------------------
 */

static int read_options(struct hold *hold, struct conclave_lock_options *options)
{
    const struct args *args = hold->args;
    const char *slots = args_value(args, "slots");
    uint64_t number = 0;
    conclave_lock_options_init(options);
    options->value = args_value(args, "value");
    options->value_bytes = options->value ? strlen(options->value) : 0;
    if (!text_uint_parse(slots, CONCLAVE_LOCK_SLOTS_MAX, &number))
        return output_error(args_on(args, "json"), CONCLAVE_INVALID, NULL, NULL,
                            "--slots: '%.40s' is not a number up to %d", slots,
                            CONCLAVE_LOCK_SLOTS_MAX);
    options->slots = (uint32_t)number;
    return hold_options(hold, &options->ttl_ms);
}

static int run(struct hold *hold, const struct conclave_lock_options *options, uint32_t wait_ms)
{
    struct conclave_lock *lock = NULL;
    int code = conclave_lock_begin(hold->client, hold->name, strlen(hold->name), options, &lock);
    if (code)
        return connect_error(hold->args, hold->client, code);
    int exit_code = hold_wait(hold, lock, wait_ms);
    return exit_code ? exit_code : hold_run(hold, lock);
}

int cmd_lock_run(const struct args *args)
{
    bool json = args_on(args, "json");
    struct hold hold = {.args = args, .what = "lock", .name = args->operands[0], .signals = -1};
    struct conclave_lock_options options;
    uint32_t wait_ms = 0;
    if (args_on(args, "list") != (args->operand_count == 1))
        return output_error(json, CONCLAVE_INVALID, NULL, "conclave lock NAME -- CMD",
                            "'lock' needs a program to run, or --list and none");
    if (args_on(args, "list"))
        return list(args, hold.name);
    int exit_code = read_options(&hold, &options);
    if (exit_code == 0)
        exit_code = connect_timeout(args, &wait_ms);
    if (exit_code == 0)
        exit_code = hold_open(&hold, 1);
    if (exit_code == 0)
        exit_code = run(&hold, &options, wait_ms);
    hold_close(&hold);
    return exit_code;
}

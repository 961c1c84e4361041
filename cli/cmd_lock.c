/* cli/cmd_lock.c - lock: a program that runs while a lock is held, and who queues for one. */
#include "cli/commands.h"
#include "cli/connect.h"
#include "cli/hold.h"
#include "cli/output.h"
#include "cli/signals.h"
#include "cli/text.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct args_flag cmd_lock_flags[] = {
    {"ttl", 0, "DURATION", "10s", false, "not heard of for so long, the lock is lost"},
    {"slots", 0, "N", "1", false, "how many may hold it at a time; 0: everybody (presence)"},
    {"value", 0, "V", NULL, false, "to be seen by --list"},
    {"on-lost", 0, "term|kill", "term", false,
     "what happens to CMD when the lock is lost: told to end, killed 5 s later; or killed at once"},
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
        exit_code = code == CONCLAVE_OK ? listing.exit_code : connect_error(args, client, code);
    }
    conclave_client_destroy(client);
    return exit_code;
}

/* --- A program ---------------------------------------------------------------------------------
 */

static int read_options(const struct args *args, struct conclave_lock_options *options,
                        bool *ret_kill)
{
    bool json = args_on(args, "json");
    const char *slots = args_value(args, "slots"), *on_lost = args_value(args, "on-lost");
    uint64_t number = 0;
    conclave_lock_options_init(options);
    options->value = args_value(args, "value");
    options->value_bytes = options->value ? strlen(options->value) : 0;
    *ret_kill = strcmp(on_lost, "kill") == 0;
    if (!text_uint_parse(slots, CONCLAVE_LOCK_SLOTS_MAX, &number))
        return output_error(json, CONCLAVE_INVALID, NULL, NULL,
                            "--slots: '%.40s' is not a number up to %d", slots,
                            CONCLAVE_LOCK_SLOTS_MAX);
    options->slots = (uint32_t)number;
    if (!*ret_kill && strcmp(on_lost, "term") != 0)
        return output_error(json, CONCLAVE_INVALID, NULL, "it is term or kill",
                            "--on-lost: '%.40s' is neither", on_lost);
    return hold_ttl(args, &options->ttl_ms);
}

static int run(struct hold *hold, const struct conclave_lock_options *options)
{
    struct conclave_lock *lock = NULL;
    uint32_t wait_ms = 0;
    int exit_code = connect_timeout(hold->args, &wait_ms);
    if (exit_code == 0)
        exit_code = connect_open(hold->args, NULL, &hold->client);
    if (exit_code == 0) {
        int code = conclave_lock_acquire(hold->client, hold->name, strlen(hold->name), options,
                                         wait_ms, &lock);
        exit_code = code == CONCLAVE_OK ? hold_run(hold, lock) : hold_failed(hold, code);
    }
    conclave_client_destroy(hold->client);
    return exit_code;
}

int cmd_lock_run(const struct args *args)
{
    bool json = args_on(args, "json");
    struct hold hold = {.args = args, .name = args->operands[0]};
    struct conclave_lock_options options;
    if (args_on(args, "list") != (args->operand_count == 1))
        return output_error(json, CONCLAVE_INVALID, NULL, "conclave lock NAME -- CMD",
                            "'lock' needs a program to run, or --list and none");
    if (args_on(args, "list"))
        return list(args, hold.name);
    int exit_code = read_options(args, &options, &hold.kill);
    if (exit_code != 0)
        return exit_code;
    hold.command = hold_command(args, 1);
    hold.signals = signals_open(true); /* before there is any other thread */
    if (hold.signals < 0 || !hold.command)
        exit_code = output_error(json, CONCLAVE_NO_MEMORY, NULL, NULL, "out of memory");
    else
        exit_code = run(&hold, &options);
    if (hold.signals >= 0)
        close(hold.signals);
    free(hold.command);
    return exit_code;
}

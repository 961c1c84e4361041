#include "cli/args.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static const struct args_flag globals[] = {
    {"endpoints", 'e', "LIST", "default-list", true, "where"},
    {"timeout", 't', "DURATION", "5s", true, "how long"},
    {"json", 'j', NULL, NULL, true, "as JSON"},
    {"help", 'h', NULL, NULL, false, "help"},
    {"version", 0, NULL, NULL, false, "version"},
    {0}};
static const struct args_flag list_flags[] = {
    {"long", 'l', NULL, NULL, false, "details"},
    {"null", '0', NULL, NULL, false, "zero bytes"},
    {"limit", 'n', "N", NULL, false, "at most N"},
    {"timeout", 't', "DURATION", "2s", true, "own default"},
    {0}};
static const struct args_flag none[] = {{0}};
static const struct args_command commands[] = {
    {"put", "KEY VALUE", 2, 2, none, "Store", NULL, "  put a b", false, NULL},
    {"list", "[PREFIX]", 0, 1, list_flags, "List", "More.", "  list a", false, NULL},
    {"bench", "WORKLOAD", 1, 9, none, "Measure", NULL, "  bench put", true, NULL},
    {0}};

static struct args args;
static struct args_error error;
static char words[16][64];
static char *argv[16];

/* Reads a command line written with spaces between its words. */
static bool read_line(const char *line)
{
    int argc = 0;
    strcpy(words[argc], "conclave");
    argv[argc] = words[argc];
    argc++;
    char copy[256];
    snprintf(copy, sizeof copy, "%s", line);
    char *rest;
    for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        snprintf(words[argc], sizeof words[argc], "%s", word);
        argv[argc] = words[argc];
        argc++;
    }
    return args_parse(&args, commands, globals, argc, argv, &error);
}

static void set_up(void)
{
    unsetenv("CONCLAVE_ENDPOINTS");
    unsetenv("CONCLAVE_TIMEOUT");
    unsetenv("CONCLAVE_JSON");
}

static void tear_down(void)
{
    args_deinit(&args);
}

TestSuite(args, .init = set_up, .fini = tear_down);

Test(args, takes_flags_before_between_and_after_operands)
{
    cr_assert(read_line("--json put -e x a --timeout=1s b"));
    cr_expect_str_eq(args.command->name, "put");
    cr_expect(args_on(&args, "json"));
    cr_expect_str_eq(args_value(&args, "endpoints"), "x");
    cr_expect_str_eq(args_value(&args, "timeout"), "1s");
    cr_assert_eq(args.operand_count, 2);
    cr_expect_str_eq(args.operands[0], "a");
    cr_expect_str_eq(args.operands[1], "b");
}

Test(args, takes_everything_after_two_dashes_as_operands)
{
    cr_assert(read_line("put -- -k --json"));
    cr_expect_not(args_on(&args, "json"));
    cr_assert_eq(args.operand_count, 2);
    cr_expect_str_eq(args.operands[0], "-k");
    cr_expect_str_eq(args.operands[1], "--json");
}

Test(args, takes_a_single_dash_as_an_operand)
{
    cr_assert(read_line("put key -"));
    cr_expect_str_eq(args.operands[1], "-");
}

Test(args, takes_letters_together_and_values_attached)
{
    cr_assert(read_line("list -l0n7 p"));
    cr_expect(args_on(&args, "long"));
    cr_expect(args_on(&args, "null"));
    cr_expect_str_eq(args_value(&args, "limit"), "7");
    cr_expect_str_eq(args.operands[0], "p");
}

Test(args, prefers_flag_over_environment_over_default)
{
    cr_assert(read_line("put a b"));
    cr_expect_str_eq(args_value(&args, "endpoints"), "default-list");
    cr_expect_eq(args_source(&args, "endpoints"), ARGS_DEFAULT);
    args_deinit(&args);

    setenv("CONCLAVE_ENDPOINTS", "from-env", 1);
    cr_assert(read_line("put a b"));
    cr_expect_str_eq(args_value(&args, "endpoints"), "from-env");
    cr_expect_eq(args_source(&args, "endpoints"), ARGS_ENVIRONMENT);
    args_deinit(&args);

    cr_assert(read_line("put a b --endpoints given"));
    cr_expect_str_eq(args_value(&args, "endpoints"), "given");
    cr_expect_eq(args_source(&args, "endpoints"), ARGS_GIVEN);
}

Test(args, reads_switches_from_the_environment)
{
    setenv("CONCLAVE_JSON", "true", 1);
    cr_assert(read_line("put a b"));
    cr_expect(args_on(&args, "json"));
    args_deinit(&args);

    setenv("CONCLAVE_JSON", "false", 1);
    cr_assert(read_line("put a b"));
    cr_expect_not(args_on(&args, "json"));
    args_deinit(&args);

    setenv("CONCLAVE_JSON", "maybe", 1);
    cr_expect_not(read_line("put a b"));
}

Test(args, lets_a_command_have_its_own_default_for_a_global_flag)
{
    cr_assert(read_line("list"));
    cr_expect_str_eq(args_value(&args, "timeout"), "2s");
    args_deinit(&args);

    cr_assert(read_line("--timeout 9s list"));
    cr_expect_str_eq(args_value(&args, "timeout"), "9s");
}

Test(args, names_the_nearest_flag_for_an_unknown_one)
{
    cr_assert_not(read_line("list --limti 3"));
    cr_expect_str_eq(error.message, "'list' has no flag --limti");
    cr_expect_str_eq(error.hint, "did you mean --limit?");
}

Test(args, names_the_nearest_command_for_an_unknown_one)
{
    cr_assert_not(read_line("lsit"));
    cr_expect_str_eq(error.message, "there is no command 'lsit'");
    cr_expect_str_eq(error.hint, "did you mean 'conclave list'?");
}

Test(args, points_to_the_help_when_nothing_is_near)
{
    cr_assert_not(read_line("xylophone"));
    cr_expect_str_eq(error.hint, "conclave --help lists the commands");
}

Test(args, refuses_a_value_for_a_switch_and_a_missing_value)
{
    cr_expect_not(read_line("put a b --json=yes"));
    cr_expect_str_eq(error.message, "--json is a switch and takes no value");
    args_deinit(&args);
    cr_expect_not(read_line("put a b --timeout"));
    cr_expect_str_eq(error.message, "--timeout needs a value: --timeout DURATION");
    args_deinit(&args);
    cr_expect_not(read_line("list -n"));
    cr_expect_str_eq(error.message, "-n needs a value: -n N");
}

Test(args, refuses_too_few_and_too_many_operands)
{
    cr_expect_not(read_line("put a"));
    cr_expect_str_eq(error.message, "'put' needs all of KEY VALUE");
    args_deinit(&args);
    cr_expect_not(read_line("put a b c"));
    cr_expect_str_eq(error.message, "'put' does not take 'c'");
    args_deinit(&args);
    cr_expect_not(read_line(""));
    cr_expect_str_eq(error.message, "no command given");
}

Test(args, checks_no_operands_when_help_is_asked_for)
{
    cr_assert(read_line("put --help"));
    cr_expect(args.help);
    cr_expect_str_eq(args.command->name, "put");
    args_deinit(&args);
    cr_assert(read_line("--version"));
    cr_expect(args.version);
}

Test(args, leaves_the_flags_of_bench_to_bench)
{
    cr_assert(read_line("-e x bench put --clients 3 --json"));
    cr_expect_str_eq(args_value(&args, "endpoints"), "x");
    cr_expect_not(args_on(&args, "json"));
    cr_assert_eq(args.operand_count, 4);
    cr_expect_str_eq(args.operands[1], "--clients");
}

Test(args, shows_every_flag_of_a_command_in_its_help)
{
    char *text;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    args_help_command(out, &commands[1], globals);
    fclose(out);
    cr_expect(strstr(text, "conclave list [PREFIX]"));
    cr_expect(strstr(text, "-l, --long"));
    cr_expect(strstr(text, "-n, --limit N"));
    cr_expect(strstr(text, "--endpoints LIST"));
    cr_expect(strstr(text, "(default default-list)"));
    cr_expect(strstr(text, "  list a"));
    free(text);
}

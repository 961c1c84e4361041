/* cli/help.c - the help, printed from the same tables that read the command line. */
#include "cli/args.h"

#include <string.h>

enum { HELP_DEFAULT_MAX = 24 }; /* longer defaults get a line of their own */

static void help_flag(FILE *out, const struct args_flag *flag)
{
    char left[64];
    char letter[8] = "    ";
    if (flag->letter)
        snprintf(letter, sizeof letter, "-%c, ", flag->letter);
    snprintf(left, sizeof left, "%s--%s%s%s", letter, flag->name, flag->value ? " " : "",
             flag->value ? flag->value : "");
    fprintf(out, "  %-31s %s", left, flag->help);
    if (flag->fallback && strlen(flag->fallback) > HELP_DEFAULT_MAX)
        fprintf(out, ";\n  %-31s default %s", "", flag->fallback);
    else if (flag->fallback)
        fprintf(out, " (default %s)", flag->fallback);
    fputc('\n', out);
}

static bool has_flag(const struct args_flag *flags, const char *name)
{
    for (; flags && flags->name; flags++)
        if (strcmp(flags->name, name) == 0)
            return true;
    return false;
}

/* Leaves out those that the command has in a form of its own. */
static void help_flags(FILE *out, const char *title, const struct args_flag *flags,
                       const struct args_flag *own)
{
    if (!flags || !flags->name)
        return;
    fprintf(out, "\n%s:\n", title);
    for (; flags->name; flags++)
        if (!has_flag(own, flags->name))
            help_flag(out, flags);
}

void args_help_command(FILE *out, const struct args_command *command,
                       const struct args_flag *globals)
{
    fprintf(out, "conclave %s%s%s [flags]\n\n%s.\n", command->name, *command->operands ? " " : "",
            command->operands, command->summary);
    if (command->detail)
        fprintf(out, "\n%s\n", command->detail);
    help_flags(out, "Flags", command->flags, NULL);
    help_flags(out, "Flags of every command", globals, command->flags);
    fprintf(out, "\nExample:\n%s\n", command->example);
}

void args_help_all(FILE *out, const struct args_command *commands, const struct args_flag *globals)
{
    fputs("conclave - a small replicated key-value store: nodes that agree by Raft\n\n"
          "usage: conclave COMMAND [operands] [flags]\n\nCommands:\n",
          out);
    for (; commands->name; commands++) {
        char left[64];
        snprintf(left, sizeof left, "%s %s", commands->name, commands->operands);
        fprintf(out, "  %-31s %s\n", left, commands->summary);
    }
    help_flags(out, "Flags of every command", globals, NULL);
    fputs(
        "\nFlags may stand before or after operands; -- ends them. A flag wins over its variable\n"
        "(--endpoints over CONCLAVE_ENDPOINTS), and that over the default. Durations are written\n"
        "500ms, 2s, 1m; sizes 64KiB, 16MiB. Data goes to standard output, everything else to\n"
        "standard error; with --json errors are JSON too, on standard error.\n\n"
        "Exit codes: 0 ok, 1 no (missing key, condition did not hold), 2 usage or configuration,\n"
        "3 no node reached, 4 surely not applied, 5 outcome unknown, 6 denied, 7 refused (size,\n"
        "space, version), 8 damage, a failed disk or a broken rule, 125 a lock or the lead was "
        "lost.\n\n"
        "To begin: conclave up        Then, elsewhere: conclave put greeting hello\n",
        out);
}

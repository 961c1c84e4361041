#include "cli/args.h"

#include "cli/text.h"

#include <assert.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static bool fail(struct args_error *error, const char *hint, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool fail(struct args_error *error, const char *hint, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(error->message, sizeof error->message, format, list);
    va_end(list);
    snprintf(error->hint, sizeof error->hint, "%s", hint);
    return false;
}

static size_t find_name(const struct args *args, const char *name, size_t length)
{
    for (size_t i = 0; i < args->flag_count; i++)
        if (strlen(args->flags[i]->name) == length &&
            memcmp(args->flags[i]->name, name, length) == 0)
            return i;
    return args->flag_count;
}

static size_t find_letter(const struct args *args, char letter)
{
    for (size_t i = 0; i < args->flag_count; i++)
        if (args->flags[i]->letter && args->flags[i]->letter == letter)
            return i;
    return args->flag_count;
}

static void add_flags(struct args *args, const struct args_flag *flags)
{
    for (; flags && flags->name; flags++) {
        if (find_name(args, flags->name, strlen(flags->name)) < args->flag_count)
            continue;
        assert(args->flag_count < ARGS_FLAGS_MAX);
        args->flags[args->flag_count++] = flags;
    }
}

/* A command may bring its own row for a global flag that was read before the command's name: what
 * was read moves over. */
static void enter_command(struct args *args, const struct args_command *command,
                          const struct args_flag *globals)
{
    struct args before = *args;
    args->command = command;
    args->flag_count = 0;
    memset(args->values, 0, sizeof args->values);
    memset(args->sources, 0, sizeof args->sources);
    add_flags(args, command->flags);
    add_flags(args, globals);
    for (size_t i = 0; i < before.flag_count; i++) {
        size_t at = find_name(args, before.flags[i]->name, strlen(before.flags[i]->name));
        assert(at < args->flag_count);
        args->values[at] = before.values[i];
        args->sources[at] = before.sources[i];
    }
}

static bool unknown_flag(const struct args *args, const char *text, size_t length,
                         struct args_error *error)
{
    char word[64], hint[128] = "";
    snprintf(word, sizeof word, "%.*s", (int)length, text);
    const char *names[ARGS_FLAGS_MAX];
    for (size_t i = 0; i < args->flag_count; i++)
        names[i] = args->flags[i]->name;
    const char *skip = word + strspn(word, "-");
    const char *nearest = text_nearest(skip, names, args->flag_count);
    const char *command = args->command ? args->command->name : NULL;
    if (nearest)
        snprintf(hint, sizeof hint, "did you mean --%s?", nearest);
    else
        snprintf(hint, sizeof hint, "conclave %s%s--help lists the flags", command ? command : "",
                 command ? " " : "");
    if (command)
        return fail(error, hint, "'%s' has no flag %s", command, word);
    return fail(error, hint, "there is no flag %s", word);
}

static void give(struct args *args, size_t at, const char *value)
{
    args->values[at] = value;
    args->sources[at] = ARGS_GIVEN;
    args->given = realloc(args->given, (args->given_count + 1) * sizeof *args->given);
    if (!args->given)
        abort(); /* as good as nothing was read yet */
    args->given[args->given_count++] = (struct args_given){args->flags[at]->name, value};
    if (strcmp(args->flags[at]->name, "help") == 0)
        args->help = true;
    if (strcmp(args->flags[at]->name, "version") == 0)
        args->version = true;
}

/* Reads `--name`, `--name=value` or `--name value`; *index moves on to the last argument used. */
static bool read_long(struct args *args, int argc, char **argv, int *index,
                      struct args_error *error)
{
    const char *name = argv[*index] + 2;
    const char *equals = strchr(name, '=');
    size_t length = equals ? (size_t)(equals - name) : strlen(name);
    size_t at = find_name(args, name, length);
    if (at == args->flag_count)
        return unknown_flag(args, argv[*index], length + 2, error);
    if (!args->flags[at]->value) {
        if (equals)
            return fail(error, "", "--%s is a switch and takes no value", args->flags[at]->name);
        give(args, at, "1");
        return true;
    }
    if (!equals && *index + 1 >= argc)
        return fail(error, "", "--%s needs a value: --%s %s", args->flags[at]->name,
                    args->flags[at]->name, args->flags[at]->value);
    give(args, at, equals ? equals + 1 : argv[++*index]);
    return true;
}

/* Reads `-a`, `-ab` (switches), `-n 3` or `-n3`. */
static bool read_short(struct args *args, int argc, char **argv, int *index,
                       struct args_error *error)
{
    const char *whole = argv[*index];
    for (const char *letter = whole + 1; *letter; letter++) {
        size_t at = find_letter(args, *letter);
        if (at == args->flag_count)
            return unknown_flag(args, whole, strlen(whole), error);
        if (!args->flags[at]->value) {
            give(args, at, "1");
            continue;
        }
        if (letter[1])
            give(args, at, letter + 1);
        else if (*index + 1 < argc)
            give(args, at, argv[++*index]);
        else
            return fail(error, "", "-%c needs a value: -%c %s", *letter, *letter,
                        args->flags[at]->value);
        return true;
    }
    return true;
}

const struct args_command *args_find_command(const struct args_command *commands, const char *name,
                                             struct args_error *error)
{
    const char *names[64];
    size_t count = 0;
    for (const struct args_command *command = commands; command->name; command++) {
        if (strcmp(command->name, name) == 0)
            return command;
        assert(count < sizeof names / sizeof names[0]);
        names[count++] = command->name;
    }
    char hint[128];
    const char *nearest = text_nearest(name, names, count);
    if (nearest)
        snprintf(hint, sizeof hint, "did you mean 'conclave %s'?", nearest);
    else
        snprintf(hint, sizeof hint, "conclave --help lists the commands");
    fail(error, hint, "there is no command '%.64s'", name);
    return NULL;
}

static bool check_operands(const struct args *args, struct args_error *error)
{
    const struct args_command *command = args->command;
    size_t count = args->operand_count;
    if (count >= command->operand_min && count <= command->operand_max)
        return true;
    char hint[192];
    snprintf(hint, sizeof hint, "usage: conclave %s%s%s [flags]", command->name,
             *command->operands ? " " : "", command->operands);
    if (count > command->operand_max)
        return fail(error, hint, "'%s' does not take '%.64s'", command->name,
                    args->operands[command->operand_max]);
    return fail(error, hint, count == 0 ? "'%s' needs %s" : "'%s' needs all of %s", command->name,
                command->operands);
}

const char *args_environment(const char *variable)
{
    const char *value = getenv(variable); /* NOLINT(concurrency-mt-unsafe): nothing changes it */
    return value && *value ? value : NULL;
}

/* CONCLAVE_ELECTION_TIMEOUT for election-timeout. */
static const char *environment(const char *name)
{
    char variable[64] = "CONCLAVE_";
    size_t used = strlen(variable);
    for (; *name && used + 1 < sizeof variable; name++)
        variable[used++] = *name == '-' ? '_' : (char)toupper((unsigned char)*name);
    variable[used] = '\0';
    return args_environment(variable);
}

static bool fill_in(struct args *args, struct args_error *error)
{
    for (size_t i = 0; i < args->flag_count; i++) {
        const struct args_flag *flag = args->flags[i];
        if (args->sources[i] != ARGS_NONE)
            continue;
        const char *value = flag->env ? environment(flag->name) : NULL;
        if (value && !flag->value) {
            bool off = strcmp(value, "0") == 0 || strcmp(value, "false") == 0;
            if (!off && strcmp(value, "1") != 0 && strcmp(value, "true") != 0)
                return fail(error, "", "the environment's value of --%s must be true or false",
                            flag->name);
            value = off ? NULL : "1";
        }
        args->values[i] = value ? value : flag->fallback;
        args->sources[i] = value ? ARGS_ENVIRONMENT : flag->fallback ? ARGS_DEFAULT : ARGS_NONE;
    }
    return true;
}

static bool read_all(struct args *args, const struct args_command *commands,
                     const struct args_flag *globals, int argc, char **argv,
                     struct args_error *error)
{
    bool flags_ended = false;
    for (int i = 1; i < argc; i++) {
        char *text = argv[i];
        bool own = args->command && args->command->own_flags;
        if (!own && !flags_ended && text[0] == '-' && text[1]) {
            if (strcmp(text, "--") == 0) {
                flags_ended = true;
                args->plain_count = args->operand_count;
            } else if (!(text[1] == '-' ? read_long : read_short)(args, argc, argv, &i, error)) {
                return false;
            }
        } else if (!args->command) {
            const struct args_command *command = args_find_command(commands, text, error);
            if (!command)
                return false;
            enter_command(args, command, globals);
        } else {
            args->operands[args->operand_count++] = text;
        }
    }
    if (!flags_ended)
        args->plain_count = args->operand_count;
    return true;
}

bool args_parse(struct args *ret, const struct args_command *commands,
                const struct args_flag *globals, int argc, char **argv, struct args_error *error)
{
    memset(ret, 0, sizeof *ret);
    *error = (struct args_error){{0}, {0}};
    ret->operands = calloc((size_t)argc + 1, sizeof *ret->operands);
    if (!ret->operands)
        return fail(error, "", "out of memory");
    add_flags(ret, globals);
    if (!read_all(ret, commands, globals, argc, argv, error))
        return false;
    if (!fill_in(ret, error))
        return false;
    if (ret->help || ret->version)
        return true;
    if (!ret->command)
        return fail(error, "conclave --help lists the commands", "no command given");
    return ret->command->own_flags || check_operands(ret, error);
}

void args_deinit(struct args *args)
{
    free(args->operands);
    free(args->given);
    args->operands = NULL;
    args->given = NULL;
}

static size_t must_find(const struct args *args, const char *name)
{
    size_t at = find_name(args, name, strlen(name));
    assert(at < args->flag_count);
    return at;
}

const char *args_value(const struct args *args, const char *name)
{
    return args->values[must_find(args, name)];
}

bool args_on(const struct args *args, const char *name)
{
    return args->values[must_find(args, name)] != NULL;
}

enum args_source args_source(const struct args *args, const char *name)
{
    return args->sources[must_find(args, name)];
}

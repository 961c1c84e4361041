/* cli/args.h - the command line, read by tables that also print the help.
 *
 * A command is a row: its name, operands, flags, an example, and the function that runs it. Flags
 * may stand before or after operands; `--` ends them; `--flag value`, `--flag=value`, `-f value`
 * and
 * `-fvalue` are the same. A flag that is not given takes its value from CONCLAVE_FLAG_NAME if its
 * row says so, else from its default. Owned by the main thread. */
#ifndef CLI_ARGS_H
#define CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { ARGS_FLAGS_MAX = 32 };

struct args_flag {
    const char *name;     /* without dashes; NULL ends a table */
    char letter;          /* 0: none */
    const char *value;    /* what the help calls its value; NULL: a switch */
    const char *fallback; /* default; NULL: none */
    bool env;             /* CONCLAVE_NAME gives it when the command line does not */
    const char *help;
};

struct args;

struct args_command {
    const char *name;
    const char *operands; /* as the help shows them; "" for none */
    size_t operand_min, operand_max;
    const struct args_flag *flags;
    const char *summary; /* one line */
    const char *detail;  /* more lines for its own --help; NULL: none */
    const char *example;
    bool own_flags; /* everything after the command's name is the command's own business */
    int (*run)(const struct args *args); /* returns the exit code */
};

/* Where a value came from. */
enum args_source { ARGS_NONE, ARGS_DEFAULT, ARGS_ENVIRONMENT, ARGS_GIVEN };

struct args {
    const struct args_command *command; /* NULL: none was named */
    const struct args_flag *flags[ARGS_FLAGS_MAX];
    const char *values[ARGS_FLAGS_MAX]; /* of switches: "1" */
    enum args_source sources[ARGS_FLAGS_MAX];
    size_t flag_count;
    char **operands; /* argv's own strings */
    size_t operand_count;
    size_t plain_count;       /* of them, in front of --; all of them without it */
    struct args_given *given; /* every flag that was given, in order */
    size_t given_count;
    bool help, version;
};

/* A flag may be given several times: args_value tells the last one, these all. */
struct args_given {
    const char *name, *value;
};

/* What is wrong with a command line, and what may have been meant. */
struct args_error {
    char message[256];
    char hint[256]; /* "": none */
};

/* Reads argv[1..]. `commands` ends with a NULL name; `globals` are flags of every command (a
 * command may have its own row of the same name instead). False with *error on wrong usage; *ret
 * can then still be asked for what was read. After --help or --version operands are not checked.
 * The caller calls args_deinit in every case. */
bool args_parse(struct args *ret, const struct args_command *commands,
                const struct args_flag *globals, int argc, char **argv, struct args_error *error);
void args_deinit(struct args *args);

/* The value of the flag: given, from the environment or default; NULL: none. The flag must be one
 * of the command's. */
const char *args_value(const struct args *args, const char *name);
bool args_on(const struct args *args, const char *name); /* a switch */
enum args_source args_source(const struct args *args, const char *name);

/* An environment variable; NULL if it is not set or empty. */
const char *args_environment(const char *variable);

/* The command of that name; NULL, with *error, if there is none. */
const struct args_command *args_find_command(const struct args_command *commands, const char *name,
                                             struct args_error *error);

/* The help of one command, and the list of all. */
void args_help_command(FILE *out, const struct args_command *command,
                       const struct args_flag *globals);
void args_help_all(FILE *out, const struct args_command *commands, const struct args_flag *globals);

#endif

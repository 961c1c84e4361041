/* conclave-sim: a cluster of Raft cores under a seeded scheduler, in virtual time. */
#include "tests/sim/batch.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "Runs clusters of the Raft core under simulated faults and checks them after every step.\n"
    "\n"
    "  conclave-sim [--seeds K] [--first S] [-j J]   runs K seeds from S on (100 from 1)\n"
    "  conclave-sim --seed N                         runs one seed, exactly as every time\n"
    "\n"
    "  --steps M        events of a run before everything is healed (10000)\n"
    "  -v, --trace      with --seed: prints every event\n"
    "  --check-replay   runs every seed twice and compares\n"
    "  -j, --jobs J     processes (1)\n"
    "  --keep-going     goes on after a failure and counts all of them\n"
    "  --json           prints the summary as JSON\n"
    "  -h, --help       this text\n"
    "\n"
    "Exit codes: 0 all passed, 1 a seed failed, 2 bad usage.\n";

enum {
    OPTION_SEED = 256,
    OPTION_STEPS,
    OPTION_SEEDS,
    OPTION_FIRST,
    OPTION_KEEP_GOING,
    OPTION_CHECK_REPLAY,
    OPTION_JSON
};

static const struct option long_options[] = {
    {"seed", required_argument, NULL, OPTION_SEED},
    {"steps", required_argument, NULL, OPTION_STEPS},
    {"seeds", required_argument, NULL, OPTION_SEEDS},
    {"first", required_argument, NULL, OPTION_FIRST},
    {"jobs", required_argument, NULL, 'j'},
    {"trace", no_argument, NULL, 'v'},
    {"keep-going", no_argument, NULL, OPTION_KEEP_GOING},
    {"check-replay", no_argument, NULL, OPTION_CHECK_REPLAY},
    {"json", no_argument, NULL, OPTION_JSON},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0}};

struct arguments {
    struct batch_options batch;
    uint64_t seed;
    bool single, trace, help;
};

/* A whole number from `min` to `max`. */
static bool parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
    char *end;
    errno = 0;
    uint64_t value = strtoull(text, &end, 10);
    if (errno || end == text || *end || text[0] == '-' || value < min || value > max)
        return false;
    *ret = value;
    return true;
}

static bool parse_option(int option, struct arguments *arguments)
{
    uint64_t jobs;
    switch (option) {
    case OPTION_SEED:
        arguments->single = true;
        return parse_number(optarg, 1, UINT64_MAX, &arguments->seed);
    case OPTION_STEPS:
        return parse_number(optarg, 1, UINT64_MAX, &arguments->batch.steps);
    case OPTION_SEEDS:
        return parse_number(optarg, 1, UINT64_MAX, &arguments->batch.seeds);
    case OPTION_FIRST:
        return parse_number(optarg, 1, UINT64_MAX / 2, &arguments->batch.first);
    case 'j':
        if (!parse_number(optarg, 1, 64, &jobs))
            return false;
        arguments->batch.jobs = (uint32_t)jobs;
        return true;
    case 'v':
        arguments->trace = true;
        return true;
    case OPTION_KEEP_GOING:
        arguments->batch.keep_going = true;
        return true;
    case OPTION_CHECK_REPLAY:
        arguments->batch.check_replay = true;
        return true;
    case OPTION_JSON:
        arguments->batch.json = true;
        return true;
    case 'h':
        arguments->help = true;
        return true;
    default:
        return false;
    }
}

int main(int argc, char **argv)
{
    struct arguments arguments = {.batch = {.first = 1, .seeds = 100, .steps = 10000, .jobs = 1}};
    int option;
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): one thread */
    while ((option = getopt_long(argc, argv, "j:vh", long_options, NULL)) != -1) {
        if (!parse_option(option, &arguments)) {
            if (option != '?')
                fprintf(stderr, "conclave-sim: bad value '%s'\n", optarg);
            fprintf(stderr, "conclave-sim: try --help\n");
            return 2;
        }
    }
    if (arguments.help) {
        fputs(help, stdout);
        return 0;
    }
    if (optind < argc || (arguments.trace && !arguments.single)) {
        fprintf(stderr, "conclave-sim: %s; try --help\n",
                optind < argc ? "takes no arguments" : "--trace needs --seed");
        return 2;
    }
    if (arguments.single)
        return batch_run_one(arguments.seed, arguments.batch.steps, arguments.trace,
                             arguments.batch.check_replay);
    return batch_run_many(&arguments.batch);
}

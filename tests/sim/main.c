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
    "  --brief          with --seed: prints the events that tell what happened\n"
    "  --shrink         with --seed: makes a failing run short and prints how to repeat it\n"
    "  --grant LIST     with --seed: only these faults and requests happen; may be repeated.\n"
    "                   KIND:1,4-9 as a shrunk run prints it, or none\n"
    "  --check-replay   runs every seed twice and compares\n"
    "  -j, --jobs J     processes (1)\n"
    "  --keep-going     goes on after a failure, counts all of them and names the seeds\n"
    "  --no-shrink      prints the first failure as it is\n"
    "  --require-marks  a fault or a situation that no seed had is a failure\n"
    "  --json           prints the summary as JSON\n"
    "  -h, --help       this text\n"
    "\n"
    "Exit codes: 0 all passed, 1 a seed failed or a mark is missing, 2 bad usage.\n";

enum {
    OPTION_SEED = 256,
    OPTION_STEPS,
    OPTION_SEEDS,
    OPTION_FIRST,
    OPTION_KEEP_GOING,
    OPTION_CHECK_REPLAY,
    OPTION_JSON,
    OPTION_BRIEF,
    OPTION_SHRINK,
    OPTION_NO_SHRINK,
    OPTION_GRANT,
    OPTION_REQUIRE_MARKS
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
    {"brief", no_argument, NULL, OPTION_BRIEF},
    {"shrink", no_argument, NULL, OPTION_SHRINK},
    {"no-shrink", no_argument, NULL, OPTION_NO_SHRINK},
    {"grant", required_argument, NULL, OPTION_GRANT},
    {"require-marks", no_argument, NULL, OPTION_REQUIRE_MARKS},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0}};

struct arguments {
    struct batch_options batch;
    struct decision_list only;
    uint64_t seed;
    bool single, several, shrink, granting, help;
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

static bool parse_flag(int option, struct arguments *arguments)
{
    struct batch_options *batch = &arguments->batch;
    bool *flag = option == 'v'                    ? &batch->trace
                 : option == OPTION_BRIEF         ? &batch->brief
                 : option == OPTION_SHRINK        ? &arguments->shrink
                 : option == OPTION_NO_SHRINK     ? &batch->no_shrink
                 : option == OPTION_KEEP_GOING    ? &batch->keep_going
                 : option == OPTION_CHECK_REPLAY  ? &batch->check_replay
                 : option == OPTION_REQUIRE_MARKS ? &batch->require_marks
                 : option == OPTION_JSON          ? &batch->json
                 : option == 'h'                  ? &arguments->help
                                                  : NULL;
    if (flag)
        *flag = true;
    return flag != NULL;
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
        arguments->several = true;
        return parse_number(optarg, 1, UINT64_MAX, &arguments->batch.seeds);
    case OPTION_FIRST:
        arguments->several = true;
        return parse_number(optarg, 1, UINT64_MAX / 2, &arguments->batch.first);
    case 'j':
        if (!parse_number(optarg, 1, 64, &jobs))
            return false;
        arguments->batch.jobs = (uint32_t)jobs;
        return true;
    case OPTION_GRANT:
        arguments->granting = true;
        return decision_list_parse(&arguments->only, optarg);
    default:
        return parse_flag(option, arguments);
    }
}

/* As it is written in full. */
static const char *option_name(int option)
{
    const struct option *at = long_options;
    while (at->name && at->val != option)
        at++;
    return at->name ? at->name : "-";
}

/* What is wrong with the options taken together; NULL: nothing. */
static const char *find_contradiction(const struct arguments *arguments)
{
    const struct batch_options *batch = &arguments->batch;
    if (!arguments->single && (batch->trace || batch->brief))
        return "--trace and --brief need --seed";
    if (!arguments->single && (arguments->shrink || arguments->granting))
        return "--shrink and --grant need --seed";
    if (arguments->single &&
        (arguments->several || batch->require_marks || batch->keep_going || batch->json))
        return "--seed is one seed; --seeds, --first, --require-marks, --keep-going and --json are "
               "for many";
    return NULL;
}

static int run(struct arguments *arguments)
{
    if (arguments->granting) {
        decision_list_sort(&arguments->only);
        arguments->batch.only = &arguments->only;
    }
    if (arguments->single && arguments->shrink)
        return batch_shrink(&arguments->batch, arguments->seed);
    if (arguments->single)
        return batch_run_one(&arguments->batch, arguments->seed);
    return batch_run_many(&arguments->batch);
}

int main(int argc, char **argv)
{
    struct arguments arguments = {.batch = {.first = 1, .seeds = 100, .steps = 10000, .jobs = 1}};
    int option;
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): one thread */
    while ((option = getopt_long(argc, argv, "j:vh", long_options, NULL)) != -1) {
        if (!parse_option(option, &arguments)) {
            if (option != '?')
                fprintf(stderr, "conclave-sim: %s: bad value '%s'\n", option_name(option), optarg);
            fprintf(stderr, "conclave-sim: try --help\n");
            return 2;
        }
    }
    if (arguments.help) {
        fputs(help, stdout);
        return 0;
    }
    const char *wrong = optind < argc ? "takes no arguments" : find_contradiction(&arguments);
    if (wrong) {
        fprintf(stderr, "conclave-sim: %s; try --help\n", wrong);
        return 2;
    }
    int code = run(&arguments);
    decision_list_deinit(&arguments.only);
    return code;
}

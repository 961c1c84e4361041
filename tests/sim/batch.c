#include "tests/sim/batch.h"

#include "base/clock.h"
#include "base/fatal.h"
#include "tests/sim/limit.h"
#include "tests/sim/shrink.h"
#include "tests/sim/summary.h"
#include "tests/sim/world.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { JOBS_MAX = 64, REPLAY_BYTES = 65536 };

/* What a runner process tells the others, in shared memory so that it survives a crash of it. */
struct runner {
    uint64_t running; /* seed under way; 0: none, or its failure is counted */
    uint64_t next;    /* number of the seed after it, from 0 */
    struct summary summary;
};

struct shared {
    atomic_bool stop;
    struct runner runners[JOBS_MAX];
};

/* For the signal handler: an assertion in the core ends as abort(), and the events that led to it
 * are worth telling. The process has one thread and the core does not print: what the handler calls
 * was not interrupted in the middle, and nothing else runs after it.
 * NOLINTBEGIN(bugprone-signal-handler,cert-sig30-c) */
static struct world *current_world;
static struct runner *current_runner;

static void print_death(FILE *out, int number)
{
    fprintf(out, "seed %" PRIu64 " dies of signal %d (%s)\n", current_world->seed, number,
            limit_signals(number) ? "no end in sight" : "an assertion or a bad access");
    world_print_knobs(current_world, out);
    fprintf(out, "the last events:\n");
    report_print_last(&current_world->report, out);
}

static void handle_death(int number)
{
    signal(number, SIG_DFL);
    if (current_world)
        world_remove_files(current_world);
    struct summary *summary = current_runner ? &current_runner->summary : NULL;
    if (current_world && summary) {
        const char *rule = limit_signals(number) ? "does not end" : "dies of a signal";
        FILE *out = NULL;
        if (summary_fail(summary, current_world->seed, rule))
            out = fmemopen(summary->text, sizeof summary->text, "w");
        if (out) {
            print_death(out, number);
            fclose(out);
        }
        current_runner->running = 0;
        _exit(1);
    }
    if (current_world)
        print_death(stderr, number);
    raise(number);
}

/* NOLINTEND(bugprone-signal-handler,cert-sig30-c) */

static void watch_for_death(void)
{
    signal(SIGABRT, handle_death);
    signal(SIGALRM, handle_death);
    signal(SIGPROF, handle_death);
#ifndef __SANITIZE_ADDRESS__
    signal(SIGSEGV, handle_death);
    signal(SIGBUS, handle_death);
    signal(SIGFPE, handle_death);
#endif
}

/* Runs a seed; a second time if its replay is to be checked. */
static struct world_result seed_run(struct world *world, uint64_t steps, bool check_replay)
{
    struct world_result result = world_run(world, steps);
    if (!check_replay)
        return result;
    struct world *again = world_create_granting(world->seed, false, world->decisions.only);
    struct world_result second = world_run(again, steps);
    world_destroy(again);
    if (result.hash != second.hash) {
        result.ok = false;
        world->check.failed = false;
        check_fail(&world->check, "replay", "two runs differ: %016" PRIx64 " and %016" PRIx64,
                   result.hash, second.hash);
    }
    return result;
}

int batch_run_one(const struct batch_options *options, uint64_t seed)
{
    struct world *world = world_create_granting(seed, options->trace, options->only);
    world->report.brief = options->brief;
    current_world = world;
    watch_for_death();
    if (options->trace || options->brief)
        world_print_knobs(world, stdout);
    struct world_result result = seed_run(world, options->steps, options->check_replay);
    if (!result.ok) {
        fflush(stdout);
        world_print_failure(world, stdout);
    }
    printf("seed %" PRIu64 ": %s, %" PRIu64 " events, %" PRIu64 " steps, trace hash %016" PRIx64
           "%s\n",
           seed, result.ok ? "passed" : "FAILED", result.events, result.steps, result.hash,
           options->check_replay && result.ok ? ", replayed exactly" : "");
    current_world = NULL;
    world_destroy(world);
    return result.ok ? 0 : 1;
}

int batch_shrink(const struct batch_options *options, uint64_t seed)
{
    struct shrink_options shrink = {.seed = seed, .steps = options->steps, .only = options->only};
    struct shrink_result result;
    bool failed = shrink_run(&shrink, &result);
    if (failed)
        shrink_print(&shrink, &result, stdout);
    else
        printf("seed %" PRIu64 ": passed, nothing to shrink\n", seed);
    shrink_deinit(&result);
    return failed ? 1 : 0;
}

static void runner_run_seed(struct runner *runner, uint64_t seed,
                            const struct batch_options *options)
{
    struct summary *summary = &runner->summary;
    runner->running = seed;
    struct world *world = world_create(seed, false);
    current_world = world;
    limit_begin(LIMIT_OF_A_SEED);
    struct world_result result = seed_run(world, options->steps, options->check_replay);
    limit_end();
    summary->events += result.events;
    summary->steps += result.steps;
    summary_add_report(summary, &world->report);
    if (result.ok) {
        summary->passed++;
    } else if (summary_fail(summary, seed, world->check.invariant)) {
        FILE *out = fmemopen(summary->text, sizeof summary->text, "w");
        if (out) {
            world_print_failure(world, out);
            fclose(out);
        }
    }
    current_world = NULL;
    world_destroy(world);
    runner->running = 0;
}

static void runner_run(struct shared *shared, uint32_t number, const struct batch_options *options)
{
    struct runner *runner = &shared->runners[number];
    current_runner = runner;
    watch_for_death();
    for (uint64_t i = runner->next; i < options->seeds; i += options->jobs) {
        if (atomic_load(&shared->stop) && !options->keep_going)
            return;
        runner->next = i + options->jobs;
        runner_run_seed(runner, options->first + i, options);
        if (runner->summary.failed)
            atomic_store(&shared->stop, true);
    }
}

static pid_t runner_start(struct shared *shared, uint32_t number,
                          const struct batch_options *options)
{
    fflush(stdout);
    pid_t pid = fork();
    ASSERT(pid >= 0);
    if (pid == 0) {
        runner_run(shared, number, options);
        exit(0); /* not _exit: coverage and leaks are told at the exit */
    }
    return pid;
}

/* False: the runner ended in the middle, and its failure is counted. */
static bool runner_wait(struct shared *shared, uint32_t number, pid_t pid)
{
    struct runner *runner = &shared->runners[number];
    struct summary *summary = &runner->summary;
    int status = 0;
    if (waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    atomic_store(&shared->stop, true);
    /* The handler of signals has counted it, or nobody has: a sanitizer ends the process itself. */
    if (runner->running != 0 || summary->failed == 0) {
        if (summary_fail(summary, runner->running, "ended its process"))
            snprintf(summary->text, sizeof summary->text,
                     "seed %" PRIu64 " ended its process with status %#x\n", runner->running,
                     (unsigned)status);
        runner->running = 0;
    }
    return false;
}

/* --- The outcome ------------------------------------------------------------------------------ */

static double cpu_seconds(void)
{
    struct rusage usage;
    ASSERT(getrusage(RUSAGE_CHILDREN, &usage) == 0);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* The first failure: as it was, and made short. */
static void print_failure(const struct summary *total, const struct batch_options *options,
                          const struct shrink_options *shrink, const struct shrink_result *result)
{
    fputs(total->text, stdout);
    printf("replay: conclave-sim --seed %" PRIu64 " --steps %" PRIu64 " --trace\n\n",
           total->first_failed, options->steps);
    if (!result)
        return;
    fflush(stdout);
    shrink_print(shrink, result, stdout);
    fputc('\n', stdout);
}

static void print_outcome(const struct summary *total, struct summary_times times,
                          const struct batch_options *options)
{
    struct shrink_options shrink = {.seed = total->first_failed, .steps = options->steps};
    struct shrink_result result = {0};
    /* What only a second run shows is no matter of a single one. */
    bool shrinks = total->failed && !options->no_shrink && !options->check_replay;
    bool shrunk = shrinks && shrink_run(&shrink, &result);
    if (options->json) {
        char replay[REPLAY_BYTES] = "";
        FILE *out = shrunk ? fmemopen(replay, sizeof replay, "w") : NULL;
        if (out) {
            shrink_print_replay(&shrink, &result, out);
            fclose(out);
        }
        summary_print_json(total, times, shrunk ? replay : NULL, stdout);
    } else {
        if (total->failed)
            print_failure(total, options, &shrink, shrunk ? &result : NULL);
        /* What one that failed leaves to be read is why it did. */
        summary_print(total, times, !total->failed || options->keep_going, stdout);
    }
    shrink_deinit(&result);
}

int batch_run_many(const struct batch_options *options)
{
    ASSERT(options->jobs >= 1 && options->jobs <= JOBS_MAX);
    struct shared *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT(shared != MAP_FAILED);
    uint64_t begin = clock_now_us();
    pid_t pids[JOBS_MAX];
    for (uint32_t i = 0; i < options->jobs; i++) {
        shared->runners[i].next = i;
        pids[i] = runner_start(shared, i, options);
    }
    struct summary *total = mem_zalloc(sizeof *total);
    for (uint32_t i = 0; i < options->jobs; i++) {
        struct runner *runner = &shared->runners[i];
        while (!runner_wait(shared, i, pids[i]) && options->keep_going &&
               runner->next < options->seeds)
            pids[i] = runner_start(shared, i, options); /* behind the seed that ended it */
        summary_add(total, &runner->summary);
    }
    struct summary_times times = {.seconds = (double)(clock_now_us() - begin + 1) / 1e6,
                                  .cpu_seconds = cpu_seconds()};
    print_outcome(total, times, options);
    bool blind = options->require_marks && summary_unreached(total) > 0;
    int code = total->failed || blind ? 1 : 0;
    free(total);
    munmap(shared, sizeof *shared);
    return code;
}

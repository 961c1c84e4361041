#include "tests/sim/batch.h"

#include "base/clock.h"
#include "base/fatal.h"
#include "tests/sim/world.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { JOBS_MAX = 64, TEXT_BYTES = 32768, SEED_SECONDS_MAX = 120 };

/* What a worker process tells the others, in shared memory so that it survives a crash of it. */
struct worker {
    uint64_t passed, failed, running; /* running: seed under way; 0: none */
    uint64_t first_failed;
    uint64_t events, steps;
    uint64_t marks[SIM_MARK_COUNT];
    uint64_t faults[SIM_FAULT_COUNT];
    char text[TEXT_BYTES]; /* of the first failure */
};

struct shared {
    atomic_bool stop;
    struct worker workers[JOBS_MAX];
};

/* For the signal handler: an assertion in the core ends as abort(), and the events that led to it
 * are worth telling. The process has one thread and the core does not print: what the handler calls
 * was not interrupted in the middle, and nothing else runs after it.
 * NOLINTBEGIN(bugprone-signal-handler,cert-sig30-c) */
static struct world *current_world;
static struct worker *current_worker;

static void print_death(FILE *out, int number)
{
    fprintf(out, "seed %" PRIu64 " dies of signal %d (%s)\n", current_world->seed, number,
            number == SIGALRM ? "no end in sight" : "an assertion or a bad access");
    world_print_knobs(current_world, out);
    fprintf(out, "the last events:\n");
    report_print_last(&current_world->report, out);
}

static void handle_death(int number)
{
    signal(number, SIG_DFL);
    if (current_world)
        world_remove_files(current_world);
    if (current_world && current_worker && current_worker->first_failed == 0) {
        current_worker->failed++;
        current_worker->first_failed = current_world->seed;
        FILE *out = fmemopen(current_worker->text, sizeof current_worker->text, "w");
        if (out) {
            print_death(out, number);
            fclose(out);
        }
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
#ifndef __SANITIZE_ADDRESS__
    signal(SIGSEGV, handle_death);
    signal(SIGBUS, handle_death);
    signal(SIGFPE, handle_death);
#endif
}

static void print_replay(FILE *out, uint64_t seed, uint64_t steps)
{
    fprintf(out, "replay: conclave-sim --seed %" PRIu64 " --steps %" PRIu64 " --trace\n", seed,
            steps);
}

/* Runs a seed; a second time if its replay is to be checked. */
static struct world_result seed_run(struct world *world, uint64_t steps, bool check_replay)
{
    struct world_result result = world_run(world, steps);
    if (!check_replay)
        return result;
    struct world *again = world_create(world->seed, false);
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

int batch_run_one(uint64_t seed, uint64_t steps, bool trace, bool check_replay)
{
    struct world *world = world_create(seed, trace);
    current_world = world;
    watch_for_death();
    if (trace)
        world_print_knobs(world, stdout);
    struct world_result result = seed_run(world, steps, check_replay);
    if (!result.ok) {
        fflush(stdout);
        world_print_failure(world, stdout);
        print_replay(stdout, seed, steps);
    }
    printf("seed %" PRIu64 ": %s, %" PRIu64 " events, %" PRIu64 " steps, trace hash %016" PRIx64
           "%s\n",
           seed, result.ok ? "passed" : "FAILED", result.events, result.steps, result.hash,
           check_replay && result.ok ? ", replayed exactly" : "");
    current_world = NULL;
    world_destroy(world);
    return result.ok ? 0 : 1;
}

static void worker_run_seed(struct worker *worker, uint64_t seed,
                            const struct batch_options *options)
{
    worker->running = seed;
    struct world *world = world_create(seed, false);
    current_world = world;
    alarm(SEED_SECONDS_MAX);
    struct world_result result = seed_run(world, options->steps, options->check_replay);
    alarm(0);
    worker->events += result.events;
    worker->steps += result.steps;
    for (int i = 0; i < SIM_MARK_COUNT; i++)
        worker->marks[i] += world->report.marks[i];
    for (int i = 0; i < SIM_FAULT_COUNT; i++)
        worker->faults[i] += world->report.faults[i];
    if (result.ok) {
        worker->passed++;
    } else if (worker->failed++ == 0) {
        worker->first_failed = seed;
        FILE *out = fmemopen(worker->text, sizeof worker->text, "w");
        if (out) {
            world_print_failure(world, out);
            fclose(out);
        }
    }
    current_world = NULL;
    world_destroy(world);
    worker->running = 0;
}

static void worker_run(struct shared *shared, uint32_t number, const struct batch_options *options)
{
    struct worker *worker = &shared->workers[number];
    current_worker = worker;
    watch_for_death();
    for (uint64_t i = number; i < options->seeds; i += options->jobs) {
        if (atomic_load(&shared->stop) && !options->keep_going)
            return;
        worker_run_seed(worker, options->first + i, options);
        if (worker->failed)
            atomic_store(&shared->stop, true);
    }
}

static void worker_wait(struct shared *shared, uint32_t number, pid_t pid)
{
    struct worker *worker = &shared->workers[number];
    int status = 0;
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        atomic_store(&shared->stop, true);
        if (worker->failed == 0) {
            worker->failed = 1;
            worker->first_failed = worker->running;
            snprintf(worker->text, sizeof worker->text,
                     "seed %" PRIu64 " ended its process with status %#x\n", worker->running,
                     (unsigned)status);
        }
    }
}

static void worker_sum(struct worker *total, const struct worker *worker)
{
    total->passed += worker->passed;
    total->failed += worker->failed;
    total->events += worker->events;
    total->steps += worker->steps;
    for (int i = 0; i < SIM_MARK_COUNT; i++)
        total->marks[i] += worker->marks[i];
    for (int i = 0; i < SIM_FAULT_COUNT; i++)
        total->faults[i] += worker->faults[i];
    if (worker->first_failed &&
        (!total->first_failed || worker->first_failed < total->first_failed)) {
        total->first_failed = worker->first_failed;
        memcpy(total->text, worker->text, sizeof total->text);
    }
}

static void print_json(const struct worker *total, double seconds)
{
    static const char *const mark_names[] = {
#define SIM_MARK_NAME(name, text) #name,
        SIM_MARKS(SIM_MARK_NAME)
#undef SIM_MARK_NAME
    };
    static const char *const fault_names[] = {
#define SIM_FAULT_NAME(name, text) #name,
        SIM_FAULTS(SIM_FAULT_NAME)
#undef SIM_FAULT_NAME
    };
    printf("{\"passed\":%" PRIu64 ",\"failed\":%" PRIu64 ",\"first_failed\":%" PRIu64
           ",\"events\":%" PRIu64 ",\"steps\":%" PRIu64
           ",\"seconds\":%.3f,\"seeds_per_s\":%.1f,\"events_per_s\":%.0f,\"faults\":{",
           total->passed, total->failed, total->first_failed, total->events, total->steps, seconds,
           (double)total->passed / seconds, (double)total->events / seconds);
    for (int i = 0; i < SIM_FAULT_COUNT; i++)
        printf("%s\"%s\":%" PRIu64, i ? "," : "", fault_names[i], total->faults[i]);
    printf("},\"marks\":{");
    for (int i = 0; i < SIM_MARK_COUNT; i++)
        printf("%s\"%s\":%" PRIu64, i ? "," : "", mark_names[i], total->marks[i]);
    printf("}}\n");
}

static void print_summary(const struct worker *total, double seconds,
                          const struct batch_options *options)
{
    if (total->failed) {
        fputs(total->text, stdout);
        print_replay(stdout, total->first_failed, options->steps);
    }
    printf("%" PRIu64 " events, %" PRIu64 " steps in %.1f s: %.1f seeds/s, %.0f events/s\n",
           total->events, total->steps, seconds, (double)total->passed / seconds,
           (double)total->events / seconds);
    printf("faults:\n");
    for (int i = 0; i < SIM_FAULT_COUNT; i++)
        printf("%12" PRIu64 "  %s\n", total->faults[i], knobs_fault_text((enum sim_fault)i));
    printf("situations:\n");
    for (int i = 0; i < SIM_MARK_COUNT; i++)
        printf("%12" PRIu64 "  %s\n", total->marks[i], report_mark_text((enum sim_mark)i));
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", total->passed, total->failed);
}

int batch_run_many(const struct batch_options *options)
{
    ASSERT(options->jobs >= 1 && options->jobs <= JOBS_MAX);
    struct shared *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT(shared != MAP_FAILED);
    uint64_t begin = clock_now_us();
    pid_t pids[JOBS_MAX];
    fflush(stdout);
    for (uint32_t i = 0; i < options->jobs; i++) {
        pids[i] = fork();
        ASSERT(pids[i] >= 0);
        if (pids[i] == 0) {
            worker_run(shared, i, options);
            _exit(0);
        }
    }
    struct worker *total = mem_zalloc(sizeof *total);
    for (uint32_t i = 0; i < options->jobs; i++) {
        worker_wait(shared, i, pids[i]);
        worker_sum(total, &shared->workers[i]);
    }
    double seconds = (double)(clock_now_us() - begin + 1) / 1e6;
    if (options->json)
        print_json(total, seconds);
    else
        print_summary(total, seconds, options);
    int code = total->failed ? 1 : 0;
    free(total);
    munmap(shared, sizeof *shared);
    return code;
}

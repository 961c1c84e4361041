#include "tests/sim/attempt.h"

#include "base/fatal.h"
#include "tests/sim/world.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

struct attempt {
    struct attempt_result *result; /* shared with the child: survives its death */
};

struct attempt *attempt_create(void)
{
    struct attempt *attempt = mem_zalloc(sizeof *attempt);
    attempt->result = mmap(NULL, sizeof *attempt->result, PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ASSERT(attempt->result != MAP_FAILED);
    return attempt;
}

void attempt_destroy(struct attempt *attempt)
{
    munmap(attempt->result, sizeof *attempt->result);
    free(attempt);
}

/* --- The child -------------------------------------------------------------------------------- */

static struct world *child_world;
static struct attempt_result *child_result;

static void child_tell(const struct world *world, struct attempt_result *result)
{
    const struct decision_list *granted = &world->decisions.granted;
    result->calm = world->calm;
    result->events = world->events;
    result->count = granted->count < ATTEMPT_DECISIONS_MAX ? granted->count : ATTEMPT_DECISIONS_MAX;
    if (result->count > 0)
        memcpy(result->granted, granted->items, result->count * sizeof *granted->items);
}

/* As in batch.c: one thread, which does not come back.
 * NOLINTBEGIN(bugprone-signal-handler,cert-sig30-c) */
static void child_fails(const char *what)
{
    child_result->failed = true;
    (void)snprintf(child_result->what, sizeof child_result->what, "%s", what);
    if (!child_world)
        return;
    child_tell(child_world, child_result);
    world_remove_files(child_world);
    if (child_world->report.out)
        (void)fflush(child_world->report.out);
}

static void child_dies(int number)
{
    signal(number, SIG_DFL);
    child_result->endless = limit_signals(number);
    child_fails(child_result->endless ? "no end in sight" : "an assertion or a bad access");
    _exit(1);
}

static void child_watch_for_death(void)
{
    static const int numbers[] = {SIGABRT, SIGALRM, SIGPROF, SIGSEGV, SIGBUS, SIGFPE};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        signal(numbers[i], child_dies);
}

/* NOLINTEND(bugprone-signal-handler,cert-sig30-c) */

#ifdef __SANITIZE_ADDRESS__
static void child_reported(void)
{
    child_fails("a sanitizer's report");
}
#endif

static _Noreturn void child_run(struct attempt_result *result,
                                const struct attempt_options *options, FILE *errors)
{
    (void)dup2(fileno(errors), STDERR_FILENO);
    child_result = result;
    child_watch_for_death();
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_set_death_callback(child_reported);
#endif
    limit_begin(options->limit.busy_us ? options->limit : LIMIT_OF_A_SEED);
    struct world *world = world_create_granting(options->seed, false, options->only);
    child_world = world;
    world->watch = options->watch;
    world->report.brief = options->told != NULL;
    world->report.out = options->told;
    struct world_result ran = world_run(world, options->steps);
    limit_end();
    child_tell(world, result);
    result->failed = !ran.ok;
    if (!ran.ok) {
        (void)snprintf(result->what, sizeof result->what, "%s", world->check.invariant);
        (void)snprintf(result->text, sizeof result->text, "%s", world->check.text);
    }
    if (options->told)
        (void)fflush(options->told);
    child_world = NULL;
    world_remove_files(world);
    _exit(0);
}

/* --- The parent ------------------------------------------------------------------------------- */

/* An assertion has said on standard error which it was: "... assertion failed: X (file:line)". */
static void name_assertion(struct attempt_result *result, FILE *errors)
{
    static const char begin[] = "assertion failed: ";
    char line[512];
    rewind(errors);
    while (fgets(line, sizeof line, errors)) {
        const char *found = strstr(line, begin);
        char *place = found ? strrchr(line, '(') : NULL;
        if (!place || place < found + sizeof begin)
            continue;
        place[-1] = '\0';
        (void)snprintf(result->what, sizeof result->what, "%.*s", (int)sizeof result->what - 1,
                       found);
        return;
    }
}

const struct attempt_result *attempt_run(struct attempt *attempt,
                                         const struct attempt_options *options)
{
    struct attempt_result *result = attempt->result;
    memset(result, 0, offsetof(struct attempt_result, granted));
    FILE *errors = tmpfile();
    ASSERT(errors);
    (void)fflush(NULL);
    pid_t pid = fork();
    ASSERT(pid >= 0);
    if (pid == 0)
        child_run(result, options, errors);
    int status = 0;
    ASSERT(waitpid(pid, &status, 0) == pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        if (!result->failed) /* not even a handler ran */
            (void)snprintf(result->what, sizeof result->what, "ends with status %#x",
                           (unsigned)status);
        result->failed = true;
        name_assertion(result, errors);
    }
    (void)fclose(errors);
    return result;
}

/* Shrinking: a planted violation is found again with nearly nothing around it, every time the same,
 * and what is printed brings it back. */
#include "base/fatal.h"
#include "tests/sim/attempt.h"
#include "tests/sim/shrink.h"
#include "tests/sim/world.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STEPS = 6000 };

/* Nodes that crashed twice in one run, of which one takes two crashes to make: the violation. */
static void watch_second_crash(struct world *world)
{
    uint64_t crashes = world->report.decisions[SIM_FAULT_CRASH];
    if (crashes >= 2 && world->check.oracle.count >= 2)
        check_fail(&world->check, "planted", "%lu crashes", (unsigned long)crashes);
}

static void watch_and_abort(struct world *world)
{
    ASSERT(world->report.decisions[SIM_FAULT_CRASH] < 2);
}

/* Only after everything was healed. */
static void watch_calm(struct world *world)
{
    if (world->calm && world->report.decisions[SIM_FAULT_LOSS] >= 3)
        check_fail(&world->check, "planted in the calm", "it is");
}

static volatile bool over; /* never */

static void watch_for_ever(struct world *world)
{
    (void)world;
    while (!over)
        ;
}

static void watch_asleep(struct world *world)
{
    (void)world;
    while (!over)
        (void)pause();
}

static const struct attempt_result *attempt(uint64_t seed, uint64_t steps,
                                            const struct decision_list *only,
                                            void (*watch)(struct world *))
{
    static struct attempt *attempts;
    if (!attempts)
        attempts = attempt_create();
    return attempt_run(attempts, &(struct attempt_options){
                                     .seed = seed, .steps = steps, .only = only, .watch = watch});
}

/* The first seed in which this happens with a good deal around it. */
static uint64_t seed_with(void (*watch)(struct world *))
{
    for (uint64_t seed = 1; seed <= 200; seed++) {
        const struct attempt_result *result = attempt(seed, STEPS, NULL, watch);
        if (result->failed && result->count > 50)
            return seed;
    }
    cr_assert_fail("no seed has it");
    return 0;
}

static struct shrink_result shrink(uint64_t seed, void (*watch)(struct world *))
{
    struct shrink_result result;
    cr_assert(shrink_run(&(struct shrink_options){.seed = seed, .steps = STEPS, .watch = watch},
                         &result));
    cr_assert(result.done);
    return result;
}

static bool has(const struct shrink_result *result, uint32_t kind, uint32_t count)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < result->granted.count; i++)
        found += result->granted.items[i].kind == kind;
    return found == count;
}

/* What never ends is given up, and not counted as whatever it was about to violate. */
static void assert_given_up(void (*watch)(struct world *), struct limit limit)
{
    struct attempt *attempts = attempt_create();
    const struct attempt_result *result = attempt_run(
        attempts,
        &(struct attempt_options){.seed = 1, .steps = STEPS, .watch = watch, .limit = limit});
    cr_assert(result->failed && result->endless);
    cr_assert_str_eq(result->what, "no end in sight");
    attempt_destroy(attempts);
}

Test(limit, gives_up_what_computes_for_ever)
{
    assert_given_up(watch_for_ever, (struct limit){.busy_us = 20000, .true_us = 3600000000});
}

Test(limit, gives_up_what_sleeps_for_ever)
{
    assert_given_up(watch_asleep, (struct limit){.busy_us = 120000000, .true_us = 20000});
}

Test(shrink, leaves_what_the_violation_needs)
{
    struct shrink_result result = shrink(seed_with(watch_second_crash), watch_second_crash);
    cr_assert_str_eq(result.what, "planted");
    cr_assert(has(&result, SIM_FAULT_CRASH, 2));
    cr_assert_leq(result.granted.count, 4, "%u decisions are left", result.granted.count);
    cr_assert_gt(result.granted_before, 50);
    cr_assert_leq(result.steps, STEPS);
    shrink_deinit(&result);
}

Test(shrink, does_the_same_every_time)
{
    uint64_t seed = seed_with(watch_second_crash);
    struct shrink_result first = shrink(seed, watch_second_crash);
    struct shrink_result second = shrink(seed, watch_second_crash);
    cr_assert_eq(first.steps, second.steps);
    cr_assert_eq(first.runs, second.runs);
    cr_assert_eq(first.granted.count, second.granted.count);
    for (uint32_t i = 0; i < first.granted.count; i++) {
        cr_assert_eq(first.granted.items[i].kind, second.granted.items[i].kind);
        cr_assert_eq(first.granted.items[i].number, second.granted.items[i].number);
    }
    shrink_deinit(&first);
    shrink_deinit(&second);
}

Test(shrink, leaves_a_run_that_replays)
{
    uint64_t seed = seed_with(watch_second_crash);
    struct shrink_result result = shrink(seed, watch_second_crash);
    decision_list_sort(&result.granted);
    const struct attempt_result *again =
        attempt(seed, result.steps, &result.granted, watch_second_crash);
    cr_assert(again->failed);
    cr_assert_str_eq(again->what, "planted");
    cr_assert_eq(again->count, result.granted.count);
    /* Without any one of them it does not happen: nothing is left over. */
    for (uint32_t i = 0; i < result.granted.count; i++) {
        struct decision_list less = {0};
        for (uint32_t j = 0; j < result.granted.count; j++) {
            if (j != i)
                decision_list_add(&less, result.granted.items[j]);
        }
        cr_assert_not(attempt(seed, result.steps, &less, watch_second_crash)->failed);
        decision_list_deinit(&less);
    }
    shrink_deinit(&result);
}

Test(shrink, knows_an_assertion_again)
{
    struct shrink_result result = shrink(seed_with(watch_and_abort), watch_and_abort);
    cr_assert(strstr(result.what, "assertion failed: world->report.decisions"), "%s", result.what);
    cr_assert(has(&result, SIM_FAULT_CRASH, 2));
    cr_assert_leq(result.granted.count, 3, "%u decisions are left", result.granted.count);
    shrink_deinit(&result);
}

/* As far as the third of the losses that are left, however late that comes: to the sixty-fourth
 * part, so a sixteenth less is too little. */
Test(shrink, shortens_the_part_before_the_calm)
{
    uint64_t seed = seed_with(watch_calm);
    struct shrink_result result = shrink(seed, watch_calm);
    cr_assert_str_eq(result.what, "planted in the calm");
    cr_assert(has(&result, SIM_FAULT_LOSS, 3));
    cr_assert_lt(result.steps, STEPS);
    decision_list_sort(&result.granted);
    cr_assert(attempt(seed, result.steps, &result.granted, watch_calm)->failed);
    uint64_t less = result.steps - result.steps / 16;
    cr_assert_not(attempt(seed, less, &result.granted, watch_calm)->failed,
                  "%lu steps are left, and %lu do", (unsigned long)result.steps,
                  (unsigned long)less);
    shrink_deinit(&result);
}

Test(shrink, stops_at_its_bound)
{
    uint64_t seed = seed_with(watch_second_crash);
    struct shrink_result result;
    cr_assert(shrink_run(
        &(struct shrink_options){
            .seed = seed, .steps = STEPS, .events_max = 1, .watch = watch_second_crash},
        &result));
    cr_assert_not(result.done);
    cr_assert_leq(result.runs, 3);
    cr_assert_gt(result.granted.count, 0);
    shrink_deinit(&result);
}

Test(shrink, has_nothing_to_say_of_a_seed_that_passes)
{
    struct shrink_result result;
    cr_assert_not(shrink_run(&(struct shrink_options){.seed = 1, .steps = STEPS}, &result));
    shrink_deinit(&result);
}

Test(shrink, prints_what_remained_and_how_to_repeat_it)
{
    struct shrink_options options = {
        .seed = seed_with(watch_second_crash), .steps = STEPS, .watch = watch_second_crash};
    struct shrink_result result;
    cr_assert(shrink_run(&options, &result));
    static char text[65536];
    FILE *out = fmemopen(text, sizeof text, "w");
    shrink_print(&options, &result, out);
    fclose(out);
    cr_assert(strstr(text, "what remained:"));
    cr_assert(strstr(text, "what happens:"));
    cr_assert(strstr(text, "CRASHES"), "%s", text);
    cr_assert(strstr(text, "--grant crash:"), "%s", text);
    shrink_deinit(&result);
}

static uint64_t lines_of_reads(const struct record *records, size_t count)
{
    struct report *report = calloc(1, sizeof *report);
    char *text = NULL;
    size_t bytes = 0;
    uint64_t lines = 0;
    cr_assert(report);
    report->brief = true;
    report->out = open_memstream(&text, &bytes);
    for (size_t i = 0; i < count; i++)
        report_event(report, records[i]);
    cr_assert_eq(fclose(report->out), 0);
    for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    free(text);
    free(report);
    return lines;
}

Test(shrink, tells_of_reads_those_that_saw_more_and_those_that_failed)
{
    const struct record records[] = {
        {.kind = RECORD_READ_AT, .node = 1, .v = {7, CONCLAVE_OK, 5}},
        {.kind = RECORD_READ_AT, .node = 1, .v = {8, CONCLAVE_OK, 5}},
        {.kind = RECORD_READ_AT, .node = 2, .v = {9, CONCLAVE_OK, 5}},
        {.kind = RECORD_READ_AT, .node = 1, .v = {10, CONCLAVE_OK, 6}},
        {.kind = RECORD_READ_AT, .node = 1, .v = {11, CONCLAVE_NO_LEADER, 0}},
        {.kind = RECORD_READ_AT, .node = 1, .v = {12, CONCLAVE_OK, 6}},
    };
    cr_assert_eq(lines_of_reads(records, 1), 1);
    cr_assert_eq(lines_of_reads(records, 2), 1);
    cr_assert_eq(lines_of_reads(records, 6), 5);
}

/* --- Decisions -------------------------------------------------------------------------------- */

static void assert_same_text(const char *text)
{
    struct decision_list list = {0};
    char copy[256];
    cr_assert(strlen(text) < sizeof copy);
    (void)snprintf(copy, sizeof copy, "%s", text);
    char *rest = copy;
    for (char *part; (part = strstr(rest, "--grant ")) != NULL;) {
        part += strlen("--grant ");
        char *end = strchr(part, ' ');
        if (end)
            *end = '\0';
        cr_assert(decision_list_parse(&list, part), "%s", part);
        rest = end ? end + 1 : part + strlen(part);
    }
    decision_list_sort(&list);
    char printed[256] = "";
    FILE *out = fmemopen(printed, sizeof printed, "w");
    decision_list_print(&list, out);
    fclose(out);
    cr_assert_str_eq(printed, text);
    decision_list_deinit(&list);
}

Test(decisions, are_read_as_they_are_written)
{
    assert_same_text(" --grant none");
    assert_same_text(" --grant loss:1");
    assert_same_text(" --grant loss:1,3-5,9 --grant crash:2 --grant request:1-3");
}

Test(decisions, refuse_what_names_none)
{
    struct decision_list list = {0};
    static const char *const wrong[] = {
        "",        "loss",     "loss:",   "los:1",   "losses:1", "loss:0",     "loss:a",
        "loss:1,", "loss:3-1", "loss:1-", "loss:-1", "loss:1 2", "loss:1-2-3", "loss:1-9999999"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        cr_assert_not(decision_list_parse(&list, wrong[i]), "'%s'", wrong[i]);
    decision_list_deinit(&list);
}

Test(decisions, that_are_all_vetoed_leave_a_run_without_faults)
{
    struct decision_list none = {0};
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world *world = world_create_granting(seed, false, &none);
        struct world_result result = world_run(world, STEPS);
        cr_assert(result.ok);
        for (int i = 0; i < SIM_DECISION_KINDS; i++)
            cr_assert_eq(world->report.decisions[i], 0, "%s", decision_text((uint32_t)i));
        for (uint32_t i = 0; i < world->node_count; i++)
            cr_assert_eq(world->nodes[i].incarnation, world->nodes[i].exists ? 1 : 0);
        world_destroy(world);
    }
}

/* All of a run granted by name is the run itself. */
Test(decisions, that_are_all_granted_change_nothing)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world *world = world_create(seed, false);
        struct world_result result = world_run(world, STEPS);
        decision_list_sort(&world->decisions.granted);
        struct world *again = world_create_granting(seed, false, &world->decisions.granted);
        struct world_result second = world_run(again, STEPS);
        cr_assert_eq(result.events, second.events);
        cr_assert_eq(world->report.count, again->report.count);
        world_destroy(again);
        world_destroy(world);
    }
}

/* When idle processors are kept awake. */
#include "actors/awake.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static unsigned told;

static void note(void *arg, enum conclave_log_level level, const char *actor, const char *event,
                 const char *fields)
{
    (void)arg;
    (void)level;
    (void)actor;
    (void)fields;
    told += strstr(event, "may_halt") != NULL;
}

static const struct logger logger = {.write = note, .level = CONCLAVE_LOG_DEBUG};

struct machine {
    char device[64];
    struct awake awake;
    uint64_t now_us;
};

static void setup(struct machine *machine)
{
    *machine = (struct machine){.now_us = 5000000};
    strcpy(machine->device, "/tmp/conclave-awake-XXXXXX");
    int fd = mkstemp(machine->device);
    cr_assert(fd >= 0);
    close(fd);
    awake_init(&machine->awake, machine->device, 0);
}

static void teardown(struct machine *machine)
{
    awake_deinit(&machine->awake);
    unlink(machine->device);
}

/* So many turns a second for so long. */
static void turns(struct machine *machine, unsigned rate, unsigned ms)
{
    uint64_t step_us = 1000000 / rate, end_us = machine->now_us + (uint64_t)ms * 1000;
    for (; machine->now_us < end_us; machine->now_us += step_us)
        awake_turn(&machine->awake, &logger, machine->now_us);
}

static bool is_awake(const struct machine *machine)
{
    return machine->awake.fd >= 0;
}

Test(awake, much_to_do_keeps_processors_awake_for_as_long_as_it_lasts)
{
    struct machine machine;
    setup(&machine);
    turns(&machine, 2000, 90);
    cr_assert_not(is_awake(&machine), "a burst is none");
    turns(&machine, 2000, 200);
    cr_assert(is_awake(&machine));
    turns(&machine, 2000, 5000);
    cr_assert(is_awake(&machine));
    turns(&machine, 100, 500);
    cr_assert(is_awake(&machine), "a pause is none");
    turns(&machine, 100, 800);
    cr_assert_not(is_awake(&machine));
    teardown(&machine);
}

Test(awake, little_to_do_does_not)
{
    struct machine machine;
    setup(&machine);
    turns(&machine, 900, 5000);
    cr_assert_not(is_awake(&machine));
    cr_assert_eq(awake_due_us(&machine.awake), UINT64_MAX, "no ticks of a node at rest");
    teardown(&machine);
}

/* Nobody wakes the thread any more. */
Test(awake, they_may_halt_again_though_no_turn_comes_by_itself)
{
    struct machine machine;
    setup(&machine);
    turns(&machine, 2000, 400);
    cr_assert(is_awake(&machine));
    unsigned ticks = 0;
    while (is_awake(&machine)) {
        uint64_t due_us = awake_due_us(&machine.awake);
        cr_assert(due_us > machine.now_us || ticks == 0, "it would turn and turn");
        machine.now_us = due_us > machine.now_us ? due_us : machine.now_us + 1;
        awake_turn(&machine.awake, &logger, machine.now_us);
        cr_assert(++ticks < 3);
    }
    cr_assert_eq(awake_due_us(&machine.awake), UINT64_MAX);
    teardown(&machine);
}

Test(awake, one_that_may_not_be_asked_is_asked_once_and_told)
{
    struct machine machine;
    setup(&machine);
    awake_init(&machine.awake, "/nowhere/at/all", 0);
    told = 0;
    turns(&machine, 2000, 3000);
    cr_assert_not(is_awake(&machine));
    cr_assert_eq(told, 1);
    teardown(&machine);
}

Test(awake, nothing_is_asked_for_unless_it_is_wanted)
{
    struct machine machine;
    setup(&machine);
    awake_init(&machine.awake, NULL, 0);
    told = 0;
    turns(&machine, 2000, 3000);
    cr_assert_not(is_awake(&machine));
    cr_assert_eq(told, 0);
    teardown(&machine);
}

/* Who is let in, and should not be, is found. */
#include "tests/sim/world.h"

#include <criterion/criterion.h>
#include <string.h>

static struct world *world;

/* Three clients, with the tokens 5, 7 and 9 of one queue, and leases of a second. */
static void setup(void)
{
    world = world_create(3, false);
    world->knobs.locker_count = 3;
    world->now_us = 10000000;
    for (uint32_t i = 0; i < 3; i++)
        world->lockers.all[i].claim = (struct locker_claim){.queue = 1,
                                                            .slots = 1,
                                                            .lease = i + 1,
                                                            .token = 5 + UINT64_C(2) * i,
                                                            .ttl_ms = 1000,
                                                            .sent_us = world->now_us};
}

static void teardown(void)
{
    world_destroy(world);
}

TestSuite(locks, .init = setup, .fini = teardown);

static struct locker_claim *claim(uint32_t number)
{
    return &world->lockers.all[number].claim;
}

static void let_in(uint32_t number, uint64_t index)
{
    lockers_granted(world, &world->lockers.all[number], index);
}

static void is_good(void)
{
    cr_assert_not(world->check.failed, "%s", world->check.text);
}

static void is_found(const char *invariant)
{
    cr_assert(world->check.failed);
    cr_assert_str_eq(world->check.invariant, invariant, "%s", world->check.text);
}

static const char came_first[] = "a lock is held by those who came first";

Test(locks, are_given_to_the_first_one)
{
    let_in(0, 7);
    is_good();
}

Test(locks, given_past_one_who_waits_are_found)
{
    let_in(1, 7);
    is_found(came_first);
}

Test(locks, have_as_many_holders_as_slots)
{
    for (uint32_t i = 0; i < 3; i++)
        claim(i)->slots = 2;
    let_in(1, 7);
    is_good();
    let_in(2, 8);
    is_found(came_first);
}

Test(locks, are_handed_on_when_a_lease_can_be_over)
{
    claim(0)->sent_us -= 1300000; /* on a fast clock too */
    let_in(1, 7);
    is_good();
}

Test(locks, handed_on_a_moment_before_are_found)
{
    uint64_t fastest = 1200000;
    world->nodes[0].clock_rate = fastest;
    claim(0)->sent_us -= UINT64_C(1000000) * 1000000 / fastest - 1000;
    let_in(1, 7);
    is_found(came_first);
}

Test(locks, are_handed_on_when_they_are_let_go_of)
{
    claim(0)->let_go = true;
    let_in(1, 7);
    is_good();
}

Test(locks, of_a_client_that_died_are_held_until_its_lease_is_over)
{
    world->lockers.all[1].ghost = *claim(0);
    *claim(0) = (struct locker_claim){0};
    let_in(1, 7);
    is_found(came_first);
}

Test(locks, of_other_queues_do_not_matter)
{
    claim(0)->queue = 0;
    let_in(1, 7);
    is_good();
}

Test(locks, of_presence_are_held_by_all)
{
    for (uint32_t i = 0; i < 3; i++)
        claim(i)->slots = 0;
    let_in(2, 7);
    is_good();
}

Test(locks, given_back_to_an_older_token_are_found)
{
    claim(0)->let_go = true;
    let_in(1, 7);
    is_good();
    let_in(0, 8);
    is_found("tokens rise in the order of grants");
}

Test(locks, that_are_told_late_are_no_older_grants)
{
    claim(0)->let_go = true;
    let_in(1, 7);
    let_in(0, 6);
    is_good();
}

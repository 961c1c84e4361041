/* When the state machine becomes a snapshot that raft has put in the place of the log's front: not
 * in the middle of a batch. */
#include "actors/machine_actor.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct node *node;
static struct actor actor;
static struct machine *machine;

/* A machine that cannot become a snapshot: to try it is an error. */
static const struct conclave_machine_ops ops = {.size = sizeof ops};

static void setup(void)
{
    node = calloc(1, sizeof *node);
    machine = calloc(1, sizeof *machine);
    actor = (struct actor){.node = node, .state = machine};
    node->options.machine = machine->ops = &ops;
    machine->opened = true;
    machine->install = (struct raft_id){.term = 1, .index = 9};
}

static void teardown(void)
{
    free(machine);
    free(node);
}

/* A call that found no room is gone on with, from the state that it left: that of the snapshot is
 * not it. */
Test(machine_open, snapshot_waits_for_the_batch_that_waits_for_room, .init = setup,
     .fini = teardown)
{
    struct conclave_error error = {0};
    machine->apply.waits = true;
    machine->apply.applied = 5;
    cr_assert_eq(machine_actor_install(&actor, &error), CONCLAVE_OK, "%s", error.message);
    cr_assert_eq(machine->install.index, 9, "it is still to come");
    cr_assert_eq(machine->apply.applied, 5);
    machine->apply.waits = false; /* there was room */
    cr_assert_eq(machine_actor_install(&actor, &error), CONCLAVE_INVALID, "it is tried now");
}

/* The store writer: has what changed in the built-in machine's store written to disk bit by bit,
 * and the kernel make pages for what is yet to come, and map them. A thread of its own, behind the
 * others: to make a page may cost more than the command that it is for, and none of it is waited
 * for. Who is late here has the state machine make and map its pages itself. */
#include "actors/actor.h"

#include "actors/node.h"
#include "base/fatal.h"
#include "machine/tables_trickle.h"

#include <errno.h>
#include <stdlib.h>

static int store_writer_start(struct actor *actor, struct conclave_error *error)
{
    (void)error;
    struct tables_trickle *trickle = mem_zalloc(sizeof *trickle);
    trickle->fd = -1;
    trickle->huge_us_max = TABLES_HUGE_US_MAX;
    actor->state = trickle;
    return CONCLAVE_OK;
}

static void store_writer_stop(struct actor *actor)
{
    tables_trickle_close(actor->state);
    free(actor->state);
}

/* What came while there were other things to do is one part; of a round that is over nothing is
 * made up for. */
static void part_join(struct tables_part *part, const struct tables_part *next)
{
    if (part->bytes == 0 || (next->bytes > 0 && part->at + part->bytes != next->at))
        *part = *next;
    else
        part->bytes += next->bytes;
    part->used = next->used;
    part->huge = next->huge;
    part->map = next->map;
    part->map_bytes = next->map_bytes;
}

static void write_part(struct actor *actor, const struct tables_part *part)
{
    if (tables_trickle_step(actor->state, actor->node->machine_dir, part))
        log_event(&actor->node->logger, CONCLAVE_LOG_INFO, actor->ops->name, "no_trickle",
                  "errno=%d reason=\"the store is written to disk when the kernel thinks fit\"",
                  errno);
}

static int store_writer_run(struct actor *actor, struct conclave_error *error)
{
    (void)error;
    for (bool ended = false; !ended;) {
        struct tables_part part = {0};
        inbox_wait(&actor->inbox, -1);
        for (struct envelope *envelope; !ended && (envelope = inbox_receive(&actor->inbox));) {
            ended = envelope->type == ENVELOPE_STOP || envelope->type == ENVELOPE_QUIT;
            if (envelope->type == ENVELOPE_TRICKLE)
                part_join(&part, &envelope->part);
            envelope_destroy(envelope);
        }
        if (part.used > 0)
            write_part(actor, &part);
    }
    return CONCLAVE_OK;
}

const struct actor_ops store_writer_ops = {.name = "store-writer",
                                           .turn = TURN_LAST,
                                           .start = store_writer_start,
                                           .run = store_writer_run,
                                           .stop = store_writer_stop};

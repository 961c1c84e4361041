#include "tests/sim/asker.h"

#include "tests/sim/world.h"

enum { STRANGER_CHANCE = 100 /* of each request: any node is asked */ };

void asker_forget(struct asker *asker)
{
    asker->first = 0;
    asker->again = false;
}

void asker_send(struct world *world, struct asker *asker, struct op op)
{
    if (knobs_chance(&world->prng, STRANGER_CHANCE))
        asker->node = (uint32_t)world_draw(world, 0, world->node_count - 1);
    bool numbered = asker->in_session && asker->session && !op_is_read(&op) && op.kind != OP_OPEN &&
                    op.first == 0;
    if (numbered) {
        op.session = asker->session;
        op.sequence = asker->next++;
        op.acknowledged = op.sequence - 1;
    }
    uint64_t number = request_add(world, op, asker->client, asker->node);
    asker->first = world->ops.items[number].first;
    asker->asked_us = world->now_us;
    asker->again = false;
    request_send(world, asker->node, number, 1);
}

/* Of a session: the same command. Else another one of the kind. */
static void send_again(struct world *world, struct asker *asker)
{
    struct op again = op_again(&world->ops.items[asker->first]);
    asker->node = (uint32_t)world_draw(world, 0, world->node_count - 1);
    if (again.sequence)
        report_mark(&world->report, SIM_MARK_COMMAND_SENT_AGAIN);
    else
        again.first = 0;
    asker_send(world, asker, again);
}

bool asker_is_free(struct world *world, struct asker *asker)
{
    const struct knobs *knobs = &world->knobs;
    uint64_t patience_us = 3 * knobs->raft.election_timeout_us + 2 * knobs->network_us_max;
    if (asker->first && !asker->again && world->now_us < asker->asked_us + patience_us)
        return false; /* it waits for the answer */
    const struct op *op = asker->first ? &world->ops.items[asker->first] : NULL;
    if (op && op->sequence && op->session == asker->session) {
        send_again(world, asker);
        return false;
    }
    asker->first = 0;
    return true;
}

bool asker_answered(struct world *world, struct asker *asker, const struct op *op, struct op *ret)
{
    if (op->first != asker->first)
        return false; /* of somebody who has died, or that it gave up */
    const struct node *node = &world->nodes[op->node];
    uint32_t leader = node->up ? check_find(&world->check, raft_leader(node->raft)) : UINT32_MAX;
    if (leader < world->node_count)
        asker->node = leader;
    else if (op->state != OP_OK) /* somebody else may know */
        asker->node = (uint32_t)world_draw(world, 0, world->node_count - 1);
    if (op->state == OP_DENIED && op->code != CONCLAVE_BUSY) { /* another session, and anew */
        asker->session = 0;
        asker->in_session &= world_draw(world, 0, 3) > 0;
        asker->first = 0;
        return false;
    }
    if (op->state != OP_OK) {
        asker->again = true;
        return false;
    }
    *ret = *op; /* operations move when one is added */
    asker->first = 0;
    if (op->kind == OP_OPEN) {
        asker->session = op->value;
        asker->next = 1;
    }
    return true;
}

uint64_t asker_applied(const struct world *world, const struct op *answer)
{
    const struct reference_entry *told = reference_at(&world->reference, answer->index);
    return told->verdict == REFERENCE_REPEATED ? told->original : answer->index;
}

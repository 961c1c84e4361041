#include "tests/sim/hands.h"

#include "base/list.h"
#include "tests/sim/world.h"

#include <inttypes.h>
#include <stdlib.h>

void hands_deinit(struct hands *hands)
{
    free(hands->members.items);
    free(hands->all.items);
    free(hands->acks.items);
    *hands = (struct hands){0};
}

uint32_t hands_join(struct hands *hands, struct hands_member member)
{
    LIST_RESERVE(&hands->members);
    hands->members.items[hands->members.count] = member;
    return hands->members.count++;
}

/* Nobody, by whatever clock, can have measured so much time since then. */
static bool is_within(const struct world *world, uint64_t since_us, uint64_t ms)
{
    double us = (double)ms * 1e3 * (1e6 / (double)world_fastest(world));
    return (double)world->now_us + 2 < (double)since_us + us;
}

static bool member_lasts(const struct world *world, const struct hands_member *member)
{
    return !member->let_go && is_within(world, member->sent_us, member->ttl_ms);
}

/* Its time is not over. */
static bool lasts(const struct world *world, const struct hand *hand)
{
    return is_within(world, hand->sent_us, hand->ack_ms) &&
           member_lasts(world, &world->hands.members.items[hand->member]);
}

struct hand *hands_find(struct hands *hands, uint32_t member, uint64_t group, uint64_t sequence)
{
    for (uint32_t i = hands->all.count; i-- > 0;) {
        struct hand *hand = &hands->all.items[i];
        if (hand->member == member && hand->group == group && hand->sequence == sequence)
            return hand;
    }
    return NULL;
}

static bool covers(const struct op *op, uint64_t sequence)
{
    for (uint32_t i = 0; i < op->range_count; i++)
        if (sequence - op->ranges[i].first < op->ranges[i].count)
            return true;
    return false;
}

/* The member has given the message back, or may have, since it got it: an ack or nack that it sent
 * long before may arrive late. Not by commands of this first attempt. */
static bool may_be_back(const struct world *world, const struct hand *hand, uint64_t except)
{
    uint64_t lease = world->hands.members.items[hand->member].lease;
    for (uint64_t i = 1; i <= world->ops.count; i++) {
        const struct op *op = &world->ops.items[i];
        if ((op->kind != OP_ACK && op->kind != OP_NACK) || op->lease != lease ||
            op->first == except || op->state == OP_REFUSED || !covers(op, hand->sequence))
            continue;
        if (op->state != OP_OK || asker_applied(world, op) > hand->index)
            return true;
    }
    return false;
}

/* --- What they may be told -------------------------------------------------------------------- */

/* Of two who were told that they have a message, the one who got it first cannot have it still. */
static void check_alone(struct world *world, const struct hand *hand, const struct hand *other)
{
    const struct hand *before = other->index < hand->index ? other : hand;
    const struct hand *behind = before == hand ? other : hand;
    if (!before->let_go_by && lasts(world, before) && !may_be_back(world, before, 0))
        check_fail(&world->check, "a message is handed to one member at a time",
                   "message %" PRIu64 " of group %" PRIu64 " is handed to lease %" PRIu64
                   ", and lease %" PRIu64 " has it",
                   hand->sequence, hand->group, world->hands.members.items[behind->member].lease,
                   world->hands.members.items[before->member].lease);
    else if (before->deliveries >= behind->deliveries)
        check_fail(&world->check, "deliveries are counted",
                   "message %" PRIu64 " of group %" PRIu64 " was delivered %" PRIu64
                   " times at %" PRIu64 " and %" PRIu64 " times at %" PRIu64,
                   hand->sequence, hand->group, before->deliveries, before->index,
                   behind->deliveries, behind->index);
}

static void check_not_done(struct world *world, const struct hand *hand)
{
    for (uint32_t i = 0; i < world->hands.acks.count; i++) {
        const struct hands_ack *ack = &world->hands.acks.items[i];
        if (ack->group == hand->group && ack->sequence == hand->sequence &&
            ack->index <= hand->index)
            check_fail(&world->check, "what was acknowledged does not come again",
                       "message %" PRIu64 " of group %" PRIu64 " was acknowledged at %" PRIu64
                       " and is handed out at %" PRIu64,
                       hand->sequence, hand->group, ack->index, hand->index);
    }
}

void hands_take(struct world *world, struct hand hand)
{
    struct hands *hands = &world->hands;
    check_not_done(world, &hand);
    for (uint32_t i = 0; i < hands->all.count; i++) {
        const struct hand *other = &hands->all.items[i];
        if (other->group == hand.group && other->sequence == hand.sequence)
            check_alone(world, &hand, other);
    }
    LIST_RESERVE(&hands->all);
    hands->all.items[hands->all.count++] = hand;
}

void hands_acked(struct world *world, struct hands_ack ack)
{
    struct hands *hands = &world->hands;
    for (uint32_t i = 0; i < hands->acks.count; i++) {
        const struct hands_ack *other = &hands->acks.items[i];
        if (other->group == ack.group && other->sequence == ack.sequence)
            check_fail(&world->check, "a message is acknowledged once",
                       "message %" PRIu64 " of group %" PRIu64 " at %" PRIu64 " and at %" PRIu64,
                       ack.sequence, ack.group, other->index, ack.index);
    }
    for (uint32_t i = 0; i < hands->all.count; i++) {
        const struct hand *hand = &hands->all.items[i];
        if (hand->group == ack.group && hand->sequence == ack.sequence && hand->index > ack.index)
            check_fail(&world->check, "what was acknowledged does not come again",
                       "message %" PRIu64 " of group %" PRIu64 " was acknowledged at %" PRIu64
                       " and handed out at %" PRIu64,
                       ack.sequence, ack.group, ack.index, hand->index);
    }
    LIST_RESERVE(&hands->acks);
    hands->acks.items[hands->acks.count++] = ack;
}

void hands_lost(struct world *world, const struct hand *hand, uint64_t first)
{
    if ((!hand->let_go_by || hand->let_go_by == first) && lasts(world, hand) &&
        !may_be_back(world, hand, first))
        check_fail(&world->check, "nobody loses a message in his ack time",
                   "lease %" PRIu64 " is told that it has not message %" PRIu64
                   " of group %" PRIu64,
                   world->hands.members.items[hand->member].lease, hand->sequence, hand->group);
}

void hands_ended(struct world *world, uint32_t member)
{
    const struct hands_member *lost = &world->hands.members.items[member];
    if (member_lasts(world, lost))
        check_fail(&world->check, "nobody is displaced while his lease lasts",
                   "lease %" PRIu64 " is told that it is over", lost->lease);
}

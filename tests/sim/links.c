#include "tests/sim/world.h"

/* Who is listened to: as actors/peer_side.c decides it. A frame is believed when it comes from
 * the data directory that the cluster knows its sender by. */

static uint64_t guest_us(const struct world *world)
{
    return 10 * world->knobs.raft.election_timeout_us;
}

void links_update(struct world *world, struct node *node)
{
    const struct raft_configuration *members = raft_configuration(node->raft, NULL);
    for (uint32_t i = 0; i < world->node_count; i++) {
        struct acquaintance *known = &node->known[i];
        const struct raft_member *member = NULL;
        if (!world->nodes[i].blank)
            member = raft_configuration_find(members, world->ids[i]);
        if (member) {
            known->member = known->met = true;
            known->told = member->incarnation != 0;
            if (member->incarnation != 0)
                known->incarnation = member->incarnation;
        } else if (known->member) {
            known->member = false;
            known->told = true;
            known->expire_us = world->now_us + guest_us(world);
        }
    }
}

static void links_tell(struct world *world, struct node *node, struct acquaintance *known,
                       raft_node_id peer)
{
    if (known->told || !known->member)
        return;
    known->told = true;
    node_give(world, node,
              (struct raft_event){.type = RAFT_EVENT_PEER_SEEN,
                                  .peer_seen = {.peer = peer, .incarnation = known->incarnation}});
}

bool links_listen(struct world *world, struct node *node, uint32_t from)
{
    const struct node *sender = &world->nodes[from];
    /* What is known is known of the id. */
    struct acquaintance *known = &node->known[check_find(&world->check, sender->id)];
    if (!known->member && (!known->met || world->now_us >= known->expire_us))
        *known = (struct acquaintance){.met = true};
    bool removed = raft_configuration_was_removed(raft_configuration(node->raft, NULL), sender->id);
    if (!removed || !known->told || known->expire_us == 0)
        known->expire_us = world->now_us + guest_us(world);
    if (removed && !known->told) { /* Rule 32 */
        report_mark(&world->report, SIM_MARK_REFUSED_REMOVED);
        return false;
    }
    if (known->incarnation == 0)
        known->incarnation = sender->identity.incarnation;
    if (known->incarnation != sender->identity.incarnation) {
        report_mark(&world->report, SIM_MARK_REFUSED_BLANK);
        return false;
    }
    links_tell(world, node, known, sender->id);
    return true;
}

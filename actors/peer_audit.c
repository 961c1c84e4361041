/* The continuous audit: this node says what its chain was at some indexes, hears what the others'
 * were, and ends when a majority of the voters had another one. What is compared:
 * machine/audit_chain.h; who is right: raft/audit.h. */
#include "actors/raft_actor.h"

#include "base/error.h"

#include <stdio.h>

enum {
    COMPLAINT_US = 10000000, /* one line in this time about the same trouble */
    MARKS_REPEATED = 8       /* with each hello: frames get lost */
};

static const char *name_of(const struct peer_side *side, raft_node_id id)
{
    const struct raft_member *member = raft_configuration_find(&side->members, id);
    return member ? member->name : "unknown";
}

static void complain(struct actor *actor, const struct audit_finding *finding, uint64_t now_us)
{
    struct peer_side *side = peer_side_of(actor);
    uint64_t *complained_us = finding->verdict == AUDIT_DEVIATES ? &side->deviates_complained_us
                                                                 : &side->split_complained_us;
    if (*complained_us && now_us - *complained_us < COMPLAINT_US)
        return;
    *complained_us = now_us;
    const char *name = name_of(side, finding->deviating);
    if (finding->verdict == AUDIT_DEVIATES)
        log_event(
            &actor->node->logger, CONCLAVE_LOG_ERROR, "raft", "audit_deviates",
            "peer=%s index=%llu reason=\"what this member applied differs from the majority: it "
            "must not serve; remove its data/machine directory, or replace it\"",
            name, (unsigned long long)finding->index);
    else
        log_event(&actor->node->logger, CONCLAVE_LOG_ERROR, "raft", "audit_split",
                  "peer=%s index=%llu reason=\"nodes differ in what they applied and no majority "
                  "is known to agree: compare their data before you rely on any of them\"",
                  name, (unsigned long long)finding->index);
}

/* Takes in what one node says of one index. */
static void note(struct actor *actor, raft_node_id id, struct audit_mark mark, uint64_t now_us)
{
    struct peer_side *side = peer_side_of(actor);
    if (!side->linked)
        return;
    const struct audit_finding finding = audit_note(&side->audit, &side->members, id, mark);
    switch (finding.verdict) {
    case AUDIT_OPEN:
    case AUDIT_AGREES:
        break;
    case AUDIT_DEVIATES:
    case AUDIT_SPLIT:
        complain(actor, &finding, now_us);
        break;
    case AUDIT_SELF_DEVIATES:
        side->deviates_at = finding.index;
        break;
    }
}

static void tell(struct actor *actor, const struct audit_mark *marks, uint32_t count)
{
    struct peer_side *side = peer_side_of(actor);
    for (uint32_t i = 0; count > 0 && i < side->count; i++) {
        const struct peer_state *peer = &side->states[i];
        if (!peer->guest && peer->endpoint[0])
            peers_send(side->peers, peer->id,
                       peer_encode_audit(&actor->node->peer_identity, peer->id, marks, count));
    }
}

void peer_audit_own(struct actor *actor, const struct envelope *envelope, uint64_t now_us)
{
    struct peer_side *side = peer_side_of(actor);
    for (uint32_t i = 0; i < envelope->audit.count; i++)
        note(actor, side->audit.self, envelope->audit.marks[i], now_us);
    if (side->linked)
        tell(actor, envelope->audit.marks, envelope->audit.count);
}

void peer_audit_heard(struct actor *actor, const struct peer_frame *frame, uint64_t now_us)
{
    for (uint32_t i = 0; i < frame->audit.count; i++)
        note(actor, frame->from.node_id, frame->audit.marks[i], now_us);
}

void peer_audit_tick(struct actor *actor)
{
    struct peer_side *side = peer_side_of(actor);
    struct audit_mark marks[MARKS_REPEATED];
    if (side->repairing) /* there is no state to tell of */
        return;
    tell(actor, marks, audit_own(&side->audit, marks, MARKS_REPEATED));
    struct envelope *ask = envelope_create(ENVELOPE_AUDIT);
    actor_send(actor, ACTOR_MACHINE, &ask);
}

void peer_audit_status(const struct peer_side *side, struct client_status *status)
{
    if (!side->linked)
        return;
    raft_node_id deviating = audit_deviating(&side->audit, &side->members);
    status->audited = side->audit.agreed;
    if (deviating)
        snprintf(status->deviating, sizeof status->deviating, "%s", name_of(side, deviating));
}

int peer_audit_verdict(const struct peer_side *side, struct conclave_error *error)
{
    if (!side->deviates_at)
        return CONCLAVE_OK;
    return error_set(error, CONCLAVE_CORRUPT,
                     "what this node applied up to index %llu differs from what a majority of the "
                     "cluster applied, so its answers are wrong: it stops. Remove its machine "
                     "directory, which is then made again from the log and the snapshots; if this "
                     "comes back, remove the node from the cluster and join it with an empty "
                     "directory",
                     (unsigned long long)side->deviates_at);
}

/* Changing the members (paper, section 6; dissertation, 4.2 and 4.3).
 *
 *     RAFT_EVENT_CHANGE                             committed: raft_change_advance
 *     C_old ------------------> C_old,new (joint) -----------------------------> C_new
 *     learners, incarnations: C_old -----------------------------------------> C_new
 *
 * Whoever leads when C_old,new is committed appends C_new. */
#include "raft/internal.h"

#include "base/fatal.h"

#include <stdlib.h>
#include <string.h>

/* Why a change cannot be made now or at all. */
struct verdict {
    int code;
    const char *why;
};

static struct raft_configuration *members_copy(const struct raft *raft)
{
    struct raft_configuration *copy = mem_alloc(sizeof *copy);
    *copy = *raft_members(raft);
    return copy;
}

static struct raft_member *member_named(struct raft_configuration *configuration, const char *name)
{
    for (uint32_t i = 0; i < configuration->member_count; i++) {
        if (strcmp(configuration->members[i].name, name) == 0)
            return &configuration->members[i];
    }
    return NULL;
}

static uint32_t voter_count(const struct raft_configuration *configuration)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < configuration->member_count; i++)
        count += (configuration->members[i].flags & RAFT_MEMBER_VOTER) != 0;
    return count;
}

/* --- Entries ------------------------------------------------------------------------------------
 */

/* Appends a configuration; takes it over. */
static void configuration_append(struct raft *raft, struct raft_configuration *configuration,
                                 struct raft_origin origin)
{
    ASSERT(raft->role == RAFT_LEADER);
    uint64_t index = raft->log.last.index + 1;
    struct buf *payload = raft_configuration_encode(configuration);
    struct raft_batch *batch = raft_batch_create(1);
    raft_batch_add(batch, (struct raft_entry){
                              .id = {.term = raft->hard.term, .index = index},
                              .origin = origin,
                              .buf = payload,
                              .payload = {.data = payload->data, .bytes = payload->bytes},
                              .kind = RAFT_ENTRY_CONFIG,
                          });
    raft_log_append(&raft->log, batch, 0, 1);
    raft_batch_unref(batch);
    raft_membership_push(raft, index, configuration);
}

/* Remembers that the id was a member (Rule 32). */
static void tombstone_add(struct raft_configuration *configuration, raft_node_id id)
{
    if (configuration->removed_count == RAFT_REMOVED_MAX) {
        memmove(configuration->removed, configuration->removed + 1,
                (RAFT_REMOVED_MAX - 1) * sizeof configuration->removed[0]);
        configuration->removed_count--;
    }
    configuration->removed[configuration->removed_count++] = id;
}

/* Takes out every member without a flag, for good. */
static void members_sweep(struct raft_configuration *configuration)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < configuration->member_count; i++) {
        if (configuration->members[i].flags == 0)
            tombstone_add(configuration, configuration->members[i].id);
        else
            configuration->members[kept++] = configuration->members[i];
    }
    configuration->member_count = kept;
}

/* Goes over to `next` (taken over), in which members to be removed have no flags. If the voters
 * stay as they are, at once; else by way of a joint phase, in which the voters of both sets count
 * (Rule 30). Simple changes take the same path. */
static void configuration_change(struct raft *raft, struct raft_configuration *next,
                                 struct raft_origin origin)
{
    const struct raft_configuration *now = raft_members(raft);
    bool voters_change = false;
    ASSERT(!now->joint);
    for (uint32_t i = 0; i < next->member_count; i++) {
        struct raft_member *member = &next->members[i];
        bool votes = raft_configuration_is_voter(now, member->id);
        voters_change |= votes != ((member->flags & RAFT_MEMBER_VOTER) != 0);
        if (votes)
            member->flags |= RAFT_MEMBER_VOTER_OLD;
    }
    /* Who votes in neither set goes at once: a learner has no part in the joint phase. */
    members_sweep(next);
    if (voters_change) {
        next->joint = true;
        raft->change_origin = origin;
        configuration_append(raft, next, (struct raft_origin){0});
        return;
    }
    for (uint32_t i = 0; i < next->member_count; i++)
        next->members[i].flags &= ~(uint32_t)RAFT_MEMBER_VOTER_OLD;
    configuration_append(raft, next, origin);
}

/* Ends the joint phase: only the incoming set is left. */
static void joint_leave(struct raft *raft)
{
    struct raft_configuration *next = members_copy(raft);
    next->joint = false;
    for (uint32_t i = 0; i < next->member_count; i++)
        next->members[i].flags &= ~(uint32_t)RAFT_MEMBER_VOTER_OLD;
    members_sweep(next);
    struct raft_origin origin = raft->change_origin;
    raft->change_origin = (struct raft_origin){0};
    configuration_append(raft, next, origin);
}

/* --- Catching up --------------------------------------------------------------------------------
 */

void raft_change_round(struct raft *raft, struct raft_progress *peer)
{
    if (peer->match < peer->catch_up_index)
        return;
    /* Rule 34 (dissertation, 4.2.1): a learner is ready when it could fetch everything that came
     * during the round before in less than an election timeout: as a voter it would not stop the
     * others from committing for longer. */
    peer->catch_up_fast = raft->now_us - peer->catch_up_us < raft->options.election_timeout_us;
    peer->catch_up_index = raft->log.last.index;
    peer->catch_up_us = raft->now_us;
}

static bool is_caught_up(const struct raft *raft, raft_node_id id)
{
    const struct raft_progress *peer = raft_peer(raft, id);
    uint64_t timeout = raft->options.election_timeout_us;
    /* The last round ended just now: whoever keeps up ends one with each heartbeat. A round that
     * ended long ago says nothing of what came since, though the peer be heard of: it may take
     * none of it, and wait for a snapshot. */
    return peer && peer->catch_up_fast && raft->now_us - peer->catch_up_us < timeout;
}

static void make_voter(struct raft *raft, struct raft_member *member)
{
    raft_trace(raft, RAFT_TRACE_PROMOTE, member->id, 0);
    member->flags = RAFT_MEMBER_VOTER;
}

/* --- Requests -----------------------------------------------------------------------------------
 */

static const struct verdict DONE_ALREADY = {.code = CONCLAVE_OK};

static struct verdict no(int code, const char *why)
{
    return (struct verdict){.code = code, .why = why};
}

/* The verdicts below are either reasons against the change, or code -1: *next holds it. */
static const struct verdict GO = {.code = -1};

static struct verdict change_add(struct raft_configuration *next, const struct raft_member *new)
{
    struct raft_member *same = member_named(next, new->name);
    if (raft_configuration_was_removed(next, new->id)) /* Rule 32 */
        return no(CONCLAVE_EXISTS, "this id belonged to a member that was removed: draw another");
    if (same && same->id == new->id) {
        if (same->incarnation == new->incarnation)
            return DONE_ALREADY;
        if (same->incarnation != 0 || !(same->flags & RAFT_MEMBER_LEARNER))
            return no(CONCLAVE_EXISTS, "this member has a data directory already: remove it first "
                                       "if that is lost");
        same->incarnation = new->incarnation;
        return GO;
    }
    if (same)
        return no(CONCLAVE_EXISTS, "a member of this name exists: remove it first, or take another "
                                   "name");
    if (raft_configuration_find(next, new->id))
        return no(CONCLAVE_EXISTS, "a member has this id: draw another");
    for (uint32_t i = 0; i < next->member_count; i++) {
        if (strcmp(next->members[i].peer, new->peer) == 0)
            return no(CONCLAVE_EXISTS, "a member has this address");
    }
    if (next->member_count == CONCLAVE_MEMBERS_MAX)
        return no(CONCLAVE_INVALID, "the cluster has as many members as it can have (41)");
    if (new->id == 0 || new->id > RAFT_NUMBER_MAX || !new->name[0] || !new->peer[0])
        return no(CONCLAVE_INVALID, "a new member needs an id, a name and an address");
    struct raft_member *member = &next->members[next->member_count++];
    *member = *new;
    /* Rule 34: whoever comes, comes as a learner. */
    member->flags = RAFT_MEMBER_LEARNER | (new->flags &RAFT_MEMBER_PROMOTE);
    return GO;
}

static struct verdict change_promote(struct raft *raft, struct raft_configuration *next,
                                     const char *name)
{
    struct raft_member *member = member_named(next, name);
    if (!member)
        return no(CONCLAVE_NOT_FOUND, "no member has this name");
    if (member->flags & RAFT_MEMBER_VOTER)
        return DONE_ALREADY;
    if (voter_count(next) == CONCLAVE_VOTERS_MAX)
        return no(CONCLAVE_INVALID, "the cluster has as many voters as it can have (9)");
    if (!is_caught_up(raft, member->id)) /* Rule 34 */
        return no(CONCLAVE_BUSY, "the learner has not caught up with the leader yet");
    make_voter(raft, member);
    return GO;
}

static struct verdict change_remove(struct raft_configuration *next, const char *name)
{
    struct raft_member *member = member_named(next, name);
    if (!member)
        return no(CONCLAVE_NOT_FOUND, "no member has this name");
    if ((member->flags & RAFT_MEMBER_VOTER) && voter_count(next) == 1)
        return no(CONCLAVE_INVALID, "the last voter cannot be removed");
    member->flags = 0;
    return GO;
}

static struct verdict change_replace(struct raft *raft, struct raft_configuration *next,
                                     const char *name, const char *replacement)
{
    struct raft_member *old = member_named(next, name);
    struct raft_member *new = member_named(next, replacement);
    if (!old)
        return no(CONCLAVE_NOT_FOUND, "no member has this name");
    if (!new)
        return no(CONCLAVE_NOT_FOUND, "no member has the new one's name: add it first");
    if (old == new)
        return no(CONCLAVE_INVALID, "a member cannot replace itself");
    if (new->flags & RAFT_MEMBER_VOTER)
        return no(CONCLAVE_INVALID, "the new member votes already: just remove the old one");
    if (!is_caught_up(raft, new->id)) /* Rule 34 */
        return no(CONCLAVE_BUSY, "the learner has not caught up with the leader yet");
    make_voter(raft, new);
    old->flags = 0;
    return GO;
}

static struct verdict change_begin(struct raft *raft, const struct raft_change *change)
{
    if (raft->role != RAFT_LEADER)
        return no(raft_refusal_code(raft), NULL);
    if (raft->transfer.target != 0) /* Rule 25 */
        return no(CONCLAVE_HANDOVER, NULL);
    /* Rule 28: before an entry of its own term is committed, a leader does not know whether the
     * change of an earlier one is; two changes that overlap could have majorities without a common
     * member. */
    if (!raft_is_serving(raft))
        return no(CONCLAVE_BUSY, "the leader is new and not ready yet");
    const struct raft_membership *newest = raft_membership_newest(raft);
    if (newest->index > raft->commit || newest->configuration->joint)
        return no(CONCLAVE_BUSY, "another change of the members is under way");

    struct raft_configuration *next = members_copy(raft);
    struct verdict verdict;
    switch (change->type) {
    default:
        verdict = no(CONCLAVE_INVALID, "an unknown kind of change");
        break;
    case RAFT_CHANGE_ADD:
        verdict = change_add(next, &change->member);
        break;
    case RAFT_CHANGE_PROMOTE:
        verdict = change_promote(raft, next, change->member.name);
        break;
    case RAFT_CHANGE_REMOVE:
        verdict = change_remove(next, change->member.name);
        break;
    case RAFT_CHANGE_REPLACE:
        verdict = change_replace(raft, next, change->member.name, change->replacement);
        break;
    }
    if (verdict.code == GO.code)
        configuration_change(raft, next, change->origin);
    else
        free(next);
    return verdict;
}

void raft_on_change(struct raft *raft, struct raft_change *change)
{
    struct verdict verdict = change_begin(raft, change);
    if (verdict.code != GO.code)
        RAFT_LIST_ADD(&raft->output->refused, (struct raft_refusal){.origin = change->origin,
                                                                    .code = verdict.code,
                                                                    .why = verdict.why});
    free(change);
}

void raft_on_peer_seen(struct raft *raft, raft_node_id id, uint64_t incarnation)
{
    struct raft_progress *peer = raft_peer(raft, id);
    if (peer && peer->incarnation == 0)
        peer->incarnation = incarnation;
}

/* --- What the leader does by itself ------------------------------------------------------------
 */

static uint64_t incarnation_of(const struct raft *raft, raft_node_id id)
{
    if (id == raft->options.id)
        return raft->options.incarnation;
    const struct raft_progress *peer = raft_peer(raft, id);
    return peer ? peer->incarnation : 0;
}

/* Writes down the incarnations that are known and not in the configuration yet. */
static bool incarnations_record(struct raft *raft)
{
    const struct raft_configuration *members = raft_members(raft);
    uint32_t i = 0;
    while (i < members->member_count && (members->members[i].incarnation != 0 ||
                                         incarnation_of(raft, members->members[i].id) == 0))
        i++;
    if (i == members->member_count)
        return false;
    struct raft_configuration *next = members_copy(raft);
    for (; i < next->member_count; i++) {
        if (next->members[i].incarnation == 0)
            next->members[i].incarnation = incarnation_of(raft, next->members[i].id);
    }
    configuration_change(raft, next, (struct raft_origin){0});
    return true;
}

/* One at a time: each is a change of its own (Rule 28). */
static void promote_next(struct raft *raft)
{
    const struct raft_configuration *members = raft_members(raft);
    if (voter_count(members) == CONCLAVE_VOTERS_MAX)
        return;
    for (uint32_t i = 0; i < members->member_count; i++) {
        const struct raft_member *member = &members->members[i];
        if (!(member->flags & RAFT_MEMBER_PROMOTE) || !is_caught_up(raft, member->id))
            continue;
        struct raft_configuration *next = members_copy(raft);
        make_voter(raft, &next->members[i]);
        configuration_change(raft, next, (struct raft_origin){0});
        return;
    }
}

void raft_change_advance(struct raft *raft)
{
    /* Rules 28 and 25. */
    if (raft->role != RAFT_LEADER || !raft_is_serving(raft) || raft->transfer.target != 0)
        return;
    const struct raft_membership *newest = raft_membership_newest(raft);
    const uint64_t before = newest->index;
    if (before > raft->commit)
        return;
    if (newest->configuration->joint) /* Rule 30: whoever leads now, not only the one who began */
        joint_leave(raft);
    else if (raft_configuration_is_voter(newest->configuration, raft->options.id) &&
             !incarnations_record(raft))
        promote_next(raft);
    /* A configuration counts from when it is appended (Rule 29), and its majority may hold more
     * than that of the one before. Never the new entry itself, which nobody has yet: so there is
     * nothing to go on to, and once is enough. */
    if (raft_membership_newest(raft)->index > before)
        raft_advance_commit(raft);
}

void raft_change_retire(struct raft *raft)
{
    if (raft->role != RAFT_LEADER)
        return;
    const struct raft_membership *newest = raft_membership_newest(raft);
    /* Rule 31: a leader that is removed goes on until the configuration without it is committed,
     * counting itself nowhere: nobody else may be able to commit it. */
    if (newest->index > raft->commit ||
        raft_configuration_is_voter(newest->configuration, raft->options.id))
        return;
    raft_trace(raft, RAFT_TRACE_RETIRED, raft->hard.term, 0);
    const struct raft_progress *best = raft_best_peer(raft);
    if (best) /* the others need not wait until they miss this leader */
        raft_call(raft, best);
    raft_become_follower(raft, raft->hard.term, 0);
}

void raft_change_fail(struct raft *raft)
{
    struct raft_origin origin = raft->change_origin;
    raft->change_origin = (struct raft_origin){0};
    /* Rule 44: the next leader ends the joint phase, or finds that it never began. */
    if (origin.client != 0 || origin.request != 0)
        RAFT_LIST_ADD(&raft->output->refused,
                      (struct raft_refusal){.origin = origin, .code = CONCLAVE_UNKNOWN});
}

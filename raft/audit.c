#include "raft/audit.h"

#include <string.h>

void audit_init(struct audit *audit, raft_node_id self)
{
    memset(audit, 0, sizeof *audit);
    audit->self = self;
}

static const struct audit_member *member_find(const struct audit *audit, raft_node_id id)
{
    for (uint32_t i = 0; i < CONCLAVE_MEMBERS_MAX; i++)
        if (audit->members[i].id == id)
            return &audit->members[i];
    return NULL;
}

/* The member's place; a free one, or that of a node that is a member no more, if it has none. */
static struct audit_member *member_obtain(struct audit *audit,
                                          const struct raft_configuration *members, raft_node_id id)
{
    struct audit_member *unused = NULL;
    for (uint32_t i = 0; i < CONCLAVE_MEMBERS_MAX; i++) {
        struct audit_member *at = &audit->members[i];
        if (at->id == id)
            return at;
        if (!at->id || (at->id != audit->self && !raft_configuration_find(members, at->id)))
            unused = at;
    }
    if (unused) {
        memset(unused, 0, sizeof *unused);
        unused->id = id;
    }
    return unused;
}

static const struct audit_mark *mark_find(const struct audit_member *member, uint64_t index)
{
    for (uint32_t i = 0; i < member->count; i++)
        if (member->marks[i].index == index)
            return &member->marks[i];
    return NULL;
}

static void mark_put(struct audit_member *member, struct audit_mark mark)
{
    for (uint32_t i = 0; i < member->count; i++)
        if (member->marks[i].index == mark.index) {
            member->marks[i].hash = mark.hash;
            return;
        }
    member->marks[member->next] = mark;
    member->next = (member->next + 1) % AUDIT_MARKS_MAX;
    if (member->count < AUDIT_MARKS_MAX)
        member->count++;
}

struct question {
    const struct audit *audit;
    struct audit_mark mark;
};

static bool says_so(const void *arg, raft_node_id id)
{
    const struct question *question = arg;
    const struct audit_member *member = member_find(question->audit, id);
    const struct audit_mark *mark = member ? mark_find(member, question->mark.index) : NULL;
    return mark && mark->hash == question->mark.hash;
}

/* The value that a majority has at this index. */
static bool majority_find(const struct audit *audit, const struct raft_configuration *members,
                          uint64_t index, uint64_t *ret_hash)
{
    for (uint32_t i = 0; i < CONCLAVE_MEMBERS_MAX; i++) {
        const struct audit_member *member = &audit->members[i];
        const struct audit_mark *mark = member->id ? mark_find(member, index) : NULL;
        if (!mark)
            continue;
        const struct question question = {audit, *mark};
        if (raft_configuration_quorum(members, says_so, &question)) {
            *ret_hash = mark->hash;
            return true;
        }
    }
    return false;
}

/* No majority: are there two values? */
static struct audit_finding judge_open(const struct audit *audit,
                                       const struct raft_configuration *members, uint64_t index)
{
    struct audit_finding finding = {.verdict = AUDIT_OPEN, .index = index};
    const struct audit_mark *first = NULL;
    for (uint32_t i = 0; i < CONCLAVE_MEMBERS_MAX; i++) {
        const struct audit_member *member = &audit->members[i];
        const struct audit_mark *mark = member->id ? mark_find(member, index) : NULL;
        if (!mark || (member->id != audit->self && !raft_configuration_find(members, member->id)))
            continue;
        if (!first)
            first = mark;
        if (mark->hash == first->hash)
            continue;
        finding.verdict = AUDIT_SPLIT;
        finding.deviating = member->id;
    }
    return finding;
}

struct audit_finding audit_note(struct audit *audit, const struct raft_configuration *members,
                                raft_node_id id, struct audit_mark mark)
{
    struct audit_finding finding = {.verdict = AUDIT_OPEN, .index = mark.index};
    if (id != audit->self && !raft_configuration_find(members, id))
        return finding;
    struct audit_member *noted = member_obtain(audit, members, id);
    if (!noted)
        return finding;
    mark_put(noted, mark);
    uint64_t hash;
    if (!majority_find(audit, members, mark.index, &hash))
        return judge_open(audit, members, mark.index);

    finding.verdict = AUDIT_AGREES;
    for (uint32_t i = 0; i < CONCLAVE_MEMBERS_MAX; i++) {
        struct audit_member *member = &audit->members[i];
        const struct audit_mark *own = member->id ? mark_find(member, mark.index) : NULL;
        if (!own || (member->id != audit->self && !raft_configuration_find(members, member->id)))
            continue;
        if (own->hash == hash) {
            if (mark.index >= member->deviates_at)
                member->deviates_at = 0;
            if (member->id == audit->self && mark.index > audit->agreed)
                audit->agreed = mark.index;
            continue;
        }
        member->deviates_at = mark.index;
        if (finding.verdict == AUDIT_SELF_DEVIATES)
            continue;
        finding.verdict = member->id == audit->self ? AUDIT_SELF_DEVIATES : AUDIT_DEVIATES;
        finding.deviating = member->id;
    }
    return finding;
}

raft_node_id audit_deviating(const struct audit *audit, const struct raft_configuration *members)
{
    for (uint32_t i = 0; i < CONCLAVE_MEMBERS_MAX; i++) {
        const struct audit_member *member = &audit->members[i];
        if (member->id && member->deviates_at && raft_configuration_find(members, member->id))
            return member->id;
    }
    return 0;
}

uint32_t audit_own(const struct audit *audit, struct audit_mark *ret, uint32_t limit)
{
    const struct audit_member *own = member_find(audit, audit->self);
    if (!own)
        return 0;
    uint32_t count = own->count < limit ? own->count : limit;
    for (uint32_t i = 0; i < count; i++)
        ret[i] = own->marks[(own->next + AUDIT_MARKS_MAX - count + i) % AUDIT_MARKS_MAX];
    return count;
}

/* The comparison of what the nodes applied, beside an account of it that is kept in the plainest
 * way: all marks of all nodes in lists, the majority counted by going through them. */
#include "raft/audit.h"

#include "base/prng.h"

#include <criterion/criterion.h>

#include <string.h>

enum { IDS = CONCLAVE_MEMBERS_MAX + 1, SELF = 3 };

struct account {
    struct audit_mark marks[AUDIT_MARKS_MAX]; /* the oldest first */
    uint32_t count;
    uint64_t deviates_at;
};

static struct raft_configuration members;
static struct audit audit;
static struct account accounts[IDS]; /* by id */
static uint64_t agreed;
static struct prng prng;

static bool knows(raft_node_id id, uint64_t index, uint64_t *ret_hash)
{
    for (uint32_t i = 0; i < accounts[id].count; i++) {
        if (accounts[id].marks[i].index != index)
            continue;
        *ret_hash = accounts[id].marks[i].hash;
        return true;
    }
    return false;
}

static void account_put(raft_node_id id, struct audit_mark mark)
{
    struct account *account = &accounts[id];
    for (uint32_t i = 0; i < account->count; i++) {
        if (account->marks[i].index != mark.index)
            continue;
        account->marks[i].hash = mark.hash;
        return;
    }
    if (account->count == AUDIT_MARKS_MAX) {
        memmove(account->marks, account->marks + 1, --account->count * sizeof mark);
    }
    account->marks[account->count++] = mark;
}

static bool is_member(raft_node_id id)
{
    return id == SELF || raft_configuration_find(&members, id);
}

/* Whether a majority of the voters has this value; there is no joint phase here. */
static bool has_majority(uint64_t index, uint64_t hash)
{
    uint32_t voters = 0, same = 0;
    for (raft_node_id id = 1; id < IDS; id++) {
        uint64_t said;
        if (!raft_configuration_is_voter(&members, id))
            continue;
        voters++;
        same += knows(id, index, &said) && said == hash;
    }
    return same * 2 > voters;
}

static void check_majority(struct audit_finding finding, uint64_t index, uint64_t hash)
{
    bool self = false, other = false;
    for (raft_node_id id = 1; id < IDS; id++) {
        uint64_t said;
        if (!is_member(id) || !knows(id, index, &said))
            continue;
        if (said != hash) {
            accounts[id].deviates_at = index;
            self |= id == SELF;
            other |= id != SELF;
            continue;
        }
        if (index >= accounts[id].deviates_at)
            accounts[id].deviates_at = 0;
        if (id == SELF && index > agreed)
            agreed = index;
    }
    cr_assert_eq(finding.verdict, self    ? AUDIT_SELF_DEVIATES
                                  : other ? AUDIT_DEVIATES
                                          : AUDIT_AGREES);
    if (!self && !other)
        return;
    uint64_t said;
    cr_assert_eq(finding.deviating == SELF, self);
    cr_assert(is_member(finding.deviating) && knows(finding.deviating, index, &said));
    cr_assert_neq(said, hash);
}

static void check_open(struct audit_finding finding, uint64_t index)
{
    uint64_t first = 0, said;
    bool any = false, split = false;
    for (raft_node_id id = 1; id < IDS; id++) {
        if (!is_member(id) || !knows(id, index, &said))
            continue;
        split |= any && said != first;
        first = any ? first : said;
        any = true;
    }
    cr_assert_eq(finding.verdict, split ? AUDIT_SPLIT : AUDIT_OPEN);
    if (split)
        cr_assert(is_member(finding.deviating) && knows(finding.deviating, index, &said));
}

static void check_own(void)
{
    const struct account *own = &accounts[SELF];
    struct audit_mark marks[AUDIT_MARKS_MAX + 2];
    uint32_t limit = (uint32_t)prng_below(&prng, AUDIT_MARKS_MAX + 2);
    uint32_t count = own->count < limit ? own->count : limit;
    cr_assert_eq(audit_own(&audit, marks, limit), count);
    cr_assert_arr_eq(marks, own->marks + own->count - count, count * sizeof marks[0]);
}

static void check_deviating(void)
{
    bool any = false;
    for (raft_node_id id = 1; id < IDS; id++)
        any |= accounts[id].deviates_at && raft_configuration_find(&members, id);
    raft_node_id named = audit_deviating(&audit, &members);
    cr_assert_eq(named != 0, any);
    cr_assert(named == 0 || (raft_configuration_find(&members, named) && named < IDS &&
                             accounts[named].deviates_at));
}

static void node_says(raft_node_id id, uint64_t index)
{
    struct audit_mark mark = {.index = index, .hash = prng_below(&prng, 12) ? 7 : index % 2 + 8};
    struct audit_finding finding = audit_note(&audit, &members, id, mark);
    cr_assert_eq(finding.index, index);
    if (!is_member(id)) {
        cr_assert_eq(finding.verdict, AUDIT_OPEN);
        return;
    }
    account_put(id, mark);
    if (has_majority(index, mark.hash))
        check_majority(finding, index, mark.hash);
    else if (has_majority(index, 7))
        check_majority(finding, index, 7);
    else if (has_majority(index, index % 2 + 8))
        check_majority(finding, index, index % 2 + 8);
    else
        check_open(finding, index);
}

static void run(uint64_t seed)
{
    memset(&members, 0, sizeof members);
    memset(accounts, 0, sizeof accounts);
    agreed = 0;
    prng_init(&prng, seed);
    audit_init(&audit, SELF);
    uint32_t count = seed % 3 ? 3 + (uint32_t)prng_below(&prng, 5) : CONCLAVE_MEMBERS_MAX;
    for (uint32_t i = 0; i < count; i++)
        if (i + 1 != SELF || seed % 5 > 0) /* a node that was removed judges itself, too */
            members.members[members.member_count++] = (struct raft_member){
                .id = i + 1, .flags = i < 9 ? RAFT_MEMBER_VOTER : RAFT_MEMBER_LEARNER};
    for (uint32_t i = 0; i < count; i++) /* so that each is the one in the last place once */
        node_says((i + seed) % count + 1, 1);
    for (uint64_t step = 0; step < 600; step++) {
        raft_node_id id = prng_below(&prng, 3) ? prng_below(&prng, count + 1) + 1 : SELF;
        if (id < IDS)
            node_says(id, 1 + prng_below(&prng, 4) + step / 8);
        if (step % 200 == 199 && members.member_count > 3)
            members.member_count--; /* for good: Rule 32 */
        cr_assert_eq(audit.agreed, agreed);
        check_own();
        check_deviating();
    }
}

Test(audit_account, findings_are_those_of_a_plain_account)
{
    for (uint64_t seed = 1; seed <= 30; seed++)
        run(seed);
}

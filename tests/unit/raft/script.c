#include "script.h"

#include "cluster.h"

#include "base/fatal.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TRACE_BYTES = 16384, LINE_BYTES = 200 };

struct script {
    struct cluster cluster;
    char shown[CLUSTER_NODES_MAX + 1][LINE_BYTES]; /* what was last told of each node */
    uint64_t members_shown[CLUSTER_NODES_MAX + 1]; /* their index; 1 or 0, at the start: not told */
    uint64_t reads;
    bool leases;
    bool trailing_set;
    unsigned trailing, append;
    char trace[TRACE_BYTES];
    size_t used;
};

static struct script s;

static void tell(const char *text)
{
    size_t bytes = strlen(text);
    ASSERT(s.used + bytes < sizeof s.trace);
    memcpy(s.trace + s.used, text, bytes + 1);
    s.used += bytes;
}

static const char *code_text(int code)
{
    return conclave_code_name(code);
}

/* The answers since the last time. */
static void tell_answers(uint32_t id)
{
    struct test_node *node = &s.cluster.nodes[id];
    char line[LINE_BYTES];
    for (uint32_t i = 0; i < node->reads.count; i++) {
        const struct raft_read_result *read = &node->reads.items[i];
        snprintf(line, sizeof line, "  %u: read %llu %s at %llu%s\n", id,
                 (unsigned long long)read->read, code_text(read->code),
                 (unsigned long long)read->index, read->valid_until_us > 0 ? " by lease" : "");
        tell(line);
    }
    for (uint32_t i = 0; i < node->refused.count; i++) {
        snprintf(line, sizeof line, "  %u: refuses %s\n", id,
                 code_text(node->refused.items[i].code));
        tell(line);
    }
    for (uint32_t i = 0; i < node->transfers.count; i++) {
        snprintf(line, sizeof line, "  %u: transfer %s\n", id,
                 code_text(node->transfers.items[i].code));
        tell(line);
    }
    node->reads.count = node->refused.count = node->transfers.count = 0;
}

/* The members, if the newest configuration in the log is another than before: in a joint phase
 * those that go with a -, those that come with a +; learners with a ?. */
static void tell_members(uint32_t id)
{
    const struct raft *raft = s.cluster.nodes[id].raft;
    uint64_t index = 0;
    const struct raft_configuration *members = raft ? raft_configuration(raft, &index) : NULL;
    if (!members || index == s.members_shown[id] || (index <= 1 && s.members_shown[id] <= 1))
        return;
    s.members_shown[id] = index;
    char line[LINE_BYTES];
    snprintf(line, sizeof line, "  %u: members at %llu:", id, (unsigned long long)index);
    tell(line);
    for (uint32_t i = 0; i < members->member_count; i++) {
        const struct raft_member *member = &members->members[i];
        bool old = member->flags & RAFT_MEMBER_VOTER_OLD, new = member->flags &RAFT_MEMBER_VOTER;
        const char *mark = members->joint && old && !new  ? "-"
                           : members->joint &&new && !old ? "+"
                                                          : "";
        if (!old && !new)
            mark = "?";
        snprintf(line, sizeof line, " %s%s", member->name, mark);
        tell(line);
    }
    tell("\n");
}

static void tell_node(uint32_t id)
{
    static const char *const roles[] = {"follower", "precandidate", "candidate", "leader"};
    struct test_node *node = &s.cluster.nodes[id];
    char line[LINE_BYTES];
    if (!node->raft) {
        snprintf(line, sizeof line, "  %u: down\n", id);
    } else {
        struct raft_id last = raft_last(node->raft);
        snprintf(line, sizeof line, "  %u: %s of %llu, term %llu, commit %llu, last %llu:%llu\n",
                 id, roles[raft_role(node->raft)], (unsigned long long)raft_leader(node->raft),
                 (unsigned long long)raft_hard_state(node->raft).term,
                 (unsigned long long)raft_commit(node->raft), (unsigned long long)last.term,
                 (unsigned long long)last.index);
    }
    if (strcmp(line, s.shown[id]) != 0)
        tell(line);
    memcpy(s.shown[id], line, sizeof line);
    tell_members(id);
    tell_answers(id);
}

/* "1" or "2,3" -> bits. */
static uint32_t set_of(const char *text)
{
    uint32_t set = 0;
    for (; *text; text++) {
        if (*text != ',')
            set |= UINT32_C(1) << (*text - '0');
    }
    return set;
}

static void begin(unsigned voters)
{
    cluster_init(&s.cluster, voters);
    for (uint32_t i = 1; i <= voters; i++) {
        s.cluster.nodes[i].options.leases = s.leases;
        if (s.trailing_set)
            s.cluster.nodes[i].options.trailing_entries = s.trailing;
        if (s.append > 0)
            s.cluster.nodes[i].options.append_entries_max = s.append;
    }
    cluster_start(&s.cluster, voters);
}

static void event(unsigned id, struct raft_event event)
{
    cluster_step(&s.cluster, id, &event, 1);
}

static enum raft_change_type change_type(const char *kind)
{
    static const char *const kinds[] = {[RAFT_CHANGE_ADD] = "add",
                                        [RAFT_CHANGE_PROMOTE] = "promote",
                                        [RAFT_CHANGE_REMOVE] = "remove",
                                        [RAFT_CHANGE_REPLACE] = "replace"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (kinds[i] && strcmp(kinds[i], kind) == 0)
            return (enum raft_change_type)i;
    cr_assert_fail("no such change: %s", kind);
    return RAFT_CHANGE_ADD;
}

/* The commands that are one event of one node; false: it is another. */
static bool command_event(const char *line)
{
    struct cluster *c = &s.cluster;
    char name[32], other[32] = "", kind[8];
    unsigned a = 0, b = 0, d = 0;
    if (sscanf(line, "propose %u %u", &a, &b) == 2)
        cluster_propose(c, a, b, 1);
    else if (sscanf(line, "read %u", &a) == 1)
        cluster_read(c, a, ++s.reads);
    else if (sscanf(line, "lease %u", &a) == 1)
        event(a, (struct raft_event){.type = RAFT_EVENT_READ_LEASE, .read = ++s.reads});
    else if (sscanf(line, "transfer %u %u", &a, &b) == 2)
        event(a, (struct raft_event){.type = RAFT_EVENT_TRANSFER, .transfer = {.target = b}});
    else if (sscanf(line, "full %u", &a) == 1 || sscanf(line, "room %u", &a) == 1)
        event(a, (struct raft_event){.type = RAFT_EVENT_DISK_FULL, .disk_full = line[0] == 'f'});
    else if (sscanf(line, "down %u %u", &a, &b) == 2)
        event(a, (struct raft_event){.type = RAFT_EVENT_PEER_DOWN, .peer_down = b});
    else if (sscanf(line, "snapshot %u %u %u", &a, &b, &d) == 3)
        cluster_snapshot(c, a, b, d);
    else if (sscanf(line, "fetch %u %u", &a, &b) == 2)
        cluster_transfer(c, a, b);
    else if (sscanf(line, "change %u %7s %31s %31s", &a, kind, name, other) >= 3)
        cluster_change(c, a, change_type(kind), name, other);
    else
        return false;
    return true;
}

static void command(const char *line)
{
    struct cluster *c = &s.cluster;
    char from[32], to[32];
    unsigned a = 0;
    if (command_event(line))
        return;
    if (sscanf(line, "nodes %u", &a) == 1)
        begin(a);
    else if (strcmp(line, "leases") == 0)
        s.leases = true;
    else if (sscanf(line, "trailing %u", &s.trailing) == 1)
        s.trailing_set = true;
    else if (sscanf(line, "append %u", &s.append) == 1)
        ASSERT(s.append > 0);
    else if (sscanf(line, "elect %u", &a) == 1)
        cluster_elect(c, a);
    else if (sscanf(line, "cut %31s %31s", from, to) == 2) {
        cluster_cut(c, set_of(from), set_of(to));
        cluster_cut(c, set_of(to), set_of(from));
    } else if (sscanf(line, "mute %31s %31s", from, to) == 2)
        cluster_cut(c, set_of(from), set_of(to));
    else if (sscanf(line, "unheard %u", &a) == 1)
        c->appends_lost[a] = true;
    else if (strcmp(line, "heal") == 0) {
        memset(c->cut, 0, sizeof c->cut);
        memset(c->appends_lost, 0, sizeof c->appends_lost);
    } else if (sscanf(line, "crash %u", &a) == 1)
        cluster_crash(c, a);
    else if (sscanf(line, "start %u", &a) == 1)
        cluster_start_node(c, a);
    else if (sscanf(line, "join %u", &a) == 1)
        cluster_add_node(c, a);
    else if (sscanf(line, "recover %u", &a) == 1)
        cluster_recover(c, a);
    else if (sscanf(line, "still %u", &a) == 1 || sscanf(line, "tick %u", &a) == 1)
        cluster_clock(c, a, line[0] == 's');
    else if (sscanf(line, "hang %u", &a) == 1)
        c->nodes[a].hold_persists = true;
    else if (sscanf(line, "go %u", &a) == 1)
        c->nodes[a].hold_persists = false;
    else if (sscanf(line, "run %u", &a) == 1)
        cluster_run(c, a * T_US / 100);
    else if (sscanf(line, "sleep %u", &a) == 1)
        cluster_advance(c, a * T_US / 100);
    else
        cr_assert_fail("no such command: %s", line);
}

static void command_run(char *line)
{
    command(line);
    cluster_settle(&s.cluster);
    tell(line);
    tell("\n");
    for (uint32_t id = 1; id <= s.cluster.voters; id++)
        tell_node(id);
}

static void file_path(const char *name, char path[512])
{
    int length = snprintf(path, 512, "%s/%s.txt", SCENARIO_DIR, name);
    cr_assert(length > 0 && length < 512);
}

static void file_write(const char *path)
{
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file, "%s", path);
    cr_assert_eq(fwrite(s.trace, 1, s.used, file), s.used);
    cr_assert_eq(fclose(file), 0);
}

void script_run(const char *name)
{
    static char expected[TRACE_BYTES];
    char path[512], line[LINE_BYTES];
    size_t bytes = 0;
    memset(&s, 0, sizeof s);
    file_path(name, path);
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file, "%s", path);
    while (fgets(line, sizeof line, file)) {
        size_t length = strlen(line);
        cr_assert(bytes + length < sizeof expected);
        memcpy(expected + bytes, line, length + 1);
        bytes += length;
        line[strcspn(line, "\n")] = 0;
        if (line[0] == '#') {
            tell(line);
            tell("\n");
        } else if (line[0] != ' ' && line[0] != 0) {
            command_run(line);
        }
    }
    (void)fclose(file);
    cluster_deinit(&s.cluster);
    if (getenv("SCENARIO_WRITE"))
        file_write(path);
    else
        cr_assert_str_eq(s.trace, expected, "%s is not what came of it:\n%s", path, s.trace);
}

/* The packed form is one MessagePack array: [version, joint, [member ...], [removed id ...]], and a
 * member is [id, flags, name, peer, client, incarnation]. */
#include "raft/configuration.h"

#include "base/cursor.h"
#include "base/fatal.h"
#include "base/pack.h"

#include <stdlib.h>
#include <string.h>

enum { CONFIGURATION_VERSION = 1, CONFIGURATION_FIELDS = 4, MEMBER_FIELDS = 6 };

#define NODE_ID_MAX ((UINT64_C(1) << 53) - 1)

const struct raft_member *raft_configuration_find(const struct raft_configuration *configuration,
                                                  raft_node_id id)
{
    for (uint32_t i = 0; i < configuration->member_count; i++) {
        if (configuration->members[i].id == id)
            return &configuration->members[i];
    }
    return NULL;
}

const struct raft_member *
raft_configuration_find_name(const struct raft_configuration *configuration, const char *name)
{
    for (uint32_t i = 0; i < configuration->member_count; i++) {
        if (strcmp(configuration->members[i].name, name) == 0)
            return &configuration->members[i];
    }
    return NULL;
}

bool raft_configuration_was_removed(const struct raft_configuration *configuration, raft_node_id id)
{
    for (uint32_t i = 0; i < configuration->removed_count; i++) {
        if (configuration->removed[i] == id)
            return true;
    }
    return false;
}

/* The flags that make a member count in some set. */
static uint32_t voter_flags(const struct raft_configuration *configuration)
{
    return configuration->joint ? RAFT_MEMBER_VOTER | RAFT_MEMBER_VOTER_OLD : RAFT_MEMBER_VOTER;
}

bool raft_configuration_is_voter(const struct raft_configuration *configuration, raft_node_id id)
{
    const struct raft_member *member = raft_configuration_find(configuration, id);
    return member && (member->flags & voter_flags(configuration)) != 0;
}

static bool set_quorum(const struct raft_configuration *configuration, uint32_t flag,
                       bool (*has)(const void *arg, raft_node_id id), const void *arg)
{
    uint32_t voters = 0;
    uint32_t having = 0;
    for (uint32_t i = 0; i < configuration->member_count; i++) {
        if (!(configuration->members[i].flags & flag))
            continue;
        voters++;
        if (has(arg, configuration->members[i].id))
            having++;
    }
    return voters > 0 && having >= voters / 2 + 1;
}

bool raft_configuration_quorum(const struct raft_configuration *configuration,
                               bool (*has)(const void *arg, raft_node_id id), const void *arg)
{
    /* Rule 30: in the joint phase a majority of each set (paper, section 6). */
    return set_quorum(configuration, RAFT_MEMBER_VOTER, has, arg) &&
           (!configuration->joint || set_quorum(configuration, RAFT_MEMBER_VOTER_OLD, has, arg));
}

static uint64_t set_committed(const struct raft_configuration *configuration, uint32_t flag,
                              uint64_t (*value)(const void *arg, raft_node_id id), const void *arg)
{
    uint64_t sorted[CONCLAVE_MEMBERS_MAX]; /* from high to low */
    uint32_t voters = 0;
    for (uint32_t i = 0; i < configuration->member_count; i++) {
        if (!(configuration->members[i].flags & flag))
            continue;
        uint64_t mine = value(arg, configuration->members[i].id);
        uint32_t at = voters++;
        for (; at > 0 && sorted[at - 1] < mine; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = mine;
    }
    return voters > 0 ? sorted[voters / 2] : 0;
}

uint64_t raft_configuration_committed(const struct raft_configuration *configuration,
                                      uint64_t (*value)(const void *arg, raft_node_id id),
                                      const void *arg)
{
    ASSERT(configuration->member_count <= CONCLAVE_MEMBERS_MAX);
    uint64_t incoming = set_committed(configuration, RAFT_MEMBER_VOTER, value, arg);
    if (!configuration->joint)
        return incoming;
    /* Rule 30 again: what both majorities have reached. */
    uint64_t outgoing = set_committed(configuration, RAFT_MEMBER_VOTER_OLD, value, arg);
    return incoming < outgoing ? incoming : outgoing;
}

struct buf *raft_configuration_encode(const struct raft_configuration *configuration)
{
    ASSERT(configuration->member_count <= CONCLAVE_MEMBERS_MAX);
    struct pack pack;
    pack_init(&pack, 64 + (size_t)configuration->member_count * 128 +
                         (size_t)configuration->removed_count * 9);
    pack_array(&pack, CONFIGURATION_FIELDS);
    pack_uint(&pack, CONFIGURATION_VERSION);
    pack_bool(&pack, configuration->joint);
    pack_array(&pack, configuration->member_count);
    for (uint32_t i = 0; i < configuration->member_count; i++) {
        const struct raft_member *member = &configuration->members[i];
        pack_array(&pack, MEMBER_FIELDS);
        pack_uint(&pack, member->id);
        pack_uint(&pack, member->flags);
        pack_str(&pack, member->name);
        pack_str(&pack, member->peer);
        pack_str(&pack, member->client);
        pack_uint(&pack, member->incarnation);
    }
    pack_array(&pack, configuration->removed_count);
    for (uint32_t i = 0; i < configuration->removed_count; i++)
        pack_uint(&pack, configuration->removed[i]);
    return pack_take(&pack);
}

static void member_read(struct cursor *cursor, struct raft_member *member)
{
    if (cursor_array(cursor) != MEMBER_FIELDS)
        cursor_fail(cursor);
    member->id = cursor_uint(cursor);
    uint64_t flags = cursor_uint(cursor);
    if (flags > UINT32_MAX)
        cursor_fail(cursor);
    member->flags = (uint32_t)flags;
    cursor_text(cursor, member->name, sizeof member->name);
    cursor_text(cursor, member->peer, sizeof member->peer);
    cursor_text(cursor, member->client, sizeof member->client);
    member->incarnation = cursor_uint(cursor);
}

static bool member_valid(const struct raft_configuration *configuration, uint32_t position)
{
    const struct raft_member *member = &configuration->members[position];
    const uint32_t known =
        RAFT_MEMBER_VOTER | RAFT_MEMBER_VOTER_OLD | RAFT_MEMBER_LEARNER | RAFT_MEMBER_PROMOTE;
    if (member->id == 0 || member->id > NODE_ID_MAX || !member->name[0] || !member->peer[0])
        return false;
    if (member->flags == 0 || (member->flags & ~known))
        return false;
    if ((member->flags & RAFT_MEMBER_VOTER) && (member->flags & RAFT_MEMBER_LEARNER))
        return false;
    if ((member->flags & RAFT_MEMBER_VOTER_OLD) && !configuration->joint)
        return false;
    if ((member->flags & RAFT_MEMBER_PROMOTE) && !(member->flags & RAFT_MEMBER_LEARNER))
        return false;
    if (raft_configuration_was_removed(configuration, member->id))
        return false; /* Rule 32 */
    for (uint32_t i = 0; i < position; i++) {
        if (configuration->members[i].id == member->id ||
            strcmp(configuration->members[i].name, member->name) == 0)
            return false;
    }
    return true;
}

static bool configuration_valid(const struct raft_configuration *configuration)
{
    uint32_t incoming = 0;
    uint32_t outgoing = 0;
    for (uint32_t i = 0; i < configuration->member_count; i++) {
        if (!member_valid(configuration, i))
            return false;
        incoming += (configuration->members[i].flags & RAFT_MEMBER_VOTER) != 0;
        outgoing += (configuration->members[i].flags & RAFT_MEMBER_VOTER_OLD) != 0;
    }
    return incoming >= 1 && incoming <= CONCLAVE_VOTERS_MAX && outgoing <= CONCLAVE_VOTERS_MAX &&
           (outgoing >= 1 || !configuration->joint);
}

int raft_configuration_decode(struct slice payload, struct raft_configuration *ret)
{
    struct cursor cursor;
    cursor_init(&cursor, payload.data, payload.bytes);
    if (cursor_array(&cursor) != CONFIGURATION_FIELDS ||
        cursor_uint(&cursor) != CONFIGURATION_VERSION)
        return CONCLAVE_MALFORMED;
    bool joint = cursor_bool(&cursor);
    uint32_t count = cursor_array(&cursor);
    if (!cursor_ok(&cursor) || count > CONCLAVE_MEMBERS_MAX)
        return CONCLAVE_MALFORMED;

    struct raft_configuration *read = mem_zalloc(sizeof *read);
    read->joint = joint;
    read->member_count = count;
    for (uint32_t i = 0; i < count; i++)
        member_read(&cursor, &read->members[i]);
    uint32_t removed = cursor_array(&cursor);
    if (removed > RAFT_REMOVED_MAX)
        cursor_fail(&cursor);
    for (uint32_t i = 0; i < removed && cursor_ok(&cursor); i++)
        read->removed[read->removed_count++] = cursor_uint(&cursor);
    int code = CONCLAVE_MALFORMED;
    if (cursor_done(&cursor) && configuration_valid(read)) {
        *ret = *read;
        code = CONCLAVE_OK;
    }
    free(read);
    return code;
}

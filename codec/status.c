#include "codec/client.h"

#include "base/fatal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The maps are described once, for writing and for reading. */
enum field_kind { FIELD_UINT, FIELD_BOOL, FIELD_TEXT, FIELD_CLUSTER, FIELD_MEMBERS };

struct field {
    const char *name;
    enum field_kind kind;
    size_t offset, size;
};

#define FIELD(type, kind, member)                                                      \
    {                                                                                  \
#member, kind, offsetof(struct type, member), sizeof((struct type *)0)->member \
    }

static const struct field member_fields[] = {
    FIELD(client_status_member, FIELD_TEXT, name),
    FIELD(client_status_member, FIELD_UINT, id),
    FIELD(client_status_member, FIELD_TEXT, peer),
    FIELD(client_status_member, FIELD_TEXT, client),
    FIELD(client_status_member, FIELD_BOOL, voter),
    FIELD(client_status_member, FIELD_UINT, incarnation),
};

static const struct field status_fields[] = {
    {"cluster", FIELD_CLUSTER, offsetof(struct client_status, cluster_id), sizeof(uint64_t)},
    FIELD(client_status, FIELD_TEXT, name),
    FIELD(client_status, FIELD_UINT, id),
    FIELD(client_status, FIELD_TEXT, role),
    FIELD(client_status, FIELD_UINT, term),
    FIELD(client_status, FIELD_TEXT, leader),
    FIELD(client_status, FIELD_UINT, commit),
    FIELD(client_status, FIELD_UINT, applied),
    FIELD(client_status, FIELD_UINT, last_index),
    FIELD(client_status, FIELD_UINT, durable_index),
    FIELD(client_status, FIELD_UINT, revision),
    FIELD(client_status, FIELD_UINT, pid),
    FIELD(client_status, FIELD_TEXT, version),
    FIELD(client_status, FIELD_TEXT, repair),
    FIELD(client_status, FIELD_BOOL, serving),
    FIELD(client_status, FIELD_UINT, uptime_ms),
    FIELD(client_status, FIELD_UINT, audited),
    FIELD(client_status, FIELD_TEXT, deviating),
    FIELD(client_status, FIELD_TEXT, feed),
    FIELD(client_status, FIELD_BOOL, quota_full),
    FIELD(client_status, FIELD_BOOL, disk_full),
    {"members", FIELD_MEMBERS, offsetof(struct client_status, members), 0},
};

enum {
    MEMBER_FIELDS = sizeof member_fields / sizeof member_fields[0],
    STATUS_FIELDS = sizeof status_fields / sizeof status_fields[0],
    CLUSTER_DIGITS = 16
};

void client_status_members(struct client_status *status,
                           const struct raft_configuration *configuration)
{
    status->member_count = configuration->member_count;
    for (uint32_t i = 0; i < configuration->member_count; i++) {
        const struct raft_member *member = &configuration->members[i];
        struct client_status_member *out = &status->members[i];
        memcpy(out->name, member->name, sizeof out->name);
        memcpy(out->peer, member->peer, sizeof out->peer);
        memcpy(out->client, member->client, sizeof out->client);
        out->id = member->id;
        out->incarnation = member->incarnation;
        out->voter = raft_configuration_is_voter(configuration, member->id);
    }
}

/* --- Writing ---------------------------------------------------------------------------------- */

/* A cluster's id has 64 bits: as text it passes through languages whose integers have 53. */
static void pack_cluster(struct pack *pack, uint64_t cluster_id)
{
    char text[CLUSTER_DIGITS + 1];
    snprintf(text, sizeof text, "%016" PRIx64, cluster_id);
    pack_str(pack, text);
}

static void pack_fields(struct pack *pack, const struct field *fields, uint32_t count,
                        const void *base);

static void pack_members(struct pack *pack, const struct client_status *status)
{
    ASSERT(status->member_count <= CONCLAVE_MEMBERS_MAX);
    pack_array(pack, status->member_count);
    for (uint32_t i = 0; i < status->member_count; i++)
        pack_fields(pack, member_fields, MEMBER_FIELDS, &status->members[i]);
}

static void pack_fields(struct pack *pack, const struct field *fields, uint32_t count,
                        const void *base)
{
    pack_map(pack, count);
    for (const struct field *field = fields; field < fields + count; field++) {
        const char *at = (const char *)base + field->offset;
        uint64_t number = 0;
        if (field->kind == FIELD_UINT || field->kind == FIELD_CLUSTER)
            memcpy(&number, at, sizeof number);
        pack_str(pack, field->name);
        switch (field->kind) {
        case FIELD_UINT:
            pack_uint(pack, number);
            break;
        case FIELD_BOOL:
            pack_bool(pack, *(const bool *)at);
            break;
        case FIELD_TEXT:
            pack_str(pack, at);
            break;
        case FIELD_CLUSTER:
            pack_cluster(pack, number);
            break;
        case FIELD_MEMBERS:
            pack_members(pack, base);
            break;
        }
    }
}

struct buf *client_status_encode(const struct client_status *status)
{
    struct pack pack;
    pack_init(&pack, 768 + (size_t)status->member_count * 192);
    pack_fields(&pack, status_fields, STATUS_FIELDS, status);
    return pack_take(&pack);
}

/* --- Reading ---------------------------------------------------------------------------------- */

static uint64_t read_cluster(struct cursor *cursor)
{
    struct slice text = cursor_bin(cursor);
    uint64_t value = 0;
    if (text.bytes != CLUSTER_DIGITS)
        cursor_fail(cursor);
    for (size_t i = 0; i < text.bytes && cursor_ok(cursor); i++) {
        uint8_t c = text.data[i];
        if (c >= '0' && c <= '9')
            value = value << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value << 4 | (uint64_t)(c - 'a' + 10);
        else
            cursor_fail(cursor);
    }
    return value;
}

static void read_fields(struct cursor *cursor, const struct field *fields, uint32_t count,
                        void *base);

static void read_members(struct cursor *cursor, struct client_status *status)
{
    uint32_t count = cursor_array(cursor);
    if (count > CONCLAVE_MEMBERS_MAX) {
        cursor_fail(cursor);
        return;
    }
    for (uint32_t i = 0; i < count && cursor_ok(cursor); i++) {
        memset(&status->members[i], 0, sizeof status->members[i]); /* "members" may come twice */
        read_fields(cursor, member_fields, MEMBER_FIELDS, &status->members[i]);
    }
    status->member_count = count;
}

static const struct field *field_find(const struct field *fields, uint32_t count, struct slice key)
{
    for (uint32_t i = 0; i < count; i++) {
        if (key.bytes == strlen(fields[i].name) && !memcmp(key.data, fields[i].name, key.bytes))
            return &fields[i];
    }
    return NULL;
}

static void read_field(struct cursor *cursor, const struct field *field, void *base)
{
    char *at = (char *)base + field->offset;
    uint64_t number;
    switch (field->kind) {
    case FIELD_UINT:
    case FIELD_CLUSTER:
        number = field->kind == FIELD_UINT ? cursor_uint(cursor) : read_cluster(cursor);
        memcpy(at, &number, sizeof number);
        break;
    case FIELD_BOOL:
        *(bool *)at = cursor_bool(cursor);
        break;
    case FIELD_TEXT:
        cursor_text(cursor, at, field->size);
        break;
    case FIELD_MEMBERS:
        read_members(cursor, base);
        break;
    }
}

/* Reads a map; unknown keys are of a later revision and skipped. Nested once, by the schema: the
 * members of a status. */
static void read_fields(struct cursor *cursor, const struct field *fields, uint32_t count,
                        void *base)
{
    for (uint32_t pairs = cursor_map(cursor); pairs > 0 && cursor_ok(cursor); pairs--) {
        struct slice key = cursor_bin(cursor);
        if (!cursor_ok(cursor))
            return;
        const struct field *field = field_find(fields, count, key);
        if (field)
            read_field(cursor, field, base);
        else
            cursor_skip(cursor);
    }
}

int client_status_decode(struct slice body, struct client_status *ret)
{
    struct client_status *status = mem_zalloc(sizeof *status); /* 23 KiB: not for every stack */
    struct cursor cursor;
    cursor_init(&cursor, body.data, body.bytes);
    read_fields(&cursor, status_fields, STATUS_FIELDS, status);
    bool done = cursor_done(&cursor);
    if (done)
        *ret = *status;
    free(status);
    return done ? CONCLAVE_OK : CONCLAVE_MALFORMED;
}

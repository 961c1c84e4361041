#include "codec/member.h"

enum { MEMBER_FIELDS = 8, MEMBER_BYTES_MAX = 1024 };

#define MEMBER_ID_LIMIT (UINT64_C(1) << 53)

struct buf *client_member_encode(const struct client_member_change *change)
{
    struct pack pack;
    pack_init(&pack, MEMBER_BYTES_MAX);
    pack_array(&pack, MEMBER_FIELDS);
    pack_uint(&pack, change->kind);
    pack_str(&pack, change->name);
    pack_str(&pack, change->peer);
    pack_str(&pack, change->client);
    pack_uint(&pack, change->id);
    pack_uint(&pack, change->incarnation);
    pack_bool(&pack, change->learner);
    pack_str(&pack, change->replacement);
    return pack_take(&pack);
}

/* They end up in every node's log and in answers to clients. */
static void read_text(struct cursor *cursor, char *text, size_t size)
{
    cursor_text(cursor, text, size);
    for (const char *c = text; *c; c++) {
        if (*c <= ' ' || *c > '~')
            cursor_fail(cursor);
    }
}

int client_member_decode(struct slice body, struct client_member_change *ret)
{
    struct client_member_change change = {0};
    struct cursor cursor;
    cursor_init(&cursor, body.data, body.bytes);
    uint32_t fields = cursor_array(&cursor);
    if (fields < MEMBER_FIELDS)
        cursor_fail(&cursor);
    uint64_t kind = cursor_uint(&cursor);
    read_text(&cursor, change.name, sizeof change.name);
    read_text(&cursor, change.peer, sizeof change.peer);
    read_text(&cursor, change.client, sizeof change.client);
    change.id = cursor_uint(&cursor);
    change.incarnation = cursor_uint(&cursor);
    change.learner = cursor_bool(&cursor);
    read_text(&cursor, change.replacement, sizeof change.replacement);
    for (; fields > MEMBER_FIELDS && cursor_ok(&cursor); fields--)
        cursor_skip(&cursor);
    if (kind < CLIENT_MEMBER_ADD || kind > CLIENT_MEMBER_REPLACE || change.id >= MEMBER_ID_LIMIT ||
        change.incarnation >= MEMBER_ID_LIMIT)
        cursor_fail(&cursor);
    if (!cursor_done(&cursor))
        return CONCLAVE_MALFORMED;
    change.kind = (enum client_member_kind)kind;
    *ret = change;
    return CONCLAVE_OK;
}

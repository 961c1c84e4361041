#include "codec/client.h"

#include "base/fatal.h"

#include <stdio.h>
#include <string.h>

#define CLIENT_ID_LIMIT (UINT64_C(1) << 53)

/* --- What requests and replies share ---------------------------------------------------------- */

static int frame_begin(struct client_reader *reader, const void *data, size_t bytes)
{
    if (bytes > CLIENT_FRAME_BYTES_MAX)
        return CONCLAVE_TOO_LARGE;
    struct cursor cursor;
    cursor_init(&cursor, data, bytes);
    uint32_t count = cursor_array(&cursor);
    uint64_t version = cursor_uint(&cursor);
    if (!cursor_ok(&cursor) || count == 0)
        return CONCLAVE_MALFORMED;
    /* Before anything else is looked at: it may mean something else in another version. */
    if (version != CLIENT_PROTOCOL_VERSION)
        return CONCLAVE_VERSION;
    if (count - 1 > CLIENT_OPS_PER_FRAME_MAX)
        return CONCLAVE_TOO_LARGE;
    reader->cursor = cursor;
    reader->left = count - 1;
    return CONCLAVE_OK;
}

/* Begins the next item [a, b, c, ...]: 1 and how many of its fields follow the first three, 0 at a
 * good end of the frame, -1 at a bad one. */
static int item_begin(struct client_reader *reader, uint32_t *ret_more)
{
    struct cursor *cursor = &reader->cursor;
    if (reader->left == 0) {
        if (!cursor_done(cursor))
            cursor_fail(cursor);
        return cursor_ok(cursor) ? 0 : -1;
    }
    reader->left--;
    uint32_t fields = cursor_array(cursor);
    if (fields < 3) {
        cursor_fail(cursor);
        return -1;
    }
    *ret_more = fields - 3;
    return 1;
}

static int item_end(struct client_reader *reader, uint32_t more)
{
    for (; more > 0 && cursor_ok(&reader->cursor); more--)
        cursor_skip(&reader->cursor);
    return cursor_ok(&reader->cursor) ? 1 : -1;
}

static uint64_t read_request_id(struct cursor *cursor)
{
    uint64_t id = cursor_uint(cursor);
    if (id >= CLIENT_ID_LIMIT)
        cursor_fail(cursor);
    return id;
}

/* --- Requests --------------------------------------------------------------------------------- */

int client_request_begin(struct client_reader *reader, const void *data, size_t bytes)
{
    return frame_begin(reader, data, bytes);
}

static bool op_type_known(uint64_t type)
{
    return (type >= CLIENT_OP_PROPOSE && type <= CLIENT_OP_SESSION) || type == CLIENT_OP_MEMBER ||
           (type >= CLIENT_OP_TRANSFER && type <= CLIENT_OP_UNSUBSCRIBE);
}

/* Reads the further field that READ_STALE and its answer have; false if the next one is missing or
 * no integer: then it is one of a later revision. */
static bool read_age(struct cursor *cursor, uint32_t *more, uint64_t *ret)
{
    if (*more == 0)
        return false;
    --*more;
    struct slice raw = cursor_raw(cursor);
    struct cursor field;
    cursor_init(&field, raw.data, raw.bytes);
    uint64_t age = cursor_uint(&field);
    if (!cursor_done(&field))
        return false;
    *ret = age;
    return true;
}

int client_request_next(struct client_reader *reader, struct client_op *ret)
{
    struct cursor *cursor = &reader->cursor;
    uint32_t more;
    int got = item_begin(reader, &more);
    if (got != 1)
        return got;
    struct client_op op = {0};
    op.id = read_request_id(cursor);
    uint64_t type = cursor_uint(cursor);
    op.type = type > UINT32_MAX ? UINT32_MAX : (uint32_t)type;
    if (!op_type_known(type))
        cursor_skip(cursor); /* of a later revision: its body may be anything */
    else if (!cursor_nil(cursor))
        op.body = cursor_bin(cursor);
    uint64_t max_age_ms = 0;
    if (type == CLIENT_OP_READ_STALE && !read_age(cursor, &more, &max_age_ms))
        cursor_fail(cursor);
    op.max_age_ms = max_age_ms > UINT32_MAX ? UINT32_MAX : (uint32_t)max_age_ms;
    got = item_end(reader, more);
    if (got == 1)
        *ret = op;
    return got;
}

void client_request_pack(struct pack *pack, uint32_t count)
{
    ASSERT(count <= CLIENT_OPS_PER_FRAME_MAX);
    pack_array(pack, count + 1);
    pack_uint(pack, CLIENT_PROTOCOL_VERSION);
}

void client_op_pack(struct pack *pack, const struct client_op *op)
{
    ASSERT(op->id < CLIENT_ID_LIMIT);
    pack_array(pack, op->type == CLIENT_OP_READ_STALE ? 4 : 3);
    pack_uint(pack, op->id);
    pack_uint(pack, op->type);
    if (op->type == CLIENT_OP_STATUS || op->type == CLIENT_OP_LEADER ||
        op->type == CLIENT_OP_UNSUBSCRIBE)
        pack_nil(pack);
    else
        pack_bin(pack, op->body.data, op->body.bytes);
    if (op->type == CLIENT_OP_READ_STALE)
        pack_uint(pack, op->max_age_ms);
}

/* --- Replies ---------------------------------------------------------------------------------- */

int client_reply_begin(struct client_reader *reader, const void *data, size_t bytes)
{
    return frame_begin(reader, data, bytes);
}

int client_reply_next(struct client_reader *reader, struct client_reply *ret)
{
    struct cursor *cursor = &reader->cursor;
    uint32_t more;
    int got = item_begin(reader, &more);
    if (got != 1)
        return got;
    struct client_reply reply = {0};
    reply.id = read_request_id(cursor);
    uint64_t code = cursor_uint(cursor);
    if (code > INT32_MAX)
        cursor_fail(cursor);
    reply.code = (int)code;
    reply.body_is_bin = cursor_is_bin(cursor);
    reply.body = reply.body_is_bin ? cursor_bin(cursor) : cursor_raw(cursor);
    reply.aged = read_age(cursor, &more, &reply.age_ms);
    got = item_end(reader, more);
    if (got == 1)
        *ret = reply;
    return got;
}

/* A key of a map: true if it is this one. */
static bool key_is(struct slice key, const char *name)
{
    return key.bytes == strlen(name) && memcmp(key.data, name, key.bytes) == 0;
}

int client_redirect_decode(struct slice body, struct client_redirect *ret)
{
    struct client_redirect redirect = {0};
    struct cursor cursor;
    cursor_init(&cursor, body.data, body.bytes);
    uint32_t pairs = cursor_map(&cursor);
    for (; pairs > 0 && cursor_ok(&cursor); pairs--) {
        struct slice key = cursor_bin(&cursor);
        if (key_is(key, "leader"))
            cursor_text(&cursor, redirect.leader, sizeof redirect.leader);
        else if (key_is(key, "endpoint"))
            cursor_text(&cursor, redirect.endpoint, sizeof redirect.endpoint);
        else if (key_is(key, "term"))
            redirect.term = cursor_uint(&cursor);
        else
            cursor_skip(&cursor);
    }
    if (!cursor_done(&cursor))
        return CONCLAVE_MALFORMED;
    *ret = redirect;
    return CONCLAVE_OK;
}

void client_reply_pack_begin(struct pack *pack, uint32_t count)
{
    ASSERT(count <= CLIENT_OPS_PER_FRAME_MAX);
    pack_array(pack, count + 1);
    pack_uint(pack, CLIENT_PROTOCOL_VERSION);
}

static void reply_pack(struct pack *pack, uint32_t fields, uint64_t id, int code)
{
    ASSERT(code >= 0);
    pack_array(pack, fields);
    pack_uint(pack, id);
    pack_uint(pack, (uint64_t)code);
}

void client_reply_pack_bin(struct pack *pack, uint64_t id, int code, const void *body, size_t bytes)
{
    reply_pack(pack, 3, id, code);
    pack_bin(pack, body, bytes);
}

void client_reply_pack_aged(struct pack *pack, uint64_t id, int code, const void *body,
                            size_t bytes, uint64_t age_ms)
{
    reply_pack(pack, 4, id, code);
    pack_bin(pack, body, bytes);
    pack_uint(pack, age_ms);
}

void client_reply_pack_text(struct pack *pack, uint64_t id, int code, const char *text)
{
    char cut[CLIENT_REPLY_TEXT_BYTES_MAX + 1];
    snprintf(cut, sizeof cut, "%s", text);
    reply_pack(pack, 3, id, code);
    pack_str(pack, cut);
}

void client_reply_pack_redirect(struct pack *pack, uint64_t id, int code,
                                const struct client_redirect *redirect)
{
    reply_pack(pack, 3, id, code);
    pack_map(pack, 3);
    pack_str(pack, "leader");
    pack_str(pack, redirect->leader);
    pack_str(pack, "endpoint");
    pack_str(pack, redirect->endpoint);
    pack_str(pack, "term");
    pack_uint(pack, redirect->term);
}

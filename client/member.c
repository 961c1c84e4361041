#include "codec/member.h"
#include "client/client.h"

#include <stdio.h>
#include <string.h>

static int text_take(char *to, size_t size, const char *from, const char *what,
                     struct conclave_error *error)
{
    int bytes = snprintf(to, size, "%s", from ? from : "");
    if (bytes < 0 || (size_t)bytes >= size)
        return error_set(error, CONCLAVE_INVALID, "the %s is too long", what);
    return CONCLAVE_OK;
}

static int change_take(const struct conclave_member_change *change,
                       struct client_member_change *ret, struct conclave_error *error)
{
    *ret = (struct client_member_change){
        .kind = (enum client_member_kind)change->kind,
        .id = change->id,
        .incarnation = change->incarnation,
        .learner = change->learner,
    };
    int code = text_take(ret->name, sizeof ret->name, change->name, "name", error);
    if (code == CONCLAVE_OK)
        code = text_take(ret->peer, sizeof ret->peer, change->peer, "peer endpoint", error);
    if (code == CONCLAVE_OK)
        code = text_take(ret->client, sizeof ret->client, change->client, "client endpoint", error);
    if (code == CONCLAVE_OK)
        code = text_take(ret->replacement, sizeof ret->replacement, change->replacement,
                         "replacement's name", error);
    if (code == CONCLAVE_OK && ret->name[0] == '\0')
        code = error_set(error, CONCLAVE_INVALID, "which member? a name is needed");
    return code;
}

int conclave_client_change_member(struct conclave_client *client,
                                  const struct conclave_member_change *change, uint32_t timeout_ms,
                                  struct conclave_error *error)
{
    struct client_member_change asked;
    int code = change_take(change, &asked, error);
    if (code != CONCLAVE_OK)
        return code;
    struct buf *body = client_member_encode(&asked);
    struct conclave_op op = {.kind = CONCLAVE_OP_MEMBER,
                             .data = body->data,
                             .bytes = body->bytes,
                             .timeout_ms = timeout_ms};
    code = conclave_client_call(client, &op);
    if (code != CONCLAVE_OK) {
        const char *end = code == CONCLAVE_BUSY ? "; nothing was changed" : "";
        if (op.reply_bytes > 0)
            error_set(error, code, "%.*s%s", (int)op.reply_bytes, (const char *)op.reply, end);
        else
            error_set(error, code, "%s%s", conclave_code_text(code), end);
    }
    conclave_op_release(&op);
    buf_unref(body);
    return code;
}

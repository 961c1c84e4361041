/* client/group.h - what the functions for work groups share: checks, and asking and waiting. The
 * client's thread, or any for the checks. */
#ifndef CLIENT_GROUP_H
#define CLIENT_GROUP_H

#include "client/request.h"
#include "codec/group.h"

CONCLAVE_MUST_USE static inline int group_name_check(struct slice name)
{
    if (name.bytes == 0)
        return CONCLAVE_INVALID;
    return name.bytes > CONCLAVE_GROUP_BYTES_MAX ? CONCLAVE_TOO_LARGE : CONCLAVE_OK;
}

CONCLAVE_MUST_USE static inline int group_names_check(struct slice topic, struct slice group)
{
    int code = group_name_check(topic);
    return code ? code : group_name_check(group);
}

/* Sends what is packed; the caller releases op, whose code this returns. */
static inline int group_call(struct conclave_client *client, enum conclave_op_kind kind,
                             struct pack *pack, uint32_t timeout_ms, struct conclave_op *op)
{
    struct conclave_op wanted = {.kind = kind, .timeout_ms = timeout_ms};
    request_call(client, wanted, pack, op);
    return op->code;
}

#endif

/* Requests that are under way beside others (client/request.h). */
#include "client/client.h"
#include "client/request.h"

void request_start(struct conclave_client *client, struct request *request,
                   enum conclave_op_kind kind, struct pack *pack, uint32_t timeout_ms)
{
    size_t bytes = pack->bytes;
    request->body = pack_take(pack);
    request->started = true;
    request->op = (struct conclave_op){.kind = kind,
                                       .data = request->body->data,
                                       .bytes = bytes,
                                       .timeout_ms = timeout_ms ? timeout_ms : 1};
    int code = client_start(client, &request->op);
    if (code)
        request->op.code = code;
}

bool request_has_ended(const struct request *request)
{
    return request->started && !client_is_under_way(&request->op);
}

void request_clear(struct conclave_client *client, struct request *request)
{
    operation_cancel(client, &request->op);
    conclave_op_release(&request->op);
    buf_unref(request->body);
    *request = (struct request){0};
}

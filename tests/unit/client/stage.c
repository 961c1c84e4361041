#include "stage.h"

#include "codec/watch.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <string.h>
#include <zmq.h>

void stage_open(struct stage *stage, uint32_t timeout_ms)
{
    struct conclave_client_options options;
    struct conclave_error error;
    int none = 0;
    memset(stage, 0, sizeof *stage);
    stage->context = zmq_ctx_new();
    stage->router = zmq_socket(stage->context, ZMQ_ROUTER);
    zmq_setsockopt(stage->router, ZMQ_LINGER, &none, sizeof none);
    zmq_setsockopt(stage->router, ZMQ_SNDHWM, &none, sizeof none);
    zmq_setsockopt(stage->router, ZMQ_RCVHWM, &none, sizeof none);
    cr_assert_eq(zmq_bind(stage->router, "inproc://stage"), 0);
    conclave_client_options_init(&options);
    options.endpoints = "inproc://stage";
    options.zmq_context = stage->context;
    options.sessions = false;
    options.timeout_ms = timeout_ms;
    cr_assert_eq(conclave_client_create(&options, &stage->client, &error), CONCLAVE_OK, "%s",
                 error.message);
}

void stage_close(struct stage *stage)
{
    conclave_client_destroy(stage->client);
    zmq_close(stage->router);
    zmq_ctx_term(stage->context);
}

/* --- Saying ----------------------------------------------------------------------------------- */

static void send_pack(struct stage *stage, const struct stage_op *op, struct pack *pack)
{
    zmq_send(stage->router, op->route, op->route_bytes, ZMQ_SNDMORE);
    zmq_send(stage->router, pack->buf->data, pack->bytes, 0);
    pack_deinit(pack);
}

void stage_reply(struct stage *stage, const struct stage_op *op, int code, const void *body,
                 size_t bytes)
{
    struct pack pack;
    pack_init(&pack, 0);
    client_reply_pack_begin(&pack, 1);
    client_reply_pack_bin(&pack, op->id, code, body, bytes);
    send_pack(stage, op, &pack);
}

static void answer_leader(struct stage *stage, const struct stage_op *op)
{
    struct client_redirect redirect = {.leader = "n1", .endpoint = "inproc://stage", .term = 1};
    struct pack pack;
    pack_init(&pack, 0);
    client_reply_pack_begin(&pack, 1);
    client_reply_pack_redirect(&pack, op->id, CONCLAVE_OK, &redirect);
    send_pack(stage, op, &pack);
}

void stage_frame(struct stage *stage, struct stage_op *op, struct stream_frame frame)
{
    struct pack pack;
    frame.number = ++op->number;
    pack_init(&pack, 0);
    stream_frame_pack(&pack, &frame);
    stage_reply(stage, op, CONCLAVE_OK, pack.buf->data, pack.bytes);
    pack_deinit(&pack);
}

struct slice stage_body(const struct stage_op *op)
{
    return (struct slice){op->body, op->body_bytes};
}

struct stream_subscribe stage_subscribe(const struct stage_op *op)
{
    struct stream_subscribe subscribe;
    cr_assert_eq(stream_subscribe_decode(stage_body(op), &subscribe), CONCLAVE_OK);
    return subscribe;
}

struct stream_credit stage_credit(const struct stage_op *op)
{
    struct stream_credit credit;
    cr_assert_eq(stream_credit_decode(stage_body(op), &credit), CONCLAVE_OK);
    return credit;
}

void stage_begun(struct stage *stage, struct stage_op *op)
{
    uint64_t position = stage_subscribe(op).position;
    stage_frame(stage, op,
                (struct stream_frame){.type = STREAM_BEGUN,
                                      .position = position ? position : 1,
                                      .lifetime_ms = STREAM_LIFETIME_MS});
}

void stage_event(struct stage *stage, struct stage_op *op, uint64_t kind, struct slice key,
                 const char *value, uint64_t revision)
{
    struct watch_event event = {.kind = kind, .key = key, .revision = revision};
    struct pack items;
    if (value) {
        event.value = stage_text(value);
        event.create_revision = revision;
        event.version = 1;
    }
    pack_init(&items, 0);
    watch_event_pack(&items, &event);
    stage_frame(stage, op,
                (struct stream_frame){.type = STREAM_EVENTS,
                                      .position = revision + 1,
                                      .count = 1,
                                      .items = {items.buf->data, items.bytes}});
    pack_deinit(&items);
}

void stage_item(struct stage *stage, struct stage_op *op, struct slice key, const char *value,
                uint64_t revision, uint64_t position, bool more)
{
    struct kv_item item = {.key = key, .mod_revision = revision};
    struct pack items;
    if (value) {
        item.value = stage_text(value);
        item.create_revision = revision;
        item.version = 1;
    }
    pack_init(&items, 0);
    kv_item_pack(&items, &item);
    stage_frame(stage, op,
                (struct stream_frame){.type = STREAM_STATE,
                                      .position = position,
                                      .more = more,
                                      .count = 1,
                                      .items = {items.buf->data, items.bytes}});
    pack_deinit(&items);
}

/* --- Hearing ---------------------------------------------------------------------------------- */

static void take_op(struct stage *stage, const struct stage_op *from, const struct client_op *op)
{
    if (op->type == CLIENT_OP_LEADER) {
        struct stage_op leader = *from;
        leader.id = op->id;
        answer_leader(stage, &leader);
        return;
    }
    cr_assert_lt(stage->count, STAGE_OPS_MAX, "too much was said that nobody listens to");
    cr_assert_leq(op->body.bytes, STAGE_BODY_MAX);
    struct stage_op *taken = &stage->ops[stage->count++];
    *taken = *from;
    taken->id = op->id;
    taken->type = op->type;
    if (op->body.bytes)
        memcpy(taken->body, op->body.data, op->body.bytes);
    taken->body_bytes = op->body.bytes;
}

void stage_turn(struct stage *stage)
{
    uint8_t frame[1 << 17];
    struct stage_op from = {0};
    bool came = false;
    int got;
    if (stage->turn) {
        stage->turn(stage->arg);
    } else {
        struct conclave_op *done;
        cr_assert_eq(conclave_client_poll(stage->client, 0, &done), 0);
    }
    while ((got = zmq_recv(stage->router, from.route, sizeof from.route, ZMQ_DONTWAIT)) > 0) {
        struct client_reader reader;
        struct client_op op;
        size_t before = stage->count;
        came = true;
        from.route_bytes = (size_t)got;
        got = zmq_recv(stage->router, frame, sizeof frame, 0);
        cr_assert(got > 0 && (size_t)got <= sizeof frame);
        cr_assert_eq(client_request_begin(&reader, frame, (size_t)got), CONCLAVE_OK);
        while ((got = client_request_next(&reader, &op)) == 1)
            take_op(stage, &from, &op);
        cr_assert_eq(got, 0);
        stage->frames += stage->count > before;
    }
    (void)poll(NULL, 0, came ? 0 : 1); /* lets ZeroMQ's threads work */
}

static bool find(const struct stage *stage, uint32_t type, size_t *ret_at)
{
    for (*ret_at = 0; *ret_at < stage->count; ++*ret_at)
        if (stage->ops[*ret_at].type == type)
            return true;
    return false;
}

struct stage_op stage_hear(struct stage *stage, uint32_t type)
{
    size_t at = 0;
    STAGE_UNTIL(stage, find(stage, type, &at));
    struct stage_op op = stage->ops[at];
    stage->count--;
    memmove(&stage->ops[at], &stage->ops[at + 1], (stage->count - at) * sizeof op);
    return op;
}

size_t stage_count(const struct stage *stage, uint32_t type)
{
    size_t count = 0;
    for (size_t i = 0; i < stage->count; i++)
        count += stage->ops[i].type == type;
    return count;
}

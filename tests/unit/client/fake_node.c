#include "fake_node.h"

#include "codec/session.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <zmq.h>

void fake_name(struct fake_node *node, const struct fake_node *leader, uint64_t term)
{
    memset(&node->redirect, 0, sizeof node->redirect);
    node->redirect.term = term;
    if (!leader)
        return;
    memcpy(node->redirect.leader, leader->status.name, sizeof node->redirect.leader);
    snprintf(node->redirect.endpoint, sizeof node->redirect.endpoint, "%s", leader->endpoint);
}

void fake_leader(struct fake_cluster *cluster, int node, uint64_t term)
{
    for (size_t i = 0; i < cluster->node_count; i++)
        fake_name(cluster->nodes[i], node < 0 ? NULL : cluster->nodes[node], term);
}

void fake_cluster_init(struct fake_cluster *cluster, size_t count)
{
    memset(cluster, 0, sizeof *cluster);
    cluster->context = zmq_ctx_new();
    cluster->node_count = count;
    for (size_t i = 0; i < count; i++) {
        struct fake_node *node = calloc(1, sizeof *node);
        cluster->nodes[i] = node;
        snprintf(node->endpoint, sizeof node->endpoint, "inproc://n%zu", i + 1);
        snprintf(node->status.name, sizeof node->status.name, "n%zu", i + 1);
        node->status.id = i + 1;
        node->router = zmq_socket(cluster->context, ZMQ_ROUTER);
        int none = 0;
        zmq_setsockopt(node->router, ZMQ_LINGER, &none, sizeof none);
        zmq_setsockopt(node->router, ZMQ_SNDHWM, &none, sizeof none);
        zmq_setsockopt(node->router, ZMQ_RCVHWM, &none, sizeof none);
        cr_assert_eq(zmq_bind(node->router, node->endpoint), 0);
    }
    fake_leader(cluster, 0, 1);
}

void fake_cluster_deinit(struct fake_cluster *cluster)
{
    conclave_client_destroy(cluster->client);
    for (size_t i = 0; i < cluster->node_count; i++) {
        zmq_close(cluster->nodes[i]->router);
        free(cluster->nodes[i]);
    }
    zmq_ctx_term(cluster->context);
}

static void client_create(struct fake_cluster *cluster, size_t first, size_t count, bool sessions)
{
    char endpoints[512] = "";
    for (size_t i = first; i < first + count; i++) {
        size_t at = strlen(endpoints);
        snprintf(endpoints + at, sizeof endpoints - at, "%s%s", i > first ? "," : "",
                 cluster->nodes[i]->endpoint);
    }
    struct conclave_client_options options;
    conclave_client_options_init(&options);
    options.endpoints = endpoints;
    options.zmq_context = cluster->context;
    options.sessions = sessions;
    struct conclave_error error;
    cr_assert_eq(conclave_client_create(&options, &cluster->client, &error), CONCLAVE_OK);
}

void fake_client(struct fake_cluster *cluster, size_t first, size_t count)
{
    client_create(cluster, first, count, false);
}

void fake_session_client(struct fake_cluster *cluster, size_t first, size_t count)
{
    client_create(cluster, first, count, true);
}

/* --- A node ---------------------------------------------------------------------------------- */

void fake_send(struct fake_node *node, const void *data, size_t bytes)
{
    zmq_send(node->router, node->client_id, node->client_id_bytes, ZMQ_SNDMORE);
    zmq_send(node->router, data, bytes, 0);
}

static void send_pack(struct fake_node *node, struct pack *pack)
{
    struct buf *buf = pack_take(pack);
    fake_send(node, buf->data, buf->bytes);
    buf_unref(buf);
}

static void reply_bin(struct fake_node *node, uint64_t id, int code, const void *body, size_t bytes)
{
    struct pack pack;
    pack_init(&pack, 64);
    client_reply_pack_begin(&pack, 1);
    client_reply_pack_bin(&pack, id, code, body, bytes);
    send_pack(node, &pack);
}

void fake_answer_refusal(struct fake_node *node, uint64_t id, int code)
{
    struct pack pack;
    pack_init(&pack, 64);
    client_reply_pack_begin(&pack, 1);
    if (code == CONCLAVE_NOT_LEADER || code == CONCLAVE_NO_LEADER || code == CONCLAVE_OK)
        client_reply_pack_redirect(&pack, id, code, &node->redirect);
    else
        client_reply_pack_text(&pack, id, code, "refused by the test");
    send_pack(node, &pack);
}

void fake_answer(struct fake_node *node, size_t i, int code, const char *body)
{
    reply_bin(node, node->held[i].id, code, body, strlen(body));
}

static void answer_status(struct fake_node *node, uint64_t id)
{
    struct buf *body = client_status_encode(&node->status);
    reply_bin(node, id, CONCLAVE_OK, body->data, body->bytes);
    buf_unref(body);
}

static void hold(struct fake_node *node, const struct client_op *op)
{
    cr_assert(node->held_count < FAKE_HELD_MAX);
    struct fake_held *held = &node->held[node->held_count++];
    held->id = op->id;
    held->type = op->type;
    size_t kept = op->body.bytes < sizeof held->body ? op->body.bytes : sizeof held->body - 1;
    memcpy(held->body, op->body.data, kept);
    held->body[kept] = '\0';
}

static void serve_work(struct fake_node *node, const struct client_op *op)
{
    node->op_count++;
    if (node->mode == FAKE_OK)
        reply_bin(node, op->id, CONCLAVE_OK, op->body.data, op->body.bytes);
    else if (node->mode == FAKE_REFUSE)
        fake_answer_refusal(node, op->id, node->refusal);
    else
        hold(node, op);
}

static void open_session(struct fake_node *node, uint64_t id)
{
    struct session_opened opened = {.session = 100 + ++node->opened,
                                    .lifetime_ms = node->lifetime_ms ? node->lifetime_ms : 60000,
                                    .window = node->window ? node->window : 4096};
    struct pack pack;
    pack_init(&pack, 64);
    session_opened_pack(&pack, &opened);
    reply_bin(node, id, CONCLAVE_OK, pack.buf->data, pack.bytes);
    pack_deinit(&pack);
}

static void serve_session(struct fake_node *node, const struct client_op *op)
{
    struct session_request request;
    cr_assert_eq(session_request_decode(op->body.data, op->body.bytes, &request), CONCLAVE_OK);
    switch (request.opcode) {
    case SESSION_OPEN:
        if (node->mode == FAKE_REFUSE)
            fake_answer_refusal(node, op->id, node->refusal);
        else
            open_session(node, op->id);
        return;
    case SESSION_COMMAND: {
        if (request.session <= node->expired) {
            fake_answer_refusal(node, op->id, CONCLAVE_SESSION_EXPIRED);
            return;
        }
        struct client_op command = {
            .id = op->id, .type = CLIENT_OP_SESSION, .body = request.command};
        size_t held = node->held_count;
        serve_work(node, &command);
        if (node->held_count > held) {
            node->held[held].session = request.session;
            node->held[held].sequence = request.sequence;
            node->held[held].acknowledged = request.acknowledged;
        }
        return;
    }
    case SESSION_KEEP_ALIVE:
        node->kept_alive++;
        if (request.session <= node->expired)
            fake_answer_refusal(node, op->id, CONCLAVE_SESSION_EXPIRED);
        else
            reply_bin(node, op->id, CONCLAVE_OK, "", 0);
        return;
    case SESSION_CLOSE:
    case SESSION_CLOCK:
        break;
    }
    cr_assert_eq(request.opcode, SESSION_CLOSE);
}

static void serve_op(struct fake_node *node, const struct client_op *op)
{
    if (op->type == CLIENT_OP_SESSION) {
        serve_session(node, op);
        return;
    }
    if (op->type == CLIENT_OP_LEADER) {
        node->leader_count++;
        fake_answer_refusal(node, op->id, CONCLAVE_OK);
        return;
    }
    if (op->type == CLIENT_OP_STATUS) {
        if (node->status_busy > 0) {
            node->status_busy--;
            fake_answer_refusal(node, op->id, CONCLAVE_BUSY);
        } else if (node->answers_status) {
            answer_status(node, op->id);
        }
        return;
    }
    serve_work(node, op);
}

static void serve_frame(struct fake_node *node, zmq_msg_t *msg)
{
    struct client_reader reader;
    struct client_op op;
    uint32_t count = 0;
    int got;
    cr_assert_eq(client_request_begin(&reader, zmq_msg_data(msg), zmq_msg_size(msg)), CONCLAVE_OK);
    size_t before = node->op_count;
    while ((got = client_request_next(&reader, &op)) == 1) {
        serve_op(node, &op);
        count++;
    }
    cr_assert_eq(got, 0, "the client sent a malformed frame");
    node->frame_count += node->op_count > before;
    if (count > node->frame_ops_max)
        node->frame_ops_max = count;
    if (zmq_msg_size(msg) > node->frame_bytes_max)
        node->frame_bytes_max = zmq_msg_size(msg);
}

void fake_serve(struct fake_cluster *cluster)
{
    for (size_t i = 0; i < cluster->node_count; i++) {
        struct fake_node *node = cluster->nodes[i];
        while (node->mode != FAKE_DEAF) {
            int bytes =
                zmq_recv(node->router, node->client_id, sizeof node->client_id, ZMQ_DONTWAIT);
            if (bytes < 0)
                break;
            node->client_id_bytes = (size_t)bytes;
            zmq_msg_t msg;
            zmq_msg_init(&msg);
            zmq_msg_recv(&msg, node->router, 0);
            serve_frame(node, &msg);
            zmq_msg_close(&msg);
        }
    }
}

size_t fake_run(struct fake_cluster *cluster, size_t count, struct conclave_op **ret_done)
{
    struct conclave_op *first = NULL, **tail = &first;
    size_t done = 0;
    for (int turns = 0; done < count && turns < 20000; turns++) {
        done += conclave_client_poll(cluster->client, 1, tail);
        while (*tail)
            tail = &(*tail)->next;
        fake_serve(cluster);
    }
    if (ret_done)
        *ret_done = first;
    return done;
}

struct conclave_op fake_op(enum conclave_op_kind kind, const char *body, uint32_t timeout_ms)
{
    struct conclave_op op = {
        .kind = kind, .data = body, .bytes = strlen(body), .timeout_ms = timeout_ms};
    return op;
}

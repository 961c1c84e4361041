/* The examples of docs/protocol.md, byte by byte. */
#include "../../fuzz/samples.h"
#include "codec/session.h"

#include <criterion/criterion.h>

static const struct peer_identity node_161 = {0x1122334455667788, 161, 153};
static const struct peer_identity node_178 = {0x1122334455667788, 178, 0x77};

/* Compares with the bytes of the example and drops the frame. */
static void expect(struct buf *frame, const char *bytes, size_t count)
{
    cr_assert_eq(frame->bytes, count, "%zu bytes, not %zu", frame->bytes, count);
    cr_assert_arr_eq(frame->data, bytes, count);
    buf_unref(frame);
}
#define EXPECT(frame, text) expect(frame, text, sizeof(text) - 1)

static struct buf *encode(const struct peer_identity *identity, struct raft_message *message)
{
    struct buf *frame = peer_encode_raft(identity, message);
    raft_message_destroy(message);
    return frame;
}

Test(documented, request)
{
    struct pack pack;
    pack_init(&pack, 0);
    client_request_pack(&pack, 2);
    client_op_pack(&pack, &(struct client_op){7, CLIENT_OP_PROPOSE, {(const uint8_t *)"hi", 2}, 0});
    client_op_pack(&pack, &(struct client_op){8, CLIENT_OP_LEADER, {0}, 0});
    EXPECT(pack_take(&pack), "\x93\x01\x93\x07\x01\xc4\x02\x68\x69\x93\x08\x04\xc0");
}

Test(documented, reply)
{
    static const struct client_redirect redirect = {
        .leader = "n1", .endpoint = "tcp://127.0.0.1:7501", .term = 3};
    struct pack pack;
    pack_init(&pack, 0);
    client_reply_pack_begin(&pack, 2);
    client_reply_pack_redirect(&pack, 8, CONCLAVE_OK, &redirect);
    client_reply_pack_bin(&pack, 7, CONCLAVE_OK, "ok", 2);
    EXPECT(pack_take(&pack),
           "\x93\x01\x93\x08\x00\x83\xa6\x6c\x65\x61\x64\x65\x72\xa2\x6e\x31\xa8\x65\x6e\x64\x70"
           "\x6f\x69\x6e\x74\xb4\x74\x63\x70\x3a\x2f\x2f\x31\x32\x37\x2e\x30\x2e\x30\x2e\x31\x3a"
           "\x37\x35\x30\x31\xa4\x74\x65\x72\x6d\x03\x93\x07\x00\xc4\x02\x6f\x6b");
}

Test(documented, hello)
{
    static const struct peer_hello hello = {
        .name = "n1", .client = "tcp://127.0.0.1:7501", .peer = "tcp://127.0.0.1:7401"};
    EXPECT(peer_encode_hello(&node_161, 178, &hello),
           "\x9a\x01\x00\xcf\x11\x22\x33\x44\x55\x66\x77\x88\xcc\xa1\xcc\xb2\xcc\x99\x02\xa2\x6e"
           "\x31\xb4\x74\x63\x70\x3a\x2f\x2f\x31\x32\x37\x2e\x30\x2e\x30\x2e\x31\x3a\x37\x35\x30"
           "\x31\xb4\x74\x63\x70\x3a\x2f\x2f\x31\x32\x37\x2e\x30\x2e\x30\x2e\x31\x3a\x37\x34\x30"
           "\x31");
    EXPECT(peer_encode_refused(&node_161, 178, PEER_REFUSAL_INCARNATION),
           "\x98\x01\x00\xcf\x11\x22\x33\x44\x55\x66\x77\x88\xcc\xa1\xcc\xb2\xcc\x99\x03\x01");
}

Test(documented, audit)
{
    static const struct audit_mark mark = {1024, 0x0123456789abcdef};
    EXPECT(peer_encode_audit(&node_161, 178, &mark, 1),
           "\x98\x01\x00\xcf\x11\x22\x33\x44\x55\x66\x77\x88\xcc\xa1\xcc\xb2\xcc\x99\x06\x92\xcd"
           "\x04\x00\xcf\x01\x23\x45\x67\x89\xab\xcd\xef");
}

Test(documented, append_request)
{
    struct raft_message *message = raft_message_create(RAFT_APPEND_REQUEST, 161, 178, 3);
    message->append_request.prev = (struct raft_id){2, 7};
    message->append_request.commit = 6;
    message->append_request.round = 4;
    sample_add_entry(message, 3, RAFT_ENTRY_NOOP, NULL, 0);
    sample_add_entry(message, 3, RAFT_ENTRY_COMMAND, "hi", 2);
    EXPECT(encode(&node_161, message),
           "\x9e\x01\x00\xcf\x11\x22\x33\x44\x55\x66\x77\x88\xcc\xa1\xcc\xb2\xcc\x99\x01\x05\x03"
           "\x02\x07\x06\x04\x92\x93\x03\x00\xc4\x00\x93\x03\x01\xc4\x02\x68\x69");
}

Test(documented, append_response)
{
    struct raft_message *message = raft_message_create(RAFT_APPEND_RESPONSE, 178, 161, 3);
    message->append_response = (struct raft_append_response){
        .result = RAFT_APPEND_ACCEPTED, .match = 9, .last_index = 9, .round = 4, .priority = 100};
    message->append_response.life = 12;
    message->append_response.promise_us = 500000;
    EXPECT(encode(&node_178, message),
           "\xdc\x00\x13\x01\x00\xcf\x11\x22\x33\x44\x55\x66\x77\x88\xcc\xb2\xcc\xa1\x77\x01\x06"
           "\x03\x01\x09\x00\x00\x00\x09\x04\x64\x0c\xce\x00\x07\xa1\x20");
}

Test(documented, vote)
{
    struct raft_message *request = raft_message_create(RAFT_VOTE_REQUEST, 161, 178, 4);
    request->vote_request.last = (struct raft_id){3, 9};
    EXPECT(encode(&node_161, request),
           "\x9c\x01\x00\xcf\x11\x22\x33\x44\x55\x66\x77\x88\xcc\xa1\xcc\xb2\xcc\x99\x01\x03\x04"
           "\x03\x09\xc2");
    struct raft_message *response = raft_message_create(RAFT_VOTE_RESPONSE, 178, 161, 4);
    response->vote_response.granted = true;
    response->vote_response.campaign_term = 4;
    response->vote_response.incarnation = 153;
    EXPECT(encode(&node_178, response),
           "\x9c\x01\x00\xcf\x11\x22\x33\x44\x55\x66\x77\x88\xcc\xb2\xcc\xa1\x77\x01\x04\x04\xc3"
           "\x04\xcc\x99");
}

Test(documented, session)
{
    struct pack pack;
    pack_init(&pack, 0);
    struct session_request request = {.opcode = SESSION_OPEN};
    pack_array(&pack, 3);
    pack_uint(&pack, 5);
    pack_uint(&pack, CLIENT_OP_SESSION);
    session_request_pack_bin(&pack, &request);
    EXPECT(pack_take(&pack), "\x93\x05\x05\xc4\x02\x91\x01");

    pack_init(&pack, 0);
    request = (struct session_request){.opcode = SESSION_COMMAND,
                                       .session = 300,
                                       .sequence = 7,
                                       .acknowledged = 5,
                                       .command = {(const uint8_t *)"hi", 2}};
    pack_array(&pack, 3);
    pack_uint(&pack, 6);
    pack_uint(&pack, CLIENT_OP_SESSION);
    session_request_pack_bin(&pack, &request);
    EXPECT(pack_take(&pack), "\x93\x06\x05\xc4\x0b\x95\x02\xcd\x01\x2c\x07\x05\xc4\x02\x68\x69");

    pack_init(&pack, 0);
    session_opened_pack(&pack, &(struct session_opened){300, 60000, 4096});
    EXPECT(pack_take(&pack), "\x93\xcd\x01\x2c\xcd\xea\x60\xcd\x10\x00");
}

Test(documented, timeout_now)
{
    struct raft_message *call = raft_message_create(RAFT_TIMEOUT_NOW, 178, 161, 4);
    call->timeout_now.incarnation = 153;
    EXPECT(encode(&node_178, call),
           "\x9a\x01\x00\xcf\x11\x22\x33\x44\x55\x66\x77\x88\xcc\xb2\xcc\xa1\x77\x01\x0b\x04\xcc"
           "\x99");
}

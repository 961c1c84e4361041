#include "../../fuzz/samples.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BEGIN(reader, text) client_request_begin(reader, text, sizeof(text) - 1)
#define BEGIN_REPLY(reader, text) client_reply_begin(reader, text, sizeof(text) - 1)

static bool slice_is(struct slice slice, const char *text)
{
    return slice.bytes == strlen(text) && memcmp(slice.data, text, slice.bytes) == 0;
}

/* --- Requests --------------------------------------------------------------------------------- */

Test(client, carries_many_operations_in_a_frame)
{
    struct pack pack;
    pack_init(&pack, 0);
    client_request_pack(&pack, CLIENT_OPS_PER_FRAME_MAX);
    for (uint64_t i = 0; i < CLIENT_OPS_PER_FRAME_MAX; i++) {
        struct client_op op = {i * i, i % 2 ? CLIENT_OP_READ : CLIENT_OP_PROPOSE, {0}, 0};
        char text[16];
        op.body.bytes = (size_t)snprintf(text, sizeof text, "%lu", (unsigned long)i);
        op.body.data = (const uint8_t *)text;
        client_op_pack(&pack, &op);
    }
    struct buf *frame = pack_take(&pack);
    struct client_reader reader;
    cr_assert_eq(client_request_begin(&reader, frame->data, frame->bytes), CONCLAVE_OK);
    struct client_op op;
    for (uint64_t i = 0; i < CLIENT_OPS_PER_FRAME_MAX; i++) {
        cr_assert_eq(client_request_next(&reader, &op), 1);
        char text[16];
        snprintf(text, sizeof text, "%lu", (unsigned long)i);
        cr_assert_eq(op.id, i * i);
        cr_assert_eq(op.type, i % 2 ? CLIENT_OP_READ : CLIENT_OP_PROPOSE);
        cr_assert(slice_is(op.body, text));
    }
    cr_assert_eq(client_request_next(&reader, &op), 0);
    cr_assert_eq(client_request_next(&reader, &op), 0);
    buf_unref(frame);
}

Test(client, refuses_more_operations_than_a_frame_may_hold)
{
    struct pack pack;
    pack_init(&pack, 0);
    pack_array(&pack, CLIENT_OPS_PER_FRAME_MAX + 2);
    pack_uint(&pack, CLIENT_PROTOCOL_VERSION);
    for (int i = 0; i <= CLIENT_OPS_PER_FRAME_MAX; i++)
        client_op_pack(&pack, &(struct client_op){1, CLIENT_OP_LEADER, {0}, 0});
    struct client_reader reader;
    cr_assert_eq(client_request_begin(&reader, pack.buf->data, pack.bytes), CONCLAVE_TOO_LARGE);
    pack_deinit(&pack);
}

Test(client, refuses_frames_over_the_limit)
{
    uint8_t *zeros = calloc(1, CLIENT_FRAME_BYTES_MAX + 1);
    struct client_reader reader;
    cr_assert_eq(client_request_begin(&reader, zeros, CLIENT_FRAME_BYTES_MAX + 1),
                 CONCLAVE_TOO_LARGE);
    cr_assert_eq(client_reply_begin(&reader, zeros, CLIENT_FRAME_BYTES_MAX + 1),
                 CONCLAVE_TOO_LARGE);
    free(zeros);
}

Test(client, refuses_other_versions_whatever_follows)
{
    struct client_reader reader;
    cr_assert_eq(BEGIN(&reader, "\x92\x02\xc0"), CONCLAVE_VERSION);
    cr_assert_eq(BEGIN(&reader, "\x91\x00"), CONCLAVE_VERSION);
    cr_assert_eq(BEGIN_REPLY(&reader, "\x92\x02\xc0"), CONCLAVE_VERSION);
}

Test(client, refuses_what_is_no_frame)
{
    struct client_reader reader;
    cr_assert_eq(BEGIN(&reader, ""), CONCLAVE_MALFORMED);
    cr_assert_eq(BEGIN(&reader, "\x90"), CONCLAVE_MALFORMED);
    cr_assert_eq(BEGIN(&reader, "\x01"), CONCLAVE_MALFORMED);
    cr_assert_eq(BEGIN(&reader, "\x91\xa1x"), CONCLAVE_MALFORMED);
    cr_assert_eq(BEGIN(&reader, "\xdd\xff\xff\xff\xff"), CONCLAVE_MALFORMED);
    cr_assert_eq(BEGIN(&reader, "GET / HTTP/1.1\r\n\r\n"), CONCLAVE_MALFORMED);
}

Test(client, takes_a_request_without_operations)
{
    struct client_reader reader;
    struct client_op op;
    cr_assert_eq(BEGIN(&reader, "\x91\x01"), CONCLAVE_OK);
    cr_assert_eq(client_request_next(&reader, &op), 0);
    cr_assert_eq(BEGIN(&reader, "\x91\x01\x00"), CONCLAVE_OK);
    cr_assert_eq(client_request_next(&reader, &op), -1);
    cr_assert_eq(client_request_next(&reader, &op), -1);
}

Test(client, keeps_what_stands_before_a_malformed_operation)
{
    struct client_reader reader;
    struct client_op op = {0};
    cr_assert_eq(BEGIN(&reader, "\x93\x01\x93\x07\x01\xc4\x01x\x93\x08\x01"), CONCLAVE_OK);
    cr_assert_eq(client_request_next(&reader, &op), 1);
    cr_assert_eq(op.id, 7);
    cr_assert_eq(client_request_next(&reader, &op), -1);
    cr_assert_eq(op.id, 7);
    cr_assert_eq(client_request_next(&reader, &op), -1);
}

Test(client, refuses_operations_of_another_form)
{
    static const struct {
        const char *data;
        size_t bytes;
    } bad[] = {{"\x92\x01\x92\x07\x01", 5},                                      /* no body */
               {"\x92\x01\x93\xff\x01\xc0", 6},                                  /* id -1 */
               {"\x92\x01\x93\xcf\x00\x20\x00\x00\x00\x00\x00\x00\x01\xc0", 14}, /* id 2^53 */
               {"\x92\x01\x93\xa1x\x01\xc0", 7},                                 /* id a text */
               {"\x92\x01\x93\x07\xa1x\xc0", 7},                                 /* type a text */
               {"\x92\x01\x93\x07\x01\x05", 6},                                  /* body 5 */
               {"\x92\x01\x93\x07\x01\x81\x01\x02", 8}};                         /* body a map */
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct client_reader reader;
        struct client_op op;
        cr_assert_eq(client_request_begin(&reader, bad[i].data, bad[i].bytes), CONCLAVE_OK);
        cr_assert_eq(client_request_next(&reader, &op), -1, "operation %zu", i);
    }
}

Test(client, is_liberal_where_languages_are)
{
    static const struct {
        const char *data;
        size_t bytes;
    } forms[] = {
        {"\x92\x01\x93\x07\x01\xa4"
         "body",
         10}, /* str */
        {"\x92\x01\x93\x07\x01\xd9\x04"
         "body",
         11}, /* str 8 */
        {"\xdc\x00\x02\xcc\x01\xdd\x00\x00\x00\x03\xd0\x07\xd2\x00\x00\x00\x01"
         "\xc6\x00\x00\x00\x04"
         "body",
         26}, /* wide headers */
        {"\x92\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00"
         "\x93\xcb\x40\x1c\x00\x00\x00\x00\x00\x00\xd3\x00\x00\x00\x00\x00\x00\x00\x01"
         "\xc4\x04"
         "body",
         35}, /* floats */
        {"\x92\x01\x95\x07\x01\xc4\x04"
         "body"
         "\xc0\x81\x01\x02",
         15}, /* more fields */
    };
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        struct client_reader reader;
        struct client_op op;
        cr_assert_eq(client_request_begin(&reader, forms[i].data, forms[i].bytes), CONCLAVE_OK);
        cr_assert_eq(client_request_next(&reader, &op), 1, "form %zu", i);
        cr_assert_eq(op.id, 7);
        cr_assert_eq(op.type, CLIENT_OP_PROPOSE);
        cr_assert(slice_is(op.body, "body"));
        cr_assert_eq(client_request_next(&reader, &op), 0, "form %zu", i);
    }
}

Test(client, hands_out_unknown_types_with_any_body)
{
    struct client_reader reader;
    struct client_op op;
    cr_assert_eq(BEGIN(&reader, "\x95\x01\x93\x01\x06\x81\x01\x02\x93\x02\x00\xc4\x01x"
                                "\x93\x03\xcf\x00\x00\x00\x01\x00\x00\x00\x01\xc0\x93\x04\x04\xc0"),
                 CONCLAVE_OK);
    static const uint32_t types[] = {6, 0, UINT32_MAX, CLIENT_OP_LEADER};
    for (uint64_t i = 0; i < 4; i++) {
        cr_assert_eq(client_request_next(&reader, &op), 1);
        cr_assert_eq(op.id, i + 1);
        cr_assert_eq(op.type, types[i]);
        cr_assert_eq(op.body.bytes, 0);
    }
    cr_assert_eq(client_request_next(&reader, &op), 0);
}

Test(client, overhead_of_an_operation_is_what_it_says)
{
    struct client_op op = {(UINT64_C(1) << 53) - 1, UINT32_MAX - 1, {0}, 0};
    op.body.bytes = 70000;
    op.body.data = calloc(1, op.body.bytes);
    struct pack pack;
    pack_init(&pack, 0);
    client_op_pack(&pack, &op);
    cr_assert_leq(pack.bytes, op.body.bytes + CLIENT_OP_OVERHEAD_BYTES);
    size_t before = pack.bytes;
    client_reply_pack_bin(&pack, op.id, INT32_MAX, op.body.data, op.body.bytes);
    cr_assert_leq(pack.bytes - before, op.body.bytes + CLIENT_OP_OVERHEAD_BYTES);
    pack_deinit(&pack);
    free((void *)(uintptr_t)op.body.data);
}

/* --- Replies ---------------------------------------------------------------------------------- */

Test(client, carries_replies_of_every_form)
{
    struct client_redirect redirect = {.leader = "n2", .endpoint = "tcp://h:1", .term = 9}, got;
    struct pack pack;
    pack_init(&pack, 0);
    client_reply_pack_begin(&pack, 4);
    client_reply_pack_bin(&pack, 1, CONCLAVE_OK, "answer", 6);
    client_reply_pack_bin(&pack, (UINT64_C(1) << 53) - 1, CONCLAVE_COMPARE_FAILED, NULL, 0);
    client_reply_pack_text(&pack, 3, CONCLAVE_BUSY, "later");
    client_reply_pack_redirect(&pack, 4, CONCLAVE_NOT_LEADER, &redirect);
    struct buf *frame = pack_take(&pack);

    struct client_reader reader;
    struct client_reply reply;
    cr_assert_eq(client_reply_begin(&reader, frame->data, frame->bytes), CONCLAVE_OK);
    cr_assert_eq(client_reply_next(&reader, &reply), 1);
    cr_assert(reply.id == 1 && reply.code == CONCLAVE_OK && reply.body_is_bin);
    cr_assert(slice_is(reply.body, "answer"));
    cr_assert_eq(client_reply_next(&reader, &reply), 1);
    cr_assert_eq(reply.id, (UINT64_C(1) << 53) - 1);
    cr_assert(reply.code == CONCLAVE_COMPARE_FAILED && reply.body_is_bin);
    cr_assert_eq(reply.body.bytes, 0);
    cr_assert_eq(client_reply_next(&reader, &reply), 1);
    cr_assert(reply.id == 3 && reply.code == CONCLAVE_BUSY && !reply.body_is_bin);
    cr_assert(slice_is(reply.body, "\xa5later"));
    cr_assert_eq(client_reply_next(&reader, &reply), 1);
    cr_assert(reply.id == 4 && reply.code == CONCLAVE_NOT_LEADER && !reply.body_is_bin);
    cr_assert_eq(client_redirect_decode(reply.body, &got), CONCLAVE_OK);
    cr_assert_str_eq(got.leader, "n2");
    cr_assert_str_eq(got.endpoint, "tcp://h:1");
    cr_assert_eq(got.term, 9);
    cr_assert_eq(client_reply_next(&reader, &reply), 0);
    buf_unref(frame);
}

Test(client, cuts_explanations_that_are_too_long)
{
    char longer[1000];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    struct pack pack;
    pack_init(&pack, 0);
    client_reply_pack_begin(&pack, 1);
    client_reply_pack_text(&pack, 1, CONCLAVE_INVALID, longer);
    struct client_reader reader;
    struct client_reply reply;
    cr_assert_eq(client_reply_begin(&reader, pack.buf->data, pack.bytes), CONCLAVE_OK);
    cr_assert_eq(client_reply_next(&reader, &reply), 1);
    cr_assert_eq(reply.body.bytes, 2 + CLIENT_REPLY_TEXT_BYTES_MAX);
    pack_deinit(&pack);
}

Test(client, hands_out_codes_that_it_does_not_know)
{
    struct client_reader reader;
    struct client_reply reply;
    cr_assert_eq(BEGIN_REPLY(&reader, "\x92\x01\x93\x01\xcd\x03\xe8\xc0"), CONCLAVE_OK);
    cr_assert_eq(client_reply_next(&reader, &reply), 1);
    cr_assert_eq(reply.code, 1000);
    cr_assert_eq(BEGIN_REPLY(&reader, "\x92\x01\x93\x01\xce\x80\x00\x00\x00\xc0"), CONCLAVE_OK);
    cr_assert_eq(client_reply_next(&reader, &reply), -1);
    cr_assert_eq(BEGIN_REPLY(&reader, "\x92\x01\x93\x01\xff\xc0"), CONCLAVE_OK);
    cr_assert_eq(client_reply_next(&reader, &reply), -1);
}

Test(client, reads_redirects_of_later_revisions_and_without_a_leader)
{
    struct client_redirect redirect;
    static const char more[] = "\x83\xa4term\x05\xa3new\x92\x01\x02\xa6leader\xa2n1";
    cr_assert_eq(
        client_redirect_decode((struct slice){(const uint8_t *)more, sizeof more - 1}, &redirect),
        CONCLAVE_OK);
    cr_assert_str_eq(redirect.leader, "n1");
    cr_assert_str_eq(redirect.endpoint, "");
    cr_assert_eq(redirect.term, 5);
    cr_assert_eq(client_redirect_decode((struct slice){(const uint8_t *)"\x80", 1}, &redirect),
                 CONCLAVE_OK);
    cr_assert_str_eq(redirect.leader, "");
    cr_assert_eq(client_redirect_decode((struct slice){(const uint8_t *)"\xc0", 1}, &redirect),
                 CONCLAVE_MALFORMED);
}

/* --- Stale reads ------------------------------------------------------------------------------ */

Test(client, carries_the_age_that_a_stale_read_allows_and_has)
{
    struct pack pack;
    pack_init(&pack, 0);
    client_request_pack(&pack, 1);
    struct client_op op = {5, CLIENT_OP_READ_STALE, {(const uint8_t *)"q", 1}, 1500};
    client_op_pack(&pack, &op);
    struct buf *frame = pack_take(&pack);
    struct client_reader reader;
    cr_assert_eq(client_request_begin(&reader, frame->data, frame->bytes), CONCLAVE_OK);
    struct client_op got;
    cr_assert_eq(client_request_next(&reader, &got), 1);
    cr_assert_eq(got.type, CLIENT_OP_READ_STALE);
    cr_assert_eq(got.max_age_ms, 1500);
    cr_assert_eq(got.body.bytes, 1);
    cr_assert_eq(client_request_next(&reader, &got), 0);
    buf_unref(frame);

    pack_init(&pack, 0);
    client_reply_pack_begin(&pack, 2);
    client_reply_pack_aged(&pack, 5, CONCLAVE_OK, "a", 1, 0);
    client_reply_pack_bin(&pack, 6, CONCLAVE_OK, "b", 1);
    frame = pack_take(&pack);
    struct client_reply reply;
    cr_assert_eq(client_reply_begin(&reader, frame->data, frame->bytes), CONCLAVE_OK);
    cr_assert_eq(client_reply_next(&reader, &reply), 1);
    cr_assert(reply.aged && reply.age_ms == 0 && reply.body_is_bin && reply.body.bytes == 1);
    cr_assert_eq(client_reply_next(&reader, &reply), 1);
    cr_assert(!reply.aged);
    buf_unref(frame);
}

Test(client, a_lease_read_is_shaped_as_a_read)
{
    struct pack pack;
    pack_init(&pack, 0);
    client_request_pack(&pack, 1);
    struct client_op op = {5, CLIENT_OP_READ_LEASE, {(const uint8_t *)"q", 1}, 0};
    client_op_pack(&pack, &op);
    struct buf *frame = pack_take(&pack);
    static const uint8_t expected[] = "\x92\x01\x93\x05\x0d\xc4\x01q";
    cr_assert_eq(frame->bytes, sizeof expected - 1);
    cr_assert_arr_eq(frame->data, expected, sizeof expected - 1);
    struct client_reader reader;
    struct client_op got;
    cr_assert_eq(client_request_begin(&reader, frame->data, frame->bytes), CONCLAVE_OK);
    cr_assert_eq(client_request_next(&reader, &got), 1);
    cr_assert_eq(got.type, CLIENT_OP_READ_LEASE);
    cr_assert_eq(got.body.bytes, 1);
    buf_unref(frame);
}

Test(client, a_stale_read_must_say_how_old_the_answer_may_be)
{
    struct client_reader reader;
    struct client_op op;
    cr_assert_eq(BEGIN(&reader, "\x92\x01\x93\x01\x0c\xc4\x01x"), CONCLAVE_OK);
    cr_assert_eq(client_request_next(&reader, &op), -1);
    cr_assert_eq(BEGIN(&reader, "\x92\x01\x94\x01\x0c\xc4\x01x\xa1y"), CONCLAVE_OK);
    cr_assert_eq(client_request_next(&reader, &op), -1);
}

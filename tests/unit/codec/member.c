#include "codec/member.h"

#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

static const struct client_member_change sample = {.kind = CLIENT_MEMBER_ADD,
                                                   .name = "n4",
                                                   .peer = "tcp://10.0.0.4:7401",
                                                   .client = "tcp://10.0.0.4:7501",
                                                   .id = (UINT64_C(1) << 53) - 1,
                                                   .incarnation = 77,
                                                   .learner = true,
                                                   .replacement = "n5"};

Test(member, comes_back_as_it_was)
{
    struct client_member_change read;
    struct buf *body = client_member_encode(&sample);
    cr_assert_eq(client_member_decode((struct slice){body->data, body->bytes}, &read), CONCLAVE_OK);
    cr_assert_eq(read.kind, sample.kind);
    cr_assert_str_eq(read.name, sample.name);
    cr_assert_str_eq(read.peer, sample.peer);
    cr_assert_str_eq(read.client, sample.client);
    cr_assert_eq(read.id, sample.id);
    cr_assert_eq(read.incarnation, sample.incarnation);
    cr_assert_eq(read.learner, sample.learner);
    cr_assert_str_eq(read.replacement, sample.replacement);
    buf_unref(body);
}

Test(member, cut_bytes_are_malformed_and_leave_the_output_alone)
{
    struct client_member_change read = {.id = 42};
    struct buf *body = client_member_encode(&sample);
    for (size_t bytes = 0; bytes < body->bytes; bytes++) {
        uint8_t *cut = malloc(bytes + 1); /* exactly as long: a read beyond is seen */
        memcpy(cut, body->data, bytes);
        cr_assert_eq(client_member_decode((struct slice){cut, bytes}, &read), CONCLAVE_MALFORMED);
        free(cut);
    }
    cr_assert_eq(read.id, 42);
    buf_unref(body);
}

Test(member, unknown_kinds_and_large_ids_are_malformed)
{
    struct client_member_change read, wrong = sample;
    wrong.id++;
    struct buf *body = client_member_encode(&wrong);
    cr_assert_eq(client_member_decode((struct slice){body->data, body->bytes}, &read),
                 CONCLAVE_MALFORMED);
    buf_unref(body);
    body = client_member_encode(&sample);
    for (uint8_t kind = 0; kind < 9; kind++) {
        body->data[1] = kind;
        cr_assert_eq(client_member_decode((struct slice){body->data, body->bytes}, &read),
                     kind >= 1 && kind <= 4 ? CONCLAVE_OK : CONCLAVE_MALFORMED);
    }
    buf_unref(body);
}

Test(member, names_that_do_not_belong_in_a_log_are_malformed)
{
    struct client_member_change read, wrong = sample;
    strcpy(wrong.name, "n 4");
    struct buf *body = client_member_encode(&wrong);
    cr_assert_eq(client_member_decode((struct slice){body->data, body->bytes}, &read),
                 CONCLAVE_MALFORMED);
    buf_unref(body);
}

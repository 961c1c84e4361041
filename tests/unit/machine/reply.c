#include "machine/reply.h"

#include <criterion/criterion.h>
#include <string.h>

Test(reply, last_call_wins)
{
    struct conclave_reply_sink sink = {0};
    conclave_reply_set(&sink, CONCLAVE_OK, "first", 5);
    conclave_reply_set(&sink, CONCLAVE_NOT_FOUND, "second", 6);
    cr_assert_eq(sink.code, CONCLAVE_NOT_FOUND);
    cr_assert_eq(sink.body->bytes, 6);
    cr_assert_eq(memcmp(sink.body->data, "second", 6), 0);
    conclave_reply_set(&sink, CONCLAVE_OK, NULL, 0);
    cr_assert_null(sink.body);
    reply_sink_clear(&sink);
}

Test(reply, larger_than_the_limit_is_too_large)
{
    struct conclave_reply_sink sink = {0};
    static const char zeros[CONCLAVE_COMMAND_BYTES_MAX + 1];
    conclave_reply_set(&sink, CONCLAVE_OK, zeros, sizeof zeros - 1);
    cr_assert_eq(sink.code, CONCLAVE_OK);
    cr_assert_eq(sink.body->bytes, sizeof zeros - 1);
    conclave_reply_set(&sink, CONCLAVE_OK, zeros, sizeof zeros);
    cr_assert_eq(sink.code, CONCLAVE_TOO_LARGE);
    cr_assert_null(sink.body);
    reply_sink_clear(&sink);
}

Test(reply, cleared_is_ok_and_empty)
{
    struct conclave_reply_sink sink = {0};
    conclave_reply_set(&sink, CONCLAVE_INVALID, "x", 1);
    reply_sink_clear(&sink);
    cr_assert_eq(sink.code, CONCLAVE_OK);
    cr_assert_null(sink.body);
}

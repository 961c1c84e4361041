/* Session requests on the wire. */
#include "codec/session.h"
#include "codec/session_clock.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t NUMBERS[] = {1,     127,   128,        255,        256,
                                   65535, 65536, 4294967295, 4294967296, (UINT64_C(1) << 53) - 1};
enum { NUMBER_COUNT = sizeof NUMBERS / sizeof *NUMBERS };

static void expect_round_trip(const struct session_request *request)
{
    struct pack pack;
    pack_init(&pack, 0);
    session_request_pack_bin(&pack, request);
    struct cursor cursor;
    cursor_init(&cursor, pack.buf->data, pack.bytes);
    struct slice bin = cursor_bin(&cursor);
    cr_assert(cursor_done(&cursor));
    struct session_request read;
    cr_assert_eq(session_request_decode(bin.data, bin.bytes, &read), CONCLAVE_OK);
    cr_assert_eq(read.opcode, request->opcode);
    cr_assert_eq(read.session, request->session);
    cr_assert_eq(read.sequence, request->sequence);
    cr_assert_eq(read.acknowledged, request->acknowledged);
    cr_assert_eq(read.elapsed_ms, request->elapsed_ms);
    cr_assert_eq(read.command.bytes, request->command.bytes);
    for (size_t cut = 0; cut < bin.bytes; cut += 1 + cut / 16)
        cr_assert_eq(session_request_decode(bin.data, cut, &read), CONCLAVE_MALFORMED);
    pack_deinit(&pack);
}

Test(session, requests_come_back_as_they_were)
{
    static const size_t sizes[] = {0, 1, 200, 255, 256, 65500, 65536, CONCLAVE_COMMAND_BYTES_MAX};
    uint8_t *zeros = calloc(1, CONCLAVE_COMMAND_BYTES_MAX);
    expect_round_trip(&(struct session_request){.opcode = SESSION_OPEN});
    for (int i = 0; i < NUMBER_COUNT; i++) {
        uint64_t number = NUMBERS[i];
        expect_round_trip(&(struct session_request){.opcode = SESSION_CLOSE, .session = number});
        expect_round_trip(&(struct session_request){.opcode = SESSION_CLOCK, .elapsed_ms = number});
        expect_round_trip(&(struct session_request){
            .opcode = SESSION_KEEP_ALIVE, .session = number, .acknowledged = number});
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
            expect_round_trip(&(struct session_request){.opcode = SESSION_COMMAND,
                                                        .session = number,
                                                        .sequence = number,
                                                        .acknowledged = number - 1,
                                                        .command = {zeros, sizes[k]}});
    }
    free(zeros);
}

#define EXPECT(literal, code)                                                                   \
    do {                                                                                        \
        struct session_request request = {.session = 77};                                       \
        cr_assert_eq(session_request_decode((literal), sizeof(literal) - 1, &request), (code)); \
        if ((code) != CONCLAVE_OK)                                                              \
            cr_assert_eq(request.session, 77);                                                  \
    } while (0)

Test(session, requests_that_say_too_little_or_nonsense_are_malformed)
{
    EXPECT("\x91\x01", CONCLAVE_OK);
    EXPECT("\x92\x01\xc0", CONCLAVE_OK); /* a field of a later version */
    EXPECT("\x90", CONCLAVE_MALFORMED);
    EXPECT("\x91\x00", CONCLAVE_MALFORMED);
    EXPECT("\x91\x06", CONCLAVE_MALFORMED);
    EXPECT("\x91\x02\x01\x01\x00\xc4\x00", CONCLAVE_MALFORMED); /* fields outside the array */
    EXPECT("\x95\x02\x01\x01\x00\xc4\x00", CONCLAVE_OK);
    EXPECT("\x95\x02\x00\x01\x00\xc4\x00", CONCLAVE_MALFORMED);
    EXPECT("\x95\x02\x01\x00\x00\xc4\x00", CONCLAVE_MALFORMED);
    EXPECT("\x95\x02\x01\x01\x01\xc4\x00", CONCLAVE_MALFORMED); /* acknowledges itself */
    EXPECT("\x95\x02\x01\x01\x00\xc4\x00\x00", CONCLAVE_MALFORMED);
    EXPECT("\x92\x04\xcf\x00\x20\x00\x00\x00\x00\x00\x00", CONCLAVE_MALFORMED); /* 2^53 */
}

Test(session, a_command_over_the_limit_is_too_large)
{
    uint8_t *zeros = calloc(1, CONCLAVE_COMMAND_BYTES_MAX + 1);
    struct session_request request = {.opcode = SESSION_COMMAND,
                                      .session = 1,
                                      .sequence = 1,
                                      .command = {zeros, CONCLAVE_COMMAND_BYTES_MAX + 1}};
    struct pack pack;
    pack_init(&pack, 0);
    session_request_pack(&pack, &request);
    cr_assert_eq(session_request_decode(pack.buf->data, pack.bytes, &request), CONCLAVE_TOO_LARGE);
    pack_deinit(&pack);
    free(zeros);
}

Test(session, is_opened_with_its_number_and_limits)
{
    struct pack pack;
    pack_init(&pack, 0);
    session_opened_pack(&pack, &(struct session_opened){300, 60000, 4096});
    struct session_opened opened;
    cr_assert_eq(session_opened_decode(pack.buf->data, pack.bytes, &opened), CONCLAVE_OK);
    cr_assert_eq(opened.session, 300);
    cr_assert_eq(opened.lifetime_ms, 60000);
    cr_assert_eq(opened.window, 4096);
    cr_assert_eq(session_opened_decode(pack.buf->data, pack.bytes - 1, &opened),
                 CONCLAVE_MALFORMED);
    pack_deinit(&pack);
}

/* What was written is taken from the entry, as the nodes that apply it read it. */
static uint64_t clock_written(uint64_t *clock_us, uint64_t now_us)
{
    struct raft_entry entry;
    cr_assert(session_clock_entry(clock_us, now_us, 1000000, &entry));
    cr_assert_eq(entry.kind, RAFT_ENTRY_SESSION);
    struct session_request read;
    cr_assert_eq(session_request_decode(entry.payload.data, entry.payload.bytes, &read),
                 CONCLAVE_OK);
    cr_assert_eq(read.opcode, SESSION_CLOCK);
    buf_unref(entry.buf);
    return read.elapsed_ms;
}

Test(session_clock, writes_no_time_before_a_step_has_passed)
{
    uint64_t clock_us = 5000;
    struct raft_entry entry;
    cr_assert_not(session_clock_entry(&clock_us, 1004999, 1000000, &entry));
    cr_assert_eq(clock_us, 5000);
    cr_assert_eq(clock_written(&clock_us, 1005000), 1000);
    cr_assert_eq(clock_us, 1005000);
}

Test(session_clock, neither_loses_nor_gains_what_is_less_than_a_millisecond)
{
    uint64_t clock_us = 300;
    uint64_t now_us = clock_us, written_ms = 0;
    for (int i = 0; i < 1000; i++) {
        now_us += 1000999;
        written_ms += clock_written(&clock_us, now_us);
        cr_assert_leq(written_ms * 1000, now_us - 300, "cluster time ran ahead");
    }
    cr_assert_eq(written_ms, (now_us - 300) / 1000);
}

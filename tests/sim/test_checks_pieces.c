/* Snapshots on their way: each check of them is fed the violation that it is there for. */
#include "tests/sim/check_pieces.h"
#include "tests/sim/test_fixture.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(checks_pieces, .init = fixture_setup, .fini = fixture_teardown);

enum { CHUNK = 100, FILE_BYTES = 1000, NAME = 7 };

static const struct flow_limits limits = {.chunk_bytes = CHUNK,
                                          .window_bytes = UINT64_C(3) * CHUNK,
                                          .rate_bytes_per_ms = 100,
                                          .rate_slack_us = 500,
                                          .idle_part_us = 10000};
static struct check_pieces pieces;

static struct flow_stream stream_at(uint64_t acked, uint64_t sent, bool answered)
{
    return (struct flow_stream){.peer = ids[B],
                                .open = true,
                                .name = NAME,
                                .id = {.term = 2, .index = 5},
                                .bytes = FILE_BYTES,
                                .acked = acked,
                                .sent = sent,
                                .answered = answered};
}

static struct peer_snapshot piece_at(uint64_t offset)
{
    return (struct peer_snapshot){
        .name = NAME, .id = {.term = 2, .index = 5}, .bytes = FILE_BYTES, .offset = offset};
}

/* --- Sending ---------------------------------------------------------------------------------- */

Test(checks_pieces, find_more_on_its_way_than_the_window_has_room_for)
{
    for (int answered = 0; answered < 2; answered++) {
        struct flow_stream stream = stream_at(200, answered ? 400 : 200, answered);
        check_piece_sent(&check, A, &pieces, &limits, &stream, CHUNK,
                         UINT64_C(1000000) << answered);
        SILENT();
    }
    struct flow_stream stream = stream_at(200, 500, true);
    check_piece_sent(&check, A, &pieces, &limits, &stream, CHUNK, 9000000);
    SCREAMS("pieces on their way are bounded");
}

Test(checks_pieces, find_a_second_one_before_the_peer_has_answered)
{
    struct flow_stream stream = stream_at(200, 300, false);
    check_piece_sent(&check, A, &pieces, &limits, &stream, CHUNK, 1000000);
    SCREAMS("pieces on their way are bounded");
}

Test(checks_pieces, find_more_than_the_rate_allows)
{
    struct flow_stream stream = stream_at(200, 200, true);
    check_piece_sent(&check, A, &pieces, &limits, &stream, CHUNK, 1000000); /* a millisecond */
    check_piece_sent(&check, A, &pieces, &limits, &stream, CHUNK, 1000500);
    SILENT();
    check_piece_sent(&check, A, &pieces, &limits, &stream, CHUNK, 1001499);
    SCREAMS("snapshots keep their rate");
}

/* What is heard, and where the stream is then. */
static void hears(struct flow_stream before, struct peer_snapshot ack, uint64_t acked,
                  uint64_t sent)
{
    struct flow_stream after = before;
    after.acked = acked;
    after.sent = sent;
    after.answered = true;
    check_piece_acked(&check, A, &before, &after, &ack);
}

Test(checks_pieces, are_silent_when_a_stream_goes_where_the_peer_is)
{
    hears(stream_at(200, 400, true), piece_at(300), 300, 400);
    hears(stream_at(200, 400, true), piece_at(600), 600, 600);
    hears(stream_at(0, 100, false), piece_at(0), 0, 0);
    hears(stream_at(0, 100, false), piece_at(600), 600, 600);
    struct peer_snapshot all = piece_at(0);
    all.done = true;
    hears(stream_at(200, 400, true), all, FILE_BYTES, FILE_BYTES);
    hears(stream_at(200, 400, true), piece_at(100), 200, 400); /* overtaken */
    hears(stream_at(200, 400, true), piece_at(FILE_BYTES + 1), 200, 400);
    check_piece_acked(&check, A, &(struct flow_stream){0}, NULL, &all);
    SILENT();
}

Test(checks_pieces, find_a_stream_that_goes_back)
{
    hears(stream_at(200, 400, true), piece_at(100), 100, 100);
    SCREAMS("an answer about a snapshot is heeded");
}

Test(checks_pieces, find_a_stream_that_leaves_out_what_the_peer_lacks)
{
    hears(stream_at(0, 400, false), piece_at(100), 100, 400);
    SCREAMS("an answer about a snapshot is heeded");
}

Test(checks_pieces, find_an_answer_about_another_file_that_counts)
{
    struct peer_snapshot ack = piece_at(300);
    ack.name = NAME + 1;
    hears(stream_at(200, 400, true), ack, 300, 400);
    SCREAMS("an answer about a snapshot is heeded");
}

Test(checks_pieces, find_a_refusal_that_is_not_heard)
{
    struct peer_snapshot ack = piece_at(0);
    ack.bad = true;
    struct flow_stream before = stream_at(900, FILE_BYTES, true), after = before;
    after.refused = true;
    check_piece_acked(&check, A, &before, &after, &ack);
    SILENT();
    check_piece_acked(&check, A, &before, &before, &ack);
    SCREAMS("an answer about a snapshot is heeded");
}

/* --- Receiving -------------------------------------------------------------------------------- */

static void judged(bool open, uint64_t newest, bool installing, uint64_t bytes, uint64_t idle_us,
                   enum flow_verdict verdict)
{
    struct flow_part part = {.open = open, .name = NAME, .bytes = FILE_BYTES, .seen_us = 1000};
    struct peer_snapshot piece = piece_at(0);
    piece.bytes = bytes;
    check_piece_judged(&check, B, &limits, &part, newest, installing, &piece, 1000 + idle_us,
                       verdict);
}

Test(checks_pieces, are_silent_when_pieces_are_judged_by_the_rules)
{
    judged(true, 5, true, FILE_BYTES, 0, FLOW_HAVE);
    judged(true, 4, true, FILE_BYTES, 0, FLOW_BUSY);
    judged(true, 4, false, FILE_BYTES, 0, FLOW_GOES_ON);
    judged(true, 4, false, FILE_BYTES + 1, 0, FLOW_BUSY);
    judged(true, 4, false, FILE_BYTES + 1, limits.idle_part_us, FLOW_BEGIN);
    judged(false, 4, false, FILE_BYTES, 0, FLOW_BEGIN);
    SILENT();
}

Test(checks_pieces, find_one_that_is_taken_though_it_is_here)
{
    judged(false, 5, false, FILE_BYTES, 0, FLOW_BEGIN);
    SCREAMS("one snapshot comes in at a time, and none that is here");
}

Test(checks_pieces, find_one_that_is_taken_while_one_is_installed)
{
    judged(false, 4, true, FILE_BYTES, 0, FLOW_BEGIN);
    SCREAMS("one snapshot comes in at a time, and none that is here");
}

Test(checks_pieces, find_one_of_another_file_in_the_part)
{
    judged(true, 4, false, FILE_BYTES + 1, 0, FLOW_GOES_ON);
    SCREAMS("one snapshot comes in at a time, and none that is here");
}

Test(checks_pieces, find_a_part_without_a_sender_that_keeps_others_out)
{
    judged(true, 4, false, FILE_BYTES + 1, limits.idle_part_us, FLOW_BUSY);
    SCREAMS("one snapshot comes in at a time, and none that is here");
}

Test(checks_pieces, find_a_refused_part_that_is_gone_on_with)
{
    check_part_ended(&pieces, NAME, true);
    check_part_opened(&check, B, &pieces, NAME + 1, 100);
    SILENT();
    check_part_opened(&check, B, &pieces, NAME, 100);
    SCREAMS("what was not valid begins anew");
}

/* The first piece of it was written by half, since the disk failed. */
Test(checks_pieces, are_silent_when_a_refused_part_goes_on_behind_its_new_beginning)
{
    check_part_ended(&pieces, NAME, true);
    check_part_opened(&check, B, &pieces, NAME, 0);
    check_part_opened(&check, B, &pieces, NAME, 300);
    SILENT();
    check_part_ended(&pieces, NAME, true);
    check_part_opened(&check, B, &pieces, NAME, 300);
    SCREAMS("what was not valid begins anew");
}

/* A part of 300 bytes is there, and the newest snapshot ends at `newest`. */
static void answered(uint64_t newest, bool bad, bool done, bool said_bad, uint64_t offset)
{
    struct flow_part part = {.open = !bad, .name = NAME, .bytes = FILE_BYTES, .offset = 300};
    struct peer_snapshot piece = piece_at(200), ack = piece;
    ack.done = done;
    ack.bad = said_bad;
    ack.offset = offset;
    check_piece_answered(&check, B, &part, newest, bad, &piece, &ack);
}

Test(checks_pieces, are_silent_when_an_answer_is_true)
{
    answered(4, false, false, false, 300);
    answered(5, false, true, false, FILE_BYTES);
    answered(5, true, true, false, FILE_BYTES);
    answered(4, true, false, true, 0);
    SILENT();
}

Test(checks_pieces, find_an_answer_that_says_more_than_is_there)
{
    answered(4, false, true, false, FILE_BYTES);
    SCREAMS("what is said of a snapshot is so");
}

Test(checks_pieces, find_an_answer_that_says_less_than_is_there)
{
    answered(4, false, false, false, 200);
    SCREAMS("what is said of a snapshot is so");
}

Test(checks_pieces, find_a_bad_file_that_is_not_refused)
{
    answered(4, true, false, false, 0);
    SCREAMS("what is said of a snapshot is so");
}

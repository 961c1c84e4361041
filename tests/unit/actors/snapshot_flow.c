#include "actors/snapshot_flow.h"

#include <criterion/criterion.h>

enum { CHUNK = 100, FILE_BYTES = 1050, NAME = 77 };

static const struct raft_id last = {.term = 3, .index = 40};

static struct flow_sender sender_make(void)
{
    struct flow_sender sender = {0};
    flow_limits_init(&sender.limits, CHUNK);
    return sender;
}

static struct flow_sender sender_open(void)
{
    struct flow_sender sender = sender_make();
    flow_want(&sender, 5, 0);
    struct flow_step step = flow_next(&sender, true, 0);
    cr_assert_eq(step.action, FLOW_OPEN);
    flow_opened(&sender, step.slot, NAME, last, FILE_BYTES, 0);
    return sender;
}

/* Sends what may be sent now; returns how many bytes that is. */
static uint64_t send_all(struct flow_sender *sender, uint64_t now_us)
{
    uint64_t bytes = 0;
    for (struct flow_step step; (step = flow_next(sender, true, now_us)).action == FLOW_SEND;
         bytes += step.bytes)
        flow_sent(sender, step.slot, step.bytes, now_us);
    return bytes;
}

static void ack(struct flow_sender *sender, uint64_t offset, bool done, uint64_t now_us)
{
    flow_take_ack(
        sender, 5,
        &(struct peer_snapshot){
            .name = NAME, .id = last, .bytes = FILE_BYTES, .offset = offset, .done = done},
        now_us);
}

static struct peer_snapshot piece_at(uint64_t offset)
{
    static const uint8_t bytes[CHUNK];
    return (struct peer_snapshot){
        .name = NAME, .id = last, .bytes = FILE_BYTES, .offset = offset, .data = {bytes, CHUNK}};
}

Test(snapshot_flow, one_piece_goes_alone_until_the_peer_has_answered)
{
    struct flow_sender sender = sender_open();
    cr_assert_eq(send_all(&sender, 0), CHUNK);
    ack(&sender, CHUNK, false, 10);
    cr_assert_eq(send_all(&sender, 10), sender.limits.window_bytes);
    cr_assert_eq(sender.streams[0].sent - sender.streams[0].acked, sender.limits.window_bytes);
}

Test(snapshot_flow, goes_on_where_the_peer_says)
{
    struct flow_sender sender = sender_open();
    send_all(&sender, 0);
    ack(&sender, 900, false, 10); /* a part of it from before a crash */
    cr_assert_eq(sender.streams[0].sent, 900);
    cr_assert_eq(send_all(&sender, 10), FILE_BYTES - 900);
    uint64_t later_us = 10 + sender.limits.retry_us;
    cr_assert_eq(send_all(&sender, later_us), CHUNK, "one piece alone, again");
    ack(&sender, 300, false, later_us); /* it lost some of it in another one */
    cr_assert_eq(sender.streams[0].sent, 300);
    cr_assert_eq(send_all(&sender, later_us), FILE_BYTES - 300);
}

/* Over a link that overtakes itself, one late answer would set off a window of pieces, and each of
 * them another answer. */
Test(snapshot_flow, an_answer_that_was_overtaken_sends_nothing_again)
{
    struct flow_sender sender = sender_open();
    send_all(&sender, 0);
    ack(&sender, 2 * CHUNK, false, 10);
    send_all(&sender, 10);
    uint64_t sent = sender.streams[0].sent;
    for (uint64_t offset = 0; offset <= 2 * CHUNK; offset += CHUNK) {
        ack(&sender, offset, false, 20);
        cr_assert_eq(send_all(&sender, 20), 0);
        cr_assert_eq(sender.streams[0].sent, sent);
    }
    ack(&sender, 3 * CHUNK, false, 30);
    cr_assert_eq(send_all(&sender, 30), FILE_BYTES - sent);
}

Test(snapshot_flow, rule_37_what_is_not_answered_is_sent_again)
{
    struct flow_sender sender = sender_open();
    send_all(&sender, 0);
    cr_assert_eq(flow_next(&sender, true, 0).due_us, sender.limits.first_retry_us);
    cr_assert_eq(send_all(&sender, sender.limits.first_retry_us), CHUNK);
    cr_assert_eq(sender.streams[0].sent, CHUNK);
}

Test(snapshot_flow, a_file_that_is_there_is_not_sent_again_at_once)
{
    struct flow_sender sender = sender_open();
    send_all(&sender, 0);
    ack(&sender, FILE_BYTES, true, 10);
    cr_assert_eq(send_all(&sender, 10), 0);
    struct flow_step step = flow_next(&sender, true, 10 + sender.limits.again_us);
    cr_assert_eq(step.action, FLOW_CLOSE);
    flow_closed(&sender, step.slot, 10 + sender.limits.again_us);
    cr_assert_eq(flow_next(&sender, true, 10 + sender.limits.again_us).action, FLOW_OPEN);
}

Test(snapshot_flow, rate_bounds_all_streams_together)
{
    struct flow_sender sender = sender_make();
    sender.limits.rate_bytes_per_ms = 10;
    sender.limits.rate_slack_us = 0;
    for (raft_node_id peer = 5; peer <= 6; peer++) {
        flow_want(&sender, peer, 0);
        struct flow_step step = flow_next(&sender, true, 0);
        cr_assert_eq(step.action, FLOW_OPEN);
        flow_opened(&sender, step.slot, NAME, last, FILE_BYTES, 0);
        cr_assert_eq(send_all(&sender, 0), peer == 5 ? CHUNK : 0);
    }
    cr_assert_eq(flow_next(&sender, true, 0).due_us, 10000);
    cr_assert_eq(send_all(&sender, 10000), CHUNK);
}

Test(snapshot_flow, a_peer_that_does_not_answer_leaves_the_others_their_turn)
{
    struct flow_sender sender = sender_open();
    sender.limits.rate_bytes_per_ms = 1; /* a piece takes longer than the wait for an answer */
    sender.limits.rate_slack_us = 0;
    sender.limits.first_retry_us = 1000;
    flow_want(&sender, 6, 0);
    struct flow_step step = flow_next(&sender, true, 0);
    uint32_t sent[2] = {0};
    for (uint64_t now_us = 0; now_us < 2000000; now_us += 1000) {
        while ((step = flow_next(&sender, true, now_us)).action != FLOW_WAIT) {
            cr_assert_lt(step.slot, 2);
            if (step.action == FLOW_OPEN) {
                flow_opened(&sender, step.slot, NAME, last, FILE_BYTES, now_us);
                continue;
            }
            cr_assert_eq(step.action, FLOW_SEND);
            flow_sent(&sender, step.slot, step.bytes, now_us);
            sent[step.slot]++;
        }
    }
    cr_assert(sent[0] > 5 && sent[1] > 5, "%u and %u pieces", sent[0], sent[1]);
}

Test(snapshot_flow, nothing_is_opened_again_at_once_after_a_failure)
{
    struct flow_sender sender = sender_open();
    flow_failed(&sender, 0, 50);
    struct flow_step step = flow_next(&sender, true, 50);
    cr_assert_eq(step.action, FLOW_WAIT);
    cr_assert_eq(step.due_us, 50 + sender.limits.retry_us);
    cr_assert_eq(flow_next(&sender, true, step.due_us).action, FLOW_OPEN);
}

Test(snapshot_flow, answers_about_another_file_or_of_nonsense_change_nothing)
{
    struct flow_sender sender = sender_open();
    send_all(&sender, 0);
    struct peer_snapshot other = {.name = NAME + 1, .id = last, .bytes = FILE_BYTES, .offset = 500};
    flow_take_ack(&sender, 5, &other, 10);
    ack(&sender, FILE_BYTES + 1, false, 10);
    flow_take_ack(&sender, 0, &other, 10);
    cr_assert_not(sender.streams[0].answered);
    cr_assert_eq(sender.streams[0].acked, 0);
}

Test(snapshot_flow, a_stream_that_is_not_wanted_any_more_frees_its_slot)
{
    struct flow_sender sender = sender_open();
    uint32_t slot = 9;
    cr_assert(flow_unwant(&sender, 5, &slot));
    cr_assert_eq(slot, 0);
    cr_assert_not(flow_unwant(&sender, 5, &slot));
    cr_assert_not(flow_unwant(&sender, 0, &slot));
    cr_assert_eq(flow_next(&sender, true, 0).due_us, UINT64_MAX);
}

Test(snapshot_flow, takes_only_what_follows_directly)
{
    struct flow_part part = {0};
    struct peer_snapshot piece = piece_at(0);
    flow_part_opened(&part, &piece, 200);
    cr_assert_not(flow_part_follows(&part, &piece, 1));
    cr_assert_eq(flow_answer(&part, 0, false, &piece).offset, 200);
    piece = piece_at(300);
    cr_assert_not(flow_part_follows(&part, &piece, 2));
    piece = piece_at(200);
    cr_assert(flow_part_follows(&part, &piece, 3));
}

Test(snapshot_flow, one_part_at_a_time_until_it_has_been_idle)
{
    struct flow_limits limits;
    flow_limits_init(&limits, CHUNK);
    struct flow_part part = {0};
    struct peer_snapshot piece = piece_at(0);
    cr_assert_eq(flow_judge(&part, &limits, 0, false, &piece, 0), FLOW_BEGIN);
    flow_part_opened(&part, &piece, 0);
    flow_part_follows(&part, &piece, 0);
    cr_assert_eq(flow_judge(&part, &limits, 0, false, &piece, 1), FLOW_GOES_ON);
    piece.name = NAME + 1;
    piece.id.index = last.index + 9;
    cr_assert_eq(flow_judge(&part, &limits, 0, false, &piece, limits.idle_part_us - 1), FLOW_BUSY);
    cr_assert_eq(flow_judge(&part, &limits, 0, false, &piece, limits.idle_part_us), FLOW_BEGIN);
}

/* Two newer ones would take away the file that the state machine is to become. */
Test(snapshot_flow, rule_36_nothing_is_taken_while_one_is_installed)
{
    struct flow_limits limits;
    flow_limits_init(&limits, CHUNK);
    struct flow_part part = {0};
    struct peer_snapshot piece = piece_at(0);
    cr_assert_eq(flow_judge(&part, &limits, last.index - 1, true, &piece, 0), FLOW_BUSY);
    cr_assert_eq(flow_judge(&part, &limits, last.index, true, &piece, 0), FLOW_HAVE);
}

Test(snapshot_flow, what_is_here_already_is_answered_as_done)
{
    struct flow_limits limits;
    flow_limits_init(&limits, CHUNK);
    struct flow_part part = {0};
    struct peer_snapshot piece = piece_at(0);
    cr_assert_eq(flow_judge(&part, &limits, last.index, false, &piece, 0), FLOW_HAVE);
    struct peer_snapshot answer = flow_answer(&part, last.index, false, &piece);
    cr_assert(answer.done);
    cr_assert_eq(answer.offset, FILE_BYTES);
}

/* A peer may say anything of the size: the part that is open is not ended by it. */
Test(snapshot_flow, a_piece_with_another_size_is_not_of_the_part)
{
    struct flow_limits limits;
    flow_limits_init(&limits, CHUNK);
    struct flow_part part = {0};
    struct peer_snapshot piece = piece_at(0);
    flow_part_opened(&part, &piece, 500);
    flow_part_follows(&part, &piece, 0);
    piece = piece_at(300);
    piece.bytes = 500;
    cr_assert_eq(flow_judge(&part, &limits, 0, false, &piece, 1), FLOW_BUSY);
}

Test(snapshot_flow, what_was_not_valid_begins_anew)
{
    struct flow_part part = {0};
    struct peer_snapshot piece = piece_at(950);
    struct peer_snapshot answer = flow_answer(&part, 0, false, &piece);
    cr_assert_not(answer.done);
    cr_assert_eq(answer.offset, 0);
}

Test(snapshot_flow, what_the_receiver_found_bad_is_looked_at_again_before_it_is_sent_again)
{
    struct flow_sender sender = sender_open();
    send_all(&sender, 0);
    ack(&sender, 900, false, 10);
    send_all(&sender, 10);
    struct flow_part part = {0}; /* it was whole, and is closed */
    struct peer_snapshot piece = piece_at(950);
    struct peer_snapshot answer = flow_answer(&part, 0, true, &piece);
    cr_assert(answer.bad);
    flow_take_ack(&sender, 5, &answer, 20);
    ack(&sender, 900, false, 20); /* overtaken by it */
    struct flow_step step = flow_next(&sender, true, 20);
    cr_assert_eq(step.action, FLOW_CLOSE);
    flow_closed(&sender, step.slot, 20);
    /* And not at once: the fault may lie with the peer. */
    step = flow_next(&sender, true, 20);
    cr_assert_eq(step.action, FLOW_WAIT);
    cr_assert_eq(step.due_us, 20 + sender.limits.retry_us);
    cr_assert_eq(flow_next(&sender, true, step.due_us).action, FLOW_OPEN);
    flow_opened(&sender, 0, NAME, last, FILE_BYTES, step.due_us);
    cr_assert_eq(flow_next(&sender, true, step.due_us).action, FLOW_SEND);
}

Test(snapshot_flow, a_file_of_one_piece_is_refused_as_well)
{
    struct flow_sender sender = sender_make();
    flow_want(&sender, 5, 0);
    flow_opened(&sender, 0, NAME, last, CHUNK, 0);
    cr_assert_eq(send_all(&sender, 0), CHUNK);
    flow_take_ack(&sender, 5, &(struct peer_snapshot){.name = NAME, .bytes = CHUNK, .bad = true},
                  10);
    cr_assert_eq(flow_next(&sender, true, 10).action, FLOW_CLOSE);
}

Test(snapshot_flow, nothing_is_bad_of_what_is_here_or_of_another_file)
{
    struct flow_sender sender = sender_open();
    send_all(&sender, 0);
    flow_take_ack(&sender, 5, &(struct peer_snapshot){.name = NAME + 1, .bad = true}, 10);
    cr_assert_neq(flow_next(&sender, true, 10).action, FLOW_CLOSE);
    struct flow_part part = {0};
    struct peer_snapshot piece = piece_at(950);
    cr_assert_not(flow_answer(&part, last.index, true, &piece).bad);
}

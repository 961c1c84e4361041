/* What a member of a work group gets: sequences, their payloads, and a sign when there may be more.
 */
#include "base/clock.h"
#include "base/fatal.h"
#include "base/list.h"
#include "client/group_member.h"
#include "client/topic_message.h"

enum { WAIT_WINDOW_BYTES = 512 /* many events would say no more than the last one */ };

/* --- Fetching -----------------------------------------------------------------------------------
 */

static void note_fetched(struct conclave_group_member *member, uint64_t sent_us)
{
    const struct conclave_group_fetched *fetched = &member->fetched;
    member->ack_us = fetched->ack_ms * 1000;
    for (uint32_t i = 0; i < fetched->run_count; i++) {
        const struct conclave_group_run *run = &fetched->runs[i];
        for (uint64_t at = 0; at < run->count; at++) {
            LIST_RESERVE(&member->held);
            member->held.items[member->held.count++] =
                (struct held){.sequence = run->first + at,
                              .deliveries = run->deliveries,
                              .until_us = member->once ? UINT64_MAX : sent_us + member->ack_us};
        }
    }
}

static int fetch(struct conclave_group_member *member)
{
    uint64_t sent_us = clock_now_us();
    int code =
        conclave_group_fetch(member->client, member->topic, member->topic_bytes, member->group,
                             member->group_bytes, member->lease, member->prefetch, member->once,
                             group_member_part_ms(member), &member->fetched);
    if (code == CONCLAVE_LEASE_EXPIRED)
        member->lost = true;
    if (code)
        return code;
    member->lost_count += member->fetched.lost;
    member->wake = member->fetched.wake;
    member->idle = member->fetched.count == 0;
    note_fetched(member, sent_us);
    return CONCLAVE_OK;
}

/* Asks for the payloads of what is held from `next` on. */
static int page_load(struct conclave_group_member *member)
{
    uint64_t sequences[CONCLAVE_GROUP_FETCH_MAX];
    uint32_t count = member->held.count - member->next;
    struct group_query query = {.opcode = GROUP_MESSAGES, .topic = group_member_topic(member)};
    struct pack pack;
    ASSERT(count > 0);
    count = count < CONCLAVE_GROUP_FETCH_MAX ? count : CONCLAVE_GROUP_FETCH_MAX;
    for (uint32_t i = 0; i < count; i++)
        sequences[i] = member->held.items[member->next + i].sequence;
    group_member_page_drop(member);
    pack_init(&pack, 0);
    group_query_pack(&pack, &query, group_member_ranges(NULL, sequences, count));
    (void)group_member_ranges(&pack, sequences, count);
    group_query_end(&pack, &query);
    int code = group_call(member->client, CONCLAVE_OP_READ, &pack, group_member_part_ms(member),
                          &member->page);
    if (!code)
        code = group_messages_answer_begin(member->page.reply, member->page.reply_bytes,
                                           &member->payloads);
    if (!code && (member->payloads.covered == 0 || member->payloads.covered > count))
        code = CONCLAVE_MALFORMED;
    if (code) {
        group_member_page_drop(member);
        return code;
    }
    member->covered = member->payloads.covered;
    return CONCLAVE_OK;
}

/* The payload of this message. NOT_FOUND: the topic has dropped it. */
static int page_take(struct conclave_group_member *member, uint64_t sequence,
                     struct conclave_topic_message *ret)
{
    if (!member->peeked) {
        int more = group_messages_answer_next(&member->payloads, &member->item);
        if (more < 0)
            return CONCLAVE_MALFORMED;
        member->peeked = more > 0;
    }
    member->covered--;
    if (!member->peeked || member->item.sequence != sequence)
        return CONCLAVE_NOT_FOUND;
    member->peeked = false;
    return topic_message_of(&member->item, ret);
}

/* What the topic dropped behind the group's back: given back, so that the group counts it. */
static int give_up(struct conclave_group_member *member, uint32_t at)
{
    uint64_t sequence = member->held.items[at].sequence, settled;
    group_member_remove(member, at);
    if (member->once) {
        member->lost_count++;
        return CONCLAVE_OK;
    }
    return group_member_settle(member, GROUP_NACK, &sequence, 1, 0, 0, &settled);
}

/* The next message in hand. NOT_FOUND: there is none. */
static int hand_out(struct conclave_group_member *member, struct conclave_group_message *ret)
{
    while (member->next < member->held.count) {
        struct held *held = &member->held.items[member->next];
        int code = member->covered ? CONCLAVE_OK : page_load(member);
        if (code)
            return code;
        code = page_take(member, held->sequence, &ret->message);
        if (code == CONCLAVE_NOT_FOUND)
            code = give_up(member, member->next);
        else if (!code && clock_now_us() >= held->until_us)
            group_member_remove(member, member->next); /* another one may have it by now */
        else if (!code) {
            ret->deliveries = held->deliveries;
            member->next++;
            return CONCLAVE_OK;
        }
        if (code)
            return code;
    }
    return CONCLAVE_NOT_FOUND;
}

/* --- Waiting ------------------------------------------------------------------------------------
 */

static int stream_open(struct conclave_group_member *member)
{
    struct pack spec;
    struct conclave_error error;
    pack_init(&spec, 0);
    group_spec_pack(&spec, &(struct group_spec){group_member_topic(member), member->group_id});
    int code =
        client_stream_create(&(struct client_stream_options){.client = member->client,
                                                             .quiet = true,
                                                             .kind = STREAM_GROUP,
                                                             .position = member->wake,
                                                             .spec = {spec.buf->data, spec.bytes},
                                                             .window_bytes = WAIT_WINDOW_BYTES},
                             &member->stream, &error);
    pack_deinit(&spec);
    return code;
}

/* Until there may be something to fetch, or so long: TIMEOUT. What was seen by the last fetch is
 * passed over. */
static int wait_for_more(struct conclave_group_member *member, uint32_t timeout_ms)
{
    uint64_t deadline_us = clock_now_us() + (uint64_t)timeout_ms * 1000;
    struct client_stream_piece piece;
    int code = member->stream ? CONCLAVE_OK : stream_open(member);
    while (!code) {
        uint64_t now_us = clock_now_us();
        uint64_t left = deadline_us > now_us ? (deadline_us - now_us + 999) / 1000 : 0;
        code = client_stream_next(member->stream, (uint32_t)left, &piece);
        if (code || piece.what != CLIENT_STREAM_EVENT)
            continue;
        struct cursor cursor;
        cursor_init(&cursor, piece.value.data, piece.value.bytes);
        uint64_t wake = cursor_uint(&cursor);
        if (!cursor_ok(&cursor))
            return CONCLAVE_MALFORMED;
        if (wake > member->wake)
            return CONCLAVE_OK;
    }
    return code;
}

/* Looks for more once: fetches, or waits until there may be something, or so long. */
static int look(struct conclave_group_member *member, uint64_t deadline_us)
{
    int code = conclave_group_flush(member, 0);
    if (code && code != CONCLAVE_NOT_FOUND)
        return code;
    if (!member->idle)
        return fetch(member);
    uint64_t now_us = clock_now_us();
    uint64_t left = now_us < deadline_us ? (deadline_us - now_us + 999) / 1000 : 0;
    uint32_t poll = conclave_group_poll_ms(member);
    code = wait_for_more(member, left < poll ? (uint32_t)left : poll);
    if (!code)
        member->idle = false;
    return code == CONCLAVE_TIMEOUT && clock_now_us() < deadline_us ? CONCLAVE_OK : code;
}

int conclave_group_next(struct conclave_group_member *member, uint32_t timeout_ms,
                        struct conclave_group_message *ret_message)
{
    uint64_t deadline_us = clock_now_us() + (uint64_t)timeout_ms * 1000;
    int code = conclave_group_poll(member);
    while (!code && (code = hand_out(member, ret_message)) == CONCLAVE_NOT_FOUND) {
        code = look(member, deadline_us);
        if (!code)
            code = conclave_group_poll(member);
    }
    if (code && code != CONCLAVE_TIMEOUT)
        return code;
    ret_message->lost = member->lost_count;
    ret_message->late = member->late_count;
    member->lost_count = member->late_count = 0;
    return code;
}

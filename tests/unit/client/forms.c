/* What a program submits itself: encoders and decoders of leases, queues and topics. */
#include "conclave_kv.h"
#include "conclave_lease.h"
#include "conclave_lock.h"
#include "conclave_topic.h"

#include "codec/coord.h"
#include "codec/kv_lease.h"
#include "codec/topic.h"

#include <criterion/criterion.h>
#include <string.h>

static uint8_t buffer[CONCLAVE_KV_OVERHEAD + 8];
static size_t bytes;
static struct pack pack;

static void setup(void)
{
    pack_init(&pack, 0);
}

static void teardown(void)
{
    pack_deinit(&pack);
}

TestSuite(forms, .init = setup, .fini = teardown);

/* An operation that was answered with what is packed. */
static struct conclave_op answered(int code)
{
    return (struct conclave_op){.code = code, .reply = pack.buf->data, .reply_bytes = pack.bytes};
}

static struct kv_command command_in_buffer(void)
{
    struct kv_command command;
    cr_assert_eq(kv_command_decode(buffer, bytes, &command), CONCLAVE_OK);
    return command;
}

static struct coord_request request_in_buffer(bool query)
{
    struct coord_request request;
    cr_assert_eq((query ? coord_query_decode : coord_command_decode)(buffer, bytes, &request),
                 CONCLAVE_OK);
    return request;
}

Test(forms, of_leases_say_what_is_meant)
{
    cr_assert_eq(conclave_lease_encode_grant(buffer, sizeof buffer, 500, &bytes), CONCLAVE_OK);
    cr_assert_eq(command_in_buffer().opcode, KV_LEASE_GRANT);
    cr_assert_eq(command_in_buffer().ttl_ms, 500);
    cr_assert_eq(conclave_lease_encode_renew(buffer, sizeof buffer, 7, &bytes), CONCLAVE_OK);
    cr_assert_eq(command_in_buffer().opcode, KV_LEASE_RENEW);
    cr_assert_eq(command_in_buffer().lease, 7);
    cr_assert_eq(conclave_lease_encode_revoke(buffer, sizeof buffer, 8, &bytes), CONCLAVE_OK);
    cr_assert_eq(command_in_buffer().opcode, KV_LEASE_REVOKE);
    cr_assert_eq(command_in_buffer().lease, 8);
    cr_assert_eq(conclave_lease_encode_grant(buffer, sizeof buffer, 0, &bytes), CONCLAVE_INVALID);
    cr_assert_eq(conclave_lease_encode_renew(buffer, sizeof buffer, 0, &bytes), CONCLAVE_INVALID);
    cr_assert_eq(conclave_lease_encode_revoke(buffer, sizeof buffer, 0, &bytes), CONCLAVE_INVALID);
    cr_assert_eq(conclave_lease_encode_grant(buffer, 8, 500, &bytes), CONCLAVE_TOO_LARGE);
}

Test(forms, of_leases_read_the_answer)
{
    uint64_t lease = 0, ttl_ms = 0, deleted = 0;
    kv_lease_answer_pack(&pack, &(struct kv_lease_answer){300, 7, 500});
    struct conclave_op op = answered(CONCLAVE_OK);
    cr_assert_eq(conclave_lease_decode(&op, &lease, &ttl_ms), CONCLAVE_OK);
    cr_assert(lease == 7 && ttl_ms == 500);
    cr_assert_eq(conclave_lease_decode(&op, NULL, NULL), CONCLAVE_OK);
    op.reply_bytes--;
    cr_assert_eq(conclave_lease_decode(&op, &lease, &ttl_ms), CONCLAVE_MALFORMED);
    op = answered(CONCLAVE_LEASE_EXPIRED);
    cr_assert_eq(conclave_lease_decode(&op, &lease, &ttl_ms), CONCLAVE_LEASE_EXPIRED);
    pack_deinit(&pack);
    pack_init(&pack, 0);
    kv_outcome_pack(&pack, &(struct kv_outcome){.revision = 301, .value = 12});
    op = answered(CONCLAVE_OK);
    cr_assert_eq(conclave_lease_decode_revoke(&op, &deleted), CONCLAVE_OK);
    cr_assert_eq(deleted, 12);
}

Test(forms, of_queues_say_what_is_meant)
{
    cr_assert_eq(
        conclave_queue_encode_enqueue(buffer, sizeof buffer, "l", 1, 7, "me", 2, 3, &bytes),
        CONCLAVE_OK);
    struct coord_request request = request_in_buffer(false);
    cr_assert(request.opcode == COORD_ENQUEUE && request.lease == 7 && request.slots == 3);
    cr_assert(request.value.bytes == 2 && memcmp(request.value.data, "me", 2) == 0);
    cr_assert_eq(conclave_queue_encode_leave(buffer, sizeof buffer, "l", 1, 300, &bytes),
                 CONCLAVE_OK);
    request = request_in_buffer(false);
    cr_assert(request.opcode == COORD_LEAVE && request.token == 300);
    cr_assert_eq(
        conclave_queue_encode_proclaim(buffer, sizeof buffer, "l", 1, 300, "we", 2, &bytes),
        CONCLAVE_OK);
    request = request_in_buffer(false);
    cr_assert(request.opcode == COORD_PROCLAIM && request.token == 300 && request.value.bytes == 2);
    cr_assert_eq(conclave_queue_encode_place(buffer, sizeof buffer, "l", 1, 300, &bytes),
                 CONCLAVE_OK);
    request = request_in_buffer(true);
    cr_assert(request.opcode == COORD_PLACE && request.token == 300);
}

Test(forms, of_queues_refuse_what_no_node_would_take)
{
    uint8_t value[CONCLAVE_QUEUE_VALUE_BYTES_MAX + 1] = {0};
    cr_assert_eq(conclave_queue_encode_enqueue(buffer, sizeof buffer, "l", 1, 0, "", 0, 1, &bytes),
                 CONCLAVE_INVALID, "no lease");
    cr_assert_eq(conclave_queue_encode_enqueue(buffer, sizeof buffer, "l", 1, 7, "", 0,
                                               CONCLAVE_LOCK_SLOTS_MAX + 1, &bytes),
                 CONCLAVE_TOO_LARGE);
    cr_assert_eq(conclave_queue_encode_proclaim(buffer, sizeof buffer, "l", 1, 300, value,
                                                sizeof value, &bytes),
                 CONCLAVE_TOO_LARGE);
    cr_assert_eq(conclave_queue_encode_leave(buffer, sizeof buffer, "", 0, 300, &bytes),
                 CONCLAVE_INVALID);
    cr_assert_eq(conclave_queue_encode_place(buffer, CONCLAVE_KV_OVERHEAD, "l", 1, 300, &bytes),
                 CONCLAVE_TOO_LARGE, "no room");
}

Test(forms, of_queues_read_the_place)
{
    struct conclave_queue_place place;
    coord_place_pack(&pack, &(struct coord_place){301, 300, 280});
    struct conclave_op op = answered(CONCLAVE_OK);
    cr_assert_eq(conclave_queue_decode_place(&op, &place), CONCLAVE_OK);
    cr_assert(place.revision == 301 && place.token == 300 && place.awaited == 280);
    op.reply_bytes--;
    cr_assert_eq(conclave_queue_decode_place(&op, &place), CONCLAVE_MALFORMED);
    op = answered(CONCLAVE_NOT_FOUND);
    cr_assert_eq(conclave_queue_decode_place(&op, &place), CONCLAVE_NOT_FOUND);
}

Test(forms, of_topics_ask_for_one_and_read_what_it_is)
{
    struct conclave_topic_info info;
    struct topic_query query;
    cr_assert_eq(conclave_topic_encode_info(buffer, sizeof buffer, "t", 1, &bytes), CONCLAVE_OK);
    cr_assert_eq(topic_query_decode(buffer, bytes, &query), CONCLAVE_OK);
    cr_assert(query.opcode == TOPIC_INFO && query.name.bytes == 1);
    cr_assert_eq(conclave_topic_encode_info(buffer, sizeof buffer, "", 0, &bytes),
                 CONCLAVE_INVALID);
    topic_info_answer_pack(
        &pack, 300, 9,
        &(struct topic_info){.name = {(const uint8_t *)"t", 1}, .id = 5, .first = 1, .end = 8});
    struct conclave_op op = answered(CONCLAVE_OK);
    cr_assert_eq(conclave_topic_decode_info(&op, &info), CONCLAVE_OK);
    cr_assert(info.id == 5 && info.end == 8 && info.clock_ms == 9 && info.name_bytes == 1);
    op = answered(CONCLAVE_NOT_FOUND);
    cr_assert_eq(conclave_topic_decode_info(&op, &info), CONCLAVE_NOT_FOUND);
}

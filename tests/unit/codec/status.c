#include "../../fuzz/samples.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct slice bytes_of(const struct buf *buf)
{
    return (struct slice){buf->data, buf->bytes};
}

static int decode(const char *data, size_t bytes, struct client_status *ret)
{
    return client_status_decode((struct slice){(const uint8_t *)data, bytes}, ret);
}
#define DECODE(text, ret) decode(text, sizeof(text) - 1, ret)

Test(status, carries_every_field)
{
    struct client_status status, got;
    sample_status(&status);
    struct buf *body = client_status_encode(&status);
    memset(&got, 0xa5, sizeof got);
    cr_assert_eq(client_status_decode(bytes_of(body), &got), CONCLAVE_OK);
    cr_assert_eq(got.cluster_id, status.cluster_id);
    cr_assert_str_eq(got.name, "n1");
    cr_assert_eq(got.id, sample_identity.node_id);
    cr_assert_str_eq(got.role, "follower");
    cr_assert_eq(got.term, 300);
    cr_assert_str_eq(got.leader, "n2");
    cr_assert_eq(got.commit, 65538);
    cr_assert_eq(got.applied, 65537);
    cr_assert_eq(got.last_index, 65540);
    cr_assert_eq(got.durable_index, 65539);
    cr_assert_eq(got.revision, 60000);
    cr_assert_eq(got.pid, 4194304);
    cr_assert_eq(got.uptime_ms, 86400000);
    cr_assert_eq(got.audited, 65536);
    cr_assert_str_eq(got.deviating, "n3");
    cr_assert_str_eq(got.feed, "tcp://127.0.0.1:7601");
    cr_assert_str_eq(got.version, "0.1.0");
    cr_assert(got.serving);
    cr_assert_eq(got.member_count, 2);
    cr_assert_str_eq(got.members[0].name, "n1");
    cr_assert_eq(got.members[0].id, sample_identity.node_id);
    cr_assert_str_eq(got.members[0].peer, "tcp://127.0.0.1:7401");
    cr_assert_str_eq(got.members[0].client, "tcp://127.0.0.1:7501");
    cr_assert(got.members[0].voter);
    cr_assert_str_eq(got.members[1].name, "n2");
    cr_assert_eq(got.members[1].id, SAMPLE_TO);
    cr_assert_str_eq(got.members[1].client, "");
    cr_assert_not(got.members[1].voter);
    buf_unref(body);
}

Test(status, carries_a_full_house_of_the_longest_members)
{
    struct client_status status, got;
    sample_status(&status);
    status.member_count = CONCLAVE_MEMBERS_MAX;
    for (int i = 0; i < CONCLAVE_MEMBERS_MAX; i++) {
        struct client_status_member *member = &status.members[i];
        memset(member->name, 'n', sizeof member->name - 1);
        memset(member->peer, 'p', sizeof member->peer - 1);
        memset(member->client, 'c', sizeof member->client - 1);
        member->id = (UINT64_C(1) << 53) - 1;
    }
    struct buf *body = client_status_encode(&status);
    cr_assert_eq(client_status_decode(bytes_of(body), &got), CONCLAVE_OK);
    cr_assert_eq(got.member_count, CONCLAVE_MEMBERS_MAX);
    cr_assert_eq(strlen(got.members[CONCLAVE_MEMBERS_MAX - 1].client), CONCLAVE_ENDPOINT_BYTES_MAX);
    buf_unref(body);
}

Test(status, writes_the_cluster_as_sixteen_digits)
{
    static const struct {
        uint64_t id;
        const char *text;
    } clusters[] = {
        {0, "0000000000000000"}, {0xab, "00000000000000ab"}, {UINT64_MAX, "ffffffffffffffff"}};
    for (size_t i = 0; i < 3; i++) {
        struct client_status status = {.cluster_id = clusters[i].id}, got;
        struct buf *body = client_status_encode(&status);
        static const char key[] = "\xa7"
                                  "cluster"
                                  "\xb0";
        const char *at = memmem(body->data, body->bytes, key, sizeof key - 1);
        cr_assert_not_null(at);
        cr_assert_eq(memcmp(at + sizeof key - 1, clusters[i].text, 16), 0);
        cr_assert_eq(client_status_decode(bytes_of(body), &got), CONCLAVE_OK);
        cr_assert_eq(got.cluster_id, clusters[i].id);
        buf_unref(body);
    }
}

Test(status, reads_any_order_skips_unknown_keys_and_leaves_others_empty)
{
    struct client_status got;
    cr_assert_eq(DECODE("\x84\xa4term\x07\xa3new\x81\x01\x92\x02\x03\xa4name\xa2n1"
                        "\xa7members\x91\x82\xa5voter\xc3\xa5"
                        "color\xc0",
                        &got),
                 CONCLAVE_OK);
    cr_assert_eq(got.term, 7);
    cr_assert_str_eq(got.name, "n1");
    cr_assert_eq(got.commit, 0);
    cr_assert_not(got.serving);
    cr_assert_eq(got.member_count, 1);
    cr_assert(got.members[0].voter);
    cr_assert_str_eq(got.members[0].name, "");
    cr_assert_eq(DECODE("\x80", &got), CONCLAVE_OK);
    cr_assert_eq(got.member_count, 0);
}

Test(status, refuses_values_of_another_form)
{
    struct client_status got = {.term = 42};
    cr_assert_eq(DECODE("\x81\xa4term\xa1x", &got), CONCLAVE_MALFORMED);
    cr_assert_eq(DECODE("\x81\xa4name\x05", &got), CONCLAVE_MALFORMED);
    cr_assert_eq(DECODE("\x81\xa7serving\x01", &got), CONCLAVE_MALFORMED);
    cr_assert_eq(DECODE("\x81\xa7"
                        "cluster\xa2"
                        "ab",
                        &got),
                 CONCLAVE_MALFORMED);
    cr_assert_eq(DECODE("\x81\xa7"
                        "cluster\xb0"
                        "00000000000000AB",
                        &got),
                 CONCLAVE_MALFORMED);
    cr_assert_eq(DECODE("\x81\xa4role\xb0"
                        "0123456789abcdef",
                        &got),
                 CONCLAVE_MALFORMED);
    cr_assert_eq(DECODE("\x81\x01\x02", &got), CONCLAVE_MALFORMED);
    cr_assert_eq(DECODE("\x90", &got), CONCLAVE_MALFORMED);
    cr_assert_eq(DECODE("\xdf\xff\xff\xff\xff", &got), CONCLAVE_MALFORMED);
    cr_assert_eq(got.term, 42);
}

Test(status, refuses_more_members_than_a_cluster_can_have)
{
    struct client_status got;
    char body[64] = "\x81\xa7members\xdc\x00";
    memset(body + 12, 0x80, CONCLAVE_MEMBERS_MAX + 1);
    body[11] = CONCLAVE_MEMBERS_MAX;
    cr_assert_eq(decode(body, 12 + CONCLAVE_MEMBERS_MAX, &got), CONCLAVE_OK);
    cr_assert_eq(got.member_count, CONCLAVE_MEMBERS_MAX);
    body[11]++;
    cr_assert_eq(decode(body, 13 + CONCLAVE_MEMBERS_MAX, &got), CONCLAVE_MALFORMED);
}

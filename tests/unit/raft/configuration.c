#include "raft/configuration.h"

#include "base/pack.h"
#include "cluster.h"
#include "raft/internal.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void member_add(struct raft_configuration *configuration, raft_node_id id, uint32_t flags)
{
    struct raft_member *member = &configuration->members[configuration->member_count++];
    member->id = id;
    member->flags = flags;
    snprintf(member->name, sizeof member->name, "n%lu", (unsigned long)id);
    snprintf(member->peer, sizeof member->peer, "tcp://10.0.0.%lu:7401", (unsigned long)id);
}

static int decode_code(const struct raft_configuration *configuration)
{
    static struct raft_configuration read;
    struct buf *buf = raft_configuration_encode(configuration);
    int code =
        raft_configuration_decode((struct slice){.data = buf->data, .bytes = buf->bytes}, &read);
    buf_unref(buf);
    return code;
}

static bool has_bit(const void *arg, raft_node_id id)
{
    return (*(const uint64_t *)arg >> id) & 1;
}

static bool quorum(const struct raft_configuration *configuration, uint64_t ids)
{
    return raft_configuration_quorum(configuration, has_bit, &ids);
}

static uint64_t value_of(const void *arg, raft_node_id id)
{
    return ((const uint64_t *)arg)[id];
}

#define IDS(a, b, c, d) ((uint64_t)(a) << 1 | (b) << 2 | (c) << 3 | (d) << 4)

Test(configuration, comes_back_as_it_was)
{
    static struct raft_configuration written, read;
    written.joint = true;
    member_add(&written, 1, RAFT_MEMBER_VOTER | RAFT_MEMBER_VOTER_OLD);
    member_add(&written, 2, RAFT_MEMBER_VOTER);
    member_add(&written, (UINT64_C(1) << 53) - 1, RAFT_MEMBER_LEARNER);
    strcpy(written.members[1].client, "tcp://10.0.0.2:7501");
    struct buf *buf = raft_configuration_encode(&written);
    cr_assert_eq(raft_configuration_decode((struct slice){buf->data, buf->bytes}, &read),
                 CONCLAVE_OK);
    cr_assert(read.joint);
    cr_assert_eq(read.member_count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        cr_assert_eq(read.members[i].id, written.members[i].id);
        cr_assert_eq(read.members[i].flags, written.members[i].flags);
        cr_assert_str_eq(read.members[i].name, written.members[i].name);
        cr_assert_str_eq(read.members[i].peer, written.members[i].peer);
        cr_assert_str_eq(read.members[i].client, written.members[i].client);
    }
    buf_unref(buf);
}

Test(configuration, cut_or_extended_bytes_are_malformed_and_leave_the_output_alone)
{
    static struct raft_configuration written, read;
    member_add(&written, 1, RAFT_MEMBER_VOTER);
    read.member_count = 77;
    struct buf *buf = raft_configuration_encode(&written);
    for (size_t bytes = 0; bytes < buf->bytes; bytes++)
        cr_assert_eq(raft_configuration_decode((struct slice){buf->data, bytes}, &read),
                     CONCLAVE_MALFORMED);
    struct buf *longer = buf_create(buf->bytes + 1);
    memcpy(longer->data, buf->data, buf->bytes);
    longer->data[buf->bytes] = 0;
    cr_assert_eq(raft_configuration_decode((struct slice){longer->data, longer->bytes}, &read),
                 CONCLAVE_MALFORMED);
    cr_assert_eq(read.member_count, 77);
    buf_unref(longer);
    buf_unref(buf);
}

Test(configuration, one_flipped_byte_never_does_harm)
{
    static struct raft_configuration written, read;
    member_add(&written, 1, RAFT_MEMBER_VOTER);
    member_add(&written, 2, RAFT_MEMBER_VOTER);
    struct buf *buf = raft_configuration_encode(&written);
    for (size_t at = 0; at < buf->bytes; at++) {
        for (unsigned value = 0; value < 256; value++) {
            uint8_t before = buf->data[at];
            buf->data[at] = (uint8_t)value;
            int code = raft_configuration_decode((struct slice){buf->data, buf->bytes}, &read);
            cr_assert(code == CONCLAVE_OK || code == CONCLAVE_MALFORMED);
            if (code == CONCLAVE_OK)
                cr_assert(read.member_count >= 1 && read.members[0].id != 0);
            buf->data[at] = before;
        }
    }
    buf_unref(buf);
}

Test(configuration, a_huge_claimed_count_allocates_nothing)
{
    static struct raft_configuration read;
    const uint8_t huge[] = {0x94, 0x01, 0xc2, 0xdd, 0xff, 0xff, 0xff, 0xff};
    cr_assert_eq(raft_configuration_decode((struct slice){huge, sizeof huge}, &read),
                 CONCLAVE_MALFORMED);
}

Test(configuration, has_as_many_members_as_there_may_be_and_not_one_more)
{
    static struct raft_configuration full, read;
    for (raft_node_id id = 1; id <= CONCLAVE_MEMBERS_MAX; id++)
        member_add(&full, id, id == 1 ? RAFT_MEMBER_VOTER : RAFT_MEMBER_LEARNER);
    cr_assert_eq(decode_code(&full), CONCLAVE_OK);
    struct pack pack; /* nothing but the claim is wrong up to there */
    pack_init(&pack, 64);
    pack_array(&pack, 4);
    pack_uint(&pack, 1);
    pack_bool(&pack, false);
    pack_array(&pack, CONCLAVE_MEMBERS_MAX + 1);
    for (uint32_t i = 0; i <= CONCLAVE_MEMBERS_MAX; i++)
        pack_array(&pack, 0);
    pack_array(&pack, 0);
    struct buf *buf = pack_take(&pack);
    cr_assert_eq(raft_configuration_decode((struct slice){buf->data, buf->bytes}, &read),
                 CONCLAVE_MALFORMED);
    buf_unref(buf);
}

Test(configuration, needs_a_voter_and_unique_members)
{
    static struct raft_configuration none, learner, ids, names, zero, unnamed;
    cr_assert_eq(decode_code(&none), CONCLAVE_MALFORMED);
    member_add(&learner, 1, RAFT_MEMBER_LEARNER);
    cr_assert_eq(decode_code(&learner), CONCLAVE_MALFORMED);
    member_add(&ids, 1, RAFT_MEMBER_VOTER);
    cr_assert_eq(decode_code(&ids), CONCLAVE_OK);
    member_add(&ids, 1, RAFT_MEMBER_VOTER);
    strcpy(ids.members[1].name, "other");
    cr_assert_eq(decode_code(&ids), CONCLAVE_MALFORMED);
    member_add(&names, 1, RAFT_MEMBER_VOTER);
    member_add(&names, 2, RAFT_MEMBER_VOTER);
    strcpy(names.members[1].name, "n1");
    cr_assert_eq(decode_code(&names), CONCLAVE_MALFORMED);
    member_add(&zero, 0, RAFT_MEMBER_VOTER);
    cr_assert_eq(decode_code(&zero), CONCLAVE_MALFORMED);
    member_add(&unnamed, 1, RAFT_MEMBER_VOTER);
    unnamed.members[0].name[0] = 0;
    cr_assert_eq(decode_code(&unnamed), CONCLAVE_MALFORMED);
}

Test(configuration, flags_that_contradict_are_malformed)
{
    static struct raft_configuration both, old, unknown, joint;
    member_add(&both, 1, RAFT_MEMBER_VOTER | RAFT_MEMBER_LEARNER);
    cr_assert_eq(decode_code(&both), CONCLAVE_MALFORMED);
    member_add(&old, 1, RAFT_MEMBER_VOTER | RAFT_MEMBER_VOTER_OLD);
    cr_assert_eq(decode_code(&old), CONCLAVE_MALFORMED, "no outgoing voters outside a change");
    member_add(&unknown, 1, 8 | RAFT_MEMBER_VOTER);
    cr_assert_eq(decode_code(&unknown), CONCLAVE_MALFORMED);
    joint.joint = true;
    member_add(&joint, 1, RAFT_MEMBER_VOTER);
    cr_assert_eq(decode_code(&joint), CONCLAVE_MALFORMED, "a joint phase has outgoing voters");
}

Test(configuration, has_at_most_nine_voters)
{
    static struct raft_configuration configuration;
    for (raft_node_id id = 1; id <= CONCLAVE_VOTERS_MAX; id++)
        member_add(&configuration, id, RAFT_MEMBER_VOTER);
    cr_assert_eq(decode_code(&configuration), CONCLAVE_OK);
    static struct raft_configuration joint;
    joint = configuration;
    joint.joint = true;
    for (uint32_t i = 0; i < CONCLAVE_VOTERS_MAX; i++)
        joint.members[i].flags |= RAFT_MEMBER_VOTER_OLD;
    cr_assert_eq(decode_code(&joint), CONCLAVE_OK, "and as many in the outgoing set");
    member_add(&configuration, 10, RAFT_MEMBER_VOTER);
    cr_assert_eq(decode_code(&configuration), CONCLAVE_MALFORMED);
}

Test(configuration, a_quorum_is_more_than_half_of_the_voters)
{
    static struct raft_configuration configuration;
    cr_assert_not(quorum(&configuration, ~UINT64_C(0)), "nobody is no majority");
    member_add(&configuration, 1, RAFT_MEMBER_VOTER);
    cr_assert(quorum(&configuration, IDS(1, 0, 0, 0)));
    cr_assert_not(quorum(&configuration, 0));
    member_add(&configuration, 2, RAFT_MEMBER_VOTER);
    cr_assert_not(quorum(&configuration, IDS(1, 0, 0, 0)));
    cr_assert(quorum(&configuration, IDS(1, 1, 0, 0)));
    member_add(&configuration, 3, RAFT_MEMBER_VOTER);
    cr_assert(quorum(&configuration, IDS(0, 1, 1, 0)));
    member_add(&configuration, 4, RAFT_MEMBER_LEARNER);
    cr_assert_not(quorum(&configuration, IDS(1, 0, 0, 1)), "a learner counts nowhere");
}

Test(configuration, rule_30_a_joint_quorum_needs_both_majorities)
{
    static struct raft_configuration configuration;
    configuration.joint = true;
    member_add(&configuration, 1, RAFT_MEMBER_VOTER_OLD);
    member_add(&configuration, 2, RAFT_MEMBER_VOTER_OLD | RAFT_MEMBER_VOTER);
    member_add(&configuration, 3, RAFT_MEMBER_VOTER_OLD | RAFT_MEMBER_VOTER);
    member_add(&configuration, 4, RAFT_MEMBER_VOTER);
    cr_assert(quorum(&configuration, IDS(0, 1, 1, 0)));
    cr_assert_not(quorum(&configuration, IDS(1, 1, 0, 0)), "only the old majority");
    cr_assert_not(quorum(&configuration, IDS(0, 1, 0, 1)), "only the new majority");
    cr_assert(quorum(&configuration, IDS(1, 1, 0, 1)));
    cr_assert(raft_configuration_is_voter(&configuration, 1));

    const uint64_t match[] = {0, 9, 5, 3, 8};
    cr_assert_eq(raft_configuration_committed(&configuration, value_of, match), 5);
    const uint64_t newer[] = {0, 2, 3, 9, 9};
    cr_assert_eq(raft_configuration_committed(&configuration, value_of, newer), 3,
                 "the new majority has 9, the old one only 3");
}

Test(configuration, committed_is_what_a_majority_has_reached)
{
    static struct raft_configuration configuration;
    const uint64_t match[] = {0, 4, 7, 6, 100};
    cr_assert_eq(raft_configuration_committed(&configuration, value_of, match), 0);
    member_add(&configuration, 1, RAFT_MEMBER_VOTER);
    cr_assert_eq(raft_configuration_committed(&configuration, value_of, match), 4);
    member_add(&configuration, 2, RAFT_MEMBER_VOTER);
    cr_assert_eq(raft_configuration_committed(&configuration, value_of, match), 4);
    member_add(&configuration, 3, RAFT_MEMBER_VOTER);
    cr_assert_eq(raft_configuration_committed(&configuration, value_of, match), 6);
    member_add(&configuration, 4, RAFT_MEMBER_LEARNER);
    cr_assert_eq(raft_configuration_committed(&configuration, value_of, match), 6);
    cr_assert_not(raft_configuration_is_voter(&configuration, 4));
}

Test(configuration, members_are_found_by_name)
{
    static struct raft_configuration configuration;
    member_add(&configuration, 1, RAFT_MEMBER_VOTER);
    member_add(&configuration, 2, RAFT_MEMBER_VOTER);
    cr_assert_eq(raft_configuration_find_name(&configuration, "n2"), &configuration.members[1]);
    cr_assert_null(raft_configuration_find_name(&configuration, "n3"));
    cr_assert_eq(raft_configuration_find_name(&configuration, "n1"), &configuration.members[0]);
    member_add(&configuration, 3, RAFT_MEMBER_VOTER);
    configuration.member_count--; /* what was a member is none */
    cr_assert_null(raft_configuration_find_name(&configuration, "n3"));
}

Test(configuration, flags_that_need_more_than_32_bits_are_malformed)
{
    static struct raft_configuration written, read;
    member_add(&written, 1, RAFT_MEMBER_VOTER);
    struct buf *buf = raft_configuration_encode(&written);
    const size_t at = 6; /* behind {version, joint, [[id, ...: one byte each */
    cr_assert_eq(buf->data[at - 1], 1, "the id");
    cr_assert_eq(buf->data[at], RAFT_MEMBER_VOTER);
    struct buf *longer = buf_create(buf->bytes + 8);
    memcpy(longer->data, buf->data, at);
    memcpy(longer->data + at, "\xcf\0\0\0\1\0\0\0", 8);
    memcpy(longer->data + at + 8, buf->data + at, buf->bytes - at);
    cr_assert_eq(raft_configuration_decode((struct slice){longer->data, longer->bytes}, &read),
                 CONCLAVE_MALFORMED);
    buf_unref(longer);
    buf_unref(buf);
}

/* Bytes of a peer or a disk: whatever no program writes is refused. */
Test(configuration, impossible_members_are_refused)
{
    static struct raft_configuration good, wrong;
    member_add(&good, 1, RAFT_MEMBER_VOTER);
    member_add(&good, 2, RAFT_MEMBER_VOTER);
    good.removed[good.removed_count++] = 9;
    cr_assert_eq(decode_code(&good), CONCLAVE_OK);
    wrong = good;
    wrong.members[1].id = UINT64_C(1) << 53;
    cr_assert_eq(decode_code(&wrong), CONCLAVE_MALFORMED, "an id that no language can hold");
    wrong = good;
    wrong.members[1].name[0] = '\0';
    cr_assert_eq(decode_code(&wrong), CONCLAVE_MALFORMED, "nobody");
    wrong = good;
    wrong.members[1].peer[0] = '\0';
    cr_assert_eq(decode_code(&wrong), CONCLAVE_MALFORMED, "nowhere");
    wrong = good;
    wrong.members[1].id = 9;
    cr_assert_eq(decode_code(&wrong), CONCLAVE_MALFORMED, "an id of a removed one");
    wrong = good;
    wrong.joint = true;
    for (uint32_t i = wrong.member_count; i < CONCLAVE_VOTERS_MAX + 1; i++)
        member_add(&wrong, 100 + i, RAFT_MEMBER_VOTER_OLD);
    for (uint32_t i = 0; i < 2; i++)
        wrong.members[i].flags |= RAFT_MEMBER_VOTER_OLD;
    cr_assert_eq(decode_code(&wrong), CONCLAVE_MALFORMED, "too many voters before");
}

/* A snapshot that a peer has sent: numbers and members that cannot be are refused. */
Test(configuration, impossible_snapshots_are_refused)
{
    static struct raft_configuration configuration;
    member_add(&configuration, 1, RAFT_MEMBER_VOTER);
    const struct raft_snapshot good = {.last = {.term = 2, .index = 9},
                                       .configuration_index = 9,
                                       .configuration = raft_configuration_encode(&configuration)};
    const uint64_t beyond = RAFT_NUMBER_MAX + 1;
    struct raft_configuration *read = NULL;
    cr_assert_eq(raft_snapshot_read(&good, &read), CONCLAVE_OK);
    cr_assert_eq(read->member_count, 1);
    free(read);
    struct raft_snapshot wrong[9];
    for (size_t i = 0; i < 9; i++)
        wrong[i] = good;
    wrong[0].last.index = wrong[1].last.term = 0;
    wrong[2].last.index = wrong[3].last.term = beyond;
    wrong[4].configuration = NULL;
    wrong[5].configuration_index = 0;
    wrong[6].configuration_index = 10;
    wrong[7].configuration = buf_copy("\xdd\xff\xff\xff\xff", 5);
    wrong[8].configuration = buf_copy(good.configuration->data, good.configuration->bytes - 1);
    for (size_t i = 0; i < 9; i++)
        cr_assert_eq(raft_snapshot_read(&wrong[i], &read), CONCLAVE_MALFORMED, "snapshot %zu", i);
    buf_unref(wrong[7].configuration);
    buf_unref(wrong[8].configuration);
    buf_unref(good.configuration);
}

Test(configuration, with_one_removed_id_more_than_can_be_remembered_is_malformed)
{
    static struct raft_configuration written, read;
    member_add(&written, 1, RAFT_MEMBER_VOTER);
    written.removed_count = RAFT_REMOVED_MAX;
    for (uint32_t i = 0; i < RAFT_REMOVED_MAX; i++)
        written.removed[i] = 100; /* one byte each */
    struct buf *buf = raft_configuration_encode(&written);
    const size_t head = buf->bytes - RAFT_REMOVED_MAX - 2; /* the number of them, big-endian */
    struct buf *longer = buf_create(buf->bytes + 1);
    memcpy(longer->data, buf->data, buf->bytes);
    longer->data[buf->bytes] = 100;
    cr_assert_eq(raft_configuration_decode((struct slice){buf->data, buf->bytes}, &read),
                 CONCLAVE_OK);
    cr_assert_eq(longer->data[head] << 8 | longer->data[head + 1], RAFT_REMOVED_MAX);
    longer->data[head + 1]++;
    cr_assert_eq(raft_configuration_decode((struct slice){longer->data, longer->bytes}, &read),
                 CONCLAVE_MALFORMED);
    buf_unref(longer);
    buf_unref(buf);
}

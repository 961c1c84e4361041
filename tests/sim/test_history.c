/* The linearizability check, fed histories of a few keys. Times and answers are chosen by hand. */
#include "tests/sim/history.h"

#include <criterion/criterion.h>
#include <string.h>

static struct ops ops;
static char text[256];

static void setup(void)
{
    memset(&ops, 0, sizeof ops);
}

static void teardown(void)
{
    ops_deinit(&ops);
}

TestSuite(history, .init = setup, .fini = teardown);

/* finished 0: never answered. */
static uint64_t add(struct op op, uint64_t invoked, uint64_t finished)
{
    op.state = finished ? OP_OK : OP_LOST;
    op.invoked = op.since = invoked;
    op.finished = finished;
    return ops_add(&ops, op);
}

/* A put of key 0 that was answered with its revision and the one it replaced. */
static uint64_t put(uint64_t invoked, uint64_t finished, uint64_t revision, uint64_t previous)
{
    return add((struct op){.kind = OP_PUT, .revision = revision, .value = previous}, invoked,
               finished);
}

/* A put of another key. */
static uint64_t put_in(uint32_t cell, uint64_t invoked, uint64_t finished, uint64_t revision)
{
    return add((struct op){.kind = OP_PUT, .cell = cell, .revision = revision}, invoked, finished);
}

/* A put on condition that the key was last changed at a revision (0: is not there): done, with the
 * revision that it replaced, or refused at a revision, with the one that the key had. */
static uint64_t put_if(uint64_t condition, uint64_t invoked, uint64_t finished, uint64_t revision,
                       uint64_t previous)
{
    return add((struct op){.kind = OP_PUT,
                           .conditional = true,
                           .condition = condition,
                           .revision = revision,
                           .value = previous},
               invoked, finished);
}

static uint64_t refused_if(uint64_t condition, uint64_t invoked, uint64_t finished,
                           uint64_t revision, uint64_t present)
{
    uint64_t number = put_if(condition, invoked, finished, revision, present);
    ops.items[number].code = CONCLAVE_COMPARE_FAILED;
    return number;
}

/* A delete of key 0, and how many it took away. */
static uint64_t deleted(uint64_t invoked, uint64_t finished, uint64_t revision, uint64_t count)
{
    return add((struct op){.kind = OP_DELETE, .revision = revision, .value = count}, invoked,
               finished);
}

/* A command that was sent first as `first`, and was answered now. */
static void put_again(uint64_t first, uint64_t invoked, uint64_t finished, uint64_t revision)
{
    add((struct op){.kind = OP_PUT, .first = first, .revision = revision}, invoked, finished);
}

/* A read of the first three keys. */
static void range(uint64_t invoked, uint64_t finished, uint64_t revision, struct op_item one,
                  struct op_item two, struct op_item three)
{
    add((struct op){.kind = OP_RANGE, .revision = revision, .items = {one, two, three}}, invoked,
        finished);
}

static uint64_t lost_put(uint64_t invoked)
{
    return add((struct op){.kind = OP_PUT}, invoked, 0);
}

static struct op_item item(uint64_t value, uint64_t create, uint64_t mod, uint64_t version)
{
    return (struct op_item){
        .value = value, .create_revision = create, .mod_revision = mod, .version = version};
}

static const struct op_item nothing = {0};

/* A read of key 0 at a revision. */
static uint64_t get(uint64_t invoked, uint64_t finished, uint64_t revision, struct op_item seen)
{
    return add((struct op){.kind = OP_GET, .revision = revision, .items = {seen}}, invoked,
               finished);
}

static void is(enum history_verdict expected)
{
    enum history_verdict verdict = history_check(&ops, 1000000, text, sizeof text);
    cr_assert_eq(verdict, expected, "%d: %s", (int)verdict, text);
    cr_assert(verdict != HISTORY_VIOLATED || strlen(text) > 0);
}

static void is_good(void)
{
    is(HISTORY_LINEARIZABLE);
}

static void is_bad(void)
{
    is(HISTORY_VIOLATED);
}

/* --- What may be ------------------------------------------------------------------------------ */

Test(history, allows_reads_in_order)
{
    get(1, 2, 0, nothing);
    uint64_t a = put(3, 4, 1, 0);
    get(5, 6, 1, item(a, 1, 1, 1));
    uint64_t b = put(7, 8, 2, 1);
    get(9, 10, 2, item(b, 1, 2, 2));
    is_good();
}

Test(history, allows_either_value_while_a_write_runs)
{
    uint64_t a = put(1, 2, 1, 0);
    uint64_t b = put(3, 9, 2, 1);
    get(4, 5, 1, item(a, 1, 1, 1));
    get(6, 7, 2, item(b, 1, 2, 2));
    is_good();
}

Test(history, allows_an_unanswered_write_to_be_seen_late)
{
    uint64_t a = lost_put(1);
    get(2, 3, 0, nothing);
    get(8, 9, 1, item(a, 1, 1, 1));
    is_good();
}

Test(history, allows_an_unanswered_write_never_to_happen)
{
    lost_put(1);
    get(8, 9, 0, nothing);
    is_good();
}

Test(history, allows_unanswered_writes_that_nobody_saw_between_others)
{
    put(1, 2, 1, 0);
    lost_put(3);
    lost_put(4);
    add((struct op){.kind = OP_DELETE}, 5, 0);
    uint64_t b = put(6, 7, 5, 0); /* 2 and 3 were puts, 4 the delete */
    get(8, 9, 5, item(b, 5, 5, 1));
    is_good();
}

Test(history, allows_conditions_that_hold_and_that_do_not)
{
    uint64_t a = put(1, 2, 1, 0);
    refused_if(7, 3, 4, 1, 1);
    get(5, 6, 1, item(a, 1, 1, 1));
    uint64_t b = put_if(1, 7, 8, 2, 1);
    get(9, 10, 2, item(b, 1, 2, 2));
    is_good();
}

Test(history, allows_a_delete_and_a_new_beginning)
{
    put(1, 2, 1, 0);
    deleted(3, 4, 2, 1);
    get(5, 6, 2, nothing);
    deleted(7, 8, 2, 0);
    uint64_t b = put(9, 10, 3, 0);
    get(11, 12, 3, item(b, 3, 3, 1));
    is_good();
}

Test(history, allows_a_range_to_be_deleted_as_one_change)
{
    put(1, 2, 1, 0);
    uint64_t b = put_in(1, 3, 4, 2);
    uint64_t c = put_in(2, 5, 6, 3);
    range(7, 8, 3, item(1, 1, 1, 1), item(b, 2, 2, 1), item(c, 3, 3, 1));
    add((struct op){.kind = OP_DELETE_RANGE, .cell_end = 2, .revision = 4, .value = 2}, 9, 10);
    range(11, 12, 4, nothing, nothing, item(c, 3, 3, 1));
    is_good();
}

/* A command that was sent again and answered then took effect at any time since the first one. */
Test(history, counts_a_repeated_command_once_from_its_first_sending)
{
    uint64_t a = lost_put(1);
    get(2, 3, 1, item(a, 1, 1, 1));
    put_again(a, 4, 5, 1);
    get(6, 7, 1, item(a, 1, 1, 1));
    is_good();
}

Test(history, allows_a_stale_read_within_its_bound)
{
    put(1, 2, 1, 0);
    put(5, 6, 2, 1);
    uint64_t read = get(9, 10, 1, item(1, 1, 1, 1));
    ops.items[read].since = 4; /* what was committed then */
    is_good();
}

/* --- What may not ----------------------------------------------------------------------------- */

Test(history, finds_a_stale_read)
{
    uint64_t a = put(1, 2, 1, 0);
    put(3, 4, 2, 1);
    get(5, 6, 1, item(a, 1, 1, 1));
    is_bad();
}

Test(history, finds_a_stale_read_beyond_its_bound)
{
    uint64_t a = put(1, 2, 1, 0);
    put(5, 6, 2, 1);
    uint64_t read = get(9, 10, 1, item(a, 1, 1, 1));
    ops.items[read].since = 7;
    is_bad();
}

Test(history, finds_a_lost_write)
{
    put(1, 2, 1, 0);
    get(3, 4, 0, nothing);
    is_bad();
}

Test(history, finds_a_lost_write_under_a_right_revision)
{
    put(1, 2, 1, 0);
    get(3, 4, 1, nothing);
    is_bad();
}

Test(history, finds_a_read_that_goes_back)
{
    uint64_t a = put(1, 2, 1, 0);
    uint64_t b = put(3, 20, 2, 1);
    get(4, 5, 2, item(b, 1, 2, 2));
    get(6, 7, 1, item(a, 1, 1, 1));
    is_bad();
}

Test(history, finds_a_read_before_its_write)
{
    get(1, 2, 1, item(2, 1, 1, 1));
    put(3, 4, 1, 0);
    is_bad();
}

Test(history, finds_a_value_that_nobody_wrote)
{
    get(1, 2, 1, item(9, 1, 1, 1));
    is_bad();
}

Test(history, finds_a_phantom)
{
    uint64_t a = lost_put(1);
    ops.items[a].state = OP_REFUSED;
    get(2, 3, 1, item(a, 1, 1, 1));
    is_bad();
}

Test(history, finds_a_value_of_another_key)
{
    uint64_t a = put_in(1, 1, 2, 1);
    get(3, 4, 1, item(a, 1, 1, 1));
    is_bad();
}

Test(history, finds_an_unanswered_write_seen_and_gone)
{
    uint64_t a = put(1, 2, 1, 0);
    uint64_t b = lost_put(3);
    get(4, 5, 2, item(b, 1, 2, 2));
    get(6, 7, 2, item(a, 1, 1, 1));
    is_bad();
}

Test(history, finds_a_command_applied_twice)
{
    uint64_t a = lost_put(1);
    put_again(a, 2, 3, 1);
    get(4, 5, 2, item(a, 1, 2, 2));
    is_bad();
}

Test(history, finds_a_command_applied_twice_that_nobody_read)
{
    uint64_t a = lost_put(1);
    put_again(a, 2, 3, 1);
    put_in(1, 4, 5, 3);
    is_bad();
}

Test(history, finds_revisions_in_another_order_than_time)
{
    put(1, 2, 2, 1);
    put(3, 4, 1, 0);
    is_bad();
}

Test(history, finds_one_revision_told_twice)
{
    put(1, 9, 1, 0);
    put_in(1, 1, 9, 1);
    is_bad();
}

Test(history, finds_a_revision_that_rose_by_nothing)
{
    put(1, 2, 1, 0);
    put(3, 4, 3, 1);
    is_bad();
}

Test(history, finds_a_wrong_previous_revision)
{
    put(1, 2, 1, 0);
    put(3, 4, 2, 0);
    is_bad();
}

Test(history, finds_a_wrong_version)
{
    uint64_t a = put(1, 2, 1, 0);
    get(3, 4, 1, item(a, 1, 1, 2));
    is_bad();
}

Test(history, finds_a_wrong_create_revision)
{
    put(1, 2, 1, 0);
    uint64_t b = put(3, 4, 2, 1);
    get(5, 6, 2, item(b, 2, 2, 2));
    is_bad();
}

Test(history, finds_a_condition_ignored)
{
    put(1, 2, 1, 0);
    put_if(0, 3, 4, 2, 1);
    is_bad();
}

Test(history, finds_a_condition_that_held_refused)
{
    put(1, 2, 1, 0);
    refused_if(1, 3, 4, 1, 1);
    is_bad();
}

Test(history, finds_a_delete_that_took_nothing_away)
{
    put(1, 2, 1, 0);
    deleted(3, 4, 1, 0);
    is_bad();
}

Test(history, finds_a_range_that_mixes_two_moments)
{
    uint64_t a = put(1, 2, 1, 0);
    uint64_t b = put_in(1, 3, 4, 2);
    put(5, 6, 3, 1);
    range(7, 8, 3, item(a, 1, 1, 1), item(b, 2, 2, 1), nothing);
    is_bad();
}

/* --- Leases -----------------------------------------------------------------------------------
 */

/* So many ticks are so many milliseconds, where leases are. */
static uint64_t timed(uint64_t number)
{
    struct op *op = &ops.items[number];
    op->invoked_us = op->invoked * 1000;
    op->finished_us = op->finished * 1000;
    return number;
}

/* Lease 7, of ten milliseconds. */
static void granted(uint64_t invoked, uint64_t finished)
{
    timed(add((struct op){.kind = OP_GRANT, .ttl_ms = 10, .value = 7, .granted_ms = 10}, invoked,
              finished));
}

static void renewed(uint64_t invoked, uint64_t finished, uint64_t revision)
{
    timed(add(
        (struct op){
            .kind = OP_RENEW, .lease = 7, .revision = revision, .value = 7, .granted_ms = 10},
        invoked, finished));
}

static uint64_t put_with(uint64_t lease, uint64_t invoked, uint64_t finished)
{
    return timed(
        add((struct op){.kind = OP_PUT, .lease = lease, .revision = 1}, invoked, finished));
}

/* A renewal that was told that the lease is over. */
static void refused_lease(uint64_t invoked, uint64_t finished, uint64_t revision)
{
    uint64_t number = timed(
        add((struct op){.kind = OP_RENEW, .lease = 7, .revision = revision}, invoked, finished));
    ops.items[number].code = CONCLAVE_LEASE_EXPIRED;
}

static struct op_item held_item(uint64_t value, uint64_t lease)
{
    struct op_item held = item(value, 1, 1, 1);
    held.lease = lease;
    return held;
}

Test(history, allows_a_key_to_go_when_its_lease_is_over)
{
    granted(1, 2);
    uint64_t a = put_with(7, 3, 4);
    timed(get(8, 9, 1, held_item(a, 7)));
    timed(get(10, 11, 2, nothing));
    refused_lease(12, 13, 2);
    is_good();
}

Test(history, finds_a_key_that_goes_before_its_lease_is_over)
{
    granted(1, 2);
    put_with(7, 3, 4);
    timed(get(9, 10, 2, nothing));
    is_bad();
}

Test(history, finds_a_key_that_goes_though_its_lease_was_renewed)
{
    granted(1, 2);
    put_with(7, 3, 4);
    renewed(5, 6, 1);
    timed(get(13, 14, 2, nothing));
    is_bad();
}

Test(history, finds_a_key_that_goes_before_its_lease_was_renewed)
{
    granted(1, 2);
    put_with(7, 3, 4);
    renewed(20, 21, 2);
    timed(get(40, 41, 2, nothing));
    is_bad();
}

Test(history, finds_a_key_without_a_lease_that_goes)
{
    put_with(0, 3, 4);
    timed(get(40, 41, 2, nothing));
    is_bad();
}

Test(history, finds_a_key_that_is_there_without_the_lease_it_was_put_with)
{
    granted(1, 2);
    uint64_t a = put_with(7, 3, 4);
    timed(get(5, 6, 1, held_item(a, 0)));
    is_bad();
}

Test(history, allows_a_key_of_its_own_time_to_go_and_finds_it_gone_too_early)
{
    uint64_t a = put_with(0, 3, 4);
    ops.items[a].ttl_ms = 10;
    timed(get(5, 6, 1, held_item(a, 9)));
    uint64_t gone = timed(get(12, 13, 2, nothing));
    is_good();
    ops.items[gone].finished_us = 12000;
    is_bad();
}

Test(history, allows_a_key_to_go_with_a_lease_that_is_revoked)
{
    granted(1, 2);
    put_with(7, 3, 4);
    timed(add((struct op){.kind = OP_REVOKE, .lease = 7, .revision = 2, .value = 1}, 5, 6));
    timed(get(7, 8, 2, nothing));
    refused_lease(7, 8, 2);
    is_good();
}

Test(history, finds_a_lease_refused_before_it_is_over)
{
    granted(1, 2);
    refused_lease(8, 9, 0);
    is_bad();
}

Test(history, finds_a_lease_refused_that_holds_a_key)
{
    granted(1, 2);
    uint64_t a = put_with(7, 3, 4);
    refused_lease(20, 21, 1);
    timed(get(22, 23, 1, held_item(a, 7)));
    is_bad();
}

/* --- The topic --------------------------------------------------------------------------------
 */

static uint64_t created(uint64_t invoked, uint64_t finished, uint64_t revision, uint64_t id)
{
    return add((struct op){.kind = OP_CREATE, .revision = revision, .value = id}, invoked,
               finished);
}

/* Sequence 0: it was there under its id. */
static uint64_t published(uint64_t invoked, uint64_t finished, uint64_t revision, uint64_t sequence)
{
    return add(
        (struct op){.kind = OP_PUBLISH, .message_id = 3, .revision = revision, .value = sequence},
        invoked, finished);
}

/* If so many messages are there; refused: there are `present` ones. */
static void refused_publish(uint64_t expected, uint64_t invoked, uint64_t finished,
                            uint64_t revision, uint64_t present)
{
    uint64_t number = published(invoked, finished, revision, present);
    ops.items[number].conditional = true;
    ops.items[number].condition = expected;
    ops.items[number].code = CONCLAVE_COMPARE_FAILED;
}

Test(history, allows_messages_between_changes_of_keys)
{
    created(1, 2, 1, 1);
    uint64_t a = put(3, 4, 2, 0);
    published(5, 6, 3, 1);
    created(7, 8, 3, 1);
    published(7, 8, 3, 0);
    refused_publish(0, 7, 8, 3, 1);
    published(9, 10, 4, 2);
    get(11, 12, 4, item(a, 2, 2, 1));
    is_good();
}

Test(history, allows_a_message_that_nobody_was_answered)
{
    created(1, 2, 1, 1);
    add((struct op){.kind = OP_PUBLISH}, 3, 0);
    published(5, 6, 3, 2);
    is_good();
}

Test(history, finds_a_gap_in_the_sequence)
{
    created(1, 2, 1, 1);
    published(5, 6, 2, 2);
    is_bad();
}

Test(history, finds_a_sequence_that_was_given_twice)
{
    created(1, 2, 1, 1);
    published(3, 4, 2, 1);
    published(5, 6, 3, 1);
    is_bad();
}

Test(history, finds_a_message_before_its_topic)
{
    published(3, 4, 1, 1);
    created(5, 6, 2, 2);
    is_bad();
}

Test(history, finds_a_topic_that_was_made_anew)
{
    created(1, 2, 1, 1);
    created(3, 4, 2, 2);
    is_bad();
}

Test(history, finds_a_sequence_that_was_next_and_refused)
{
    created(1, 2, 1, 1);
    published(3, 4, 2, 1);
    refused_publish(1, 5, 6, 2, 1);
    is_bad();
}

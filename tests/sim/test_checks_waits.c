/* What somebody who waits for a work group is told wrongly is found. */
#include "base/list.h"
#include "codec/stream.h"
#include "tests/sim/waiter.h"

#include <criterion/criterion.h>

static struct reference reference;
static struct waiter waiter;
static uint64_t number;

static struct reference_group *group(void)
{
    return &reference.groups.items[0];
}

/* The topic t has four messages, and of its group g something has come back twice. */
static void setup(void)
{
    reference_init(&reference, &(struct session_limits){0});
    LIST_RESERVE(&reference.topics);
    reference.topics.items[reference.topics.count++] =
        (struct reference_topic){.id = 10, .first = 1, .end = 5};
    LIST_RESERVE(&reference.groups);
    reference.groups.items[reference.groups.count++] =
        (struct reference_group){.id = 11, .topic = 10, .created = 3, .returned = 2};
    waiter_init(&waiter, &reference, 0, 0);
    cr_assert(waiter_choose(&waiter, true));
    buf_unref(waiter_subscribe(&waiter));
    number = 0;
}

static void teardown(void)
{
    reference_deinit(&reference);
}

TestSuite(waiters, .init = setup, .fini = teardown);

static bool frame(struct stream_frame frame)
{
    struct pack pack;
    frame.number = ++number;
    pack_init(&pack, 0);
    stream_frame_pack(&pack, &frame);
    bool goes_on = waiter_take(&waiter, (struct slice){pack.buf->data, pack.bytes});
    pack_deinit(&pack);
    return goes_on;
}

static void begun(uint64_t position)
{
    frame((struct stream_frame){.type = STREAM_BEGUN, .position = position});
}

static void woken(uint64_t wake)
{
    struct pack items;
    pack_init(&items, 0);
    pack_uint(&items, wake);
    frame((struct stream_frame){.type = STREAM_EVENTS,
                                .position = wake,
                                .count = 1,
                                .items = {items.buf->data, items.bytes}});
    pack_deinit(&items);
}

static void mark(uint64_t position, uint64_t ask)
{
    frame((struct stream_frame){.type = STREAM_PROGRESS, .position = position, .ask = ask});
}

static void is_good(void)
{
    cr_assert_null(waiter.wrong, "%s", waiter.wrong);
}

static void is_found(const char *wrong)
{
    cr_assert_str_eq(waiter.wrong, wrong);
}

Test(waiters, are_told_of_what_comes)
{
    begun(7);
    cr_assert(waiter_rests(&waiter));
    group()->returned = 4;
    cr_assert_not(waiter_rests(&waiter));
    woken(8); /* of the first of both, a while ago */
    woken(9);
    mark(9, 0);
    is_good();
    cr_assert_eq(waiter.wakes, 2);
    cr_assert(waiter_rests(&waiter));
}

Test(waiters, begin_before_what_there_was_when_they_asked)
{
    begun(6);
    is_found("what comes begins elsewhere");
}

Test(waiters, begin_again_elsewhere)
{
    begun(7);
    waiter_lost(&waiter);
    buf_unref(waiter_subscribe(&waiter));
    number = 0;
    begun(6);
    is_found("it begins elsewhere");
}

Test(waiters, are_not_woken)
{
    begun(7);
    group()->returned++;
    mark(8, 0);
    is_found("there was something, and it was not woken");
}

Test(waiters, are_woken_by_nothing)
{
    begun(7);
    woken(7);
    is_found("it is woken by nothing new");
}

Test(waiters, are_woken_by_what_did_not_happen)
{
    begun(7);
    woken(8);
    is_found("the group has not come so far");
}

Test(waiters, hear_a_mark_that_is_older_than_their_question)
{
    begun(7);
    group()->returned++;
    waiter_ask(&waiter);
    mark(7, 1);
    is_found("a mark is older than what it was asked for");
}

Test(waiters, know_that_a_frame_was_lost)
{
    begun(7);
    number++;
    cr_assert_not(frame((struct stream_frame){.type = STREAM_PROGRESS, .position = 7}));
    is_good();
}

Test(waiters, hear_of_a_gap)
{
    begun(7);
    frame((struct stream_frame){.type = STREAM_RESYNC, .position = 7, .oldest = 9});
    is_found("a frame is of no type that there is");
}

Test(waiters, hear_bytes)
{
    cr_assert(waiter_take(&waiter, (struct slice){(const uint8_t *)"\x01", 1}));
    is_found("a frame cannot be read");
}

Test(waiters, are_told_that_a_group_is_gone_when_it_is)
{
    waiter_ended(&waiter, CONCLAVE_TIMEOUT);
    is_good();
    group()->deleted = 9;
    waiter_ended(&waiter, CONCLAVE_NOT_FOUND);
    is_good();
    cr_assert_eq(waiter.deletions, 1);
    cr_assert(waiter_rests(&waiter));
    cr_assert_not(waiter_choose(&waiter, true));
}

Test(waiters, are_told_that_a_group_is_gone_and_it_is_not)
{
    waiter_ended(&waiter, CONCLAVE_NOT_FOUND);
    is_found("a group that is there was not found");
}

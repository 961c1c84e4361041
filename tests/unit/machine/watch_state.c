/* What a watcher that wants the state is told of changes that come between two pieces of it, and
 * who is told that there were changes. */
#include "rig.h"

#include "codec/watch.h"

#include <criterion/criterion.h>
#include <stdio.h>

enum { PIECES_MAX = 40 };

/* The keys of the pieces so far, in their order: "a=1 b=2 a- ". Minus: it is gone. */
struct told {
    struct feed feed;
    struct feed_interest interest;
    struct feed_state state;
    char text[400];
};

static void begin(struct told *told, struct rig *rig)
{
    *told = (struct told){.feed = kv_watch_feed(rig->kv), .interest = {.no_end = true}};
    told->feed.ops->skip(told->feed.arg);
    told->state.interest = &told->interest;
}

static void take(struct told *told, const struct pack *items)
{
    struct cursor cursor;
    struct kv_item item;
    cursor_init(&cursor, items->buf->data, items->bytes);
    for (uint32_t i = 0; i < told->state.count; i++) {
        size_t used = strlen(told->text);
        cr_assert_eq(watch_item_read(&cursor, &item), CONCLAVE_OK);
        cr_assert_gt(item.mod_revision, 0, "also of one that is gone");
        (void)snprintf(told->text + used, sizeof told->text - used, "%.*s%s%.*s ",
                       (int)item.key.bytes, (const char *)item.key.data, item.version ? "=" : "-",
                       (int)item.value.bytes, (const char *)item.value.data);
    }
    cr_assert(cursor_done(&cursor));
}

/* One piece, for which so many keys and changes are looked at. */
static void piece(struct told *told, uint32_t looks)
{
    struct pack items;
    pack_init(&items, 0);
    told->state.bytes = 1000;
    told->state.looks = looks;
    told->state.items = &items;
    told->state.count = 0;
    cr_assert_eq(told->feed.ops->state(told->feed.arg, &told->state), CONCLAVE_OK);
    take(told, &items);
    pack_deinit(&items);
}

static void rest(struct told *told, uint32_t looks)
{
    for (uint32_t i = 0; !told->state.done; i++) {
        cr_assert_lt(i, PIECES_MAX, "it has no end");
        piece(told, looks);
    }
}

/* Keys a to f; a to d are told, and then go at once. */
static void tell_some(struct told *told, struct rig *rig)
{
    const char *const keys[] = {"a", "b", "c", "d", "e", "f"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        cr_assert_eq(rig_put(rig, keys[i], "1"), CONCLAVE_OK);
    begin(told, rig);
    piece(told, 4);
    cr_assert_not(told->state.done);
    cr_assert_eq(rig_delete_range(rig, "a", "e"), CONCLAVE_OK);
}

Test(watch_state, is_caught_up_in_the_middle_of_a_revision)
{
    for (uint32_t looks = 1; looks <= 5; looks++) {
        struct rig *rig = rig_create();
        struct told told;
        tell_some(&told, rig);
        rest(&told, looks);
        cr_assert_str_eq(told.text, "a=1 b=1 c=1 d=1 a- b- c- d- e=1 f=1 ", "%s", told.text);
        cr_assert_eq(told.state.position, 8, "of all before the next revision");
        rig_destroy(rig);
    }
}

Test(watch_state, is_caught_up_with_what_comes_while_it_is)
{
    struct rig *rig = rig_create();
    struct told told;
    tell_some(&told, rig);
    piece(&told, 3);
    cr_assert_eq(rig_put(rig, "b", "2"), CONCLAVE_OK);
    cr_assert_eq(rig_put(rig, "f", "2"), CONCLAVE_OK);
    rest(&told, 1);
    cr_assert_str_eq(told.text, "a=1 b=1 c=1 d=1 a- b- c- d- b=2 e=1 f=2 ", "%s", told.text);
    cr_assert_eq(told.state.position, 10);
    rig_destroy(rig);
}

Test(watch_state, tells_the_key_at_which_it_goes_on_once)
{
    struct rig *rig = rig_create();
    struct told told;
    tell_some(&told, rig);
    cr_assert_eq(rig_put(rig, "e", "2"), CONCLAVE_OK);
    rest(&told, 100);
    cr_assert_str_eq(told.text, "a=1 b=1 c=1 d=1 a- b- c- d- e=2 f=1 ", "%s", told.text);
    rig_destroy(rig);
}

/* Six keys, of which four are told and go with revision 7, so that the next piece begins with that;
 * then so many changes are kept. What the next piece comes to. */
static int piece_after_keeping(uint64_t changes)
{
    struct rig *rig = rig_create();
    struct told told;
    struct pack items;
    struct kv_command keep = {.opcode = KV_SETTINGS};
    keep.settings.given[KV_SETTING_CHANGES] = true;
    keep.settings.values[KV_SETTING_CHANGES] = changes;
    tell_some(&told, rig);
    cr_assert_eq(told.state.position, 7);
    cr_assert_eq(rig_command(rig, &keep), CONCLAVE_OK);
    pack_init(&items, 0);
    told.state.looks = 100;
    told.state.items = &items;
    int code = told.feed.ops->state(told.feed.arg, &told.state);
    pack_deinit(&items);
    rig_destroy(rig);
    return code;
}

Test(watch_state, is_lost_if_what_came_meanwhile_is_kept_no_more)
{
    cr_assert_eq(piece_after_keeping(4), CONCLAVE_OK, "all of that revision");
    cr_assert_eq(piece_after_keeping(3), FEED_LOST, "its first change is gone");
    cr_assert_eq(piece_after_keeping(1), FEED_LOST);
}

static void count_touch(void *arg, uint8_t space, struct slice name, uint64_t from, uint64_t end)
{
    unsigned *count = arg;
    (void)space;
    (void)name;
    cr_expect_eq(from + 1, end);
    ++*count;
}

/* Four keys go with one revision, and then so many changes are kept. */
static int changes_after_keeping(uint64_t changes, unsigned *ret_touches)
{
    struct rig *rig = rig_create();
    struct told told;
    struct kv_command keep = {.opcode = KV_SETTINGS};
    keep.settings.given[KV_SETTING_CHANGES] = true;
    keep.settings.values[KV_SETTING_CHANGES] = changes;
    tell_some(&told, rig);
    cr_assert_eq(rig_command(rig, &keep), CONCLAVE_OK);
    *ret_touches = 0;
    int code = told.feed.ops->changes(told.feed.arg, count_touch, ret_touches);
    rig_destroy(rig);
    return code;
}

Test(watch_state, who_waits_for_changes_hears_of_all_or_that_some_are_lost)
{
    unsigned touches;
    cr_assert_eq(changes_after_keeping(4, &touches), CONCLAVE_OK);
    cr_expect_eq(touches, 4);
    cr_assert_eq(changes_after_keeping(3, &touches), FEED_LOST, "the first one is gone");
    cr_expect_eq(touches, 0);
}

/* So much a turn of the state machine's thread takes at most, whatever nobody wants of it. */
Test(watch_state, a_reading_looks_at_no_more_than_it_may)
{
    struct rig *rig = rig_create();
    struct feed feed = kv_watch_feed(rig->kv);
    struct feed_interest interest;
    struct pack spec, items;
    uint64_t oldest, next;
    bool state;
    for (int i = 0; i < 5; i++)
        cr_assert_eq(rig_put(rig, "a", "1"), CONCLAVE_OK);
    pack_init(&spec, 0);
    pack_init(&items, 0);
    watch_spec_pack(&spec, &(struct watch_spec){.bounds.no_end = true, .what = WATCH_NO_PUTS});
    struct slice bytes = {spec.buf->data, spec.bytes};
    cr_assert_eq(feed.ops->check(feed.arg, bytes, &interest, &state), CONCLAVE_OK);
    cr_assert_eq(feed.ops->bounds(feed.arg, &interest, &oldest, &next), CONCLAVE_OK);
    struct feed_read read = {.spec = bytes,
                             .interest = &interest,
                             .position = next - 5,
                             .end = next,
                             .bytes = 1000,
                             .looks = 2,
                             .items = &items};
    cr_assert_eq(feed.ops->read(feed.arg, &read), CONCLAVE_OK);
    cr_assert_eq(read.looks, 0);
    cr_assert_eq(read.position, next - 3);
    cr_assert_eq(read.count, 0);
    pack_deinit(&items);
    pack_deinit(&spec);
    rig_destroy(rig);
}

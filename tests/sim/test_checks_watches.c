/* What a watcher is told wrongly is found. */
#include "tests/sim/watcher.h"

#include <criterion/criterion.h>
#include <string.h>

struct told {
    struct oracle oracle;
    struct watcher watcher;
    uint64_t number;
};

static struct slice text(const char *name)
{
    return (struct slice){(const uint8_t *)name, strlen(name)};
}

/* k1 = a, k2 = b, k1 gone, x = c: revisions 1 to 4. The watcher wants k. */
static void setup(struct told *told)
{
    *told = (struct told){0};
    oracle_add(&told->oracle, 0, 1, text("k1"), oracle_hash(text("a")));
    oracle_add(&told->oracle, 1, 2, text("k2"), oracle_hash(text("b")));
    oracle_add(&told->oracle, 2, 3, text("k1"), 0);
    oracle_add(&told->oracle, 3, 4, text("x"), oracle_hash(text("c")));
    watcher_init(&told->watcher, &told->oracle, text("k"), text("l"), 0);
}

static void teardown(struct told *told)
{
    watcher_deinit(&told->watcher);
    oracle_deinit(&told->oracle);
}

static void frame(struct told *told, struct stream_frame frame)
{
    struct pack pack;
    frame.number = ++told->number;
    pack_init(&pack, 0);
    stream_frame_pack(&pack, &frame);
    cr_assert(watcher_take(&told->watcher, (struct slice){pack.buf->data, pack.bytes}));
    pack_deinit(&pack);
}

static void begin(struct told *told, uint64_t position)
{
    told->number = 0;
    watcher_lost(&told->watcher);
    frame(told, (struct stream_frame){.type = STREAM_BEGUN, .position = position});
}

struct short_event {
    const char *key, *value; /* value NULL: gone */
    uint64_t revision;
};

static void events(struct told *told, uint64_t position, bool more, struct short_event first,
                   struct short_event second)
{
    struct short_event both[] = {first, second};
    struct pack items;
    uint32_t count = 0;
    pack_init(&items, 0);
    for (int i = 0; i < 2 && both[i].key; i++, count++)
        watch_event_pack(&items,
                         &(struct watch_event){.kind = both[i].value ? WATCH_PUT : WATCH_DELETE,
                                               .key = text(both[i].key),
                                               .value = text(both[i].value ? both[i].value : ""),
                                               .revision = both[i].revision});
    frame(told, (struct stream_frame){.type = STREAM_EVENTS,
                                      .position = position,
                                      .more = more,
                                      .count = count,
                                      .items = {items.buf->data, items.bytes}});
    pack_deinit(&items);
}

static void state(struct told *told, uint64_t position, const char *key, const char *value)
{
    struct pack items;
    pack_init(&items, 0);
    if (key)
        kv_item_pack(&items, &(struct kv_item){.key = text(key),
                                               .value = text(value),
                                               .create_revision = 1,
                                               .mod_revision = 1,
                                               .version = 1});
    frame(told, (struct stream_frame){.type = STREAM_STATE,
                                      .position = position,
                                      .count = key != NULL,
                                      .items = {items.buf->data, items.bytes}});
    pack_deinit(&items);
}

static const struct short_event a = {"k1", "a", 1}, b = {"k2", "b", 2}, gone = {"k1", NULL, 3},
                                none = {0};

#define EXPECT(told, words)                                                            \
    do {                                                                               \
        const char *wanted = (words), *found = (told)->watcher.wrong;                  \
        if (wanted)                                                                    \
            cr_assert(found &&strstr(found, wanted), "%s", found ? found : "nothing"); \
        else                                                                           \
            cr_assert_null(found, "%s", found);                                        \
        teardown(told);                                                                \
    } while (0)

Test(watches, all_of_it_is_right)
{
    struct told told;
    setup(&told);
    begin(&told, 1);
    events(&told, 3, false, a, b);
    begin(&told, 3); /* elsewhere */
    events(&told, 3, true, gone, none);
    events(&told, 4, false, none, none);
    frame(&told, (struct stream_frame){.type = STREAM_PROGRESS, .position = 5});
    cr_assert(watcher_is_at(&told.watcher, 5));
    EXPECT(&told, NULL);
}

Test(watches, one_that_is_left_out)
{
    struct told told;
    setup(&told);
    begin(&told, 1);
    events(&told, 4, false, a, gone);
    EXPECT(&told, "left out");
}

Test(watches, one_that_progress_passes_over)
{
    struct told told;
    setup(&told);
    begin(&told, 1);
    events(&told, 3, false, a, b);
    frame(&told, (struct stream_frame){.type = STREAM_PROGRESS, .position = 5});
    EXPECT(&told, "left out");
}

Test(watches, one_that_comes_twice)
{
    struct told told;
    setup(&told);
    begin(&told, 1);
    events(&told, 2, false, a, none);
    events(&told, 3, false, a, b);
    EXPECT(&told, "again");
}

Test(watches, one_that_comes_twice_at_once)
{
    struct told told;
    setup(&told);
    begin(&told, 1);
    events(&told, 2, false, a, a);
    EXPECT(&told, "twice");
}

Test(watches, another_order)
{
    struct told told;
    setup(&told);
    begin(&told, 1);
    events(&told, 3, false, b, a);
    EXPECT(&told, "order");
}

Test(watches, what_did_not_happen)
{
    struct told told;
    setup(&told);
    begin(&told, 1);
    events(&told, 2, false, (struct short_event){"k1", "other", 1}, none);
    EXPECT(&told, "did not happen");
}

Test(watches, what_is_not_for_it)
{
    struct told told;
    setup(&told);
    begin(&told, 4);
    events(&told, 5, false, (struct short_event){"x", "c", 4}, none);
    EXPECT(&told, "did not happen");
}

Test(watches, two_revisions_in_a_part)
{
    struct told told;
    setup(&told);
    begin(&told, 1);
    events(&told, 2, true, a, b);
    EXPECT(&told, "several revisions");
}

Test(watches, another_beginning)
{
    struct told told;
    setup(&told);
    begin(&told, 1);
    events(&told, 3, false, a, b);
    begin(&told, 4);
    EXPECT(&told, "elsewhere");
}

Test(watches, a_beginning_before_what_was_told_to_who_forgot_it)
{
    struct told told;
    setup(&told);
    begin(&told, 1);
    events(&told, 3, false, a, b);
    watcher_forget(&told.watcher);
    begin(&told, 2);
    EXPECT(&told, "what comes begins before what was told");
}

Test(watches, who_forgot_everything_may_begin_with_what_comes)
{
    struct told told;
    setup(&told);
    begin(&told, 1);
    events(&told, 3, false, a, b);
    watcher_forget(&told.watcher);
    begin(&told, 4);
    frame(&told, (struct stream_frame){.type = STREAM_PROGRESS, .position = 5});
    cr_assert(watcher_is_at(&told.watcher, 5));
    EXPECT(&told, NULL);
}

Test(watches, a_mark_that_is_too_old)
{
    struct told told;
    setup(&told);
    begin(&told, 4);
    told.watcher.ask = 1;
    told.watcher.ask_revision = 4;
    frame(&told, (struct stream_frame){.type = STREAM_PROGRESS, .position = 4, .ask = 1});
    EXPECT(&told, "older");
}

Test(watches, a_state_of_another_revision)
{
    struct told told;
    setup(&told);
    begin(&told, 1);
    state(&told, 3, "k2", "a");
    EXPECT(&told, "another value");
}

Test(watches, a_state_without_a_key)
{
    struct told told;
    setup(&told);
    begin(&told, 1);
    state(&told, 4, NULL, NULL);
    EXPECT(&told, "every key");
}

Test(watches, a_state_that_is_right)
{
    struct told told;
    setup(&told);
    begin(&told, 1);
    state(&told, 4, "k2", "b");
    EXPECT(&told, NULL);
}

Test(watches, a_frame_that_is_missing_is_seen)
{
    struct told told;
    struct pack pack;
    setup(&told);
    begin(&told, 1);
    pack_init(&pack, 0);
    stream_frame_pack(&pack, &(struct stream_frame){.number = 3, .type = STREAM_PROGRESS});
    cr_assert_not(watcher_take(&told.watcher, (struct slice){pack.buf->data, pack.bytes}));
    pack_deinit(&pack);
    EXPECT(&told, NULL);
}

static const char *event_is_wrong(const void *arg, uint64_t tag, const struct watch_event *event,
                                  bool previous)
{
    const uint64_t *version = arg;
    return tag == 7 && !previous && event->version == *version ? NULL : "another version";
}

static const char *item_is_wrong(const void *arg, uint64_t tag, const struct kv_item *item)
{
    const uint64_t *version = arg;
    return tag == 7 && item->version == *version ? NULL : "another item";
}

Test(watches, an_event_and_an_item_that_say_something_else_of_the_key)
{
    for (uint64_t version = 0; version < 2; version++) {
        struct told told;
        setup(&told);
        told.oracle.event_wrong = event_is_wrong;
        told.oracle.item_wrong = item_is_wrong;
        told.oracle.arg = &version;
        told.oracle.items[0].tag = told.oracle.items[1].tag = 7;
        begin(&told, 1);
        events(&told, 3, false, a, b); /* of version 0 */
        EXPECT(&told, version ? "another version" : NULL);
        setup(&told);
        told.oracle.item_wrong = item_is_wrong;
        told.oracle.arg = &version;
        told.oracle.items[1].tag = 7;
        begin(&told, 1);
        state(&told, 4, "k2", "b"); /* of version 1 */
        EXPECT(&told, version ? NULL : "another item");
    }
}

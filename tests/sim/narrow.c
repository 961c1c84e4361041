#include "tests/sim/narrow.h"

static int narrow_check(void *arg, struct slice spec, struct feed_interest *ret, bool *ret_state)
{
    const struct narrow_feed *narrow = arg;
    return narrow->feed.ops->check(narrow->feed.arg, spec, ret, ret_state);
}

static int narrow_bounds(void *arg, const struct feed_interest *interest, uint64_t *ret_oldest,
                         uint64_t *ret_next)
{
    const struct narrow_feed *narrow = arg;
    return narrow->feed.ops->bounds(narrow->feed.arg, interest, ret_oldest, ret_next);
}

static int narrow_changes(void *arg, feed_touch touch, void *touch_arg)
{
    const struct narrow_feed *narrow = arg;
    return narrow->feed.ops->changes(narrow->feed.arg, touch, touch_arg);
}

static void narrow_skip(void *arg)
{
    const struct narrow_feed *narrow = arg;
    narrow->feed.ops->skip(narrow->feed.arg);
}

static void narrow(const struct narrow_feed *narrow, uint32_t *looks, size_t *bytes)
{
    if (*looks > narrow->looks)
        *looks = narrow->looks;
    if (*bytes > narrow->bytes)
        *bytes = narrow->bytes;
}

static int narrow_read(void *arg, struct feed_read *read)
{
    const struct narrow_feed *feed = arg;
    narrow(feed, &read->looks, &read->bytes);
    int code = feed->feed.ops->read(feed->feed.arg, read);
    read->looks = 0; /* the turn is over */
    return code;
}

static int narrow_state(void *arg, struct feed_state *state)
{
    const struct narrow_feed *feed = arg;
    narrow(feed, &state->looks, &state->bytes);
    int code = feed->feed.ops->state(feed->feed.arg, state);
    state->looks = 0;
    return code;
}

struct feed narrow_feed_as_feed(struct narrow_feed *narrow, struct feed feed, uint32_t looks,
                                size_t bytes)
{
    static const struct feed_ops with_state = {.check = narrow_check,
                                               .bounds = narrow_bounds,
                                               .changes = narrow_changes,
                                               .skip = narrow_skip,
                                               .read = narrow_read,
                                               .state = narrow_state};
    static const struct feed_ops without = {.check = narrow_check,
                                            .bounds = narrow_bounds,
                                            .changes = narrow_changes,
                                            .skip = narrow_skip,
                                            .read = narrow_read};
    *narrow = (struct narrow_feed){.feed = feed, .looks = looks, .bytes = bytes};
    if (!feed.ops || looks == UINT32_MAX)
        return feed;
    return (struct feed){feed.ops->state ? &with_state : &without, narrow};
}

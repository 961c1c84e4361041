#include "machine/topic_feed.h"

#include "machine/topic_read.h"

void topic_feed_init(struct topic_feed *feed, struct tables *tables, const uint64_t *clock_ms)
{
    *feed = (struct topic_feed){.tables = tables, .clock_ms = clock_ms};
}

void topic_feed_reset(struct topic_feed *feed)
{
    feed->touched.too_many = true;
}

static int feed_check(void *arg, struct slice spec, struct feed_interest *ret, bool *ret_state)
{
    struct topic_spec topic;
    (void)arg;
    int code = topic_spec_decode(spec, &topic);
    if (code)
        return code;
    *ret = (struct feed_interest){.single = true, .token = topic.id, .from = topic.name};
    *ret_state = false;
    return CONCLAVE_OK;
}

/* The topic as it is. NOT_FOUND: there is none of that name, or it was deleted and made anew. */
static int find(const struct topic_feed *feed, const struct feed_interest *interest,
                struct tables_tx **ret_tx, struct topic_record *ret)
{
    int rc = tables_read(feed->tables, ret_tx);
    if (!rc)
        rc = topic_record_find(*ret_tx, interest->from, ret);
    if (!rc && interest->token && interest->token != ret->id)
        rc = CONCLAVE_NOT_FOUND;
    return rc;
}

static int feed_bounds(void *arg, const struct feed_interest *interest, uint64_t *ret_oldest,
                       uint64_t *ret_next)
{
    const struct topic_feed *feed = arg;
    struct topic_record record;
    struct tables_tx *tx = NULL;
    int rc = find(feed, interest, &tx, &record);
    if (!rc)
        rc = topic_first(tx, &record, *feed->clock_ms, ret_oldest);
    if (!rc)
        *ret_next = record.end;
    return rc;
}

static void feed_skip(void *arg)
{
    struct topic_feed *feed = arg;
    feed->touched.count = 0;
    feed->touched.too_many = false;
}

static int feed_changes(void *arg, feed_touch touch, void *touch_arg)
{
    struct topic_feed *feed = arg;
    struct topic_touched *touched = &feed->touched;
    int code = touched->too_many ? FEED_LOST : CONCLAVE_OK;
    for (uint32_t i = 0; !code && i < touched->count; i++)
        touch(touch_arg, 0, (struct slice){touched->items[i].name, touched->items[i].name_bytes},
              touched->items[i].from, touched->items[i].end);
    feed_skip(feed);
    return code;
}

/* rc. Adds messages from the walk's place on, as far as there is room. */
static int take(struct feed_read *read, struct topic_walk *walk)
{
    size_t begin = read->items->bytes;
    while (read->position < read->end && read->looks > 0) {
        struct topic_item item;
        int rc = topic_walk_next(walk, &item);
        if (rc == CONCLAVE_NOT_FOUND) { /* it ends before: all was told that there is */
            read->position = read->end;
            return CONCLAVE_OK;
        }
        if (rc)
            return rc;
        size_t used = read->items->bytes - begin;
        if (used > 0 && used + topic_item_bytes(&item) > read->bytes)
            return CONCLAVE_OK;
        topic_item_pack(read->items, &item);
        read->looks--;
        read->count++;
        read->position = item.sequence + 1;
    }
    return CONCLAVE_OK;
}

static int feed_read(void *arg, struct feed_read *read)
{
    const struct topic_feed *feed = arg;
    struct topic_record record;
    struct topic_walk walk;
    struct tables_tx *tx = NULL;
    uint64_t first = 0;
    if (read->position >= read->end)
        return CONCLAVE_OK; /* it waits for what has not come yet */
    int rc = find(feed, read->interest, &tx, &record);
    if (!rc)
        rc = topic_first(tx, &record, *feed->clock_ms, &first);
    if (rc)
        return rc;
    if (read->position < first)
        return FEED_LOST;
    rc = topic_walk_begin(&walk, tx, &record, read->position);
    if (!rc)
        rc = take(read, &walk);
    topic_walk_end(&walk);
    return rc;
}

struct feed topic_feed_as_feed(struct topic_feed *feed)
{
    static const struct feed_ops ops = {.check = feed_check,
                                        .bounds = feed_bounds,
                                        .changes = feed_changes,
                                        .skip = feed_skip,
                                        .read = feed_read};
    return (struct feed){&ops, feed};
}

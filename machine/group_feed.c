#include "machine/group_feed.h"

#include "machine/group.h"
#include "machine/topic_read.h"

void group_feed_init(struct group_feed *feed, struct tables *tables)
{
    *feed = (struct group_feed){.tables = tables};
}

void group_feed_reset(struct group_feed *feed)
{
    feed->touched.too_many = true;
}

static int feed_check(void *arg, struct slice spec, struct feed_interest *ret, bool *ret_state)
{
    struct group_spec group;
    (void)arg;
    int code = group_spec_decode(spec, &group);
    if (code)
        return code;
    *ret = (struct feed_interest){.single = true, .token = group.id, .from = group.topic};
    *ret_state = false;
    return CONCLAVE_OK;
}

/* There is no history of them: whatever position was seen before, the newest says all. */
static int feed_bounds(void *arg, const struct feed_interest *interest, uint64_t *ret_oldest,
                       uint64_t *ret_next)
{
    const struct group_feed *feed = arg;
    struct tables_tx *tx = NULL;
    struct topic_record topic;
    struct group group;
    int rc = tables_read(feed->tables, &tx);
    if (!rc)
        rc = group_read(tx, interest->token, &group);
    if (!rc)
        rc = topic_record_find(tx, interest->from, &topic);
    if (!rc && topic.id != group.record.topic)
        rc = CONCLAVE_NOT_FOUND;
    if (rc)
        return rc;
    *ret_oldest = 0;
    *ret_next = group_wake(&group.record, topic.end);
    return CONCLAVE_OK;
}

static void feed_skip(void *arg)
{
    struct group_feed *feed = arg;
    feed->touched.count = 0;
    feed->touched.too_many = false;
}

/* Of each topic, all groups: what is new for which of them, reading tells. */
static int feed_changes(void *arg, feed_touch touch, void *touch_arg)
{
    struct group_feed *feed = arg;
    const struct topic_touched *touched = &feed->touched;
    int code = touched->too_many ? FEED_LOST : CONCLAVE_OK;
    for (uint32_t i = 0; !code && i < touched->count; i++)
        touch(touch_arg, 0, (struct slice){touched->items[i].name, touched->items[i].name_bytes}, 1,
              UINT64_MAX);
    feed_skip(feed);
    return code;
}

static int feed_read(void *arg, struct feed_read *read)
{
    (void)arg; /* the hub has asked for the bounds: its end is the newest position */
    if (read->position >= read->end || read->looks == 0)
        return CONCLAVE_OK;
    pack_uint(read->items, read->end);
    read->position = read->end;
    read->looks--;
    read->count++;
    return CONCLAVE_OK;
}

struct feed group_feed_as_feed(struct group_feed *feed)
{
    static const struct feed_ops ops = {.check = feed_check,
                                        .bounds = feed_bounds,
                                        .changes = feed_changes,
                                        .skip = feed_skip,
                                        .read = feed_read};
    return (struct feed){&ops, feed};
}

/* machine/topic_feed.h - messages of a topic as a feed (machine/feed.h): positions are sequences.
 *
 * There is no state before them: a subscription whose position was dropped goes on with the oldest
 * message that is kept, and is told so. One whose topic is deleted ends with NOT_FOUND. One thread:
 * the state-machine actor's. */
#ifndef MACHINE_TOPIC_FEED_H
#define MACHINE_TOPIC_FEED_H

#include "machine/feed.h"
#include "machine/topic.h"

struct topic_feed {
    struct tables *tables;
    const uint64_t *clock_ms; /* as of what is committed */
    struct topic_touched touched;
};

/* Both outlive what is made of them. */
void topic_feed_init(struct topic_feed *feed, struct tables *tables, const uint64_t *clock_ms);

/* Other topics may be there now. */
void topic_feed_reset(struct topic_feed *feed);

struct feed topic_feed_as_feed(struct topic_feed *feed);

#endif

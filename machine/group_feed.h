/* machine/group_feed.h - for members of groups that wait: a feed (machine/feed.h) that says when
 * there may be something to fetch. Positions are those of group_wake, of which a fetch answers the
 * one to wait from; an event is the newest of them, however many there were. A group that is
 * deleted, or whose topic is, ends it with NOT_FOUND. One thread: the state-machine actor's. */
#ifndef MACHINE_GROUP_FEED_H
#define MACHINE_GROUP_FEED_H

#include "machine/feed.h"
#include "machine/topic.h"

struct group_feed {
    struct tables *tables;
    struct topic_touched touched; /* topics with groups for which there may be something */
};

/* The tables outlive what is made of them. */
void group_feed_init(struct group_feed *feed, struct tables *tables);

/* Other groups may be there now. */
void group_feed_reset(struct group_feed *feed);

struct feed group_feed_as_feed(struct group_feed *feed);

#endif

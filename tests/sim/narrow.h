/* tests/sim/narrow.h - a feed (machine/feed.h) as seen through a narrow door: it hands out a few
 * events and bytes at a time, where a hub has room for thousands. What is told in many pieces, with
 * changes between them, is rare in runs as short as those of the simulator. One thread. */
#ifndef TESTS_SIM_NARROW_H
#define TESTS_SIM_NARROW_H

#include "machine/feed.h"

struct narrow_feed {
    struct feed feed;
    uint32_t looks; /* of each call, at most; not 0 */
    size_t bytes;
};

/* Both have to outlive the feed that is returned. After each call the hub's turn is over. With
 * UINT32_MAX looks the feed stays as it is. */
struct feed narrow_feed_as_feed(struct narrow_feed *narrow, struct feed feed, uint32_t looks,
                                size_t bytes);

#endif

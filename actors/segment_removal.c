#include "actors/segment_removal.h"

struct wal_range segment_removal_all(struct segment_removal *removal)
{
    struct wal_range all = removal->superfluous;
    removal->superfluous = (struct wal_range){0};
    return all;
}

struct wal_range segment_removal_add(struct segment_removal *removal, struct wal_range range)
{
    struct wal_range apart = {0};
    if (segment_removal_waits(removal) && removal->superfluous.end != range.first)
        apart = segment_removal_all(removal);
    if (!segment_removal_waits(removal))
        removal->superfluous.first = range.first;
    removal->superfluous.end = range.end;
    return apart;
}

struct wal_range segment_removal_next(struct segment_removal *removal, uint64_t now_us)
{
    struct wal_range one = {0};
    if (!segment_removal_waits(removal) ||
        now_us - removal->removed_us < (uint64_t)SEGMENT_REMOVAL_MS * 1000)
        return one;
    one.first = removal->superfluous.first++;
    one.end = removal->superfluous.first;
    removal->removed_us = now_us;
    return one;
}

#include "bench/compact.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void compact_deinit(struct compact *compact)
{
    free(compact->counts);
    *compact = (struct compact){0};
}

/* As bucket_of in histogram.c: buckets of page 0 and 1 are the numbers themselves. */
static unsigned bucket_of(uint64_t value)
{
    unsigned shift = value < UINT64_C(2) * COMPACT_PAGE
                         ? 0
                         : 63 - (unsigned)__builtin_clzll(value) - COMPACT_HALF_BITS;
    return shift * COMPACT_PAGE + (unsigned)(value >> shift);
}

static uint64_t bucket_last(unsigned bucket)
{
    if (bucket < 2 * COMPACT_PAGE)
        return bucket;
    unsigned shift = bucket / COMPACT_PAGE - 1;
    uint64_t first = (uint64_t)(bucket % COMPACT_PAGE + COMPACT_PAGE) << shift;
    return first + ((UINT64_C(1) << shift) - 1);
}

/* The counts of a page, made if they are not there. NULL: out of memory. */
static uint32_t *page_of(struct compact *compact, unsigned page)
{
    if (compact->place[page] == 0) {
        uint32_t(*counts)[COMPACT_PAGE] =
            realloc(compact->counts, (compact->pages + 1u) * sizeof *counts);
        if (!counts)
            return NULL;
        memset(counts[compact->pages], 0, sizeof *counts);
        compact->counts = counts;
        compact->place[page] = ++compact->pages;
    }
    return compact->counts[compact->place[page] - 1];
}

bool compact_record(struct compact *compact, uint64_t value)
{
    unsigned bucket = bucket_of(value);
    uint32_t *counts = page_of(compact, bucket / COMPACT_PAGE);
    if (!counts)
        return false;
    counts[bucket % COMPACT_PAGE]++;
    compact->count++;
    return true;
}

bool compact_merge(struct compact *into, const struct compact *from)
{
    for (unsigned page = 0; page < COMPACT_PAGES && from->count > 0; page++) {
        if (from->place[page] == 0)
            continue;
        const uint32_t *added = from->counts[from->place[page] - 1];
        uint32_t *counts = page_of(into, page);
        if (!counts)
            return false;
        for (unsigned i = 0; i < COMPACT_PAGE; i++)
            counts[i] += added[i];
    }
    into->count += from->count;
    return true;
}

void compact_reset(struct compact *compact)
{
    if (compact->pages > 0)
        memset(compact->counts, 0, compact->pages * sizeof *compact->counts);
    compact->count = 0;
}

uint64_t compact_quantile(const struct compact *compact, double share)
{
    double exact = ceil(share * (double)compact->count);
    uint64_t rank = exact < 1 ? 1 : (uint64_t)exact, seen = 0;
    if (rank > compact->count)
        rank = compact->count;
    for (unsigned page = 0; page < COMPACT_PAGES && compact->count > 0; page++) {
        if (compact->place[page] == 0)
            continue;
        const uint32_t *counts = compact->counts[compact->place[page] - 1];
        for (unsigned i = 0; i < COMPACT_PAGE; i++) {
            seen += counts[i];
            if (counts[i] > 0 && seen >= rank)
                return bucket_last(page * COMPACT_PAGE + i);
        }
    }
    return 0;
}

#include "tests/sim/history.h"

#include "base/fatal.h"
#include "tests/sim/knobs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* A write and all reads of its value. */
struct cluster {
    uint64_t write;           /* its number; 0: the initial value */
    uint64_t first_response;  /* of any operation in it; UINT64_MAX: none */
    uint64_t last_invocation; /* of any operation in it */
    bool present;             /* the write was answered, or somebody saw it */
};

static bool zone_forward(const struct cluster *cluster)
{
    return cluster->first_response < cluster->last_invocation;
}

static uint64_t zone_low(const struct cluster *cluster)
{
    return zone_forward(cluster) ? cluster->first_response : cluster->last_invocation;
}

static uint64_t zone_high(const struct cluster *cluster)
{
    return zone_forward(cluster) ? cluster->last_invocation : cluster->first_response;
}

static void cluster_add(struct cluster *cluster, const struct op *op)
{
    uint64_t response = op->finished ? op->finished : UINT64_MAX;
    if (response < cluster->first_response)
        cluster->first_response = response;
    if (op->invoked > cluster->last_invocation)
        cluster->last_invocation = op->invoked;
}

/* Gathers the clusters of one register, clusters[number of the write]. */
static bool clusters_gather(const struct ops *ops, uint32_t cell, struct cluster *clusters,
                            char *text, size_t size)
{
    for (uint64_t i = 0; i <= ops->count; i++)
        clusters[i] = (struct cluster){.write = i, .first_response = UINT64_MAX};
    clusters[0].present = true;
    clusters[0].first_response = 0;
    for (uint64_t i = 1; i <= ops->count; i++) {
        const struct op *op = &ops->items[i];
        if (op->cell != cell)
            continue;
        if (op->kind == OP_WRITE) {
            if (op->state == OP_OK)
                clusters[i].present = true;
            cluster_add(&clusters[i],
                        op->state == OP_OK ? op : &(struct op){.invoked = op->invoked});
        } else if (op->state == OP_OK) {
            uint64_t value = op->value;
            const struct op *write = value <= ops->count ? &ops->items[value] : NULL;
            if (!write || (value > 0 && (write->kind != OP_WRITE || write->cell != cell))) {
                snprintf(text, size, "read %" PRIu64 " saw %" PRIu64 ", which nobody wrote there",
                         i, value);
                return false;
            }
            if (value > 0 && write->invoked > op->finished) {
                snprintf(text, size,
                         "read %" PRIu64 " saw write %" PRIu64 ", which began after the read ended",
                         i, value);
                return false;
            }
            clusters[value].present = true;
            cluster_add(&clusters[value], op);
        }
    }
    return true;
}

static int zone_compare(const void *a, const void *b)
{
    uint64_t low_a = zone_low(a);
    uint64_t low_b = zone_low(b);
    return low_a < low_b ? -1 : low_a > low_b;
}

/* Zones are sorted by their low end. */
static bool zones_check(const struct cluster *zones, uint64_t count, char *text, size_t size)
{
    const struct cluster *forward = NULL; /* the one that reaches furthest so far */
    for (uint64_t i = 0; i < count; i++) {
        const struct cluster *zone = &zones[i];
        bool inside = forward && zone_low(zone) < zone_high(forward);
        if (zone_forward(zone) && inside) {
            snprintf(text, size,
                     "values %" PRIu64 " and %" PRIu64 " of one register were each seen after the "
                     "other",
                     forward->write, zone->write);
            return false;
        }
        if (!zone_forward(zone) && inside && zone_high(zone) < zone_high(forward)) {
            snprintf(text, size,
                     "value %" PRIu64 " was written and gone while %" PRIu64 " was seen before "
                     "and after it",
                     zone->write, forward->write);
            return false;
        }
        if (zone_forward(zone))
            forward = zone;
    }
    return true;
}

bool history_check(const struct ops *ops, char *text, size_t size)
{
    struct cluster *clusters = mem_alloc((ops->count + 1) * sizeof *clusters);
    bool ok = true;
    for (uint32_t cell = 0; ok && cell < SIM_REGISTERS; cell++) {
        ok = clusters_gather(ops, cell, clusters, text, size);
        if (!ok)
            break;
        uint64_t count = 0;
        for (uint64_t i = 0; i <= ops->count; i++) {
            if (clusters[i].present)
                clusters[count++] = clusters[i];
        }
        qsort(clusters, count, sizeof *clusters, zone_compare);
        ok = zones_check(clusters, count, text, size);
    }
    free(clusters);
    return ok;
}

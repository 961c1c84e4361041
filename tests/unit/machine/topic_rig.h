/* Topics on tables in memory, at whatever time of the cluster's clock a test wants. */
#ifndef TESTS_MACHINE_TOPIC_RIG_H
#define TESTS_MACHINE_TOPIC_RIG_H

#include "machine/reply.h"
#include "machine/topic.h"
#include "machine/topic_read.h"

struct topic_rig {
    struct tables *tables;
    uint64_t revision, clock_ms, lag_ms, index;
    struct conclave_reply_sink sink;
    struct topic_published published; /* of the last publish */
    struct topic_duplicate duplicates[64];
    uint64_t number; /* of the last answer that holds one */
};

struct topic_rig *topic_rig_create(void);
void topic_rig_destroy(struct topic_rig *rig);

/* Each as a batch of its own; the answer's code. */
int topic_rig_create_topic(struct topic_rig *rig, const char *name, struct topic_settings settings);
int topic_rig_delete_topic(struct topic_rig *rig, const char *name);

/* Messages "data" or "id:data", separated by spaces. expect NULL: none. */
int topic_rig_publish(struct topic_rig *rig, const char *name, const char *messages,
                      const uint64_t *expect);
int topic_rig_publish_bytes(struct topic_rig *rig, const char *name, const void *data,
                            size_t bytes);

/* Publishes "1", "2", ... in as many commands, which have to succeed. */
void topic_rig_publish_many(struct topic_rig *rig, const char *name, unsigned count);

/* What a read answers, as "first..end>next sequence@revision/time=data ..."; static. */
const char *topic_rig_read(struct topic_rig *rig, const char *name, enum conclave_from start,
                           uint64_t position, uint64_t limit);
int topic_rig_query(struct topic_rig *rig, const struct topic_query *query);

/* The record, and how many keys of a table begin with the bytes. */
struct topic_record topic_rig_record(struct topic_rig *rig, const char *name);
unsigned topic_rig_count(struct topic_rig *rig, enum table table, const void *prefix, size_t bytes);

#endif

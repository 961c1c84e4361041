/* Work groups on a whole machine, in short words: a topic "t", a group "g" on it. */
#ifndef TESTS_MACHINE_GROUP_RIG_H
#define TESTS_MACHINE_GROUP_RIG_H

#include "codec/group.h"
#include "machine/tables.h"
#include "rig.h"

/* In memory, with the topics "t" and "dead". One at a time. */
struct rig *group_rig_create(void);
void group_rig_destroy(struct rig *rig);

/* Any command or query of groups, of any form; the code. The answer stays in rig->sink. */
int group_rig_bytes(struct rig *rig, struct pack *pack, bool query);

/* Publishes so many messages to "t": "1", "2" and so on. */
void group_rig_publish(struct rig *rig, unsigned count);

/* Settings 0 or NULL: the defaults. */
int group_rig_make(struct rig *rig, const struct group_settings *settings, enum conclave_from from,
                   uint64_t position);
uint64_t group_rig_grant(struct rig *rig, uint64_t ttl_ms);

/* What a fetch answers: "1-3*1 7*2 lost 4", or the code's name; static. */
const char *group_rig_fetch(struct rig *rig, uint64_t lease, unsigned limit);
uint64_t group_rig_wake(struct rig *rig); /* of the last fetch */

/* Of so many messages from `first` on: "2", or "2 missing 3-4"; or the code's name; static. */
const char *group_rig_settle(struct rig *rig, enum group_opcode how, uint64_t lease, uint64_t first,
                             uint64_t count, uint64_t delay_ms);

struct group_info group_rig_info(struct rig *rig);

/* The messages of the topic "dead": "t/g 3 after 2: three", one after the other; static. */
const char *group_rig_dead(struct rig *rig);

/* What the machine is on. */
struct tables *group_rig_tables(void);

/* How many keys the table has. */
unsigned group_rig_keys(struct rig *rig, enum table table);

#endif

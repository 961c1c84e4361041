/* What the test of the twins does with work groups. */
#ifndef TESTS_MACHINE_TWINS_GROUPS_H
#define TESTS_MACHINE_TWINS_GROUPS_H

#include "base/prng.h"
#include "machine/group_record.h"

/* Groups of all kinds on the topics t to w; members that do a part of what they fetch. */
void twins_draw_group(struct prng *prng, struct tables *tables, struct pack *pack);

/* Every message that a group has handed out is in one place, and counted there. *ret_sum: what all
 * of them have counted. */
void twins_groups_add_up(struct tables *tables, struct group_record *ret_sum);

#endif

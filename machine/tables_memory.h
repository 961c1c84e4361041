/* machine/tables_memory.h - tables in memory (machine/tables.h), for tests and simulations: the
 * same results as the tables in files, and as deterministic as its user.
 *
 * The object stands for the files. Closed and opened again it is what a killed process leaves
 * behind (with the boot id of before) or what a crash of the operating system leaves (with another
 * one: nothing, unless it was synced); destroyed, it is a lost disk. */
#ifndef MACHINE_TABLES_MEMORY_H
#define MACHINE_TABLES_MEMORY_H

#include "machine/tables.h"

struct tables *tables_memory_create(void);

/* The process is killed: what was not committed is gone, and whatever was open is closed, but for
 * a view, which is still to be ended before the tables are destroyed. Closed is allowed too. */
void tables_memory_kill(struct tables *tables);

/* The next change has no room as things stand, once: TABLES_FULL, which ends the view. So often
 * growing then fails as well: NO_SPACE, and there is still no room for the change. Not full: all of
 * that is over. */
void tables_memory_fill(struct tables *tables, bool full, uint32_t refusals);

#endif

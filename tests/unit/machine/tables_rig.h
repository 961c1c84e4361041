/* Tables in LMDB in a directory of their own. */
#ifndef TESTS_UNIT_MACHINE_TABLES_RIG_H
#define TESTS_UNIT_MACHINE_TABLES_RIG_H

#include "machine/tables.h"

enum { TABLES_RIG_DIR_BYTES = 64 };

/* Makes the directory, whose path goes to `dir`. */
struct tables *tables_rig_open(char dir[TABLES_RIG_DIR_BYTES]);

/* Removes it, too. */
void tables_rig_close(struct tables *tables, const char *dir);

#endif

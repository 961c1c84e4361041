/* machine/tables_lmdb.h - tables in files (machine/tables.h): an LMDB environment that is a cache
 * of the log, for nodes. */
#ifndef MACHINE_TABLES_LMDB_H
#define MACHINE_TABLES_LMDB_H

#include "machine/tables.h"

#define TABLES_LMDB_FILE "data.mdb" /* what grows with the tables */

/* In the directory that open is told. Open fails with IO, NO_SPACE, NO_MEMORY. */
struct tables *tables_lmdb_create(void);

#endif

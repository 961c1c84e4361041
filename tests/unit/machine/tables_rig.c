#include "tables_rig.h"

#include "machine/tables_lmdb.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct tables *tables_rig_open(char dir[TABLES_RIG_DIR_BYTES])
{
    struct conclave_machine_env env = {.dir = dir, .boot_id = {1}, .cluster_id = 7, .node_id = 1};
    strcpy(dir, "/tmp/conclave-tables-XXXXXX");
    cr_assert(mkdtemp(dir));
    struct tables *tables = tables_lmdb_create();
    cr_assert_eq(tables_open(tables, &env, NULL), CONCLAVE_OK);
    return tables;
}

void tables_rig_close(struct tables *tables, const char *dir)
{
    static const char *const files[] = {"owner", TABLES_LMDB_FILE, "lock.mdb"};
    tables_close(tables);
    tables_destroy(tables);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[128];
        (void)snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        unlink(path);
    }
    cr_assert_eq(rmdir(dir), 0);
}

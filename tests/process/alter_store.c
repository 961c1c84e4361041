/* Changes one byte of what is stored under a key, behind the back of a node that is not running.
 *
 *     alter_store MACHINE-DIRECTORY KEY value|revision
 *
 * The store stays valid in itself: nothing but the audit can see it. */
#include <errno.h>
#include <lmdb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VALUE_OFFSET = 32, MOD_REVISION_OFFSET = 8 }; /* docs/disk-format.md */

static void check(int rc, const char *what)
{
    if (rc == 0)
        return;
    fprintf(stderr, "alter_store: %s: %s\n", what, mdb_strerror(rc));
    exit(1);
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    size_t offset = strcmp(argv[3], "value") == 0 ? VALUE_OFFSET : MOD_REVISION_OFFSET;
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi keys;
    MDB_val key = {strlen(argv[2]), argv[2]}, found;
    check(mdb_env_create(&env), "create");
    check(mdb_env_set_maxdbs(env, 2), "maxdbs");
    check(mdb_env_open(env, argv[1], 0, 0600), "open");
    check(mdb_txn_begin(env, NULL, 0, &txn), "begin");
    check(mdb_dbi_open(txn, "keys", 0, &keys), "keys");
    check(mdb_get(txn, keys, &key, &found), "get");
    if (offset >= found.mv_size)
        check(EINVAL, "the value is empty");
    uint8_t *record = malloc(found.mv_size);
    if (!record)
        check(ENOMEM, "record");
    memcpy(record, found.mv_data, found.mv_size);
    record[offset] ^= 1;
    MDB_val changed = {found.mv_size, record};
    check(mdb_put(txn, keys, &key, &changed, 0), "put");
    check(mdb_txn_commit(txn), "commit");
    mdb_env_close(env);
    free(record);
    return 0;
}

#include "machine/tables_digest.h"

#include "machine/tables.h"

#define XXH_INLINE_ALL /* keys are short: a call would cost as much as the hash */
#include <xxhash.h>

uint64_t digest_hash(const void *data, size_t bytes)
{
    return XXH3_64bits(data, bytes);
}

uint64_t digest_place(uint32_t table, struct slice key)
{
    return digest_mix(table + 1, XXH3_64bits(key.data, key.bytes));
}

bool tables_are_summed(uint32_t table)
{
    return table != TABLE_SESSIONS && table != TABLE_HISTORY;
}

void tables_seal_room(struct tables_tx *tx)
{
    tx->digest += digest_of(tx->room.place, (struct slice){tx->room.data, tx->room.bytes});
    tx->room.data = NULL;
}

void tables_digest_put(struct tables_tx *tx, enum table table, struct slice key, const void *room,
                       size_t bytes)
{
    tx->room = (struct tables_room){digest_place(table, key), room, bytes};
    if (bytes == 0)
        tables_seal_room(tx);
}

int tables_digest_take(struct tables_tx *tx, enum table table, struct slice key)
{
    struct slice old;
    int rc = tx->tables->ops->get(tx, table, key, &old);
    if (!rc)
        tx->digest -= digest_of(digest_place(table, key), old);
    return rc == CONCLAVE_NOT_FOUND ? 0 : rc;
}

int tables_digest_take_here(struct tables_cursor *cursor, struct slice key)
{
    struct tables_tx *tx = cursor->tx;
    struct slice there, old;
    if (cursor->fresh)
        return 0;
    if (!cursor->placed || cursor->erased || tx->tables->ops->cursor_read(cursor, &there, &old) ||
        tables_compare(there, key) != 0)
        return tables_digest_take(tx, cursor->table, key);
    tx->digest -= digest_of(digest_place(cursor->table, key), old);
    return 0;
}

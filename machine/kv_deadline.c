#include "machine/kv_deadline.h"

#include <endian.h>

enum { KEY_BYTES = 17 };

static struct slice key_of(uint8_t room[KEY_BYTES], const struct kv_deadline *deadline)
{
    uint64_t ms = htobe64(deadline->ms), number = htobe64(deadline->number);
    memcpy(room, &ms, sizeof ms);
    room[sizeof ms] = (uint8_t)deadline->kind;
    memcpy(room + sizeof ms + 1, &number, sizeof number);
    return (struct slice){room, KEY_BYTES};
}

int kv_deadline_set(struct tables_tx *tx, const struct kv_deadline *deadline)
{
    uint8_t room[KEY_BYTES];
    return tables_put_bytes(tx, TABLE_DEADLINES, key_of(room, deadline), deadline->note);
}

int kv_deadline_clear(struct tables_tx *tx, const struct kv_deadline *deadline)
{
    uint8_t room[KEY_BYTES];
    int rc = tables_erase(tx, TABLE_DEADLINES, key_of(room, deadline));
    return rc == CONCLAVE_NOT_FOUND ? CONCLAVE_CORRUPT : rc;
}

int kv_deadline_first(struct tables_tx *tx, struct kv_deadline *ret)
{
    struct tables_cursor cursor;
    struct slice key = {0}, note = {0};
    int rc = tables_cursor_open(tx, TABLE_DEADLINES, &cursor);
    if (rc)
        return rc;
    rc = tables_cursor_move(&cursor, TABLES_FROM, &key, &note);
    if (!rc && (key.bytes != KEY_BYTES || note.bytes > KV_DEADLINE_NOTE_BYTES_MAX))
        rc = CONCLAVE_CORRUPT;
    if (!rc) {
        uint64_t ms, number;
        memcpy(&ms, key.data, sizeof ms);
        memcpy(&number, key.data + sizeof ms + 1, sizeof number);
        *ret = (struct kv_deadline){.ms = be64toh(ms),
                                    .kind = (enum kv_deadline_kind)key.data[sizeof ms],
                                    .number = be64toh(number),
                                    .note = note};
    }
    tables_cursor_close(&cursor);
    return rc;
}

/* What tables promise, in files and in memory. */
#include "tables_pair.h"

#include "machine/tables_memory.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct slice text_of(const char *text)
{
    return (struct slice){(const uint8_t *)text, strlen(text)};
}

static void put_one(struct tables *tables, const char *key, const char *value, bool commit)
{
    struct tables_tx tx;
    struct tables_state state = {.applied_index = tables->state.applied_index + 1};
    cr_assert_eq(tables_begin(tables, &tx), CONCLAVE_OK);
    cr_assert_eq(tables_put_bytes(&tx, TABLE_KEYS, text_of(key), text_of(value)), CONCLAVE_OK);
    if (commit)
        cr_assert_eq(tables_commit(&tx, &state), CONCLAVE_OK);
    else
        tables_abort(&tx);
}

static void expect(struct tables_tx *tx, const char *key, const char *value)
{
    struct slice found;
    int code = tables_get(tx, TABLE_KEYS, text_of(key), &found);
    cr_assert_eq(code, value ? CONCLAVE_OK : CONCLAVE_NOT_FOUND);
    if (value)
        pair_same(found, text_of(value));
}

Test(tables, view_stays_as_it_was_and_an_abort_leaves_nothing)
{
    struct pair *pair = pair_create(1);
    for (int i = 0; i < BOTH; i++)
        put_one(pair->of[i], "a", "1", true);
    pair_view_begin(pair);
    for (int i = 0; i < BOTH; i++) {
        put_one(pair->of[i], "a", "2", true);
        put_one(pair->of[i], "b", "3", false);
        struct tables_tx *now;
        cr_assert_eq(tables_read(pair->of[i], &now), CONCLAVE_OK);
        expect(now, "a", "2");
        expect(now, "b", NULL);
        cr_assert(tables_view_enter(pair->views[i]));
        expect(&pair->views[i]->tx, "a", "1");
        tables_view_leave(pair->views[i]);
        cr_assert_eq(pair->of[i]->state.applied_index, 2);
    }
    pair_destroy(pair);
}

/* Or each page behind the last one would cost a window of zeros. */
Test(tables, file_is_mapped_without_read_ahead)
{
    struct pair *pair = pair_create(1);
    FILE *maps = fopen("/proc/self/smaps", "r");
    cr_assert_not_null(maps);
    char line[512];
    bool inside = false;
    int found = 0;
    while (fgets(line, sizeof line, maps)) {
        if (strstr(line, pair->dir))
            inside = strstr(line, "data.mdb") != NULL;
        else if (inside && strncmp(line, "VmFlags:", 8) == 0) {
            cr_assert(strstr(line, " rr "), "%s", line);
            found++;
            inside = false;
        }
    }
    fclose(maps);
    cr_assert_eq(found, 1);
    pair_destroy(pair);
}

/* --- At the end of a table of many pages -------------------------------------------------------
 */

enum { ROWS = 200, ROW_BYTES = 100 };

static struct slice row_key(char text[16], int row, bool behind)
{
    snprintf(text, 16, "%03d%s", row, behind ? "-" : "");
    return text_of(text);
}

/* Rows, put in falling order, so that nobody takes new keys for such that come behind all others.
 */
static void begin_rows(struct tables *tables, struct tables_tx *tx, struct tables_cursor *cursor)
{
    static const uint8_t bytes[ROW_BYTES];
    char text[16];
    cr_assert_eq(tables_begin(tables, tx), CONCLAVE_OK);
    cr_assert_eq(tables_cursor_open(tx, TABLE_KEYS, cursor), CONCLAVE_OK);
    for (int row = ROWS - 1; row >= 0; row--)
        cr_assert_eq(tables_cursor_put_bytes(cursor, row_key(text, row, false),
                                             (struct slice){bytes, ROW_BYTES}),
                     CONCLAVE_OK);
}

/* Puts a large key behind a row of the last page, from where `place` has brought the cursor: the
 * page is split, and the next row is found, on the same page or on the new one. */
static void put_behind_row(struct tables *tables, int row,
                           void (*place)(struct tables_cursor *cursor))
{
    static const uint8_t large[1500];
    struct tables_tx tx;
    struct tables_cursor cursor;
    struct slice key;
    char text[16];
    begin_rows(tables, &tx, &cursor);
    place(&cursor);
    cr_assert_eq(tables_cursor_put_bytes(&cursor, row_key(text, row, true),
                                         (struct slice){large, sizeof large}),
                 CONCLAVE_OK);
    cr_assert_eq(tables_cursor_move(&cursor, TABLES_NEXT, &key, NULL), CONCLAVE_OK, "row %d", row);
    pair_same(key, row_key(text, row + 1, false));
    tables_cursor_close(&cursor);
    tables_abort(&tx);
}

static void put_behind_rows(void (*place)(struct tables_cursor *cursor))
{
    struct pair *pair = pair_create(1);
    for (int i = 0; i < BOTH; i++)
        for (int row = ROWS - 40; row < ROWS - 2; row++)
            put_behind_row(pair->of[i], row, place);
    pair_destroy(pair);
}

static void find_last(struct tables_cursor *cursor)
{
    struct slice key;
    cr_assert_eq(tables_cursor_move(cursor, TABLES_LAST, &key, NULL), CONCLAVE_OK);
}

Test(tables, walk_goes_on_behind_a_key_that_was_put_by_a_cursor_from_the_end)
{
    put_behind_rows(find_last);
}

static void erase_last(struct tables_cursor *cursor)
{
    char text[16];
    struct slice key = row_key(text, ROWS - 1, false);
    cr_assert_eq(tables_cursor_put_bytes(cursor, key, text_of("last")), CONCLAVE_OK);
    cr_assert_eq(tables_cursor_move(cursor, TABLES_AT, &key, NULL), CONCLAVE_OK);
    cr_assert_eq(tables_cursor_erase(cursor), CONCLAVE_OK);
}

Test(tables, walk_goes_on_behind_a_key_that_was_put_by_a_cursor_that_erased_the_last)
{
    put_behind_rows(erase_last);
}

Test(tables, keys_that_rise_lie_in_order_with_others_among_them)
{
    struct pair *pair = pair_create(1);
    for (int i = 0; i < BOTH; i++) {
        struct tables_tx *tx = &pair->tx[i];
        struct tables_cursor cursor;
        char text[16];
        begin_rows(pair->of[i], tx, &cursor);
        for (int row = ROWS; row < 3 * ROWS; row++) {
            cr_assert_eq(
                tables_cursor_put_bytes(&cursor, row_key(text, row, false), text_of("rises")),
                CONCLAVE_OK);
            if (row % 7 == 0) /* not behind all others */
                cr_assert_eq(tables_cursor_put_bytes(&cursor, row_key(text, row - ROWS, true),
                                                     text_of("among")),
                             CONCLAVE_OK);
        }
        tables_cursor_close(&cursor);
    }
    struct tables_tx *const both[BOTH] = {&pair->tx[FILES], &pair->tx[MEMORY]};
    pair_same_table(both, TABLE_KEYS);
    for (int i = 0; i < BOTH; i++)
        tables_abort(&pair->tx[i]);
    pair_destroy(pair);
}

static void row_is(struct tables_cursor *cursor, int row, int expected)
{
    char text[16];
    struct slice key = row_key(text, row, false), value;
    cr_assert_eq(tables_cursor_move(cursor, TABLES_AT, &key, &value), expected, "row %d", row);
}

static void rise(struct tables_cursor *cursor, int from, int to)
{
    char text[16];
    for (int row = from; row < to; row++)
        cr_assert_eq(tables_cursor_put_bytes(cursor, row_key(text, row, false), text_of("rises")),
                     CONCLAVE_OK);
}

/* Who knows the last key of a table need not look for one behind it, unless that came meanwhile. */
Test(tables, key_behind_those_that_rose_is_found_whoever_put_it)
{
    struct pair *pair = pair_create(1);
    for (int i = 0; i < BOTH; i++) {
        struct tables_tx tx;
        struct tables_cursor cursor, other;
        char text[16];
        cr_assert_eq(tables_begin(pair->of[i], &tx), CONCLAVE_OK);
        cr_assert_eq(tables_cursor_open(&tx, TABLE_KEYS, &cursor), CONCLAVE_OK);
        cr_assert_eq(tables_cursor_open(&tx, TABLE_KEYS, &other), CONCLAVE_OK);
        rise(&cursor, 100, 200);
        row_is(&cursor, 199, CONCLAVE_OK);
        row_is(&cursor, 200, CONCLAVE_NOT_FOUND);
        cr_assert_eq(tables_put_bytes(&tx, TABLE_KEYS, row_key(text, 300, false), text_of("put")),
                     CONCLAVE_OK);
        row_is(&cursor, 300, CONCLAVE_OK);
        row_is(&cursor, 301, CONCLAVE_NOT_FOUND);
        rise(&cursor, 301, 310);
        row_is(&cursor, 309, CONCLAVE_OK);
        rise(&other, 310, 320);
        row_is(&cursor, 319, CONCLAVE_OK);
        for (int row = 99; row > 50; row--) /* so that nobody looks for keys that rise */
            rise(&other, row, row + 1);
        rise(&other, 400, 401);
        row_is(&cursor, 400, CONCLAVE_OK);
        cr_assert_eq(tables_cursor_erase(&cursor), CONCLAVE_OK);
        row_is(&cursor, 400, CONCLAVE_NOT_FOUND);
        row_is(&cursor, 319, CONCLAVE_OK);
        tables_cursor_close(&cursor);
        tables_cursor_close(&other);
        tables_abort(&tx);
    }
    pair_destroy(pair);
}

/* What was known of a transaction says nothing of the next one. */
Test(tables, key_behind_those_that_rose_before_is_found)
{
    struct pair *pair = pair_create(1);
    for (int i = 0; i < BOTH; i++) {
        struct tables_tx tx;
        struct tables_cursor cursor;
        char text[16];
        cr_assert_eq(tables_begin(pair->of[i], &tx), CONCLAVE_OK);
        cr_assert_eq(tables_put_bytes(&tx, TABLE_KEYS, row_key(text, 300, false), text_of("put")),
                     CONCLAVE_OK);
        const struct tables_state state = {.applied_index = 1};
        cr_assert_eq(tables_commit(&tx, &state), CONCLAVE_OK);
        cr_assert_eq(tables_begin(pair->of[i], &tx), CONCLAVE_OK);
        cr_assert_eq(tables_erase(&tx, TABLE_KEYS, row_key(text, 300, false)), CONCLAVE_OK);
        cr_assert_eq(tables_cursor_open(&tx, TABLE_KEYS, &cursor), CONCLAVE_OK);
        rise(&cursor, 100, 200);
        tables_cursor_close(&cursor);
        tables_abort(&tx);
        cr_assert_eq(tables_begin(pair->of[i], &tx), CONCLAVE_OK);
        cr_assert_eq(tables_cursor_open(&tx, TABLE_KEYS, &cursor), CONCLAVE_OK);
        row_is(&cursor, 300, CONCLAVE_OK);
        row_is(&cursor, 199, CONCLAVE_NOT_FOUND);
        tables_cursor_close(&cursor);
        tables_abort(&tx);
    }
    pair_destroy(pair);
}

/* ---------------------------------------------------------------------------------------------- */

Test(tables, killed_process_leaves_what_was_committed)
{
    struct conclave_machine_env env = {.dir = "/", .boot_id = {1}, .cluster_id = 7, .node_id = 1};
    struct tables *tables = tables_memory_create();
    struct tables_view *view;
    struct tables_tx tx, *now;
    cr_assert_eq(tables_open(tables, &env, NULL), CONCLAVE_OK);
    put_one(tables, "a", "1", true);
    cr_assert_eq(tables_view_begin(tables, &view), CONCLAVE_OK);
    cr_assert_eq(tables_begin(tables, &tx), CONCLAVE_OK);
    cr_assert_eq(tables_put_bytes(&tx, TABLE_KEYS, text_of("b"), text_of("2")), CONCLAVE_OK);
    tables_memory_kill(tables);
    cr_assert(!tables_view_enter(view));
    tables_view_end(view);
    cr_assert_eq(tables_open(tables, &env, NULL), CONCLAVE_OK);
    cr_assert_eq(tables->state.applied_index, 1);
    cr_assert_eq(tables_read(tables, &now), CONCLAVE_OK);
    expect(now, "a", "1");
    expect(now, "b", NULL);
    tables_memory_kill(tables);
    tables_destroy(tables);
}

Test(tables, full_ones_say_so_once_and_end_the_view)
{
    struct pair *pair = pair_create(1);
    struct tables *tables = pair->of[MEMORY];
    struct tables_tx tx;
    void *room;
    pair_view_begin(pair);
    tables_memory_fill(tables, true, 0);
    cr_assert_eq(tables_begin(tables, &tx), CONCLAVE_OK);
    cr_assert_eq(tables_put(&tx, TABLE_KEYS, text_of("a"), 1, &room), TABLES_FULL);
    tables_abort(&tx);
    cr_assert(tables_view_enter(pair->views[MEMORY]));
    cr_assert_eq(tables_grow(tables), CONCLAVE_OK);
    cr_assert(!tables_view_enter(pair->views[MEMORY]));
    put_one(tables, "a", "1", true);
    pair_destroy(pair);
}

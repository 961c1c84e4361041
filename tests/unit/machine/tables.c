/* The tables in files and those in memory give the same results, step by step, whatever is done to
 * them; and what both promise. */
#include "machine/tables.h"

#include "base/prng.h"
#include "machine/tables_lmdb.h"
#include "machine/tables_memory.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { FILES, MEMORY, BOTH };

struct pair {
    struct tables *of[BOTH];
    struct conclave_machine_env env;
    char dir[64];
    struct tables_tx tx[BOTH]; /* while changing */
    struct tables_view *views[BOTH];
    struct prng prng;
    uint64_t index;
    uint32_t risen; /* rising keys so far */
};

static void pair_open(struct pair *pair)
{
    struct conclave_error error = {0};
    for (int i = 0; i < BOTH; i++)
        cr_assert_eq(tables_open(pair->of[i], &pair->env, &error), CONCLAVE_OK, "%s",
                     error.message);
    const struct tables_state *a = &pair->of[FILES]->state, *b = &pair->of[MEMORY]->state;
    cr_assert_eq(a->applied_index, b->applied_index);
    cr_assert_eq(a->note_bytes, b->note_bytes);
    cr_assert_eq(memcmp(a->note, b->note, a->note_bytes), 0);
    pair->index = a->applied_index;
}

static struct pair *pair_create(uint64_t seed)
{
    struct pair *pair = mem_zalloc(sizeof *pair);
    strcpy(pair->dir, "/tmp/conclave-tables-XXXXXX");
    cr_assert(mkdtemp(pair->dir));
    pair->env = (struct conclave_machine_env){
        .dir = pair->dir, .boot_id = {1}, .cluster_id = 7, .node_id = 1};
    prng_init(&pair->prng, seed);
    pair->of[FILES] = tables_lmdb_create();
    pair->of[MEMORY] = tables_memory_create();
    pair_open(pair);
    return pair;
}

static void pair_close(struct pair *pair)
{
    for (int i = 0; i < BOTH; i++) {
        if (pair->views[i])
            tables_view_end(pair->views[i]);
        pair->views[i] = NULL;
        tables_close(pair->of[i]);
    }
}

static void pair_destroy(struct pair *pair)
{
    pair_close(pair);
    static const char *const files[] = {"owner", "data.mdb", "lock.mdb"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", pair->dir, files[i]);
        unlink(path);
    }
    cr_assert_eq(rmdir(pair->dir), 0);
    for (int i = 0; i < BOTH; i++)
        tables_destroy(pair->of[i]);
    free(pair);
}

static uint64_t below(struct pair *pair, uint64_t bound)
{
    return prng_below(&pair->prng, bound);
}

static struct slice key_draw(struct pair *pair, uint8_t buffer[TABLES_KEY_BYTES_MAX])
{
    /* Few different keys, prefixes of each other among them; now and then the longest. */
    size_t bytes = below(pair, 40) == 0 ? TABLES_KEY_BYTES_MAX : 1 + below(pair, 3);
    for (size_t i = 0; i < bytes; i++)
        buffer[i] = i < 3 ? (uint8_t)(below(pair, 5) * 63) : 0xff;
    return (struct slice){buffer, bytes};
}

/* Behind all others, for a while. */
static struct slice rising_key(struct pair *pair, uint8_t buffer[TABLES_KEY_BYTES_MAX])
{
    enum { RISING_MAX = 600 };
    if (pair->risen == RISING_MAX)
        return key_draw(pair, buffer);
    pair->risen++;
    buffer[0] = 0xfd;
    buffer[1] = (uint8_t)(pair->risen >> 8);
    buffer[2] = (uint8_t)pair->risen;
    return (struct slice){buffer, 3};
}

static size_t value_bytes_draw(struct pair *pair)
{
    uint64_t which = below(pair, 20);
    return which == 0 ? 0 : which == 1 ? below(pair, 20000) : below(pair, 300);
}

static void same(struct slice a, struct slice b)
{
    cr_assert_eq(a.bytes, b.bytes);
    cr_assert_eq(memcmp(a.data, b.data, a.bytes), 0);
}

/* Both hold the same, from the front and from the back. */
static void same_table(struct tables_tx *const tx[BOTH], enum table table)
{
    struct tables_cursor cursors[BOTH];
    for (int i = 0; i < BOTH; i++)
        cr_assert_eq(tables_cursor_open(tx[i], table, &cursors[i]), CONCLAVE_OK);
    for (int back = 0; back < 2; back++) {
        enum tables_move move = back ? TABLES_LAST : TABLES_FROM;
        int rcs[BOTH];
        do {
            struct slice keys[BOTH] = {0}, values[BOTH];
            for (int i = 0; i < BOTH; i++)
                rcs[i] = tables_cursor_move(&cursors[i], move, &keys[i], &values[i]);
            cr_assert_eq(rcs[FILES], rcs[MEMORY]);
            if (!rcs[FILES]) {
                same(keys[FILES], keys[MEMORY]);
                same(values[FILES], values[MEMORY]);
            }
            move = back ? TABLES_PREVIOUS : TABLES_NEXT;
        } while (!rcs[FILES]);
        cr_assert_eq(rcs[FILES], CONCLAVE_NOT_FOUND);
    }
    for (int i = 0; i < BOTH; i++)
        tables_cursor_close(&cursors[i]);
}

static void same_committed(struct pair *pair)
{
    struct tables_tx *tx[BOTH];
    for (int i = 0; i < BOTH; i++)
        cr_assert_eq(tables_read(pair->of[i], &tx[i]), CONCLAVE_OK);
    for (int table = 0; table < TABLES; table++)
        same_table(tx, (enum table)table);
}

static void same_views(struct pair *pair)
{
    struct tables_tx *tx[BOTH];
    for (int i = 0; i < BOTH; i++) {
        cr_assert(tables_view_enter(pair->views[i]));
        tx[i] = &pair->views[i]->tx;
    }
    for (int table = 0; table < TABLES; table++)
        same_table(tx, (enum table)table);
    for (int i = 0; i < BOTH; i++)
        tables_view_leave(pair->views[i]);
}

static void single_key(struct pair *pair, enum table table)
{
    uint8_t buffer[TABLES_KEY_BYTES_MAX];
    struct slice key = key_draw(pair, buffer);
    uint64_t what = below(pair, 4);
    size_t bytes = value_bytes_draw(pair);
    int fill = (int)below(pair, 256);
    int rcs[BOTH];
    struct slice values[BOTH] = {0};
    for (int i = 0; i < BOTH; i++) {
        void *room = NULL;
        if (what == 0)
            rcs[i] = tables_get(&pair->tx[i], table, key, &values[i]);
        else if (what == 1)
            rcs[i] = tables_erase(&pair->tx[i], table, key);
        else
            rcs[i] = tables_put(&pair->tx[i], table, key, bytes, &room);
        if (what > 1 && bytes)
            memset(room, fill, bytes);
    }
    cr_assert_eq(rcs[FILES], rcs[MEMORY]);
    cr_assert(rcs[FILES] == 0 || (what < 2 && rcs[FILES] == CONCLAVE_NOT_FOUND));
    if (what == 0 && !rcs[FILES])
        same(values[FILES], values[MEMORY]);
}

/* The key that a move found, copied: changes move what a cursor points to. */
struct place {
    uint8_t key[TABLES_KEY_BYTES_MAX];
    size_t bytes; /* 0: none yet */
};

static void keep_place(struct place *place, struct slice key)
{
    memcpy(place->key, key.data, key.bytes);
    place->bytes = key.bytes;
}

/* One step of both cursors, which may be nowhere. */
static void cursor_step(struct pair *pair, struct tables_cursor cursors[BOTH], struct place *place)
{
    uint8_t buffer[TABLES_KEY_BYTES_MAX];
    bool rises = below(pair, 4) == 0;
    struct slice key = rises ? rising_key(pair, buffer) : key_draw(pair, buffer);
    uint64_t what = rises ? 1 + 7 * below(pair, 2) : below(pair, 10); /* a put */
    enum tables_move move = (enum tables_move)below(pair, 5);
    if (!cursors[0].placed && (move == TABLES_NEXT || move == TABLES_PREVIOUS))
        move = below(pair, 2) ? TABLES_FROM : TABLES_LAST;
    if (cursors[0].erased)
        move = TABLES_NEXT;
    if (move == TABLES_FROM && below(pair, 4) == 0)
        key.bytes = 0;
    if (what == 0 && (!cursors[0].placed || cursors[0].erased))
        what = 2;
    bool copies = what > 7;
    if (what == 1 && key.bytes == 0)
        what = 2;
    size_t bytes = value_bytes_draw(pair);
    uint8_t *value = malloc(bytes + 1);
    memset(value, 'b', bytes);
    if (copies && !rises && place->bytes && below(pair, 4)) /* most often where the cursors stand */
        key = (struct slice){place->key, place->bytes};
    if (copies && key.bytes == 0)
        key = (struct slice){(const uint8_t *)"k", 1};
    int rcs[BOTH];
    struct slice keys[BOTH], values[BOTH] = {0};
    for (int i = 0; i < BOTH; i++) {
        void *room = NULL;
        keys[i] = key;
        if (what == 0)
            rcs[i] = tables_cursor_erase(&cursors[i]);
        else if (what == 1)
            rcs[i] = tables_cursor_put(&cursors[i], key, bytes, &room);
        else if (copies)
            rcs[i] = tables_cursor_put_bytes(&cursors[i], key, (struct slice){value, bytes});
        else
            rcs[i] = tables_cursor_move(&cursors[i], move, &keys[i], &values[i]);
        if (what == 1 && bytes)
            memset(room, 'c', bytes);
    }
    cr_assert_eq(rcs[FILES], rcs[MEMORY], "%d %d", rcs[FILES], rcs[MEMORY]);
    free(value);
    cr_assert(rcs[FILES] == 0 || (what > 1 && !copies && rcs[FILES] == CONCLAVE_NOT_FOUND));
    if (what > 1 && !copies && !rcs[FILES]) {
        same(keys[FILES], keys[MEMORY]);
        same(values[FILES], values[MEMORY]);
        keep_place(place, keys[FILES]);
    }
}

static void walk(struct pair *pair, enum table table)
{
    struct tables_cursor cursors[BOTH];
    struct place place = {.bytes = 0};
    for (int i = 0; i < BOTH; i++)
        cr_assert_eq(tables_cursor_open(&pair->tx[i], table, &cursors[i]), CONCLAVE_OK);
    for (uint64_t left = below(pair, 30); left > 0; left--)
        cursor_step(pair, cursors, &place);
    for (int i = 0; i < BOTH; i++)
        tables_cursor_close(&cursors[i]);
}

static void change(struct pair *pair)
{
    for (int i = 0; i < BOTH; i++)
        cr_assert_eq(tables_begin(pair->of[i], &pair->tx[i]), CONCLAVE_OK);
    for (uint64_t left = below(pair, 12); left > 0; left--) {
        enum table table = (enum table)below(pair, TABLES);
        if (below(pair, 3))
            single_key(pair, table);
        else
            walk(pair, table);
    }
    bool abort = below(pair, 4) == 0;
    struct tables_state state = {.applied_index = pair->index + below(pair, 3),
                                 .note_bytes = (uint32_t)below(pair, TABLES_NOTE_BYTES_MAX + 1)};
    memset(state.note, (int)below(pair, 256), state.note_bytes);
    for (int i = 0; i < BOTH; i++) {
        if (abort)
            tables_abort(&pair->tx[i]);
        else
            cr_assert_eq(tables_commit(&pair->tx[i], &state), CONCLAVE_OK);
    }
    pair->index = abort ? pair->index : state.applied_index;
}

/* What happens to a process and its machine. */
static void disturb(struct pair *pair)
{
    uint64_t what = below(pair, 12);
    bool reopen = what < 6;
    for (int i = 0; i < BOTH; i++) {
        if (what == 0 || what == 6)
            cr_assert_eq(tables_sync(pair->of[i]), CONCLAVE_OK);
        if (what == 1)
            cr_assert_eq(tables_begin_anew(pair->of[i]), CONCLAVE_OK);
        if (what == 2) {
            cr_assert_eq(tables_begin_anew(pair->of[i]), CONCLAVE_OK);
            cr_assert_eq(tables_trust(pair->of[i]), CONCLAVE_OK);
        }
        if (what == 7)
            cr_assert_eq(tables_grow(pair->of[i]), CONCLAVE_OK);
        if (what == 7 || what == 1 || what == 2)
            cr_assert(!pair->views[i] || !tables_view_enter(pair->views[i]), "it was ended");
        if ((what == 7 || what == 1 || what == 2) && pair->views[i]) {
            tables_view_end(pair->views[i]);
            pair->views[i] = NULL;
        }
    }
    if (what == 1 || what == 2) {
        pair->index = 0;
        change(pair);
    }
    if (!reopen)
        return;
    pair_close(pair);
    if (below(pair, 2) == 0)
        pair->env.boot_id[1]++;
    if (below(pair, 8) == 0)
        pair->env.node_id++;
    pair_open(pair);
}

static void view_begin(struct pair *pair)
{
    for (int i = 0; i < BOTH; i++) {
        if (pair->views[i])
            tables_view_end(pair->views[i]);
        cr_assert_eq(tables_view_begin(pair->of[i], &pair->views[i]), CONCLAVE_OK);
    }
}

Test(tables, in_memory_are_those_in_files, .timeout = 1200)
{
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct pair *pair = pair_create(seed);
        for (int step = 0; step < 300; step++) {
            change(pair);
            same_committed(pair);
            if (pair->views[0])
                same_views(pair);
            if (below(pair, 10) == 0)
                view_begin(pair);
            if (below(pair, 12) == 0)
                disturb(pair);
        }
        pair_destroy(pair);
    }
}

/* --- What both promise -------------------------------------------------------------------------
 */

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
        same(found, text_of(value));
}

Test(tables, view_stays_as_it_was_and_an_abort_leaves_nothing)
{
    struct pair *pair = pair_create(1);
    for (int i = 0; i < BOTH; i++)
        put_one(pair->of[i], "a", "1", true);
    view_begin(pair);
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
    same(key, row_key(text, row + 1, false));
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
    same_table(both, TABLE_KEYS);
    for (int i = 0; i < BOTH; i++)
        tables_abort(&pair->tx[i]);
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
    view_begin(pair);
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

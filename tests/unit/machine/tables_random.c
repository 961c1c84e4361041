/* The tables in files and those in memory give the same results, step by step, whatever is done to
 * them. */
#include "tables_pair.h"

#include <criterion/criterion.h>
#include <string.h>

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

/* Of all tables that are summed, as they are. */
static uint64_t sum_of(struct tables_tx *tx)
{
    uint64_t sum = 0;
    for (uint32_t table = 0; table < TABLES; table++) {
        struct tables_cursor cursor;
        struct slice key = {0}, value;
        cr_assert_eq(tables_cursor_open(tx, (enum table)table, &cursor), 0);
        for (int rc = tables_cursor_move(&cursor, TABLES_FROM, &key, &value);
             !rc && tables_are_summed(table);
             rc = tables_cursor_move(&cursor, TABLES_NEXT, &key, &value))
            sum += digest_of(digest_place(table, key), value);
        tables_cursor_close(&cursor);
    }
    return sum;
}

static void same_committed(struct pair *pair)
{
    struct tables_tx *tx[BOTH];
    for (int i = 0; i < BOTH; i++)
        cr_assert_eq(tables_read(pair->of[i], &tx[i]), CONCLAVE_OK);
    for (int table = 0; table < TABLES; table++)
        pair_same_table(tx, (enum table)table);
    for (int i = 0; i < BOTH; i++)
        cr_assert_eq(sum_of(tx[i]), pair->of[i]->state.digest);
}

static void same_views(struct pair *pair)
{
    struct tables_tx *tx[BOTH];
    for (int i = 0; i < BOTH; i++) {
        cr_assert(tables_view_enter(pair->views[i]));
        tx[i] = &pair->views[i]->tx;
    }
    for (int table = 0; table < TABLES; table++)
        pair_same_table(tx, (enum table)table);
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
        pair_same(values[FILES], values[MEMORY]);
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
        pair_same(keys[FILES], keys[MEMORY]);
        pair_same(values[FILES], values[MEMORY]);
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
                pair_view_begin(pair);
            if (below(pair, 12) == 0)
                disturb(pair);
        }
        pair_destroy(pair);
    }
}

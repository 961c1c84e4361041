#include "tables_pair.h"

#include "machine/tables_lmdb.h"
#include "machine/tables_memory.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void pair_open(struct pair *pair)
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

struct pair *pair_create(uint64_t seed)
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

void pair_close(struct pair *pair)
{
    for (int i = 0; i < BOTH; i++) {
        if (pair->views[i])
            tables_view_end(pair->views[i]);
        pair->views[i] = NULL;
        tables_close(pair->of[i]);
    }
}

void pair_destroy(struct pair *pair)
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

void pair_same(struct slice a, struct slice b)
{
    cr_assert_eq(a.bytes, b.bytes);
    cr_assert_eq(memcmp(a.data, b.data, a.bytes), 0);
}

/* Both hold the same, from the front and from the back. */
void pair_same_table(struct tables_tx *const tx[BOTH], enum table table)
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
                pair_same(keys[FILES], keys[MEMORY]);
                pair_same(values[FILES], values[MEMORY]);
            }
            move = back ? TABLES_PREVIOUS : TABLES_NEXT;
        } while (!rcs[FILES]);
        cr_assert_eq(rcs[FILES], CONCLAVE_NOT_FOUND);
    }
    for (int i = 0; i < BOTH; i++)
        tables_cursor_close(&cursors[i]);
}

void pair_view_begin(struct pair *pair)
{
    for (int i = 0; i < BOTH; i++) {
        if (pair->views[i])
            tables_view_end(pair->views[i]);
        cr_assert_eq(tables_view_begin(pair->of[i], &pair->views[i]), CONCLAVE_OK);
    }
}

/* Tables in files and in memory, side by side. */
#ifndef TESTS_MACHINE_TABLES_PAIR_H
#define TESTS_MACHINE_TABLES_PAIR_H

#include "base/prng.h"
#include "machine/tables.h"

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

struct pair *pair_create(uint64_t seed);
void pair_destroy(struct pair *pair);

/* What comes between is a restart. */
void pair_close(struct pair *pair);
void pair_open(struct pair *pair);

/* Of both, ending the ones before. */
void pair_view_begin(struct pair *pair);

void pair_same(struct slice a, struct slice b);

/* Forwards and backwards. */
void pair_same_table(struct tables_tx *const tx[BOTH], enum table table);

#endif

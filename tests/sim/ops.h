/* tests/sim/ops.h - the operations of the simulated clients and what became of them: the record
 * from which the promises to clients are checked.
 *
 * Times here are ticks: a count of the scheduler's steps, so that no two events share one. An
 * operation counts as finished when a node answers it: nothing can take effect after that. */
#ifndef TESTS_SIM_OPS_H
#define TESTS_SIM_OPS_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

enum op_kind { OP_WRITE = 1, OP_READ = 2 };

enum op_state {
    OP_SENT = 1,   /* on its way to a node */
    OP_TAKEN,      /* given to a node's core, not answered */
    OP_OK,         /* answered: applied, or read */
    OP_REFUSED,    /* surely not applied */
    OP_UNKNOWN,    /* the node said so: replaced in its log, may be elsewhere */
    OP_LOST,       /* the node crashed before it answered */
    OP_UNDELIVERED /* never reached a node */
};

struct op {
    enum op_kind kind;
    enum op_state state;
    uint32_t client, node, incarnation;
    uint32_t cell;              /* the register */
    uint64_t epoch;             /* which request of its client it belongs to */
    uint64_t invoked, finished; /* ticks; finished 0: not answered */
    uint64_t round; /* READ: the last round of the node, as leader of round_term, when it came */
    uint64_t round_term;
    uint64_t floor;     /* READ: the entries known to be committed anywhere when it was invoked */
    uint64_t index;     /* OK: where the write stands; how much of the log the read saw */
    uint64_t value;     /* READ, OK: the write (op number) that the register held; 0: none */
    uint64_t committed; /* WRITE: index at which it was committed; 0: not known to be */
};

/* Operations are numbered from 1; number 0 is "no operation". */
struct ops {
    struct op *items; /* items[number] */
    uint64_t count, capacity;
};

uint64_t ops_add(struct ops *ops, struct op op);
void ops_deinit(struct ops *ops);

enum { COMMAND_BYTES = 16 };

/* The payload of a write: its number, the register, `pad` bytes more: COMMAND_BYTES + pad. One
 * reference. */
struct buf *command_encode(uint64_t number, uint32_t cell, uint32_t pad);

/* False if the bytes are no such payload. */
bool command_decode(struct slice payload, uint64_t *ret_number, uint32_t *ret_cell);

#endif

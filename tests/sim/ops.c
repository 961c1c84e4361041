#include "tests/sim/ops.h"

#include "base/fatal.h"

#include <stdlib.h>
#include <string.h>

uint64_t ops_add(struct ops *ops, struct op op)
{
    if (ops->count + 1 >= ops->capacity) {
        ops->capacity = ops->capacity ? ops->capacity * 2 : 128;
        ops->items = mem_realloc(ops->items, ops->capacity * sizeof *ops->items);
    }
    if (ops->count == 0)
        ops->items[0] = (struct op){0};
    ops->items[++ops->count] = op;
    return ops->count;
}

void ops_deinit(struct ops *ops)
{
    free(ops->items);
    *ops = (struct ops){0};
}

struct buf *command_encode(uint64_t number, uint32_t cell, uint32_t pad)
{
    struct buf *buf = buf_create(COMMAND_BYTES + pad);
    uint64_t words[2] = {number, cell};
    memcpy(buf->data, words, sizeof words);
    memset(buf->data + COMMAND_BYTES, (int)(number & 0xff), pad);
    return buf;
}

bool command_decode(struct slice payload, uint64_t *ret_number, uint32_t *ret_cell)
{
    uint64_t words[2];
    if (payload.bytes < sizeof words)
        return false;
    memcpy(words, payload.data, sizeof words);
    *ret_number = words[0];
    *ret_cell = (uint32_t)words[1];
    return true;
}

#include "raft/ledger.h"

#include "base/fatal.h"

#include <stdlib.h>

static struct raft_ledger_item *ledger_at(const struct raft_ledger *ledger, uint32_t position)
{
    return &ledger->items[(ledger->head + position) & (ledger->capacity - 1)];
}

static void ledger_grow(struct raft_ledger *ledger)
{
    uint32_t capacity = ledger->capacity > 0 ? ledger->capacity * 2 : 8;
    struct raft_ledger_item *items = mem_alloc((size_t)capacity * sizeof *items);
    for (uint32_t i = 0; i < ledger->count; i++)
        items[i] = *ledger_at(ledger, i);
    free(ledger->items);
    ledger->items = items;
    ledger->head = 0;
    ledger->capacity = capacity;
}

void raft_ledger_add(struct raft_ledger *ledger, uint64_t index, uint64_t bytes)
{
    ASSERT(ledger->count == 0 || ledger_at(ledger, ledger->count - 1)->index <= index);
    if (ledger->count == ledger->capacity)
        ledger_grow(ledger);
    ledger->count++;
    *ledger_at(ledger, ledger->count - 1) = (struct raft_ledger_item){index, bytes};
    ledger->bytes += bytes;
}

void raft_ledger_settle(struct raft_ledger *ledger, uint64_t index)
{
    while (ledger->count > 0 && ledger_at(ledger, 0)->index <= index) {
        ledger->bytes -= ledger_at(ledger, 0)->bytes;
        ledger->head = (ledger->head + 1) & (ledger->capacity - 1);
        ledger->count--;
    }
    ASSERT(ledger->count > 0 || ledger->bytes == 0);
}

void raft_ledger_clear(struct raft_ledger *ledger)
{
    ledger->head = 0;
    ledger->count = 0;
    ledger->bytes = 0;
}

void raft_ledger_deinit(struct raft_ledger *ledger)
{
    free(ledger->items);
    *ledger = (struct raft_ledger){0};
}

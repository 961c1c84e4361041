#include "actors/repair_asks.h"

void repair_asks_add(struct repair_asks *asks, struct envelope *ask)
{
    struct envelope **place = NULL;
    for (size_t i = 0; i < REPAIR_ASKS_MAX; i++) {
        struct envelope *waits = asks->items[i];
        if (waits && waits->repair.from == ask->repair.from) {
            place = &asks->items[i];
            break;
        }
        if (!waits && !place)
            place = &asks->items[i];
    }
    envelope_destroy(place ? *place : ask);
    if (place)
        *place = ask;
}

struct envelope *repair_asks_take(struct repair_asks *asks)
{
    for (size_t i = 0; i < REPAIR_ASKS_MAX; i++) {
        struct envelope *ask = asks->items[i];
        asks->items[i] = NULL;
        if (ask)
            return ask;
    }
    return NULL;
}

void repair_asks_clear(struct repair_asks *asks)
{
    for (struct envelope *ask; (ask = repair_asks_take(asks));)
        envelope_destroy(ask);
}

#include "actors/reply_room.h"

bool reply_room_for_query(const struct meter *client)
{
    size_t all = meter_held(meter_above(client));
    size_t bound = all < REPLY_SHARED_BYTES  ? REPLY_CLIENT_QUERY_BYTES
                   : all < REPLY_QUERY_BYTES ? REPLY_CLIENT_LITTLE_BYTES
                                             : 0;
    return meter_held(client) < bound;
}

bool reply_room_for_frame(const struct meter *client, size_t bytes)
{
    return meter_held(client) + bytes <= REPLY_CLIENT_BYTES_MAX &&
           meter_held(meter_above(client)) + bytes <= REPLY_BYTES_MAX;
}

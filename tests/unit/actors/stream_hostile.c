/* Whatever clients say of subscriptions, in whatever order and under whatever ids: it is answered,
 * and nothing else happens. */
#include "stream_room.h"

#include "base/prng.h"
#include "codec/kv.h"
#include "codec/topic.h"
#include "codec/watch.h"

#include <criterion/criterion.h>
#include <string.h>

enum { STEPS = 30000, CLIENTS = 4, BODY_BYTES_MAX = 256 };

static struct stream_room room;
static struct prng prng;

/* One of those that are valid. */
static size_t body_of(uint8_t body[BODY_BYTES_MAX])
{
    struct pack spec, pack;
    pack_init(&spec, 0);
    pack_init(&pack, 0);
    uint64_t draw = prng_below(&prng, 4), position = prng_below(&prng, 20);
    if (draw == 0)
        watch_spec_pack(&spec, &(struct watch_spec){.bounds = {slice_of("a"), slice_of("z"), false},
                                                    .what = prng_below(&prng, WATCH_WHAT_ALL + 1)});
    else
        topic_spec_pack(&spec, &(struct topic_spec){slice_of("t"), 0});
    if (draw < 3)
        stream_subscribe_pack(&pack, &(struct stream_subscribe){draw ? STREAM_TOPIC : STREAM_WATCH,
                                                                position,
                                                                prng_below(&prng, 5000),
                                                                {spec.buf->data, spec.bytes}});
    else
        stream_credit_pack(
            &pack, &(struct stream_credit){prng_below(&prng, 100000), prng_below(&prng, 3)});
    size_t bytes = pack.bytes;
    cr_assert_leq(bytes, BODY_BYTES_MAX);
    memcpy(body, pack.buf->data, bytes);
    pack_deinit(&spec);
    pack_deinit(&pack);
    return bytes;
}

/* Half of them changed, a few cut off. */
static struct slice draw_body(uint8_t body[BODY_BYTES_MAX])
{
    size_t bytes = body_of(body);
    for (uint64_t changes = prng_below(&prng, 4); changes > 1; changes--)
        body[prng_below(&prng, bytes)] = (uint8_t)prng_next(&prng);
    if (prng_below(&prng, 8) == 0)
        bytes = prng_below(&prng, bytes);
    return (struct slice){body, bytes};
}

static void say(uint64_t client, uint64_t id)
{
    uint8_t body[BODY_BYTES_MAX];
    struct slice said = draw_body(body);
    switch (prng_below(&prng, 8)) {
    case 0:
        stream_hub_unsubscribe(room.hub, client, id);
        break;
    case 1:
        if (prng_below(&prng, 10) == 0)
            stream_hub_client_gone(room.hub, client);
        break;
    case 2:
    case 3:
    case 4:
        stream_hub_credit(room.hub, client, id, said, room.now_us);
        break;
    default:
        stream_hub_subscribe(room.hub, client, id, room.meter, said, room.now_us);
    }
}

/* Every output is a frame, or an end with a code that is known. */
static uint64_t deliver(void)
{
    struct stream_outputs *outputs = stream_hub_outputs(room.hub);
    uint64_t frames = 0;
    for (uint32_t i = 0; i < outputs->count; i++) {
        const struct stream_output *output = &outputs->items[i];
        struct stream_frame frame;
        if (output->body) {
            struct slice body = {output->body->data, output->body->bytes};
            cr_assert_eq(output->code, CONCLAVE_OK);
            cr_assert_eq(stream_frame_decode(body, &frame), CONCLAVE_OK);
            frames++;
        } else {
            cr_assert(output->code == CONCLAVE_OK || output->text);
        }
        buf_unref(output->body);
    }
    outputs->count = 0;
    return frames;
}

static void put(void)
{
    struct pack pack;
    pack_init(&pack, 0);
    kv_command_pack(&pack, &(struct kv_command){
                               .opcode = KV_PUT, .key = slice_of("k"), .value = slice_of("value")});
    cr_assert_eq(stream_room_apply(&room, &pack), CONCLAVE_OK);
}

Test(stream_hostile, nothing_that_clients_say_is_more_than_answered)
{
    static const uint64_t ids[] = {0, 1, 2, 3, UINT64_MAX};
    uint64_t frames = 0;
    stream_room_init(&room);
    prng_init(&prng, 11);
    stream_room_create(&room, "t", 5);
    for (int step = 0; step < STEPS; step++) {
        say(prng_below(&prng, CLIENTS) + 1, ids[prng_below(&prng, 5)]);
        if (prng_below(&prng, 4) == 0) {
            room.now_us += prng_below(&prng, 200000);
            if (prng_below(&prng, 2))
                put();
            else
                stream_room_publish(&room, "t", 1 + (uint32_t)prng_below(&prng, 3), 20);
            stream_hub_fresh(room.hub, room.now_us);
            stream_hub_turn(room.hub, room.now_us);
        }
        frames += deliver();
    }
    cr_assert_gt(frames, STEPS / 20, "some of it is served");
    stream_hub_end_all(room.hub, CONCLAVE_STOPPING);
    deliver();
    stream_room_deinit(&room);
}

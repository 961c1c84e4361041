/* What the subscriptions of a node have its other actors do: confirm that they are not behind,
 * apply without delay, tell the clients. */
#include "actors/machine_streams.h"

#include "base/clock.h"
#include "base/list.h"
#include "stream_room.h"
#include "wires.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct stream_room room;
static struct machine_streams streams;
static struct node *node;
static struct actor *machine; /* its own thread is this one */

static void setup(void)
{
    stream_room_init(&room);
    node = calloc(1, sizeof *node);
    wires_open(node, "machine-streams");
    machine = &node->actors[ACTOR_MACHINE];
    streams = (struct machine_streams){.hub = room.hub};
}

static void teardown(void)
{
    wires_close(node);
    free(node);
    stream_room_deinit(&room);
}

TestSuite(machine_streams, .init = setup, .fini = teardown);

/* The caller's; NULL: there is none. */
static struct envelope *sent(enum actor_id id)
{
    return inbox_receive(&node->actors[id].inbox);
}

static void expect_nothing(enum actor_id id)
{
    struct envelope *envelope = sent(id);
    cr_assert_null(envelope, "%d", envelope->type);
}

/* That so many requests were heard since the last, and so many answers go out, of that code. */
static void expect_told(uint32_t taken, uint32_t count, int code)
{
    struct envelope *told = sent(ACTOR_NETWORK);
    cr_assert_not_null(told);
    cr_assert_eq(told->type, ENVELOPE_STREAMS);
    cr_assert_eq(told->streams.taken, taken);
    cr_assert_eq(told->streams.outputs.count, count);
    for (uint32_t i = 0; i < count; i++)
        cr_assert_eq(told->streams.outputs.items[i].code, code);
    envelope_destroy(told);
}

static void expect_watched(bool watched)
{
    struct envelope *told = sent(ACTOR_RAFT);
    cr_assert_not_null(told);
    cr_assert_eq(told->type, ENVELOPE_WATCHED);
    cr_assert_eq(told->watched, watched);
    envelope_destroy(told);
}

/* One request of client 1 about its only subscription. */
static void ask(uint32_t type, const char *body)
{
    struct envelope *envelope = envelope_create(ENVELOPE_SUBSCRIPTIONS);
    LIST_RESERVE(&envelope->subscriptions);
    envelope->subscriptions.items[envelope->subscriptions.count++] = (struct stream_request){
        .client = 1, .id = 1, .type = type, .body = slice_of(body), .meter = meter_ref(room.meter)};
    machine_streams_take(&streams, envelope);
    envelope_destroy(envelope);
}

static void subscribe(void)
{
    ask(CLIENT_OP_SUBSCRIBE, "\x94\x01\x01\x01\x92\xc4\x01k\xc0"); /* to the changes of a key */
}

Test(machine_streams, that_begin_are_confirmed_by_one_read_of_nothing)
{
    machine_streams_step(machine, &streams, 0);
    expect_nothing(ACTOR_RAFT);
    subscribe();
    machine_streams_step(machine, &streams, 0);
    struct envelope *read = sent(ACTOR_RAFT);
    cr_assert_not_null(read, "who subscribes where nobody reads would wait");
    cr_assert_eq(read->type, ENVELOPE_READ);
    cr_assert_eq(read->read.count, 1);
    cr_assert(read->read.items[0].probe);
    envelope_destroy(read);
    expect_told(1, 0, CONCLAVE_OK); /* heard, and not answered before it is confirmed */
    machine_streams_step(machine, &streams, clock_now_us());
    expect_told(0, 1, CONCLAVE_OK);
    machine_streams_step(machine, &streams, clock_now_us());
    expect_nothing(ACTOR_RAFT);
    expect_nothing(ACTOR_NETWORK);
}

Test(machine_streams, have_raft_told_when_the_first_comes_and_when_the_last_is_gone)
{
    machine_streams_tell(machine, &streams, false);
    expect_nothing(ACTOR_RAFT);
    subscribe();
    machine_streams_tell(machine, &streams, false);
    expect_watched(true);
    machine_streams_tell(machine, &streams, true);
    expect_nothing(ACTOR_RAFT);
    ask(0, ""); /* the client is gone */
    machine_streams_tell(machine, &streams, true);
    expect_nothing(ACTOR_RAFT);
    machine_streams_tell(machine, &streams, false);
    expect_watched(false);
}

Test(machine_streams, are_told_that_the_node_ends)
{
    subscribe();
    machine_streams_end(machine, &streams);
    expect_told(1, 1, CONCLAVE_STOPPING);
    cr_assert_eq(stream_hub_count(room.hub), 0);
}

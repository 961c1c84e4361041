/* What network makes of the batches of the host's proposers, on the test's own thread: which are
 * refused for want of room, and what goes to raft before those that have to do with time. */
#include "actors/network.h"

#include "base/clock.h"
#include "codec/kv.h"
#include "machine/kv.h"
#include "wires.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct {
    struct node node;
    struct network network;
    struct raft_configuration members;
    struct proposer_link *link;
    atomic_uint links;
    struct actor *self;
} rig;

static bool frees(const void *data, size_t bytes)
{
    return bytes > 0 && *(const uint8_t *)data == 'd';
}

static const struct conclave_machine_ops with_deletes = {.size = sizeof with_deletes,
                                                         .frees = frees};
static const struct conclave_machine_ops without = {.size = sizeof without};

static void setup(void)
{
    memset(&rig, 0, sizeof rig);
    wires_open(&rig.node, "network-proposers");
    rig.self = &rig.node.actors[ACTOR_NETWORK];
    rig.self->state = &rig.network;
    rig.network.members = &rig.members;
    rig.network.leads = rig.network.clients.leads = true;
    rig.network.clients.machine = &with_deletes;
    struct proposer_link *link = rig.link = calloc(1, sizeof *link);
    atomic_init(&link->refs, 2);
    link->live = &rig.links;
    atomic_init(&rig.links, 1);
    inbox_open(&link->to_node.in, rig.node.context, "inproc://network-proposers-p");
    outbox_open(&link->to_node.out, rig.node.context, "inproc://network-proposers-p");
    inbox_open(&link->to_host.in, rig.node.context, "inproc://network-proposers-o");
    outbox_open(&link->to_host.out, rig.node.context, "inproc://network-proposers-o");
    network_take_proposer(&rig.network, link);
}

static void teardown(void)
{
    network_end_proposers(&rig.network);
    proposer_link_unref(rig.link);
    cr_assert_eq(atomic_load(&rig.links), 0);
    wires_close(&rig.node);
}

TestSuite(network_proposers, .init = setup, .fini = teardown, .timeout = 600);

static void add(struct raft_batch *batch, struct buf *buf)
{
    raft_batch_add(batch, (struct raft_entry){.origin = {PROPOSER_ORIGIN, batch->count + 1},
                                              .kind = RAFT_ENTRY_COMMAND,
                                              .buf = buf,
                                              .payload = {.data = buf->data, .bytes = buf->bytes}});
}

static void propose(struct raft_batch *batch)
{
    struct envelope *proposed = envelope_create(ENVELOPE_PROPOSED);
    proposed->proposed = batch;
    mailbox_send(&rig.link->to_node.out, &proposed);
    rig.link->to_node.in.source.quiet = false;
    network_receive_proposers(rig.self);
}

/* One command a letter: d gives space back. */
static void propose_letters(const char *letters)
{
    struct raft_batch *batch = raft_batch_create((uint32_t)strlen(letters));
    for (const char *at = letters; *at; at++)
        add(batch, buf_copy(at, 1));
    propose(batch);
}

/* The next batch that raft was given; NULL: none. */
static struct envelope *given(void)
{
    struct inbox *inbox = &rig.node.actors[ACTOR_RAFT].inbox;
    struct envelope *envelope = inbox_receive(inbox);
    cr_assert(!envelope || envelope->type == ENVELOPE_PROPOSED);
    return envelope;
}

static void assert_taken(uint32_t count)
{
    struct envelope *envelope = given();
    cr_assert_not_null(envelope);
    cr_assert_eq(envelope->proposed->count, count);
    envelope_destroy(envelope);
    cr_assert_eq(rig.network.proposers.items[0].replies.count, 0);
}

static void assert_refused(uint32_t count)
{
    struct reply_list *replies = &rig.network.proposers.items[0].replies;
    cr_assert_null(given());
    cr_assert_eq(replies->count, count);
    for (uint32_t i = 0; i < count; i++) {
        cr_assert_eq(replies->items[i].code, CONCLAVE_NO_SPACE);
        cr_assert_eq(replies->items[i].origin.request, i + 1);
        cr_assert_not_null(strstr(replies->items[i].text, "not applied"));
    }
    reply_list_clear(replies);
}

Test(network_proposers, without_room_a_batch_is_taken_if_all_of_it_gives_space_back)
{
    propose_letters("pp");
    assert_taken(2);
    static const enum space_of parts[] = {SPACE_LOG, SPACE_STORE};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        bool *full = &rig.network.clients.full[parts[i]];
        *full = true;
        propose_letters("ddd");
        assert_taken(3);
        propose_letters("pdd");
        assert_refused(3);
        propose_letters("ddp");
        assert_refused(3);
        *full = false;
    }
    propose_letters("ddp");
    assert_taken(3);
}

Test(network_proposers, nothing_is_taken_where_the_state_machine_waits_for_room)
{
    rig.network.clients.full[SPACE_MACHINE] = true;
    propose_letters("d");
    assert_refused(1);
}

Test(network_proposers, nor_without_room_if_nobody_knows_what_gives_space_back)
{
    rig.network.clients.machine = &without;
    rig.network.clients.full[SPACE_LOG] = true;
    propose_letters("d");
    assert_refused(1);
}

/* The leader refuses it. */
Test(network_proposers, a_follower_without_room_hands_everything_on)
{
    rig.network.clients.leads = false;
    rig.network.clients.full[SPACE_LOG] = rig.network.clients.full[SPACE_MACHINE] = true;
    propose_letters("p");
    assert_taken(1);
}

static struct buf *put(uint64_t ttl_ms)
{
    struct pack pack;
    pack_init(&pack, 0);
    kv_command_pack(&pack, &(struct kv_command){.opcode = KV_PUT,
                                                .key = {(const uint8_t *)"key", 3},
                                                .value = {(const uint8_t *)"value", 5},
                                                .ttl_ms = ttl_ms});
    return pack_take(&pack);
}

static void propose_puts(uint64_t first_ttl_ms, uint64_t second_ttl_ms)
{
    struct raft_batch *batch = raft_batch_create(2);
    add(batch, put(first_ttl_ms));
    add(batch, put(second_ttl_ms));
    propose(batch);
}

/* What a command that has a time is measured from goes into the log before it. */
static void assert_clock_first(void)
{
    struct envelope *clock = given();
    cr_assert_not_null(clock);
    cr_assert_eq(clock->proposed->count, 1);
    cr_assert_eq(clock->proposed->entries[0].kind, RAFT_ENTRY_SESSION);
    cr_assert_eq(clock->proposed->entries[0].origin.client, 0, "nobody waits for it");
    envelope_destroy(clock);
    assert_taken(2);
}

Test(network_proposers, time_goes_before_a_batch_that_has_to_do_with_it)
{
    rig.network.clients.machine = kv_machine_ops();
    rig.network.clients.clock_us = clock_now_us() - 10000000;
    propose_puts(0, 0);
    assert_taken(2);
    propose_puts(0, 5000);
    assert_clock_first();
    rig.network.clients.clock_us = clock_now_us() - 10000000;
    propose_puts(5000, 0);
    assert_clock_first();
    cr_assert_not(rig.network.clients.timed, "what clients send next has its own");
}

Test(network_proposers, time_is_measured_by_who_leads_and_for_the_machine_that_knows_it)
{
    rig.network.clients.machine = &with_deletes;
    rig.network.clients.clock_us = clock_now_us() - 10000000;
    propose_puts(5000, 5000);
    assert_taken(2);
    rig.network.clients.machine = kv_machine_ops();
    rig.network.leads = rig.network.clients.leads = false;
    propose_puts(5000, 5000);
    assert_taken(2);
}

/* Queues: who holds, who waits for whom, tokens that rise, and what leases make of it. */
#include "rig.h"

#include "codec/coord.h"
#include "codec/kv_lease.h"
#include "conclave_lock.h"

#include <criterion/criterion.h>
#include <stdio.h>

static struct rig *rig;

static void setup(void)
{
    rig = rig_create();
}

static void teardown(void)
{
    rig_destroy(rig);
}

TestSuite(queues, .init = setup, .fini = teardown);

static uint64_t grant(uint64_t ttl_ms)
{
    struct kv_lease_answer answer;
    cr_assert_eq(rig_apply(rig, &(struct kv_command){.opcode = KV_LEASE_GRANT, .ttl_ms = ttl_ms}),
                 CONCLAVE_OK);
    cr_assert_eq(kv_lease_answer_decode(rig->sink.body->data, rig->sink.body->bytes, &answer), 0);
    return answer.lease;
}

/* The answer stays in rig->sink. */
static int command(const struct coord_request *request)
{
    struct pack pack;
    pack_init(&pack, 0);
    coord_request_pack(&pack, request);
    struct conclave_command entry = {++rig->index, 1, pack.buf->data, pack.bytes};
    struct conclave_reply_sink *sink = &rig->sink;
    reply_sink_clear(sink);
    cr_assert_eq(rig->ops->apply(rig->kv, &entry, 1, rig->index, &sink), CONCLAVE_OK);
    pack_deinit(&pack);
    return sink->code;
}

static int query(const struct coord_request *request)
{
    struct pack pack;
    pack_init(&pack, 0);
    coord_request_pack(&pack, request);
    reply_sink_clear(&rig->sink);
    rig->ops->query(rig->kv, pack.buf->data, pack.bytes, &rig->sink);
    pack_deinit(&pack);
    return rig->sink.code;
}

static struct coord_place place_answered(void)
{
    struct coord_place place;
    cr_assert_eq(coord_place_decode(rig->sink.body->data, rig->sink.body->bytes, &place), 0);
    cr_assert_eq(place.revision, kv_revision(rig->kv));
    return place;
}

/* The token. */
static uint64_t enqueue(const char *name, uint64_t lease, uint64_t slots)
{
    struct coord_request request = {.opcode = COORD_ENQUEUE,
                                    .name = text(name),
                                    .value = text("v"),
                                    .lease = lease,
                                    .slots = slots};
    cr_assert_eq(command(&request), CONCLAVE_OK);
    return place_answered().token;
}

/* Whom it waits for; 0: it holds. UINT64_MAX: it is gone. */
static uint64_t awaited(const char *name, uint64_t token)
{
    struct coord_request request = {.opcode = COORD_PLACE, .name = text(name), .token = token};
    int code = query(&request);
    if (code == CONCLAVE_NOT_FOUND)
        return UINT64_MAX;
    cr_assert_eq(code, CONCLAVE_OK);
    return place_answered().awaited;
}

static bool leave(const char *name, uint64_t token)
{
    struct coord_request request = {.opcode = COORD_LEAVE, .name = text(name), .token = token};
    struct kv_outcome outcome;
    cr_assert_eq(command(&request), CONCLAVE_OK);
    cr_assert_eq(kv_outcome_decode(rig->sink.body->data, rig->sink.body->bytes, &outcome), 0);
    return outcome.value;
}

Test(queues, serve_in_the_order_in_which_they_came)
{
    uint64_t leases[4], tokens[4];
    for (int i = 0; i < 4; i++) {
        leases[i] = grant(1000);
        tokens[i] = enqueue("l", leases[i], 1);
        cr_assert(i == 0 || tokens[i] > tokens[i - 1]);
    }
    cr_assert_eq(awaited("l", tokens[0]), 0);
    for (int i = 1; i < 4; i++)
        cr_assert_eq(awaited("l", tokens[i]), tokens[i - 1], "the one ahead, not the first");
    cr_assert(leave("l", tokens[1]));
    cr_assert_eq(awaited("l", tokens[2]), tokens[0], "who waits may go");
    cr_assert(leave("l", tokens[0]));
    cr_assert_eq(awaited("l", tokens[2]), 0);
    cr_assert_not(leave("l", tokens[0]));
    cr_assert_eq(awaited("l", tokens[0]), UINT64_MAX);
}

Test(queues, let_as_many_hold_as_there_are_slots)
{
    uint64_t tokens[5];
    for (int i = 0; i < 5; i++)
        tokens[i] = enqueue("l", grant(1000), 2);
    cr_assert_eq(awaited("l", tokens[0]), 0);
    cr_assert_eq(awaited("l", tokens[1]), 0);
    cr_assert_eq(awaited("l", tokens[2]), tokens[0]);
    cr_assert_eq(awaited("l", tokens[4]), tokens[2]);
    cr_assert(leave("l", tokens[1]));
    cr_assert_eq(awaited("l", tokens[2]), 0);
    cr_assert_eq(awaited("l", tokens[3]), tokens[0]);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(awaited("p", enqueue("p", grant(1000), 0)), 0, "everybody holds");
}

Test(queues, keep_their_number_of_slots_while_anybody_is_there)
{
    uint64_t token = enqueue("l", grant(1000), 1);
    struct coord_request other = {
        .opcode = COORD_ENQUEUE, .name = text("l"), .lease = grant(1000), .slots = 2};
    struct kv_outcome outcome;
    uint64_t revision = kv_revision(rig->kv);
    cr_assert_eq(command(&other), CONCLAVE_COMPARE_FAILED);
    cr_assert_eq(kv_outcome_decode(rig->sink.body->data, rig->sink.body->bytes, &outcome), 0);
    cr_assert_eq(outcome.value, 1);
    cr_assert_eq(kv_revision(rig->kv), revision);
    cr_assert(leave("l", token));
    cr_assert_eq(command(&other), CONCLAVE_OK);
    for (uint64_t slots = 1; slots <= CONCLAVE_LOCK_SLOTS_MAX; slots += 333) {
        char name[8];
        snprintf(name, sizeof name, "%lu", (unsigned long)slots);
        (void)enqueue(name, grant(1000), slots);
        (void)enqueue(name, grant(1000), slots);
    }
}

Test(queues, lose_an_entry_with_its_lease_and_not_before)
{
    uint64_t first = enqueue("l", grant(1000), 1), lease = grant(5000);
    uint64_t second = enqueue("l", lease, 1);
    rig_pass(rig, 999);
    cr_assert_eq(awaited("l", second), first);
    rig_pass(rig, 1);
    cr_assert_eq(awaited("l", first), UINT64_MAX);
    cr_assert_eq(awaited("l", second), 0);
    rig_apply(rig, &(struct kv_command){.opcode = KV_LEASE_REVOKE, .lease = lease});
    cr_assert_eq(awaited("l", second), UINT64_MAX);
    struct coord_request late = {
        .opcode = COORD_ENQUEUE, .name = text("l"), .lease = lease, .slots = 1};
    cr_assert_eq(command(&late), CONCLAVE_LEASE_EXPIRED);
    cr_assert_gt(enqueue("l", grant(1000), 1), second, "tokens rise though nobody was there");
}

Test(queues, know_whose_lease_is_there_already)
{
    uint64_t lease = grant(1000), other = grant(1000);
    uint64_t token = enqueue("l", lease, 1), revision = kv_revision(rig->kv);
    enqueue("m", lease, 1);
    enqueue("la", lease, 1);
    uint64_t behind = enqueue("l", other, 1);
    cr_assert_eq(enqueue("l", lease, 1), token);
    cr_assert_eq(enqueue("l", other, 1), behind);
    cr_assert_eq(kv_revision(rig->kv), revision + 3, "coming again changes nothing");
    cr_assert(leave("l", token));
    cr_assert_gt(enqueue("l", lease, 1), behind, "who left comes last");
}

Test(queues, of_other_names_are_others)
{
    uint64_t a = enqueue("a", grant(1000), 1), b = enqueue("b", grant(1000), 1);
    uint64_t ab = enqueue("ab", grant(1000), 1);
    cr_assert_eq(awaited("a", a), 0);
    cr_assert_eq(awaited("b", b), 0);
    cr_assert_eq(awaited("ab", ab), 0);
    cr_assert_eq(awaited("a", b), UINT64_MAX);
    rig_put(rig, "a", "a user's key is another thing");
    cr_assert_eq(rig_delete_range(rig, "", NULL), CONCLAVE_OK);
    cr_assert_eq(awaited("a", a), 0);
}

Test(queues, let_only_who_leads_proclaim)
{
    uint64_t first = enqueue("e", grant(1000), 1), lease = grant(1000);
    uint64_t second = enqueue("e", lease, 1);
    struct coord_request proclaim = {
        .opcode = COORD_PROCLAIM, .name = text("e"), .token = second, .value = text("new")};
    cr_assert_eq(command(&proclaim), CONCLAVE_COMPARE_FAILED);
    cr_assert(leave("e", first));
    cr_assert_eq(command(&proclaim), CONCLAVE_OK);
    proclaim.token = first;
    cr_assert_eq(command(&proclaim), CONCLAVE_NOT_FOUND);
    struct coord_request list = {.opcode = COORD_QUEUE, .name = text("e")};
    struct coord_queue queue;
    struct coord_entry entry;
    cr_assert_eq(query(&list), CONCLAVE_OK);
    cr_assert_eq(coord_queue_begin(rig->sink.body->data, rig->sink.body->bytes, &queue), 0);
    cr_assert_eq(coord_queue_next(&queue, &entry), 1);
    cr_assert(entry.token == second && entry.lease == lease && entry.revision > second);
    cr_assert_eq(entry.value.bytes, 3);
    cr_assert_eq(memcmp(entry.value.data, "new", 3), 0);
    rig_pass(rig, 1000);
    cr_assert_eq(awaited("e", second), UINT64_MAX, "it is still its lease's");
}

Test(queues, are_listed_page_by_page)
{
    uint64_t tokens[7];
    for (int i = 0; i < 7; i++)
        tokens[i] = enqueue("l", grant(1000), 3);
    struct coord_request list = {.opcode = COORD_QUEUE, .name = text("l"), .limit = 3};
    uint64_t seen = 0;
    do {
        struct coord_queue queue;
        struct coord_entry entry;
        cr_assert_eq(query(&list), CONCLAVE_OK);
        cr_assert_eq(coord_queue_begin(rig->sink.body->data, rig->sink.body->bytes, &queue), 0);
        cr_assert_eq(queue.slots, 3);
        while (coord_queue_next(&queue, &entry) == 1)
            cr_assert_eq(entry.token, tokens[seen++]);
        list.token = queue.next;
    } while (list.token);
    cr_assert_eq(seen, 7);
}

Test(queues, live_through_a_kill)
{
    uint64_t first = enqueue("l", grant(1000), 1), second = enqueue("l", grant(1000), 1);
    rig_close(rig);
    rig_open(rig);
    cr_assert_eq(awaited("l", second), first);
    cr_assert(leave("l", first));
    cr_assert_eq(awaited("l", second), 0);
}

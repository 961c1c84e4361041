/* A work group as its members see it, over random lives: members that do a part of their work, are
 * late, and end; time that passes in leaps; a topic that drops messages. By the answers alone:
 *     a message is held by one member at a time, until its ack time has passed or it is given up
 *     it is delivered, again and again, until it is acknowledged, once, or moved to the dead
 * letters at the end every one is done, a dead letter, or was dropped, and is counted there */
#include "group_rig.h"

#include "base/prng.h"
#include "codec/kv_lease.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum {
    MESSAGES_MAX = 4000,
    MEMBERS = 5,
    STEPS = 1500,
    SEEDS = 12,
    ACK_MS = 1000,
    LAG_MS = 70,
    DELIVERIES = 3
};

/* What the answers have told of a message. */
struct seen {
    uint64_t deliveries, holder; /* holder 0: nobody, as far as it was said */
    uint64_t until_ms;           /* nobody else gets it before */
    bool acked, dead;
};

static struct {
    struct rig *rig;
    struct prng prng;
    struct seen messages[MESSAGES_MAX + 1];
    uint64_t published, lost, acked;
    uint64_t members[MEMBERS], ends_ms[MEMBERS]; /* leases; 0: none now */
} w;

static uint64_t below(uint64_t bound)
{
    return prng_below(&w.prng, bound);
}

static uint64_t now_ms(void)
{
    return w.rig->clock.now_ms;
}

static bool lives(uint64_t lease)
{
    for (int i = 0; i < MEMBERS; i++)
        if (w.members[i] == lease)
            return w.ends_ms[i] > now_ms();
    return false;
}

/* --- What members do ---------------------------------------------------------------------------
 */

static void handed_out(uint64_t lease, uint64_t sequence, uint64_t deliveries)
{
    struct seen *seen = &w.messages[sequence];
    cr_assert(sequence > 0 && sequence <= w.published);
    cr_assert_not(seen->acked, "%lu was done", (unsigned long)sequence);
    cr_assert_not(seen->dead, "%lu was a dead letter", (unsigned long)sequence);
    cr_assert(!seen->holder || !lives(seen->holder) || now_ms() >= seen->until_ms,
              "%lu is still held by another member", (unsigned long)sequence);
    cr_assert(seen->holder || now_ms() >= seen->until_ms, "%lu was given back for later",
              (unsigned long)sequence);
    cr_assert_eq(deliveries, seen->deliveries + 1);
    cr_assert_leq(deliveries, DELIVERIES);
    *seen = (struct seen){
        .deliveries = deliveries, .holder = lease, .until_ms = now_ms() + LAG_MS + ACK_MS};
}

static void fetch(int who)
{
    struct group_fetch_answer answer;
    struct conclave_group_run run;
    uint64_t lease = w.members[who];
    const char *said = group_rig_fetch(w.rig, lease, 1 + (unsigned)below(20));
    if (!lives(lease)) {
        cr_assert_str_eq(said, "LEASE_EXPIRED");
        return;
    }
    cr_assert_eq(group_fetch_answer_begin(w.rig->sink.body->data, w.rig->sink.body->bytes, &answer),
                 0);
    w.lost += answer.lost;
    while (group_fetch_answer_next(&answer, &run) == 1)
        for (uint64_t i = 0; i < run.count; i++)
            handed_out(lease, run.first + i, run.deliveries);
}

static void settled(enum group_opcode how, uint64_t lease, uint64_t sequence, uint64_t delay_ms)
{
    struct seen *seen = &w.messages[sequence];
    cr_assert_eq(seen->holder, lease, "%lu is not this member's", (unsigned long)sequence);
    cr_assert_not(seen->acked);
    if (how == GROUP_EXTEND)
        seen->until_ms = now_ms() + LAG_MS + ACK_MS;
    else
        seen->holder = 0;
    if (how == GROUP_NACK)
        seen->until_ms = delay_ms ? now_ms() + LAG_MS + delay_ms : 0;
    seen->acked = how == GROUP_ACK;
    w.acked += how == GROUP_ACK;
}

/* Some of what it holds, and others that it does not. */
static void settle(int who)
{
    static const enum group_opcode hows[] = {GROUP_ACK, GROUP_ACK, GROUP_NACK, GROUP_EXTEND};
    enum group_opcode how = hows[below(4)];
    struct group_settle_answer answer;
    uint64_t lease = w.members[who], back = below(60), count = 1 + below(15);
    uint64_t first = w.published > back ? w.published - back : 1;
    uint64_t delay_ms = how == GROUP_NACK && below(2) ? below(3000) : 0;
    const char *said = group_rig_settle(w.rig, how, lease, first, count, delay_ms);
    if (!lives(lease)) {
        cr_assert_str_eq(said, "LEASE_EXPIRED");
        return;
    }
    cr_assert_eq(
        group_settle_answer_decode(w.rig->sink.body->data, w.rig->sink.body->bytes, &answer), 0);
    cr_assert_eq(answer.settled + answer.missing.total, count);
    struct conclave_group_range gap = {0};
    for (uint64_t at = first; at < first + count; at++) {
        if (at >= gap.first + gap.count && answer.missing.count > 0) {
            answer.missing.count--;
            gap = group_ranges_next(&answer.missing);
        }
        bool missing = at >= gap.first && at - gap.first < gap.count;
        if (!missing)
            settled(how, lease, at, delay_ms);
        else if (at <= w.published)
            cr_assert(w.messages[at].holder != lease || w.messages[at].until_ms <= now_ms(),
                      "%lu is this member's, and was not found", (unsigned long)at);
    }
}

static void join(int who)
{
    uint64_t ttl_ms = 500 + below(6000);
    w.members[who] = group_rig_grant(w.rig, ttl_ms);
    w.ends_ms[who] = now_ms() + LAG_MS + ttl_ms;
}

static void leave(int who)
{
    (void)rig_apply(w.rig,
                    &(struct kv_command){.opcode = KV_LEASE_REVOKE, .lease = w.members[who]});
    w.ends_ms[who] = 0;
}

static void publish(void)
{
    unsigned count = (unsigned)below(8);
    if (w.published + count > MESSAGES_MAX)
        return;
    group_rig_publish(w.rig, count);
    w.published += count;
}

/* --- The end -----------------------------------------------------------------------------------
 */

static void take_dead_letters(void)
{
    struct topic_read_answer answer;
    struct topic_item item;
    struct topic_origin origin;
    struct pack pack;
    pack_init(&pack, 0);
    topic_query_pack(&pack, &(struct topic_query){.opcode = TOPIC_READ,
                                                  .name = text("dead"),
                                                  .start = CONCLAVE_FROM_FIRST,
                                                  .bytes = TOPIC_READ_BYTES_MAX});
    cr_assert_eq(group_rig_bytes(w.rig, &pack, true), CONCLAVE_OK);
    cr_assert_eq(topic_read_answer_begin(w.rig->sink.body->data, w.rig->sink.body->bytes, &answer),
                 0);
    while (topic_read_answer_next(&answer, &item) == 1) {
        cr_assert_eq(topic_origin_decode(item.message.origin, &origin), CONCLAVE_OK);
        struct seen *seen = &w.messages[origin.sequence];
        cr_assert_not(seen->dead, "%lu is there twice", (unsigned long)origin.sequence);
        cr_assert_not(seen->acked, "%lu was done", (unsigned long)origin.sequence);
        cr_assert_eq(origin.deliveries, DELIVERIES);
        cr_assert_eq(seen->deliveries, DELIVERIES);
        seen->dead = true;
    }
}

/* Everybody leaves, and one member does all that is left. */
static struct group_info finish(void)
{
    struct group_info info;
    for (int i = 0; i < MEMBERS; i++)
        leave(i);
    rig_pass(w.rig, 10000);
    w.members[0] = group_rig_grant(w.rig, 3600000);
    w.ends_ms[0] = UINT64_MAX;
    do {
        fetch(0);
        for (uint64_t at = 1; at <= w.published; at++)
            if (w.messages[at].holder == w.members[0]) {
                cr_assert_str_eq(group_rig_settle(w.rig, GROUP_ACK, w.members[0], at, 1, 0), "1");
                settled(GROUP_ACK, w.members[0], at, 0);
            }
        info = group_rig_info(w.rig);
    } while (info.next < info.end || info.held + info.delayed + info.ready > 0);
    return info;
}

static void life(uint64_t seed, uint64_t *ret_dead, uint64_t *ret_lost)
{
    struct pack pack;
    w.rig = group_rig_create();
    w.rig->clock.lag_ms = LAG_MS;
    prng_init(&w.prng, seed);
    pack_init(&pack, 0);
    topic_delete_pack(&pack, text("t"));
    cr_assert_eq(group_rig_bytes(w.rig, &pack, false), CONCLAVE_OK);
    pack_init(&pack, 0);
    topic_create_pack(&pack, text("t"), &(struct topic_settings){.count_max = seed % 2 ? 0 : 120});
    cr_assert_eq(group_rig_bytes(w.rig, &pack, false), CONCLAVE_OK);
    cr_assert_eq(group_rig_make(w.rig,
                                &(struct group_settings){.ack_ms = ACK_MS,
                                                         .held_max = 30,
                                                         .pending_max = 60,
                                                         .deliveries_max = DELIVERIES,
                                                         .dead = text("dead")},
                                CONCLAVE_FROM_FIRST, 0),
                 CONCLAVE_OK);
    for (int step = 0; step < STEPS; step++) {
        int who = (int)below(MEMBERS);
        uint64_t what = below(20);
        if (!w.members[who] || (!lives(w.members[who]) && below(2)))
            join(who);
        if (what == 0)
            leave(who);
        else if (what < 4)
            publish();
        else if (what < 7)
            rig_pass(w.rig, 1 + below(below(4) ? 200 : 2500));
        else if (what < 13)
            fetch(who);
        else
            settle(who);
    }
    struct group_info info = finish();
    take_dead_letters();
    uint64_t dead = 0, gone = 0;
    for (uint64_t at = 1; at <= w.published; at++) {
        dead += w.messages[at].dead;
        gone += !w.messages[at].dead && !w.messages[at].acked;
    }
    cr_assert_eq(info.acked, w.acked);
    cr_assert_eq(info.dead_letters, dead);
    cr_assert_eq(info.lost, gone, "what is neither done nor moved was dropped, and counted");
    cr_assert_leq(w.lost, gone, "what a fetch found; the rest was to become a dead letter");
    cr_assert(seed % 2 == 0 || gone == 0, "a topic that keeps everything loses nothing");
    *ret_dead += dead;
    *ret_lost += gone;
    group_rig_destroy(w.rig);
}

Test(groups_random, have_each_message_held_by_one_and_done_once_in_any_life)
{
    uint64_t dead = 0, lost = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        memset(&w, 0, sizeof w);
        life(seed, &dead, &lost);
    }
    cr_assert(dead > 100 && lost > 100, "%lu dead letters, %lu lost", (unsigned long)dead,
              (unsigned long)lost);
}

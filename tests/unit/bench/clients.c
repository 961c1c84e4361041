#include "bench/clients.h"

#include "bench/stamp.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct compact compact, other;
static struct clients clients, more;

static void begin(void)
{
    compact = other = (struct compact){0};
    cr_assert(clients_init(&clients, 4));
    cr_assert(clients_init(&more, 1));
}

static void end(void)
{
    compact_deinit(&compact);
    compact_deinit(&other);
    clients_deinit(&clients);
    clients_deinit(&more);
}

TestSuite(compact, .init = begin, .fini = end);
TestSuite(clients, .init = begin, .fini = end);
TestSuite(stamp);

Test(compact, without_values_answers_zero)
{
    cr_assert_eq(compact_quantile(&compact, 0.5), 0);
    compact_reset(&compact);
    cr_assert(compact_merge(&compact, &other));
    cr_assert_eq(compact.count, 0);
}

Test(compact, is_never_more_than_a_thirtysecond_above)
{
    for (uint64_t value = 1; value < UINT64_MAX / 3; value = value * 3 + 1) {
        cr_assert(compact_record(&compact, value));
        uint64_t told = compact_quantile(&compact, 1);
        cr_assert_geq(told, value);
        cr_assert_leq(told - value, value / 32);
    }
    cr_assert(compact_record(&compact, UINT64_MAX));
    cr_assert_eq(compact_quantile(&compact, 1), UINT64_MAX);
}

Test(compact, knows_ranks)
{
    for (int i = 0; i < 100; i++)
        cr_assert(compact_record(&compact, i < 90 ? 10 : 50));
    cr_assert_eq(compact_quantile(&compact, 0), 10);
    cr_assert_eq(compact_quantile(&compact, 0.9), 10);
    cr_assert_eq(compact_quantile(&compact, 0.91), 50);
}

Test(compact, takes_memory_for_what_it_met_alone)
{
    for (uint64_t value = 1000000; value < 2000000; value += 1000)
        cr_assert(compact_record(&compact, value));
    cr_assert_leq(compact.pages, 2);
}

Test(compact, merges_and_forgets)
{
    cr_assert(compact_record(&compact, 7));
    cr_assert(compact_record(&other, 1000));
    cr_assert(compact_record(&other, 7));
    cr_assert(compact_merge(&compact, &other));
    cr_assert_eq(compact.count, 3);
    cr_assert_eq(compact_quantile(&compact, 0.66), 7);
    cr_assert_geq(compact_quantile(&compact, 1), 1000);
    compact_reset(&compact);
    cr_assert_eq(compact.count, 0);
    cr_assert(compact_record(&compact, 3));
    cr_assert_eq(compact_quantile(&compact, 1), 3, "what it had is not counted any more");
}

static void record(struct clients *into, uint32_t client, uint64_t latency, int count)
{
    for (int i = 0; i < count; i++)
        cr_assert(clients_record(into, client, latency));
}

static struct clients_summary summarize(void)
{
    const struct clients *lists[] = {&clients, &more};
    struct clients_summary summary;
    cr_assert(clients_summarize(lists, 2, &summary));
    return summary;
}

Test(clients, each_second_names_its_slowest)
{
    uint64_t slowest;
    record(&clients, 0, 10, 100);
    record(&clients, 2, 40, 100);
    cr_assert(clients_turn(&clients, &slowest));
    cr_assert_eq(slowest, 40);
    record(&clients, 0, 10, 100);
    cr_assert(clients_turn(&clients, &slowest));
    cr_assert_eq(slowest, 10, "what was slow a second ago is over");
    cr_assert(clients_turn(&clients, &slowest));
    cr_assert_eq(slowest, 0);
}

Test(clients, equally_served_are_fair)
{
    uint64_t slowest;
    for (uint32_t i = 0; i < 4; i++)
        record(&clients, i, 20, 50);
    record(&more, 0, 30, 50);
    cr_assert(clients_turn(&clients, &slowest) && clients_turn(&more, &slowest));
    struct clients_summary summary = summarize();
    cr_assert_eq(summary.least, 50);
    cr_assert_eq(summary.most, 50);
    cr_assert_eq(summary.p99_worst_ns, 30);
    cr_assert_eq(summary.p99_median_ns, 20);
    cr_assert(summary.fairness > 0.9999 && summary.fairness < 1.0001);
}

Test(clients, one_that_had_it_all_is_not)
{
    uint64_t slowest;
    record(&clients, 1, 20, 50);
    cr_assert(clients_turn(&clients, &slowest));
    struct clients_summary summary = summarize();
    cr_assert_eq(summary.least, 0);
    cr_assert(summary.fairness > 0.1999 && summary.fairness < 0.2001, "one of five");
}

Test(stamp, comes_back_as_it_was)
{
    uint8_t value[64] = {0};
    struct stamp read;
    stamp_write((struct stamp){.number = 7, .due_ns = 99, .place = 3}, value);
    cr_assert(stamp_read(value, sizeof value, &read));
    cr_assert_eq(read.number, 7);
    cr_assert_eq(read.due_ns, 99);
    cr_assert_eq(read.place, 3);
}

Test(stamp, is_told_from_other_bytes)
{
    uint8_t value[64] = "bench/00000001:bench/00000001:bench/00000001";
    struct stamp read;
    cr_assert_not(stamp_read(value, sizeof value, &read));
    stamp_write((struct stamp){.number = 7, .due_ns = 99, .place = 3}, value);
    cr_assert_not(stamp_read(value, STAMP_BYTES - 1, &read));
    value[8] ^= 1;
    cr_assert_not(stamp_read(value, sizeof value, &read));
}

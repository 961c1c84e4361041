/* Reads at an older revision, what the history keeps, and the quota. */
#include "rig.h"

#include "base/prng.h"
#include "codec/kv_lease.h"
#include "machine/tables.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static int get_at(struct rig *rig, const char *key, uint64_t revision, struct kv_item *ret)
{
    uint64_t told;
    int code = rig_query(
        rig, &(struct kv_query){.opcode = KV_GET, .key = text(key), .revision = revision});
    if (code == CONCLAVE_OK)
        cr_assert_eq(kv_get_answer_decode(rig->sink.body->data, rig->sink.body->bytes, &told, ret),
                     0);
    return code;
}

static void expect_at(struct rig *rig, const char *key, uint64_t revision, const char *value)
{
    struct kv_item item;
    int code = get_at(rig, key, revision, &item);
    cr_assert_eq(code, value ? CONCLAVE_OK : CONCLAVE_NOT_FOUND, "%s at %lu: %s", key, revision,
                 conclave_code_name(code));
    if (value)
        cr_assert(tables_compare(item.value, text(value)) == 0, "%s at %lu", key, revision);
}

static struct kv_usage usage(struct rig *rig)
{
    struct kv_usage ret;
    cr_assert_eq(rig_query(rig, &(struct kv_query){.opcode = KV_USAGE}), CONCLAVE_OK);
    cr_assert_eq(kv_usage_decode(rig->sink.body->data, rig->sink.body->bytes, &ret), CONCLAVE_OK);
    return ret;
}

static void set(struct rig *rig, enum kv_setting which, uint64_t value)
{
    struct kv_command command = {.opcode = KV_SETTINGS};
    command.settings.given[which] = true;
    command.settings.values[which] = value;
    cr_assert_eq(rig_command(rig, &command), CONCLAVE_OK);
}

Test(history, shows_a_key_as_it_was_at_every_revision)
{
    struct rig *rig = rig_create();
    rig_put(rig, "a", "1");
    rig_put(rig, "b", "1");
    rig_put(rig, "a", "2");
    rig_delete(rig, "a");
    rig_put(rig, "a", "3");
    expect_at(rig, "a", 1, "1");
    expect_at(rig, "b", 1, NULL);
    expect_at(rig, "a", 2, "1");
    expect_at(rig, "a", 3, "2");
    expect_at(rig, "a", 4, NULL);
    expect_at(rig, "a", 5, "3");
    expect_at(rig, "b", 5, "1");
    expect_at(rig, "b", 0, "1");
    rig_destroy(rig);
}

Test(history, does_not_know_a_revision_that_is_yet_to_come)
{
    struct rig *rig = rig_create();
    struct kv_item item;
    rig_put(rig, "a", "1");
    cr_assert_eq(get_at(rig, "a", 2, &item), CONCLAVE_STALE);
    rig_destroy(rig);
}

/* What a range answers, as text. */
static char *range_at(struct rig *rig, uint64_t revision)
{
    struct kv_range_answer answer;
    struct kv_item item;
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    uint8_t from[KV_BOUND_BYTES_MAX];
    size_t from_bytes = 0;
    do {
        struct kv_query query = {.opcode = KV_RANGE,
                                 .bounds = {.from = {from, from_bytes}, .no_end = true},
                                 .limit = 3,
                                 .revision = revision};
        cr_assert_eq(rig_query(rig, &query), CONCLAVE_OK);
        cr_assert_eq(kv_range_answer_begin(rig->sink.body->data, rig->sink.body->bytes, &answer),
                     0);
        while (kv_range_answer_next(&answer, &item) == 1)
            fprintf(out, " %.*s=%.*s(%lu,%lu,%lu)", (int)item.key.bytes,
                    (const char *)item.key.data, (int)item.value.bytes,
                    (const char *)item.value.data, item.create_revision, item.mod_revision,
                    item.version);
        from_bytes = answer.next.bytes;
        if (from_bytes)
            memcpy(from, answer.next.data, from_bytes);
    } while (from_bytes);
    fclose(out);
    return text;
}

Test(history, shows_all_keys_as_they_were_page_by_page)
{
    enum { STEPS = 200 };
    struct rig *rig = rig_create();
    char *then[STEPS + 1] = {0};
    struct prng prng;
    prng_init(&prng, 3);
    then[0] = range_at(rig, 0);
    for (uint64_t i = 1; i <= STEPS;) {
        char key[2] = {(char)('a' + prng_below(&prng, 12)), 0}, value[24];
        char to[2] = {(char)(key[0] + 3), 0};
        snprintf(value, sizeof value, "%lu", i);
        uint64_t what = prng_below(&prng, 10);
        if (what < 6)
            rig_put(rig, key, value);
        else if (what < 9)
            rig_delete(rig, key);
        else
            rig_delete_range(rig, key, to);
        if (kv_revision(rig->kv) == i)
            then[i++] = range_at(rig, 0);
    }
    for (uint64_t i = 1; i <= STEPS; i++) {
        char *now = range_at(rig, i);
        cr_assert_str_eq(now, then[i], "revision %lu", i);
        free(now);
    }
    for (uint64_t i = 0; i <= STEPS; i++)
        free(then[i]);
    rig_destroy(rig);
}

Test(history, keeps_as_many_changes_as_it_is_told_and_says_what_is_gone)
{
    struct rig *rig = rig_create();
    struct kv_item item;
    set(rig, KV_SETTING_CHANGES, 16);
    for (int i = 0; i < 100; i++)
        rig_put(rig, "a", "x");
    struct kv_usage used = usage(rig);
    cr_assert(used.history_changes >= 16 && used.history_changes <= 18, "%lu",
              used.history_changes);
    cr_assert_eq(used.compacted, 100 - used.history_changes);
    cr_assert_eq(get_at(rig, "a", used.compacted, &item), CONCLAVE_OK);
    cr_assert_eq(item.mod_revision, used.compacted,
                 "what it undoes to is kept with what is undone");
    cr_assert_eq(get_at(rig, "a", used.compacted - 1, &item), CONCLAVE_COMPACTED);
    struct kv_query range = {
        .opcode = KV_RANGE, .bounds.no_end = true, .revision = used.compacted - 1};
    cr_assert_eq(rig_query(rig, &range), CONCLAVE_COMPACTED);
    rig_destroy(rig);
}

Test(history, lets_whole_blocks_go_and_no_change_too_many)
{
    struct rig *rig = rig_create();
    struct kv_item item;
    set(rig, KV_SETTING_CHANGES, 400);
    for (int i = 0; i < 4000; i++)
        rig_put(rig, i % 2 ? "a" : "b", "a value of some length, so that blocks are soon full");
    struct kv_usage used = usage(rig);
    cr_assert(used.history_changes >= 400 && used.history_changes <= 450, "%lu",
              used.history_changes);
    cr_assert_eq(used.compacted, 4000 - used.history_changes);
    cr_assert_eq(get_at(rig, "a", used.compacted, &item), CONCLAVE_OK);
    cr_assert(item.mod_revision == used.compacted || item.mod_revision == used.compacted - 1);
    cr_assert_eq(get_at(rig, "a", used.compacted - 1, &item), CONCLAVE_COMPACTED);
    rig_destroy(rig);
}

Test(history, may_be_nothing_at_all)
{
    struct rig *rig = rig_create();
    struct kv_item item;
    set(rig, KV_SETTING_CHANGES, 0);
    rig_put(rig, "a", "1");
    rig_put(rig, "a", "2");
    cr_assert_eq(usage(rig).history_changes, 0);
    cr_assert_eq(usage(rig).history_bytes, 0);
    cr_assert_eq(get_at(rig, "a", 1, &item), CONCLAVE_COMPACTED);
    expect_at(rig, "a", 2, "2");
    rig_destroy(rig);
}

enum { IN_ONE_APPLY = 12 };

/* Puts so many values in one apply. */
static void put_at_once(struct rig *rig, uint32_t count)
{
    struct conclave_command commands[IN_ONE_APPLY];
    struct pack packs[IN_ONE_APPLY];
    for (uint32_t i = 0; i < count; i++) {
        char value[16];
        (void)snprintf(value, sizeof value, "%u", i);
        pack_init(&packs[i], 0);
        kv_command_pack(&packs[i], &(struct kv_command){
                                       .opcode = KV_PUT, .key = text("a"), .value = text(value)});
        commands[i] =
            (struct conclave_command){++rig->index, 1, packs[i].buf->data, packs[i].bytes};
    }
    cr_assert_eq(rig->ops->apply(rig->kv, commands, count, rig->index, NULL), CONCLAVE_OK);
    for (uint32_t i = 0; i < count; i++)
        pack_deinit(&packs[i]);
}

/* Where an apply ends, nobody sees: neither how much is kept, nor what was. */
Test(history, is_the_same_however_commands_are_applied)
{
    struct rig *rigs[] = {rig_create(), rig_create()};
    for (int i = 0; i < 2; i++)
        set(rigs[i], KV_SETTING_CHANGES, 2);
    put_at_once(rigs[0], IN_ONE_APPLY);
    for (uint32_t i = 0; i < IN_ONE_APPLY; i++) {
        char value[16];
        (void)snprintf(value, sizeof value, "%u", i);
        rig_put(rigs[1], "a", value);
    }
    struct kv_usage one = usage(rigs[0]), other = usage(rigs[1]);
    cr_assert_eq(one.history_changes, other.history_changes);
    cr_assert_eq(one.history_bytes, other.history_bytes);
    cr_assert_eq(one.compacted, other.compacted);
    for (int i = 0; i < 2; i++) {
        expect_at(rigs[i], "a", IN_ONE_APPLY - 2, "9");
        expect_at(rigs[i], "a", IN_ONE_APPLY - 1, "10");
        expect_at(rigs[i], "a", IN_ONE_APPLY, "11");
        rig_destroy(rigs[i]);
    }
}

Test(history, keeps_no_more_bytes_than_it_is_told)
{
    struct rig *rig = rig_create();
    static char value[1001];
    memset(value, 'v', 1000);
    set(rig, KV_SETTING_BYTES, 10000);
    for (int i = 0; i < 40; i++)
        rig_put(rig, "a", value);
    struct kv_usage used = usage(rig);
    cr_assert(used.history_bytes <= 11250 && used.history_bytes > 2000, "%lu", used.history_bytes);
    rig_destroy(rig);
}

Test(history, lets_go_what_is_too_old_by_cluster_time)
{
    struct rig *rig = rig_create();
    set(rig, KV_SETTING_AGE_MS, 1000);
    rig_pass(rig, 5000);
    rig_put(rig, "a", "1");
    rig_pass(rig, 600);
    rig_put(rig, "a", "2");
    cr_assert_eq(usage(rig).history_changes, 2);
    rig_pass(rig, 600);
    cr_assert_eq(usage(rig).history_changes, 1);
    cr_assert_eq(usage(rig).compacted, 1);
    rig_destroy(rig);
}

Test(history, counts_the_keys_and_their_bytes)
{
    struct rig *rig = rig_create();
    rig_put(rig, "abc", "12345");
    cr_assert_eq(usage(rig).keys, 1);
    cr_assert_eq(usage(rig).bytes, 3 + 32 + 5);
    rig_put(rig, "abc", "1");
    cr_assert_eq(usage(rig).bytes, 3 + 32 + 1);
    rig_put(rig, "d", "");
    rig_delete_range(rig, "", NULL);
    cr_assert_eq(usage(rig).keys, 0);
    cr_assert_eq(usage(rig).bytes, 0);
    rig_destroy(rig);
}

Test(quota, refuses_what_grows_allows_what_shrinks_and_ends_by_itself)
{
    struct rig *rig = rig_create();
    set(rig, KV_SETTING_QUOTA, 2 * (1 + 32 + 4));
    cr_assert_eq(rig_put(rig, "a", "1234"), CONCLAVE_OK);
    cr_assert_eq(rig_put(rig, "b", "1234"), CONCLAVE_OK);
    uint64_t revision = kv_revision(rig->kv);
    cr_assert_eq(rig_put(rig, "c", ""), CONCLAVE_QUOTA);
    cr_assert_eq(rig_put(rig, "a", "12345"), CONCLAVE_QUOTA);
    cr_assert_eq(kv_revision(rig->kv), revision, "nothing changed");
    cr_assert_eq(rig_put(rig, "a", "4321"), CONCLAVE_OK);
    cr_assert_eq(rig_apply(rig, &(struct kv_command){.opcode = KV_LEASE_GRANT, .ttl_ms = 1}),
                 CONCLAVE_QUOTA);
    cr_assert_eq(rig_delete(rig, "a"), CONCLAVE_OK);
    cr_assert_eq(rig_put(rig, "c", ""), CONCLAVE_OK);
    rig_destroy(rig);
}

Test(previous, item_is_told_by_put_and_delete_that_ask)
{
    struct rig *rig = rig_create();
    struct kv_command put = {
        .opcode = KV_PUT, .key = text("a"), .value = text("2"), .previous = true};
    struct kv_command delete = {.opcode = KV_DELETE, .key = text("a"), .previous = true};
    cr_assert_eq(rig_command(rig, &delete), CONCLAVE_OK);
    cr_assert_not(rig->outcome.has_item);
    rig_put(rig, "a", "1");
    cr_assert_eq(rig_command(rig, &put), CONCLAVE_OK);
    cr_assert(rig->outcome.has_item && tables_compare(rig->outcome.item.value, text("1")) == 0);
    put.condition = (struct kv_condition){true, 1};
    cr_assert_eq(rig_command(rig, &put), CONCLAVE_COMPARE_FAILED);
    cr_assert(rig->outcome.has_item && tables_compare(rig->outcome.item.value, text("2")) == 0);
    cr_assert_eq(rig_command(rig, &delete), CONCLAVE_OK);
    cr_assert(rig->outcome.has_item && rig->outcome.item.version == 2);
    rig_destroy(rig);
}

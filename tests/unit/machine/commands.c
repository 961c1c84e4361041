#include "rig.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

Test(commands, revision_rises_by_one_with_each_change)
{
    struct rig *rig = rig_create();
    rig_expect(rig, "0");
    cr_assert_eq(rig_put(rig, "b", "1"), CONCLAVE_OK);
    cr_assert_eq(rig->outcome.revision, 1);
    cr_assert_eq(rig->outcome.value, 0, "it did not exist");
    cr_assert_eq(rig_put(rig, "a", "2"), CONCLAVE_OK);
    cr_assert_eq(rig_put(rig, "b", "3"), CONCLAVE_OK);
    cr_assert_eq(rig->outcome.revision, 3);
    cr_assert_eq(rig->outcome.value, 1, "modified before by revision 1");
    cr_assert_eq(rig_put(rig, "b", "3"), CONCLAVE_OK, "the same value is a change too");
    rig_expect(rig, "4 a=2(2,2,1) b=3(1,4,3)");
    cr_assert_eq(kv_revision(rig->kv), 4);
    rig_destroy(rig);
}

Test(commands, key_made_again_begins_anew)
{
    struct rig *rig = rig_create();
    rig_put(rig, "a", "1");
    rig_put(rig, "a", "2");
    cr_assert_eq(rig_delete(rig, "a"), CONCLAVE_OK);
    cr_assert_eq(rig->outcome.revision, 3);
    cr_assert_eq(rig->outcome.value, 1, "one key");
    rig_expect(rig, "3");
    rig_put(rig, "a", "3");
    rig_expect(rig, "4 a=3(4,4,1)");
    rig_destroy(rig);
}

Test(commands, delete_of_a_missing_key_changes_nothing)
{
    struct rig *rig = rig_create();
    rig_put(rig, "a", "1");
    cr_assert_eq(rig_delete(rig, "b"), CONCLAVE_OK);
    cr_assert_eq(rig->outcome.revision, 1);
    cr_assert_eq(rig->outcome.value, 0);
    cr_assert_eq(rig_delete_range(rig, "b", NULL), CONCLAVE_OK);
    cr_assert_eq(rig->outcome.revision, 1);
    cr_assert_eq(rig->outcome.value, 0);
    rig_destroy(rig);
}

Test(commands, put_if_absent)
{
    struct rig *rig = rig_create();
    cr_assert_eq(rig_put_if(rig, "a", "1", 0), CONCLAVE_OK);
    cr_assert_eq(rig_put_if(rig, "a", "2", 0), CONCLAVE_COMPARE_FAILED);
    cr_assert_eq(rig->outcome.revision, 1);
    cr_assert_eq(rig->outcome.value, 1, "the present modify revision");
    rig_expect(rig, "1 a=1(1,1,1)");
    rig_destroy(rig);
}

Test(commands, put_if_revision)
{
    struct rig *rig = rig_create();
    rig_put(rig, "z", "");
    rig_put(rig, "a", "1");
    cr_assert_eq(rig_put_if(rig, "a", "2", 1), CONCLAVE_COMPARE_FAILED);
    cr_assert_eq(rig->outcome.value, 2);
    cr_assert_eq(rig_put_if(rig, "a", "2", 2), CONCLAVE_OK);
    cr_assert_eq(rig->outcome.value, 2);
    cr_assert_eq(rig_put_if(rig, "b", "2", 3), CONCLAVE_COMPARE_FAILED);
    cr_assert_eq(rig->outcome.value, 0, "it does not exist");
    rig_expect(rig, "3 a=2(2,3,2) z=(1,1,1)");
    rig_destroy(rig);
}

Test(commands, delete_if_revision)
{
    struct rig *rig = rig_create();
    rig_put(rig, "a", "1");
    rig_put(rig, "a", "2");
    cr_assert_eq(rig_delete_if(rig, "a", 1), CONCLAVE_COMPARE_FAILED);
    cr_assert_eq(rig->outcome.value, 2);
    cr_assert_eq(rig_delete_if(rig, "a", 2), CONCLAVE_OK);
    cr_assert_eq(rig->outcome.value, 1);
    cr_assert_eq(rig_delete_if(rig, "a", 2), CONCLAVE_COMPARE_FAILED);
    rig_expect(rig, "3");
    rig_destroy(rig);
}

Test(commands, delete_range_is_one_change)
{
    struct rig *rig = rig_create();
    const char *const keys[] = {"a", "b", "b1", "b2", "c", "d"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        rig_put(rig, keys[i], "");
    cr_assert_eq(rig_delete_range(rig, "b", "c"), CONCLAVE_OK);
    cr_assert_eq(rig->outcome.revision, 7);
    cr_assert_eq(rig->outcome.value, 3);
    rig_expect(rig, "7 a=(1,1,1) c=(5,5,1) d=(6,6,1)");
    cr_assert_eq(rig_delete_range(rig, "d", "a"), CONCLAVE_OK, "an empty range");
    cr_assert_eq(rig->outcome.value, 0);
    cr_assert_eq(rig_delete_range(rig, "b", NULL), CONCLAVE_OK);
    cr_assert_eq(rig->outcome.value, 2);
    cr_assert_eq(rig_delete_range(rig, "", NULL), CONCLAVE_OK);
    cr_assert_eq(rig->outcome.value, 1);
    rig_expect(rig, "9");
    rig_destroy(rig);
}

Test(commands, delete_range_over_many_pages)
{
    struct rig *rig = rig_create();
    static char value[3000];
    memset(value, 'v', sizeof value - 1);
    for (int i = 0; i < 3000; i++) {
        char key[16];
        snprintf(key, sizeof key, "%05d", i);
        value[i % 7 ? 10 : sizeof value - 1] = '\0'; /* some on pages of their own */
        cr_assert_eq(rig_put(rig, key, value), CONCLAVE_OK);
        value[10] = 'v';
    }
    cr_assert_eq(rig_delete_range(rig, "00010", "02990"), CONCLAVE_OK);
    cr_assert_eq(rig->outcome.value, 2980);
    struct kv_query count = {
        .opcode = KV_RANGE, .bounds = {.no_end = true}, .what = KV_RANGE_COUNT};
    struct kv_range_answer answer;
    cr_assert_eq(rig_query(rig, &count), CONCLAVE_OK);
    cr_assert_eq(kv_range_answer_begin(rig->sink.body->data, rig->sink.body->bytes, &answer), 0);
    cr_assert_eq(answer.count, 20);
    rig_destroy(rig);
}

Test(commands, malformed_ones_have_an_answer_and_change_nothing)
{
    struct rig *rig = rig_create();
    rig_put(rig, "a", "1");
    struct pack pack;
    pack_init(&pack, 0);
    kv_command_pack(&pack, &(struct kv_command){.opcode = KV_DELETE, .key = text("a")});
    for (size_t bytes = 0; bytes < pack.bytes; bytes++)
        cr_assert_eq(rig_command_bytes(rig, pack.buf->data, bytes), CONCLAVE_MALFORMED);
    pack_deinit(&pack);
    cr_assert_eq(rig_command_bytes(rig,
                                   "\x92\x40\xa1"
                                   "a",
                                   4),
                 CONCLAVE_MALFORMED, "a query");
    cr_assert_eq(rig_put(rig, "", "1"), CONCLAVE_INVALID);
    rig_expect(rig, "1 a=1(1,1,1)");
    rig_destroy(rig);
}

Test(commands, largest_key_and_value_come_back_whole)
{
    struct rig *rig = rig_create();
    char *key = malloc(CONCLAVE_KEY_BYTES_MAX + 2);
    char *value = malloc(CONCLAVE_VALUE_BYTES_MAX + 2);
    memset(key, 'k', CONCLAVE_KEY_BYTES_MAX + 1);
    memset(value, 'v', CONCLAVE_VALUE_BYTES_MAX + 1);
    key[CONCLAVE_KEY_BYTES_MAX + 1] = value[CONCLAVE_VALUE_BYTES_MAX + 1] = '\0';
    cr_assert_eq(rig_put(rig, "a", value), CONCLAVE_TOO_LARGE);
    cr_assert_eq(rig_put(rig, key, "v"), CONCLAVE_TOO_LARGE);
    key[CONCLAVE_KEY_BYTES_MAX] = value[CONCLAVE_VALUE_BYTES_MAX] = '\0';
    cr_assert_eq(rig_put(rig, key, value), CONCLAVE_OK);
    cr_assert_eq(rig_put(rig, "k", "after it"), CONCLAVE_OK);

    struct kv_item item;
    cr_assert_eq(rig_get(rig, key, &item), CONCLAVE_OK);
    cr_assert_eq(item.value.bytes, (size_t)CONCLAVE_VALUE_BYTES_MAX);
    cr_assert_eq(memcmp(item.value.data, value, item.value.bytes), 0);
    /* In a range it is alone on its page, with a `next`, and still within an answer's size. */
    struct kv_query query = {.opcode = KV_RANGE, .bounds = {text("kk"), {0}, true}, .bytes = 1};
    cr_assert_eq(rig_query(rig, &query), CONCLAVE_OK);
    cr_assert_leq(rig->sink.body->bytes, (size_t)CONCLAVE_COMMAND_BYTES_MAX);
    struct kv_range_answer answer;
    cr_assert_eq(kv_range_answer_begin(rig->sink.body->data, rig->sink.body->bytes, &answer), 0);
    cr_assert_eq(answer.item_count, 1);
    free(key);
    free(value);
    rig_destroy(rig);
}

Test(commands, get_of_a_missing_key_tells_the_revision)
{
    struct rig *rig = rig_create();
    rig_put(rig, "a", "1");
    struct kv_item item;
    cr_assert_eq(rig_get(rig, "b", &item), CONCLAVE_NOT_FOUND);
    struct kv_outcome outcome;
    cr_assert_eq(kv_outcome_decode(rig->sink.body->data, rig->sink.body->bytes, &outcome), 0);
    cr_assert_eq(outcome.revision, 1);
    rig_destroy(rig);
}

Test(commands, queries_see_every_apply)
{
    struct rig *rig = rig_create();
    struct kv_item item;
    for (int i = 0; i < 10; i++) {
        char value[16];
        snprintf(value, sizeof value, "%d", i);
        rig_put(rig, "a", value);
        for (int twice = 0; twice < 2; twice++) {
            cr_assert_eq(rig_get(rig, "a", &item), CONCLAVE_OK);
            cr_assert_eq(memcmp(item.value.data, value, item.value.bytes), 0);
        }
    }
    rig_destroy(rig);
}

Test(commands, advance_leaves_revisions_out)
{
    struct rig *rig = rig_create();
    rig_put(rig, "a", "1");
    const struct kv_command advance = {.opcode = KV_ADVANCE, .revisions = 1000};
    cr_assert_eq(rig_command(rig, &advance), CONCLAVE_OK);
    cr_assert_eq(rig->outcome.revision, 1001);
    rig_expect(rig, "1001 a=1(1,1,1)");
    rig_put(rig, "b", "2");
    rig_expect(rig, "1002 a=1(1,1,1) b=2(1002,1002,1)");
    rig_close(rig);
    rig_open(rig);
    rig_expect(rig, "1002 a=1(1,1,1) b=2(1002,1002,1)");
    rig_destroy(rig);
}

/* Transactions as JSON: what is taken, what it becomes, and where it is wrong. */
#include "cli/txn_json.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    struct txn_build *build;
    struct txn_json *json;
} w;

static bool read_json(const char *text)
{
    w.build = txn_build_create();
    w.json = NULL;
    return txn_json_read(w.build, text, strlen(text), &w.json);
}

static void done(void)
{
    txn_build_destroy(w.build);
    txn_json_destroy(w.json);
}

static void expect_bytes(struct txn_bytes bytes, const char *data, size_t count)
{
    cr_assert_eq(bytes.bytes, count);
    cr_assert_arr_eq(bytes.data, data, count);
}

Test(txn_json, takes_steps_in_both_forms)
{
    cr_assert(read_json("{\"if\":[\"absent(a)\",{\"compare\":\"seq\",\"topic\":\"t\",\"to\":4}],"
                        "\"then\":[\"put a \\\"x y\\\" ttl=30s\",\"get b\"],"
                        "\"else\":[{\"do\":\"put\",\"key\":{\"b64\":\"AP8=\"},\"value\":\"z\","
                        "\"lease\":7},{\"do\":\"ls\",\"prefix\":\"p\",\"limit\":2},"
                        "{\"do\":\"pub\",\"topic\":\"t\",\"data\":\"\",\"id\":\"i\"}]}"),
              "%s", txn_build_fault(w.build));
    cr_assert_eq(txn_build_count(w.build, CONCLAVE_TXN_THEN), 2);
    cr_assert_eq(txn_build_count(w.build, CONCLAVE_TXN_ELSE), 3);
    const struct txn_step *step = txn_build_at(w.build, CONCLAVE_TXN_THEN, 0);
    cr_assert(step->verb == TXN_PUT && step->ttl_ms == 30000);
    expect_bytes(step->name, "a", 1);
    expect_bytes(step->value, "x y", 3);
    step = txn_build_at(w.build, CONCLAVE_TXN_ELSE, 0);
    cr_assert(step->verb == TXN_PUT && step->lease == 7);
    expect_bytes(step->name, "\0\xff", 2);
    step = txn_build_at(w.build, CONCLAVE_TXN_ELSE, 1);
    cr_assert(step->verb == TXN_LS && step->limit == 2);
    step = txn_build_at(w.build, CONCLAVE_TXN_ELSE, 2);
    cr_assert(step->verb == TXN_PUB && step->value.bytes == 0);
    expect_bytes(step->id, "i", 1);
    done();
}

Test(txn_json, takes_every_compare)
{
    static const char *const good[] = {
        "{\"compare\":\"rev\",\"key\":\"a\",\"to\":1}",
        "{\"compare\":\"create\",\"key\":\"a\",\"op\":\"<\",\"to\":1}",
        "{\"compare\":\"version\",\"key\":\"a\",\"op\":\">\",\"to\":0}",
        "{\"compare\":\"lease\",\"key\":\"a\",\"op\":\"!=\",\"to\":1}",
        "{\"compare\":\"value\",\"key\":{\"b64\":\"YQ==\"},\"to\":{\"b64\":\"\"}}",
        "{\"compare\":\"exists\",\"key\":\"a\"}",
        "{\"compare\":\"absent\",\"key\":\"a\"}",
        "{\"compare\":\"topic\",\"topic\":\"t\"}",
        "{\"compare\":\"topic\",\"topic\":\"t\",\"to\":9}",
        "{\"compare\":\"no-topic\",\"topic\":\"t\"}"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        char text[256];
        snprintf(text, sizeof text, "{\"if\":[%s],\"then\":[\"get a\"]}", good[i]);
        cr_assert(read_json(text), "%s: %s", good[i], txn_build_fault(w.build));
        done();
    }
}

Test(txn_json, that_is_wrong_is_told_with_its_place)
{
    static const struct {
        const char *text, *place;
    } bad[] = {
        {"", "line 1, column 0: "},
        {"{\n\"then\":[}", "line 2, column 9: "},
        {"{} x", "line 1, column 4: "},
        {"[]", "it has to be an object"},
        {"{\"thn\":[]}", "there is no field 'thn'; did you mean 'then'?"},
        {"{\"if\":[],\"if\":[]}", "line 1, column "},
        {"{\"then\":\"get a\"}", "\"then\" has to be a list"},
        {"{\"then\":[7]}", "then[0]: it has to be a string or an object"},
        {"{\"then\":[\"get a\",\"steal a\"]}", "then[1]: there is no step 'steal'"},
        {"{\"else\":[\"put a b\\u0000\"]}", "else[0]: a zero byte"},
        {"{\"if\":[\"rev(a)=x\"]}", "if[0]: 'x' is not a number"},
        {"{\"then\":[{}]}", "then[0]: 'do' is missing"},
        {"{\"then\":[{\"do\":\"put\",\"key\":\"a\"}]}", "then[0]: 'value' is missing"},
        {"{\"then\":[{\"do\":\"put\",\"key\":1,\"value\":\"\"}]}", "then[0]: 'key' has to be"},
        {"{\"then\":[{\"do\":\"get\",\"key\":{\"b64\":\"?\"}}]}", "then[0]: the b64 of 'key'"},
        {"{\"then\":[{\"do\":\"get\",\"key\":{\"b64\":\"\",\"x\":1}}]}", "then[0]: 'key' has"},
        {"{\"then\":[{\"do\":\"get\",\"key\":\"\"}]}", "then[0]: the key cannot be empty"},
        {"{\"then\":[{\"do\":\"put\",\"key\":\"a\",\"value\":\"\",\"tll\":\"1s\"}]}",
         "then[0]: there is no field 'tll'; did you mean 'ttl'?"},
        {"{\"then\":[{\"do\":\"put\",\"key\":\"a\",\"value\":\"\",\"ttl\":5}]}", "then[0]: 'ttl'"},
        {"{\"then\":[{\"do\":\"put\",\"key\":\"a\",\"value\":\"\",\"lease\":0}]}",
         "then[0]: 'lease'"},
        {"{\"then\":[{\"do\":\"ls\",\"prefix\":\"\",\"limit\":1.5}]}", "then[0]: 'limit'"},
        {"{\"then\":[\"put a x\",{\"do\":\"del\",\"key\":\"a\"}]}", "then[1]: step 1 of this list"},
        {"{\"if\":[{\"compare\":\"age\",\"key\":\"a\",\"to\":1}]}", "if[0]: there is no compare"},
        {"{\"if\":[{\"compare\":\"rev\",\"key\":\"a\"}]}", "if[0]: 'to' is missing"},
        {"{\"if\":[{\"compare\":\"rev\",\"key\":\"a\",\"to\":-1}]}", "if[0]: 'to' has to be"},
        {"{\"if\":[{\"compare\":\"rev\",\"key\":\"a\",\"op\":\"==\",\"to\":1}]}", "if[0]: 'op'"},
        {"{\"if\":[{\"compare\":\"exists\",\"key\":\"a\",\"to\":1}]}", "if[0]: there is no field"},
        {"{\"if\":[{\"compare\":\"seq\",\"key\":\"a\",\"to\":1}]}", "if[0]: there is no field"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_not(read_json(bad[i].text), "%s", bad[i].text);
        cr_assert_eq(strncmp(txn_build_fault(w.build), bad[i].place, strlen(bad[i].place)), 0,
                     "%s: %s", bad[i].text, txn_build_fault(w.build));
        done();
    }
}

/* Words of a step; which texts are compares and steps, and what is said of those that are not. */
#include "cli/txn_words.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static int split(const char *text, char *room, struct txn_bytes words[TXN_WORDS_MAX])
{
    strcpy(room, text);
    return txn_words(room, words);
}

Test(txn_words, end_at_spaces_unless_they_are_quoted)
{
    char room[64];
    struct txn_bytes words[TXN_WORDS_MAX];
    cr_assert_eq(split("  put a  b ", room, words), 3);
    cr_assert_str_eq(words[2].data, "b");
    cr_assert_eq(split("put \"a b\" \"\"", room, words), 3);
    cr_assert_str_eq(words[1].data, "a b");
    cr_assert_str_eq(words[2].data, "");
    cr_assert_eq(split("put \"a\\\"\\\\\" x\\", room, words), 3);
    cr_assert_str_eq(words[1].data, "a\"\\");
    cr_assert_str_eq(words[2].data, "x\\");
    cr_assert_eq(split("", room, words), 0);
    cr_assert_eq(split("put \"a", room, words), TXN_WORDS_QUOTE);
    cr_assert_eq(split("1 2 3 4 5 6", room, words), TXN_WORDS_MANY);
}

Test(txn_words, in_quotes_may_hold_any_byte)
{
    char room[64];
    struct txn_bytes words[TXN_WORDS_MAX];
    cr_assert_eq(split("put \"a\\x00\\xfF\" \\x41", room, words), 3);
    cr_assert_eq(words[1].bytes, 3);
    cr_assert_arr_eq(words[1].data, "a\0\xff", 3);
    cr_assert_str_eq(words[2].data, "\\x41", "without quotes a backslash is one");
    cr_assert_eq(split("put \"\\x4\" \"\\xg0\"", room, words), 3);
    cr_assert_str_eq(words[1].data, "x4");
    cr_assert_str_eq(words[2].data, "xg0");
}

Test(txn_words, of_a_compare_name_what_how_and_the_key)
{
    static const char *const good[] = {
        "rev(a)=7",   "rev(a)!=7", "version(a b)>0", "create(a)<9",  "lease(a)=0",  "value(a)=",
        "exists(a)",  "absent(a)", "value(a)=x)=y",  "rev(a(b))=1",  "absent(a=b)", "seq(t)=0",
        "topic(t)>7", "topic(t)",  "no-topic(t)",    "exists(topic)"};
    static const char *const bad[] = {
        "",           "rev",      "rev(a)",   "rev()=1",   "rev(a=1",
        "rev(a)=x",   "age(a)=1", "rev(a)==", "exists()",  "exists(a)=1",
        "missing(a)", "seq(t)",   "seq()=1",  "topic(t)=", "no-topic(t)=1"};
    struct txn_build *build = txn_build_create();
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        cr_assert(txn_compare_parse(build, good[i]), "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_not(txn_compare_parse(build, bad[i]), "%s", bad[i]);
    txn_build_destroy(build);
}

Test(txn_words, of_a_step_are_a_verb_and_what_it_takes)
{
    static const char *const good[] = {"put a b",      "put b b ttl=30s", "put c b lease=7",
                                       "get a",        "del d",           "del-prefix e/",
                                       "ls a",         "ls \"\"",         "pub t m",
                                       "pub t m id=i", "put \"a b\" \"\""};
    static const char *const bad[] = {"",
                                      "put",
                                      "put a",
                                      "put a b c",
                                      "put \"\" b",
                                      "get",
                                      "get a b",
                                      "put a b ttl=0s",
                                      "put a b ttl=1s lease=1",
                                      "put a b lease=x",
                                      "steal a",
                                      "put a b ttl=1s x",
                                      "pub t",
                                      "pub t m i",
                                      "pub t m id=i x",
                                      "pub \"\" m"};
    struct txn_build *build = txn_build_create();
    char rooms[sizeof good / sizeof *good][64], room[64]; /* the build borrows */
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        cr_assert(txn_step_parse(build, CONCLAVE_TXN_THEN, strcpy(rooms[i], good[i])), "%s: %s",
                  good[i], txn_build_fault(build));
        cr_assert_eq(txn_build_count(build, CONCLAVE_TXN_THEN), i + 1);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_not(txn_step_parse(build, CONCLAVE_TXN_ELSE, strcpy(room, bad[i])), "%s", bad[i]);
        cr_assert_neq(*txn_build_fault(build), '\0');
    }
    cr_assert_eq(txn_build_count(build, CONCLAVE_TXN_ELSE), 0);
    txn_build_destroy(build);
}

static const char *fault(const char *text)
{
    static char room[TXN_FAULT_BYTES], copy[64];
    struct txn_build *build = txn_build_create();
    cr_assert_not(txn_step_parse(build, CONCLAVE_TXN_THEN, strcpy(copy, text)));
    strcpy(room, txn_build_fault(build));
    txn_build_destroy(build);
    return room;
}

Test(txn_words, that_are_wrong_are_named)
{
    cr_assert_str_eq(fault("pit a b"), "there is no step 'pit'; did you mean 'put'?");
    cr_assert_str_eq(fault("nonsense"), "there is no step 'nonsense'");
    cr_assert_str_eq(fault("put a"), "'put' needs a key and a value");
    cr_assert_str_eq(fault("ls"), "'ls' needs a prefix");
    cr_assert_str_eq(fault("put a \"b"), "a double quote is not closed");
    cr_assert_str_eq(fault("put a b ttl=never"), "ttl: 'never' is not a duration, as 30s is");
    cr_assert_str_eq(fault("put \"\" b"), "the key cannot be empty");
}

/* --- What a list may hold ----------------------------------------------------------------------
 */

static bool step(struct txn_build *build, const char *text)
{
    static char room[CONCLAVE_TXN_STEPS_MAX + 1][64];
    static size_t used;
    char *copy = room[used++ % (CONCLAVE_TXN_STEPS_MAX + 1)];
    return txn_step_parse(build, CONCLAVE_TXN_THEN, strcpy(copy, text));
}

Test(txn_build, changes_a_key_once)
{
    static const char *const with[] = {"put a x", "del a", "del-prefix a", "del-prefix \"\""};
    static const char *const beside[] = {"put ab x", "del b", "del-prefix b", "get a", "pub a x"};
    for (size_t i = 0; i < sizeof with / sizeof *with; i++) {
        struct txn_build *build = txn_build_create();
        cr_assert(step(build, with[i]));
        cr_assert_not(step(build, "put a y"), "%s", with[i]);
        txn_build_destroy(build);
        build = txn_build_create();
        cr_assert(step(build, "put a y"));
        cr_assert_not(step(build, with[i]), "%s", with[i]);
        txn_build_destroy(build);
    }
    struct txn_build *build = txn_build_create();
    cr_assert(step(build, "put a y"));
    for (size_t i = 0; i < sizeof beside / sizeof *beside; i++)
        cr_assert(step(build, beside[i]), "%s", beside[i]);
    cr_assert(step(build, "del b"), "twice deleted is deleted once");
    txn_build_destroy(build);
}

Test(txn_build, says_what_is_too_large)
{
    struct txn_build *build = txn_build_create();
    char *large = malloc(CONCLAVE_VALUE_BYTES_MAX + 1);
    memset(large, 'v', CONCLAVE_VALUE_BYTES_MAX + 1);
    struct txn_step put = {
        .verb = TXN_PUT, .name = {large, CONCLAVE_KEY_BYTES_MAX + 1}, .value = {large, 1}};
    cr_assert_not(txn_build_step(build, CONCLAVE_TXN_THEN, &put));
    cr_assert_str_eq(txn_build_fault(build), "the key has 481 bytes; the limit is 480");
    put.name.bytes = 1;
    put.value.bytes = CONCLAVE_VALUE_BYTES_MAX + 1;
    cr_assert_not(txn_build_step(build, CONCLAVE_TXN_THEN, &put));
    put.value.bytes--;
    cr_assert(txn_build_step(build, CONCLAVE_TXN_THEN, &put));
    put.name.bytes = 2;
    cr_assert_not(txn_build_step(build, CONCLAVE_TXN_ELSE, &put), "two do not fit together");
    cr_assert(txn_build_too_large(build));
    free(large);
    txn_build_destroy(build);
    build = txn_build_create();
    for (int i = 0; i < CONCLAVE_TXN_STEPS_MAX; i++)
        cr_assert(step(build, "get a"));
    cr_assert_not(step(build, "get a"));
    cr_assert_str_eq(txn_build_fault(build), "it has more than 128 steps in this list");
    txn_build_destroy(build);
}

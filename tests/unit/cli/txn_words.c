/* Words of a step; which texts are compares and steps. */
#include "cli/txn_words.h"

#include <criterion/criterion.h>
#include <string.h>

static int split(const char *text, char *room, char *words[TXN_WORDS_MAX])
{
    strcpy(room, text);
    return txn_words(room, words);
}

Test(txn_words, end_at_spaces_unless_they_are_quoted)
{
    char room[64], *words[TXN_WORDS_MAX];
    cr_assert_eq(split("  put a  b ", room, words), 3);
    cr_assert_str_eq(words[2], "b");
    cr_assert_eq(split("put \"a b\" \"\"", room, words), 3);
    cr_assert_str_eq(words[1], "a b");
    cr_assert_str_eq(words[2], "");
    cr_assert_eq(split("put \"a\\\"\\\\\" x\\", room, words), 3);
    cr_assert_str_eq(words[1], "a\"\\");
    cr_assert_str_eq(words[2], "x\\");
    cr_assert_eq(split("", room, words), 0);
    cr_assert_eq(split("put \"a", room, words), -1);
    cr_assert_eq(split("1 2 3 4 5 6", room, words), -1);
}

Test(txn_words, of_a_compare_name_what_how_and_the_key)
{
    static const char *const good[] = {"rev(a)=7",   "rev(a)!=7",   "version(a b)>0", "create(a)<9",
                                       "lease(a)=0", "value(a)=",   "value(a)=x)=y",  "exists(a)",
                                       "absent(a)",  "rev(a(b))=1", "absent(a=b)"};
    static const char *const bad[] = {
        "",         "rev",      "rev(a)",   "rev()=1",     "rev(a=1",   "rev(a)=x",
        "age(a)=1", "rev(a)==", "exists()", "exists(a)=1", "missing(a)"};
    struct conclave_txn *txn = conclave_txn_create();
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        cr_assert(txn_compare_parse(txn, good[i]), "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_not(txn_compare_parse(txn, bad[i]), "%s", bad[i]);
    conclave_txn_destroy(txn);
}

Test(txn_words, of_a_step_are_a_verb_and_what_it_takes)
{
    static const char *const good[] = {"put a b", "put a b ttl=30s", "put a b lease=7",
                                       "get a",   "del a",           "del-prefix a/",
                                       "ls a",    "pub t m",         "pub t m id=i"};
    static const char *const bad[] = {"",
                                      "put",
                                      "put a",
                                      "put a b c",
                                      "get",
                                      "get a b",
                                      "put a b ttl=0s",
                                      "put a b lease=x",
                                      "steal a",
                                      "put a b ttl=1s x",
                                      "pub t",
                                      "pub t m i",
                                      "pub t m id=i x"};
    struct conclave_txn *txn = conclave_txn_create();
    char room[64];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        cr_assert(txn_step_parse(txn, CONCLAVE_TXN_THEN, strcpy(room, good[i])), "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_not(txn_step_parse(txn, CONCLAVE_TXN_THEN, strcpy(room, bad[i])), "%s", bad[i]);
    conclave_txn_destroy(txn);
}

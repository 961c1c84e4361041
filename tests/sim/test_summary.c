/* What many seeds add up to: every failure is named, whichever process ran it. */
#include "tests/sim/summary.h"

#include "base/fatal.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct summary *summary_new(void)
{
    return mem_zalloc(sizeof(struct summary));
}

Test(summary, names_the_failures_of_all_processes_by_seed)
{
    struct summary *total = summary_new(), *one = summary_new(), *other = summary_new();
    cr_assert(summary_fail(one, 3, "log matching"), "the first one, whose text is kept");
    cr_assert_not(summary_fail(one, 9, "one leader per term"));
    cr_assert(summary_fail(other, 2, "dies of a signal"));
    cr_assert_not(summary_fail(other, 4, "everything resolves"));
    summary_add(total, one);
    summary_add(total, other);
    cr_assert_eq(total->failed, 4);
    cr_assert_eq(total->first_failed, 2);
    cr_assert_eq(total->failures_named, 4);
    const uint64_t seeds[] = {2, 3, 4, 9};
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(total->failures[i].seed, seeds[i]);
    static char text[65536], json[65536];
    FILE *out = fmemopen(text, sizeof text, "w");
    summary_print(total, (struct summary_times){1, 1}, true, out);
    cr_assert_eq(fclose(out), 0);
    cr_assert_not_null(strstr(text, "situations:\n"));
    cr_assert_not_null(strstr(text, "  3  log matching\n"));
    cr_assert_not_null(strstr(text, "  9  one leader per term\n"));
    out = fmemopen(json, sizeof json, "w");
    summary_print_json(total, (struct summary_times){1, 1}, NULL, out);
    cr_assert_eq(fclose(out), 0);
    cr_assert_not_null(strstr(json, "{\"seed\":4,\"rule\":\"everything resolves\"}"));
    free(other);
    free(one);
    free(total);
}

Test(summary, counts_more_failures_than_it_names)
{
    struct summary *total = summary_new(), *one = summary_new(), *other = summary_new();
    char rule[200];
    memset(rule, 'r', sizeof rule);
    rule[sizeof rule - 1] = 0;
    for (uint64_t seed = 1; seed <= SUMMARY_FAILURES_MAX; seed++) {
        (void)summary_fail(one, 2 * seed, rule);
        (void)summary_fail(other, 2 * seed - 1, "log matching");
    }
    (void)summary_fail(other, UINT64_MAX, "log matching");
    summary_add(total, one);
    summary_add(total, other);
    cr_assert_eq(total->failed, 2 * SUMMARY_FAILURES_MAX + 1);
    cr_assert_eq(total->failures_named, SUMMARY_FAILURES_MAX);
    for (uint64_t i = 0; i < SUMMARY_FAILURES_MAX; i++)
        cr_assert_eq(total->failures[i].seed, i + 1, "the lowest seeds of both");
    cr_assert_eq(strlen(total->failures[1].rule), sizeof total->failures[1].rule - 1);
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    summary_print(total, (struct summary_times){1, 1}, false, out);
    cr_assert_eq(fclose(out), 0);
    cr_assert_null(strstr(text, "situations:\n"));
    cr_assert_not_null(strstr(text, "and  1025 more\n"));
    free(text);
    free(other);
    free(one);
    free(total);
}

#include "bench/baseline.h"

#include <criterion/criterion.h>
#include <string.h>

/* A report with one result of put on self. */
static json_t *report(double ops, double p99)
{
    return json_pack("{s:[{s:s,s:s,s:i,s:f,s:f,s:i}]}", "results", "workload", "put", "target",
                     "self", "clients", 64, "ops_per_s", ops, "p99_us", p99, "errors", 0);
}

static size_t check(const char *text, double ops, double p99, const json_t *before)
{
    struct baseline_rule rule;
    cr_assert(baseline_rule_parse(&rule, text), "%s", text);
    json_t *now = report(ops, p99);
    size_t failed = baseline_check(now, before, &rule, 1, NULL);
    json_decref(now);
    return failed;
}

Test(baseline, rules_that_are_none_are_refused)
{
    static const char *const wrong[] = {"",           "ops_per_s",  "ops_per_s<", "<5",
                                        "p99_us>abc", "p99_us>5%%", "p99_us>%",   "p99_us=4"};
    struct baseline_rule rule;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        cr_assert_not(baseline_rule_parse(&rule, wrong[i]), "'%s'", wrong[i]);
}

Test(baseline, absolute_rules_need_no_baseline)
{
    cr_assert_eq(check("p99_us>4000", 1, 4001, NULL), 1);
    cr_assert_eq(check("p99_us>4000", 1, 4000, NULL), 0);
    cr_assert_eq(check("ops_per_s<100", 99, 1, NULL), 1);
    cr_assert_eq(check("errors>0", 99, 1, NULL), 0);
}

Test(baseline, relative_rules_compare_with_the_same_load)
{
    json_t *before = report(1000, 500);
    cr_assert_eq(check("ops_per_s<-10%", 899, 500, before), 1);
    cr_assert_eq(check("ops_per_s<-10%", 901, 500, before), 0);
    cr_assert_eq(check("p99_us>+20%", 1000, 601, before), 1);
    cr_assert_eq(check("p99_us>+20%", 1000, 599, before), 0);
    json_decref(before);
}

Test(baseline, a_rule_that_cannot_be_checked_fails)
{
    json_t *before = report(1000, 500);
    json_object_set_new(json_array_get(json_object_get(before, "results"), 0), "clients",
                        json_integer(65));
    cr_assert_eq(check("ops_per_s<-10%", 1000, 500, before), 1, "another load");
    cr_assert_eq(check("no_such_figure>1", 1000, 500, before), 1);
    json_decref(before);
    json_t *nothing = json_pack("{s:[{s:s}]}", "results", "not_measured", "why");
    struct baseline_rule rule;
    cr_assert(baseline_rule_parse(&rule, "errors>0"));
    cr_assert_eq(baseline_check(nothing, NULL, &rule, 1, NULL), 1, "nothing was measured");
    json_decref(nothing);
}

Test(baseline, that_is_no_report_says_so)
{
    char message[200];
    cr_assert_null(baseline_load("/no/such/file", message, sizeof message));
    cr_assert_not_null(strstr(message, "/no/such/file"));
}

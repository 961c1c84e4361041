#include "bench/baseline.h"

#include "bench/number.h"

#include <float.h>
#include <string.h>

/* What makes two results comparable. */
static const char *const identity[] = {"workload", "target",     "mode",       "clients",
                                       "inflight", "value_size", "read_level", "share_of_rate"};
/* What is shown. */
static const char *const shown[] = {"ops_per_s", "p50_us", "p99_us", "p999_us"};

bool baseline_rule_parse(struct baseline_rule *rule, const char *text)
{
    size_t name = strcspn(text, "<>");
    if (name == 0 || name >= sizeof rule->metric || text[name] == '\0')
        return false;
    char number[64];
    size_t bytes = strlen(text + name + 1);
    if (bytes == 0 || bytes >= sizeof number)
        return false;
    memcpy(number, text + name + 1, bytes + 1);
    memset(rule, 0, sizeof *rule);
    memcpy(rule->metric, text, name);
    rule->above = text[name] == '>';
    rule->relative = number[bytes - 1] == '%';
    if (rule->relative)
        number[bytes - 1] = '\0';
    const char *digits = number[0] == '+' ? number + 1 : number;
    return number_real(digits, -DBL_MAX, DBL_MAX, &rule->limit);
}

json_t *baseline_load(const char *path, char *message, size_t message_size)
{
    json_error_t error;
    json_t *root = json_load_file(path, 0, &error);
    if (!root) {
        snprintf(message, message_size, "--baseline %s: %s", path, error.text);
        return NULL;
    }
    if (!json_is_array(json_object_get(root, "results"))) {
        snprintf(message, message_size, "--baseline %s: not a report of 'conclave bench --json'",
                 path);
        json_decref(root);
        return NULL;
    }
    return root;
}

static bool same(const json_t *a, const json_t *b)
{
    for (size_t i = 0; i < sizeof identity / sizeof identity[0]; i++) {
        const json_t *x = json_object_get(a, identity[i]), *y = json_object_get(b, identity[i]);
        if (x != y && !json_equal(x, y))
            return false;
    }
    return true;
}

static const json_t *counterpart(const json_t *baseline, const json_t *result)
{
    const json_t *results = json_object_get(baseline, "results");
    for (size_t i = 0; i < json_array_size(results); i++)
        if (same(json_array_get(results, i), result))
            return json_array_get(results, i);
    return NULL;
}

static void show(const json_t *result, const json_t *before, FILE *out)
{
    fprintf(out, "%s on %s, %lld clients:", json_string_value(json_object_get(result, "workload")),
            json_string_value(json_object_get(result, "target")),
            (long long)json_integer_value(json_object_get(result, "clients")));
    if (!before)
        fputs(" not in the baseline", out);
    for (size_t i = 0; before && i < sizeof shown / sizeof shown[0]; i++) {
        double now = json_number_value(json_object_get(result, shown[i]));
        double then = json_number_value(json_object_get(before, shown[i]));
        fprintf(out, "  %s %.0f", shown[i], now);
        if (then > 0)
            fprintf(out, " (%+.1f %%)", (now / then - 1) * 100);
    }
    fputc('\n', out);
}

enum verdict { HOLDS, FAILS, NO_FIGURE };

static enum verdict judge(const struct baseline_rule *rule, const json_t *result,
                          const json_t *before, char *why, size_t size)
{
    const json_t *figure = json_object_get(result, rule->metric);
    double value = json_number_value(figure);
    if (!json_is_number(figure))
        return NO_FIGURE;
    if (rule->relative) {
        const json_t *earlier = json_object_get(before, rule->metric);
        double then = json_number_value(earlier);
        if (!json_is_number(earlier) || then == 0) {
            snprintf(why, size, "the baseline has no such figure to compare with");
            return FAILS;
        }
        double change = (value / then - 1) * 100;
        snprintf(why, size, "%.1f is %+.1f %% against %.1f", value, change, then);
        value = change;
    } else {
        snprintf(why, size, "it is %.1f", value);
    }
    bool beyond = rule->above ? value > rule->limit : value < rule->limit;
    return beyond ? FAILS : HOLDS;
}

static void say(FILE *out, const struct baseline_rule *rule, const json_t *result, const char *why)
{
    if (!out)
        return;
    fprintf(out, "failed: %s%c%g%s", rule->metric, rule->above ? '>' : '<', rule->limit,
            rule->relative ? "%" : "");
    if (result)
        fprintf(out, " for %s on %s", json_string_value(json_object_get(result, "workload")),
                json_string_value(json_object_get(result, "target")));
    fprintf(out, ": %s\n", why);
}

size_t baseline_check(const json_t *report, const json_t *baseline,
                      const struct baseline_rule *rules, size_t rule_count, FILE *out)
{
    size_t failed = 0;
    const json_t *results = json_object_get(report, "results");
    bool looked_at[BASELINE_RULES_MAX] = {false};
    for (size_t r = 0; r < json_array_size(results); r++) {
        const json_t *result = json_array_get(results, r);
        if (json_object_get(result, "not_measured"))
            continue;
        const json_t *before = baseline ? counterpart(baseline, result) : NULL;
        if (baseline && out)
            show(result, before, out);
        for (size_t i = 0; i < rule_count; i++) {
            char why[160];
            enum verdict verdict = judge(&rules[i], result, before, why, sizeof why);
            looked_at[i] |= verdict != NO_FIGURE;
            if (verdict != FAILS)
                continue;
            failed++;
            say(out, &rules[i], result, why);
        }
    }
    for (size_t i = 0; i < rule_count; i++) {
        if (looked_at[i])
            continue;
        failed++;
        say(out, &rules[i], NULL, "no result has such a figure");
    }
    return failed;
}

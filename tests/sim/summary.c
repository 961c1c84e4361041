#include "tests/sim/summary.h"

#include "base/fatal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

bool summary_fail(struct summary *summary, uint64_t seed, const char *rule)
{
    if (summary->failures_named < SUMMARY_FAILURES_MAX) {
        struct summary_failure *failure = &summary->failures[summary->failures_named++];
        failure->seed = seed;
        size_t bytes = 0;
        for (; rule[bytes] && bytes + 1 < sizeof failure->rule; bytes++)
            failure->rule[bytes] = rule[bytes];
        failure->rule[bytes] = 0;
    }
    if (summary->failed++ > 0)
        return false;
    summary->first_failed = seed;
    return true;
}

void summary_add_report(struct summary *summary, const struct report *report)
{
    for (int i = 0; i < SIM_MARK_COUNT; i++)
        summary->marks[i] += report->marks[i];
    for (int i = 0; i < SIM_DECISION_KINDS; i++)
        summary->decisions[i] += report->decisions[i];
}

static int lower_seed(const void *left, const void *right)
{
    const struct summary_failure *a = left, *b = right;
    return a->seed < b->seed ? -1 : a->seed > b->seed;
}

/* Of two lists, each by seed, the first ones. */
static void failures_merge(struct summary *total, const struct summary *summary)
{
    size_t had = total->failures_named, come = summary->failures_named;
    if (come == 0)
        return;
    struct summary_failure *all = mem_alloc((had + come) * sizeof *all);
    memcpy(all, total->failures, had * sizeof *all);
    memcpy(all + had, summary->failures, come * sizeof *all);
    qsort(all, had + come, sizeof *all, lower_seed);
    size_t named = had + come < SUMMARY_FAILURES_MAX ? had + come : SUMMARY_FAILURES_MAX;
    memcpy(total->failures, all, named * sizeof *all);
    total->failures_named = (uint32_t)named;
    free(all);
}

void summary_add(struct summary *total, const struct summary *summary)
{
    failures_merge(total, summary);
    total->passed += summary->passed;
    total->failed += summary->failed;
    total->events += summary->events;
    total->steps += summary->steps;
    for (int i = 0; i < SIM_MARK_COUNT; i++)
        total->marks[i] += summary->marks[i];
    for (int i = 0; i < SIM_DECISION_KINDS; i++)
        total->decisions[i] += summary->decisions[i];
    if (summary->first_failed &&
        (!total->first_failed || summary->first_failed < total->first_failed)) {
        total->first_failed = summary->first_failed;
        memcpy(total->text, summary->text, sizeof total->text);
    }
}

uint32_t summary_unreached(const struct summary *summary)
{
    uint32_t count = 0;
    for (int i = 0; i < SIM_MARK_COUNT; i++)
        count += summary->marks[i] == 0;
    for (int i = 0; i < SIM_DECISION_KINDS; i++)
        count += summary->decisions[i] == 0;
    return count;
}

/* --- Text ------------------------------------------------------------------------------------- */

static double rate(uint64_t count, double seconds)
{
    return seconds > 0 ? (double)count / seconds : 0;
}

static void print_decisions(const struct summary *summary, int first, int end, FILE *out)
{
    for (int i = first; i < end; i++)
        fprintf(out, "%12" PRIu64 "  %s\n", summary->decisions[i], decision_text((uint32_t)i));
}

static void print_unreached(const struct summary *summary, FILE *out)
{
    fprintf(out, "never reached: %" PRIu32 "\n", summary_unreached(summary));
    for (int i = 0; i < SIM_DECISION_KINDS; i++) {
        if (summary->decisions[i] == 0)
            fprintf(out, "%12s  %s (%s)\n", i < SIM_FAULT_COUNT ? "fault" : "action",
                    decision_text((uint32_t)i), decision_name((uint32_t)i));
    }
    for (int i = 0; i < SIM_MARK_COUNT; i++) {
        if (summary->marks[i] == 0)
            fprintf(out, "%12s  %s (%s)\n", "situation", report_mark_text((enum sim_mark)i),
                    report_mark_name((enum sim_mark)i));
    }
}

static void print_failures(const struct summary *summary, FILE *out)
{
    fprintf(out, "seeds that failed:\n");
    for (uint32_t i = 0; i < summary->failures_named; i++)
        fprintf(out, "%20" PRIu64 "  %s\n", summary->failures[i].seed, summary->failures[i].rule);
    if (summary->failed > summary->failures_named)
        fprintf(out, "%20s  %" PRIu64 " more\n", "and", summary->failed - summary->failures_named);
}

static void print_all_counts(const struct summary *summary, FILE *out)
{
    fprintf(out, "faults:\n");
    print_decisions(summary, 0, SIM_FAULT_COUNT, out);
    fprintf(out, "actions:\n");
    print_decisions(summary, SIM_FAULT_COUNT, SIM_DECISION_KINDS, out);
    fprintf(out, "situations:\n");
    for (int i = 0; i < SIM_MARK_COUNT; i++)
        fprintf(out, "%12" PRIu64 "  %s\n", summary->marks[i], report_mark_text((enum sim_mark)i));
    if (!summary->failed) /* a failure ends the rest early */
        print_unreached(summary, out);
}

void summary_print(const struct summary *summary, struct summary_times times, bool counts,
                   FILE *out)
{
    fprintf(out,
            "%" PRIu64 " events, %" PRIu64
            " steps in %.1f s: %.1f seeds/s, %.0f events/s, %.0f events/s of one core\n",
            summary->events, summary->steps, times.seconds,
            rate(summary->passed + summary->failed, times.seconds),
            rate(summary->events, times.seconds), rate(summary->events, times.cpu_seconds));
    if (counts)
        print_all_counts(summary, out);
    if (summary->failed > 1)
        print_failures(summary, out);
    fprintf(out, "%" PRIu64 " passed, %" PRIu64 " failed\n", summary->passed, summary->failed);
}

/* --- JSON ------------------------------------------------------------------------------------- */

static void print_string(const char *text, FILE *out)
{
    fputc('"', out);
    for (const char *c = text; *c; c++) {
        if (*c == '"' || *c == '\\')
            fprintf(out, "\\%c", *c);
        else if ((unsigned char)*c < 0x20)
            fprintf(out, "\\u%04x", (unsigned)(unsigned char)*c);
        else
            fputc(*c, out);
    }
    fputc('"', out);
}

static void print_counts(const char *name, const struct summary *summary, int first, int end,
                         FILE *out)
{
    fprintf(out, ",\"%s\":{", name);
    for (int i = first; i < end; i++)
        fprintf(out, "%s\"%s\":%" PRIu64, i > first ? "," : "", decision_name((uint32_t)i),
                summary->decisions[i]);
    fputc('}', out);
}

static void print_json_unreached(const struct summary *summary, FILE *out)
{
    const char *separator = "";
    fprintf(out, ",\"unreached\":[");
    for (int i = 0; i < SIM_DECISION_KINDS; i++) {
        if (summary->decisions[i] > 0)
            continue;
        fprintf(out, "%s\"%s\"", separator, decision_name((uint32_t)i));
        separator = ",";
    }
    for (int i = 0; i < SIM_MARK_COUNT; i++) {
        if (summary->marks[i] > 0)
            continue;
        fprintf(out, "%s\"%s\"", separator, report_mark_name((enum sim_mark)i));
        separator = ",";
    }
    fputc(']', out);
}

static void print_json_failures(const struct summary *summary, FILE *out)
{
    fprintf(out, ",\"failures\":[");
    for (uint32_t i = 0; i < summary->failures_named; i++) {
        fprintf(out, "%s{\"seed\":%" PRIu64 ",\"rule\":", i ? "," : "", summary->failures[i].seed);
        print_string(summary->failures[i].rule, out);
        fputc('}', out);
    }
    fputc(']', out);
}

void summary_print_json(const struct summary *summary, struct summary_times times,
                        const char *replay, FILE *out)
{
    fprintf(out,
            "{\"passed\":%" PRIu64 ",\"failed\":%" PRIu64 ",\"first_failed\":%" PRIu64
            ",\"events\":%" PRIu64 ",\"steps\":%" PRIu64
            ",\"seconds\":%.3f,\"cpu_seconds\":%.3f,\"seeds_per_s\":%.1f,\"events_per_s\":%.0f"
            ",\"events_per_core_s\":%.0f",
            summary->passed, summary->failed, summary->first_failed, summary->events,
            summary->steps, times.seconds, times.cpu_seconds,
            rate(summary->passed + summary->failed, times.seconds),
            rate(summary->events, times.seconds), rate(summary->events, times.cpu_seconds));
    print_counts("faults", summary, 0, SIM_FAULT_COUNT, out);
    print_counts("actions", summary, SIM_FAULT_COUNT, SIM_DECISION_KINDS, out);
    fprintf(out, ",\"marks\":{");
    for (int i = 0; i < SIM_MARK_COUNT; i++)
        fprintf(out, "%s\"%s\":%" PRIu64, i ? "," : "", report_mark_name((enum sim_mark)i),
                summary->marks[i]);
    fputc('}', out);
    print_json_unreached(summary, out);
    if (summary->failed) {
        print_json_failures(summary, out);
        fprintf(out, ",\"failure\":");
        print_string(summary->text, out);
    }
    if (replay) {
        fprintf(out, ",\"replay\":");
        print_string(replay, out);
    }
    fprintf(out, "}\n");
}

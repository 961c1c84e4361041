#include "bench/report.h"

#include <string.h>

static const char *const columns[] = {"target",
                                      "workload",
                                      "mode",
                                      "clients",
                                      "inflight",
                                      "rate",
                                      "value_size",
                                      "ops",
                                      "acked",
                                      "errors",
                                      "retried",
                                      "missed",
                                      "seconds",
                                      "ops_per_s",
                                      "mean_us",
                                      "p50_us",
                                      "p90_us",
                                      "p99_us",
                                      "p999_us",
                                      "p9999_us",
                                      "max_us",
                                      "max_gap_ms",
                                      "failover_ms",
                                      "recover_ms",
                                      "mismatches",
                                      "client_p99_worst_us",
                                      "client_p99_median_us",
                                      "fairness",
                                      "source_per_s",
                                      "source_p50_us",
                                      "source_p99_us",
                                      "replay_per_s",
                                      "not_measured"};

enum { COLUMNS = sizeof columns / sizeof columns[0] };

/* RFC 4180. */
static void quoted(const char *text, FILE *out)
{
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"')
            fputc('"', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

static void field(const json_t *value, FILE *out)
{
    if (json_is_string(value))
        quoted(json_string_value(value), out);
    else if (json_is_integer(value))
        fprintf(out, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        fprintf(out, "%.12g", json_real_value(value));
}

bool report_csv(const json_t *report, FILE *out)
{
    const json_t *results = json_object_get(report, "results");
    for (size_t c = 0; c < COLUMNS; c++)
        fprintf(out, "%s%s", c ? "," : "", columns[c]);
    fputs("\r\n", out);
    for (size_t i = 0; i < json_array_size(results); i++) {
        for (size_t c = 0; c < COLUMNS; c++) {
            if (c > 0)
                fputc(',', out);
            field(json_object_get(json_array_get(results, i), columns[c]), out);
        }
        fputs("\r\n", out);
    }
    return !ferror(out);
}

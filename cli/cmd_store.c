/* cli/cmd_store.c - store: how large it is, and what it may be and keep. */
#include "cli/commands.h"
#include "cli/connect.h"
#include "cli/output.h"
#include "cli/text.h"
#include "conclave_kv.h"

#include <string.h>

const struct args_flag cmd_store_flags[] = {
    {"quota", 0, "SIZE", NULL, false,
     "bytes that keys, leases and topics may take; 0B: any number"},
    {"history", 0, "N", NULL, false, "changes that are kept, 1048576 at most"},
    {"history-size", 0, "SIZE", NULL, false, "bytes that they may take"},
    {"history-age", 0, "DURATION", NULL, false, "older ones go; 0s: any age"},
    {0}};

static bool count_parse(const char *text, uint64_t *ret)
{
    return text_uint_parse(text, INT64_MAX, ret);
}

/* Reads the flags; *ret_any: one was given. */
static int read_settings(const struct args *args, struct conclave_kv_settings *settings,
                         bool *ret_any)
{
    const struct {
        const char *flag, *what;
        bool (*parse)(const char *text, uint64_t *ret);
        uint64_t *to;
    } fields[] = {
        {"quota", "size", text_size_parse, &settings->quota_bytes},
        {"history", "number", count_parse, &settings->history_changes},
        {"history-size", "size", text_size_parse, &settings->history_bytes},
        {"history-age", "duration", text_long_duration_parse, &settings->history_age_ms},
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        const char *text = args_value(args, fields[i].flag);
        *fields[i].to = CONCLAVE_KV_KEEP;
        if (!text)
            continue;
        *ret_any = true;
        if (!fields[i].parse(text, fields[i].to))
            return output_error(args_on(args, "json"), CONCLAVE_INVALID, NULL, NULL,
                                "--%s: '%.40s' is not a %s", fields[i].flag, text, fields[i].what);
    }
    return 0;
}

/* What was refused last still would be, or there is no room at all. */
static bool is_full(const struct conclave_kv_usage *usage)
{
    return usage->settings.quota_bytes &&
           (usage->refused_bytes > 0 ||
            usage->bytes + usage->topic_bytes >= usage->settings.quota_bytes);
}

static int print_json(const struct conclave_kv_usage *usage)
{
    const struct conclave_kv_settings *settings = &usage->settings;
    return output_line(json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:{s:o, s:o, s:o, s:o, s:o}}",
        "revision", output_uint(usage->revision), "readable_from", output_uint(usage->compacted),
        "keys", output_uint(usage->keys), "bytes", output_uint(usage->bytes), "leases",
        output_uint(usage->leases), "topics", output_uint(usage->topics), "topic_bytes",
        output_uint(usage->topic_bytes), "quota", output_uint(settings->quota_bytes), "full",
        is_full(usage), "refused_bytes", output_uint(usage->refused_bytes), "history", "changes",
        output_uint(usage->history_changes), "bytes", output_uint(usage->history_bytes),
        "changes_max", output_uint(settings->history_changes), "bytes_max",
        output_uint(settings->history_bytes), "age_ms_max", output_uint(settings->history_age_ms)));
}

static void print_text(const struct conclave_kv_usage *usage)
{
    const struct conclave_kv_settings *settings = &usage->settings;
    printf("revision  %llu, readable from %llu on\n", (unsigned long long)usage->revision,
           (unsigned long long)usage->compacted);
    printf("keys      %llu and %llu leases, of %llu bytes\n", (unsigned long long)usage->keys,
           (unsigned long long)usage->leases, (unsigned long long)usage->bytes);
    printf("topics    %llu of %llu bytes\n", (unsigned long long)usage->topics,
           (unsigned long long)usage->topic_bytes);
    uint64_t used = usage->bytes + usage->topic_bytes;
    if (settings->quota_bytes)
        printf("quota     %llu of %llu bytes%s\n", (unsigned long long)used,
               (unsigned long long)settings->quota_bytes, is_full(usage) ? ": full" : "");
    printf("history   %llu of %llu changes, %llu of %llu bytes",
           (unsigned long long)usage->history_changes,
           (unsigned long long)settings->history_changes, (unsigned long long)usage->history_bytes,
           (unsigned long long)settings->history_bytes);
    if (settings->history_age_ms)
        printf(", not older than %llu ms", (unsigned long long)settings->history_age_ms);
    putchar('\n');
}

int cmd_store_run(const struct args *args)
{
    struct conclave_kv_settings settings = {0};
    struct conclave_kv_usage usage;
    struct conclave_client *client = NULL;
    bool any = false;
    int exit_code = read_settings(args, &settings, &any);
    if (exit_code == 0)
        exit_code = connect_open(args, NULL, &client);
    if (exit_code == 0) {
        int code = any ? conclave_kv_set(client, &settings, 0) : CONCLAVE_OK;
        if (code == CONCLAVE_OK)
            code = conclave_kv_usage(client, 0, &usage);
        if (code != CONCLAVE_OK)
            exit_code =
                any ? connect_error(args, client, code) : connect_read_error(args, client, code);
        else if (args_on(args, "json"))
            exit_code = print_json(&usage);
        else
            print_text(&usage);
    }
    conclave_client_destroy(client);
    return exit_code;
}

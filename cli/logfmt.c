#include "cli/logfmt.h"

#include "cli/text.h"

#include <string.h>

static const char *level_name(enum conclave_log_level level)
{
    switch (level) {
    case CONCLAVE_LOG_DEBUG:
        return "debug";
    case CONCLAVE_LOG_INFO:
        return "info";
    case CONCLAVE_LOG_WARN:
        return "warn";
    case CONCLAVE_LOG_ERROR:
        return "error";
    }
    return "error";
}

bool logfmt_next(const char **at, struct logfmt_pair *ret)
{
    const char *in = *at + strspn(*at, " ");
    if (*in == '\0') {
        *at = in;
        return false;
    }
    size_t used = 0;
    for (; *in && *in != '=' && *in != ' '; in++)
        if (used + 1 < sizeof ret->key)
            ret->key[used++] = *in;
    ret->key[used] = '\0';
    ret->quoted = false;
    used = 0;
    if (*in != '=') {
        strcpy(ret->value, "true");
        *at = in;
        return true;
    }
    in++;
    ret->quoted = *in == '"';
    if (ret->quoted)
        in++;
    for (; *in && *in != (ret->quoted ? '"' : ' '); in++) {
        char byte = *in;
        if (ret->quoted && byte == '\\' && in[1])
            byte = *++in == 'n' ? '\n' : *in;
        if (used + 1 < sizeof ret->value)
            ret->value[used++] = byte;
    }
    ret->value[used] = '\0';
    if (ret->quoted && *in == '"')
        in++;
    *at = in;
    return true;
}

static void write_time(FILE *out, const struct timespec *time)
{
    struct tm parts;
    gmtime_r(&time->tv_sec, &parts);
    char text[32];
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
    fprintf(out, "%s.%03ldZ", text, time->tv_nsec / 1000000);
}

static void write_json_string(FILE *out, const char *text)
{
    size_t left = strlen(text);
    fputc('"', out);
    while (left > 0) {
        size_t length = text_utf8_length(text, left);
        unsigned char byte = (unsigned char)*text;
        if (length == 0)
            fputs("\\ufffd", out);
        else if (byte == '"' || byte == '\\')
            fprintf(out, "\\%c", byte);
        else if (byte < 0x20)
            fprintf(out, "\\u%04x", (unsigned)byte);
        else
            fwrite(text, 1, length, out);
        if (length == 0)
            length = 1;
        text += length;
        left -= length;
    }
    fputc('"', out);
}

static bool is_json_literal(const char *text)
{
    if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)
        return true;
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 15 || text[digits])
        return false;
    return digits == 1 || text[0] != '0';
}

/* Fields must not hide what every line has. */
static const char *key_prefix(const char *key)
{
    static const char *const own[] = {"ts", "level", "node", "actor", "event"};

    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        if (strcmp(key, own[i]) == 0)
            return "field_";
    return "";
}

static void write_json(FILE *out, const struct logfmt_record *record)
{
    fputs("{\"ts\":\"", out);
    write_time(out, &record->time);
    fprintf(out, "\",\"level\":\"%s\",\"node\":", level_name(record->level));
    write_json_string(out, record->node);
    fputs(",\"actor\":", out);
    write_json_string(out, record->actor);
    fputs(",\"event\":", out);
    write_json_string(out, record->event);
    const char *at = record->fields;
    struct logfmt_pair pair;
    while (logfmt_next(&at, &pair)) {
        char key[sizeof pair.key + 8];
        snprintf(key, sizeof key, "%s%s", key_prefix(pair.key), pair.key);
        fputc(',', out);
        write_json_string(out, key);
        fputc(':', out);
        if (!pair.quoted && is_json_literal(pair.value))
            fputs(pair.value, out);
        else
            write_json_string(out, pair.value);
    }
    fputs("}\n", out);
}

/* A value as logfmt: quoted when it has a space, a quote, an equals sign or a control character. */
static void write_value(FILE *out, const char *text)
{
    bool bare = *text != '\0';
    for (const char *at = text; *at; at++)
        if ((unsigned char)*at <= ' ' || *at == '"' || *at == '=')
            bare = false;
    if (bare) {
        fputs(text, out);
        return;
    }
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '\n')
            fputs("\\n", out);
        else if (*text == '"' || *text == '\\')
            fprintf(out, "\\%c", *text);
        else
            fputc((unsigned char)*text < ' ' ? ' ' : *text, out);
    }
    fputc('"', out);
}

static void write_text(FILE *out, const struct logfmt_record *record)
{
    fputs("ts=", out);
    write_time(out, &record->time);
    fprintf(out, " level=%s node=", level_name(record->level));
    write_value(out, record->node);
    fputs(" actor=", out);
    write_value(out, record->actor);
    fputs(" event=", out);
    write_value(out, record->event);
    const char *at = record->fields;
    struct logfmt_pair pair;
    while (logfmt_next(&at, &pair)) {
        fprintf(out, " %s%s=", key_prefix(pair.key), pair.key);
        write_value(out, pair.value);
    }
    fputc('\n', out);
}

void logfmt_write(FILE *out, enum logfmt_style style, const struct logfmt_record *record)
{
    if (style == LOGFMT_JSON)
        write_json(out, record);
    else
        write_text(out, record);
}

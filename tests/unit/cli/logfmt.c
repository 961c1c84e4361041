#include "cli/logfmt.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static char *line(enum logfmt_style style, const char *event, const char *fields)
{
    struct logfmt_record record = {.time = {1700000000, 7000000},
                                   .level = CONCLAVE_LOG_INFO,
                                   .node = "n1",
                                   .actor = "raft",
                                   .event = event,
                                   .fields = fields};
    char *text;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    logfmt_write(out, style, &record);
    fclose(out);
    return text;
}

static void expect_line(enum logfmt_style style, const char *event, const char *fields,
                        const char *expected)
{
    char *text = line(style, event, fields);
    cr_expect_str_eq(text, expected);
    free(text);
}

#define TEXT_HEAD "ts=2023-11-14T22:13:20.007Z level=info node=n1 actor=raft event="
#define JSON_HEAD                                                                                 \
    "{\"ts\":\"2023-11-14T22:13:20.007Z\",\"level\":\"info\",\"node\":\"n1\",\"actor\":\"raft\"," \
    "\"event\":"

Test(logfmt, writes_a_line_for_people)
{
    expect_line(LOGFMT_TEXT, "became leader", "term=3 peer=n2",
                TEXT_HEAD "\"became leader\" term=3 peer=n2\n");
    expect_line(LOGFMT_TEXT, "started", "", TEXT_HEAD "started\n");
}

Test(logfmt, keeps_quoted_values_quoted)
{
    expect_line(LOGFMT_TEXT, "failed", "reason=\"no \\\"such\\\" thing\" path=/a",
                TEXT_HEAD "failed reason=\"no \\\"such\\\" thing\" path=/a\n");
}

Test(logfmt, writes_fields_as_json_with_their_types)
{
    expect_line(LOGFMT_JSON, "became leader", "term=3 peer=n2 ok=true off=false",
                JSON_HEAD
                "\"became leader\",\"term\":3,\"peer\":\"n2\",\"ok\":true,\"off\":false}\n");
}

Test(logfmt, leaves_ids_and_odd_numbers_as_strings)
{
    expect_line(LOGFMT_JSON, "x", "id=1234567890123456 zero=007 quoted=\"7\" neg=-1 none=",
                JSON_HEAD "\"x\",\"id\":\"1234567890123456\",\"zero\":\"007\",\"quoted\":\"7\","
                          "\"neg\":\"-1\",\"none\":\"\"}\n");
}

Test(logfmt, escapes_what_json_does_not_take)
{
    expect_line(LOGFMT_JSON, "x", "a=\"q\\\" b\\\\ \\n \x01\" u=\xc3\xbc bad=\xff",
                JSON_HEAD "\"x\",\"a\":\"q\\\" b\\\\ \\u000a \\u0001\",\"u\":\"\xc3\xbc\","
                          "\"bad\":\"\\ufffd\"}\n");
}

Test(logfmt, hides_none_of_the_fields_of_every_line)
{
    expect_line(LOGFMT_JSON, "x", "node=n2 ts=1",
                JSON_HEAD "\"x\",\"field_node\":\"n2\",\"field_ts\":1}\n");
    expect_line(LOGFMT_TEXT, "x", "node=n2", TEXT_HEAD "x field_node=n2\n");
}

Test(logfmt, reads_pairs_that_are_not_well_formed)
{
    const char *at = "  word a= b=\"open end";
    struct logfmt_pair pair;
    cr_assert(logfmt_next(&at, &pair));
    cr_expect_str_eq(pair.key, "word");
    cr_expect_str_eq(pair.value, "true");
    cr_assert(logfmt_next(&at, &pair));
    cr_expect_str_eq(pair.key, "a");
    cr_expect_str_eq(pair.value, "");
    cr_assert(logfmt_next(&at, &pair));
    cr_expect_str_eq(pair.key, "b");
    cr_expect_str_eq(pair.value, "open end");
    cr_expect_not(logfmt_next(&at, &pair));
}

Test(logfmt, cuts_what_is_too_long)
{
    char fields[4096];
    memset(fields, 'k', sizeof fields);
    fields[200] = '=';
    fields[sizeof fields - 1] = '\0';
    const char *at = fields;
    struct logfmt_pair pair;
    cr_assert(logfmt_next(&at, &pair));
    cr_expect_eq(strlen(pair.key), sizeof pair.key - 1);
    cr_expect_eq(strlen(pair.value), sizeof pair.value - 1);
    cr_expect_not(logfmt_next(&at, &pair));
}

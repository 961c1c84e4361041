#include "base/log.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

struct record {
    int count;
    enum conclave_log_level level;
    char actor[32], event[64], fields[2048];
};

static void keep(void *arg, enum conclave_log_level level, const char *actor, const char *event,
                 const char *fields)
{
    struct record *record = arg;
    record->count++;
    record->level = level;
    snprintf(record->actor, sizeof record->actor, "%s", actor);
    snprintf(record->event, sizeof record->event, "%s", event);
    snprintf(record->fields, sizeof record->fields, "%s", fields);
}

Test(log, hands_events_to_the_host)
{
    struct record record = {0};
    struct logger logger = {.write = keep, .arg = &record, .level = CONCLAVE_LOG_INFO};
    log_event(&logger, CONCLAVE_LOG_WARN, "raft", "became leader", "term=%d peer=%s", 7, "n2");
    cr_assert_eq(record.count, 1);
    cr_assert_eq(record.level, CONCLAVE_LOG_WARN);
    cr_assert_str_eq(record.actor, "raft");
    cr_assert_str_eq(record.event, "became leader");
    cr_assert_str_eq(record.fields, "term=7 peer=n2");
}

Test(log, leaves_out_what_is_below_its_level)
{
    struct record record = {0};
    struct logger logger = {.write = keep, .arg = &record, .level = CONCLAVE_LOG_WARN};
    log_event(&logger, CONCLAVE_LOG_INFO, "raft", "tick", "n=%d", 1);
    cr_assert_eq(record.count, 0);
    log_event(&logger, CONCLAVE_LOG_ERROR, "raft", "stopped", "n=%d", 2);
    cr_assert_eq(record.count, 1);
}

Test(log, is_silent_without_a_host_function)
{
    struct record record = {0};
    struct logger logger = {.write = NULL, .arg = &record};
    log_event(&logger, CONCLAVE_LOG_ERROR, "raft", "stopped", "n=%d", 2);
    cr_assert_eq(record.count, 0);
}

Test(log, cuts_fields_at_one_kibibyte)
{
    char longer[4096];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    struct record record = {0};
    struct logger logger = {.write = keep, .arg = &record, .level = CONCLAVE_LOG_DEBUG};
    log_event(&logger, CONCLAVE_LOG_DEBUG, "raft", "long", "x=%s", longer);
    cr_assert_eq(strlen(record.fields), 1023);
}

#include "base/error.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

Test(error, returns_its_code_and_keeps_the_sentence)
{
    struct conclave_error error = {0};
    int code = error_set(&error, CONCLAVE_IO, "cannot open %s", "wal-1");
    cr_assert_eq(code, CONCLAVE_IO);
    cr_assert_eq(error.code, CONCLAVE_IO);
    cr_assert_str_eq(error.message, "cannot open wal-1");
}

Test(error, appends_what_the_system_said)
{
    struct conclave_error error = {0};
    int code = error_set_errno(&error, CONCLAVE_NO_SPACE, ENOSPC, "cannot grow %s", "wal-1");
    cr_assert_eq(code, CONCLAVE_NO_SPACE);
    cr_assert_str_eq(error.message, "cannot grow wal-1: No space left on device");
}

Test(error, works_without_a_place_for_the_sentence)
{
    cr_assert_eq(error_set(NULL, CONCLAVE_BUSY, "busy"), CONCLAVE_BUSY);
    cr_assert_eq(error_set_errno(NULL, CONCLAVE_IO, EIO, "io"), CONCLAVE_IO);
}

Test(error, cuts_a_sentence_that_does_not_fit)
{
    char longer[1024];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    struct conclave_error error;
    cr_assert_eq(error_set_errno(&error, CONCLAVE_IO, EIO, "%s", longer), CONCLAVE_IO);
    cr_assert_eq(strlen(error.message), sizeof error.message - 1);
    longer[sizeof error.message - 6] = '\0';
    cr_assert_eq(error_set_errno(&error, CONCLAVE_IO, EIO, "%s", longer), CONCLAVE_IO);
    cr_assert_str_eq(error.message + sizeof error.message - 6, ": Inp");
}

Test(error, every_code_has_a_name_a_text_and_an_exit_code)
{
    for (int code = CONCLAVE_OK; code <= CONCLAVE_INTERNAL; code++) {
        cr_assert_str_neq(conclave_code_name(code), "UNKNOWN_CODE", "code %d", code);
        cr_assert_str_neq(conclave_code_text(code), "unknown code", "code %d", code);
        cr_assert_leq(conclave_code_exit(code), 8, "code %d", code);
    }
    cr_assert_str_eq(conclave_code_name(CONCLAVE_HANDOVER), "HANDOVER");
    cr_assert_str_eq(conclave_code_name(CONCLAVE_STALE), "STALE");
    cr_assert_eq(conclave_code_exit(CONCLAVE_OK), 0);
    cr_assert_str_eq(conclave_code_name(CONCLAVE_NOT_LEADER), "NOT_LEADER");
}

Test(error, tells_surely_not_applied_from_unknown_by_exit_code)
{
    static const int surely[] = {CONCLAVE_NOT_LEADER, CONCLAVE_NO_LEADER, CONCLAVE_BUSY,
                                 CONCLAVE_STOPPING,   CONCLAVE_TIMEOUT,   CONCLAVE_HANDOVER};
    for (size_t i = 0; i < sizeof surely / sizeof surely[0]; i++)
        cr_assert_eq(conclave_code_exit(surely[i]), 4);
    cr_assert_eq(conclave_code_exit(CONCLAVE_UNKNOWN), 5);
}

Test(error, answers_for_codes_that_do_not_exist)
{
    cr_assert_str_eq(conclave_code_name(-1), "UNKNOWN_CODE");
    cr_assert_str_eq(conclave_code_text(9999), "unknown code");
    cr_assert_neq(conclave_code_exit(9999), 0);
}

#include "cli/member.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct member members[CONCLAVE_VOTERS_MAX];
static size_t count;
static struct conclave_error error;

static int read_list(const char *text)
{
    count = 99;
    return member_list_parse(text, members, &count, &error);
}

Test(member, reads_name_peer_and_client)
{
    cr_assert_eq(read_list("n1=tcp://127.0.0.1:7401+tcp://127.0.0.1:7501,n2=tcp://h:1"), 0);
    cr_assert_eq(count, 2);
    cr_expect_str_eq(members[0].name, "n1");
    cr_expect_str_eq(members[0].peer, "tcp://127.0.0.1:7401");
    cr_expect_str_eq(members[0].client, "tcp://127.0.0.1:7501");
    cr_expect_str_eq(members[1].name, "n2");
    cr_expect_str_eq(members[1].peer, "tcp://h:1");
    cr_expect_str_eq(members[1].client, "");
}

Test(member, hands_on_no_client_endpoint_when_none_is_given)
{
    struct conclave_member view[2];
    cr_assert_eq(read_list("n1=tcp://a:1+tcp://a:2,n2=tcp://b:1"), 0);
    member_list_view(members, count, view);
    cr_expect_str_eq(view[0].client, "tcp://a:2");
    cr_expect_null(view[1].client);
    cr_expect_str_eq(view[1].name, "n2");
}

Test(member, leaves_a_plus_in_a_path_alone)
{
    cr_assert_eq(read_list("n1=ipc:///tmp/a+b+ipc:///tmp/c+d"), 0);
    cr_expect_str_eq(members[0].peer, "ipc:///tmp/a+b");
    cr_expect_str_eq(members[0].client, "ipc:///tmp/c+d");
}

Test(member, refuses_what_is_not_of_the_form)
{
    static const char *const bad[] = {"",
                                      "n1",
                                      "n1=",
                                      "=tcp://a:1",
                                      "n1=a:1",
                                      "n1=tcp://a:1,",
                                      ",n1=tcp://a:1",
                                      "n1=tcp://a:1+",
                                      "n1=+tcp://a:1",
                                      "name-that-is-longer-than-32-bytes-x=tcp://a:1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_expect_eq(read_list(bad[i]), CONCLAVE_INVALID, "'%s' was taken", bad[i]);
        cr_expect_eq(error.code, CONCLAVE_INVALID);
        cr_expect(strstr(error.message, "NAME=PEER[+CLIENT]"), "'%s' got: %s", bad[i],
                  error.message);
        cr_expect_eq(count, 99, "a refused list changed the output");
    }
}

Test(member, refuses_endpoints_that_are_too_long)
{
    char text[600] = "n1=tcp://";
    size_t used = strlen(text);
    memset(text + used, 'a', 300);
    cr_expect_eq(read_list(text), CONCLAVE_INVALID);
    cr_expect(strstr(error.message, "255"));
}

Test(member, refuses_more_members_than_a_cluster_can_have)
{
    char text[512] = "";
    for (int i = 1; i <= 10; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%sn%d=tcp://a:%d",
                 i > 1 ? "," : "", i, i);
    cr_expect_eq(read_list(text), CONCLAVE_INVALID);
    cr_expect_str_eq(error.message, "a cluster has at most 9 members");
}

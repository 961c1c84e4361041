#include "transport/endpoint.h"

#include "transport/context.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <zmq.h>

Test(endpoint, accepts_tcp_ipc_and_inproc)
{
    static const char *const good[] = {"tcp://127.0.0.1:7401", "tcp://[::1]:65535", "tcp://host:1",
                                       "ipc:///tmp/x", "inproc://a"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        cr_assert_eq(endpoint_check(good[i], NULL), CONCLAVE_OK, "%s", good[i]);
}

Test(endpoint, refuses_what_is_none_with_a_sentence)
{
    static const char *const bad[] = {
        "",          "127.0.0.1:7401", "tcp://",      "tcp://:7401", "tcp://h",   "tcp://h:",
        "tcp://h:0", "tcp://h:65536",  "tcp://h:1x",  "tcp://h:-1",  "tcp://h:*", "ipc://",
        "inproc://", "udp://h:1",      "tcp//h:7401", "tcp://h: 1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct conclave_error error = {0};
        cr_assert_eq(endpoint_check(bad[i], &error), CONCLAVE_INVALID, "%s", bad[i]);
        cr_assert(strstr(error.message, bad[i]), "%s", error.message);
    }
    char longest[CONCLAVE_ENDPOINT_BYTES_MAX + 2];
    memset(longest, 'a', sizeof longest - 1);
    memcpy(longest, "ipc://", 6);
    longest[sizeof longest - 1] = 0;
    cr_assert_eq(endpoint_check(longest, NULL), CONCLAVE_INVALID);
    longest[sizeof longest - 2] = 0;
    cr_assert_eq(endpoint_check(longest, NULL), CONCLAVE_OK);
}

Test(endpoint, knows_what_other_machines_can_reach)
{
    cr_assert(endpoint_is_local("tcp://127.0.0.1:1"));
    cr_assert(endpoint_is_local("tcp://127.8.8.8:1"));
    cr_assert(endpoint_is_local("tcp://localhost:1"));
    cr_assert(endpoint_is_local("tcp://[::1]:1"));
    cr_assert(endpoint_is_local("ipc:///x"));
    cr_assert(endpoint_is_local("inproc://x"));
    cr_assert_not(endpoint_is_local("tcp://0.0.0.0:1"));
    cr_assert_not(endpoint_is_local("tcp://192.168.0.1:1"));
    cr_assert_not(endpoint_is_local("tcp://localhost.example:1"));
    cr_assert_not(endpoint_is_local("tcp://[::]:1"));
    cr_assert_not(endpoint_is_local("tcp://*:1"));
}

Test(endpoint, clients_are_a_hundred_ports_above_peers)
{
    char text[CONCLAVE_ENDPOINT_BYTES_MAX + 1];
    endpoint_client_default("tcp://127.0.0.1:7401", text, sizeof text);
    cr_assert_str_eq(text, "tcp://127.0.0.1:7501");
    endpoint_client_default("tcp://[::1]:7401", text, sizeof text);
    cr_assert_str_eq(text, "tcp://[::1]:7501");
    endpoint_client_default("tcp://h:65500", text, sizeof text);
    cr_assert_str_eq(text, "");
    endpoint_client_default("ipc:///x", text, sizeof text);
    cr_assert_str_eq(text, "");
    endpoint_client_default("tcp://127.0.0.1:7401", text,
                            10); /* does not fit: none, not half of one */
    cr_assert_str_eq(text, "");
}

Test(endpoint, says_who_is_in_the_way)
{
    void *context = context_create();
    void *first = zmq_socket(context, ZMQ_ROUTER), *second = zmq_socket(context, ZMQ_ROUTER);
    char bound[256];
    size_t bytes = sizeof bound;
    cr_assert_eq(zmq_bind(first, "tcp://127.0.0.1:*"), 0);
    cr_assert_eq(zmq_getsockopt(first, ZMQ_LAST_ENDPOINT, bound, &bytes), 0);
    struct conclave_error error = {0};
    cr_assert_eq(endpoint_bind(second, bound, "peers", &error), CONCLAVE_IN_USE);
    cr_assert(strstr(error.message, bound));
    cr_assert(strstr(error.message, "peers"));
    cr_assert_eq(endpoint_bind(second, "tcp://192.0.2.1:7401", "peers", &error), CONCLAVE_INVALID);
    zmq_close(first);
    zmq_close(second);
    context_destroy(context);
}

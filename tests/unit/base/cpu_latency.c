/* What is asked of the system for its idle processors. */
#include "base/cpu_latency.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int file_with(char *path, const char *text)
{
    strcpy(path, "/tmp/conclave-cpu-latency-XXXXXX");
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    return fd;
}

static int32_t wanted_with(const char *driver)
{
    char path[64];
    int fd = file_with(path, driver);
    int32_t wanted = cpu_latency_wanted_us(path);
    close(fd);
    unlink(path);
    return wanted;
}

Test(cpu_latency, no_halt_in_a_virtual_machine_alone)
{
    cr_assert_eq(wanted_with("haltpoll\n"), 0);
    cr_assert_eq(wanted_with("intel_idle\n"), 2);
    cr_assert_eq(wanted_with("none\n"), 2);
    cr_assert_eq(wanted_with("haltpolls of a name that is longer than any that there is\n"), 2);
    cr_assert_eq(wanted_with(""), 2);
    cr_assert_eq(cpu_latency_wanted_us("/nowhere/at/all"), 2);
}

Test(cpu_latency, asks_with_a_number_of_four_bytes)
{
    char path[64];
    int32_t asked = -1;
    int fd = file_with(path, ""), held = -1;
    cr_assert_eq(cpu_latency_ask(path, 2, &held), 0);
    cr_assert_eq(pread(fd, &asked, sizeof asked, 0), (ssize_t)sizeof asked);
    cr_assert_eq(asked, 2);
    cr_assert(fcntl(held, F_GETFD) & FD_CLOEXEC, "a program that is started does not ask, too");
    close(held);
    close(fd);
    unlink(path);
}

Test(cpu_latency, says_why_it_cannot)
{
    int held = -1;
    cr_assert_eq(cpu_latency_ask("/nowhere/at/all", 0, &held), ENOENT);
    cr_assert_eq(cpu_latency_ask("/dev/full", 0, &held), ENOSPC);
    cr_assert_eq(held, -1);
}

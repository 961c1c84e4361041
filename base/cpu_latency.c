#include "base/cpu_latency.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { HALTS_US = 2 };

/* Linux, drivers/cpuidle/cpuidle-haltpoll.c; its governor takes 0 alone for a wish not to halt. */
static const char virtual_driver[] = "haltpoll";

int32_t cpu_latency_wanted_us(const char *driver)
{
    char name[32] = {0};
    int fd = open(driver, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return HALTS_US;
    ssize_t bytes = read(fd, name, sizeof name - 1);
    close(fd);
    if (bytes > 0)
        name[strcspn(name, "\n")] = '\0';
    return bytes > 0 && strcmp(name, virtual_driver) == 0 ? 0 : HALTS_US;
}

int cpu_latency_ask(const char *device, int32_t latency_us, int *ret_fd)
{
    int fd = open(device, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    ssize_t written = write(fd, &latency_us, sizeof latency_us);
    if (written != (ssize_t)sizeof latency_us) {
        int failed = written < 0 ? errno : EIO;
        close(fd);
        return failed;
    }
    *ret_fd = fd;
    return 0;
}

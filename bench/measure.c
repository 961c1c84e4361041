#include "bench/measure.h"

#include "conclave.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Beyond these the generator is taken for a bottleneck of its own. */
static const double BUSY_SHARE = 0.9;
enum { LAG_SEEN_NS = 200000, LAG_PART = 4 };

uint64_t measure_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t measure_thread_cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

bool measure_wait_read(int fd, uint64_t *ret_ns)
{
    char line[128], *end;
    ssize_t bytes = pread(fd, line, sizeof line - 1, 0);
    if (bytes <= 0)
        return false;
    line[bytes] = '\0';
    strtoull(line, &end, 10); /* the time for which it ran */
    *ret_ns = strtoull(end, NULL, 10);
    return true;
}

uint64_t measure_thread_wait_ns(void)
{
    uint64_t waited_ns = 0;
    int fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    (void)measure_wait_read(fd, &waited_ns); /* not known: 0 */
    close(fd);
    return waited_ns;
}

bool measure_init(struct measure *measure)
{
    memset(measure, 0, sizeof *measure);
    measure->series = series_create(measure_now_ns());
    if (!measure->series)
        measure_fail(measure, CONCLAVE_NO_MEMORY, "out of memory");
    return measure->series;
}

void measure_deinit(struct measure *measure)
{
    series_destroy(measure->series);
    stages_deinit(&measure->stages);
    measure->series = NULL;
}

void measure_fail(struct measure *measure, int code, const char *format, ...)
{
    if (measure->code != CONCLAVE_OK)
        return;
    measure->code = code;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(measure->message, sizeof measure->message, format, arguments);
    va_end(arguments);
}

void measure_mark(struct measure *measure, uint64_t at_ns, const char *text)
{
    if (measure->mark_count == MEASURE_MARKS_MAX)
        return;
    struct mark *mark = &measure->marks[measure->mark_count++];
    mark->at_ns = at_ns;
    snprintf(mark->text, sizeof mark->text, "%s", text);
}

bool measure_overloaded(const struct measure *measure, bool open_loop, char *why, size_t size)
{
    const struct generator_health *health = &measure->health;
    if (health->cpu_share + health->wait_share >= BUSY_SHARE) {
        snprintf(
            why, size,
            "the load generator computed %.0f %% of the time and waited %.0f %% for a processor",
            health->cpu_share * 100, health->wait_share * 100);
        return true;
    }
    uint64_t p99_ns = histogram_quantile(measure->series->total, 0.99);
    if (open_loop && health->lag_p99_ns > LAG_SEEN_NS && health->lag_p99_ns > p99_ns / LAG_PART) {
        snprintf(why, size, "the load generator itself began 1 %% of the operations %.1f ms late",
                 (double)health->lag_p99_ns / 1e6);
        return true;
    }
    return false;
}

double measure_rate(const struct measure *measure)
{
    return measure->elapsed_ns ? (double)measure->done * 1e9 / (double)measure->elapsed_ns : 0;
}

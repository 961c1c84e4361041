#include "bench/live.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

void live_init(struct live *live, bool wanted)
{
    live->terminal = isatty(STDERR_FILENO);
    live->on = live->terminal || wanted;
}

void live_title(struct live *live, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(live->title, sizeof live->title, format, arguments);
    va_end(arguments);
    live->shown = 0;
    if (live->terminal)
        fprintf(stderr, "\r\033[K%s", live->title);
}

void live_tick(struct live *live, struct measure *measure, uint64_t elapsed_ns)
{
    struct second second;
    size_t now = (size_t)(elapsed_ns / 1000000000u);
    /* A moment after its end, when the generators have handed it in. */
    if (!live->on || now <= live->shown || elapsed_ns % 1000000000u < 150000000u)
        return;
    live->shown = now;
    if (!series_second(measure->series, now - 1, &second))
        second = (struct second){0};
    fprintf(stderr, "%s%s  %zu s  %llu ops/s  p50 %.0f us  p99 %.0f us, slowest client %.0f us%s",
            live->terminal ? "\r\033[K" : "", live->title, now, (unsigned long long)second.done,
            (double)second.p50_ns / 1e3, (double)second.p99_ns / 1e3,
            (double)second.slowest_ns / 1e3, live->terminal ? "" : "\n");
}

void live_clear(struct live *live)
{
    if (live->terminal)
        fputs("\r\033[K", stderr);
}

#include "bench/usage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LOOK_NS = 100000000 };

/* The process's own clock, which counts in nanoseconds where /proc counts in hundredths. */
static bool read_cpu(pid_t pid, uint64_t *ret_ns)
{
    clockid_t clock;
    struct timespec used;
    if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &used))
        return false;
    *ret_ns = (uint64_t)used.tv_sec * UINT64_C(1000000000) + (uint64_t)used.tv_nsec;
    return true;
}

static bool read_resident(pid_t pid, uint64_t *ret_bytes)
{
    char path[64], line[128], *end;
    snprintf(path, sizeof path, "/proc/%ld/statm", (long)pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    bool good = fgets(line, sizeof line, file);
    fclose(file);
    if (!good)
        return false;
    strtoull(line, &end, 10);
    *ret_bytes = strtoull(end, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
    return true;
}

bool usage_read(pid_t pid, uint64_t *ret_cpu_ns, uint64_t *ret_resident_bytes)
{
    return read_cpu(pid, ret_cpu_ns) && read_resident(pid, ret_resident_bytes);
}

static double share_of(const struct usage_sample *first, const struct usage_sample *last)
{
    uint64_t time_ns = last->at_ns - first->at_ns;
    return time_ns ? (double)(last->cpu_ns - first->cpu_ns) / (double)time_ns : 0;
}

static void look_at_node(struct usage *usage, unsigned node, pid_t pid, struct measure *measure,
                         uint64_t elapsed_ns)
{
    struct usage_sample now = {.at_ns = elapsed_ns};
    struct node_usage *of = &measure->nodes[node];
    if (pid <= 0 || !usage_read(pid, &now.cpu_ns, &of->resident_bytes))
        return;
    if (usage->pids[node] != pid)
        usage->first[node] = now;
    usage->pids[node] = pid;
    usage->last[node] = now;
    of->cpu_share = share_of(&usage->first[node], &usage->last[node]);
}

void usage_tick(struct usage *usage, const pid_t *pids, unsigned count, struct measure *measure,
                uint64_t elapsed_ns)
{
    if (usage->looked_ns > 0 && elapsed_ns < usage->looked_ns + LOOK_NS)
        return;
    struct usage_sample own = {.at_ns = elapsed_ns};
    if (read_cpu(getpid(), &own.cpu_ns)) {
        if (usage->looked_ns == 0)
            usage->own_first = own;
        usage->own_last = own;
        measure->health.process_share = share_of(&usage->own_first, &usage->own_last);
    }
    usage->looked_ns = elapsed_ns ? elapsed_ns : 1;
    measure->node_count = count;
    for (unsigned i = 0; i < count; i++)
        look_at_node(usage, i, pids[i], measure, elapsed_ns);
}

#include "bench/environment.h"

#include "bench/histogram.h"
#include "bench/measure.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

enum { SYNC_BYTES = 4096, SYNC_BLOCKS = 64, SYNC_ROUNDS = 256 };

/* Numbers of statfs(2). */
static const struct {
    unsigned long magic;
    const char *name;
} file_systems[] = {{0xEF53, "ext4"},      {0x58465342, "xfs"},       {0x9123683E, "btrfs"},
                    {0x01021994, "tmpfs"}, {0x794C7630, "overlayfs"}, {0x2FC12FC1, "zfs"},
                    {0xF2F52010, "f2fs"},  {0x6969, "nfs"},           {0x65735546, "fuse"},
                    {0x858458F6, "ramfs"}, {0x01021997, "9p"}};

/* The value of the first line "name : value" of a file under /proc. */
static void proc_line(const char *path, const char *name, char *value, size_t size)
{
    char line[512];
    FILE *file = fopen(path, "re");
    value[0] = '\0';
    while (file && fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (!colon || strncmp(line, name, strlen(name)) != 0)
            continue;
        colon += 1 + strspn(colon + 1, " \t");
        colon[strcspn(colon, "\n")] = '\0';
        snprintf(value, size, "%s", colon);
        break;
    }
    if (file)
        fclose(file);
}

static void name_file_system(struct environment *environment, const char *dir)
{
    struct statfs status;
    snprintf(environment->dir, sizeof environment->dir, "%s", dir);
    if (statfs(dir, &status) != 0)
        return;
    unsigned long magic = (unsigned long)status.f_type;
    snprintf(environment->file_system, sizeof environment->file_system, "0x%lx", magic);
    for (size_t i = 0; i < sizeof file_systems / sizeof file_systems[0]; i++)
        if (file_systems[i].magic == magic)
            snprintf(environment->file_system, sizeof environment->file_system, "%s",
                     file_systems[i].name);
}

/* Writes over blocks that are there, as a log does that fills its segments before: what is synced
 * is data alone. */
static bool sync_rounds(int fd, struct histogram *times)
{
    char block[SYNC_BYTES];
    memset(block, 'b', sizeof block);
    for (int i = 0; i < SYNC_BLOCKS; i++)
        if (write(fd, block, sizeof block) != (ssize_t)sizeof block)
            return false;
    if (fsync(fd) != 0)
        return false;
    for (int i = 0; i < SYNC_ROUNDS; i++) {
        uint64_t before_ns = measure_now_ns();
        block[0] = (char)i;
        if (pwrite(fd, block, sizeof block, (off_t)(i % SYNC_BLOCKS) * SYNC_BYTES) !=
                (ssize_t)sizeof block ||
            fdatasync(fd) != 0)
            return false;
        histogram_record(times, measure_now_ns() - before_ns);
    }
    return true;
}

static void measure_sync(struct environment *environment, const char *dir)
{
    char path[PATH_MAX];
    int length = snprintf(path, sizeof path, "%s/conclave-bench-sync-XXXXXX", dir);
    if (length < 0 || (size_t)length >= sizeof path)
        return;
    int fd = mkostemp(path, O_CLOEXEC);
    struct histogram *times = histogram_create();
    if (fd >= 0 && times && sync_rounds(fd, times)) {
        environment->sync_known = true;
        environment->sync_p50_ns = histogram_quantile(times, 0.5);
        environment->sync_p99_ns = histogram_quantile(times, 0.99);
    }
    histogram_destroy(times);
    if (fd >= 0) {
        close(fd);
        unlink(path);
    }
}

void environment_look(struct environment *environment, const char *dir)
{
    struct utsname name;
    char memory[64];
    memset(environment, 0, sizeof *environment);
    if (uname(&name) == 0)
        snprintf(environment->kernel, sizeof environment->kernel, "%s %s %s", name.sysname,
                 name.release, name.machine);
    proc_line("/proc/cpuinfo", "model name", environment->cpu, sizeof environment->cpu);
    proc_line("/proc/meminfo", "MemTotal", memory, sizeof memory);
    environment->memory_bytes = strtoull(memory, NULL, 10) * 1024;
    environment->cores = sysconf(_SC_NPROCESSORS_ONLN);
    environment->keeps_awake = access("/dev/cpu_dma_latency", W_OK) == 0;
    double loads[1];
    if (getloadavg(loads, 1) == 1)
        environment->load_average = loads[0];
    struct tm utc;
    time_t now = time(NULL);
    if (gmtime_r(&now, &utc))
        strftime(environment->started, sizeof environment->started, "%Y-%m-%dT%H:%M:%SZ", &utc);
    name_file_system(environment, dir);
    measure_sync(environment, dir);
}

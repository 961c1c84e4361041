#include "machine/tables_owner.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char OWNER_FILE[] = "owner";
static const char OWNER_TEMPORARY[] = "owner.new";

enum { FILE_MODE = 0600 };

/* On disk, little-endian. */
struct record {
    uint8_t magic[8];
    uint64_t cluster_id;
    uint64_t node_id;
    uint8_t boot_id[16];
    uint64_t clean;
};
_Static_assert(sizeof(struct record) == 48, "no padding");
static const uint8_t OWNER_MAGIC[8] = "CNCLKV\0\1";

bool tables_owner_trusts(const struct tables_owner *owner)
{
    int fd = openat(owner->dir_fd, OWNER_FILE, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    struct record record;
    ssize_t got = read(fd, &record, sizeof record);
    close(fd);
    if (got != (ssize_t)sizeof record ||
        memcmp(record.magic, OWNER_MAGIC, sizeof record.magic) != 0)
        return false;
    if (le64toh(record.cluster_id) != owner->cluster_id ||
        le64toh(record.node_id) != owner->node_id)
        return false;

    static const uint8_t unknown_boot[16];
    bool same_boot = memcmp(record.boot_id, owner->boot_id, sizeof record.boot_id) == 0 &&
                     memcmp(record.boot_id, unknown_boot, sizeof unknown_boot) != 0;
    return same_boot || le64toh(record.clean) == 1;
}

int tables_owner_write(const struct tables_owner *owner, bool clean)
{
    struct record record = {
        .cluster_id = htole64(owner->cluster_id),
        .node_id = htole64(owner->node_id),
        .clean = htole64(clean),
    };
    memcpy(record.magic, OWNER_MAGIC, sizeof record.magic);
    memcpy(record.boot_id, owner->boot_id, sizeof record.boot_id);

    int fd =
        openat(owner->dir_fd, OWNER_TEMPORARY, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, FILE_MODE);
    if (fd < 0)
        return errno;
    int failed = 0;
    ssize_t put = write(fd, &record, sizeof record);
    if (put != (ssize_t)sizeof record)
        failed = put < 0 ? errno : ENOSPC;
    else if (fsync(fd))
        failed = errno;
    close(fd);
    if (!failed && renameat(owner->dir_fd, OWNER_TEMPORARY, owner->dir_fd, OWNER_FILE))
        failed = errno;
    if (!failed && fsync(owner->dir_fd))
        failed = errno;
    return failed;
}

int tables_owner_remove(const struct tables_owner *owner)
{
    const char *const files[] = {OWNER_FILE, OWNER_TEMPORARY};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (unlinkat(owner->dir_fd, files[i], 0) && errno != ENOENT)
            return errno;
    return 0;
}

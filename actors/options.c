/* A node's options: defaults, and setting them by the names of the command line. */
#include "base/error.h"
#include "conclave.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    ELECTION_TIMEOUT_MS = 500,
    HEARTBEAT_MS = 100,
    PRIORITY_MAX = 100,
    INFLIGHT_BYTES = 64 << 20, /* 64 commands of the largest size, or 250,000 small ones */
    SEGMENT_BYTES = 16 << 20,
    SNAPSHOT_BYTES = 256 << 20,   /* what a start applies again at most: a second or two */
    SNAPSHOT_ENTRIES = 4000000,   /* of the smallest: with what each costs as much as the bytes */
    LOG_MEMORY_BYTES = 16 << 20,  /* half a second of a busy cluster */
    DISK_RESERVE_BYTES = 64 << 20 /* a segment, a small snapshot, and what is on its way */
};

void conclave_options_init(struct conclave_options *options)
{
    memset(options, 0, sizeof *options);
    options->size = sizeof *options;
    options->election_timeout_ms = ELECTION_TIMEOUT_MS;
    options->heartbeat_ms = HEARTBEAT_MS;
    options->priority = PRIORITY_MAX;
    options->inflight_bytes_max = INFLIGHT_BYTES;
    options->segment_bytes = SEGMENT_BYTES;
    options->snapshot_bytes = SNAPSHOT_BYTES;
    options->snapshot_entries = SNAPSHOT_ENTRIES;
    options->log_memory_bytes = LOG_MEMORY_BYTES;
    options->disk_reserve_bytes = DISK_RESERVE_BYTES;
    options->log_level = CONCLAVE_LOG_INFO;
}

struct unit {
    const char *suffix;
    uint64_t factor;
};

/* "250ms" -> 250 with the factor of its unit; false if it is not a number with one of the units. */
static bool parse_with_unit(const char *text, const struct unit *units, uint64_t *ret)
{
    if (*text < '0' || *text > '9')
        return false;
    char *end;
    errno = 0;
    uint64_t number = strtoumax(text, &end, 10);
    if (errno)
        return false;
    for (; units->suffix; units++) {
        if (strcmp(end, units->suffix) != 0)
            continue;
        if (number > UINT64_MAX / units->factor)
            return false;
        *ret = number * units->factor;
        return true;
    }
    return false;
}

static bool parse_duration_ms(const char *text, uint32_t *ret)
{
    static const struct unit units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {NULL, 0}};
    uint64_t ms;
    if (!parse_with_unit(text, units, &ms) || ms > UINT32_MAX)
        return false;
    *ret = (uint32_t)ms;
    return true;
}

static bool parse_bytes(const char *text, uint64_t *ret)
{
    static const struct unit units[] = {{"", 1},
                                        {"B", 1},
                                        {"KiB", UINT64_C(1) << 10},
                                        {"MiB", UINT64_C(1) << 20},
                                        {"GiB", UINT64_C(1) << 30},
                                        {NULL, 0}};
    return parse_with_unit(text, units, ret);
}

static bool parse_bool(const char *text, bool *ret)
{
    bool yes = strcmp(text, "true") == 0;
    if (!yes && strcmp(text, "false") != 0)
        return false;
    *ret = yes;
    return true;
}

static bool parse_number(const char *text, uint64_t *ret)
{
    static const struct unit units[] = {{"", 1}, {NULL, 0}};
    return parse_with_unit(text, units, ret);
}

static bool parse_priority(const char *text, uint32_t *ret)
{
    uint64_t number;
    if (!parse_number(text, &number) || number > PRIORITY_MAX)
        return false;
    *ret = (uint32_t)number;
    return true;
}

static bool parse_level(const char *text, enum conclave_log_level *ret)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(text, names[i]) == 0) {
            *ret = (enum conclave_log_level)i;
            return true;
        }
    }
    return false;
}

int conclave_options_set(struct conclave_options *options, const char *name, const char *value,
                         struct conclave_error *error)
{
    bool good;
    const char *wanted;
    if (strcmp(name, "election-timeout") == 0) {
        good = parse_duration_ms(value, &options->election_timeout_ms);
        wanted = "a duration such as 500ms or 2s";
    } else if (strcmp(name, "heartbeat") == 0) {
        good = parse_duration_ms(value, &options->heartbeat_ms);
        wanted = "a duration such as 100ms";
    } else if (strcmp(name, "segment-size") == 0) {
        good = parse_bytes(value, &options->segment_bytes);
        wanted = "a size such as 16MiB";
    } else if (strcmp(name, "inflight-max") == 0) {
        good = parse_bytes(value, &options->inflight_bytes_max);
        wanted = "a size such as 64MiB";
    } else if (strcmp(name, "snapshot-bytes") == 0) {
        good = parse_bytes(value, &options->snapshot_bytes);
        wanted = "a size such as 64MiB";
    } else if (strcmp(name, "log-memory") == 0) {
        good = parse_bytes(value, &options->log_memory_bytes);
        wanted = "a size such as 16MiB";
    } else if (strcmp(name, "disk-reserve") == 0) {
        good = parse_bytes(value, &options->disk_reserve_bytes);
        wanted = "a size such as 64MiB";
    } else if (strcmp(name, "snapshot-entries") == 0) {
        good = parse_number(value, &options->snapshot_entries);
        wanted = "a number of entries such as 1000000";
    } else if (strcmp(name, "log-level") == 0) {
        good = parse_level(value, &options->log_level);
        wanted = "debug, info, warn or error";
    } else if (strcmp(name, "seed") == 0) {
        good = parse_number(value, &options->seed);
        wanted = "a number";
    } else if (strcmp(name, "priority") == 0) {
        good = parse_priority(value, &options->priority);
        wanted = "a number from 0 to 100";
    } else if (strcmp(name, "leases") == 0) {
        good = parse_bool(value, &options->leases);
        wanted = "true or false";
    } else if (strcmp(name, "keep-awake") == 0) {
        good = parse_bool(value, &options->keep_awake);
        wanted = "true or false";
    } else if (strcmp(name, "expose-plaintext") == 0) {
        good = parse_bool(value, &options->expose_plaintext);
        wanted = "true or false";
    } else {
        return error_set(error, CONCLAVE_INVALID, "there is no option \"%s\"", name);
    }
    if (!good)
        return error_set(error, CONCLAVE_INVALID, "%s: \"%s\" is not %s", name, value, wanted);
    return CONCLAVE_OK;
}

#include "bench/faults.h"

#include "bench/number.h"

#include <string.h>

#define AT_MAX_MS UINT64_C(86400000)

static const char *const names[] = {"kill-leader", "kill-follower", "restart"};

const char *fault_name(enum fault_kind kind)
{
    return names[kind];
}

bool faults_add(struct faults *faults, const char *text)
{
    const char *at = strchr(text, '@');
    struct fault fault = {0};
    if (!at || faults->count == FAULTS_MAX || !number_ms(at + 1, 0, AT_MAX_MS, &fault.at_ms))
        return false;
    size_t kind = 0, kinds = sizeof names / sizeof names[0];
    size_t bytes = (size_t)(at - text);
    while (kind < kinds && !(strlen(names[kind]) == bytes && memcmp(names[kind], text, bytes) == 0))
        kind++;
    if (kind == kinds)
        return false;
    fault.kind = (enum fault_kind)kind;
    size_t place = faults->count;
    while (place > 0 && faults->list[place - 1].at_ms > fault.at_ms) {
        faults->list[place] = faults->list[place - 1];
        place--;
    }
    faults->list[place] = fault;
    faults->count++;
    return true;
}

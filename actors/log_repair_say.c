/* What a person is told of a repair. */
#include "actors/log_repair_internal.h"

#include <stdio.h>

enum { COMPLAIN_US = 10000000 }; /* one line in this time */

void log_repair_describe(const struct log_asking *asking, const struct wal_want *want,
                         bool snapshot_only, char *text, size_t size)
{
    static const char *const words[] = {"does not answer", "has it", "does not have it",
                                        "has compacted it", "is damaged there too"};
    int used;
    if (snapshot_only)
        used = snprintf(text, size,
                        "the log begins behind entry %llu and no snapshot here that is whole "
                        "reaches it:",
                        (unsigned long long)want->last);
    else if (want->last == want->prev.index)
        used = snprintf(text, size,
                        "which entry stood at %llu is not known here (segment %016llx.wal, offset "
                        "%llu), %llu are missing in all:",
                        (unsigned long long)want->last, (unsigned long long)want->sequence,
                        (unsigned long long)want->offset,
                        (unsigned long long)wal_repair_missing(asking->repair));
    else
        used = snprintf(text, size,
                        "entries %llu to %llu of the log are damaged (segment %016llx.wal, offset "
                        "%llu), %llu are missing in all:",
                        (unsigned long long)want->prev.index + 1, (unsigned long long)want->last,
                        (unsigned long long)want->sequence, (unsigned long long)want->offset,
                        (unsigned long long)wal_repair_missing(asking->repair));
    for (uint32_t i = 0; i < asking->members->member_count; i++) {
        if (used < 0 || (size_t)used >= size)
            return;
        const char *name = asking->members->members[i].name;
        if (i == asking->helper)
            used +=
                snprintf(text + used, size - (size_t)used, " %s is asked for a snapshot;", name);
        else if (log_repair_is_other(asking, i) && !snapshot_only)
            used +=
                snprintf(text + used, size - (size_t)used, " %s %s;", name, words[asking->said[i]]);
    }
}

void log_repair_tell(const struct log_asking *asking, const char *text)
{
    struct envelope *state = envelope_create(ENVELOPE_REPAIR_STATE);
    snprintf(state->repair_state, sizeof state->repair_state, "%s", text);
    actor_send(asking->actor, ACTOR_NETWORK, &state);
}

void log_repair_complain(struct log_asking *asking, const char *text, uint64_t now_us)
{
    if (now_us < asking->complain_us)
        return;
    asking->complain_us = now_us + COMPLAIN_US;
    log_event(&asking->actor->node->logger, CONCLAVE_LOG_WARN, "log-writer", "repair_waits",
              "reason=\"%s\"", text);
}

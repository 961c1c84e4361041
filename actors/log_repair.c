#include "actors/log_repair_internal.h"

#include "base/clock.h"
#include "base/fatal.h"

#include <stdio.h>

enum {
    ROOM_AGAIN_US = 300000, /* without room to write what came it is tried again */
    ROOM_PAUSES = 4         /* and so much longer than a try takes */
};

/* Says now and then that it waits, and for what. CORRUPT: all others have said no, and that they
 * lack what was written behind the damage does not mean that they lack what is lost: that was
 * tried. */
static int judge(struct log_asking *asking, const struct wal_want *want, bool snapshot_only,
                 uint64_t now_us, struct conclave_error *error)
{
    char text[256];
    uint32_t absent = 0;
    for (uint32_t i = 0; i < asking->members->member_count; i++)
        absent += asking->said[i] == PEER_REPAIR_ABSENT ? 1 : 0;
    log_repair_describe(asking, want, snapshot_only, text, sizeof text);
    if (absent == log_repair_others(asking) &&
        (!asking->repair || wal_repair_is_tried(asking->repair)))
        return error_set(error, CONCLAVE_CORRUPT,
                         "%s nothing was changed, and the node stops. Remove it from the cluster "
                         "and add it again with an empty directory",
                         text);
    log_repair_complain(asking, text, now_us);
    return CONCLAVE_OK;
}

static void give(const struct log_asking *asking, const struct envelope *ask)
{
    const struct wal_supplier log = log_repair_log(asking);
    log_repair_give(asking->actor, ask, &log);
}

static int take(struct log_asking *asking, const struct envelope *envelope, bool *begun,
                struct conclave_error *error)
{
    uint64_t now_us = clock_now_us();
    switch (envelope->type) {
    case ENVELOPE_REPAIR: /* all other threads have started */
        *begun = true;
        log_repair_want_changed(asking, now_us);
        return CONCLAVE_OK;
    case ENVELOPE_REPAIR_ASK:
        give(asking, envelope);
        return CONCLAVE_OK;
    case ENVELOPE_REPAIR_ANSWER:
        return log_repair_take_answer(asking, envelope->repair.from, &envelope->repair.frame,
                                      now_us, error);
    case ENVELOPE_SNAPSHOT_RECEIVED: /* Rule 35: it is durable, so the log may do without */
        log_event(&asking->actor->node->logger, CONCLAVE_LOG_INFO, "log-writer",
                  "repair_by_snapshot", "index=%llu",
                  (unsigned long long)envelope->snapshot.last.index);
        if (envelope->snapshot.last.index > asking->snapshot.index)
            asking->snapshot = envelope->snapshot.last;
        if (asking->repair)
            wal_repair_cover(asking->repair, envelope->snapshot.last);
        log_repair_want_changed(asking, now_us);
        return CONCLAVE_OK;
    case ENVELOPE_STOP:
    case ENVELOPE_QUIT:
        return CONCLAVE_STOPPING;
    default:
        ASSERT(!"an envelope that is not for a log-writer that repairs");
        return CONCLAVE_INTERNAL;
    }
}

static int drain(struct log_asking *asking, bool *begun, struct conclave_error *error)
{
    int code = CONCLAVE_OK;
    for (struct envelope *envelope;
         !code && (envelope = inbox_receive(&asking->actor->inbox)) != NULL;) {
        code = take(asking, envelope, begun, error);
        envelope_destroy(envelope);
    }
    return code;
}

static int finish(struct log_asking *asking, struct conclave_error *error)
{
    const struct wal_repair *repair = asking->repair;
    log_repair_tell(asking, "all is here again and is being written");
    int code = repair ? wal_repair_write(asking->repair, error) : CONCLAVE_OK;
    if (!code)
        log_event(&asking->actor->node->logger, CONCLAVE_LOG_INFO, "log-writer", "repaired",
                  "places=%llu anew=%s",
                  repair ? (unsigned long long)wal_repair_holes(repair) : 0ULL,
                  repair && wal_repair_is_anew(repair) ? "yes" : "no");
    return code;
}

/* What there is no room for now is written later: the disk may be full only for a while, and what
 * came is worth keeping. To try takes as long as to read the log: most of the time is for others.
 */
static void wait_for_room(struct log_asking *asking, const struct conclave_error *error,
                          uint64_t tried_us)
{
    char text[256];
    const uint64_t now_us = clock_now_us(), took_us = now_us - tried_us;
    asking->room_us = now_us + ROOM_AGAIN_US + ROOM_PAUSES * took_us;
    (void)snprintf(text, sizeof text, "all is here again and waits for room to be written: %.190s",
                   error->message);
    log_repair_tell(asking, text);
    log_repair_complain(asking, text, now_us);
}

int log_repair_run(struct actor *actor, struct wal_repair *repair, struct conclave_error *error)
{
    const struct node_recovered *recovered = &actor->node->recovered;
    uint64_t now_us = clock_now_us();
    struct log_asking asking = {.actor = actor,
                                .repair = repair,
                                .snapshot = recovered->snapshot.last,
                                .members = &recovered->configuration,
                                .number = now_us << 10, /* of no life before */
                                .since_us = now_us,
                                .complain_us = now_us + LOG_REPAIR_AGAIN_US,
                                .helper = LOG_REPAIR_NOBODY};
    char text[256];
    bool begun = !repair, snapshot_only;
    if (repair)
        wal_repair_ask(repair, log_repair_others(&asking));
    for (;;) {
        now_us = clock_now_us();
        long wait_ms = -1;
        if (begun)
            wait_ms = asking.ask_us <= now_us ? 0 : (long)((asking.ask_us - now_us) / 1000) + 1;
        inbox_wait(&actor->inbox, wait_ms);
        int code = drain(&asking, &begun, error);
        if (code)
            return code;
        if (!begun)
            continue;
        struct wal_want want;
        now_us = clock_now_us();
        if (!log_repair_want(&asking, &want, &snapshot_only)) {
            if (now_us >= asking.room_us) {
                code = finish(&asking, error);
                if (code != CONCLAVE_NO_SPACE)
                    return code;
                wait_for_room(&asking, error, now_us);
            }
            asking.ask_us = asking.room_us;
            continue;
        }
        code = judge(&asking, &want, snapshot_only, now_us, error);
        if (code)
            return code;
        if (now_us < asking.ask_us)
            continue;
        log_repair_ask(&asking, now_us, &want, &snapshot_only);
        log_repair_describe(&asking, &want, snapshot_only, text, sizeof text);
        log_repair_tell(&asking, text);
    }
}

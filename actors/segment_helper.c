/* The log-writer's helper: prepares the next log segment (allocates and zeroes it, which is slow)
 * and removes those that are not needed any more, while the log-writer goes on writing. It also
 * watches the room on the disk: when there is too little for what may still have to be written, the
 * node takes no more commands (but for those that give space back) and had better not lead. And it
 * reads what is left in old segments for a node that repairs its log: nobody else removes them. */
#include "actors/log_repair.h"
#include "actors/repair_asks.h"
#include "actors/segment_removal.h"
#include "base/clock.h"
#include "base/fatal.h"

#include <stdlib.h>

enum { WATCH_MS = 1000 }; /* how often the free space is looked at */

struct segment_helper {
    bool no_segment;     /* the next segment found no room */
    bool full;           /* as raft and the network were told */
    uint64_t watched_us; /* when the free space was looked at last */
    struct segment_removal removal;
    struct repair_asks asks;
};

static int segments_start(struct actor *actor, struct conclave_error *error)
{
    (void)error;
    struct segment_helper *helper = mem_zalloc(sizeof *helper);
    actor->state = helper;
    return CONCLAVE_OK;
}

static void segments_stop(struct actor *actor)
{
    struct segment_helper *helper = actor->state;
    repair_asks_clear(&helper->asks);
    free(helper);
}

/* A full disk, or no descriptor, is not fatal here: the log goes on in the segment it has, and asks
 * again. */
static int prepare(struct actor *actor, struct conclave_error *error)
{
    struct segment_helper *helper = actor->state;
    int code = wal_prepare_segment(actor->node->wal, error);
    bool missed = code == CONCLAVE_NO_SPACE;
    if ((missed && !helper->no_segment) || code == CONCLAVE_NO_MEMORY)
        log_event(&actor->node->logger, CONCLAVE_LOG_WARN, actor->ops->name, "no_next_segment",
                  "reason=\"%s\"", error->message);
    helper->no_segment = missed;
    return missed || code == CONCLAVE_NO_MEMORY ? CONCLAVE_OK : code;
}

/* Where room is wanted nothing is kept for later segments. */
static int remove_range(struct actor *actor, struct wal_range range, struct conclave_error *error)
{
    const struct segment_helper *helper = actor->state;
    if (range.first >= range.end)
        return CONCLAVE_OK;
    int code = wal_remove(actor->node->wal, range, error);
    return code || !helper->full ? code : wal_drop_spares(actor->node->wal, error);
}

static int remove_all(struct actor *actor, struct conclave_error *error)
{
    struct segment_helper *helper = actor->state;
    return remove_range(actor, segment_removal_all(&helper->removal), error);
}

static int remove_one(struct actor *actor, struct conclave_error *error)
{
    struct segment_helper *helper = actor->state;
    return remove_range(actor, segment_removal_next(&helper->removal, clock_now_us()), error);
}

/* More are superfluous, and go at once where room is wanted. */
static int remove_later(struct actor *actor, struct wal_range range, struct conclave_error *error)
{
    struct segment_helper *helper = actor->state;
    int code = remove_range(actor, segment_removal_add(&helper->removal, range), error);
    return code || !helper->full ? code : remove_all(actor, error);
}

/* Less room than the reserve; once it was, an eighth more is needed, so that it does not come and
 * go with every file. */
static bool is_full(struct actor *actor)
{
    const struct segment_helper *helper = actor->state;
    uint64_t reserve = actor->node->options.disk_reserve_bytes, free_bytes;
    if (helper->no_segment || reserve == 0)
        return helper->no_segment;
    struct conclave_error error;
    if (io_posix_free_bytes(actor->node->options.data_dir, &free_bytes, &error)) {
        log_event(&actor->node->logger, CONCLAVE_LOG_WARN, actor->ops->name, "free_space_unknown",
                  "reason=\"%s\"", error.message);
        return helper->full;
    }
    return free_bytes < (helper->full ? reserve + reserve / 8 : reserve);
}

static int watch(struct actor *actor, struct conclave_error *error)
{
    struct segment_helper *helper = actor->state;
    bool full = is_full(actor);
    if (full && !helper->full) { /* what is kept for later goes first */
        int code = remove_all(actor, error);
        code = code ? code : wal_drop_spares(actor->node->wal, error);
        if (code)
            return code;
        full = is_full(actor);
    }
    if (full == helper->full)
        return CONCLAVE_OK;
    helper->full = full;
    log_event(&actor->node->logger, full ? CONCLAVE_LOG_ERROR : CONCLAVE_LOG_INFO, actor->ops->name,
              full ? "disk_full" : "disk_has_room", "reason=\"%s\"",
              full ? "there is too little room: nothing but reads and deletes is taken; free some "
                     "space"
                   : "everything is taken again");
    static const enum actor_id told[] = {ACTOR_RAFT, ACTOR_NETWORK};
    for (size_t i = 0; i < sizeof told / sizeof *told; i++) {
        struct envelope *space = envelope_create(ENVELOPE_SPACE);
        space->space.full = full;
        actor_send(actor, told[i], &space);
    }
    return CONCLAVE_OK;
}

/* What one node in repair asked for, so that the log-writer's next segment waits for no more than
 * that. True if there was one. */
static bool give_one(struct actor *actor)
{
    struct segment_helper *helper = actor->state;
    struct envelope *ask = repair_asks_take(&helper->asks);
    if (!ask)
        return false;
    log_repair_give_past(actor, ask);
    envelope_destroy(ask);
    return true;
}

/* --- The loop --------------------------------------------------------------------------------- */

/* Takes what has come. *ret_ended: to stop. *ret_any: something came. */
static int take_all(struct actor *actor, bool *ret_ended, bool *ret_any,
                    struct conclave_error *error)
{
    struct segment_helper *helper = actor->state;
    for (struct envelope *envelope; (envelope = inbox_receive(&actor->inbox));) {
        enum envelope_type type = envelope->type;
        int code = CONCLAVE_OK;
        *ret_any = true;
        if (type == ENVELOPE_REPAIR_ASK) {
            repair_asks_add(&helper->asks, envelope);
            continue;
        }
        if (type == ENVELOPE_PREPARE_SEGMENT)
            code = prepare(actor, error);
        else if (type == ENVELOPE_REMOVE_SEGMENTS)
            code = remove_later(actor, envelope->segments, error);
        else if (type == ENVELOPE_STOP)
            code = remove_all(actor, error);
        envelope_destroy(envelope);
        *ret_ended = type == ENVELOPE_STOP || type == ENVELOPE_QUIT;
        if (code || *ret_ended)
            return code;
    }
    return CONCLAVE_OK;
}

static int segments_run(struct actor *actor, struct conclave_error *error)
{
    struct segment_helper *helper = actor->state;
    bool more = false, ended = false;
    for (;;) {
        int rest_ms = segment_removal_waits(&helper->removal) ? SEGMENT_REMOVAL_MS : WATCH_MS;
        inbox_wait(&actor->inbox, more ? 0 : rest_ms);
        bool any = false;
        int code = take_all(actor, &ended, &any, error);
        if (code || ended)
            return code;
        code = remove_one(actor, error);
        if (code)
            return code;
        more = give_one(actor);
        uint64_t now_us = clock_now_us();
        if (!any && now_us - helper->watched_us < (uint64_t)WATCH_MS * 1000)
            continue; /* removals come twenty times a second */
        helper->watched_us = now_us;
        code = watch(actor, error);
        if (code)
            return code;
    }
}

const struct actor_ops segment_helper_ops = {
    .name = "segments", .start = segments_start, .run = segments_run, .stop = segments_stop};

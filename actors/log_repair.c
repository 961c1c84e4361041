#include "actors/log_repair.h"

#include "base/clock.h"
#include "base/fatal.h"

#include <stdio.h>
#include <string.h>

enum {
    ASK_AGAIN_US = 300000,  /* whoever has not answered by then is asked again, with all others */
    COMPLAIN_US = 10000000, /* one line in this time about who does not have it */
    SNAPSHOT_AFTER_US = 1000000, /* entries of another node are better than a snapshot */
    SNAPSHOT_TURN_US = 5000000,  /* one node at a time is asked for a snapshot; so long */
    ROOM_AGAIN_US = 300000,      /* without room to write what came it is tried again */
    ROOM_PAUSES = 4              /* and so much longer than a try takes */
};

static const uint32_t NOBODY = UINT32_MAX;

struct asking {
    struct actor *actor;
    struct wal_repair *repair; /* NULL: the log is open, a snapshot alone is missing */
    struct raft_id snapshot;   /* the newest here that is whole */
    const struct raft_configuration *members;
    uint64_t number;    /* of the present ask */
    raft_node_id giver; /* had the last entries: is asked first; 0: all are */
    uint64_t ask_us;    /* when to ask (again) */
    uint64_t since_us;  /* when the present want was first asked for */
    uint64_t room_us;   /* all is here, and there was no room for it: when to try again */
    uint64_t complain_us;
    enum peer_repair_result said[CONCLAVE_MEMBERS_MAX]; /* to the present want; 0: nothing */
    bool turn_due;                                      /* somebody could not help by this anchor */
    bool asked_all;    /* not the giver alone, but all that are to be asked: */
    uint32_t asked;    /* so many */
    uint32_t helpless; /* so many have answered, and were of no use */
    bool unheard;      /* the only one that was to be asked did not answer yet */
    uint32_t helper;   /* the member whose snapshot is asked for; NOBODY */
    uint64_t helper_until_us;
};

/* --- Asking ----------------------------------------------------------------------------------- */

static bool is_other(const struct asking *asking, uint32_t i)
{
    return asking->members->members[i].id != asking->actor->node->identity.node_id;
}

static uint32_t count_others(const struct asking *asking)
{
    uint32_t others = 0;
    for (uint32_t i = 0; i < asking->members->member_count; i++)
        others += is_other(asking, i) ? 1 : 0;
    return others;
}

/* What the log has by now: a repair proves more and more. A snapshot must reach its base. */
static struct wal_supplier log_of(const struct asking *asking)
{
    const struct node_recovered *recovered = &asking->actor->node->recovered;
    if (asking->repair)
        return wal_repair_log(asking->repair);
    return (struct wal_supplier){.log = &recovered->entries,
                                 .base = recovered->base,
                                 .no_past = true}; /* nothing is handed on from here */
}

/* What is asked for next. False: all is here. snapshot_only: no entries, but a snapshot that
 * reaches the log. */
static bool find_want(const struct asking *asking, struct wal_want *ret, bool *ret_snapshot_only)
{
    *ret_snapshot_only = false;
    if (asking->repair && wal_repair_want(asking->repair, ret))
        return true;
    const struct raft_id base = log_of(asking).base;
    *ret_snapshot_only = asking->snapshot.index < base.index;
    *ret = (struct wal_want){.prev = base, .last = base.index, .anchor = base};
    return *ret_snapshot_only;
}

/* Whose snapshot is asked for: of one that has the entries in a snapshot alone, or of anybody if no
 * entries are wanted. They take turns; who has begun to send goes on by itself. */
static void choose_helper(struct asking *asking, bool snapshot_only, uint64_t now_us)
{
    const uint32_t count = asking->members->member_count;
    uint32_t first = asking->helper == NOBODY ? 0 : asking->helper;
    if (asking->helper != NOBODY && now_us >= asking->helper_until_us)
        first++;
    asking->helper = NOBODY;
    if (!snapshot_only && now_us - asking->since_us < SNAPSHOT_AFTER_US)
        return;
    for (uint32_t i = 0; i < count && asking->helper == NOBODY; i++) {
        uint32_t at = (first + i) % count;
        if (!is_other(asking, at) || (!snapshot_only && asking->said[at] != PEER_REPAIR_COMPACTED))
            continue;
        asking->helper = at;
        if (i > 0 || now_us >= asking->helper_until_us)
            asking->helper_until_us = now_us + SNAPSHOT_TURN_US;
    }
}

static void ask(struct asking *asking, const struct wal_want *want, uint64_t now_us)
{
    const struct node *node = asking->actor->node;
    struct peer_repair frame = {
        .number = asking->number, .prev = want->prev, .last = want->last, .anchor = want->anchor};
    struct envelope *send = envelope_create(ENVELOPE_SEND);
    uint32_t others = 0;
    for (uint32_t i = 0; i < asking->members->member_count; i++) {
        raft_node_id id = asking->members->members[i].id;
        frame.snapshot = i == asking->helper && want->anchor.index > 0;
        others += is_other(asking, i) ? 1 : 0;
        if (is_other(asking, i) &&
            (want->giver ? others == want->giver : !asking->giver || asking->giver == id))
            outgoing_add(&send->send, id, peer_encode_repair_ask(&node->peer_identity, id, &frame));
    }
    actor_send(asking->actor, ACTOR_RAFT, &send);
    asking->asked = want->giver ? 1 : count_others(asking);
    asking->asked_all = want->giver || !asking->giver;
    asking->helpless = 0;
    asking->unheard = want->giver > 0;
    asking->giver = 0;
    asking->ask_us = now_us + ASK_AGAIN_US;
}

/* Something else is wanted now: what was said before does not count. */
static void want_changed(struct asking *asking, uint64_t now_us)
{
    asking->number++;
    asking->since_us = now_us;
    asking->ask_us = now_us;
    asking->turn_due = asking->unheard = false;
    memset(asking->said, 0, sizeof asking->said);
}

/* Nobody could give it by this anchor: the next one. What was said to the nearest stands. */
static void turn_anchor(struct asking *asking)
{
    if (!(asking->turn_due || asking->unheard) || !asking->repair)
        return;
    asking->turn_due = asking->unheard = false;
    wal_repair_turn(asking->repair);
    asking->number++;
}

/* What is missing, and what the others say, for a person. */
static void describe(const struct asking *asking, const struct wal_want *want, bool snapshot_only,
                     char *text, size_t size)
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
        else if (is_other(asking, i) && !snapshot_only)
            used +=
                snprintf(text + used, size - (size_t)used, " %s %s;", name, words[asking->said[i]]);
    }
}

static void tell_network(const struct asking *asking, const char *text)
{
    struct envelope *state = envelope_create(ENVELOPE_REPAIR_STATE);
    snprintf(state->repair_state, sizeof state->repair_state, "%s", text);
    actor_send(asking->actor, ACTOR_NETWORK, &state);
}

/* Says now and then that it waits, and for what. CORRUPT: all others have said no, and that they
 * lack what was written behind the damage does not mean that they lack what is lost: that was
 * tried. */
static int judge(struct asking *asking, const struct wal_want *want, bool snapshot_only,
                 uint64_t now_us, struct conclave_error *error)
{
    char text[256];
    uint32_t absent = 0;
    for (uint32_t i = 0; i < asking->members->member_count; i++)
        absent += asking->said[i] == PEER_REPAIR_ABSENT ? 1 : 0;
    describe(asking, want, snapshot_only, text, sizeof text);
    if (absent == count_others(asking) && (!asking->repair || wal_repair_is_tried(asking->repair)))
        return error_set(error, CONCLAVE_CORRUPT,
                         "%s nothing was changed, and the node stops. Remove it from the cluster "
                         "and add it again with an empty directory",
                         text);
    if (now_us < asking->complain_us)
        return CONCLAVE_OK;
    asking->complain_us = now_us + COMPLAIN_US;
    log_event(&asking->actor->node->logger, CONCLAVE_LOG_WARN, "log-writer", "repair_waits",
              "reason=\"%s\"", text);
    return CONCLAVE_OK;
}

/* --- Answers ---------------------------------------------------------------------------------- */

/* An answer was of no use. If it was that of the giver, others may have what comes next; when all
 * have answered so there is nothing to wait for, but once all was tried. */
static void note_helpless(struct asking *asking, enum peer_repair_result result, uint64_t now_us)
{
    asking->helpless++;
    if (!asking->asked_all) {
        asking->ask_us = now_us;
        return;
    }
    if (result != PEER_REPAIR_COMPACTED)
        asking->turn_due = true;
    if (asking->turn_due && asking->helpless == asking->asked &&
        !wal_repair_is_tried(asking->repair))
        asking->ask_us = now_us;
}

static int take_answer(struct asking *asking, raft_node_id from, const struct peer_repair *answer,
                       uint64_t now_us, struct conclave_error *error)
{
    enum peer_repair_result result = answer->result;
    if (answer->number != asking->number || !asking->repair)
        return CONCLAVE_OK;
    if (result == PEER_REPAIR_HERE) {
        struct wal_want before, after;
        if (!wal_repair_want(asking->repair, &before))
            return CONCLAVE_OK; /* it was asked for a snapshot */
        int code = wal_repair_take(asking->repair, answer->prev, &answer->entries, error);
        if (code == CONCLAVE_INVALID)
            log_event(&asking->actor->node->logger, CONCLAVE_LOG_WARN, "log-writer",
                      "repair_refused", "from=%llu reason=\"%s\"", (unsigned long long)from,
                      error->message);
        else if (code)
            return code;
        else if (!wal_repair_want(asking->repair, &after) ||
                 memcmp(&before, &after, sizeof before) != 0) {
            asking->giver = from;
            want_changed(asking, now_us);
            return CONCLAVE_OK;
        }
        result = PEER_REPAIR_LATER; /* it is of no use here */
    }
    note_helpless(asking, result, now_us);
    if (!wal_repair_is_nearest(asking->repair) && result != PEER_REPAIR_COMPACTED)
        return CONCLAVE_OK; /* to lack an anchor that is farther behind says little */
    for (uint32_t i = 0; i < asking->members->member_count; i++)
        if (asking->members->members[i].id == from)
            asking->said[i] = result;
    return CONCLAVE_OK;
}

/* --- The loop --------------------------------------------------------------------------------- */

static void give(const struct asking *asking, const struct envelope *ask)
{
    const struct wal_supplier log = log_of(asking);
    log_repair_give(asking->actor, ask, &log);
}

static int take(struct asking *asking, const struct envelope *envelope, bool *begun,
                struct conclave_error *error)
{
    uint64_t now_us = clock_now_us();
    switch (envelope->type) {
    case ENVELOPE_REPAIR: /* all other threads have started */
        *begun = true;
        want_changed(asking, now_us);
        return CONCLAVE_OK;
    case ENVELOPE_REPAIR_ASK:
        give(asking, envelope);
        return CONCLAVE_OK;
    case ENVELOPE_REPAIR_ANSWER:
        return take_answer(asking, envelope->repair.from, &envelope->repair.frame, now_us, error);
    case ENVELOPE_SNAPSHOT_RECEIVED: /* Rule 35: it is durable, so the log may do without */
        log_event(&asking->actor->node->logger, CONCLAVE_LOG_INFO, "log-writer",
                  "repair_by_snapshot", "index=%llu",
                  (unsigned long long)envelope->snapshot.last.index);
        if (envelope->snapshot.last.index > asking->snapshot.index)
            asking->snapshot = envelope->snapshot.last;
        if (asking->repair)
            wal_repair_cover(asking->repair, envelope->snapshot.last);
        want_changed(asking, now_us);
        return CONCLAVE_OK;
    case ENVELOPE_CUT: /* asked for again with the next snapshot */
        return CONCLAVE_OK;
    case ENVELOPE_STOP:
    case ENVELOPE_QUIT:
        return CONCLAVE_STOPPING;
    default:
        ASSERT(!"an envelope that is not for a log-writer that repairs");
        return CONCLAVE_INTERNAL;
    }
}

static int drain(struct asking *asking, bool *begun, struct conclave_error *error)
{
    int code = CONCLAVE_OK;
    for (struct envelope *envelope;
         !code && (envelope = inbox_receive(&asking->actor->inbox)) != NULL;) {
        code = take(asking, envelope, begun, error);
        envelope_destroy(envelope);
    }
    return code;
}

static int finish(struct asking *asking, struct conclave_error *error)
{
    const struct wal_repair *repair = asking->repair;
    tell_network(asking, "all is here again and is being written");
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
static void wait_for_room(struct asking *asking, const struct conclave_error *error,
                          uint64_t tried_us)
{
    char text[256];
    const uint64_t now_us = clock_now_us(), took_us = now_us - tried_us;
    asking->room_us = now_us + ROOM_AGAIN_US + ROOM_PAUSES * took_us;
    (void)snprintf(text, sizeof text, "all is here again and waits for room to be written: %.190s",
                   error->message);
    tell_network(asking, text);
    if (now_us < asking->complain_us)
        return;
    asking->complain_us = now_us + COMPLAIN_US;
    log_event(&asking->actor->node->logger, CONCLAVE_LOG_WARN, "log-writer", "repair_waits",
              "reason=\"%s\"", text);
}

int log_repair_run(struct actor *actor, struct wal_repair *repair, struct conclave_error *error)
{
    const struct node_recovered *recovered = &actor->node->recovered;
    uint64_t now_us = clock_now_us();
    struct asking asking = {.actor = actor,
                            .repair = repair,
                            .snapshot = recovered->snapshot.last,
                            .members = &recovered->configuration,
                            .number = now_us << 10, /* of no life before */
                            .since_us = now_us,
                            .complain_us = now_us + ASK_AGAIN_US,
                            .helper = NOBODY};
    char text[256];
    bool begun = !repair, snapshot_only;
    if (repair)
        wal_repair_ask(repair, count_others(&asking));
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
        if (!find_want(&asking, &want, &snapshot_only)) {
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
        turn_anchor(&asking);
        (void)find_want(&asking, &want, &snapshot_only);
        choose_helper(&asking, snapshot_only, now_us);
        describe(&asking, &want, snapshot_only, text, sizeof text);
        tell_network(&asking, text);
        ask(&asking, &want, now_us);
    }
}

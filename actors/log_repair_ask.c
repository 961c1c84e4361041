/* Who is asked for what, and what they answer. */
#include "actors/log_repair_internal.h"

#include <string.h>

enum {
    SNAPSHOT_AFTER_US = 1000000, /* entries of another node are better than a snapshot */
    SNAPSHOT_TURN_US = 5000000   /* one node at a time is asked for a snapshot; so long */
};

/* --- Asking ----------------------------------------------------------------------------------- */

bool log_repair_is_other(const struct log_asking *asking, uint32_t i)
{
    return asking->members->members[i].id != asking->actor->node->identity.node_id;
}

uint32_t log_repair_others(const struct log_asking *asking)
{
    uint32_t others = 0;
    for (uint32_t i = 0; i < asking->members->member_count; i++)
        others += log_repair_is_other(asking, i) ? 1 : 0;
    return others;
}

struct wal_supplier log_repair_log(const struct log_asking *asking)
{
    const struct node_recovered *recovered = &asking->actor->node->recovered;
    if (asking->repair)
        return wal_repair_log(asking->repair);
    return (struct wal_supplier){.log = &recovered->entries,
                                 .base = recovered->base,
                                 .no_past = true}; /* nothing is handed on from here */
}

bool log_repair_want(const struct log_asking *asking, struct wal_want *ret, bool *ret_snapshot_only)
{
    *ret_snapshot_only = false;
    if (asking->repair && wal_repair_want(asking->repair, ret))
        return true;
    const struct raft_id base = log_repair_log(asking).base;
    *ret_snapshot_only = asking->snapshot.index < base.index;
    *ret = (struct wal_want){.prev = base, .last = base.index, .anchor = base};
    return *ret_snapshot_only;
}

/* Whose snapshot is asked for: of one that has the entries in a snapshot alone, or of anybody if no
 * entries are wanted. They take turns; who has begun to send goes on by itself. */
static void choose_helper(struct log_asking *asking, bool snapshot_only, uint64_t now_us)
{
    const uint32_t count = asking->members->member_count;
    uint32_t first = asking->helper == LOG_REPAIR_NOBODY ? 0 : asking->helper;
    if (asking->helper != LOG_REPAIR_NOBODY && now_us >= asking->helper_until_us)
        first++;
    asking->helper = LOG_REPAIR_NOBODY;
    if (!snapshot_only && now_us - asking->since_us < SNAPSHOT_AFTER_US)
        return;
    for (uint32_t i = 0; i < count && asking->helper == LOG_REPAIR_NOBODY; i++) {
        uint32_t at = (first + i) % count;
        if (!log_repair_is_other(asking, at) ||
            (!snapshot_only && asking->said[at] != PEER_REPAIR_COMPACTED))
            continue;
        asking->helper = at;
        if (i > 0 || now_us >= asking->helper_until_us)
            asking->helper_until_us = now_us + SNAPSHOT_TURN_US;
    }
}

static void send_asks(struct log_asking *asking, const struct wal_want *want, uint64_t now_us)
{
    const struct node *node = asking->actor->node;
    struct peer_repair frame = {
        .number = asking->number, .prev = want->prev, .last = want->last, .anchor = want->anchor};
    struct envelope *send = envelope_create(ENVELOPE_SEND);
    uint32_t others = 0;
    for (uint32_t i = 0; i < asking->members->member_count; i++) {
        raft_node_id id = asking->members->members[i].id;
        frame.snapshot = i == asking->helper && want->anchor.index > 0;
        others += log_repair_is_other(asking, i) ? 1 : 0;
        if (log_repair_is_other(asking, i) &&
            (want->giver ? others == want->giver : !asking->giver || asking->giver == id))
            outgoing_add(&send->send, id, peer_encode_repair_ask(&node->peer_identity, id, &frame));
    }
    actor_send(asking->actor, ACTOR_RAFT, &send);
    asking->asked = want->giver ? 1 : log_repair_others(asking);
    asking->asked_all = want->giver || !asking->giver;
    asking->helpless = 0;
    asking->unheard = want->giver > 0;
    asking->giver = 0;
    asking->ask_us = now_us + LOG_REPAIR_AGAIN_US;
}

void log_repair_want_changed(struct log_asking *asking, uint64_t now_us)
{
    asking->number++;
    asking->since_us = now_us;
    asking->ask_us = now_us;
    asking->turn_due = asking->unheard = false;
    memset(asking->said, 0, sizeof asking->said);
}

/* Nobody could give it by this anchor: the next one. What was said to the nearest stands. */
static void turn_anchor(struct log_asking *asking)
{
    if (!(asking->turn_due || asking->unheard) || !asking->repair)
        return;
    asking->turn_due = asking->unheard = false;
    wal_repair_turn(asking->repair);
    asking->number++;
}

void log_repair_ask(struct log_asking *asking, uint64_t now_us, struct wal_want *ret,
                    bool *ret_snapshot_only)
{
    turn_anchor(asking);
    (void)log_repair_want(asking, ret, ret_snapshot_only);
    choose_helper(asking, *ret_snapshot_only, now_us);
    send_asks(asking, ret, now_us);
}

/* --- Answers ---------------------------------------------------------------------------------- */

/* An answer was of no use. If it was that of the giver, others may have what comes next; when all
 * have answered so there is nothing to wait for, but once all was tried. */
static void note_helpless(struct log_asking *asking, enum peer_repair_result result,
                          uint64_t now_us)
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

int log_repair_take_answer(struct log_asking *asking, raft_node_id from,
                           const struct peer_repair *answer, uint64_t now_us,
                           struct conclave_error *error)
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
            log_repair_want_changed(asking, now_us);
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

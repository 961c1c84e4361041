#include "actors/log_repair.h"

#include "base/clock.h"
#include "base/fatal.h"

#include <stdio.h>
#include <string.h>

_Static_assert((int)WAL_SUPPLY_HERE == PEER_REPAIR_HERE &&
                   (int)WAL_SUPPLY_ABSENT == PEER_REPAIR_ABSENT &&
                   (int)WAL_SUPPLY_COMPACTED == PEER_REPAIR_COMPACTED &&
                   (int)WAL_SUPPLY_LATER == PEER_REPAIR_LATER,
               "one goes over the wire as the other");

enum {
    ASK_AGAIN_US = 300000,  /* whoever has not answered by then is asked again, with all others */
    COMPLAIN_US = 10000000, /* one line in this time about who does not have it */
    SNAPSHOT_AFTER_US = 1000000 /* entries of another node are better than a snapshot */
};

struct asking {
    struct actor *actor;
    struct wal_repair *repair;
    const struct raft_configuration *members;
    uint64_t number;    /* of the present ask */
    raft_node_id giver; /* had the last entries: is asked first; 0: all are */
    uint64_t ask_us;    /* when to ask (again) */
    uint64_t since_us;  /* when the present want was first asked for */
    uint64_t complain_us;
    enum peer_repair_result said[CONCLAVE_MEMBERS_MAX]; /* to the present want; 0: nothing */
};

/* --- Asking ----------------------------------------------------------------------------------- */

static bool is_other(const struct asking *asking, uint32_t i)
{
    return asking->members->members[i].id != asking->actor->node->identity.node_id;
}

static void ask(struct asking *asking, const struct wal_want *want, uint64_t now_us)
{
    const struct node *node = asking->actor->node;
    const struct peer_repair frame = {.number = asking->number,
                                      .prev = want->prev,
                                      .last = want->last,
                                      .anchor = want->anchor,
                                      .snapshot = now_us - asking->since_us >= SNAPSHOT_AFTER_US};
    struct envelope *send = envelope_create(ENVELOPE_SEND);
    for (uint32_t i = 0; i < asking->members->member_count; i++) {
        raft_node_id id = asking->members->members[i].id;
        if (is_other(asking, i) && (!asking->giver || asking->giver == id))
            outgoing_add(&send->send, id, peer_encode_repair_ask(&node->peer_identity, id, &frame));
    }
    actor_send(asking->actor, ACTOR_NETWORK, &send);
    asking->giver = 0;
    asking->ask_us = now_us + ASK_AGAIN_US;
}

/* Something else is wanted now: what was said before does not count. */
static void want_changed(struct asking *asking, uint64_t now_us)
{
    asking->number++;
    asking->since_us = now_us;
    asking->ask_us = now_us;
    memset(asking->said, 0, sizeof asking->said);
}

/* What is missing, and what the others say, for a person. */
static void describe(const struct asking *asking, const struct wal_want *want, char *text,
                     size_t size)
{
    static const char *const words[] = {"does not answer", "has it", "does not have it",
                                        "has compacted it", "is damaged there too"};
    int used = snprintf(text, size,
                        "entries %llu to %llu of the log are damaged (segment %016llx.wal, offset "
                        "%llu), %llu are missing in all:",
                        (unsigned long long)want->prev.index + 1, (unsigned long long)want->last,
                        (unsigned long long)want->sequence, (unsigned long long)want->offset,
                        (unsigned long long)wal_repair_missing(asking->repair));
    for (uint32_t i = 0; i < asking->members->member_count; i++) {
        if (used < 0 || (size_t)used >= size)
            return;
        if (is_other(asking, i))
            used += snprintf(text + used, size - (size_t)used, " %s %s;",
                             asking->members->members[i].name, words[asking->said[i]]);
    }
}

static void tell_network(const struct asking *asking, const char *text)
{
    struct envelope *state = envelope_create(ENVELOPE_REPAIR_STATE);
    snprintf(state->repair_state, sizeof state->repair_state, "%s", text);
    actor_send(asking->actor, ACTOR_NETWORK, &state);
}

/* Says now and then that it waits, and for what. CORRUPT: all others have said no. */
static int judge(struct asking *asking, const struct wal_want *want, uint64_t now_us,
                 struct conclave_error *error)
{
    char text[256];
    uint32_t others = 0, absent = 0;
    for (uint32_t i = 0; i < asking->members->member_count; i++) {
        others += is_other(asking, i) ? 1 : 0;
        absent += asking->said[i] == PEER_REPAIR_ABSENT ? 1 : 0;
    }
    describe(asking, want, text, sizeof text);
    if (absent == others)
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

static int take_answer(struct asking *asking, raft_node_id from, const struct peer_repair *answer,
                       uint64_t now_us, struct conclave_error *error)
{
    if (answer->number != asking->number)
        return CONCLAVE_OK;
    if (answer->result == PEER_REPAIR_HERE) {
        struct wal_want before = {0}, after = {0};
        (void)wal_repair_want(asking->repair, &before);
        int code = wal_repair_take(asking->repair, answer->prev, &answer->entries, error);
        if (code)
            return code;
        if (!wal_repair_want(asking->repair, &after) ||
            memcmp(&before, &after, sizeof before) != 0) {
            asking->giver = from;
            want_changed(asking, now_us);
        }
        return CONCLAVE_OK;
    }
    for (uint32_t i = 0; i < asking->members->member_count; i++)
        if (asking->members->members[i].id == from)
            asking->said[i] = answer->result;
    return CONCLAVE_OK;
}

struct buf *log_repair_answer(const struct node *node, raft_node_id to,
                              const struct peer_repair *ask_frame, const struct raft_runs *log,
                              struct raft_id base, bool *ret_compacted)
{
    const struct wal_want want = {
        .prev = ask_frame->prev, .last = ask_frame->last, .anchor = ask_frame->anchor};
    struct peer_repair answer = {.number = ask_frame->number};
    enum wal_supply supply =
        wal_supply_from(log, base, &want, LOG_REPAIR_ANSWER_BYTES, &answer.prev, &answer.entries);
    answer.result = (enum peer_repair_result)supply;
    struct buf *frame = peer_encode_repair_answer(&node->peer_identity, to, &answer);
    raft_runs_clear(&answer.entries);
    *ret_compacted = supply == WAL_SUPPLY_COMPACTED;
    return frame;
}

static void give(const struct asking *asking, const struct envelope *envelope)
{
    struct raft_id base;
    bool compacted;
    const struct raft_runs *log = wal_repair_log(asking->repair, &base);
    struct envelope *send = envelope_create(ENVELOPE_SEND);
    outgoing_add(&send->send, envelope->repair.from,
                 log_repair_answer(asking->actor->node, envelope->repair.from,
                                   &envelope->repair.frame, log, base, &compacted));
    actor_send(asking->actor, ACTOR_NETWORK, &send);
}

/* --- The loop --------------------------------------------------------------------------------- */

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
    case ENVELOPE_SNAPSHOT_RECEIVED:
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
    tell_network(asking, "all is here again and is being written");
    int code = wal_repair_write(asking->repair, error);
    if (!code)
        log_event(&asking->actor->node->logger, CONCLAVE_LOG_INFO, "log-writer", "repaired",
                  "places=%llu", (unsigned long long)wal_repair_holes(asking->repair));
    return code;
}

int log_repair_run(struct actor *actor, struct wal_repair *repair, struct conclave_error *error)
{
    struct asking asking = {.actor = actor,
                            .repair = repair,
                            .members = &actor->node->recovered.configuration,
                            .number = clock_now_us() << 10, /* of no life before */
                            .complain_us = clock_now_us() + ASK_AGAIN_US};
    char text[256];
    bool begun = false;
    for (;;) {
        uint64_t now_us = clock_now_us();
        long wait_ms = -1;
        if (begun)
            wait_ms = asking.ask_us <= now_us ? 0 : (long)((asking.ask_us - now_us) / 1000) + 1;
        inbox_wait(&actor->inbox, wait_ms);
        int code = drain(&asking, &begun, error);
        if (code)
            return code;
        struct wal_want want;
        if (begun && !wal_repair_want(repair, &want))
            return finish(&asking, error);
        now_us = clock_now_us();
        if (!begun)
            continue;
        code = judge(&asking, &want, now_us, error);
        if (code)
            return code;
        if (now_us < asking.ask_us)
            continue;
        describe(&asking, &want, text, sizeof text);
        tell_network(&asking, text);
        ask(&asking, &want, now_us);
    }
}

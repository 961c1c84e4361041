/* What a node gives to one that repairs its log: from memory, or from its segments. */
#include "actors/log_repair.h"

#include "storage/wal_past.h"

_Static_assert((int)WAL_SUPPLY_HERE == PEER_REPAIR_HERE &&
                   (int)WAL_SUPPLY_ABSENT == PEER_REPAIR_ABSENT &&
                   (int)WAL_SUPPLY_COMPACTED == PEER_REPAIR_COMPACTED &&
                   (int)WAL_SUPPLY_LATER == PEER_REPAIR_LATER,
               "one goes over the wire as the other");

static struct wal_want want_of(const struct envelope *ask)
{
    const struct peer_repair *wanted = &ask->repair.frame;
    return (struct wal_want){.prev = wanted->prev, .last = wanted->last, .anchor = wanted->anchor};
}

/* An ask has no entries. */
static void hand_on(struct actor *actor, const struct envelope *ask, struct raft_id known,
                    enum actor_id to)
{
    struct envelope *copy = envelope_create(ENVELOPE_REPAIR_ASK);
    copy->repair.from = ask->repair.from;
    copy->repair.frame = ask->repair.frame;
    copy->repair.known = known;
    actor_send(actor, to, &copy);
}

/* Sends the answer, and ends it. */
static void answer_ask(struct actor *actor, const struct envelope *ask, struct peer_repair *answer)
{
    const raft_node_id to = ask->repair.from;
    answer->number = ask->repair.frame.number;
    struct envelope *send = envelope_create(ENVELOPE_SEND);
    outgoing_add(&send->send, to,
                 peer_encode_repair_answer(&actor->node->peer_identity, to, answer));
    raft_runs_clear(&answer->entries);
    actor_send(actor, ACTOR_RAFT, &send);
    if (ask->repair.frame.snapshot)
        hand_on(actor, ask, (struct raft_id){0}, ACTOR_SNAPSHOT);
}

static void supply(const struct wal_supplier *log, const struct wal_want *want,
                   struct peer_repair *ret)
{
    ret->result = (enum peer_repair_result)wal_supply_from(log, want, LOG_REPAIR_ANSWER_BYTES,
                                                           &ret->prev, &ret->entries);
}

void log_repair_give(struct actor *actor, const struct envelope *ask,
                     const struct wal_supplier *log)
{
    struct peer_repair answer = {0};
    const struct wal_want want = want_of(ask);
    supply(log, &want, &answer);
    answer_ask(actor, ask, &answer);
}

void log_repair_give_running(struct actor *actor, const struct envelope *ask,
                             const struct wal_supplier *log)
{
    struct peer_repair answer = {0};
    const struct wal_want want = want_of(ask);
    supply(log, &want, &answer);
    if (answer.result == PEER_REPAIR_COMPACTED)
        hand_on(actor, ask, log->base, ACTOR_SEGMENTS);
    else
        answer_ask(actor, ask, &answer);
}

void log_repair_give_past(struct actor *actor, const struct envelope *ask)
{
    const struct node *node = actor->node;
    const struct wal_past past = {.io = node->io,
                                  .dir = node->options.data_dir,
                                  .identity = &node->identity,
                                  .known = ask->repair.known};
    const struct wal_want want = want_of(ask);
    struct peer_repair answer = {0};
    struct conclave_error error = {0};
    enum wal_supply result = WAL_SUPPLY_COMPACTED;
    int code = wal_past_supply(&past, &want, LOG_REPAIR_ANSWER_BYTES, &result, &answer.prev,
                               &answer.entries, &error);
    if (code != CONCLAVE_OK && code != CONCLAVE_NOT_FOUND)
        log_event(&node->logger, CONCLAVE_LOG_WARN, actor->ops->name, "repair_unread",
                  "reason=\"%s\"", error.message);
    answer.result = (enum peer_repair_result)result;
    answer_ask(actor, ask, &answer);
}

/* What may be said only once the disk holds it. The core never waits: it puts such messages into
 * persist.send_after, and the log-writer releases them when the persist is durable. */
#include "raft/internal.h"

#include "base/fatal.h"

bool raft_hard_is_durable(const struct raft *raft)
{
    return !raft->hard_dirty && raft->hard_seq <= raft->persisted_seq;
}

void raft_reply(struct raft *raft, struct raft_message *message)
{
    /* Whatever is said in a term is said after the term is durable. Else a node that crashed could
     * come back with the old term and do what this message excluded. */
    struct raft_messages *messages =
        raft_hard_is_durable(raft) ? &raft->output->send_now : &raft->output->persist.send_after;
    raft_messages_add(messages, message);
}

static struct raft_message *accepted(const struct raft *raft, uint64_t match)
{
    struct raft_message *message =
        raft_message_create(RAFT_APPEND_RESPONSE, raft->options.id, raft->leader, raft->hard.term);
    message->append_response = (struct raft_append_response){
        .result = RAFT_APPEND_ACCEPTED,
        .match = match,
        .last_index = raft->log.last.index,
        .round = raft->ack_round,
        .priority = raft_own_priority(raft),
        .life = raft->life,
        .promise_us = raft_promise(raft),
    };
    return message;
}

void raft_acknowledge(struct raft *raft)
{
    if (raft->role != RAFT_FOLLOWER || raft->leader == 0)
        return;
    bool hard_durable = raft_hard_is_durable(raft);
    bool persists = raft->log.staged < raft->log.last.index; /* this step hands entries over */
    uint64_t durable = raft_min(raft->verified, raft->log.durable);

    if (!raft->ack_pending)
        return;
    raft->ack_pending = false;
    if (persists || !hard_durable) {
        /* Rule 4: rides with the entries. Persists complete in order, so when this one is durable
         * everything verified is. */
        raft_messages_add(&raft->output->persist.send_after, accepted(raft, raft->verified));
        /* A new confirmation round does not wait for the disk: it asks only whether this node still
         * follows, and the answer claims no more than what is durable. */
        if (!hard_durable || raft->ack_round <= raft->ack_round_sent)
            return;
    }
    /* An empty or repeated append, or a new round. Rule 4: claims only what is durable; for what is
     * verified and not durable yet an answer waits with its persist, given in this term, or the
     * term itself would not be durable. */
    raft_messages_add(&raft->output->send_now, accepted(raft, durable));
    raft->ack_round_sent = raft->ack_round;
}

void raft_persist_new(struct raft *raft)
{
    struct raft_persist *persist = &raft->output->persist;
    if (!raft->hard_dirty && raft->log.staged == raft->log.last.index &&
        persist->send_after.count == 0 && !raft->anew_pending)
        return;
    raft->anew_pending = false;
    persist->seq = ++raft->persist_seq;
    /* Rule 2: one unit, the term before its entries. Rule 1: term and vote are one record. */
    persist->hard_state = raft->hard;
    if (raft->hard_dirty) {
        persist->hard_state_changed = true;
        raft->hard_dirty = false;
        raft->hard_seq = persist->seq;
    }
    raft_log_stage(&raft->log, &persist->entries);
    persist->last = raft->log.last;
    raft_log_persist_add(&raft->log, persist->seq, raft->now_us);
}

void raft_on_persisted(struct raft *raft, uint64_t seq, struct raft_id last)
{
    ASSERT(seq > raft->persisted_seq && seq <= raft->persist_seq);
    raft->persisted_seq = seq;
    raft_log_persisted(&raft->log, seq, last);
    /* Rule 3: the own vote counts from now on. */
    raft_count_votes(raft);
}

#include "raft/internal.h"

#include "base/fatal.h"

#include <stdlib.h>

/* What leaves memory is freed so much a step, about 0.2 ms, or a part of what there
 * is, so that it has an end whatever comes meanwhile; and there is a step soon while there is. */
enum { FREED_ENTRIES = 8192, FREED_PART = 64, FREED_AGAIN_US = 10000 };

struct raft *raft_create(const struct raft_options *options)
{
    ASSERT(options->id != 0 && options->election_timeout_us > 0 && options->heartbeat_us > 0);
    ASSERT(options->priority <= RAFT_PRIORITY_MAX);
    ASSERT(options->append_entries_max > 0 && options->inflight_messages_max > 0);
    struct raft *raft = mem_zalloc(sizeof *raft);
    raft->options = *options;
    if (options->disk_stall_us == 0)
        raft->options.disk_stall_us = 2 * options->election_timeout_us;
    prng_init(&raft->prng, options->seed);
    return raft;
}

void raft_destroy(struct raft *raft)
{
    if (!raft)
        return;
    raft_log_deinit(&raft->log);
    raft_membership_deinit(raft);
    raft_ledger_deinit(&raft->apply_inflight);
    raft_ledger_deinit(&raft->uncommitted);
    free(raft->reads);
    free(raft->follower_reads.items);
    free(raft);
}

void raft_trace(struct raft *raft, enum raft_trace_type type, uint64_t a, uint64_t b)
{
    RAFT_LIST_ADD(&raft->output->trace, (struct raft_trace){.type = type, .a = a, .b = b});
}

int raft_refusal_code(const struct raft *raft)
{
    bool other = raft->leader != 0 && raft->leader != raft->options.id;
    return other ? CONCLAVE_NOT_LEADER : CONCLAVE_NO_LEADER;
}

/* --- Events -------------------------------------------------------------------------------------
 */

/* A message is only believed if it is for this node, from another one that was not removed, with a
 * term that sums cannot overflow. What its own handler finds wrong is dropped there: nothing that a
 * message holds can stop this node, but for the two proofs of broken safety (Rules 9 and 26). */
static int receive(struct raft *raft, const struct raft_message *message)
{
    if (message->to != raft->options.id || message->from == 0 || message->from == raft->options.id)
        return CONCLAVE_OK;
    /* Rule 32. Only what is committed counts: until then the removed node may be needed. What it
     * acknowledges on its way out says how far it can be told of its removal. */
    if (message->type != RAFT_APPEND_RESPONSE &&
        raft_configuration_was_removed(raft->memberships[0].configuration, message->from) &&
        raft->memberships[0].index <= raft->commit)
        return CONCLAVE_OK;
    if (message->term == 0 || message->term > RAFT_NUMBER_MAX)
        return CONCLAVE_OK;
    switch (message->type) {
    case RAFT_PREVOTE_REQUEST:
    case RAFT_VOTE_REQUEST:
        raft_on_vote_request(raft, message);
        break;
    case RAFT_PREVOTE_RESPONSE:
    case RAFT_VOTE_RESPONSE:
        raft_on_vote_response(raft, message);
        break;
    case RAFT_APPEND_REQUEST:
        return raft_on_append_request(raft, message);
    case RAFT_APPEND_RESPONSE:
        raft_on_append_response(raft, message);
        break;
    case RAFT_TIMEOUT_NOW:
        raft_on_timeout_now(raft, message);
        break;
    case RAFT_READ_REQUEST:
        raft_on_read_request(raft, message);
        break;
    case RAFT_READ_RESPONSE:
        raft_on_read_response(raft, message);
        break;
    }
    return CONCLAVE_OK;
}

static void on_applied(struct raft *raft, uint64_t index)
{
    ASSERT(index >= raft->applied && index <= raft->applying);
    const bool behind_snapshot = raft->applied < raft->snapshot_index;
    raft->applied = index;
    if (behind_snapshot)
        raft_snapshot_cut(raft);
    if (index >= raft->installing_index)
        raft->installing_index = 0;
    raft_ledger_settle(&raft->apply_inflight, index);
}

/* Takes over what the event holds. */
static int event_handle(struct raft *raft, struct raft_event *event)
{
    ASSERT(raft->started || event->type == RAFT_EVENT_START);
    switch (event->type) {
    case RAFT_EVENT_START:
        return raft_start(raft, &event->start);
    case RAFT_EVENT_RECEIVE: {
        int code = receive(raft, event->receive);
        raft_message_destroy(event->receive);
        return code;
    }
    case RAFT_EVENT_PROPOSE:
        raft_on_propose(raft, event->propose);
        break;
    case RAFT_EVENT_READ:
    case RAFT_EVENT_READ_LEASE:
        raft_on_read(raft, event->read, event->type == RAFT_EVENT_READ_LEASE);
        break;
    case RAFT_EVENT_PERSISTED:
        raft_on_persisted(raft, event->persisted.seq, event->persisted.last);
        break;
    case RAFT_EVENT_APPLIED:
        on_applied(raft, event->applied);
        break;
    case RAFT_EVENT_TIMEOUT:
        break; /* every step looks at the clock */
    case RAFT_EVENT_PEER_DOWN:
        raft_on_peer_down(raft, event->peer_down);
        break;
    case RAFT_EVENT_TRANSFER:
        raft_on_transfer(raft, event->transfer.origin, event->transfer.target);
        break;
    case RAFT_EVENT_SNAPSHOT_TAKEN:
        raft_on_snapshot_taken(raft, event->snapshot_taken);
        break;
    case RAFT_EVENT_SNAPSHOT_RECEIVED:
        raft_on_snapshot_received(raft, &event->snapshot_received);
        buf_unref(event->snapshot_received.configuration);
        break;
    case RAFT_EVENT_PEER_SEEN:
        raft_on_peer_seen(raft, event->peer_seen.peer, event->peer_seen.incarnation);
        break;
    case RAFT_EVENT_WATCHED:
        raft->watched = event->watched;
        break;
    case RAFT_EVENT_DISK_FULL:
        raft->disk_full = event->disk_full;
        break;
    case RAFT_EVENT_CHANGE:
        raft_on_change(raft, event->change);
        break;
    case RAFT_EVENT_FETCHED:
        raft_on_fetched(raft, event->fetched.fetch, &event->fetched.entries);
        break;
    }
    return CONCLAVE_OK;
}

/* Frees what the event holds, for a node that has failed. */
static void event_drop(struct raft_event *event)
{
    if (event->type == RAFT_EVENT_START) {
        raft_runs_clear(&event->start.entries);
        buf_unref(event->start.snapshot.configuration);
    } else if (event->type == RAFT_EVENT_SNAPSHOT_RECEIVED)
        buf_unref(event->snapshot_received.configuration);
    else if (event->type == RAFT_EVENT_RECEIVE)
        raft_message_destroy(event->receive);
    else if (event->type == RAFT_EVENT_PROPOSE)
        raft_batch_unref(event->propose);
    else if (event->type == RAFT_EVENT_CHANGE)
        free(event->change);
    else if (event->type == RAFT_EVENT_FETCHED)
        raft_runs_clear(&event->fetched.entries);
}

/* --- Outputs ------------------------------------------------------------------------------------
 */

/* A follower's part that is handed to the state machine at once: larger ones gain little, and keep
 * its processor from the log for long. */
enum { APPLY_PART_ENTRIES = 512 };

/* What a follower has committed may wait a little, since nobody waits for it: each part costs the
 * state machine a wake-up and a transaction, whatever its size. Not if a read is to be answered
 * from it, nor if a change of the members is in it, before which this node must not campaign
 * (Rule 24). */
static bool apply_later(struct raft *raft, uint64_t end)
{
    const struct raft_options *options = &raft->options;
    if (options->apply_delay_us == 0 || raft->role != RAFT_FOLLOWER || raft->watched ||
        raft->applying < raft->read_index || raft_configuration_unapplied(raft))
        return false;
    if (raft->apply_due_us == 0)
        raft->apply_due_us = raft->now_us + options->apply_delay_us;
    return raft->now_us < raft->apply_due_us && end - raft->applying < APPLY_PART_ENTRIES;
}

/* Hands on what is committed and durable here. Durable here, not only elsewhere: after a kill the
 * state machine's store would else be ahead of this node's log. */
static void apply_new(struct raft *raft)
{
    uint64_t end = raft_min(raft->commit, raft->log.durable);
    if (raft->applying >= end || raft->installing_index > 0) { /* Rule 36 */
        raft->apply_due_us = 0;
        return;
    }
    if (apply_later(raft, end))
        return;
    struct raft_ledger *inflight = &raft->apply_inflight;
    uint64_t next = raft->applying + 1;
    uint64_t room = 0;
    if (inflight->bytes < raft->options.apply_bytes_max)
        room = raft->options.apply_bytes_max - inflight->bytes;
    /* A slice has at least one entry: an oversized one goes when nothing else is on its way. */
    uint64_t size = raft_runs_find(&raft->log.runs, next)->payload.bytes;
    if (inflight->count > 0 && (room == 0 || size > room))
        return;
    struct raft_runs *apply = &raft->output->apply;
    raft_runs_slice(&raft->log.runs, next, end - raft->applying, room, apply);
    raft->applying = raft_runs_last(apply).index;
    raft_ledger_add(inflight, raft->applying, apply->payload_bytes);
    raft->apply_due_us = 0;
}

/* Decides once, after all events, what the step puts out. The order matters: the clock after the
 * events, so that a leader's message that waited in the queue still counts; the reads after the
 * commit and before the appends that carry their round; the persist after every answer that rides
 * with it. */
static void finish(struct raft *raft)
{
    raft_advance_commit(raft);
    raft_tick(raft);
    raft_transfer_step(raft);
    raft_change_advance(raft);
    raft_reads_start(raft);
    raft_lease_round(raft);
    raft_send_appends(raft);
    raft_acknowledge(raft);
    raft_persist_new(raft);
    raft_reads_confirm(raft);
    apply_new(raft);
    raft_transfer_answer(raft);
    raft_change_retire(raft);
    raft_shed(raft);
    raft->output->deadline_us = raft_deadline(raft);
    if (raft->apply_due_us > raft->now_us) /* else it waits for room, of which an APPLIED tells */
        raft->output->deadline_us = raft_min(raft->output->deadline_us, raft->apply_due_us);
}

static void free_dropped(struct raft *raft)
{
    struct raft_dropped *dropped = &raft->log.dropped;
    raft_dropped_free(dropped, raft_max(FREED_ENTRIES, dropped->entries / FREED_PART));
    uint64_t again_us = raft->now_us + FREED_AGAIN_US;
    if (dropped->count > 0 && raft->output->deadline_us > again_us)
        raft->output->deadline_us = again_us;
}

int raft_step(struct raft *raft, uint64_t now_us, struct raft_event *events, size_t count,
              struct raft_output *output)
{
    ASSERT(now_us >= raft->now_us);
    ASSERT(output->persist.seq == 0 && output->send_now.count == 0 && output->apply.count == 0);
    raft->now_us = now_us;
    raft->output = output;
    for (size_t i = 0; i < count; i++) {
        if (raft->failed == CONCLAVE_OK)
            raft->failed = event_handle(raft, &events[i]);
        else
            event_drop(&events[i]);
    }
    if (raft->failed == CONCLAVE_OK && raft->started)
        finish(raft);
    else if (raft->failed == CONCLAVE_OK)
        output->deadline_us = UINT64_MAX;
    free_dropped(raft);
    raft->output = NULL;
    return raft->failed;
}

/* The log-writer actor: owns the write-ahead log and the term/vote file.
 *
 * It takes everything that is queued, writes it with one write and one fdatasync, and only then
 * lets go what depends on it: it tells raft how far the disk is (actors/durable.h), and sends the
 * messages to peers that say "I have it" (Rules 1, 3 and 4). While one fdatasync runs the queue
 * fills: group commit without a timer.
 *
 * A failed write or fsync is never tried again and nothing of the batch is let go (Rule 6): pages
 * may be marked clean although they were never written. The thread dies and the node with it. */
#include "actors/log_open.h"
#include "actors/log_repair.h"
#include "actors/peer_side.h"
#include "base/clock.h"
#include "base/fatal.h"

#include <stdlib.h>

/* How long the log may be quiet before the last batch is attested by a record of its own. */
enum { ATTEST_AFTER_MS = 50 };

/* How long after asking for the next segment it is asked for again: the disk was full. */
enum { SEGMENT_RETRY_US = 1000000 };

struct log_writer {
    struct vote_file *vote;
    struct wal *wal;           /* NULL: there is something to repair first */
    struct wal_repair *repair; /* NULL: there is nothing */
    bool snapshot_lacking;     /* the log is whole, and no snapshot here reaches it */
    struct raft_hard_state hard_state;
    uint64_t segment_asked_us; /* 0: not asked for */
    uint64_t cut_index;        /* entries up to here need not be on disk */
    bool cut_due;
    bool room_missed; /* the log waits for room, and said so */

    /* What the batch at hand will have made durable. */
    bool batch_open;
    bool hard_state_changed;
    uint64_t seq;
    struct raft_id last;
    struct outgoing_list send_after;
};

/* Opens the log, or finds out what has to be put back before. */
static int find_log(struct node *node, struct log_writer *writer, struct conclave_error *error)
{
    int code = log_open(node, &writer->wal, error);
    if (code != CONCLAVE_CORRUPT && code != CONCLAVE_IO)
        return code;
    struct conclave_error beyond = {0};
    struct wal_repair *repair = NULL;
    int surveyed = log_survey(node, &repair, &beyond);
    if (surveyed == CONCLAVE_NOT_FOUND)
        return code;
    if (surveyed) {
        *error = beyond;
        return surveyed;
    }
    log_event(&node->logger, CONCLAVE_LOG_ERROR, "log-writer", "damaged", "reason=\"%s\"",
              error->message);
    writer->repair = repair;
    node->repairing = true;
    return CONCLAVE_OK;
}

static int log_writer_start(struct actor *actor, struct conclave_error *error)
{
    struct node *node = actor->node;
    struct log_writer *writer = mem_zalloc(sizeof *writer);
    node->repairing = false;
    int code = vote_open(node->io, node->options.data_dir, &node->identity, &writer->vote,
                         &writer->hard_state, error);
    if (!code)
        code = find_log(node, writer, error);
    if (code) {
        vote_close(writer->vote);
        free(writer);
        return code;
    }
    node->recovered.hard_state = writer->hard_state;
    node->recovered.life = vote_start_number(writer->vote);
    node->wal = writer->wal;
    actor->state = writer;
    return CONCLAVE_OK;
}

/* Adds one PERSIST to the batch. Hard states of one batch collapse to the last: nothing that
 * depends on an earlier one is let go before the batch is durable as a whole. */
static void stage(struct log_writer *writer, struct envelope *persist)
{
    ASSERT(persist->persist.seq > writer->seq);
    writer->batch_open = true;
    writer->seq = persist->persist.seq;
    writer->last = persist->persist.last;
    if (persist->persist.hard_state_changed) {
        ASSERT(persist->persist.hard_state.term >= writer->hard_state.term);
        writer->hard_state_changed = true;
        writer->hard_state = persist->persist.hard_state;
    }
    if (persist->persist.anew.index) {
        wal_begin_anew(writer->wal, persist->persist.anew);
        writer->cut_due = true;
    }
    if (persist->persist.entries.count)
        wal_append(writer->wal, &persist->persist.entries);
    struct outgoing_list *sends = &persist->persist.send_after;
    for (uint32_t i = 0; i < sends->count; i++)
        outgoing_add(&writer->send_after, sends->items[i].to, sends->items[i].frame);
    sends->count = 0; /* the references moved */
}

/* There is no room for the next segment: nothing was written and nothing is let go, as if the disk
 * hung, and it is tried again until there is. */
static int wait_for_room(struct actor *actor, const struct conclave_error *error)
{
    struct log_writer *writer = actor->state;
    if (!writer->room_missed)
        log_event(&actor->node->logger, CONCLAVE_LOG_ERROR, "log-writer", "no_room",
                  "reason=\"%s; the log waits\"", error->message);
    writer->room_missed = true;
    return CONCLAVE_OK;
}

/* The answers to other nodes go out from here: the way over raft's thread would cost each of them a
 * wake-up. Raft finds out first, so that nobody knows more of this disk than it does. */
static void release(struct actor *actor)
{
    struct log_writer *writer = actor->state;
    struct node *node = actor->node;
    bool wanted = durable_store(&node->durable, writer->seq, writer->last);
    if (atomic_load(&node->fatal)) { /* a node of which a thread has died acknowledges nothing */
        outgoing_clear(&writer->send_after);
        return;
    }
    outgoing_send(&writer->send_after, node->peers, peers_send);
    if (!wanted)
        return;
    struct envelope *persisted = envelope_create(ENVELOPE_PERSISTED);
    actor_send(actor, ACTOR_RAFT, &persisted);
}

/* Makes the batch durable, then releases what waited for it. This is the line between "written" and
 * "acknowledged": a follower's ack leaves only behind the fdatasync. */
static int commit_batch(struct actor *actor, struct conclave_error *error)
{
    struct log_writer *writer = actor->state;
    int code;
    if (writer->hard_state_changed) { /* Rule 2: term T before any entry of T */
        code = vote_write(writer->vote, writer->hard_state, error);
        if (code)
            return code;
    }
    code = wal_sync(writer->wal, error);
    if (wal_is_blocked(writer->wal))
        return wait_for_room(actor, error);
    if (code)
        return code;
    writer->room_missed = false;
    if (!writer->batch_open)
        return CONCLAVE_OK; /* it was an attestation that had found no room */

    trace_reached(&actor->node->trace, writer->last.index, TRACE_DURABLE);
    release(actor);
    writer->batch_open = false;
    writer->hard_state_changed = false;
    return CONCLAVE_OK;
}

static int attest_last(struct actor *actor, struct conclave_error *error)
{
    struct log_writer *writer = actor->state;
    int code = wal_attest(writer->wal, error);
    return wal_is_blocked(writer->wal) ? wait_for_room(actor, error) : code;
}

static void ask_for_segment(struct actor *actor)
{
    struct log_writer *writer = actor->state;
    if (!wal_needs_segment(writer->wal)) {
        writer->segment_asked_us = 0;
        return;
    }
    uint64_t now_us = clock_now_us();
    if (writer->segment_asked_us && now_us - writer->segment_asked_us < SEGMENT_RETRY_US)
        return;
    writer->segment_asked_us = now_us;
    struct envelope *prepare = envelope_create(ENVELOPE_PREPARE_SEGMENT);
    actor_send(actor, ACTOR_SEGMENTS, &prepare);
}

/* Lets go of segments that a snapshot has made superfluous. Nothing is staged. */
static void cut(struct actor *actor)
{
    struct log_writer *writer = actor->state;
    if (!writer->cut_due)
        return;
    writer->cut_due = false;
    struct wal_range range = wal_release(writer->wal, writer->cut_index);
    if (range.first == range.end)
        return;
    struct envelope *remove = envelope_create(ENVELOPE_REMOVE_SEGMENTS);
    remove->segments = range;
    actor_send(actor, ACTOR_SEGMENTS, &remove);
}

static void take_cut(struct log_writer *writer, uint64_t index)
{
    if (index > writer->cut_index)
        writer->cut_index = index;
    writer->cut_due = true;
}

/* Takes all that is queued. Returns STOP or QUIT if one of them came, else 0. */
static int drain(struct actor *actor)
{
    int ended = 0;
    for (struct envelope *envelope; (envelope = inbox_receive(&actor->inbox));) {
        if (envelope->type == ENVELOPE_PERSIST)
            stage(actor->state, envelope);
        else if (envelope->type == ENVELOPE_CUT)
            take_cut(actor->state, envelope->cut_index);
        else if (envelope->type == ENVELOPE_REPAIR)
            ((struct log_writer *)actor->state)->snapshot_lacking = true;
        else if (envelope->type == ENVELOPE_QUIT ||
                 (envelope->type == ENVELOPE_STOP && ended != ENVELOPE_QUIT))
            ended = (int)envelope->type;
        envelope_destroy(envelope);
    }
    return ended;
}

/* The state machine, which could not open its store, comes next. */
static void tell_repaired(struct actor *actor)
{
    static const enum actor_id others[] = {ACTOR_SNAPSHOT, ACTOR_MACHINE};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct envelope *repaired = envelope_create(ENVELOPE_REPAIRED);
        repaired->snapshot_id = actor->node->recovered.snapshot.last;
        actor_send(actor, others[i], &repaired);
    }
}

/* Gets back what is missing, and begins as if it had never been. */
static int repair(struct actor *actor, struct conclave_error *error)
{
    struct log_writer *writer = actor->state;
    struct node *node = actor->node;
    int code = log_repair_run(actor, writer->repair, error);
    if (code)
        return code;
    wal_repair_close(writer->repair);
    writer->repair = NULL;
    code = log_open(node, &writer->wal, error);
    if (code)
        return code;
    node->wal = writer->wal;
    tell_repaired(actor);
    return CONCLAVE_OK;
}

/* The log is open; gets the snapshot behind which it goes on. */
static int get_snapshot(struct actor *actor, struct conclave_error *error)
{
    struct log_writer *writer = actor->state;
    writer->snapshot_lacking = false;
    int code = log_repair_run(actor, NULL, error);
    if (!code)
        code = log_open_snapshot(actor->node, error);
    if (!code)
        tell_repaired(actor);
    return code;
}

static int log_writer_run(struct actor *actor, struct conclave_error *error)
{
    struct log_writer *writer = actor->state;
    if (writer->repair) {
        int code = repair(actor, error);
        if (code)
            return code == CONCLAVE_STOPPING ? CONCLAVE_OK : code;
    }
    for (;;) {
        ask_for_segment(actor);
        bool attest = wal_needs_attest(writer->wal);
        inbox_wait(&actor->inbox, attest ? ATTEST_AFTER_MS
                                  : writer->segment_asked_us || wal_is_blocked(writer->wal)
                                      ? SEGMENT_RETRY_US / 1000
                                      : -1);
        int ended = drain(actor);
        if (ended)
            wal_press(writer->wal); /* the node waits for the helper, too */
        if (ended == ENVELOPE_QUIT)
            return CONCLAVE_OK;
        int code = CONCLAVE_OK;
        if (writer->snapshot_lacking && !ended) {
            code = get_snapshot(actor, error);
            if (code)
                return code == CONCLAVE_STOPPING ? CONCLAVE_OK : code;
            continue;
        }
        if (writer->batch_open || wal_is_blocked(writer->wal))
            code = commit_batch(actor, error);
        else if (attest || ended == ENVELOPE_STOP)
            code = attest_last(actor, error);
        if (code)
            return code;
        if (wal_is_blocked(writer->wal)) {
            if (ended == ENVELOPE_STOP)
                return CONCLAVE_OK; /* what was not written was not acknowledged */
            continue;
        }
        cut(actor);
        if (ended == ENVELOPE_STOP)
            return wal_attest(writer->wal, error);
    }
}

static void log_writer_stop(struct actor *actor)
{
    struct log_writer *writer = actor->state;
    outgoing_clear(&writer->send_after);
    wal_repair_close(writer->repair);
    vote_close(writer->vote);
    /* The log is closed by the node, after the segment helper was joined. */
    free(writer);
}

const struct actor_ops log_writer_ops = {.name = "log-writer",
                                         .turn = TURN_FIRST,
                                         .start = log_writer_start,
                                         .run = log_writer_run,
                                         .stop = log_writer_stop};

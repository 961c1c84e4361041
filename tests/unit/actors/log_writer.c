/* The log-writer on a real directory, on the test's own thread: what it lets go, and when. The disk
 * is the real one with a table in front, which looks at what raft and the other node know in the
 * middle of every sync, and fails on demand. */
#include "actors/node.h"

#include "base/clock.h"
#include "base/fatal.h"
#include "storage/identity.h"
#include "wires.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char dir[] = "/tmp/conclave-log-writer-XXXXXX";
static char data[128];

enum { PAYLOAD_BYTES = 11 };
static const char payload[PAYLOAD_BYTES + 1] = "of an entry";

static struct {
    struct node node;
    struct actor *writer, *raft;
    struct outbox to_writer;
    struct peers *second; /* the other node */
    struct io io;         /* the real one's functions, but for three */
    bool watching;        /* while the log-writer runs */
    bool written;         /* the payload */
    bool durable;         /* by a sync that has returned */
    unsigned syncs;       /* so far */
    unsigned fail_at;     /* the sync with this number; 0: none */
    unsigned stop_at;     /* with this one it is told to stop; 0: before it runs */
    bool no_room;         /* for another file */
    unsigned enough; /* with so many syncs all is durable, without a payload; 0: with a payload */
} rig;

static uint32_t frames_heard(void)
{
    uint32_t count = 0;
    struct source *sources[PEERS_SOURCES_MAX];
    sources_wait(sources, peers_sources(rig.second, sources), 0);
    for (struct buf *frame; (frame = peers_receive(rig.second)); count++)
        buf_unref(frame);
    return count;
}

/* Whatever says that something is durable must not have left while it is not. */
static void assert_nothing_left(void)
{
    uint64_t seq = 0;
    struct raft_id last;
    cr_assert(rig.durable || (!inbox_receive(&rig.raft->inbox) &&
                              !durable_look(&rig.node.durable, &seq, &last)),
              "raft is told before it is durable");
    cr_assert(rig.durable || frames_heard() == 0, "a peer is told before it is durable");
}

static int watched_writev(void *ctx, struct io_file *file, uint64_t offset,
                          const struct iovec *parts, int part_count, struct conclave_error *error)
{
    for (int i = 0; rig.watching && i < part_count; i++)
        rig.written |= memmem(parts[i].iov_base, parts[i].iov_len, payload, PAYLOAD_BYTES) != NULL;
    return io_posix()->writev(ctx, file, offset, parts, part_count, error);
}

static void tell_to_stop(void)
{
    struct envelope *stop = envelope_create(ENVELOPE_STOP);
    mailbox_send(&rig.to_writer, &stop);
}

static int watched_datasync(void *ctx, struct io_file *file, struct conclave_error *error)
{
    if (!rig.watching)
        return io_posix()->datasync(ctx, file, error);
    rig.syncs++;
    if (rig.syncs == rig.stop_at)
        tell_to_stop();
    assert_nothing_left();
    int code = rig.syncs == rig.fail_at
                   ? error_set(error, CONCLAVE_IO, "this disk fails on purpose")
                   : io_posix()->datasync(ctx, file, error);
    assert_nothing_left();
    if (!code && (rig.written || (rig.enough && rig.syncs == rig.enough)))
        rig.durable = true;
    return code;
}

static int watched_allocate(void *ctx, struct io_file *file, uint64_t bytes,
                            const atomic_bool *pressing, struct conclave_error *error)
{
    return rig.no_room ? error_set(error, CONCLAVE_NO_SPACE, "this disk is full on purpose")
                       : io_posix()->allocate(ctx, file, bytes, pressing, error);
}

static void setup(void)
{
    struct conclave_error error = {0};
    char endpoint[160];
    struct node *node = &rig.node;
    cr_assert(mkdtemp(dir));
    snprintf(data, sizeof data, "%s/data", dir);
    snprintf(endpoint, sizeof endpoint, "ipc://%s/peer", dir);
    const struct conclave_member self = {.name = "n1", .peer = endpoint};
    cr_assert_eq(conclave_bootstrap(data, "n1", NULL, &self, 1, &error), 0, "%s", error.message);
    conclave_options_init(&node->options);
    node->options.data_dir = data;
    node->options.segment_bytes = UINT64_C(64) << 10;
    rig.io = *io_posix();
    rig.io.writev = watched_writev;
    rig.io.datasync = watched_datasync;
    rig.io.allocate = watched_allocate;
    node->io = &rig.io;
    cr_assert_eq(identity_read(node->io, data, &node->identity, &error), 0, "%s", error.message);
    wires_open(node, "log-writer");
    wires_to(node, ACTOR_LOG_WRITER, &rig.to_writer);
    rig.writer = &node->actors[ACTOR_LOG_WRITER];
    rig.raft = &node->actors[ACTOR_RAFT];
    rig.writer->ops = &log_writer_ops;
    cr_assert_eq(log_writer_ops.start(rig.writer, &error), 0, "%s", error.message);
    cr_assert_eq(peers_create(node->context, "inproc://n1", 1, &node->peers, &error), 0);
    cr_assert_eq(peers_create(node->context, "inproc://n2", 2, &rig.second, &error), 0);
    const struct peer_address to_second = {.id = 2, .endpoint = "inproc://n2"};
    peers_set(node->peers, &to_second, 1, 0);
}

/* Ends the log-writer, and what it gave to the node. */
static void end_writer(void)
{
    struct node *node = &rig.node;
    log_writer_ops.stop(rig.writer);
    wal_close(node->wal);
    raft_runs_clear(&node->recovered.entries);
    snapshot_meta_clear(&node->recovered.snapshot);
    free(node->recovered.boot);
    node->wal = NULL;
    node->recovered.boot = NULL;
}

static void teardown(void)
{
    struct node *node = &rig.node;
    char command[128];
    end_writer();
    peers_destroy(rig.second);
    peers_destroy(node->peers);
    outbox_close(&rig.to_writer);
    wires_close(node);
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    cr_assert_eq(system(command), 0);
}

TestSuite(log_writer, .init = setup, .fini = teardown, .timeout = 600);

/* What raft would hand over: a vote or an entry, and an answer to a peer that rests on it. */
static struct envelope *persist_create(uint64_t seq)
{
    struct envelope *envelope = envelope_create(ENVELOPE_PERSIST);
    envelope->persist.seq = seq;
    envelope->persist.last = raft_runs_last(&rig.node.recovered.entries);
    outgoing_add(&envelope->persist.send_after, 2, buf_copy("I have it", 9));
    return envelope;
}

static void persist_vote(uint64_t seq)
{
    struct envelope *envelope = persist_create(seq);
    envelope->persist.hard_state_changed = true;
    envelope->persist.hard_state = (struct raft_hard_state){.term = 7, .vote = 1};
    mailbox_send(&rig.to_writer, &envelope);
}

static void persist_command(uint64_t seq, uint64_t behind, struct slice command)
{
    struct envelope *envelope = persist_create(seq);
    struct raft_id id = {.term = 7, .index = envelope->persist.last.index + behind};
    struct raft_batch *batch = raft_batch_create(1);
    raft_batch_add(batch,
                   (struct raft_entry){.id = id, .kind = RAFT_ENTRY_COMMAND, .payload = command});
    raft_runs_append(&envelope->persist.entries, batch, 0, 1);
    raft_batch_unref(batch);
    envelope->persist.last = id;
    mailbox_send(&rig.to_writer, &envelope);
}

static void persist_entry(uint64_t seq, uint64_t behind)
{
    persist_command(seq, behind, (struct slice){(const uint8_t *)payload, PAYLOAD_BYTES});
}

/* The log begins anew behind a snapshot, in a new segment. */
static void persist_anew(uint64_t seq, uint64_t behind)
{
    struct envelope *envelope = persist_create(seq);
    struct raft_id base = {.term = 7, .index = envelope->persist.last.index + behind};
    envelope->persist.anew = envelope->persist.last = base;
    mailbox_send(&rig.to_writer, &envelope);
}

/* The log-writer takes what is queued in one batch, and ends. */
static int run(struct conclave_error *error)
{
    tell_to_stop();
    rig.watching = true;
    int code = log_writer_ops.run(rig.writer, error);
    rig.watching = false;
    return code;
}

static void assert_told(uint64_t seq, uint32_t sends)
{
    uint64_t stored = 0;
    struct raft_id last;
    cr_assert(durable_look(&rig.node.durable, &stored, &last));
    cr_assert_eq(stored, seq);
    cr_assert_eq(frames_heard(), sends);
}

static void assert_nobody_told(void)
{
    uint64_t stored = 0;
    struct raft_id last;
    cr_assert_null(inbox_receive(&rig.raft->inbox));
    cr_assert_not(durable_look(&rig.node.durable, &stored, &last));
    cr_assert_eq(frames_heard(), 0);
}

Test(log_writer, answers_nobody_any_more_when_another_thread_has_died)
{
    struct conclave_error error = {0};
    atomic_store(&rig.node.fatal, true);
    persist_entry(1, 1);
    cr_assert_eq(run(&error), CONCLAVE_OK, "%s", error.message);
    cr_assert(rig.durable);
    cr_assert_eq(frames_heard(), 0);
}

Test(log_writer, wakes_raft_only_if_that_was_asked_for)
{
    struct conclave_error error = {0};
    persist_entry(1, 1);
    cr_assert_eq(run(&error), CONCLAVE_OK, "%s", error.message);
    cr_assert_null(inbox_receive(&rig.raft->inbox));
    cr_assert_not(durable_want(&rig.node.durable, 0), "it is there");
    durable_forgo(&rig.node.durable);
    persist_entry(2, 2);
    cr_assert_eq(run(&error), CONCLAVE_OK, "%s", error.message);
    cr_assert_null(inbox_receive(&rig.raft->inbox), "raft was awake again");
    cr_assert(durable_want(&rig.node.durable, 2));
    persist_entry(3, 3);
    cr_assert_eq(run(&error), CONCLAVE_OK, "%s", error.message);
    struct envelope *persisted = inbox_receive(&rig.raft->inbox);
    cr_assert(persisted && persisted->type == ENVELOPE_PERSISTED);
    envelope_destroy(persisted);
}

Test(log_writer, rule_4_lets_nothing_go_before_the_sync_of_the_entries_returned)
{
    struct conclave_error error = {0};
    persist_entry(1, 1);
    persist_entry(2, 2);
    cr_assert_eq(run(&error), CONCLAVE_OK, "%s", error.message);
    cr_assert(rig.written && rig.durable);
    assert_told(2, 2);
}

Test(log_writer, rule_1_lets_nothing_go_before_both_slots_of_the_vote_are_synced)
{
    struct conclave_error error = {0};
    rig.enough = 2;
    persist_vote(1);
    cr_assert_eq(run(&error), CONCLAVE_OK, "%s", error.message);
    cr_assert(rig.durable);
    assert_told(1, 1);
}

Test(log_writer, rule_6_lets_nothing_go_of_a_batch_whose_sync_failed)
{
    struct conclave_error error = {0};
    rig.fail_at = 1;
    persist_entry(1, 1);
    cr_assert_eq(run(&error), CONCLAVE_IO);
    cr_assert(rig.written && !rig.durable);
    assert_nobody_told();
}

Test(log_writer, rule_6_lets_nothing_go_of_a_vote_whose_second_sync_failed)
{
    struct conclave_error error = {0};
    rig.fail_at = 2;
    persist_vote(1);
    persist_entry(2, 1);
    cr_assert_eq(run(&error), CONCLAVE_IO);
    cr_assert_not(rig.written, "Rule 2: entries come behind their term");
    assert_nobody_told();
}

Test(log_writer, tells_nobody_of_what_found_no_room)
{
    struct conclave_error error = {0};
    rig.no_room = true;
    persist_anew(1, 10);
    cr_assert_eq(run(&error), CONCLAVE_OK, "%s", error.message);
    cr_assert_eq(rig.syncs, 0);
    assert_nobody_told();
}

static void send_to_writer(enum envelope_type type, uint64_t cut_index)
{
    struct envelope *envelope = envelope_create(type);
    if (type == ENVELOPE_CUT)
        envelope->cut_index = cut_index;
    mailbox_send(&rig.to_writer, &envelope);
}

Test(log_writer, writes_nothing_more_when_it_is_to_end_at_once)
{
    struct conclave_error error = {0};
    persist_entry(1, 1);
    send_to_writer(ENVELOPE_QUIT, 0); /* a stop behind it does not take it back */
    cr_assert_eq(run(&error), CONCLAVE_OK, "%s", error.message);
    cr_assert_not(rig.written);
    assert_nobody_told();
}

/* How many segments the helper is asked to remove. */
static uint64_t segments_removed(void)
{
    uint64_t count = 0;
    for (struct envelope *envelope;
         (envelope = inbox_receive(&rig.node.actors[ACTOR_SEGMENTS].inbox));) {
        if (envelope->type == ENVELOPE_REMOVE_SEGMENTS)
            count += envelope->segments.end - envelope->segments.first;
        envelope_destroy(envelope);
    }
    return count;
}

Test(log_writer, lets_go_of_what_stands_before_a_new_beginning_or_the_highest_cut)
{
    static const uint8_t large[64 << 10]; /* more than a segment has room for */
    struct conclave_error error = {0};
    rig.enough = 1;
    persist_anew(1, 10);
    cr_assert_eq(run(&error), CONCLAVE_OK, "%s", error.message);
    assert_told(1, 1);
    cr_assert_eq(segments_removed(), 1, "no cut is waited for");
    persist_command(2, 11, (struct slice){large, sizeof large});
    send_to_writer(ENVELOPE_CUT, raft_runs_last(&rig.node.recovered.entries).index + 10);
    send_to_writer(ENVELOPE_CUT, 1);
    cr_assert_eq(run(&error), CONCLAVE_OK, "%s", error.message);
    cr_assert_eq(segments_removed(), 1, "an older cut takes nothing back");
}

/* Ends a log-writer that would wait for ever. Counted in short pauses: time in which nothing here
 * runs is no sign of that. */
enum { GUARD_PAUSE_US = 10000, GUARD_PAUSES = 1000 };

static struct {
    struct outbox to_writer; /* a socket is one thread's */
    atomic_bool over;
    bool acted;
} guard;

static void *guard_run(void *arg)
{
    struct envelope *stop = NULL;
    (void)arg;
    for (int i = 0; i < GUARD_PAUSES && !atomic_load(&guard.over); i++)
        clock_pause_us(GUARD_PAUSE_US);
    if (atomic_load(&guard.over))
        return NULL;
    guard.acted = true;
    stop = envelope_create(ENVELOPE_STOP);
    mailbox_send(&guard.to_writer, &stop);
    return NULL;
}

Test(log_writer, attests_the_last_batch_of_a_log_that_is_quiet)
{
    struct conclave_error error = {0};
    pthread_t thread;
    wires_to(&rig.node, ACTOR_LOG_WRITER, &guard.to_writer);
    persist_entry(1, 1);
    rig.stop_at = 2; /* the sync behind that of the entry: it waits for nothing else */
    cr_assert_eq(pthread_create(&thread, NULL, guard_run, NULL), 0);
    rig.watching = true;
    cr_assert_eq(log_writer_ops.run(rig.writer, &error), CONCLAVE_OK, "%s", error.message);
    rig.watching = false;
    atomic_store(&guard.over, true);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    outbox_close(&guard.to_writer);
    cr_assert_not(guard.acted, "it waits for ever");
    cr_assert_eq(rig.syncs, 2);
    cr_assert_not(wal_needs_attest(rig.node.wal));
    assert_told(1, 1);
}

Test(log_writer, does_not_start_without_its_vote_though_the_log_be_whole)
{
    struct conclave_error error = {0};
    char vote[160], kept[160];
    end_writer();
    snprintf(vote, sizeof vote, "%s/vote", data);
    snprintf(kept, sizeof kept, "%s/kept", data);
    cr_assert_eq(rename(vote, kept), 0);
    cr_assert_eq(log_writer_ops.start(rig.writer, &error), CONCLAVE_CORRUPT);
    cr_assert_eq(rename(kept, vote), 0);
    cr_assert_eq(log_writer_ops.start(rig.writer, &error), CONCLAVE_OK, "%s", error.message);
}

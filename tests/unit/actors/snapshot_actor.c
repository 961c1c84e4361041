/* The snapshot helper on a disk in memory, on a thread of its own: whatever happens to the disk
 * and when, what it tells the others that they may let go of is in a snapshot that stays. */
#include "actors/snapshot_actor.h"

#include "../storage/fixture.h"
#include "machine/session_snapshot.h"
#include "wires.h"

#include <criterion/criterion.h>
#include <stdio.h>

enum { PEER = 5 };

static const struct raft_id id = {.term = 2, .index = 40};

static struct {
    struct node node;
    struct actor *helper;
    struct outbox to_helper;
    struct memory_disk *disk;
    struct session_table *table;
    struct session_snapshot *snapshot;
    struct buf *file; /* that comes from the other node; NULL: the machine's state is written */
    uint64_t oldest;  /* the index of the oldest one that is to stay */
    bool told_raft, told_log_writer; /* that it is durable */
    unsigned done;                   /* how often the machine was told that it is over */
    int code;                        /* of that */
} rig;

static int state_begin(void *machine, void **ret_snapshot)
{
    *ret_snapshot = machine;
    return CONCLAVE_OK;
}

static int state_write(void *machine, void *snapshot, struct conclave_snapshot_sink *sink)
{
    (void)machine;
    (void)snapshot;
    return conclave_snapshot_add(sink, "what it holds", 13);
}

static void state_end(void *machine, void *snapshot)
{
    cr_assert_eq(machine, snapshot);
}

static const struct conclave_machine_ops state_ops = {
    .snapshot_begin = state_begin, .snapshot_write = state_write, .snapshot_end = state_end};

static void disk_begin(void)
{
    struct snapshot_list list = {0};
    rig.disk = memory_disk_create();
    const struct io *io = memory_disk_io(rig.disk);
    rig.node.io = io;
    cr_assert_eq(io->make_dir(io->ctx, STORY_DIR, NULL), CONCLAVE_OK);
    cr_assert_eq(io->sync_dir(io->ctx, ".", NULL), CONCLAVE_OK);
    cr_assert_eq(snapshot_list_read(io, STORY_DIR, &list, NULL), CONCLAVE_OK);
    snapshot_list_clear(&list);
}

static void setup(void)
{
    conclave_options_init(&rig.node.options);
    rig.node.options.data_dir = STORY_DIR;
    rig.node.identity = story_identity;
    rig.table = session_table_create();
    rig.oldest = id.index;
    wires_open(&rig.node, "snapshot-actor");
    wires_to(&rig.node, ACTOR_SNAPSHOT, &rig.to_helper);
    rig.helper = &rig.node.actors[ACTOR_SNAPSHOT];
    rig.helper->ops = &snapshot_helper_ops;
}

static void teardown(void)
{
    if (rig.file)
        buf_unref(rig.file);
    session_table_destroy(rig.table);
    outbox_close(&rig.to_helper);
    wires_close(&rig.node);
}

TestSuite(snapshot_actor, .init = setup, .fini = teardown, .timeout = 600);

/* What the machine sends. */
static void begin_taking(void)
{
    cr_assert_eq(session_snapshot_begin(&state_ops, &rig, rig.table, &rig.snapshot), CONCLAVE_OK);
    struct envelope *begun = envelope_create(ENVELOPE_SNAPSHOT_BEGUN);
    begun->snapshot_begun.snapshot = rig.snapshot;
    begun->snapshot_begun.meta =
        (struct snapshot_meta){id, .configuration_index = 1, buf_copy("members", 7)};
    mailbox_send(&rig.to_helper, &begun);
}

/* What comes from another node: all of it at once. */
static void begin_receiving(void)
{
    struct envelope *bulk = envelope_create(ENVELOPE_BULK);
    bulk->bulk.buf = buf_ref(rig.file);
    bulk->bulk.frame =
        (struct peer_frame){.type = PEER_FRAME_SNAPSHOT,
                            .from = {.node_id = PEER},
                            .snapshot = {
                                .name = 77,
                                .id = id,
                                .bytes = rig.file->bytes,
                                .data = {.data = rig.file->data, .bytes = rig.file->bytes},
                            }};
    mailbox_send(&rig.to_helper, &bulk);
}

static void take_told(enum actor_id who)
{
    for (struct envelope *envelope; (envelope = inbox_receive(&rig.node.actors[who].inbox));) {
        switch (envelope->type) {
        case ENVELOPE_SNAPSHOT_TAKEN:
            cr_assert(!rig.file && raft_id_equal(envelope->snapshot_id, id));
            rig.told_raft = true;
            break;
        case ENVELOPE_SNAPSHOT_RECEIVED:
            cr_assert(rig.file && raft_id_equal(envelope->snapshot.last, id));
            rig.told_raft = true;
            break;
        case ENVELOPE_CUT:
            cr_assert_eq(envelope->cut_index, rig.oldest);
            rig.told_log_writer = true;
            break;
        case ENVELOPE_SNAPSHOT_DONE:
            rig.done++;
            rig.code = envelope->snapshot_done.code;
            break;
        default:
            break;
        }
        envelope_destroy(envelope);
    }
}

static void *helper_main(void *arg)
{
    struct conclave_error error = {0};
    int code = snapshot_helper_ops.start(rig.helper, &error);
    if (!code)
        code = snapshot_helper_ops.run(rig.helper, &error);
    snapshot_helper_ops.stop(rig.helper);
    *(int *)arg = code;
    return NULL;
}

/* The helper takes or receives one, and ends. */
static void run(void)
{
    pthread_t thread;
    int code = CONCLAVE_OK;
    rig.told_raft = rig.told_log_writer = false;
    rig.done = 0;
    cr_assert_eq(pthread_create(&thread, NULL, helper_main, &code), 0);
    if (rig.file)
        begin_receiving();
    else
        begin_taking();
    if (!rig.file) /* told to end it would give up what it writes */
        inbox_wait(&rig.node.actors[ACTOR_MACHINE].inbox, -1);
    struct envelope *stop = envelope_create(ENVELOPE_STOP);
    mailbox_send(&rig.to_helper, &stop);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_eq(code, CONCLAVE_OK);
    for (int who = 0; who < ACTOR_COUNT; who++)
        take_told((enum actor_id)who);
    if (!rig.file)
        session_snapshot_end(rig.snapshot);
}

static bool is_whole(void)
{
    return snapshot_verify(memory_disk_io(rig.disk), STORY_DIR, &story_identity, id, NULL) ==
           CONCLAVE_OK;
}

/* At each change of the disk one of these goes wrong in turn; at the end nothing does. Whenever
 * somebody was told, the power goes, and takes all that was not synced. */
static void assert_told_of_what_stays(void)
{
    enum { NO_SPACE, FAILS, POWER_OFF, WAYS };
    for (uint64_t at = 1, changes = 1; at <= changes + 1; at++) {
        for (int way = 0; way < WAYS; way++) {
            disk_begin();
            uint64_t before = memory_disk_changes(rig.disk);
            if (way == POWER_OFF)
                memory_disk_power_off_at_change(rig.disk, before + at);
            else
                memory_disk_fail_at_change(rig.disk, before + at,
                                           way == FAILS ? CONCLAVE_IO : CONCLAVE_NO_SPACE);
            run();
            changes = memory_disk_changes(rig.disk) - before;
            memory_disk_crash_hard(rig.disk);
            cr_assert(is_whole() || !(rig.told_raft || rig.told_log_writer),
                      "change %llu: %s is told of what does not stay", (unsigned long long)at,
                      rig.told_raft ? "raft" : "the log-writer");
            cr_assert_eq(rig.done, rig.file ? 0 : 1);
            cr_assert(rig.file || rig.told_raft == (rig.code == CONCLAVE_OK));
            memory_disk_destroy(rig.disk);
        }
    }
    cr_assert(rig.told_raft && rig.told_log_writer);
}

Test(snapshot_actor, rule_35_who_lets_go_of_the_log_is_told_when_what_was_taken_is_durable)
{
    assert_told_of_what_stays();
}

Test(snapshot_actor, rule_35_who_lets_go_of_the_log_is_told_when_what_came_is_durable)
{
    char path[80];
    size_t bytes = 0;
    disk_begin();
    run();
    cr_assert(is_whole());
    (void)snprintf(path, sizeof path, "%s/snapshots/%016llx-%016llx.snap", STORY_DIR,
                   (unsigned long long)id.index, (unsigned long long)id.term);
    const uint8_t *data = memory_disk_bytes(rig.disk, path, &bytes);
    cr_assert_not_null(data);
    rig.file = buf_copy(data, bytes);
    memory_disk_destroy(rig.disk);
    assert_told_of_what_stays();
}

static void have(uint64_t index)
{
    struct snapshot_writer *writer = NULL;
    struct snapshot_meta meta = {{.term = 2, .index = index}, 1, buf_copy("members", 7)};
    cr_assert_eq(snapshot_writer_create(memory_disk_io(rig.disk), STORY_DIR, &story_identity, &meta,
                                        &writer, NULL),
                 CONCLAVE_OK);
    snapshot_meta_clear(&meta);
    cr_assert_eq(snapshot_writer_add(writer, "state", 5, NULL), CONCLAVE_OK);
    cr_assert_eq(snapshot_writer_finish(writer, NULL), CONCLAVE_OK);
}

Test(snapshot_actor, what_the_state_machine_is_yet_to_become_stays_with_the_log_behind_it)
{
    disk_begin();
    for (uint64_t index = 10; index <= 30; index += 10)
        have(index);
    atomic_store(&rig.node.progress.becoming, 20);
    rig.oldest = 20;
    run();
    cr_assert(rig.told_log_writer);
    atomic_store(&rig.node.progress.becoming, 0);
    rig.oldest = 30;
    run();
    cr_assert(rig.told_log_writer);
    memory_disk_destroy(rig.disk);
}

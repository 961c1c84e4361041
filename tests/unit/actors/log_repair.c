/* The log-writer of a damaged log, on a thread of its own: whom it asks for what, and what it makes
 * of their answers. The test is raft's thread and the other nodes. */
#include "actors/log_repair.h"

#include "actors/node.h"
#include "base/fatal.h"
#include "tests/unit/storage/healing.h"
#include "wires.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PLACES_MAX = 1024, FIRST = 20, LAST = 29, WRONG = 2 };

static const struct step story[] = {
    {STEP_APPEND, 2, 2, 100}, {STEP_SYNC, 0, 0, 0}, {STEP_ATTEST, 0, 0, 0}, {STEP_END, 0, 0, 0}};

static struct {
    struct node *node;
    struct actor *writer, *raft;
    struct outbox to_writer;
    struct peer others; /* what both of them hold */
    struct memory_disk *disk;
    struct wal_repair *repair;
    pthread_t thread;
    int code;
    atomic_uint refused; /* answers, as the log says */
} rig;

static void hear(void *arg, enum conclave_log_level level, const char *actor, const char *event,
                 const char *fields)
{
    (void)arg;
    (void)level;
    (void)actor;
    (void)fields;
    if (strcmp(event, "repair_refused") == 0)
        atomic_fetch_add(&rig.refused, 1);
}

/* The records of the entries from `first` to `last`, and of the batches between them. */
static void damage(uint64_t first, uint64_t last)
{
    static struct placed places[PLACES_MAX];
    size_t count = image_layout(rig.others.disk, places, PLACES_MAX);
    for (size_t i = 0; i < count; i++) {
        size_t bytes = 0;
        uint64_t index;
        const uint8_t *data = memory_disk_bytes(rig.others.disk, places[i].path, &bytes);
        memcpy(&index, data + places[i].offset + 40, sizeof index);
        if (index >= first && (places[i].is_batch ? index < last : index <= last))
            memory_disk_rot(rig.disk, places[i].path, places[i].offset + 4, "\x5a\xa5", 2);
    }
}

static void *repair(void *arg)
{
    struct conclave_error error = {0};
    (void)arg;
    rig.code = log_repair_run(rig.writer, rig.repair, &error);
    return NULL;
}

/* The writer of rig.disk begins. */
static void run(void)
{
    struct conclave_error error = {0};
    struct node *node = rig.node = calloc(1, sizeof *node);
    node->io = memory_disk_io(rig.disk);
    node->identity = story_identity;
    node->peer_identity = (struct peer_identity){.cluster_id = story_identity.cluster_id,
                                                 .node_id = story_identity.node_id,
                                                 .incarnation = story_identity.incarnation};
    node->logger = (struct logger){.write = hear, .level = CONCLAVE_LOG_DEBUG};
    struct raft_configuration *members = &node->recovered.configuration;
    members->member_count = 3;
    for (uint32_t i = 0; i < 3; i++)
        members->members[i] = (struct raft_member){.id = story_identity.node_id + i};
    wires_open(node, "log-repair");
    wires_to(node, ACTOR_LOG_WRITER, &rig.to_writer);
    rig.writer = &node->actors[ACTOR_LOG_WRITER];
    rig.raft = &node->actors[ACTOR_RAFT];
    rig.writer->ops = &log_writer_ops;
    cr_assert_eq(wal_repair_open(node->io, STORY_DIR, &story_identity, &rig.repair, &error), 0,
                 "%s", error.message);
    cr_assert_eq(pthread_create(&rig.thread, NULL, repair, NULL), 0);
}

static void setup(void)
{
    peer_make(&rig.others, story);
    rig.disk = memory_disk_clone(rig.others.disk);
    damage(FIRST, LAST);
    run();
}

static void teardown(void)
{
    struct node *node = rig.node;
    wal_repair_close(rig.repair);
    outbox_close(&rig.to_writer);
    wires_close(node);
    memory_disk_destroy(rig.disk);
    peer_free(&rig.others);
    free(node);
}

TestSuite(log_repair, .init = setup, .fini = teardown, .timeout = 600);

/* The next frame of this type, and to how many it goes; others are let go of. */
static struct peer_repair await_frame(enum peer_frame_type type, uint32_t *ret_count)
{
    for (;;) {
        struct envelope *envelope = inbox_receive(&rig.raft->inbox);
        struct peer_frame frame;
        if (!envelope) {
            inbox_wait(&rig.raft->inbox, -1);
            continue;
        }
        cr_assert_eq(envelope->type, ENVELOPE_SEND);
        *ret_count = envelope->send.count;
        cr_assert_gt(*ret_count, 0);
        cr_assert_eq(peer_decode(envelope->send.items[0].frame, &frame), CONCLAVE_OK);
        envelope_destroy(envelope);
        if (frame.type == type)
            return frame.repair;
        raft_runs_clear(&frame.repair.entries);
    }
}

/* What is asked for behind `prev`, and how many are asked. Asks that nobody answers come again. */
static struct peer_repair await_ask(uint64_t prev, uint32_t *ret_asked)
{
    for (;;) {
        const struct peer_repair ask = await_frame(PEER_FRAME_REPAIR_ASK, ret_asked);
        if (ask.prev.index == prev)
            return ask;
    }
}

/* One of the others gives these. */
static void answer(uint32_t other, uint64_t number, struct raft_id prev, struct raft_runs *entries)
{
    struct envelope *envelope = envelope_create(ENVELOPE_REPAIR_ANSWER);
    envelope->repair.from = story_identity.node_id + other;
    envelope->repair.frame =
        (struct peer_repair){.number = number, .result = PEER_REPAIR_HERE, .prev = prev};
    raft_runs_move(&envelope->repair.frame.entries, entries);
    mailbox_send(&rig.to_writer, &envelope);
}

static void answer_right(uint32_t other, const struct peer_repair *ask)
{
    struct raft_runs entries = {0};
    const uint64_t first = ask->prev.index + 1;
    raft_runs_slice(&rig.others.log.entries, first, ask->last - first + 1, UINT64_MAX, &entries);
    answer(other, ask->number, raft_runs_find(&rig.others.log.entries, ask->prev.index)->id,
           &entries);
}

/* Entries that were never there. */
static void answer_wrong(uint32_t other, const struct peer_repair *ask)
{
    static const char nothing[] = "never written";
    struct raft_runs entries = {0};
    struct raft_batch *batch = raft_batch_create(WRONG);
    for (uint64_t i = 1; i <= WRONG; i++) {
        struct buf *buf = buf_copy(nothing, sizeof nothing);
        raft_batch_add(batch, (struct raft_entry){.id = {2, ask->prev.index + i},
                                                  .kind = RAFT_ENTRY_COMMAND,
                                                  .buf = buf,
                                                  .payload = {buf->data, buf->bytes}});
    }
    raft_runs_append(&entries, batch, 0, WRONG);
    raft_batch_unref(batch);
    answer(other, ask->number, raft_runs_find(&rig.others.log.entries, ask->prev.index)->id,
           &entries);
}

static void begin(void)
{
    struct envelope *envelope = envelope_create(ENVELOPE_REPAIR);
    mailbox_send(&rig.to_writer, &envelope);
}

static void expect_whole(void)
{
    struct conclave_error error = {0};
    struct wal_recovery found = {0};
    cr_assert_eq(pthread_join(rig.thread, NULL), 0);
    cr_assert_eq(rig.code, CONCLAVE_OK);
    cr_assert_eq(log_read(rig.node->io, &found, &error), CONCLAVE_OK, "%s", error.message);
    cr_assert(story_matches(&rig.others.story, rig.others.story.staged_count, &found.entries));
    raft_runs_clear(&found.entries);
}

Test(log_repair, goes_on_from_the_beginning_when_what_came_was_mixed)
{
    uint32_t asked;
    begin();
    struct peer_repair ask = await_ask(FIRST - 1, &asked);
    cr_assert_eq(asked, 2, "both others");
    cr_assert_gt(ask.last, FIRST + WRONG);
    answer_wrong(1, &ask); /* alone it shows nothing */
    ask = await_ask(FIRST - 1 + WRONG, &asked);
    cr_assert_eq(asked, 1, "who gave is asked first");
    answer_right(1, &ask);
    ask = await_ask(FIRST - 1, &asked);
    cr_assert_eq(asked, 2, "whoever it was that was wrong: both");
    cr_assert_eq(atomic_load(&rig.refused), 1);
    while (ask.last < LAST) { /* it may take several answers */
        answer_right(2, &ask);
        ask = await_ask(ask.last, &asked);
    }
    answer_right(2, &ask);
    expect_whole();
}

/* Nothing is lost that came: it is written when there is room. */
Test(log_repair, waits_for_room_to_write_what_came)
{
    uint32_t asked;
    memory_disk_fail_at_change(rig.disk, memory_disk_changes(rig.disk) + 1, CONCLAVE_NO_SPACE);
    begin();
    struct peer_repair ask = await_ask(FIRST - 1, &asked);
    while (ask.last < LAST) {
        answer_right(1, &ask);
        ask = await_ask(ask.last, &asked);
    }
    answer_right(1, &ask);
    expect_whole();
}

/* --- What it gives meanwhile ------------------------------------------------------------------ */

enum { SECOND_HOLE = 70 };

static uint64_t change; /* the first entry of term 3 */

/* Is the entry in the middle of a segment, with three more around it? */
static bool stands_apart(uint64_t index)
{
    static struct placed places[PLACES_MAX];
    const size_t count = image_layout(rig.others.disk, places, PLACES_MAX);
    for (size_t i = 2; i + 1 < count; i++) {
        size_t bytes = 0;
        uint64_t there;
        const uint8_t *data = memory_disk_bytes(rig.others.disk, places[i].path, &bytes);
        memcpy(&there, data + places[i].offset + 40, sizeof there);
        if (places[i].is_batch || there != index)
            continue;
        bool apart = true;
        for (size_t k = i - 2; k <= i + 1; k++)
            apart = apart && !places[k].is_batch && strcmp(places[k].path, places[i].path) == 0;
        return apart;
    }
    return false;
}

/* The last entry of term 2 and the first of term 3 are lost, in one batch with what is around them:
 * nothing says of which term they were. Two more are lost farther on. */
static void setup_unsure(void)
{
    for (change = 20;; change++) {
        const struct step steps[] = {{STEP_APPEND, 2, 2, change - 2},
                                     {STEP_APPEND, 3, change, 70},
                                     {STEP_SYNC, 0, 0, 0},
                                     {STEP_ATTEST, 0, 0, 0},
                                     {STEP_END, 0, 0, 0}};
        peer_make(&rig.others, steps);
        if (stands_apart(change))
            break;
        peer_free(&rig.others);
        cr_assert_lt(change, 40);
    }
    rig.disk = memory_disk_clone(rig.others.disk);
    damage(change - 1, change);
    damage(SECOND_HOLE, SECOND_HOLE + 1);
    run();
}

TestSuite(log_repair_giving, .init = setup_unsure, .fini = teardown, .timeout = 600);

static void answer_later(uint32_t other, const struct peer_repair *ask)
{
    struct envelope *envelope = envelope_create(ENVELOPE_REPAIR_ANSWER);
    envelope->repair.from = story_identity.node_id + other;
    envelope->repair.frame =
        (struct peer_repair){.number = ask->number, .result = PEER_REPAIR_LATER};
    mailbox_send(&rig.to_writer, &envelope);
}

/* Another one in repair asks which entry stands there. */
static struct peer_repair ask_for_id(uint64_t index)
{
    uint32_t count;
    struct envelope *envelope = envelope_create(ENVELOPE_REPAIR_ASK);
    envelope->repair.from = story_identity.node_id + 1;
    envelope->repair.frame =
        (struct peer_repair){.number = 1,
                             .prev = {.index = index},
                             .last = index,
                             .anchor = raft_runs_last(&rig.others.log.entries)};
    mailbox_send(&rig.to_writer, &envelope);
    return await_frame(PEER_FRAME_REPAIR_ANSWER, &count);
}

/* What it tells is what it has by then, not what it had when it began. */
Test(log_repair_giving, tells_what_was_proved_since)
{
    uint32_t asked;
    cr_assert_eq(ask_for_id(change).result, PEER_REPAIR_LATER, "nobody knows that");
    begin();
    struct peer_repair ask = await_frame(PEER_FRAME_REPAIR_ASK, &asked);
    for (; ask.last < SECOND_HOLE; ask = await_frame(PEER_FRAME_REPAIR_ASK, &asked)) {
        for (uint32_t other = 1; other <= 2 && ask.anchor.index > 0; other++)
            answer_later(other, &ask);
        if (ask.anchor.index == 0) /* by links */
            answer_right(1, &ask);
    }
    const struct peer_repair told = ask_for_id(change);
    cr_assert_eq(told.result, PEER_REPAIR_HERE);
    cr_assert(raft_id_equal(told.prev, (struct raft_id){.term = 3, .index = change}));
    while (ask.last < SECOND_HOLE + 1) {
        answer_right(1, &ask);
        ask = await_ask(ask.last, &asked);
    }
    answer_right(1, &ask);
    expect_whole();
}

/* Snapshots of a machine that is not the built-in one: its state and its clients' sessions. */
#include "machine/session_snapshot.h"

#include "codec/session.h"
#include "machine/reply.h"
#include "machine/session_layer.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* --- A machine that adds -----------------------------------------------------------------------
 */

struct adder {
    uint64_t sum, applied;
    unsigned open_snapshots;
    int begin_code, write_code, restore_code;
    bool looks_away;   /* from what the sink answers */
    bool writes_twice; /* the state, so that there are some */
};

static int adder_open(void *machine, const struct conclave_machine_env *env, uint64_t *ret_applied,
                      struct conclave_error *error)
{
    (void)env;
    (void)error;
    *ret_applied = ((struct adder *)machine)->applied;
    return CONCLAVE_OK;
}

static int adder_apply(void *machine, const struct conclave_command *commands, size_t count,
                       uint64_t last_index, struct conclave_reply_sink *const *replies)
{
    struct adder *adder = machine;
    for (size_t i = 0; i < count; i++) {
        cr_assert_gt(commands[i].index, adder->applied, "applied twice");
        adder->sum += *(const uint8_t *)commands[i].data;
        conclave_reply_set(replies[i], CONCLAVE_OK, &adder->sum, sizeof adder->sum);
    }
    adder->applied = last_index;
    return CONCLAVE_OK;
}

static void adder_query(void *machine, const void *data, size_t bytes,
                        struct conclave_reply_sink *reply)
{
    (void)machine;
    (void)data;
    (void)bytes;
    (void)reply;
}

static int adder_begin(void *machine, void **ret_snapshot)
{
    struct adder *adder = machine;
    if (adder->begin_code)
        return adder->begin_code;
    uint64_t *fixed = malloc(sizeof *fixed);
    *fixed = adder->sum;
    *ret_snapshot = fixed;
    adder->open_snapshots++;
    return CONCLAVE_OK;
}

static int adder_write(void *machine, void *snapshot, struct conclave_snapshot_sink *sink)
{
    const struct adder *adder = machine;
    if (adder->write_code)
        return adder->write_code;
    for (int i = 0; i <= adder->writes_twice; i++) {
        int code = conclave_snapshot_add(sink, snapshot, sizeof(uint64_t));
        if (code && !adder->looks_away)
            return code;
    }
    return CONCLAVE_OK;
}

static void adder_end(void *machine, void *snapshot)
{
    ((struct adder *)machine)->open_snapshots--;
    free(snapshot);
}

static int adder_restore(void *machine, uint64_t index, struct conclave_snapshot_source *source)
{
    struct adder *adder = machine;
    uint64_t sum = 0;
    size_t got = 0;
    if (adder->restore_code)
        return adder->restore_code;
    int code = conclave_snapshot_read(source, &sum, sizeof sum, &got);
    if (code && !adder->looks_away)
        return code;
    if (got < sizeof sum && !adder->looks_away)
        return CONCLAVE_CORRUPT;
    adder->sum = sum;
    adder->applied = index;
    return CONCLAVE_OK;
}

static const struct conclave_machine_ops adder_ops = {.size = sizeof adder_ops,
                                                      .open = adder_open,
                                                      .apply = adder_apply,
                                                      .query = adder_query,
                                                      .snapshot_begin = adder_begin,
                                                      .snapshot_write = adder_write,
                                                      .snapshot_end = adder_end,
                                                      .restore = adder_restore};

/* --- A node ------------------------------------------------------------------------------------
 */

struct node {
    struct adder adder;
    struct session_layer *layer;
    uint64_t applied; /* by the layer */
    struct conclave_reply_sink reply;
};

static void node_open(struct node *node)
{
    const struct conclave_machine_env env = {.dir = "/"};
    session_layer_destroy(node->layer);
    node->layer = session_layer_create(&adder_ops, &node->adder);
    cr_assert_eq(session_layer_open(node->layer, &env, &node->applied, NULL), CONCLAVE_OK);
    cr_assert_eq(node->applied, 0, "the layer of such a machine reads the log");
}

static void node_close(struct node *node)
{
    cr_assert_eq(node->adder.open_snapshots, 0);
    session_layer_destroy(node->layer);
    reply_sink_clear(&node->reply);
}

/* Applies one request at the index behind the last; its answer's code. */
static int take(struct node *node, const struct session_request *request)
{
    struct pack pack;
    pack_init(&pack, 0);
    session_request_pack(&pack, request);
    struct session_input input = {.command = {++node->applied, 1, pack.buf->data, pack.bytes},
                                  .in_session = true};
    struct conclave_reply_sink *reply = &node->reply;
    reply_sink_clear(reply);
    cr_assert_eq(session_layer_apply(node->layer, &input, 1, node->applied, &reply), CONCLAVE_OK);
    pack_deinit(&pack);
    return reply->code;
}

/* Adds as command `sequence` of the session; the answer, 0 if it has none. */
static uint64_t add(struct node *node, uint64_t session, uint64_t sequence, uint8_t what)
{
    uint64_t sum = 0;
    node->reply.code = take(node, &(struct session_request){.opcode = SESSION_COMMAND,
                                                            .session = session,
                                                            .sequence = sequence,
                                                            .command = {&what, 1}});
    if (node->reply.body)
        memcpy(&sum, node->reply.body->data, sizeof sum);
    return sum;
}

/* Session 1 with three commands: 10, 20, 30. */
static void node_fill(struct node *node)
{
    cr_assert_eq(take(node, &(struct session_request){.opcode = SESSION_OPEN}), CONCLAVE_OK);
    for (uint8_t i = 1; i <= 3; i++)
        (void)add(node, 1, i, (uint8_t)(10 * i));
    cr_assert_eq(node->adder.sum, 60);
}

struct stream {
    uint8_t bytes[4096];
    size_t used, at;
    int code; /* once `room` is used up */
    size_t room;
};

static int stream_add(void *arg, const void *data, size_t bytes)
{
    struct stream *stream = arg;
    if (stream->room < bytes)
        return stream->code;
    memcpy(stream->bytes + stream->used, data, bytes);
    stream->used += bytes;
    stream->room -= bytes;
    return CONCLAVE_OK;
}

static int stream_read(void *arg, void *data, size_t bytes, size_t *ret_bytes)
{
    struct stream *stream = arg;
    size_t left = stream->used - stream->at;
    *ret_bytes = bytes < left ? bytes : left;
    memcpy(data, stream->bytes + stream->at, *ret_bytes);
    stream->at += *ret_bytes;
    return *ret_bytes < bytes ? stream->code : CONCLAVE_OK;
}

static int snapshot_of(struct node *node, struct stream *stream)
{
    struct session_snapshot *snapshot = NULL;
    if (stream->room == 0)
        stream->room = sizeof stream->bytes;
    int code = session_layer_begin_snapshot(node->layer, &snapshot);
    if (code)
        return code;
    code = session_snapshot_write(snapshot, stream_add, stream);
    session_snapshot_end(snapshot);
    return code;
}

static int restore(struct node *node, uint64_t index, struct stream *stream)
{
    stream->at = 0;
    int code = session_layer_restore(node->layer, index, stream_read, stream);
    if (!code)
        node->applied = index;
    return code;
}

/* --- What travels ------------------------------------------------------------------------------
 */

Test(session_snapshot, of_any_machine_has_its_state_and_its_sessions)
{
    struct node from = {0}, to = {0};
    struct stream stream = {0};
    node_open(&from);
    node_open(&to);
    node_fill(&from);
    cr_assert_eq(snapshot_of(&from, &stream), CONCLAVE_OK);
    cr_assert_eq(restore(&to, 4, &stream), CONCLAVE_OK);
    cr_assert_eq(to.adder.sum, 60);
    cr_assert_eq(add(&to, 1, 2, 20), 30, "answered as before, not applied again");
    cr_assert_eq(add(&to, 1, 4, 40), 100, "and the next one is applied");
    cr_assert_eq(to.adder.sum, 100);
    node_close(&from);
    node_close(&to);
}

Test(session_snapshot, is_of_its_begin_whatever_comes_then)
{
    struct node from = {0}, to = {0};
    struct stream stream = {.room = sizeof stream.bytes};
    struct session_snapshot *snapshot = NULL;
    node_open(&from);
    node_open(&to);
    node_fill(&from);
    cr_assert_eq(session_layer_begin_snapshot(from.layer, &snapshot), CONCLAVE_OK);
    (void)add(&from, 1, 4, 40);
    cr_assert_eq(session_snapshot_write(snapshot, stream_add, &stream), CONCLAVE_OK);
    session_snapshot_end(snapshot);
    cr_assert_eq(restore(&to, 4, &stream), CONCLAVE_OK);
    cr_assert_eq(to.adder.sum, 60);
    cr_assert_eq(add(&to, 1, 4, 40), 100, "it is new to the one that was restored");
    node_close(&from);
    node_close(&to);
}

Test(session_snapshot, gives_a_machine_that_holds_more_the_sessions_alone)
{
    struct node node = {0};
    struct stream stream = {0};
    node_open(&node);
    node_fill(&node);
    cr_assert_eq(snapshot_of(&node, &stream), CONCLAVE_OK);
    (void)add(&node, 1, 4, 40); /* entry 5 */
    node_open(&node);           /* a machine that keeps its state; the log begins behind entry 4 */
    cr_assert(!session_layer_can_snapshot(node.layer), "the machine is ahead of the sessions");
    cr_assert_eq(restore(&node, 4, &stream), CONCLAVE_OK);
    cr_assert_eq(node.adder.sum, 100, "not taken back");
    cr_assert(!session_layer_can_snapshot(node.layer));
    cr_assert_eq(add(&node, 1, 4, 40), 0, "entry 5 again: noted");
    cr_assert_eq(node.adder.sum, 100, "and not applied again");
    cr_assert(session_layer_can_snapshot(node.layer));
    cr_assert_eq(add(&node, 1, 3, 30), 60, "answered from the snapshot");
    cr_assert_eq(add(&node, 1, 5, 50), 150);
    node_close(&node);
}

/* --- Failures ----------------------------------------------------------------------------------
 */

Test(session_snapshot, passes_the_machines_codes_on_and_goes_on_after_them)
{
    static const int codes[] = {CONCLAVE_BUSY, CONCLAVE_NO_SPACE, CONCLAVE_INTERNAL};
    struct node node = {0}, to = {0};
    node_open(&node);
    node_open(&to);
    node_fill(&node);
    for (size_t i = 0; i < 3; i++) {
        struct stream stream = {0};
        node.adder.begin_code = codes[i];
        cr_assert_eq(snapshot_of(&node, &stream), codes[i]);
        node.adder.begin_code = 0;
        node.adder.write_code = codes[i];
        cr_assert_eq(snapshot_of(&node, &stream), codes[i]);
        node.adder.write_code = 0;
        stream = (struct stream){0};
        cr_assert_eq(snapshot_of(&node, &stream), CONCLAVE_OK);
        to.adder.restore_code = codes[i];
        cr_assert_eq(restore(&to, 4, &stream), codes[i]);
    }
    cr_assert_eq(add(&node, 1, 4, 40), 100);
    node_close(&node);
    node_close(&to);
}

Test(session_snapshot, is_lost_when_its_bytes_are_even_if_the_machine_looks_away)
{
    struct node node = {.adder = {.looks_away = true, .writes_twice = true}};
    node_open(&node);
    node_fill(&node);
    struct stream whole = {0};
    cr_assert_eq(snapshot_of(&node, &whole), CONCLAVE_OK);
    for (size_t room = 1; room < whole.used; room++) {
        struct stream stream = {.room = room, .code = CONCLAVE_NO_SPACE};
        cr_assert_eq(snapshot_of(&node, &stream), CONCLAVE_NO_SPACE, "%zu", room);
    }
    node_close(&node);
}

Test(session_snapshot, that_is_cut_or_that_the_machine_does_not_read_to_its_end_is_refused)
{
    struct node node = {0};
    struct stream whole = {0}, more = {0};
    node_open(&node);
    node_fill(&node);
    cr_assert_eq(snapshot_of(&node, &whole), CONCLAVE_OK);
    for (size_t bytes = 0; bytes < whole.used; bytes++) {
        struct node to = {0};
        struct stream cut = whole;
        node_open(&to);
        cut.used = bytes;
        cr_assert_eq(restore(&to, 4, &cut), CONCLAVE_CORRUPT, "%zu", bytes);
        cut.code = CONCLAVE_IO;
        to.adder.looks_away = true;
        cr_assert_eq(restore(&to, 4, &cut), CONCLAVE_IO, "%zu: the source says what is wrong",
                     bytes);
        node_close(&to);
    }
    node.adder.writes_twice = true;
    cr_assert_eq(snapshot_of(&node, &more), CONCLAVE_OK);
    struct node to = {0};
    node_open(&to);
    cr_assert_eq(restore(&to, 4, &more), CONCLAVE_CORRUPT);
    node_close(&to);
    node_close(&node);
}

Test(session_snapshot, of_another_form_is_refused)
{
    struct node node = {0}, to = {0};
    struct stream whole = {0};
    node_open(&node);
    node_open(&to);
    node_fill(&node);
    cr_assert_eq(snapshot_of(&node, &whole), CONCLAVE_OK);
    static const struct {
        size_t at;
        uint8_t with;
        int code;
    } changes[] = {
        {0, 'X', CONCLAVE_CORRUPT},  /* magic */
        {7, 2, CONCLAVE_VERSION},    /* format */
        {8, 9, CONCLAVE_VERSION},    /* an unknown section */
        {8, 0, CONCLAVE_CORRUPT},    /* an end that has bytes */
        {12, 1, CONCLAVE_CORRUPT},   /* what is zero */
        {16, 1, CONCLAVE_CORRUPT},   /* another size */
        {20, 0xff, CONCLAVE_CORRUPT} /* one that nobody has memory for */
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct stream changed = whole;
        changed.bytes[changes[i].at] = changes[i].with;
        cr_assert_eq(restore(&to, 4, &changed), changes[i].code, "change %zu", i);
    }
    cr_assert_eq(restore(&to, 4, &whole), CONCLAVE_OK);
    node_close(&node);
    node_close(&to);
}

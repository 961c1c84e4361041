/* Sessions and data of the built-in machine are one: also after a kill at any instant. */
#include "rig.h"

#include "base/prng.h"
#include "codec/session.h"
#include "machine/session_layer.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 30, BATCHES_MAX = 60, BATCH = 16 };

static struct session_layer *layer_open(struct rig *rig)
{
    struct session_layer *layer = session_layer_create(rig->ops, rig->kv);
    struct conclave_error error;
    uint64_t applied;
    int code = session_layer_open(layer, &rig->env, &applied, &error);
    cr_assert_eq(code, CONCLAVE_OK, "%s", error.message);
    rig->index = applied;
    return layer;
}

static void layer_close(struct rig *rig, struct session_layer *layer)
{
    rig_close(rig);
    session_layer_destroy(layer);
}

/* One batch of puts of a session, all to one key: numbers first to first + count - 1. Returns the
 * code of the machine. The answers go to sinks[]. */
static int put_batch(struct rig *rig, struct session_layer *layer, uint64_t session, uint64_t first,
                     size_t count, struct conclave_reply_sink *sinks)
{
    struct session_input inputs[BATCH];
    struct conclave_reply_sink *replies[BATCH];
    struct buf *bufs[BATCH];
    struct pack put;
    pack_init(&put, 0);
    kv_command_pack(&put,
                    &(struct kv_command){.opcode = KV_PUT, .key = text("k"), .value = text("v")});
    for (size_t i = 0; i < count; i++) {
        struct session_request request = {.opcode = SESSION_COMMAND,
                                          .session = session,
                                          .sequence = first + i,
                                          .acknowledged = first > 100 ? first - 100 : 0,
                                          .command = {put.buf->data, put.bytes}};
        struct pack pack;
        pack_init(&pack, 0);
        session_request_pack(&pack, &request);
        bufs[i] = pack_take(&pack);
        inputs[i] = (struct session_input){
            .command = {++rig->index, 1, bufs[i]->data, bufs[i]->bytes}, .in_session = true};
        replies[i] = &sinks[i];
    }
    pack_deinit(&put);
    int code = session_layer_apply(layer, inputs, count, rig->index, replies);
    for (size_t i = 0; i < count; i++)
        buf_unref(bufs[i]);
    return code;
}

static uint64_t open_session(struct rig *rig, struct session_layer *layer)
{
    struct session_input input = {.command = {++rig->index, 1, "\x91\x01", 2}, .in_session = true};
    struct conclave_reply_sink sink = {0}, *reply = &sink;
    cr_assert_eq(session_layer_apply(layer, &input, 1, rig->index, &reply), CONCLAVE_OK);
    cr_assert_eq(sink.code, CONCLAVE_OK);
    reply_sink_clear(&sink);
    return rig->index;
}

static void clear(struct conclave_reply_sink *sinks)
{
    for (int i = 0; i < BATCH; i++)
        reply_sink_clear(&sinks[i]);
}

Test(session_kill, a_repeat_after_a_restart_is_answered_as_before)
{
    struct rig *rig = rig_create();
    rig_close(rig);
    struct session_layer *layer = layer_open(rig);
    uint64_t session = open_session(rig, layer);
    struct conclave_reply_sink before[BATCH] = {0}, after[BATCH] = {0};
    cr_assert_eq(put_batch(rig, layer, session, 1, BATCH, before), CONCLAVE_OK);
    struct buf *state = session_table_encode(session_layer_table(layer));
    layer_close(rig, layer);

    layer = layer_open(rig);
    struct buf *again = session_table_encode(session_layer_table(layer));
    cr_assert_eq(state->bytes, again->bytes);
    cr_assert_eq(memcmp(state->data, again->data, state->bytes), 0);
    cr_assert_eq(put_batch(rig, layer, session, 1, BATCH, after), CONCLAVE_OK);
    for (int i = 0; i < BATCH; i++) {
        cr_assert_eq(before[i].body->bytes, after[i].body->bytes);
        cr_assert_eq(memcmp(before[i].body->data, after[i].body->data, after[i].body->bytes), 0);
    }
    cr_assert_eq(kv_revision(rig->kv), BATCH);
    buf_unref(state);
    buf_unref(again);
    clear(before);
    clear(after);
    layer_close(rig, layer);
    rig_destroy(rig);
}

/* In the child: numbers from the revision on, until it is killed. */
static _Noreturn void child_run(struct rig *rig, uint64_t session, int tell)
{
    struct session_layer *layer = layer_open(rig);
    struct conclave_reply_sink sinks[BATCH] = {0};
    for (;;) {
        uint64_t first = kv_revision(rig->kv) + 1;
        if (put_batch(rig, layer, session, first, BATCH, sinks) ||
            write(tell, &first, sizeof first) != sizeof first)
            _exit(2);
        clear(sinks);
    }
}

Test(session_kill, leaves_sessions_and_data_of_one_apply, .timeout = 1200)
{
    struct rig *rig = rig_create();
    rig_close(rig);
    struct session_layer *layer = layer_open(rig);
    uint64_t session = open_session(rig, layer);
    layer_close(rig, layer);
    struct prng prng;
    prng_init(&prng, 11);
    for (int round = 0; round < ROUNDS; round++) {
        int told[2];
        cr_assert_eq(pipe(told), 0);
        pid_t child = fork();
        cr_assert_geq(child, 0);
        if (child == 0)
            child_run(rig, session, told[1]);
        close(told[1]);
        uint64_t first;
        for (uint64_t i = 0, wanted = prng_below(&prng, BATCHES_MAX); i < wanted; i++)
            cr_assert_eq(read(told[0], &first, sizeof first), (ssize_t)sizeof first);
        kill(child, SIGKILL);
        int status;
        cr_assert_eq(waitpid(child, &status, 0), child);
        cr_assert(WIFSIGNALED(status), "round %d: exit %d", round, WEXITSTATUS(status));
        close(told[0]);

        /* The last numbers again: each answered from the table, none applied twice. */
        layer = layer_open(rig);
        uint64_t revision = kv_revision(rig->kv);
        cr_assert_eq(revision % BATCH, 0);
        struct conclave_reply_sink sinks[BATCH] = {0};
        if (revision > 0)
            cr_assert_eq(put_batch(rig, layer, session, revision - BATCH + 1, BATCH, sinks),
                         CONCLAVE_OK);
        for (int i = 0; i < BATCH && revision > 0; i++) {
            struct kv_outcome outcome;
            cr_assert_eq(sinks[i].code, CONCLAVE_OK);
            cr_assert_eq(kv_outcome_decode(sinks[i].body->data, sinks[i].body->bytes, &outcome), 0);
            cr_assert_eq(outcome.revision, revision - BATCH + 1 + (uint64_t)i);
        }
        cr_assert_eq(kv_revision(rig->kv), revision);
        clear(sinks);
        layer_close(rig, layer);
    }
    rig_destroy(rig);
}

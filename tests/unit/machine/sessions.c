/* Client sessions in front of a machine that counts what it applies. */
#include "base/prng.h"
#include "codec/session.h"
#include "machine/reply.h"
#include "machine/session_layer.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* --- A machine: answers each command with how many it has applied ------------------------------
 */

struct counter {
    uint64_t applied_index, count, hash;
    size_t answer_bytes; /* of each answer; at least 8 */
};

static int counter_open(void *machine, const struct conclave_machine_env *env,
                        uint64_t *ret_applied, struct conclave_error *error)
{
    (void)env;
    (void)error;
    *ret_applied = ((struct counter *)machine)->applied_index;
    return CONCLAVE_OK;
}

static int counter_apply(void *machine, const struct conclave_command *commands, size_t count,
                         uint64_t last_index, struct conclave_reply_sink *const *replies)
{
    struct counter *self = machine;
    cr_assert_gt(last_index, self->applied_index);
    self->applied_index = last_index;
    for (size_t i = 0; i < count; i++) {
        self->count++;
        for (size_t k = 0; k < commands[i].bytes; k++)
            self->hash = self->hash * 31 + ((const uint8_t *)commands[i].data)[k];
        uint8_t *answer = calloc(1, self->answer_bytes);
        memcpy(answer, &self->count, sizeof self->count);
        conclave_reply_set(replies[i], CONCLAVE_OK, answer, self->answer_bytes);
        free(answer);
    }
    return CONCLAVE_OK;
}

static void counter_query(void *machine, const void *data, size_t bytes,
                          struct conclave_reply_sink *reply)
{
    (void)machine;
    (void)data;
    (void)bytes;
    (void)reply;
}

static const struct conclave_machine_ops counter_ops = {.size = sizeof counter_ops,
                                                        .open = counter_open,
                                                        .apply = counter_apply,
                                                        .query = counter_query};

/* --- A log -------------------------------------------------------------------------------------
 */

enum { LOG_MAX = 60000 };

static struct {
    struct counter counter;
    struct session_layer *layer;
    const struct session_limits *limits;  /* NULL: the usual ones */
    struct session_input inputs[LOG_MAX]; /* the whole log; [i] has index i + 1 */
    size_t logged, applied;
    struct conclave_reply_sink replies[LOG_MAX];
} w;

static void open_layer(void)
{
    const struct conclave_machine_env env = {.dir = "/"};
    uint64_t applied;
    w.layer = session_layer_create(&counter_ops, &w.counter);
    if (w.limits)
        session_table_set_limits(session_layer_table(w.layer), w.limits);
    cr_assert_eq(session_layer_open(w.layer, &env, &applied, NULL), CONCLAVE_OK);
    cr_assert_eq(applied, 0);
}

static void setup(void)
{
    memset(&w, 0, sizeof w);
    w.counter.answer_bytes = sizeof(uint64_t);
    open_layer();
}

static void forget_replies(void)
{
    for (size_t i = 0; i < w.applied; i++)
        reply_sink_clear(&w.replies[i]);
    w.applied = 0;
}

static void teardown(void)
{
    forget_replies();
    session_layer_destroy(w.layer);
    for (size_t i = 0; i < w.logged; i++)
        free((void *)(uintptr_t)w.inputs[i].command.data);
}

TestSuite(sessions, .init = setup, .fini = teardown);

static void log_bytes(const void *data, size_t bytes, bool in_session)
{
    cr_assert_lt(w.logged, LOG_MAX);
    uint8_t *copy = malloc(bytes + 1);
    memcpy(copy, data, bytes);
    w.inputs[w.logged] = (struct session_input){
        .command = {.index = w.logged + 1, .term = 1, .data = copy, .bytes = bytes},
        .in_session = in_session};
    w.logged++;
}

static void log_request(const struct session_request *request)
{
    struct pack pack;
    pack_init(&pack, 0);
    session_request_pack(&pack, request);
    log_bytes(pack.buf->data, pack.bytes, true);
    pack_deinit(&pack);
}

static void log_command(uint64_t session, uint64_t sequence, uint64_t acknowledged)
{
    log_request(&(struct session_request){.opcode = SESSION_COMMAND,
                                          .session = session,
                                          .sequence = sequence,
                                          .acknowledged = acknowledged,
                                          .command = {(const uint8_t *)"add", 3}});
}

/* Applies what is in the log, so many at a time. */
static void apply_in(size_t batch)
{
    while (w.applied < w.logged) {
        struct conclave_reply_sink *sinks[SESSION_INPUTS_MAX];
        size_t count = w.logged - w.applied < batch ? w.logged - w.applied : batch;
        for (size_t i = 0; i < count; i++)
            sinks[i] = &w.replies[w.applied + i];
        cr_assert_eq(
            session_layer_apply(w.layer, &w.inputs[w.applied], count, w.applied + count, sinks),
            CONCLAVE_OK);
        w.applied += count;
    }
}

/* The answer to the last entry. */
static const struct conclave_reply_sink *answer(void)
{
    apply_in(SESSION_INPUTS_MAX);
    return &w.replies[w.applied - 1];
}

static uint64_t answered_count(const struct conclave_reply_sink *reply)
{
    uint64_t count;
    cr_assert_eq(reply->code, CONCLAVE_OK);
    cr_assert_not_null(reply->body);
    memcpy(&count, reply->body->data, sizeof count);
    return count;
}

static uint64_t open_session(void)
{
    log_request(&(struct session_request){.opcode = SESSION_OPEN});
    struct session_opened opened;
    const struct conclave_reply_sink *reply = answer();
    cr_assert_eq(session_opened_decode(reply->body->data, reply->body->bytes, &opened), 0);
    cr_assert_eq(opened.session, w.logged);
    cr_assert_eq(opened.window, SESSION_WINDOW);
    return opened.session;
}

static void pass_ms(uint64_t ms)
{
    for (; ms > 0; ms -= ms < 10000 ? ms : 10000)
        log_request(&(struct session_request){.opcode = SESSION_CLOCK,
                                              .elapsed_ms = ms < 10000 ? ms : 10000});
    apply_in(SESSION_INPUTS_MAX);
}

static int code_of(uint64_t session, uint64_t sequence, uint64_t acknowledged)
{
    log_command(session, sequence, acknowledged);
    return answer()->code;
}

/* --- Rule 43 -----------------------------------------------------------------------------------
 */

Test(sessions, apply_a_repeated_command_once_and_answer_it_the_same)
{
    uint64_t session = open_session();
    log_command(session, 1, 0);
    cr_assert_eq(answered_count(answer()), 1);
    log_command(session, 2, 0);
    cr_assert_eq(answered_count(answer()), 2);
    log_command(session, 1, 0);
    cr_assert_eq(answered_count(answer()), 1);
    cr_assert_eq(w.counter.count, 2);
}

Test(sessions, answer_a_repeat_in_the_same_batch)
{
    uint64_t session = open_session();
    log_command(session, 1, 0);
    log_command(session, 1, 0);
    log_command(session, 1, 0);
    size_t first = w.applied;
    apply_in(SESSION_INPUTS_MAX);
    for (size_t i = first; i < first + 3; i++)
        cr_assert_eq(answered_count(&w.replies[i]), 1);
    cr_assert_eq(w.counter.count, 1);
}

Test(sessions, take_numbers_in_any_order)
{
    uint64_t session = open_session();
    cr_assert_eq(code_of(session, 3, 0), CONCLAVE_OK);
    cr_assert_eq(code_of(session, 1, 0), CONCLAVE_OK);
    cr_assert_eq(code_of(session, SESSION_WINDOW, 0), CONCLAVE_OK);
    log_command(session, 3, 0);
    cr_assert_eq(answered_count(answer()), 1);
    cr_assert_eq(w.counter.count, 3);
}

/* The highest number bounds what a record of the session may hold. */
Test(sessions, are_kept_whole_when_the_number_before_the_last_comes_after_it)
{
    uint64_t session = open_session();
    cr_assert_eq(code_of(session, 2, 0), CONCLAVE_OK);
    cr_assert_eq(code_of(session, 1, 0), CONCLAVE_OK);
    struct buf *state = session_table_encode(session_layer_table(w.layer));
    struct session_table *table = session_table_create();
    cr_assert_eq(session_table_decode(table, state->data, state->bytes), CONCLAVE_OK);
    session_table_destroy(table);
    buf_unref(state);
    cr_assert_eq(code_of(session, 3, 2), CONCLAVE_OK);
    cr_assert_eq(code_of(session, 2, 0), CONCLAVE_FORGOTTEN);
}

Test(sessions, forget_what_was_acknowledged_and_apply_it_never_again)
{
    uint64_t session = open_session();
    cr_assert_eq(code_of(session, 1, 0), CONCLAVE_OK);
    cr_assert_eq(code_of(session, 3, 2), CONCLAVE_OK);
    cr_assert_eq(code_of(session, 1, 0), CONCLAVE_FORGOTTEN);
    cr_assert_eq(code_of(session, 2, 0), CONCLAVE_FORGOTTEN); /* given up before it ever came */
    cr_assert_eq(w.counter.count, 2);
}

Test(sessions, refuse_what_is_beyond_the_window)
{
    uint64_t session = open_session();
    cr_assert_eq(code_of(session, SESSION_WINDOW + 1, 0), CONCLAVE_BUSY);
    cr_assert_eq(w.counter.count, 0);
    cr_assert_eq(code_of(session, SESSION_WINDOW + 1, 1), CONCLAVE_OK);
}

Test(sessions, are_told_apart)
{
    uint64_t one = open_session(), other = open_session();
    cr_assert_eq(code_of(one, 1, 0), CONCLAVE_OK);
    log_command(other, 1, 0);
    cr_assert_eq(answered_count(answer()), 2);
}

Test(sessions, leave_plain_commands_alone)
{
    log_bytes("add", 3, false);
    cr_assert_eq(answered_count(answer()), 1);
    log_bytes("add", 3, false);
    cr_assert_eq(answered_count(answer()), 2);
}

Test(sessions, answer_bytes_that_are_no_request)
{
    log_bytes("\x92\x02", 2, true);
    cr_assert_eq(answer()->code, CONCLAVE_MALFORMED);
    log_bytes("", 0, true);
    cr_assert_eq(answer()->code, CONCLAVE_MALFORMED);
    cr_assert_eq(code_of(1, 4, 4), CONCLAVE_MALFORMED); /* acknowledges itself */
    cr_assert_eq(w.counter.count, 0);
}

/* --- The end of a session ----------------------------------------------------------------------
 */

Test(sessions, refuse_commands_once_closed)
{
    uint64_t session = open_session();
    log_command(session, 1, 0);
    log_request(&(struct session_request){.opcode = SESSION_CLOSE, .session = session});
    cr_assert_eq(answer()->code, CONCLAVE_OK);
    cr_assert_eq(code_of(session, 2, 0), CONCLAVE_SESSION_EXPIRED);
    cr_assert_eq(code_of(session, 1, 0), CONCLAVE_SESSION_EXPIRED);
    cr_assert_eq(w.counter.count, 1);
}

Test(sessions, expire_after_their_lifetime_of_cluster_time)
{
    uint64_t session = open_session();
    pass_ms(SESSION_LIFETIME_MS - 1);
    cr_assert_eq(code_of(session, 1, 0), CONCLAVE_OK);
    pass_ms(SESSION_LIFETIME_MS - 1);
    log_request(&(struct session_request){
        .opcode = SESSION_KEEP_ALIVE, .session = session, .acknowledged = 1});
    cr_assert_eq(answer()->code, CONCLAVE_OK);
    pass_ms(SESSION_LIFETIME_MS);
    cr_assert_eq(code_of(session, 2, 0), CONCLAVE_SESSION_EXPIRED);
    log_request(&(struct session_request){
        .opcode = SESSION_KEEP_ALIVE, .session = session, .acknowledged = 1});
    cr_assert_eq(answer()->code, CONCLAVE_SESSION_EXPIRED);
    cr_assert_eq(w.counter.count, 1);
}

Test(sessions, live_on_after_one_long_silence_of_the_whole_cluster)
{
    uint64_t session = open_session();
    log_request(&(struct session_request){.opcode = SESSION_CLOCK, .elapsed_ms = 3600 * 1000});
    cr_assert_eq(code_of(session, 1, 0), CONCLAVE_OK);
}

Test(sessions, end_with_the_one_used_longest_ago_when_there_are_too_many)
{
    uint64_t first = open_session(), second = open_session();
    for (int i = 2; i < SESSIONS_MAX; i++)
        log_request(&(struct session_request){.opcode = SESSION_OPEN});
    cr_assert_eq(code_of(first, 1, 0), CONCLAVE_OK);
    open_session();
    cr_assert_eq(session_table_count(session_layer_table(w.layer)), SESSIONS_MAX);
    cr_assert_eq(code_of(second, 1, 0), CONCLAVE_SESSION_EXPIRED);
    cr_assert_eq(code_of(first, 2, 1), CONCLAVE_OK);
}

/* --- Memory ------------------------------------------------------------------------------------
 */

Test(sessions, keep_no_answer_that_is_too_large)
{
    uint64_t session = open_session();
    w.counter.answer_bytes = SESSION_BODY_BYTES_MAX + 1;
    log_command(session, 1, 0);
    cr_assert_eq(answered_count(answer()), 1);
    cr_assert_eq(code_of(session, 1, 0), CONCLAVE_FORGOTTEN);
    cr_assert_eq(w.counter.count, 1);
}

Test(sessions, forget_an_answer_that_is_too_large_wherever_batches_end)
{
    uint64_t session = open_session();
    w.counter.answer_bytes = SESSION_BODY_BYTES_MAX + 1;
    log_command(session, 1, 0);
    log_command(session, 1, 0);
    apply_in(2);
    cr_assert_eq(answered_count(&w.replies[w.applied - 2]), 1);
    cr_assert_eq(w.replies[w.applied - 1].code, CONCLAVE_FORGOTTEN);
    cr_assert(w.replies[w.applied - 1].refused);
}

Test(sessions, forget_answers_when_they_are_too_many_bytes)
{
    uint64_t session = open_session();
    w.counter.answer_bytes = SESSION_BODY_BYTES_MAX;
    for (uint64_t i = 1; i <= 2 * SESSION_SWEEP_COMMANDS; i++) {
        log_command(session, i, 0);
        apply_in(1);
        reply_sink_clear(&w.replies[w.applied - 1]);
    }
    cr_assert_eq(code_of(session, 1, 0), CONCLAVE_FORGOTTEN);
    cr_assert_eq(w.counter.count, 2 * SESSION_SWEEP_COMMANDS);
    cr_assert_eq(code_of(session, 2 * SESSION_SWEEP_COMMANDS + 1, 0), CONCLAVE_OK);
}

Test(sessions, give_out_no_more_slots_than_there_are)
{
    enum { FULL = SESSION_SLOTS_MAX / SESSION_WINDOW };
    uint64_t full[FULL];
    for (int i = 0; i < FULL; i++) {
        full[i] = open_session();
        cr_assert_eq(code_of(full[i], SESSION_WINDOW, 0), CONCLAVE_OK);
    }
    uint64_t last = open_session();
    cr_assert_eq(code_of(last, SESSION_WINDOW, 0), CONCLAVE_BUSY);
    cr_assert_eq(code_of(last, SESSION_SLOTS_MIN, 0), CONCLAVE_OK); /* the least that each has */
    cr_assert_eq(w.counter.count, FULL + 1);
    /* Who has all its answers gives back all slots, but for the least that the next one needs. */
    for (int i = 0; i < 2; i++)
        cr_assert_eq(code_of(full[i], SESSION_WINDOW + 1, SESSION_WINDOW), CONCLAVE_OK);
    cr_assert_eq(code_of(last, SESSION_WINDOW, 0), CONCLAVE_OK);
}

/* --- The same on every node --------------------------------------------------------------------
 */

/* A log of everything that clients, sane or not, can make of a few sessions. */
static void log_random(uint64_t seed, size_t entries)
{
    struct prng prng;
    prng_init(&prng, seed);
    static uint64_t next[LOG_MAX], opened[LOG_MAX];
    size_t count = 0;
    memset(next, 0, sizeof next);
    for (size_t i = 0; i < entries; i++) {
        uint64_t what = prng_below(&prng, 100);
        uint64_t recent = count < 30 ? count : 30;
        uint64_t session = count ? opened[count - 1 - prng_below(&prng, recent)] : 0;
        uint64_t *sequence = &next[session];
        if (i < 20 || what < 2) {
            log_request(&(struct session_request){.opcode = SESSION_OPEN});
            opened[count++] = w.logged;
        } else if (what < 3)
            log_request(&(struct session_request){.opcode = SESSION_CLOSE, .session = session});
        else if (what < 6)
            log_request(&(struct session_request){.opcode = SESSION_CLOCK,
                                                  .elapsed_ms = prng_below(&prng, 3000)});
        else if (what < 10)
            log_bytes("plain", 5, false);
        else if (what < 40 && *sequence > 0)
            log_command(session, 1 + prng_below(&prng, *sequence), 0);
        else {
            uint64_t acknowledged = prng_below(&prng, ++*sequence);
            log_command(session, *sequence, acknowledged);
        }
    }
}

static struct buf *state_after(size_t batch, uint64_t *ret_replies)
{
    forget_replies();
    session_layer_destroy(w.layer);
    size_t answer_bytes = w.counter.answer_bytes;
    w.counter = (struct counter){.answer_bytes = answer_bytes};
    open_layer();
    apply_in(batch);
    *ret_replies = w.counter.hash;
    for (size_t i = 0; i < w.logged; i++) {
        const struct conclave_reply_sink *reply = &w.replies[i];
        *ret_replies = *ret_replies * 31 + (uint64_t)reply->code;
        for (size_t k = 0; reply->body && k < reply->body->bytes; k++)
            *ret_replies = *ret_replies * 31 + reply->body->data[k];
    }
    return session_table_encode(session_layer_table(w.layer));
}

static bool buf_equal(const struct buf *a, const struct buf *b)
{
    return a->bytes == b->bytes && memcmp(a->data, b->data, a->bytes) == 0;
}

/* The log in batches of several sizes. */
static void is_the_same_in_all_batches(void)
{
    uint64_t replies, other_replies;
    struct buf *state = state_after(1, &replies);
    cr_assert_gt(w.counter.count, w.logged / 4);
    static const size_t batches[] = {2, 7, 100, 1000, SESSION_INPUTS_MAX};
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
        struct buf *other = state_after(batches[i], &other_replies);
        cr_assert(buf_equal(state, other), "batches of %zu", batches[i]);
        cr_assert_eq(replies, other_replies, "batches of %zu", batches[i]);
        buf_unref(other);
    }
    buf_unref(state);
}

Test(sessions, are_the_same_however_the_log_was_cut_into_batches)
{
    log_random(7, 20000);
    is_the_same_in_all_batches();
}

Test(sessions, reach_small_limits_at_the_same_commands_however_the_log_was_cut)
{
    static const struct session_limits limits = {.sessions = 20,
                                                 .window = 32,
                                                 .sweep_commands = 8,
                                                 .lifetime_ms = 20000,
                                                 .clock_step_max_ms = 2000,
                                                 .slots = 256,
                                                 .body_bytes = 64,
                                                 .bodies_bytes = 2000};
    w.limits = &limits;
    log_random(9, 20000);
    is_the_same_in_all_batches();
}

Test(sessions, survive_encoding)
{
    log_random(8, 5000);
    apply_in(100);
    struct buf *state = session_table_encode(session_layer_table(w.layer));
    struct session_table *table = session_table_create();
    cr_assert_eq(session_table_decode(table, state->data, state->bytes), CONCLAVE_OK);
    struct buf *again = session_table_encode(table);
    cr_assert(buf_equal(state, again));
    for (size_t cut = 0; cut < state->bytes; cut += 1 + cut / 20) {
        cr_assert_eq(session_table_decode(table, state->data, cut), CONCLAVE_MALFORMED);
        cr_assert_eq(session_table_count(table), 0);
    }
    session_table_destroy(table);
    buf_unref(state);
    buf_unref(again);
}

/* A machine that keeps its own state starts behind commands that the table has never seen. */
Test(sessions, note_what_the_machine_holds_without_applying_it_again)
{
    uint64_t session = open_session();
    for (uint64_t i = 1; i <= 5; i++)
        log_command(session, i, i - 1);
    log_bytes("plain", 5, false);
    apply_in(3);
    cr_assert_eq(w.counter.count, 6);
    forget_replies();
    session_layer_destroy(w.layer);
    open_layer();
    apply_in(4);
    cr_assert_eq(w.counter.count, 6);
    cr_assert_eq(code_of(session, 5, 4), CONCLAVE_FORGOTTEN);
    cr_assert_eq(code_of(session, 6, 4), CONCLAVE_OK);
    cr_assert_eq(w.counter.count, 7);
}

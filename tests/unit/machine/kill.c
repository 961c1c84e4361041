/* A process killed at any instant leaves all or nothing of an apply. */
#include "rig.h"

#include "base/prng.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    KEYS = 24, /* all of them are put in each batch */
    ROUNDS = 40,
    BATCHES_MAX = 60 /* before the kill, in a round */
};

/* One batch puts its own number as the value of every key; every third value is large, so that the
 * batch has pages of all kinds and the file has to grow. */
static int apply_batch(struct rig *rig, uint64_t batch)
{
    static uint8_t value[20000];
    struct conclave_command commands[KEYS];
    struct buf *encoded[KEYS];
    for (uint64_t i = 0; i < KEYS; i++) {
        uint8_t key[2] = {'k', (uint8_t)i};
        memcpy(value, &batch, sizeof batch);
        size_t bytes = i % 3 ? 8 + i : 5000 + (batch * 977 + i * 31) % 15000;
        struct pack pack;
        pack_init(&pack, 0);
        kv_command_pack(&pack, &(struct kv_command){
                                   .opcode = KV_PUT, .key = {key, 2}, .value = {value, bytes}});
        encoded[i] = pack_take(&pack);
        commands[i] =
            (struct conclave_command){++rig->index, 1, encoded[i]->data, encoded[i]->bytes};
    }
    int code = rig->ops->apply(rig->kv, commands, KEYS, rig->index, NULL);
    for (size_t i = 0; i < KEYS; i++)
        buf_unref(encoded[i]);
    return code;
}

/* In the child: applies until it is killed, and tells of every batch that was applied. */
static _Noreturn void child_run(struct rig *rig, int tell)
{
    struct conclave_error error;
    uint64_t applied;
    if (rig->ops->open(rig->kv, &rig->env, &applied, &error))
        _exit(1);
    rig->index = applied;
    for (uint64_t batch = applied / KEYS + 1;; batch++)
        if (apply_batch(rig, batch) || write(tell, &batch, sizeof batch) != sizeof batch)
            _exit(2);
}

static void expect_batch(struct rig *rig, uint64_t batch)
{
    struct kv_query query = {
        .opcode = KV_RANGE, .bounds.no_end = true, .bytes = KV_RANGE_BYTES_MAX};
    cr_assert_eq(rig_query(rig, &query), CONCLAVE_OK);
    struct kv_range_answer answer;
    cr_assert_eq(kv_range_answer_begin(rig->sink.body->data, rig->sink.body->bytes, &answer), 0);
    cr_assert_eq(answer.revision, batch * KEYS);
    cr_assert_eq(answer.count, batch ? KEYS : 0);
    struct kv_item item;
    while (kv_range_answer_next(&answer, &item) == 1) {
        cr_assert_eq(memcmp(item.value.data, &batch, sizeof batch), 0);
        cr_assert_eq(item.version, batch);
    }
}

Test(kill, leaves_all_or_nothing_of_an_apply, .timeout = 1200)
{
    struct rig *rig = rig_create();
    rig_close(rig);
    struct prng prng;
    prng_init(&prng, 9);
    uint64_t before = 0;
    for (int round = 0; round < ROUNDS; round++) {
        int told[2];
        cr_assert_eq(pipe(told), 0);
        pid_t child = fork();
        cr_assert_geq(child, 0);
        if (child == 0)
            child_run(rig, told[1]);
        close(told[1]);
        uint64_t batch = before;
        uint64_t wanted = prng_below(&prng, BATCHES_MAX);
        for (uint64_t i = 0; i < wanted; i++)
            cr_assert_eq(read(told[0], &batch, sizeof batch), (ssize_t)sizeof batch);
        kill(child, SIGKILL);
        int status;
        cr_assert_eq(waitpid(child, &status, 0), child);
        cr_assert(WIFSIGNALED(status), "round %d: exit %d", round, WEXITSTATUS(status));
        while (read(told[0], &batch, sizeof batch) == sizeof batch)
            ; /* what it told before it died */
        close(told[0]);

        uint64_t applied = rig_open(rig);
        cr_assert_eq(applied % KEYS, 0);
        cr_assert_geq(applied / KEYS, batch, "what was told of is there");
        cr_assert_leq(applied / KEYS, batch + 1);
        expect_batch(rig, applied / KEYS);
        before = applied / KEYS;
        rig_close(rig);
    }
    cr_assert_gt(before, ROUNDS);
    rig_destroy(rig);
}

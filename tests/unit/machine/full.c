/* A full disk, by a limit on the size of files: nothing is touched, and with room it goes on. */
#include "rig.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

enum { VALUE_BYTES = 200000 };

static int apply_puts(struct rig *rig, unsigned first, unsigned count)
{
    uint8_t *value = calloc(1, VALUE_BYTES);
    struct conclave_command *commands = calloc(count, sizeof *commands);
    struct buf **encoded = calloc(count, sizeof *encoded);
    for (unsigned i = 0; i < count; i++) {
        char key[16];
        snprintf(key, sizeof key, "%06u", first + i);
        struct pack pack;
        pack_init(&pack, 0);
        kv_command_pack(&pack, &(struct kv_command){.opcode = KV_PUT,
                                                    .key = text(key),
                                                    .value = {value, VALUE_BYTES}});
        encoded[i] = pack_take(&pack);
        commands[i] =
            (struct conclave_command){rig->index + 1 + i, 1, encoded[i]->data, encoded[i]->bytes};
    }
    int code = rig->ops->apply(rig->kv, commands, count, rig->index + count, NULL);
    if (!code)
        rig->index += count;
    for (unsigned i = 0; i < count; i++)
        buf_unref(encoded[i]);
    free(encoded);
    free(commands);
    free(value);
    return code;
}

static uint64_t keys_count(struct rig *rig)
{
    struct kv_query query = {.opcode = KV_RANGE, .bounds.no_end = true, .what = KV_RANGE_COUNT};
    struct kv_range_answer answer;
    cr_assert_eq(rig_query(rig, &query), CONCLAVE_OK);
    cr_assert_eq(kv_range_answer_begin(rig->sink.body->data, rig->sink.body->bytes, &answer), 0);
    return answer.count;
}

Test(full, disk_fails_the_apply_as_a_whole_and_heals)
{
    struct rig *rig = rig_create();
    cr_assert_eq(apply_puts(rig, 0, 50), CONCLAVE_OK);
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit before, limit;
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 20 << 20;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_assert_eq(apply_puts(rig, 50, 200), CONCLAVE_NO_SPACE);
    cr_assert_eq(keys_count(rig), 50);
    cr_assert_eq(kv_revision(rig->kv), 50);
    cr_assert_eq(rig_delete_range(rig, "", NULL), CONCLAVE_OK, "deleting still works");
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    cr_assert_eq(apply_puts(rig, 50, 200), CONCLAVE_OK);
    cr_assert_eq(keys_count(rig), 200);
    rig_close(rig);
    cr_assert_eq(rig_open(rig), 251);
    cr_assert_eq(keys_count(rig), 200);
    rig_destroy(rig);
}

Test(full, space_of_deleted_keys_is_used_again)
{
    /* 64 MiB of history, an eighth more before any of it is erased, what one round needs, and what
     * LMDB keeps of the last two states. */
    enum { STORE_BYTES = 128 << 20 };
    struct rig *rig = rig_create();
    cr_assert_eq(apply_puts(rig, 0, 40), CONCLAVE_OK);
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = STORE_BYTES;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    for (int round = 0; round < 20; round++) {
        cr_assert_eq(rig_delete_range(rig, "", NULL), CONCLAVE_OK);
        cr_assert_eq(apply_puts(rig, 0, 40), CONCLAVE_OK, "round %d", round);
    }
    rig_destroy(rig);
}

/* A full disk, by a limit on the size of files: nothing is touched, and with room it goes on. */
#include "codec/topic.h"
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

Test(full, little_room_is_told_before_it_is_none_and_deletes_go_on)
{
    struct rig *rig = rig_create();
    cr_assert_eq(kv_reserve(rig->kv, false), CONCLAVE_OK);
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit before, limit;
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 20 << 20;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    unsigned puts = 0;
    while (kv_reserve(rig->kv, false) == CONCLAVE_OK) {
        cr_assert_lt(puts, 100);
        cr_assert_eq(apply_puts(rig, puts++, 1), CONCLAVE_OK, "it is told while there is room");
    }
    cr_assert_eq(kv_reserve(rig->kv, true), CONCLAVE_NO_SPACE);
    for (unsigned i = 0; i < puts; i++) {
        char key[16];
        snprintf(key, sizeof key, "%06u", i);
        cr_assert_eq(rig_delete(rig, key), CONCLAVE_OK, "%u of %u", i, puts);
    }
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    cr_assert_eq(kv_reserve(rig->kv, true), CONCLAVE_OK, "it makes room where it can");
    rig_destroy(rig);
}

static bool frees(struct rig *rig, const struct kv_command *command)
{
    struct pack pack;
    pack_init(&pack, 0);
    kv_command_pack(&pack, command);
    bool ret = rig->ops->frees(pack.buf->data, pack.bytes);
    pack_deinit(&pack);
    return ret;
}

static bool txn_frees(struct rig *rig, const struct kv_command *step, bool otherwise)
{
    struct pack pack;
    pack_init(&pack, 0);
    kv_command_pack(&pack, step);
    struct kv_command txn = {.opcode = KV_TXN, .txn = {.then.count = 0}};
    *(otherwise ? &txn.txn.otherwise : &txn.txn.then) =
        (struct kv_txn_list){1, {pack.buf->data, pack.bytes}};
    bool ret = frees(rig, &txn);
    pack_deinit(&pack);
    return ret;
}

Test(full, disks_take_what_deletes_and_what_renews)
{
    struct rig *rig = rig_create();
    const struct kv_command delete = {.opcode = KV_DELETE, .key = text("a")};
    const struct kv_command put = {.opcode = KV_PUT, .key = text("a")};
    cr_assert(frees(rig, &delete));
    cr_assert(frees(rig, &(struct kv_command){.opcode = KV_DELETE_RANGE, .bounds.no_end = true}));
    cr_assert(frees(rig, &(struct kv_command){.opcode = KV_LEASE_REVOKE, .lease = 1}));
    cr_assert(frees(rig, &(struct kv_command){.opcode = KV_LEASE_RENEW, .lease = 1}));
    cr_assert_not(frees(rig, &put));
    cr_assert_not(frees(rig, &(struct kv_command){.opcode = KV_LEASE_GRANT, .ttl_ms = 1}));
    for (int otherwise = 0; otherwise < 2; otherwise++) {
        cr_assert(txn_frees(rig, &delete, otherwise));
        cr_assert_not(txn_frees(rig, &put, otherwise));
    }
    struct pack pack;
    pack_init(&pack, 0);
    topic_delete_pack(&pack, text("t"));
    cr_assert(rig->ops->frees(pack.buf->data, pack.bytes));
    pack.bytes = 0;
    topic_trim_pack(&pack, text("t"), 1);
    cr_assert(rig->ops->frees(pack.buf->data, pack.bytes));
    pack.bytes = 0;
    topic_create_pack(&pack, text("t"), &(struct topic_settings){0});
    cr_assert_not(rig->ops->frees(pack.buf->data, pack.bytes));
    pack_deinit(&pack);
    rig_destroy(rig);
}

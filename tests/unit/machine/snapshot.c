/* The key-value machine as a stream of bytes, and back. */
#include "rig.h"

#include "machine/kv_state.h"

#include "base/fatal.h"
#include "machine/snapshot_stream.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

struct stream {
    uint8_t *bytes;
    size_t used, at;
};

static int stream_write(void *arg, const void *data, size_t bytes)
{
    struct stream *stream = arg;
    stream->bytes = mem_realloc(stream->bytes, stream->used + bytes + 1);
    memcpy(stream->bytes + stream->used, data, bytes);
    stream->used += bytes;
    return CONCLAVE_OK;
}

static int stream_read(void *arg, void *data, size_t bytes, size_t *ret_bytes)
{
    struct stream *stream = arg;
    size_t left = stream->used - stream->at;
    *ret_bytes = bytes < left ? bytes : left;
    memcpy(data, stream->bytes + stream->at, *ret_bytes);
    stream->at += *ret_bytes;
    return CONCLAVE_OK;
}

static void put_many(struct rig *rig, int first, int count, size_t bytes)
{
    char *value = mem_alloc(bytes + 1);
    memset(value, 'v', bytes);
    value[bytes] = '\0';
    for (int i = first; i < first + count; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "k%06d", i);
        cr_assert_eq(rig_put(rig, key, value), CONCLAVE_OK);
    }
    free(value);
}

static int write_to(struct rig *rig, void *snapshot, struct stream *stream)
{
    struct conclave_snapshot_sink sink = {.add = stream_write, .arg = stream};
    return rig->ops->snapshot_write(rig->kv, snapshot, &sink);
}

static int restore_from(struct rig *rig, uint64_t index, struct stream *stream)
{
    struct conclave_snapshot_source source = {.read = stream_read, .arg = stream};
    return rig->ops->restore(rig->kv, index, &source);
}

static struct stream take(struct rig *rig)
{
    struct stream stream = {0};
    void *snapshot = NULL;
    cr_assert_eq(rig->ops->snapshot_begin(rig->kv, &snapshot), CONCLAVE_OK);
    cr_assert_eq(write_to(rig, snapshot, &stream), CONCLAVE_OK);
    rig->ops->snapshot_end(rig->kv, snapshot);
    return stream;
}

Test(snapshot, restored_machine_has_the_same_keys_and_revision)
{
    struct rig *from = rig_create(), *to = rig_create();
    put_many(from, 0, 500, 900); /* more than one piece */
    cr_assert_eq(rig_delete(from, "k000007"), CONCLAVE_OK);
    cr_assert_eq(rig_put(to, "gone", "x"), CONCLAVE_OK);
    struct stream stream = take(from);
    cr_assert_eq(restore_from(to, 777, &stream), CONCLAVE_OK);
    char *dump = rig_dump(from);
    rig_expect(to, dump);
    cr_assert_eq(kv_revision(to->kv), kv_revision(from->kv));
    rig_close(to);
    cr_assert_eq(rig_open(to), 777);
    rig_expect(to, dump);
    free(dump);
    free(stream.bytes);
    rig_destroy(from);
    rig_destroy(to);
}

Test(snapshot, holds_the_state_at_its_begin_whatever_is_applied_meanwhile)
{
    struct rig *from = rig_create(), *to = rig_create();
    put_many(from, 0, 100, 100);
    char *dump = rig_dump(from);
    struct stream stream = {0};
    void *snapshot = NULL;
    cr_assert_eq(from->ops->snapshot_begin(from->kv, &snapshot), CONCLAVE_OK);
    put_many(from, 50, 100, 100);
    cr_assert_eq(rig_delete(from, "k000001"), CONCLAVE_OK);
    cr_assert_eq(write_to(from, snapshot, &stream), CONCLAVE_OK);
    from->ops->snapshot_end(from->kv, snapshot);
    cr_assert_eq(restore_from(to, 100, &stream), CONCLAVE_OK);
    rig_expect(to, dump);
    free(dump);
    free(stream.bytes);
    rig_destroy(from);
    rig_destroy(to);
}

Test(snapshot, ends_when_the_store_has_to_grow)
{
    struct rig *rig = rig_create();
    struct stream stream = {0};
    void *snapshot = NULL;
    put_many(rig, 0, 10, 100);
    cr_assert_eq(rig->ops->snapshot_begin(rig->kv, &snapshot), CONCLAVE_OK);
    put_many(rig, 0, 40, 1000000); /* more than is allocated at first */
    cr_assert_eq(write_to(rig, snapshot, &stream), CONCLAVE_BUSY);
    rig->ops->snapshot_end(rig->kv, snapshot);
    free(stream.bytes);
    stream = take(rig);
    cr_assert_gt(stream.used, 40u * 1000000u);
    free(stream.bytes);
    rig_destroy(rig);
}

Test(snapshot, cut_or_foreign_stream_is_refused_and_leaves_a_store_that_nobody_trusts)
{
    enum { HEAD_BYTES = 16 + sizeof(struct kv_state) };
    struct rig *from = rig_create();
    put_many(from, 0, 20, 100);
    struct stream stream = take(from);
    for (size_t bytes = 0; bytes < stream.used; bytes += 97) {
        struct rig *to = rig_create();
        cr_assert_eq(rig_put(to, "old", "x"), CONCLAVE_OK);
        struct stream cut = {.bytes = stream.bytes, .used = bytes};
        cr_assert_eq(restore_from(to, 9, &cut), CONCLAVE_CORRUPT, "%zu", bytes);
        rig_close(to);
        uint64_t applied = rig_open(to); /* as it was, or nothing */
        cr_assert(applied == 0 || (bytes < HEAD_BYTES && applied == 1), "%zu: %lu", bytes,
                  (unsigned long)applied);
        rig_destroy(to);
    }
    free(stream.bytes);
    rig_destroy(from);
}

/* The log of the node needs the room meanwhile, and the same process tries again. */
Test(snapshot, a_restore_without_room_gives_it_back_and_is_made_again)
{
    struct rig *from = rig_create(), *to = rig_create();
    put_many(from, 0, 100, 200000);
    cr_assert_eq(rig_put(to, "gone", "x"), CONCLAVE_OK);
    struct stream stream = take(from);
    struct stat empty, file;
    struct rlimit before, limit;
    cr_assert_eq(stat(rig_path(to, "data.mdb"), &empty), 0);
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 20 << 20;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    for (int times = 0; times < 2; times++) {
        stream.at = 0;
        cr_assert_eq(restore_from(to, 777, &stream), CONCLAVE_NO_SPACE);
        cr_assert_eq(stat(rig_path(to, "data.mdb"), &file), 0);
        cr_assert_leq(file.st_size, empty.st_size);
    }
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    stream.at = 0;
    cr_assert_eq(restore_from(to, 777, &stream), CONCLAVE_OK);
    char *dump = rig_dump(from);
    rig_expect(to, dump);
    free(dump);
    free(stream.bytes);
    rig_destroy(from);
    rig_destroy(to);
}

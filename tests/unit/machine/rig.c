#include "rig.h"

#include "base/fatal.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct kv_clock clock_now(void *arg)
{
    const struct rig *rig = arg;
    return rig->clock;
}

struct rig *rig_create(void)
{
    struct rig *rig = mem_zalloc(sizeof *rig);
    strcpy(rig->dir, "/tmp/conclave-machine-XXXXXX");
    cr_assert(mkdtemp(rig->dir));
    rig->kv = kv_create();
    kv_keep_sessions(rig->kv, (struct kv_sessions){.arg = rig, .clock = clock_now});
    rig->ops = kv_machine_ops();
    rig->env = (struct conclave_machine_env){.dir = rig->dir, .cluster_id = 7, .node_id = 1};
    memset(rig->env.boot_id, 1, sizeof rig->env.boot_id);
    cr_assert_eq(rig_open(rig), 0);
    return rig;
}

uint64_t rig_open(struct rig *rig)
{
    struct conclave_error error = {0};
    uint64_t applied = UINT64_MAX;
    int code = rig->ops->open(rig->kv, &rig->env, &applied, &error);
    cr_assert_eq(code, CONCLAVE_OK, "%s", error.message);
    rig->index = applied;
    return applied;
}

void rig_close(struct rig *rig)
{
    rig->ops->close(rig->kv);
}

void rig_destroy(struct rig *rig)
{
    reply_sink_clear(&rig->sink);
    kv_destroy(rig->kv);
    const char *const files[] = {"owner", "owner.new", "data.mdb", "lock.mdb"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        unlink(rig_path(rig, files[i]));
    cr_assert_eq(rmdir(rig->dir), 0, "the machine left another file behind");
    free(rig);
}

const char *rig_path(const struct rig *rig, const char *file)
{
    static char path[400];
    snprintf(path, sizeof path, "%s/%s", rig->dir, file);
    return path;
}

static void apply_bytes(struct rig *rig, const void *data, size_t bytes)
{
    struct conclave_command command = {++rig->index, 1, data, bytes};
    struct conclave_reply_sink *sink = &rig->sink;
    reply_sink_clear(sink);
    int code = rig->ops->apply(rig->kv, &command, 1, rig->index, &sink);
    cr_assert_eq(code, CONCLAVE_OK, "apply: %d", code);
}

int rig_apply(struct rig *rig, const struct kv_command *command)
{
    struct pack pack;
    pack_init(&pack, 0);
    kv_command_pack(&pack, command);
    apply_bytes(rig, pack.buf->data, pack.bytes);
    pack_deinit(&pack);
    return rig->sink.code;
}

void rig_pass(struct rig *rig, uint64_t ms)
{
    struct conclave_reply_sink passed = {0};
    rig->clock.now_ms += ms;
    rig->clock.passed = &passed;
    rig->index++;
    cr_assert_eq(rig->ops->apply(rig->kv, NULL, 0, rig->index, NULL), CONCLAVE_OK);
    rig->clock.passed = NULL;
}

int rig_command_bytes(struct rig *rig, const void *data, size_t bytes)
{
    struct conclave_reply_sink *sink = &rig->sink;
    apply_bytes(rig, data, bytes);
    rig->outcome = (struct kv_outcome){0};
    if (!sink->body || !kv_outcome_decode(sink->body->data, sink->body->bytes, &rig->outcome))
        return sink->code;
    struct cursor cursor; /* of another form, which begins alike */
    cursor_init(&cursor, sink->body->data, sink->body->bytes);
    cr_assert_geq(cursor_array(&cursor), 2);
    rig->outcome.revision = cursor_uint(&cursor);
    rig->outcome.value = cursor_uint(&cursor);
    cr_assert(cursor_ok(&cursor));
    return sink->code;
}

int rig_command(struct rig *rig, const struct kv_command *command)
{
    struct pack pack;
    pack_init(&pack, 0);
    kv_command_pack(&pack, command);
    int code = rig_command_bytes(rig, pack.buf->data, pack.bytes);
    pack_deinit(&pack);
    return code;
}

int rig_put(struct rig *rig, const char *key, const char *value)
{
    return rig_command(
        rig, &(struct kv_command){.opcode = KV_PUT, .key = text(key), .value = text(value)});
}

int rig_put_if(struct rig *rig, const char *key, const char *value, uint64_t revision)
{
    return rig_command(rig, &(struct kv_command){.opcode = KV_PUT,
                                                 .key = text(key),
                                                 .value = text(value),
                                                 .condition = {true, revision}});
}

int rig_delete(struct rig *rig, const char *key)
{
    return rig_command(rig, &(struct kv_command){.opcode = KV_DELETE, .key = text(key)});
}

int rig_delete_if(struct rig *rig, const char *key, uint64_t revision)
{
    return rig_command(
        rig,
        &(struct kv_command){.opcode = KV_DELETE, .key = text(key), .condition = {true, revision}});
}

int rig_delete_range(struct rig *rig, const char *from, const char *to)
{
    struct kv_bounds bounds = {text(from), to ? text(to) : (struct slice){0}, !to};
    return rig_command(rig, &(struct kv_command){.opcode = KV_DELETE_RANGE, .bounds = bounds});
}

int rig_query(struct rig *rig, const struct kv_query *query)
{
    struct pack pack;
    pack_init(&pack, 0);
    kv_query_pack(&pack, query);
    reply_sink_clear(&rig->sink);
    rig->ops->query(rig->kv, pack.buf->data, pack.bytes, &rig->sink);
    pack_deinit(&pack);
    return rig->sink.code;
}

int rig_get(struct rig *rig, const char *key, struct kv_item *ret)
{
    int code = rig_query(rig, &(struct kv_query){.opcode = KV_GET, .key = text(key)});
    uint64_t revision;
    if (code == CONCLAVE_OK)
        cr_assert_eq(
            kv_get_answer_decode(rig->sink.body->data, rig->sink.body->bytes, &revision, ret),
            CONCLAVE_OK);
    return code;
}

/* One page; where the next begins is copied to from[]. */
static void dump_page(struct rig *rig, FILE *out, uint8_t *from, size_t *from_bytes)
{
    struct kv_range_answer answer;
    struct kv_item item;
    cr_assert_eq(kv_range_answer_begin(rig->sink.body->data, rig->sink.body->bytes, &answer), 0);
    if (*from_bytes == 0)
        fprintf(out, "%lu", answer.revision);
    int more;
    while ((more = kv_range_answer_next(&answer, &item)) == 1)
        fprintf(out, " %.*s=%.*s(%lu,%lu,%lu)", (int)item.key.bytes, (const char *)item.key.data,
                (int)item.value.bytes, (const char *)item.value.data, item.create_revision,
                item.mod_revision, item.version);
    cr_assert_eq(more, 0);
    *from_bytes = answer.next.bytes;
    if (answer.next.bytes)
        memcpy(from, answer.next.data, answer.next.bytes);
}

char *rig_dump(struct rig *rig)
{
    char *dump = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&dump, &bytes);
    uint8_t from[KV_BOUND_BYTES_MAX];
    size_t from_bytes = 0;
    do {
        struct kv_query query = {.opcode = KV_RANGE,
                                 .bounds = {.from = {from, from_bytes}, .no_end = true}};
        cr_assert_eq(rig_query(rig, &query), CONCLAVE_OK);
        dump_page(rig, out, from, &from_bytes);
    } while (from_bytes);
    fclose(out);
    return dump;
}

void rig_expect(struct rig *rig, const char *expected)
{
    char *dump = rig_dump(rig);
    cr_assert_str_eq(dump, expected);
    free(dump);
}

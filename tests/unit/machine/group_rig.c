#include "group_rig.h"

#include "base/fatal.h"
#include "codec/kv_lease.h"
#include "machine/tables_memory.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static struct tables *tables; /* of the one rig that a test has */

static struct kv_clock clock_now(void *arg)
{
    const struct rig *rig = arg;
    return rig->clock;
}

static int apply(struct rig *rig, struct pack *pack)
{
    struct conclave_command entry = {++rig->index, 1, pack->buf->data, pack->bytes};
    struct conclave_reply_sink *sink = &rig->sink;
    reply_sink_clear(sink);
    cr_assert_eq(rig->ops->apply(rig->kv, &entry, 1, rig->index, &sink), CONCLAVE_OK);
    pack_deinit(pack);
    return sink->code;
}

int group_rig_bytes(struct rig *rig, struct pack *pack, bool query)
{
    if (!query)
        return apply(rig, pack);
    reply_sink_clear(&rig->sink);
    rig->ops->query(rig->kv, pack->buf->data, pack->bytes, &rig->sink);
    pack_deinit(pack);
    return rig->sink.code;
}

struct rig *group_rig_create(void)
{
    struct rig *rig = mem_zalloc(sizeof *rig);
    tables = tables_memory_create();
    rig->kv = kv_create_in(tables);
    kv_keep_sessions(rig->kv, (struct kv_sessions){.arg = rig, .clock = clock_now});
    rig->ops = kv_machine_ops();
    rig->env = (struct conclave_machine_env){.dir = "", .cluster_id = 7, .node_id = 1};
    cr_assert_eq(rig_open(rig), 0);
    static const char *const names[] = {"t", "dead"};
    for (size_t i = 0; i < 2; i++) {
        struct pack pack;
        pack_init(&pack, 0);
        topic_create_pack(&pack, text(names[i]), &(struct topic_settings){0});
        cr_assert_eq(apply(rig, &pack), CONCLAVE_OK);
    }
    return rig;
}

void group_rig_publish(struct rig *rig, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct topic_publish publish = {.name = text("t"), .count = 1};
        char number[16];
        struct pack pack;
        snprintf(number, sizeof number, "%u", i + 1);
        pack_init(&pack, 0);
        topic_publish_begin(&pack, &publish);
        topic_publish_data(&pack, text(number));
        topic_publish_ids(&pack, &publish);
        cr_assert_eq(apply(rig, &pack), CONCLAVE_OK);
    }
}

void group_rig_destroy(struct rig *rig)
{
    reply_sink_clear(&rig->sink);
    kv_destroy(rig->kv);
    tables_destroy(tables);
    free(rig);
}

int group_rig_make(struct rig *rig, const struct group_settings *settings, enum conclave_from from,
                   uint64_t position)
{
    struct group_command command = {.opcode = GROUP_CREATE,
                                    .topic = text("t"),
                                    .group = text("g"),
                                    .start = from,
                                    .position = position};
    struct pack pack;
    if (settings)
        command.settings = *settings;
    pack_init(&pack, 0);
    group_command_pack(&pack, &command, 0);
    return apply(rig, &pack);
}

uint64_t group_rig_grant(struct rig *rig, uint64_t ttl_ms)
{
    struct kv_lease_answer answer;
    cr_assert_eq(rig_apply(rig, &(struct kv_command){.opcode = KV_LEASE_GRANT, .ttl_ms = ttl_ms}),
                 CONCLAVE_OK);
    cr_assert_eq(kv_lease_answer_decode(rig->sink.body->data, rig->sink.body->bytes, &answer), 0);
    return answer.lease;
}

/* " 3" or " 3-5". */
static int print_range(char *at, size_t room, uint64_t first, uint64_t count)
{
    return count == 1 ? snprintf(at, room, " %lu", (unsigned long)first)
                      : snprintf(at, room, " %lu-%lu", (unsigned long)first,
                                 (unsigned long)(first + count - 1));
}

static struct group_fetch_answer fetched(const struct rig *rig)
{
    struct group_fetch_answer answer;
    cr_assert_eq(group_fetch_answer_begin(rig->sink.body->data, rig->sink.body->bytes, &answer), 0);
    return answer;
}

const char *group_rig_fetch(struct rig *rig, uint64_t lease, unsigned limit)
{
    static char out[4096];
    struct group_command command = {.opcode = GROUP_FETCH,
                                    .topic = text("t"),
                                    .group = text("g"),
                                    .lease = lease,
                                    .limit = limit};
    struct conclave_group_run run;
    struct pack pack;
    size_t used = 0;
    int more;
    pack_init(&pack, 0);
    group_command_pack(&pack, &command, 0);
    int code = apply(rig, &pack);
    if (code)
        return conclave_code_name(code);
    struct group_fetch_answer answer = fetched(rig);
    out[0] = out[1] = '\0';
    while ((more = group_fetch_answer_next(&answer, &run)) == 1) {
        used += (size_t)print_range(out + used, sizeof out - used, run.first, run.count);
        used +=
            (size_t)snprintf(out + used, sizeof out - used, "*%lu", (unsigned long)run.deliveries);
    }
    cr_assert_eq(more, 0);
    if (answer.lost)
        snprintf(out + used, sizeof out - used, " lost %lu", (unsigned long)answer.lost);
    return out[0] ? out + 1 : out;
}

uint64_t group_rig_wake(struct rig *rig)
{
    return fetched(rig).wake;
}

const char *group_rig_settle(struct rig *rig, enum group_opcode how, uint64_t lease, uint64_t first,
                             uint64_t count, uint64_t delay_ms)
{
    static char out[512];
    struct group_command command = {.opcode = how,
                                    .topic = text("t"),
                                    .group = text("g"),
                                    .lease = lease,
                                    .delay_ms = delay_ms};
    struct group_settle_answer answer;
    struct pack pack;
    pack_init(&pack, 0);
    group_command_pack(&pack, &command, 1);
    group_range_pack(&pack, &(struct conclave_group_range){first, count});
    group_command_end(&pack, &command);
    int code = apply(rig, &pack);
    if (code)
        return conclave_code_name(code);
    cr_assert_eq(group_settle_answer_decode(rig->sink.body->data, rig->sink.body->bytes, &answer),
                 0);
    int used = snprintf(out, sizeof out, "%lu%s", (unsigned long)answer.settled,
                        answer.missing.count ? " missing" : "");
    for (uint32_t i = 0; i < answer.missing.count; i++) {
        struct conclave_group_range range = group_ranges_next(&answer.missing);
        used += print_range(out + used, sizeof out - (size_t)used, range.first, range.count);
    }
    return out;
}

struct group_info group_rig_info(struct rig *rig)
{
    struct group_info info;
    uint64_t revision, clock_ms;
    struct pack pack;
    pack_init(&pack, 0);
    group_query_pack(
        &pack, &(struct group_query){.opcode = GROUP_INFO, .topic = text("t"), .group = text("g")},
        0);
    cr_assert_eq(group_rig_bytes(rig, &pack, true), CONCLAVE_OK);
    cr_assert_eq(group_info_answer_decode(rig->sink.body->data, rig->sink.body->bytes, &revision,
                                          &clock_ms, &info),
                 0);
    cr_assert_eq(revision, kv_revision(rig->kv));
    cr_assert_eq(clock_ms, rig->clock.now_ms);
    cr_assert_eq(info.next - info.start,
                 info.acked + info.dead_letters + info.lost + info.held + info.delayed + info.ready,
                 "every message is somewhere, once");
    return info;
}

const char *group_rig_dead(struct rig *rig)
{
    static char out[4096];
    struct topic_read_answer answer;
    struct topic_item item;
    struct pack pack;
    size_t used = 0;
    int more;
    pack_init(&pack, 0);
    topic_query_pack(&pack, &(struct topic_query){.opcode = TOPIC_READ,
                                                  .name = text("dead"),
                                                  .start = CONCLAVE_FROM_FIRST});
    cr_assert_eq(group_rig_bytes(rig, &pack, true), CONCLAVE_OK);
    cr_assert_eq(topic_read_answer_begin(rig->sink.body->data, rig->sink.body->bytes, &answer), 0);
    out[0] = '\0';
    while ((more = topic_read_answer_next(&answer, &item)) == 1) {
        struct topic_origin origin;
        cr_assert_eq(topic_origin_decode(item.message.origin, &origin), CONCLAVE_OK);
        used += (size_t)snprintf(out + used, sizeof out - used, "%s%.*s/%.*s %lu after %lu: %.*s",
                                 used ? ", " : "", (int)origin.topic.bytes, origin.topic.data,
                                 (int)origin.group.bytes, origin.group.data,
                                 (unsigned long)origin.sequence, (unsigned long)origin.deliveries,
                                 (int)item.message.data.bytes, item.message.data.data);
    }
    cr_assert_eq(more, 0);
    return out;
}

struct tables *group_rig_tables(void)
{
    return tables;
}

unsigned group_rig_keys(struct rig *rig, enum table table)
{
    struct tables_tx *tx = NULL;
    struct tables_cursor cursor;
    struct slice key = {0};
    unsigned count = 0;
    (void)rig;
    cr_assert_eq(tables_read(tables, &tx), 0);
    cr_assert_eq(tables_cursor_open(tx, table, &cursor), 0);
    for (int rc = tables_cursor_move(&cursor, TABLES_FROM, &key, NULL); !rc;
         rc = tables_cursor_move(&cursor, TABLES_NEXT, &key, NULL))
        count++;
    tables_cursor_close(&cursor);
    return count;
}

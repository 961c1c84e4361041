#include "twins_groups.h"

#include "machine/group.h"
#include "machine/topic_read.h"

#include <criterion/criterion.h>

/* One of the leases that there are, mostly a late one. */
static uint64_t draw_lease(struct prng *prng, struct tables *tables)
{
    struct tables_tx *tx = NULL;
    struct tables_cursor cursor;
    struct slice key = {0};
    uint64_t lease = 1, steps = prng_below(prng, 8);
    cr_assert_eq(tables_read(tables, &tx), CONCLAVE_OK);
    cr_assert_eq(tables_cursor_open(tx, TABLE_LEASES, &cursor), CONCLAVE_OK);
    int rc = tables_cursor_move(&cursor, TABLES_LAST, &key, NULL);
    for (; !rc; rc = tables_cursor_move(&cursor, TABLES_PREVIOUS, &key, NULL)) {
        memcpy(&lease, key.data, sizeof lease);
        lease = be64toh(lease);
        if (steps-- == 0)
            break;
    }
    tables_cursor_close(&cursor);
    return lease;
}

/* A sequence among those that the group handed out last. */
static uint64_t draw_sequence(struct prng *prng, struct tables *tables,
                              const struct group_command *command)
{
    struct tables_tx *tx = NULL;
    struct topic_record topic;
    struct group group;
    uint64_t back = prng_below(prng, 40);
    cr_assert_eq(tables_read(tables, &tx), CONCLAVE_OK);
    if (topic_record_find(tx, command->topic, &topic) ||
        group_find(tx, topic.id, command->group, &group))
        return 1 + back;
    return group.record.next > back ? group.record.next - back : 1;
}

void twins_draw_group(struct prng *prng, struct tables *tables, struct pack *pack)
{
    uint8_t topic = (uint8_t)('t' + prng_below(prng, 4)),
            name = (uint8_t)('g' + prng_below(prng, 2));
    uint8_t dead = topic == 't' ? 'w' : 't';
    struct group_command command = {.opcode = GROUP_FETCH,
                                    .topic = {&topic, 1},
                                    .group = {&name, 1},
                                    .lease = draw_lease(prng, tables),
                                    .limit = 1 + prng_below(prng, 20),
                                    .once = prng_below(prng, 20) == 0};
    uint64_t what = prng_below(prng, 40);
    if (what == 0)
        command.opcode = GROUP_DELETE;
    if (what > 0 && what < 6) {
        command.opcode = GROUP_CREATE;
        command.start = (enum conclave_from)prng_below(prng, 6);
        command.position = prng_below(prng, 50);
        command.settings = (struct group_settings){.ack_ms = 5000, .held_max = 30};
        if (name == 'h')
            command.settings = (struct group_settings){.ack_ms = 8000,
                                                       .held_max = 20,
                                                       .pending_max = 40,
                                                       .deliveries_max = topic == 't' ? 2 : 1,
                                                       .dead = {&dead, 1}};
    }
    if (what < 16) {
        group_command_pack(pack, &command, 0);
        return;
    }
    command.opcode = what < 24 ? GROUP_ACK : what < 34 ? GROUP_NACK : GROUP_EXTEND;
    command.delay_ms = prng_below(prng, 2) ? 0 : prng_below(prng, 9000);
    uint32_t ranges = 1 + (uint32_t)prng_below(prng, 3);
    group_command_pack(pack, &command, ranges);
    for (uint32_t i = 0; i < ranges; i++)
        group_range_pack(pack, &(struct conclave_group_range){draw_sequence(prng, tables, &command),
                                                              1 + prng_below(prng, 30)});
    group_command_end(pack, &command);
}

/* How many keys the table has with this tag, group, and, where it is given, a lease or none. */
static uint64_t group_keys(struct tables_tx *tx, uint8_t tag, uint64_t group, const bool *leased)
{
    struct tables_cursor cursor;
    struct topic_key from = group_key(tag, group);
    struct slice key = topic_key_slice(&from);
    uint64_t count = 0;
    cr_assert_eq(tables_cursor_open(tx, TABLE_GROUPS, &cursor), CONCLAVE_OK);
    int rc = tables_cursor_move(&cursor, TABLES_FROM, &key, NULL);
    for (; !rc && key.bytes >= from.used && memcmp(key.data, from.bytes, from.used) == 0;
         rc = tables_cursor_move(&cursor, TABLES_NEXT, &key, NULL))
        count += !leased || (topic_number_at(key.data + 9) != 0) == *leased;
    tables_cursor_close(&cursor);
    return count;
}

void twins_groups_add_up(struct tables *tables, struct group_record *ret_sum)
{
    static const bool leased = true, nobody = false;
    struct tables_tx *tx;
    struct tables_cursor cursor;
    uint8_t tag = GROUP_TAG_GROUP;
    struct slice key = {&tag, 1}, value;
    struct group_record sum = {0};
    cr_assert_eq(tables_read(tables, &tx), CONCLAVE_OK);
    cr_assert_eq(tables_cursor_open(tx, TABLE_GROUPS, &cursor), CONCLAVE_OK);
    int rc = tables_cursor_move(&cursor, TABLES_FROM, &key, &value);
    for (; !rc && key.data[0] == tag; rc = tables_cursor_move(&cursor, TABLES_NEXT, &key, &value)) {
        struct group_record record;
        uint64_t id = topic_number_at(key.data + 1);
        cr_assert_eq(topic_numbers_read(value, &record, sizeof record), CONCLAVE_OK);
        cr_assert_eq(record.id, id);
        cr_assert_eq(group_keys(tx, GROUP_TAG_HELD, id, &leased), record.held);
        cr_assert_eq(group_keys(tx, GROUP_TAG_HELD, id, &nobody), record.delayed);
        cr_assert_eq(group_keys(tx, GROUP_TAG_DUE, id, NULL), record.held + record.delayed);
        cr_assert_eq(group_keys(tx, GROUP_TAG_READY, id, NULL), record.ready);
        cr_assert_eq(group_keys(tx, GROUP_TAG_MEMBER, id, NULL), record.members);
        cr_assert_eq(record.next - record.start,
                     group_pending(&record) + record.acked + record.dead_letters + record.lost);
        cr_assert(record.deadline_ms || record.held + record.delayed == 0, "nobody would wake it");
        sum.acked += record.acked;
        sum.dead_letters += record.dead_letters;
        sum.lost += record.lost;
        sum.redelivered += record.redelivered;
    }
    tables_cursor_close(&cursor);
    *ret_sum = sum;
}

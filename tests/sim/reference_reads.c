/* What reads tell of keys, places in queues and messages, to the byte: now, at an earlier revision,
 * at any index that there was. */
#include "base/fatal.h"
#include "base/list.h"
#include "tests/sim/ops.h"
#include "tests/sim/reference_internal.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

enum { QUEUE_LIMIT_MAX = 100 };

/* --- Keys of either space --------------------------------------------------------------------- */

struct listed {
    uint8_t key[REFERENCE_PLACE_KEY_BYTES], value[REFERENCE_PLACE_BYTES_MAX];
    uint32_t key_bytes, value_bytes;
    struct reference_key as;
};

struct listing {
    struct listed *items;
    uint32_t count, capacity;
};

static struct listed *listed_add(struct listing *listing, const struct reference_key *as)
{
    LIST_RESERVE(listing);
    struct listed *listed = &listing->items[listing->count++];
    listed->as = *as;
    return listed;
}

static void place_add(void *arg, const struct reference_place *place,
                      const struct reference_key *as)
{
    struct listed *listed = listed_add(arg, as);
    uint8_t value[SIM_VALUE_BYTES_MAX];
    listed->key_bytes = (uint32_t)reference_place_key(place->queue, place->token, listed->key);
    listed->value_bytes = (uint32_t)as->bytes;
    (void)reference_place_stored(place->slots, value_encode(as->number, as->bytes - 2, value),
                                 listed->value);
}

static void list_all(const struct reference *reference, uint64_t space, uint64_t revision,
                     struct listing *ret)
{
    struct reference_key keys[SIM_KEYS];
    if (space == 1) {
        reference_places_at(reference, revision, place_add, ret);
        return;
    }
    reference_keys_at(reference, revision, keys);
    for (uint32_t i = 0; i < SIM_KEYS; i++) {
        if (!keys[i].version)
            continue;
        struct listed *listed = listed_add(ret, &keys[i]);
        listed->key_bytes = (uint32_t)key_encode(i, listed->key).bytes;
        listed->value_bytes = (uint32_t)keys[i].bytes;
        (void)value_encode(keys[i].number, keys[i].bytes, listed->value);
    }
}

static struct kv_item item_of(const struct listed *listed)
{
    return (struct kv_item){.key = {listed->key, listed->key_bytes},
                            .value = {listed->value, listed->value_bytes},
                            .create_revision = listed->as.create_revision,
                            .mod_revision = listed->as.mod_revision,
                            .version = listed->as.version,
                            .lease = listed->as.lease};
}

static int order(struct slice a, struct slice b)
{
    size_t shared = a.bytes < b.bytes ? a.bytes : b.bytes;
    int first = shared ? memcmp(a.data, b.data, shared) : 0;
    return first ? first : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

/* A page ends with the item that would be too many, by their number or their bytes. */
static void range(const struct listing *all, const struct kv_query *query, uint64_t told,
                  struct pack *pack)
{
    struct kv_range_answer answer = {.revision = told};
    struct pack items;
    uint8_t next[REFERENCE_PLACE_KEY_BYTES + 1] = {0};
    uint64_t bytes = query->bytes ? query->bytes : KV_RANGE_BYTES_DEFAULT;
    size_t last = 0;
    bool counts = query->what == KV_RANGE_COUNT;
    pack_init(&items, 0);
    for (uint32_t i = 0; i < all->count; i++) {
        struct kv_item item = item_of(&all->items[i]);
        if (order(item.key, query->bounds.from) < 0 ||
            (!query->bounds.no_end && order(item.key, query->bounds.to) >= 0))
            continue;
        item.value_left_out = query->what == KV_RANGE_KEYS;
        bool full = answer.count && !counts && items.bytes + kv_item_bytes(&item) > bytes;
        if (full || (query->limit && answer.count == query->limit)) {
            answer.next = (struct slice){next, last + 1};
            break;
        }
        if (!counts)
            kv_item_pack(&items, &item);
        answer.item_count += !counts;
        answer.count++;
        memset(next, 0, sizeof next);
        memcpy(next, item.key.data, item.key.bytes);
        last = item.key.bytes;
    }
    kv_range_answer_pack(pack, &answer, (struct slice){items.buf->data, items.bytes});
    pack_deinit(&items);
}

int reference_keys_read(const struct reference *reference, const struct kv_query *query,
                        uint64_t revision, uint64_t told, struct pack *pack)
{
    struct listing all = {0};
    list_all(reference, query->space, revision, &all);
    int code = CONCLAVE_OK;
    if (query->opcode == KV_RANGE) {
        range(&all, query, told, pack);
    } else {
        uint32_t at = 0;
        while (at < all.count && order(item_of(&all.items[at]).key, query->key) != 0)
            at++;
        code = at < all.count ? CONCLAVE_OK : CONCLAVE_NOT_FOUND;
        const struct kv_item item = at < all.count ? item_of(&all.items[at]) : (struct kv_item){0};
        if (code)
            kv_not_found_pack(pack, told);
        else
            kv_get_answer_pack(pack, told, &item);
    }
    free(all.items);
    return code;
}

struct reference_reply reference_keys_answer(const struct reference *reference, const struct op *op)
{
    uint64_t revision = reference_at(reference, op->index)->revision;
    uint64_t compacted = reference_compacted(reference, op->index);
    struct question_room room;
    const struct kv_query query = question_query(op, &room);
    struct pack pack;
    if (query.revision > revision)
        return reference_revision_alone(CONCLAVE_STALE, revision);
    if (query.revision && query.revision < compacted)
        return reference_revision_alone(CONCLAVE_COMPACTED, compacted);
    pack_init(&pack, 0);
    int code = reference_keys_read(reference, &query, query.revision ? query.revision : revision,
                                   revision, &pack);
    return reference_reply_take(code, &pack);
}

/* --- Queues ----------------------------------------------------------------------------------- */

struct queue_page {
    const struct op *op;
    struct coord_queue answer;
    struct pack entries;
    uint64_t last;
};

static void entry_add(void *arg, const struct reference_place *place,
                      const struct reference_key *as)
{
    struct queue_page *page = arg;
    struct coord_queue *answer = &page->answer;
    uint64_t limit = page->op->limit ? page->op->limit : QUEUE_LIMIT_MAX;
    uint8_t value[SIM_VALUE_BYTES_MAX];
    if (place->queue != page->op->cell || place->token <= page->op->token || answer->next)
        return;
    answer->slots = place->slots;
    if (answer->count == limit) {
        answer->next = page->last;
        return;
    }
    coord_entry_pack(&page->entries,
                     &(struct coord_entry){.token = place->token,
                                           .lease = as->lease,
                                           .value = value_encode(as->number, as->bytes - 2, value),
                                           .revision = as->mod_revision});
    page->last = place->token;
    answer->count++;
}

struct reference_reply reference_queue_answer(const struct reference *reference,
                                              const struct op *op)
{
    uint64_t revision = reference_at(reference, op->index)->revision;
    struct queue_page page = {.op = op, .answer = {.revision = revision}};
    struct pack pack;
    pack_init(&page.entries, 0);
    reference_places_at(reference, revision, entry_add, &page);
    pack_init(&pack, 0);
    coord_queue_pack(&pack, &page.answer,
                     (struct slice){page.entries.buf->data, page.entries.bytes});
    pack_deinit(&page.entries);
    return reference_reply_take(CONCLAVE_OK, &pack);
}

/* --- Messages --------------------------------------------------------------------------------- */

/* False: there is no room for it. The first one always has. */
static bool message_add(const struct reference_topic *topic, uint64_t sequence, uint64_t bytes,
                        struct pack *items)
{
    const struct reference_message *message = &topic->messages.items[sequence - 1];
    uint8_t id = (uint8_t)message->id, value[SIM_VALUE_BYTES_MAX];
    const struct topic_item item = {
        .sequence = sequence,
        .revision = message->revision,
        .time_ms = message->time_ms,
        .message = {.data = value_encode(message->number, message->bytes, value),
                    .id = {&id, message->id > 0},
                    .origin = {message->origin_raw, message->origin_bytes}}};
    if (items->bytes > 0 && items->bytes + topic_item_bytes(&item) > bytes)
        return false;
    topic_item_pack(items, &item);
    return true;
}

static uint64_t of_time(const struct reference_topic *topic, const struct topic_info *info,
                        uint64_t time_ms)
{
    uint64_t at = info->first;
    while (at < info->end && topic->messages.items[at - 1].time_ms < time_ms)
        at++;
    return at;
}

static uint64_t start_of(const struct reference_topic *topic, const struct reference_past *past,
                         const struct op *op)
{
    const struct topic_info *info = &past->topics[op->cell].info;
    uint64_t position = op->position;
    switch (op->start) {
    case CONCLAVE_FROM_SEQUENCE:
        return position > info->first ? position : info->first;
    case CONCLAVE_FROM_LAST:
        position += position == 0;
        return info->end - info->first > position ? info->end - position : info->first;
    case CONCLAVE_FROM_TIME:
        return of_time(topic, info, position);
    case CONCLAVE_FROM_AGO:
        return of_time(topic, info, past->clock_ms > position ? past->clock_ms - position : 0);
    case CONCLAVE_FROM_NEW:
        return info->end;
    default:
        ASSERT(op->start == CONCLAVE_FROM_FIRST);
        return info->first;
    }
}

struct reference_reply reference_topic_answer(const struct reference *reference,
                                              const struct reference_past *past,
                                              const struct op *op)
{
    const struct topic_info *info = &past->topics[op->cell].info;
    const struct reference_topic *topic = reference_topic_of(reference, info->id);
    uint64_t bytes = op->pad ? op->pad : TOPIC_READ_BYTES_DEFAULT;
    struct topic_read_answer answer = {.revision = reference_at(reference, op->index)->revision,
                                       .clock_ms = past->clock_ms,
                                       .first = info->first,
                                       .end = info->end,
                                       .next = start_of(topic, past, op)};
    struct pack items, pack;
    pack_init(&items, 0);
    while (answer.next < info->end && (op->limit == 0 || answer.count < op->limit) &&
           message_add(topic, answer.next, bytes, &items)) {
        answer.next++;
        answer.count++;
    }
    pack_init(&pack, 0);
    topic_read_answer_pack(&pack, &answer, (struct slice){items.buf->data, items.bytes});
    pack_deinit(&items);
    return reference_reply_take(CONCLAVE_OK, &pack);
}

/* All that are asked for and kept, as far as there is room. */
struct reference_reply reference_messages_answer(const struct reference *reference,
                                                 const struct reference_past *past,
                                                 const struct op *op)
{
    const struct topic_info *info = &past->topics[op->cell].info;
    const struct reference_topic *topic = reference_topic_of(reference, info->id);
    uint64_t bytes = op->pad ? op->pad : TOPIC_READ_BYTES_DEFAULT;
    struct group_messages_answer answer = {.revision = reference_at(reference, op->index)->revision,
                                           .clock_ms = past->clock_ms};
    struct pack items, pack;
    bool room = true;
    pack_init(&items, 0);
    for (uint32_t i = 0; i < op->range_count; i++) {
        const struct conclave_group_range *asked = &op->ranges[i];
        for (uint64_t at = asked->first; room && at < asked->first + asked->count; at++) {
            bool kept = at >= info->first && at < info->end;
            room = !kept || message_add(topic, at, bytes, &items);
            answer.count += kept && room;
            answer.covered += room;
        }
    }
    pack_init(&pack, 0);
    group_messages_answer_pack(&pack, &answer, (struct slice){items.buf->data, items.bytes});
    pack_deinit(&items);
    return reference_reply_take(CONCLAVE_OK, &pack);
}

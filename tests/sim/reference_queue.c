/* Queues, in the rules written down once more: who waits for whom, and who holds. */
#include "base/fatal.h"
#include "base/list.h"
#include "tests/sim/ops.h"
#include "tests/sim/reference_internal.h"

#include <endian.h>
#include <string.h>

void fold_place(struct reference_fold *fold, const struct reference_place *place)
{
    fold_number(fold, place->queue);
    fold_number(fold, place->token);
    fold_number(fold, place->lease);
    fold_number(fold, place->mod_revision);
    fold_number(fold, place->version);
    fold_number(fold, place->value);
}

/* In the order of their keys: by queue, then by token. */
void reference_queues_fold(struct reference_fold *fold, const struct reference *reference)
{
    for (uint32_t queue = 0; queue < SIM_QUEUES; queue++) {
        for (uint32_t i = reference->places_from; i < reference->places.count; i++) {
            const struct reference_place *place = &reference->places.items[i];
            if (place->queue == queue && !place->gone)
                fold_place(fold, place);
        }
    }
}

const struct reference_place *reference_place_of(const struct reference *reference, uint64_t token)
{
    uint32_t low = 0, high = reference->places.count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (reference->places.items[middle].token < token)
            low = middle + 1;
        else
            high = middle;
    }
    const struct reference_place *place = &reference->places.items[low];
    return low < reference->places.count && place->token == token ? place : NULL;
}

static bool is_there(const struct reference_place *place, uint64_t index)
{
    return place->entered <= index && (place->gone == 0 || place->gone > index);
}

uint64_t reference_place_awaits(const struct reference *reference,
                                const struct reference_place *place, uint64_t index)
{
    uint64_t ahead = 0;
    for (uint32_t i = (uint32_t)(place - reference->places.items); place->slots > 0 && i-- > 0;) {
        const struct reference_place *other = &reference->places.items[i];
        if (other->queue == place->queue && is_there(other, index) && ++ahead == place->slots)
            return other->token;
    }
    return 0;
}

/* Whoever holds now and did not before. */
static void grant_all(struct reference *reference)
{
    uint64_t index = reference->at.index;
    for (uint32_t i = reference->places_from; i < reference->places.count; i++) {
        struct reference_place *place = &reference->places.items[i];
        if (!place->gone && !place->granted && !reference_place_awaits(reference, place, index)) {
            place->granted = index;
            reference->counts.handed_on += place->entered < index;
        }
    }
    while (reference->places_from < reference->places.count &&
           reference->places.items[reference->places_from].gone)
        reference->places_from++;
}

/* --- Changes ---------------------------------------------------------------------------------- */

/* As an item of the store. */
static struct reference_key stored(const struct reference_place *place)
{
    return (struct reference_key){.value = place->value,
                                  .number = place->number,
                                  .bytes = place->bytes,
                                  .create_revision = place->token,
                                  .mod_revision = place->mod_revision,
                                  .version = place->version,
                                  .lease = place->lease};
}

/* It is as it is now, or (gone) it is not there any more; `before`: what it was. */
static void change_add(struct reference *reference, const struct reference_place *place,
                       uint64_t revision, struct reference_key before, bool gone)
{
    reference_change_add(reference, (struct reference_change){
                                        .revision = revision,
                                        .cell = SIM_KEYS + place->queue,
                                        .key_bytes = REFERENCE_PLACE_KEY_BYTES,
                                        .token = place->token,
                                        .value = gone ? 0 : place->value,
                                        .value_bytes = gone ? 0 : place->bytes,
                                        .before = before,
                                        .after = gone ? (struct reference_key){0} : stored(place)});
}

static void place_end(struct reference *reference, struct reference_place *place, uint64_t revision)
{
    place->gone = reference->at.index;
    place->gone_revision = revision;
    change_add(reference, place, revision, stored(place), true);
}

/* By queue, then by token: in the order in which they are stored. */
void reference_places_at(const struct reference *reference, uint64_t revision,
                         void (*add)(void *arg, const struct reference_place *place,
                                     const struct reference_key *item),
                         void *arg)
{
    for (uint32_t queue = 0; queue < SIM_QUEUES; queue++)
        for (uint32_t i = 0; i < reference->places.count; i++) {
            const struct reference_place *place = &reference->places.items[i];
            if (place->queue != queue || place->token > revision ||
                (place->gone_revision && place->gone_revision <= revision))
                continue;
            struct reference_key item = stored(place);
            for (uint32_t k = reference->changes.count; k-- > 0;) {
                const struct reference_change *change = &reference->changes.items[k];
                if (change->revision <= revision)
                    break;
                if (change->cell == SIM_KEYS + queue && change->token == place->token)
                    item = change->before;
            }
            add(arg, place, &item);
        }
}

/* The name of the queue, a zero byte, the token. */
size_t reference_place_key(uint32_t queue, uint64_t token, uint8_t key[REFERENCE_PLACE_KEY_BYTES])
{
    uint64_t number = htobe64(token);
    key[0] = queue_encode(queue).data[0];
    key[1] = 0;
    memcpy(key + 2, &number, sizeof number);
    return 2 + sizeof number;
}

/* What is stored: the slots in two bytes, and the value. */
struct slice reference_place_stored(uint64_t slots, struct slice value,
                                    uint8_t room[REFERENCE_PLACE_BYTES_MAX])
{
    ASSERT(value.bytes <= SIM_VALUE_BYTES_MAX);
    room[0] = (uint8_t)(slots >> 8);
    room[1] = (uint8_t)slots;
    memcpy(room + 2, value.data, value.bytes);
    return (struct slice){room, 2 + value.bytes};
}

static void store(struct reference_place *place, struct slice value)
{
    uint8_t room[REFERENCE_PLACE_BYTES_MAX];
    const struct slice bytes = reference_place_stored(place->slots, value, room);
    place->value = reference_value_hash(bytes);
    place->bytes = bytes.bytes;
    place->number = value_decode(value);
}

uint64_t reference_places_held(const struct reference *reference, uint64_t lease)
{
    uint64_t count = 0;
    for (uint32_t i = reference->places_from; i < reference->places.count; i++) {
        const struct reference_place *place = &reference->places.items[i];
        count += !place->gone && place->lease == lease;
    }
    return count;
}

void reference_places_end(struct reference *reference, uint64_t lease, uint64_t revision)
{
    for (uint32_t queue = 0; queue < SIM_QUEUES; queue++)
        for (uint32_t i = reference->places_from; i < reference->places.count; i++) {
            struct reference_place *place = &reference->places.items[i];
            if (!place->gone && place->queue == queue && place->lease == lease)
                place_end(reference, place, revision);
        }
    grant_all(reference);
}

/* --- Commands --------------------------------------------------------------------------------- */

/* The place in a queue with this token, if it is there. */
static struct reference_place *find(struct reference *reference, uint32_t queue, uint64_t token)
{
    for (uint32_t i = reference->places_from; i < reference->places.count; i++) {
        struct reference_place *place = &reference->places.items[i];
        if (!place->gone && place->queue == queue && place->token == token)
            return place;
    }
    return NULL;
}

/* A place that is there: anybody's, or (0: any) that of a lease. */
static struct reference_place *find_of(struct reference *reference, uint32_t queue, uint64_t lease)
{
    for (uint32_t i = reference->places_from; i < reference->places.count; i++) {
        struct reference_place *place = &reference->places.items[i];
        if (!place->gone && place->queue == queue && (lease == 0 || place->lease == lease))
            return place;
    }
    return NULL;
}

/* What a place takes. */
static uint64_t place_bytes(struct slice value)
{
    return REFERENCE_PLACE_KEY_BYTES + REFERENCE_RECORD_BYTES + 2 + value.bytes;
}

static struct reference_reply enqueue(struct reference *reference,
                                      const struct coord_request *request)
{
    uint32_t queue = queue_decode(request->name);
    if (!reference_lease_fits(reference, request->lease))
        return reference_revision_alone(CONCLAVE_LEASE_EXPIRED, reference->revision);
    const struct reference_place *any = find_of(reference, queue, 0);
    if (any && any->slots != request->slots)
        return reference_outcome(CONCLAVE_COMPARE_FAILED, reference->revision, any->slots);
    struct reference_place *place = find_of(reference, queue, request->lease);
    if (!place && !reference_takes(reference, place_bytes(request->value)))
        return reference_revision_alone(CONCLAVE_QUOTA, reference->revision);
    if (!place) {
        uint64_t revision = ++reference->revision;
        LIST_RESERVE(&reference->places);
        place = &reference->places.items[reference->places.count++];
        *place = (struct reference_place){.queue = queue,
                                          .token = revision,
                                          .slots = request->slots,
                                          .lease = request->lease,
                                          .mod_revision = revision,
                                          .version = 1,
                                          .entered = reference->at.index};
        store(place, request->value);
        change_add(reference, place, revision, (struct reference_key){0}, false);
        reference_history_changed(reference);
        grant_all(reference);
    }
    struct coord_place told = {.revision = reference->revision,
                               .token = place->token,
                               .awaited =
                                   reference_place_awaits(reference, place, reference->at.index)};
    struct pack pack;
    pack_init(&pack, 0);
    coord_place_pack(&pack, &told);
    return reference_reply_take(CONCLAVE_OK, &pack);
}

static struct reference_reply leave(struct reference *reference,
                                    const struct coord_request *request)
{
    struct reference_place *place = find(reference, queue_decode(request->name), request->token);
    if (place) {
        place_end(reference, place, ++reference->revision);
        reference_history_changed(reference);
        grant_all(reference);
    }
    return reference_outcome(CONCLAVE_OK, reference->revision, place != NULL);
}

static struct reference_reply proclaim(struct reference *reference,
                                       const struct coord_request *request)
{
    struct reference_place *place = find(reference, queue_decode(request->name), request->token);
    if (!place)
        return reference_revision_alone(CONCLAVE_NOT_FOUND, reference->revision);
    uint64_t awaited = reference_place_awaits(reference, place, reference->at.index);
    if (awaited)
        return reference_outcome(CONCLAVE_COMPARE_FAILED, reference->revision, awaited);
    const struct reference_key before = stored(place);
    uint64_t bytes = REFERENCE_PLACE_KEY_BYTES + REFERENCE_RECORD_BYTES + place->bytes;
    uint64_t after = place_bytes(request->value);
    if (!reference_takes(reference, after > bytes ? after - bytes : 0))
        return reference_revision_alone(CONCLAVE_QUOTA, reference->revision);
    place->mod_revision = ++reference->revision;
    place->version++;
    store(place, request->value);
    change_add(reference, place, reference->revision, before, false);
    reference_history_changed(reference);
    return reference_outcome(CONCLAVE_OK, reference->revision, place->token);
}

struct reference_reply reference_queue_apply(struct reference *reference, struct slice bytes)
{
    struct coord_request request;
    ASSERT(coord_command_decode(bytes.data, bytes.bytes, &request) == CONCLAVE_OK);
    if (request.opcode == COORD_ENQUEUE)
        return enqueue(reference, &request);
    return request.opcode == COORD_LEAVE ? leave(reference, &request)
                                         : proclaim(reference, &request);
}

#include "machine/kv_lease.h"

#include "base/fatal.h"
#include "machine/group.h"
#include "machine/kv_deadline.h"
#include "machine/kv_quota.h"
#include "machine/kv_reply.h"

enum { LEASE_WORDS = 4, PLACE_BYTES = 8 + 1 };

/* --- Records ---------------------------------------------------------------------------------- */

static struct slice id_key(uint64_t *room, uint64_t id)
{
    *room = htobe64(id);
    return (struct slice){(const uint8_t *)room, sizeof *room};
}

int kv_lease_find(struct tables_tx *tx, uint64_t id, struct kv_lease *ret)
{
    uint64_t room, words[LEASE_WORDS];
    struct slice value;
    int rc = tables_get(tx, TABLE_LEASES, id_key(&room, id), &value);
    if (rc)
        return rc;
    if (value.bytes != sizeof words)
        return CONCLAVE_CORRUPT;
    memcpy(words, value.data, sizeof words);
    *ret = (struct kv_lease){.id = id,
                             .ttl_ms = le64toh(words[0]),
                             .deadline_ms = le64toh(words[1]),
                             .keys = le64toh(words[2]),
                             .flags = le64toh(words[3])};
    return 0;
}

static int lease_write(struct kv_batch *batch, const struct kv_lease *lease)
{
    uint64_t room;
    const uint64_t words[LEASE_WORDS] = {htole64(lease->ttl_ms), htole64(lease->deadline_ms),
                                         htole64(lease->keys), htole64(lease->flags)};
    return tables_put_bytes(&batch->tx, TABLE_LEASES, id_key(&room, lease->id),
                            (struct slice){(const uint8_t *)words, sizeof words});
}

static struct kv_deadline deadline_of(const struct kv_lease *lease)
{
    return (struct kv_deadline){
        .ms = lease->deadline_ms, .kind = KV_DEADLINE_LEASE, .number = lease->id};
}

/* Begins its time, which may count from as late as the bound of what is not written yet. */
static int lease_start(struct kv_batch *batch, struct kv_lease *lease)
{
    lease->deadline_ms = batch->clock_ms + batch->clock_lag_ms + lease->ttl_ms;
    struct kv_deadline deadline = deadline_of(lease);
    int rc = kv_deadline_set(&batch->tx, &deadline);
    return rc ? rc : lease_write(batch, lease);
}

int kv_lease_grant(struct kv_batch *batch, uint64_t ttl_ms, uint64_t flags, struct kv_lease *ret)
{
    *ret = (struct kv_lease){.id = ++batch->state.last_lease, .ttl_ms = ttl_ms, .flags = flags};
    batch->state.leases++;
    batch->state.bytes += KV_LEASE_BYTES;
    return lease_start(batch, ret);
}

int kv_lease_renew(struct kv_batch *batch, struct kv_lease *lease)
{
    struct kv_deadline deadline = deadline_of(lease);
    int rc = kv_deadline_clear(&batch->tx, &deadline);
    return rc ? rc : lease_start(batch, lease);
}

static int lease_erase(struct kv_batch *batch, const struct kv_lease *lease)
{
    uint64_t room;
    struct kv_deadline deadline = deadline_of(lease);
    batch->state.leases--;
    batch->state.bytes -= KV_LEASE_BYTES;
    int rc = kv_deadline_clear(&batch->tx, &deadline);
    return rc ? rc : tables_erase(&batch->tx, TABLE_LEASES, id_key(&room, lease->id));
}

/* A lease that a key names, and that there must be. */
static int lease_held(struct kv_batch *batch, uint64_t id, struct kv_lease *ret)
{
    int rc = kv_lease_find(&batch->tx, id, ret);
    return rc == CONCLAVE_NOT_FOUND ? CONCLAVE_CORRUPT : rc;
}

/* --- The keys that it holds ------------------------------------------------------------------- */

struct place {
    uint8_t bytes[PLACE_BYTES + CONCLAVE_KEY_BYTES_MAX];
};
_Static_assert(sizeof(struct place) <= TABLES_KEY_BYTES_MAX, "fits into a key");

static struct slice place_of(struct place *room, uint64_t id, enum kv_space space, struct slice key)
{
    uint64_t number = htobe64(id);
    ASSERT(key.bytes <= CONCLAVE_KEY_BYTES_MAX);
    memcpy(room->bytes, &number, sizeof number);
    room->bytes[sizeof number] = (uint8_t)space;
    memcpy(room->bytes + PLACE_BYTES, key.data, key.bytes);
    return (struct slice){room->bytes, PLACE_BYTES + key.bytes};
}

int kv_lease_join(struct kv_batch *batch, uint64_t id, uint64_t group)
{
    uint8_t place[PLACE_BYTES + sizeof group];
    const uint64_t lease = htobe64(id), number = htobe64(group);
    memcpy(place, &lease, sizeof lease);
    place[sizeof lease] = GROUP_ATTACHED;
    memcpy(place + PLACE_BYTES, &number, sizeof number);
    return tables_put_bytes(&batch->tx, TABLE_ATTACHED, (struct slice){place, sizeof place},
                            (struct slice){0});
}

int kv_lease_attach(struct kv_batch *batch, uint64_t id, enum kv_space space, struct slice key)
{
    struct place room;
    struct kv_lease lease;
    int rc = lease_held(batch, id, &lease);
    if (rc)
        return rc;
    lease.keys++;
    rc = lease_write(batch, &lease);
    return rc ? rc
              : tables_put_bytes(&batch->tx, TABLE_ATTACHED, place_of(&room, id, space, key),
                                 (struct slice){0});
}

int kv_lease_detach(struct kv_batch *batch, uint64_t id, enum kv_space space, struct slice key)
{
    struct place room;
    struct kv_lease lease;
    int rc = lease_held(batch, id, &lease);
    if (!rc)
        rc = tables_erase(&batch->tx, TABLE_ATTACHED, place_of(&room, id, space, key));
    if (rc)
        return rc == CONCLAVE_NOT_FOUND ? CONCLAVE_CORRUPT : rc;
    lease.keys--;
    if (lease.flags & KV_LEASE_OF_KEY)
        return lease_erase(batch, &lease);
    return lease_write(batch, &lease);
}

static bool is_group(struct slice place)
{
    return place.bytes == PLACE_BYTES + sizeof(uint64_t) &&
           place.data[PLACE_BYTES - 1] == GROUP_ATTACHED;
}

/* Deletes one key that ends with the lease, or ends its part in a group. */
static int end_key(struct kv_batch *batch, struct slice place, enum kv_change_kind kind)
{
    struct kv_found found;
    uint8_t key[CONCLAVE_KEY_BYTES_MAX];
    if (is_group(place))
        return group_lease_ended(batch, topic_number_at(place.data + PLACE_BYTES),
                                 topic_number_at(place.data));
    if (place.bytes <= PLACE_BYTES || place.bytes > PLACE_BYTES + sizeof key ||
        place.data[PLACE_BYTES - 1] >= KV_SPACES)
        return CONCLAVE_CORRUPT;
    enum kv_space space = (enum kv_space)place.data[PLACE_BYTES - 1];
    struct slice name = {key, place.bytes - PLACE_BYTES};
    memcpy(key, place.data + PLACE_BYTES, name.bytes);
    int rc = kv_change_find(batch, space, name, &found);
    if (!rc && found.record.version == 0)
        return CONCLAVE_CORRUPT;
    return rc ? rc : kv_change_erase(batch, space, kind, name, &found);
}

int kv_lease_end(struct kv_batch *batch, const struct kv_lease *lease, enum kv_change_kind kind,
                 uint64_t *ret_deleted)
{
    struct tables_cursor cursor;
    uint64_t room, deleted = 0;
    struct slice prefix = id_key(&room, lease->id), place = prefix;
    int rc = tables_cursor_open(&batch->tx, TABLE_ATTACHED, &cursor);
    if (rc)
        return rc;
    kv_change_begin(batch);
    batch->expiring = true;
    rc = tables_cursor_move(&cursor, TABLES_FROM, &place, NULL);
    while (!rc && place.bytes > prefix.bytes &&
           memcmp(place.data, prefix.data, prefix.bytes) == 0) {
        deleted += !is_group(place);
        rc = end_key(batch, place, kind);
        if (!rc)
            rc = tables_cursor_erase(&cursor);
        if (!rc)
            rc = tables_cursor_move(&cursor, TABLES_NEXT, &place, NULL);
    }
    batch->expiring = false;
    tables_cursor_close(&cursor);
    if (rc && rc != CONCLAVE_NOT_FOUND)
        return rc;
    rc = lease_erase(batch, lease);
    *ret_deleted = deleted;
    return rc ? rc : kv_change_end(batch);
}

int kv_lease_expire(struct kv_batch *batch, uint64_t id, uint32_t *work)
{
    struct kv_lease lease;
    uint64_t deleted = 0;
    int rc = lease_held(batch, id, &lease);
    if (!rc)
        rc = kv_lease_end(batch, &lease, KV_CHANGE_EXPIRE, &deleted);
    *work -= 1 + deleted < *work ? 1 + (uint32_t)deleted : *work;
    return rc;
}

/* --- Commands --------------------------------------------------------------------------------- */

static void answer(struct kv_batch *batch, const struct kv_lease *lease)
{
    struct pack pack;
    if (!batch->reply)
        return;
    pack_init(&pack, 0);
    kv_lease_answer_pack(&pack, &(struct kv_lease_answer){.revision = batch->state.revision,
                                                          .lease = lease->id,
                                                          .ttl_ms = lease->ttl_ms});
    reply_sink_take(batch->reply, CONCLAVE_OK, pack_take(&pack));
}

int kv_lease_grant_apply(struct kv_batch *batch, uint64_t ttl_ms)
{
    struct kv_lease lease;
    if (!kv_quota_takes(&batch->state, KV_LEASE_BYTES)) {
        kv_reply_revision(batch, CONCLAVE_QUOTA);
        return 0;
    }
    int rc = kv_lease_grant(batch, ttl_ms, 0, &lease);
    if (!rc)
        answer(batch, &lease);
    return rc;
}

int kv_lease_renew_apply(struct kv_batch *batch, uint64_t id)
{
    struct kv_lease lease;
    int rc = kv_lease_find(&batch->tx, id, &lease);
    if (rc == CONCLAVE_NOT_FOUND) {
        kv_reply_revision(batch, CONCLAVE_LEASE_EXPIRED);
        return 0;
    }
    if (!rc)
        rc = kv_lease_renew(batch, &lease);
    if (!rc)
        answer(batch, &lease);
    return rc;
}

int kv_lease_revoke_apply(struct kv_batch *batch, uint64_t id)
{
    struct kv_lease lease;
    uint64_t deleted = 0;
    int rc = kv_lease_find(&batch->tx, id, &lease);
    if (rc == CONCLAVE_NOT_FOUND) {
        kv_reply_revision(batch, CONCLAVE_LEASE_EXPIRED);
        return 0;
    }
    if (!rc)
        rc = kv_lease_end(batch, &lease, KV_CHANGE_DELETE, &deleted);
    if (!rc)
        kv_reply_outcome(batch, CONCLAVE_OK,
                         &(struct kv_outcome){.revision = batch->state.revision, .value = deleted});
    return rc;
}

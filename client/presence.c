/* Presence in groups (conclave_presence.h): a group is a queue in which everybody holds, a member
 * an entry whose value is its name, a zero byte, and the value that it gives. */
#include "conclave_presence.h"

#include "base/fatal.h"
#include "base/list.h"
#include "client/queue.h"

#include <stdlib.h>
#include <string.h>

/* --- Members ---------------------------------------------------------------------------------- */

static int member_check(struct slice name, size_t value_bytes)
{
    if (name.bytes == 0 || memchr(name.data, 0, name.bytes))
        return CONCLAVE_INVALID;
    return name.bytes > CONCLAVE_MEMBER_NAME_BYTES_MAX ||
                   value_bytes > CONCLAVE_PRESENCE_VALUE_BYTES_MAX
               ? CONCLAVE_TOO_LARGE
               : CONCLAVE_OK;
}

static struct buf *member_pack(struct slice name, struct slice value)
{
    struct buf *packed = buf_create(name.bytes + 1 + value.bytes);
    memcpy(packed->data, name.data, name.bytes);
    packed->data[name.bytes] = 0;
    if (value.bytes)
        memcpy(packed->data + name.bytes + 1, value.data, value.bytes);
    return packed;
}

/* One that is no member's, of a client that does otherwise, is a name alone. */
static void member_read(struct slice packed, struct conclave_presence_member *ret)
{
    const uint8_t *zero = packed.bytes ? memchr(packed.data, 0, packed.bytes) : NULL;
    ret->name = packed.data;
    ret->name_bytes = zero ? (size_t)(zero - packed.data) : packed.bytes;
    ret->value = zero ? zero + 1 : NULL;
    ret->value_bytes = zero ? packed.bytes - ret->name_bytes - 1 : 0;
}

void conclave_presence_options_init(struct conclave_presence_options *options)
{
    *options = (struct conclave_presence_options){.size = sizeof *options, .ttl_ms = 10000};
}

int conclave_presence_join(struct conclave_client *client, const void *group, size_t group_bytes,
                           const struct conclave_presence_options *options,
                           struct conclave_lock **ret_member)
{
    struct conclave_presence_options known;
    struct conclave_lock_options lock;
    conclave_presence_options_init(&known);
    conclave_lock_options_init(&lock);
    memcpy(&known, options, options->size < sizeof known ? options->size : sizeof known);
    struct slice name = request_slice(known.name, known.name_bytes);
    struct slice value = request_slice(known.value, known.value_bytes);
    int code = member_check(name, value.bytes);
    if (code)
        return code;
    struct buf *packed = member_pack(name, value);
    lock.slots = 0;
    lock.ttl_ms = known.ttl_ms;
    lock.value = packed->data;
    lock.value_bytes = packed->bytes;
    code = conclave_lock_begin(client, group, group_bytes, &lock, ret_member);
    buf_unref(packed);
    return code;
}

int conclave_presence_set(struct conclave_lock *member, const void *name, size_t name_bytes,
                          const void *value, size_t value_bytes, uint32_t timeout_ms)
{
    struct slice of = request_slice(name, name_bytes), to = request_slice(value, value_bytes);
    int code = member_check(of, to.bytes);
    if (code)
        return code;
    struct buf *packed = member_pack(of, to);
    code = conclave_lock_proclaim(member, packed->data, packed->bytes, timeout_ms);
    buf_unref(packed);
    return code;
}

struct listing {
    int (*member)(void *arg, const struct conclave_presence_member *member);
    void *arg;
};

static int list_entry(void *arg, const struct conclave_queue_entry *entry)
{
    const struct listing *listing = arg;
    struct conclave_presence_member member = {.token = entry->token, .revision = entry->revision};
    member_read(request_slice(entry->value, entry->value_bytes), &member);
    return listing->member(listing->arg, &member);
}

int conclave_presence_list(struct conclave_client *client, const void *group, size_t group_bytes,
                           uint32_t timeout_ms,
                           int (*member)(void *arg, const struct conclave_presence_member *member),
                           void *arg)
{
    struct listing listing = {member, arg};
    return conclave_queue_list(client, group, group_bytes, timeout_ms, list_entry, &listing);
}

/* --- Watching ----------------------------------------------------------------------------------
 *
 * Who is there is remembered, in the order of the tokens: who leaves is told with its name, and
 * after a state that is told anew, what differs. */

struct known {
    uint64_t token, revision;
    struct buf *packed;
    bool seen; /* in the state that is being told */
};

struct conclave_presence_watch {
    struct client_stream *stream;
    struct {
        struct known *items;
        uint32_t count, capacity;
    } members;
    uint32_t sweep; /* behind a state: those before it were looked at */
    bool sweeping, synced;
    uint64_t revision;
    struct buf *gone; /* of the one that left last: what was handed out points to it */
    size_t group_bytes;
    uint8_t group[CONCLAVE_QUEUE_NAME_BYTES_MAX];
};

int conclave_presence_watch_create(struct conclave_client *client, const void *group,
                                   size_t group_bytes, struct conclave_presence_watch **ret_watch)
{
    struct slice name = request_slice(group, group_bytes);
    int code = queue_name_check(name);
    if (code)
        return code;
    struct conclave_presence_watch *watch = mem_zalloc(sizeof *watch);
    watch->group_bytes = group_bytes;
    memcpy(watch->group, group, group_bytes);
    code = queue_watch(client, name, 0, WATCH_INITIAL, 0, &watch->stream);
    if (code) {
        free(watch);
        return code;
    }
    *ret_watch = watch;
    return CONCLAVE_OK;
}

void conclave_presence_watch_destroy(struct conclave_presence_watch *watch)
{
    if (!watch)
        return;
    client_stream_destroy(watch->stream);
    for (uint32_t i = 0; i < watch->members.count; i++)
        buf_unref(watch->members.items[i].packed);
    free(watch->members.items);
    buf_unref(watch->gone);
    free(watch);
}

/* Where it is, or would be. */
static uint32_t place_of(const struct conclave_presence_watch *watch, uint64_t token)
{
    uint32_t low = 0, high = watch->members.count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (watch->members.items[middle].token < token)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void event_of(const struct known *known, enum conclave_presence_kind kind, uint64_t revision,
                     struct conclave_presence_event *ret)
{
    *ret = (struct conclave_presence_event){
        .kind = kind,
        .revision = revision,
        .member = {.token = known->token, .revision = known->revision}};
    member_read((struct slice){known->packed->data, known->packed->bytes}, &ret->member);
}

/* True: there is an event. */
static bool is_there(struct conclave_presence_watch *watch, uint64_t token, uint64_t revision,
                     struct slice packed, struct conclave_presence_event *ret)
{
    uint32_t at = place_of(watch, token);
    struct known *known = &watch->members.items[at];
    bool joins = at == watch->members.count || known->token != token;
    if (joins) {
        LIST_RESERVE(&watch->members);
        known = &watch->members.items[at];
        memmove(known + 1, known, (watch->members.count - at) * sizeof *known);
        watch->members.count++;
        *known = (struct known){.token = token};
    }
    known->seen = true;
    if (known->revision == revision)
        return false; /* told before */
    known->revision = revision;
    buf_unref(known->packed);
    known->packed = buf_copy(packed.data, packed.bytes);
    event_of(known, joins ? CONCLAVE_PRESENCE_JOIN : CONCLAVE_PRESENCE_CHANGE, revision, ret);
    return true;
}

static bool is_gone(struct conclave_presence_watch *watch, uint64_t token, uint64_t revision,
                    bool expired, struct conclave_presence_event *ret)
{
    uint32_t at = place_of(watch, token);
    if (at == watch->members.count || watch->members.items[at].token != token)
        return false;
    struct known *known = &watch->members.items[at];
    event_of(known, CONCLAVE_PRESENCE_LEAVE, revision, ret);
    ret->expired = expired;
    buf_unref(watch->gone);
    watch->gone = known->packed;
    watch->members.count--;
    memmove(known, known + 1, (watch->members.count - at) * sizeof *known);
    return true;
}

/* What a key and its value say. The code, or OK and *ret_told. */
static int take_key(struct conclave_presence_watch *watch, struct slice key, struct slice stored,
                    bool there, uint64_t revision, bool expired,
                    struct conclave_presence_event *ret, bool *ret_told)
{
    uint64_t token, slots;
    struct slice packed;
    *ret_told = false;
    if (!coord_key_is_of(key, (struct slice){watch->group, watch->group_bytes}, &token))
        return CONCLAVE_MALFORMED;
    if (!there) {
        *ret_told = is_gone(watch, token, revision, expired, ret);
        return CONCLAVE_OK;
    }
    if (coord_stored_read(stored, &slots, &packed))
        return CONCLAVE_MALFORMED;
    *ret_told = is_there(watch, token, revision, packed, ret);
    return CONCLAVE_OK;
}

static int take_piece(struct conclave_presence_watch *watch,
                      const struct client_stream_piece *piece, struct conclave_presence_event *ret,
                      bool *ret_told)
{
    struct cursor cursor;
    struct watch_event event;
    struct kv_item item;
    *ret_told = false;
    cursor_init(&cursor, piece->value.data, piece->value.bytes);
    switch (piece->what) {
    case CLIENT_STREAM_EVENT:
        if (watch_event_read(&cursor, &event))
            return CONCLAVE_MALFORMED;
        return take_key(watch, event.key, event.value, event.kind == WATCH_PUT, event.revision,
                        event.kind == WATCH_EXPIRE, ret, ret_told);
    case CLIENT_STREAM_STATE:
        if (watch_item_read(&cursor, &item))
            return CONCLAVE_MALFORMED;
        return take_key(watch, item.key, item.value, item.version > 0, item.mod_revision, false,
                        ret, ret_told);
    case CLIENT_STREAM_RESYNC:
        for (uint32_t i = 0; i < watch->members.count; i++)
            watch->members.items[i].seen = false;
        break;
    case CLIENT_STREAM_SYNCED:
        watch->sweeping = true;
        watch->sweep = 0;
        watch->revision = piece->frame.position ? piece->frame.position - 1 : 0;
        break;
    case CLIENT_STREAM_PROGRESS:
        break;
    }
    return CONCLAVE_OK;
}

/* Behind a state: those left who were not in it, and the first time it is said that this is all. */
static bool sweep(struct conclave_presence_watch *watch, struct conclave_presence_event *ret)
{
    while (watch->sweep < watch->members.count) {
        const struct known *known = &watch->members.items[watch->sweep];
        if (!known->seen)
            return is_gone(watch, known->token, watch->revision, false, ret);
        watch->sweep++;
    }
    watch->sweeping = false;
    if (watch->synced)
        return false;
    watch->synced = true;
    *ret = (struct conclave_presence_event){.kind = CONCLAVE_PRESENCE_SYNCED,
                                            .revision = watch->revision};
    return true;
}

int conclave_presence_watch_next(struct conclave_presence_watch *watch, uint32_t timeout_ms,
                                 struct conclave_presence_event *ret_event)
{
    struct client_stream_piece piece;
    for (;;) {
        bool told = false;
        if (watch->sweeping && sweep(watch, ret_event))
            return CONCLAVE_OK;
        int code = client_stream_next(watch->stream, timeout_ms, &piece);
        if (!code)
            code = take_piece(watch, &piece, ret_event, &told);
        if (code || told)
            return code;
    }
}

const char *conclave_presence_watch_describe(struct conclave_presence_watch *watch)
{
    return client_stream_describe(watch->stream);
}

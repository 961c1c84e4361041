/* Asking queues: who is in them, what locks, observers and groups share, and the forms for
 * conclave_client_submit (conclave_lock.h). */
#include "client/queue.h"

#include <string.h>

int queue_name_check(struct slice name)
{
    if (name.bytes == 0 || memchr(name.data, 0, name.bytes))
        return CONCLAVE_INVALID;
    return name.bytes > CONCLAVE_QUEUE_NAME_BYTES_MAX ? CONCLAVE_TOO_LARGE : CONCLAVE_OK;
}

bool queue_code_passes(int code)
{
    return code == CONCLAVE_TIMEOUT || code == CONCLAVE_UNKNOWN || code == CONCLAVE_NO_LEADER ||
           code == CONCLAVE_BUSY || code == CONCLAVE_STOPPING || code == CONCLAVE_HANDOVER ||
           code == CONCLAVE_UNREACHABLE || code == CONCLAVE_NOT_LEADER;
}

static enum conclave_op_kind kind_of(const struct coord_request *wanted)
{
    return coord_is_query(wanted->opcode) ? CONCLAVE_OP_READ : CONCLAVE_OP_PROPOSE;
}

static void request_pack(struct pack *pack, const struct coord_request *wanted)
{
    pack_init(pack, wanted->name.bytes + wanted->value.bytes + CONCLAVE_KV_OVERHEAD);
    coord_request_pack(pack, wanted);
}

void queue_start(struct conclave_client *client, struct request *request,
                 const struct coord_request *wanted, uint32_t timeout_ms)
{
    struct pack pack;
    request_pack(&pack, wanted);
    request_start(client, request, kind_of(wanted), &pack, timeout_ms);
}

int queue_call(struct conclave_client *client, const struct coord_request *wanted,
               uint32_t timeout_ms, struct conclave_op *op)
{
    struct pack pack;
    struct conclave_op kind = {.kind = kind_of(wanted), .timeout_ms = timeout_ms};
    request_pack(&pack, wanted);
    request_call(client, kind, &pack, op);
    return op->code;
}

int queue_watch(struct conclave_client *client, struct slice name, uint64_t token, unsigned what,
                uint64_t revision, struct client_stream **ret_stream)
{
    uint8_t from[COORD_KEY_BYTES_MAX + 1], to[COORD_KEY_BYTES_MAX + 1];
    struct slice first = coord_key(name, token, from), end = {to, first.bytes + 1};
    memcpy(to, from, first.bytes);
    to[first.bytes] = 0; /* one key */
    if (token == 0) {    /* all that begin with the name and its zero byte */
        first.bytes = end.bytes = name.bytes + 1;
        to[name.bytes] = 1;
    }
    struct watch_spec spec = {.bounds = {.from = first, .to = end},
                              .what = what & ~(unsigned)WATCH_INITIAL,
                              .space = COORD_SPACE};
    struct pack plain, state;
    pack_init(&plain, 0);
    pack_init(&state, 0);
    watch_spec_pack(&plain, &spec);
    spec.what |= WATCH_INITIAL;
    watch_spec_pack(&state, &spec);
    int code = client_stream_create(
        &(struct client_stream_options){.client = client,
                                        .quiet = true,
                                        .kind = STREAM_WATCH,
                                        .position = revision,
                                        .spec = {plain.buf->data, plain.bytes},
                                        .state_spec = {state.buf->data, state.bytes},
                                        .state_first = (what & WATCH_INITIAL) != 0},
        ret_stream, NULL);
    pack_deinit(&plain);
    pack_deinit(&state);
    return code;
}

/* --- Looking on --------------------------------------------------------------------------------
 */

struct list {
    int (*entry)(void *arg, const struct conclave_queue_entry *entry);
    void *arg;
    uint64_t count, next;
    bool stopped;
};

static int list_page(struct list *list, const struct conclave_op *op)
{
    struct coord_queue queue;
    struct coord_entry entry;
    int more = 0;
    int code = coord_queue_begin(op->reply, op->reply_bytes, &queue);
    if (code)
        return code;
    while (!list->stopped && (more = coord_queue_next(&queue, &entry)) == 1) {
        struct conclave_queue_entry handed = {.token = entry.token,
                                              .lease = entry.lease,
                                              .value = entry.value.data,
                                              .value_bytes = entry.value.bytes,
                                              .revision = entry.revision,
                                              .holds =
                                                  queue.slots == 0 || list->count < queue.slots};
        list->count++;
        list->stopped = list->entry(list->arg, &handed) != 0;
    }
    /* An answer that does not lead on would be asked for again without end. */
    if (more < 0 || (queue.next && queue.next <= list->next))
        return CONCLAVE_MALFORMED;
    list->next = queue.next;
    return CONCLAVE_OK;
}

int conclave_queue_list(struct conclave_client *client, const void *name, size_t name_bytes,
                        uint32_t timeout_ms,
                        int (*entry)(void *arg, const struct conclave_queue_entry *entry),
                        void *arg)
{
    struct list list = {.entry = entry, .arg = arg};
    struct slice of = request_slice(name, name_bytes);
    int code = queue_name_check(of);
    if (code)
        return code;
    do {
        struct coord_request wanted = {.opcode = COORD_QUEUE, .name = of, .token = list.next};
        struct conclave_op op;
        code = queue_call(client, &wanted, timeout_ms, &op);
        if (!code)
            code = list_page(&list, &op);
        conclave_op_release(&op);
    } while (!code && !list.stopped && list.next);
    return code;
}

/* --- For conclave_client_submit ----------------------------------------------------------------
 */

static int encode(void *buffer, size_t capacity, const struct coord_request *wanted,
                  size_t *ret_bytes)
{
    struct pack pack;
    struct buf buf;
    int code = queue_name_check(wanted->name);
    if (!code && wanted->value.bytes > CONCLAVE_QUEUE_VALUE_BYTES_MAX)
        code = CONCLAVE_TOO_LARGE;
    if (!code)
        code = request_begin_fixed(&pack, &buf, buffer, capacity,
                                   wanted->name.bytes + wanted->value.bytes);
    if (code)
        return code;
    coord_request_pack(&pack, wanted);
    *ret_bytes = pack.bytes;
    return CONCLAVE_OK;
}

int conclave_queue_encode_enqueue(void *buffer, size_t capacity, const void *name,
                                  size_t name_bytes, uint64_t lease, const void *value,
                                  size_t value_bytes, uint32_t slots, size_t *ret_bytes)
{
    struct coord_request wanted = {.opcode = COORD_ENQUEUE,
                                   .name = request_slice(name, name_bytes),
                                   .value = request_slice(value, value_bytes),
                                   .lease = lease,
                                   .slots = slots};
    if (lease == 0)
        return CONCLAVE_INVALID;
    if (slots > CONCLAVE_LOCK_SLOTS_MAX)
        return CONCLAVE_TOO_LARGE;
    return encode(buffer, capacity, &wanted, ret_bytes);
}

int conclave_queue_encode_leave(void *buffer, size_t capacity, const void *name, size_t name_bytes,
                                uint64_t token, size_t *ret_bytes)
{
    struct coord_request wanted = {
        .opcode = COORD_LEAVE, .name = request_slice(name, name_bytes), .token = token};
    return encode(buffer, capacity, &wanted, ret_bytes);
}

int conclave_queue_encode_proclaim(void *buffer, size_t capacity, const void *name,
                                   size_t name_bytes, uint64_t token, const void *value,
                                   size_t value_bytes, size_t *ret_bytes)
{
    struct coord_request wanted = {.opcode = COORD_PROCLAIM,
                                   .name = request_slice(name, name_bytes),
                                   .value = request_slice(value, value_bytes),
                                   .token = token};
    return encode(buffer, capacity, &wanted, ret_bytes);
}

int conclave_queue_encode_place(void *buffer, size_t capacity, const void *name, size_t name_bytes,
                                uint64_t token, size_t *ret_bytes)
{
    struct coord_request wanted = {
        .opcode = COORD_PLACE, .name = request_slice(name, name_bytes), .token = token};
    return encode(buffer, capacity, &wanted, ret_bytes);
}

int conclave_queue_decode_place(const struct conclave_op *op,
                                struct conclave_queue_place *ret_place)
{
    struct coord_place place;
    int code = op->code;
    if (!code)
        code = coord_place_decode(op->reply, op->reply_bytes, &place);
    if (!code)
        *ret_place = (struct conclave_queue_place){
            .revision = place.revision, .token = place.token, .awaited = place.awaited};
    return code;
}

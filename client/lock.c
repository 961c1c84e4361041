/* Locks, elections and presence of libconclave's client (conclave_lock.h). */
#include "conclave_lock.h"

#include "base/clock.h"
#include "base/fatal.h"
#include "client/request.h"
#include "codec/coord.h"
#include "codec/kv_lease.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum {
    TTL_MS_MIN = 500,
    ASK_FIRST_MS = 5, /* between two questions whether it holds by now */
    ASK_MAX_MS = 100
};

struct conclave_lock {
    struct conclave_client *client;
    uint64_t lease, token;
    uint32_t ttl_ms;
    uint64_t sent_us; /* the last renewal that was answered OK, or the grant */
    uint64_t renew_us;
    bool lost;
    size_t name_bytes;
    uint8_t name[CONCLAVE_QUEUE_NAME_BYTES_MAX];
};

void conclave_lock_options_init(struct conclave_lock_options *options)
{
    *options = (struct conclave_lock_options){.size = sizeof *options, .slots = 1, .ttl_ms = 10000};
}

static struct slice name_of(const struct conclave_lock *lock)
{
    return (struct slice){lock->name, lock->name_bytes};
}

/* --- Asking ------------------------------------------------------------------------------------
 */

/* The caller releases op, whose code this returns. */
static int request(struct conclave_client *client, const struct coord_request *wanted,
                   uint32_t timeout_ms, struct conclave_op *op)
{
    struct pack pack;
    pack_init(&pack, wanted->name.bytes + wanted->value.bytes + CONCLAVE_KV_OVERHEAD);
    coord_request_pack(&pack, wanted);
    struct conclave_op kind = {.kind = coord_is_query(wanted->opcode) ? CONCLAVE_OP_READ
                                                                      : CONCLAVE_OP_PROPOSE,
                               .timeout_ms = timeout_ms};
    request_call(client, kind, &pack, op);
    return op->code;
}

/* A command about a lease; *ret_lease may be NULL. */
static int lease_call(struct conclave_client *client, const struct kv_command *command,
                      uint32_t timeout_ms, uint64_t *ret_lease)
{
    struct pack pack;
    struct conclave_op op, kind = {.kind = CONCLAVE_OP_PROPOSE, .timeout_ms = timeout_ms};
    struct kv_lease_answer answer;
    pack_init(&pack, CONCLAVE_KV_OVERHEAD);
    kv_command_pack(&pack, command);
    request_call(client, kind, &pack, &op);
    int code = op.code;
    if (!code && ret_lease)
        code = kv_lease_answer_decode(op.reply, op.reply_bytes, &answer);
    if (!code && ret_lease)
        *ret_lease = answer.lease;
    conclave_op_release(&op);
    return code;
}

/* --- The lease ---------------------------------------------------------------------------------
 */

/* It counts from when it was sent: the cluster's own count began later. */
static void heard(struct conclave_lock *lock, uint64_t sent_us)
{
    lock->sent_us = sent_us;
    lock->renew_us = sent_us + (uint64_t)lock->ttl_ms * 1000 / 3;
}

uint32_t conclave_lock_left_ms(const struct conclave_lock *lock)
{
    uint64_t end_us = lock->sent_us + (uint64_t)lock->ttl_ms * 1000, now_us = clock_now_us();
    return lock->lost || now_us >= end_us ? 0 : (uint32_t)((end_us - now_us) / 1000);
}

uint32_t conclave_lock_poll_ms(const struct conclave_lock *lock)
{
    uint64_t now_us = clock_now_us();
    return lock->lost || now_us >= lock->renew_us ? 0
                                                  : (uint32_t)((lock->renew_us - now_us) / 1000);
}

int conclave_lock_poll(struct conclave_lock *lock)
{
    uint32_t left_ms = conclave_lock_left_ms(lock), part_ms = lock->ttl_ms / 6;
    uint64_t now_us = clock_now_us(), lease;
    if (left_ms > 0 && now_us >= lock->renew_us) {
        struct kv_command renew = {.opcode = KV_LEASE_RENEW, .lease = lock->lease};
        int code = lease_call(lock->client, &renew, left_ms < part_ms ? left_ms : part_ms, &lease);
        if (code == CONCLAVE_OK)
            heard(lock, now_us);
        else if (code == CONCLAVE_LEASE_EXPIRED)
            lock->lost = true;
        else /* not known, or not now: again soon, as long as it lasts */
            lock->renew_us = clock_now_us() + (uint64_t)lock->ttl_ms * 1000 / 20;
    }
    if (conclave_lock_left_ms(lock) == 0)
        lock->lost = true;
    return lock->lost ? CONCLAVE_LEASE_EXPIRED : CONCLAVE_OK;
}

/* --- Acquiring ---------------------------------------------------------------------------------
 */

/* *ret_holds as of this answer. */
static int take_place(struct conclave_lock *lock, const struct conclave_op *op, bool *ret_holds)
{
    struct coord_place place;
    int code = coord_place_decode(op->reply, op->reply_bytes, &place);
    if (code)
        return code;
    lock->token = place.token;
    *ret_holds = place.awaited == 0;
    return CONCLAVE_OK;
}

static int enqueue(struct conclave_lock *lock, const struct conclave_lock_options *options,
                   bool *ret_holds)
{
    struct coord_request wanted = {.opcode = COORD_ENQUEUE,
                                   .name = name_of(lock),
                                   .value = request_slice(options->value, options->value_bytes),
                                   .lease = lock->lease,
                                   .slots = options->slots};
    struct conclave_op op;
    int code = request(lock->client, &wanted, conclave_lock_left_ms(lock), &op);
    if (!code)
        code = take_place(lock, &op, ret_holds);
    conclave_op_release(&op);
    return code;
}

/* Asks, linearizably, so that its entry is known to be there when it is known to hold. */
static int ask_place(struct conclave_lock *lock, bool *ret_holds)
{
    struct coord_request wanted = {
        .opcode = COORD_PLACE, .name = name_of(lock), .token = lock->token};
    uint32_t left_ms = conclave_lock_left_ms(lock), part_ms = lock->ttl_ms / 6;
    struct conclave_op op;
    int code = request(lock->client, &wanted, left_ms < part_ms ? left_ms : part_ms, &op);
    if (!code)
        code = take_place(lock, &op, ret_holds);
    if (code == CONCLAVE_NOT_FOUND)
        code = CONCLAVE_LEASE_EXPIRED;
    conclave_op_release(&op);
    return code;
}

/* Whether an error may be gone with the next question. */
static bool passes(int code)
{
    return code == CONCLAVE_TIMEOUT || code == CONCLAVE_NO_LEADER || code == CONCLAVE_BUSY ||
           code == CONCLAVE_STOPPING || code == CONCLAVE_HANDOVER || code == CONCLAVE_UNREACHABLE ||
           code == CONCLAVE_NOT_LEADER;
}

static int wait_until_it_holds(struct conclave_lock *lock, uint32_t wait_ms)
{
    uint64_t end_us =
        wait_ms == CONCLAVE_LOCK_FOREVER ? UINT64_MAX : clock_now_us() + (uint64_t)wait_ms * 1000;
    uint32_t pause_ms = ASK_FIRST_MS;
    for (;;) {
        uint64_t now_us = clock_now_us();
        if (now_us >= end_us)
            return CONCLAVE_TIMEOUT;
        uint64_t left_ms = (end_us - now_us + 999) / 1000;
        (void)poll(NULL, 0, (int)(left_ms < pause_ms ? left_ms : pause_ms));
        pause_ms = 2 * pause_ms < ASK_MAX_MS ? 2 * pause_ms : ASK_MAX_MS;
        bool holds = false;
        int code = conclave_lock_poll(lock);
        if (!code)
            code = ask_place(lock, &holds);
        if (code && !passes(code))
            return code;
        if (holds && conclave_lock_left_ms(lock) > 0)
            return CONCLAVE_OK;
    }
}

static int acquire(struct conclave_lock *lock, const struct conclave_lock_options *options,
                   uint32_t wait_ms)
{
    struct kv_command grant = {.opcode = KV_LEASE_GRANT, .ttl_ms = lock->ttl_ms};
    bool holds = false;
    uint64_t sent_us = clock_now_us();
    int code = lease_call(lock->client, &grant, 0, &lock->lease);
    if (code)
        return code;
    heard(lock, sent_us);
    code = enqueue(lock, options, &holds);
    if (code || holds)
        return code;
    return wait_ms == 0 ? CONCLAVE_TIMEOUT : wait_until_it_holds(lock, wait_ms);
}

int conclave_lock_acquire(struct conclave_client *client, const void *name, size_t name_bytes,
                          const struct conclave_lock_options *options, uint32_t wait_ms,
                          struct conclave_lock **ret_lock)
{
    struct conclave_lock_options known;
    conclave_lock_options_init(&known);
    memcpy(&known, options, options->size < sizeof known ? options->size : sizeof known);
    if (name_bytes == 0 || memchr(name, 0, name_bytes) || known.ttl_ms < TTL_MS_MIN)
        return CONCLAVE_INVALID;
    if (name_bytes > CONCLAVE_QUEUE_NAME_BYTES_MAX || known.slots > CONCLAVE_LOCK_SLOTS_MAX ||
        known.value_bytes > CONCLAVE_QUEUE_VALUE_BYTES_MAX)
        return CONCLAVE_TOO_LARGE;
    struct conclave_lock *lock = mem_zalloc(sizeof *lock);
    lock->client = client;
    lock->ttl_ms = known.ttl_ms;
    lock->name_bytes = name_bytes;
    memcpy(lock->name, name, name_bytes);
    int code = acquire(lock, &known, wait_ms);
    if (code) { /* what it left behind must not hold later, unseen */
        (void)conclave_lock_release(lock, lock->ttl_ms / 6);
        return code;
    }
    *ret_lock = lock;
    return CONCLAVE_OK;
}

/* --- Holding -----------------------------------------------------------------------------------
 */

uint64_t conclave_lock_token(const struct conclave_lock *lock)
{
    return lock->token;
}

int conclave_lock_proclaim(struct conclave_lock *lock, const void *value, size_t value_bytes,
                           uint32_t timeout_ms)
{
    struct coord_request wanted = {.opcode = COORD_PROCLAIM,
                                   .name = name_of(lock),
                                   .value = request_slice(value, value_bytes),
                                   .token = lock->token};
    struct conclave_op op;
    if (value_bytes > CONCLAVE_QUEUE_VALUE_BYTES_MAX)
        return CONCLAVE_TOO_LARGE;
    if (conclave_lock_left_ms(lock) == 0)
        return CONCLAVE_LEASE_EXPIRED;
    int code = request(lock->client, &wanted, timeout_ms, &op);
    conclave_op_release(&op);
    if (code == CONCLAVE_NOT_FOUND)
        lock->lost = true;
    return code == CONCLAVE_NOT_FOUND ? CONCLAVE_LEASE_EXPIRED : code;
}

int conclave_lock_release(struct conclave_lock *lock, uint32_t timeout_ms)
{
    int code = CONCLAVE_OK;
    if (!lock)
        return code;
    if (lock->lease) { /* its entry goes with it */
        struct kv_command revoke = {.opcode = KV_LEASE_REVOKE, .lease = lock->lease};
        code = lease_call(lock->client, &revoke, timeout_ms, NULL);
    }
    free(lock);
    return code == CONCLAVE_LEASE_EXPIRED ? CONCLAVE_OK : code;
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
    int code = CONCLAVE_OK;
    if (name_bytes == 0 || memchr(name, 0, name_bytes))
        return CONCLAVE_INVALID;
    if (name_bytes > CONCLAVE_QUEUE_NAME_BYTES_MAX)
        return CONCLAVE_TOO_LARGE;
    do {
        struct coord_request wanted = {
            .opcode = COORD_QUEUE, .name = {name, name_bytes}, .token = list.next};
        struct conclave_op op;
        code = request(client, &wanted, timeout_ms, &op);
        if (!code)
            code = list_page(&list, &op);
        conclave_op_release(&op);
    } while (!code && !list.stopped && list.next);
    return code;
}

/* Locks of libconclave's client (conclave_lock.h).
 *
 *     grants ──lease──> enqueues ──entry──> queued: asks its place ──awaited──> watches that entry
 *                                              ^        └──none──> holds           │ it goes
 *                                              └──────────────────────────────────┘
 *
 * Beside that the lease is renewed, and its own entry is watched: a lock is lost when the entry is
 * seen to go, when a renewal is told so, and when the lease's time is over by this process's clock,
 * counted from before the renewal was sent; whichever is first. Nothing here waits but the
 * synchronous functions at the end. */
#include "conclave_lock.h"

#include "base/clock.h"
#include "base/fatal.h"
#include "client/client.h"
#include "client/queue.h"
#include "codec/kv_lease.h"

#include <stdlib.h>
#include <string.h>

enum {
    TTL_MS_MIN = 500,
    RENEWALS = 3,         /* of a lease's time: one of them is due then */
    RENEW_AGAIN_PART = 20 /* after one that failed */
};

enum lock_stage { LOCK_GRANTS, LOCK_ENQUEUES, LOCK_QUEUED, LOCK_OVER };

struct conclave_lock {
    struct conclave_client *client;
    enum lock_stage stage;
    int code;   /* OVER: why */
    bool holds; /* QUEUED: it was told so */
    bool asks;  /* its place, as soon as it can */
    uint64_t lease, token;
    uint32_t ttl_ms, slots;
    struct request request; /* grant, enqueue, place: one at a time */
    uint64_t asked_us;      /* when that was begun */
    struct request renewal;
    uint64_t renewal_us;
    uint64_t sent_us;            /* the last renewal that was answered OK, or the grant */
    uint64_t renew_us;           /* when the next one is due */
    struct client_stream *own;   /* its own entry; NULL: not watched */
    struct client_stream *ahead; /* the one that it waits for */
    struct buf *value;           /* until it is enqueued */
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

static void unwatch(struct client_stream **stream)
{
    client_stream_destroy(*stream);
    *stream = NULL;
}

static void over(struct conclave_lock *lock, int code)
{
    if (lock->stage != LOCK_OVER)
        lock->code = code;
    lock->stage = LOCK_OVER;
    lock->holds = false;
    request_clear(lock->client, &lock->request);
    request_clear(lock->client, &lock->renewal);
    unwatch(&lock->own);
    unwatch(&lock->ahead);
}

/* --- The lease ---------------------------------------------------------------------------------
 */

/* It counts from when it was sent: the cluster's own count began later. */
static void heard(struct conclave_lock *lock, uint64_t sent_us)
{
    lock->sent_us = sent_us;
    lock->renew_us = sent_us + (uint64_t)lock->ttl_ms * 1000 / RENEWALS;
}

static uint64_t end_us(const struct conclave_lock *lock)
{
    return lock->sent_us + (uint64_t)lock->ttl_ms * 1000;
}

uint32_t conclave_lock_left_ms(const struct conclave_lock *lock)
{
    uint64_t now_us = clock_now_us();
    return lock->stage == LOCK_OVER || lock->lease == 0 || now_us >= end_us(lock)
               ? 0
               : (uint32_t)((end_us(lock) - now_us) / 1000);
}

static void lease_start(struct conclave_lock *lock, struct request *request,
                        const struct kv_command *command, uint32_t timeout_ms)
{
    struct pack pack;
    pack_init(&pack, CONCLAVE_KV_OVERHEAD);
    kv_command_pack(&pack, command);
    request_start(lock->client, request, CONCLAVE_OP_PROPOSE, &pack, timeout_ms);
}

static void renew(struct conclave_lock *lock)
{
    uint64_t now_us = clock_now_us();
    if (request_has_ended(&lock->renewal)) {
        int code = lock->renewal.op.code;
        request_clear(lock->client, &lock->renewal);
        if (code == CONCLAVE_OK)
            heard(lock, lock->renewal_us);
        else if (code == CONCLAVE_LEASE_EXPIRED)
            over(lock, code);
        else /* not known, or not now: again soon, as long as it lasts */
            lock->renew_us = now_us + (uint64_t)lock->ttl_ms * 1000 / RENEW_AGAIN_PART;
    }
    if (lock->stage == LOCK_OVER || lock->renewal.started || now_us < lock->renew_us)
        return;
    const struct kv_command command = {.opcode = KV_LEASE_RENEW, .lease = lock->lease};
    lock->renewal_us = now_us;
    lease_start(lock, &lock->renewal, &command, conclave_lock_left_ms(lock));
}

/* --- The queue ---------------------------------------------------------------------------------
 */

static void enqueue(struct conclave_lock *lock)
{
    struct coord_request wanted = {.opcode = COORD_ENQUEUE,
                                   .name = name_of(lock),
                                   .value = {lock->value->data, lock->value->bytes},
                                   .lease = lock->lease,
                                   .slots = lock->slots};
    lock->stage = LOCK_ENQUEUES;
    queue_start(lock->client, &lock->request, &wanted, conclave_lock_left_ms(lock));
}

/* Linearizably, so that its entry is known to be there when it is known to hold. */
static void ask_place(struct conclave_lock *lock)
{
    struct coord_request wanted = {
        .opcode = COORD_PLACE, .name = name_of(lock), .token = lock->token};
    lock->asks = false;
    queue_start(lock->client, &lock->request, &wanted, conclave_lock_left_ms(lock));
}

static void granted(struct conclave_lock *lock)
{
    struct kv_lease_answer answer;
    const struct conclave_op *op = &lock->request.op;
    int code = kv_lease_answer_decode(op->reply, op->reply_bytes, &answer);
    if (code) {
        over(lock, code);
        return;
    }
    lock->lease = answer.lease;
    heard(lock, lock->asked_us);
    request_clear(lock->client, &lock->request);
    enqueue(lock);
}

/* What the entry that is waited for does from the revision behind this answer on is told. */
static void placed(struct conclave_lock *lock)
{
    struct coord_place place;
    const struct conclave_op *op = &lock->request.op;
    int code = coord_place_decode(op->reply, op->reply_bytes, &place);
    request_clear(lock->client, &lock->request);
    lock->stage = LOCK_QUEUED;
    if (code) {
        over(lock, code);
        return;
    }
    lock->token = place.token;
    lock->holds = place.awaited == 0;
    unwatch(&lock->ahead);
    /* Without it, where there are too many, the lease's end is noticed all the same. */
    if (!lock->own && queue_watch(lock->client, name_of(lock), place.token, WATCH_NO_PUTS,
                                  place.revision + 1, &lock->own))
        lock->own = NULL;
    if (!lock->holds)
        code = queue_watch(lock->client, name_of(lock), place.awaited, WATCH_NO_PUTS,
                           place.revision + 1, &lock->ahead);
    if (code)
        over(lock, code);
}

/* Of codes that say whether it was done the caller has no use: it is not held. */
static int told(int code)
{
    return code == CONCLAVE_TIMEOUT || code == CONCLAVE_UNKNOWN ? CONCLAVE_NO_LEADER : code;
}

static void request_ended(struct conclave_lock *lock)
{
    int code = lock->request.op.code;
    bool again =
        lock->stage != LOCK_GRANTS && queue_code_passes(code) && conclave_lock_left_ms(lock) > 0;
    if (code == CONCLAVE_OK && lock->stage == LOCK_GRANTS) {
        granted(lock);
    } else if (code == CONCLAVE_OK) {
        placed(lock);
    } else if (again && lock->stage == LOCK_ENQUEUES) { /* a lease has one entry, however often */
        request_clear(lock->client, &lock->request);
        enqueue(lock);
    } else if (again) {
        request_clear(lock->client, &lock->request);
        lock->asks = true;
    } else if (lock->stage == LOCK_QUEUED && code == CONCLAVE_NOT_FOUND) {
        over(lock, CONCLAVE_LEASE_EXPIRED);
    } else {
        over(lock, told(code));
    }
}

/* True: the entry went. *ret_code: the watch ended for good. */
static bool has_gone(struct client_stream *stream, bool *ret_lost, int *ret_code)
{
    struct client_stream_piece piece;
    bool gone = false;
    while ((*ret_code = client_stream_take(stream, &piece)) == CONCLAVE_OK) {
        gone = gone || piece.what == CLIENT_STREAM_EVENT;
        *ret_lost = *ret_lost || piece.what == CLIENT_STREAM_RESYNC;
    }
    return gone;
}

static void look_at_watches(struct conclave_lock *lock)
{
    bool unsure = false;
    int code = CONCLAVE_TIMEOUT;
    if (lock->own && has_gone(lock->own, &unsure, &code)) {
        over(lock, CONCLAVE_LEASE_EXPIRED);
        return;
    }
    if (code != CONCLAVE_TIMEOUT)
        unwatch(&lock->own); /* the lease's end is noticed all the same */
    code = CONCLAVE_TIMEOUT;
    if (lock->ahead && has_gone(lock->ahead, &unsure, &code)) {
        unsure = true;
        unwatch(&lock->ahead);
    } else if (code != CONCLAVE_TIMEOUT) {
        over(lock, code);
    }
    lock->asks = lock->asks || unsure;
}

/* --- Going on ----------------------------------------------------------------------------------
 */

/* Does what there is to do; true if something was asked. */
static bool advance(struct conclave_lock *lock)
{
    if (lock->stage == LOCK_OVER)
        return false;
    bool renewing = lock->renewal.started;
    if (lock->lease)
        renew(lock);
    bool asked = lock->renewal.started && !renewing;
    look_at_watches(lock);
    if (lock->stage != LOCK_OVER && request_has_ended(&lock->request)) {
        request_ended(lock);
        asked = true;
    }
    if (lock->stage == LOCK_QUEUED && lock->asks && !lock->request.started) {
        ask_place(lock);
        asked = true;
    }
    if (lock->stage != LOCK_OVER && lock->lease && clock_now_us() >= end_us(lock))
        over(lock, CONCLAVE_LEASE_EXPIRED);
    return asked;
}

int conclave_lock_poll(struct conclave_lock *lock)
{
    bool more;
    do {
        more = client_step(lock->client);
        more = advance(lock) || more;
    } while (more);
    if (lock->stage == LOCK_OVER)
        return lock->code;
    return lock->holds ? CONCLAVE_OK : CONCLAVE_TIMEOUT;
}

uint32_t conclave_lock_poll_ms(const struct conclave_lock *lock)
{
    uint64_t now_us = clock_now_us(), due_us = client_due_ns(lock->client) / 1000;
    if (lock->stage == LOCK_OVER)
        return 0;
    if (lock->lease && end_us(lock) < due_us)
        due_us = end_us(lock);
    if (lock->lease && !lock->renewal.started && lock->renew_us < due_us)
        due_us = lock->renew_us;
    uint64_t wait_ms = due_us <= now_us ? 0 : (due_us - now_us + 999) / 1000;
    return wait_ms < lock->ttl_ms ? (uint32_t)wait_ms : lock->ttl_ms;
}

int conclave_lock_begin(struct conclave_client *client, const void *name, size_t name_bytes,
                        const struct conclave_lock_options *options,
                        struct conclave_lock **ret_lock)
{
    struct conclave_lock_options known;
    conclave_lock_options_init(&known);
    memcpy(&known, options, options->size < sizeof known ? options->size : sizeof known);
    int code = queue_name_check(request_slice(name, name_bytes));
    if (code || known.ttl_ms < TTL_MS_MIN)
        return code ? code : CONCLAVE_INVALID;
    if (known.slots > CONCLAVE_LOCK_SLOTS_MAX || known.value_bytes > CONCLAVE_QUEUE_VALUE_BYTES_MAX)
        return CONCLAVE_TOO_LARGE;
    struct conclave_lock *lock = mem_zalloc(sizeof *lock);
    const struct kv_command grant = {.opcode = KV_LEASE_GRANT, .ttl_ms = known.ttl_ms};
    lock->client = client;
    lock->ttl_ms = known.ttl_ms;
    lock->slots = known.slots;
    lock->value = buf_copy(known.value, known.value ? known.value_bytes : 0);
    lock->name_bytes = name_bytes;
    memcpy(lock->name, name, name_bytes);
    lock->asked_us = clock_now_us();
    lease_start(lock, &lock->request, &grant, client->timeout_ms);
    *ret_lock = lock;
    return CONCLAVE_OK;
}

/* --- Holding -----------------------------------------------------------------------------------
 */

uint64_t conclave_lock_token(const struct conclave_lock *lock)
{
    return lock->token;
}

static void lock_free(struct conclave_lock *lock)
{
    over(lock, CONCLAVE_STOPPING);
    buf_unref(lock->value);
    free(lock);
}

/* It has no name any more, but its lease; which is what releasing is about. */
static int revoke(struct conclave_lock *lock, uint32_t timeout_ms)
{
    struct pack pack;
    struct conclave_op op, kind = {.kind = CONCLAVE_OP_PROPOSE, .timeout_ms = timeout_ms};
    const struct kv_command command = {.opcode = KV_LEASE_REVOKE, .lease = lock->lease};
    pack_init(&pack, CONCLAVE_KV_OVERHEAD);
    kv_command_pack(&pack, &command);
    request_call(lock->client, kind, &pack, &op);
    int code = op.code;
    conclave_op_release(&op);
    return code;
}

int conclave_lock_release(struct conclave_lock *lock, uint32_t timeout_ms)
{
    int code = CONCLAVE_OK;
    if (!lock)
        return code;
    over(lock, CONCLAVE_STOPPING);
    if (lock->lease) /* its entry goes with it */
        code = revoke(lock, timeout_ms);
    lock_free(lock);
    return code == CONCLAVE_LEASE_EXPIRED ? CONCLAVE_OK : code;
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
    if (!lock->holds || conclave_lock_left_ms(lock) == 0)
        return CONCLAVE_LEASE_EXPIRED;
    int code = queue_call(lock->client, &wanted, timeout_ms, &op);
    conclave_op_release(&op);
    if (code == CONCLAVE_NOT_FOUND)
        over(lock, CONCLAVE_LEASE_EXPIRED);
    return code == CONCLAVE_NOT_FOUND ? CONCLAVE_LEASE_EXPIRED : code;
}

/* --- Acquiring ---------------------------------------------------------------------------------
 */

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Until it holds, or has waited that long in the queue. */
static int wait_until_it_holds(struct conclave_lock *lock, uint32_t wait_ms)
{
    uint64_t give_up_us = UINT64_MAX;
    for (;;) {
        int code = conclave_lock_poll(lock);
        if (code != CONCLAVE_TIMEOUT)
            return code;
        uint64_t now_us = clock_now_us();
        if (lock->stage == LOCK_QUEUED && give_up_us == UINT64_MAX &&
            wait_ms != CONCLAVE_LOCK_FOREVER)
            give_up_us = now_us + (uint64_t)wait_ms * 1000;
        if (now_us >= give_up_us)
            return CONCLAVE_TIMEOUT;
        uint64_t due_us = now_us + (uint64_t)conclave_lock_poll_ms(lock) * 1000;
        client_wait(lock->client, sooner(due_us, give_up_us) * 1000);
    }
}

int conclave_lock_acquire(struct conclave_client *client, const void *name, size_t name_bytes,
                          const struct conclave_lock_options *options, uint32_t wait_ms,
                          struct conclave_lock **ret_lock)
{
    struct conclave_lock *lock;
    int code = conclave_lock_begin(client, name, name_bytes, options, &lock);
    if (code)
        return code;
    code = wait_until_it_holds(lock, wait_ms);
    if (code) { /* what it left behind must not hold later, unseen */
        (void)conclave_lock_release(lock, lock->ttl_ms / 6);
        return code;
    }
    *ret_lock = lock;
    return CONCLAVE_OK;
}

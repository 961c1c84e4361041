#include "bench/listeners.h"

#include "bench/measure.h"
#include "bench/topic.h"
#include "bench/workload.h"
#include "conclave_topic.h"
#include "conclave_watch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <zmq.h>

enum {
    READY_AT_ONCE = 64,
    WAIT_MS = 20,
    SOCKETS_MAX = 16384,
    /* Of one listener in one turn, so that the generator's clients get theirs. */
    EVENTS_MAX = 4096
};

#define MS_NS UINT64_C(1000000)

struct listener {
    struct conclave_watch *watch; /* one of both */
    struct conclave_subscription *subscription;
    struct acked seen; /* numbers of operations */
    uint64_t position; /* revision or sequence that was told last */
    uint64_t messages; /* of a subscription, since it began */
    bool begun;
};

struct listeners {
    struct listeners_plan plan;
    struct listener *of;
    uint32_t count;
    void *context;
    int epoll;
    bool more; /* somebody's turn ended before he had taken in all */
    uint64_t disorder, repeats;
};

/* --- Events --------------------------------------------------------------------------------------
 */

static int complain(struct conclave_error *error, int code, const char *what, const char *where)
{
    snprintf(error->message, sizeof error->message, "%s: %s; %s", what, conclave_code_text(code),
             where);
    return error->code = code;
}

static int hear(struct listeners *listeners, uint32_t index, const void *value, size_t bytes,
                struct conclave_error *error)
{
    struct stamp stamp;
    struct listener *listener = &listeners->of[index];
    if (!listeners->plan.heard || !stamp_read(value, bytes, &stamp))
        return CONCLAVE_OK; /* nobody's of this run */
    if (acked_get(&listener->seen, stamp.number)) {
        listeners->repeats++;
        return CONCLAVE_OK;
    }
    if (!acked_set(&listener->seen, stamp.number))
        return complain(error, CONCLAVE_NO_MEMORY, "listeners", "out of memory");
    listeners->plan.heard(listeners->plan.arg, index, &stamp);
    return CONCLAVE_OK;
}

static int take_watched(struct listeners *listeners, uint32_t index, struct conclave_error *error)
{
    struct listener *listener = &listeners->of[index];
    struct conclave_watch_event event;
    int code = conclave_watch_next(listener->watch, 0, &event);
    if (code == CONCLAVE_TIMEOUT)
        return code;
    if (code != CONCLAVE_OK)
        return complain(error, code, "a watch ended", conclave_watch_describe(listener->watch));
    listener->begun = listener->begun || (event.kind == CONCLAVE_WATCH_PROGRESS && event.asked);
    if (event.kind == CONCLAVE_WATCH_RESYNC)
        return complain(error, CONCLAVE_COMPACTED, "a watcher fell behind what the nodes keep",
                        conclave_watch_describe(listener->watch));
    if (event.kind != CONCLAVE_WATCH_PUT)
        return CONCLAVE_OK;
    listeners->disorder += event.revision < listener->position;
    listener->position = event.revision;
    return hear(listeners, index, event.value, event.value_bytes, error);
}

static int take_subscribed(struct listeners *listeners, uint32_t index,
                           struct conclave_error *error)
{
    struct listener *listener = &listeners->of[index];
    struct conclave_subscription_event event;
    int code = conclave_subscription_next(listener->subscription, 0, &event);
    if (code == CONCLAVE_TIMEOUT)
        return code;
    if (code != CONCLAVE_OK)
        return complain(error, code, "a subscription ended",
                        conclave_subscription_describe(listener->subscription));
    if (event.kind != CONCLAVE_SUBSCRIPTION_MESSAGE)
        return complain(error, CONCLAVE_COMPACTED, "a subscriber fell behind what the topic keeps",
                        conclave_subscription_describe(listener->subscription));
    listeners->disorder += listener->position && event.message.sequence != listener->position + 1;
    listener->position = event.message.sequence;
    listener->messages++;
    return hear(listeners, index, event.message.data, event.message.bytes, error);
}

static int drain_one(struct listeners *listeners, uint32_t index, struct conclave_error *error)
{
    int code = CONCLAVE_OK;
    for (int i = 0; i < EVENTS_MAX && code == CONCLAVE_OK; i++)
        code = listeners->plan.prefix ? take_watched(listeners, index, error)
                                      : take_subscribed(listeners, index, error);
    listeners->more = listeners->more || code == CONCLAVE_OK;
    return code == CONCLAVE_TIMEOUT ? CONCLAVE_OK : code;
}

int listeners_drain(struct listeners *listeners, bool all, struct conclave_error *error)
{
    struct epoll_event ready[READY_AT_ONCE];
    int code = CONCLAVE_OK, count = 0;
    all = all || listeners->more;
    listeners->more = false;
    if (!all)
        count = epoll_wait(listeners->epoll, ready, READY_AT_ONCE, 0);
    for (int i = 0; i < count && code == CONCLAVE_OK; i++)
        code = drain_one(listeners, ready[i].data.u32, error);
    for (uint32_t i = 0; all && i < listeners->count && code == CONCLAVE_OK; i++)
        code = drain_one(listeners, i, error);
    return code;
}

bool listeners_more(const struct listeners *listeners)
{
    return listeners->more;
}

int listeners_fd(const struct listeners *listeners)
{
    return listeners->epoll;
}

uint64_t listeners_wrong(const struct listeners *listeners, bool written_once)
{
    return listeners->disorder + (written_once ? listeners->repeats : 0);
}

/* --- Life ----------------------------------------------------------------------------------------
 */

static int open_watch(struct listeners *listeners, struct listener *listener,
                      struct conclave_error *error)
{
    struct conclave_watch_options options;
    conclave_watch_options_init(&options);
    options.endpoints = listeners->plan.endpoints;
    options.zmq_context = listeners->context;
    options.key = listeners->plan.prefix;
    options.key_bytes = strlen(listeners->plan.prefix);
    options.prefix = true;
    int code = conclave_watch_create(&options, &listener->watch, error);
    if (code == CONCLAVE_OK)
        conclave_watch_ask(listener->watch);
    return code;
}

static int open_subscription(struct listeners *listeners, struct listener *listener,
                             struct conclave_error *error)
{
    struct conclave_subscription_options options;
    conclave_subscription_options_init(&options);
    options.endpoints = listeners->plan.endpoints;
    options.zmq_context = listeners->context;
    options.topic = TOPIC_NAME;
    options.topic_bytes = TOPIC_NAME_BYTES;
    options.sequence = listeners->plan.sequence;
    listener->begun = true; /* it says itself where */
    return conclave_subscription_create(&options, &listener->subscription, error);
}

static int open_one(struct listeners *listeners, uint32_t index, struct conclave_error *error)
{
    struct listener *listener = &listeners->of[index];
    struct epoll_event wanted = {.events = EPOLLIN, .data.u32 = index};
    int code = listeners->plan.prefix ? open_watch(listeners, listener, error)
                                      : open_subscription(listeners, listener, error);
    if (code != CONCLAVE_OK)
        return code;
    int fd = listener->watch ? conclave_watch_fd(listener->watch)
                             : conclave_subscription_fd(listener->subscription);
    if (epoll_ctl(listeners->epoll, EPOLL_CTL_ADD, fd, &wanted) == 0)
        return CONCLAVE_OK;
    return complain(error, CONCLAVE_NO_MEMORY, "listeners", "cannot wait for so many");
}

static bool all_begun(const struct listeners *listeners)
{
    for (uint32_t i = 0; i < listeners->count; i++)
        if (!listeners->of[i].begun)
            return false;
    return true;
}

static void wait_some(struct listeners *listeners)
{
    struct epoll_event ready;
    if (!listeners->more)
        (void)epoll_wait(listeners->epoll, &ready, 1, WAIT_MS);
}

static int wait_begun(struct listeners *listeners, struct conclave_error *error)
{
    uint64_t until_ns = measure_now_ns() + listeners->plan.timeout_ms * MS_NS;
    int code = listeners_drain(listeners, true, error);
    while (code == CONCLAVE_OK && !all_begun(listeners)) {
        if (measure_now_ns() > until_ns)
            return complain(error, CONCLAVE_TIMEOUT, "watchers are not served",
                            conclave_watch_describe(listeners->of[0].watch));
        wait_some(listeners);
        code = listeners_drain(listeners, true, error);
    }
    return code;
}

int listeners_create(const struct listeners_plan *plan, struct listeners **ret,
                     struct conclave_error *error)
{
    struct listeners *listeners = calloc(1, sizeof *listeners);
    if (!listeners)
        return complain(error, CONCLAVE_NO_MEMORY, "listeners", "out of memory");
    *listeners = (struct listeners){.plan = *plan, .epoll = epoll_create1(EPOLL_CLOEXEC)};
    listeners->of = calloc(plan->count, sizeof *listeners->of);
    listeners->context = zmq_ctx_new();
    int code = CONCLAVE_OK;
    if (!listeners->of || !listeners->context || listeners->epoll < 0)
        code = complain(error, CONCLAVE_NO_MEMORY, "listeners", "out of memory");
    if (code == CONCLAVE_OK) {
        zmq_ctx_set(listeners->context, ZMQ_BLOCKY, 0);
        zmq_ctx_set(listeners->context, ZMQ_MAX_SOCKETS, SOCKETS_MAX);
    }
    while (code == CONCLAVE_OK && listeners->count < plan->count)
        code = open_one(listeners, listeners->count++, error);
    if (code == CONCLAVE_OK)
        code = wait_begun(listeners, error);
    if (code != CONCLAVE_OK) {
        listeners_destroy(listeners);
        return code;
    }
    *ret = listeners;
    return CONCLAVE_OK;
}

void listeners_destroy(struct listeners *listeners)
{
    if (!listeners)
        return;
    for (uint32_t i = 0; i < listeners->count; i++) {
        conclave_watch_destroy(listeners->of[i].watch);
        conclave_subscription_destroy(listeners->of[i].subscription);
        free(listeners->of[i].seen.bits);
    }
    if (listeners->context)
        while (zmq_ctx_term(listeners->context) && zmq_errno() == EINTR)
            continue;
    if (listeners->epoll >= 0)
        close(listeners->epoll);
    free(listeners->of);
    free(listeners);
}

/* --- Replay --------------------------------------------------------------------------------------
 */

static bool all_have(const struct listeners *listeners, uint64_t messages)
{
    for (uint32_t i = 0; i < listeners->count; i++)
        if (listeners->of[i].messages < messages)
            return false;
    return true;
}

int listeners_replay(const char *endpoints, uint32_t count, uint64_t first, uint64_t end,
                     uint32_t timeout_ms, const volatile sig_atomic_t *stop, uint64_t *ret_ns,
                     struct conclave_error *error)
{
    struct listeners_plan plan = {
        .endpoints = endpoints, .count = count, .sequence = first, .timeout_ms = timeout_ms};
    struct listeners *listeners;
    uint64_t start_ns = measure_now_ns();
    int code = listeners_create(&plan, &listeners, error);
    *ret_ns = 0;
    if (code != CONCLAVE_OK)
        return code;
    /* Time is up when nothing has come for so long, not for the whole. */
    uint64_t heard_ns = start_ns, before = 0, total = 0;
    while (code == CONCLAVE_OK && !*stop && !all_have(listeners, end - first)) {
        wait_some(listeners);
        code = listeners_drain(listeners, true, error);
        total = 0;
        for (uint32_t i = 0; i < count; i++)
            total += listeners->of[i].messages;
        if (total > before)
            heard_ns = measure_now_ns();
        before = total;
        if (code == CONCLAVE_OK && measure_now_ns() - heard_ns > timeout_ms * MS_NS)
            code = complain(error, CONCLAVE_TIMEOUT, "subscribers do not get on",
                            conclave_subscription_describe(listeners->of[0].subscription));
    }
    if (code == CONCLAVE_OK && listeners->disorder > 0)
        code = complain(error, CONCLAVE_MALFORMED, "messages came out of order", "");
    if (code == CONCLAVE_OK && !*stop)
        *ret_ns = measure_now_ns() - start_ns;
    listeners_destroy(listeners);
    return code;
}

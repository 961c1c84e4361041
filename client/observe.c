/* Who leads, as it changes (conclave_lock.h): the first entry of a queue is watched, and when it
 * goes the queue is asked which one is the first now. Nobody: then the first to come is. */
#include "base/clock.h"
#include "base/fatal.h"
#include "client/client.h"
#include "client/queue.h"

#include <stdlib.h>
#include <string.h>

struct conclave_observer {
    struct conclave_client *client;
    struct request question;
    struct client_stream *stream; /* NULL: it asks */
    uint64_t token, revision;     /* as told last; 0: nobody */
    bool told;                    /* something */
    bool news;                    /* `token`, `revision` and `value` are to be told */
    struct buf *value;            /* of the first entry; NULL: nobody leads */
    size_t name_bytes;
    uint8_t name[CONCLAVE_QUEUE_NAME_BYTES_MAX];
};

static struct slice name_of(const struct conclave_observer *observer)
{
    return (struct slice){observer->name, observer->name_bytes};
}

int conclave_observer_create(struct conclave_client *client, const void *name, size_t name_bytes,
                             struct conclave_observer **ret_observer)
{
    int code = queue_name_check(request_slice(name, name_bytes));
    if (code)
        return code;
    struct conclave_observer *observer = mem_zalloc(sizeof *observer);
    observer->client = client;
    observer->name_bytes = name_bytes;
    memcpy(observer->name, name, name_bytes);
    *ret_observer = observer;
    return CONCLAVE_OK;
}

void conclave_observer_destroy(struct conclave_observer *observer)
{
    if (!observer)
        return;
    request_clear(observer->client, &observer->question);
    client_stream_destroy(observer->stream);
    buf_unref(observer->value);
    free(observer);
}

static void learn(struct conclave_observer *observer, uint64_t token, uint64_t revision,
                  struct slice value)
{
    if (observer->told && !observer->news && token == observer->token &&
        revision == observer->revision)
        return; /* after a question: nothing has changed */
    observer->token = token;
    observer->revision = revision;
    observer->news = true;
    buf_unref(observer->value);
    observer->value = token ? buf_copy(value.data, value.bytes) : NULL;
}

static void ask(struct conclave_observer *observer)
{
    struct coord_request wanted = {.opcode = COORD_QUEUE, .name = name_of(observer), .limit = 1};
    client_stream_destroy(observer->stream);
    observer->stream = NULL;
    queue_start(observer->client, &observer->question, &wanted, observer->client->timeout_ms);
}

/* What happens from the revision behind the answer on is watched: to the first entry, or to all. */
static int answered(struct conclave_observer *observer)
{
    struct coord_queue queue;
    struct coord_entry entry = {0};
    int code =
        coord_queue_begin(observer->question.op.reply, observer->question.op.reply_bytes, &queue);
    int more = code ? 0 : coord_queue_next(&queue, &entry);
    if (!code && more < 0)
        code = CONCLAVE_MALFORMED;
    if (!code)
        code = queue_watch(observer->client, name_of(observer), more ? entry.token : 0,
                           more ? 0 : WATCH_NO_DELETES, queue.revision + 1, &observer->stream);
    if (!code)
        learn(observer, entry.token, entry.revision, entry.value);
    request_clear(observer->client, &observer->question);
    return code;
}

/* A put of the entry that leads is its new value; whatever else happens has to be asked about. */
static int happened(struct conclave_observer *observer, const struct client_stream_piece *piece)
{
    struct watch_event event;
    struct cursor cursor;
    struct slice value;
    uint64_t slots;
    if (piece->what == CLIENT_STREAM_PROGRESS)
        return CONCLAVE_OK;
    if (piece->what == CLIENT_STREAM_EVENT && observer->token) {
        cursor_init(&cursor, piece->value.data, piece->value.bytes);
        int code = watch_event_read(&cursor, &event);
        if (!code && event.kind == WATCH_PUT)
            code = coord_stored_read(event.value, &slots, &value) ? CONCLAVE_MALFORMED : code;
        if (!code && event.kind == WATCH_PUT)
            learn(observer, observer->token, event.revision, value);
        if (code || event.kind == WATCH_PUT)
            return code;
    }
    ask(observer);
    return CONCLAVE_OK;
}

/* Until there is news, or nothing more has come. */
static int advance(struct conclave_observer *observer)
{
    struct client_stream_piece piece;
    int code = CONCLAVE_OK;
    if (request_has_ended(&observer->question)) {
        code = observer->question.op.code;
        if (!code)
            code = answered(observer);
        else
            request_clear(observer->client, &observer->question);
        if (queue_code_passes(code))
            code = CONCLAVE_OK; /* asked again, as long as it takes */
    }
    while (!code && !observer->news && observer->stream &&
           (code = client_stream_take(observer->stream, &piece)) == CONCLAVE_OK)
        code = happened(observer, &piece);
    if (code == CONCLAVE_TIMEOUT)
        code = CONCLAVE_OK;
    if (!code && !observer->news && !observer->stream && !observer->question.started)
        ask(observer);
    return code;
}

int conclave_observer_next(struct conclave_observer *observer, uint32_t timeout_ms,
                           struct conclave_queue_entry *ret_entry)
{
    uint64_t until_ns = clock_now_ns() + timeout_ms * CLIENT_MS_NS;
    for (;;) {
        int code = advance(observer);
        if (code)
            return code;
        if (observer->news)
            break;
        if (client_step(observer->client))
            continue;
        if (request_has_ended(&observer->question))
            continue;
        if (timeout_ms == 0 || clock_now_ns() >= until_ns)
            return CONCLAVE_TIMEOUT;
        client_wait(observer->client, until_ns);
    }
    observer->news = false;
    observer->told = true;
    *ret_entry =
        (struct conclave_queue_entry){.token = observer->token,
                                      .revision = observer->revision,
                                      .value = observer->value ? observer->value->data : NULL,
                                      .value_bytes = observer->value ? observer->value->bytes : 0,
                                      .holds = observer->token != 0};
    return CONCLAVE_OK;
}

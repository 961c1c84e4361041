#include "codec/watch.h"
#include "client/stream.h"
#include "conclave_watch.h"

#include "base/fatal.h"

#include <stdlib.h>
#include <string.h>

struct conclave_watch {
    struct client_stream *stream;
};

void conclave_watch_options_init(struct conclave_watch_options *options)
{
    *options = (struct conclave_watch_options){.size = sizeof *options};
}

/* --- Life ------------------------------------------------------------------------------------- */

static int check(const struct conclave_watch_options *options, struct conclave_error *error)
{
    if (!options || options->size != sizeof *options || (!options->endpoints && !options->client))
        return error_set(error, CONCLAVE_INVALID,
                         "watch options: use conclave_watch_options_init, set client or endpoints");
    if (options->key_bytes > CONCLAVE_KEY_BYTES_MAX || options->end_bytes > KV_BOUND_BYTES_MAX)
        return error_set(error, CONCLAVE_TOO_LARGE, "a key has at most %d bytes",
                         CONCLAVE_KEY_BYTES_MAX);
    if (!options->prefix && !options->range && options->key_bytes == 0)
        return error_set(error, CONCLAVE_INVALID, "a key cannot be empty");
    return CONCLAVE_OK;
}

/* `end` has room for a bound. */
static struct watch_spec spec_of(const struct conclave_watch_options *options, uint8_t *end)
{
    struct slice key = {options->key, options->key_bytes};
    struct watch_spec spec = {.bounds.from = key};
    if (options->range) {
        spec.bounds.no_end = !options->end;
        spec.bounds.to = (struct slice){options->end, options->end_bytes};
    } else if (options->prefix) {
        size_t bytes = kv_prefix_end(key, end);
        spec.bounds.no_end = bytes == 0;
        spec.bounds.to = (struct slice){end, bytes};
    } else {
        memcpy(end, options->key, options->key_bytes);
        end[options->key_bytes] = 0;
        spec.bounds.to = (struct slice){end, options->key_bytes + 1};
    }
    spec.what = (options->no_puts ? WATCH_NO_PUTS : 0u) |
                (options->no_deletes ? WATCH_NO_DELETES : 0u) |
                (options->previous ? WATCH_PREVIOUS : 0u);
    return spec;
}

int conclave_watch_create(const struct conclave_watch_options *options,
                          struct conclave_watch **ret_watch, struct conclave_error *error)
{
    uint8_t end[KV_BOUND_BYTES_MAX];
    int code = check(options, error);
    if (code)
        return code;
    struct pack plain, state;
    struct watch_spec spec = spec_of(options, end);
    pack_init(&plain, 0);
    pack_init(&state, 0);
    watch_spec_pack(&plain, &spec);
    spec.what |= WATCH_INITIAL;
    watch_spec_pack(&state, &spec);
    struct client_stream *stream = NULL;
    code = client_stream_create(
        &(struct client_stream_options){.client = options->client,
                                        .user = options->user,
                                        .endpoints = options->endpoints,
                                        .context = options->zmq_context,
                                        .kind = STREAM_WATCH,
                                        .position = options->revision,
                                        .spec = {plain.buf->data, plain.bytes},
                                        .state_spec = {state.buf->data, state.bytes},
                                        .state_first = options->initial,
                                        .window_bytes = options->window_bytes},
        &stream, error);
    pack_deinit(&plain);
    pack_deinit(&state);
    if (code)
        return code;
    struct conclave_watch *watch = mem_zalloc(sizeof *watch);
    watch->stream = stream;
    *ret_watch = watch;
    return CONCLAVE_OK;
}

void conclave_watch_destroy(struct conclave_watch *watch)
{
    if (!watch)
        return;
    client_stream_destroy(watch->stream);
    free(watch);
}

/* --- Events ----------------------------------------------------------------------------------- */

static int take_event(const struct conclave_watch *watch, const struct client_stream_piece *piece,
                      struct conclave_watch_event *ret)
{
    struct watch_event event, next;
    struct cursor cursor;
    struct slice behind;
    cursor_init(&cursor, piece->value.data, piece->value.bytes);
    int code = watch_event_read(&cursor, &event);
    if (code || event.kind < WATCH_PUT || event.kind > WATCH_EXPIRE)
        return CONCLAVE_MALFORMED;
    *ret = (struct conclave_watch_event){.kind = (enum conclave_watch_kind)event.kind,
                                         .revision = event.revision,
                                         .last = piece->last,
                                         .key = event.key.data,
                                         .key_bytes = event.key.bytes,
                                         .value = event.value.data,
                                         .value_bytes = event.value.bytes,
                                         .create_revision = event.create_revision,
                                         .version = event.version,
                                         .has_previous = event.has_previous,
                                         .previous_value = event.previous.value.data,
                                         .previous_bytes = event.previous.value.bytes,
                                         .previous_revision = event.previous.mod_revision};
    if (client_stream_peek(watch->stream, &behind)) {
        cursor_init(&cursor, behind.data, behind.bytes);
        ret->last = !watch_event_read(&cursor, &next) && next.revision != event.revision;
    }
    return CONCLAVE_OK;
}

static int take_item(const struct client_stream_piece *piece, struct conclave_watch_event *ret)
{
    struct kv_item item;
    struct cursor cursor;
    cursor_init(&cursor, piece->value.data, piece->value.bytes);
    if (watch_item_read(&cursor, &item))
        return CONCLAVE_MALFORMED;
    *ret = (struct conclave_watch_event){.kind = item.version ? CONCLAVE_WATCH_STATE
                                                              : CONCLAVE_WATCH_GONE,
                                         .revision = item.mod_revision,
                                         .key = item.key.data,
                                         .key_bytes = item.key.bytes,
                                         .value = item.value.data,
                                         .value_bytes = item.value.bytes,
                                         .create_revision = item.create_revision,
                                         .version = item.version};
    return CONCLAVE_OK;
}

int conclave_watch_next(struct conclave_watch *watch, uint32_t timeout_ms,
                        struct conclave_watch_event *ret_event)
{
    struct client_stream_piece piece;
    int code = client_stream_next(watch->stream, timeout_ms, &piece);
    if (code)
        return code;
    uint64_t before = piece.frame.position ? piece.frame.position - 1 : 0;
    switch (piece.what) {
    case CLIENT_STREAM_EVENT:
        return take_event(watch, &piece, ret_event);
    case CLIENT_STREAM_STATE:
        return take_item(&piece, ret_event);
    case CLIENT_STREAM_SYNCED:
        *ret_event =
            (struct conclave_watch_event){.kind = CONCLAVE_WATCH_SYNCED, .revision = before};
        return CONCLAVE_OK;
    case CLIENT_STREAM_RESYNC:
        *ret_event = (struct conclave_watch_event){.kind = CONCLAVE_WATCH_RESYNC,
                                                   .revision = piece.frame.position,
                                                   .oldest = piece.frame.oldest};
        return CONCLAVE_OK;
    case CLIENT_STREAM_PROGRESS:
        *ret_event = (struct conclave_watch_event){.kind = CONCLAVE_WATCH_PROGRESS,
                                                   .revision = before,
                                                   .age_ms = piece.frame.age_ms,
                                                   .asked = piece.asked};
        return CONCLAVE_OK;
    }
    return CONCLAVE_MALFORMED;
}

void conclave_watch_ask(struct conclave_watch *watch)
{
    client_stream_ask(watch->stream);
}

uint64_t conclave_watch_position(const struct conclave_watch *watch)
{
    return client_stream_position(watch->stream);
}

int conclave_watch_fd(const struct conclave_watch *watch)
{
    return client_stream_fd(watch->stream);
}

const char *conclave_watch_describe(struct conclave_watch *watch)
{
    return client_stream_describe(watch->stream);
}

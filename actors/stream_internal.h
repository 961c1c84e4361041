/* actors/stream_internal.h - the inside of struct stream_hub, shared by its files: stream_hub.c
 * (who is there), stream_asked.c (what they ask), stream_work.c (when it is whose turn),
 * stream_turn.c (what they are told). */
#ifndef ACTORS_STREAM_INTERNAL_H
#define ACTORS_STREAM_INTERNAL_H

#include "actors/stream_hub.h"
#include "actors/stream_index.h"
#include "base/fatal.h"

enum { STREAM_HITS_MAX = 4 };

enum stream_phase {
    STREAM_ASKED,   /* not confirmed yet */
    STREAM_STATING, /* being told what there is */
    STREAM_LIVE     /* in the index */
};

/* In the hub's map, under client and id; a client itself has the id 0. */
struct stream_link {
    uint64_t client, id;
    struct stream_link *next;
};

struct stream_client;

struct stream {
    struct stream_link link; /* first: the map finds it */
    struct stream_index_entry entry;
    struct stream_client *client;
    struct stream *next, *previous; /* of the client */
    struct stream *ready_next;
    bool ready; /* in the client's list of those that may have something to be told */

    enum stream_phase phase;
    unsigned kind;
    bool state_first;
    bool progress_due;
    bool from_now; /* position 0 was asked for */
    bool open;     /* the last frame of events goes on */

    uint64_t number; /* of the last frame */
    uint64_t granted, spent;
    uint64_t position; /* LIVE: everything before it has been told, or is not for it */
    uint32_t part;     /* of the first hit: so many events of its first position were looked at */
    uint64_t asked_us;
    uint64_t ask, ask_us; /* a PROGRESS that is wanted; 0: none */
    uint64_t told_us;

    struct { /* where something may be for it, rising; the rest is known not to be */
        uint64_t from, end;
    } hits[STREAM_HITS_MAX];
    uint32_t hit_count;

    struct feed_state *state; /* STATING */
    struct feed_interest interest;
    struct slice spec; /* behind the struct */
};

struct stream_client {
    struct stream_link link; /* first */
    struct meter *meter;
    struct stream *streams;
    uint32_t count;
    struct stream *ready, **ready_tail;
    struct stream_client *next, *previous; /* all clients */
    struct stream_client *queue_next;      /* of the hub's ready or blocked ones */
    enum { STREAM_IDLE, STREAM_READY, STREAM_BLOCKED } queued;
    uint64_t heard_us;
};

struct stream_queue {
    struct stream_client *first, **tail;
};

struct stream_hub {
    struct feed feeds[STREAM_KINDS];
    struct stream_index *index;
    uint32_t live[STREAM_KINDS];
    struct { /* touch NULL: nobody */
        feed_touch touch;
        void *arg;
    } listeners[STREAM_KINDS];
    struct stream_link **buckets;
    uint32_t bucket_count;
    uint32_t count; /* streams */
    struct stream_client *clients;
    struct stream_queue ready, blocked;
    struct stream_outputs outputs;

    uint64_t fresh_us;     /* everything committed then is applied; 0: not known */
    uint64_t need_us;      /* somebody waits for one that is at least so new */
    uint64_t requested_us; /* the last read that was begun; 0: none */
    uint64_t tick_us;      /* the next look at all of them */
    uint64_t blocked_us;   /* when those without room are tried again */
    uint64_t now_us;       /* as told last */
};

/* Whether anybody wants to know what changes. */
static inline bool stream_is_wanted(const struct stream_hub *hub, unsigned kind)
{
    return hub->live[kind] > 0 || hub->listeners[kind].touch;
}

/* It may have something to be told. */
void stream_wake(struct stream_hub *hub, struct stream *stream);

/* Something may be for it there. */
void stream_hit(struct stream *stream, uint64_t from, uint64_t end);

/* Ends it with this code and frees it; the text is static, or NULL for the code's own. */
void stream_end(struct stream_hub *hub, struct stream *stream, int code, const char *text);

/* Takes over the body. */
void stream_output(struct stream_hub *hub, uint64_t client, uint64_t id, int code, struct buf *body,
                   const char *text);

/* Between phases. */
void stream_enter_index(struct stream_hub *hub, struct stream *stream);
void stream_leave_index(struct stream_hub *hub, struct stream *stream);

/* What a turn may still do. */
struct stream_budget {
    size_t bytes;
    uint32_t frames, looks;
};

/* Tells a stream one thing, at most. True: it may have more to be told at once. False also if it
 * was ended and is gone. */
bool stream_serve(struct stream_hub *hub, struct stream *stream, struct stream_budget *budget);

/* NULL: there is none. */
struct stream_client *stream_client_find(const struct stream_hub *hub, uint64_t client);
struct stream *stream_find(const struct stream_hub *hub, uint64_t client, uint64_t id);

/* Makes it if it is not there; the meter is then its. */
struct stream_client *stream_client_obtain(struct stream_hub *hub, uint64_t handle,
                                           struct meter *meter, uint64_t now_us);

/* Of one without subscriptions. */
void stream_client_free(struct stream_hub *hub, struct stream_client *client);

/* Those without a subscription are forgotten when nothing uses them any more. */
void stream_client_end_if_empty(struct stream_hub *hub, struct stream_client *client);

/* A new one. */
void stream_link_insert(struct stream_hub *hub, struct stream_link *link);

void stream_queue_init(struct stream_queue *queue);
void stream_queue_push(struct stream_queue *queue, struct stream_client *client);
void stream_queue_remove(struct stream_queue *queue, const struct stream_client *client);

#endif

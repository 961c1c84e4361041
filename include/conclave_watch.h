/* conclave_watch.h - being told what happens to keys, as it happens and in order.
 *
 * A watch tells every change of the keys that it is about, once, in the order of their revisions,
 * from the revision that is asked for on; what one command did comes together. It is served by one
 * of the nodes, and goes on at another one, from where it was, when that one dies, is cut off or is
 * slow: nothing is lost or told twice. A program that was stopped goes on itself with
 * conclave_watch_position.
 *
 * All watches of a client (and its subscriptions, conclave_topic.h) share one connection to one
 * node, each with its own place and credit: 10,000 of them are a matter of course. Which of them
 * have something to hand out is told by conclave_client_ready. A watch without a client has a
 * connection of its own.
 *
 * The nodes keep the last changes only (100,000, and no more than 64 MiB). Who wants older ones is
 * told RESYNC, then STATE for each key that there is, then SYNCED, and then what happens. A watch
 * that is not asked for its events stalls nobody: it is told them later, or gets RESYNC.
 *
 * The conventions are those of conclave.h. A watch is used by one thread at a time; it has no
 * thread of its own and works only inside its calls. One that is left alone for 30 seconds is given
 * up by its node, and begins again from where it was.
 */
#ifndef CONCLAVE_WATCH_H
#define CONCLAVE_WATCH_H

#include "conclave.h"

#ifdef __cplusplus
extern "C" {
#endif

struct conclave_watch_options {
    size_t size; /* set by conclave_watch_options_init */

    /* Shares the connection of this client, whose thread uses it, and which outlives it. NULL: a
     * connection of its own, by the next two. */
    struct conclave_client *client;
    const char *endpoints; /* comma-separated client endpoints, at least one node of the cluster */
    void *zmq_context;     /* NULL: own; needed for inproc:// endpoints */
    void *user;            /* for conclave_client_ready; not touched */

    /* What is watched: one key; with `prefix` all that begin with it (no bytes: all there are); or,
     * with `range`, those from `key` (included) to `end` (not included; NULL: no end). */
    const void *key;
    size_t key_bytes;
    bool prefix, range;
    const void *end;
    size_t end_bytes;

    uint64_t revision; /* the first one wanted; 0: what is committed from now on */
    bool initial;      /* STATE of all keys and SYNCED come first, and then what happens */
    bool no_puts;
    bool no_deletes;       /* nor expired keys */
    bool previous;         /* with what was there before */
    uint32_t window_bytes; /* what a node may send ahead: memory of this process. 0: 1 MiB, of a
                              client's 64 KiB */
};

/* Sets every field to its default. Any thread. */
CONCLAVE_API void conclave_watch_options_init(struct conclave_watch_options *options);

struct conclave_watch;

/* Copies what the options point to. Connects in the background. Errors: INVALID (endpoint, empty
 * key), TOO_LARGE, NO_MEMORY, BUSY (a client has 16,384 watches and subscriptions). */
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_watch_create(const struct conclave_watch_options *options,
                      struct conclave_watch **ret_watch, struct conclave_error *error);
CONCLAVE_API void conclave_watch_destroy(struct conclave_watch *watch);

enum conclave_watch_kind {
    CONCLAVE_WATCH_PUT = 1,
    CONCLAVE_WATCH_DELETE = 2,
    CONCLAVE_WATCH_EXPIRE = 3, /* its time was over */

    /* What there is, in place of events: */
    CONCLAVE_WATCH_RESYNC = 4, /* everything that was told of before is void: STATE follows */
    CONCLAVE_WATCH_STATE = 5,  /* a key as it is; takes the place of what was told of it before */
    CONCLAVE_WATCH_GONE = 6,   /* among STATE: this key is not there any more */
    CONCLAVE_WATCH_SYNCED = 7, /* what STATE told is all there was at this revision */

    CONCLAVE_WATCH_PROGRESS = 8 /* everything up to this revision has been told; while nothing
                                   happens every few seconds, and when it was asked for */
};

/* One event. Bytes are valid until the next call with this watch. What a kind does not have is 0.
 */
struct conclave_watch_event {
    enum conclave_watch_kind kind;
    uint64_t revision;
    bool last; /* PUT, DELETE, EXPIRE: of those that one command did, which come one after the
                  other */
    const void *key;
    size_t key_bytes;
    const void *value; /* PUT, STATE */
    size_t value_bytes;
    uint64_t create_revision, version; /* PUT, STATE */

    bool has_previous; /* it was asked for, there was something, and both values together are not
                          larger than 1 MiB */
    const void *previous_value;
    size_t previous_bytes;
    uint64_t previous_revision;

    uint64_t oldest; /* RESYNC: the oldest revision that could have been told */
    uint64_t age_ms; /* PROGRESS: it shows all that was committed so long ago */
    bool asked;      /* PROGRESS: all that was committed when conclave_watch_ask was called last */
};

/* The next event; waits for it up to timeout_ms; meanwhile the client, if it is one's, does all its
 * work. Errors: TIMEOUT: there was none, also if no node
 * can be reached (conclave_watch_describe tells); for good: INVALID (the nodes have another state
 * machine), TOO_LARGE, MALFORMED (a node says what cannot be read), STOPPING (its client was
 * destroyed). */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_watch_next(struct conclave_watch *watch,
                                                       uint32_t timeout_ms,
                                                       struct conclave_watch_event *ret_event);

/* Asks for a PROGRESS with `asked`, which comes when everything was told that was committed by now.
 * Of two that were not answered yet the later one counts. */
CONCLAVE_API void conclave_watch_ask(struct conclave_watch *watch);

/* The revision to go on with in another watch: everything before it was handed out. 0: it has not
 * begun, or is in the middle of STATE: begin as before. */
CONCLAVE_API uint64_t conclave_watch_position(const struct conclave_watch *watch);

/* Of a client: that of conclave_client_fd. Becomes readable when conclave_watch_next may have
 * something to do (edge-triggered, as ZMQ_FD: call it with timeout 0 until it returns TIMEOUT after
 * each event and at least every 100 ms). */
CONCLAVE_API int conclave_watch_fd(const struct conclave_watch *watch);

/* Where it is and what came of it, for a diagnostic: "tcp://127.0.0.1:7502 (watching)". Valid until
 * the next call. */
CONCLAVE_API const char *conclave_watch_describe(struct conclave_watch *watch);

#ifdef __cplusplus
}
#endif
#endif

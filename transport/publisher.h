/* transport/publisher.h - the socket that plain SUB sockets connect to: an XPUB.
 *
 * A message has three parts: its topic, which a subscription is compared with, a header, and the
 * data. Whoever reads too slowly loses messages behind the high-water mark, alone and unnoticed
 * here; sending never waits. Owned by one thread. */
#ifndef TRANSPORT_PUBLISHER_H
#define TRANSPORT_PUBLISHER_H

#include "base/buf.h"
#include "base/error.h"
#include "transport/source.h"

enum {
    /* Messages that wait for one subscriber, beside what the kernel holds for it. */
    PUBLISHER_SEND_HWM = 32768,
    /* The longest that subscribers may say, greetings included; more ends the connection. */
    PUBLISHER_HEARD_BYTES_MAX = 4096
};

struct publisher;

/* Binds; errors as endpoint_bind. */
MUST_USE int publisher_create(void *context, const char *listen, struct publisher **ret_publisher,
                              struct conclave_error *error);

/* NULL is allowed. */
void publisher_destroy(struct publisher *publisher);

struct source *publisher_source(struct publisher *publisher);

/* What subscribers have said: a buf (one reference) that begins with 1 when names that begin with
 * the rest of it are wanted from now on, by somebody, or with 0 when nobody wants them any more.
 * Each is said once, however many want it. NULL: nothing now. */
struct buf *publisher_hear(struct publisher *publisher);

/* Sends to those who want the topic. The data lies in `owner`, of which a reference is kept for as
 * long as that is needed. */
void publisher_send(struct publisher *publisher, struct slice topic, struct slice header,
                    struct buf *owner, struct slice data);

#endif

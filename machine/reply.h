/* machine/reply.h - where a machine's answer to one command or query is put (the inside of the
 * public struct conclave_reply_sink). Owned by the state-machine actor. */
#ifndef MACHINE_REPLY_H
#define MACHINE_REPLY_H

#include "base/buf.h"
#include "base/error.h"

struct conclave_reply_sink {
    int code;
    struct buf *body; /* one reference; NULL: empty */
};

/* Drops the body; the sink is then OK and empty. */
void reply_sink_clear(struct conclave_reply_sink *sink);

/* As conclave_reply_set, without a copy: takes the reference over. body NULL: empty. */
void reply_sink_take(struct conclave_reply_sink *sink, int code, struct buf *body);

#endif

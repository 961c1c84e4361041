/* machine/reply.h - where a machine's answer to one command or query is put (the inside of the
 * public struct conclave_reply_sink). Owned by the state-machine actor. */
#ifndef MACHINE_REPLY_H
#define MACHINE_REPLY_H

#include "base/buf.h"
#include "base/error.h"

struct conclave_reply_sink {
    int code;
    struct buf *body; /* one reference; NULL: empty */
    bool refused;     /* by the session layer: the machine was not asked */
    uint64_t effect;  /* of a command: what it found where it changed something, for the audit */
};

/* Drops the body; the sink is then OK and empty. */
void reply_sink_clear(struct conclave_reply_sink *sink);

/* Not asked, for this reason. */
void reply_sink_refuse(struct conclave_reply_sink *sink, int code);

/* As conclave_reply_set, without a copy: takes the reference over. body NULL: empty. */
void reply_sink_take(struct conclave_reply_sink *sink, int code, struct buf *body);

#endif

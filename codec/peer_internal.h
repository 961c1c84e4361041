/* codec/peer_internal.h - what peer_encode.c (writing) and peer.c (reading) must agree on. */
#ifndef CODEC_PEER_INTERNAL_H
#define CODEC_PEER_INTERNAL_H

#include "codec/peer.h"

enum {
    PEER_HEADER_FIELDS = 7, /* version .. type */
    PEER_RAFT_FIELDS = 2,   /* message type, term */
    PEER_HELLO_FIELDS = 3,
    PEER_SNAPSHOT_FIELDS = 6,
    PEER_SNAPSHOT_ACK_FIELDS = 7,
    PEER_REPAIR_ASK_FIELDS = 6,
    PEER_REPAIR_ANSWER_FIELDS = 5
};

#define PEER_RAFT_FIELDS_UNKNOWN UINT32_MAX /* no message has this type */

/* Fields of a message behind its term. */
uint32_t peer_raft_fields(enum raft_message_type type);

#endif

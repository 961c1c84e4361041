/* codec/member.h - the body of a MEMBER operation: a change of the members as a client asks for it.
 *
 *     [kind, name, peer, client, id, incarnation, learner, replacement]
 *
 * Fields only ever appended; a reader skips what follows. docs/protocol.md is the full description.
 * Any thread; pure functions. */
#ifndef CODEC_MEMBER_H
#define CODEC_MEMBER_H

#include "base/cursor.h"
#include "base/error.h"
#include "base/pack.h"

enum client_member_kind {
    CLIENT_MEMBER_ADD = 1,
    CLIENT_MEMBER_PROMOTE = 2,
    CLIENT_MEMBER_REMOVE = 3,
    CLIENT_MEMBER_REPLACE = 4
};

struct client_member_change {
    enum client_member_kind kind;
    char name[CONCLAVE_NAME_BYTES_MAX + 1];
    char peer[CONCLAVE_ENDPOINT_BYTES_MAX + 1];    /* ADD; else "" */
    char client[CONCLAVE_ENDPOINT_BYTES_MAX + 1];  /* ADD; "": none */
    uint64_t id, incarnation;                      /* ADD */
    bool learner;                                  /* ADD: is not promoted by itself */
    char replacement[CONCLAVE_NAME_BYTES_MAX + 1]; /* REPLACE */
};

/* One reference. */
struct buf *client_member_encode(const struct client_member_change *change);

/* Errors: MALFORMED; *ret is then untouched. Texts are printable ASCII without spaces. */
MUST_USE int client_member_decode(struct slice body, struct client_member_change *ret);

#endif

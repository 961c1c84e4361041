/* codec/session.h - the wire form of what belongs to a client session.
 *
 * Each is one MessagePack array, opcode first, positional, fields only ever appended:
 *
 *     open        [1]                                         answer [session, lifetime_ms, window]
 *     command     [2, session, sequence, acknowledged, bin]   answer of the state machine
 *     keep-alive  [3, session, acknowledged]                  answer empty
 *     close       [4, session]                                answer empty
 *     clock       [5, elapsed_ms]                             of the leader; never of a client
 *
 * It is the body of an operation of type SESSION and the payload of a log entry of kind SESSION.
 * docs/protocol.md is the full description. Decoding allocates nothing; slices point into the bytes
 * read. Any thread; pure functions. */
#ifndef CODEC_SESSION_H
#define CODEC_SESSION_H

#include "base/cursor.h"
#include "base/error.h"
#include "base/pack.h"

enum session_opcode {
    SESSION_OPEN = 1,
    SESSION_COMMAND = 2,
    SESSION_KEEP_ALIVE = 3,
    SESSION_CLOSE = 4,
    SESSION_CLOCK = 5
};

/* What surrounds a command, at most: array 1, opcode 1, three numbers of 9, header 5. */
enum { SESSION_OVERHEAD_BYTES = 1 + 1 + 3 * 9 + 5 };

struct session_request {
    enum session_opcode opcode;
    uint64_t session;      /* all but OPEN and CLOCK; 1 to 2^53 - 1 */
    uint64_t sequence;     /* COMMAND: 1 to 2^53 - 1 */
    uint64_t acknowledged; /* COMMAND: below `sequence`; KEEP_ALIVE */
    struct slice command;  /* COMMAND: at most CONCLAVE_COMMAND_BYTES_MAX */
    uint64_t elapsed_ms;   /* CLOCK */
};

/* What is answered depends on the bytes alone. Errors: MALFORMED (not of this form, unknown
 * opcode, number out of its range), TOO_LARGE (command). */
MUST_USE int session_request_decode(const void *data, size_t bytes, struct session_request *ret);

void session_request_pack(struct pack *pack, const struct session_request *request);

/* The same as a bin, without packing it apart first: the body of an operation. */
void session_request_pack_bin(struct pack *pack, const struct session_request *request);

/* The answer to OPEN. */
struct session_opened {
    uint64_t session;
    uint64_t lifetime_ms;
    uint64_t window;
};

void session_opened_pack(struct pack *pack, const struct session_opened *opened);
/* Errors: MALFORMED. */
MUST_USE int session_opened_decode(const void *data, size_t bytes, struct session_opened *ret);

#endif

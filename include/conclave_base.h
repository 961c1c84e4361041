/* conclave_base.h - what all of libconclave's headers share: conventions, codes, limits, errors.
 *
 * Conventions that hold for every function unless its comment says otherwise:
 *   - Functions that can fail return CONCLAVE_OK (0) or a positive `enum conclave_code`; on failure
 *     outputs are untouched. conclave_code_text() gives the sentence for a code.
 *   - Handles are opaque. What a `_create` made, the matching `_destroy` frees; destroying NULL is
 *     allowed. Strings passed in are copied; strings handed out belong to the handle or callback.
 *   - The library never touches signals, standard streams, the process's exit or global state, and
 *     never terminates a ZeroMQ context that it was given.
 *   - Times are in milliseconds where a name ends in `_ms`; sizes are in bytes.
 */
#ifndef CONCLAVE_BASE_H
#define CONCLAVE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define CONCLAVE_API __attribute__((visibility("default")))
#define CONCLAVE_MUST_USE __attribute__((warn_unused_result))
#else
#define CONCLAVE_API
#define CONCLAVE_MUST_USE
#endif

/* --- Codes -----------------------------------------------------------------------------------
 *
 * X(NAME, number, exit code of the program, text). The numbers are part of the client protocol
 * (docs/protocol.md) and never change. For a command, "surely not applied" (exit 4) and "outcome
 * unknown" (exit 5) are different codes: only the first may be retried blindly. */
#define CONCLAVE_CODES(X)                                                              \
    X(OK, 0, 0, "ok")                                                                  \
    X(NOT_FOUND, 1, 1, "no such key")                                                  \
    X(COMPARE_FAILED, 2, 1, "the condition did not hold")                              \
    X(INVALID, 3, 2, "invalid argument")                                               \
    X(UNREACHABLE, 4, 3, "no node could be reached")                                   \
    X(NOT_LEADER, 5, 4, "this node is not the leader; not applied")                    \
    X(NO_LEADER, 6, 4, "the cluster has no leader now; not applied")                   \
    X(BUSY, 7, 4, "the node is overloaded; not applied")                               \
    X(STOPPING, 8, 4, "the node is stopping; not applied")                             \
    X(TIMEOUT, 9, 4, "no answer in time; not applied")                                 \
    X(UNKNOWN, 10, 5, "outcome unknown: the command may or may not have been applied") \
    X(DENIED, 11, 6, "permission denied")                                              \
    X(TOO_LARGE, 12, 7, "larger than the limit")                                       \
    X(VERSION, 13, 7, "unsupported protocol or format version")                        \
    X(NO_SPACE, 14, 7, "no space left")                                                \
    X(CORRUPT, 15, 8, "stored data is damaged")                                        \
    X(IO, 16, 8, "an input/output operation failed")                                   \
    X(EXISTS, 17, 2, "already exists")                                                 \
    X(IN_USE, 18, 2, "already in use by another process")                              \
    X(IDENTITY, 19, 2, "belongs to another cluster or node")                           \
    X(MALFORMED, 20, 2, "malformed message")                                           \
    X(NO_MEMORY, 21, 2, "out of memory")                                               \
    X(INTERNAL, 22, 8, "a rule of the program itself was broken")                      \
    X(SESSION_EXPIRED, 23, 5, "the session expired; not applied now, perhaps before")  \
    X(FORGOTTEN, 24, 5, "the answer is not kept any more; not applied again")          \
    X(HANDOVER, 25, 4, "the lead is being handed over; not applied")                   \
    X(STALE, 26, 4, "what this node holds may be older than was asked for")            \
    X(COMPACTED, 27, 7, "that revision is not kept any more")                          \
    X(QUOTA, 28, 7, "the store's quota is used up; not applied")                       \
    X(LEASE_EXPIRED, 29, 1, "no such lease: it expired or was revoked")

enum conclave_code {
#define CONCLAVE_CODE_ENUM(name, number, exit_code, text) CONCLAVE_##name = (number),
    CONCLAVE_CODES(CONCLAVE_CODE_ENUM)
#undef CONCLAVE_CODE_ENUM
};

/* The English sentence for a code; never NULL. Any thread. */
CONCLAVE_API const char *conclave_code_text(int code);

/* The stable upper-case name of a code ("NOT_FOUND"); never NULL. Any thread. */
CONCLAVE_API const char *conclave_code_name(int code);

/* The exit code that the program `conclave` ends with for this code. Any thread. */
CONCLAVE_API int conclave_code_exit(int code);

/* "0.1.0". Any thread. */
CONCLAVE_API const char *conclave_version(void);

/* --- Limits ----------------------------------------------------------------------------------- */

enum {
    CONCLAVE_KEY_BYTES_MAX = 480,         /* LMDB's key limit is 511; the rest is reserved */
    CONCLAVE_COMMAND_BYTES_MAX = 1 << 20, /* one command, encoded; fits a 2 MiB peer message */
    CONCLAVE_VALUE_BYTES_MAX = CONCLAVE_COMMAND_BYTES_MAX - 2048, /* leaves room for the key */
    CONCLAVE_NAME_BYTES_MAX = 32,                                 /* a node's name */
    CONCLAVE_ENDPOINT_BYTES_MAX = 255,                            /* one endpoint */
    CONCLAVE_VOTERS_MAX = 9,
    CONCLAVE_MEMBERS_MAX = CONCLAVE_VOTERS_MAX + 32 /* voters and learners */
};

/* A failure with its sentence: what went wrong and what to do about it. */
struct conclave_error {
    int code;
    char message[512];
};

#ifdef __cplusplus
}
#endif
#endif

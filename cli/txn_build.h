/* cli/txn_build.h - a transaction as users write it, checked piece by piece before it is sent, so
 * that an error says what is wrong and where. The texts are read by cli/txn_words.c and
 * cli/txn_json.c. One thread. */
#ifndef CLI_TXN_BUILD_H
#define CLI_TXN_BUILD_H

#include "conclave_txn.h"

#include <stdbool.h>
#include <stddef.h>

struct txn_bytes {
    const char *data;
    size_t bytes;
};

enum txn_verb { TXN_PUT, TXN_GET, TXN_DEL, TXN_DEL_PREFIX, TXN_LS, TXN_PUB, TXN_VERBS };

/* By enum txn_verb; NULL behind the last one. */
extern const char *const txn_verbs[TXN_VERBS + 1];

struct txn_step {
    enum txn_verb verb;
    struct txn_bytes name;  /* key, prefix or topic */
    struct txn_bytes value; /* put, pub */
    struct txn_bytes id;    /* pub; 0 bytes: none */
    uint64_t lease, ttl_ms; /* put; 0: none */
    uint64_t limit;         /* ls; 0: none */
};

struct txn_compare {
    bool of_value;
    enum conclave_txn_what what; /* unless it is of the value */
    enum conclave_txn_how how;
    struct txn_bytes name; /* key or topic */
    uint64_t number;
    struct txn_bytes value;
};

enum { TXN_FAULT_BYTES = 256 };

struct txn_build;

/* NULL without memory. */
struct txn_build *txn_build_create(void);
void txn_build_destroy(struct txn_build *build); /* NULL is allowed */

/* Adds one more. The bytes stay the caller's, until the build is destroyed. False: it cannot be
 * taken, and txn_build_fault says why. */
bool txn_build_compare(struct txn_build *build, const struct txn_compare *compare);
bool txn_build_step(struct txn_build *build, enum conclave_txn_list list,
                    const struct txn_step *step);

/* How many steps a list has. */
size_t txn_build_count(const struct txn_build *build, enum conclave_txn_list list);

/* The step of that place. */
const struct txn_step *txn_build_at(const struct txn_build *build, enum conclave_txn_list list,
                                    size_t place);

const struct conclave_txn *txn_build_txn(const struct txn_build *build);

/* What was wrong, as a sentence without an end; also for those who read the texts. */
const char *txn_build_fault(const struct txn_build *build);
bool txn_build_refuse(struct txn_build *build, const char *format, ...)
    __attribute__((format(printf, 2, 3))); /* false */

/* Whether the last fault is of something that is too large. */
bool txn_build_too_large(const struct txn_build *build);

#endif

/* cli/txn_json.h - a transaction as JSON:
 *
 *     {"if": [COMPARE, ...], "then": [STEP, ...], "else": [STEP, ...]}
 *
 * Each of them is a string, as on the command line (cli/txn_words.h), or an object:
 *
 *     {"compare": "rev", "key": K, "op": "=", "to": N}     create, version, lease; op: = != < >
 *     {"compare": "value", "key": K, "op": "=", "to": V}
 *     {"compare": "exists", "key": K}                      absent
 *     {"compare": "seq", "topic": T, "op": "=", "to": N}   topic: its id
 *     {"compare": "topic", "topic": T}                     no-topic
 *     {"do": "put", "key": K, "value": V, "ttl": "30s"}    or "lease": N, or neither
 *     {"do": "get", "key": K}                              del
 *     {"do": "ls", "prefix": P, "limit": N}                del-prefix, without limit
 *     {"do": "pub", "topic": T, "data": M, "id": I}
 *
 * N are numbers, K, V, P, T, M, I strings, or {"b64": "..."} for any bytes. "op" is "=" if it is
 * left out, and "limit", "id", "ttl" may be left out. One thread. */
#ifndef CLI_TXN_JSON_H
#define CLI_TXN_JSON_H

#include "cli/txn_build.h"

struct txn_json;

/* Reads all of it into the build, which borrows from *ret: to be destroyed after it, in any case.
 * False: it cannot be taken; txn_build_fault says where and why. */
bool txn_json_read(struct txn_build *build, const char *text, size_t bytes, struct txn_json **ret);

void txn_json_destroy(struct txn_json *json); /* NULL is allowed */

#endif

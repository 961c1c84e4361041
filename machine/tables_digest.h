/* machine/tables_digest.h - a sum over what the tables hold, kept up with every change.
 *
 *     digest = sum over all records of mix(XXH3-64(value), XXH3-64(key), table), modulo 2^64
 *
 * A sum needs no order: a change takes away what the record that was there adds, as it is found
 * there, and adds the new one. It is committed with the transaction, so it says what the machine
 * has put, while the tables hold what memory and disk made of that. Who reads all records and sums
 * them up (machine/kv_snapshot.h) finds whether that is still the same. A record that was altered
 * and then overwritten stays seen: what is taken away for it is not what was added. Equal sums of
 * different records are as rare as equal hashes; nobody is kept from making some.
 *
 * Two tables are not in it: sessions, which are read at a start alone and are held in memory by
 * their own table, and the history, which would have to be read again to be thrown away, and whose
 * blocks have sums of their own (machine/kv_history.h). Any thread. */
#ifndef MACHINE_TABLES_DIGEST_H
#define MACHINE_TABLES_DIGEST_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

/* XXH3-64. */
uint64_t digest_hash(const void *data, size_t bytes);

/* The place of a key in a table. */
uint64_t digest_place(uint32_t table, struct slice key);

/* What a value with this hash adds at its place. Whatever changes in one of the two changes the
 * result: for each place other hashes give other results, and the other way round. */
static inline uint64_t digest_mix(uint64_t place, uint64_t hash)
{
    uint64_t x = hash + place * UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 32) * UINT64_C(0xd6e8feb86659fd93);
    return x ^ x >> 32;
}

/* The same for a value that is here. */
static inline uint64_t digest_of(uint64_t place, struct slice value)
{
    return digest_mix(place, digest_hash(value.data, value.bytes));
}

#endif

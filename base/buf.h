/* base/buf.h - immutable, reference-counted bytes.
 *
 * A buf is filled by the one thread that made it; from the moment it is handed to another thread
 * its bytes never change. References may be taken and dropped on any thread (atomic count). */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/meter.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* Borrowed bytes: no ownership, valid as long as whoever owns them says. */
struct slice {
    const uint8_t *data;
    size_t bytes;
};

struct buf {
    atomic_uint refs;
    size_t bytes;
    uint8_t *data;
    void (*release)(struct buf *); /* frees what is behind data and the buf itself */
    struct meter *meter;           /* counts the bytes until then; NULL: nobody does */
};

/* A buf of `bytes` uninitialised bytes, one reference, for the caller to fill. */
struct buf *buf_create(size_t bytes);

/* A buf that holds a copy of the bytes. */
struct buf *buf_copy(const void *data, size_t bytes);

/* Has the bytes counted until the buf is freed; by one meter at most. For whoever holds the only
 * reference. */
void buf_charge(struct buf *buf, struct meter *meter);

/* Takes one more reference and returns the same buf. */
struct buf *buf_ref(struct buf *buf);

/* Drops one reference; the last one frees. NULL is allowed. */
void buf_unref(struct buf *buf);

#endif

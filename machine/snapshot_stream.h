/* machine/snapshot_stream.h - the inside of the public struct conclave_snapshot_sink and _source:
 * where the bytes of a machine's snapshot go to and come from. One thread at a time. */
#ifndef MACHINE_SNAPSHOT_STREAM_H
#define MACHINE_SNAPSHOT_STREAM_H

#include "base/error.h"

/* Codes; a read answers fewer bytes than asked for only at the end. */
typedef int (*snapshot_add)(void *arg, const void *data, size_t bytes);
typedef int (*snapshot_read)(void *arg, void *data, size_t bytes, size_t *ret_bytes);

struct conclave_snapshot_sink {
    snapshot_add add;
    void *arg;
    int failed; /* the first failure: nothing is added any more */
};

struct conclave_snapshot_source {
    snapshot_read read;
    void *arg;
    int failed; /* likewise */
    bool ended; /* a read answered fewer bytes than asked for */
};

/* OK when everything was read and found whole; CORRUPT when there is more. */
MUST_USE int snapshot_source_end(struct conclave_snapshot_source *source);

#endif

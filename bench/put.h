/* bench/put.h - the workload `put`: keys with values that anyone can check. */
#ifndef BENCH_PUT_H
#define BENCH_PUT_H

#include "bench/load.h"
#include "bench/options.h"

struct put_result {
    struct load load;
    bool validated;
    uint64_t read;       /* acknowledged keys read back */
    uint64_t mismatches; /* of them missing or with another value */
    int code;            /* of the first failure; OK: none */
    char message[1024];  /* on the failure */
};

/* Runs it. ret->load.latencies is the caller's to destroy (histogram_destroy). */
void put_run(const struct bench_options *options, const volatile sig_atomic_t *stop,
             struct put_result *ret);

/* The key of operation `number`, a C string; `size` at least CONCLAVE_KEY_BYTES_MAX + 1. Returns
 * its length. */
size_t put_key(const struct bench_options *options, uint64_t number, char *key, size_t size);

/* The value of a key: the key and a colon, repeated, cut to options->value_bytes. */
void put_value(const struct bench_options *options, const char *key, size_t key_bytes,
               uint8_t *value);

#endif

/* Increments counters by conditional puts, for tests that kill leaders meanwhile.
 *
 *     increments ENDPOINTS COUNTERS SESSIONS
 *
 * Goes on until its standard input ends and each counter was incremented.
 * Each counter is a key whose value is a number. Two writers a counter read it and put one more, on
 * the condition that nobody changed it since. A put that was repeated and had been applied the
 * first time would fail its own condition, and be taken for not applied: only with sessions
 * (SESSIONS is 1, not 0) is every increment counted exactly. Prints "COUNTER OK UNKNOWN VALUE" for
 * each. */
#include "conclave.h"
#include "conclave_kv.h"

#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WRITERS = 2, COUNTERS_MAX = 1000, TIMEOUT_MS = 300000 };

struct counter {
    char key[32];
    uint64_t ok, unknown;
};

struct writer {
    struct conclave_op op;
    struct counter *counter;
    uint8_t buffer[256];
    bool reading;
};

static struct counter counters[COUNTERS_MAX];
static struct writer writers[WRITERS * COUNTERS_MAX];

static void die(const char *what, int code)
{
    fprintf(stderr, "increments: %s: %s\n", what, conclave_code_text(code));
    exit(1);
}

static void submit(struct conclave_client *client, struct writer *writer)
{
    writer->op.data = writer->buffer;
    writer->op.timeout_ms = TIMEOUT_MS;
    writer->op.user = writer;
    int code = conclave_client_submit(client, &writer->op);
    if (code)
        die("submit", code);
}

static void begin_read(struct conclave_client *client, struct writer *writer)
{
    const char *key = writer->counter->key;
    writer->reading = true;
    writer->op.kind = CONCLAVE_OP_READ;
    int code = conclave_kv_encode_get(writer->buffer, sizeof writer->buffer, key, strlen(key),
                                      &writer->op.bytes);
    if (code)
        die("encode", code);
    submit(client, writer);
}

/* The counter as it was read, and the revision that a put of the next value depends on. */
static void begin_put(struct conclave_client *client, struct writer *writer, uint64_t value,
                      uint64_t revision)
{
    const char *key = writer->counter->key;
    value++;
    writer->reading = false;
    writer->op.kind = CONCLAVE_OP_PROPOSE;
    int code = conclave_kv_encode_put(writer->buffer, sizeof writer->buffer, key, strlen(key),
                                      &value, sizeof value, revision, &writer->op.bytes);
    if (code)
        die("encode", code);
    submit(client, writer);
}

static uint64_t value_of(const struct conclave_kv_item *item)
{
    uint64_t value = 0;
    if (item->value_bytes != sizeof value)
        die("a counter has another size", CONCLAVE_CORRUPT);
    memcpy(&value, item->value, sizeof value);
    return value;
}

/* Takes in what is done. True: the writer goes on. */
static bool done(struct conclave_client *client, struct writer *writer, bool over)
{
    if (writer->reading) {
        struct conclave_kv_item item;
        int code = conclave_kv_decode_get(&writer->op, &item, NULL);
        if (code && code != CONCLAVE_NOT_FOUND)
            die("read", code);
        uint64_t value = code ? 0 : value_of(&item);
        uint64_t revision = code ? CONCLAVE_KV_ABSENT : item.mod_revision;
        if (over)
            return false;
        begin_put(client, writer, value, revision);
        return true;
    }
    switch (writer->op.code) {
    case CONCLAVE_OK:
        writer->counter->ok++;
        break;
    case CONCLAVE_UNKNOWN:
        writer->counter->unknown++;
        break;
    case CONCLAVE_COMPARE_FAILED:
        break;
    default:
        if (conclave_code_exit(writer->op.code) != 4) /* surely not applied */
            die("put", writer->op.code);
    }
    if (over)
        return false;
    begin_read(client, writer);
    return true;
}

static void print_results(struct conclave_client *client, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct counter *counter = &counters[i];
        struct conclave_kv_found found;
        uint64_t value = 0;
        int code = conclave_kv_get(client, counter->key, strlen(counter->key), TIMEOUT_MS, &found);
        if (code && code != CONCLAVE_NOT_FOUND)
            die("read at the end", code);
        if (!code) {
            value = value_of(&found.item);
            conclave_kv_found_release(&found);
        }
        printf("%s %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", counter->key, counter->ok,
               counter->unknown, value);
    }
}

static bool is_over(size_t count)
{
    struct pollfd input = {.fd = 0, .events = POLLIN};
    if (poll(&input, 1, 0) <= 0)
        return false;
    for (size_t i = 0; i < count; i++)
        if (counters[i].ok == 0)
            return false;
    return true;
}

int main(int argc, char **argv)
{
    size_t count = argc == 4 ? (size_t)strtoul(argv[2], NULL, 10) : 0;
    if (count < 1 || count > COUNTERS_MAX) {
        fprintf(stderr, "Usage: increments ENDPOINTS COUNTERS SESSIONS\n");
        return 2;
    }
    struct conclave_client_options options;
    conclave_client_options_init(&options);
    options.endpoints = argv[1];
    options.sessions = argv[3][0] == '1';
    struct conclave_client *client;
    struct conclave_error error;
    if (conclave_client_create(&options, &client, &error))
        die(error.message, error.code);
    size_t outstanding = count * WRITERS;
    for (size_t i = 0; i < outstanding; i++) {
        struct counter *counter = &counters[i % count];
        snprintf(counter->key, sizeof counter->key, "counter/%zu", i % count);
        writers[i].counter = counter;
        begin_read(client, &writers[i]);
    }
    while (outstanding > 0) {
        struct conclave_op *op;
        conclave_client_poll(client, 100, &op);
        bool over = is_over(count);
        while (op) {
            struct conclave_op *next = op->next;
            outstanding -= !done(client, op->user, over);
            op = next;
        }
    }
    for (size_t i = 0; i < count * WRITERS; i++)
        conclave_op_release(&writers[i].op);
    print_results(client, count);
    conclave_client_destroy(client);
    return 0;
}

#include "cli/txn_build.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const txn_verbs[TXN_VERBS + 1] = {"put", "get", "del", "del-prefix", "ls", "pub", NULL};

struct txn_build {
    struct conclave_txn *txn;
    size_t compares, counts[2]; /* by enum conclave_txn_list */
    struct txn_step steps[2][CONCLAVE_TXN_STEPS_MAX];
    size_t bytes; /* of all of it, as far as they are known here */
    bool too_large;
    char fault[TXN_FAULT_BYTES];
};

struct txn_build *txn_build_create(void)
{
    struct txn_build *build = calloc(1, sizeof *build);
    if (build)
        build->txn = conclave_txn_create();
    return build;
}

void txn_build_destroy(struct txn_build *build)
{
    if (!build)
        return;
    conclave_txn_destroy(build->txn);
    free(build);
}

const char *txn_build_fault(const struct txn_build *build)
{
    return build->fault;
}

bool txn_build_too_large(const struct txn_build *build)
{
    return build->too_large;
}

bool txn_build_refuse(struct txn_build *build, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(build->fault, sizeof build->fault, format, list);
    va_end(list);
    return false;
}

size_t txn_build_count(const struct txn_build *build, enum conclave_txn_list list)
{
    return build->counts[list];
}

const struct txn_step *txn_build_at(const struct txn_build *build, enum conclave_txn_list list,
                                    size_t place)
{
    return &build->steps[list][place];
}

const struct conclave_txn *txn_build_txn(const struct txn_build *build)
{
    return build->txn;
}

/* --- Limits ----------------------------------------------------------------------------------- */

static bool check_bytes(struct txn_build *build, const char *what, struct txn_bytes bytes,
                        size_t bytes_max)
{
    if (bytes.bytes <= bytes_max)
        return true;
    build->too_large = true;
    return txn_build_refuse(build, "%s has %zu bytes; the limit is %zu", what, bytes.bytes,
                            bytes_max);
}

static bool check_name(struct txn_build *build, bool topic, struct txn_bytes name)
{
    const char *what = topic ? "the topic's name" : "the key";
    if (name.bytes == 0)
        return txn_build_refuse(build, "%s cannot be empty", what);
    return check_bytes(build, what, name,
                       topic ? CONCLAVE_TOPIC_BYTES_MAX : CONCLAVE_KEY_BYTES_MAX);
}

/* All of it has to fit into one command. */
static bool check_room(struct txn_build *build, size_t count, const char *what, size_t bytes)
{
    build->too_large = true;
    if (count == CONCLAVE_TXN_STEPS_MAX)
        return txn_build_refuse(build, "it has more than %d %s", CONCLAVE_TXN_STEPS_MAX, what);
    build->bytes += bytes + CONCLAVE_KV_OVERHEAD;
    if (build->bytes > CONCLAVE_COMMAND_BYTES_MAX - CONCLAVE_KV_OVERHEAD)
        return txn_build_refuse(build, "the transaction is larger than the limit of %d bytes",
                                CONCLAVE_COMMAND_BYTES_MAX - CONCLAVE_KV_OVERHEAD);
    build->too_large = false;
    return true;
}

/* --- A key changes once ----------------------------------------------------------------------- */

static bool same(struct txn_bytes a, struct txn_bytes b)
{
    return a.bytes == b.bytes && (a.bytes == 0 || memcmp(a.data, b.data, a.bytes) == 0);
}

static bool begins_with(struct txn_bytes key, struct txn_bytes prefix)
{
    return key.bytes >= prefix.bytes &&
           (prefix.bytes == 0 || memcmp(key.data, prefix.data, prefix.bytes) == 0);
}

/* Whether one of them puts what the other one changes as well. */
static bool collide(const struct txn_step *a, const struct txn_step *b)
{
    if (a->verb != TXN_PUT && b->verb == TXN_PUT)
        return collide(b, a);
    if (a->verb != TXN_PUT)
        return false;
    if (b->verb == TXN_DEL_PREFIX)
        return begins_with(a->name, b->name);
    return (b->verb == TXN_PUT || b->verb == TXN_DEL) && same(a->name, b->name);
}

static bool check_once(struct txn_build *build, enum conclave_txn_list list,
                       const struct txn_step *step)
{
    for (size_t i = 0; i < build->counts[list]; i++)
        if (collide(&build->steps[list][i], step))
            return txn_build_refuse(build,
                                    "step %zu of this list (%s) changes the same key: a key is "
                                    "changed once at most",
                                    i + 1, txn_verbs[build->steps[list][i].verb]);
    return true;
}

/* --- Adding ----------------------------------------------------------------------------------- */

bool txn_build_compare(struct txn_build *build, const struct txn_compare *compare)
{
    bool topic = !compare->of_value &&
                 (compare->what == CONCLAVE_TXN_SEQUENCE || compare->what == CONCLAVE_TXN_TOPIC);
    if (!check_name(build, topic, compare->name) ||
        !check_bytes(build, "the value", compare->value, CONCLAVE_VALUE_BYTES_MAX) ||
        !check_room(build, build->compares, "compares", compare->name.bytes + compare->value.bytes))
        return false;
    if (compare->of_value)
        conclave_txn_compare_value(build->txn, compare->how, compare->name.data,
                                   compare->name.bytes, compare->value.data, compare->value.bytes);
    else
        conclave_txn_compare(build->txn, compare->what, compare->how, compare->name.data,
                             compare->name.bytes, compare->number);
    build->compares++;
    return true;
}

static bool check_step(struct txn_build *build, enum conclave_txn_list list,
                       const struct txn_step *step)
{
    bool prefix = step->verb == TXN_DEL_PREFIX || step->verb == TXN_LS;
    if (prefix && !check_bytes(build, "the prefix", step->name, CONCLAVE_KEY_BYTES_MAX))
        return false;
    if (!prefix && !check_name(build, step->verb == TXN_PUB, step->name))
        return false;
    if (step->lease && step->ttl_ms)
        return txn_build_refuse(build, "ttl and lease are two ways for a key to end");
    return check_bytes(build, step->verb == TXN_PUB ? "the message" : "the value", step->value,
                       CONCLAVE_VALUE_BYTES_MAX) &&
           check_bytes(build, "the id", step->id, CONCLAVE_MESSAGE_ID_BYTES_MAX) &&
           check_once(build, list, step) &&
           check_room(build, build->counts[list], "steps in this list",
                      step->name.bytes + step->value.bytes + step->id.bytes);
}

/* All keys that begin with the step's prefix. */
static void add_range(struct conclave_txn *txn, enum conclave_txn_list list,
                      const struct txn_step *step)
{
    unsigned char end[CONCLAVE_KEY_BYTES_MAX];
    const void *from = step->name.data;
    size_t end_bytes = conclave_kv_prefix_end(from, step->name.bytes, end);
    const void *to = end_bytes ? end : NULL;
    if (step->verb == TXN_DEL_PREFIX)
        conclave_txn_delete_range(txn, list, from, step->name.bytes, to, end_bytes);
    else
        conclave_txn_range(txn, list, from, step->name.bytes, to, end_bytes, step->limit);
}

bool txn_build_step(struct txn_build *build, enum conclave_txn_list list,
                    const struct txn_step *step)
{
    if (!check_step(build, list, step))
        return false;
    struct conclave_txn *txn = build->txn;
    const struct conclave_message message = {.data = step->value.data,
                                             .bytes = step->value.bytes,
                                             .id = step->id.bytes ? step->id.data : NULL,
                                             .id_bytes = step->id.bytes};
    switch (step->verb) {
    case TXN_PUT:
        conclave_txn_put(txn, list, step->name.data, step->name.bytes, step->value.data,
                         step->value.bytes, step->lease, step->ttl_ms);
        break;
    case TXN_GET:
        conclave_txn_get(txn, list, step->name.data, step->name.bytes);
        break;
    case TXN_DEL:
        conclave_txn_delete(txn, list, step->name.data, step->name.bytes);
        break;
    case TXN_DEL_PREFIX:
    case TXN_LS:
        add_range(txn, list, step);
        break;
    case TXN_PUB:
        conclave_txn_publish(txn, list, step->name.data, step->name.bytes, &message);
        break;
    case TXN_VERBS:
        return txn_build_refuse(build, "no step");
    }
    build->steps[list][build->counts[list]++] = *step;
    return true;
}

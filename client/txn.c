#include "base/fatal.h"
#include "client/request.h"
#include "codec/kv_txn.h"
#include "conclave_txn.h"

#include <stdlib.h>
#include <string.h>

struct list {
    struct pack pack;
    uint32_t count;
    enum conclave_txn_kind kinds[CONCLAVE_TXN_STEPS_MAX];
};

struct conclave_txn {
    struct list compares, lists[2]; /* by enum conclave_txn_list */
    int code;                       /* of the first thing that cannot be taken */
};

struct conclave_txn *conclave_txn_create(void)
{
    struct conclave_txn *txn = mem_zalloc(sizeof *txn);
    pack_init(&txn->compares.pack, 0);
    pack_init(&txn->lists[CONCLAVE_TXN_THEN].pack, 0);
    pack_init(&txn->lists[CONCLAVE_TXN_ELSE].pack, 0);
    return txn;
}

void conclave_txn_destroy(struct conclave_txn *txn)
{
    if (!txn)
        return;
    pack_deinit(&txn->compares.pack);
    pack_deinit(&txn->lists[CONCLAVE_TXN_THEN].pack);
    pack_deinit(&txn->lists[CONCLAVE_TXN_ELSE].pack);
    free(txn);
}

/* Counts one more element of so many bytes; false if it cannot be taken. */
static bool list_enter(struct conclave_txn *txn, struct list *list, size_t bytes,
                       enum conclave_txn_kind kind)
{
    size_t all = txn->compares.pack.bytes + txn->lists[0].pack.bytes + txn->lists[1].pack.bytes;
    if (list->count == CONCLAVE_TXN_STEPS_MAX ||
        bytes > CONCLAVE_COMMAND_BYTES_MAX - CONCLAVE_KV_OVERHEAD ||
        all > CONCLAVE_COMMAND_BYTES_MAX - CONCLAVE_KV_OVERHEAD - bytes)
        txn->code = txn->code ? txn->code : CONCLAVE_TOO_LARGE;
    if (txn->code)
        return false;
    list->kinds[list->count++] = kind;
    return true;
}

/* --- Compares --------------------------------------------------------------------------------- */

static void compare_add(struct conclave_txn *txn, const struct kv_compare *compare)
{
    size_t bytes = compare->key.bytes + compare->value.bytes + CONCLAVE_KV_OVERHEAD;
    if (list_enter(txn, &txn->compares, bytes, CONCLAVE_TXN_KIND_GET))
        kv_compare_pack(&txn->compares.pack, compare);
}

void conclave_txn_compare(struct conclave_txn *txn, enum conclave_txn_what what,
                          enum conclave_txn_how how, const void *key, size_t key_bytes,
                          uint64_t number)
{
    compare_add(txn, &(struct kv_compare){.what = (enum kv_compare_what)what,
                                          .how = (enum kv_compare_how)how,
                                          .key = request_slice(key, key_bytes),
                                          .number = number});
}

void conclave_txn_compare_value(struct conclave_txn *txn, enum conclave_txn_how how,
                                const void *key, size_t key_bytes, const void *value,
                                size_t value_bytes)
{
    compare_add(txn, &(struct kv_compare){.what = KV_COMPARE_VALUE,
                                          .how = (enum kv_compare_how)how,
                                          .key = request_slice(key, key_bytes),
                                          .value = request_slice(value, value_bytes)});
}

/* --- Steps ------------------------------------------------------------------------------------ */

static void command_add(struct conclave_txn *txn, enum conclave_txn_list list,
                        const struct kv_command *command)
{
    size_t bytes = kv_command_content(command) + CONCLAVE_KV_OVERHEAD;
    enum conclave_txn_kind kind =
        command->opcode == KV_PUT ? CONCLAVE_TXN_KIND_PUT : CONCLAVE_TXN_KIND_DELETE;
    if (list_enter(txn, &txn->lists[list], bytes, kind))
        kv_command_pack(&txn->lists[list].pack, command);
}

static void query_add(struct conclave_txn *txn, enum conclave_txn_list list,
                      const struct kv_query *query)
{
    size_t bytes =
        query->key.bytes + query->bounds.from.bytes + query->bounds.to.bytes + CONCLAVE_KV_OVERHEAD;
    enum conclave_txn_kind kind =
        query->opcode == KV_GET ? CONCLAVE_TXN_KIND_GET : CONCLAVE_TXN_KIND_RANGE;
    if (list_enter(txn, &txn->lists[list], bytes, kind))
        kv_query_pack(&txn->lists[list].pack, query);
}

void conclave_txn_put(struct conclave_txn *txn, enum conclave_txn_list list, const void *key,
                      size_t key_bytes, const void *value, size_t value_bytes, uint64_t lease,
                      uint64_t ttl_ms)
{
    command_add(txn, list,
                &(struct kv_command){.opcode = KV_PUT,
                                     .key = request_slice(key, key_bytes),
                                     .value = request_slice(value, value_bytes),
                                     .lease = lease,
                                     .ttl_ms = ttl_ms});
}

void conclave_txn_delete(struct conclave_txn *txn, enum conclave_txn_list list, const void *key,
                         size_t key_bytes)
{
    command_add(txn, list,
                &(struct kv_command){.opcode = KV_DELETE, .key = request_slice(key, key_bytes)});
}

static struct kv_bounds bounds_of(const void *from, size_t from_bytes, const void *to,
                                  size_t to_bytes)
{
    return (struct kv_bounds){request_slice(from, from_bytes), request_slice(to, to_bytes), !to};
}

void conclave_txn_delete_range(struct conclave_txn *txn, enum conclave_txn_list list,
                               const void *from, size_t from_bytes, const void *to, size_t to_bytes)
{
    command_add(txn, list,
                &(struct kv_command){.opcode = KV_DELETE_RANGE,
                                     .bounds = bounds_of(from, from_bytes, to, to_bytes)});
}

void conclave_txn_get(struct conclave_txn *txn, enum conclave_txn_list list, const void *key,
                      size_t key_bytes)
{
    query_add(txn, list,
              &(struct kv_query){.opcode = KV_GET, .key = request_slice(key, key_bytes)});
}

void conclave_txn_range(struct conclave_txn *txn, enum conclave_txn_list list, const void *from,
                        size_t from_bytes, const void *to, size_t to_bytes, uint64_t limit)
{
    query_add(txn, list,
              &(struct kv_query){.opcode = KV_RANGE,
                                 .bounds = bounds_of(from, from_bytes, to, to_bytes),
                                 .limit = limit});
}

void conclave_txn_publish(struct conclave_txn *txn, enum conclave_txn_list list, const void *topic,
                          size_t topic_bytes, const struct conclave_message *message)
{
    struct slice id = request_slice(message->id, message->id_bytes);
    struct topic_publish publish = {
        .name = request_slice(topic, topic_bytes), .count = 1, .have_ids = id.bytes > 0};
    struct pack *pack = &txn->lists[list].pack;
    if (!list_enter(txn, &txn->lists[list],
                    topic_bytes + message->bytes + id.bytes + CONCLAVE_KV_OVERHEAD,
                    CONCLAVE_TXN_KIND_PUBLISH))
        return;
    topic_publish_begin(pack, &publish);
    topic_publish_data(pack, request_slice(message->data, message->bytes));
    topic_publish_ids(pack, &publish);
    if (publish.have_ids)
        topic_publish_id(pack, id);
}

/* --- Committing ------------------------------------------------------------------------------- */

/* By the functions that read such an answer by itself. */
static int step_decode(const struct kv_step_answer *told, struct conclave_txn_step *step)
{
    step->code = told->code;
    step->answer = (struct conclave_op){
        .code = told->code, .reply = told->body.data, .reply_bytes = told->body.bytes};
    if (told->code && told->code != CONCLAVE_NOT_FOUND)
        return CONCLAVE_OK;
    struct conclave_published published;
    int code = CONCLAVE_OK;
    switch (step->kind) {
    case CONCLAVE_TXN_KIND_PUT:
        code = conclave_kv_decode_put(&step->answer, &step->result);
        break;
    case CONCLAVE_TXN_KIND_DELETE:
        code = conclave_kv_decode_delete(&step->answer, &step->result);
        break;
    case CONCLAVE_TXN_KIND_GET:
        code = conclave_kv_decode_get(&step->answer, &step->item, NULL);
        break;
    case CONCLAVE_TXN_KIND_PUBLISH:
        code = conclave_topic_decode_publish(&step->answer, 1, &published, &step->sequence);
        step->duplicate = !code && published.duplicates > 0;
        break;
    case CONCLAVE_TXN_KIND_RANGE:
        break;
    }
    return code == told->code ? CONCLAVE_OK : code;
}

int conclave_txn_decode(const struct conclave_txn *txn, const struct conclave_op *op,
                        struct conclave_txn_result *ret_result)
{
    struct kv_txn_answer answer;
    struct kv_step_answer told;
    struct conclave_txn_result result = {0};
    int more = 0, code = op->code;
    if (!code)
        code = kv_txn_answer_begin(op->reply, op->reply_bytes, &answer);
    if (code)
        return code;
    const struct list *list = &txn->lists[answer.held ? CONCLAVE_TXN_THEN : CONCLAVE_TXN_ELSE];
    if (answer.count != list->count)
        return CONCLAVE_MALFORMED;
    result.revision = answer.revision;
    result.held = answer.held;
    result.steps = mem_zalloc((list->count + 1) * sizeof *result.steps);
    while (!code && (more = kv_txn_answer_next(&answer, &told)) == 1) {
        result.steps[result.count].kind = list->kinds[result.count];
        code = step_decode(&told, &result.steps[result.count]);
        result.count++;
    }
    if (more < 0)
        code = CONCLAVE_MALFORMED;
    if (code)
        conclave_txn_result_release(&result);
    else
        *ret_result = result;
    return code;
}

/* Borrows the lists. Returns how many bytes they have. */
static size_t command_of(const struct conclave_txn *txn, struct kv_command *ret)
{
    struct kv_txn_list *const to[] = {&ret->txn.compares, &ret->txn.then, &ret->txn.otherwise};
    const struct list *const from[] = {&txn->compares, &txn->lists[CONCLAVE_TXN_THEN],
                                       &txn->lists[CONCLAVE_TXN_ELSE]};
    size_t bytes = 0;
    *ret = (struct kv_command){.opcode = KV_TXN};
    for (int i = 0; i < 3; i++) {
        *to[i] =
            (struct kv_txn_list){from[i]->count, {from[i]->pack.buf->data, from[i]->pack.bytes}};
        bytes += from[i]->pack.bytes;
    }
    return bytes;
}

size_t conclave_txn_bytes(const struct conclave_txn *txn)
{
    struct kv_command command;
    return command_of(txn, &command) + CONCLAVE_KV_OVERHEAD;
}

int conclave_txn_encode(const struct conclave_txn *txn, void *buffer, size_t capacity,
                        size_t *ret_bytes)
{
    struct kv_command command;
    struct pack pack;
    struct buf buf;
    int code = txn->code;
    if (!code)
        code = request_begin_fixed(&pack, &buf, buffer, capacity, command_of(txn, &command));
    if (code)
        return code;
    kv_command_pack(&pack, &command);
    *ret_bytes = pack.bytes;
    return CONCLAVE_OK;
}

int conclave_txn_commit(struct conclave_client *client, const struct conclave_txn *txn,
                        uint32_t timeout_ms, struct conclave_txn_result *ret_result)
{
    if (txn->code)
        return txn->code;
    struct pack pack;
    struct kv_command command;
    pack_init(&pack, command_of(txn, &command) + CONCLAVE_KV_OVERHEAD);
    kv_command_pack(&pack, &command);
    struct conclave_op op, wanted = {.kind = CONCLAVE_OP_PROPOSE, .timeout_ms = timeout_ms};
    request_call(client, wanted, &pack, &op);
    int code = conclave_txn_decode(txn, &op, ret_result);
    if (code)
        conclave_op_release(&op);
    else
        ret_result->op = op;
    return code;
}

void conclave_txn_result_release(struct conclave_txn_result *result)
{
    free(result->steps);
    conclave_op_release(&result->op);
    result->steps = NULL;
    result->count = 0;
}

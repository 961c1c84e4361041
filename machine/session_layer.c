#include "machine/session_layer.h"

#include "base/fatal.h"
#include "codec/session.h"
#include "machine/kv.h"
#include "machine/reply.h"

#include <stdlib.h>
#include <string.h>

/* A command on its way through the machine. */
struct item {
    struct session *session; /* NULL: a plain command */
    uint64_t sequence;
};

/* A command that came again before the first one was applied. */
struct repeat {
    uint32_t item; /* the first one */
    struct conclave_reply_sink *reply;
};

struct session_layer {
    const struct conclave_machine_ops *ops;
    void *machine;
    struct kv *kv; /* the machine, if it keeps the table with its data; else NULL */
    struct session_table *table;
    uint64_t applied;         /* by the layer */
    uint64_t machine_applied; /* by the machine when it was opened: not to be applied again */

    /* The apply at hand. For the audit inputs are added to the chain when they are answered. */
    const struct session_input *inputs;
    struct conclave_reply_sink *const *input_replies;
    size_t input_count, taken, audited;
    uint64_t last_index;
    uint64_t due;      /* what has gathered is to be applied up to here, before more is taken */
    uint64_t flushing; /* up to this index */
    struct audit_mark marks[AUDIT_MARKS_MAX];
    uint32_t mark_count;

    /* One apply of the machine. Sessions end only between them: the items point to theirs. */
    uint32_t count, repeat_count;
    bool settled, tried;                      /* once at least: it found no room */
    struct conclave_reply_sink *clock_passed; /* of the entry with which it did, since the last */
    struct conclave_command commands[SESSION_INPUTS_MAX];
    struct conclave_reply_sink *replies[SESSION_INPUTS_MAX];
    struct item items[SESSION_INPUTS_MAX];
    struct repeat repeats[SESSION_INPUTS_MAX];
};

struct session_table *session_layer_table(struct session_layer *layer)
{
    return layer->table;
}

uint32_t session_layer_marks(struct session_layer *layer, struct audit_mark *ret, uint32_t limit)
{
    uint32_t count = layer->mark_count < limit ? layer->mark_count : limit;
    memcpy(ret, layer->marks + (layer->mark_count - count), count * sizeof *ret);
    layer->mark_count = 0;
    return count;
}

bool session_layer_mark(const struct session_layer *layer, struct audit_mark *ret)
{
    const struct audit_chain chain = session_table_audit(layer->table);
    *ret = chain.at;
    return !chain.unknown && chain.at.index > 0;
}

/* --- One apply of the machine ----------------------------------------------------------------- */

/* Adds what has been answered to the audit's chain. */
static void audit(struct session_layer *layer)
{
    struct audit_chain chain = session_table_audit(layer->table);
    uint32_t interval = session_table_limits(layer->table).audit_entries;
    if (interval == 0)
        interval = AUDIT_INTERVAL;
    for (; layer->audited < layer->input_count; layer->audited++) {
        const struct session_input *input = &layer->inputs[layer->audited];
        const struct conclave_reply_sink *reply = layer->input_replies[layer->audited];
        const struct conclave_command *command = &input->command;
        if (command->index > layer->flushing)
            break;
        if (command->index <= layer->machine_applied)
            chain.unknown = true; /* applied in an earlier life: what it answered is lost */
        const struct buf *body = reply->body;
        audit_chain_add(&chain, &(struct audit_entry){.index = command->index,
                                                      .term = command->term,
                                                      .kind = input->audit_only   ? 2
                                                              : input->in_session ? 1
                                                                                  : 0,
                                                      .payload = command->data,
                                                      .payload_bytes = command->bytes,
                                                      .code = reply->code,
                                                      .answer = body ? body->data : NULL,
                                                      .answer_bytes = body ? body->bytes : 0,
                                                      .effect = reply->effect});
        if (command->index % interval == 0 && !chain.unknown && layer->mark_count < AUDIT_MARKS_MAX)
            layer->marks[layer->mark_count++] = chain.at;
    }
    chain.at.index = layer->flushing;
    session_table_set_audit(layer->table, &chain);
}

/* Those that came in the same apply as the first one get what they would get after it. */
static void answer_repeats(struct session_layer *layer)
{
    for (uint32_t i = 0; i < layer->repeat_count; i++) {
        const struct conclave_reply_sink *first = layer->replies[layer->repeats[i].item];
        struct conclave_reply_sink *reply = layer->repeats[i].reply;
        if (session_table_keeps(layer->table, first->body))
            reply_sink_take(reply, first->code, first->body ? buf_ref(first->body) : NULL);
        else
            reply_sink_refuse(reply, CONCLAVE_FORGOTTEN);
    }
}

/* The machine has answered: keeps the answers. Once for each apply, however often it is tried. */
static void settle(struct session_layer *layer)
{
    if (layer->settled)
        return;
    layer->settled = true;
    for (uint32_t i = 0; i < layer->count; i++) {
        const struct item *item = &layer->items[i];
        const struct conclave_reply_sink *reply = layer->replies[i];
        if (item->session)
            session_table_settle(layer->table, item->session, item->sequence, reply->code,
                                 reply->body);
    }
    answer_repeats(layer);
    audit(layer);
    if (session_table_wants_sweep(layer->table))
        session_table_sweep(layer->table);
}

/* Called by the built-in machine in its transaction. */
static int save(void *arg, const struct session_sink *sink)
{
    struct session_layer *layer = arg;
    settle(layer);
    return session_table_save(layer->table, sink);
}

/* For the built-in machine: what its commands know of time. */
static struct kv_clock clock_now(void *arg)
{
    const struct session_layer *layer = arg;
    const struct session_limits limits = session_table_limits(layer->table);
    return (struct kv_clock){.now_ms = session_table_clock_ms(layer->table),
                             .lag_ms = limits.clock_lag_ms,
                             .expire_work = limits.expire_work,
                             .passed = layer->clock_passed};
}

/* Applies what has gathered, up to this index. */
static int flush(struct session_layer *layer, uint64_t last_index)
{
    if (last_index <= layer->applied)
        return CONCLAVE_OK;
    ASSERT(last_index > layer->machine_applied || layer->count == 0);
    if (!layer->tried)
        layer->settled = false;
    layer->flushing = last_index;
    layer->tried = true;
    if (last_index > layer->machine_applied) {
        int code = layer->ops->apply(layer->machine, layer->commands, layer->count, last_index,
                                     layer->replies);
        if (code)
            return code;
    }
    settle(layer);
    session_table_saved(layer->table);
    layer->tried = false;
    layer->count = layer->repeat_count = 0;
    layer->clock_passed = NULL;
    layer->applied = last_index;
    return CONCLAVE_OK;
}

/* --- Commands --------------------------------------------------------------------------------- */

static void pass_on(struct session_layer *layer, const struct conclave_command *command,
                    struct item item, struct conclave_reply_sink *reply)
{
    ASSERT(layer->count < SESSION_INPUTS_MAX);
    layer->commands[layer->count] = *command;
    layer->items[layer->count] = item;
    layer->replies[layer->count++] = reply;
}

static void answer_repeat(struct session_layer *layer, const struct session_slot *slot,
                          struct conclave_reply_sink *reply)
{
    if (slot->state == SLOT_PENDING)
        layer->repeats[layer->repeat_count++] = (struct repeat){slot->code, reply};
    else
        reply_sink_take(reply, (int)slot->code, slot->body ? buf_ref(slot->body) : NULL);
}

/* Whether it was let through: it is new. */
static bool take_command(struct session_layer *layer, const struct session_request *request,
                         const struct conclave_command *outer, struct conclave_reply_sink *reply)
{
    struct session *session = session_table_find(layer->table, request->session);
    if (!session) { /* Rule 43: refused, not applied */
        reply_sink_refuse(reply, CONCLAVE_SESSION_EXPIRED);
        return false;
    }
    session_table_use(layer->table, session, outer->index, request->acknowledged);
    const struct session_slot *slot;
    switch (session_table_admit(layer->table, session, request->sequence, layer->count, &slot)) {
    case SESSION_NEW: {
        struct conclave_command command = *outer;
        command.data = request->command.data;
        command.bytes = request->command.bytes;
        if (outer->index <= layer->machine_applied) /* the machine holds it */
            session_table_settle_forgotten(layer->table, session, request->sequence);
        else
            pass_on(layer, &command, (struct item){session, request->sequence}, reply);
        return true;
    }
    case SESSION_REPEAT: /* Rule 43: the same answer, applied once */
        answer_repeat(layer, slot, reply);
        return false;
    case SESSION_FORGOTTEN_COMMAND:
        reply_sink_refuse(reply, CONCLAVE_FORGOTTEN);
        return false;
    case SESSION_NO_ROOM:
        reply_sink_take(reply, CONCLAVE_BUSY, NULL);
        return false;
    }
    return false;
}

static void open_session(struct session_layer *layer, uint64_t index,
                         struct conclave_reply_sink *reply)
{
    const struct session *session = session_table_open(layer->table, index);
    struct session_limits limits = session_table_limits(layer->table);
    struct pack pack;
    pack_init(&pack, 0);
    session_opened_pack(&pack, &(struct session_opened){.session = session->id,
                                                        .lifetime_ms = limits.lifetime_ms,
                                                        .window = limits.window});
    reply_sink_take(reply, CONCLAVE_OK, pack_take(&pack));
}

/* Everything that may end a session. What has gathered is applied before. */
static void take_change(struct session_layer *layer, const struct session_request *request,
                        uint64_t index, struct conclave_reply_sink *reply)
{
    struct session *session;
    switch (request->opcode) {
    case SESSION_OPEN:
        open_session(layer, index, reply);
        return;
    case SESSION_CLOSE:
        session = session_table_find(layer->table, request->session);
        if (session)
            session_table_remove(layer->table, session);
        return;
    case SESSION_CLOCK:
        session_table_pass_time(layer->table, request->elapsed_ms);
        layer->clock_passed = reply;
        return;
    case SESSION_COMMAND:
    case SESSION_KEEP_ALIVE:
        break;
    }
    ASSERT(!"a request that ends sessions");
}

static void keep_alive(struct session_layer *layer, const struct session_request *request,
                       uint64_t index, struct conclave_reply_sink *reply)
{
    struct session *session = session_table_find(layer->table, request->session);
    if (session)
        session_table_use(layer->table, session, index, request->acknowledged);
    else
        reply_sink_refuse(reply, CONCLAVE_SESSION_EXPIRED);
}

/* May be called again with the same input after NO_SPACE: it has then taken nothing of it. */
static int take_session_input(struct session_layer *layer, const struct conclave_command *command,
                              struct conclave_reply_sink *reply)
{
    struct session_request request;
    int code = session_request_decode(command->data, command->bytes, &request);
    if (code) {
        reply_sink_take(reply, code, NULL);
        return CONCLAVE_OK;
    }
    if (request.opcode == SESSION_COMMAND) {
        /* Answers are swept after the same command on every node, wherever its batches end. */
        if (take_command(layer, &request, command, reply) &&
            session_table_wants_sweep(layer->table))
            layer->due = command->index;
        return CONCLAVE_OK;
    }
    if (request.opcode == SESSION_KEEP_ALIVE) {
        keep_alive(layer, &request, command->index, reply);
        return CONCLAVE_OK;
    }
    /* What ends by the time before has ended before more of it passes. */
    bool waiting = layer->count > 0 || layer->clock_passed;
    code = waiting ? flush(layer, command->index - 1) : CONCLAVE_OK;
    if (!code)
        take_change(layer, &request, command->index, reply);
    return code;
}

static int take_input(struct session_layer *layer, const struct session_input *input,
                      struct conclave_reply_sink *reply)
{
    const struct conclave_command *command = &input->command;
    ASSERT(command->index > layer->applied && command->index <= layer->last_index);
    if (input->audit_only)
        return CONCLAVE_OK;
    if (input->in_session)
        return take_session_input(layer, command, reply);
    if (command->index > layer->machine_applied)
        pass_on(layer, command, (struct item){0}, reply);
    return CONCLAVE_OK;
}

int session_layer_go_on(struct session_layer *layer)
{
    for (;;) {
        int code = layer->due ? flush(layer, layer->due) : CONCLAVE_OK;
        if (code)
            return code;
        layer->due = 0;
        if (layer->taken == layer->input_count)
            break;
        code = take_input(layer, &layer->inputs[layer->taken], layer->input_replies[layer->taken]);
        if (code)
            return code;
        layer->taken++;
    }
    return flush(layer, layer->last_index);
}

int session_layer_apply(struct session_layer *layer, const struct session_input *inputs,
                        size_t count, uint64_t last_index,
                        struct conclave_reply_sink *const *replies)
{
    ASSERT(count <= SESSION_INPUTS_MAX && last_index > layer->applied);
    layer->inputs = inputs;
    layer->input_replies = replies;
    layer->input_count = count;
    layer->taken = layer->audited = 0;
    layer->last_index = last_index;
    layer->due = 0;
    layer->mark_count = 0;
    return session_layer_go_on(layer);
}

/* --- Life ------------------------------------------------------------------------------------- */

static int load(void *arg, uint64_t id, uint64_t part, const void *data, size_t bytes)
{
    struct session_layer *layer = arg;
    return session_table_load(layer->table, id, part, data, bytes);
}

struct session_layer *session_layer_create(const struct conclave_machine_ops *ops, void *machine)
{
    struct session_layer *layer = mem_zalloc(sizeof *layer);
    layer->ops = ops;
    layer->machine = machine;
    layer->kv = ops == kv_machine_ops() ? machine : NULL;
    layer->table = session_table_create();
    if (layer->kv)
        kv_keep_sessions(
            layer->kv,
            (struct kv_sessions){.arg = layer, .load = load, .save = save, .clock = clock_now});
    return layer;
}

void session_layer_destroy(struct session_layer *layer)
{
    if (!layer)
        return;
    if (layer->kv)
        kv_keep_sessions(layer->kv, (struct kv_sessions){0});
    session_table_destroy(layer->table);
    free(layer);
}

/* A chain that was not stored with what is applied says nothing about it. */
static void audit_begin(struct session_layer *layer)
{
    struct audit_chain chain = session_table_audit(layer->table);
    if (chain.at.index == layer->applied)
        return;
    chain.unknown = true;
    chain.at.index = layer->applied;
    session_table_set_audit(layer->table, &chain);
}

int session_layer_open(struct session_layer *layer, const struct conclave_machine_env *env,
                       uint64_t *ret_applied_index, struct conclave_error *error)
{
    session_table_clear(layer->table);
    uint64_t applied = 0;
    int code = layer->ops->open(layer->machine, env, &applied, error);
    if (code)
        return code;
    session_table_loaded(layer->table);
    layer->machine_applied = applied;
    layer->applied = layer->kv ? applied : 0;
    audit_begin(layer);
    *ret_applied_index = layer->applied;
    return CONCLAVE_OK;
}

int session_layer_due(const struct session_layer *layer, uint64_t *ret_ms)
{
    *ret_ms = UINT64_MAX;
    return layer->kv ? kv_due(layer->kv, ret_ms) : CONCLAVE_OK;
}

int session_layer_reserve(const struct session_layer *layer, bool lacking)
{
    return layer->kv ? kv_reserve(layer->kv, lacking) : CONCLAVE_OK;
}

bool session_layer_quota(const struct session_layer *layer)
{
    return layer->kv && kv_quota_is_used_up(layer->kv);
}

uint64_t session_layer_bytes(const struct session_layer *layer)
{
    return layer->kv ? kv_bytes(layer->kv) : 0;
}

/* --- Snapshots -------------------------------------------------------------------------------- */

bool session_layer_can_snapshot(const struct session_layer *layer)
{
    return layer->ops->snapshot_begin && layer->applied >= layer->machine_applied;
}

int session_layer_begin_snapshot(struct session_layer *layer,
                                 struct session_snapshot **ret_snapshot)
{
    ASSERT(layer->count == 0 && session_layer_can_snapshot(layer));
    return session_snapshot_begin(layer->ops, layer->machine, layer->table, ret_snapshot);
}

int session_layer_restore(struct session_layer *layer, uint64_t index, snapshot_read read,
                          void *arg)
{
    ASSERT(layer->ops->restore && layer->count == 0 && index > layer->applied);
    struct conclave_snapshot_source source = {.read = read, .arg = arg};
    int code = session_snapshot_read_table(&source, layer->table);
    if (!code && index > layer->machine_applied) {
        layer->settled = true; /* the built-in machine saves the table with its last bytes */
        code = layer->ops->restore(layer->machine, index, &source);
        if (!code)
            code = snapshot_source_end(&source);
        if (!code)
            layer->machine_applied = index;
    }
    if (code)
        return source.failed ? source.failed : code;
    session_table_saved(layer->table);
    layer->applied = index;
    audit_begin(layer);
    return CONCLAVE_OK;
}

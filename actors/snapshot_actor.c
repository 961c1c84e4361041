/* The snapshot helper: writes the state machine's snapshots to disk while the machine goes on, and
 * carries snapshots between nodes. Between two pieces of its own snapshot it looks at its inbox, so
 * that a peer that waits for one need not wait for the end of another.
 *
 * It ends with STOP alone, which the node sends when the state machine has ended: whoever began a
 * snapshot is always told when it is over. */
#include "actors/snapshot_actor.h"

#include "base/clock.h"
#include "base/fatal.h"
#include "machine/session_snapshot.h"

#include <stdlib.h>

static void look_around(struct actor *actor, long wait_ms);

static int helper_start(struct actor *actor, struct conclave_error *error)
{
    (void)error;
    struct snapshot_helper *helper = mem_zalloc(sizeof *helper);
    helper->newest = actor->node->recovered.snapshot.last;
    helper->repairing = actor->node->repairing;
    flow_limits_init(&helper->sender.limits, SNAPSHOT_CHUNK_BYTES);
    helper->piece = mem_alloc(SNAPSHOT_CHUNK_BYTES);
    actor->state = helper;
    return CONCLAVE_OK;
}

/* --- Taking a snapshot ------------------------------------------------------------------------ */

struct writing {
    struct actor *actor;
    struct snapshot_writer *writer;
    uint64_t bytes;
    uint64_t began_us, rested_cpu_us;
    struct conclave_error error;
};

enum {
    REST_AFTER_US = 500,
    REST_PARTS = 2, /* of rest for one of work */
    REST_US_MAX = 20000,
    REST_UNTIL_US = 30000000
};

/* Rests for twice as long as it worked: whoever is woken on a CPU that is taken waits for some
 * milliseconds, at each hop of an operation. Not for ever: what the log keeps in memory, and what
 * the machine's store cannot use again until the end of the snapshot, grows meanwhile. */
static void give_way(struct writing *writing)
{
    const struct node *node = writing->actor->node;
    uint64_t cpu_us = clock_thread_cpu_us(), worked_us = cpu_us - writing->rested_cpu_us;
    if (worked_us < REST_AFTER_US)
        return;
    if (atomic_load(&node->progress.since_snapshot) < node->options.snapshot_bytes &&
        clock_now_us() - writing->began_us < REST_UNTIL_US) {
        uint64_t rest_us = worked_us * REST_PARTS;
        clock_pause_us(rest_us < REST_US_MAX ? rest_us : REST_US_MAX);
    }
    writing->rested_cpu_us = cpu_us;
}

static int write_piece(void *arg, const void *data, size_t bytes)
{
    struct writing *writing = arg;
    const struct snapshot_helper *helper = writing->actor->state;
    int code = snapshot_writer_add(writing->writer, data, bytes, &writing->error);
    if (code)
        return code;
    writing->bytes += bytes;
    look_around(writing->actor, 0);
    give_way(writing);
    return helper->quit || helper->stop ? CONCLAVE_STOPPING : CONCLAVE_OK;
}

/* The machine says that it does not hold what was put into it: no answer of this node is worth
 * anything, and nobody gets a snapshot of it. */
static void spread_nothing(struct actor *actor, uint64_t index)
{
    struct conclave_error error;
    error_set(
        &error, CONCLAVE_CORRUPT,
        "what the state machine holds at index %llu is not what it has stored: memory or disk "
        "altered it. Nobody gets it, and this node stops. Remove its machine directory, which "
        "is then made again from the log and the snapshots; if this comes back, look for what "
        "is wrong with this machine",
        (unsigned long long)index);
    node_fatal(actor->node, actor, &error);
}

static int write_snapshot(struct actor *actor, struct session_snapshot *snapshot,
                          const struct snapshot_meta *meta, uint64_t *ret_bytes,
                          struct conclave_error *error)
{
    const struct node *node = actor->node;
    struct writing writing = {
        .actor = actor, .began_us = clock_now_us(), .rested_cpu_us = clock_thread_cpu_us()};
    int code = snapshot_writer_create(node->io, node->options.data_dir, &node->identity, meta,
                                      &writing.writer, error);
    if (code)
        return code;
    code = session_snapshot_write(snapshot, write_piece, &writing);
    *ret_bytes = writing.bytes;
    if (!code)
        return snapshot_writer_finish(writing.writer, error);
    snapshot_writer_abort(writing.writer);
    if (writing.error.code)
        *error = writing.error;
    else
        error_set(error, code, "%s", conclave_code_text(code));
    if (code == CONCLAVE_CORRUPT && !writing.error.code)
        spread_nothing(actor, meta->last.index);
    return code;
}

/* Another one is in the damaged one's place, which must not be kept for one that could be used. */
static int set_aside(const struct node *node, struct snapshot_helper *helper, struct raft_id id,
                     struct conclave_error *error)
{
    struct raft_id damaged = helper->damaged;
    if (damaged.index == 0 || id.index < damaged.index)
        return CONCLAVE_OK;
    helper->damaged = (struct raft_id){0};
    if (raft_id_equal(id, damaged)) /* under its name too */
        return CONCLAVE_OK;
    int code = snapshot_set_aside(node->io, node->options.data_dir, damaged, error);
    return code == CONCLAVE_NOT_FOUND ? CONCLAVE_OK : code;
}

void snapshot_became_durable(struct actor *actor, struct raft_id id)
{
    struct snapshot_helper *helper = actor->state;
    const struct node *node = actor->node;
    if (id.index > helper->newest.index)
        helper->newest = id;
    struct conclave_error error = {0};
    uint64_t oldest_index = 0, needed = atomic_load(&node->progress.becoming);
    if (set_aside(node, helper, id, &error) ||
        snapshot_prune(node->io, node->options.data_dir, needed, &oldest_index, &error)) {
        log_event(&node->logger, CONCLAVE_LOG_WARN, actor->ops->name, "not_removed",
                  "reason=\"%s\"", error.message);
        return; /* the log stays until the next one */
    }
    struct envelope *cut = envelope_create(ENVELOPE_CUT);
    cut->cut_index = oldest_index;
    actor_send(actor, ACTOR_RAFT, &cut);
}

/* Writes it, unless the node is ending; tells the machine in any case. */
static void take_snapshot(struct actor *actor, struct session_snapshot *snapshot,
                          struct snapshot_meta *meta)
{
    struct snapshot_helper *helper = actor->state;
    const struct node *node = actor->node;
    struct conclave_error error = {0};
    uint64_t began_us = clock_now_us(), state_bytes = 0;
    int code = CONCLAVE_STOPPING;
    helper->taking = true;
    if (!helper->quit && !helper->stop)
        code = write_snapshot(actor, snapshot, meta, &state_bytes, &error);
    helper->taking = false;
    unsigned long long index = meta->last.index;
    if (!code) {
        log_event(&node->logger, CONCLAVE_LOG_INFO, actor->ops->name, "taken", "index=%llu ms=%llu",
                  index, (unsigned long long)(clock_now_us() - began_us) / 1000);
        /* Rule 35: durable, so raft may cut its log, and the log-writer the one on disk. */
        struct envelope *taken = envelope_create(ENVELOPE_SNAPSHOT_TAKEN);
        taken->snapshot_id = meta->last;
        actor_send(actor, ACTOR_RAFT, &taken);
        snapshot_became_durable(actor, meta->last);
    } else if (code != CONCLAVE_STOPPING) {
        log_event(&node->logger, code == CONCLAVE_BUSY ? CONCLAVE_LOG_DEBUG : CONCLAVE_LOG_WARN,
                  actor->ops->name, "not_taken", "index=%llu reason=\"%s\"", index, error.message);
    }
    struct envelope *done = envelope_create(ENVELOPE_SNAPSHOT_DONE);
    done->snapshot_done.code = code;
    done->snapshot_done.state_bytes = state_bytes;
    actor_send(actor, ACTOR_MACHINE, &done);
}

/* --- The loop --------------------------------------------------------------------------------- */

/* Takes what has come; a snapshot to take is handed to the caller. */
static struct envelope *take_envelopes(struct actor *actor)
{
    struct snapshot_helper *helper = actor->state;
    for (struct envelope *envelope; (envelope = inbox_receive(&actor->inbox));) {
        switch (envelope->type) {
        case ENVELOPE_SNAPSHOT_BEGUN:
            return envelope;
        case ENVELOPE_STREAM:
            if (!helper->quit)
                gifts_stream(helper, envelope->stream.peer, envelope->stream.wanted,
                             clock_now_us());
            break;
        case ENVELOPE_REPAIR_ASK:
            if (!helper->quit)
                gifts_take(actor, envelope->repair.from, &envelope->repair.frame, clock_now_us());
            break;
        case ENVELOPE_BULK:
            if (!helper->quit)
                streams_take(actor, &envelope->bulk.frame, clock_now_us());
            break;
        case ENVELOPE_SNAPSHOT_SETTLED:
            helper->installing = false;
            break;
        case ENVELOPE_REPAIRED:
            helper->repairing = false;
            /* What came when the log-writer did not listen any more is not known to raft: once
             * more. */
            helper->newest = envelope->snapshot_id;
            break;
        case ENVELOPE_SNAPSHOT_CANCEL:
        case ENVELOPE_QUIT:
            helper->quit = true;
            break;
        case ENVELOPE_STOP:
            helper->stop = true;
            break;
        default:
            ASSERT(!"an envelope that is not for the snapshot helper");
        }
        envelope_destroy(envelope);
    }
    return NULL;
}

static void look_around(struct actor *actor, long wait_ms)
{
    struct snapshot_helper *helper = actor->state;
    if (wait_ms != 0)
        inbox_wait(&actor->inbox, wait_ms);
    struct envelope *begun = take_envelopes(actor);
    ASSERT(!begun || wait_ms != 0); /* the machine has one snapshot at a time */
    if (!helper->quit && !helper->stop)
        (void)streams_send(actor, clock_now_us());
    if (!begun)
        return;
    take_snapshot(actor, begun->snapshot_begun.snapshot, &begun->snapshot_begun.meta);
    envelope_destroy(begun);
}

static int helper_run(struct actor *actor, struct conclave_error *error)
{
    (void)error;
    struct snapshot_helper *helper = actor->state;
    while (!helper->stop) {
        uint64_t now_us = clock_now_us();
        uint64_t due_us = UINT64_MAX;
        if (!helper->quit) {
            uint64_t tend_us = gifts_tend(helper, now_us);
            due_us = streams_send(actor, now_us);
            due_us = tend_us < due_us ? tend_us : due_us;
        }
        long wait_ms = -1;
        if (due_us != UINT64_MAX)
            wait_ms = due_us <= now_us ? 1 : (long)((due_us - now_us) / 1000) + 1;
        look_around(actor, wait_ms);
    }
    return CONCLAVE_OK;
}

static void helper_stop(struct actor *actor)
{
    struct snapshot_helper *helper = actor->state;
    streams_close(helper);
    free(helper->piece);
    free(helper);
}

const struct actor_ops snapshot_helper_ops = {
    .name = "snapshot", .start = helper_start, .run = helper_run, .stop = helper_stop};

/* Snapshots on their way between nodes, piece by piece over the bulk link (Rule 38): what
 * actors/snapshot_flow.h decides is carried out here, with files and frames. */
#include "actors/snapshot_actor.h"

#include "base/clock.h"
#include "base/fatal.h"

/* --- Sending ---------------------------------------------------------------------------------- */

void streams_want(struct snapshot_helper *helper, raft_node_id peer, bool wanted, uint64_t now_us)
{
    uint32_t slot;
    if (wanted)
        flow_want(&helper->sender, peer, now_us);
    else if (flow_unwant(&helper->sender, peer, &slot))
        snapshot_source_close(&helper->sources[slot]);
}

static void ask_machine(struct actor *actor, uint64_t now_us)
{
    struct snapshot_helper *helper = actor->state;
    helper->asked_us = now_us;
    struct envelope *wanted = envelope_create(ENVELOPE_SNAPSHOT_WANTED);
    actor_send(actor, ACTOR_MACHINE, &wanted);
}

/* The newest one is read to its end before it is sent: one that has rotted would be refused there,
 * again and again. Then none is sent until the state machine has made another: the one before it
 * is of no use to a peer of today. The damaged file stays till then, for what its beginning says:
 * a node whose log begins behind its only snapshot does not start without one. */
static int find_whole(struct actor *actor, uint64_t now_us, struct conclave_error *error)
{
    struct snapshot_helper *helper = actor->state;
    const struct node *node = actor->node;
    const char *dir = node->options.data_dir;
    int code = snapshot_verify(node->io, dir, &node->identity, helper->newest, error);
    if (!code)
        return code;
    log_event(&node->logger, CONCLAVE_LOG_ERROR, actor->ops->name, "snapshot_damaged",
              "reason=\"%s\"", error->message);
    helper->damaged = helper->newest;
    ask_machine(actor, now_us);
    return code;
}

/* Begins with the newest snapshot. */
static bool stream_open(struct actor *actor, uint32_t slot, uint64_t now_us)
{
    struct snapshot_helper *helper = actor->state;
    const struct node *node = actor->node;
    struct snapshot_source *source = &helper->sources[slot];
    struct conclave_error error = {0};
    if (find_whole(actor, now_us, &error) ||
        snapshot_source_open(node->io, node->options.data_dir, helper->newest, source, &error)) {
        log_event(&node->logger, CONCLAVE_LOG_WARN, actor->ops->name, "not_sent", "reason=\"%s\"",
                  error.message);
        return false;
    }
    flow_opened(&helper->sender, slot, source->name, helper->newest, source->bytes, now_us);
    log_event(&node->logger, CONCLAVE_LOG_INFO, actor->ops->name, "sending",
              "index=%llu bytes=%llu to=%llu", (unsigned long long)helper->newest.index,
              (unsigned long long)source->bytes,
              (unsigned long long)helper->sender.streams[slot].peer);
    return true;
}

static bool send_piece(struct actor *actor, uint32_t slot, uint64_t bytes, uint64_t now_us)
{
    struct snapshot_helper *helper = actor->state;
    const struct flow_stream *stream = &helper->sender.streams[slot];
    const struct snapshot_source *source = &helper->sources[slot];
    size_t got = 0;
    struct conclave_error error = {0};
    int code = source->io->read(source->io->ctx, source->file, stream->sent, helper->piece, bytes,
                                &got, &error);
    if (code || got == 0) {
        log_event(&actor->node->logger, CONCLAVE_LOG_WARN, actor->ops->name, "not_sent",
                  "reason=\"%s\"", code ? error.message : "the file became shorter");
        return false;
    }
    const struct peer_snapshot piece = {.name = stream->name,
                                        .id = stream->id,
                                        .bytes = stream->bytes,
                                        .offset = stream->sent,
                                        .data = {.data = helper->piece, .bytes = got}};
    struct envelope *send = envelope_create(ENVELOPE_SEND_BULK);
    outgoing_add(&send->send, stream->peer,
                 peer_encode_snapshot(&actor->node->peer_identity, stream->peer, &piece));
    actor_send(actor, ACTOR_RAFT, &send);
    flow_sent(&helper->sender, slot, got, now_us);
    return true;
}

uint64_t streams_send(struct actor *actor, uint64_t now_us)
{
    struct snapshot_helper *helper = actor->state;
    /* It may have failed, of a full disk for one, and nothing else may be due for long. */
    if (helper->damaged.index != 0 && !helper->taking &&
        now_us - helper->asked_us >= helper->sender.limits.again_us)
        ask_machine(actor, now_us);
    for (;;) {
        bool have = helper->newest.index != 0 && helper->damaged.index == 0;
        struct flow_step step = flow_next(&helper->sender, have, now_us);
        bool done = true;
        switch (step.action) {
        case FLOW_WAIT:
            return step.due_us;
        case FLOW_OPEN:
            done = stream_open(actor, step.slot, now_us);
            break;
        case FLOW_SEND:
            done = send_piece(actor, step.slot, step.bytes, now_us);
            break;
        case FLOW_CLOSE:
            snapshot_source_close(&helper->sources[step.slot]);
            flow_closed(&helper->sender, step.slot, now_us);
            break;
        }
        if (!done) {
            snapshot_source_close(&helper->sources[step.slot]);
            flow_failed(&helper->sender, step.slot, now_us);
        }
    }
}

/* --- Receiving -------------------------------------------------------------------------------- */

static void not_received(struct actor *actor, const struct conclave_error *error)
{
    log_event(&actor->node->logger, CONCLAVE_LOG_WARN, actor->ops->name, "not_received",
              "reason=\"%s\"", error->message);
}

static void part_close(struct snapshot_helper *helper)
{
    snapshot_part_close(helper->part);
    helper->part = NULL;
    helper->receiving = (struct flow_part){0};
}

/* The file is whole: verified and durable, it goes to raft. False: it is not valid. */
static bool finish_part(struct actor *actor)
{
    struct snapshot_helper *helper = actor->state;
    struct conclave_error error = {0};
    struct snapshot_meta meta = {0};
    int code = snapshot_part_finish(helper->part, &actor->node->identity, &meta, &error);
    helper->part = NULL; /* freed either way */
    part_close(helper);
    if (code) {
        not_received(actor, &error);
        return code != CONCLAVE_CORRUPT;
    }
    log_event(&actor->node->logger, CONCLAVE_LOG_INFO, actor->ops->name, "received", "index=%llu",
              (unsigned long long)meta.last.index);
    struct envelope *received = envelope_create(ENVELOPE_SNAPSHOT_RECEIVED);
    received->snapshot = (struct raft_snapshot){.last = meta.last,
                                                .configuration_index = meta.configuration_index,
                                                .configuration = meta.configuration};
    actor_send(actor, helper->repairing ? ACTOR_LOG_WRITER : ACTOR_RAFT, &received);
    helper->installing = !helper->repairing; /* raft says when it is over */
    snapshot_became_durable(actor, meta.last);
    return true;
}

/* Opens the part that the piece belongs to. */
static bool part_open(struct actor *actor, const struct peer_snapshot *piece)
{
    struct snapshot_helper *helper = actor->state;
    part_close(helper);
    struct conclave_error error = {0};
    if (snapshot_part_open(actor->node->io, actor->node->options.data_dir, piece->name,
                           piece->bytes, &helper->part, &error)) {
        not_received(actor, &error);
        return false;
    }
    flow_part_opened(&helper->receiving, piece, snapshot_part_offset(helper->part));
    return true;
}

/* The piece's part is open: takes what follows directly. *ret_bad: it is whole, and not valid. */
static bool part_take(struct actor *actor, const struct peer_snapshot *piece, uint64_t now_us,
                      bool *ret_bad)
{
    struct snapshot_helper *helper = actor->state;
    struct conclave_error error = {0};
    if (flow_part_follows(&helper->receiving, piece, now_us) &&
        snapshot_part_add(helper->part, piece->data.data, piece->data.bytes, &error)) {
        not_received(actor, &error);
        part_close(helper);
        return false;
    }
    helper->receiving.offset = snapshot_part_offset(helper->part);
    if (flow_part_whole(&helper->receiving))
        *ret_bad = !finish_part(actor);
    return true;
}

static void take_piece(struct actor *actor, const struct peer_frame *frame, uint64_t now_us)
{
    struct snapshot_helper *helper = actor->state;
    const struct peer_snapshot *piece = &frame->snapshot;
    enum flow_verdict verdict = flow_judge(&helper->receiving, &helper->sender.limits,
                                           helper->newest.index, helper->installing, piece, now_us);
    if (verdict == FLOW_BUSY || (verdict == FLOW_BEGIN && !part_open(actor, piece)))
        return;
    bool bad = false;
    if (verdict != FLOW_HAVE && !part_take(actor, piece, now_us, &bad))
        return;
    const struct peer_snapshot ack =
        flow_answer(&helper->receiving, helper->newest.index, bad, piece);
    raft_node_id to = frame->from.node_id;
    struct envelope *send = envelope_create(ENVELOPE_SEND_BULK);
    outgoing_add(&send->send, to, peer_encode_snapshot_ack(&actor->node->peer_identity, to, &ack));
    actor_send(actor, ACTOR_RAFT, &send);
}

void streams_take(struct actor *actor, const struct peer_frame *frame, uint64_t now_us)
{
    struct snapshot_helper *helper = actor->state;
    if (frame->type == PEER_FRAME_SNAPSHOT) {
        take_piece(actor, frame, now_us);
        return;
    }
    if (frame->snapshot.bad)
        log_event(&actor->node->logger, CONCLAVE_LOG_WARN, actor->ops->name, "refused",
                  "index=%llu by=%llu", (unsigned long long)frame->snapshot.id.index,
                  (unsigned long long)frame->from.node_id);
    flow_take_ack(&helper->sender, frame->from.node_id, &frame->snapshot, now_us);
}

void streams_close(struct snapshot_helper *helper)
{
    for (uint32_t i = 0; i < FLOW_STREAMS_MAX; i++)
        snapshot_source_close(&helper->sources[i]);
    part_close(helper);
}

#include "tests/sim/world.h"

#include "base/fatal.h"

#include <string.h>

enum { PIECE_OPERATIONS = 6 };

/* --- The bulk network ------------------------------------------------------------------------- */

static void bulk_queue(struct world *world, struct sim_event event)
{
    const struct knobs *knobs = &world->knobs;
    uint64_t delay = world_draw(world, knobs->network_us_min, knobs->network_us_max);
    if (world_fault(world, SIM_FAULT_DELAY))
        delay += world_draw(world, 0, knobs->spike_us_max);
    world_push(world, delay, event);
}

/* Loses, repeats and delays like the other one. Takes over the frame. */
static void bulk_send(struct world *world, const struct node *node, raft_node_id to_id,
                      struct buf *frame)
{
    uint32_t from = world_index(world, node);
    uint32_t to = check_find(&world->check, to_id);
    ASSERT(to < world->node_count);
    if (world->cut[from][to] || world_fault(world, SIM_FAULT_LOSS)) {
        report_mark(&world->report, SIM_MARK_PIECE_LOST);
        buf_unref(frame);
        return;
    }
    struct sim_event event = {.kind = SIM_BULK, .node = to, .b = from, .ptr = frame};
    if (world_fault(world, SIM_FAULT_DUPLICATE)) {
        buf_ref(frame);
        bulk_queue(world, event);
    }
    bulk_queue(world, event);
}

static struct peer_identity identity_of(const struct node *node)
{
    return (struct peer_identity){.cluster_id = node->identity.cluster_id,
                                  .node_id = node->identity.node_id,
                                  .incarnation = node->identity.incarnation};
}

static void record(struct world *world, const struct node *node, enum record_kind kind,
                   raft_node_id peer, const struct peer_snapshot *piece)
{
    report_event(&world->report,
                 (struct record){.at_us = world->now_us,
                                 .kind = kind,
                                 .node = world_index(world, node),
                                 .v = {peer, piece->id.index, piece->offset, piece->data.bytes,
                                       piece->bytes, piece->done}});
}

/* --- Sending ---------------------------------------------------------------------------------- */

static void wake_at(struct world *world, struct node *node, uint64_t due_us)
{
    struct snapshots *snapshots = &node->snapshots;
    if (due_us == UINT64_MAX)
        return;
    uint64_t at_us = node_world_time(node, due_us);
    if (at_us < world->now_us)
        at_us = world->now_us;
    if (at_us >= snapshots->stream_at_us)
        return;
    snapshots->stream_at_us = at_us;
    world_push(world, at_us - world->now_us,
               (struct sim_event){.kind = SIM_STREAM,
                                  .node = world_index(world, node),
                                  .incarnation = node->incarnation});
}

/* As machine_snapshot_want. */
static void ask_machine(struct world *world, struct node *node, uint64_t now_us)
{
    struct snapshots *snapshots = &node->snapshots;
    snapshots->asked_us = now_us;
    snapshots->wanted = !snapshots->taking;
    snapshots_take(world, node);
}

/* As actors/snapshot_streams.c: what has rotted is not sent, and a new one is taken at once. */
static bool find_whole(struct world *world, struct node *node, uint64_t now_us)
{
    struct snapshots *snapshots = &node->snapshots;
    struct conclave_error error;
    if (shelf_verify(snapshots->shelf, snapshots->newest, &error) == CONCLAVE_OK)
        return true;
    report_mark(&world->report, SIM_MARK_SNAPSHOT_NOT_SENT);
    snapshots->damaged = snapshots->newest;
    if (disk_storage(node->disk) && world_fault(world, SIM_FAULT_DISK_FULL))
        storage_fill_up(disk_storage(node->disk)); /* what is to be in its place does not fit */
    ask_machine(world, node, now_us);
    return false;
}

static bool stream_open(struct world *world, struct node *node, uint32_t slot, uint64_t now_us)
{
    struct snapshots *snapshots = &node->snapshots;
    struct shelf_source *source = &snapshots->sources[slot];
    struct conclave_error error;
    if (!find_whole(world, node, now_us) ||
        shelf_source_open(snapshots->shelf, snapshots->newest, source, &error) != CONCLAVE_OK)
        return false;
    flow_opened(&snapshots->sender, slot, source->name, snapshots->newest, source->bytes, now_us);
    report_mark(&world->report, SIM_MARK_STREAM);
    /* Now that it has been looked at. */
    if (world_fault(world, SIM_FAULT_ROT_SNAPSHOT) && snapshots_rot(world, node))
        report_mark(&world->report, SIM_MARK_STREAM_ROTTEN);
    return true;
}

static bool stream_piece(struct world *world, struct node *node, const struct flow_step *step,
                         uint64_t now_us)
{
    struct snapshots *snapshots = &node->snapshots;
    const struct flow_stream *stream = &snapshots->sender.streams[step->slot];
    uint8_t data[SIM_CHUNK_BYTES_MAX];
    size_t got = 0;
    struct conclave_error error;
    ASSERT(step->bytes <= sizeof data);
    if (shelf_source_read(&snapshots->sources[step->slot], stream->sent, data, step->bytes, &got,
                          &error) != CONCLAVE_OK ||
        got == 0)
        return false;
    struct peer_snapshot piece = {.name = stream->name,
                                  .id = stream->id,
                                  .bytes = stream->bytes,
                                  .offset = stream->sent,
                                  .data = {data, got}};
    check_piece_sent(&world->check, world_index(world, node), &snapshots->pieces,
                     &snapshots->sender.limits, stream, got, now_us);
    record(world, node, RECORD_PIECE, stream->peer, &piece);
    struct peer_identity self = identity_of(node);
    bulk_send(world, node, stream->peer, peer_encode_snapshot(&self, stream->peer, &piece));
    flow_sent(&snapshots->sender, step->slot, got, now_us);
    return true;
}

static void streams_send(struct world *world, struct node *node)
{
    struct snapshots *snapshots = &node->snapshots;
    uint64_t now_us = node_clock(world, node);
    if (snapshots->damaged.index != 0 && !snapshots->taking &&
        now_us - snapshots->asked_us >= snapshots->sender.limits.again_us) {
        report_mark(&world->report, SIM_MARK_SNAPSHOT_ASKED_AGAIN);
        ask_machine(world, node, now_us);
    }
    while (!world->check.failed) {
        bool have = snapshots->newest.index != 0 && snapshots->damaged.index == 0;
        struct flow_step step = flow_next(&snapshots->sender, have, now_us);
        bool done = true;
        if (step.action == FLOW_WAIT) {
            wake_at(world, node, step.due_us);
            return;
        }
        if (step.action == FLOW_OPEN)
            done = stream_open(world, node, step.slot, now_us);
        else if (step.action == FLOW_SEND)
            done = stream_piece(world, node, &step, now_us);
        if (step.action == FLOW_CLOSE || !done)
            shelf_source_close(&snapshots->sources[step.slot]);
        if (step.action == FLOW_CLOSE)
            flow_closed(&snapshots->sender, step.slot, now_us);
        if (!done)
            flow_failed(&snapshots->sender, step.slot, now_us);
    }
}

void streams_event(struct world *world, struct node *node)
{
    node->snapshots.stream_at_us = UINT64_MAX;
    streams_send(world, node);
}

void streams_update(struct world *world, struct node *node)
{
    struct snapshots *snapshots = &node->snapshots;
    uint64_t now_us = node_clock(world, node);
    uint32_t wanted = 0;
    if (snapshots->handed && !raft_is_installing(node->raft))
        snapshots->handed = snapshots->installing = false;
    bool leads = raft_role(node->raft) == RAFT_LEADER;
    if (!leads && !snapshots->sending)
        return;
    for (uint32_t i = 0; i < world->node_count; i++) {
        struct raft_peer_view view;
        uint32_t slot;
        if (&world->nodes[i] == node)
            continue;
        if (leads && raft_peer_view(node->raft, world->ids[i], &view) && view.needs_snapshot) {
            wanted++;
            flow_want(&snapshots->sender, world->ids[i], now_us);
        } else if (flow_unwant(&snapshots->sender, world->ids[i], &slot)) {
            if (snapshots->sources[slot].bytes > 0 && !leads)
                report_mark(&world->report, SIM_MARK_STREAM_DEPOSED);
            shelf_source_close(&snapshots->sources[slot]);
        }
    }
    if (wanted > 1)
        report_mark(&world->report, SIM_MARK_STREAMS);
    snapshots->sending = wanted > 0;
    if (wanted > 0)
        streams_send(world, node);
}

/* --- Receiving -------------------------------------------------------------------------------- */

static bool part_open(struct world *world, struct node *node, const struct peer_snapshot *piece)
{
    struct snapshots *snapshots = &node->snapshots;
    struct conclave_error error;
    if (snapshots->receiving.open)
        report_mark(&world->report, SIM_MARK_PART_REPLACED);
    shelf_part_close(snapshots->shelf);
    snapshots->receiving = (struct flow_part){0};
    uint64_t offset = 0;
    if (shelf_part_open(snapshots->shelf, piece->name, piece->bytes, &offset, &error) !=
        CONCLAVE_OK)
        return false;
    flow_part_opened(&snapshots->receiving, piece, offset);
    check_part_opened(&world->check, world_index(world, node), &snapshots->pieces, piece->name,
                      offset);
    if (offset > 0)
        report_mark(&world->report, SIM_MARK_PART_RESUMED);
    if (!world->calm && knobs_chance(&world->prng, world->knobs.chance[SIM_FAULT_ALTER]))
        audit_alter(world, node); /* just before it becomes what is right */
    return true;
}

/* The part is whole. *ret_bad: and not valid. False: the node died of it. */
static bool part_finish(struct world *world, struct node *node, bool *ret_bad)
{
    struct snapshots *snapshots = &node->snapshots;
    struct storage *storage = disk_storage(node->disk);
    struct snapshot_meta meta = {0};
    struct conclave_error error;
    bool doomed = snapshots_doom(world, node, PIECE_OPERATIONS, SNAPSHOTS_CHANGES);
    uint64_t name = snapshots->receiving.name;
    int code = shelf_part_finish(snapshots->shelf, &meta, &error);
    check_part_ended(&snapshots->pieces, name, code == CONCLAVE_CORRUPT);
    if (storage)
        storage_fail(storage, 0);
    snapshots->receiving = (struct flow_part){0};
    struct raft_snapshot snapshot = {.last = meta.last,
                                     .configuration_index = meta.configuration_index,
                                     .configuration = meta.configuration};
    if (code == CONCLAVE_OK) {
        check_snapshot_durable(&world->check, world_index(world, node), &snapshot, false);
        check_snapshot_synced(&world->check, world_index(world, node), meta.last,
                              shelf_is_synced(snapshots->shelf, meta.last));
    }
    if (code == CONCLAVE_OK && !doomed)
        check_snapshot_whole(&world->check, world_index(world, node), meta.last,
                             shelf_verify(snapshots->shelf, meta.last, &error) == CONCLAVE_OK);
    report_mark(&world->report, code == CONCLAVE_OK ? SIM_MARK_RECEIVED : SIM_MARK_RECEIVED_BAD);
    *ret_bad = code == CONCLAVE_CORRUPT;
    if (doomed || world->check.failed || code != CONCLAVE_OK) {
        snapshot_meta_clear(&meta);
        if (doomed)
            faults_crash(world, node);
        return !doomed && !world->check.failed;
    }
    snapshots->installing = true;
    node_give(world, node,
              (struct raft_event){.type = RAFT_EVENT_SNAPSHOT_RECEIVED,
                                  .snapshot_received = snapshot}); /* the reference moves */
    return snapshots_durable(world, node, snapshot.last);
}

/* The part is open. False: there is no answer, or nobody to give it. */
static bool part_take(struct world *world, struct node *node, const struct peer_snapshot *piece,
                      uint64_t now_us, bool *ret_bad)
{
    struct snapshots *snapshots = &node->snapshots;
    struct flow_part *part = &snapshots->receiving;
    struct storage *storage = disk_storage(node->disk);
    struct conclave_error error;
    if (flow_part_follows(part, piece, now_us)) {
        bool doomed = snapshots_doom(world, node, PIECE_OPERATIONS, 0);
        int code = shelf_part_add(snapshots->shelf, piece->data, &error);
        if (storage)
            storage_fail(storage, 0);
        if (doomed) {
            faults_crash(world, node);
            return false;
        }
        if (code != CONCLAVE_OK) {
            shelf_part_close(snapshots->shelf);
            *part = (struct flow_part){0};
            return false;
        }
        part->offset += piece->data.bytes;
        world->bytes_received += piece->data.bytes;
    }
    return !flow_part_whole(part) || part_finish(world, node, ret_bad);
}

static void take_piece(struct world *world, struct node *node, uint64_t from,
                       const struct peer_snapshot *piece)
{
    struct snapshots *snapshots = &node->snapshots;
    uint64_t now_us = node_clock(world, node);
    enum flow_verdict verdict =
        flow_judge(&snapshots->receiving, &snapshots->sender.limits, snapshots->newest.index,
                   snapshots->installing, piece, now_us);
    check_piece_judged(&world->check, world_index(world, node), &snapshots->sender.limits,
                       &snapshots->receiving, snapshots->newest.index, snapshots->installing, piece,
                       now_us, verdict);
    if (verdict == FLOW_BUSY && snapshots->installing)
        report_mark(&world->report, SIM_MARK_INSTALL_BUSY);
    if (verdict == FLOW_BUSY || (verdict == FLOW_BEGIN && !part_open(world, node, piece)))
        return;
    uint64_t sender = from << 32 | world->nodes[from].incarnation;
    if (verdict == FLOW_GOES_ON && sender != snapshots->part_from)
        report_mark(&world->report, SIM_MARK_PART_MOVED);
    if (verdict != FLOW_HAVE)
        snapshots->part_from = sender;
    bool bad = false;
    if (verdict != FLOW_HAVE && !part_take(world, node, piece, now_us, &bad))
        return;
    struct peer_snapshot ack =
        flow_answer(&snapshots->receiving, snapshots->newest.index, bad, piece);
    check_piece_answered(&world->check, world_index(world, node), &snapshots->receiving,
                         snapshots->newest.index, bad, piece, &ack);
    struct peer_identity self = identity_of(node);
    raft_node_id to = world->ids[from];
    record(world, node, RECORD_PIECE_ACK, to, &ack);
    bulk_send(world, node, to, peer_encode_snapshot_ack(&self, to, &ack));
}

static void take_answer(struct world *world, struct node *node, raft_node_id from,
                        const struct peer_snapshot *ack)
{
    struct flow_sender *sender = &node->snapshots.sender;
    if (ack->bad)
        report_mark(&world->report, SIM_MARK_STREAM_REFUSED);
    const struct flow_stream *stream = flow_stream_of(sender, from);
    struct flow_stream before = stream ? *stream : (struct flow_stream){0};
    flow_take_ack(sender, from, ack, node_clock(world, node));
    check_piece_acked(&world->check, world_index(world, node), &before, stream, ack);
    streams_send(world, node);
}

static bool frame_fits(struct world *world, const struct sim_event *event,
                       const struct peer_frame *frame)
{
    const struct node *from = &world->nodes[event->b];
    if ((frame->type == PEER_FRAME_SNAPSHOT || frame->type == PEER_FRAME_SNAPSHOT_ACK) &&
        frame->from.node_id == from->id && frame->to == world->nodes[event->node].id &&
        frame->from.incarnation == from->identity.incarnation)
        return true;
    check_fail(&world->check, "frames arrive as they were sent",
               "n%u reads another piece of a snapshot than was sent", event->node + 1);
    return false;
}

void streams_deliver(struct world *world, const struct sim_event *event)
{
    struct node *node = &world->nodes[event->node];
    if (node->up && node->paused_until_us > world->now_us) {
        world_push(world, node->paused_until_us - world->now_us, *event);
        return;
    }
    struct buf *frame = event->ptr;
    struct peer_frame decoded;
    if (!node->up) {
        report_mark(&world->report, SIM_MARK_DEAD_LETTER);
    } else if (peer_decode(frame, &decoded) != CONCLAVE_OK) {
        check_fail(&world->check, "frames arrive as they were sent", "n%u refuses a frame",
                   event->node + 1);
    } else if (frame_fits(world, event, &decoded)) {
        const struct peer_snapshot *piece = &decoded.snapshot;
        if (decoded.type == PEER_FRAME_SNAPSHOT &&
            piece->offset + piece->data.bytes == piece->bytes && holds_last_piece(world, *event))
            return;
        if (decoded.type == PEER_FRAME_SNAPSHOT)
            take_piece(world, node, event->b, &decoded.snapshot);
        else
            take_answer(world, node, decoded.from.node_id, &decoded.snapshot);
    }
    buf_unref(frame);
}

void streams_crash(struct world *world, struct node *node)
{
    struct snapshots *snapshots = &node->snapshots;
    for (uint32_t i = 0; i < FLOW_STREAMS_MAX; i++) {
        if (snapshots->sender.streams[i].open && snapshots->sender.streams[i].acked > 0)
            report_mark(&world->report, SIM_MARK_STREAM_CRASHED);
        shelf_source_close(&snapshots->sources[i]);
    }
    if (snapshots->receiving.open && snapshots->receiving.offset > 0)
        report_mark(&world->report, SIM_MARK_PART_CRASHED);
    snapshots->sender = (struct flow_sender){.limits = world->knobs.flow};
    snapshots->receiving = (struct flow_part){0};
    snapshots->pieces = (struct check_pieces){0};
    snapshots->stream_at_us = UINT64_MAX;
    snapshots->sending = snapshots->installing = snapshots->handed = false;
}

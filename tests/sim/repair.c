#include "tests/sim/world.h"

#include "base/fatal.h"
#include "codec/peer.h"
#include "tests/sim/storage.h"

#include <string.h>

/* A node whose log is damaged asks the others for what is missing, with the real storage code and
 * real frames, as actors/log_repair.c does it; only that an answer comes at once, and none if a
 * link is cut. Nothing else of the node runs meanwhile: it has no core that could vote. */

enum { ANSWER_BYTES_MAX = 300 };

/* Later by less than an election takes. */
static void look_again(struct world *world, const struct node *node)
{
    world_push(world, world_draw(world, 1, world->knobs.raft.election_timeout_us / 2),
               (struct sim_event){.kind = SIM_REPAIR, .node = world_index(world, node)});
}

/* --- Which damage a cluster survives ---------------------------------------------------------- */

/* Another member has on its disk what is wanted, and is here to give it one day. */
static bool other_holds(const struct world *world, const struct node *node, struct raft_id anchor)
{
    for (uint32_t i = 0; i < world->node_count; i++) {
        const struct node *other = &world->nodes[i];
        if (other != node && other->exists && !other->gone && !other->blank && !other->stopped &&
            !other->refused && (members_committed(world)->members >> i & 1) &&
            disk_holds(other->disk, anchor))
            return true;
    }
    return false;
}

/* No other node is damaged at the same entries, or at those by which they are asked for. */
static bool apart(const struct world *world, const struct node *node, const struct wal_want *want)
{
    for (uint32_t i = 0; i < world->node_count; i++) {
        const struct node *other = &world->nodes[i];
        if (other != node && other->damaged && other->scattered)
            return false;
        if (other != node && other->damaged && other->wants.anchor.index > 0 &&
            other->wants.anchor.index >= want->prev.index &&
            want->anchor.index >= other->wants.prev.index)
            return false;
    }
    return true;
}

bool repair_survives(const struct world *world, const struct node *node)
{
    const struct wal_want *want = &node->wants;
    if (want->anchor.index == 0)
        return true; /* it follows from what stands around it */
    if (world->knobs.snapshot_entries != 0)
        return false; /* the others may have it in a snapshot alone, one day */
    return want->anchor.index <= world->check.oracle.count && apart(world, node, want) &&
           other_holds(world, node, want->anchor);
}

/* --- Asking and answering --------------------------------------------------------------------- */

/* As log_repair_give_past() of actors/log_repair_give.c. */
static void give_past(struct world *world, const struct node *giver, const struct wal_want *want,
                      struct peer_repair *ret)
{
    struct conclave_error error;
    enum wal_supply result = WAL_SUPPLY_COMPACTED;
    int code = storage_past(disk_storage(giver->disk), raft_memory_base(giver->raft), want,
                            ANSWER_BYTES_MAX, &result, &ret->prev, &ret->entries, &error);
    if (code != CONCLAVE_OK && code != CONCLAVE_NOT_FOUND)
        check_fail(&world->check, "a log that is written can be read", "n%u: %s",
                   world_index(world, giver) + 1, error.message);
    ret->result = (enum peer_repair_result)result;
    if (result == WAL_SUPPLY_HERE)
        report_mark(&world->report, SIM_MARK_REPAIR_PAST);
}

/* What a node has for this ask; entries to be cleared. False: it does not answer. */
static bool give(struct world *world, const struct node *giver, const struct peer_repair *ask,
                 struct peer_repair *ret)
{
    struct wal_supplier log = {0};
    const struct wal_want want = {.prev = ask->prev, .last = ask->last, .anchor = ask->anchor};
    if (giver->up) {
        log.log = raft_entries(giver->raft);
        log.base = raft_memory_base(giver->raft);
    } else if (giver->repairing) {
        log = wal_repair_log(storage_repair(disk_storage(giver->disk)));
    } else {
        return false;
    }
    *ret = (struct peer_repair){.number = ask->number};
    ret->result = (enum peer_repair_result)wal_supply_from(&log, &want, ANSWER_BYTES_MAX,
                                                           &ret->prev, &ret->entries);
    if (giver->up && ret->result == PEER_REPAIR_COMPACTED)
        give_past(world, giver, &want, ret);
    return true;
}

static struct peer_identity peer_of(const struct node *node)
{
    return (struct peer_identity){.cluster_id = node->identity.cluster_id,
                                  .node_id = node->identity.node_id,
                                  .incarnation = node->identity.incarnation};
}

static void read_back(struct world *world, struct buf *frame, struct peer_frame *ret)
{
    int code = peer_decode(frame, ret);
    if (code != CONCLAVE_OK)
        check_fail(&world->check, "what is written can be read", "a frame of repair: %d", code);
    buf_unref(frame);
}

/* Asks one node. True if it had something that helps. */
static bool ask_one(struct world *world, struct node *node, const struct node *giver)
{
    struct wal_repair *repair = storage_repair(disk_storage(node->disk));
    struct wal_want want, after;
    struct peer_frame asked = {0}, answered = {0};
    struct peer_repair answer;
    struct conclave_error error;
    const struct peer_identity from = peer_of(node), to = peer_of(giver);
    if (!wal_repair_want(repair, &want))
        return false;
    const struct peer_repair ask = {
        .number = world->tick, .prev = want.prev, .last = want.last, .anchor = want.anchor};
    read_back(world, peer_encode_repair_ask(&from, to.node_id, &ask), &asked);
    if (world->check.failed || !give(world, giver, &asked.repair, &answer))
        return false;
    read_back(world, peer_encode_repair_answer(&to, from.node_id, &answer), &answered);
    raft_runs_clear(&answer.entries);
    bool here = answered.repair.result == PEER_REPAIR_HERE;
    if (here && wal_repair_take(repair, answered.repair.prev, &answered.repair.entries, &error) !=
                    CONCLAVE_OK)
        check_fail(&world->check, "what a peer has fits", "n%u: %s", world_index(world, node) + 1,
                   error.message);
    raft_runs_clear(&answered.repair.entries);
    if (!here || (wal_repair_want(repair, &after) && memcmp(&want, &after, sizeof want) == 0))
        return false;
    report_mark(&world->report,
                giver->up ? SIM_MARK_REPAIR_SERVED : SIM_MARK_REPAIR_SERVED_DAMAGED);
    if (want.anchor.index == 0)
        report_mark(&world->report, SIM_MARK_REPAIR_PROVED);
    return true;
}

/* --- By a snapshot --------------------------------------------------------------------------- */

/* The log around the damage is the committed one. What a snapshot of another does to a log that
 * ends otherwise, which begins anew behind it whatever is missing, is not judged here. Whoever
 * lacks the last entries that are committed has an anchor that is not: this node may be needed for
 * that. Then what was on its disk has to be what the snapshot holds or will hold, up to its last
 * entry. */
static bool agrees(const struct world *world, const struct node *node, const struct wal_want *want,
                   struct raft_id snapshot)
{
    const struct check_log *oracle = &world->check.oracle;
    if (want->anchor.index == 0) /* it is asked for by its checksum just now */
        return false;
    const struct check_entry *entry = check_log_at(oracle, want->anchor.index);
    if (entry)
        return entry->term == want->anchor.term;
    const uint64_t index = snapshot.index > want->last ? snapshot.index : want->last;
    const struct check_entry *shared = check_log_at(oracle, index);
    const struct check_log *disk = &world->check.nodes[world_index(world, node)].disk;
    const struct check_entry *own = check_log_at(disk, index);
    return shared && own && own->chain == shared->chain;
}

/* It is durable here: the log may do without what it holds. */
static void cover(struct node *node, struct raft_id snapshot)
{
    wal_repair_cover(storage_repair(disk_storage(node->disk)), snapshot);
    disk_cover(node->disk, snapshot.index);
}

/* The newest whole one of its own, as actors/log_open.c: also where no entry is wanted, since a log
 * that was mended before may lack what a snapshot holds. */
static void cover_own(struct world *world, struct node *node)
{
    struct snapshot_meta meta = {0};
    struct conclave_error error;
    struct wal_want want;
    uint32_t aside;
    bool wanted = wal_repair_want(storage_repair(disk_storage(node->disk)), &want);
    if (shelf_find(node->snapshots.shelf, true, &meta, &aside, &error) != CONCLAVE_OK)
        check_fail(&world->check, "a snapshot that is needed can be read", "n%u: %s",
                   world_index(world, node) + 1, error.message);
    else if (meta.last.index > 0)
        cover(node, meta.last);
    snapshot_meta_clear(&meta);
    if (wanted && !wal_repair_want(storage_repair(disk_storage(node->disk)), &want))
        report_mark(&world->report, SIM_MARK_REPAIR_COVERED);
}

/* The bytes of the giver's newest, piece by piece into the part of this node; *ret_resumed: into
 * one that was begun before. */
static int carry_pieces(struct world *world, struct node *node, const struct node *giver,
                        struct snapshot_meta *ret, bool *ret_resumed, struct conclave_error *error)
{
    uint8_t data[SIM_CHUNK_BYTES_MAX];
    struct shelf *to = node->snapshots.shelf;
    struct shelf_source source = {0};
    uint64_t offset = 0;
    size_t got = 1;
    int code = shelf_source_open(giver->snapshots.shelf, giver->snapshots.newest, &source, error);
    if (code == CONCLAVE_OK)
        code = shelf_part_open(to, source.name, source.bytes, &offset, error);
    *ret_resumed = offset > 0;
    for (; code == CONCLAVE_OK && got > 0 && offset < source.bytes; offset += got) {
        code = shelf_source_read(&source, offset, data, world->knobs.flow.chunk_bytes, &got, error);
        if (code == CONCLAVE_OK)
            code = shelf_part_add(to, (struct slice){.data = data, .bytes = got}, error);
    }
    shelf_source_close(&source);
    if (code == CONCLAVE_OK)
        return shelf_part_finish(to, ret, error);
    shelf_part_close(to);
    return code;
}

/* What was begun before may have lost something with the power: then from the beginning. */
static int carry(struct world *world, struct node *node, const struct node *giver,
                 struct snapshot_meta *ret, struct conclave_error *error)
{
    bool resumed = false;
    int code = carry_pieces(world, node, giver, ret, &resumed, error);
    if (code == CONCLAVE_CORRUPT && resumed)
        code = carry_pieces(world, node, giver, ret, &resumed, error);
    return code;
}

/* Nobody gave the entries: as actors/snapshot_gifts.c. True if a snapshot came that is of use. */
static bool ask_snapshot(struct world *world, struct node *node, struct node *giver)
{
    struct wal_repair *repair = storage_repair(disk_storage(node->disk));
    struct snapshots *theirs = &giver->snapshots;
    struct wal_want want;
    struct snapshot_meta meta = {0};
    struct conclave_error error;
    if (!giver->up || giver->altered || !wal_repair_want(repair, &want) ||
        !agrees(world, node, &want, theirs->newest))
        return false;
    if (theirs->newest.index < want.anchor.index && !theirs->wanted && !theirs->taking &&
        theirs->configuration && theirs->applied.term > 0) {
        theirs->wanted = true;
        snapshots_take(world, giver);
    }
    if (theirs->newest.index == 0 || theirs->newest.index < want.last ||
        theirs->damaged.index > 0 ||
        shelf_verify(theirs->shelf, theirs->newest, &error) != CONCLAVE_OK)
        return false;
    if (carry(world, node, giver, &meta, &error) != CONCLAVE_OK) {
        check_fail(&world->check, "a whole snapshot can be sent", "n%u: %s",
                   world_index(world, node) + 1, error.message);
        return false;
    }
    const struct raft_snapshot snapshot = {.last = meta.last,
                                           .configuration_index = meta.configuration_index,
                                           .configuration = meta.configuration};
    check_snapshot_durable(&world->check, world_index(world, node), &snapshot, false);
    cover(node, meta.last);
    snapshot_meta_clear(&meta);
    report_mark(&world->report, SIM_MARK_REPAIR_SNAPSHOT);
    return true;
}

/* --- The course of it ------------------------------------------------------------------------- */

void repair_begin(struct world *world, struct node *node)
{
    struct conclave_error error;
    struct storage *storage = disk_storage(node->disk);
    node->wants = (struct wal_want){0};
    if (storage_repair_begin(storage, &error) != CONCLAVE_OK) {
        node->refused = true; /* beyond repair: nobody can help */
        return;
    }
    cover_own(world, node);
    (void)wal_repair_want(storage_repair(storage), &node->wants);
    node->repairing = true;
    look_again(world, node);
}

static void repaired(struct world *world, struct node *node)
{
    struct report *report = &world->report;
    if (node->scattered)
        report_mark(report, SIM_MARK_SCATTER_REPAIRED);
    if (storage_is_anew(disk_storage(node->disk)))
        report_mark(report, SIM_MARK_REPAIR_ANEW);
    node->damaged = node->scattered = false;
    node->wants = (struct wal_want){0};
    report_mark(report, SIM_MARK_REPAIRED);
}

/* Everything is here again. A start then judges the whole log as ever. Logs that have to be written
 * anew are rare, so others are as well; without room, or with the power lost meanwhile. */
static void finish(struct world *world, struct node *node)
{
    struct conclave_error error;
    struct storage *storage = disk_storage(node->disk);
    bool anew = world_draw(world, 0, 2) == 0;
    bool full = anew && world_fault(world, SIM_FAULT_DISK_FULL);
    bool interrupted = !full && world_fault(world, SIM_FAULT_BAD_START);
    if (full)
        storage_fill_up(storage);
    int code = storage_repair_write(storage, interrupted, anew, &error);
    if (full)
        storage_empty(storage);
    if (full && code == CONCLAVE_NO_SPACE) {
        report_mark(&world->report, SIM_MARK_REPAIR_NO_ROOM);
        look_again(world, node);
        return;
    }
    node->repairing = false;
    node->half_mended = code != CONCLAVE_OK;
    if (code != CONCLAVE_OK && !interrupted) {
        check_fail(&world->check, "what a peer has fits", "n%u: %s", world_index(world, node) + 1,
                   error.message);
        return;
    }
    if (code == CONCLAVE_OK)
        repaired(world, node);
    else if (anew)
        report_mark(&world->report, SIM_MARK_REWRITE_CUT);
    node_start(world, node);
}

static uint32_t count_others(const struct world *world, const struct node *node, uint32_t before)
{
    uint32_t others = 0;
    for (uint32_t i = 0; i < before; i++)
        others += &world->nodes[i] != node && world->nodes[i].id != node->id ? 1 : 0;
    return others;
}

/* Stretches that links tell are asked of one after the other. */
static bool is_asked(const struct world *world, const struct node *node, uint32_t other)
{
    struct wal_want want;
    return wal_repair_want(storage_repair(disk_storage(node->disk)), &want) &&
           (want.giver == 0 || want.giver == count_others(world, node, other) + 1);
}

void repair_event(struct world *world, const struct sim_event *event)
{
    struct node *node = &world->nodes[event->node];
    struct wal_want want;
    if (!node->repairing)
        return;
    wal_repair_ask(storage_repair(disk_storage(node->disk)),
                   count_others(world, node, world->node_count));
    bool served = false;
    uint32_t first = (uint32_t)world_draw(world, 0, world->node_count - 1);
    for (uint32_t i = 0; i < world->node_count && !served; i++) {
        uint32_t other = (first + i) % world->node_count;
        const struct node *giver = &world->nodes[other];
        if (giver != node && giver->id != node->id && is_asked(world, node, other) &&
            !world->cut[event->node][other] && !world->cut[other][event->node])
            served = ask_one(world, node, giver);
    }
    if (!served)
        wal_repair_turn(storage_repair(disk_storage(node->disk)));
    for (uint32_t i = 0; i < world->node_count && !served && !world->check.failed; i++) {
        uint32_t other = (first + i) % world->node_count;
        struct node *giver = &world->nodes[other];
        if (giver != node && giver->id != node->id && !world->cut[event->node][other] &&
            !world->cut[other][event->node])
            served = ask_snapshot(world, node, giver);
    }
    if (world->check.failed)
        return;
    if (!wal_repair_want(storage_repair(disk_storage(node->disk)), &want)) {
        finish(world, node);
        return;
    }
    if (!served)
        report_mark(&world->report, SIM_MARK_REPAIR_WAITS);
    look_again(world, node);
}

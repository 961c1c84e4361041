/* Handing leadership over (dissertation, 3.10): the leader takes no more proposals, brings the
 * target's log up to its own, and tells it to campaign at once.
 *
 *     raft_on_transfer, raft_transfer_step (disk) ──> target chosen, proposals refused
 *         target.match == last ──> TIMEOUT_NOW, again with each heartbeat
 *             a newer term ──> follower: done           after T ──> leads on as before
 *
 * The same way a leader whose disk hangs gets rid of its office: its followers acknowledge without
 * it, but it could neither vote nor be counted, and a client's write would wait for ever if one of
 * them fell out. */
#include "raft/internal.h"

#include "base/fatal.h"

/* --- The target ---------------------------------------------------------------------------------
 */

/* A voter that was heard of within T. */
static bool may_lead(const struct raft *raft, const struct raft_progress *peer)
{
    return raft_configuration_is_voter(raft_members(raft), peer->id) && peer->contact_us > 0 &&
           raft->now_us - peer->contact_us < raft->options.election_timeout_us;
}

/* A transfer for the sake of priority is tried when the better node could have led for so many
 * election timeouts without a break: one that comes and goes must not take the lead each time. */
enum { BETTER_FOR_TIMEOUTS = 10 };

uint32_t raft_own_priority(const struct raft *raft)
{
    return raft->disk_full ? 0 : raft->options.priority;
}

/* A voter with a higher priority than this node's that holds all that is committed. */
static bool is_better(const struct raft *raft, const struct raft_progress *peer)
{
    return peer->priority > raft_own_priority(raft) && peer->match >= raft->commit &&
           may_lead(raft, peer);
}

struct raft_progress *raft_best_peer(const struct raft *raft)
{
    struct raft_progress *best = NULL;
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        struct raft_progress *peer = &raft->peers[i];
        if (may_lead(raft, peer) && (!best || peer->match > best->match))
            best = peer;
    }
    return best;
}

static bool has_other_voter(const struct raft *raft)
{
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        if (raft_configuration_is_voter(raft_members(raft), raft->peers[i].id))
            return true;
    }
    return false;
}

static void transfer_begin(struct raft *raft, raft_node_id target, enum raft_transfer_reason why)
{
    ASSERT(raft->role == RAFT_LEADER && target != 0 && target != raft->options.id);
    raft->transfer = (struct raft_transfer){
        .target = target, .deadline_us = raft->now_us + raft->options.election_timeout_us};
    raft_trace(raft, RAFT_TRACE_TRANSFER, target, why);
}

/* --- Asked for ----------------------------------------------------------------------------------
 */

/* Begins the transfer, or says at once why not; the target that was chosen. */
static int transfer_ask(struct raft *raft, raft_node_id target, raft_node_id *ret_target)
{
    if (raft->role != RAFT_LEADER)
        return raft_refusal_code(raft);
    if (raft->transfer_request.waiting || raft->transfer.target != 0)
        return CONCLAVE_BUSY;
    const struct raft_progress *peer = target != 0 ? raft_peer(raft, target) : raft_best_peer(raft);
    if (target != 0 && (!peer || !raft_configuration_is_voter(raft_members(raft), target)))
        return CONCLAVE_INVALID;
    if (!peer)
        return has_other_voter(raft) ? CONCLAVE_UNREACHABLE : CONCLAVE_INVALID;
    if (!may_lead(raft, peer))
        return CONCLAVE_UNREACHABLE;
    *ret_target = peer->id;
    return CONCLAVE_OK;
}

static void transfer_result(struct raft *raft, struct raft_origin origin, int code)
{
    RAFT_LIST_ADD(&raft->output->transfers,
                  (struct raft_transfer_result){.origin = origin, .code = code});
}

void raft_on_transfer(struct raft *raft, struct raft_origin origin, raft_node_id target)
{
    if (raft->role == RAFT_LEADER && target == raft->options.id) {
        transfer_result(raft, origin, CONCLAVE_OK);
        return;
    }
    raft_node_id chosen = 0;
    int code = transfer_ask(raft, target, &chosen);
    if (code != CONCLAVE_OK) {
        transfer_result(raft, origin, code);
        return;
    }
    transfer_begin(raft, chosen, RAFT_TRANSFER_ASKED);
    raft->transfer_request = (struct raft_transfer_request){
        .waiting = true,
        .origin = origin,
        .target = target,
        .deadline_us = raft->transfer.deadline_us + raft->options.election_timeout_us,
    };
}

void raft_transfer_answer(struct raft *raft)
{
    struct raft_transfer_request *request = &raft->transfer_request;
    if (!request->waiting)
        return;
    int code;
    if (raft->role == RAFT_LEADER) {
        /* One under way past the request's time is another: because the disk hangs. */
        if (raft->transfer.target != 0 && raft->now_us < request->deadline_us)
            return;
        code = CONCLAVE_TIMEOUT; /* given up; or this node was elected again since */
    } else if (raft->leader != 0) {
        bool meant = request->target == 0 || raft->leader == request->target;
        code = meant ? CONCLAVE_OK : CONCLAVE_TIMEOUT;
    } else if (raft->now_us >= request->deadline_us) {
        code = CONCLAVE_TIMEOUT;
    } else {
        return;
    }
    request->waiting = false;
    transfer_result(raft, request->origin, code);
}

/* --- Carried out --------------------------------------------------------------------------------
 */

bool raft_disk_stalled(const struct raft *raft)
{
    uint64_t since_us = raft_log_persist_since(&raft->log);
    return since_us != UINT64_MAX && raft->now_us - since_us >= raft->options.disk_stall_us;
}

/* The watchdog: a leader whose disk hangs finds another one, or steps down, so that the others do.
 */
static void watch_disk(struct raft *raft)
{
    if (!raft_disk_stalled(raft)) {
        raft->disk_transfer_tried = false;
        return;
    }
    if (raft->transfer.target != 0)
        return;
    const struct raft_progress *peer = raft_best_peer(raft);
    if (peer && !raft->disk_transfer_tried) {
        raft->disk_transfer_tried = true;
        transfer_begin(raft, peer->id, RAFT_TRANSFER_DISK);
        return;
    }
    if (!has_other_voter(raft))
        return; /* nobody could do better */
    raft_trace(raft, RAFT_TRACE_DISK_STALLED, raft->hard.term, 0);
    raft_become_follower(raft, raft->hard.term, 0);
}

/* Looked at with every step, so with every heartbeat. The highest of those that are better now is
 * waited for, though a lower one has kept up for longer: or the lead would move twice. */
static void watch_priorities(struct raft *raft)
{
    const struct raft_progress *best = NULL;
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        struct raft_progress *peer = &raft->peers[i];
        if (raft->transfer.target != 0 || !is_better(raft, peer)) {
            peer->better_since_us = 0; /* also after one that failed: the next is as far away */
            continue;
        }
        if (peer->better_since_us == 0)
            peer->better_since_us = raft->now_us;
        if (!best || peer->priority > best->priority)
            best = peer;
    }
    if (best && raft->disk_full)
        transfer_begin(raft, best->id, RAFT_TRANSFER_FULL);
    else if (best && raft->now_us - best->better_since_us >=
                         BETTER_FOR_TIMEOUTS * raft->options.election_timeout_us)
        transfer_begin(raft, best->id, RAFT_TRANSFER_PRIORITY);
}

/* Rule 25: with anything less the target could lose the election, or would win it only to replace
 * what this leader has taken. */
static bool holds_all(const struct raft *raft, const struct raft_progress *peer)
{
    return peer->match == raft->log.last.index;
}

void raft_call(struct raft *raft, const struct raft_progress *peer)
{
    const struct raft_member *member = raft_configuration_find(raft_members(raft), peer->id);
    struct raft_message *message =
        raft_message_create(RAFT_TIMEOUT_NOW, raft->options.id, peer->id, raft->hard.term);
    message->timeout_now.incarnation = member ? member->incarnation : 0;
    raft_messages_add(&raft->output->send_now, message);
}

void raft_transfer_step(struct raft *raft)
{
    if (raft->role != RAFT_LEADER)
        return;
    struct raft_transfer *transfer = &raft->transfer;
    const struct raft_progress *peer = raft_peer(raft, transfer->target);
    if (transfer->target != 0 && (!peer || raft->now_us >= transfer->deadline_us)) {
        /* Rule 25: a leader must not refuse proposals for longer than an election would take. */
        raft_trace(raft, RAFT_TRACE_TRANSFER_ENDED, transfer->target, 0);
        *transfer = (struct raft_transfer){0};
    }
    watch_disk(raft);
    if (raft->role == RAFT_LEADER)
        watch_priorities(raft);
    peer = raft->role == RAFT_LEADER ? raft_peer(raft, transfer->target) : NULL;
    if (!peer || !holds_all(raft, peer))
        return;
    if (transfer->sent_us != 0 && raft->now_us < transfer->sent_us + raft->options.heartbeat_us)
        return;
    if (transfer->sent_us == 0)
        raft_trace(raft, RAFT_TRACE_TRANSFER_SENT, transfer->target, 0);
    transfer->sent_us = raft->now_us;
    raft->lease.given_up = true; /* Rule 41: whatever comes of it, it may come late */
    raft_call(raft, peer);
}

uint64_t raft_transfer_deadline(const struct raft *raft)
{
    uint64_t deadline = UINT64_MAX;
    if (raft->transfer_request.waiting)
        deadline = raft->transfer_request.deadline_us;
    if (raft->role != RAFT_LEADER)
        return deadline;
    const struct raft_transfer *transfer = &raft->transfer;
    if (transfer->target != 0) {
        deadline = raft_min(deadline, transfer->deadline_us);
        /* A target that was told once and has lost its last entries since has to fetch them first.
         */
        const struct raft_progress *peer = raft_peer(raft, transfer->target);
        if (transfer->sent_us != 0 && peer && holds_all(raft, peer))
            deadline = raft_min(deadline, transfer->sent_us + raft->options.heartbeat_us);
    } else if (raft_log_persist_since(&raft->log) != UINT64_MAX && has_other_voter(raft)) {
        deadline =
            raft_min(deadline, raft_log_persist_since(&raft->log) + raft->options.disk_stall_us);
    }
    return deadline;
}

/* --- The target's side --------------------------------------------------------------------------
 */

/* A node whose disk hangs would only bring the term up, and so would one that installs a snapshot
 * (Rule 24). */
static bool may_take_over(const struct raft *raft)
{
    return raft->role != RAFT_LEADER &&
           raft_configuration_is_voter(raft_members(raft), raft->options.id) &&
           !raft_disk_stalled(raft) && raft->installing_index == 0;
}

void raft_on_timeout_now(struct raft *raft, const struct raft_message *message)
{
    /* One of an older term is about an office that is gone, and one to another data directory under
     * this id about a log that is. */
    uint64_t meant = message->timeout_now.incarnation;
    if (message->term != raft->hard.term || (meant != 0 && meant != raft->options.incarnation) ||
        !may_take_over(raft))
        return;
    raft->called_term = raft->hard.term;
    raft->called_until_us = raft->now_us + raft->options.election_timeout_us;
    raft_follow_call(raft);
}

void raft_follow_call(struct raft *raft)
{
    if (raft->called_term != raft->hard.term || raft->now_us >= raft->called_until_us ||
        !may_take_over(raft))
        return;
    /* Rule 24: not yet. A leader that was removed calls but once, just when its removal is being
     * applied; one that hands over waits no longer than this. */
    if (raft_configuration_unapplied(raft))
        return;
    /* Rule 21: without a pre-vote, which the others would refuse: they hold to this very leader. */
    raft_campaign_now(raft);
}

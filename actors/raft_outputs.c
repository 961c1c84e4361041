/* Carries the core's outputs to the actors that act on them. */
#include "actors/raft_actor.h"
#include "base/clock.h"
#include "base/fatal.h"

#include <stdlib.h>
#include <string.h>

/* Frames of one list may be made of the one before, so none is sent before all are encoded. */
static void encode_messages(const struct node *node, struct raft_messages *messages,
                            struct outgoing_list *ret)
{
    struct peer_encoded last = {0};
    for (uint32_t i = 0; i < messages->count; i++) {
        const struct raft_message *message = messages->items[i];
        outgoing_add(ret, message->to,
                     peer_encode_raft_after(&node->peer_identity, message, &last));
    }
    raft_messages_clear(messages);
}

static void carry_messages(struct actor *actor)
{
    struct raft_actor *self = actor->state;
    encode_messages(actor->node, &self->output.send_now, &self->sends);
    outgoing_send(&self->sends, self->peers.peers, peers_send);
}

static void carry_persist(struct actor *actor)
{
    struct raft_actor *self = actor->state;
    struct raft_persist *persist = &self->output.persist;
    if (!persist->seq)
        return;
    struct envelope *envelope = envelope_create(ENVELOPE_PERSIST);
    envelope->persist.seq = persist->seq;
    envelope->persist.hard_state_changed = persist->hard_state_changed;
    envelope->persist.hard_state = persist->hard_state;
    envelope->persist.anew = persist->anew;
    trace_runs(&actor->node->trace, &persist->entries, TRACE_QUEUED);
    raft_runs_move(&envelope->persist.entries, &persist->entries);
    envelope->persist.last = persist->last;
    encode_messages(actor->node, &persist->send_after, &envelope->persist.send_after);
    actor_send(actor, ACTOR_LOG_WRITER, &envelope);
}

static void carry_apply(struct actor *actor)
{
    struct raft_actor *self = actor->state;
    if (self->output.install.index) {
        struct envelope *install = envelope_create(ENVELOPE_INSTALL);
        install->snapshot_id = self->output.install;
        uint64_t none = 0; /* it stays, also while the state machine does not look at its inbox */
        (void)atomic_compare_exchange_strong(&actor->node->progress.becoming, &none,
                                             self->output.install.index);
        actor_send(actor, ACTOR_MACHINE, &install);
    }
    if (!self->output.apply.count)
        return;
    struct envelope *envelope = envelope_create(ENVELOPE_APPLY);
    trace_runs(&actor->node->trace, &self->output.apply, TRACE_COMMITTED);
    raft_runs_move(&envelope->apply.entries, &self->output.apply);
    actor_send(actor, ACTOR_MACHINE, &envelope);
}

static void carry_fetches(struct actor *actor)
{
    struct raft_actor *self = actor->state;
    for (uint32_t i = 0; i < self->output.fetches.count; i++) {
        struct envelope *fetch = envelope_create(ENVELOPE_FETCH);
        fetch->fetch = self->output.fetches.items[i];
        actor_send(actor, ACTOR_LOG_READER, &fetch);
    }
    if (!self->output.snapshot_wanted)
        return;
    struct envelope *wanted = envelope_create(ENVELOPE_SNAPSHOT_WANTED);
    actor_send(actor, ACTOR_MACHINE, &wanted);
}

/* What the core still has of its log must be on disk, also where no snapshot needs it. */
static void tell_cut(struct actor *actor)
{
    struct raft_actor *self = actor->state;
    uint64_t base = raft_base(self->raft).index;
    uint64_t index = self->cut_wanted < base ? self->cut_wanted : base;
    if (index <= self->cut_told)
        return;
    self->cut_told = index;
    struct envelope *cut = envelope_create(ENVELOPE_CUT);
    cut->cut_index = index;
    actor_send(actor, ACTOR_LOG_WRITER, &cut);
}

static void tell_stream(struct actor *actor, raft_node_id peer, bool wanted)
{
    struct envelope *stream = envelope_create(ENVELOPE_STREAM);
    stream->stream.peer = peer;
    stream->stream.wanted = wanted;
    actor_send(actor, ACTOR_SNAPSHOT, &stream);
}

/* Tells the snapshot helper which peers are to get a snapshot, and which no more. */
static void tell_streams(struct actor *actor)
{
    struct raft_actor *self = actor->state;
    struct raft_peer_view view;
    for (uint32_t i = 0; i < self->stream_count;) {
        raft_node_id peer = self->streams[i];
        if (raft_peer_view(self->raft, peer, &view) && view.needs_snapshot) {
            i++;
            continue;
        }
        self->streams[i] = self->streams[--self->stream_count];
        tell_stream(actor, peer, false);
    }
    if (raft_role(self->raft) != RAFT_LEADER)
        return;
    const struct raft_configuration *members = raft_configuration(self->raft, NULL);
    for (uint32_t i = 0; i < members->member_count; i++) {
        raft_node_id peer = members->members[i].id;
        if (!raft_peer_view(self->raft, peer, &view) || !view.needs_snapshot)
            continue;
        uint32_t k = 0;
        while (k < self->stream_count && self->streams[k] != peer)
            k++;
        if (k < self->stream_count)
            continue;
        self->streams[self->stream_count++] = peer;
        tell_stream(actor, peer, true);
    }
}

/* Tells it that the next one may come in. */
static void tell_settled(struct actor *actor)
{
    struct raft_actor *self = actor->state;
    if (!self->snapshot_received || raft_is_installing(self->raft))
        return;
    self->snapshot_received = false;
    struct envelope *settled = envelope_create(ENVELOPE_SNAPSHOT_SETTLED);
    actor_send(actor, ACTOR_SNAPSHOT, &settled);
}

static const char *member_name(const struct raft_actor *self, raft_node_id id)
{
    const struct raft_member *member =
        raft_configuration_find(raft_configuration(self->raft, NULL), id);
    return member ? member->name : "none";
}

/* Why there is no other leader, for a person. */
static const char *transfer_text(int code)
{
    switch (code) {
    case CONCLAVE_INVALID:
        return "there is no other voter, or none of that name";
    case CONCLAVE_UNREACHABLE:
        return "it has not answered the leader for an election timeout";
    case CONCLAVE_TIMEOUT:
        return "it did not take the lead within an election timeout";
    default:
        return NULL;
    }
}

static void carry_transfers(struct actor *actor, struct reply_list *replies)
{
    struct raft_actor *self = actor->state;
    for (uint32_t i = 0; i < self->output.transfers.count; i++) {
        const struct raft_transfer_result *result = &self->output.transfers.items[i];
        int code = result->code;
        if (result->origin.client == 0) { /* this node's own, before it stops */
            if (code != CONCLAVE_OK && code != CONCLAVE_BUSY)
                self->handover_deadline_us = 0;
            continue;
        }
        /* A body makes it a verdict: no client tries again by itself. */
        const char *text =
            code == CONCLAVE_OK ? member_name(self, raft_leader(self->raft)) : transfer_text(code);
        struct buf *body = text ? buf_copy(text, strlen(text)) : NULL;
        /* To a client UNREACHABLE is what it could not reach itself. */
        reply_add(replies, result->origin, code == CONCLAVE_UNREACHABLE ? CONCLAVE_TIMEOUT : code,
                  body);
    }
}

static void carry_refusals(struct actor *actor)
{
    struct raft_actor *self = actor->state;
    struct reply_list replies = {0};
    for (uint32_t i = 0; i < self->output.refused.count; i++) {
        const struct raft_refusal *refusal = &self->output.refused.items[i];
        reply_add(&replies, refusal->origin, refusal->code, NULL);
        replies.items[replies.count - 1].text = refusal->why;
    }
    raft_actor_reads_done(actor, &replies);
    carry_transfers(actor, &replies);
    if (!replies.count)
        return;
    struct envelope *envelope = envelope_create(ENVELOPE_REPLY);
    envelope->reply = replies;
    actor_send(actor, ACTOR_NETWORK, &envelope);
}

/* Tells network who leads, before any refusal that points there. */
static void tell_leadership(struct actor *actor)
{
    struct raft_actor *self = actor->state;
    raft_node_id leader = raft_leader(self->raft);
    uint64_t term = raft_hard_state(self->raft).term;
    bool leads = raft_role(self->raft) == RAFT_LEADER;
    if (leader == self->leader && term == self->leader_term && leads == self->leads)
        return;
    self->leader = leader;
    self->leader_term = term;
    self->leads = leads;
    struct envelope *envelope = envelope_create(ENVELOPE_LEADERSHIP);
    envelope->leadership.leader = leader;
    envelope->leadership.term = term;
    envelope->leadership.self = leads;
    actor_send(actor, ACTOR_NETWORK, &envelope);
}

static void tell_members(struct actor *actor)
{
    struct raft_actor *self = actor->state;
    const struct raft_configuration *members = raft_configuration(self->raft, NULL);
    peer_side_set_members(actor, members, clock_now_us());
    struct envelope *envelope = envelope_create(ENVELOPE_MEMBERS);
    envelope->members = mem_alloc(sizeof *envelope->members);
    *envelope->members = *members;
    actor_send(actor, ACTOR_NETWORK, &envelope);
}

static void carry_trace(struct actor *actor, const struct raft_trace *trace)
{
    static const char *const roles[] = {"follower", "precandidate", "candidate", "leader"};
    struct raft_actor *self = actor->state;
    const struct logger *logger = &actor->node->logger;
    const unsigned long long a = trace->a, b = trace->b;
    switch (trace->type) {
    case RAFT_TRACE_ROLE:
        log_event(logger, trace->a == RAFT_LEADER ? CONCLAVE_LOG_INFO : CONCLAVE_LOG_DEBUG, "raft",
                  "role", "role=%s term=%llu", roles[trace->a], b);
        break;
    case RAFT_TRACE_LEADER:
        log_event(logger, CONCLAVE_LOG_INFO, "raft", "leader", "leader=%s term=%llu",
                  member_name(self, trace->a), b);
        break;
    case RAFT_TRACE_CONFIG:
        log_event(logger, CONCLAVE_LOG_INFO, "raft", "configuration", "index=%llu", a);
        tell_members(actor);
        break;
    case RAFT_TRACE_TRUNCATE:
        log_event(logger, CONCLAVE_LOG_INFO, "raft", "log_replaced", "from=%llu to=%llu", a, b);
        break;
    case RAFT_TRACE_REJECTED:
        log_event(logger, CONCLAVE_LOG_DEBUG, "raft", "append_rejected", "peer=%s index=%llu",
                  member_name(self, trace->a), b);
        break;
    case RAFT_TRACE_RESTARTED:
        log_event(logger, CONCLAVE_LOG_INFO, "raft", "peer_restarted", "peer=%s life=%llu",
                  member_name(self, trace->a), b);
        break;
    case RAFT_TRACE_INSTALL:
        log_event(logger, CONCLAVE_LOG_INFO, "raft", "snapshot_installed", "index=%llu term=%llu",
                  a, b);
        break;
    case RAFT_TRACE_QUORUM_LOST:
        log_event(logger, CONCLAVE_LOG_WARN, "raft", "quorum_lost", "term=%llu", a);
        break;
    case RAFT_TRACE_TRANSFER:
        log_event(logger, trace->b == RAFT_TRANSFER_DISK ? CONCLAVE_LOG_WARN : CONCLAVE_LOG_INFO,
                  "raft", "transfer", "target=%s reason=%s", member_name(self, trace->a),
                  trace->b == RAFT_TRANSFER_DISK       ? "disk_stalled"
                  : trace->b == RAFT_TRANSFER_PRIORITY ? "priority"
                  : trace->b == RAFT_TRANSFER_FULL     ? "disk_full"
                                                       : "asked");
        break;
    case RAFT_TRACE_TRANSFER_SENT:
        log_event(logger, CONCLAVE_LOG_DEBUG, "raft", "transfer_sent", "target=%s",
                  member_name(self, trace->a));
        break;
    case RAFT_TRACE_TRANSFER_ENDED:
        log_event(logger, CONCLAVE_LOG_WARN, "raft", "transfer_failed", "target=%s",
                  member_name(self, trace->a));
        break;
    case RAFT_TRACE_DISK_STALLED:
        log_event(logger, CONCLAVE_LOG_WARN, "raft", "disk_stalled", "term=%llu", a);
        break;
    case RAFT_TRACE_PROMOTE:
        log_event(logger, CONCLAVE_LOG_INFO, "raft", "promotes", "learner=%s",
                  member_name(self, trace->a));
        break;
    case RAFT_TRACE_REMOVED:
        log_event(logger, CONCLAVE_LOG_WARN, "raft", "removed",
                  "index=%llu reason=\"this node was removed from its cluster and takes part no "
                  "more: stop it and delete its data directory\"",
                  a);
        break;
    case RAFT_TRACE_UNREADABLE:
        log_event(logger, CONCLAVE_LOG_ERROR, "raft", "log_unreadable",
                  "index=%llu term=%llu reason=\"a peer gets a snapshot in its place; a start of "
                  "this node would find the damage and repair it\"",
                  a, b);
        break;
    case RAFT_TRACE_RETIRED:
        log_event(logger, CONCLAVE_LOG_INFO, "raft", "retired", "term=%llu", a);
        break;
    }
}

static void arm_timer(struct actor *actor)
{
    struct raft_actor *self = actor->state;
    if (!alarm_set(&self->alarm, self->output.deadline_us, clock_now_us()))
        return;
    struct envelope *arm = envelope_create(ENVELOPE_ARM);
    arm->arm.deadline_us = self->alarm.armed_us;
    arm->arm.epoch = self->alarm.epoch;
    actor_send(actor, ACTOR_TIMER, &arm);
}

static void tell_serving(struct actor *actor)
{
    struct raft_actor *self = actor->state;
    if (self->serving_told || !raft_leader(self->raft) || self->full[SPACE_MACHINE] ||
        raft_applied(self->raft) < raft_commit(self->raft) ||
        (raft_role(self->raft) == RAFT_LEADER && !raft_is_serving(self->raft)))
        return;
    self->serving_told = true;
    raft_actor_add(self, RAFT_EVENT_WATCHED)->watched = self->watched; /* from now on */
    struct envelope *serving = envelope_create(ENVELOPE_SERVING);
    mailbox_send(&actor->to_node, &serving);
}

void raft_outputs_carry(struct actor *actor)
{
    struct raft_actor *self = actor->state;
    carry_messages(actor); /* to the peers first: theirs is the longer way to a majority */
    carry_persist(actor);
    carry_apply(actor);
    carry_fetches(actor);
    tell_cut(actor);
    for (uint32_t i = 0; i < self->output.trace.count; i++)
        carry_trace(actor, &self->output.trace.items[i]);
    tell_leadership(actor);
    tell_streams(actor);
    tell_settled(actor);
    carry_refusals(actor);
    raft_actor_reads_begun(actor);
    arm_timer(actor);
    tell_serving(actor);
    raft_output_clear(&self->output);
}

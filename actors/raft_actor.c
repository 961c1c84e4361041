/* The raft actor: the one thread that owns the Raft core and the sockets to the other nodes. It
 * takes everything that is queued or has come as one list of events, steps the core once, and
 * carries the outputs to the other actors and nodes. */
#include "actors/raft_actor.h"

#include "actors/log_repair.h"
#include "base/clock.h"
#include "base/cpu_latency.h"
#include "base/fatal.h"
#include "base/list.h"
#include "base/prng.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How late a follower applies at most while nobody waits for it there: several batches of a busy
 * leader, and no more than its word that they are committed may take anyway. */
enum { APPLY_DELAY_US = 5000 };

/* What no majority needs is sent so many times a heartbeat at most: as late as the word that
 * something is committed. */
enum { APPEND_DELAYS = 50 };

/* Envelopes taken before the core is stepped: what is behind them waits for the next step. */
enum { DRAIN_ENVELOPES_MAX = 1024 };

static int raft_actor_start(struct actor *actor, struct conclave_error *error)
{
    const struct node *node = actor->node;
    struct raft_actor *self = mem_zalloc(sizeof *self);
    actor->state = self;
    int code = peer_side_start(actor, error);
    if (code) {
        actor->state = NULL;
        free(self);
        return code;
    }
    struct raft_options options;
    raft_options_init(&options);
    options.id = node->identity.node_id;
    options.incarnation = node->identity.incarnation;
    options.seed = node->options.seed ? node->options.seed : prng_entropy();
    options.election_timeout_us = (uint64_t)node->options.election_timeout_ms * 1000;
    options.heartbeat_us = (uint64_t)node->options.heartbeat_ms * 1000;
    options.priority = node->options.priority;
    options.leases = node->options.leases;
    options.memory_bytes = node->options.log_memory_bytes;
    options.append_delay_us = options.heartbeat_us / APPEND_DELAYS;
    if (node->kv) /* of a host's own machine nobody knows who waits for it */
        options.apply_delay_us = APPLY_DELAY_US;
    /* No more is kept behind a snapshot than a part of what lies between two. */
    uint64_t trailing = node->options.snapshot_entries / 4;
    if (options.trailing_entries > trailing)
        options.trailing_entries = trailing;
    if (options.trailing_bytes > node->options.snapshot_bytes / 4)
        options.trailing_bytes = node->options.snapshot_bytes / 4;
    self->raft = raft_create(&options);
    alarm_init(&self->alarm);
    awake_init(&self->awake, node->options.keep_awake ? CPU_LATENCY_DEVICE : NULL,
               cpu_latency_wanted_us(CPU_LATENCY_DRIVER));
    return CONCLAVE_OK;
}

struct raft_event *raft_actor_add(struct raft_actor *self, enum raft_event_type type)
{
    LIST_RESERVE(&self->events);
    struct raft_event *event = &self->events.items[self->events.count++];
    memset(event, 0, sizeof *event);
    event->type = type;
    return event;
}

static bool is_full(const struct raft_actor *self)
{
    return self->full[SPACE_LOG] || self->full[SPACE_STORE] || self->full[SPACE_MACHINE];
}

/* The core may be yet to hear of what was found last. */
static uint64_t durable_index(const struct raft_actor *self)
{
    uint64_t known = raft_durable(self->raft).index;
    struct raft_id found = self->durable;
    bool holds = found.index > known && found.index <= raft_last(self->raft).index &&
                 raft_term_at(self->raft, found.index) == found.term;
    return holds ? found.index : known;
}

/* Answered without the state machine, which may be busy for long. */
static void fill_status(struct actor *actor, struct envelope **envelope)
{
    struct raft_actor *self = actor->state;
    const struct node *node = actor->node;
    struct client_status *status = (*envelope)->status.status;
    static const char *const roles[] = {"follower", "precandidate", "candidate", "leader"};
    const struct raft_configuration *configuration = raft_configuration(self->raft, NULL);

    status->cluster_id = node->identity.cluster_id;
    memcpy(status->name, node->identity.name, sizeof status->name);
    status->id = node->identity.node_id;
    enum raft_role role = raft_role(self->raft);
    bool votes = raft_configuration_is_voter(configuration, node->identity.node_id);
    const char *role_text = roles[role];
    const char *refused = peer_side_refused(&self->peers, clock_now_us());
    if (!refused && raft_configuration_was_removed(configuration, node->identity.node_id))
        refused = "removed";
    if (role != RAFT_LEADER && !votes)
        role_text = "learner";
    if (refused && role != RAFT_LEADER)
        role_text = refused;
    snprintf(status->role, sizeof status->role, "%s", role_text);
    status->term = raft_hard_state(self->raft).term;
    const struct raft_member *leader =
        raft_configuration_find(configuration, raft_leader(self->raft));
    if (leader)
        memcpy(status->leader, leader->name, sizeof status->leader);
    status->commit = raft_commit(self->raft);
    status->last_index = raft_last(self->raft).index;
    status->durable_index = durable_index(self);
    status->pid = (uint64_t)getpid();
    status->uptime_ms = (clock_now_us() - node->started_us) / 1000;
    snprintf(status->version, sizeof status->version, "%s", conclave_version());
    memcpy(status->feed, node->feed, sizeof status->feed);
    status->serving = leader && self->serving_told && !refused;
    client_status_members(status, configuration);
    uint64_t applied = atomic_load(&node->progress.applied);
    status->applied = applied > self->applied ? applied : self->applied;
    status->revision = atomic_load(&node->progress.revision);
    status->quota_full = atomic_load(&node->progress.quota);
    status->disk_full = is_full(self);
    peer_audit_status(&self->peers, status);
    actor_send(actor, ACTOR_NETWORK, envelope);
}

static void add_transfer(struct actor *actor, const struct envelope *envelope)
{
    struct raft_actor *self = actor->state;
    const struct raft_configuration *configuration = raft_configuration(self->raft, NULL);
    struct raft_event *event = raft_actor_add(self, RAFT_EVENT_TRANSFER);
    event->transfer.origin = envelope->transfer.origin;
    if (!envelope->transfer.name[0])
        return;
    event->transfer.target = RAFT_NODE_NONE; /* refused there as no voter, or as not its business */
    for (uint32_t i = 0; i < configuration->member_count; i++) {
        if (strcmp(configuration->members[i].name, envelope->transfer.name) == 0)
            event->transfer.target = configuration->members[i].id;
    }
}

/* No event: the core has no part in it. */
void raft_actor_give(struct actor *actor, const struct envelope *ask)
{
    const struct raft_actor *self = actor->state;
    if (!self->stepped) /* it is not known yet what this log holds */
        return;
    const struct wal_supplier log = {.log = raft_entries(self->raft),
                                     .base = raft_memory_base(self->raft)};
    log_repair_give_running(actor, ask, &log);
}

/* Moves what storage recovered. */
static void add_start(struct actor *actor, struct raft_start *start)
{
    struct raft_actor *self = actor->state;
    struct raft_event *event = raft_actor_add(self, RAFT_EVENT_START);
    event->start = *start;
    *start = (struct raft_start){0};
    event->start.members = actor->node->recovered.boot; /* read-only by now */
    self->peers.repairing = false;
    self->applied = event->start.applied_index;
    self->started = true;
    if (is_full(self))
        raft_actor_add(self, RAFT_EVENT_DISK_FULL)->disk_full = true;
    /* Until it serves, which is waited for. */
    raft_actor_add(self, RAFT_EVENT_WATCHED)->watched = true;
}

/* What the state machine has applied since. */
static void look_at_progress(struct actor *actor)
{
    struct raft_actor *self = actor->state;
    uint64_t applied = atomic_load(&actor->node->progress.applied);
    if (!self->started || applied <= self->applied)
        return;
    self->applied = applied;
    raft_actor_add(self, RAFT_EVENT_APPLIED)->applied = applied;
}

/* What is on disk since. Comes before whatever else has come: it was true before that was read. */
static void look_at_durable(struct actor *actor)
{
    struct raft_actor *self = actor->state;
    durable_forgo(&actor->node->durable);
    if (!durable_look(&actor->node->durable, &self->persisted, &self->durable))
        return;
    struct raft_event *event = raft_actor_add(self, RAFT_EVENT_PERSISTED);
    event->persisted.seq = self->persisted;
    event->persisted.last = self->durable;
}

/* The core looks at the time, not at who woke it. */
static void look_at_deadline(struct raft_actor *self, uint64_t now_us)
{
    if (alarm_is_due(&self->alarm, now_us))
        raft_actor_add(self, RAFT_EVENT_TIMEOUT);
}

/* Turns one envelope into events. */
static void take(struct actor *actor, struct envelope **envelope)
{
    struct raft_actor *self = actor->state;
    struct envelope *e = *envelope;
    switch (e->type) {
    case ENVELOPE_START:
        add_start(actor, &e->start);
        break;
    case ENVELOPE_PROPOSED:
        raft_actor_add(self, RAFT_EVENT_PROPOSE)->propose = e->proposed;
        e->proposed = NULL;
        break;
    case ENVELOPE_READ:
        raft_actor_read(actor, &e->read);
        break;
    case ENVELOPE_TRANSFER:
        add_transfer(actor, e);
        break;
    case ENVELOPE_HANDOVER:
        self->handover = HANDOVER_WANTED;
        break;
    case ENVELOPE_SPACE:
        self->full[e->space.of] = e->space.full;
        if (self->started)
            raft_actor_add(self, RAFT_EVENT_DISK_FULL)->disk_full = is_full(self);
        break;
    case ENVELOPE_WATCHED:
        self->watched = e->watched;
        if (self->serving_told)
            raft_actor_add(self, RAFT_EVENT_WATCHED)->watched = e->watched;
        break;
    case ENVELOPE_CHANGE:
        raft_actor_add(self, RAFT_EVENT_CHANGE)->change = e->change;
        e->change = NULL;
        break;
    case ENVELOPE_PERSISTED:
        break; /* looked at with every wake-up */
    case ENVELOPE_APPLIED:
        look_at_progress(actor);
        break;
    case ENVELOPE_SNAPSHOT_TAKEN:
        look_at_progress(actor); /* the core must not hear of a snapshot of what is not applied */
        raft_actor_add(self, RAFT_EVENT_SNAPSHOT_TAKEN)->snapshot_taken = e->snapshot_id;
        break;
    case ENVELOPE_SNAPSHOT_RECEIVED:
        raft_actor_add(self, RAFT_EVENT_SNAPSHOT_RECEIVED)->snapshot_received = e->snapshot;
        e->snapshot = (struct raft_snapshot){0}; /* moved */
        self->snapshot_received = true;
        break;
    case ENVELOPE_CUT:
        self->cut_wanted = e->cut_index > self->cut_wanted ? e->cut_index : self->cut_wanted;
        break;
    case ENVELOPE_FETCHED: {
        struct raft_event *event = raft_actor_add(self, RAFT_EVENT_FETCHED);
        event->fetched.fetch = e->fetched.number;
        raft_runs_move(&event->fetched.entries, &e->fetched.entries);
        break;
    }
    case ENVELOPE_SEND:
        outgoing_send(&e->send, self->peers.peers, peers_send);
        break;
    case ENVELOPE_SEND_BULK:
        outgoing_send(&e->send, self->peers.peers, peers_send_bulk);
        break;
    case ENVELOPE_AUDIT:
        peer_audit_own(actor, e, clock_now_us());
        break;
    case ENVELOPE_FIRED:
        alarm_fired(&self->alarm, e->fired.epoch);
        raft_actor_add(self, RAFT_EVENT_TIMEOUT);
        break;
    case ENVELOPE_STATUS:
        fill_status(actor, envelope);
        break;
    default:
        ASSERT(!"an envelope that is not for raft");
    }
}

static long wait_ms(const struct raft_actor *self)
{
    uint64_t due_us = peer_side_due_us(&self->peers);
    if (self->alarm.near_us < due_us)
        due_us = self->alarm.near_us;
    if (awake_due_us(&self->awake) < due_us)
        due_us = awake_due_us(&self->awake);
    if (self->handover == HANDOVER_RUNNING) {
        if (self->events.count)
            return 0;
        if (self->handover_deadline_us < due_us)
            due_us = self->handover_deadline_us;
    }
    if (due_us == UINT64_MAX)
        return -1;
    uint64_t now_us = clock_now_us();
    return due_us <= now_us ? 0 : (long)((due_us - now_us + 999) / 1000);
}

static void wait_for_work(struct actor *actor)
{
    struct raft_actor *self = actor->state;
    struct source *sources[1 + PEERS_SOURCES_MAX];
    _Static_assert(sizeof sources / sizeof *sources <= SOURCES_MAX, "all of them at once");
    size_t count = 0;
    sources[count++] = &actor->inbox.source;
    count += peers_sources(self->peers.peers, sources + count);
    bool written = self->stepped && raft_awaits_disk(self->raft) &&
                   !durable_want(&actor->node->durable, self->persisted);
    sources_wait(sources, count, written ? 0 : wait_ms(self));
}

static void forward_stop(struct actor *actor)
{
    static const enum actor_id others[] = {ACTOR_TIMER, ACTOR_LOG_WRITER, ACTOR_MACHINE};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct envelope *stop = envelope_create(ENVELOPE_STOP);
        actor_send(actor, others[i], &stop);
    }
}

static int raft_actor_run(struct actor *actor, struct conclave_error *error)
{
    struct raft_actor *self = actor->state;
    for (;;) {
        wait_for_work(actor);
        uint64_t now_us = clock_now_us();
        enum envelope_type ended = 0;
        int taken = 0;
        awake_turn(&self->awake, &actor->node->logger, now_us);
        look_at_durable(actor);
        look_at_deadline(self, now_us);
        for (struct envelope *envelope;
             taken < DRAIN_ENVELOPES_MAX && !self->peers.deviates_at &&
             !actor->inbox.source.quiet && (envelope = inbox_receive(&actor->inbox));
             taken++) {
            if (envelope->type == ENVELOPE_STOP || envelope->type == ENVELOPE_QUIT)
                ended = envelope->type;
            else
                take(actor, &envelope);
            envelope_destroy(envelope);
            if (ended)
                break;
        }
        if (ended == ENVELOPE_QUIT)
            return CONCLAVE_OK;
        peer_side_receive(actor, now_us);
        int code = peer_audit_verdict(&self->peers, error);
        if (code)
            return code; /* before anything more is confirmed */
        if (self->events.count) {
            look_at_progress(actor);
            raft_actor_keep_fresh(self, now_us);
            code = raft_step(self->raft, clock_now_us(), self->events.items, self->events.count,
                             &self->output);
            self->events.count = 0;
            self->stepped = self->started;
            if (code) {
                *error = self->output.error;
                return code;
            }
            raft_outputs_carry(actor);
        }
        peer_side_tend(actor, now_us);
        if (raft_actor_hands_over(self))
            raft_actor_hand_over(actor);
        if (ended == ENVELOPE_STOP) {
            forward_stop(actor); /* behind the last PERSIST and APPLY */
            return CONCLAVE_OK;
        }
    }
}

static void discard_event(struct raft_event *event)
{
    switch (event->type) {
    case RAFT_EVENT_START:
        raft_runs_clear(&event->start.entries);
        buf_unref(event->start.snapshot.configuration);
        break;
    case RAFT_EVENT_SNAPSHOT_RECEIVED:
        buf_unref(event->snapshot_received.configuration);
        break;
    case RAFT_EVENT_RECEIVE:
        raft_message_destroy(event->receive);
        break;
    case RAFT_EVENT_PROPOSE:
        raft_batch_unref(event->propose);
        break;
    case RAFT_EVENT_CHANGE:
        free(event->change);
        break;
    case RAFT_EVENT_FETCHED:
        raft_runs_clear(&event->fetched.entries);
        break;
    default:
        break;
    }
}

static void raft_actor_stop(struct actor *actor)
{
    struct raft_actor *self = actor->state;
    for (uint32_t i = 0; i < self->events.count; i++)
        discard_event(&self->events.items[i]);
    free(self->events.items);
    raft_actor_reads_clear(self);
    outgoing_clear(&self->sends);
    raft_output_deinit(&self->output);
    raft_destroy(self->raft);
    awake_deinit(&self->awake);
    peers_close(self->peers.peers); /* the log-writer may still be on its way to send */
    free(self);
}

const struct actor_ops raft_actor_ops = {.name = "raft",
                                         .turn = TURN_FIRST,
                                         .start = raft_actor_start,
                                         .run = raft_actor_run,
                                         .stop = raft_actor_stop};

#include "tests/sim/check.h"

#include "base/fatal.h"
#include "base/list.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void check_init(struct check *check, const struct raft_options *options, const raft_node_id *ids,
                uint32_t node_count, struct ops *ops)
{
    ASSERT(node_count <= SIM_NODES_MAX);
    *check = (struct check){.options = *options, .node_count = node_count, .ops = ops};
    for (uint32_t i = 0; i < node_count; i++)
        check->nodes[i].id = ids[i];
    LIST_RESERVE(&check->configs);
    check->configs.items[check->configs.count++] = (struct check_config){0};
}

void check_add_node(struct check *check, raft_node_id id)
{
    ASSERT(check->node_count < SIM_NODES_MAX);
    check->nodes[check->node_count++].id = id;
}

void check_deinit(struct check *check)
{
    for (uint32_t i = 0; i < check->node_count; i++) {
        free(check->nodes[i].memory.entries);
        free(check->nodes[i].disk.entries);
        free(check->nodes[i].heard.items);
        for (uint32_t j = 0; j < check->node_count; j++)
            free(check->nodes[i].flows[j].appends.items);
    }
    free(check->oracle.entries);
    free(check->committed_in);
    free(check->answers);
    free(check->configs.items);
    map_deinit(&check->config_numbers);
    map_deinit(&check->chains);
    map_deinit(&check->stores);
    map_deinit(&check->leaders);
    map_deinit(&check->votes);
    map_deinit(&check->asked);
}

void check_fail(struct check *check, const char *invariant, const char *format, ...)
{
    if (check->failed)
        return;
    check->failed = true;
    snprintf(check->invariant, sizeof check->invariant, "%s", invariant);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(check->text, sizeof check->text, format, arguments);
    va_end(arguments);
}

uint32_t check_find(const struct check *check, raft_node_id id)
{
    uint32_t i = 0;
    while (i < check->node_count && check->nodes[i].id != id)
        i++;
    return i;
}

const char *check_name(const struct check *check, raft_node_id id, char name[8])
{
    uint32_t node = check_find(check, id);
    if (id == 0)
        snprintf(name, 8, "nobody");
    else if (node == check->node_count)
        snprintf(name, 8, "?");
    else
        snprintf(name, 8, "n%u", (node + 1) & 0xff);
    return name;
}

/* --- Logs ------------------------------------------------------------------------------------- */

static void log_push(struct check_log *log, struct check_entry entry)
{
    if (log->count == log->capacity) {
        log->capacity = log->capacity ? log->capacity * 2 : 64;
        log->entries = mem_realloc(log->entries, log->capacity * sizeof *log->entries);
    }
    log->entries[log->count++] = entry;
}

void check_log_put(struct check *check, struct check_log *log, const struct raft_entry *entry)
{
    ASSERT(entry->id.index >= 1 && entry->id.index <= log->count + 1);
    log->count = entry->id.index - 1;
    const struct check_entry *before = check_log_at(log, log->count);
    struct check_entry put = {.term = entry->id.term,
                              .bytes_through =
                                  check_log_bytes(log, log->count) + entry->payload.bytes};
    uint64_t hash = hash_mix(before ? before->chain : 0, entry->id.term);
    hash = hash_mix(hash, ((uint64_t)entry->kind << 32) | entry->payload.bytes);
    size_t at = 0;
    for (; at + sizeof(uint64_t) <= entry->payload.bytes; at += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, entry->payload.data + at, sizeof word);
        hash = hash_mix(hash, word);
    }
    for (; at < entry->payload.bytes; at++)
        hash = hash_mix(hash, entry->payload.data[at]);
    put.chain = hash;
    put.proposed_through = before ? before->proposed_through : 0;
    if (entry->kind != RAFT_ENTRY_CONFIG)
        put.proposed_through += entry->payload.bytes;
    if ((entry->kind != RAFT_ENTRY_COMMAND && entry->kind != RAFT_ENTRY_SESSION) ||
        !command_decode(entry->payload, &put.op))
        put.op = 0;
    if (check->ops && put.op > 0 && put.op <= check->ops->count)
        check->ops->items[put.op].logged = true;
    if (entry->kind == RAFT_ENTRY_CONFIG) {
        put.config = check_config_number(check, entry->payload);
        put.config_at = entry->id.index;
    } else if (before) {
        put.config = before->config;
        put.config_at = before->config_at;
    }
    log_push(log, put);
}

static bool holds_committed(const struct check *check, const struct check_log *log, uint64_t index)
{
    const struct check_entry *own = check_log_at(log, index);
    return own && own->chain == check->oracle.entries[index - 1].chain;
}

/* Up to here the node's disk held what is committed. */
static uint64_t committed_on_disk(const struct check *check, const struct check_node *at)
{
    uint64_t committed =
        at->disk.count < check->oracle.count ? at->disk.count : check->oracle.count;
    /* What the core had replaced before it was committed elsewhere may be gone from the disk too.
     */
    while (committed > 0 && (!holds_committed(check, &at->disk, committed) ||
                             !holds_committed(check, &at->memory, committed)))
        committed--;
    return committed;
}

static void log_copy(const struct check_log *log, uint64_t count, struct check_log *to)
{
    to->count = 0;
    for (uint64_t i = 0; i < count; i++)
        log_push(to, log->entries[i]);
}

static bool is_term_at(const struct check_log *log, struct raft_id id)
{
    const struct check_entry *entry = check_log_at(log, id.index);
    return entry && entry->term == id.term;
}

/* The log that was found has not the snapshot's entry: it ends before that, or holds another one
 * there. So the core begins its log anew behind the snapshot (Rule 35), in the step to come. */
static bool is_superseded(const struct check_node *at, struct raft_id base,
                          const struct raft_runs *entries)
{
    if (base.index == at->snapshot.index)
        return !raft_id_equal(base, at->snapshot);
    const struct raft_entry *entry = raft_runs_find(entries, at->snapshot.index);
    return !entry || !raft_id_equal(entry->id, at->snapshot);
}

/* The log begins behind a snapshot: what is before it is committed, and in the snapshot. Or the
 * snapshot came while the log was in repair, and what that put back is what had stood there, though
 * the others had replaced it meanwhile: the core throws all of it away. */
static void check_start_base(struct check *check, uint32_t node, struct raft_id base,
                             const struct raft_runs *entries)
{
    struct check_node *at = &check->nodes[node];
    const bool in_memory =
        is_term_at(&at->memory, base); /* else another one was on its way there */
    if (base.index > at->snapshot.index)
        check_fail(check, "no gap between snapshot and log",
                   "n%u starts with a log that begins behind %" PRIu64
                   ", its snapshot ends at %" PRIu64,
                   node + 1, base.index, at->snapshot.index);
    else if (base.index > 0 && !is_term_at(&check->oracle, base) &&
             !(is_superseded(at, base, entries) && (in_memory || is_term_at(&at->disk, base))))
        check_fail(check, "a log begins anew behind committed entries",
                   "n%u starts with a log that begins behind %" PRIu64 ":%" PRIu64, node + 1,
                   base.term, base.index);
    if (check->failed)
        return;
    if (is_term_at(&check->oracle, base) || base.index == 0) {
        check_log_anew(check, &at->memory, base.index);
        check_log_anew(check, &at->disk, base.index);
    } else {
        struct check_log *held = in_memory ? &at->memory : &at->disk;
        log_copy(held, base.index, in_memory ? &at->disk : &at->memory);
        held->count = base.index;
    }
}

void check_start(struct check *check, uint32_t node, uint32_t incarnation,
                 struct raft_hard_state hard_state, struct raft_id base,
                 const struct raft_runs *entries, uint64_t applied)
{
    struct check_node *at = &check->nodes[node];
    if (hard_state.term < at->durable.term ||
        (hard_state.term == at->durable.term && at->durable.vote &&
         hard_state.vote != at->durable.vote))
        check_fail(check, "durable hard state is kept",
                   "n%u starts with term %" PRIu64 ", but term %" PRIu64 " or its vote was durable",
                   node + 1, hard_state.term, at->durable.term);
    uint64_t committed = committed_on_disk(check, at);
    uint64_t machine_index = at->machine_index;
    check_start_base(check, node, base, entries);
    if (check->failed)
        return;
    struct raft_runs_iter it = {0};
    for (const struct raft_entry *e; (e = raft_runs_next(entries, &it));) {
        check_log_put(check, &at->memory, e);
        check_log_put(check, &at->disk, e);
    }
    if (committed > 0 &&
        !check_holds(check, node, committed, check_log_at(&check->oracle, committed)))
        check_fail(check, "durable committed entries are kept",
                   "n%u held committed entries up to %" PRIu64 " on disk and starts without them",
                   node + 1, committed);
    if (applied > check_stored_last(check, node) || (applied && applied != machine_index))
        check_fail(check, "applied entries are durable",
                   "n%u starts with %" PRIu64 " applied and %" PRIu64 " entries on disk", node + 1,
                   applied, check_stored_last(check, node));
    at->incarnation = incarnation;
    at->durable = at->handed = hard_state;
    at->view = (struct check_view){
        .hard_state = hard_state, .commit = applied, .applied = applied, .base = base};
    at->seq = 0;
    at->stepped_last = at->memory.count;
    at->apply_handed = at->machine_index = applied;
    at->snapshot_told = at->snapshot_known = at->snapshot.index;
    at->installing = at->unreadable = at->unreadable_cut = 0;
    if (at->read_asked > at->read_before)
        at->read_before = at->read_asked;
    at->read_asked = at->read_answered = 0;
    at->stand = (struct check_stand){0};
}

void check_rot(struct check *check, uint32_t node, uint64_t count, uint64_t life)
{
    ASSERT(count <= check->nodes[node].disk.count);
    check->nodes[node].disk.count = count;
    check->nodes[node].rotten_life = life;
}

/* One entry that a node now has in its log, at a place and in a term: nobody may ever have another
 * one there (log matching, paper section 5.3: a leader creates one entry per index and term). The
 * chain covers all entries before it as well. */
static void check_match(struct check *check, uint32_t node, uint64_t index)
{
    const struct check_entry *entry = check_log_at(&check->nodes[node].memory, index);
    uint64_t chain = map_put_once(&check->chains, index, entry->term, entry->chain);
    if (chain != entry->chain)
        check_fail(check, "log matching",
                   "n%u has an entry %" PRIu64 ":%" PRIu64
                   " that, or one before it, differs from another node's (operation %" PRIu64 ")",
                   node + 1, entry->term, index, entry->op);
}

/* The first entry of a persist, where it replaces some. */
static void check_truncation(struct check *check, uint32_t node, const struct raft_entry *first,
                             uint32_t truncations, bool leading)
{
    const struct check_node *at = &check->nodes[node];
    const struct check_entry *old = check_log_at(&at->memory, first->id.index);
    if (!old)
        return;
    if (leading)
        check_fail(check, "leader append-only",
                   "n%u replaces its entry %" PRIu64 " while it leads term %" PRIu64, node + 1,
                   first->id.index, at->view.hard_state.term);
    if (first->id.index <= at->view.commit)
        check_fail(check, "committed entries stay",
                   "n%u replaces its entry %" PRIu64 " and had committed up to %" PRIu64, node + 1,
                   first->id.index, at->view.commit);
    if (old->term == first->id.term && truncations <= 1)
        check_fail(check, "truncation only at a conflict",
                   "n%u replaces its entry %" PRIu64 ":%" PRIu64 " by one of the same term",
                   node + 1, old->term, first->id.index);
}

/* A candidacy may end in the step in which it began, by who won the term: then only its requests,
 * which wait for the disk, tell of it. */
static void note_candidacy(struct check *check, uint32_t node, const struct raft_messages *messages)
{
    for (uint32_t i = 0; i < messages->count; i++)
        if (messages->items[i]->type == RAFT_VOTE_REQUEST && check_may_lead(check, node))
            check->nodes[node].campaign_term = messages->items[i]->term;
}

void check_persist(struct check *check, uint32_t node, const struct raft_persist *persist,
                   uint32_t truncations, bool leading)
{
    struct check_node *at = &check->nodes[node];
    at->anew = false;
    if (persist->seq == 0) {
        if (persist->entries.entry_count || persist->send_after.count ||
            persist->hard_state_changed)
            check_fail(check, "persists are numbered", "n%u has a persist without seq", node + 1);
        return;
    }
    if (persist->seq != at->seq + 1)
        check_fail(check, "persists are numbered",
                   "n%u puts out persist %" PRIu64 " after %" PRIu64, node + 1, persist->seq,
                   at->seq);
    at->seq = persist->seq;
    if (persist->hard_state_changed)
        at->handed = persist->hard_state;
    at->anew = persist->anew.index > 0;
    at->cut = truncations > 0 || at->anew;
    note_candidacy(check, node, &persist->send_after);
    if (at->anew)
        check_anew(check, node, persist->anew);
    if (check->failed)
        return;
    struct raft_runs_iter it = {0};
    bool first = true;
    for (const struct raft_entry *e; (e = raft_runs_next(&persist->entries, &it)); first = false) {
        if (e->id.index < 1 || e->id.index > at->memory.count + 1 ||
            (!first && e->id.index != at->memory.count + 1)) {
            check_fail(check, "logs have no gaps", "n%u writes entry %" PRIu64 " after %" PRIu64,
                       node + 1, e->id.index, at->memory.count);
            return;
        }
        if (first)
            check_truncation(check, node, e, truncations, leading);
        check_log_put(check, &at->memory, e);
        check_match(check, node, e->id.index);
    }
    const struct check_entry *last = check_log_at(&at->memory, at->memory.count);
    if (persist->last.index != at->memory.count || persist->last.term != (last ? last->term : 0))
        check_fail(check, "persist names its last entry",
                   "n%u says %" PRIu64 ":%" PRIu64 ", its log ends at %" PRIu64, node + 1,
                   persist->last.term, persist->last.index, at->memory.count);
}

/* --- Leaders ---------------------------------------------------------------------------------- */

static bool check_leads(const struct check *check, uint32_t node)
{
    return check->nodes[node].view.role == RAFT_LEADER;
}

static void leader_begin(struct check_node *at, uint64_t term)
{
    at->led_term = term;
    at->led_from = at->memory.count;
    while (at->led_from > 0 && at->memory.entries[at->led_from - 1].term == term)
        at->led_from--;
    memset(at->peers, 0, sizeof at->peers);
    memset(at->round_answered, 0, sizeof at->round_answered);
    at->round_sent = 0;
    at->samples.count = 0;
    memset(at->pins, 0, sizeof at->pins);
    for (uint32_t i = 0; i < SIM_NODES_MAX; i++) {
        at->flows[i].appends.count = 0;
        at->flows[i].bytes = 0;
        at->flows[i].pipelining = false;
    }
}

/* A node leads a term: nobody else ever did, and its log holds what was committed in earlier terms
 * (paper, figure 3: election safety, leader completeness). */
static void check_leader(struct check *check, uint32_t node)
{
    struct check_node *at = &check->nodes[node];
    uint64_t term = at->view.hard_state.term;
    uint64_t self = ((uint64_t)node << 32) | at->incarnation;
    uint64_t known;
    if (map_get(&check->leaders, term, 0, &known)) {
        if (known != self)
            check_fail(check, "one leader per term",
                       "n%u leads term %" PRIu64 ", which n%u led before (life %u, now life %u)",
                       node + 1, term, (uint32_t)(known >> 32) + 1, (uint32_t)known,
                       at->incarnation);
        return;
    }
    map_put_once(&check->leaders, term, 0, self);
    leader_begin(at, term);
    if (at->durable.term < term)
        check_fail(check, "a leader's own vote is durable",
                   "n%u leads term %" PRIu64 ", its disk says term %" PRIu64, node + 1, term,
                   at->durable.term);
    if (!check_may_lead(check, node))
        check_fail(check, "only voters lead", "n%u leads term %" PRIu64, node + 1, term);
    check_elected(check, node);
    for (uint64_t index = check->oracle.count; index > 0; index--) {
        if (check->committed_in[index - 1] >= term)
            continue;
        const struct check_entry *own = check_log_at(&at->memory, index);
        if (!own || own->chain != check->oracle.entries[index - 1].chain)
            check_fail(check, "leader completeness",
                       "n%u leads term %" PRIu64 " without entry %" PRIu64 ":%" PRIu64
                       ", committed in term %" PRIu64,
                       node + 1, term, check->oracle.entries[index - 1].term, index,
                       check->committed_in[index - 1]);
        return;
    }
}

/* --- Commitment ------------------------------------------------------------------------------- */

static void check_command_committed(struct check *check, const struct check_entry *entry,
                                    uint64_t index)
{
    if (entry->op == 0 || !check->ops)
        return;
    if (entry->op > check->ops->count) {
        check_fail(check, "only what was proposed", "entry %" PRIu64 " is nobody's", index);
        return;
    }
    struct op *op = &check->ops->items[entry->op];
    if (op->committed)
        check_fail(check, "a command is committed once",
                   "operation %" PRIu64 " stands at %" PRIu64 " and at %" PRIu64, entry->op,
                   op->committed, index);
    if (op->state == OP_REFUSED || op->state == OP_UNDELIVERED)
        check_fail(check, "refused is not applied",
                   "operation %" PRIu64 " was refused and is committed at %" PRIu64, entry->op,
                   index);
    op->committed = index;
}

/* Entry `index` of the node's log is known to be committed for the first time: it must be durable
 * on a majority, and in the log of whoever leads a later term by now. */
static void check_committed_first(struct check *check, uint32_t node, uint64_t index)
{
    const struct check_node *at = &check->nodes[node];
    const struct check_entry *entry = check_log_at(&at->memory, index);
    uint32_t durable = 0;
    for (uint32_t i = 0; i < check->node_count; i++) {
        const struct check_node *other = &check->nodes[i];
        if (check_holds(check, i, index, entry))
            durable |= UINT32_C(1) << i;
        const struct check_entry *own = check_log_at(&other->memory, index);
        if (i != node && check_leads(check, i) &&
            other->view.hard_state.term > at->view.hard_state.term &&
            (!own || own->chain != entry->chain))
            check_fail(check, "leader completeness",
                       "n%u commits entry %" PRIu64 ":%" PRIu64 " in term %" PRIu64
                       ", which n%u, leading term %" PRIu64 ", does not have",
                       node + 1, entry->term, index, at->view.hard_state.term, i + 1,
                       other->view.hard_state.term);
    }
    if (!check_commit_majority(check, node, durable))
        check_fail(check, "committed is durable on a majority",
                   "n%u commits entry %" PRIu64 ":%" PRIu64
                   ", durable on the nodes of mask %#x: no majority of its configuration %" PRIu64,
                   node + 1, entry->term, index, durable,
                   check_log_at(&at->memory, at->memory.count)->config_at);
}

static void committed_in_put(struct check *check, uint64_t index, uint64_t term)
{
    if (index > check->committed_in_capacity) {
        check->committed_in_capacity = index * 2;
        check->committed_in = mem_realloc(check->committed_in, check->committed_in_capacity *
                                                                   sizeof *check->committed_in);
    }
    check->committed_in[index - 1] = term;
}

void check_bootstrap(struct check *check, const struct raft_entry *entry)
{
    check_log_put(check, &check->oracle, entry);
    committed_in_put(check, entry->id.index, entry->id.term);
}

/* A node commits what nobody has committed before: no leader of another term may still take what it
 * has committed for all there is (Rule 41). */
static void check_leases(struct check *check, uint32_t node)
{
    const struct check_view *at = &check->nodes[node].view;
    for (uint32_t i = 0; i < check->node_count; i++) {
        const struct check_view *other = &check->nodes[i].view;
        if (i == node || other->role != RAFT_LEADER || other->lease_us <= at->world_us ||
            other->hard_state.term >= at->hard_state.term)
            continue;
        check_fail(check, "leases end before another leader commits",
                   "n%u commits in term %" PRIu64 " at %" PRIu64
                   " us, n%u has a lease of term %" PRIu64 " until %" PRIu64 " us",
                   node + 1, at->hard_state.term, at->world_us, i + 1, other->hard_state.term,
                   other->lease_us);
    }
}

static void oracle_extend(struct check *check, uint32_t node, uint64_t commit)
{
    const struct check_node *at = &check->nodes[node];
    for (uint64_t index = check->oracle.count + 1; index <= commit && !check->failed; index++) {
        const struct check_entry *entry = check_log_at(&at->memory, index);
        log_push(&check->oracle, *entry);
        committed_in_put(check, index, at->view.hard_state.term);
        check->oracle_old_terms += entry->term < at->view.hard_state.term;
        check_command_committed(check, entry, index);
    }
}

static void check_commit(struct check *check, uint32_t node, const struct check_view *before)
{
    const struct check_node *at = &check->nodes[node];
    uint64_t commit = at->view.commit;
    if (commit < before->commit) {
        check_fail(check, "commit is monotonic", "n%u goes back from %" PRIu64 " to %" PRIu64,
                   node + 1, before->commit, commit);
        return;
    }
    if (commit > at->memory.count) {
        check_fail(check, "commit is inside the log", "n%u commits %" PRIu64 " of %" PRIu64,
                   node + 1, commit, at->memory.count);
        return;
    }
    if (commit == before->commit)
        return;
    const struct check_entry *entry = check_log_at(&at->memory, commit);
    bool leading = before->role == RAFT_LEADER && at->view.role == RAFT_LEADER &&
                   before->hard_state.term == at->view.hard_state.term;
    if (leading && entry->term != at->view.hard_state.term)
        check_fail(check, "leaders commit by their own term",
                   "n%u, leading term %" PRIu64 ", commits up to %" PRIu64 ":%" PRIu64, node + 1,
                   at->view.hard_state.term, entry->term, commit);
    uint64_t shared = commit < check->oracle.count ? commit : check->oracle.count;
    if (shared > 0 &&
        at->memory.entries[shared - 1].chain != check->oracle.entries[shared - 1].chain)
        check_fail(check, "committed entries are equal everywhere",
                   "n%u commits %" PRIu64 ":%" PRIu64 " where %" PRIu64 ":%" PRIu64
                   " was committed, or differs before it",
                   node + 1, at->memory.entries[shared - 1].term, shared,
                   check->oracle.entries[shared - 1].term, shared);
    if (commit > check->oracle.count && !check->failed) {
        check_committed_first(check, node, commit);
        check_leases(check, node);
        oracle_extend(check, node, commit);
    }
}

/* --- A step ----------------------------------------------------------------------------------- */

static void check_hard_state(struct check *check, uint32_t node, const struct check_view *before)
{
    const struct check_node *at = &check->nodes[node];
    struct raft_hard_state now = at->view.hard_state;
    struct raft_hard_state old = before->hard_state;
    if (now.term < old.term)
        check_fail(check, "term is monotonic", "n%u goes from term %" PRIu64 " to %" PRIu64,
                   node + 1, old.term, now.term);
    if (now.term == old.term && old.vote != 0 && now.vote != old.vote)
        check_fail(check, "one vote per term", "n%u changes its vote in term %" PRIu64, node + 1,
                   now.term);
    if (now.term != at->handed.term || now.vote != at->handed.vote)
        check_fail(check, "hard state is handed to the disk",
                   "n%u is in term %" PRIu64 " and last wrote term %" PRIu64 " (or another vote)",
                   node + 1, now.term, at->handed.term);
}

static void check_durable_claim(struct check *check, uint32_t node)
{
    const struct check_node *at = &check->nodes[node];
    struct raft_id durable = at->view.durable;
    const struct check_entry *stored = check_log_at(&at->disk, durable.index);
    if (durable.index > 0 && durable.index <= at->snapshot.index &&
        check_log_at(&check->oracle, durable.index)->term == durable.term)
        return;
    /* A truncation that is on its way may have changed memory already; then the disk is compared
     * with what the core believes to be there by term only. */
    if (durable.index > 0 && (!stored || stored->term != durable.term))
        check_fail(check, "durable is on disk",
                   "n%u takes %" PRIu64 ":%" PRIu64 " for durable, the disk holds %" PRIu64
                   " entries",
                   node + 1, durable.term, durable.index, at->disk.count);
}

void check_step(struct check *check, uint32_t node, const struct check_view *view)
{
    struct check_node *at = &check->nodes[node];
    struct check_view before = at->view;
    at->view = *view;
    at->old = before;
    at->same_log = !at->cut && raft_id_equal(before.last, view->last);
    check_hard_state(check, node, &before);
    check_votes_step(check, node, &before);
    const struct check_entry *last = check_log_at(&at->memory, at->memory.count);
    if (view->last.index != at->memory.count || (last && view->last.term != last->term))
        check_fail(check, "the log is handed to the disk",
                   "n%u ends at %" PRIu64 ":%" PRIu64 " and wrote up to %" PRIu64, node + 1,
                   view->last.term, view->last.index, at->memory.count);
    if (check->failed)
        return;
    if (view->role == RAFT_LEADER)
        check_leader(check, node);
    if (view->role == RAFT_CANDIDATE && check_may_lead(check, node))
        at->campaign_term = view->hard_state.term;
    if (before.role == RAFT_FOLLOWER && view->role != RAFT_FOLLOWER)
        check_campaign(check, node);
    check_commit(check, node, &before);
    check_durable_claim(check, node);
    check_base(check, node, &before);
    check_config_index(check, node);
    check_leader_changes(check, node, &before, at->stepped_last);
    at->stepped_last = at->memory.count;
    if (view->applied < before.applied || view->applied > view->commit ||
        view->applied > at->machine_index)
        check_fail(check, "applied is monotonic and committed",
                   "n%u: applied %" PRIu64 ", before %" PRIu64 ", commit %" PRIu64
                   ", state machine %" PRIu64,
                   node + 1, view->applied, before.applied, view->commit, at->machine_index);
}

/* The receiver's side of AppendEntries (paper, figure 2 and section 5.3). */
#include "raft/internal.h"

#include "base/fatal.h"

#include <stdlib.h>

/* --- What is refused before it can do harm ------------------------------------------------------
 */

static bool configuration_readable(struct slice payload)
{
    struct raft_configuration *configuration = mem_alloc(sizeof *configuration);
    bool readable = raft_configuration_decode(payload, configuration) == CONCLAVE_OK;
    free(configuration);
    return readable;
}

/* Rule 16: the entries of one message are contiguous and begin at prev + 1. Everything that later
 * steps assert about entries is checked here, where it comes from outside. */
static bool request_valid(const struct raft_message *message)
{
    const struct raft_append_request *request = &message->append_request;
    struct raft_id last = request->prev;
    if ((last.index == 0) != (last.term == 0) || last.term > message->term ||
        last.index > RAFT_NUMBER_MAX)
        return false;
    struct raft_runs_iter iter = {0};
    for (const struct raft_entry *entry; (entry = raft_runs_next(&request->entries, &iter));) {
        if (entry->id.index != last.index + 1)
            return false;
        if (entry->id.term < last.term || entry->id.term == 0 || entry->id.term > message->term)
            return false;
        if (entry->kind == RAFT_ENTRY_CONFIG) {
            if (!configuration_readable(entry->payload))
                return false;
        } else if (entry->kind != RAFT_ENTRY_COMMAND && entry->kind != RAFT_ENTRY_SESSION &&
                   entry->kind != RAFT_ENTRY_NOOP) {
            return false;
        }
        last = entry->id;
    }
    return true;
}

/* --- Answers ------------------------------------------------------------------------------------
 */

static void answer(struct raft *raft, const struct raft_message *request,
                   struct raft_append_response response)
{
    struct raft_message *message =
        raft_message_create(RAFT_APPEND_RESPONSE, raft->options.id, request->from, raft->hard.term);
    message->append_response = response;
    message->append_response.last_index = raft->log.last.index;
    message->append_response.round = request->append_request.round;
    message->append_response.priority = raft_own_priority(raft);
    message->append_response.life = raft->life;
    if (response.result != RAFT_APPEND_STALE)
        message->append_response.promise_us = raft_promise(raft);
    raft_reply(raft, message);
}

static void answer_rejected(struct raft *raft, const struct raft_message *request)
{
    /* Rule 18: what the leader's log certainly lacks is skipped a whole term at a time. The
     * leader's entry at prev has term P; entries here with terms above P cannot be in its log up to
     * there. */
    struct raft_id prev = request->append_request.prev;
    uint64_t index = raft_log_find_at_most(&raft->log, prev);
    answer(raft, request,
           (struct raft_append_response){.result = RAFT_APPEND_REJECTED,
                                         .rejected = prev.index,
                                         .conflict = raft_log_id_at(&raft->log, index)});
}

/* --- Entries ------------------------------------------------------------------------------------
 */

/* Removes the entry at index and all after it, which a newer leader replaces. */
static void truncate_from(struct raft *raft, uint64_t index)
{
    struct raft_log *log = &raft->log;
    ASSERT(index > raft->commit);
    raft_trace(raft, RAFT_TRACE_TRUNCATE, index, log->last.index);
    for (uint64_t i = index; i <= log->last.index; i++) {
        struct raft_origin origin = raft_runs_find(&log->runs, i)->origin;
        /* Rule 44: gone from here, but another node may hold it and lead one day. */
        if (origin.client != 0 || origin.request != 0)
            RAFT_LIST_ADD(&raft->output->refused,
                          (struct raft_refusal){.origin = origin, .code = CONCLAVE_UNKNOWN});
    }
    raft_log_truncate(log, index);
    raft_membership_truncate(raft, index);
    raft->verified = raft_min(raft->verified, index - 1);
}

/* Puts the CONFIG entries that come after the first `skip` entries into effect. */
static void adopt_configurations(struct raft *raft, const struct raft_runs *entries, uint64_t skip)
{
    struct raft_runs_iter iter = {0};
    for (const struct raft_entry *entry; (entry = raft_runs_next(entries, &iter));) {
        if (skip > 0) {
            skip--;
            continue;
        }
        if (entry->kind != RAFT_ENTRY_CONFIG)
            continue;
        struct raft_configuration *configuration = mem_alloc(sizeof *configuration);
        int code = raft_configuration_decode(entry->payload, configuration);
        ASSERT(code == CONCLAVE_OK); /* request_valid */
        raft_membership_push(raft, entry->id.index, configuration);
    }
}

/* Puts into the log what it lacks of the entries. They follow one that the logs have in common. */
static int entries_take(struct raft *raft, const struct raft_runs *entries)
{
    struct raft_runs_iter iter = {0};
    uint64_t known = 0; /* entries that the log holds already */
    for (const struct raft_entry *entry; (entry = raft_runs_next(entries, &iter)); known++) {
        if (entry->id.index > raft->log.last.index)
            break;
        if (entry->id.index <= raft->log.base.index)
            continue; /* Rule 10: committed, and held by a snapshot: nothing is appended again */
        if (raft_log_term_at(&raft->log, entry->id.index) == entry->id.term)
            continue;
        /* Rule 9: what is committed stays for ever. */
        if (entry->id.index <= raft->commit)
            return error_set(&raft->output->error, CONCLAVE_INTERNAL,
                             "a leader of term %llu would replace the committed entry %llu",
                             (unsigned long long)raft->hard.term,
                             (unsigned long long)entry->id.index);
        /* Rule 8: only here, at a true conflict of terms, does the log ever get shorter. An append
         * that ends early or comes late says nothing about entries after its own. */
        truncate_from(raft, entry->id.index);
        break;
    }
    if (known < entries->entry_count) {
        raft_log_append_runs(&raft->log, entries, known);
        adopt_configurations(raft, entries, known);
    }
    return CONCLAVE_OK;
}

/* --- The request --------------------------------------------------------------------------------
 */

/* The append is from this term's leader. */
static int append_take(struct raft *raft, const struct raft_message *message)
{
    const struct raft_append_request *request = &message->append_request;
    struct raft_id prev = request->prev;
    uint64_t prev_term = raft_log_term_at(&raft->log, prev.index);
    if (prev.index == raft->commit && prev_term != prev.term)
        return error_set(&raft->output->error, CONCLAVE_INTERNAL,
                         "a leader of term %llu lacks the committed entry %llu",
                         (unsigned long long)message->term, (unsigned long long)prev.index);
    /* Rule 10: below commit the logs are equal, whether or not the entry can still be looked up. */
    if (prev.index > raft->commit && prev_term != prev.term) {
        answer_rejected(raft, message);
        return CONCLAVE_OK;
    }
    int code = entries_take(raft, &request->entries);
    if (code != CONCLAVE_OK)
        return code;
    uint64_t last_new = prev.index + request->entries.entry_count;
    raft->verified = raft_max(raft->verified, raft_max(last_new, raft->commit));
    /* Rule 11: not the last entry of the log: those after last_new may be of another leader. */
    raft_commit_to(raft, raft_min(request->commit, last_new));
    raft->ack_round = raft_max(raft->ack_round, request->round);
    raft->ack_pending = true;
    return CONCLAVE_OK;
}

int raft_on_append_request(struct raft *raft, const struct raft_message *message)
{
    if (!request_valid(message))
        return CONCLAVE_OK;
    if (message->term < raft->hard.term) {
        /* Rule 20: answered with the newer term. With PreVote and stickiness a node that has a
         * newer term could else neither win an election nor follow the leader that the others hold
         * to. */
        answer(raft, message, (struct raft_append_response){.result = RAFT_APPEND_STALE});
        return CONCLAVE_OK;
    }
    /* Rule 26: there is at most one leader in a term, or nothing that was said of it holds. */
    if (message->term == raft->hard.term && raft->leader != 0 && raft->leader != message->from)
        return error_set(&raft->output->error, CONCLAVE_INTERNAL,
                         "two leaders in term %llu: nodes %llu and %llu",
                         (unsigned long long)message->term, (unsigned long long)raft->leader,
                         (unsigned long long)message->from);
    raft_become_follower(raft, message->term, message->from);
    raft_heard_leader(raft);
    return append_take(raft, message);
}

#include "tests/sim/report.h"

#include "tests/sim/map.h"
#include "tests/sim/ops.h"

#include <inttypes.h>

static const char *const mark_texts[] = {
#define SIM_MARK_TEXT(name, text) text,
    SIM_MARKS(SIM_MARK_TEXT)
#undef SIM_MARK_TEXT
};

static const char *const mark_names[] = {
#define SIM_MARK_NAME(name, text) #name,
    SIM_MARKS(SIM_MARK_NAME)
#undef SIM_MARK_NAME
};

static const char *const role_texts[] = {"follower", "precandidate", "candidate", "leader"};
static const char *const op_state_texts[] = {"?",       "sent", "taken",       "ok",    "refused",
                                             "unknown", "lost", "undelivered", "denied"};

const char *report_mark_text(enum sim_mark mark)
{
    return mark_texts[mark];
}

const char *report_mark_name(enum sim_mark mark)
{
    return mark_names[mark];
}

/* The number of the node with this id; 1-based as shown, 0 for none. */
static uint32_t node_number(const struct report *report, raft_node_id id)
{
    for (uint32_t i = 0; i < report->node_count; i++) {
        if (report->ids[i] == id)
            return i + 1;
    }
    return 0;
}

static void print_message(const struct report *report, const struct record *record, FILE *out)
{
    const uint64_t *v = record->v;
    const char *verb = record->kind == RECORD_SEND      ? "sends to"
                       : record->kind == RECORD_RECEIVE ? "receives from"
                                                        : "loses, to";
    fprintf(out, "%s n%" PRIu32 " term %" PRIu64 ": ", verb, node_number(report, v[1]), v[2]);
    switch ((enum raft_message_type)v[0]) {
    case RAFT_PREVOTE_REQUEST:
    case RAFT_VOTE_REQUEST:
        fprintf(out, "%s, last entry %" PRIu64 ":%" PRIu64,
                v[0] == RAFT_VOTE_REQUEST ? "vote request" : "prevote request", v[3], v[4]);
        break;
    case RAFT_PREVOTE_RESPONSE:
    case RAFT_VOTE_RESPONSE:
        fprintf(out, "%s for term %" PRIu64 ": %s", v[0] == RAFT_VOTE_RESPONSE ? "vote" : "prevote",
                v[4], v[3] ? "granted" : "refused");
        break;
    case RAFT_APPEND_REQUEST:
        fprintf(out,
                "append after %" PRIu64 ":%" PRIu64 " of %" PRIu64 " entries, commit %" PRIu64
                ", round %" PRIu64,
                v[3], v[4], v[7], v[5], v[6]);
        break;
    case RAFT_APPEND_RESPONSE:
        if (v[3] == RAFT_APPEND_ACCEPTED)
            fprintf(out, "append accepted, match %" PRIu64, v[4]);
        else if (v[3] == RAFT_APPEND_REJECTED)
            fprintf(out, "append after %" PRIu64 " rejected, hint %" PRIu64 ":%" PRIu64, v[4], v[5],
                    v[7]);
        else
            fprintf(out, "append is stale");
        fprintf(out, ", round %" PRIu64, v[6]);
        break;
    case RAFT_READ_REQUEST:
        fprintf(out, "read request %" PRIu64, v[3]);
        break;
    case RAFT_READ_RESPONSE:
        fprintf(out, "read request %" PRIu64 " at index %" PRIu64, v[3], v[4]);
        break;
    case RAFT_TIMEOUT_NOW:
        fprintf(out, "campaign now");
        break;
    }
}

static const char *trace_text(uint64_t type)
{
    switch ((enum raft_trace_type)type) {
    case RAFT_TRACE_ROLE:
        return "role";
    case RAFT_TRACE_LEADER:
        return "leader";
    case RAFT_TRACE_CONFIG:
        return "configuration";
    case RAFT_TRACE_TRUNCATE:
        return "truncates";
    case RAFT_TRACE_REJECTED:
        return "rejected";
    case RAFT_TRACE_RESTARTED:
        return "a peer was restarted";
    case RAFT_TRACE_QUORUM_LOST:
        return "quorum lost";
    case RAFT_TRACE_TRANSFER:
        return "transfer";
    case RAFT_TRACE_TRANSFER_SENT:
        return "transfer sent";
    case RAFT_TRACE_TRANSFER_ENDED:
        return "transfer failed";
    case RAFT_TRACE_DISK_STALLED:
        return "disk stalled";
    case RAFT_TRACE_INSTALL:
        return "snapshot installed";
    case RAFT_TRACE_PROMOTE:
        return "promotes";
    case RAFT_TRACE_REMOVED:
        return "is removed";
    case RAFT_TRACE_UNREADABLE:
        return "cannot read its log";
    case RAFT_TRACE_RETIRED:
        return "retires";
    }
    return "?";
}

static void print_node_event(const struct report *report, const struct record *record, FILE *out)
{
    const uint64_t *v = record->v;
    switch (record->kind) {
    case RECORD_STEP:
        fprintf(out,
                "steps over %" PRIu64 " events: %s, term %" PRIu64 ", commit %" PRIu64
                ", last %" PRIu64 ":%" PRIu64 ", durable %" PRIu64 ", applied %" PRIu64,
                v[7], role_texts[v[0] & 3], v[1], v[2], v[3], v[4], v[5], v[6]);
        break;
    case RECORD_PERSIST:
        fprintf(out,
                "persist %" PRIu64 ": term %" PRIu64 " vote n%" PRIu32 ", entries from %" PRIu64
                ", last %" PRIu64 ":%" PRIu64,
                v[0], v[1], node_number(report, v[2]), v[3], v[4], v[5]);
        break;
    case RECORD_SYNCED:
        fprintf(out, "persist %" PRIu64 " is durable, last %" PRIu64 ":%" PRIu64, v[0], v[1], v[2]);
        break;
    case RECORD_APPLY:
        fprintf(out, "hands entries %" PRIu64 " to %" PRIu64 " to the state machine", v[0], v[1]);
        break;
    case RECORD_APPLIED:
        fprintf(out, "state machine at %" PRIu64 ", hash %016" PRIx64, v[0], v[1]);
        break;
    case RECORD_START:
        fprintf(out,
                "starts, life %" PRIu64 ": term %" PRIu64 " vote n%" PRIu32 ", last %" PRIu64
                ":%" PRIu64 ", applied %" PRIu64,
                v[0], v[1], node_number(report, v[2]), v[3], v[4], v[5]);
        break;
    case RECORD_CRASH:
        fprintf(out, "CRASHES: %s, state machine %s", v[0] ? "power lost" : "process killed",
                v[1] ? "kept" : "emptied");
        break;
    case RECORD_WIPE:
        fprintf(out, "LOSES ITS DISK, comes back blank as n%" PRIu64, v[0]);
        break;
    case RECORD_PAUSE:
        fprintf(out, "is PAUSED until %" PRIu64, v[0]);
        break;
    case RECORD_SNAPSHOT:
        fprintf(out, "snapshot at %" PRIu64 ":%" PRIu64 " written: %s", v[0], v[1],
                conclave_code_name((int)v[2]));
        break;
    case RECORD_RESTORED:
        fprintf(out, "state machine becomes the snapshot at %" PRIu64 ":%" PRIu64, v[0], v[1]);
        break;
    case RECORD_PIECE:
    case RECORD_PIECE_ACK:
        fprintf(out,
                "%s n%" PRIu32 " of the snapshot at %" PRIu64 ": offset %" PRIu64 ", bytes %" PRIu64
                " of %" PRIu64 "%s",
                record->kind == RECORD_PIECE ? "sends a piece to" : "answers",
                node_number(report, v[0]), v[1], v[2], v[3], v[4], v[5] ? ", done" : "");
        break;
    case RECORD_TRACE:
        fprintf(out, "trace: %s %" PRIu64 " %" PRIu64, trace_text(v[0]),
                v[0] == RAFT_TRACE_LEADER || v[0] == RAFT_TRACE_REJECTED ? node_number(report, v[1])
                                                                         : v[1],
                v[2]);
        break;
    default:
        break;
    }
}

static const char *change_text(uint64_t type)
{
    switch ((enum raft_change_type)type) {
    case RAFT_CHANGE_ADD:
        return "add";
    case RAFT_CHANGE_PROMOTE:
        return "promote";
    case RAFT_CHANGE_REMOVE:
        return "remove";
    case RAFT_CHANGE_REPLACE:
        return "replace";
    }
    return "?";
}

static void print_client_event(const struct record *record, FILE *out)
{
    const uint64_t *v = record->v;
    switch (record->kind) {
    case RECORD_PROPOSE:
        fprintf(out, "takes commands %" PRIu64 " to %" PRIu64, v[0], v[0] + v[1] - 1);
        break;
    case RECORD_READ:
        fprintf(out, "takes read %" PRIu64, v[0]);
        break;
    case RECORD_READ_AT:
        fprintf(out, "read %" PRIu64 ": %s, index %" PRIu64, v[0], conclave_code_name((int)v[1]),
                v[2]);
        break;
    case RECORD_ANSWER:
        fprintf(out,
                "operation %" PRIu64 " ends: %s %s, index %" PRIu64 ", revision %" PRIu64
                ", value %" PRIu64 "; repeats %" PRIu64 ", number %" PRIu64,
                v[0], op_state_texts[v[1] & 15], conclave_code_name((int)v[5]), v[2], v[4], v[3],
                v[6], v[7]);
        break;
    case RECORD_CHANGE:
        fprintf(out, "takes change %" PRIu64 ": %s n%" PRIu64 " n%" PRIu64 ", incarnation %" PRIu64,
                v[0], change_text(v[1]), v[2], v[3], v[4]);
        break;
    case RECORD_CHANGED:
        fprintf(out, "change %" PRIu64 " ends: %s, index %" PRIu64, v[0],
                conclave_code_name((int)v[1]), v[2]);
        break;
    case RECORD_CUT:
        fprintf(out, "NETWORK CUT %" PRIu64 ": nodes of mask %#" PRIx64 " from the others%s", v[2],
                v[0], v[1] ? ", one way" : "");
        break;
    case RECORD_HEAL:
        fprintf(out, "network cut %" PRIu64 " ends", v[2]);
        break;
    case RECORD_DECISION:
        fprintf(out, "%s: number %" PRIu64, decision_text((uint32_t)v[0]), v[1]);
        break;
    default:
        break;
    }
}

static void print_record(const struct report *report, const struct record *record, FILE *out)
{
    fprintf(out, "%12" PRIu64 " us  ", record->at_us);
    if (record->kind == RECORD_CUT || record->kind == RECORD_HEAL ||
        record->kind == RECORD_DECISION)
        fprintf(out, "--  ");
    else
        fprintf(out, "n%" PRIu32 "  ", record->node + 1);
    if (record->kind <= RECORD_DROP)
        print_message(report, record, out);
    else if ((record->kind >= RECORD_PROPOSE && record->kind <= RECORD_ANSWER) ||
             record->kind == RECORD_CHANGE || record->kind == RECORD_CHANGED ||
             record->kind == RECORD_CUT || record->kind == RECORD_HEAL ||
             record->kind == RECORD_DECISION)
        print_client_event(record, out);
    else
        print_node_event(report, record, out);
    fputc('\n', out);
}

/* Whether it tells what happened to somebody who does not want to know how: no traffic, no disk at
 * work, of the steps those that brought a role, a term, an entry or a commit, and of the reads
 * those that failed or saw more than the one before. */
static bool is_telling(struct report *report, const struct record *record)
{
    switch (record->kind) {
    case RECORD_SEND:
    case RECORD_RECEIVE:
        return record->v[0] == RAFT_TIMEOUT_NOW ||
               (record->v[0] == RAFT_VOTE_RESPONSE && record->v[3]);
    case RECORD_DROP:
    case RECORD_PERSIST:
    case RECORD_SYNCED:
    case RECORD_APPLY:
    case RECORD_APPLIED:
    case RECORD_READ:
        return false;
    case RECORD_READ_AT: {
        uint64_t *shown = &report->shown_reads[record->node % SIM_NODES_MAX];
        bool news = record->v[1] != CONCLAVE_OK || *shown != record->v[2];
        *shown = record->v[1] == CONCLAVE_OK ? record->v[2] : 0;
        return news;
    }
    case RECORD_TRACE:
        return record->v[0] != RAFT_TRACE_LEADER && record->v[0] != RAFT_TRACE_REJECTED;
    case RECORD_STEP: {
        uint64_t hash = 0;
        for (int i = 0; i < 5; i++) /* role, term, commit, last */
            hash = hash_mix(hash, record->v[i]);
        uint64_t *shown = &report->shown[record->node % SIM_NODES_MAX];
        bool news = *shown != hash;
        *shown = hash;
        return news;
    }
    default:
        return true;
    }
}

void report_event(struct report *report, struct record record)
{
    uint64_t hash = hash_mix(report->hash, record.at_us);
    hash = hash_mix(hash, ((uint64_t)record.kind << 32) | record.node);
    for (int i = 0; i < 8; i++)
        hash = hash_mix(hash, record.v[i]);
    report->hash = hash;
    report->ring[report->count++ % REPORT_RING] = record;
    if (report->trace || (report->brief && is_telling(report, &record)))
        print_record(report, &record, report->out ? report->out : stdout);
}

void report_message(struct report *report, enum record_kind kind, uint64_t at_us, uint32_t node,
                    const struct raft_message *message)
{
    struct record record = {.at_us = at_us, .kind = kind, .node = node};
    uint64_t *v = record.v;
    v[0] = message->type;
    v[1] = kind == RECORD_RECEIVE ? message->from : message->to;
    v[2] = message->term;
    switch (message->type) {
    case RAFT_PREVOTE_REQUEST:
    case RAFT_VOTE_REQUEST:
        v[3] = message->vote_request.last.term;
        v[4] = message->vote_request.last.index;
        break;
    case RAFT_PREVOTE_RESPONSE:
    case RAFT_VOTE_RESPONSE:
        v[3] = message->vote_response.granted;
        v[4] = message->vote_response.campaign_term;
        break;
    case RAFT_APPEND_REQUEST:
        v[3] = message->append_request.prev.term;
        v[4] = message->append_request.prev.index;
        v[5] = message->append_request.commit;
        v[6] = message->append_request.round;
        v[7] = message->append_request.entries.entry_count;
        break;
    case RAFT_APPEND_RESPONSE:
        v[3] = message->append_response.result;
        v[4] = message->append_response.result == RAFT_APPEND_REJECTED
                   ? message->append_response.rejected
                   : message->append_response.match;
        v[5] = message->append_response.conflict.term;
        v[6] = message->append_response.round;
        v[7] = message->append_response.conflict.index;
        break;
    case RAFT_READ_REQUEST:
    case RAFT_READ_RESPONSE:
        v[3] = message->read_index.number;
        v[4] = message->read_index.index;
        break;
    case RAFT_TIMEOUT_NOW:
        break;
    }
    report_event(report, record);
}

void report_print_last(const struct report *report, FILE *out)
{
    uint64_t shown = report->count < REPORT_SHOWN ? report->count : REPORT_SHOWN;
    for (uint64_t i = report->count - shown; i < report->count; i++)
        print_record(report, &report->ring[i % REPORT_RING], out);
}
